"""Limits of the work that decoding a file takes, in proportion to its size, checked before a decoder reads it.

Decoders walk through segments, chunks, tags and tiles one by one, and through all of the pixels for each scan. So a
file may have as many parts as cameras, scanners and slide scanners write, not as many as fit into its bytes. What the
pixels themselves take is limited by their number, data.max_pixels.
"""

import re
import struct

from stages.decoding import faulty_metadata, tiff
from stages.decoding.unreadable import JPEG, UnreadableError

GIF = (b"GIF87a", b"GIF89a")
MOST_PARTS = 4096  # segments, chunks, blocks, boxes, strips or tiles of a file of any size
BYTES_PER_PART = 32  # bytes of a larger file for each further part: chunks of PNG usually hold 8 kB
FEW_SCANS, MOST_SCANS = 16, 256  # scans of a JPEG file, each of which goes through all of its pixels: usually 10
PIXELS_PER_BYTE = 64  # pixels, a block, for each of which a scan beyond FEW_SCANS has a byte
MOST_FILL = 2**20  # bytes between the segments of a JPEG file, which decoders skip one by one
MOST_HEADER = 2**16  # bytes before the pixels of a PPM file, of which comments are read one by one
MOST_STRIPS = 2**16  # strips or tiles of a TIFF file that its size justifies: a strip may be one row
MOST_NUMBERS = 2**16  # numbers that a tag of a TIFF file holds, those of strips, tiles and palettes aside
MOST_TILE = 2**24  # pixels of a TIFF file's tile, which may be larger than the image: 4096 x 4096
PPM = tuple(b"P" + kind for kind in (b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"f", b"y"))
PPM_TOKEN = re.compile(rb"#[^\r\n]*|[^\s#]+")
NO_FILL = re.compile(rb"[^\xff]")
NO_ENTROPY_CODED = re.compile(rb"\xff[^\0\xd0-\xd7\xff]")  # a marker that ends a scan (ITU-T T.81, B.1.1.5)


def check(data: bytes) -> None:
    """Refuses a file of more parts than its size justifies. What has another structure is left to its decoder.

    Raises:
        UnreadableError: the file has too many parts.
    """
    try:
        if data.startswith(JPEG):
            _check_jpeg(data)
        elif data.startswith(faulty_metadata.PNG):
            _check_png(data)
        elif data.startswith(GIF):
            _check_gif(data)
        elif data.startswith(tiff.STARTS):
            _check_tiff(tiff.directory(data))
        elif data.startswith(PPM):
            _check_ppm(data)
        elif data[4:8] == b"jP  " or data.startswith(b"\xff\x4f\xff\x51"):
            _check_jpeg_2000(data)
    except (struct.error, IndexError, OverflowError):  # truncated: the decoder says so
        return


def _limit(count: int, most: int, what: str) -> None:
    if count > most:
        raise UnreadableError(f"{count:,} {what}, more than {most:,}: broken, or made to keep programs busy")


def _most_parts(data: bytes) -> int:
    return MOST_PARTS + len(data) // BYTES_PER_PART


def _check_jpeg(data: bytes) -> None:
    """Counts segments, the bytes between them, and scans (ITU-T T.81, B.1.1)."""
    place, segments, fill, pixels, most = 2, 0, 0, 1, _most_parts(data)
    while (marker := data.find(b"\xff", place)) >= 0:
        found = NO_FILL.search(data, marker)
        end = found.start() if found else len(data)
        fill += end - 1 - place
        _limit(fill, MOST_FILL, "bytes between the segments of a JPEG file")
        code, place = data[end], end + 1
        if code == 0xDA:
            break
        if code:  # not zero, which follows a byte that is no marker
            segments += 1
            _limit(segments, most, "segments in a JPEG file")
            if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):  # the head of a frame
                height, width = struct.unpack_from(">HH", data, place + 3)
                pixels = max(1, width * height)
            # Restart markers, the start of an image and TEM are markers alone.
            place += 0 if 0xD0 <= code <= 0xD8 or code == 1 else struct.unpack_from(">H", data, place)[0]
    # Each scan starts with the same two bytes, which may also lie in what follows the image.
    most = min(MOST_SCANS, FEW_SCANS + PIXELS_PER_BYTE * len(data) // pixels)
    if data.count(b"\xff\xda", place - 2) <= most:
        return
    marker, scans = place - 2, 0
    while marker >= 0 and data[marker + 1] != 0xD9:  # the end of the image
        scans += data[marker + 1] == 0xDA
        _limit(scans, most, "scans in a JPEG file")
        found = NO_ENTROPY_CODED.search(data, marker + 2 + struct.unpack_from(">H", data, marker + 2)[0])
        marker = found.start() if found else -1


def _check_png(data: bytes) -> None:
    """Counts chunks (PNG 3, 5.3)."""
    place, chunks, most = len(faulty_metadata.PNG), 0, _most_parts(data)
    while place + 12 <= len(data):
        place += 12 + struct.unpack_from(">I", data, place)[0]
        chunks += 1
        _limit(chunks, most, "chunks in a PNG file")


def _check_gif(data: bytes) -> None:
    """Counts the blocks before the first image, and the bytes between them (GIF89a, 15 to 26)."""
    place, blocks, most = 13 + (3 << (data[10] & 7) + 1 if data[10] & 128 else 0), 0, _most_parts(data)
    while data[place] != 0x2C:
        blocks += 1
        if data[place] == 0x21:
            place += 2
            while data[place]:
                place += 1 + data[place]
                blocks += 1
                _limit(blocks, most, "blocks before the image in a GIF file")
        place += 1
        _limit(blocks, most, "blocks before the image in a GIF file")


def _check_tiff(found: tiff.Directory) -> None:
    """Counts entries, their numbers, strips and tiles of the first image (TIFF 6.0, section 2 and sections 8 to 15)."""
    _limit(found.stated, tiff.MOST_ENTRIES, "entries in a TIFF directory")
    for tag in (tiff.DECODING | tiff.RESOLUTION) & found.entries.keys() - tiff.PLACES - {tiff.PALETTE}:
        if found.kind(tag) not in tiff.BYTES:
            _limit(found.count(tag), MOST_NUMBERS, f"numbers in tag {tag} of a TIFF file")
    width, height = (found.values(tag, (0,))[0] for tag in (tiff.WIDTH, tiff.HEIGHT))
    if tiled := tiff.TILE_OFFSETS in found.entries and tiff.STRIP_OFFSETS not in found.entries:
        columns, rows = (max(found.values(tag, (1,))[0], 1) for tag in (tiff.TILE_WIDTH, tiff.TILE_HEIGHT))
        _limit(columns * rows, max(MOST_TILE, 4 * width * height), "pixels in a tile of a TIFF file")
    else:
        columns, rows = max(width, 1), max(found.values(tiff.STRIP_ROWS, (height,))[0], 1)
    parts = found.count(tiff.TILE_OFFSETS if tiled else tiff.STRIP_OFFSETS)
    planes = found.values(tiff.CHANNELS, (1,))[0] if found.values(tiff.PLANAR, (1,))[0] == 2 else 1
    needed = -(-width // columns) * -(-height // rows) * planes
    _limit(parts, max(_most_parts(found.data), min(needed, MOST_STRIPS)), "strips or tiles in a TIFF file")
    _limit(parts, 2 * needed + 16, f"strips or tiles in a TIFF file that needs {needed:,}")


def _check_ppm(data: bytes) -> None:
    """Counts comments, where they may stand between pixels, and the bytes before these (ppm(5), pgm(5), pbm(5))."""
    if data[1:2] in b"123":
        _limit(data.count(b"#"), MOST_PARTS, "comments in a PPM file")
    numbers = 0
    for token in PPM_TOKEN.finditer(data, 2):
        _limit(token.start(), MOST_HEADER, "bytes before the pixels of a PPM file")
        numbers += not token[0].startswith(b"#")
        if numbers == 3:  # width, height and white, which bitmaps lack
            return


def _check_jpeg_2000(data: bytes) -> None:
    """Counts boxes, also those in the header, and tiles (ISO/IEC 15444-1, I.4 and A.5.1)."""
    place, boxes, most = 0, 0, _most_parts(data)
    while data[4:8] == b"jP  " and data[place + 4 : place + 8] not in (b"jp2c", b""):
        size, kind = struct.unpack_from(">I4s", data, place)
        size, head = (struct.unpack_from(">Q", data, place + 8)[0], 16) if size == 1 else (size, 8)
        place += head if kind == b"jp2h" else max(size, head)
        boxes += 1
        _limit(boxes, most, "boxes in a JPEG 2000 file")
    start = data.find(b"\xff\x4f\xff\x51")
    right, bottom, _, _, columns, rows, x, y = struct.unpack_from(">8I", data, start + 8)
    if start >= 0 and columns and rows:
        _limit(-(-(right - x) // columns) * -(-(bottom - y) // rows), most, "tiles in a JPEG 2000 file")
