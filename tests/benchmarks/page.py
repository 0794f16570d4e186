"""Opens the report and the pages beside it in headless Chromium and checks them, with axe-core and without.

    dvc repro && python -m tests.benchmarks.page [PAGE...] [--shots FOLDER]

At 360, 768, 1280 and 1920 pixels, in light and dark: no request to another address, nothing on the console, no broken
image, no horizontal overflow, the skip link is the first element that the Tab key reaches, an image enlarges and closes
by the keyboard, and axe-core finds no violation, and no contrast that it cannot tell, with all details open and in the
enlarged image. Needs Node.js and Chromium; npm fetches playwright-core and axe-core into a temporary folder.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PAGES = ["plots/report.html", "plots/review.html", "plots/try.html"]
PACKAGES = ["playwright-core@1.65.1", "axe-core@4.14.1"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", metavar="PAGE", default=PAGES)
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="path of the browser")
    parser.add_argument("--shots", default="", help="folder for screenshots and a PDF of each page")
    arguments = parser.parse_args()
    if arguments.shots:
        Path(arguments.shots).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as packages:
        install(packages)
        script = Path(__file__).with_suffix(".mjs")
        pages = [str(Path(page).resolve()) for page in arguments.pages]
        result = subprocess.run(
            ["node", script, packages, arguments.chromium, arguments.shots, *pages],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    problem_count = 0
    for view in json.loads(result.stdout):
        problems = find_problems(view)
        problem_count += len(problems)
        print(f"{view['page']}, {view['width']} pixels, {view['colorScheme']}: {'; '.join(problems) or 'no problems'}")
    sys.exit(problem_count > 0)


def read_options(text):
    """The options of a command with this docstring: chromium, and shots, the path of a folder that exists, or ""."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="path of the browser")
    parser.add_argument("--shots", default="", help="folder for screenshots")
    options = parser.parse_args()
    if options.shots:
        Path(options.shots).mkdir(parents=True, exist_ok=True)
        options.shots = str(Path(options.shots).resolve())
    return options


def install(folder):
    """Installs PACKAGES into a folder."""
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, *PACKAGES]
    subprocess.run(command, check=True)


def find_problems(view):
    """Returns in words what is wrong with a page at one size and colour scheme."""
    problems = [f"request to {address}" for address in view["requests"]]
    problems += [f"on the console: {text}" for text in view["messages"]]
    if view["broken"]:
        problems.append(f"{view['broken']} broken images")
    if view["overflow"] > 0:
        problems.append(f"{view['overflow']} pixels too wide")
    if not view["skipLinkFirst"]:
        problems.append("the Tab key does not reach the skip link first")
    if not view["enlarges"]:
        problems.append("an image does not enlarge and close by the keyboard")
    unclear = [x for x in view["incomplete"] if x["id"] == "color-contrast"]
    problems += [
        f"axe {x['impact']}: {x['id']}, {x['count']} times, such as {x['first']}: {x['why']}"
        for x in view["violations"] + unclear
    ]
    return problems


if __name__ == "__main__":
    main()
