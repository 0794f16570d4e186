"""A check that DVC's temporary copies of the project, which hold only what git has, find a path."""

import os
import shlex
import subprocess
from pathlib import Path

from stages.common.cli import UserError

COPIES = "/.dvc/tmp/exps/"  # folder of the copies in which `dvc exp run --temp` and `--queue` run


def check(path: str, in_copies: bool = False) -> None:
    """Checks that git has a path that `dvc add` tracks, and that temporary copies have what they need.

    Args:
        path: data.images, data.labels, data.corrections or model.weights. Absolute paths and outputs of stages pass.
        in_copies: temporary copies will need the path; they lack untracked files, too.

    Raises:
        UserError: git or the copies lack the path. The text has the commands that help.
    """
    root, copied, _ = os.getcwd().partition(COPIES)
    in_copies = in_copies or bool(copied)
    if path.startswith("~") and os.path.expanduser(path) != path:
        raise UserError(f"{path}: ~ is not expanded. Write {os.path.expanduser(path)}.")
    if os.path.isabs(path):
        return
    place = Path(os.path.normpath(path))
    if in_copies and place.parts[:1] == ("..",):
        raise UserError(
            f"{path} leads out of the repository, and elsewhere from the temporary copies of --temp, --queue and "
            f"repeats. Write {os.path.normpath(root / place)}."
        )
    pointers = [Path(f"{folder}.dvc") for folder in (place, *place.parents[:-1])]  # `dvc add` of it or a folder above
    committed = _git(root, "ls-tree", "--name-only", "HEAD", "--", str(place), *map(str, pointers))
    if committed.returncode or committed.stdout or copied and any(found.exists() for found in (place, *pointers)):
        return
    added = next((pointer for pointer in pointers if (root / pointer).exists()), None)
    untracked = (root / place).exists() and _git(root, "check-ignore", "-q", str(place)).returncode
    if not added and not (untracked and in_copies):
        return
    behind_link = os.path.realpath(root / place)
    if not added and behind_link != os.path.join(os.path.realpath(root), place):
        raise UserError(f"{path} is a link, or behind one, which temporary copies lack. Write {behind_link}.")
    pointer = added or pointers[0]
    target = pointer.with_suffix("")
    add = "" if added else f"dvc add {shlex.quote(str(target))} && "
    add += f"git add {shlex.quote(str(pointer))} {shlex.quote(f'{target.parent}/.gitignore')}"
    lacking = "these images" if (root / place).is_dir() else place
    raise UserError(
        f"git does not have {pointer}, so experiments with --temp or --queue, repeats and other clones lack {lacking}. "
        f"Run `{add} && git commit -m 'My images'`, then this again."
    )


def _git(root: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True)
