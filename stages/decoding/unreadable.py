"""Files that are no image which can be read, named for what they are, with what to do."""

import re
from pathlib import PurePath

from stages.decoding import tiff

HEAD = 65536  # bytes that are looked at
RAW = {".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq", ".k25", ".kdc", ".mef"}
RAW |= {".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"}
RAW_STARTS: tuple[bytes, ...] = (b"II*\0\x10\0\0\0CR", b"II\x1a\0\0\0HEAPCCDR", b"IIU\0")  # Canon, Panasonic
RAW_STARTS += (b"IIRO", b"IIRS", b"MMOR", b"FUJIFILMCCD-RAW", b"\0MRM", b"FOVb")  # Olympus, Fujifilm, Minolta, Sigma
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}  # ISO/IEC 23008-12, annex B
VIDEO = "a video: take frames from it, as PNG or JPEG files"
ARCHIVE = "an archive: unpack it"
DOCUMENT = "a document: export its images as PNG or JPEG"
SCIENCE = "scientific data: export it as an 8-bit PNG or TIFF"
EDITOR = "an image editor's file: export it as PNG or JPEG"
CONVERT = "convert it to PNG or JPEG"
STARTS = {  # by the first bytes
    b"\xff\x0a": f"JPEG XL: {CONVERT}",
    b"\0\0\0\x0cJXL ": f"JPEG XL: {CONVERT}",
    b"version https://git-lfs": "a Git LFS pointer, not the image itself: run `git lfs pull`",
    b"outs:\n- md5": "a DVC file, not the image itself: run `dvc pull`, and move it out of the folder",
    b"L\0\0\0\1\x14\2\0": "a Windows shortcut, not the image itself: copy the image here",
    b"book\0\0\0\0mark": "a macOS alias, not the image itself: copy the image here",
    b"\x1a\x45\xdf\xa3": f"MKV or WebM, {VIDEO}",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": f"WMV, {VIDEO}",
    b"\0\0\1\xba": f"MPEG, {VIDEO}",
    b"\0\0\1\xb3": f"MPEG, {VIDEO}",
    b"FLV\1": f"FLV, {VIDEO}",
    b"OggS": f"Ogg, {VIDEO}",
    b"%!PS": f"PostScript, {DOCUMENT}",
    b"\xc5\xd0\xd3\xc6": f"PostScript, {DOCUMENT}",
    b"{\\rtf": f"RTF, {DOCUMENT}",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": f"an Office file, {DOCUMENT}",
    b"PK\3\4": f"ZIP, {ARCHIVE}",
    b"\x1f\x8b": f"gzip, {ARCHIVE}",
    b"7z\xbc\xaf\x27\x1c": f"7z, {ARCHIVE}",
    b"Rar!\x1a\x07": f"RAR, {ARCHIVE}",
    b"\xfd7zXZ\0": f"xz, {ARCHIVE}",
    b"BZh": f"bzip2, {ARCHIVE}",
    b"\x28\xb5\x2f\xfd": f"Zstandard, {ARCHIVE}",
    b"8BPS": f"Photoshop, {EDITOR}",
    b"gimp xcf": f"GIMP, {EDITOR}",
    b"\x89HDF\r\n\x1a\n": f"HDF5, {SCIENCE}",
    b"SIMPLE  =": f"FITS, {SCIENCE}",
    b"\x93NUMPY": f"NumPy, {SCIENCE}",
    b"ZISRAWFILE": f"CZI, {SCIENCE}",
    b"NRRD0": f"NRRD, {SCIENCE}",
    b"PF\n": f"PFM, floating-point colours, {SCIENCE}",
    b"P7\n": f"PAM: {CONVERT}",
    b"\xff\xd8\xff\xf7": f"JPEG-LS: {CONVERT}",
    b"\x76\x2f\x31\x01": f"OpenEXR: {CONVERT}",
    b"#?RADIANCE": f"Radiance HDR: {CONVERT}",
    b"II\xbc\1": f"JPEG XR: {CONVERT}",
    b"\0\0\1\0": f"an icon (ICO): {CONVERT}",
    b"icns": f"an icon (ICNS): {CONVERT}",
    b"qoif": f"QOI: {CONVERT}",
    b"DDS ": f"DDS: {CONVERT}",
    b"AT&TFORM": f"DjVu, {DOCUMENT}",
}
DICOM = "DICOM: export it as an 8-bit PNG, with the window that its readers use"
TEXT = (
    (rb"^\S{0,500}/annex/objects/", "a git-annex pointer, not the image itself: run `git annex get`"),
    (rb"^\s*\[InternetShortcut\]", "an internet shortcut, not the image itself: fetch the image"),
    (rb"^\s*[\[{]\s*\"", "a JSON text: remove it, or fetch the image again, if this was a download"),
    (rb"<svg[\s>]", f"SVG, a drawing without pixels: {CONVERT}"),
    (rb"^\s*(<!doctype html|<html|<head|<body|<script)", "an HTML page: the download failed; fetch the image again"),
    (rb"^\s*<\?xml", "an XML file: if this was a download, it failed; fetch the image again"),
    (rb"^[^\0]{0,1000}%PDF-", f"PDF, {DOCUMENT}"),
)


class UnreadableError(ValueError):
    """An image cannot be read, with or without its metadata; the text says why, without the path."""


def is_heif(head: bytes) -> bool:
    """Tells whether a file is HEIC or HEIF, by its first bytes. AVIF is HEIF by name only: Pillow reads it."""
    brands = _brands(head)
    return bool(brands & HEIF_BRANDS or brands & {b"mif1", b"msf1"} and not brands & {b"avif", b"avis"})


def raw(name: str, head: bytes) -> str:
    """Returns why a camera's raw file cannot be read, or "": its first image is a preview, which is not to pass for it.

    Args:
        name: of the file.
        head: a TIFF file's whole content; of another's at least the first 16 bytes.
    """
    suffix = PurePath(name).suffix.lower()
    by_content = head.startswith(RAW_STARTS) or b"crx " in _brands(head)
    if by_content or head.startswith(tiff.STARTS) and (suffix in RAW or tiff.is_raw(head)):
        kind = f" ({suffix[1:].upper()})" if suffix in RAW else ""
        return f"a camera's raw file{kind}: develop it to JPEG, or to TIFF of 8 bits"
    return ""


def reason(name: str, head: bytes, size: int) -> str:
    """Says what a file is that cannot be read as an image, and what to do.

    Args:
        name: of the file.
        head: its first HEAD bytes, or fewer, if it is shorter.
        size: of the file in bytes.
    """
    if not head.strip(b"\0"):
        if size == 0:
            return "an empty file: a cloud's placeholder, or a copy that failed; download or copy it again"
        return "nothing but zero bytes: a copy that failed, or a cloud's placeholder; copy it again"
    if found := raw(name, head):
        return found
    if brands := _brands(head):
        if is_heif(head):
            return f"HEIC or HEIF, broken or truncated: copy it again, or {CONVERT}"
        if not brands & {b"avif", b"avis"}:
            return f"MP4 or MOV, {VIDEO}"
    if head[4:8] in (b"moov", b"mdat", b"wide"):  # QuickTime before there was ftyp
        return f"MOV, {VIDEO}"
    if found := next((text for start, text in STARTS.items() if head.startswith(start)), ""):
        return found
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return f"AVI, {VIDEO}"
    if head[:1] == b"G" and head[188:189] == b"G" and head[376:377] == b"G":
        return f"MPEG transport stream, {VIDEO}"
    if head[257:262] == b"ustar":
        return f"tar, {ARCHIVE}"
    if head[344:347] == b"n+1":
        return f"NIfTI, {SCIENCE}"
    if head[128:132] == b"DICM" or PurePath(name).suffix.lower() in (".dcm", ".dicom"):
        return DICOM
    if head.startswith(tiff.STARTS):
        return f"TIFF{tiff.describe(head)}: broken, or not supported; save it as RGB or grey of 8 bits"
    if precision := re.match(rb"\xff\xd8\xff.*?\xff[\xc0-\xc3]\0.([\x09-\x10])", head, re.DOTALL):
        return f"JPEG of {precision[1][0]} bits a sample: {CONVERT} of 8 bits"
    text = _text(head)
    return next((found for pattern, found in TEXT if re.search(pattern, text, re.IGNORECASE)), "") or (
        "not an image in a known format, or truncated"
    )


def _brands(head: bytes) -> set[bytes]:
    """Returns the brands of a file of ISO/IEC 14496-12, which say of what kind it is; none of another's."""
    if head[4:8] != b"ftyp":
        return set()
    box = head[8 : int.from_bytes(head[:4], "big")]
    return {box[:4], *(box[place : place + 4] for place in range(8, len(box), 4))}


def _text(head: bytes) -> bytes:
    """Returns the beginning of a text without the mark of its encoding, in ASCII if it is UTF-16."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head[2:4096].replace(b"\0", b"")
    return head[:4096].removeprefix(b"\xef\xbb\xbf")
