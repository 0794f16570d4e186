"""Opens the report in headless Chromium and checks it, with axe-core and without.

    dvc repro && python -m tests.benchmarks.page [PAGE...] [--shots FOLDER]

At 360 and 1280 pixels, in light and dark: no request to another address, nothing on the console, no broken image, no
sideways scrolling of the page, the skip link first at the Tab key, and no violation that axe-core calls serious or critical,
with everything folded out. Needs Node.js and Chromium; npm fetches playwright-core and axe-core into a scratch folder.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = ["playwright-core@1.65.1", "axe-core@4.14.1"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", metavar="PAGE", default=["plots/report.html"])
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="path of the browser")
    parser.add_argument("--shots", default="", help="folder for screenshots and a PDF of each page")
    arguments = parser.parse_args()
    if arguments.shots:
        Path(arguments.shots).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as packages:
        subprocess.run(
            ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", packages, *PACKAGES], check=True
        )
        script = Path(__file__).with_suffix(".mjs")
        pages = [str(Path(page).resolve()) for page in arguments.pages]
        result = subprocess.run(
            ["node", script, packages, arguments.chromium, arguments.shots, *pages],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    bad = 0
    for one in json.loads(result.stdout):
        problems = [f"request to {address}" for address in one["requests"]]
        problems += [f"on the console: {text}" for text in one["complaints"]]
        problems += [f"{one['broken']} broken images"] if one["broken"] else []
        problems += [f"{one['overflow']} pixels too wide"] if one["overflow"] > 0 else []
        problems += [] if one["skipLinkFirst"] else ["the Tab key does not reach the skip link first"]
        problems += [
            f"axe {x['impact']}: {x['id']}, {x['count']} times, such as {x['first']}"
            for x in one["violations"]
            if x["impact"] in ("serious", "critical")
        ]
        minor = [f"{x['id']} ({x['impact']})" for x in one["violations"] if x["impact"] not in ("serious", "critical")]
        bad += len(problems)
        print(
            f"{one['page']}, {one['width']} pixels, {one['colorScheme']}: {'; '.join(problems) or 'nothing wrong'}"
            + (f"; of less weight: {', '.join(minor)}" if minor else "")
        )
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
