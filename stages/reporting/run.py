"""A run: the outputs of its stages, read and checked once, and the numbers and lists that follow from them."""

import hashlib
import importlib.metadata
import math
import platform
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, Self, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
import pandas as pd
from pydantic import BaseModel, TypeAdapter, ValidationError

from stages.common import files, history, params, result_tables
from stages.common.cli import UserError
from stages.common.dataset import CLASSES, SPLITS
from stages.common.phases import FINETUNE, PHASES, TRAIN_FROZEN, Phase
from stages.reporting import cards
from stages.reporting.cards import Card
from stages.statistics import coverage, paired_test

METRICS = {  # title and meaning of each metric, in the order of the tables
    "accuracy": ("Accuracy", "fraction of images whose predicted class is right"),
    "top5_accuracy": ("Top-5 accuracy", "fraction of images whose class is among the five most probable"),
    "auc": ("AUC", "area under the ROC curve: how well probabilities separate the classes; a random order has half"),
    "precision": ("Precision", "fraction of the predictions of a class that are right"),
    "recall": ("Recall", "fraction of a class that is predicted as such"),
    "f1": ("F1", "harmonic mean of precision and recall"),
    "loss": ("Loss", "mean cross-entropy in nats; lower is better"),
}
Metrics: TypeAlias = dict[str, float]  # values of metrics by name, such as the keys of METRICS
Arrays: TypeAlias = dict[str, np.ndarray]  # the arrays of an .npz file by name
T = TypeVar("T")


class PhaseMetrics(BaseModel):
    """Number of epochs of a phase of training, the epoch that is kept, and the metrics of the model that is kept."""

    epochs: int
    kept_epoch: int
    accuracy: float
    val_accuracy: float
    val_loss: float


class Candidate(BaseModel):
    """One of the two models that fine-tuning chooses from: the epoch of its weights, and its validation metrics."""

    epoch: int
    val_accuracy: float
    val_loss: float


class FinetuneMetrics(PhaseMetrics):
    """Metrics of fine-tuning, which model is kept, and the two models that it was chosen from."""

    model: Literal["frozen", "finetuned"]
    candidates: "Models[Candidate]"


class Flips(BaseModel):
    """Numbers of test images that fine-tuning gained and lost, and the p-value of the paired test."""

    gained: int
    lost: int
    p_value: float

    @property
    def significant(self) -> bool:
        return self.p_value < paired_test.SIGNIFICANCE


class Models(BaseModel, Generic[T]):
    """A value for each of the two models."""

    frozen: T
    finetuned: T


class Scores(Models[Metrics]):
    """Metrics on the test split, and the images on which the models differ."""

    changed: Flips


class Rate(BaseModel):
    """A fraction of so many images, and its 95% interval."""

    count: int
    rate: float
    interval: tuple[float, float]


class NoveltyRates(BaseModel):
    """What evaluate found about novelty detection, `finding` in words; rates that it could not measure are None."""

    finding: str
    answered: Rate | None
    wrong: Rate | None
    foreign: Rate | None
    kinds: dict[str, Rate]
    unseen: Rate | None


class SplitSummary(BaseModel):
    """Numbers of images by class in each split, of files that are unreadable or dropped, of groups, and of corrections
    of labels (labels.corrections.describe says them in words).
    """

    train: dict[str, int]
    validation: dict[str, int]
    test: dict[str, int]
    unreadable: int
    dropped: int
    groups: int
    corrections: dict[str, int] = {}


class Audit(BaseModel):
    """The estimated fraction of wrong labels, None if the classifiers hardly beat guessing, and their accuracy.

    `finding` says in words what the audit found.
    """

    finding: str
    label_error_rate: float | None
    cross_val_accuracy: float
    folds: int


@dataclass(frozen=True)
class Run:
    """A run: its parameters, the outputs of its stages, each with its file, and what follows from them."""

    p: params.Params
    images_card: Card | None  # None if data.images is the user's own
    weights_card: Card | None  # None if model.weights is the user's own
    history: pd.DataFrame  # both phases by epoch, with the columns of common/history
    manifests: list[pd.DataFrame]  # those of SPLITS
    versions: dict[str, str]  # versions of Python and of the packages that requirements.txt names first
    classes: Annotated[list[str], CLASSES]
    split: Annotated[SplitSummary, "data/splits/summary.json"]
    unreadable: Annotated[pd.DataFrame, "data/splits/unreadable.csv"]
    near_duplicates: Annotated[pd.DataFrame, "data/splits/near_duplicates.csv"]
    overview: Annotated[Arrays, "data/splits/overview.npz"]
    train_frozen: Annotated[PhaseMetrics, TRAIN_FROZEN.metrics]
    finetune: Annotated[FinetuneMetrics, FINETUNE.metrics]
    augmentations: Annotated[np.ndarray, "data/training/augmentations.npy"]
    scores: Annotated[Scores, "data/evaluation/metrics.json"]
    class_scores: Annotated[Models[dict[str, Any]], "data/evaluation/classes.json"]
    intervals: Annotated[Models[dict[str, Any]], "data/evaluation/intervals.json"]
    novelty: Annotated[NoveltyRates, "data/evaluation/novelty.json"]
    predictions: Annotated[pd.DataFrame, result_tables.PREDICTIONS]
    bins: Annotated[pd.DataFrame, "data/evaluation/reliability.csv"]
    slices: Annotated[pd.DataFrame, "data/evaluation/slices.csv"]
    roc: Annotated[pd.DataFrame, "data/evaluation/curves/roc.csv"]
    precision_recall: Annotated[pd.DataFrame, "data/evaluation/curves/precision_recall.csv"]
    samples: Annotated[Arrays, "data/evaluation/samples.npz"]
    exports: Annotated[dict[str, Metrics], "data/models/exported/comparison.json"]
    audit: Annotated[Audit, "data/audit/summary.json"]
    labels: Annotated[pd.DataFrame, "data/audit/labels.csv"]
    learning_curve: Annotated[dict[str, Any], "data/audit/learning_curve.json"]
    audit_samples: Annotated[Arrays, "data/audit/samples.npz"]

    @classmethod
    def read(cls, p: params.Params) -> Self:
        """Reads the outputs of the run with these parameters.

        Raises:
            UserError: an output is missing or incomplete, or of a training that was stopped.
        """
        epochs = pd.concat((history.read(phase.history) for phase in PHASES), ignore_index=True)
        manifests = [_read(f"data/splits/{name}/manifest.csv") for name in SPLITS]
        hints = get_type_hints(cls, include_extras=True).items()
        files_of = [(name, *get_args(hint)) for name, hint in hints if get_origin(hint) is Annotated]
        outputs = {name: _read(path, kind) for name, kind, path in files_of}
        images, weights = cards.find(p.data.images), cards.find(p.model.weights)
        return cls(p, images, weights, epochs, manifests, _versions(), **outputs)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every parameter by its dotted key."""
        return params.flatten(self.p.model_dump())

    @cached_property
    def changed_settings(self) -> dict[str, Any]:
        """The parameters that differ from the defaults, without data.images, which is named anyway."""
        defaults = params.defaults()
        return {key: x for key, x in self.settings.items() if x != defaults[key] and key != "data.images"}

    @property
    def averaged(self) -> list[str]:
        """The stages whose weights are averaged over steps."""
        return [phase.stage for phase in PHASES if self.settings[f"{phase.stage}.averaging"]]

    @property
    def exported_phase(self) -> Phase:
        """The phase that trained the exported model."""
        return FINETUNE if self.finetune.model == FINETUNE.model else TRAIN_FROZEN

    @cached_property
    def totals(self) -> dict[str, int]:
        """Number of images of each split."""
        return {name: sum(getattr(self.split, name).values()) for name in SPLITS}

    @property
    def total(self) -> int:
        """Number of images."""
        return sum(self.totals.values())

    @cached_property
    def majority_class(self) -> str:
        """The most frequent class of the test split."""
        return max(self.classes, key=lambda name: self.split.test[name])

    @property
    def majority_accuracy(self) -> float:
        """Accuracy of always predicting the most frequent class."""
        return self.split.test[self.majority_class] / self.totals["test"]

    @cached_property
    def smallest_first(self) -> list[str]:
        """The classes by number of images."""
        return sorted(self.classes, key=lambda name: sum(getattr(self.split, part)[name] for part in SPLITS))

    @cached_property
    def worst_first(self) -> list[str]:
        """The classes by F1 of the fine-tuned model."""
        scores = self.class_scores.finetuned["classes"]
        return sorted(self.classes, key=lambda name: scores[name]["f1"])

    @cached_property
    def right(self) -> pd.Series:
        """Whether the exported model is right, bool, for each of `predictions`."""
        return self.predictions["actual"] == self.predictions["predicted"]

    @cached_property
    def mistakes(self) -> pd.DataFrame:
        """Wrong predictions, the most confident first."""
        return self.predictions[~self.right].sort_values("probability", ascending=False, kind="stable")

    @cached_property
    def doubtful_mistakes(self) -> pd.DataFrame:
        """The mistakes on images whose labels the audit doubts."""
        return self.mistakes[self.mistakes["path"].isin(self.labels["path"])]

    @property
    def prediction_sets(self) -> str:
        """Says how often sets of classes hold the true class; there are more than two classes."""
        return coverage.describe(self.scores.finetuned)

    @property
    def corrected(self) -> int:
        """Number of corrections that changed a label, gave one, or dropped an image."""
        return sum(self.split.corrections.get(key, 0) for key in ("changed", "labelled", "dropped"))

    @cached_property
    def mixed_duplicates(self) -> int:
        """Number of sets of near-duplicates whose images have different labels."""
        mixed = self.near_duplicates["classes_mix"] == 1
        return int(self.near_duplicates.loc[mixed, "duplicates"].nunique())

    @cached_property
    def flipped(self) -> pd.DataFrame:
        """Predictions for which one model is right and the other wrong."""
        return self.predictions[self.right != (self.predictions["actual"] == self.predictions["frozen"])]

    @cached_property
    def flagged(self) -> dict[str, Rate]:
        """How many images novelty detection flags, by what they are; empty if it has no threshold."""
        answered, unseen = self.novelty.answered, self.novelty.unseen
        if answered is None:
            return {}
        low, high = answered.interval
        test = Rate(count=answered.count, rate=1 - answered.rate, interval=(1 - high, 1 - low))
        return {
            "test images, which should not be": test,
            **{f"foreign: {kind}": rate for kind, rate in self.novelty.kinds.items()},
            **({"images of classes that it never saw": unseen} if unseen else {}),
        }

    @cached_property
    def confusions(self) -> pd.DataFrame:
        """Pairs of actual and predicted class, the most frequent first: their `support`, and that `of` the class."""
        pairs = self.mistakes.groupby(["actual", "predicted"]).size().reset_index(name="support")
        pairs["of"] = pairs["actual"].map(self.split.test)
        return pairs.sort_values("support", ascending=False, kind="stable")

    @cached_property
    def images_hash(self) -> str:
        """8 hexadecimal digits that tell images and their classes from others, whatever split they are in."""
        lines = sorted(f"{row.sha256} {row.label}" for table in self.manifests for row in table.itertuples())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]

    @cached_property
    def image_sizes(self) -> list[tuple[int, int]]:
        """Width and height in pixels of the image with the fewest pixels and of the one with most; one if all agree."""
        sizes = sorted(map(tuple, self.overview["sizes"].tolist()), key=math.prod)
        return [sizes[0], sizes[-1]] if len(set(sizes)) > 1 else sizes[:1]

    @cached_property
    def metrics(self) -> dict[str, tuple[str, str]]:
        """METRICS that this number of classes has."""
        return {key: words for key, words in METRICS.items() if key in self.scores.finetuned}

    @cached_property
    def axes(self) -> dict[str, float]:
        """Where the bars of both tables of metrics start: the multiple of 0.1 below all intervals. They end at 1."""
        models, keys = (self.intervals.frozen, self.intervals.finetuned), self.metrics.keys() - {"loss"}
        lowest = {
            "metrics": min(intervals[key][0] for intervals in models for key in keys),
            "classes": min(row["f1"][0] for row in self.intervals.finetuned["classes"].values()),
        }
        return {table: min(math.floor(low * 10), 9) / 10 for table, low in lowest.items()}

    def independent(self, images: int) -> float:
        """Returns a number of images in which near-duplicates count as one, as far as they do among all images."""
        return images * self.split.groups / self.total


def _read(path: str, kind: Any = None) -> Any:
    """Reads a table, arrays, or JSON of this type, or says that `dvc repro` has to write it."""
    try:
        match Path(path).suffix:
            case ".csv":
                return result_tables.read(path)
            case ".npz":
                return files.read_arrays(path)
            case ".npy":
                return files.read_array(path)
        return TypeAdapter(kind).validate_json(Path(path).read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `dvc repro` first.") from None
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise UserError(f"{path} is incomplete ({place}: {problem['msg']}): run `dvc repro`.") from None


def _versions() -> dict[str, str]:
    packages = Path("requirements.txt").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    names = [line.partition("==")[0] for line in packages if not line.startswith("#")]
    return {"Python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}
