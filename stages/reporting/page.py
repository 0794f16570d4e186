"""The report as a web page: the template, filled with the numbers and figures of a run, and its script."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from stages.charts import base
from stages.common import result_tables
from stages.common.phases import PHASES
from stages.reporting import conclusions, figures, formatting, model_card, next_steps
from stages.reporting.conclusions import Conclusions
from stages.reporting.next_steps import Step
from stages.reporting.run import Run

# Finds the commit or experiment of DVC that first has a hash in its dvc.lock. Later lines are commits that drop it.
FIND = (
    "git log --all --topo-order --reverse -S{} --decorate-refs='refs/exps/??/*' --format='%h %cs %s %D' -- dvc.lock "
    "| head -n 1"
)


def render(run: Run, found: Conclusions, steps: Sequence[Step]) -> str:
    """Returns the page as HTML."""
    script, script_hash = formatting.script("report.js")
    identity = run_id()
    return formatting.template("report.html.jinja", autoescape=True).render(
        run=run,
        conclusions=found,
        steps=steps,
        charts=figures.charts(run),
        galleries=figures.galleries(run),
        script=script,
        script_hash=script_hash,
        run_id=identity,
        find=FIND.format(identity),
        COLOURS=base.CSS,
        PHASES=PHASES,
        EXPORTS=model_card.EXPORTS,
        SAME=conclusions.SAME,
        CERTAIN=result_tables.CERTAIN,
        usage=model_card.USAGE,
        predict=next_steps.PREDICT,
    )


def run_id() -> str:
    """Returns the first 12 hexadecimal digits of the MD5 of the table of predictions, which dvc.lock holds.

    The page cannot have the hash of its commit: as an output in dvc.lock, it must be the same in every commit.
    """
    return hashlib.md5(Path(result_tables.PREDICTIONS).read_bytes(), usedforsecurity=False).hexdigest()[:12]
