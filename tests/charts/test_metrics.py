import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from stages.charts import metrics as metric_charts
from tests.charts.support import saved_size


def test_the_confusion_matrix_has_counts_and_is_normalized_by_true_class(tmp_path):
    figure = metric_charts.confusion(["a", "a", "a", "b"], ["a", "a", "b", "b"], ["a", "b", "$c$"])
    counts, normalized = figure.axes[:2]
    assert [text.get_text() for text in counts.texts] == ["2", "1", "0", "0", "1", "0", "0", "0", "0"]
    assert [text.get_text() for text in normalized.texts] == ["67%", "33%", "0%", "0%", "100%", "0%", "0%", "0%", "0%"]
    assert [label.get_text() for label in counts.get_yticklabels()] == ["a", "b", r"\$c\$"]
    assert (counts.get_ylabel(), counts.get_xlabel()) == ("Actual", "Predicted")
    saved_size(figure, tmp_path)


def test_a_confusion_matrix_of_two_hundred_classes_has_no_numbers_and_room_for_the_names(tmp_path):
    classes = [f"class {number:03}" for number in range(200)]
    figure = metric_charts.confusion(classes, classes, classes)
    axes = figure.axes[0]
    assert not axes.texts
    points = axes.get_yticklabels()[0].get_fontsize()
    assert points >= 4
    figure.get_layout_engine().execute(figure)
    axes.apply_aspect()  # as drawing does, which takes longer
    assert axes.get_window_extent().height / figure.dpi * 72 > 200 * points  # none overlaps the next


def curve_tables(labels, probabilities, classes):
    roc, precision_recall = [], []
    for k, name in enumerate(classes):
        fpr, tpr, _ = metrics.roc_curve(labels == k, probabilities[:, k])
        precision, recall, _ = metrics.precision_recall_curve(labels == k, probabilities[:, k])
        roc.append(pd.DataFrame({"class": name, "fpr": fpr, "tpr": tpr}))
        precision_recall.append(pd.DataFrame({"class": name, "recall": recall, "precision": precision}))
    return pd.concat(roc), pd.concat(precision_recall)


@pytest.mark.parametrize("count", [2, 12])
def test_the_curves_are_named_with_their_areas_worst_first(tmp_path, count):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % count
    probabilities = rng.dirichlet(np.ones(count), 60)
    probabilities[np.arange(60), labels] += rng.uniform(0, 0.5, 60)
    figure = metric_charts.curves(*curve_tables(labels, probabilities, [f"class {k:02}" for k in range(count)]))
    for axes, name, score in zip(
        figure.axes, ("AUC", "AP"), (metrics.roc_auc_score, metrics.average_precision_score), strict=True
    ):
        scores = {f"class {k:02}": score(labels == k, probabilities[:, k]) for k in range(count)}
        expected = [f"{name} {scores[x]:.3f}: {x}" for x in sorted(scores, key=scores.get)[:10]]
        assert [text.get_text() for text in axes.get_legend().get_texts()] == expected + ["the other classes"] * (
            count > 10
        )
    assert len(figure.axes[1].lines) == count
    saved_size(figure, tmp_path)


def test_reliability_shows_bins_before_and_after_and_how_many_images_they_have(tmp_path):
    rows = [
        ("frozen", False, 0.5, 0.6, 0.55, 1.0, 1),
        ("frozen", False, 0.9, 1.0, 0.95, 0.75, 4),
        ("frozen", True, 0.7, 0.8, 0.75, 0.8, 4),
        ("finetuned", False, 0.9, 1.0, 0.9, 1.0, 4),
        ("finetuned", True, 0.9, 1.0, 1.0, 1.0, 4),
    ]
    table = pd.DataFrame(rows, columns=["model", "calibrated", "from", "to", "confidence", "accuracy", "support"])
    figure = metric_charts.reliability(table)
    upper, lower = figure.axes[:2], figure.axes[2:]
    assert [axes.get_title() for axes in upper] == ["Frozen", "Fine-tuned"]
    assert [text.get_text() for text in upper[0].get_legend().get_texts()] == [
        "before temperature scaling: ECE 0.250",
        "after temperature scaling: ECE 0.050",
    ]
    assert list(upper[0].lines[1].get_xdata()) == [0.55, 0.95] and list(upper[0].lines[1].get_ydata()) == [1, 0.75]
    assert [bar.get_height() for bar in lower[0].patches] == [1, 4, 4]
    for bar, low, high in zip(lower[0].patches, (0.5, 0.9, 0.7), (0.6, 1.0, 0.8), strict=True):
        assert low - 1e-9 <= bar.get_x() and bar.get_x() + bar.get_width() <= high + 1e-9
    before, after = lower[1].patches  # of the same bin, side by side
    assert before.get_x() + before.get_width() <= after.get_x() + 1e-9
    saved_size(figure, tmp_path)
