import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from stages.common.cli import UserError
from stages.model import network, weights_file
from stages.model.mobilenet_v2 import fold, mobilenet_v2, unfold
from tests.support import keras_mobilenet_v2, save_weights


def test_is_keras_own_mobilenet_v2_with_its_preprocessing(weights):
    model = network.build(32, 2)
    network.load_base(model, weights)
    reference = keras_mobilenet_v2(32)
    reference.load_weights(weights)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    features = reference(keras.applications.mobilenet_v2.preprocess_input(images.astype("float32")), training=False)
    dense = model.get_layer("logits")
    expected = dense(features.numpy().mean(axis=(1, 2)))
    np.testing.assert_allclose(model(images.astype("float32")), expected, rtol=1e-3, atol=1e-4)


def test_has_the_layers_of_keras_own_mobilenet_v2_and_reads_its_weights_file(weights):
    base, reference = mobilenet_v2(32), keras_mobilenet_v2()
    assert [x.name for x in base.layers[1:]] == [x.name for x in reference.layers[1:]] and len(base.layers) == 154
    reference.load_weights(weights)
    read = weights_file.read(str(weights), base)
    assert all(np.array_equal(a, b) for a, b in zip(read, reference.get_weights(), strict=True))


def test_folded_weights_become_those_of_keras_own_mobilenet_v2_again(weights):
    reference, model = keras_mobilenet_v2(32), network.build(32, 2)
    network.load_base(model, weights)
    base = model.get_layer("base")
    assert [x.name for x in base.weights] == ["kernel", "bias"] * 52
    reference.set_weights(unfold(base.get_weights()))
    pixels = np.random.default_rng(0).uniform(-1, 1, (4, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(reference(pixels, training=False), base(pixels), rtol=1e-4, atol=1e-5)
    for ours, again in zip(base.get_weights(), fold(reference.get_weights()), strict=True):
        np.testing.assert_allclose(ours, again, rtol=1e-6, atol=1e-12)


@pytest.fixture
def float64(monkeypatch):
    """Everything is computed in float64, in which roundings, and ReLU6 that switch because of them, play no part."""
    set_policy = keras.config.set_dtype_policy
    set_policy("float64")
    monkeypatch.setattr(keras.config, "set_dtype_policy", lambda policy: None)
    yield
    set_policy("float32")


def test_has_the_outputs_and_gradients_of_keras_own_mobilenet_v2(weights, float64):
    model = network.build(32, 3)
    network.load_base(model, weights)
    base, reference = model.get_layer("base"), keras_mobilenet_v2(32)
    reference.load_weights(weights)
    reference.trainable = True
    pixels = tf.constant(np.random.default_rng(0).uniform(-1, 1, (4, 32, 32, 3)))
    results = []
    for either in (base, reference):
        with tf.GradientTape() as tape:
            features = either(pixels, training=False)
            loss = tf.reduce_sum(features**2)
        named = {variable.path: variable.value for variable in either.trainable_variables}
        results.append((features, dict(zip(named, tape.gradient(loss, list(named.values())), strict=True))))
    (ours, our_gradients), (theirs, their_gradients) = results
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * np.abs(theirs).max())
    assert len(our_gradients) == 2 * 52
    normalizations = [layer for layer in reference.layers if isinstance(layer, keras.layers.BatchNormalization)]
    convolutions = [layer for layer in base.layers if layer.weights]
    for convolution, normalization in zip(convolutions, normalizations, strict=True):
        # A step of a folded kernel is one of the kernel times the scale.
        scale = normalization.gamma / tf.sqrt(normalization.moving_variance + normalization.epsilon)
        depthwise = isinstance(convolution, keras.layers.DepthwiseConv2D)
        expected = our_gradients[convolution.kernel.path] * (tf.reshape(scale, [-1, 1]) if depthwise else scale)
        for gradient, path in (
            (expected, convolution.kernel.path),
            (our_gradients[convolution.bias.path], normalization.beta.path),
        ):
            theirs = their_gradients[path].numpy()
            np.testing.assert_allclose(gradient, theirs, rtol=1e-7, atol=1e-7 * np.abs(theirs).max())


@pytest.mark.parametrize("mixed_precision, agreement", [("float16", 0.99), ("bfloat16", 0.9)])
def test_mixed_precision_computes_the_same_more_roughly_and_is_served_in_float32(weights, mixed_precision, agreement):
    model = network.build(32, 3, mixed_precision)
    network.load_base(model, weights)
    assert {weight.dtype for weight in model.weights} == {"float32"}
    served = network.to_serving(model)
    assert served is not model and network.to_serving(served) is served
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    rough, exact = (keras.Model(x.input, x.get_layer("logits").input)(images).numpy() for x in (model, served))
    assert rough.dtype == np.float32 and not np.array_equal(rough, exact)
    assert np.corrcoef(rough.ravel(), exact.ravel())[0, 1] > agreement


def test_one_logit_for_two_classes_and_as_many_as_classes_for_more():
    assert network.build(32, 2).output_shape == (None, 1)
    assert network.build(32, 3).output_shape == (None, 3)


def test_freezing_and_unfreezing_act_layer_by_layer():
    model = network.build(32, 2)
    for index in (154, 120, 100, 150):
        words = network.freeze_below(model, index)
        learning = [layer.trainable for layer in model.get_layer("base").layers]
        assert learning == [number >= index for number in range(154)]
    network.freeze_below(model, 120)
    assert network.freeze_below(model, 120).startswith(
        "training from layer 120, block_13_depthwise: 1,617,761 of 2,208,097 parameters"
    )
    assert network.freeze_below(model, 154).endswith(": 1,281 of 2,208,097 parameters")
    assert "block_16_project" in words


def test_the_frozen_part_the_trained_part_and_the_head_are_the_network(weights):
    model = network.build(32, 3)
    network.load_base(model, weights)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    expected, head = model(images), model.layers[-1]
    for fine_tune_at in (154, 153, 120, 101, 100, 60, 0):  # 101: between a convolution and its normalization
        network.freeze_below(model, fine_tune_at)
        frozen, trained = network.split_at(model, fine_tune_at)
        np.testing.assert_allclose(head(trained(frozen(images))), expected, rtol=1e-4, atol=1e-5)
        assert frozen.trainable_weights == []
        trainable = [*trained.trainable_weights, *head.trainable_weights]
        assert [w.path for w in trainable] == [w.path for w in model.trainable_weights]


def test_the_network_is_split_behind_the_last_complete_block_below_the_layer():
    model = network.build(224, 2)
    names = [layer.name for layer in model.get_layer("base").layers]
    cuts = {  # the last layer of the frozen part and its output, of the first layer that is trained
        "block_13_depthwise": ("block_12_add", (14, 14, 96)),  # layer 120
        "block_11_expand_relu": ("block_10_project_BN", (14, 14, 96)),  # layer 100
        "block_13_expand": ("block_12_add", (14, 14, 96)),
        "block_12_add": ("block_11_add", (14, 14, 96)),
        "block_12_project_BN": ("block_11_add", (14, 14, 96)),
        "block_14_expand": ("block_13_project_BN", (7, 7, 160)),
        "out_relu": ("block_16_project_BN", (7, 7, 320)),
        "block_4_expand": ("block_3_project_BN", (28, 28, 32)),
    }
    assert names.index("block_13_depthwise") == 120 and names.index("block_11_expand_relu") == 100
    for layer, (last, shape) in cuts.items():
        frozen, trained = network.split_at(model, names.index(layer))
        assert frozen.layers[-1].layers[-1].name == last, layer
        assert frozen.output_shape[1:] == trained.input_shape[1:] == shape and trained.output_shape == (None, 1280)
    for layer in (names[0], "block_1_expand", "block_3_expand"):  # what comes out is no smaller than the images are
        frozen, trained = network.split_at(model, names.index(layer))
        assert frozen.output_shape[1:] == trained.input_shape[1:] == (224, 224, 3) and len(frozen.layers) == 1
    frozen, trained = network.split_at(model, 154)
    assert frozen.output_shape == trained.output_shape == (None, 1280) and len(trained.layers) == 1


@pytest.mark.parametrize("mixed_precision", ["float16", "bfloat16"])
def test_the_parts_compute_in_mixed_precision_what_the_network_does(weights, mixed_precision):
    model = network.build(32, 3, mixed_precision)
    network.load_base(model, weights)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    for fine_tune_at in (154, 120):
        frozen, trained = network.split_at(model, fine_tune_at)
        activations = frozen(images)
        assert activations.dtype == ("float32" if fine_tune_at == 154 else mixed_precision)
        features = trained(activations)
        assert features.dtype == "float32"
        np.testing.assert_allclose(model.layers[-1](features), model(images), rtol=1e-3, atol=1e-3)


def older_layout(path, base):
    """Writes the arrays of a base as Keras 2 did, and as the files lie from which Keras downloads its own weights."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name for layer in base.layers]
        for layer in base.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = names or np.array([], "S1")
            for name, weight in zip(names, layer.weights, strict=True):
                group[name] = weight.numpy()


def test_takes_the_file_that_keras_downloads(weights, tmp_path):
    reference, model = keras_mobilenet_v2(32), network.build(32, 2)
    reference.load_weights(weights)
    older_layout(tmp_path / "mobilenet_v2_224_no_top.h5", reference)
    network.load_base(model, str(tmp_path / "mobilenet_v2_224_no_top.h5"))
    loaded = model.get_layer("base").get_weights()
    assert all(np.array_equal(a, np.float32(b)) for a, b in zip(loaded, fold(reference.get_weights()), strict=True))


def test_weights_that_are_missing_or_do_not_fit_are_refused_by_name(weights, tmp_path):
    model = network.build(32, 2)
    narrow = tmp_path / "narrow.weights.h5"
    keras.applications.MobileNetV2((32, 32, 3), alpha=0.5, include_top=False, weights=None).save_weights(narrow)
    gap = tmp_path / "gap.weights.h5"
    gap.write_bytes(weights.read_bytes())
    with h5py.File(gap, "a") as file:
        del file["layers/depthwise_conv2d/vars/0"]
    half = tmp_path / "half.weights.h5"
    half.write_bytes(weights.read_bytes()[:100_000])
    text = tmp_path / "text.weights.h5"
    text.write_text("no weights")
    older = tmp_path / "older_no_top.h5"
    older_layout(older, keras.applications.MobileNetV2((32, 32, 3), alpha=0.5, include_top=False, weights=None))
    with_top = tmp_path / "with_top_no_top.h5"
    older_layout(with_top, keras.applications.MobileNetV2((32, 32, 3), alpha=0.75, weights=None))
    empty = tmp_path / "empty_no_top.h5"
    h5py.File(empty, "w").close()
    reasons = {
        older: "layer Conv1 ",
        with_top: "layer Conv1 ",
        empty: "does not fit",
        narrow: "layer Conv1 ",
        gap: "layer expanded_conv_depthwise ",
        half: "not a complete HDF5",
        text: "not a complete HDF5",
        tmp_path / "none.weights.h5": "is missing",
    }
    for path, reason in reasons.items():
        with pytest.raises(UserError, match=f"{path.name} .*{reason}"):
            network.load_base(model, path)


def edit(name, value):
    """A change of one number of an array, or of its dtype."""

    def change(file):
        array = file[name][()]
        del file[name]
        array = array.astype(np.result_type(array, value)) if np.iscomplexobj(value) else array
        array.flat[array.size // 2] = value
        file[name] = array

    return change


def retype(dtype):
    def change(file):
        array = file["layers/conv2d/vars/0"][()]
        del file["layers/conv2d/vars/0"]
        file["layers/conv2d/vars/0"] = array.astype(dtype)

    return change


NUMBERS = {  # (change of a weights file, array at fault, what it holds)
    "NaN": (edit("layers/conv2d/vars/0", np.nan), "layers/conv2d/vars/0 of layer Conv1 ", "NaN or infinity"),
    "infinity": (edit("layers/conv2d_34/vars/0", -np.inf), "layers/conv2d_34/vars/0 of layer Conv_1 ", "NaN or inf"),
    "gamma": (edit("layers/batch_normalization/vars/0", np.nan), "batch_normalization/vars/0 of layer bn_Conv1", "NaN"),
    "mean": (
        edit("layers/batch_normalization_3/vars/2", np.inf),
        "batch_normalization_3/vars/2 of layer block_",
        "NaN",
    ),
    "large": (edit("layers/depthwise_conv2d/vars/0", -1e38), "vars/0 of layer expanded_conv_depthwise ", "-1e.38, bey"),
    "just too large": (edit("layers/conv2d/vars/0", 65505), "layers/conv2d/vars/0 of layer Conv1 ", "65504"),
    "complex": (edit("layers/conv2d/vars/0", 1 + 2j), "layers/conv2d/vars/0 of layer Conv1 ", "type complex64"),
    "integers": (retype(np.int32), "layers/conv2d/vars/0 of layer Conv1 ", "type int32"),
    "text": (retype("S5"), "layers/conv2d/vars/0 of layer Conv1 ", "type .*, which are not floating-point"),
    "negative variance": (
        edit("layers/batch_normalization/vars/3", -0.5),
        "vars/3 of layer bn_Conv1 ",
        "-0.5, but no var",
    ),
}


@pytest.mark.parametrize(("change", "array", "held"), NUMBERS.values(), ids=NUMBERS)
def test_numbers_that_are_no_weights_are_refused_by_the_name_of_their_array(weights, tmp_path, change, array, held):
    path = tmp_path / "own.weights.h5"
    path.write_bytes(weights.read_bytes())
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(UserError, match=f"^{path}: the array .*{array}.*holds .*{held}") as error:
        weights_file.read(str(path), mobilenet_v2(32))
    assert "\n" not in str(error.value)


def test_numbers_are_checked_in_the_older_layout_too(weights, tmp_path):
    reference = keras_mobilenet_v2(32)
    reference.load_weights(weights)
    reference.get_layer("block_1_expand").kernel.assign(np.full((1, 1, 16, 96), np.nan))
    older_layout(tmp_path / "no_top.h5", reference)
    with pytest.raises(UserError, match="block_1_expand/block_1_expand/kernel:0 of layer block_1_expand holds NaN"):
        network.load_base(network.build(32, 2), str(tmp_path / "no_top.h5"))


def test_weights_that_are_too_large_only_once_they_are_folded_are_refused(weights, tmp_path):
    path = tmp_path / "own.weights.h5"
    path.write_bytes(weights.read_bytes())
    with h5py.File(path, "a") as file:
        file["layers/batch_normalization_5/vars/0"][...] = 60_000
        file["layers/batch_normalization_5/vars/3"][...] = 0
    with pytest.raises(
        UserError, match="the kernel of block_.* with its batch normalization folded in holds .*, beyond"
    ):
        network.load_base(network.build(32, 2), str(path))


def test_weights_at_the_limits_are_taken(weights, tmp_path):
    path = tmp_path / "own.weights.h5"
    path.write_bytes(weights.read_bytes())
    with h5py.File(path, "a") as file:
        edit("layers/conv2d_34/vars/0", -65504)(file)
        edit("layers/batch_normalization/vars/3", 0)(file)
        edit("layers/batch_normalization_1/vars/3", 3.9e-36)(file)  # of a dead channel, as in the default weights
        for dtype, name in ((np.float16, "layers/conv2d/vars/0"), (np.float64, "layers/conv2d_1/vars/0")):
            array = file[name][()].astype(dtype)
            del file[name]
            file[name] = array
    assert weights_file.read(str(path), mobilenet_v2(32))[0].dtype == np.float16


def flip(data, seed, count, start=0, stop=None):
    """Flips bits at fixed pseudo-random places."""
    changed, rng = bytearray(data), np.random.default_rng(seed)
    for place in rng.integers(start, stop or len(data), count):
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def test_damaged_files_end_in_one_line_or_in_finite_weights(shallow, tmp_path):
    """40 copies with flipped bits, of these 20 in the first 20 kB, where HDF5 keeps names; cut and zeroed ones."""
    base, path = mobilenet_v2(32), tmp_path / "damaged.weights.h5"
    save_weights(path, base)
    data, lines = path.read_bytes(), []
    copies = [flip(data, seed, 5) for seed in range(20)]
    copies += [flip(data, seed, 3, stop=20_000) for seed in range(20)]
    copies += [data[:length] for length in (0, 7, 512, 4096, len(data) // 2, len(data) - 1)]
    copies += [data[:start] + bytes(512) + data[start + 512 :] for start in range(0, 20_000, 1_000)]
    for copy in copies:
        path.write_bytes(copy)
        try:
            arrays = weights_file.read(str(path), base)
        except UserError as error:
            lines.append(str(error))
        else:
            assert len(arrays) == 5 * 10 and all(np.isfinite(array).all() for array in arrays)
    assert all(line.startswith(str(path)) for line in lines)
    assert (
        sum("not a complete HDF5" in line for line in lines) > 6 and sum("does not fit" in line for line in lines) > 2
    )
