"""Conclusions from a run: how good it is, which model is exported, whether it overfits, which files may be used, and
whether it knows when not to answer.

Each names the numbers behind it. A difference counts if its 95% interval does not hold 0; otherwise it is within noise.
"""

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from stages.common import cli, dataset
from stages.common.phases import FINETUNE, TRAIN_FROZEN
from stages.reporting.formatting import pair, percent, percent_interval, points
from stages.reporting.run import Rate, Run
from stages.statistics import intervals, paired_test

# Cohen's kappa from which agreement is "almost perfect" (J. R. Landis, G. G. Koch, Biometrics 33, 1977).
GOOD = 0.8
# MLPerf Inference asks a quantized model for 99% of the original's accuracy (V. J. Reddi et al., ISCA 2020). Here it
# must predict 99% of the original's classes, which is more.
SAME = 0.99
# Difference of training and validation accuracy that is worth a mention: all that could be gained by closing it.
ROOM = 0.05
# A validation loss rises if it is a tenth above its lowest value, two epochs later or more: single epochs fluctuate.
RISE, RISING = 1.1, 2


@dataclass(frozen=True)
class Conclusions:
    """Conclusions from a run: sentences, but for `quality`, `overfits` and `smallest_file`, a key of Run.exports.

    `flips` says on which test images one model is right and the other wrong, and whether that is more than noise.
    `overfits` names the sign of overfitting: a gap between training and validation accuracy, or a rising loss.
    """

    quality: Literal["good", "fair", "guessing"]
    headline: str
    mistakes: str
    doubted: str  # of the mistakes; empty if the audit doubts none of their labels
    exported_model: str
    flips: str
    kept_weights: str
    overfits: Literal["no", "gap", "loss"]
    overfitting: str
    int8: str
    smallest_file: str
    novelty: str


def draw(run: Run) -> Conclusions:
    """Returns the conclusions from a run."""
    return Conclusions(
        *_quality(run),
        _mistakes(run),
        _doubted(run),
        _exported_model(run),
        _flips(run),
        _kept_weights(run),
        *_overfitting(run),
        _int8(run),
        _smallest_file(run),
        _novelty(run),
    )


def cohens_kappa(predictions: pd.DataFrame) -> float:
    """Returns Cohen's kappa, the agreement of predicted and actual class beyond chance: 1 perfect, 0 random."""
    agreement = float((predictions["actual"] == predictions["predicted"]).mean())
    actual, predicted = (predictions[name].value_counts(normalize=True) for name in ("actual", "predicted"))
    chance = float(actual.mul(predicted, fill_value=0).sum())
    return (agreement - chance) / (1 - chance) if chance < 1 else 0.0


def _quality(run: Run) -> tuple[Literal["good", "fair", "guessing"], str]:
    """Says how good the exported model is."""
    low, high = run.intervals.finetuned["accuracy"]
    numbers = (
        f"{run.right.sum():,} of {run.totals['test']:,} test images are predicted correctly, "
        f"{percent(run.scores.finetuned['accuracy'])} (95% interval {percent_interval([low, high])}); always "
        f"predicting the most frequent class gives {percent(run.majority_accuracy)}"
    )
    if low <= run.majority_accuracy:
        return "guessing", f"No better than guessing: {numbers}, which is not below the interval."
    if cohens_kappa(run.predictions) >= GOOD:
        return "good", f"Good: {numbers}."
    return "fair", f"Fair: better than guessing, with many mistakes: {numbers}."


def _exported_model(run: Run) -> str:
    """Says which of the two models is exported and why, and which epochs were no candidates."""
    keep, changed, candidates = run.p.finetune.keep, run.scores.changed, run.finetune.candidates
    loss, frozen_loss = pair(candidates.finetuned.val_loss, candidates.frozen.val_loss)
    finetuned = f"the fine-tuned model of epoch {candidates.finetuned.epoch}"
    frozen = f"the frozen model of epoch {candidates.frozen.epoch}"
    if keep != "better":
        reason = f"as finetune.keep is {keep}; the validation loss is {loss} fine-tuned and {frozen_loss} frozen"
    elif run.finetune.model == "frozen":
        reason = f"as {finetuned} has no lower validation loss: {loss} against {frozen_loss}"
    else:
        reason = f"as its validation loss is lower than that of {frozen}: {loss} against {frozen_loss}"
    if run.finetune.model == "frozen":
        return f"{frozen.capitalize()} is exported, {reason}.{_better_epoch(run)}"
    text = f"{finetuned.capitalize()} is exported, {reason}.{_better_epoch(run)}"
    if not changed.gained and not changed.lost:
        return f"{text} {_flips(run)}"
    accuracy, before = (percent(scores["accuracy"]) for scores in (run.scores.finetuned, run.scores.frozen))
    return f"{text} Its accuracy on the test images is {accuracy} against {before}; {_flips(run)}."


def _flips(run: Run) -> str:
    """Says how the predictions of both models differ: a sentence if they do not, otherwise the end of one."""
    changed, right = run.scores.changed, int(run.right.sum())
    if not changed.gained and not changed.lost:
        return paired_test.describe_same(right, cli.counted(right or run.totals["test"], "test image"))
    models = (phase.title.lower() for phase in (TRAIN_FROZEN, FINETUNE))
    return f"{changed.gained:,} gained, {changed.lost:,} lost: {paired_test.conclude(changed.model_dump(), *models)}"


def _better_epoch(run: Run) -> str:
    """Names the epoch of the lowest validation loss, if that is not the one whose weights are exported."""
    lowest, stage = run.history.loc[run.history["val_loss"].idxmin()], run.exported_phase.stage
    loss, _ = pair(lowest["val_loss"], run.finetune.val_loss)
    if lowest["val_loss"] >= run.finetune.val_loss or lowest["epoch"] == run.finetune.kept_epoch:
        return ""
    kept = _kept_by(run, lowest["phase"])
    other = "" if lowest["phase"] == stage else f" of {lowest['phase']}"
    return f" Epoch {lowest['epoch']} had a lower one, {loss}, but {kept}{other} is kept."


def _kept_by(run: Run, stage: str) -> str:
    """Says which epoch of a phase is kept: that of the best monitored metric, or the last."""
    monitor = run.settings[f"{stage}.early_stopping.monitor"]
    return "the last epoch" if monitor == "none" else f"the epoch with the best {monitor}"


def _kept_weights(run: Run) -> str:
    """Says which epochs the weights of both models are of."""
    texts = []
    for phase, epoch in (
        (TRAIN_FROZEN, run.train_frozen.kept_epoch),
        (FINETUNE, run.finetune.candidates.finetuned.epoch),
    ):
        fraction = run.settings[f"{phase.stage}.averaging"]
        averaged = f", averaged over about {percent(fraction)} of all steps of {phase.stage}" if fraction else ""
        kept = f"{_kept_by(run, phase.stage)} of {phase.stage}"
        texts.append(f"the {phase.title.lower()} model has the weights of epoch {epoch}, {kept}{averaged}")
    text = "; ".join(texts)
    return f"{text[0].upper()}{text[1:]}. The {run.exported_phase.title.lower()} model is exported."


def _overfitting(run: Run) -> tuple[Literal["no", "gap", "loss"], str]:
    """Says whether the exported model overfits.

    It does if its training went on while the validation loss rose and the training loss fell, or if its accuracy is
    lower in validation than in training by more than noise and by ROOM. A model that is right on all training images
    and on nearly all others is none the worse for the difference: little could be gained without it.
    """
    rows = run.history[run.history["phase"] == run.exported_phase.stage]
    rows = rows[rows["epoch"] <= run.finetune.kept_epoch]
    lowest, kept = rows.loc[rows["val_loss"].idxmin()], rows.iloc[-1]
    if (
        kept["epoch"] - lowest["epoch"] >= RISING
        and kept["val_loss"] > RISE * lowest["val_loss"]
        and kept["loss"] < lowest["loss"]
    ):
        losses, trained = pair(lowest["val_loss"], kept["val_loss"]), pair(lowest["loss"], kept["loss"])
        return "loss", (
            f"It overfits: from epoch {lowest['epoch']} to epoch {kept['epoch']}, which is kept, the validation loss "
            f"rose from {' to '.join(losses)}, while the training loss fell from {' to '.join(trained)}."
        )
    train, validation = run.finetune.accuracy, run.finetune.val_accuracy
    numbers = f"accuracy {percent(train)} in training, {percent(validation)} in validation"
    sizes = (run.independent(run.totals[name]) for name in ("train", "validation"))
    low, high = intervals.newcombe(train, validation, *sizes)
    if train <= validation:
        return "no", f"No sign of overfitting: {numbers}."
    lower = f"{points(train - validation)} percentage points lower (95% interval {points(low)} to {points(high)})"
    if low <= 0:
        return "no", f"No sign of overfitting: {numbers}, {lower}, within noise."
    if train - validation < ROOM:
        return (
            "no",
            f"No harmful overfitting: {numbers}, {lower}; the validation loss did not rise, and little is to gain.",
        )
    return "gap", f"It overfits: {numbers}, {lower}."


def _mistakes(run: Run) -> str:
    """Says how many test images are misclassified."""
    count, total = len(run.mistakes), run.totals["test"]
    if not count:
        return f"All {total:,} test images are predicted correctly."
    return f"{count:,} of {total:,} test images {'is' if count == 1 else 'are'} misclassified."


def _doubted(run: Run) -> str:
    """Says how many of the mistakes may be correct predictions of images with wrong labels."""
    count, mistakes = len(run.doubtful_mistakes), cli.counted(len(run.mistakes), "mistake")
    if not count:
        return ""
    if len(run.mistakes) == 1:
        return "The audit doubts the label of that image."
    return f"{count:,} of the {mistakes} {'has a label' if count == 1 else 'have labels'} that the audit doubts."


def _int8(run: Run) -> str:
    """Says whether the int8 file may be used in place of the SavedModel."""
    int8, original, smallest = run.exports["int8"], run.exports["savedmodel"], _smallest_file(run)
    low, high = _agreement_interval(run, "int8")
    numbers = (
        f"it predicts the class of the SavedModel for {percent(int8['agreement'])} of the test images (95% interval "
        f"{percent_interval([low, high])}), with an accuracy of {percent(int8['accuracy'])} against "
        f"{percent(original['accuracy'])}"
    )
    if high >= SAME:
        return f"int8 may be used: {numbers}."
    return (
        f"Do not use int8 unchecked: {numbers}. The smallest file that agrees is {smallest}, which predicts the same "
        f"class for {percent(run.exports[smallest]['agreement'])}."
    )


def _smallest_file(run: Run) -> str:
    """Returns the smallest of the exported files that may be used; the SavedModel, which agrees with itself, may."""
    usable = [name for name in run.exports if _agreement_interval(run, name)[1] >= SAME]
    return min(usable, key=lambda name: run.exports[name]["megabytes"])


def _agreement_interval(run: Run, name: str) -> tuple[float, float]:
    """Returns the 95% interval of how often an exported file predicts the class of the SavedModel."""
    return intervals.wilson(run.exports[name]["agreement"], run.independent(min(run.totals["test"], dataset.COMPARED)))


def _novelty(run: Run) -> str:
    """Says how many images the model answers and errs on, and how many others it flags."""
    rates = run.novelty
    if rates.answered is None or rates.foreign is None:
        return rates.finding
    text = f"It answers {_rate(rates.answered, 'of images like these', '95% interval ')}"
    text += f", and is wrong on {_rate(rates.wrong, 'of them')}" if rates.wrong else ""
    bounds, kinds = percent_interval(rates.foreign.interval), ", ".join(rates.kinds)
    text += f". It flags {percent(rates.foreign.rate)} of foreign images ({bounds}; {kinds})"
    if rates.unseen:
        text += f", and an estimated {_rate(rates.unseen, 'of images of classes that it never saw')}"
    return f"{text}."


def _rate(rate: Rate, images: str, name: str = "") -> str:
    """Formats a rate with its interval, such as "97.5% of images like these (93.1% to 99.2%)"."""
    return f"{percent(rate.rate)} {images} ({name}{percent_interval(rate.interval)})"
