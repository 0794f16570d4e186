"""Cross-validates the settings: predicts every image once, with a model trained without it and its group.

    python -m stages.tools.cross_validate [--folds N] [--name NAME] [KEY=VALUE ...]

    --folds N    number of folds (5)
    --name NAME  name of the folds' experiments, NAME-fold-1, NAME-fold-2 and so on (cv)
    KEY=VALUE    change of a parameter in all folds, as in finetune.fine_tune_at=100

Each fold is an experiment of DVC in a temporary copy, which runs as far as the stage plot, with that fold as its test
split: the workspace stays as it is, and folds that have finished are not run again. Writes, of the fine-tuned models,
plots/cross_validation.csv (out-of-fold predictions), plots/cross_validation_labels.csv (possible label errors, as in
the label audit), plots/cross_validation_slices.csv (accuracy by slice), plots/cross_validation.png (confusion matrix),
plots/cross_validation_mistakes.png, and metrics/cross_validation.json (metrics over all images, with 95% intervals).
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

from collections.abc import Sequence

import numpy as np
import pandas as pd

from stages.charts import base, metrics as metric_charts, predictions as prediction_charts
from stages.common import cli, files, terminal
from stages.common.arrays import Probabilities
from stages.common.cli import UserError
from stages.evaluation import examples, model_evaluation, slices
from stages.evaluation.model_evaluation import Evaluation
from stages.label_audit import label_errors
from stages.model.temperature import scale_probabilities
from stages.statistics import paired_test
from stages.tools import baseline, experiments, repeat_seeds

PATHS = {
    "table": "plots/cross_validation.csv",
    "labels": "plots/cross_validation_labels.csv",
    "slices": "plots/cross_validation_slices.csv",
    "confusion": "plots/cross_validation.png",
    "mistakes": "plots/cross_validation_mistakes.png",
    "metrics": "metrics/cross_validation.json",
}


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--name", default="cv")
    arguments = parser.parse_intermixed_args()  # so that KEY=VALUE may follow --folds
    if arguments.folds < 2:
        raise UserError(f"--folds is {arguments.folds}, but must be at least 2.")
    names = [f"{arguments.name}-fold-{fold}" for fold in range(1, arguments.folds + 1)]
    folds = [f"data.fold={fold}/{arguments.folds}" for fold in range(1, arguments.folds + 1)]
    repeat_seeds.run_missing({name: [*arguments.changes, fold] for name, fold in zip(names, folds, strict=True)})
    check_alike(names)
    summarise(names)
    terminal.show(conclusion(arguments.changes))


@base.style()
def summarise(names: Sequence[str]) -> None:
    """Evaluates the predictions of all folds together, and writes and shows the results."""
    table, probabilities, calibrated = gather(names)
    classes = list(experiments.counts(names[0], "test"))
    evaluation = evaluate(table, probabilities, calibrated, classes)
    correct = table["predicted"] == table["actual"]
    comparison = table[["path", "group"]].assign(a=table["frozen"] == table["actual"], b=correct)
    mistakes = examples.mistakes(table)
    images, pixels = read_images(names, mistakes)
    doubtful, error_rate, accuracy = label_errors.review(
        images.assign(split=[f"fold {fold}" for fold in table["fold"]]), images["group"].to_numpy(), calibrated, classes
    )
    of_all_classes = pd.DataFrame(probabilities, columns=[f"probability_{name}" for name in classes])
    by_slice = slices.score(images, correct.to_numpy())
    tables = {"table": table.join(of_all_classes), "labels": doubtful, "slices": by_slice}
    confusion = metric_charts.confusion_matrix(table["actual"], table["predicted"], classes)
    confusion.suptitle(f"Confusion matrix of {len(table)} images in {len(names)} folds", fontsize=base.TEXT)
    sizes = images.loc[mistakes, ["width", "height"]].to_numpy()
    heading = f"The most confident mistakes of {len(names)} folds"
    sheet = prediction_charts.by_class(pixels, sizes, mistakes, table, heading)
    summary = {
        "folds": len(names),
        "images": len(table),
        "label_error_rate": error_rate,
        "metrics": evaluation.scores,
        "intervals": evaluation.intervals,
        "classes": evaluation.class_scores,
        "changed": paired_test.count_flips(comparison),
    }
    with files.replacing(**PATHS) as out:
        for name, written in tables.items():
            files.write_csv(written, getattr(out, name), errors="backslashreplace")
        base.save(confusion, out.confusion)
        base.save(sheet, out.mistakes)
        files.write_json(summary, out.metrics)
    by_fold = correct.groupby(table["fold"]).mean()
    terminal.show(
        "",
        model_evaluation.summary({"finetuned": evaluation}),
        paired_test.describe_difference(comparison, "frozen", "fine-tuned"),
        f"Accuracy by fold: {', '.join(map('{:.4f}'.format, by_fold))}.",
        label_errors.describe_review(len(doubtful), error_rate, accuracy, len(table), PATHS["labels"]),
    )


def conclusion(changes: Sequence[str]) -> str:
    """Says in words what the numbers are of, where the files are, and how to get a model with these settings."""
    settings = dict(map(experiments.setting, changes))
    train = f"dvc exp run {baseline.options(settings)}" if changes else "dvc repro"
    return (
        "Each image was predicted once, by a model that was trained without it. The files are plots/cross_validation* "
        f"and {PATHS['metrics']}.\nThe models of the folds are not for use: `{train}` trains one on these settings."
    )


def check_alike(names: Sequence[str]) -> None:
    """Raises a UserError if the folds differ in their images, or in parameters besides data.fold."""
    first, *others = names
    expected, of_first = experiments.parameters(first), experiments.hashes(first)["split"]
    sources = [expected[key] for key in ("data.images", "data.labels", "data.corrections") if key in expected]
    for name in others:
        found = experiments.parameters(name)
        differing = [key for key in expected if found.get(key) != expected[key] and key != "data.fold"]
        of_other = experiments.hashes(name)["split"]
        differing += [f"the content of {path}" for path in sources if of_other.get(path) != of_first.get(path)]
        if differing:
            remedy = f"take another --name, or `dvc exp remove {' '.join(names)}` and run this again."
            raise UserError(f"{name} differs from {first} in {cli.enumeration(differing)}: {remedy}")


def gather(names: Sequence[str]) -> tuple[pd.DataFrame, Probabilities, Probabilities]:
    """Returns the out-of-fold predictions, fold after fold.

    The rows of plots/predictions.csv have the number of the fold, from 1. The second probabilities are those after
    temperature scaling, with the temperature of each fold's model.
    """
    tables, probabilities, calibrated = [], [], []
    for fold, name in enumerate(names, 1):
        tables.append(experiments.predictions(name).assign(fold=fold))
        probabilities.append(experiments.array("data/evaluation/probabilities.npy", name))
        temperature = experiments.scores(name)["finetuned temperature"]
        calibrated.append(scale_probabilities(probabilities[-1], temperature))
    return pd.concat(tables, ignore_index=True), np.concatenate(probabilities), np.concatenate(calibrated)


def evaluate(
    table: pd.DataFrame, probabilities: Probabilities, calibrated: Probabilities, classes: list[str]
) -> Evaluation:
    """Computes all metrics over all images; each is predicted with the threshold of its own model."""
    actual, predicted = (pd.Categorical(table[name], classes).codes.astype(int) for name in ("actual", "predicted"))
    return model_evaluation.evaluate(table.assign(label=actual), classes, predicted, probabilities, calibrated)


def read_images(names: Sequence[str], rows: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """Returns the manifests of the test splits, fold after fold, with the columns of slices.measure.

    The images of `rows`, int [K], of this table come with it as uint8 [K, size, size, 3].
    """
    manifests: list[pd.DataFrame] = []
    images: dict[int, np.ndarray] = {}
    for name in names:
        first = sum(map(len, manifests))  # row of the fold's first image
        with experiments.test_split(name) as split:
            manifests.append(split.manifest.assign(**slices.measure(split.pixels)))
            of_fold = rows[(first <= rows) & (rows < first + len(split.labels))]
            images |= {row: split.pixels[row - first] for row in of_fold}
    return pd.concat(manifests, ignore_index=True), np.array([images[row] for row in rows])


if __name__ == "__main__":
    cli.run(main)
