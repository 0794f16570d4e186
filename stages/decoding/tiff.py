"""Tags of TIFF files, which EXIF data and most raw files are as well: read, and rewritten for Pillow."""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # TIFF 6.0, section 2; with 43, "+", BigTIFF
BITS, COMPRESSION, PHOTOMETRIC, DESCRIPTION, ORIENTATION, SAMPLES = 258, 259, 262, 270, 274, 277
MAX_SAMPLE_VALUE, PLANAR, SUB_IFDS, EXTRA_SAMPLES, SAMPLE_FORMAT, PROFILE = 281, 284, 330, 338, 339, 34675
DNG_VERSION = 50706
PLACES = (273, 279, 324, 325)  # offsets and byte counts of strips and tiles: one after the other, plane by plane
RAW_PHOTOMETRIC = {32803, 34892}  # colour filter array, and linear raw: DNG 1.7, chapter 4
# Tags by which pixels are decoded: TIFF 6.0, sections 8 to 22, and the technical notes on JPEG compression.
DECODING = {256, 257, BITS, COMPRESSION, PHOTOMETRIC, 266, 273, SAMPLES, 278, 279, PLANAR, 292, 293, 317, 320, 322, 323}
DECODING |= {324, 325, 332, 334, EXTRA_SAMPLES, SAMPLE_FORMAT, 347, *range(512, 522), 529, 530, 531, 532}
TYPES = {1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 6: "b", 7: "B", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d", 13: "I"}
TYPES |= {16: "Q", 17: "q", 18: "Q"}
NO_NUMBERS = {2, 7}  # text, and bytes without a meaning
MOST_DIRECTORIES = 64  # that are looked at: a file may have one for each of thousands of pages


@dataclass(frozen=True)
class Directory:
    """One image of a TIFF file: its entries as they stand in the file, by tag, and where they and the next are."""

    data: bytes
    offset: int
    entries: dict[int, bytes]
    following: int

    def values(self, tag: int, default: tuple = ()) -> tuple:
        """Returns the numbers of a tag; of text and undefined bytes, each byte. Fractions are divided.

        Raises:
            struct.error: the values lie beyond the end of the file.
        """
        if tag not in self.entries or (kind := self.kind(tag)) not in TYPES:
            return default
        order, _, inline = _layout(self.data)
        count, place = struct.unpack_from(order + ("QQ" if inline == 8 else "II"), self.entries[tag], 4)
        form = f"{order}{count * len(TYPES[kind])}{TYPES[kind][0]}"
        if struct.calcsize(form) <= inline:
            values = struct.unpack_from(form, self.entries[tag], len(self.entries[tag]) - inline)
        else:
            values = struct.unpack_from(form, self.data, place)
        if len(TYPES[kind]) == 2:
            return tuple(a / b if b else 0 for a, b in zip(values[::2], values[1::2], strict=True))
        return values

    def kind(self, tag: int) -> int:
        """Returns the number of a tag's type."""
        return struct.unpack_from(_layout(self.data)[0] + "H", self.entries[tag], 2)[0]


def _layout(data: bytes) -> tuple[str, int, int]:
    """Returns the order of bytes for struct, the size of an entry, and that of its last part, which may hold values."""
    return "<" if data[:2] == b"II" else ">", *((20, 8) if data[2:4] in (b"+\0", b"\0+") else (12, 4))


def directory(data: bytes, offset: int | None = None) -> Directory:
    """Reads the first directory of a TIFF file, or that at an offset, as far as it goes.

    Raises:
        ValueError, struct.error: there is none.
    """
    if data[:4] not in STARTS:
        raise ValueError("not TIFF")
    order, size, inline = _layout(data)
    if offset is None:
        offset = struct.unpack_from(order + ("Q" if inline == 8 else "I"), data, inline)[0]
    count_format, next_format = ("Q", "Q") if inline == 8 else ("H", "I")
    (count,) = struct.unpack_from(order + count_format, data, offset)
    start = offset + struct.calcsize(order + count_format)
    entries: dict[int, bytes] = {}
    for place in range(start, min(start + count * size, len(data) - size + 1), size):
        entries.setdefault(struct.unpack_from(order + "H", data, place)[0], data[place : place + size])
    end = start + count * size
    following = struct.unpack_from(order + next_format, data, end)[0] if end + inline <= len(data) else 0
    return Directory(data, offset, entries, following)


def directories(data: bytes) -> Iterator[Directory]:
    """Yields the directories of a TIFF file, with those below them (SubIFDs), as far as they can be read."""
    pending: list[int | None] = [None]
    seen: set[int] = set()
    while pending and len(seen) < MOST_DIRECTORIES:
        try:
            found = directory(data, pending.pop())
            seen.add(found.offset)
            pending += {x for x in (found.following, *found.values(SUB_IFDS)) if x} - seen
        except (ValueError, struct.error):
            continue
        yield found


def is_raw(data: bytes) -> bool:
    """Tells whether a TIFF file holds what a camera's sensor saw: its first image is a preview then."""
    return any(
        DNG_VERSION in found.entries or set(found.values(PHOTOMETRIC)) & RAW_PHOTOMETRIC for found in directories(data)
    )


def rewritten(found: Directory, entries: Mapping[int, bytes]) -> bytes:
    """Returns the file with these entries in place of those of a directory: not more of them, and no other images."""
    order, _, inline = _layout(found.data)
    block = struct.pack(order + ("Q" if inline == 8 else "H"), len(entries))
    block += b"".join(entries[tag] for tag in sorted(entries)) + bytes(inline)
    return found.data[: found.offset] + block + found.data[found.offset + len(block) :]


def with_number(found: Directory, tag: int, value: int) -> bytes:
    """Returns an entry of one whole number."""
    order, _, inline = _layout(found.data)
    number = struct.pack(order + "H", value).ljust(inline, b"\0")
    return struct.pack(order + "HH" + ("Q" if inline == 8 else "I"), tag, 3, 1) + number


def planes(found: Directory) -> list[bytes]:
    """Returns a grey file for each sample of an image, black being 0, whose samples lie in planes of their own.

    Raises:
        ValueError, struct.error: strips or tiles are not as many for each plane.
    """
    (samples,) = found.values(SAMPLES, (1,))[:1]
    entries = {tag: entry for tag, entry in found.entries.items() if tag not in (EXTRA_SAMPLES, 281, 280)}
    for tag, value in ((BITS, found.values(BITS, (1,))[0]), (PHOTOMETRIC, 1), (SAMPLES, 1), (PLANAR, 1)):
        entries[tag] = with_number(found, tag, value)
    if SAMPLE_FORMAT in entries:
        entries[SAMPLE_FORMAT] = with_number(found, SAMPLE_FORMAT, found.values(SAMPLE_FORMAT)[0])
    files = []
    for plane in range(samples):
        for tag in entries.keys() & set(PLACES):
            entries[tag] = _slice(found, tag, plane, samples)
        files.append(rewritten(found, {tag: entry for tag, entry in entries.items() if tag in found.entries}))
    return files


def _slice(found: Directory, tag: int, plane: int, planes: int) -> bytes:
    """Returns the entry of a list of numbers cut to the part of one plane, which stays where it is in the file."""
    order, _, inline = _layout(found.data)
    number = "Q" if inline == 8 else "I"
    values = found.values(tag)
    count, rest = divmod(len(values), planes)
    if rest or not count:
        raise ValueError("planes of different lengths")
    head = found.entries[tag][:4] + struct.pack(order + number, count)
    form = order + TYPES[found.kind(tag)]
    width = struct.calcsize(form)
    part = b"".join(struct.pack(form, x) for x in values[plane * count : (plane + 1) * count])
    if len(part) <= inline:
        return head + part.ljust(inline, b"\0")
    (start,) = struct.unpack_from(order + number, found.entries[tag], len(head))
    return head + struct.pack(order + number, start + plane * count * width)


def white(found: Directory) -> int | None:
    """Returns the value of white that a TIFF file of whole numbers states, or None.

    That is from BitsPerSample where it is not a whole number of bytes, from the sign, from MaxSampleValue where that is
    one less than a power of two (else it is only the largest value that occurs), or from OME's SignificantBits.
    """
    (bits,) = found.values(BITS, (1,))[:1]
    stated = [x for x in found.values(MAX_SAMPLE_VALUE) if x > 255 and x & (x + 1) == 0]
    text = bytes(x & 255 for x in found.values(DESCRIPTION)) if found.values(DESCRIPTION) else b""
    ome = re.search(rb'SignificantBits="(\d+)"', text)
    if bits % 8:
        return 2**bits - 1
    if stated:
        return int(max(stated))
    return 2 ** int(ome[1]) - 1 if ome and 8 < int(ome[1]) <= 16 else None


def orientation(data: bytes) -> int | None:
    """Returns the orientation that a TIFF file or EXIF data states by a number, 1 to 8; else None."""
    try:
        found = directory(data)
        numbers = found.values(ORIENTATION)
        return int(numbers[0]) if numbers[0] in range(1, 9) and found.kind(ORIENTATION) not in NO_NUMBERS else None
    except (ValueError, struct.error, OverflowError, IndexError):
        return None


def describe(data: bytes) -> str:
    """Says what samples a TIFF file has, for the reason why it cannot be read."""
    try:
        found = directory(data)
        bits, samples = found.values(BITS, (1,)), found.values(SAMPLES, (1,))[0]
        kind = {2: "signed ", 3: "floating-point ", 5: "complex ", 6: "complex "}.get(
            found.values(SAMPLE_FORMAT, (1,))[0], ""
        )
        return (
            f" of {samples} {kind}sample{'s' * (samples > 1)} of {bits[0]} bits a pixel, photometric interpretation "
            f"{found.values(PHOTOMETRIC, ('unknown',))[0]}, compression {found.values(COMPRESSION, (1,))[0]}"
        )
    except (ValueError, struct.error, IndexError):
        return " without a readable directory"
