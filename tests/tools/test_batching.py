"""Batches of concurrent callers, with a model whose probabilities are the brightness of an image."""

import asyncio
import io
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from stages.tools import batching
from stages.tools.batching import Batches

SIZE = 8


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    """One batch at a time, so that tests know what is in each."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)


def fake(serve):
    return SimpleNamespace(
        class_names=tf.constant(["dark", "bright"]),
        novelty_threshold=1.0,
        set_threshold=0.0,
        threshold=0.5,
        image_size=SIZE,
        background=tf.constant("#ffffff"),
        signatures={"serving_uint8": serve},
    )


def brightness(images):
    second = images[:, 0, 0, 0] / 255
    return {"probabilities": tf.constant(np.stack([1 - second, second], axis=1)), "novelty": tf.zeros(len(images))}


def png(level):
    file = io.BytesIO()
    Image.fromarray(np.full((9, 9, 3), level, np.uint8)).save(file, "PNG")
    return file.getvalue()


def reader(data):
    async def read():
        return data

    return read


def level_of(prediction):
    return round(prediction.probabilities["bright"] * 255)


async def until(condition):
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("in vain")


class Gate:
    """A model that waits until `open` is set, after the call of the start."""

    def __init__(self):
        self.open, self.started, self.sizes = threading.Event(), 0, []
        self.open.set()

    def __call__(self, images):
        self.started += 1
        self.open.wait(10)
        self.sizes.append(len(images))
        return brightness(images)


@pytest.mark.parametrize("levels", [[7], [0, 255, 9], list(range(0, 250, 5))])
def test_every_caller_gets_the_prediction_of_their_image(levels):
    async def main():
        batches = Batches(fake(brightness), lambda size: None)
        return await asyncio.gather(*(batches.predict(reader(png(level))) for level in levels))

    assert [level_of(found) for found in asyncio.run(main())] == levels


def test_a_batch_holds_what_came_while_the_one_before_was_predicted():
    async def main():
        batches = Batches(fake(gate), seen.append)
        gate.open.clear()
        first = asyncio.create_task(batches.predict(reader(png(1))))
        await until(lambda: gate.started == 2)
        others = [asyncio.create_task(batches.predict(reader(png(level)))) for level in range(50)]
        await until(lambda: len(batches.waiting) == 50)
        gate.open.set()
        return await asyncio.gather(first, *others)

    gate, seen = Gate(), []
    assert [level_of(found) for found in asyncio.run(main())] == [1, *range(50)]
    assert gate.sizes == [1, 1, batching.BATCH, 50 - batching.BATCH]
    assert seen == gate.sizes[1:]


@pytest.mark.parametrize("cores", [1, 2, 4])
def test_each_core_predicts_a_batch(monkeypatch, cores):
    async def main():
        batches = Batches(fake(gate), lambda size: None)
        gate.open.clear()
        tasks = []
        for started in range(2, 2 + cores):
            tasks.append(asyncio.create_task(batches.predict(reader(png(started)))))
            await until(lambda expected=started: gate.started == expected)
        tasks += [asyncio.create_task(batches.predict(reader(png(level)))) for level in range(100, 106)]
        await until(lambda: len(batches.waiting) == 6)
        gate.open.set()
        return await asyncio.gather(*tasks)

    monkeypatch.setattr("os.cpu_count", lambda: cores)
    gate = Gate()
    assert [level_of(found) for found in asyncio.run(main())] == [*range(2, 2 + cores), *range(100, 106)]
    assert gate.sizes == [1] * (1 + cores) + [6]


@pytest.mark.parametrize("broken", [b"", b"no image", png(3)[:50], png(3)[:-30]])
def test_a_broken_file_has_its_problem_and_no_place_in_a_batch(broken):
    async def main():
        batches = Batches(fake(brightness), seen.append)
        files = [png(1), broken, png(2)]
        return await asyncio.gather(*(batches.predict(reader(data)) for data in files))

    seen = []
    first, problem, last = asyncio.run(main())
    assert (level_of(first), level_of(last)) == (1, 2) and problem.problem and problem.predicted is None
    assert sum(seen) == 2


def test_callers_that_have_gone_are_left_out():
    async def main():
        batches = Batches(fake(gate), seen.append)
        gate.open.clear()
        first = asyncio.create_task(batches.predict(reader(png(1))))
        await until(lambda: gate.started == 2)
        others = [asyncio.create_task(batches.predict(reader(png(level)))) for level in range(4)]
        await until(lambda: len(batches.waiting) == 4)
        for task in [first, *others[:3]]:
            task.cancel()
        await asyncio.gather(first, *others[:3], return_exceptions=True)
        gate.open.set()
        return level_of(await others[3]), level_of(await batches.predict(reader(png(9))))

    gate, seen = Gate(), []
    assert asyncio.run(main()) == (3, 9)
    assert seen == [1, 1, 1]


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(24, "Too many open files"), tf.errors.OpError(None, None, "", 1)]
)
def test_a_fault_of_the_machine_is_raised_to_its_callers_and_the_next_batch_is_predicted(error):
    def serve(images):
        if images[0, 0, 0, 0] == 13:
            raise error
        return brightness(images)

    async def main():
        batches = Batches(fake(serve), lambda size: None)
        with pytest.raises(type(error)):
            await batches.predict(reader(png(13)))
        return level_of(await batches.predict(reader(png(14))))

    assert asyncio.run(main()) == 14


def test_no_more_files_are_read_than_there_are_decoders(monkeypatch):
    async def main():
        batches = Batches(fake(brightness), lambda size: None)

        async def read():
            reading.append(1)
            await asyncio.sleep(0.01)
            most.append(len(reading))
            return png(1)

        decode = batches._decode

        def counted(data):
            try:
                return decode(data)
            finally:
                reading.pop()

        batches._decode = counted
        await asyncio.gather(*(batches.predict(read) for _ in range(12)))

    reading, most = [], []
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    asyncio.run(main())
    assert max(most) == 3
