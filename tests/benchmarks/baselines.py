"""Baselines for tests/benchmarks/speed.py: each in a process of its own, from the root of a repository.

    python -m tests.benchmarks.baselines notebook
    python -m tests.benchmarks.baselines tutorial
    python -m tests.benchmarks.baselines floor

notebook: the notebook as one script in today's Keras, with the settings of params.yaml. As there, 80% of the images
train, 20% validate and none are left to test, and in fine-tuning batch normalization takes the statistics of the batch.
tutorial: the same with the sets kept in memory, as TensorFlow's tutorials have it.
floor: the arithmetic alone, for as many training and validation images as data/splits/summary.json counts in our
splits: one forward pass of the bare base per image and epoch and, for training images, the backward pass to the first
trainable layer. No decoding, augmentation, optimizer, metrics or saving. Our stages can take less than that: they
compute the frozen layers once for each of train.views views of an image, not in every epoch.

The first two import nothing of this repository, and TensorFlow is as it comes. The lines "phase ...", which says what
begins, "epoch N:", that one has ended, and "images N", how many each epoch takes, are for speed.py.
"""

import argparse
import io
import json
import time
from pathlib import Path

import yaml

RATES = {"train_frozen": 0.001, "finetune": 0.0001}  # the notebook's learning rates


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("baseline", choices=["notebook", "tutorial", "floor"])
    baseline = parser.parse_args().baseline
    p = yaml.safe_load(Path("params.yaml").read_text())
    if baseline == "floor":
        floor(p, json.loads(Path("data/splits/summary.json").read_text()))
    else:
        notebook(p, cached=baseline == "tutorial")
    say("phase exit")


def say(line):
    print(line, flush=True)


def notebook(p, cached):
    import matplotlib.pyplot as plt
    import tensorflow as tf

    say("phase build")
    train, validation = notebook_sets(tf, p)
    classes = len(train.class_names)
    say(f"images {len(train.file_paths) + len(validation.file_paths)}")
    if cached:
        train, validation = train.cache().shuffle(1000), validation.cache().prefetch(tf.data.AUTOTUNE)
    train = train.prefetch(tf.data.AUTOTUNE)
    base, model = notebook_model(tf, p, 1 if classes == 2 else classes)
    losses = tf.keras.losses
    loss = (losses.BinaryCrossentropy if classes == 2 else losses.SparseCategoricalCrossentropy)(from_logits=True)
    tell = tf.keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: say(f"epoch {epoch + 1}: {logs}"))

    def fit(phase, first):
        say(f"phase {phase}")
        optimizer = tf.keras.optimizers.Adam(RATES[phase])
        model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
        return model.fit(
            train,
            validation_data=validation,
            initial_epoch=first,
            epochs=first + p[phase]["epochs"],
            callbacks=[tell],
            verbose=0,
        ).history

    frozen = fit("train_frozen", 0)
    base.trainable = True
    for layer in base.layers[: p["finetune"]["fine_tune_at"]]:
        layer.trainable = False
    finetuned = fit("finetune", p["train_frozen"]["epochs"])

    say("phase plot")
    plt.figure(figsize=(8, 8))
    for row, name in enumerate(("accuracy", "loss"), 1):
        plt.subplot(2, 1, row)
        for key in (name, f"val_{name}"):
            plt.plot(frozen[key] + finetuned[key], label=key)
        plt.axvline(p["train_frozen"]["epochs"] - 1, label="start fine-tuning")
        plt.legend()
    plt.xlabel("epoch")
    plt.savefig(io.BytesIO())


def notebook_sets(tf, p):
    """Returns the training and the validation set."""
    return [
        tf.keras.utils.image_dataset_from_directory(
            p["data"]["images"],
            shuffle=True,
            batch_size=p["batch_size"],
            image_size=(p["image_size"], p["image_size"]),
            validation_split=0.2,
            subset=subset,
            seed=p["seed"],
        )
        for subset in ("training", "validation")
    ]


def notebook_model(tf, p, outputs):
    """Returns MobileNetV2, frozen, and the model around it, from pixels to logits."""
    shape = (p["image_size"], p["image_size"], 3)
    augmentation = tf.keras.Sequential()
    if p["augmentation"]["flip"] != "none":
        augmentation.add(tf.keras.layers.RandomFlip(p["augmentation"]["flip"]))
    augmentation.add(tf.keras.layers.RandomRotation(float(p["augmentation"]["rotation"])))
    base = tf.keras.applications.MobileNetV2(input_shape=shape, include_top=False, weights=None)
    base.load_weights(p["model"]["weights"])
    base.trainable = False
    inputs = tf.keras.Input(shape)
    x = tf.keras.applications.mobilenet_v2.preprocess_input(augmentation(inputs))
    x = base(x, training=False)
    x = tf.keras.layers.GlobalAveragePooling2D()(x)
    x = tf.keras.layers.Dropout(float(p["train"]["dropout"]))(x)
    return base, tf.keras.Model(inputs, tf.keras.layers.Dense(outputs)(x))


def floor(p, split):
    # Memory is kept as our stages keep it. Without that, every step gets its memory from the system as new pages and
    # the same arithmetic is slower: such a floor would flatter us.
    from stages.model import backend

    backend.configure()
    import numpy as np
    import tensorflow as tf

    say("phase build")
    train, validation = (sum(split[name].values()) for name in ("train", "validation"))
    size, batch_size, classes = p["image_size"], p["batch_size"], len(split["train"])
    rng = np.random.default_rng(p["seed"])
    pixels = tf.constant(rng.uniform(-1, 1, (batch_size, size, size, 3)), tf.float32)
    labels = tf.constant(rng.integers(0, classes, batch_size))
    forward, steps = floor_functions(
        p, classes, [tf.TensorSpec([None, *pixels.shape[1:]]), tf.TensorSpec([None], tf.int64)]
    )

    def batches(count):
        """The same images over and over: a batch is far larger than the processor's caches."""
        rest = count % batch_size
        return [(pixels, labels)] * (count // batch_size) + [(pixels[:rest], labels[:rest])] * (rest > 0)

    train_batches, validation_batches = batches(train), batches(validation)
    for batch in [train_batches[0], train_batches[-1], validation_batches[0], validation_batches[-1]]:
        for step in steps.values():
            step(*batch)
        forward(batch[0])  # after this, everything is traced and each size of batch was there once

    say(f"images {train + validation}")
    epoch, total, speeds = 0, 0, {}
    for phase, step in steps.items():
        say(f"phase {phase}")
        start = time.monotonic()
        for _ in range(p[phase]["epochs"]):
            for batch in train_batches:
                step(*batch)
            for images, _ in validation_batches:
                features = forward(images)
            features[0, 0, 0, 0].numpy()  # a GPU works on while Python is ahead
            epoch += 1
            say(f"epoch {epoch}:")
        seconds = time.monotonic() - start
        total += seconds
        speeds[phase] = p[phase]["epochs"] * (train + validation) / seconds
    print(f"floor: {total:.2f} s; images/s: " + ", ".join(f"{phase} {speed:.1f}" for phase, speed in speeds.items()))


def floor_functions(p, classes, signature):
    """Returns the forward pass of the base, and {phase: a function of pixels and labels that computes gradients}."""
    import keras
    import tensorflow as tf

    base = keras.applications.MobileNetV2((p["image_size"], p["image_size"], 3), include_top=False, weights=None)
    base.load_weights(p["model"]["weights"])
    head = keras.layers.Dense(classes)
    head.build((None, base.output_shape[-1]))

    @tf.function(input_signature=signature[:1])
    def forward(pixels):
        return base(pixels, training=False)

    def backward(fine_tune_at):
        for index, layer in enumerate(base.layers):
            layer.trainable = index >= fine_tune_at
        variables = [variable.value for variable in [*base.trainable_variables, *head.trainable_variables]]

        @tf.function(input_signature=signature)
        def step(pixels, labels):
            with tf.GradientTape() as tape:
                logits = head(tf.reduce_mean(base(pixels, training=False), axis=(1, 2)))
                loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
            return tape.gradient(loss, variables)  # used for nothing

        return step

    return forward, {"train_frozen": backward(len(base.layers)), "finetune": backward(p["finetune"]["fine_tune_at"])}


if __name__ == "__main__":
    main()
