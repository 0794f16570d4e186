"""The report, from made-up results of the other stages."""

import base64
import hashlib
import io
import re
import subprocess
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages import report
from stages.common import cli, files
from stages.reporting import conclusions, figures, page as report_page
from stages.statistics import coverage
from tests.reporting.support import (
    MANY_CLASSES,
    TWELVE_CLASSES,
    TWO_CLASSES,
    change,
    finding,
    read_run,
    write,
    write_run,
)
from tests.support import MARKED_NAMES

VOID = ("meta", "link", "img", "path", "circle", "use", "rect")  # elements without an end tag


class Page(HTMLParser):
    """The report: its text, and its elements as lists of tag, attributes and the text up to the next tag."""

    def __init__(self):
        super().__init__()
        self.html = Path("plots/report.html").read_text(encoding="utf-8")
        self.text = " ".join(self.html.split())
        self.elements, self.open = [], []
        self.feed(self.html)
        assert self.open == [], "elements that are not closed"

    def handle_starttag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.elements:
            self.elements[-1][2] += data

    def all(self, *tags):
        """The elements of these tags."""
        return [element for element in self.elements if element[0] in tags]

    def attributes(self, name, *tags):
        """The values of an attribute, of all elements or of those of these tags, where they have it."""
        return [a[name] for tag, a, _ in self.elements if name in a and (not tags or tag in tags)]


def write_page():
    report.main()
    return Page()


@pytest.fixture(params=[TWO_CLASSES, TWELVE_CLASSES, MANY_CLASSES], ids=["two", "twelve", "many"])
def page(workplace, request):
    write_run(request.param, per_class=4, separation=0.2)
    return write_page()


def test_the_page_is_sound_whatever_the_number_of_classes(page):
    assert page.attributes("lang", "html") == ["en"] and len(page.all("h1")) == 1 and len(page.all("main")) == 1
    levels = [int(tag[1]) for tag, _, _ in page.all("h1", "h2", "h3", "h4")]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    [policy] = [a["content"] for _, a, _ in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    [script] = re.findall("<script>(.*?)</script>", page.html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "Copy" in script and policy.endswith(f"; script-src 'sha256-{digest}'")


def test_links_and_labels_lead_to_elements_of_the_page(page):
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    links = page.attributes("href", "a") + page.attributes("xlink:href", "use")
    assert links.count("review.html") == 2  # a page beside this one: from mistakes, and from doubtful labels
    assert links.count("try.html") == 1
    links = [link for link in links if link not in ("review.html", "try.html")]
    assert len(page.attributes("href", "a")) == 21 and {link.removeprefix("#") for link in links} <= set(ids)
    assert set(page.attributes("aria-labelledby")) <= set(ids)


def test_every_chart_is_described_in_words_and_every_table_has_a_caption_and_scopes(page):
    charts = [attributes for _, attributes, _ in page.all("svg") if attributes.get("class") != "whisker"]
    perfect = files.read_json("data/evaluation/metrics.json")["finetuned"]["auc"] == 1  # without two charts of curves
    assert len(charts) == (7 if perfect else 9)
    assert all(chart["role"] == "img" and len(chart["aria-label"]) > 40 for chart in charts)
    assert all(attributes["alt"] and attributes["width"] for _, attributes, _ in page.all("img"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert len(page.attributes("scope", "th")) == len(page.all("th"))


def test_images_keep_the_aspect_ratio_of_their_files(workplace):
    write_run(TWO_CLASSES, separation=0.2)
    html = write_page().html
    mistakes = html[html.index('id="mistakes"') : html.index('id="confusion"')]
    assert set(re.findall(r'width="(\d+)" height="(\d+)"', mistakes)) == {("8", "4")}


def test_the_conclusions_come_first_and_mistakes_before_training(workplace):
    write_run(TWO_CLASSES, per_class=20)
    html = write_page().html
    conclusions = ["<h1", "Which model is exported?", "May int8 be used?", "What to do next"]
    places = [html.index(text) for text in [*conclusions, 'id="mistakes"', 'id="training"']]
    assert places == sorted(places)
    assert "; python -m stages.tools.relabel ~/Downloads/corrections.csv &amp;&amp; dvc repro" in html  # of a step


def test_two_reports_can_be_told_apart(workplace):
    write_run(TWO_CLASSES)
    workplace.set({"data.images": "data/mine", "finetune.learning_rate": 0.00003})
    page = write_page()
    header = page.html[: page.html.index("<main")]
    assert "data/mine" in header and read_run().images_hash in header
    assert "finetune.learning_rate: 0.00003" in header and "image_size" not in header


def test_nothing_is_loaded_from_anywhere(workplace):
    write_run(TWO_CLASSES)
    page = write_page()
    tags = {tag for tag, _, _ in page.elements} - {"a"}
    loaded = [x for name in ("src", "srcset", "href", "data", "poster") for x in page.attributes(name, *tags)]
    assert loaded and all(address.startswith("data:") for address in loaded)
    assert all(address.startswith("#") for address in page.attributes("xlink:href"))
    [[_, _, style]] = page.all("style")
    assert "url(" not in style and "@import" not in style
    assert not page.all("iframe", "object", "form")
    assert [attributes for _, attributes, _ in page.all("script")] == [{}]


def test_the_page_states_how_many_test_images_are_right(workplace):
    scores = write_run(TWO_CLASSES, per_class=20)
    right = round(scores["finetuned"]["accuracy"] * 40)
    assert f"{right} of 40 test images are predicted correctly" in write_page().text


@pytest.mark.parametrize(("rate", "labels"), [(None, 0), (0.0, 0), (0.0, 1), (0.02, 3)])
def test_the_label_audit_has_one_sentence_on_the_page_and_on_the_card(workplace, rate, labels):
    write_run(TWO_CLASSES)
    text = finding(labels, rate, 80)
    change("data/audit/summary.json", label_error_rate=rate, finding=text)
    samples = {name: values[:labels] for name, values in files.read_arrays("data/audit/samples.npz").items()}
    write(
        {"data/audit/labels.csv": files.read_csv("data/audit/labels.csv")[:labels], "data/audit/samples.npz": samples}
    )
    assert text in write_page().text.replace("&#39;", "'")
    assert f"The label audit: {text}" in Path("data/models/README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("agreement", [1.0, 0.6])
def test_page_and_card_have_the_same_sentences(workplace, agreement):
    write_run(TWO_CLASSES, per_class=20, separation=0.2)
    exports = files.read_json("data/models/exported/comparison.json")
    exports["int8"]["agreement"] = agreement
    write({"data/models/exported/comparison.json": exports})
    run = read_run()
    found = conclusions.draw(run)
    page = " ".join(re.sub("<[^>]*>", "", write_page().html).split())
    card = " ".join(Path("data/models/README.md").read_text(encoding="utf-8").split())
    assert found.int8.startswith("int8 may be used" if agreement == 1 else "Do not use int8")
    shared = ("headline", "doubted", "exported_model", "kept_weights", "overfitting", "int8")
    sentences = [run.audit.finding, *(getattr(found, name) for name in shared)]
    assert [text for text in sentences if text not in card or text not in page] == []
    assert f"{found.mistakes} {found.doubted}".strip() in page


@pytest.mark.parametrize("classes", [TWO_CLASSES, TWELVE_CLASSES, MANY_CLASSES])
def test_page_and_card_say_how_often_prediction_sets_hold_the_true_class(workplace, classes):
    scores = write_run(classes)["finetuned"]
    page, card = write_page().text, Path("data/models/README.md").read_text(encoding="utf-8")
    for text in (page, card):
        if len(classes) == 2:
            assert "rediction sets" not in text
        else:
            assert coverage.describe(scores) in text


@pytest.mark.parametrize(("int8", "float16", "name"), [(1, 1, "int8"), (0.55, 1, "float16"), (0.55, 0.6, "SavedModel")])
def test_the_smallest_file_is_one_that_agrees_wherever_it_is_named(workplace, int8, float16, name):
    write_run(TWO_CLASSES, per_class=20)
    exports = files.read_json("data/models/exported/comparison.json")
    for key, agreement in {"int8": int8, "float16": float16, "onnx": float16}.items():
        exports[key]["agreement"] = agreement
    write({"data/models/exported/comparison.json": exports})
    [tile] = [text for tag, _, text in write_page().all("dt") if text.startswith("Smallest file")]
    assert name in tile
    card = Path("data/models/README.md").read_text(encoding="utf-8")
    assert ("Do not use int8 unchecked" in card) == (int8 < 1)


def test_the_flagged_slice_comes_before_those_of_the_lowest_accuracy(workplace):
    write_run(TWO_CLASSES)
    page = write_page()
    html = page.html[page.html.index('id="slices"') : page.html.index('id="uncertain"')]
    found = re.findall(r"<bdi>(dark|camera \d\d)</bdi>", html)
    assert found == ["dark", *(f"camera {k:02}" for k in range(11, 2, -1))]
    assert "On 1 of 13 slices" in html and html.count("less accurate</span>") == 1 and "(12.5 to 60)" in html


def test_without_slices_the_page_says_so(workplace):
    write_run(TWO_CLASSES)
    write({"data/evaluation/slices.csv": files.read_csv("data/evaluation/slices.csv")[:0]})
    assert "There are too few test images for slices." in write_page().text


def test_images_of_one_size_need_no_chart_of_sizes(workplace):
    write_run(TWO_CLASSES)
    assert "Width and height of the original images" in write_page().text
    change("data/splits/overview.npz", sizes=np.full((4, 2), 30))
    assert "Width and height of the original images" not in write_page().text


def test_a_frozen_model_that_was_kept_stands_once(workplace):
    write_run(TWO_CLASSES)
    change("data/training/finetune.json", model="frozen")
    text = write_page().text
    assert "The frozen model of epoch 2 is exported, as the fine-tuned model of epoch 3" in text
    assert "Accuracy: frozen, exported" in text and "Accuracy: frozen<" not in text


def test_long_tables_fold_and_begin_with_the_worst_class(workplace):
    write_run(MANY_CLASSES, per_class=4)
    html = write_page().html
    assert html.count("The other 10 classes") == 3  # of their numbers of images, of their images, and of their scores
    worst = read_run().worst_first
    scores = html[html.index('id="per-class"') : html.index('id="per-class-others"')]
    assert f"<bdi>{worst[0]}</bdi>" in scores and f"<bdi>{worst[20]}</bdi>" not in scores


def test_names_are_text_whatever_they_hold(workplace):
    write_run(["<script>alert(1)</script>", "a|b `c` *d* [e](f) \u202eevil", "NA"], per_class=12, separation=0.1)
    page = write_page()
    assert len(page.all("script")) == 1 and "&lt;script&gt;alert(1)&lt;/script&gt;" in page.html
    assert "\u202e" not in page.html and r"\u202e" in page.html
    assert "<bdi>NA</bdi>" in page.html
    assert r"a/\udcff.jpg" in page.html or r"a/\xff.jpg" in page.html  # a file name that is no UTF-8
    assert "cut off &lt;here&gt;" in page.html


def test_marks_in_names_of_classes_files_and_folders_add_no_element_and_no_attribute(workplace):
    def shapes():
        elements = write_page().elements
        return {(tag, name) for tag, attributes, _ in elements for name in [None, *attributes]}

    write_run([f"kind {k}" for k in range(len(MARKED_NAMES))], per_class=4, separation=0.2)
    expected = shapes()
    write_run(MARKED_NAMES, per_class=4, separation=0.2)  # whose files lie in folders of the same names
    table = files.read_csv("data/evaluation/slices.csv")
    table["attribute"] = table["value"] = [*MARKED_NAMES[: len(table)]]
    write({"data/evaluation/slices.csv": table})
    folder = "data/" + " ".join([*MARKED_NAMES[:6], "\x1b[31m \u202e \u200b"]).replace("/", "")
    workplace.set({"data.images": folder, "model.weights": f"{MARKED_NAMES[0]}.weights.h5"})
    assert shapes() == expected
    texts = {text for _, _, text in Page().elements}
    assert set(map(cli.printable, MARKED_NAMES)) <= texts
    paths = files.read_csv("data/audit/labels.csv")["path"]
    assert all(any(cli.printable(path) in text for text in texts) for path in [*paths, folder])
    assert not set(Page().html) & set("\x1b\u202e\u200b")


def test_without_a_mistake_the_page_says_so(workplace):
    scores = write_run(TWO_CLASSES, separation=20)
    assert scores["finetuned"]["accuracy"] == 1
    html = write_page().html
    assert "No image was misclassified." in html
    assert "All 16 test images are predicted correctly." in html
    assert "Both models are right on the same 16 test images." in html


def test_the_same_bytes_twice(workplace):
    write_run(TWELVE_CLASSES)
    outputs = [Path("plots/report.html"), Path("data/models/README.md")]
    report.main()
    first = [path.read_bytes() for path in outputs]
    report.main()
    assert [path.read_bytes() for path in outputs] == first


def test_an_output_that_is_missing_leaves_no_page(workplace):
    write_run(TWO_CLASSES)
    Path("data/audit/labels.csv").unlink()
    with pytest.raises(cli.UserError, match="^data/audit/labels.csv is missing: run `dvc repro` first.$"):
        report.main()
    assert not Path("plots/report.html").exists() and not Path("data/models/README.md").exists()


def test_every_parameter_and_the_installed_versions_are_shown(workplace):
    write_run(TWO_CLASSES)
    page = write_page()
    parameters = read_run().settings
    assert "finetune.early_stopping.patience" in parameters
    assert set(parameters) <= {text for _, _, text in page.all("code")}
    cells = [text.strip() for _, _, text in page.all("th", "td")]
    assert {"0.00002", "Jinja2", "3.1.6"} <= set(cells) and "absl-py" not in cells


def section(html, name):
    return html[html.index(f'<section id="{name}"') :].partition("</section>")[0]


def commit(lock, name, parents=(), branch=None):
    """Commits a dvc.lock with the hash of the predictions `lock`, and points a reference at it."""
    digest = hashlib.md5(lock).hexdigest()
    Path("dvc.lock").write_text(f"stages:\n  evaluate:\n    outs:\n    - md5: {digest}\n")
    subprocess.run(["git", "add", "dvc.lock"], check=True)
    who = ["-c", "user.name=Test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *who, "commit", "-qm", name], check=True)
    if branch:
        subprocess.run(["git", "update-ref", branch, "HEAD"], check=True)
        subprocess.run(["git", "reset", "-q", "--hard", "HEAD~1"], check=True)


def test_the_command_on_the_page_finds_the_commit_or_the_experiment_of_the_run(workplace):
    write_run(TWO_CLASSES)
    predictions = Path("plots/predictions.csv")
    runs = [predictions.read_bytes(), b"second", b"third"]
    subprocess.run(["git", "init", "-q"], check=True)
    commit(b"before", "before")
    commit(runs[0], "first")
    commit(runs[1], "tried", branch="refs/exps/ab/cdef/calm-fish")
    subprocess.run(["git", "update-ref", "refs/exps/exec/EXEC_HEAD", "HEAD"], check=True)
    commit(runs[2], "third")
    answers = []
    for run in runs:
        predictions.write_bytes(run)
        command = report_page.FIND.format(report_page.run_id())
        answers.append(subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True).stdout)
    patterns = [
        r"\w+ 20[\d-]+ first \n",
        r"\w+ 20[\d-]+ tried refs/exps/ab/cdef/calm-fish\n",
        r"\w+ 20[\d-]+ third .*\n",
    ]
    assert all(re.fullmatch(pattern, answer) for pattern, answer in zip(patterns, answers, strict=True)), answers


def test_the_page_has_the_id_of_the_run_and_the_command_that_finds_it(workplace):
    write_run(TWO_CLASSES)
    page = write_page()
    identity = hashlib.md5(Path("plots/predictions.csv").read_bytes()).hexdigest()[:12]
    [command] = [text for _, _, text in page.all("code") if text.startswith("git log")]
    assert f"-S{identity} " in command and page.html.count(f"<code>{identity}</code>") == 2


@pytest.mark.slow
def test_the_id_of_the_run_stands_in_dvc_lock(default_run):
    page = (default_run.folder / "plots/report.html").read_text(encoding="utf-8")
    [identity] = re.findall("<code>([0-9a-f]{12})</code> ", page)
    assert f"md5: {identity}" in (default_run.folder / "dvc.lock").read_text()


@pytest.mark.parametrize(("most", "text"), [(200, None), (5, "5 mistakes are shown"), (1, "1 mistake is shown")])
def test_all_mistakes_are_shown_up_to_a_maximum_and_the_others_are_counted(workplace, monkeypatch, most, text):
    monkeypatch.setattr(figures, "MISTAKES", most)
    write_run(TWELVE_CLASSES, separation=0.2)  # more mistakes than fit into the sheets of the stage plot
    mistakes = read_run().mistakes
    assert len(mistakes) > 12
    html = section(write_page().html, "mistakes")
    shown = re.findall(r'<figcaption>.*?<code class="path">(.*?)</code>', html, re.DOTALL)
    assert shown == mistakes["path"][:most].tolist()
    if text:
        assert f"{text}; plots/predictions.csv has the other\n{len(mistakes) - most}." in html
    else:
        assert "plots/predictions.csv" not in html


def test_predictions_of_another_test_split_end_in_one_line(workplace):
    write_run(TWO_CLASSES)
    write({"plots/predictions.csv": files.read_csv("plots/predictions.csv")[:-1]})
    with pytest.raises(cli.UserError, match="^plots/predictions.csv is of another test split: run `dvc repro` first.$"):
        report.main()


@pytest.mark.parametrize(
    ("size", "shown", "whole"), [((40, 20), (4, 2), (8, 4)), ((20, 20), (4, 4), (8, 8)), ((3, 300), (1, 4), (1, 8))]
)
def test_images_are_shown_small_and_can_be_enlarged_to_all_their_pixels(monkeypatch, size, shown, whole):
    monkeypatch.setattr(figures, "SIDE", 4)
    image = figures.thumbnail(np.zeros((8, 8, 3), np.uint8), size)
    assert (image["width"], image["height"]) == shown
    with Image.open(io.BytesIO(base64.b64decode(image["source"].partition(",")[2]))) as webp:
        assert webp.size == whole


def test_sections_that_would_say_nothing_are_a_sentence(workplace):
    write_run(TWO_CLASSES, separation=20)
    slices = files.read_csv("data/evaluation/slices.csv").assign(accuracy=1, flagged=False)
    history = files.read_csv("data/training/train_frozen.csv")[1:]
    bins = files.read_csv("data/evaluation/reliability.csv")[::2]
    write(
        {
            "data/evaluation/slices.csv": slices,
            "data/training/train_frozen.csv": history,
            "data/evaluation/reliability.csv": bins,
            "plots/predictions.csv": files.read_csv("plots/predictions.csv").assign(probability=0.999),
        }
    )
    curve = files.read_json("data/audit/learning_curve.json")
    change("data/audit/learning_curve.json", sizes=curve["sizes"][:1], accuracy=[0.7], intervals=[[0.6, 0.8]])
    none = {"rows": np.zeros(0, int), "pixels": np.zeros((0, 8, 8, 3), np.uint8), "sizes": np.zeros((0, 2), int)}
    change("data/evaluation/samples.npz", **{f"uncertain_{name}": values for name, values in none.items()})
    page = write_page()
    charts = [attributes for _, attributes, _ in page.all("svg") if attributes.get("class") != "whisker"]
    assert len(charts) == 2  # the confusion matrix, and the sizes of the images
    assert "<table" not in section(page.html, "slices") and "right on all images of all 13 slices" in page.text
    assert "None: each of the 16 test images is predicted with a probability of 99% or more." in page.text
    assert "the areas under all curves are 100%" in page.text
    assert page.html.count('<caption id="history">') == 1


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ([[224, 224]], "224 × 224 pixels, as the model sees them</dd>"),
        ([[300, 300]], "300 × 300 pixels; resized to a square of 224 × 224 pixels</dd>"),
        ([[64, 64], [128, 128]], "64 × 64 to 128 × 128 pixels; resized to a square of 224 × 224 pixels</dd>"),
        ([[40, 20]], "40 × 20 pixels; resized to a square of 224 × 224 pixels without keeping the aspect ratio</dd>"),
    ],
)
def test_sizes_say_only_what_was_done_to_them(workplace, sizes, text):
    write_run(TWO_CLASSES)
    change("data/splits/overview.npz", sizes=np.array(sizes * 4), labels=np.arange(4 * len(sizes)) % 2)
    assert text in write_page().text


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({"changed": 3, "confirmed": 1200, "dropped": 0, "unsure": 1}, ": 3 changed, 1,200 confirmed, 1 unsure</dd>"),
        ({"changed": 0, "dropped": 2}, ": 2 dropped</dd>"),
        ({"changed": 0}, None),
        ({}, None),
    ],
)
def test_applied_corrections_stand_with_the_data(workplace, counts, text):
    write_run(TWO_CLASSES)
    change("data/splits/summary.json", corrections=counts)
    html = section(" ".join(write_page().html.split()), "data")
    assert f"of labels, by <code>data.corrections</code>{text}" in html if text else "Corrections" not in html


def test_the_page_and_the_card_say_how_many_images_are_flagged(page, request):
    sentence = conclusions.draw(read_run()).novelty
    assert page.text.count(sentence) == 1
    assert sentence in Path("data/models/README.md").read_text(encoding="utf-8")
    assert "foreign: portraits" in page.text
    assert ("images of classes that it never saw" in page.text) == (len(read_run().classes) > 2)


def test_without_enough_validation_images_the_page_says_that_the_model_cannot_tell(workplace):
    write_run(TWELVE_CLASSES)
    finding = "The model cannot tell which images are unlike its training images."
    write(
        {
            "data/evaluation/novelty.json": dict.fromkeys(("answered", "wrong", "foreign", "unseen"))
            | {"kinds": {}, "finding": finding}
        }
    )
    page = write_page()
    assert page.text.count(finding) == 2 and "is above 1" not in page.text
    assert finding in Path("data/models/README.md").read_text(encoding="utf-8")
