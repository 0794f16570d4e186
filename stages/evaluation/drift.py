"""Drift: in which properties images differ from the validation images, by two-sample tests.

The properties are the share of images unlike the training images, by a beta-binomial distribution, which has the number
of exchangeable images above a given one (V. Vovk et al., "Algorithmic Learning in a Random World", 2005); the features,
by the maximum mean discrepancy with a Gaussian kernel and permutations (A. Gretton et al., "A kernel two-sample test",
JMLR 13, 2012); and brightness, sharpness and size, by Mann and Whitney's test. Holm's correction keeps the probability
that any of them is found to differ by chance at LEVEL (S. Holm, Scandinavian Journal of Statistics 6, 1979).

The reference are validation images, because the fine-tuned network has fitted the features of training images. The
tests take images that are independent of each other, so one image of each group stands for it. All images of groups
are found to differ nearly always: those of a person are more alike than those of several.
`python -m tests.benchmarks.drift` measures false alarms and power.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from stages.common import dataset, files
from stages.common.arrays import Features, Pixels, Sizes
from stages.common.dataset import evenly_spaced
from stages.evaluation import slices
from stages.evaluation.novelty import to_unit

FILE = "data/evaluation/reference.npz"  # where evaluate saves the `reference` images
LEVEL = 0.05  # maximum probability that images of the same kind are found to differ
MOST = 1000  # maximum number of images, evenly spaced, that are compared on either side
PERMUTATIONS = 999  # permutations of the images, of the test of the features
SHARPNESS = 4  # factor by which the kernel's squared width is smaller than the median squared distance
MEASURES = ["brightness", "sharpness", "size"]
COLUMNS = ["novelty", *MEASURES]


@dataclass(frozen=True)
class Sample:
    """Images that are compared, of which none is a near-duplicate of another.

    Attributes:
        features: of the fine-tuned model, of any floating-point type, [N, D].
        table: N rows with COLUMNS; novelty is 0 if the model has no threshold.
        grouped: whether the images are one of each group of the user's, of which new images may have several.
    """

    features: Features
    table: pd.DataFrame
    grouped: bool = False

    def __len__(self) -> int:
        return len(self.table)

    def spaced(self) -> Self:
        """Returns at most MOST of the images."""
        rows = evenly_spaced(np.arange(len(self)), MOST)
        return type(self)(self.features[rows], self.table.iloc[rows], self.grouped)


@dataclass(frozen=True)
class Difference:
    """One property, compared.

    Attributes:
        images, reference: the share above novelty 1, or medians, of new images and of validation images; None for
            features.
        p_value: after Holm's correction.
    """

    name: str
    images: float | None
    reference: float | None
    p_value: float

    @property
    def found(self) -> bool:
        return self.p_value <= LEVEL


def measure(pixels: Pixels, sizes: Sizes) -> pd.DataFrame:
    """Measures brightness and sharpness, as slices.measure, and size, the smaller side of the original in pixels."""
    table = slices.measure(pixels).set_axis(MEASURES[:2], axis=1)
    return table.assign(size=np.min(sizes, axis=1))


def reference(split: dataset.Split, features: Features, novelty: np.ndarray) -> Sample:
    """Returns one image of each group of the validation split, of which features and novelty are given."""
    manifest = split.manifest
    rows = evenly_spaced(np.sort(np.unique(manifest["group"], return_index=True)[1]), MOST)
    sizes = manifest[["width", "height"]].to_numpy()
    table = pd.concat([measure(split.pixels[[row]], sizes[[row]]) for row in rows])  # one image in memory
    grouped = manifest["group"].nunique() < manifest["duplicates"].nunique()
    return Sample(features[rows], table.assign(novelty=novelty[rows]), grouped)


def save(path: Path, sample: Sample) -> None:
    """Writes what `load` reads."""
    columns = {name: sample.table[name].to_numpy(np.float32) for name in COLUMNS}
    np.savez(path, features=sample.features.astype(np.float16), grouped=sample.grouped, **columns)


def load(path: Path) -> Sample:
    """Reads the images that `save` wrote. Raises a FileNotFoundError without them, a UserError if they are damaged."""
    with files.checked(path):
        saved = files.read_arrays(path)
        return Sample(saved["features"], pd.DataFrame({name: saved[name] for name in COLUMNS}), bool(saved["grouped"]))


def compare(images: Sample, reference: Sample) -> list[Difference]:
    """Compares images with the validation images, one Difference for each property."""
    from scipy import stats  # takes a second to import

    images, reference = images.spaced(), reference.spaced()
    found = []
    novelty, known = images.table["novelty"], reference.table["novelty"]
    above = int((known > 1).sum())
    if known.any() and above < len(reference):
        distribution = stats.betabinom(len(images), above + 1, len(reference) - above)
        p_value = distribution.sf((novelty > 1).sum() - 1)
        found.append(Difference("novelty", float((novelty > 1).mean()), above / len(reference), p_value))
    found.append(Difference("features", None, None, _discrepancy_p_value(images.features, reference.features)))
    for name in MEASURES:
        a, b = images.table[name], reference.table[name]
        p_value = stats.mannwhitneyu(a, b).pvalue
        p_value = 1.0 if np.isnan(p_value) else p_value  # all values are the same
        found.append(Difference(name, float(a.median()), float(b.median()), p_value))
    p_values = pd.Series([x.p_value for x in found]).sort_values()
    corrected = (p_values * np.arange(len(found), 0, -1)).cummax().clip(upper=1)  # Holm
    return [Difference(x.name, x.images, x.reference, float(corrected[k])) for k, x in enumerate(found)]


def _discrepancy_p_value(a: Features, b: Features) -> float:
    """Returns the p-value of the maximum mean discrepancy of two sets of features."""
    units = to_unit(np.concatenate([a, b])).astype(float)  # float32 would round distances of equal images up
    squares = np.maximum(2 - 2 * units @ units.T, 0)
    kernel = np.exp(-SHARPNESS * squares / max(float(np.median(squares)), 1e-9)).astype(np.float32)
    means = kernel.mean(axis=0)
    kernel += means.mean() - means - means[:, np.newaxis]  # makes the discrepancy a multiple of the sum within a
    chosen = np.tile(np.arange(len(units)) < len(a), (PERMUTATIONS + 1, 1))
    chosen[1:] = np.random.default_rng(0).permuted(chosen[1:], axis=1)
    weights = chosen.astype(np.float32)
    sums = ((weights @ kernel) * weights).sum(axis=1)
    return float((sums >= sums[0] - 1e-6 * max(abs(sums[0]), 1)).mean())
