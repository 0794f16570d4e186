"""Image files without their metadata: for those in which a fault of it stops Pillow, though the pixels are whole."""

import re
import struct
from dataclasses import dataclass

from stages.images import tiff

PNG = b"\x89PNG\r\n\x1a\n"
# AVIF and HEIF (ISO/IEC 23008-12): the type of an item of the file stands in its entry, infe, after 7 or 9 bytes.
ITEM = re.compile(rb"(infe\x02.{7}|infe\x03.{9})(?:Exif|mime)", re.DOTALL)
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


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
        return Stripped(tiff.rewritten(found, kept | profile), tiff.rewritten(found, kept), tiff.orientation(data))
    if data[4:8] == b"ftyp":
        data = ITEM.sub(rb"\1skip", data)
    if data[4:8] == b"jP  " and (start := data.find(b"jp2c")) > 0:
        return Stripped(data, data[start + 4 :], None)  # the codestream without the boxes around it
    return Stripped(data, data, None)


def orientation(exif: bytes, xmp: bytes = b"") -> int:
    """Returns the orientation that EXIF data, else XMP, states by a number, 1 to 8; else 1."""
    found = tiff.orientation(exif.removeprefix(b"Exif\0\0"))
    match = XMP_ORIENTATION.search(xmp)
    return int(match[1]) if found == 1 and match else found


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
    while place + 12 <= len(data):
        end = place + 12 + struct.unpack_from(">I", data, place)[0]
        name = data[place + 4 : place + 8]
        if name[:1].isupper() or name == b"tRNS":  # a capital is for what the pixels need; PNG 3, 5.4
            kind = "pixels"
        else:
            kind = "profile" if name == b"iCCP" else "other"
        parts.append((kind, data[place:end]))
        if name == b"eXIf":
            exif = exif or data[place + 8 : end - 4]
        place = end
    return [*parts, ("pixels", data[place:])], exif
