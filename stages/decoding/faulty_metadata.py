"""Image files without EXIF data, XMP and colour profile: a fault in these stops Pillow, though the pixels are whole."""

import re
import struct
import zlib
from collections.abc import Iterator

from stages.decoding import tiff

PNG = b"\x89PNG\r\n\x1a\n"
# The entry of an item in AVIF and HEIF files, infe (ISO/IEC 23008-12), with the item's type after 7 or 9 bytes.
ITEM = re.compile(rb"(infe\x02.{7}|infe\x03.{9})(?:Exif|mime)", re.DOTALL)
XMP_ORIENTATION = re.compile(rb"""tiff:Orientation\s*(?:=\s*["']|>)\s*([1-8])\s*["'<]""")
RAW_PROFILE = b"Raw profile type exif\0"  # ImageMagick's keyword for EXIF data that a PNG file holds as text
MOST_TEXT = 2**20  # bytes of such a text that are decompressed


def versions(data: bytes) -> Iterator[tuple[bytes, int | None]]:
    """Yields a file as it is, without its metadata, and without its colour profile too, as far as these differ.

    With each comes the orientation, 1 to 8, that the removed metadata states; None where the file itself states it.
    """
    yield data, None
    try:
        stripped, bare, stated = _strip(data)
    except (ValueError, struct.error):  # the structure of the file is broken
        return
    yield from ((version, stated) for version in dict.fromkeys((stripped, bare)) if version != data)


def orientation(exif: bytes, xmp: bytes = b"") -> int:
    """Returns the orientation that EXIF data, or a TIFF or PNG file, else XMP, states by a number, 1 to 8; else 1."""
    if exif.startswith(PNG):
        exif = _png(exif)[1] if RAW_PROFILE in exif else b""
    match = XMP_ORIENTATION.search(xmp)
    return tiff.orientation(exif.lstrip(b"Exif\0")) or (int(match[1]) if match else 1)


def _strip(data: bytes) -> tuple[bytes, bytes, int | None]:
    """Returns a file without metadata but with its profile, the file without either, and the orientation, if any."""
    if data.startswith((b"\xff\xd8\xff", PNG)):
        parts, exif = _png(data) if data.startswith(PNG) else _jpeg(data)
        stripped = b"".join(part for kind, part in parts if kind != "other")
        bare = b"".join(part for kind, part in parts if kind == "pixels")
        return stripped, bare, orientation(exif, b"".join(part for kind, part in parts if kind == "other"))
    if data.startswith(tiff.STARTS):
        found = tiff.directory(data)
        return found.with_tags({*tiff.DECODING, tiff.PROFILE}), found.with_tags(tiff.DECODING), orientation(data)
    if data[4:8] == b"jP  " and (start := data.find(b"jp2c")) > 0:
        return data, data[start + 4 :], None  # the codestream without the boxes around it
    stripped = ITEM.sub(rb"\1skip", data) if data[4:8] == b"ftyp" else data
    return stripped, stripped, None


def _jpeg(data: bytes) -> tuple[list[tuple[str, bytes]], bytes]:
    """Returns (kind, segment) of a JPEG file (ITU-T T.81, B.1.1): pixels, profile or other; and the EXIF data."""
    parts, exif, place = [("pixels", data[:2])], b"", 2
    while data[place : place + 1] == b"\xff" and place + 4 <= len(data):
        marker = data[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        if marker == 0xDA:  # the start of the scan: the rest is pixels
            break
        end = place + 2 + struct.unpack_from(">H", data, place + 2)[0]
        segment, kind = data[place:end], "pixels"
        # JFIF and Adobe tell libjpeg how colours are coded; it ignores short ones, at which Pillow stops.
        colours = len(segment) >= 16 and segment[4:].startswith({0xE0: b"JFIF", 0xEE: b"Adobe"}.get(marker, b"none"))
        if (0xE0 <= marker <= 0xEF or marker == 0xFE) and not colours:  # application data and comments
            kind = "profile" if marker == 0xE2 and segment[4:16] == b"ICC_PROFILE\0" else "other"
            if marker == 0xE1 and segment[4:].startswith(b"Exif\0\0"):
                exif = exif or segment[10:]
        parts.append((kind, segment))
        place = end
    return [*parts, ("pixels", data[place:])], exif


def _png(data: bytes) -> tuple[list[tuple[str, bytes]], bytes]:
    """Returns (kind, chunk) of a PNG file (PNG 3, 5.3): pixels, profile or other; and the EXIF data."""
    parts, exif, place = [("pixels", PNG)], b"", len(PNG)
    key_lengths = {0: [2], 2: [6]}.get(data[25], range(257)) if len(data) > 25 else []  # of tRNS, by colour type
    while place + 12 <= len(data):
        size, name = struct.unpack_from(">I4s", data, place)
        end = place + 12 + size
        content = data[place + 8 : end - 4]
        # Names of chunks that the pixels need start with a capital (PNG 3, 5.4).
        needed = name[:1].isupper() or name == b"tRNS" and size in key_lengths
        parts.append(("profile" if name == b"iCCP" else "pixels" if needed else "other", data[place:end]))
        if name == b"eXIf":
            exif = content
        elif name in (b"tEXt", b"zTXt") and content.startswith(RAW_PROFILE):
            exif = exif or _raw_profile(content.removeprefix(RAW_PROFILE), compressed=name == b"zTXt")
        place = end
    return [*parts, ("pixels", data[place:])], exif


def _raw_profile(text: bytes, compressed: bool) -> bytes:
    """Returns the data of a profile that is written as text: name and length, a line each, and hexadecimal digits."""
    try:
        text = zlib.decompressobj().decompress(text[1:], MOST_TEXT) if compressed else text
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode())
    except (ValueError, zlib.error):
        return b""
