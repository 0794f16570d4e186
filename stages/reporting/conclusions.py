"""Conclusions from a run: how good it is, which model is exported, whether it overfits, which files may be used.

Each names the numbers behind it. A difference counts if its 95% interval does not hold 0; otherwise it is within noise.
"""

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from stages.common import dataset
from stages.reporting.formatting import number, percent, percent_interval, points
from stages.reporting.run import Run
from stages.statistics import intervals

# Cohen's kappa from which agreement is "almost perfect" (J. R. Landis, G. G. Koch, Biometrics 33, 1977).
GOOD = 0.8
# MLPerf Inference asks a quantized model for 99% of the original's accuracy (V. J. Reddi et al., ISCA 2020). Here it
# must predict 99% of the original's classes, which is more.
SAME = 0.99


@dataclass(frozen=True)
class Conclusions:
    """Conclusions from a run: sentences, but for `quality`, `overfits` and `smallest_file`, a key of Run.exports."""

    quality: Literal["good", "fair", "guessing"]
    headline: str
    exported_model: str
    overfits: bool
    overfitting: str
    int8: str
    smallest_file: str


def draw(run: Run) -> Conclusions:
    """Returns the conclusions from a run."""
    return Conclusions(*_quality(run), _exported_model(run), *_overfitting(run), _int8(run), _smallest_file(run))


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
    """Says which of the two models is exported and why."""
    keep, changed = run.p.finetune.keep, run.scores.changed
    loss, frozen_loss = number(run.finetune.val_loss), number(run.finetune.start["val_loss"])
    if run.finetune.model == "frozen":
        why = "fine-tuning did not lower the validation loss" if keep == "better" else "finetune.keep is frozen"
        return f"The frozen model is exported: {why} ({frozen_loss})."
    why = "as it has the lower" if keep == "better" else "as finetune.keep is finetuned; its"
    finding = "not significantly different"
    if changed.significant:
        finding = f"significantly {'better' if changed.gained > changed.lost else 'worse'}"
    return (
        f"The fine-tuned model is exported, {why} validation loss: {loss}, against {frozen_loss} of the frozen "
        f"model. On the test images it is {finding}: {percent(run.scores.finetuned['accuracy'])} against "
        f"{percent(run.scores.frozen['accuracy'])} ({changed.gained} gained, {changed.lost} lost, "
        f"p = {changed.p_value:.2g})."
    )


def _overfitting(run: Run) -> tuple[bool, str]:
    """Says whether the exported model overfits: whether its accuracy is lower in validation than in training."""
    train, validation = run.finetune.accuracy, run.finetune.val_accuracy
    numbers = f"accuracy {percent(train)} in training, {percent(validation)} in validation"
    sizes = (run.independent(run.totals[name]) for name in ("train", "validation"))
    low, high = intervals.newcombe(train, validation, *sizes)
    if train <= validation:
        return False, f"No sign of overfitting: {numbers}."
    lower = f"{points(train - validation)} percentage points lower (95% interval {points(low)} to {points(high)})"
    if low > 0:
        return True, f"It overfits: {numbers}, {lower}."
    return False, f"No sign of overfitting: {numbers}, {lower}, within noise."


def _int8(run: Run) -> str:
    """Says whether the int8 file may be used in place of the SavedModel."""
    int8, float16, original = (run.exports[name] for name in ("int8", "float16", "savedmodel"))
    low, high = _agreement_interval(run, "int8")
    numbers = (
        f"it predicts the class of the SavedModel for {percent(int8['agreement'])} of the test images (95% interval "
        f"{percent_interval([low, high])}), with an accuracy of {percent(int8['accuracy'])} against "
        f"{percent(original['accuracy'])}"
    )
    if high >= SAME:
        return f"int8 may be used: {numbers}."
    return f"Do not use int8 unchecked: {numbers}. float16 predicts the same class for {percent(float16['agreement'])}."


def _smallest_file(run: Run) -> str:
    """Returns the smallest of the exported files that may be used; the SavedModel, which agrees with itself, may."""
    usable = [name for name in run.exports if _agreement_interval(run, name)[1] >= SAME]
    return min(usable, key=lambda name: run.exports[name]["megabytes"])


def _agreement_interval(run: Run, name: str) -> tuple[float, float]:
    """Returns the 95% interval of how often an exported file predicts the class of the SavedModel."""
    return intervals.wilson(run.exports[name]["agreement"], run.independent(min(run.totals["test"], dataset.COMPARED)))
