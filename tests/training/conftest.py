"""Fixtures of the tests of training."""

import numpy as np
import pytest

from stages.model import onnx_engine
from stages.training import step


@pytest.fixture
def steps(monkeypatch):
    """The steps of training, a dict each; instead of learning, every step adds 1 to the head's bias."""
    taken = []

    def make_step(network, trained, views, optimizer, train):
        def take(shard, inputs, labels, mask):
            network.layers[-1].bias.assign_add(np.ones(network.output_shape[1]))
            optimizer.averages[-1].assign(network.layers[-1].bias)
            rate = float(optimizer.learning_rate)
            taken.append({"inputs": np.asarray(inputs), "labels": labels, "mask": mask, "learning_rate": rate})
            return np.zeros(2)

        return take

    monkeypatch.setattr(step, "make_step", make_step)
    return taken


@pytest.fixture(autouse=True)
def small_networks_on_tensorflow(monkeypatch):
    """Layers of `small` are none that onnx_graph knows."""
    suits = onnx_engine.suits
    monkeypatch.setattr(
        onnx_engine, "suits", lambda model: "AveragePooling2D name=average" not in str(model.layers) and suits(model)
    )
