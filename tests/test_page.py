"""The report in a browser: nothing that matters lies outside the viewport, no text is too small to read, its script."""

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


# Clicks as a reader would, in a browser with a clipboard, in one without, and in one that refuses to copy.
CLICKS = """<!DOCTYPE html>
<body><iframe style="width: 1280px; height: 800px" srcdoc="{page}"></iframe>
<script>
addEventListener("load", async () => {{
  const view = document.querySelector("iframe").contentWindow, page = view.document, found = {{}};
  const image = page.querySelector("main .gallery img"), dialog = page.querySelector("dialog");
  const button = image.closest("button");
  button.click();
  const larger = dialog.querySelector("img").getBoundingClientRect();
  found.enlarged = dialog.open && dialog.querySelector("img").src === image.src && larger.height > image.height;
  const caption = dialog.querySelector("figcaption"), below = image.closest("figure").querySelector("figcaption");
  found.caption = caption.textContent === below.textContent;
  caption.click();
  found.selectable = dialog.open;
  dialog.querySelector("button").click();
  found.closed = !dialog.open;
  const commands = page.querySelectorAll("pre"), copies = page.querySelectorAll("pre > .copy");
  const count = (selector) => page.querySelectorAll(selector).length;
  found.all = commands.length === copies.length && count("main img") === count(".enlarge");
  const command = commands[0].querySelector("code").textContent, copied = [];
  const clipboard = (value) => Object.defineProperty(view.navigator, "clipboard", {{ value, configurable: true }});
  const press = async () => {{
    copies[0].click();
    await new Promise((resolve) => setTimeout(resolve, 50));
    return page.querySelector("[role=status]").textContent;
  }};
  clipboard({{ writeText: async (text) => copied.push(text) }});
  found.clipboard = await press() === "Copied" && copied[0] === command;
  clipboard(undefined);
  page.execCommand = () => copied.push(page.getSelection().toString());
  found.selection = await press() === "Copied" && copied[1] === command;
  page.execCommand = () => false;
  found.refused = (await press()).startsWith("Not copied, but selected");
  document.body.innerHTML = "<pre></pre>";
  document.querySelector("pre").textContent = JSON.stringify(found);
}});
</script>"""


@pytest.mark.slow
def test_images_enlarge_and_commands_are_copied(workplace):
    write_run(TWO_CLASSES, separation=0.2)
    report.main()
    page = html.escape(Path("plots/report.html").read_text(encoding="utf-8"))
    Path("clicks.html").write_text(CLICKS.format(page=page), encoding="utf-8")
    [found] = re.findall("<pre>(.*)</pre>", dump_dom(Path("clicks.html")), re.DOTALL)
    found = json.loads(html.unescape(found))
    assert len(found) == 8 and [name for name, right in found.items() if not right] == []
