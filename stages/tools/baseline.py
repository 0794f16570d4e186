"""The baseline of experiments: the run of the committed settings, and what other settings gain over it."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

from stages.common import cli
from stages.common.phases import FINETUNE
from stages.statistics import paired_test
from stages.tools import experiments

COMMIT = "HEAD"  # the revision of the committed settings


def runs() -> list[str]:
    """Returns the revisions besides experiments whose results are known: those of the commit and of the workspace."""
    return [revision for revision in (COMMIT, experiments.WORKSPACE) if experiments.is_run(revision)]


def is_tested(revision: str) -> bool:
    """Whether the test scores in a revision are those of its fine-tuned model, by dvc.lock."""
    hashes, model = experiments.hashes(revision), FINETUNE.saved_model
    return hashes.get("evaluate", {}).get(model) == hashes["finetune"][model]


def arguments(settings: Mapping[str, Any]) -> str:
    """Returns settings as the arguments KEY=VALUE of a tool, quoted for a shell."""
    return " ".join(map(shlex.quote, _texts(settings)))


def options(settings: Mapping[str, Any]) -> str:
    """Returns settings as the options -S KEY=VALUE of `dvc exp run`, quoted for Hydra and a shell if need be."""
    plain = [text if re.fullmatch(r"[\w.=/-]+", text) else experiments.override(text) for text in _texts(settings)]
    return " ".join(f"-S {shlex.quote(text)}" for text in plain)


def _texts(settings: Mapping[str, Any]) -> list[str]:
    values = {key: f"[{','.join(value)}]" if isinstance(value, list) else value for key, value in settings.items()}
    return [f"{key}={value}" for key, value in values.items()]


def describe_gain(best: Mapping[str, float], baseline: Mapping[str, float], images: int) -> str:
    """Says in words what the validation of one run, val_loss and val_accuracy, gains over the baseline's.

    Both were validated on the same images, their number. How many predictions differ is not known, only by how many
    more are right: the p-value is the lowest possible, that of as many gained and none lost.
    """
    difference = round((best["val_accuracy"] - baseline["val_accuracy"]) * images)
    text = f"Validation loss {best['val_loss']:.3g} against {baseline['val_loss']:.3g} of the committed settings, and "
    if difference == 0:
        return f"{text}as many of the {images} validation images right: in accuracy, that is within noise."
    amount = f"{cli.counted(abs(difference), 'image')} {'more' if difference > 0 else 'fewer'} of {images} right"
    if 2 * 0.5 ** abs(difference) >= paired_test.SIGNIFICANCE:
        return f"{text}{amount} in validation: in accuracy, that is within noise."
    return f"{text}{amount} in validation: perhaps more than noise, but the best was chosen on these very images."


def advise_repeats(name: str) -> str:
    """Returns the commands that tell whether an experiment's settings help, with several seeds and the paired test."""
    return (
        "Whether it is better on other splits, several seeds and the paired test say:\n"
        f"    {repeat('committed', COMMIT, name)}\n"
        f"    {repeat('best', name, name)}\n"
        "    python -m stages.tools.compare committed best"
    )


def repeat(name: str, revision: str, changed: str) -> str:
    """Returns the command that repeats the settings of a revision, whatever the workspace's are, under a name.

    It has the parameters that an experiment, `changed`, or the workspace changes.
    """
    keys = changes(changed) | changes(experiments.WORKSPACE)
    settings = experiments.parameters(revision)
    own = {key: settings[key] for key in keys if key in settings}
    return f"python -m stages.tools.repeat_seeds {name} {arguments(own)}".rstrip()


def changes(revision: str) -> dict[str, Any]:
    """Returns the parameters besides the seed, by dotted name, that differ from the committed ones in a revision."""
    committed = experiments.parameters(COMMIT)
    return {x: y for x, y in experiments.parameters(revision).items() if committed.get(x) != y and x != "seed"}


def describe_changes(changed: Mapping[str, Any]) -> str:
    """Says in words what settings change in the commit: "finetune.epochs 5 instead of 10"."""
    committed = experiments.parameters(COMMIT)
    return ", ".join(f"{key} {value} instead of {committed.get(key)}" for key, value in changed.items()) or "no change"
