"""Predicts the classes of images with the fine-tuned model and the threshold that evaluate chose.

    python -m stages.tools.predict PATH... [OPTIONS]

    PATH             an image, a folder of images and sub-folders, or - for a list of such paths on
                     standard input: one per line, or each ended by a zero byte, as `find -print0`
                     writes them; lists from Windows (CRLF, byte order mark, UTF-16) are read, too
    --model FOLDER   the SavedModel (data/models/classifier), the only output of the pipeline needed
    --threshold T    of two classes, predict the second where its probability reaches T, instead of
                     the model's own threshold
    --calibrated     scale the probabilities by the model's temperature; the predicted classes stay
                     the same, because thresholds refer to unscaled probabilities
    --rank           instead, print the at most 100 images whose labels would help most, best first,
                     each with the number of images that are similar to it: of every kind of image
                     that the model is uncertain of, the most typical one, without near-duplicates
    --drift          instead, say in what the images differ from the validation images, by tests
                     that find a difference between images of the same kind in at most 5% of cases;
                     jsonl gives one line of JSON; the model must lie where the pipeline wrote it
    --strict         exit with status 3 if an image is unlike the training images
    --format FORMAT  table (default); or jsonl (JSON Lines) or csv, which have the probabilities of
                     all classes and, of more than two classes, the prediction set: those among
                     which the right one is in 95% of cases

Prints a line per image as soon as it is done: the predicted class, its probability, and the novelty. Above 1, the image
is unlike the training images, as at most 5% of the validation images are, and its prediction means little. Files that
cannot be read are named with the reason on standard error. Then come the number of images of each predicted class and
of images unlike the training images, below the table or on standard error. The exit status is 0 if all images could be
read, 1 otherwise, whatever --strict says.

The same in Python, for paths and for images in memory (PIL images, NumPy arrays in RGB, the bytes of a file); importing
this module changes nothing else in the process:

    from stages.tools.predict import predict
    for image in predict(["holiday", "more/dog.jpg"]):
        print(image.path, image.problem or image.predicted, image.probability, image.unlike)

Each such call loads the model, which takes seconds. A program that calls it often loads the model once, with
`model = load()`, for predict(images, model).
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import codecs
import csv
import dataclasses
import functools
import json
import os
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.cells import cell_len, set_cell_size
from tqdm import tqdm

from stages.common import cli
from stages.common.arrays import Features, Pixels, Sizes
from stages.common.cli import UserError
from stages.model import saved_model
from stages.tools import inference
from stages.tools.inference import Prediction, Source

MODEL = "data/models/classifier"
MOST_CLASSES = 20  # maximum number of predicted classes that are counted in full
FREQUENT_CLASSES = 10  # number of classes that are counted otherwise, the most frequent ones
SIMILAR = "similar_images"  # of active_learning.Candidate, the column that --rank adds
FEWEST_UNLIKE = 5  # minimum number of images for the warning that most are unlike the training images
STRICT = 3  # exit status of --strict; 2 is argparse's
MEANING_OF_UNLIKE = ", and the predictions for such images mean little: check that they show the classes of the model"
NO_NOVELTY = (
    "Whether images are unlike the training images is not known: the model has no threshold, which evaluate sets in "
    f"{MODEL} from 19 validation images on."
)


@dataclass
class Totals:
    """Numbers of images: of each predicted class, unlike the training images, and unreadable ones."""

    predicted: Counter[str] = field(default_factory=Counter)
    unlike: int = 0
    unreadable: int = 0


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("paths", nargs="+", metavar="PATH")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--calibrated", action="store_true")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--rank", action="store_true")
    instead.add_argument("--drift", action="store_true")
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--format", choices=WRITERS, default="table")
    arguments = parser.parse_args()
    if arguments.drift and arguments.format == "csv":
        parser.error("--drift prints a text, or JSON with --format jsonl")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends this command quietly, like others
    warnings.simplefilter("ignore")  # Pillow's warnings about odd metadata
    sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    files = list(inference.find(expand_paths(arguments.paths)))
    if not files:
        raise UserError(f"there is no image in {cli.enumeration([*map(cli.printable, arguments.paths)])}.")
    model = saved_model.load(arguments.model)
    if arguments.strict and not inference.knows_novelty(model):
        raise UserError(f"--strict needs a model that knows when an image is unlike the training images. {NO_NOVELTY}")
    features: list[Features] = []
    if arguments.drift:
        from stages.tools import drift_report  # here, because other predictions need none of what it imports

        reference, collector = drift_report.reference_of(arguments.model), drift_report.Collector()

    def add_features(pixels: Pixels, sizes: Sizes, outputs: Mapping[str, Any]) -> None:
        features.append(outputs["features"].numpy().astype(np.float16))

    classify = functools.partial(
        inference.classify, model=model, threshold=arguments.threshold, calibrated=arguments.calibrated
    )
    on_batch = collector.add if arguments.drift else add_features if arguments.rank else None
    predictions = classify(files, on_batch=on_batch)
    # On a terminal, the lines show the progress by themselves.
    hidden = (sys.stdout.isatty() and on_batch is None) or None
    progress = tqdm(predictions, "predicting", len(files), unit="image", disable=hidden)
    totals = Totals()
    written: Iterable[Prediction] = count(report_unreadable(progress, totals), totals)
    if arguments.drift:
        for _ in written:  # is read for the collector
            pass
        drift_report.write(collector.sample(), reference, arguments.format)
        if not inference.knows_novelty(model):
            print(NO_NOVELTY, file=sys.stderr)
    else:
        if arguments.rank:
            written = report_unreadable(rank(written, features, classify, model), totals)
        WRITERS[arguments.format](written, inference.classes_of(model), arguments.rank)
        write_totals(totals, arguments.format, inference.knows_novelty(model))
    if totals.unreadable:
        sys.exit(1)
    if arguments.strict and totals.unlike:
        sys.exit(STRICT)


def load(model: str | os.PathLike[str] = MODEL) -> Any:
    """Returns the SavedModel of a folder, for any number of calls of `predict`, from any thread of this process.

    Raises:
        UserError: there is no such model; the process was forked from one that had loaded a model.
    """
    return saved_model.load(os.fspath(model))


def predict(
    images: Source | Iterable[Source],
    model: Any = MODEL,
    threshold: float | None = None,
    calibrated: bool = False,
) -> Iterator[Prediction]:
    """Predicts the classes of images in their order, in folders sorted by name, without holding all in memory.

    Args:
        images: one image or several: paths of files, or of folders with images; PIL images; the bytes of files; arrays,
            [height, width, 3] in RGB or [height, width] in grey, uint8 or floating-point from 0 to 1 or to 255. Images
            whose highest value is 1.05 or less go to 1, those from 2 on to 255, and others count as unreadable; values
            beyond by 5% at most, of which resampling and rounding leave some, are clipped. An iterator, such as a
            camera's, is read and closed in another thread, at most 64 images ahead. Each of its images is predicted 50
            ms after it was yielded at the latest, or as soon as those before are; so the batches depend on time, and
            with them the last digits of the probabilities.
        model: folder of the SavedModel, which is loaded in each call; or what `load` returns.
        threshold: the second of two classes is predicted where its unscaled probability reaches this; None: the model's
            own, which evaluate chose.
        calibrated: whether to scale the probabilities by the model's temperature; the predicted classes stay the same.

    Raises:
        UserError: there is no such model; the threshold is not in [0, 1], or the model has more than two classes; the
            process was forked from one that had loaded a model.
    """
    loaded = load(model) if isinstance(model, str | os.PathLike) else model
    max_wait = inference.MAX_WAIT if inference.arrive_over_time(images) else None
    return inference.classify(inference.find(images), loaded, threshold, calibrated, max_wait)


def expand_paths(arguments: Iterable[str]) -> Iterator[str]:
    """Yields the paths of the command line; in the place of -, those on standard input, which may not exist.

    Raises:
        UserError: a path of the command line does not exist.
    """
    for argument in arguments:
        if argument == "-":
            yield from filter(None, split_list(sys.stdin.buffer.read()))
        elif os.path.lexists(argument):
            yield argument
        else:
            name = cli.printable(argument)
            raise UserError(f"{name} does not exist. Name images, folders of images, or - for a list.")


def split_list(data: bytes) -> list[str]:
    """Returns the paths of a list, which zero bytes end, or line ends; Windows's (CRLF) only if all of them are."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as PowerShell writes it
        data = data.decode("utf-16", errors="replace").encode()
    text = os.fsdecode(data.removeprefix(codecs.BOM_UTF8))
    if "\0" in text:
        return text.split("\0")
    return text.split("\r\n" if text.count("\n") == text.count("\r\n") else "\n")


def report_unreadable(predictions: Iterable[Prediction], totals: Totals) -> Iterator[Prediction]:
    """Yields the predictions of images that can be read. Reports and counts the others."""
    for prediction in predictions:
        if prediction.problem:
            problem = cli.escaped(" ".join(prediction.problem.split()))
            tqdm.write(f"{cli.printable(prediction.path)}: {problem}", file=sys.stderr)
            totals.unreadable += 1
        else:
            yield prediction


def rank(
    predictions: Iterable[Prediction],
    features: Sequence[Features],
    classify: Callable[[Iterable[tuple[Source, str]]], Iterator[Prediction]],
    model: Any,
) -> Iterator[Prediction]:
    """Yields an active_learning.Candidate for each of the images whose labels would help most, best first.

    `features` has an array for each batch of `predictions`, once these have been read.
    """
    from stages.tools import active_learning  # here, because the import of scikit-learn takes a second

    images = [(x.path, active_learning.uncertainty(x)) for x in predictions]  # without all probabilities
    if not images:
        return
    rows, similar = active_learning.select(np.concatenate(features), np.array([weight for _, weight in images]))
    paths = [images[row][0] for row in rows]
    kept = active_learning.without_near_duplicates(paths, int(model.image_size), inference.background_of(model))
    found = classify((paths[place], "") for place in kept)
    for place, prediction in zip(kept, found, strict=True):
        yield active_learning.Candidate(**dataclasses.asdict(prediction), similar_images=int(similar[place]))


def count(predictions: Iterable[Prediction], totals: Totals) -> Iterator[Prediction]:
    """Yields predictions, and counts their classes and those unlike the training images."""
    for prediction in predictions:
        totals.predicted[str(prediction.predicted)] += 1
        totals.unlike += bool(prediction.unlike)
        yield prediction


def write_totals(totals: Totals, format_: str, novelty: bool) -> None:
    """Prints the totals of several images; on standard error if standard output holds data. Warnings go there, too."""
    out, images = sys.stdout if format_ == "table" else sys.stderr, totals.predicted.total()
    if images > 1:
        print(*([""] if format_ == "table" else []), *lines_of_counts(totals.predicted), sep="\n", file=out)
    if not novelty:
        print(NO_NOVELTY, file=sys.stderr)
    elif totals.unlike > images / 2 and images >= FEWEST_UNLIKE:
        print(f"WARNING: {text_of_unlike(totals.unlike, images)}{MEANING_OF_UNLIKE}.", file=sys.stderr)
    elif images > 1:
        print(f"{text_of_unlike(totals.unlike, images)}.", file=out)


def text_of_unlike(count: int, total: int) -> str:
    return f"{count:,} of {total:,} images {'is' if count == 1 else 'are'} unlike the training images"


def lines_of_counts(counts: Counter[str]) -> Iterator[str]:
    """Yields the lines of a table of the number of images of each predicted class."""
    shown = counts.most_common(None if len(counts) <= MOST_CLASSES else FREQUENT_CLASSES)
    rows = [("predicted", "images"), *((cli.printable(name), f"{images:,}") for name, images in shown)]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    yield from (f"{set_cell_size(name, widths[0])}  {images:>{widths[1]}}" for name, images in rows)
    if rest := len(counts) - len(shown):
        yield f"and {rest} more classes, of {cli.counted(counts.total() - sum(x for _, x in shown), 'image')}"


def write_table(predictions: Iterable[Prediction], classes: Sequence[str], ranked: bool = False) -> None:
    width = max(map(cell_len, ["predicted", *map(cli.printable, classes)]))
    print(f"{'predicted':{width}}  probability      novelty  {'similar images  ' if ranked else ''}path")
    for x in predictions:
        predicted = set_cell_size(cli.printable(str(x.predicted)), width)
        novelty = "-" if x.novelty is None else f"{'unlike ' if x.unlike else ''}{x.novelty:.2f}"
        similar = f"{getattr(x, SIMILAR):14,}  " if ranked else ""
        print(f"{predicted}  {x.probability:11.1%}  {novelty:>11}  {similar}{cli.printable(x.path)}")


def write_jsonl(predictions: Iterable[Prediction], classes: Sequence[str], ranked: bool = False) -> None:
    for x in predictions:
        print(json.dumps(inference.record(x) | ({SIMILAR: getattr(x, SIMILAR)} if ranked else {})))


def write_csv(predictions: Iterable[Prediction], classes: Sequence[str], ranked: bool = False) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)  # a name may hold line breaks
    names = ["path", "predicted", "probability", "novelty", "unlike"]
    names += [*(["prediction_set"] if len(classes) > 2 else []), *([SIMILAR] if ranked else [])]
    writer.writerow([*names, *(f"probability_{name}" for name in classes)])
    for x in predictions:
        cells = [getattr(x, name) for name in names]
        cells = [json.dumps(cell) if isinstance(cell, bool | list) else cell for cell in cells]
        writer.writerow([*cells, *(x.probabilities or {}).values()])


WRITERS = {"table": write_table, "jsonl": write_jsonl, "csv": write_csv}


if __name__ == "__main__":
    cli.run(main)
