"""Tags of TIFF files, of EXIF data and of most raw files: reading them, and rewriting them for Pillow."""

import re
import struct
import sys
from collections.abc import Collection
from dataclasses import dataclass, replace

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # TIFF 6.0, section 2; "+" is BigTIFF
WIDTH, HEIGHT, STRIP_OFFSETS, STRIP_ROWS, PALETTE = 256, 257, 273, 278, 320
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, RESOLUTION = 322, 323, 324, {282, 283, 296}
BITS, COMPRESSION, PHOTOMETRIC, DESCRIPTION, ORIENTATION, CHANNELS = 258, 259, 262, 270, 274, 277
MIN_VALUE, MAX_VALUE, PLANAR, SUB_IFDS, EXTRA_CHANNELS, FORMAT, PROFILE = 280, 281, 284, 330, 338, 339, 34675
DNG_VERSION = 50706
PLACES = {STRIP_OFFSETS, 279, TILE_OFFSETS, 325}  # offsets and byte counts of strips and tiles, plane by plane
RAW_PHOTOMETRIC = {32803, 34892}  # colour filter array, and linear raw: DNG 1.7, chapter 4
# Tags that pixels are decoded by: TIFF 6.0, sections 8 to 22, and the technical notes on JPEG compression.
DECODING = {WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, 266, CHANNELS, STRIP_ROWS, PLANAR, 292, 293, 317, PALETTE}
DECODING |= {TILE_WIDTH, TILE_HEIGHT, 332, 334, *PLACES, EXTRA_CHANNELS, FORMAT, 347, 529, 530, 531, 532}
DECODING |= set(range(512, 522))
TYPES = {1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 6: "b", 7: "B", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d", 13: "I"}
TYPES |= {16: "Q", 17: "q", 18: "Q"}  # BigTIFF
TEXT, UNDEFINED = 2, 7  # types whose bytes are no numbers
BYTES = {1, TEXT, 6, UNDEFINED}  # types that are read at once, however many there are
MOST_ENTRIES = 4096  # entries of a directory that are read: it has some tens, of each of which Pillow makes an object
MOST_DIRECTORIES = 64  # directories of a file that are read, though it may have one for each of thousands of pages


@dataclass(frozen=True)
class Directory:
    """One image of a TIFF file."""

    data: bytes  # the file
    offset: int
    following: int  # offset of the next directory, or 0
    entries: dict[int, bytes]  # by tag
    stated: int  # number of entries by the file, of which MOST_ENTRIES are read
    order: str  # byte order, as struct writes it
    number: str  # type of counts and offsets, as struct writes it

    def count(self, tag: int) -> int:
        """Returns how many values a tag has by the file; 0 where there is none."""
        return struct.unpack_from(self.order + self.number, self.entries[tag], 4)[0] if tag in self.entries else 0

    def values(self, tag: int, default: tuple = (), most: int = sys.maxsize) -> tuple:
        """Returns the first numbers of a tag; of text and undefined bytes, each byte. Fractions are divided.

        Raises:
            struct.error: the values lie beyond the end of the file.
        """
        if tag not in self.entries or (kind := self.kind(tag)) not in TYPES:
            return default
        entry, inline = self.entries[tag], struct.calcsize(self.number)
        count, offset = struct.unpack_from(self.order + 2 * self.number, entry, 4)
        inside = count * struct.calcsize("=" + TYPES[kind]) <= inline
        form = f"{self.order}{min(count, most) * len(TYPES[kind])}{TYPES[kind][0]}"
        stored = (entry, len(entry) - inline) if inside else (self.data, offset)
        values = struct.unpack_from(form, *stored)
        if len(TYPES[kind]) == 2:
            return tuple(a / b if b else 0 for a, b in zip(values[::2], values[1::2], strict=True))
        return values

    def kind(self, tag: int) -> int:
        """Returns the number of a tag's type."""
        return struct.unpack_from(self.order + "H", self.entries[tag], 2)[0]

    def with_tags(self, tags: Collection[int]) -> bytes:
        """Returns the file with this image alone, which keeps only the entries of these tags."""
        kept = [self.entries[tag] for tag in sorted(self.entries) if tag in tags]
        block = struct.pack(self.order + ("Q" if self.number == "Q" else "H"), len(kept))
        block += b"".join(kept) + bytes(struct.calcsize(self.number))
        return self.data[: self.offset] + block + self.data[self.offset + len(block) :]


def directory(data: bytes, offset: int | None = None) -> Directory:
    """Reads a directory of a TIFF file, the first or that at an offset, up to the end of a truncated file.

    Raises:
        ValueError, struct.error: there is none.
    """
    if data[:4] not in STARTS:
        raise ValueError("not TIFF")
    order = "<" if data.startswith(b"II") else ">"
    number, count_type = ("Q", order + "Q") if b"+" in data[:4] else ("I", order + "H")
    inline = struct.calcsize(number)
    size = 2 * inline + 4  # of an entry, in bytes
    if offset is None:
        (offset,) = struct.unpack_from(order + number, data, inline)
    (count,) = struct.unpack_from(count_type, data, offset)
    start = offset + struct.calcsize(count_type)
    end = start + count * size
    entries: dict[int, bytes] = {}
    for place in range(start, min(end, len(data) - size + 1, start + MOST_ENTRIES * size), size):
        entries.setdefault(struct.unpack_from(order + "H", data, place)[0], data[place : place + size])
    following = struct.unpack_from(order + number, data, end)[0] if end + inline <= len(data) else 0
    return Directory(data, offset, following, entries, count, order, number)


def is_raw(data: bytes) -> bool:
    """Tells whether one of a TIFF file's directories, or of those below them (SubIFDs), holds a sensor's values."""
    pending: list[int | None] = [None]
    seen: set[int] = set()
    while pending and len(seen) < MOST_DIRECTORIES:
        try:
            found = directory(data, pending.pop())
            seen.add(found.offset)
            below = found.values(SUB_IFDS, most=MOST_DIRECTORIES)
            pending += {x for x in (found.following, *below) if x} - seen
        except (ValueError, struct.error):
            continue
        if DNG_VERSION in found.entries or set(found.values(PHOTOMETRIC, most=1)) & RAW_PHOTOMETRIC:
            return True
    return False


def planes(found: Directory) -> list[bytes]:
    """Returns a grey file, with black at 0, for each colour plane of an image.

    Raises:
        ValueError, struct.error: the planes have different numbers of strips or tiles.
    """
    [count] = found.values(CHANNELS, (1,))[:1]
    grey = {BITS: found.values(BITS, (1,))[0], PHOTOMETRIC: 1, CHANNELS: 1, PLANAR: 1}
    grey |= {FORMAT: found.values(FORMAT)[0]} if FORMAT in found.entries else {}
    form, size = f"{found.order}HH{found.number}H", 4 + 2 * struct.calcsize(found.number)
    entries = found.entries | {tag: struct.pack(form, tag, 3, 1, x).ljust(size, b"\0") for tag, x in grey.items()}
    tags = found.entries.keys() - {EXTRA_CHANNELS, MIN_VALUE, MAX_VALUE}
    files = []
    for plane in range(count):
        parts = {tag: _part(found, tag, plane, count) for tag in tags & PLACES}
        files.append(replace(found, entries=entries | parts).with_tags(tags))
    return files


def _part(found: Directory, tag: int, plane: int, planes: int) -> bytes:
    """Returns the entry of a list of numbers, cut to those of one plane, which stay where they are in the file."""
    values, entry, kind = found.values(tag), found.entries[tag], TYPES[found.kind(tag)]
    count, rest = divmod(len(values), planes)
    if rest or not count:
        raise ValueError("planes of different lengths")
    part = struct.pack(f"{found.order}{count}{kind}", *values[plane * count : (plane + 1) * count])
    head = entry[:4] + struct.pack(found.order + found.number, count)
    if len(part) <= struct.calcsize(found.number):
        return head + part.ljust(struct.calcsize(found.number), b"\0")
    (start,) = struct.unpack_from(found.order + found.number, entry, len(head))
    return head + struct.pack(found.order + found.number, start + plane * len(part))


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
