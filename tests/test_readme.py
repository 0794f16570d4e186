"""README.md and docs/: their commands run as they stand, in their order; sizes, links, opening sentences, questions.

The language of a block says where it runs: `sh` and `python` run here, in a clone with own images and a small network;
`bash` sets up an environment, which .ci/run does; `console` needs the internet, other machines or much time.
"""

import os
import re
import shutil
import subprocess

import pytest

from tests.support import OWN_IMAGES, OWN_SETTINGS, ROOT, Project, clone_small, identify, make_images, ran

DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "AGENTS.md", "CHANGELOG.md")),
    *DOCS,
    *sorted((ROOT / "data").glob("*/README.md")),
]
MOST_SECTIONS = 4  # sections of a page without links to them at its top
# In this order.
WITH_COMMANDS = ["README.md", "docs/results.md", "docs/serving.md", "docs/experiments.md", "docs/reproducibility.md"]


def blocks(page):
    """[(language, text)] of the fenced blocks of a page."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


def anchors(page):
    """The anchors that GitHub gives the headings of a page."""
    return set(map(slug, re.findall(r"^#+ (.*)$", without_code(page), re.MULTILINE)))


def without_code(page):
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def slug(title):
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def test_the_readme_is_one_page():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    assert len(text.split()) <= 1000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not re.match("https?:", link):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_the_readme_leads_to_every_page():
    for page in DOCS:
        assert f"(docs/{page.name}" in (ROOT / "README.md").read_text(), page.name


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_a_page_opens_with_what_it_answers_in_one_sentence(page):
    title, opening, _ = page.read_text().split("\n\n", 2)
    assert title.startswith("# ") and not opening.startswith(("For ", "-", "|", "#", "`"))
    assert opening.endswith(".") and ". " not in opening.replace("\n", " ")


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_a_long_page_begins_with_links_to_its_sections(page):
    opening, *sections = re.split(r"^## ", without_code(page), flags=re.MULTILINE)
    linked = re.findall(r"^- \[.*?\]\(#(.*?)\)", opening, re.MULTILINE)
    headings = [slug(section.partition("\n")[0]) for section in sections]
    assert linked == headings or not linked and len(headings) <= MOST_SECTIONS


# Pages with code for other places: tests/test_usage.py and tests/test_scaling.py run that of the first two; that of the
# others needs other packages.
CODE_FOR_OTHERS = ["docs/serving.md", "docs/scaling.md", "docs/images.md", "docs/unpacking.md"]


def test_the_language_of_a_block_says_where_it_runs():
    for page in ["README.md", *(f"docs/{page.name}" for page in DOCS)]:
        languages = {language for language, _ in blocks(page)}
        if page not in CODE_FOR_OTHERS:
            assert languages <= {"sh", "bash", "console", "python", "text", ""}, page
            assert page in WITH_COMMANDS or not languages & {"sh", "python"}, page


@pytest.fixture(scope="module")
def clone(grid_run, tmp_path_factory):
    """A fresh clone, with the images of a reader in data/mine; its git remote is a bare repository.

    Its cache is that of `grid_run`, which has had the same images and settings: what ran there does not run again.
    """
    folder = tmp_path_factory.mktemp("readme")
    source = clone_small(folder / "source", {}, OWN_SETTINGS | {"data.images": "data/digits/images"})
    source.commit()
    subprocess.run(["git", "clone", "-q", "--bare", source.folder, folder / "hosted.git"], check=True)
    shutil.rmtree(source.folder)
    project = fresh(folder, "reader")
    make_images(project.folder / "data/mine", OWN_IMAGES)
    shutil.copytree(grid_run.folder / ".dvc/cache", project.folder / ".dvc/cache")
    return project


def fresh(folder, name):
    project = Project(folder / name)
    subprocess.run(["git", "clone", "-q", folder / "hosted.git", project.folder], check=True)
    identify(project)
    return project


@pytest.fixture(scope="module")
def outputs(clone):
    """What the blocks of all pages print: {(page, first line): output}."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHARED", str(clone.folder.parent / "shared"))
        for page in WITH_COMMANDS:
            for language, text in blocks(page):
                first = text.splitlines()[0].split("  #")[0].rstrip()
                project = fresh(clone.folder.parent, "other") if "dvc pull" in first else clone
                if language == "sh":
                    found[page, first] = project.run("bash", "-euxc", text)
                elif language == "python" and page != "docs/serving.md":  # whose code tests/test_usage.py runs
                    found[page, first] = project.run("python", "-c", text)
    return found


@pytest.mark.slow
class TestCommands:
    """What the blocks of commands leave behind; the fixture `outputs` fails if one of them does."""

    def test_the_images_are_committed_and_nothing_else_of_them(self, clone, outputs):
        tracked = clone.run("git", "ls-files", "data").split()
        assert "data/mine.dvc" in tracked and not [path for path in tracked if path.startswith("data/mine/")]

    def test_settings_stay_and_can_be_seen_and_taken_back(self, outputs):
        output = outputs["README.md", "dvc exp run -S finetune.epochs=5"]
        table = output.partition("+ dvc params diff")[2].partition("+ dvc metrics diff")[0]
        assert re.search(r"finetune.epochs +4 +5\n", table)
        repro = output.partition("+ git checkout params.yaml")[2]
        assert set(ran(repro)) <= {"plot", "report"}, repro

    def test_another_clone_pulls_what_was_pushed_and_runs_nothing(self, outputs, clone):
        output = outputs["README.md", "dvc pull"]
        assert ran(output) == [] and "up to date" in output
        other = Project(clone.folder.parent / "other")
        assert (other.folder / "data/models/classifier/saved_model.pb").exists()
        assert other.run("git", "status", "--porcelain") == ""

    def test_what_was_registered_can_be_fetched_by_its_name(self, outputs, clone, tmp_path):
        elsewhere, hosted = Project(tmp_path), str(clone.folder.parent / "hosted.git")
        elsewhere.run("dvc", "artifacts", "get", hosted, "phone")
        elsewhere.run("dvc", "artifacts", "get", hosted, "classifier", "--rev", "v0.0.1", "-o", "model")
        assert {"float16.tflite", "int8.tflite", "labels.txt", "model.onnx"} <= set(os.listdir(tmp_path / "exported"))
        assert (tmp_path / "model/saved_model.pb").exists()

    def test_a_grid_is_drawn(self, outputs, clone):
        assert (clone.folder / "plots/sweep.png").exists()
        assert "Failed" not in clone.run("dvc", "queue", "status")
