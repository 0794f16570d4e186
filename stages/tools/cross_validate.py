"""Cross-validates the settings: predicts every image once, with a model that saw neither it nor its group.

    python -m stages.tools.cross_validate [--folds N] [--name NAME] [KEY=VALUE ...]

    --folds N    number of folds (5)
    --name NAME  of the folds' experiments, NAME-fold-1, NAME-fold-2 and so on (cv)
    KEY=VALUE    change a parameter in all of them, as in finetune.fine_tune_at=100

Each fold is an experiment of DVC in a temporary copy, which runs as far as the stage plot, with that fold as its test
split: the workspace stays as it is, and folds that have finished are not run again. Writes, of the fine-tuned models,
plots/cross_validation.csv (the out-of-fold predictions), plots/cross_validation.png (their confusion matrix),
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
from stages.common.cli import UserError
from stages.evaluation import examples, model_evaluation, paired_test
from stages.evaluation.model_evaluation import Evaluation
from stages.tools import experiments, repeat_seeds


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--name", default="cv")
    arguments = parser.parse_intermixed_args()  # so that KEY=VALUE may follow --folds
    if arguments.folds < 2:
        raise UserError(f"--folds is {arguments.folds}, but must be at least 2.")
    for change in arguments.changes:
        experiments.setting(change)
    names = [f"{arguments.name}-fold-{fold}" for fold in range(1, arguments.folds + 1)]
    repeat_seeds.run_missing(
        {name: [*arguments.changes, f"data.fold={fold}/{len(names)}"] for fold, name in enumerate(names, 1)}
    )
    check_alike(names)
    table, probabilities = gather(names)
    evaluation = evaluate(table, probabilities, experiments.classes(names[0]))
    comparison = table[["path", "group"]].assign(
        a=table["frozen"] == table["actual"], b=table["predicted"] == table["actual"]
    )
    write(names, table, evaluation, comparison)
    by_fold = comparison["b"].groupby(table["fold"]).mean()
    terminal.show(
        "",
        model_evaluation.summary({"finetuned": evaluation}),
        paired_test.describe(comparison, "frozen", "fine-tuned"),
        f"Accuracy by fold: {', '.join(map('{:.4f}'.format, by_fold))}.",
    )


def check_alike(names: Sequence[str]) -> None:
    """Raises a UserError if the folds differ in their images, or in parameters besides data.fold."""
    first, *others = names
    expected = experiments.parameters(first)
    for name in others:
        found = experiments.parameters(name)
        differing = [key for key in expected if found.get(key) != expected[key] and key != "data.fold"]
        images = expected["data.images"]
        if experiments.hashes(name)["split"].get(images) != experiments.hashes(first)["split"].get(images):
            differing.append(f"the files of {images}")
        if differing:
            raise UserError(
                f"{name} differs from {first} in {cli.enumeration(differing)}: take another --name, or `dvc exp remove "
                f"{' '.join(names)}` and run this again."
            )


def gather(names: Sequence[str]) -> tuple[pd.DataFrame, np.ndarray]:
    """Returns the out-of-fold predictions, fold after fold.

    Returns:
        (DataFrame, float32 [N, C]): N rows of plots/predictions.csv with the number of the fold, from 1, and its
        model's threshold and temperature; and the probabilities of all classes.
    """
    tables, probabilities = [], []
    for fold, name in enumerate(names, 1):
        scores = experiments.scores(name)
        of_model = {
            "threshold": scores.get("finetuned threshold", 0.5),
            "temperature": scores["finetuned temperature"],
        }
        tables.append(experiments.predictions(name).assign(fold=fold, **of_model))
        probabilities.append(experiments.array("data/evaluation/probabilities.npy", name))
    return pd.concat(tables, ignore_index=True), np.concatenate(probabilities)


def evaluate(table: pd.DataFrame, probabilities: np.ndarray, classes: list[str]) -> Evaluation:
    """Computes all metrics over all images, each with the threshold and the temperature of its own model."""
    images = table.assign(label=pd.Categorical(table["actual"], classes).codes.astype(int))
    thresholds, temperatures = table["threshold"].to_numpy(), table[["temperature"]].to_numpy()
    return model_evaluation.evaluate(images, classes, probabilities, thresholds, temperatures)


@base.style()
def write(names: Sequence[str], table: pd.DataFrame, evaluation: Evaluation, comparison: pd.DataFrame) -> None:
    """Writes the table, the charts and the metrics.

    Args:
        names: of the folds.
        table: what `gather` returns.
        evaluation: of it.
        comparison: the table of paired_test.count_flips.
    """
    classes = list(evaluation.class_scores["classes"])
    all_classes = pd.DataFrame(evaluation.probabilities, columns=[f"probability_{name}" for name in classes])
    confusion = metric_charts.confusion_matrix(table["actual"], table["predicted"], classes)
    confusion.suptitle(f"Confusion matrix of {len(table)} images in {len(names)} folds", fontsize=base.TEXT)
    with files.replacing(
        table="plots/cross_validation.csv",
        confusion="plots/cross_validation.png",
        mistakes="plots/cross_validation_mistakes.png",
        metrics="metrics/cross_validation.json",
    ) as out:
        out_of_fold = table.drop(columns=["threshold", "temperature"]).join(all_classes)
        files.write_csv(out_of_fold, out.table, errors="backslashreplace")
        base.save(confusion, out.confusion)
        heading = f"The most confident mistakes of {len(names)} folds"
        base.save(prediction_charts.by_class(*mistakes(names, table), table, heading), out.mistakes)
        files.write_json(
            {
                "folds": len(names),
                "images": len(table),
                "metrics": evaluation.scores,
                "intervals": evaluation.intervals,
                "classes": evaluation.class_scores,
                "changed": paired_test.count_flips(comparison),
            },
            out.metrics,
        )


def mistakes(names: Sequence[str], table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the images of examples.mistakes over all folds, as prediction_charts.by_class takes them.

    They come from the sheets of the folds, which of many classes hold those with most mistakes in the fold only.

    Returns:
        (uint8 [K, size, size, 3], int [K, 2], int [K]): pixels, width and height of the files, and rows of `table`.
    """
    sheets = [experiments.array("data/evaluation/samples.npz", name) for name in names]
    first_rows = np.flatnonzero(~table["fold"].duplicated())
    rows, pixels, sizes = (
        np.concatenate([sheet[f"mistakes_{key}"] for sheet in sheets]) for key in ("rows", "pixels", "sizes")
    )
    rows += np.repeat(first_rows, [len(sheet["mistakes_rows"]) for sheet in sheets])
    place = {row: number for number, row in enumerate(rows)}
    places = [place[row] for row in examples.mistakes(table) if row in place]
    return pixels[places], sizes[places], rows[places]


if __name__ == "__main__":
    cli.run(main)
