"""Measures the memory of a process that calls `stages.tools.predict` repeatedly with a loaded model, as servers do.

    python -m tests.benchmarks.predict_memory [--calls 100000]

The network is small and untrained. Each call has one image in memory. Prints a line per tenth of the calls: resident
memory in MB, threads, and milliseconds per call.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100_000)
    calls = parser.parse_args().calls
    from stages.model import network, saved_model
    from stages.tools.predict import load, predict

    with tempfile.TemporaryDirectory() as folder:
        saved_model.save(network.build(32, 2), ["a", "b"], 1, Path(folder) / "model")
        model = load(f"{folder}/model")
    image = np.zeros((240, 320, 3), np.uint8)
    print("  calls      MB  threads  ms per call")
    for part in range(11):  # first a hundredth, in which memory still grows
        number = calls // 10 if part else calls // 100
        start = time.time()
        for _ in range(number):
            [_] = predict(image, model)
        status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
        memory, threads = int(status["VmRSS"].split()[0]) / 1024, int(status["Threads"])
        done = calls // 100 + part * calls // 10
        print(f"{done:7} {memory:7.1f} {threads:8} {(time.time() - start) / number * 1000:12.2f}", flush=True)


if __name__ == "__main__":
    main()
