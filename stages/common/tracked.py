"""Whether DVC's temporary copies of the project find a path: they hold nothing that git lacks."""

import os
import shlex
import subprocess
from pathlib import Path

from stages.common.cli import UserError

COPIES = "/.dvc/tmp/exps/"  # where `dvc exp run --temp` and `--queue` run, below the workspace


def check_images(folder: str, in_copies: bool = False) -> None:
    """Checks that a folder of images that `dvc add` tracks is committed, in the workspace and from a temporary copy.

    Args:
        folder: data.images. An absolute path outside of the repository passes, and the output of a stage.
        in_copies: temporary copies are to use it, where a folder that is not tracked is missing, too.

    Raises:
        UserError: it is not.
    """
    check_place(folder, in_copies)
    root, copied, _ = os.getcwd().partition(COPIES)
    path, pointer = Path(folder), Path(f"{Path(folder)}.dvc")
    committed = _git(root, "ls-tree", "--name-only", "HEAD", "--", str(path), str(pointer))
    if committed.returncode or committed.stdout or copied and (path.exists() or pointer.exists()):
        return
    added = (root / pointer).exists()
    untracked = (root / path).exists() and _git(root, "check-ignore", "-q", str(path)).returncode == 1
    if added or untracked and (copied or in_copies):
        raise UserError(
            f"git does not have {pointer}, so experiments with --temp or --queue, repeats and other clones lack these "
            f"images. Run `{'' if added else f'dvc add {shlex.quote(str(path))} && '}git add "
            f"{shlex.quote(str(pointer))} {shlex.quote(f'{path.parent}/.gitignore')} && git commit -m 'My images'`, "
            "then this again."
        )


def check_place(path: str, in_copies: bool = False) -> None:
    """Checks that a path is the same one in temporary copies, and that a shell was to expand nothing in it.

    Args:
        path: data.images or model.weights.
        in_copies: temporary copies are to use it.

    Raises:
        UserError: it is not, as a relative path that leads out of the repository.
    """
    root, copied, _ = os.getcwd().partition(COPIES)
    if path == "~" or path.startswith("~/"):
        raise UserError(f"{path}: ~ is not expanded. Write {os.path.expanduser(path)}.")
    if (copied or in_copies) and not os.path.isabs(path) and os.path.normpath(path).startswith(".."):
        raise UserError(
            f"{path} leads out of the repository, and elsewhere from the temporary copies of --temp, --queue and "
            f"repeats. Write {os.path.normpath(os.path.join(root, path))}."
        )


def _git(root: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True)
