"""What to do next after a run: each step with its reason, the numbers behind it, and a command."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from stages.common import params
from stages.common.cli import counted
from stages.common.params import BASE_LAYERS
from stages.common.phases import FINETUNE, TRAIN_FROZEN
from stages.reporting.conclusions import Conclusions
from stages.reporting.formatting import percent, points
from stages.reporting.run import Run
from stages.statistics import intervals

PRETRAINED = 224  # pixels: the image size at which MobileNetV2's weights were trained
EXPERIMENT = "dvc exp run -S"
CROSS_VALIDATE = "python -m stages.tools.cross_validate"
LOWER_LAYER = 100  # a layer below the default of finetune.fine_tune_at: more layers are trained
PREDICT = "python -m stages.tools.predict my.jpg folder/of/images"


REVIEW = 'python -m webbrowser "file://$PWD/plots/review.html"'
COMPARE = "python -m stages.tools.compare"
COMMIT = 'git commit -qam "Before corrections"'  # what compare compares with; it fails where all is committed
RELABEL = f"{COMMIT}; python -m stages.tools.relabel ~/Downloads/corrections.csv && dvc repro && {COMPARE}"
# Mistakes from which on another setting can be better by more than noise: 6 images gained and none lost have p = 0.03.
FEWEST_MISTAKES = 6


@dataclass(frozen=True)
class Step:
    """What to do next: why, with the numbers, and the command for a shell; and the one setting that it changes."""

    reason: str
    command: str
    key: str = ""
    value: Any = None

    @classmethod
    def change(cls, reason: str, key: str, value: Any) -> Self:
        """Returns the step that runs an experiment with another value of a setting."""
        return cls(reason, f"{EXPERIMENT} {key}={value}", key, value)


def find(run: Run, conclusions: Conclusions) -> list[Step]:
    """Returns the next steps, the most important first."""
    images, doubtful, mistakes = list(_images(run, conclusions.quality)), _doubtful(run), len(run.mistakes)
    settings = list(_settings(run, conclusions.overfits)) if mistakes >= FEWEST_MISTAKES else []
    review = _review([*doubtful, *([counted(mistakes, "mistake")] if mistakes else [])])
    steps = [*(review if doubtful else []), *settings]
    steps = images + steps if conclusions.quality == "guessing" else steps + images
    if run.corrected:
        steps.insert(0, Step(f"{counted(run.corrected, 'correction')} applied: see whether that helped.", COMPARE))
    steps += review if not doubtful else []
    if conclusions.quality == "good":
        steps.append(Step("Use the model.", PREDICT))
    if not settings and conclusions.quality != "guessing":
        steps.append(_comparison(run, conclusions))
    return steps


def _doubtful(run: Run) -> list[str]:
    """Counts in words what is a sign of wrong labels."""
    found = []
    if len(run.labels) and run.audit.label_error_rate:  # 0: the audit's classifiers make about as many mistakes
        found.append(counted(len(run.labels), "doubtful label"))
    if run.mixed_duplicates:
        found.append(f"{counted(run.mixed_duplicates, 'set')} of near-duplicates with different labels")
    return found


def _review(found: list[str]) -> list[Step]:
    """Returns the steps that look at images, for which `found` are reasons, and apply the corrections of labels."""
    if not found:
        return []
    listed = " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)
    look = f"Look at {listed}, correct the labels that are wrong, and save the corrections."
    return [
        Step(look, REVIEW),
        Step("Commit this run, apply the corrections, train again, and see whether that helped.", RELABEL),
    ]


def _comparison(run: Run, conclusions: Conclusions) -> Step:
    """Returns the step for a run that gives no reason for another setting: one to compare with, or a larger test."""
    if len(run.mistakes) < FEWEST_MISTAKES:
        reason = (
            f"{conclusions.mistakes} No other setting could be better by more than noise on these: cross-validation "
            "tests on every image, and more images would make the test finer."
        )
        return Step(reason, CROSS_VALIDATE)
    default = params.defaults()["finetune.fine_tune_at"]
    if run.p.finetune.fine_tune_at != default:
        reason = "Cross-validation tests on every image, and so tells smaller differences between settings from noise."
        return Step(reason, CROSS_VALIDATE)
    reason = "Compare another setting: here, how many layers finetune trains."
    return Step.change(reason, "finetune.fine_tune_at", LOWER_LAYER)


def _settings(run: Run, overfits: str) -> Iterator[Step]:
    """Yields the settings to try for which this run gives a reason."""
    size, views, changed = run.p.image_size, run.p.train.views, run.scores.changed
    if run.finetune.model == FINETUNE.model and changed.significant and changed.gained < changed.lost:
        yield Step.change("Fine-tuning made the model worse: keep the frozen one.", "finetune.keep", "frozen")
    if size < PRETRAINED and np.median(run.overview["sizes"].min(axis=1)) > size:
        reason = (
            f"The model sees {size} x {size} pixels; the images have more, and its initial weights were trained at "
            f"{PRETRAINED} x {PRETRAINED}."
        )
        yield Step.change(reason, "image_size", PRETRAINED)
    if run.p.train.class_weights == "none" and (rare := _rare_classes(run)):
        yield Step.change(rare, "train.class_weights", "balanced")
    if overfits == "loss":
        reason = "It overfits, as its validation loss rose: keep the epoch in which that is lowest."
        yield Step.change(reason, f"{run.exported_phase.stage}.early_stopping.monitor", "val_loss")
    elif overfits == "gap":
        reason = f"It overfits: train on more augmented views of each image than {views}."
        yield Step.change(reason, "train.views", 2 * views)
    elif run.finetune.val_accuracy < 1 and (stage := _still_falling(run)):
        reason = f"The validation loss of {stage} was lowest in its last epoch: train longer."
        yield Step.change(reason, f"{stage}.epochs", 2 * run.settings[f"{stage}.epochs"])


def _images(run: Run, quality: str) -> Iterator[Step]:
    """More images, if the learning curve says that they help; a data set with a card has no more of them."""
    folder, doubled = shlex.quote(run.p.data.images), run.learning_curve["doubled"]
    if doubled and doubled["gain_interval"][0] > 0 and not run.images_card:
        reason = (
            f"Add images: twice as many would raise the accuracy by about {points(doubled['gain'])} percentage points "
            f"(95% interval {' to '.join(map(points, doubled['gain_interval']))}), by the learning curve of a linear "
            "classifier."
        )
        yield Step(reason, f"cp -r new_images/. {folder} && dvc repro")
    elif quality == "guessing":
        reason = (
            "Check that each image has the label of its class, and that a person can tell the classes apart; "
            "nothing says that more images would help."
        )
        yield Step(reason, f"ls {folder}/*")


def _rare_classes(run: Run) -> str:
    """Says by how much rare classes do worse than the others; nothing if that is within noise."""
    most = max(run.split.train.values())
    rare = run.predictions["actual"].map(run.split.train) <= most / 2
    if not rare.any():
        return ""
    recall, others = float(run.right[rare].mean()), float(run.right[~rare].mean())
    sizes = (run.independent(int(part.sum())) for part in (~rare, rare))
    low, high = intervals.newcombe(others, recall, *sizes)
    if low <= 0:
        return ""
    return (
        f"Classes with at most half as many images as the largest have a recall of {percent(recall)}, the others of "
        f"{percent(others)} (95% interval of the difference {points(low)} to {points(high)} points): weight them."
    )


def _still_falling(run: Run) -> str | None:
    """Returns the stage that trained the exported model, if its validation loss was lowest in its last epoch."""
    phase = run.exported_phase
    losses = run.history["val_loss"][run.history["phase"] == phase.stage].tolist()
    trains = phase == TRAIN_FROZEN or run.p.finetune.fine_tune_at < BASE_LAYERS
    return phase.stage if trains and len(losses) > 1 and losses[-1] < min(losses[:-1]) else None
