"""What to do next after a run: each step with its reason, the numbers behind it, and a command."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stages.common.params import BASE_LAYERS
from stages.common.phases import FINETUNE, TRAIN_FROZEN
from stages.reporting.conclusions import Conclusions
from stages.reporting.formatting import percent, points
from stages.reporting.run import Run
from stages.statistics import intervals

PRETRAINED = 224  # pixels: the image size at which MobileNetV2's weights were trained
EXPERIMENT = "dvc exp run -S"
PREDICT = "python -m stages.tools.predict my.jpg folder/of/images"


@dataclass(frozen=True)
class Step:
    """What to do next: why, with the numbers, and the command for a shell."""

    reason: str
    command: str


def find(run: Run, conclusions: Conclusions) -> list[Step]:
    """Returns the next steps, the most important first."""
    settings = list(_settings(run, conclusions.overfits))
    images, steps = list(_images(run, conclusions.quality)), [*_labels(run), *settings]
    steps = images + steps if conclusions.quality == "guessing" else steps + images
    if mistakes := len(run.mistakes):
        reason = f"Look at the mistakes ({mistakes:,}) in the report, and at the regions that the predictions rest on."
        steps.append(Step(reason, 'python -m webbrowser "file://$PWD/plots/report.html"'))
    if conclusions.quality == "good":
        steps.append(Step("Use the model.", PREDICT))
    if not settings and conclusions.quality != "guessing":
        layer = 100 if run.p.finetune.fine_tune_at > 100 else 120
        reason = "Compare another setting: here, how many layers finetune trains."
        steps.append(Step(reason, f"{EXPERIMENT} finetune.fine_tune_at={layer}"))
    return steps


def _labels(run: Run) -> Iterator[Step]:
    count = len(run.labels)
    if count and run.audit.label_error_rate:  # 0: the audit's classifiers make about as many mistakes
        doubtful = "1 label is doubtful" if count == 1 else f"{count:,} labels are doubtful"
        reason = f"{doubtful}: look at the images in data/audit/labels.csv, and correct the labels that are wrong."
        yield Step(reason, "head -n 20 data/audit/labels.csv")


def _settings(run: Run, overfits: bool) -> Iterator[Step]:
    """Yields the settings to try for which this run gives a reason."""
    size, views, changed = run.p.image_size, run.p.train.views, run.scores.changed
    if run.finetune.model == FINETUNE.model and changed.significant and changed.gained < changed.lost:
        yield Step("Fine-tuning made the model worse: keep the frozen one.", f"{EXPERIMENT} finetune.keep=frozen")
    if size < PRETRAINED and np.median(run.overview["sizes"].min(axis=1)) > size:
        reason = (
            f"The model sees {size} x {size} pixels; the images have more, and its initial weights were trained at "
            f"{PRETRAINED} x {PRETRAINED}."
        )
        yield Step(reason, f"{EXPERIMENT} image_size={PRETRAINED}")
    if run.p.train.class_weights == "none" and (rare := _rare_classes(run)):
        yield Step(rare, f"{EXPERIMENT} train.class_weights=balanced")
    if overfits:
        reason = f"It overfits: train on more augmented views of each image than {views}."
        yield Step(reason, f"{EXPERIMENT} train.views={2 * views}")
    elif run.finetune.val_accuracy < 1 and (stage := _still_falling(run)):
        reason = f"The validation loss of {stage} was lowest in its last epoch: train longer."
        yield Step(reason, f"{EXPERIMENT} {stage}.epochs={2 * run.settings[f'{stage}.epochs']}")


def _images(run: Run, quality: str) -> Iterator[Step]:
    """More images, if the learning curve says that they help; a data set with a card has no more of them."""
    folder, doubled = shlex.quote(run.p.data.images), run.learning_curve["doubled"]
    if doubled and doubled["gain_interval"][0] > 0 and not run.images_card:
        reason = (
            f"Add images: twice as many would raise the accuracy by about {points(doubled['gain'])} percentage points "
            f"(95% interval {' to '.join(map(points, doubled['gain_interval']))}), says the learning curve."
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
    phase = FINETUNE if run.finetune.model == FINETUNE.model else TRAIN_FROZEN
    losses = run.history["val_loss"][run.history["phase"] == phase.stage].tolist()
    trains = phase == TRAIN_FROZEN or run.p.finetune.fine_tune_at < BASE_LAYERS
    return phase.stage if trains and len(losses) > 1 and losses[-1] == min(losses) else None
