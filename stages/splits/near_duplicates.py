"""Near-duplicate detection: groups of identical, mirrored, re-encoded, resized, slightly cropped or brightened images.

A nearest-neighbour search among perceptual hashes finds candidate pairs, which are verified on thumbnails, because
hashes of low-contrast images collide. Copies of images of less than about 64 pixels may be missed: at half the size
little is left of them. The numbers below come from copies of 100 photographs; tests/benchmarks/near_duplicates.py
measures recall and speed on a folder.
"""

import hashlib
from typing import TypeAlias

import numpy as np
import pandas as pd
from PIL import Image
from scipy import fft, sparse
from scipy.sparse import csgraph
from scipy.spatial import KDTree

from stages.common.arrays import ArrayFile, Groups

DISTANCE = 0.35  # Euclidean, of hashes; 3% off every side of a photograph moves its hash by 0.20 or less in 95 of 100
CONTRAST = 2  # smallest standard deviation in grey levels; below it little but noise is left to compare
NEIGHBOURS = 5  # candidates per image in a round
LEAF = 32  # hashes compared one by one at the ends of the search tree; at 10 look-alikes take 1.5 times as long
COARSE, FINE = 12, 14  # cells down and across, to find the best crop and to verify it
CROPS = 7  # along one axis, see _crop_weights()
DIFFERENCE = 0.07  # of gradients, see _verify(); such crops differ by up to 0.04, unlike photographs by 0.5 and more

SIDE = 32  # of a thumbnail, in pixels
_AT = np.arange(SIDE)
_FREQUENCY = _AT[:, np.newaxis] + _AT
_LOW = (_FREQUENCY >= 1) & (_FREQUENCY <= 5)  # 20 coefficients, without the mean
_MIRROR = np.where(np.nonzero(_LOW)[1] % 2, -1, 1).astype(np.float32)  # odd frequencies across change their sign
_WINDOW = np.sqrt(np.sin(np.pi * (_AT + 0.5) / SIDE))  # the border, which a crop removes, hardly counts
FINGERPRINT = np.dtype([("pixel_hash", np.uint64), ("hash", np.float32, _LOW.sum())])  # 88 bytes
Fingerprints: TypeAlias = np.ndarray  # FINGERPRINT [N]: the exact and the perceptual hash of each image
Thumbnails: TypeAlias = np.ndarray | ArrayFile  # uint8 [N, SIDE, SIDE, 3]


def fingerprint(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns a FINGERPRINT [], and the thumbnail, uint8 [SIDE, SIDE, 3], of an image, uint8 [size, size, 3].

    The perceptual hash is made of the lowest frequencies of the discrete cosine transform, as in C. Zauner,
    "Implementation and benchmarking of perceptual image hash functions" (2010), but keeps values instead of bits. They
    are multiplied by their frequency, since amplitudes in photographs fall with it (D. J. Field, "Relations between the
    statistics of natural images and the response properties of cortical cells", 1987), and scaled to unit length, so
    that brightness and contrast do not matter. An image without contrast has a perceptual hash of zeros.
    """
    thumbnail = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX))
    grey = thumbnail.mean(axis=2) - thumbnail.mean()
    waves = fft.dctn(grey * _WINDOW * _WINDOW[:, np.newaxis], norm="ortho")[_LOW] * _FREQUENCY[_LOW]
    waves *= (grey.std() >= CONTRAST) / max(np.linalg.norm(waves), 1e-9)
    digest = int.from_bytes(hashlib.sha256(pixels.data).digest()[:8])
    return np.array((digest, waves), FINGERPRINT), thumbnail


def find(fingerprints: Fingerprints, thumbnails: Thumbnails, identical: bool = False) -> Groups:
    """Numbers the sets of near-duplicates, and near-duplicates of those, from 0 in order of first appearance.

    Images with the same pixels are in one set. Others, unless only `identical` images count, are candidates if their
    hashes, or that of one and that of the other's mirror image, are nearest neighbours within DISTANCE, and join if
    they pass verification; then sets are compared by their first images, round by round, until no more join or, among
    very many that look alike, until there were NEIGHBOURS pairs per image. Only the thumbnails of candidates are read.
    """
    groups = pd.factorize(fingerprints["pixel_hash"])[0]
    compared = np.empty(0, np.int64)
    while not identical and len(compared) <= NEIGHBOURS * len(groups):
        firsts = np.unique(groups, return_index=True)[1]
        firsts = firsts[fingerprints["hash"][firsts].any(axis=1)]
        hashes = fingerprints["hash"][firsts]
        found = [firsts[_candidates(hashes)], firsts[_candidates(hashes, hashes * _MIRROR)]]
        found = [x.min(axis=1) * len(groups) + x.max(axis=1) + n * len(groups) ** 2 for n, x in enumerate(found)]
        pairs = np.setdiff1d(np.concatenate(found), compared)
        compared = np.concatenate([compared, pairs])
        is_mirrored, pairs = np.divmod(pairs, len(groups) ** 2)
        a, b = np.divmod(pairs, len(groups))
        b = np.where(is_mirrored, ~b, b)
        chunks = [slice(row, row + 256) for row in range(0, len(pairs), 256)]
        joined = np.concatenate([[], *(_verify(thumbnails, a[chunk], b[chunk]) for chunk in chunks)]).astype(bool)
        if not joined.any():
            break
        b = np.maximum(b, ~b)
        groups = pd.factorize(connect(groups[a[joined]], groups[b[joined]], groups.max() + 1)[groups])[0]
    return groups


def connect(one: np.ndarray, other: np.ndarray, count: int) -> np.ndarray:
    """Returns the connected component of each of `count` nodes, of a graph with edges from `one` to `other`."""
    graph = sparse.coo_array((np.ones(len(one)), (one, other)), shape=(count, count))
    return csgraph.connected_components(graph, directed=False)[1]


def _candidates(hashes: np.ndarray, queries: np.ndarray | None = None) -> np.ndarray:
    """Finds the NEIGHBOURS nearest hashes of each within DISTANCE, exactly, on all processors: int64 [P, 2].

    `queries`, if they are given, are compared in place of the hashes of the same rows.
    """
    queries = hashes if queries is None else queries
    found = KDTree(hashes, LEAF).query(queries, NEIGHBOURS + 1, distance_upper_bound=DISTANCE, workers=-1)[1]
    rows = np.arange(len(hashes))[:, np.newaxis]
    row, rank = np.nonzero((found != rows) & (found < len(hashes)))  # the number of hashes stands for none
    return np.stack([row, found[row, rank]], axis=1)


def _verify(thumbnails: Thumbnails, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Tells which of the images `a` are near-duplicates of `b`, row by row: bool [P]; ~row is row's mirror image.

    Of each pair, the full image of one is compared with the crops of the other, and vice versa, in grey; the best crop
    is then compared in colour. Compared are the gradients x and y of averages over cells: |x - y|² / (|x| |y|), which
    is 2 (1 - correlation) where they are equally strong. An image 15% brighter differs by 0.15² / 1.15 = 0.02.
    """
    rows, place = np.unique([a, b], return_inverse=True)
    colours = thumbnails[np.maximum(rows, ~rows)].transpose(0, 3, 1, 2).astype(np.float32)
    colours[rows < 0] = colours[rows < 0, :, :, ::-1]
    coarse, fine = _crop_weights(COARSE), _crop_weights(FINE)
    stacked = coarse.reshape(-1, SIDE)  # all crops down by all crops across in two products
    crops = (stacked @ colours.mean(axis=1) @ stacked.T).reshape(-1, CROPS, COARSE, CROPS, COARSE).swapaxes(2, 3)
    crops = _gradients(crops).reshape(len(rows), CROPS**2, -1)
    one, other = place.reshape(2, -1)
    differences = [_difference(crops[one, :1], crops[other]), _difference(crops[other, :1], crops[one])]
    best = np.argmin(np.hstack(differences), axis=1)
    one, other = np.where(best < CROPS**2, one, other), np.where(best < CROPS**2, other, one)
    down, across = (fine[crop][:, np.newaxis] for crop in np.divmod(best % CROPS**2, CROPS))
    full, crop = fine[0] @ colours[one] @ fine[0].T, down @ colours[other] @ across.swapaxes(2, 3)
    full, crop = (_gradients(x).reshape(len(x), 1, -1) for x in (full, crop))
    return _difference(full, crop)[:, 0] < DIFFERENCE


def _crop_weights(cells: int) -> np.ndarray:
    """Returns weights that average SIDE pixels, all or without 3% or 6%, over cells: float32 [CROPS, cells, SIDE]."""
    edges = np.arange(cells + 1) / cells * SIDE
    crops = [(1 - size) * offset * SIDE + size * edges for size in (0.97, 0.94) for offset in (0, 0.5, 1)]
    start, end = (np.array([edges, *crops])[:, part, np.newaxis] for part in (slice(-1), slice(1, None)))
    return (np.maximum(np.minimum(end, _AT + 1) - np.maximum(start, _AT), 0) / (end - start)).astype(np.float32)


def _gradients(cells: np.ndarray) -> np.ndarray:
    """Returns differences of neighbouring cells, down and across: [..., n, n] -> [..., 2 n (n - 1)]."""
    return np.concatenate([np.diff(cells, axis=axis).reshape(*cells.shape[:-2], -1) for axis in (-2, -1)], axis=-1)


def _difference(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns the difference of gradients, as in _verify(): [P, 1, F], [P, C, F] -> [P, C]."""
    xx, yy, xy = (x**2).sum(axis=2), np.einsum("pcf,pcf->pc", y, y), (y @ x.swapaxes(1, 2))[:, :, 0]
    return (xx + yy - 2 * xy) / np.maximum(np.sqrt(xx * yy), 1e-9)
