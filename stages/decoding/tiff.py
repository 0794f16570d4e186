"""Tags of TIFF files, of EXIF data and of most raw files: reading them, and rewriting them for Pillow."""

import re
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # TIFF 6.0, section 2; "+" is BigTIFF
BITS, COMPRESSION, PHOTOMETRIC, DESCRIPTION, ORIENTATION, CHANNELS = 258, 259, 262, 270, 274, 277
MIN_VALUE, MAX_VALUE, PLANAR, SUB_IFDS, EXTRA_CHANNELS, FORMAT, PROFILE = 280, 281, 284, 330, 338, 339, 34675
DNG_VERSION = 50706
PLACES = (273, 279, 324, 325)  # offsets and byte counts of strips and tiles, plane by plane
RAW_PHOTOMETRIC = {32803, 34892}  # colour filter array, and linear raw: DNG 1.7, chapter 4
# Tags that pixels are decoded by: TIFF 6.0, sections 8 to 22, and the technical notes on JPEG compression.
DECODING = {
    256,
    257,
    BITS,
    COMPRESSION,
    PHOTOMETRIC,
    266,
    CHANNELS,
    278,
    PLANAR,
    292,
    293,
    317,
    320,
    322,
    323,
    332,
    334,
}
DECODING |= {*PLACES, EXTRA_CHANNELS, FORMAT, 347, *range(512, 522), 529, 530, 531, 532}
TYPES = {1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 6: "b", 7: "B", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d", 13: "I"}
TYPES |= {16: "Q", 17: "q", 18: "Q"}  # BigTIFF
TEXT, UNDEFINED = 2, 7  # types whose bytes are no numbers
MOST_DIRECTORIES = 64  # directories of a file that are read, though it may have one for each of thousands of pages


@dataclass(frozen=True)
class Directory:
    """One image of a TIFF file: the file, the offset of this directory and of the next, and the entries by tag."""

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
        order, number = _layout(self.data)
        entry, inline = self.entries[tag], struct.calcsize(number)
        count, offset = struct.unpack_from(order + 2 * number, entry, 4)
        form = f"{order}{count * len(TYPES[kind])}{TYPES[kind][0]}"
        stored = (entry, len(entry) - inline) if struct.calcsize(form) <= inline else (self.data, offset)
        values = struct.unpack_from(form, *stored)
        if len(TYPES[kind]) == 2:
            return tuple(a / b if b else 0 for a, b in zip(values[::2], values[1::2], strict=True))
        return values

    def kind(self, tag: int) -> int:
        """Returns the number of a tag's type."""
        return struct.unpack_from(_layout(self.data)[0] + "H", self.entries[tag], 2)[0]


def _layout(data: bytes) -> tuple[str, str]:
    """Returns the byte order, and the type of counts and offsets, as struct writes them."""
    return "<" if data[:2] == b"II" else ">", "Q" if data[2:4] in (b"+\0", b"\0+") else "I"


def directory(data: bytes, offset: int | None = None) -> Directory:
    """Reads a directory of a TIFF file, the first or that at an offset, up to the end of a truncated file.

    Raises:
        ValueError, struct.error: there is none.
    """
    if data[:4] not in STARTS:
        raise ValueError("not TIFF")
    order, number = _layout(data)
    inline = struct.calcsize(number)
    size = 2 * inline + 4  # of an entry, in bytes
    if offset is None:
        (offset,) = struct.unpack_from(order + number, data, inline)
    count_type = order + ("Q" if number == "Q" else "H")
    (count,) = struct.unpack_from(count_type, data, offset)
    start = offset + struct.calcsize(count_type)
    end = start + count * size
    entries: dict[int, bytes] = {}
    for place in range(start, min(end, len(data) - size + 1), size):
        entries.setdefault(struct.unpack_from(order + "H", data, place)[0], data[place : place + size])
    following = struct.unpack_from(order + number, data, end)[0] if end + inline <= len(data) else 0
    return Directory(data, offset, entries, following)


def directories(data: bytes) -> Iterator[Directory]:
    """Yields the directories of a TIFF file that can be read, with those below them (SubIFDs)."""
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
    """Tells whether a TIFF file holds the values of a camera's sensor: its first image is a preview then."""
    return any(
        DNG_VERSION in found.entries or set(found.values(PHOTOMETRIC)) & RAW_PHOTOMETRIC for found in directories(data)
    )


def with_tags(found: Directory, tags: Collection[int]) -> bytes:
    """Returns the file with this image alone, which keeps only the entries of these tags."""
    return _rewritten(found, {tag: entry for tag, entry in found.entries.items() if tag in tags})


def _rewritten(found: Directory, entries: Mapping[int, bytes]) -> bytes:
    """Returns the file with this image alone and these entries, not more than it has, which take their place."""
    order, number = _layout(found.data)
    block = struct.pack(order + ("Q" if number == "Q" else "H"), len(entries))
    block += b"".join(entries[tag] for tag in sorted(entries)) + bytes(struct.calcsize(number))
    return found.data[: found.offset] + block + found.data[found.offset + len(block) :]


def planes(found: Directory) -> list[bytes]:
    """Returns a grey file, with black at 0, for each colour plane of an image.

    Raises:
        ValueError, struct.error: the planes have different numbers of strips or tiles.
    """
    order, number = _layout(found.data)
    [count] = found.values(CHANNELS, (1,))[:1]
    grey = {BITS: found.values(BITS, (1,))[0], PHOTOMETRIC: 1, CHANNELS: 1, PLANAR: 1}
    grey |= {FORMAT: found.values(FORMAT)[0]} if FORMAT in found.entries else {}
    entries = {tag: entry for tag, entry in found.entries.items() if tag not in (EXTRA_CHANNELS, MIN_VALUE, MAX_VALUE)}
    for tag in grey.keys() & entries.keys():
        entries[tag] = struct.pack(f"{order}HH{number}H", tag, 3, 1, grey[tag]).ljust(len(entries[tag]), b"\0")
    places = entries.keys() & set(PLACES)
    return [
        _rewritten(found, entries | {tag: _part(found, tag, plane, count) for tag in places}) for plane in range(count)
    ]


def _part(found: Directory, tag: int, plane: int, planes: int) -> bytes:
    """Returns the entry of a list of numbers, cut to those of one plane, which stay where they are in the file."""
    order, number = _layout(found.data)
    values, entry, form = found.values(tag), found.entries[tag], order + TYPES[found.kind(tag)]
    count, rest = divmod(len(values), planes)
    if rest or not count:
        raise ValueError("planes of different lengths")
    inline, size = struct.calcsize(number), struct.calcsize(form)
    head = entry[:4] + struct.pack(order + number, count)
    part = b"".join(struct.pack(form, x) for x in values[plane * count : (plane + 1) * count])
    if len(part) <= inline:
        return head + part.ljust(inline, b"\0")
    (start,) = struct.unpack_from(order + number, entry, len(head))
    return head + struct.pack(order + number, start + plane * count * size)


def white(found: Directory) -> int | None:
    """Returns the value of white that a TIFF file of whole numbers states, or None.

    It follows from BitsPerSample where that is not a whole number of bytes, from MaxSampleValue where that is one less
    than a power of two (else it is only the largest value that occurs), or from OME's SignificantBits.
    """
    [bits] = found.values(BITS, (1,))[:1]
    if bits % 8:
        return 2**bits - 1
    if stated := [x for x in found.values(MAX_VALUE) if x > 255 and x & (x + 1) == 0]:
        return int(max(stated))
    ome = re.search(rb'SignificantBits="(\d+)"', bytes(x & 255 for x in found.values(DESCRIPTION)))
    return 2 ** int(ome[1]) - 1 if ome and 8 < int(ome[1]) <= 16 else None


def orientation(data: bytes) -> int | None:
    """Returns the orientation that a TIFF file or EXIF data states by a number, 1 to 8; else None."""
    try:
        found = directory(data)
        [number] = found.values(ORIENTATION)[:1]
        return int(number) if number in range(1, 9) and found.kind(ORIENTATION) not in (TEXT, UNDEFINED) else None
    except (ValueError, struct.error, OverflowError):
        return None


def pixel_format(data: bytes) -> str:
    """Says which channels a TIFF file has, for the reason why it cannot be read."""
    try:
        found = directory(data)
        bits, count = found.values(BITS, (1,))[0], found.values(CHANNELS, (1,))[0]
        kind = {2: "signed ", 3: "floating-point ", 5: "complex ", 6: "complex "}.get(found.values(FORMAT, (1,))[0], "")
        photometric, compression = found.values(PHOTOMETRIC, ("unknown",))[0], found.values(COMPRESSION, (1,))[0]
    except (ValueError, struct.error, IndexError):
        return " without a readable directory"
    return (
        f" of {count} {kind}channel{'s' * (count > 1)} of {bits} bits, photometric interpretation {photometric}, "
        f"compression {compression}"
    )
