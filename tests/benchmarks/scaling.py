"""Runs the code of docs/scaling.md on a cluster of two workers, one of which is killed, against one process of predict.

    pip install "dask[distributed]" s3fs "moto[server]"
    python -m tests.benchmarks.scaling [--images 10000] [--model data/models/classifier]

The images are digits of scikit-learn with noise, JPEG of 640 x 480 pixels, 100 kB. One process is
`python -m stages.tools.predict FOLDER --format jsonl`; the cluster is the commands of docs/scaling.md, with two workers
of one thread each on this machine, and one of them gets SIGKILL when half of the images are done. Prints the seconds,
with the starts and ends of all processes, their processor seconds, images per second, and the ratios. Ends with an
error unless each image has one prediction, which is that of the one process, with probabilities to 1e-5. Then the same
code reads 600 images from a local S3 server and writes there; a second time, it must find all of them done.
"""

import argparse
import collections
import contextlib
import json
import logging
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
from dask.distributed import Client
from moto.server import ThreadedMotoServer
from PIL import Image
from sklearn.datasets import load_digits

ROOT = Path(__file__).resolve().parents[2]
SIZE = (640, 480)  # width and height of an image in pixels
WORKERS = 2
TOLERANCE = 1e-5  # of a probability
IN_BUCKET = 600  # images read from S3
BUCKET = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--model", type=Path, default=Path("data/models/classifier"))
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryDirectory() as place:
        model = arguments.model.resolve()
        os.chdir(place)  # a project as predict sees it: a folder with data/models/classifier
        Path("data/models").mkdir(parents=True)
        Path("data/models/classifier").symlink_to(model)
        Path("label.py").write_text(code())
        make_images(Path("images"), arguments.images)
        paths = [str(path) for path in sorted(Path("images").iterdir())]
        expected, *one = timed(one_process)
        with open("list.txt", "w") as file:
            file.writelines(f"{path}\n" for path in paths)
        Path("out").mkdir()
        found, *cluster = timed(partial(label, "list.txt", "out", kill_at=arguments.images // 2))
        table = pd.DataFrame([one, cluster], ["one process", "cluster"], ["seconds", "processor seconds"])
        table["images per second"] = arguments.images / table["seconds"]
        print(table.to_string(float_format="{:.1f}".format))
        print(f"ratio of the times: {cluster[0] / one[0]:.2f}, of processor seconds: {cluster[1] / one[1]:.2f}")
        check(found, expected)
        read_from_a_bucket(paths[:IN_BUCKET], expected)


def code():
    """Returns the code of docs/scaling.md."""
    [block] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/scaling.md").read_text(), re.DOTALL)
    return block


def settings():
    """Returns the environment variables that docs/scaling.md sets for workers."""
    [line] = re.findall("^export (.*)$", (ROOT / "docs/scaling.md").read_text().split("TF_CONFIG")[0], re.MULTILINE)
    return dict(setting.split("=") for setting in line.split())


def make_images(folder, count):
    folder.mkdir()
    digits = load_digits().images
    noise = np.random.default_rng(0).normal(0, 20, (32, SIZE[1] // 2, SIZE[0] // 2, 3)).astype(np.int16)
    with Pool() as pool:
        pool.map(partial(write_image, folder, digits, noise), range(count), chunksize=100)


def write_image(folder, digits, noise, number):
    digit = Image.fromarray((digits[number % len(digits)] * 15).astype(np.uint8))
    pixels = np.asarray(digit.resize(SIZE, Image.Resampling.BICUBIC), np.int16)[..., np.newaxis]
    grain = np.roll(noise[number % len(noise)], number // len(noise), axis=1)
    pixels = pixels + grain.repeat(2, axis=0).repeat(2, axis=1)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:07}.jpg", quality=85)


def timed(function):
    """Returns what a function returns, and the seconds and processor seconds that its child processes took."""
    start, before = time.time(), processor_seconds()
    result = function()
    return result, time.time() - start, processor_seconds() - before


def processor_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def one_process():
    command = [sys.executable, "-m", "stages.tools.predict", "images", "--format", "jsonl"]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return [json.loads(line) for line in result.stdout.splitlines()]


def label(listing, out, kill_at=None):
    """Runs the code of docs/scaling.md on a cluster, kills a worker once so many images are done, returns all rows."""
    with cluster() as address:
        environment = {**os.environ, "DASK_SCHEDULER_ADDRESS": address}
        script = subprocess.Popen([sys.executable, "label.py", listing, out], env=environment)
        fs, folder = fsspec.url_to_fs(out)
        if kill_at is not None:
            while sum(line_count(path) for path in Path(out).glob("*.jsonl")) < kill_at:
                if script.poll() is not None:
                    sys.exit("label.py has ended before half of the images were done")
                time.sleep(0.1)
            with Client(address) as client:
                worker, process = next(iter(client.run(os.getpid).items()))
            os.kill(process, signal.SIGKILL)
            print(f"killed worker {worker}")
        if script.wait():
            sys.exit("label.py has failed")
    parts = sorted(fs.glob(f"{folder}/*.jsonl"))
    return [json.loads(line) for part in parts for line in fs.cat_file(part).splitlines()]


def line_count(path):
    return path.read_bytes().count(b"\n")


@contextlib.contextmanager
def cluster():
    """Starts a scheduler and WORKERS workers of one thread each, as docs/scaling.md does; gives its address."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        address = "tcp://127.0.0.1:{1}".format(*place.getsockname())
    dask, environment = [sys.executable, "-m", "dask"], os.environ | settings()
    options = ["--host", "127.0.0.1", "--no-dashboard"]
    with open("cluster.log", "a") as log, contextlib.ExitStack() as processes:
        for command in (
            ["scheduler", "--port", address.rpartition(":")[2], *options],
            ["worker", address, "--nthreads", "1", "--nworkers", str(WORKERS), *options],
        ):
            process = subprocess.Popen([*dask, *command], env=environment, stdout=log, stderr=log)
            processes.enter_context(process)  # waits for its end
            processes.callback(process.terminate)
        yield address


def check(found, expected):
    """Ends with an error unless each expected image has been found once, with the same prediction."""
    counts = collections.Counter(row["path"] for row in found)
    if set(counts) != {row["path"] for row in expected} or max(counts.values()) > 1:
        sys.exit(f"{len(counts):,} of {len(expected):,} images have predictions, {len(found):,} in all")
    by_path = {row["path"]: row for row in found}
    pairs = [(by_path[row["path"]], row) for row in expected]
    largest = max(abs(a["probabilities"][x] - b["probabilities"][x]) for a, b in pairs for x in b["probabilities"])
    other = sum(a["predicted"] != b["predicted"] for a, b in pairs)
    print(f"{len(found):,} images, each once; largest difference of a probability: {largest:.1g}; other class: {other}")
    if other or largest > TOLERANCE:
        sys.exit("the cluster's predictions are not those of the one process")


def read_from_a_bucket(paths, expected):
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    os.environ |= {**BUCKET, "AWS_ENDPOINT_URL": address}
    bucket = fsspec.filesystem("s3")
    bucket.mkdir("bucket")
    bucket.put(paths, [f"bucket/{path}" for path in paths])
    Path("bucket.txt").write_text("".join(f"s3://bucket/{path}\n" for path in paths))
    expected = [row | {"path": f"s3://bucket/{row['path']}"} for row in expected if row["path"] in set(paths)]
    for _ in range(2):
        found, seconds, _ = timed(partial(label, "bucket.txt", "s3://bucket/out"))
        print(f"from a bucket: {seconds:.1f} seconds")
        check(found, expected)
    server.stop()


if __name__ == "__main__":
    main()
