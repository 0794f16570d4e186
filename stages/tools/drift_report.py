"""How a folder of images differs from the validation images of the model: what predict --drift prints."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.common import cli
from stages.common.arrays import Pixels, Sizes
from stages.common.cli import UserError
from stages.evaluation import drift
from stages.evaluation.drift import Difference, Sample
from stages.splits import near_duplicates

MODEL = Path("data/models/classifier")  # in a project, beside drift.FILE
FEW = 30  # images, below which only great differences are found


class Collector:
    """Collects of each batch what drift compares."""

    def __init__(self) -> None:
        self._features: list[np.ndarray] = []
        self._tables: list[pd.DataFrame] = []
        self._fingerprints: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, pixels: Pixels, sizes: Sizes, outputs: Mapping[str, Any]) -> None:
        """Takes the readable images of a batch; see inference.classify."""
        self._features.append(outputs["features"].numpy().astype(np.float16))
        self._tables.append(drift.measure(pixels, sizes).assign(novelty=outputs["novelty"].numpy()))
        self._fingerprints += [near_duplicates.fingerprint(pixels[row]) for row in range(len(pixels))]

    def sample(self) -> Sample:
        """Returns the images, one of each set of near-duplicates.

        Raises:
            UserError: there is no readable image.
        """
        if not self._features:
            raise UserError("--drift needs images, and none of these can be read.")
        fingerprints, thumbnails = map(np.stack, zip(*self._fingerprints, strict=True))
        rows = np.sort(np.unique(near_duplicates.find(fingerprints, thumbnails), return_index=True)[1])
        return Sample(np.concatenate(self._features)[rows], pd.concat(self._tables).iloc[rows])


def reference_of(model: str) -> Sample:
    """Returns the validation images of the project that a SavedModel lies in.

    Raises:
        UserError: the SavedModel lies elsewhere than in a project, or evaluate has not run there.
    """
    folder = Path(os.path.abspath(model))
    if folder.parts[-len(MODEL.parts) :] != MODEL.parts:
        raise UserError(
            f"--drift compares with {drift.FILE} of the project that trained the model, but {cli.printable(model)} "
            f"lies elsewhere: give --model PROJECT/{MODEL}."
        )
    file = folder.parents[len(MODEL.parts) - 1] / drift.FILE
    try:
        return drift.load(file)
    except FileNotFoundError:
        raise UserError(f"{cli.printable(str(file))} is missing: run `dvc repro evaluate`.") from None


def write(images: Sample, reference: Sample, format_: str) -> None:
    """Prints how images differ from the validation images: a paragraph, or a line of JSON."""
    found = drift.compare(images, reference)
    print(json.dumps(record(images, reference, found)) if format_ == "jsonl" else paragraph(images, reference, found))


def record(images: Sample, reference: Sample, found: Sequence[Difference]) -> dict[str, Any]:
    """Returns the differences as JSON has them."""
    values = {x.name: {"images": x.images, "reference": x.reference, "p_value": x.p_value} for x in found}
    del values["features"]["images"], values["features"]["reference"]
    differs = [x.name for x in found if x.found]
    return {"images": len(images), "reference": len(reference), "differs": differs, **values}


def paragraph(images: Sample, reference: Sample, found: Sequence[Difference]) -> str:
    """Says in words in which properties images differ from the validation images, and in which they do not."""
    differ, alike = ([_describe(x) for x in found if x.found is is_found] for is_found in (True, False))
    pair = f"{cli.counted(len(images), 'image')} and {cli.counted(len(reference), 'validation image')}"
    if differ:
        sentences = [f"Drift: {pair} differ in {_join(differ)}."]
        sentences += [f"No difference was found in {_join(alike)}."] if alike else []
    else:
        sentences = [f"No drift was found: {pair} do not differ by more than randomness explains in {_join(alike)}."]
    if len(images) < FEW:
        sentences.append(f"Among fewer than {FEW} images, only large differences can be found.")
    if reference.grouped:
        sentences.append(
            "The validation images come in groups, and one image of each is compared: give one of each, too, "
            "because several look like drift."
        )
    return " ".join(sentences)


def _describe(difference: Difference) -> str:
    p_value = "p < 0.001" if difference.p_value < 0.001 else f"p = {difference.p_value:.2g}"
    if difference.images is None or difference.reference is None:
        return f"{difference.name} ({p_value})"
    if difference.name == "novelty":
        shares = f"{difference.images:.1%} and {difference.reference:.1%}"
        return f"the share unlike the training images ({shares}, {p_value})"
    return f"{difference.name} (median {difference.images:.0f} and {difference.reference:.0f}, {p_value})"


def _join(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
