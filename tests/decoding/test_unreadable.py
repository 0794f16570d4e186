import gzip
import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from stages.decoding.decode import decode
from tests.decoding.image_files import GREYS, encode, grey, heic, quadrants, rgb, tiff

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow's, about broken TIFF files


def box(brand, *compatible):
    """The first box of an MP4, HEIF or JPEG XL file (ISO/IEC 14496-12, 4.3)."""
    return struct.pack(">I4s4sI", 16 + 4 * len(compatible), b"ftyp", brand, 0) + b"".join(compatible) + bytes(2000)


def raw(**options):
    """A TIFF file of a small preview and the sensor's values, as in NEF and DNG files."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, **options) as file:
        file.write(np.asarray(rgb()), photometric="rgb", subifds=1)
        file.write(quadrants(GREYS * 64, 128, 128).astype(np.uint16), photometric=32803, subfiletype=0)
    return buffer.getvalue()


def npz():
    buffer = io.BytesIO()
    np.savez(buffer, train_images=np.zeros((9, 8, 8), np.uint8))
    return buffer.getvalue()


def dng():
    buffer = io.BytesIO()
    version = (50706, "B", 4, b"\1\4\0\0", True)
    tifffile.imwrite(buffer, np.asarray(rgb()), photometric="rgb", extratags=[version])
    return buffer.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
RECORD = bytes.fromhex("200000000000000029eda950") + b"\x0a\x1e" + bytes(40)  # as TensorFlow writes 32 bytes
# JPEG-LS: a SPIFF header and its end, which holds a second start of image; and a frame header.
SPIFF = b"\xff\xe8\0\x20SPIFF\0" + bytes(24) + b"\xff\xe8\0\x08\0\0\0\1\xff\xd8"
FRAME = b"\xff\xf7\0\x0b\x08\0\x40\0\x40\1\1\x11\0" + bytes(99)
SVG = b'<?xml version="1.0"?>\n<!-- a comment -->\n<svg xmlns="http://www.w3.org/2000/svg"></svg>'
DICOM = bytes(128) + b"DICM" + bytes(500)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.heic", box(b"heic", b"mif1", b"heic"), "HEIC"),
        ("a.jpg", box(b"mif1", b"heix"), "HEIC"),
        ("half.heic", heic(Image.effect_noise((64, 64), 90))[:-300], "HEIC"),
        ("a.jxl", b"\xff\x0a" + bytes(300), "JPEG XL"),
        ("a.jpg", b"\0\0\0\x0cJXL \r\n\x87\n" + box(b"jxl "), "JPEG XL"),
        ("a.dcm", DICOM, "DICOM"),
        ("a.png", DICOM, "DICOM"),
        ("without preamble.dcm", b"\x08\0\x05\0CS\x0a\0ISO_IR 100", "DICOM"),
        ("a.nef", raw(), "raw file (NEF)"),
        ("renamed.tif", raw(), "raw file"),
        ("big endian.jpg", raw(byteorder=">"), "raw file"),
        ("big.tif", raw(bigtiff=True), "raw file"),
        ("a.dng", dng(), "raw file (DNG)"),
        ("renamed.jpg", dng(), "raw file"),
        ("preview only.arw", encode(rgb(), "TIFF"), "raw file (ARW)"),
        ("a.cr2", b"II*\0\x10\0\0\0CR\2\0" + bytes(100), "raw file (CR2)"),
        ("a.cr3", box(b"crx ", b"isom"), "raw file (CR3)"),
        ("a.raf", b"FUJIFILMCCD-RAW 0201" + bytes(100), "raw file (RAF)"),
        ("a.orf", b"IIRO\x08\0\0\0" + bytes(100), "raw file (ORF)"),
        ("a.rw2", b"IIU\0\x18\0\0\0" + bytes(100), "raw file (RW2)"),
        ("a.svg", SVG, "SVG"),
        ("a.png", b"\xef\xbb\xbf<SVG width='1'/>", "SVG"),
        ("a.pdf", b"%PDF-1.7\n", "PDF"),
        ("a.jpg", b"\n\n%PDF-1.4\n", "PDF"),
        ("a.mp4", box(b"isom", b"iso2", b"avc1"), "a video"),
        ("a.mov", box(b"qt  "), "a video"),
        ("old.mov", b"\0\0\1\0moov" + bytes(300), "a video"),
        ("a.avi", b"RIFF\0\1\0\0AVI LIST" + bytes(300), "a video"),
        ("a.mkv", b"\x1a\x45\xdf\xa3" + bytes(300), "a video"),
        ("a.jpg", LFS, "git lfs pull"),
        ("a.jpg", b"/annex/objects/SHA256E-s1--0.jpg\n", "git annex get"),
        ("a.jpg", b"../../.git/annex/objects/Gx/5k/SHA256E-s9--0.jpg/SHA256E-s9--0.jpg", "git annex get"),
        ("a.jpg.dvc", b"outs:\n- md5: 0\n  path: a.jpg\n", "dvc pull"),
        ("a.jpg.lnk", b"L\0\0\0\1\x14\2\0" + bytes(68), "a Windows shortcut"),
        ("a.jpg", b"book\0\0\0\0mark\0\0\0\0", "a macOS alias"),
        ("a.url", b"[InternetShortcut]\r\nURL=https://localhost/a.jpg\r\n", "an internet shortcut"),
        ("a.jpg.json", b'{\r\n  "title": "a.jpg"}', "a JSON text"),
        ("a.jpg", b'{"error": {"code": 404}}', "a JSON text"),
        ("a.tar", bytes(b"a" * 257) + b"ustar\0" + bytes(90), "an archive"),
        (
            "data-00000-of-00001.arrow",
            b"\xff\xff\xff\xff\x80\x02\0\0" + bytes(600),
            "Arrow, images inside a table: save",
        ),
        ("a.arrow", b"ARROW1\0\0" + bytes(99), "Arrow, images inside a table: save"),
        ("train.parquet", b"PAR1\x15\x04" + bytes(99), "Parquet, images inside a table: save"),
        ("a.npz", npz(), "NPZ, arrays: save the images"),
        ("a.tfrecord", RECORD, "TFRecord, images inside a table"),
        ("train-00000-of-00005", RECORD, "TFRecord, images inside a table"),
        ("a.tfrecord.gz", gzip.compress(RECORD, mtime=0), "TFRecord, images inside a table"),
        ("shard.tar.gz", gzip.compress(bytes(b"a" * 257) + b"ustar\0", mtime=0), "tar, an archive: unpack it (docs"),
        ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5, arrays"),
        ("data.mdb", bytes(16) + b"\xde\xc0\xef\xbe" + bytes(99), "LMDB, images inside a table"),
        ("a.jls", b"\xff\xd8" + FRAME, "JPEG-LS"),
        ("spiff.jls", b"\xff\xd8" + SPIFF + FRAME, "JPEG-LS"),
        ("comment.jpg", b"\xff\xd8\xff\xfe\0\x06\xff\xf7\0\x08" + SPIFF + FRAME, "JPEG-LS"),
        ("a.nii", bytes(344) + b"n+1\0", "NIfTI"),
        ("a.pam", b"P7\nWIDTH 64\n", "PAM"),
        ("half.tif", encode(rgb(), "TIFF", compression="tiff_lzw")[:-200], "TIFF without a readable directory: broken"),
        ("half.webp", encode(Image.effect_noise((64, 64), 90), "WEBP")[:-300], "broken, truncated or not supported"),
        ("a.jpg", b"", "an empty file"),
        ("a.jpg", bytes(5000), "zero bytes"),
        ("a.jpg", bytes(200_000), "zero bytes"),
        ("a.jpg", b"<!DOCTYPE html><html><body>404", "an HTML page"),
        ("a.jpg", b"\r\n  <html lang='en'>", "an HTML page"),
        ("a.jpg", "<!doctype html>".encode("utf-16"), "an HTML page"),
        ("a.jpg", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML file"),
        ("a.zip", b"PK\3\4" + bytes(50), "an archive"),
        ("a.psd", b"8BPS" + bytes(50), "Photoshop"),
        (
            "12 bits.jpg",
            encode(grey(), "JPEG").replace(b"\xff\xc0\0\x0b\x08", b"\xff\xc1\0\x0b\x0c"),
            "12 bits per channel",
        ),
        ("a.tif", tiff(GREYS / 255), "floating-point channel of 64 bits"),
        ("a.txt", b"just a text", "not an image in a known format"),
        ("a.bin", zlib.compress(b"0" * 500), "not an image in a known format"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_for_what_it_is(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError) as caught:
        decode(tmp_path / name, 32)
    assert words in str(caught.value) and len(str(caught.value)) < 200 and "\n" not in str(caught.value)


def test_a_jpeg_with_a_raw_file_s_name_is_a_jpeg(tmp_path):
    (tmp_path / "a.nef").write_bytes(encode(rgb(), "JPEG"))
    assert decode(tmp_path / "a.nef", 32)[1] == (64, 64)


def test_a_tiff_file_of_several_pages_is_no_raw_file(tmp_path):
    with tifffile.TiffWriter(tmp_path / "pages.tif") as file:
        file.write(np.asarray(rgb()), photometric="rgb", subifds=1)
        file.write(np.asarray(rgb())[::2, ::2], photometric="rgb", subfiletype=1)  # a pyramid
    assert decode(tmp_path / "pages.tif", 32)[1] == (64, 64)
