"""The optimizer: Adam with a rate for each kernel, which also averages the weights."""

import contextlib
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf
from keras.optimizers import Optimizer


class Table(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rates by the number of the step."""

    def __init__(self, rates: np.ndarray) -> None:
        self._rates = tf.constant(rates)

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        return tf.gather(self._rates, step)


class Adam(keras.optimizers.Adam):
    """Adam (D. Kingma, J. Ba, ICLR 2015) with a rate for each kernel, and a moving average of the weights.

    `learning_rates`, float32 [steps], are those of the head and of biases. A step adds up over the inputs of a unit, so
    a convolution's kernel takes them times the head's inputs over its own ("muP", G. Yang et al., 2022, table 3):
    outputs of all layers then change alike. `averages` are the weights averaged over about the last `horizon` steps,
    the initial ones before.
    """

    def __init__(self, learning_rates: np.ndarray, head_inputs: int, horizon: float) -> None:
        super().__init__(Table(learning_rates))
        self._head_inputs, self._fraction = head_inputs, 1 / max(1, horizon)

    def build(self, variables: Sequence[keras.Variable]) -> None:
        super().build(variables)
        self.averages = self.add_optimizer_variables(variables, "average")
        for average, variable in zip(self.averages, variables, strict=True):
            average.assign(variable)

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        factor = self._head_inputs / inputs(variable.shape) if len(variable.shape) == 4 else 1
        index, step = self._get_variable_index(variable), tf.cast(self.iterations + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(  # what Keras's own does in a dozen operations
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=learning_rate * factor,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )
        average = self.averages[index]
        self.assign_add(average, self._fraction * (variable - average))

    def finalize_variable_values(self, variables: Sequence[keras.Variable]) -> None:
        """Replaces the weights by their averages."""
        for average, variable in zip(self.averages, variables, strict=True):
            variable.assign(average)


def inputs(kernel_shape: Sequence[int]) -> int:
    """Returns the inputs of a unit of a convolution, whose kernel is [height, width, inputs, units].

    That of a depthwise convolution is [height, width, units, 1].
    """
    height, width, channels, units = kernel_shape
    return height * width * (1 if units == 1 else channels)


def make_optimizer(network: keras.Model, learning_rates: np.ndarray, horizon: float) -> Optimizer:
    """Returns a fresh Adam for the trainable weights, whose moving average reaches back so many steps."""
    optimizer = Adam(learning_rates, network.layers[-1].kernel.shape[0], horizon)
    if any(layer.compute_dtype == "float16" for layer in network.layers):  # in which small gradients would become 0
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(network.trainable_variables)
    return optimizer


@contextlib.contextmanager
def averaged(network: keras.Model, optimizer: Optimizer) -> Iterator[None]:
    """Gives the network its averaged weights within the block."""
    variables = network.trainable_variables
    trained = [variable.numpy() for variable in variables]
    optimizer.finalize_variable_values(variables)
    yield
    for variable, value in zip(variables, trained, strict=True):
        variable.assign(value)
