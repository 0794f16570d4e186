"""What every stage script shares as a command: errors in one line, and files that are whole or not there."""

import contextlib
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path


class UserError(Exception):
    """Something that the user can put right: its text names the cause and what to do, in one line."""


def run(main):
    """Runs `main()`. A UserError, or an error of the file system, ends the process with one line and exit status 1."""
    try:
        main()
        if "tensorflow" in sys.modules and "TF_CONFIG" not in os.environ:  # workers take leave of each other
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)  # TensorFlow would take itself apart first, for more than a second
    except UserError as error:
        _fail(error)
    except OSError as error:  # a full disk, a missing permission: the text has the reason and the file
        _fail(f"{error}{'' if error.filename else f' (in {os.getcwd()})'}. Mend that and run again.")
    except KeyboardInterrupt:
        print("ERROR: interrupted", file=sys.stderr)
        sys.exit(130)  # 128 + SIGINT, as shells report it


def _end_with_dvc():
    import psutil  # which DVC brings along

    shell = Path(os.environ.get("SHELL") or "sh").name  # DVC starts this one; some give way to the command, others stay
    with contextlib.suppress(psutil.NoSuchProcess):
        below = psutil.Process()
        above = psutil.Process(below.ppid())
        if above.name() == shell:
            below = above
        dvc = below.ppid()
        while below.ppid() == dvc:
            time.sleep(0.2)
    os._exit(1)


def _excepthook(kind, error, traceback):
    if issubclass(kind, KeyboardInterrupt):
        print("ERROR: interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


# Both from here on, not from `run` on, because importing TensorFlow takes seconds.
sys.excepthook = _excepthook
if "DVC_STAGE" in os.environ:
    # A stage whose `dvc repro` was killed would go on, and write into the next one's outputs.
    threading.Thread(target=_end_with_dvc, daemon=True).start()


def _fail(reason):
    print(f"ERROR: {' '.join(str(reason).split())}", file=sys.stderr)
    sys.exit(1)


@contextlib.contextmanager
def replacing(*paths):
    """Lets the caller write files or folders beside their places, and moves them there once all are whole.

    Args:
        paths: the places, relative to the repository root. What stands there stays until the block has ended well.

    Yields:
        list of Path: where to write. Folders above exist; the path itself does not.
    """
    targets = [Path(path) for path in paths]
    partial = [target.with_name(f".{target.name}.tmp") for target in targets]
    for path in partial:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(path)  # what a killed run left behind
    try:
        yield partial
        for path, target in zip(partial, targets):
            if target.is_dir():
                shutil.rmtree(target)
            os.replace(path, target)
    finally:
        for path in partial:
            _remove(path)


@contextlib.contextmanager
def scratch(folder):
    """Gives the caller an empty folder inside `folder` for the time of the block: a Path."""
    path = Path(folder) / ".scratch.tmp"
    _remove(path)  # what a killed run left behind
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        _remove(path)


@contextlib.contextmanager
def quiet():
    """Holds back what the block writes to standard error, C++ included; if it fails, shows it, but for a UserError."""
    with tempfile.TemporaryFile("w+") as chatter:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(chatter.fileno(), 2)
        try:
            yield
        except UserError:
            raise
        except BaseException:
            os.dup2(stderr, 2)
            chatter.seek(0)
            shutil.copyfileobj(chatter, sys.stderr)
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)


def write_json(value, path):
    """Writes a value as JSON that people can read and compare line by line."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def shown(path):
    """A path for an error's text: escaped and quoted where it has bytes that are no text, or control characters."""
    return path if path.isprintable() else repr(path)


def listed(texts, most=20):
    """Joins texts for an error's text: the first `most`, and how many more there are."""
    return ", ".join([*texts[:most], *([f"and {len(texts) - most} more"] if len(texts) > most else [])])


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
