"""Decoding of JPEG and PNG files by TensorFlow operations, so that a SavedModel can take the files themselves."""

import tensorflow as tf
from PIL import Image, ImageColor

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"  # first bytes of the files


def decode(data: tf.Tensor, size: int, background: str) -> tf.Tensor:
    """Decodes a complete JPEG or PNG file, string [], to RGB, uint8 [size, size, 3], like decoding.decode.

    EXIF orientation is applied, transparency is composited on the colour `background` (a name that Pillow knows, or
    #rrggbb), and the image is resized to a square without keeping its aspect ratio. The decoders and the scaling,
    bilinear and antialiased, are those of decoding.decode, but Pillow rounds once more in resizing: opaque images
    differ by at most 1 in 255, transparent ones by 2. Colour profiles, and an orientation in XMP alone, are ignored.

    Running the graph raises tf.errors.InvalidArgumentError if the file is neither, is broken or truncated, or has more
    pixels than Pillow's limit against decompression bombs, which is checked before anything is decoded.
    """
    is_png = tf.strings.substr(data, 0, len(PNG)) == PNG
    known = is_png | (tf.strings.substr(data, 0, len(JPEG)) == JPEG)
    with tf.control_dependencies([tf.debugging.Assert(known, ["image_bytes is neither JPEG nor PNG"])]):
        shape = tf.cond(is_png, lambda: _png_shape(data), lambda: tf.image.extract_jpeg_shape(data)[:2])
    pixels = tf.reduce_prod(tf.cast(shape, tf.int64))
    message = ["image_bytes has too many pixels, or none; height and width are", shape]
    with tf.control_dependencies([tf.debugging.Assert((0 < pixels) & (pixels <= Image.MAX_IMAGE_PIXELS), message)]):
        square = tf.cond(is_png, lambda: _decode_png(data, size, background), lambda: _decode_jpeg(data, shape, size))
    return _apply_orientation(tf.cast(tf.round(square), tf.uint8), _orientation(data, is_png))


def _png_shape(data: tf.Tensor) -> tf.Tensor:
    """Returns height and width, int32 [2], from the first chunk of a PNG file (PNG specification, 11.2.1)."""
    header = tf.strings.substr(data, 0, 24) + bytes(24)  # missing bytes count as 0
    return tf.io.decode_raw(tf.strings.substr(header, 16, 8), tf.int32, little_endian=False)[::-1]


def _decode_png(data: tf.Tensor, size: int, background: str) -> tf.Tensor:
    """Returns float32 [size, size, 3]."""
    image = tf.cast(tf.io.decode_png(data, channels=4), tf.uint16)
    colours, alpha = image[..., :3], image[..., 3:]
    # For a file without transparency and with fewer than 8 bits, TensorFlow's alpha is the highest value of these bits.
    bits = tf.cast(tf.io.decode_raw(tf.strings.substr(data, 24, 1), tf.uint8), tf.int32)
    opaque = tf.cast(tf.bitwise.left_shift(1, bits) - 1, tf.uint16)
    alpha = tf.where(tf.reduce_all(alpha == opaque), tf.constant(255, tf.uint16), alpha)
    behind = tf.constant(ImageColor.getrgb(background), tf.uint16)
    # Composited before resizing, or the colours of transparent pixels would bleed. 255 * 255 fits in 16 bits.
    return tf.image.resize(colours * alpha + behind * (255 - alpha), (size, size), antialias=True) / 255


def _decode_jpeg(data: tf.Tensor, shape: tf.Tensor, size: int) -> tf.Tensor:
    """Returns float32 [size, size, 3]. libjpeg scales while it decodes, by as much as Image.draft lets it."""
    scales = [1, 2, 4, 8]
    scale = tf.reduce_sum(tf.cast(tf.reduce_min(shape) // size >= scales[1:], tf.int32))
    decoders = [lambda r=ratio: tf.io.decode_jpeg(data, 3, r, dct_method="INTEGER_ACCURATE") for ratio in scales]
    return tf.image.resize(tf.switch_case(scale, decoders), (size, size), antialias=True)


def _orientation(data: tf.Tensor, is_png: tf.Tensor) -> tf.Tensor:
    """Returns the EXIF orientation, int32 [] (EXIF 2.3, tag 0x0112), or 1, upright, if there is none.

    EXIF data is a small TIFF file, all parts of which start at even offsets (TIFF 6.0, section 2): 2 bytes for the byte
    order, 2 for the kind of file, 4 for the offset of the first directory; there 2 for the number of entries, and for
    each entry 12: 2 for the tag, 2 for the type, 4 for the count and 4 that start with the value.
    """
    parts = tf.strings.split(data, tf.where(is_png, b"eXIf", b"Exif\0\0"), maxsplit=1)
    tiff = tf.concat([parts, [b""]], 0)[1]
    tiff = tf.strings.substr(tiff, 0, tf.strings.length(tiff) // 2 * 2)
    big_endian = tf.strings.substr(tiff, 0, 2) == b"MM"
    words = tf.where(big_endian, *(tf.io.decode_raw(tiff, tf.uint16, little_endian=x) for x in (False, True)))
    words = tf.concat([tf.cast(words, tf.int32), [0, 0, 0, 0]], 0)
    start = tf.where(big_endian, words[3], words[2]) // 2  # the other half is 0: EXIF data is shorter than 64 kB
    entries = words[start + 1 :][: 6 * tf.reduce_sum(words[start : start + 1])]
    entries = tf.reshape(entries[: tf.size(entries) // 6 * 6], [-1, 6])
    return tf.concat([entries[entries[:, 0] == 0x0112][:, 4], [1]], 0)[0]


def _apply_orientation(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Returns a square image, [size, size, 3], turned upright from its EXIF orientation."""
    orientations = [5, 6, 7, 8], [2, 3, 6, 7], [3, 4, 7, 8]
    transposed, mirrored, upside_down = [tf.reduce_any(orientation == numbers) for numbers in orientations]
    image = tf.where(transposed, tf.transpose(image, [1, 0, 2]), image)
    image = tf.where(mirrored, image[:, ::-1], image)
    return tf.where(upside_down, image[::-1], image)
