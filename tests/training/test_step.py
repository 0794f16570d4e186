"""A step of training against Keras and scikit-learn, learning rates and class weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

from stages.training import augmentation, step
from tests.support import make_split
from tests.training.support import history_of, make_params, same, scripted_validation, small, train


@pytest.fixture(autouse=True)
def in_workplace(workplace):
    """Every test has a working folder, with its checkpoints, of its own."""


@pytest.mark.parametrize("layer_index", [0, 154])  # the views are pixels, or stored features
@pytest.mark.parametrize("classes", [2, 3])
def test_training_is_what_keras_does_with_the_same_random_numbers(classes, layer_index):
    options = {
        "epochs": 3, "passes": 2, "views": 3, "schedule": "cosine", "warmup": 0.25, "learning_rate": 0.02, "l2": 5,
        "class_weights": "balanced", "flip": "horizontal", "rotation": 0.1, "dropout": 0.3,
    }  # fmt: skip
    split = make_split(10, list("abc")[:classes])
    split.manifest.loc[[0, 1], "label"] = 1  # classes of different sizes
    model, reference = small(classes), small(classes)
    ours = history_of(train(model, split, layer_index=layer_index, **options))
    augment = make_params(**{key: options[key] for key in ("flip", "rotation")}).augmentation
    # In the middle of the second epoch, for example, 9 of 18 steps are over.
    theirs = [keras_epoch(reference, split, views_of(reference, split, augment, layer_index), n) for n in range(3)]
    np.testing.assert_allclose(ours[["loss", "val_loss", "val_accuracy", "learning_rate"]], theirs, rtol=2e-4)


def views_of(model, split, augment, layer_index):
    """The features of three views of all images, float32 [3, N, 192], in float16's precision where they are stored."""
    extractor, images = keras.Model(model.inputs[0], model.layers[-1].input), len(split.labels)
    transforms = [augmentation.identity_transforms(images)]
    for view in (1, 2):
        rng = np.random.default_rng([1, view])
        transforms.append(augmentation.random_transforms(rng, images, 32, augment))
    features = np.stack([extractor(augmentation.apply_transforms(split.pixels, x)) for x in transforms])
    return features.astype(np.float16 if layer_index else np.float32).astype(np.float32)


def keras_epoch(model, split, features, epoch):
    """Trains the head for an epoch with Keras's losses and Adam.

    Returns:
        loss, val_loss, val_accuracy and the mean learning rate.
    """
    two, head = model.output_shape[1] == 1, model.layers[-1]
    loss = (keras.losses.BinaryCrossentropy if two else keras.losses.SparseCategoricalCrossentropy)(
        from_logits=True, reduction="none"
    )
    if epoch == 0:
        model.adam = keras.optimizers.Adam()
    weights = len(split.labels) / (len(split.classes) * np.bincount(split.labels))
    rng, y, losses, rates = np.random.default_rng([1, epoch + 1]), split.labels[:, np.newaxis], [], []
    first_view, orders = np.random.default_rng(1).integers(3, size=10), [rng.permutation(10), rng.permutation(10)]
    for number, order in enumerate(orders):
        for rows in (order[:4], order[4:8], order[8:]):
            rates.append(learning_rate_of(6 * epoch + len(rates) + 0.5))
            model.adam.learning_rate = rates[-1]
            seen = features[(first_view[rows] + 2 * epoch + number) % 3, rows]
            mask = ((rng.random((len(rows), 192), np.float32) >= 0.3) / 0.7).astype(np.float32)
            with tf.GradientTape() as tape:
                logits = head(seen * mask)
                losses.append(loss(y[rows], logits) * weights[split.labels[rows]])
                objective = tf.reduce_mean(losses[-1]) + 5 / 2 / 10 * tf.reduce_sum(head.kernel**2)
            gradients = tape.gradient(objective, [variable.value for variable in model.trainable_variables])
            model.adam.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    logits = model(split.pixels.astype("float32"))
    correct = (logits[:, 0] > 0) == split.labels if two else np.argmax(logits, axis=1) == split.labels
    return np.concatenate(losses).mean(), np.mean(loss(y, logits)), np.mean(correct), np.mean(rates)


def learning_rate_of(taken):
    """Keras's learning rate after so many of 18 steps, the first quarter of which is warm-up."""
    if taken / 18 < 0.25:
        return 0.02 * taken / 4.5
    decay = keras.optimizers.schedules.CosineDecay(0.02, decay_steps=13.5)
    return float(decay(taken - 4.5))


def test_the_penalty_is_that_of_scikit_learns_logistic_regression():
    model, split = small(3), make_split(30, ["a", "b", "c"])
    options = {"epochs": 40, "passes": 10, "learning_rate": 0.01, "schedule": "cosine", "batch_size": 30, "l2": 20}
    train(model, split, validate=scripted_validation(*[1] * 40), layer_index=154, **options)
    kernel, bias = model.get_weights()
    features = keras.Model(model.inputs[0], model.layers[-1].input)(split.pixels).numpy()
    reference = LogisticRegression(C=1 / 20, tol=1e-8, max_iter=1000).fit(features, split.labels)
    np.testing.assert_allclose(kernel.T, reference.coef_, atol=2e-3)
    np.testing.assert_allclose(bias - bias.mean(), reference.intercept_ - reference.intercept_.mean(), atol=2e-3)


def test_class_weights_balance_the_classes_or_leave_them():
    labels = np.array([0] * 6 + [1] * 2 + [2] * 1)
    assert step.class_weights(labels, "none").tolist() == [1, 1, 1]
    assert step.class_weights(labels, "balanced").tolist() == pytest.approx([0.5, 1.5, 3])


def test_nothing_is_learned_from_a_class_without_weight(monkeypatch):
    monkeypatch.setattr(step, "class_weights", lambda labels, kind: np.zeros(2))
    model = small()
    before = [weight.copy() for weight in model.get_weights()]
    train(model, make_split(8, ["a", "b"]), validate=scripted_validation(0.5))
    assert same(model, before)
