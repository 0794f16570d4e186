"""Batch inference with a loaded SavedModel, for image files and for images in memory."""

import io
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from stages.common import machine
from stages.common.arrays import Pixels, Probabilities, Sizes
from stages.common.cli import UserError
from stages.decoding import bit_depth
from stages.decoding.decode import Size, decode, decode_image
from stages.evaluation import prediction_sets, scores
from stages.labels import companions
from stages.labels.files import walk
from stages.model import saved_model
from stages.model.temperature import scale_probabilities

# A path of a file or of a folder of images; or an image in memory: the content of a file, or pixels in RGB.
Source = str | os.PathLike[str] | bytes | Image.Image | np.ndarray
NO_COLLECTIONS = (Mapping, io.IOBase, bytearray, memoryview)  # types that hold no sources, but can be iterated over
CHANNELS = (1, 3, 4)  # numbers of channels of arrays: grey levels, RGB and RGBA
BATCH = 32  # images per batch, 5 MB at 224 pixels
AHEAD = 1  # batches that are read and decoded while one is predicted
MAX_WAIT = 0.05  # seconds that an image from an iterator waits for others to fill its batch
MAX_CLOSE = 1  # seconds that closing waits for an iterator that is about to yield another image
Item = TypeVar("Item")
Decoded = tuple[str, str, Size, np.ndarray | None]  # path; problem, or ""; size of the file's image; pixels, or None
OnBatch = Callable[[Pixels, Sizes, Mapping[str, Any]], None]  # the last are the outputs of a SavedModel's `predict`


@dataclass(frozen=True, slots=True)
class Prediction:
    """The predicted class of an image, its probability, and what tells whether to trust it.

    Attributes:
        path: empty for an image in memory.
        probabilities: of all classes by name.
        problem: why the image cannot be read, or ""; the others are None then.
        novelty: distance from the training images, 1 at the threshold; None if the model has no threshold.
        prediction_set: the classes among which the right one is in 95% of cases, the most probable one first; None for
            two classes.
    """

    path: str
    predicted: str | None = None
    probability: float | None = None
    probabilities: dict[str, float] | None = None
    problem: str = ""
    novelty: float | None = None
    prediction_set: list[str] | None = None

    @property
    def unlike(self) -> bool | None:
        """Whether the image is unlike the training images; None if that is not known."""
        return None if self.novelty is None else self.novelty > 1


def record(prediction: Prediction) -> dict[str, Any]:
    """Returns the prediction of a readable image as JSON has it; prediction_set is there for more than two classes."""
    names = ["path", "predicted", "probability", "novelty", "unlike", "prediction_set", "probabilities"]
    if prediction.prediction_set is None:
        names.remove("prediction_set")
    return {name: getattr(prediction, name) for name in names}


def find(sources: Any) -> Iterator[tuple[Source, str]]:
    """Yields (image, problem or "") of each image in `sources`, one Source or several.

    Raises:
        TypeError: a source is neither a path nor an image.
        OSError: the machine is at fault, such as a disk.
    """
    for source in _each(sources):
        if not _is_source(source):
            raise TypeError(f"a {type(source).__name__} is no path, PIL image, NumPy array or content of a file")
        if not isinstance(source, str | os.PathLike):
            yield source, ""
            continue
        path = os.fsdecode(source)
        try:
            for below, problem in walk(path) if path else [("", "an empty path")]:
                file = os.path.join(path, below) if below else path
                if not below or not companions.is_text_file(file):  # of a folder: texts beside images
                    yield file, problem
        except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
            if machine.is_at_fault(error):
                raise
            yield path, getattr(error, "strerror", None) or str(error)


def _each(sources: Any) -> Iterator[Any]:
    if _is_source(sources) or isinstance(sources, NO_COLLECTIONS) or not isinstance(sources, Iterable):
        yield sources
    else:
        yield from sources  # which closes a generator when this one is closed


def arrive_over_time(sources: Any) -> bool:
    """Whether sources come from an iterator, such as a camera's, which may wait before each of them."""
    return not (_is_source(sources) or isinstance(sources, Sized))


def _is_source(value: Any) -> bool:
    """Whether a value is one path or one image. An array of texts, or of more than three axes, holds several."""
    if isinstance(value, np.ndarray):
        return value.ndim in (2, 3) and value.dtype.kind not in "OUS"
    return isinstance(value, str | os.PathLike | bytes | Image.Image)


def classes_of(model: Any) -> list[str]:
    """Returns the C class names of a loaded SavedModel."""
    return [name.decode() for name in model.class_names.numpy()]


def background_of(model: Any) -> str:
    """Returns the colour, #rrggbb, on which a loaded SavedModel wants transparent images composited."""
    return model.background.numpy().decode()


def knows_novelty(model: Any) -> bool:
    """Whether a loaded SavedModel has a threshold of novelty: evaluate had enough validation images to set one."""
    return math.isfinite(float(model.novelty_threshold))


def classify(
    files: Iterable[tuple[Source, str]],
    model: Any,
    threshold: float | None,
    calibrated: bool,
    max_wait: float | None = None,
    on_batch: OnBatch | None = None,
) -> Iterator[Prediction]:
    """Predicts the classes of the images that `find` yields, in their order; see stages.tools.predict.predict.

    `on_batch`, if it is given, is called for the readable images of each batch, before their predictions are yielded.

    An image waits at most `max_wait` seconds for others to fill its batch. With None, all batches but the last are
    full: the last digits of a probability depend on the batch, which must not depend on time.

    Raises:
        UserError: the threshold is not in [0, 1], or the model has more than two classes; the process was forked from
            one that had loaded a model.
    """
    saved_model.check_process()
    classes = classes_of(model)
    if threshold is None:
        threshold = float(model.threshold)
    elif len(classes) != 2:
        raise UserError(f"a threshold is for two classes, but the model has {len(classes)}: leave it out.")
    elif not 0 <= threshold <= 1:
        raise UserError(f"the threshold is {threshold:g}, but must be from 0 to 1.")
    return _predictions(files, model, threshold, float(model.temperature) if calibrated else None, max_wait, on_batch)


def _predictions(
    files: Iterable[tuple[Source, str]],
    model: Any,
    threshold: float,
    temperature: float | None,
    max_wait: float | None,
    on_batch: OnBatch | None,
) -> Iterator[Prediction]:
    """Yields a Prediction for each file, batch by batch."""
    classes = classes_of(model)
    for batch in _decoded(files, int(model.image_size), background_of(model), max_wait):
        images = [(size, image) for _, _, size, image in batch if image is not None]
        results: Iterator[tuple[int, list[float], float | None, list[str] | None]] = iter(())
        if images:
            pixels = np.stack([image for _, image in images])
            if on_batch is None:
                outputs = model.signatures["serving_uint8"](images=pixels)
            else:
                outputs = model.predict(pixels)
                on_batch(pixels, np.array([size for size, _ in images]), outputs)
            probabilities = outputs["probabilities"].numpy()
            labels = scores.predict(probabilities, threshold)  # thresholds were chosen on unscaled probabilities
            sets = _prediction_sets(probabilities, model)
            novelty = outputs["novelty"].numpy().tolist() if knows_novelty(model) else [None] * len(images)
            if temperature is not None:
                probabilities = scale_probabilities(probabilities, temperature)
            results = zip(labels.tolist(), probabilities.tolist(), novelty, sets, strict=True)
        for path, problem, _, _ in batch:
            if problem:
                yield Prediction(path, problem=problem)
            else:
                label, row, distance, names = next(results)
                of_classes = dict(zip(classes, row, strict=True))
                yield Prediction(path, classes[label], row[label], of_classes, "", distance, names)


def _prediction_sets(probabilities: Probabilities, model: Any) -> list[list[str]] | list[None]:
    """Returns the names of the classes in the prediction set of each image, or Nones for two classes."""
    classes = classes_of(model)
    if len(classes) == 2:
        return [None] * len(probabilities)
    members = prediction_sets.members(probabilities, float(model.set_threshold))
    order = np.argsort(-probabilities, axis=1, kind="stable")
    return [[classes[k] for k in ranks if row[k]] for ranks, row in zip(order, members, strict=True)]


def _decoded(
    files: Iterable[tuple[Source, str]], size: int, background: str, max_wait: float | None
) -> Iterator[list[Decoded]]:
    """Yields batches of the images that `find` yields, decoded by several threads while those before are predicted.

    One more thread reads `files`, at most AHEAD batches ahead, and closes it. An exception of `files` is raised after
    the images before it.
    """

    def read(file: tuple[Source, str]) -> Decoded:
        source, problem = file
        path = source if isinstance(source, str) else ""
        try:
            if not problem:
                return path, "", *_pixels(source, size, background)
        except (ValueError, TypeError) as error:  # TypeError: Pillow's, about an array's shape
            problem = str(error)
        return path, problem, (0, 0), None

    arrived: queue.SimpleQueue[Future[Decoded] | None] = queue.SimpleQueue()  # ends with None
    room = threading.Semaphore(AHEAD * BATCH - 1)  # images: the reader holds one more
    closed, end = threading.Event(), Future[None]()

    def read_files() -> None:
        try:
            with ThreadPoolExecutor() as pool:  # Pillow and TensorFlow compute without Python's lock
                for file in files:
                    arrived.put(pool.submit(read, file))
                    room.acquire()
                    if closed.is_set():
                        pool.shutdown(cancel_futures=True)
                        break
            if isinstance(files, Generator):
                files.close()
            end.set_result(None)
        except BaseException as error:  # whatever it is, the caller's thread waits for it
            end.set_exception(error)
        arrived.put(None)

    reader = threading.Thread(target=read_files, daemon=True)  # the program's end does not wait for the next image
    reader.start()
    try:
        for batch in _batches(arrived, max_wait):
            room.release(len(batch))
            yield [image.result() for image in batch]
        end.result()
    finally:
        closed.set()
        room.release()
        reader.join(MAX_CLOSE)


def _batches(arrived: queue.SimpleQueue[Item | None], max_wait: float | None) -> Iterator[list[Item]]:
    """Yields batches of a queue that ends with None: full ones, or what has come `max_wait` seconds after the first."""
    while first := _next(arrived):
        batch, deadline = [first], time.monotonic() + (max_wait or 0)
        while len(batch) < BATCH:
            try:
                item = arrived.get(timeout=None if max_wait is None else max(0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if item is None:
                arrived.put(None)
                break
            batch.append(item)
        yield batch


def _next(arrived: queue.SimpleQueue[Item | None]) -> Item | None:
    saved_model.check_process()  # a fork has no thread that reads
    return arrived.get()


def _pixels(source: Any, size: int, background: str) -> tuple[Size, np.ndarray]:
    """Returns the width and height of an image, and its pixels, uint8 [size, size, 3]."""
    if isinstance(source, str | bytes):
        return decode(source, size, background=background)[1:]
    image = _pil_image(source) if isinstance(source, np.ndarray) else source
    return image.size, decode_image(image, size, background)


def _pil_image(array: np.ndarray) -> Image.Image:
    """Converts an array of grey levels or colours to a PIL image, with colours and large integer types as uint8.

    Raises:
        ValueError: floating-point values are none that bit_depth.white_of_floats knows, integers are not within
            [0, 255], or the channels come first.
        TypeError: the shape is another.
    """
    if array.ndim == 3 and array.shape[0] in CHANNELS and array.shape[2] not in CHANNELS:
        raise ValueError(
            f"an array of shape {array.shape}, whose channels come first: move them last, [height, width, channels], "
            "with array.transpose(1, 2, 0)"
        )
    if array.shape[2:] == (1,):
        array = array[..., 0]
    if array.dtype.kind not in "buif" or array.ndim == 3 and array.shape[2] not in CHANNELS or 0 in array.shape:
        raise ValueError(
            f"an array of shape {array.shape} and type {array.dtype}: give [height, width] or [height, width, 3], "
            "uint8 or floating-point"
        )
    if array.dtype in (bool, np.uint8) or array.ndim == 2 and array.dtype in (np.uint16, np.float32, np.float64):
        return Image.fromarray(array)
    low, high = np.min(array, initial=0), np.max(array, initial=0)
    if array.dtype.kind == "f":
        array = np.rint(array * (255 / bit_depth.white_of_floats(low, high))).clip(0, 255)
    elif not 0 <= low <= high <= 255:
        raise ValueError(f"values from {low:g} to {high:g}: give uint8, or floating-point numbers up to 1 or to 255")
    return Image.fromarray(array.astype(np.uint8))
