"""The report in a browser: nothing that matters lies outside the viewport, and no text is too small to read."""

import html
import json
import re
from pathlib import Path

import pytest

from stages import report
from stages.charts import base
from tests.reporting.support import MANY_CLASSES, TWO_CLASSES, write_run
from tests.support import dump_dom

WIDTHS = [360, 768, 1280]  # CSS pixels
# The frames have the origin of the page around them, whose script may look into them; the policy of the report stays.
WRAPPER = """<!DOCTYPE html>
<body>{frames}
<script>
function measure(frame) {{
  const page = frame.contentDocument, width = page.documentElement.clientWidth, problems = [];
  for (const details of page.querySelectorAll("details")) details.open = true;
  const name = (element) => `${{element.tagName}} ${{element.textContent.trim().slice(0, 60)}}`;
  const important = "h1, h2, h3, p, li, dt, dd, pre, figure, figcaption, caption, img, svg, th, td";
  for (const element of page.querySelectorAll(important)) {{
    const box = element.getBoundingClientRect();
    if (box.width && (box.left < -0.5 || box.right > width + 0.5)) {{
      problems.push(`outside, from ${{box.left}} to ${{box.right}}: ${{name(element)}}`);
    }}
  }}
  if (page.documentElement.scrollWidth > width) problems.push(`the page is ${{page.documentElement.scrollWidth}} wide`);
  for (const text of page.querySelectorAll("figcaption, caption, .interval, code")) {{
    const size = parseFloat(page.defaultView.getComputedStyle(text).fontSize);
    if (size < 9) problems.push(`${{size}} pixels: ${{name(text)}}`);
  }}
  for (const chart of page.querySelectorAll(".chart svg")) {{
    const size = {points} * chart.getBoundingClientRect().width / chart.viewBox.baseVal.width;
    if (size < 9) problems.push(`letters of ${{size}} pixels: ${{chart.getAttribute("aria-label")}}`);
  }}
  return {{ problems, tiles: page.querySelectorAll(".tile").length, figures: page.querySelectorAll("figure").length }};
}}
addEventListener("load", () => {{
  const views = Array.from(document.querySelectorAll("iframe"), measure);
  document.body.innerHTML = "<pre></pre>";
  document.querySelector("pre").textContent = JSON.stringify(views);
}});
</script>"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "classes", [TWO_CLASSES, MANY_CLASSES, ["x" * 60, "not " + "y" * 60]], ids=["two", "many", "long names"]
)
def test_all_that_matters_is_in_the_viewport_and_legible(workplace, classes):
    write_run(classes, per_class=6, separation=0.2)
    report.main()
    page = html.escape(Path("plots/report.html").read_text(encoding="utf-8"))
    frames = [f'<iframe style="width: {width}px; height: 800px" srcdoc="{page}"></iframe>' for width in WIDTHS]
    Path("wrapper.html").write_text(WRAPPER.format(frames="".join(frames), points=base.TEXT), encoding="utf-8")
    [views] = re.findall("<pre>(.*)</pre>", dump_dom(Path("wrapper.html")), re.DOTALL)
    views = json.loads(html.unescape(views))
    assert len(views) == len(WIDTHS) and all(view["tiles"] >= 7 and view["figures"] > 10 for view in views)
    assert [view["problems"] for view in views] == [[]] * len(WIDTHS)
