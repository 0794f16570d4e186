"""Image files without their metadata: for those in which a fault of it stops Pillow, though the pixels are whole."""

import re
import struct
import zlib
from dataclasses import dataclass

from stages.decoding import tiff

PNG = b"\x89PNG\r\n\x1a\n"
# AVIF and HEIF (ISO/IEC 23008-12): the type of an item of the file stands in its entry, infe, after 7 or 9 bytes.
ITEM = re.compile(rb"(infe\x02.{7}|infe\x03.{9})(?:Exif|mime)", re.DOTALL)
XMP_ORIENTATION = re.compile(rb"""tiff:Orientation\s*(?:=\s*["']|>)\s*([1-8])\s*["'<]""")
RAW_PROFILE = b"Raw profile type exif\0"  # the keyword under which ImageMagick writes EXIF data into PNG files, as text
MOST_TEXT = 2**20  # bytes that are decompressed


@dataclass(frozen=True)
class Stripped:
    """An image file without metadata, and the orientation that the metadata states, 1 to 8.

    `data` has the colour profile still, `bare` has none. `orientation` is None where `data` states it still: in
    AVIF and HEIF it is part of the image.
    """

    data: bytes
    bare: bytes
    orientation: int | None


def strip(data: bytes) -> Stripped:
    """Takes metadata out of a complete or broken file of any kind; files of some kinds stay as they are.

    Raises:
        ValueError, struct.error: the file's structure is broken.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return _join(*_jpeg(data))
    if data.startswith(PNG):
        return _join(*_png(data))
    if data.startswith(tiff.STARTS):
        found = tiff.directory(data)
        kept = {tag: entry for tag, entry in found.entries.items() if tag in tiff.DECODING}
        profile = {tag: entry for tag, entry in found.entries.items() if tag == tiff.PROFILE}
        return Stripped(tiff.rewritten(found, kept | profile), tiff.rewritten(found, kept), orientation(data))
    if data[4:8] == b"ftyp":
        data = ITEM.sub(rb"\1skip", data)
    if data[4:8] == b"jP  " and (start := data.find(b"jp2c")) > 0:
        return Stripped(data, data[start + 4 :], None)  # the codestream without the boxes around it
    return Stripped(data, data, None)


def orientation(exif: bytes, xmp: bytes = b"") -> int:
    """Returns the orientation that EXIF data, or a TIFF or PNG file, else XMP, states by a number, 1 to 8; else 1."""
    if exif.startswith(PNG):
        exif = _png(exif)[1] if RAW_PROFILE in exif else b""
    match = XMP_ORIENTATION.search(xmp)
    return tiff.orientation(exif.lstrip(b"Exif\0")) or (int(match[1]) if match else 1)


def _join(parts: list[tuple[str, bytes]], exif: bytes) -> Stripped:
    """Puts together a file from its parts, each of which is of the kind pixels, profile or other."""
    return Stripped(
        b"".join(part for kind, part in parts if kind != "other"),
        b"".join(part for kind, part in parts if kind == "pixels"),
        orientation(exif, b"".join(part for kind, part in parts if kind == "other")),
    )


def _jpeg(data: bytes) -> tuple[list[tuple[str, bytes]], bytes]:
    """Returns the segments of a JPEG file (ITU-T T.81, B.1.1) with their kinds, and the EXIF data."""
    parts, exif, place = [("pixels", data[:2])], b"", 2
    while data[place : place + 1] == b"\xff" and place + 4 <= len(data):
        marker = data[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        end = place + 2 + struct.unpack_from(">H", data, place + 2)[0]
        segment = data[place:end]
        if marker == 0xDA:  # from the start of the scan on, all is pixels
            break
        if 0xE0 <= marker <= 0xEF or marker == 0xFE:  # application data and comments
            known = segment[4:16]
            profile = marker == 0xE2 and known == b"ICC_PROFILE\0"
            # By these libjpeg knows how colours are coded; Pillow stops at short ones, which libjpeg passes over.
            needed = len(segment) >= 16 and known.startswith({0xE0: b"JFIF", 0xEE: b"Adobe"}.get(marker, b"none"))
            parts.append(("pixels" if needed else "profile" if profile else "other", segment))
            if marker == 0xE1 and known.startswith(b"Exif\0\0"):
                exif = exif or segment[10:]
        else:
            parts.append(("pixels", segment))
        place = end
    return [*parts, ("pixels", data[place:])], exif


def _png(data: bytes) -> tuple[list[tuple[str, bytes]], bytes]:
    """Returns the chunks of a PNG file (PNG 3, 5.3) with their kinds, and the EXIF data."""
    parts, exif, place = [("pixels", PNG)], b"", len(PNG)
    key_lengths = {0: [2], 2: [6]}.get(data[25], range(257)) if len(data) > 25 else []  # of tRNS, by colour type
    while place + 12 <= len(data):
        size, name = struct.unpack_from(">I4s", data, place)
        end = place + 12 + size
        content = data[place + 8 : end - 4]
        # A capital is for what the pixels need (PNG 3, 5.4).
        kind = "pixels" if name[:1].isupper() or name == b"tRNS" and size in key_lengths else "other"
        parts.append(("profile" if name == b"iCCP" else kind, data[place:end]))
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
