"""Writes the scripts that draw the charts of `dvc plots show`, so that its page needs no network.

    python -m stages.vega

Writes plots/vega.js: Vega, Vega-Lite and vega-embed in one file, which .dvc/plots/page.html loads.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

import vl_convert

from stages.common import cli, files

VERSION = "5.21"  # version of Vega-Lite, the last one that the templates of DVC are written for


def main() -> None:
    with files.replacing(script="plots/vega.js") as out:
        out.script.write_text(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", VERSION), encoding="utf-8")


if __name__ == "__main__":
    cli.run(main)
