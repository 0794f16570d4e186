"""Groups of images that are copies of each other: identical, re-encoded, resized, slightly cropped or brightened.

A perceptual hash finds pairs that may be copies, and a second look at their thumbnails decides: hashes of plain
images are near each other by chance. Copies of images of less than about 64 pixels may be missed: at half the size
little is left of them. The numbers below come from copies of 100 photographs; tests/benchmarks/grouping.py shows what
they do to a folder.
"""

import hashlib
import math

import numpy as np
import pandas as pd
from PIL import Image
from scipy import fft, sparse
from scipy.sparse import csgraph

DISTANCE = 0.35  # Euclidean, of hashes; 3% off every side of a photograph moves its hash by 0.20 or less in 95 of 100
CONTRAST = 2  # standard deviation in grey levels; below it little but noise is left to compare
NEIGHBOURS = 5  # pairs per image that get a second look in a round
TREES, LEAF = 12, 64  # random projection trees, and how many images are compared with each other in their leaves
COARSE, FINE = 12, 14  # cells down and across, to find the best crop and to judge it
DIFFERENCE = 0.07  # of gradients, see _copies(); such crops differ by up to 0.04, unlike photographs by 0.5 and more

SIDE = 32  # of a thumbnail, in pixels
_AT = np.arange(SIDE)
_FREQUENCY = _AT[:, np.newaxis] + _AT
_LOW = (_FREQUENCY >= 1) & (_FREQUENCY <= 5)  # 20 coefficients, without the mean
_WINDOW = np.sqrt(np.sin(np.pi * (_AT + 0.5) / SIDE))  # what a crop cuts off hardly counts
FINGERPRINT = np.dtype([("pixels", np.uint64), ("hash", np.float32, _LOW.sum())])  # 88 bytes


def fingerprint(pixels):
    """Sums up an image for `group`.

    The perceptual hash is made of the lowest frequencies of the discrete cosine transform, as in C. Zauner,
    "Implementation and benchmarking of perceptual image hash functions" (2010), but keeps values instead of bits. They
    are multiplied by their frequency, since amplitudes in photographs fall with it (D. J. Field, "Relations between the
    statistics of natural images and the response properties of cortical cells", 1987), and scaled to unit length, so
    that brightness and contrast do not matter.

    Args:
        pixels: uint8 [size, size, 3].

    Returns:
        (FINGERPRINT, array): a hash of the very pixels with the perceptual hash, which is zero for an image without
        contrast; and the thumbnail, uint8 [SIDE, SIDE, 3].
    """
    thumbnail = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX))
    grey = thumbnail.mean(axis=2) - thumbnail.mean()
    waves = fft.dctn(grey * _WINDOW * _WINDOW[:, np.newaxis], norm="ortho")[_LOW] * _FREQUENCY[_LOW]
    waves *= (grey.std() >= CONTRAST) / max(np.linalg.norm(waves), 1e-9)
    digest = int.from_bytes(hashlib.sha256(pixels).digest()[:8])
    return np.array((digest, waves), FINGERPRINT), thumbnail


def group(fingerprints, thumbnails):
    """Groups copies, and copies of copies.

    Images with the same pixels are in one group. Others are compared with those of the nearest hashes, within
    DISTANCE; then groups are compared by their first images, round by round, until no more join or, among very many
    that look alike, until there were NEIGHBOURS pairs per image.

    Args:
        fingerprints: FINGERPRINT [N].
        thumbnails: uint8 [N, SIDE, SIDE, 3]; may be mapped from disk, as only those with near hashes are read.

    Returns:
        int64 [N]: the number of each image's group, from 0 in order of first appearance.
    """
    groups = pd.factorize(fingerprints["pixels"])[0]
    compared = np.empty(0, np.int64)
    while len(compared) <= NEIGHBOURS * len(groups):
        firsts = np.unique(groups, return_index=True)[1]
        firsts = firsts[fingerprints["hash"][firsts].any(axis=1)]
        pairs = firsts[_near(fingerprints["hash"][firsts])]
        pairs = np.setdiff1d(pairs.min(axis=1) * len(groups) + pairs.max(axis=1), compared)
        compared = np.concatenate([compared, pairs])
        a, b = np.divmod(pairs, len(groups))
        chunks = [slice(start, start + 256) for start in range(0, len(pairs), 256)]
        joined = np.concatenate([[], *(_copies(thumbnails, a[chunk], b[chunk]) for chunk in chunks)]).astype(bool)
        if not joined.any():
            break
        edges = (np.ones(joined.sum()), (groups[a[joined]], groups[b[joined]]))
        graph = sparse.coo_array(edges, shape=(groups.max() + 1,) * 2)
        groups = pd.factorize(csgraph.connected_components(graph, directed=False)[1][groups])[0]
    return groups


def _near(hashes):
    """Finds the NEIGHBOURS nearest hashes of each, within DISTANCE: int64 [P, 2].

    Halves the images again and again by where they lie along a random direction, until LEAF or fewer are left, which
    are compared with each other, and repeats that, since a pair may be parted (S. Dasgupta and Y. Freund, "Random
    projection trees and low dimensional manifolds", 2008). That takes the time of sorting, whatever the images.
    """
    rng = np.random.default_rng(0)
    depth = max(0, math.ceil(math.log2(max(len(hashes), 1) / LEAF)))
    size = math.ceil(len(hashes) / 2**depth)
    points = np.zeros((size * 2**depth, hashes.shape[1]), np.float32)  # filled up with zeros, which are near nothing
    points[: len(hashes)] = hashes
    found = pd.DataFrame({"one": [], "other": [], "cosine": []}).astype({"one": int, "other": int})
    for _ in range(TREES if depth else 1):
        leaves, tables = np.arange(len(points))[np.newaxis], [found]
        for _ in range(depth):
            direction = rng.normal(size=len(points)).astype(np.float32) @ points  # where the images spread, it points
            order = np.argsort((points @ direction)[leaves], axis=1, kind="stable")
            leaves = np.take_along_axis(leaves, order, axis=1).reshape(2 * len(leaves), -1)
        for part in np.array_split(leaves, math.ceil(len(leaves) / 64)):  # 64 leaves at a time: memory stays flat
            cosine = points[part] @ points[part].swapaxes(1, 2)
            cosine[:, np.arange(size), np.arange(size)] = -1  # not with itself
            nearest = np.argsort(-cosine, axis=2, kind="stable")[:, :, :NEIGHBOURS]
            cosine = np.take_along_axis(cosine, nearest, axis=2)
            leaf, place, rank = np.nonzero(cosine > 1 - DISTANCE**2 / 2)  # |x - y|² = 2 - 2 x·y at unit length
            pairs = {"one": part[leaf, place], "other": part[leaf, nearest[leaf, place, rank]]}
            tables.append(pd.DataFrame({**pairs, "cosine": cosine[leaf, place, rank]}))
        found = pd.concat(tables)
        found = found.drop_duplicates(["one", "other"]).sort_values("cosine", ascending=False, kind="stable")
        found = found.groupby("one").head(NEIGHBOURS)
    return found[["one", "other"]].to_numpy()


def _copies(thumbnails, a, b):
    """Tells which of the images `a` show the same as `b`: bool [P].

    Of each pair, one image whole is compared with the crops of the other, and the other way round, in grey; the best
    crop is then judged in colour. Compared are the gradients x and y of averages over cells: |x - y|² / (|x| |y|),
    which is 2 (1 - correlation) where they are equally strong. An image 15% brighter differs by 0.15² / 1.15 = 0.02.
    """
    rows, place = np.unique([a, b], return_inverse=True)
    colours = thumbnails[rows].transpose(0, 3, 1, 2).astype(np.float32)
    coarse, fine = _crops(COARSE), _crops(FINE)
    stacked = coarse.reshape(-1, SIDE)  # all crops down by all crops across in two products
    crops = (stacked @ colours.mean(axis=1) @ stacked.T).reshape(-1, 7, COARSE, 7, COARSE).swapaxes(2, 3)
    crops = _gradients(crops).reshape(len(rows), 49, -1)
    one, other = place.reshape(2, -1)
    best = np.argmin(
        np.hstack([_difference(crops[one, :1], crops[other]), _difference(crops[other, :1], crops[one])]), axis=1
    )
    one, other = np.where(best < 49, one, other), np.where(best < 49, other, one)
    down, across = (fine[crop][:, np.newaxis] for crop in np.divmod(best % 49, 7))
    whole, crop = fine[0] @ colours[one] @ fine[0].T, down @ colours[other] @ across.swapaxes(2, 3)
    whole, crop = (_gradients(x).reshape(len(x), 1, -1) for x in (whole, crop))
    return _difference(whole, crop)[:, 0] < DIFFERENCE


def _crops(cells):
    """Weights that average SIDE pixels, whole or without 3% or 6% of them, over cells: float32 [7, cells, SIDE]."""
    edges = np.arange(cells + 1) / cells * SIDE
    cut = [(1 - kept) * place * SIDE + kept * edges for kept in (0.97, 0.94) for place in (0, 0.5, 1)]
    start, end = (np.array([edges, *cut])[:, part, np.newaxis] for part in (slice(-1), slice(1, None)))
    return (np.maximum(np.minimum(end, _AT + 1) - np.maximum(start, _AT), 0) / (end - start)).astype(np.float32)


def _gradients(cells):
    """[..., n, n] -> [..., 2 n (n - 1)], down and across."""
    return np.concatenate([np.diff(cells, axis=axis).reshape(*cells.shape[:-2], -1) for axis in (-2, -1)], axis=-1)


def _difference(x, y):
    """[P, 1, F], [P, C, F] -> [P, C]."""
    xx, yy, xy = (x**2).sum(axis=2), np.einsum("pcf,pcf->pc", y, y), (y @ x.swapaxes(1, 2))[:, :, 0]
    return (xx + yy - 2 * xy) / np.maximum(np.sqrt(xx * yy), 1e-9)
