"""Writes the report of a run, a web page, and the model card, and prints the end of the run.

    python -m stages.report

Reads params.yaml, requirements.txt, data/*/card.yaml, and the metrics, tables and images of the other stages; writes
plots/report.html, one file that needs no network, and data/models/README.md, Markdown with YAML front matter as the
model hubs read it.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

from stages.charts import base
from stages.common import cli, files, params
from stages.common.phases import PHASES
from stages.reporting import conclusions, figures, formatting, model_card, next_steps, terminal_summary
from stages.reporting.run import Run


def main() -> None:
    run = Run.read(params.read(*params.Params.model_fields))
    found = conclusions.draw(run)
    steps = next_steps.find(run, found)
    with files.replacing(page="plots/report.html", card="data/models/README.md") as out:
        page = formatting.template("report.html.jinja", autoescape=True).render(
            run=run,
            conclusions=found,
            steps=steps,
            charts=figures.charts(run),
            galleries=figures.galleries(run),
            COLOURS=base.CSS,
            PHASES=PHASES,
            EXPORTS=model_card.EXPORTS,
            SAME=conclusions.SAME,
            usage=model_card.USAGE,
            predict=next_steps.PREDICT,
        )
        out.page.write_text(page, encoding="utf-8")
        out.card.write_text(model_card.render(run, found), encoding="utf-8")
    terminal_summary.show(run, found, steps)


if __name__ == "__main__":
    cli.run(main)
