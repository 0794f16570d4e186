"""Training on several GPUs or machines, by TensorFlow's strategies: the images of every step are split among devices.

A step is the same whatever the number of devices: the loss is the mean over the whole batch, and random numbers are
drawn beforehand.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from stages.common.cli import UserError


@dataclass(frozen=True)
class Shard:
    """The part of a step that this process computes."""

    count: int  # number of rows of the whole step
    own: slice  # rows of this process
    cuts: np.ndarray  # int32 [devices + 1], bounds of its devices' rows, counted from the first of them


@contextlib.contextmanager
def scope(name: str) -> Iterator[None]:
    """Lets the block build and train on the devices of train.strategy. Nothing may have run in TensorFlow before.

    Raises:
        UserError: TF_CONFIG is missing or wrong, or another worker has stopped.
    """
    # TensorFlow warns of the sum in `sum_over_workers` and of the number of graphs of `per_device`; both are quick.
    tf.get_logger().setLevel("ERROR")
    if name == "multi_worker":
        strategy = _join_workers()
    else:
        strategy = tf.distribute.MirroredStrategy() if name == "mirrored" else tf.distribute.get_strategy()
    with strategy.scope():
        try:
            yield
        except tf.errors.OpError as error:
            if name != "multi_worker":
                raise
            raise UserError(
                f"another worker has stopped, or cannot be reached ({error.message.splitlines()[0]}). Start all of "
                "them again: training resumes after its last finished epoch."
            ) from None


def _join_workers() -> tf.distribute.Strategy:
    try:
        config = json.loads(os.environ["TF_CONFIG"])
        workers, task = config["cluster"]["worker"], config["task"]
        if task["type"] != "worker" or not 0 <= task["index"] < len(workers) or len(config["cluster"]) > 1:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise UserError(
            "train.strategy is multi_worker, which needs TF_CONFIG="
            '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}} in the environment, '
            "with an index of its own on each machine. Set it, or set train.strategy to none."
        ) from None
    print(f"worker {task['index']} of {len(workers)}, waiting for the others", flush=True)
    return tf.distribute.MultiWorkerMirroredStrategy()


def device_count() -> int:
    """Returns the number of devices of all processes."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def is_chief() -> bool:
    """Returns whether this process writes the outputs: the only process, or worker 0 of several."""
    return worker() == 0


def print_once(text: str) -> None:
    """Prints a line, once for all workers."""
    if is_chief():
        print(text, flush=True)


def worker() -> int:
    """Returns the number of this process among the workers, from 0."""
    resolver = tf.distribute.get_strategy().cluster_resolver
    return resolver.task_id if resolver else 0


def shard(count: int) -> Shard:
    """Returns the part of a step of `count` rows that this process computes."""
    replicas, devices = device_count(), _devices()
    cuts = count * (worker() * devices + np.arange(devices + 1)) // replicas
    return Shard(count, slice(cuts[0], cuts[-1]), (cuts - cuts[0]).astype(np.int32))


def per_device(on_device: Callable, signature: Sequence[tf.TensorSpec], join: Callable[[list], Any]) -> Callable:
    """Returns a function that computes `on_device`, as a graph, on each device of this process for its own rows.

    `on_device` takes the number of all rows of the step, int32 [], and the device's rows of the arguments; it may
    update variables, in step with the other devices. `signature` holds the types of the arguments, [rows, ...]; `join`
    joins the list of the devices' results. The returned function takes a Shard and the shard's rows of the arguments.
    """
    strategy = tf.distribute.get_strategy()
    first = worker() * _devices()

    signature = [tf.TensorSpec([], tf.int32), tf.TensorSpec([None], tf.int32), *signature]

    @tf.function(autograph=False, input_signature=signature)
    def step(count: tf.Tensor, cuts: tf.Tensor, *arguments: tf.Tensor) -> Any:
        def own_part() -> Any:
            device = tf.distribute.get_replica_context().replica_id_in_sync_group - first
            return on_device(count, *(argument[cuts[device] : cuts[device + 1]] for argument in arguments))

        return join(strategy.experimental_local_results(strategy.run(own_part)))

    compute = step.get_concrete_function()  # which takes half the time to call
    types = [spec.dtype for spec in signature[2:]]

    def call(shard: Shard, *arguments: Any) -> Any:
        tensors = [tf.convert_to_tensor(x, dtype) for x, dtype in zip(arguments, types, strict=True)]
        return compute(tf.constant(shard.count), tf.constant(shard.cuts), *tensors)

    return call


def sum_over_workers(value: np.ndarray) -> np.ndarray:
    """Returns the sum of the workers' arrays, float64, of one shape."""
    strategy = tf.distribute.get_strategy()
    if strategy.cluster_resolver is None:
        return value
    part = tf.constant(value / _devices())  # every device adds its part
    sums = strategy.run(lambda: tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, part))
    return strategy.experimental_local_results(sums)[0].numpy()


def ensure_same_start(text: str) -> None:
    """Raises a UserError on every worker unless all of them give the same text."""
    number = float(int(hashlib.sha256(text.encode()).hexdigest()[:12], 16))  # 48 bits: sums are exact
    count = sum_over_workers(np.ones(()))
    if sum_over_workers(np.array(number)) != count * number:
        raise UserError(
            "the workers do not start from the same images, parameters, weights, code and state in .checkpoints. "
            "Let all of them run in one folder that they share, or in copies that are the same."
        )


def _devices() -> int:
    """Returns the number of devices of this process."""
    strategy = tf.distribute.get_strategy()
    workers = strategy.cluster_resolver.cluster_spec().num_tasks("worker") if strategy.cluster_resolver else 1
    return device_count() // workers
