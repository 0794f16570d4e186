"""Images of more than 8 bits per channel, converted to what an 8-bit file of the same image would hold."""

import io
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops

from stages.decoding import faulty_metadata, tiff
from stages.decoding.unreadable import UnreadableError

ROWS = 1024  # rows that are converted at a time: a copy of all would take as much memory as the image
# A camera's 10, 12 or 14 bits, stored in 16, look nearly black, and so do dark images of 16 bits. The values do not
# tell them apart, and a guess for each image would treat the images of one folder differently: such images are refused.
FEWEST_BITS = 14
OVERSHOOT = 0.05  # of white, of floating-point values after rounding and resampling
FEWEST_OF_255 = 16  # highest value of a floating-point image from 0 to 255, below which it is all but black
UNKNOWN_WHITE = (
    f"16 bits per channel, but no value needs more than {FEWEST_BITS} bits, and the file does not state which value is "
    "white: save it with 8 bits per channel, or scaled to 65535"
)
# Pillow's mode of a TIFF file, by its photometric interpretation and ExtraSamples.
MODES = {(0, ()): "L", (1, ()): "L", (2, ()): "RGB", (2, (0,)): "RGB", (2, (1,)): "RGBa", (2, (2,)): "RGBA"}


@dataclass(frozen=True)
class Planes:
    """A TIFF file of more than 8 bits that Pillow would misread, as a grey file for each channel, with black at 0."""

    files: list[bytes]
    inverted: bool
    mode: str

    def merge(self, images: Sequence[Image.Image], bits: int, white: int | None) -> Image.Image:
        """Returns the image in mode L, RGB or RGBA, from its decoded planes."""
        bands = eight_bits(images[: 3 if self.mode == "RGB" else None], bits, white, self.inverted)
        merged = bands[0] if len(bands) == 1 else Image.merge(self.mode, bands)
        return merged.convert("RGBA") if self.mode == "RGBa" else merged


def planes(data: bytes) -> Planes | None:
    """Takes a TIFF file of more than 8 bits apart if 0 is white or colours are planes, which Pillow would misread.

    Raises:
        Image.UnidentifiedImageError: its channels are not grey or RGB, or have 8 bits and a sign, which Pillow ignores.
    """
    if not data.startswith(tiff.STARTS):
        return None
    try:
        found = tiff.directory(data)
        bits, photometric = found.values(tiff.BITS, (1,)), found.values(tiff.PHOTOMETRIC, (0,))[0]
        if bits[0] == 8 and found.values(tiff.FORMAT, (1,))[0] == 2:
            raise Image.UnidentifiedImageError
        if bits[0] <= 8 or photometric != 0 and found.values(tiff.PLANAR, (1,))[0] != 2:
            return None
        extra, count = found.values(tiff.EXTRA_CHANNELS), found.values(tiff.CHANNELS, (1,))[0]
        mode = MODES.get((photometric, extra))
        if mode is None or count != (1 if mode == "L" else 3 + len(extra)) or len(set(bits)) > 1:
            raise Image.UnidentifiedImageError
        return Planes(tiff.planes(found), photometric == 0, mode)
    except (ValueError, struct.error, IndexError):
        return None


def bits_and_white(data: bytes) -> tuple[int, int | None]:
    """Returns a file's bits per channel without the sign, 16 at most, and the value of white, if the file states one.

    PNG scales values of fewer bits to 16 (PNG 3, 11.3.2.6), so only an sBIT of 16 tells that all of them are used.
    Pillow does so with PPM and JPEG 2000, whose codestream has the bits at a fixed place (ISO/IEC 15444-1, A.5.1).
    """
    if data.startswith(faulty_metadata.PNG):
        place = data.find(b"sBIT", 0, data.find(b"IDAT"))
        return data[24], 65535 if place > 0 and data[place + 4] == 16 else None
    if data.startswith(tiff.STARTS):
        try:
            found = tiff.directory(data)
            bits = min(found.values(tiff.BITS, (1,))[0], 16)
            signed = found.values(tiff.FORMAT, (1,))[0] == 2
            return bits - (signed and bits == 16), tiff.white(found)
        except (ValueError, struct.error, IndexError):
            return 8, None
    start = data.find(b"\xff\x4f\xff\x51") if data[:4] == b"\xff\x4f\xff\x51" or data[4:8] == b"jP  " else -1
    return (16, None) if start >= 0 and data[start + 42 : start + 43] == b"\x0f" else (8, 65535)


def eight_bits(bands: Sequence[Image.Image], bits: int, white: int | None, inverted: bool = False) -> list[Image.Image]:
    """Converts the bands of one image, in mode I, I;16 or F, to mode L; if inverted, 0 is white.

    Whole numbers keep the highest 8 of the bits that white takes. Floating-point values go from 0 to the white of
    `white_of_floats`, and are clipped. Bits and white are those of `bits_and_white`.

    Raises:
        UnreadableError: values are beyond white, or white is unknown.
    """
    extrema = [(part.min(), part.max()) for band in bands for _, part in _parts(band)]
    lowest, highest = np.min(extrema), np.max(extrema)  # not a number, if any value is not
    real = bands[0].mode == "F"
    limit = white_of_floats(lowest, highest) if real else white or 2**bits - 1
    if not real and not (lowest >= 0 and highest <= limit):
        raise UnreadableError(f"grey values from {lowest} to {highest}, a range that is not supported")
    if not real and white is None and 0 < highest < 2**FEWEST_BITS:
        raise UnreadableError(UNKNOWN_WHITE)

    def convert(part: np.ndarray) -> np.ndarray:
        part = part.clip(0, limit) if real else part
        part = limit - part if inverted else part
        part = part * 255 if limit == 1 else part
        return (part if real else part >> (limit.bit_length() - 8)).astype(np.uint8)

    return [_mapped(band, convert) for band in bands]


def white_of_floats(lowest: float, highest: float) -> int:
    """Returns the value of white, 1 or 255, of a floating-point image with this lowest and this highest value.

    Rounding and resampling overshoot 0 and white, by OVERSHOOT of white at most.

    Raises:
        UnreadableError: values are beyond that, or the highest may be of either range.
    """
    white = 1 if highest <= 1 + OVERSHOOT else 255
    if not (lowest >= -OVERSHOOT * max(highest, 0) and highest <= (1 + OVERSHOOT) * white):
        raise UnreadableError(
            f"grey values from {lowest} to {highest}, a range that is not supported: give uint8, or floating-point "
            "numbers up to 1 or to 255"
        )
    if white == 255 and highest < FEWEST_OF_255:
        raise UnreadableError(
            f"floating-point values up to {highest:g}, which may be from 0 to 1 or from 0 to 255: scale them to one of "
            "these, or give uint8"
        )
    return white


def check_jpeg_2000(image: Image.Image, data: bytes) -> None:
    """Refuses a JPEG 2000 file of more than 8 bits that Pillow would round to 8, because white becomes 0 in that.

    Pillow keeps grey levels of up to 16 bits whole. The components' bits are in the segment SIZ (ISO/IEC 15444-1,
    A.5.1): the number of components at byte 40, and three bytes for each of them, the first of which holds the bits.
    Findings: findings/pillow_jpeg2000_16_bit_white.sh.

    Raises:
        UnreadableError: it is such a file.
    """
    start = data.find(b"\xff\x4f\xff\x51") if image.format == "JPEG2000" else -1
    if start < 0 or image.mode == "I;16":
        return
    (count,) = struct.unpack_from(">H", data, start + 40)
    bits = max((byte & 127) + 1 for byte in data[start + 42 : start + 42 + 3 * count : 3])
    if bits > 8:
        raise UnreadableError(
            f"JPEG 2000 of {bits} bits per channel, whose white would be read as black: save it with 8 bits per channel"
        )


def check_colours(image: Image.Image, bits: int, white: int | None) -> None:
    """Refuses an RGB or RGBA image that leaves its highest bits unused, because Pillow has kept only the highest 8.

    Raises:
        UnreadableError: white is not the highest value of these bits, or is unknown.
    """
    highest = max(int(np.max(image.getchannel(band).getextrema())) for band in "RGB")
    if white is not None and white < 2**bits - 1:
        raise UnreadableError(f"colours of {bits} bits, but white is {white}: save it with 8 bits per channel")
    if white is None and 0 < highest < 2 ** (FEWEST_BITS - 8):
        raise UnreadableError(UNKNOWN_WHITE)


def colour_key_alpha(image: Image.Image, data: bytes, key: Sequence[int]) -> Image.Image:
    """Returns the alpha channel of a PNG file whose transparency key is a colour of 16 bits per channel.

    Of these, the decoded image, in mode RGB, has the highest 8.
    """
    opaque = Image.new("L", image.size)
    with Image.open(io.BytesIO(data), formats=["PNG"]) as low:
        low.tile = [tile._replace(args="RGB;16L") for tile in low.tile]  # the other byte order keeps the lowest 8 bits
        for half, shift in ((image, 8), (low, 0)):
            for band, value in zip(half.split(), key, strict=True):
                table = [255] * 256
                table[value >> shift & 255] = 0
                opaque = ImageChops.lighter(opaque, band.point(table))
    return opaque


def grey_key_alpha(image: Image.Image, key: int) -> Image.Image:
    """Returns the alpha channel of a grey image of more than 8 bits whose transparency key is this value."""
    return _mapped(image, lambda part: np.where(part == key, 0, 255))


def _mapped(image: Image.Image, function: Callable[[np.ndarray], np.ndarray]) -> Image.Image:
    """Applies a function to an image, ROWS rows at a time, and returns the result in mode L."""
    pixels = np.empty((image.height, image.width), np.uint8)
    for row, part in _parts(image):
        pixels[row : row + len(part)] = function(part)
    return Image.fromarray(pixels)


def _parts(image: Image.Image) -> Iterator[tuple[int, np.ndarray]]:
    """Yields ROWS rows of an image at a time, with the number of the first."""
    for row in range(0, image.height, ROWS):
        yield row, np.asarray(image.crop((0, row, image.width, min(row + ROWS, image.height))))
