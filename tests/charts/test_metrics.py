import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from sklearn import metrics

from stages.charts import base, metrics as metric_charts
from tests.charts.support import contrast, saved_size


def test_the_confusion_matrix_has_actual_classes_down_counts_as_text_and_fractions_as_shades(tmp_path):
    figure = metric_charts.confusion_matrix(["a", "a", "a", "b"], ["a", "a", "b", "b"], ["a", "b", "$c$"])
    [axes] = figure.axes  # no colour bar
    places = {text.get_position(): text.get_text() for text in axes.texts}
    assert places == {(0, 0): "2", (1, 0): "1", (1, 1): "1"}  # (predicted, actual)
    cells = {(cell.get_x() + 0.5, cell.get_y() + 0.5): cell.get_alpha() for cell in axes.patches}
    assert cells[0, 0] - cells[1, 0] == pytest.approx(cells[1, 1] - cells[0, 0])  # 2/3 - 1/3 is 1 - 2/3
    assert cells.keys() == places.keys() and cells[1, 1] == metric_charts.SHADE
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", r"\$c\$"]
    assert axes.yaxis_inverted() and (axes.get_ylabel(), axes.get_xlabel()) == ("Actual", "Predicted")
    saved_size(figure, tmp_path)


@pytest.mark.parametrize("page", [0, 1], ids=["light", "dark"])
def test_counts_stand_out_from_the_darkest_cell(page):
    ground, cell = (np.array(to_rgb(base.CSS[name][page])) for name in ("ground", "finetuned"))
    assert contrast(base.CSS["ink"][page], ground + metric_charts.SHADE * (cell - ground)) >= 4.5


def test_the_names_of_forty_classes_do_not_overlap_and_have_at_least_9_pixels_on_a_phone(tmp_path):
    classes = [f"a name that is long {number:02}" for number in range(40)]
    figure = metric_charts.confusion_matrix(classes, classes, classes)
    base.save(figure, tmp_path / "chart.png")
    axes, top, right = figure.axes[0], *figure.axes[0].child_axes
    for labels in (axes.get_yticklabels(), right.get_yticklabels()):
        lines = [label.get_window_extent().y0 * 72 / figure.dpi for label in labels]  # points
        assert len(lines) == 20
        assert all(upper - lower > 0.98 * labels[0].get_fontsize() for upper, lower in itertools.pairwise(lines))
        assert labels[0].get_fontsize() * 320 / (72 * base.PANEL[0]) >= 9
    assert [label.get_text()[-2:] for label in top.get_xticklabels()[:2]] == ["01", "03"]
    assert not axes.texts  # no room for counts


def test_of_two_hundred_classes_those_with_most_mistakes_have_a_matrix(tmp_path):
    classes = [f"{number:03}" for number in range(200)]
    predicted = ["000" if number % 5 == 4 else name for number, name in enumerate(classes)]
    figure = metric_charts.confusion_matrix(classes, predicted, classes)
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == classes[4::5][::2] and "40 classes with most mistakes" in axes.get_xlabel()
    saved_size(figure, tmp_path)


def curve_tables(labels, probabilities, classes):
    roc, precision_recall = [], []
    for k, name in enumerate(classes):
        fpr, tpr, _ = metrics.roc_curve(labels == k, probabilities[:, k])
        precision, recall, _ = metrics.precision_recall_curve(labels == k, probabilities[:, k])
        roc.append(pd.DataFrame({"class": name, "fpr": fpr, "tpr": tpr}))
        precision_recall.append(pd.DataFrame({"class": name, "recall": recall, "precision": precision})[::-1])
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
        expected = [f"{name} {scores[x]:.1%}: {x}" for x in sorted(scores, key=scores.get)[:10]]
        assert [text.get_text() for text in axes.get_legend().get_texts()] == expected + ["the other classes"] * (
            count > 10
        )
    assert len(figure.axes[1].lines) == count
    saved_size(figure, tmp_path)


def test_a_class_has_one_look_in_all_panels():
    labels, probabilities = np.arange(60) % 3, np.random.default_rng(0).dirichlet(np.ones(3), 60)
    classes = ["b", "NA", "a"]  # in the order of the tables, not of names
    roc, precision_recall = curve_tables(labels, probabilities, classes)
    panels = [metric_charts.roc_curves(roc), metric_charts.precision_recall_curves(precision_recall)]
    for lines in (panels[0].axes[0].lines[1:], panels[1].axes[0].lines):
        looks = {line.get_label().split(": ")[1]: (line.get_color(), line.get_marker()) for line in lines}
        assert looks == {name: tuple(base.class_style(label).values()) for label, name in enumerate(classes)}


BINS = pd.DataFrame(
    [
        ("frozen", False, 0.6, 0.75, 0.5, 0.8, 10),
        ("frozen", False, 0.9, 1.0, 0.8, 1.0, 10),
        ("frozen", True, 0.7, 0.75, 0.5, 0.8, 10),
        ("finetuned", False, 0.9, 1.0, 0.8, 1.0, 10),
        ("finetuned", True, 1.0, 1.0, 0.8, 1.0, 10),
    ],
    columns=["model", "calibrated", "confidence", "accuracy", "low", "high", "support"],
)


@pytest.mark.parametrize("model", ["frozen", "finetuned"])
def test_a_reliability_diagram_has_bins_with_intervals_before_and_after(model):
    [axes] = metric_charts.reliability_diagram(BINS, model).axes
    for calibrated, container in zip((False, True), axes.containers, strict=True):
        bins = BINS[(BINS["model"] == model) & (BINS["calibrated"] == calibrated)]
        assert container.lines[0].get_xydata() == pytest.approx(bins[["confidence", "accuracy"]].to_numpy())
        intervals = [segment[:, 1] for segment in container.lines[2][0].get_segments()]
        assert np.array(intervals) == pytest.approx(bins[["low", "high"]].to_numpy())
        assert container.get_label() == f"{'after' if calibrated else 'before'} temperature scaling"
    assert axes.containers[1].lines[0].get_color() == base.LIGHT[model]


def test_the_reliability_of_both_models_stands_side_by_side(tmp_path):
    figure = metric_charts.reliability(BINS)
    assert [axes.get_title() for axes in figure.axes] == ["Frozen", "Fine-tuned"]
    saved_size(figure, tmp_path)
