"""The page of `dvc plots show`: names of classes are text in it, whatever they hold."""

import html
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from stages import plot, vega
from stages.common import cli, files
from tests.support import MARKED_NAMES, PLAIN_NAMES, ROOT, dump_dom

NAMES = MARKED_NAMES + PLAIN_NAMES


@pytest.fixture
def page(workplace):
    """The page of a repository that has the chart of the confusion matrix alone, with every class."""
    Path("plots").mkdir()
    workplace.run("git", "init", "-q")
    shutil.copytree(ROOT / ".dvc/plots", ".dvc/plots")
    shutil.copy(ROOT / ".dvc/config", ".dvc")
    charts = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    Path("dvc.yaml").write_text(yaml.safe_dump({"plots": [chart for chart in charts if "Confusion matrix" in chart]}))
    table = pd.DataFrame({"path": [f"{name}/1.jpg" for name in NAMES], "actual": NAMES, "predicted": NAMES})
    files.write_csv(plot.for_dvc(table), Path("plots/confusion.csv"))
    workplace.run("dvc", "plots", "show")
    return Path("dvc_plots/index.html")


def test_nothing_in_a_name_ends_the_script_of_the_chart(page):
    [spec] = re.findall(r"var spec = (.*?);\s*vegaEmbed\(", page.read_text(encoding="utf-8"), re.DOTALL)
    shown = [row["actual"].replace("\u2060", "") for row in json.loads(spec)["data"]["values"]]
    assert shown == [cli.printable(name) for name in NAMES]
    assert not re.search("<[a-z/!]", spec, re.IGNORECASE)


@pytest.mark.slow
def test_a_browser_shows_every_name_as_it_is(page):
    vega.main()
    dom = dump_dom(page)
    body = dom[dom.index("<body") :]
    labels = {html.unescape(text).replace("\u2060", "") for text in re.findall("<text[^>]*>([^<]*)</text>", body)}
    assert set(map(cli.printable, NAMES)) <= labels
    chart = {"body", "div", "script", "svg", "g", "path", "line", "text", "details", "summary", "circle", "a", "form"}
    assert set(re.findall(r"<(\w+)", re.sub("<script.*?</script>", "", body, flags=re.DOTALL))) <= chart
