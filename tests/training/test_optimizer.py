"""Adam's rates of kernels and its averages, against Keras's own Adam."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from stages.training import optimizer

# Initial values and gradients: kernels of a 1 x 1, a 3 x 3 and a depthwise convolution, a bias and the head's kernel.
SHAPES = [(1, 1, 64, 8), (3, 3, 8, 4), (3, 3, 8, 1), (8,), (1280, 3)]
INPUTS = [64, 72, 9, None, None]  # of a unit; None: trained at the learning rate itself
RATE = 0.01
RATES = np.full(10, RATE, np.float32)


def variables(seed=0):
    rng = np.random.default_rng(seed)
    return [keras.Variable(rng.normal(size=shape).astype("float32")) for shape in SHAPES]


def gradients(seed):
    return [tf.constant(np.random.default_rng(seed).normal(size=shape).astype("float32")) for shape in SHAPES]


def trained(made, steps=3):
    """Variables after each of so many steps of an optimizer, as arrays."""
    own, history = variables(), []
    made.build(own)
    for step in range(steps):
        made.apply(gradients(step + 1), own)
        history.append([variable.numpy() for variable in own])
    return history


def test_a_kernel_of_a_convolution_is_trained_at_a_rate_for_the_number_of_its_inputs():
    ours = trained(optimizer.Adam(RATES, 1280, 0))
    for place, inputs in enumerate(INPUTS):
        theirs = trained(keras.optimizers.Adam(RATE * 1280 / inputs if inputs else RATE))
        for step, expected in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(step[place], expected[place], rtol=1e-5, atol=1e-5)


def test_each_step_has_a_rate_of_its_own():
    ours, theirs, adam = variables(), variables(), keras.optimizers.Adam(0.01)
    made = optimizer.Adam(np.float32([0.01, 0.03, 0.02]), 1280, 0)
    made.build(ours)
    for step, rate in enumerate([0.01, 0.03, 0.02]):
        adam.learning_rate = rate
        made.apply(gradients(step), ours)
        adam.apply(gradients(step), theirs)
        np.testing.assert_allclose(ours[-1].numpy(), theirs[-1].numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("horizon", "fraction"), [(4, 0.25), (1, 1), (0, 1)])
def test_the_averages_start_at_the_initial_weights_and_follow_the_trained_ones(horizon, fraction):
    adam = optimizer.Adam(RATES, 1280, horizon)
    steps, expected = trained(adam), [variable.numpy() for variable in variables()]
    for values in steps:
        expected = [average + fraction * (value - average) for average, value in zip(expected, values, strict=True)]
    for average, wanted, last in zip(adam.averages, expected, steps[-1], strict=True):
        np.testing.assert_allclose(average, wanted, rtol=1e-5, atol=1e-6)
        assert np.array_equal(average, last) == (fraction == 1)


@pytest.mark.parametrize("wrap", [lambda adam: adam, keras.optimizers.LossScaleOptimizer])
def test_a_network_has_its_averaged_weights_for_a_while(wrap):
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    network.set_weights([np.float32([[1], [2]]), np.float32([3])])
    adam = optimizer.Adam(RATES, 2, 2)
    made = wrap(adam)
    made.build(network.trainable_variables)
    network.set_weights([np.float32([[9], [9]]), np.float32([9])])
    with optimizer.averaged(network, made):
        assert [x.tolist() for x in network.get_weights()] == [[[1], [2]], [3]]
    assert [x.tolist() for x in network.get_weights()] == [[[9], [9]], [9]]
    assert adam.averages[1].numpy() == 3
