"""The verdict on a run, from its facts: how good the model is, which of the two it is, and what to do next.

Every answer names the numbers behind it. What could be luck, given the number of images, is not called a finding: a
difference counts if its 95% interval does not hold 0.
"""

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from stages.common.params import BASE_LAYERS
from stages.reporting import model_card
from stages.reporting.formatting import number, percent, percent_interval, points, setting

# Cohen's kappa from which agreement is "almost perfect" (J. R. Landis, G. G. Koch, Biometrics 33, 1977).
GOOD = 0.8
# MLPerf Inference asks a quantized model for 99% of the original's accuracy (V. J. Reddi et al., ISCA 2020). Here it
# must predict 99% of the original's classes, which is more.
SAME = 0.99
COMPARED = 1000  # test images that the stage export compares the formats on, at most
PRETRAINED = 224  # pixels: the image size at which MobileNetV2's weights were trained
Z = 1.959964  # of a 95% interval


@dataclass(frozen=True)
class Step:
    """What to do next: why, with the numbers, and the command for a shell."""

    reason: str
    command: str


@dataclass(frozen=True)
class Verdict:
    """Answers in plain sentences, and the next steps, the most important first."""

    quality: Literal["good", "fair", "guessing"]
    headline: str
    model: str
    overfitting: str
    int8: str
    steps: list[Step]


def judge(run: Mapping[str, Any]) -> Verdict:
    """Returns the verdict on a run.

    Args:
        run: what stages.report.read returns, with what facts.summarise adds, and params (dotted keys).
    """
    accuracy, (low, high) = run["scores"]["finetuned"]["accuracy"], run["intervals"]["finetuned"]["accuracy"]
    majority = run["counts"]["test"][run["majority_class"]] / run["totals"]["test"]
    numbers = (
        f"{run['right']:,} of {run['totals']['test']:,} test images are predicted correctly, {percent(accuracy)} "
        f"(95% interval {percent_interval([low, high])}); always predicting the most frequent class gives "
        f"{percent(majority)}"
    )
    quality: Literal["good", "fair", "guessing"]
    if low <= majority:
        quality, headline = "guessing", f"No better than guessing: {numbers}, which is not below the interval."
    elif cohens_kappa(run["predictions"]) >= GOOD:
        quality, headline = "good", f"Good: {numbers}."
    else:
        quality, headline = "fair", f"Fair: better than guessing, with many mistakes: {numbers}."
    gap, bounds = _overfitting_gap(run)
    settings = _setting_steps(run, overfits=bounds[0] > 0)
    images = _images_step(run, quality)
    steps = [*_labels_step(run), *settings]
    steps = images + steps if quality == "guessing" else steps + images
    if mistakes := run["totals"]["test"] - run["right"]:
        reason = f"Look at the mistakes ({mistakes:,}) in the report, and at the regions that the predictions rest on."
        steps.append(Step(reason, 'python -m webbrowser "file://$PWD/plots/report.html"'))
    if quality == "good":
        steps.append(Step("Use the model.", run["predict"]))
    if not settings and quality != "guessing":
        layer = 100 if run["params"]["finetune.fine_tune_at"] > 100 else 120
        reason = "Compare another setting: here, how many layers finetune trains."
        steps.append(Step(reason, f"dvc exp run -S finetune.fine_tune_at={layer}"))
    return Verdict(quality, headline, _model(run), _overfitting(run, gap, bounds), _int8(run), steps)


def cohens_kappa(predictions: pd.DataFrame) -> float:
    """Returns Cohen's kappa, the agreement of predicted and actual class beyond chance: 1 perfect, 0 random."""
    agreement = float((predictions["actual"] == predictions["predicted"]).mean())
    actual, predicted = (predictions[name].value_counts(normalize=True) for name in ("actual", "predicted"))
    chance = float(actual.mul(predicted, fill_value=0).sum())
    return (agreement - chance) / (1 - chance) if chance < 1 else 0.0


def _model(run: Mapping[str, Any]) -> str:
    """Says which of the two models is exported and why."""
    phase, changed, mix = run["phases"]["finetuned"], run["changed"], run["params"]["finetune.mix"]
    loss, frozen_loss = number(phase["val_loss"]), number(phase["start"]["val_loss"])
    if phase["mix"] == 0:
        why = "no mix with fine-tuned weights had a lower validation loss" if mix == "auto" else "finetune.mix is 0"
        return f"The frozen model is exported: {why} ({frozen_loss})."
    what = f"A mix of {phase['mix']:.0%} fine-tuned and {1 - phase['mix']:.0%} frozen weights"
    if phase["mix"] == 1:
        what = "The fine-tuned model"
    why = f"as finetune.mix is {setting(mix)}; its" if mix != "auto" else "as it has the lowest"
    accuracy, frozen_accuracy = (percent(run["scores"][model]["accuracy"]) for model in ("finetuned", "frozen"))
    finding = "not significantly different"
    if run["significant"]:
        finding = f"significantly {'better' if changed['gained'] > changed['lost'] else 'worse'}"
    return (
        f"{what} is exported, {why} validation loss: {loss}, against {frozen_loss} of the frozen model. On the test "
        f"images it is {finding}: {accuracy} against {frozen_accuracy} ({changed['gained']} gained, {changed['lost']} "
        f"lost, p = {changed['p_value']:.2g})."
    )


def _overfitting(run: Mapping[str, Any], gap: float, bounds: tuple[float, float]) -> str:
    phase = run["phases"]["finetuned"]
    numbers = f"accuracy {percent(phase['accuracy'])} in training, {percent(phase['val_accuracy'])} in validation"
    if gap <= 0:
        return f"No sign of overfitting: {numbers}."
    lower = f"{points(gap)} percentage points lower (95% interval {points(bounds[0])} to {points(bounds[1])})"
    if bounds[0] > 0:
        return f"It overfits: {numbers}, {lower}."
    return f"No sign of overfitting: {numbers}, {lower}, which may be luck."


def _int8(run: Mapping[str, Any]) -> str:
    """Says whether the int8 file may be used in place of the SavedModel."""
    int8, float16, original = (run["export"][name] for name in ("int8", "float16", "savedmodel"))
    low, high = wilson(int8["agreement"], _independent(run, min(run["totals"]["test"], COMPARED)))
    numbers = (
        f"it predicts the class of the SavedModel for {percent(int8['agreement'])} of the test images (95% interval "
        f"{percent_interval([low, high])}), with an accuracy of {percent(int8['accuracy'])} against "
        f"{percent(original['accuracy'])}"
    )
    if high >= SAME:
        return f"int8 may be used: {numbers}."
    return f"Do not use int8 unchecked: {numbers}. float16 predicts the same class for {percent(float16['agreement'])}."


def _labels_step(run: Mapping[str, Any]) -> list[Step]:
    count = len(run["labels"])
    if not count or not run["audit"]["label_error_rate"]:  # 0: classifiers doubt labels, but no more than they err
        return []
    labels = "1 label is" if count == 1 else f"{count:,} labels are"
    reason = f"{labels} doubtful: look at the images in data/audit/labels.csv, and correct the labels that are wrong."
    return [Step(reason, "head -n 20 data/audit/labels.csv")]


def _setting_steps(run: Mapping[str, Any], overfits: bool) -> list[Step]:
    """Settings for which this run gives a reason."""
    p, phase, size = run["params"], run["phases"]["finetuned"], run["params"]["image_size"]
    found: list[tuple[str, str, Any]] = []
    if phase["mix"] and run["significant"] and run["changed"]["gained"] < run["changed"]["lost"]:
        found.append(("Fine-tuning made the model worse: keep the frozen one.", "finetune.mix", 0))
    if size < PRETRAINED and np.median(run["overview"]["sizes"].min(axis=1)) > size:
        reason = (
            f"The model sees {size} x {size} pixels; the images have more, and its initial weights were trained at "
            f"{PRETRAINED} x {PRETRAINED}."
        )
        found.append((reason, "image_size", PRETRAINED))
    if p["train.class_weights"] == "none" and (rare := _rare_classes(run)):
        found.append((rare, "train.class_weights", "balanced"))
    if overfits:
        reason = f"It overfits: train on more augmented views of each image than {p['train.views']}."
        found.append((reason, "train.views", 2 * p["train.views"]))
    elif phase["val_accuracy"] < 1 and (stage := _still_falling(run)):
        reason = f"The validation loss of {stage} was lowest in its last epoch: train longer."
        found.append((reason, f"{stage}.epochs", 2 * p[f"{stage}.epochs"]))
    return [Step(reason, f"dvc exp run -S {key}={value}") for reason, key, value in found]


def _images_step(run: Mapping[str, Any], quality: str) -> list[Step]:
    """More images, if the learning curve says that they would help; of those that the project fetches are no more."""
    folder, doubled = run["params"]["data.images"], run["learning_curve"]["doubled"]
    if doubled and doubled["gain_interval"][0] > 0 and folder not in model_card.DATASETS:
        reason = (
            f"Add images: twice as many would raise the accuracy by about {points(doubled['gain'])} percentage points "
            f"(95% interval {' to '.join(map(points, doubled['gain_interval']))}), says the learning curve."
        )
        return [Step(reason, f"cp -r new_images/. {shlex.quote(folder)} && dvc repro")]
    if quality == "guessing":
        reason = (
            "Check that each image has the label of its class, and that a person can tell the classes apart; "
            "nothing says that more images would help."
        )
        return [Step(reason, f"ls {shlex.quote(folder)}/*")]
    return []


def _overfitting_gap(run: Mapping[str, Any]) -> tuple[float, tuple[float, float]]:
    """Returns training minus validation accuracy of the kept epoch, and its interval."""
    phase, totals = run["phases"]["finetuned"], run["totals"]
    train, validation = phase["accuracy"], phase["val_accuracy"]
    sizes = (_independent(run, totals[name]) for name in ("train", "validation"))
    return train - validation, difference_interval(train, validation, *sizes)


def _rare_classes(run: Mapping[str, Any]) -> str:
    """Says by how much rare classes do worse than the others; nothing if that may be luck."""
    train, predictions = run["counts"]["train"], run["predictions"]
    rare = predictions["actual"].map(train) <= max(train.values()) / 2
    if not rare.any():
        return ""
    right = predictions["actual"] == predictions["predicted"]
    recall, others = float(right[rare].mean()), float(right[~rare].mean())
    sizes = (_independent(run, int(part.sum())) for part in (~rare, rare))
    low, high = difference_interval(others, recall, *sizes)
    if low <= 0:
        return ""
    return (
        f"Classes with at most half as many images as the largest have a recall of {percent(recall)}, the others of "
        f"{percent(others)} (95% interval of the difference {points(low)} to {points(high)} points): weight them."
    )


def _still_falling(run: Mapping[str, Any]) -> str | None:
    """Returns the phase of the kept epoch, if that is the last one and has the lowest validation loss."""
    stage = "finetune" if run["phases"]["finetuned"]["mix"] else "train_frozen"
    losses = [row["val_loss"] for row in run["epochs"] if row["phase"] == stage]
    trains = stage == "train_frozen" or run["params"]["finetune.fine_tune_at"] < BASE_LAYERS
    return stage if trains and len(losses) > 1 and losses[-1] == min(losses) else None


def _independent(run: Mapping[str, Any], images: int) -> float:
    """Returns a number of images in which near-duplicates count as one, as far as they do among all images."""
    return images * run["split"]["groups"] / sum(run["totals"].values())


def wilson(proportion: float, count: float) -> tuple[float, float]:
    """Returns Wilson's 95% interval of a proportion of `count` (E. B. Wilson, JASA 22, 1927)."""
    middle = (proportion + Z**2 / 2 / count) / (1 + Z**2 / count)
    half = Z / (1 + Z**2 / count) * math.sqrt(proportion * (1 - proportion) / count + (Z / 2 / count) ** 2)
    return max(0.0, middle - half), min(1.0, middle + half)


def difference_interval(a: float, b: float, count_a: float, count_b: float) -> tuple[float, float]:
    """Returns the 95% interval of a - b, of proportions of two counts (R. G. Newcombe, Stat. Med. 17, 1998)."""
    (low_a, high_a), (low_b, high_b) = wilson(a, count_a), wilson(b, count_b)
    return a - b - math.hypot(a - low_a, high_b - b), a - b + math.hypot(high_a - a, b - low_b)
