"""Batches of images from concurrent callers."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from stages.decoding.decode import decode
from stages.tools import inference
from stages.tools.inference import BATCH, Prediction


class Batches:
    """Decodes each image by itself, and predicts together those that came while all cores predicted batches.

    So no image waits for others to come, and the more come, the larger are the batches.
    """

    def __init__(self, model: Any, on_batch: Callable[[int], None]) -> None:
        """`on_batch` is called with the number of images of each batch, before it is predicted."""
        self.model, self.on_batch = model, on_batch
        self.size, self.background = int(model.image_size), inference.background_of(model)
        cores = os.cpu_count() or 1
        self.free = asyncio.Semaphore(cores)  # limits the files, and images in full size, that are in memory
        self.cores, self.decoders, self.predictors = cores, ThreadPoolExecutor(cores), ThreadPoolExecutor(cores)
        self.waiting: list[tuple[np.ndarray, asyncio.Future[Prediction]]] = []
        self.tasks: list[asyncio.Task[None]] = []  # each predicts a batch at a time, at most one per core
        self._classify([np.zeros((self.size, self.size, 3), np.uint8)])  # TensorFlow's first call takes a second

    async def predict(self, read: Callable[[], Awaitable[bytes]]) -> Prediction:
        """Predicts the image file whose content `read` returns; it is called when there is room in memory.

        Raises:
            MemoryError, OSError, and what TensorFlow raises: the machine is at fault.
        """
        loop = asyncio.get_running_loop()
        try:
            async with self.free:
                pixels = await loop.run_in_executor(self.decoders, self._decode, await read())
        except ValueError as error:
            return Prediction("", problem=str(error))
        prediction = loop.create_future()
        self.waiting.append((pixels, prediction))
        self.tasks = [task for task in self.tasks if not task.done()]
        if len(self.tasks) < self.cores:
            self.tasks.append(loop.create_task(self._predict_waiting()))
        return await prediction

    def _decode(self, data: bytes) -> np.ndarray:
        return decode(data, self.size, background=self.background)[2]

    def _classify(self, images: list[np.ndarray]) -> list[Prediction]:
        return list(inference.classify([(image, "") for image in images], self.model, None, False))

    async def _predict_waiting(self) -> None:
        while self.waiting:
            batch = [(image, prediction) for image, prediction in self.waiting[:BATCH] if not prediction.cancelled()]
            self.waiting = self.waiting[BATCH:]
            if not batch:
                continue
            self.on_batch(len(batch))
            images = [image for image, _ in batch]
            try:
                found = await asyncio.get_running_loop().run_in_executor(self.predictors, self._classify, images)
            except Exception as error:
                for _, prediction in batch:
                    if not prediction.cancelled():
                        prediction.set_exception(error)
            else:
                for (_, prediction), result in zip(batch, found, strict=True):
                    if not prediction.cancelled():
                        prediction.set_result(result)
