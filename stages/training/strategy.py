"""Training on several GPUs or machines, by TensorFlow's strategies: the pictures of every step are shared out among devices.

A step is the same whatever the number of devices: the whole batch counts, and all chance in it is drawn beforehand.
"""

import contextlib
import hashlib
import json
import os

import numpy as np

from stages.common.cli import UserError
from stages.model.backend import tf


@contextlib.contextmanager
def scope(distribution):
    """Lets the block build and train on the devices of train.distribution. Nothing may have run in TensorFlow before.

    Args:
        distribution: "none"; "mirrored", all GPUs of this machine; or "multi_worker", the machines that TF_CONFIG names. The
            last waits until all of them are there.

    Raises:
        UserError: TF_CONFIG is missing or wrong, or another worker has gone.
    """
    if distribution == "multi_worker":
        strategy = _join_workers()
    else:
        strategy = tf.distribute.MirroredStrategy() if distribution == "mirrored" else tf.distribute.get_strategy()
    with strategy.scope():
        try:
            yield
        except tf.errors.OpError as error:
            if distribution != "multi_worker":
                raise
            raise UserError(f"another worker has gone, or cannot be reached ({error.message.splitlines()[0]}). Start all of "
                            "them again: training goes on after its last finished epoch.") from None


def _join_workers():
    try:
        config = json.loads(os.environ["TF_CONFIG"])
        workers, task = config["cluster"]["worker"], config["task"]
        if task["type"] != "worker" or not 0 <= task["index"] < len(workers) or len(config["cluster"]) > 1:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise UserError(
            'train.distribution is multi_worker, which needs TF_CONFIG={"cluster": {"worker": ["host:port", ...]}, "task": '
            '{"type": "worker", "index": 0}} in the environment, with an index of its own on each machine. Set it, or set '
            "train.distribution to none."
        ) from None
    print(f"worker {task['index']} of {len(workers)}, waiting for the others", flush=True)
    tf.get_logger().setLevel("ERROR")  # it warns of the sum in `total`, once an epoch, which takes next to no time
    return tf.distribute.MultiWorkerMirroredStrategy()


def is_chief():
    """Whether this process is the one that writes: the only one, or worker 0 of several."""
    return _worker() == 0


def share(count):
    """Returns which of the `count` rows of a step this process computes, and where they are cut among its devices.

    Returns:
        (slice, int32 [devices + 1]), the cuts counted from the start of the slice.
    """
    every, here = tf.distribute.get_strategy().num_replicas_in_sync, _devices()
    cuts = count * (_worker() * here + np.arange(here + 1)) // every
    return slice(cuts[0], cuts[-1]), (cuts - cuts[0]).astype(np.int32)


def function(on_device, signature, join):
    """Returns a tf.function that computes `on_device` on each device of this process with its own part of the rows.

    Args:
        on_device: takes the number of all rows of the step, int32 [], and tensors of some rows of the arguments; may update
            variables, in step with the other devices.
        signature: list of tf.TensorSpec, of the arguments, [rows, ...].
        join: makes one result of the list of those of the devices.

    Returns:
        A function of the number of all rows of the step, the cuts that `share` returns, and the arguments.
    """
    strategy = tf.distribute.get_strategy()
    first = _worker() * _devices()

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([], tf.int32), tf.TensorSpec([None], tf.int32), *signature])
    def step(count, cuts, *arguments):
        def own_part():
            device = tf.distribute.get_replica_context().replica_id_in_sync_group - first
            return on_device(count, *(argument[cuts[device] : cuts[device + 1]] for argument in arguments))

        return join(strategy.experimental_local_results(strategy.run(own_part)))

    return step


def total(value):
    """Returns the sum over all workers of an array, float64, of the same shape on each."""
    strategy = tf.distribute.get_strategy()
    if strategy.cluster_resolver is None:
        return value
    part = tf.constant(value / _devices())  # every device has its part in the sum
    sums = strategy.run(lambda: tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, part))
    return strategy.experimental_local_results(sums)[0].numpy()


def check_same(text):
    """Raises a UserError on every worker, unless all of them give the same text."""
    number = float(int(hashlib.sha256(text.encode()).hexdigest()[:12], 16))  # so few bits that sums are exact
    count = total(np.ones(()))
    if total(np.array(number)) != count * number:
        raise UserError("the workers do not start from the same pictures, parameters, weights, code and state in .checkpoints. "
                        "Let all of them run in one folder that they share, or in copies that are the same.")


def _worker():
    """The number of this process, from 0."""
    resolver = tf.distribute.get_strategy().cluster_resolver
    return resolver.task_id if resolver else 0


def _devices():
    """How many devices this process computes on."""
    strategy = tf.distribute.get_strategy()
    workers = strategy.cluster_resolver.cluster_spec().num_tasks("worker") if strategy.cluster_resolver else 1
    return strategy.num_replicas_in_sync // workers
