#!/usr/bin/env bash
# TensorFlow with enable_op_determinism() gives other bytes on another number of cores, be it on the same machine
# (taskset, a container's --cpuset-cpus): by default an operator uses a thread per core, and divides its sums among
# them.
#
# Expected: the same bytes on whichever cores a machine runs a process. The documentation promises "the exact same
# outputs" on "the same hardware", of algorithms that do "not use threads in a nondeterministic way"; it asks for "the
# same hardware configuration", but does not name threads. Seen with tensorflow 2.21.0 (Python 3.11) on an AMD EPYC:
#
#     matmul: 2 cores twice same, 1 and 2 cores differ, with 4 threads same
#     gradient of its kernel: 2 cores twice same, 1 and 2 cores differ, with 4 threads same
#     gradient of its input: 2 cores twice same, 1 and 2 cores differ, with 4 threads same
#     gradient of a bias: 2 cores twice same, 1 and 2 cores differ, with 4 threads same
#
# With four threads, set by tf.config.threading.set_intra_op_parallelism_threads, the cores no longer count. The script
# needs two of them. Fails if the output changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv .venv
.venv/bin/pip install -q tensorflow==2.21.0
cat > hashes.py <<'PYTHON'
import hashlib
import json
import os
import sys

cores, threads = map(int, sys.argv[1:])
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])

import numpy as np
import tensorflow as tf

tf.config.experimental.enable_op_determinism()
tf.config.threading.set_intra_op_parallelism_threads(threads)  # 0 is the default
rng = np.random.default_rng(0)


def normal(*shape):
    return tf.constant(rng.standard_normal(shape, "float32"))


x, kernel, gradient = normal(32 * 7 * 7, 160), normal(160, 960), normal(32 * 7 * 7, 960)
outputs = {
    "matmul": tf.matmul(x, kernel),
    "gradient of its kernel": tf.matmul(x, gradient, transpose_a=True),
    "gradient of its input": tf.matmul(gradient, kernel, transpose_b=True),
    "gradient of a bias": tf.raw_ops.BiasAddGrad(out_backprop=normal(32 * 28 * 28, 32)),
}
print(json.dumps({name: hashlib.sha256(output.numpy().tobytes()).hexdigest() for name, output in outputs.items()}))
PYTHON
cat > compare.py <<'PYTHON'
import json
import subprocess
import sys


def hashes(cores, threads):
    return json.loads(subprocess.check_output([sys.executable, "hashes.py", str(cores), str(threads)]))


one, two, again = hashes(1, 0), hashes(2, 0), hashes(2, 0)
one_of_four, two_of_four = hashes(1, 4), hashes(2, 4)
word = {True: "same", False: "differ"}
for name in two:
    print(
        f"{name}: 2 cores twice {word[two[name] == again[name]]}, 1 and 2 cores {word[one[name] == two[name]]}, "
        f"with 4 threads {word[one_of_four[name] == two_of_four[name]]}"
    )
PYTHON
seen=$(TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1 .venv/bin/python compare.py 2>/dev/null)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
matmul: 2 cores twice same, 1 and 2 cores differ, with 4 threads same
gradient of its kernel: 2 cores twice same, 1 and 2 cores differ, with 4 threads same
gradient of its input: 2 cores twice same, 1 and 2 cores differ, with 4 threads same
gradient of a bias: 2 cores twice same, 1 and 2 cores differ, with 4 threads same
SEEN
