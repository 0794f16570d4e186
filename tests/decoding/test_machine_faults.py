"""Lack of memory or descriptors and failing disks while images are read: no image is to blame for that."""

import builtins
import errno
import json
import os
import resource
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from stages import split
from stages.decoding import decode as module
from stages.decoding.decode import decode, decode_image
from stages.labels import companions, files
from stages.splits import pack
from stages.tools import inference
from tests.decoding.image_files import encode, jpeg, rgb, swapped_profile, with_chunk
from tests.support import ROOT, make_images

MACHINE = [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOTCONN, errno.ETIMEDOUT]


@pytest.fixture
def fail(monkeypatch):
    """Lets open() or os.listdir() fail for paths that end in a name."""

    def fail(target, number, name):
        original = getattr(*target)

        def call(path, *arguments, **options):
            if str(path).endswith(name):
                raise OSError(number, os.strerror(number), str(path))
            return original(path, *arguments, **options)

        monkeypatch.setattr(*target, call)

    return SimpleNamespace(
        open=lambda *to: fail((builtins, "open"), *to), listdir=lambda *to: fail((os, "listdir"), *to)
    )


@pytest.fixture
def mine(workplace):
    folder = make_images(workplace.folder / "mine", {"a": 6, "b": 6})
    workplace.set({"data.images": "mine", "image_size": 32, "data.on_unreadable": "skip"})
    return folder


@pytest.mark.parametrize("number", MACHINE)
def test_split_skips_no_image_for_a_fault_of_the_machine(mine, fail, number):
    fail.open(number, "a/003.png")
    with pytest.raises(OSError) as caught:
        split.main()
    assert caught.value.errno == number and caught.value.filename.endswith("mine/a/003.png")
    assert not os.path.exists("data/splits/train")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ELOOP])
def test_split_skips_a_file_that_itself_cannot_be_opened(mine, fail, number):
    fail.open(number, "a/003.png")
    split.main()
    with open("data/splits/summary.json") as file:
        assert json.load(file)["unreadable"] == 1


@pytest.mark.parametrize("number", MACHINE)
def test_a_folder_on_a_failing_disk_is_no_folder_without_images(mine, fail, number):
    fail.listdir(number, "mine/b")
    with pytest.raises(OSError) as caught:
        files.find_files("mine")
    assert caught.value.errno == number
    with pytest.raises(OSError):
        list(inference.find(["mine"]))


@pytest.mark.parametrize("number", MACHINE)
def test_a_text_on_a_failing_disk_is_not_taken_for_one(mine, fail, number):
    (mine / "a/003.txt").write_bytes(encode(rgb(), "PNG"))
    assert not companions.is_text_file("mine/a/003.txt")
    fail.open(number, "003.txt")
    with pytest.raises(OSError):
        companions.is_text_file("mine/a/003.txt")


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="a file whose reading fails")
def test_a_file_whose_reading_fails_is_named():
    with pytest.raises(OSError, match="Input/output error: '/proc/self/mem'"):
        decode("/proc/self/mem", 32)


def lack(monkeypatch, error=MemoryError):
    """Lets decoding fail as without memory: by MemoryError, or as if the file were broken."""

    def load(self):
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)


class Allocation:
    """numpy.empty, which counts what it is asked for and has only some bytes."""

    def __init__(self, monkeypatch, free):
        self.asked, empty = [], np.empty

        def call(shape, dtype=float, **options):
            if isinstance(shape, int) and dtype is np.uint8:
                self.asked.append(shape)
                if shape > free:
                    raise MemoryError
                return None
            return empty(shape, dtype, **options)

        monkeypatch.setattr(np, "empty", call)


@pytest.mark.parametrize("error", [MemoryError, OSError("broken data stream when reading image file"), SyntaxError])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_error_of_a_decoder_without_memory_is_the_machine_s(monkeypatch, tmp_path, error, kind):
    (tmp_path / "a").write_bytes(encode(rgb(), kind))
    lack(monkeypatch, error)
    with pytest.raises(ValueError):  # there is memory, so that it is the file
        decode(tmp_path / "a", 32)
    Allocation(monkeypatch, free=2**20)
    with pytest.raises(MemoryError, match="/a cannot be decoded"):
        decode(tmp_path / "a", 32)


def test_the_memory_that_is_asked_for_grows_with_the_pixels(monkeypatch):
    lack(monkeypatch)
    asked = []
    for side in (10, 1000, 3000):
        allocation = Allocation(monkeypatch, free=2**40)
        with pytest.raises(ValueError):
            decode(encode(Image.new("L", (side, side)), "PNG"), 32)
        asked += allocation.asked[:1]
    assert asked[0] < asked[1] - 30 * 10**6 < asked[2] - 200 * 10**6


def test_metadata_is_not_blamed_for_lack_of_memory(monkeypatch):
    seen = []

    def record(data, *arguments):
        seen.append(len(data))
        raise MemoryError

    monkeypatch.setattr(module, "_pixels", record)
    with pytest.raises(ValueError):
        decode(with_chunk(encode(rgb(), "PNG"), b"gAMA", b""), 32)
    assert len(seen) == 1


def test_a_colour_profile_is_not_ignored_for_lack_of_memory(monkeypatch):
    module._transform.cache_clear()

    def fail(*_):
        raise ImageCms.PyCMSError("cannot allocate")

    monkeypatch.setattr(ImageCms, "buildTransform", fail)
    Allocation(monkeypatch, free=2**20)
    with pytest.raises(MemoryError):
        decode(jpeg(rgb(), icc_profile=swapped_profile()), 32)
    assert module._transform.cache_info().currsize == 0


@pytest.mark.parametrize("error", [MemoryError, OSError(errno.EIO, "Input/output error")])
def test_an_image_in_memory_raises_faults_of_the_machine(monkeypatch, error):
    monkeypatch.setattr(module, "_square", lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(type(error) if isinstance(error, OSError) else error):
        decode_image(rgb(), 32)


def test_images_that_fail_are_decoded_once_more_when_no_other_thread_takes_memory(mine, monkeypatch):
    calls, decode_once = [], pack.decode

    def fail_first(path, *arguments):
        calls.append(str(path))
        if calls.count(str(path)) == 1 and path.name == "003.png":
            raise ValueError("broken data stream")
        return decode_once(path, *arguments)

    monkeypatch.setattr(pack, "decode", fail_first)
    split.main()
    with open("data/splits/summary.json") as file:
        assert json.load(file)["unreadable"] == 0
    assert len(calls) == 14


LIMITED = """
import resource, sys
from stages.decoding.decode import decode, is_known
is_known(b"")
for path in sys.argv[1:]:
    decode(path, 96)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
{limit}
for path in sys.argv[1:]:
    try:
        print("read" if decode(path.replace("small", "large"), 96)[2].any() else "black")
    except (MemoryError, OSError) as error:
        print(type(error).__name__)
    except ValueError as error:
        print("blamed", error)
"""
MEMORY = "resource.setrlimit(resource.RLIMIT_AS, (used + {free}, used + {free}))"


KINDS = {"png": {}, "webp": {"lossless": True, "quality": 0, "method": 0}, "jp2": {}, "jpg": {"progressive": True}}


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="Linux tells how much memory is in use")
def test_no_format_is_blamed_for_lack_of_memory(tmp_path):
    for kind, options in KINDS.items():
        for name, side in {"small": 8, "large": 3000}.items():
            Image.new("RGB", (side, side), (9, 99, 9)).save(tmp_path / f"{name}.{kind}", **options)
    names = [str(tmp_path / f"small.{kind}") for kind in KINDS]
    code = LIMITED.format(limit=MEMORY.format(free=4_000_000))
    ran = subprocess.run([sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True)
    outcomes = ran.stdout.split()
    assert outcomes[:3] == ["MemoryError"] * 3 and outcomes[3] in ("read", "MemoryError"), ran.stdout + ran.stderr


def test_lack_of_descriptors(tmp_path):
    rgb().save(tmp_path / "small.png")
    limit = "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))"
    code = LIMITED.format(limit=limit)
    ran = subprocess.run([sys.executable, "-c", code, tmp_path / "small.png"], cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout == "OSError\n", ran.stderr
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 3
