"""Fuzzing: broken and odd files for `stages.tools.predict` and for the SavedModel's signature for encoded bytes.

    python -m tests.benchmarks.fuzz [--cases 10000] [--seed 1]

Each case must end in probabilities or in an error of its own. They run in a child process, so that a crash is noticed
and counted: the exit status is 1 then, and so it is after any other exception. Prints the outcomes for each kind of
case, the slowest cases and the process's peak memory.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import argparse
import json
import resource
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from PIL import ExifTags, Image, ImageCms
from tqdm import tqdm

from stages.model import network, saved_model
from stages.tools import inference
from tests.decoding.image_files import chunk, encode, with_chunk, with_segment

SIZE = 32  # pixels of a side of the model's images, on which decoding does not depend
HUGE = 1000  # cases of which one is an image just below Pillow's limit of 89 million pixels
PNG = b"\x89PNG\r\n\x1a\n"
OUTCOMES = ("probabilities", "error", "crash")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", nargs=2, metavar=("FOLDER", "FIRST"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        folder, first = arguments.child
        return run(Path(folder), arguments.seed, range(int(first), arguments.cases))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        saved_model.save(network.build(SIZE, 2), ["a", "b"], 1, Path(folder) / "model")
        while len(rows) < arguments.cases:
            options = ["--cases", arguments.cases, "--seed", arguments.seed, "--child", folder, len(rows)]
            command = [sys.executable, "-m", "tests.benchmarks.fuzz", *map(str, options)]
            # libjpeg's messages about broken files are kept for the case that the process itself fails.
            with (
                Path(folder, "stderr").open("w") as chatter,
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=chatter, text=True) as child,
            ):
                for line in tqdm(child.stdout, "cases", arguments.cases, initial=len(rows), disable=None):
                    rows.append(json.loads(line))
            if child.returncode > 0:
                sys.exit(Path(folder, "stderr").read_text(errors="replace"))
            if child.returncode < 0:
                kind = f"signal {-child.returncode}"
                rows.append({"case": len(rows), "kind": kind, "predict": "crash", "bytes": "crash"})
    table = pd.DataFrame(rows)
    counts = pd.concat({x: pd.crosstab(table["kind"], table[x]) for x in ("predict", "bytes")}, axis=1)
    print(counts.fillna(0).astype(int).to_string())
    print(f"\nPeak memory {table['peak'].max():.0f} MB. The slowest, in seconds:")
    print(table.nlargest(5, "predict_seconds").to_string(index=False))
    print(table.nlargest(5, "bytes_seconds").to_string(index=False))
    unexpected = table[~(table["predict"].isin(OUTCOMES[:2]) & table["bytes"].isin(OUTCOMES[:2]))]
    if len(unexpected):
        print(unexpected.to_string(index=False))
        sys.exit(1)


def run(folder, seed, numbers):
    """Runs the cases of these numbers, and prints a line of JSON for each."""
    warnings.simplefilter("ignore")
    model, sources = saved_model.load(folder / "model"), images()
    for number in numbers:
        kind, data = case(seed, number, sources)
        row = {"case": number, "kind": kind, "length": len(data)}
        for name, function in (("predict", predict), ("bytes", serve)):
            start = time.perf_counter()
            row[name] = function(model, data, folder / "case")
            row[f"{name}_seconds"] = round(time.perf_counter() - start, 3)
        unit = 1024 if sys.platform == "linux" else 1024**2
        print(json.dumps({**row, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}), flush=True)


def predict(model, data, path):
    """Returns "probabilities", "error", or an unexpected exception, for a file of these bytes."""
    path.write_bytes(data)
    try:
        [prediction] = inference.classify(inference.find([path]), model, None, False)
    except Exception as error:
        return repr(error)
    return "error" if prediction.problem else _checked(list(prediction.probabilities.values()))


def serve(model, data, path):
    """Returns the outcome, as `predict` does, of the signature for encoded bytes."""
    try:
        [probabilities] = model.signatures["serving_bytes"](image_bytes=tf.constant([data]))["probabilities"].numpy()
    except tf.errors.InvalidArgumentError:
        return "error"
    except Exception as error:
        return repr(error)
    return _checked(probabilities)


def _checked(probabilities):
    valid = np.isfinite(probabilities).all() and abs(np.sum(probabilities) - 1) < 1e-5
    return "probabilities" if valid else f"no probabilities: {probabilities}"


def images():
    """Returns complete files to break: list of (format, bytes)."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize((120, 90), Image.Resampling.BICUBIC)
    rgba = rgb.copy()
    rgba.putalpha(rgb.getchannel(0))
    deep = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 256)
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = "maker", 6
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = {"icc_profile": srgb[:24] + bytes(12) + srgb[36:]}  # without the time at which it was made
    frames = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    wanted = [
        (rgb, "JPEG", {}),
        (rgb, "JPEG", {"progressive": True}),
        (rgb, "JPEG", {"exif": exif, **profile}),
        (rgb.convert("L"), "JPEG", {}),
        (rgb.convert("CMYK"), "JPEG", {}),
        (rgb, "JPEG", {"restart_marker_rows": 1}),
        (rgb, "PNG", {}),
        (rgba, "PNG", {"exif": exif, **profile}),
        (rgb.convert("L"), "PNG", {"transparency": 9}),
        (rgb.convert("P"), "PNG", {}),
        (rgb.convert("P"), "PNG", {"transparency": b"\0\x80\xff"}),
        (deep, "PNG", {}),
        (rgb.convert("1"), "PNG", {}),
        (rgba.convert("LA"), "PNG", {}),
        (rgb, "PNG", frames),
        (rgb, "GIF", frames),
        (rgb, "WEBP", frames),
        (rgba, "WEBP", {"lossless": True, "exif": exif}),
        (rgb, "BMP", {}),
        (rgb, "PPM", {}),
        (rgb, "TIFF", {}),
        (rgba, "TIFF", {"compression": "tiff_lzw"}),
        (rgb, "TIFF", {"compression": "jpeg"}),
        (rgb, "TIFF", frames),
        (rgb, "JPEG2000", {}),
        (rgb, "AVIF", {}),
    ]
    return [(kind, encode(image, kind, **options)) for image, kind, options in wanted]


def case(seed, number, sources):
    """Returns the kind and the bytes of a case: the same for the same seed and number."""
    rng = np.random.default_rng([seed, number])
    if number % HUGE == HUGE - 1:
        return "huge", huge(rng)
    kind = list(KINDS)[number % len(KINDS)]
    _, data = sources[rng.integers(len(sources))]
    return kind, bytes(KINDS[kind](rng, data))


def truncate(rng, data):
    return data[: rng.integers(len(data))]


def flip(rng, data):
    array = np.frombuffer(data, np.uint8).copy()
    for _ in range(rng.integers(1, 30)):
        array[rng.integers(len(array))] ^= 1 << rng.integers(8)
    return array.tobytes()


def flip_head(rng, data):
    """Bits flipped among the first bytes, which decide how the others are read."""
    return flip(rng, data[:80]) + data[80:]


def overwrite(rng, data):
    start, length = rng.integers(len(data)), rng.integers(1, 200)
    return data[:start] + rng.bytes(length) + data[start + length :]


def repeat(rng, data):
    """A stretch of the file repeated, or left out."""
    a, b = rng.integers(len(data), size=2)
    return data[:a] + data[b:]


def declare(rng, data):
    """An image whose header declares another size."""
    width, height = (int(x) for x in rng.choice([0, 1, 7, 500, 9_000, 30_000, 65_500, 2**31 - 1, 2**32 - 1], 2))
    if rng.random() < 0.5:
        body = zlib.compress(bytes(rng.integers(0, 10**5)))
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        return PNG + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    jpeg = encode(Image.new("RGB", (40, 30)), "JPEG", progressive=bool(rng.random() < 0.5))
    place = max(jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xc2")) + 5
    return jpeg[:place] + struct.pack(">HH", height % 2**16, width % 2**16) + jpeg[place + 4 :]


def odd_chunks(rng, data):
    """A PNG file of any depth and colour type, interlaced or not, with chunks of random content."""
    depth, colour, interlaced = rng.choice([1, 2, 4, 8, 16]), rng.choice([0, 2, 3, 4, 6]), rng.random() < 0.3
    kinds = [b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"zTXt", b"gAMA", b"cHRM", b"sBIT", b"bKGD", b"acTL", b"fcTL", b"iTXt"]
    width, height = rng.integers(1, 99, 2)
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))]
    parts += [chunk(kinds[rng.integers(len(kinds))], rng.bytes(rng.integers(0, 300))) for _ in range(rng.integers(5))]
    parts.append(chunk(b"IDAT", zlib.compress(bytes(10**5) if rng.random() < 0.5 else rng.bytes(10**4))))
    return PNG + b"".join(parts) + chunk(b"IEND", b"")


def odd_exif(rng, data):
    """A complete image with invalid EXIF data."""
    order = rng.choice(["<", ">"])
    count = int(rng.choice([0, 1, 3, 65_535]))
    entries = b"".join(
        struct.pack(
            f"{order}HHII",
            rng.choice([0x0112, 0x010F, 0x8769]),
            rng.integers(0, 14),
            rng.choice([0, 1, 2**32 - 1]),
            rng.choice([0, 6, 6 << 16, 2**32 - 1]),
        )
        for _ in range(rng.integers(4))
    )
    start = int(rng.choice([8, 8, 8, 0, 7, 2**31, 2**32 - 1]))
    tiff = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", start, count) + entries
    tiff = tiff[: rng.integers(len(tiff) + 1)] if rng.random() < 0.3 else tiff
    image = Image.new("RGB", (30, 40))
    if rng.random() < 0.5:
        return with_chunk(encode(image, "PNG"), b"eXIf", tiff)
    return with_segment(encode(image, "JPEG"), 0xE1, b"Exif\0\0" + tiff)


def magic(rng, data):
    """The first bytes of a format, and random ones."""
    starts = [PNG, b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\0\x10JFIF\0", b"GIF89a", b"RIFF\xff\0\0\0WEBPVP8 ", b"BM"]
    starts += [b"II*\0", b"MM\0*", b"P6 ", b"\0\0\0\x0cjP  \r\n\x87\n", b"\0\0\0\x1cftypavif", PNG + b"\0\0\0\rIHDR"]
    return starts[rng.integers(len(starts))] + rng.bytes(rng.integers(0, 3000))


def no_image(rng, data):
    others = [
        b"",
        b"\0" * 5000,
        b"%PDF-1.7\n",
        b"PK\3\4" + rng.bytes(100),
        b"<svg width='10' height='10'/>",
        b"just a text\n",
        zlib.compress(data),
        data.hex().encode(),
        "ünïcode".encode("utf-16"),
    ]
    return others[rng.integers(len(others))]


def unchanged(rng, data):
    return data


def huge(rng):
    """A complete file of a few kilobytes with up to 89 million pixels."""
    height = int(rng.integers(1_500, 30_000))
    mode = str(rng.choice(["1", "L", "LA", "RGB", "RGBA", "P"]))
    image = Image.new(mode, (Image.MAX_IMAGE_PIXELS // height, height))
    if mode in ("L", "RGB") and rng.random() < 0.5:
        return encode(image, "JPEG", progressive=True)
    return encode(image, "PNG")


KINDS = {
    "truncated": truncate,
    "bits flipped": flip,
    "bits flipped at the start": flip_head,
    "overwritten": overwrite,
    "repeated or left out": repeat,
    "wrong size declared": declare,
    "odd PNG chunks": odd_chunks,
    "odd EXIF": odd_exif,
    "magic number": magic,
    "no image": no_image,
    "unchanged": unchanged,
}


if __name__ == "__main__":
    main()
