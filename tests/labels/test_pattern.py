import signal
import time

import pandas as pd
import pytest

from stages.common import params
from stages.common.cli import UserError
from stages.labels import pattern, sources
from stages.labels.files import ImageFile
from stages.splits import groups
from tests.labels.support import touch

SLOW = "(a|a)*b"  # doubles its time with each letter
NAME = "a" * 24


@pytest.fixture
def short_limit(monkeypatch):
    """A limit of a twentieth of a second."""
    monkeypatch.setattr(pattern, "LIMIT", 0.05)


def test_finds_the_group_in_each_text():
    texts = ["cat_12.jpg", "dog_1.jpg", "bird.jpg", "_7"]
    assert pattern.find("data.label_pattern", r"^(.+)?_\d+", texts) == ["cat", "dog", "", ""]
    assert pattern.find("data.label_pattern", r"^(.+)?_\d+", []) == []


@pytest.mark.parametrize("slow", [SLOW, "(a+)+b", "(?:a+)+(b)"])
def test_a_pattern_that_backtracks_is_named_with_the_text(short_limit, slow):
    began = time.process_time()
    with pytest.raises(UserError) as caught:
        pattern.find("data.label_pattern", slow, ["b", NAME])
    assert str(caught.value).startswith(f"data.label_pattern {slow} takes more than 0.05 seconds on {NAME}: ")
    assert time.process_time() - began < 1


def test_what_takes_long_in_all_is_no_error(short_limit):
    began = time.process_time()
    while time.process_time() - began < 2 * pattern.LIMIT:
        pattern.find("data.label_pattern", SLOW, ["a" * 10] * 40)


def test_the_timer_ends_with_the_search(short_limit):
    before = signal.getsignal(signal.SIGVTALRM)
    for texts in (["b"], [NAME]):
        try:
            pattern.find("data.label_pattern", SLOW, texts)
        except UserError:
            pass
        assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0) and signal.getsignal(signal.SIGVTALRM) == before


def test_label_patterns_and_group_patterns_have_the_limit(tmp_path, short_limit):
    data = params.Data(images=str(touch(tmp_path, f"{NAME}.jpg", "b.jpg")), label_pattern=SLOW)
    with pytest.raises(UserError, match="data.label_pattern .* takes more than"):
        sources.find(data)
    manifest = pd.DataFrame({"path": [NAME], "class": ["a"], "duplicates": [0]})
    with pytest.raises(UserError, match="data.group_pattern .* takes more than"):
        groups.add_columns(manifest, [ImageFile(NAME, "a")], params.Data(group_pattern=SLOW))
