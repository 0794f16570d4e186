"""Writes the report of a run, a web page, and the model card, and prints the end of the run.

    python -m stages.report

Reads params.yaml, requirements.txt, data/*/card.yaml, and the metrics, tables and images of the other stages; writes
plots/report.html, one file that needs no network, and data/models/README.md, Markdown with YAML front matter as the
model hubs read it.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

from stages.common import cli, files, params
from stages.reporting import conclusions, model_card, next_steps, page, terminal_summary
from stages.reporting.run import Run


def main() -> None:
    run = Run.read(params.read(*params.Params.model_fields))
    found = conclusions.draw(run)
    steps = next_steps.find(run, found)
    with files.replacing(page="plots/report.html", card="data/models/README.md") as out:
        out.page.write_text(page.render(run, found, steps), encoding="utf-8")
        out.card.write_text(model_card.render(run, found), encoding="utf-8")
    terminal_summary.show(run, found, steps)


if __name__ == "__main__":
    cli.run(main)
