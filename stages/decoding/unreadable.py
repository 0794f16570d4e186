"""Names for files that cannot be read as images: what they are, and what to do with them."""

import codecs
import re
from pathlib import PurePath

from stages.decoding import tiff

HEAD = 65536  # bytes from the start of a file, by which it is named
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
JPEG, GZIP = b"\xff\xd8", b"\x1f\x8b"  # first bytes
JPEG_FRAMES = {bytes([x]) for x in (*range(0xC0, 0xD0), 0xDA, 0xF7)} - {b"\xc4", b"\xc8", b"\xcc"}  # and of a scan
CONVERT = "convert it to PNG or JPEG"
WHERE = "(docs/unpacking.md)"
TABLE = f"images inside a table: save them as files {WHERE}"
ARRAYS = f"arrays: save the images in it as files {WHERE}"
CONTAINERS = (  # (pattern of the first bytes, what such a file is)
    (rb"ARROW1\0\0|\xff{4}[^\0].{2}\0", f"Arrow, {TABLE}"),  # a file, or a stream: a message and its length
    (rb"PAR1", f"Parquet, {TABLE}"),
    (rb"PK\x03\x04.{26}[^\0/]*\.npy", f"NPZ, {ARRAYS}"),
    (rb"\x89HDF\r\n\x1a\n", f"HDF5, {ARRAYS}"),
    (rb".{16}\xde\xc0\xef\xbe", f"LMDB, {TABLE}"),
    (rb".{257}ustar", f"tar, {ARCHIVE} {WHERE}"),
)
DICOM = "DICOM: export it as an 8-bit PNG, with the window that its readers use"
TFRECORD = f"TFRecord, {TABLE}"
STARTS = (  # (pattern of the first bytes, what such a file is)
    (rb"\xff\x0a|\0\0\0\x0cJXL ", f"JPEG XL: {CONVERT}"),
    (rb"version https://git-lfs", "a Git LFS pointer, not the image itself: run `git lfs pull`"),
    (rb"outs:\n- md5", "a DVC file, not the image itself: run `dvc pull`, and move it out of the folder"),
    (rb"L\0\0\0\x01\x14\x02\0", "a Windows shortcut, not the image itself: copy the image here"),
    (rb"book\0\0\0\0mark", "a macOS alias, not the image itself: copy the image here"),
    (rb".{4}(moov|mdat|wide)", f"MOV, {VIDEO}"),  # QuickTime before there was ftyp
    (rb"\x1a\x45\xdf\xa3", f"MKV or WebM, {VIDEO}"),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", f"WMV, {VIDEO}"),
    (rb"\0\0\x01[\xba\xb3]", f"MPEG, {VIDEO}"),
    (rb"FLV\x01", f"FLV, {VIDEO}"),
    (rb"OggS", f"Ogg, {VIDEO}"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", f"PostScript, {DOCUMENT}"),
    (rb"\{\\rtf", f"RTF, {DOCUMENT}"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", f"an Office file, {DOCUMENT}"),
    (rb"AT&TFORM", f"DjVu, {DOCUMENT}"),
    (rb"PK\x03\x04", f"ZIP, {ARCHIVE}"),
    (rb"\x1f\x8b", f"gzip, {ARCHIVE}"),
    (rb"7z\xbc\xaf\x27\x1c", f"7z, {ARCHIVE}"),
    (rb"Rar!\x1a\x07", f"RAR, {ARCHIVE}"),
    (rb"\xfd7zXZ\0", f"xz, {ARCHIVE}"),
    (rb"BZh", f"bzip2, {ARCHIVE}"),
    (rb"\x28\xb5\x2f\xfd", f"Zstandard, {ARCHIVE}"),
    (rb"8BPS", f"Photoshop, {EDITOR}"),
    (rb"gimp xcf", f"GIMP, {EDITOR}"),
    (rb"SIMPLE  =", f"FITS, {SCIENCE}"),
    (rb"\x93NUMPY", f"NumPy, {SCIENCE}"),
    (rb"ZISRAWFILE", f"CZI, {SCIENCE}"),
    (rb"NRRD0", f"NRRD, {SCIENCE}"),
    (rb"PF\n", f"PFM, floating-point colours, {SCIENCE}"),
    (rb"P7\n", f"PAM: {CONVERT}"),
    (rb"\x76\x2f\x31\x01", f"OpenEXR: {CONVERT}"),
    (rb"#\?RADIANCE", f"Radiance HDR: {CONVERT}"),
    (rb"II\xbc\x01", f"JPEG XR: {CONVERT}"),
    (rb"\0\0\x01\0", f"an icon (ICO): {CONVERT}"),
    (rb"icns", f"an icon (ICNS): {CONVERT}"),
    (rb"qoif", f"QOI: {CONVERT}"),
    (rb"DDS ", f"DDS: {CONVERT}"),
    (rb"RIFF.{4}AVI ", f"AVI, {VIDEO}"),
    (rb"G.{187}G.{187}G", f"MPEG transport stream, {VIDEO}"),
    (rb".{344}n\+1", f"NIfTI, {SCIENCE}"),
    (rb".{128}DICM", DICOM),
)
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
    """Returns why a camera's raw file cannot be read: its first image is a preview. Returns "" for another file.

    `head` is the whole content of a TIFF file, or at least the first 16 bytes of another one.
    """
    suffix = PurePath(name).suffix.lower()
    by_content = head.startswith(RAW_STARTS) or b"crx " in _brands(head)
    if by_content or head.startswith(tiff.STARTS) and (suffix in RAW or tiff.is_raw(head)):
        kind = f" ({suffix[1:].upper()})" if suffix in RAW else ""
        return f"a camera's raw file{kind}: develop it to JPEG, or to TIFF of 8 bits"
    return ""


def reason(name: str, head: bytes, size: int) -> str:
    """Says what a file of this name, first HEAD bytes and size in bytes is, if it is not an image, and what to do."""
    if not head.strip(b"\0"):
        if size == 0:
            return "an empty file: a cloud's placeholder, or a copy that failed; download or copy it again"
        return "nothing but zero bytes: a copy that failed, or a cloud's placeholder; copy it again"
    if found := raw(name, head):
        return found
    if found := container(name, head):
        return found
    if brands := _brands(head):
        if is_heif(head):
            return f"HEIC or HEIF, broken or truncated: copy it again, or {CONVERT}"
        if not brands & {b"avif", b"avis"}:
            return f"MP4 or MOV, {VIDEO}"
    if found := next((text for start, text in STARTS if re.match(start, head, re.DOTALL)), ""):
        return found
    if _is_jpeg_ls(head):
        return f"JPEG-LS: {CONVERT}"
    if PurePath(name).suffix.lower() in (".dcm", ".dicom"):
        return DICOM
    if head.startswith(tiff.STARTS):
        return f"TIFF{tiff.pixel_format(head)}: broken, or not supported; save it as RGB or grey of 8 bits"
    if precision := re.match(rb"\xff\xd8\xff.*?\xff[\xc0-\xc3]\0.([\x09-\x10])", head, re.DOTALL):
        return f"JPEG of {precision[1][0]} bits per channel: {CONVERT} of 8 bits"
    text = head[:4096].removeprefix(codecs.BOM_UTF8)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = head[2:4096].replace(b"\0", b"")  # the same in ASCII
    found = next((found for pattern, found in TEXT if re.search(pattern, text, re.IGNORECASE)), "")
    return found or "not an image in a known format, or truncated"


def container(path: str, head: bytes) -> str:
    """Says what a file of many images is, such as Parquet, and what to do, by its name and its first 300 bytes or more.

    Returns "" for another file.
    """
    if _is_tfrecord(head) or head.startswith(GZIP) and ".tfrecord" in PurePath(path).name.lower():
        return TFRECORD
    if head.startswith(GZIP) and path.lower().endswith((".tar.gz", ".tgz")):
        return f"tar, {ARCHIVE} {WHERE}"
    return next((text for start, text in CONTAINERS if re.match(start, head, re.DOTALL)), "")


def _is_tfrecord(head: bytes) -> bool:
    """Tells whether a file starts with a length, 8 bytes, and their masked CRC-32C, as TFRecord's do."""
    checksum = 0xFFFFFFFF
    for byte in head[:8]:
        checksum ^= byte
        for _ in range(8):
            checksum = checksum >> 1 ^ (0x82F63B78 if checksum & 1 else 0)
    checksum ^= 0xFFFFFFFF
    masked = (checksum >> 15 | checksum << 17) + 0xA282EAD8 & 0xFFFFFFFF
    return len(head) > 12 and head[8:12] == masked.to_bytes(4, "little")


def _is_jpeg_ls(head: bytes) -> bool:
    """Tells whether the first frame header of a JPEG file is that of JPEG-LS (ISO/IEC 14495-1, SOF55)."""
    place = 2
    while head.startswith(JPEG) and head[place : place + 1] == b"\xff":
        marker = head[place + 1 : place + 2]
        if marker in JPEG_FRAMES:
            return marker == b"\xf7"
        # The start of image is the only marker without a length: it ends a SPIFF header (ISO/IEC 10918-3, annex F).
        place += 2 if marker == b"\xd8" else 2 + max(int.from_bytes(head[place + 2 : place + 4], "big"), 2)
    return False


def _brands(head: bytes) -> set[bytes]:
    """Returns the brands, which tell the kind of a file of ISO/IEC 14496-12 (MP4, HEIF); none for another file."""
    if head[4:8] != b"ftyp":
        return set()
    box = head[8 : int.from_bytes(head[:4], "big")]
    return {box[:4], *(box[place : place + 4] for place in range(8, len(box), 4))}
