"""The stage evaluate with made-up models, which take their probabilities from the images."""

import re
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from stages import evaluate
from stages.common import dataset, files
from stages.common.cli import UserError
from stages.evaluation import examples, novelty
from stages.evaluation.predictions import predict
from stages.model import saved_model
from stages.model.temperature import scale_probabilities


def write_split(name, classes, count=40):
    """Images whose red is their label and whose green is random."""
    labels = np.sort(np.arange(count) % len(classes))
    pixels = np.zeros((count, 32, 32, 3), np.uint8)
    pixels[..., 0] = labels[:, np.newaxis, np.newaxis]
    pixels[..., 1] = np.random.default_rng(len(name)).integers(0, 256, (count, 1, 1))
    folder = Path("data/splits") / name
    folder.mkdir(parents=True)
    np.save(folder / "pixels.npy", pixels)
    manifest = pd.DataFrame(
        {
            "path": [f"{number}.png" for number in range(count)],
            "class": np.array(classes)[labels],
            "label": labels,
            "sha256": "0",
            "width": 40,
            "height": 30,
            "group": np.arange(count),
            "duplicates": np.arange(count),
        }
    )
    files.write_csv(manifest, folder / "manifest.csv")
    files.write_json(classes, Path(dataset.CLASSES))


def made_up_model(classes):
    """It is right where green is at least its only weight, `wrong`, and the more confident, the greener."""
    weights = {-2: None}  # the kernel of the head, which only Grad-CAM reads

    def predict(images):
        labels, green = images[:, 0, 0, 0].astype(int), images[:, 0, 0, 1].astype(np.float32)
        answer = (labels + (green < weights["wrong"])) % len(classes)
        logits = np.zeros((len(labels), len(classes)), np.float32)
        logits[np.arange(len(labels)), answer] = 1 + green / 50
        features = np.stack([labels, green, np.full(len(labels), weights["wrong"])], axis=1).astype(np.float32)
        return {"probabilities": softmax(logits, axis=1), "features": features}

    return SimpleNamespace(predict=predict, weights=weights)


@pytest.fixture
def run(workplace, monkeypatch):
    """Runs the stage on so many classes; returns data/evaluation/metrics.json."""

    def stage(class_count, frozen_wrong=120, **changes):
        classes = [f"class {k}" for k in range(class_count)]
        for name in dataset.SPLITS:
            write_split(name, classes)
        Path("data/training").mkdir()
        for stage, epoch in {"train_frozen": 5, "finetune": 15}.items():
            files.write_json({"kept_epoch": epoch}, Path(f"data/training/{stage}.json"))
        model, saved = made_up_model(classes), {"frozen": (frozen_wrong, 1), "finetuned": (20, 2)}

        Path("data/features").mkdir()
        for name in ("train", "validation"):  # as train_frozen would write them
            colours = dataset.load(name).pixels[:][:, 0, 0, :2]
            np.save(f"data/features/{name}.npy", np.insert(colours.astype(np.float16), 2, frozen_wrong, axis=1))

        def restore(weights, folder):
            weights["wrong"], temperature = saved[folder.split("/")[-1]]
            return temperature

        monkeypatch.setattr(saved_model, "load", lambda folder: model)
        monkeypatch.setattr(saved_model, "restore", restore)

        def copy(source, target, values):
            target.mkdir(parents=True)
            files.write_json(
                [source, {name: np.asarray(x).tolist() for name, x in values.items()}], target / "copied.json"
            )

        monkeypatch.setattr(saved_model, "copy", copy)
        monkeypatch.setattr(examples, "save", lambda path, *_: path.touch())  # these models have no feature maps
        workplace.set({f"evaluate.{key}": value for key, value in changes.items()})
        evaluate.main()
        return files.read_json("data/evaluation/metrics.json")

    return stage


def test_dvc_compares_a_few_metrics_of_each_model(run):
    scores = run(2)
    for name, epoch in {"frozen": 5, "finetuned": 15}.items():
        compared = {key: scores[name][key] for key in ("accuracy", "loss", "auc", "f1")}
        assert files.read_json(f"metrics/{name}.json") == compared | {"kept_epoch": epoch}


@pytest.mark.parametrize("class_count", [3, 7])
def test_dvc_compares_the_prediction_sets_of_the_fine_tuned_model_where_it_has_them(run, class_count):
    scores = run(class_count)["finetuned"]
    compared = {key: scores[key] for key in ("accuracy", "loss", "auc", "f1", "set_coverage", "set_size")}
    assert files.read_json("metrics/finetuned.json") == compared | {"kept_epoch": 15}
    assert list(files.read_json("metrics/frozen.json")) == ["accuracy", "loss", "auc", "f1", "kept_epoch"]


@pytest.mark.parametrize(("class_count", "threshold"), [(2, "max_f1"), (2, 0.25), (3, 0.5)])
def test_the_classifier_is_the_fine_tuned_model_with_its_thresholds(run, class_count, threshold):
    scores = run(class_count, threshold=threshold)["finetuned"]
    thresholds = {"threshold": scores.get("threshold", 0.5), "set_threshold": scores.get("set_threshold", 0)}
    source, variables = files.read_json("data/models/classifier/copied.json")
    assert source == "data/models/finetuned"
    assert {name: variables[name] for name in thresholds} == thresholds
    assert (thresholds["set_threshold"] > 0) == (class_count > 2)


@pytest.mark.parametrize("class_count", [3, 7, 12])
def test_prediction_sets_are_fitted_on_validation_and_measured_on_test(run, capsys, class_count):
    scores = run(class_count)["finetuned"]
    model = saved_model.load("finetuned")
    model.weights["wrong"] = 20
    outputs = {name: predict(model, dataset.load(name).pixels, 7, "")[0] for name in ("validation", "test")}
    validation, test = (dataset.load(name).labels for name in outputs)
    of_truth = np.sort(outputs["validation"][np.arange(40), validation])
    assert scores["set_threshold"] == pytest.approx(of_truth[1], rel=1e-5)  # of 40 images, 2 of 41 may be below
    belong = outputs["test"] >= of_truth[1]
    belong[np.arange(40), outputs["test"].argmax(axis=1)] = True
    assert scores["set_coverage"] == belong[np.arange(40), test].mean() > 0.5
    assert scores["set_size"] == belong.sum(axis=1).mean()
    said = f"hold it for {scores['set_coverage']:.1%} of the test images, with {scores['set_size']:.2f} classes"
    assert said in " ".join(capsys.readouterr().out.split())


def test_two_classes_have_no_prediction_sets(run, capsys):
    run(2)
    assert "rediction sets" not in capsys.readouterr().out


@pytest.mark.parametrize("class_count", [2, 7])
def test_every_model_has_all_metrics(run, class_count):
    scores = run(class_count)
    of_model = [
        *("accuracy", "loss", "auc", "precision", "recall", "f1"),
        *(["top5_accuracy"] if class_count == 7 else []),
        *("ece", "calibrated_loss", "calibrated_ece", "temperature"),
        *(["threshold"] if class_count == 2 else []),
    ]
    of_sets = ["set_threshold", "set_coverage", "set_size", "set_coverage_low", "set_coverage_high"]
    assert {name: list(values) for name, values in scores.items()} == {
        "frozen": of_model,
        "finetuned": of_model + (of_sets if class_count > 2 else []),
        "changed": ["gained", "lost", "p_value"],
    }
    of_classes = files.read_json("data/evaluation/classes.json")
    assert list(of_classes) == ["frozen", "finetuned"]
    assert list(of_classes["finetuned"]["macro"]) == ["precision", "recall", "f1"]
    assert len(of_classes["finetuned"]["classes"]) == class_count
    for of_class in of_classes["finetuned"]["classes"].values():
        assert list(of_class) == ["precision", "recall", "f1", "auc", "support"]


@pytest.mark.parametrize("class_count", [2, 7])
def test_the_metrics_are_printed_with_their_intervals(run, class_count, capsys):
    accuracy = run(class_count)["finetuned"]["accuracy"]
    low, high = files.read_json("data/evaluation/intervals.json")["finetuned"]["accuracy"]
    assert low < accuracy < high
    [row] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("accuracy ")]
    printed = [float(number) for number in re.findall(r"\d\.\d{4}", row)]
    assert printed[3:] == pytest.approx([accuracy, low, high], abs=1e-4)


@pytest.mark.parametrize("class_count", [2, 7])
def test_the_table_of_predictions_agrees_with_the_metrics(run, class_count):
    scores = run(class_count)
    predictions = files.read_csv("plots/predictions.csv")
    assert list(predictions.columns) == ["path", "group", "actual", "predicted", "probability", "margin", "frozen"]
    assert scores["frozen"]["accuracy"] == pytest.approx((predictions["frozen"] == predictions["actual"]).mean())
    assert scores["finetuned"]["accuracy"] == pytest.approx((predictions["predicted"] == predictions["actual"]).mean())
    if class_count == 2:
        assert np.allclose(predictions["margin"], (2 * predictions["probability"] - 1).abs(), atol=1e-5)


@pytest.mark.parametrize("class_count", [2, 7])
def test_the_probabilities_are_those_of_the_table_of_predictions(run, class_count):
    run(class_count)
    probabilities = np.load("data/evaluation/probabilities.npy")
    predictions = files.read_csv("plots/predictions.csv")
    assert probabilities.shape == (40, class_count) and probabilities.dtype == np.float32
    assert np.allclose(predictions["probability"], probabilities.max(axis=1), atol=1e-5)
    assert predictions["predicted"].tolist() == [f"class {label}" for label in probabilities.argmax(axis=1)]


@pytest.mark.parametrize(("class_count", "threshold"), [(2, 0.5), (2, 0.02), (2, "max_f1"), (7, 0.5)])
def test_the_mistakes_of_the_fine_tuned_model_on_all_splits_are_written(run, class_count, threshold):
    run(class_count, threshold=threshold)
    mistakes, of_test = files.read_csv("data/evaluation/mistakes.csv"), files.read_csv("plots/predictions.csv")
    assert list(mistakes.columns) == ["split", "path", "actual", "predicted", "probability"]
    assert mistakes["split"].unique().tolist() == ["train", "validation", "test"]
    for name, of_split in mistakes.groupby("split"):
        split, wrong = dataset.load(name), of_split["path"].str.removesuffix(".png").astype(int)
        assert (of_split["predicted"] != of_split["actual"]).all() and of_split["probability"].is_monotonic_decreasing
        assert of_split["actual"].tolist() == split.manifest["class"][wrong].tolist()
        if threshold == 0.5:
            assert set(wrong) == set(np.flatnonzero(split.pixels[:][:, 0, 0, 1] < 20))
    wrong = of_test[of_test["predicted"] != of_test["actual"]]
    assert set(mistakes.loc[mistakes["split"] == "test", "path"]) == set(wrong["path"])


@pytest.mark.parametrize(("threshold", "frozen"), [(0.5, ["test"]), ("max_f1", ["validation", "test"])])
def test_each_model_predicts_a_split_at_most_once(run, monkeypatch, threshold, frozen):
    done = []

    def predict_and_tell(model, pixels, batch_size, progress):
        done.append(progress)
        return predict(model, pixels, batch_size, progress)

    monkeypatch.setattr("stages.evaluation.predictions.predict", predict_and_tell)
    run(2, threshold=threshold)
    finetuned = [f"finetuned model, {name}" for name in dataset.SPLITS]
    assert done == [f"frozen model, {name}" for name in frozen] + finetuned + ["finetuned model, foreign images"]


def test_writes_the_accuracy_of_slices(run):
    run(2)
    slices = files.read_csv("data/evaluation/slices.csv")
    assert slices.loc[slices["attribute"] == "image brightness", "support"].sum() == 40
    dark, correct = slices[slices["value"] == "dark"].iloc[0], files.read_csv("plots/predictions.csv")
    assert dark["accuracy"] < (correct["predicted"] == correct["actual"]).mean()  # green is what the mistakes lack


@pytest.mark.parametrize("class_count", [2, 7])
def test_writes_reliability_bins_and_curves(run, class_count):
    run(class_count)
    reliability = files.read_csv("data/evaluation/reliability.csv")
    columns = ["from", "to", "confidence", "accuracy", "low", "high", "support"]
    assert list(reliability.columns) == ["model", "calibrated", *columns]
    assert reliability.groupby(["model", "calibrated"])["support"].sum().tolist() == [40] * 4
    for kind in ("roc", "precision_recall"):
        assert files.read_csv(f"data/evaluation/curves/{kind}.csv")["class"].nunique() == class_count
        assert {path.name for path in Path("plots", kind).iterdir()} == {"frozen.csv", "finetuned.csv"}


def test_the_features_are_those_of_the_frozen_model(run):
    run(2)
    features, pixels = np.load("data/features/test.npy"), dataset.load("test").pixels[:]
    assert features.dtype == np.float16 and set(features[:, 2]) == {120}
    np.testing.assert_array_equal(features[:, :2], pixels[:, 0, 0, :2])


def test_the_classifier_tells_what_is_unlike_by_the_fine_tuned_features_of_the_training_images(run):
    run(2)
    _, variables = files.read_json("data/models/classifier/copied.json")
    model, units = saved_model.load("finetuned"), {}
    for name in ("train", "validation"):
        units[name] = novelty.to_unit(predict(model, dataset.load(name).pixels, 7, "")[1])
    np.testing.assert_allclose(variables["novelty_mean"], units["train"].mean(axis=0), atol=1e-5)
    centred, components = units["validation"] - variables["novelty_mean"], np.array(variables["novelty_components"])
    residuals = np.sqrt((centred**2).sum(axis=1) - ((centred @ components.T) ** 2).sum(axis=1))
    assert (residuals / variables["novelty_threshold"] > 1).sum() == 1  # of 40: the 39th is the threshold


@pytest.mark.parametrize("class_count", [2, 3, 7])
def test_writes_and_prints_how_many_images_are_flagged(run, class_count, capsys):
    run(class_count)
    rates = files.read_json("data/evaluation/novelty.json")
    assert rates["answered"]["count"] == 40 and rates["answered"]["rate"] > 0.8
    assert rates["wrong"]["count"] == round(40 * rates["answered"]["rate"])
    assert rates["foreign"]["count"] == sum(kind["count"] for kind in rates["kinds"].values())
    assert (rates["unseen"] is None) == (class_count == 2)
    assert rates["finding"] in " ".join(capsys.readouterr().out.split())


def test_the_wrong_ones_are_those_that_the_report_counts_with_the_threshold(run):
    run(2, threshold=0.02)
    right = files.read_csv("plots/predictions.csv").eval("predicted == actual")
    rates = files.read_json("data/evaluation/novelty.json")
    assert rates["wrong"]["rate"] == pytest.approx(1 - right.mean(), abs=1 / 20)


def test_the_feature_maps_of_a_batch_are_gone_before_those_of_the_next_but_one():
    maps = []

    def respond(images):
        assert [x() for x in maps[:-1]] == [None] * len(maps[:-1])
        outputs = {name: np.zeros((len(images), 2)) for name in ("probabilities", "features", "feature_maps")}
        maps.append(weakref.ref(outputs["feature_maps"]))
        return outputs

    probabilities, features = predict(SimpleNamespace(predict=respond), np.zeros((10, 4)), 2, "")
    assert len(maps) == 5 and probabilities.shape == features.shape == (10, 2)


def test_the_temperature_of_each_model_calibrates_its_own_probabilities(run):
    scores = run(2)
    assert scores["frozen"]["calibrated_loss"] == pytest.approx(scores["frozen"]["loss"])  # its temperature is 1
    assert scores["finetuned"]["temperature"] == 2
    split = dataset.load("test")
    probabilities, _ = predict(saved_model.load("finetuned"), split.pixels, 7, "")
    of_truth = scale_probabilities(probabilities, 2)[np.arange(40), split.labels]
    assert scores["finetuned"]["calibrated_loss"] == pytest.approx(-np.log(of_truth).mean(), rel=1e-5)


def test_says_which_images_fine_tuning_gained_and_whether_that_is_significant(run, capsys):
    changed = run(2)["changed"]
    green = dataset.load("test").pixels[:][:, 0, 0, 1]
    assert changed["gained"] == ((green >= 20) & (green < 120)).sum() > 8 and changed["lost"] == 0
    assert changed["p_value"] == pytest.approx(2 * 0.5 ** changed["gained"], rel=1e-5)
    assert "the difference is more than noise, fine-tuned is better" in " ".join(capsys.readouterr().out.split())


def test_a_criterion_chooses_the_threshold_on_validation_for_each_model(run):
    scores = run(2, threshold="max_f1")
    assert scores["frozen"]["threshold"] != scores["finetuned"]["threshold"]
    split = dataset.load("validation")
    probabilities = predict(saved_model.load("finetuned"), split.pixels, 8, "")[0][:, 1]
    f1 = [
        2 * (split.labels[probabilities >= x] == 1).sum() / ((probabilities >= x).sum() + 20)
        for x in (scores["finetuned"]["threshold"], *np.unique(probabilities))
    ]
    assert f1[0] == max(f1)


def test_a_criterion_that_cannot_be_met_ends_in_one_line(run):
    with pytest.raises(UserError, match=r"precision>=0.999, but the highest precision that the frozen model reaches"):
        run(2, frozen_wrong=256, threshold="precision>=0.999")
    assert not Path("data/evaluation/metrics.json").exists()


def test_a_criterion_is_for_two_classes(run):
    with pytest.raises(UserError, match="max_f1, which is for two classes, but these are 3"):
        run(3, threshold="max_f1")


def test_a_model_below_the_minimum_ends_in_one_line_after_the_outputs_are_written(run):
    with pytest.raises(UserError, match=r"model's accuracy 0\.\d{4} is below evaluate.min_metrics.accuracy 0.999"):
        run(2, min_metrics={"accuracy": 0.999, "auc": 0})
    assert files.read_json("data/evaluation/metrics.json")["finetuned"]["accuracy"] < 0.999
