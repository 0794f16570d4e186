"""The stage plot with made-up inputs, and the templates of `dvc plots`."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from stages import plot
from stages.charts import base
from stages.common import files
from stages.common.cli import UserError
from stages.common.dataset import CLASSES, SPLITS
from tests.support import PLAIN_NAMES, ROOT

TEMPLATES = {path.stem: path.read_text() for path in (ROOT / ".dvc/plots").glob("*.json")}
SHEETS = ("samples", "mistakes", "uncertain", "gradcam")


@pytest.fixture
def inputs(workplace):
    """Writes what the stage reads, of two classes, four test images and files of two sizes."""
    rng = np.random.default_rng(0)
    for folder in ("data/training", "data/splits", "data/evaluation/curves", "plots"):
        Path(folder).mkdir(parents=True)
    for epoch, phase in enumerate(("train_frozen", "finetune"), start=1):
        row = {"epoch": epoch, "phase": phase, "accuracy": 0.9, "val_accuracy": 0.8, "loss": 0.1, "val_loss": 0.2}
        history = pd.DataFrame([row | {"learning_rate": 0.1, "kept": True}])
        files.write_csv(history, Path(f"data/training/{phase}.csv"))
    np.save("data/training/augmentations.npy", rng.integers(0, 256, (9, 8, 8, 3), np.uint8))
    files.write_json(["cat", "dog"], Path(CLASSES))
    overview = {name: rng.integers(0, 256, (2, 8, 64, 64, 3), np.uint8) for name in SPLITS}
    overview |= {f"{name}_sizes": np.full((2, 8, 2), (40, 20)) for name in SPLITS}
    np.savez("data/splits/overview.npz", sizes=[[40, 20], [30, 30]], labels=[0, 1], **overview)
    rows = {f"{sheet}_rows": np.arange(4) for sheet in SHEETS}
    pixels = {f"{sheet}_pixels": rng.integers(0, 256, (4, 8, 8, 3), np.uint8) for sheet in SHEETS}
    sizes = {f"{sheet}_sizes": np.full((4, 2), (40, 20)) for sheet in SHEETS}
    np.savez("data/evaluation/samples.npz", gradcam_maps=rng.random((4, 8, 8)), **rows, **pixels, **sizes)
    predictions = {"path": list("abcd"), "actual": ["cat", "cat", "dog", "dog"], "predicted": ["cat", "dog"] * 2}
    predictions = pd.DataFrame(predictions).assign(probability=0.7, margin=0.4, group=range(4), frozen="cat")
    files.write_csv(predictions, Path("plots/predictions.csv"))
    bins = pd.DataFrame({"model": ["frozen", "finetuned"] * 2, "calibrated": [False, False, True, True]})
    bins = bins.assign(confidence=0.8, accuracy=0.7, low=0.6, high=0.9, support=4, **{"from": 0.7, "to": 0.9})
    files.write_csv(bins, Path("data/evaluation/reliability.csv"))
    ends = pd.DataFrame({"class": ["cat", "cat", "dog", "dog"], "threshold": [1, 0] * 2})
    files.write_csv(ends.assign(fpr=[0, 1] * 2, tpr=[0, 1] * 2), Path("data/evaluation/curves/roc.csv"))
    curves = ends.assign(recall=[0, 1] * 2, precision=[1, 0.5] * 2)
    files.write_csv(curves, Path("data/evaluation/curves/precision_recall.csv"))
    return overview


def drawn():
    return {str(path.relative_to("plots")): path.read_bytes() for path in Path("plots").rglob("*.png")}


def test_draws_all_charts_the_same_each_time_and_none_wider_than_a_page(inputs):
    plot.main()
    first = drawn()
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["plot"]
    names = [next(iter(chart)) if isinstance(chart, dict) else chart for chart in stage["plots"]]
    sheets = {f"overview/{name}.png" for name in (*SPLITS, "sizes")}
    assert first.keys() == {name.removeprefix("plots/") for name in names if name.endswith(".png")} | sheets
    assert max(Image.open(Path("plots", name)).width for name in first) <= 1200
    plot.main()
    assert drawn() == first


def test_the_table_for_dvc_has_the_classes_of_every_image_and_no_path(inputs):
    plot.main()
    table = files.read_csv("plots/confusion.csv")
    pd.testing.assert_frame_equal(table, files.read_csv("plots/predictions.csv")[["actual", "predicted"]])


@pytest.mark.parametrize("name", PLAIN_NAMES)
def test_names_as_people_have_them_do_not_change_for_dvc(name):
    table = pd.DataFrame({"actual": [name], "predicted": [name]})
    pd.testing.assert_frame_equal(plot.for_dvc(table), table)


def test_a_missing_input_is_named(inputs):
    Path("data/evaluation/samples.npz").unlink()
    with pytest.raises(UserError, match="data/evaluation/samples.npz is missing: run `dvc repro` first."):
        plot.main()
    assert not drawn()


@pytest.mark.parametrize(
    ("path", "pattern", "put"),
    [
        ("data/evaluation/reliability.csv", '"confidence"', '"certainty"'),  # another column
        ("plots/predictions.csv", "0.7", "high"),  # a text among numbers
        ("data/evaluation/curves/roc.csv", "\n.*\n", "\n0.5\n"),  # a row that is cut
    ],
)
def test_a_damaged_table_is_named(inputs, path, pattern, put):
    Path(path).write_text(re.sub(pattern, put, Path(path).read_text(), count=1))
    with pytest.raises(UserError, match=f"^{path} is damaged or of an earlier version: run `dvc repro`.$"):
        plot.main()
    assert not drawn()


def test_dvc_draws_models_in_their_colours_and_all_templates_are_used():
    for name, template in TEMPLATES.items():
        if "datum.filename" in template or "datum.phase" in template:
            [scale] = re.findall(r'"domain": \["Frozen", "Fine-tuned"\], "range": (\[.*?\])', template)[:1]
            assert json.loads(scale) == [base.LIGHT["frozen"], base.LIGHT["finetuned"]], name
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    assert {chart["template"] for entry in plots for chart in entry.values()} == TEMPLATES.keys()


def test_the_page_of_dvc_loads_the_local_scripts_and_others_only_without_them():
    page = (ROOT / ".dvc/plots/page.html").read_text()
    assert page.index('<script src="../plots/vega.js">') < page.index("<template>{scripts}</template>")
    assert "if (!window.vegaEmbed)" in page and "{plot_divs}" in page and "{refresh_tag}" in page
