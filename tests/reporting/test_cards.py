import pytest

from stages.common.cli import UserError
from stages.reporting import cards
from tests.support import ROOT


@pytest.fixture
def card(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/birds").mkdir(parents=True)
    return tmp_path / "data/birds/card.yaml"


def test_the_card_beside_data_or_weights_is_found(card):
    card.write_text(
        "images: {title: Birds, description: 9 birds., licence: CC0}\nbase/a.h5: {description: A., licence: B}"
    )
    assert cards.find("data/birds/images") == cards.find("./data/birds/images/")
    assert cards.find("data/birds/images").title == "Birds"
    assert cards.find("data/birds/base/a.h5").description == "A."


@pytest.mark.parametrize(
    "path", ["data/birds/images/owls", "data/birds", "data/mine", "own.weights.h5", "/data/birds/images"]
)
def test_nothing_is_known_about_the_users_own(card, path):
    card.write_text("images: {description: 9 birds., licence: CC0}")
    assert cards.find(path) is None


@pytest.mark.parametrize("text", ["", "images: Birds", "images: {title: Birds}"])
def test_a_card_that_is_no_mapping_of_facts_is_named(card, text):
    card.write_text(text)
    with pytest.raises(UserError, match="^data/birds/card.yaml does not map paths to a description and a licence"):
        cards.find("data/birds/images")


@pytest.mark.parametrize("content", [b"images: [1", b"images: M\xfcller", b"images: {\nimages: {"])
def test_a_card_that_is_no_yaml_is_named(card, content):
    card.write_bytes(content)
    with pytest.raises(UserError, match=r"^data/birds/card.yaml is not valid YAML: line \d"):
        cards.find("data/birds/images")


@pytest.mark.parametrize("path", sorted(ROOT.glob("data/*/card.yaml")), ids=lambda path: path.parent.name)
def test_the_report_depends_on_every_card(path):
    assert f"{path.relative_to(ROOT)}," in (ROOT / "dvc.yaml").read_text()
