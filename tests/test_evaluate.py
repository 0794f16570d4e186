"""The stage evaluate with made-up models, which take what they answer from the images."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from stages import evaluate
from stages.common import dataset
from stages.common.cli import UserError
from stages.model import saved_model


def write_split(name, classes, count=40):
    """Images whose red is their label and whose green is chance."""
    labels = np.sort(np.arange(count) % len(classes))
    pixels = np.zeros((count, 4, 4, 3), np.uint8)
    pixels[..., 0] = labels[:, np.newaxis, np.newaxis]
    pixels[..., 1] = np.random.default_rng(len(name)).integers(0, 256, (count, 1, 1))
    (dataset.Path("data/splits") / name).mkdir(parents=True)
    np.save(f"data/splits/{name}/pixels.npy", pixels)
    manifest = pd.DataFrame(
        {
            "path": [f"{number}.png" for number in range(count)],
            "class": np.array(classes)[labels],
            "label": labels,
            "group": np.arange(count),
        }
    )
    files.write_csv(manifest, dataset.Path(f"data/splits/{name}/manifest.csv"))
    dataset.Path(dataset.CLASSES).write_text(json.dumps(classes))


def made_up_model(classes):
    """It is right where green is at least its only weight, `wrong`, and the surer, the greener."""
    weights = {}

    def serve(images):
        labels, green = images[:, 0, 0, 0].astype(int), images[:, 0, 0, 1].astype(np.float32)
        answer = np.where(green < weights["wrong"], (labels + 1) % len(classes), labels)
        logits = np.zeros((len(labels), len(classes)), np.float32)
        logits[np.arange(len(labels)), answer] = 1 + green / 50
        exponentials = np.exp(logits)
        return {"probabilities": exponentials / exponentials.sum(axis=1, keepdims=True)}

    return SimpleNamespace(signatures={"serving_uint8": serve}, weights=weights)


@pytest.fixture
def run(workplace, monkeypatch):
    """Runs the stage on so many classes; returns metrics/evaluate.json."""

    def stage(class_count, frozen_wrong=120, **changes):
        classes = [f"class {k}" for k in range(class_count)]
        for name in ("validation", "test"):
            write_split(name, classes)
        model, saved = made_up_model(classes), {"frozen": (frozen_wrong, 1), "finetuned": (20, 2)}

        def restore(weights, folder):
            weights["wrong"], temperature = saved[folder.split("/")[-1]]
            return temperature

        monkeypatch.setattr(saved_model, "load", lambda folder: model)
        monkeypatch.setattr(saved_model, "restore", restore)
        monkeypatch.setattr(explain, "save", lambda path, *_: path.touch())  # these models have no weights to explain
        workplace.set({f"evaluate.{key}": value for key, value in changes.items()})
        evaluate.main()
        return json.loads((workplace.folder / "metrics/evaluate.json").read_text())

    return stage


@pytest.mark.parametrize("class_count", [2, 7])
def test_writes_what_the_other_stages_read(run, class_count, capsys):
    scores = run(class_count)
    of_model = [
        "accuracy",
        "loss",
        "auc",
        "precision",
        "recall",
        "f1",
        *(["top5_accuracy"] if class_count == 7 else []),
        "ece",
        "calibrated_loss",
        "calibrated_ece",
        "temperature",
        *(["threshold"] if class_count == 2 else []),
    ]
    assert {name: list(values) for name, values in scores.items()} == {
        "frozen": of_model,
        "finetuned": of_model,
        "changed": ["gained", "lost", "p"],
    }
    intervals = json.loads(dataset.Path("data/evaluation/intervals.json").read_text())
    low, high = intervals["finetuned"]["accuracy"]
    assert low < scores["finetuned"]["accuracy"] < high
    assert f"{scores['finetuned']['accuracy']:.4f} [{low:.4f}, {high:.4f}]" in capsys.readouterr().out
    predictions = pd.read_csv("plots/predictions.csv")
    assert list(predictions.columns) == ["path", "group", "actual", "predicted", "probability", "margin", "frozen"]
    assert scores["frozen"]["accuracy"] == (predictions["frozen"] == predictions["actual"]).mean()
    assert scores["finetuned"]["accuracy"] == (predictions["predicted"] == predictions["actual"]).mean()
    if class_count == 2:
        assert np.allclose(predictions["margin"], (2 * predictions["probability"] - 1).abs())
    reliability = pd.read_csv("data/evaluation/reliability.csv")
    assert list(reliability.columns) == ["model", "calibrated", "from", "to", "confidence", "accuracy", "images"]
    assert reliability.groupby(["model", "calibrated"])["images"].sum().tolist() == [40] * 4
    for kind in ("roc", "precision_recall"):
        assert pd.read_csv(f"data/evaluation/curves/{kind}.csv")["class"].nunique() == class_count


def test_the_temperature_of_each_model_calibrates_its_own_probabilities(run):
    scores = run(2)
    assert scores["frozen"]["calibrated_loss"] == pytest.approx(scores["frozen"]["loss"])  # its temperature is 1
    assert scores["finetuned"]["temperature"] == 2
    probabilities = evaluate.predict(saved_model.load("finetuned"), dataset.load("test").pixels, 7, "")
    truth = scale_probabilities(probabilities, 2)[np.arange(40), dataset.load("test").labels]
    assert scores["finetuned"]["calibrated_loss"] == pytest.approx(-np.log(truth).mean())


def test_says_which_images_changed_sides_and_whether_it_is_chance(run, capsys):
    changed = run(2)["changed"]
    green = dataset.load("test").pixels[:][:, 0, 0, 1]
    assert changed["gained"] == ((green >= 20) & (green < 120)).sum() > 8 and changed["lost"] == 0
    assert changed["p_value"] == pytest.approx(2 * 0.5 ** changed["gained"])
    assert "more than chance: fine-tuned is better" in capsys.readouterr().out


def test_a_criterion_chooses_the_threshold_on_validation_for_each_model(run):
    scores = run(2, threshold="max_f1")
    assert scores["frozen"]["threshold"] != scores["finetuned"]["threshold"]
    split = dataset.load("validation")
    probabilities = evaluate.predict(saved_model.load("finetuned"), split.pixels, 8, "")[:, 1]
    reached = [
        2 * (split.labels[probabilities >= x] == 1).sum() / ((probabilities >= x).sum() + 20)
        for x in (scores["finetuned"]["threshold"], *np.unique(probabilities))
    ]
    assert reached[0] == max(reached)


def test_a_criterion_that_cannot_be_met_ends_in_one_line(run):
    with pytest.raises(UserError, match=r"precision>=0.999, but the highest precision that the frozen model reaches"):
        run(2, frozen_wrong=256, threshold="precision>=0.999")
    assert not dataset.Path("metrics/evaluate.json").exists()


def test_a_criterion_is_for_two_classes(run):
    with pytest.raises(UserError, match="max_f1, which is for two classes, but these are 3"):
        run(3, threshold="max_f1")
