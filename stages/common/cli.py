"""The command line of every script: its start, --help, its end, and errors in one line."""

import argparse
import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from stages.common import machine

HELP_WIDTH = 100  # columns
# Environment variables for Matplotlib, whose import fails over a notebook's backend and over a broken file of settings.
READ_AT_IMPORT = {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}
# Environment variables with which the imports of Keras, TensorFlow and protobuf may fail, or the outputs change.
FAIL_AT_IMPORT = ["KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED", "TF_XLA_FLAGS"]
FAIL_AT_IMPORT += ["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"]


class UserError(Exception):
    """An error that the user can correct. Its text names the cause and the remedy, in one line."""


def start() -> None:
    """Prepares the process of a script. To be called under `__name__ == "__main__"`, before imports that take seconds.

    -h and --help print the script's docstring; arguments that its usage does not name are an error. A stage ends with
    the DVC that runs it: after a killed `dvc repro`, it would otherwise write into the outputs of the next one.
    """
    _open_closed_streams()
    script = parser(sys.modules["__main__"].__doc__)
    if {"-h", "--help"} & set(sys.argv[1:]):
        with _ending_with_the_pipe():
            print(script.format_help(), end="")
        sys.exit()
    if script.usage == script.prog:  # the usage names no arguments
        script.parse_args()
    sys.excepthook = _excepthook
    if "DVC_STAGE" in os.environ:
        _end_with_dvc()
    os.environ.update(READ_AT_IMPORT)
    for name in FAIL_AT_IMPORT:
        os.environ.pop(name, None)


def parser(docstring: str | None) -> argparse.ArgumentParser:
    """Returns a parser with the usage and the description of a script's docstring.

    The docstring has a sentence, the usage ("    python -m stages.NAME ARGUMENTS") and further paragraphs, with an
    indented line per option. Without a usage (python -c), any arguments are allowed.
    """
    docstring = docstring or ""  # None with PYTHONOPTIMIZE=2
    usage = re.search(r"^    (python -m \S+)(.*)\n\n", docstring, re.MULTILINE)
    command, arguments = usage.groups() if usage else (None, "")
    paragraphs = docstring.replace(usage[0] if usage else "", "", 1).strip().split("\n\n")
    filled = [text if text.startswith(" ") else textwrap.fill(text, HELP_WIDTH) for text in paragraphs]
    return argparse.ArgumentParser(
        prog=command,
        usage=command and command + arguments,
        description="\n\n".join(filled),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )


def run(main: Callable[[], None]) -> None:
    """Runs `main()`. A UserError, or a fault of the machine, ends the process with one line and exit status 1."""
    try:
        with _ending_with_the_pipe():
            main()
        if "tensorflow" in sys.modules and "TF_CONFIG" not in os.environ:  # distributed workers must shut down in order
            sys.stderr.flush()
            os._exit(0)  # TensorFlow's shutdown takes more than a second
    except UserError as error:
        _fail(error)
    except OSError as error:  # a full disk, a missing permission: the text has the reason and the file
        _fail(machine.explain(error))
    except KeyboardInterrupt:
        _fail("interrupted", 130)  # 128 + SIGINT, as shells report it
    except Exception as error:
        if not machine.is_at_fault(error):
            raise
        _fail(machine.explain(error))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Captures standard error of the block, also that of C++, and shows it if the block fails with no UserError."""
    with tempfile.TemporaryFile("w+") as output:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(output.fileno(), 2)
        try:
            yield
        except UserError:
            raise
        except BaseException:
            os.dup2(stderr, 2)
            output.seek(0)
            shutil.copyfileobj(output, sys.stderr)
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)


def printable(name: str) -> str:
    """Returns a name or path; escaped, in quotes, if it has invisible characters, or bytes that are no text."""
    return name if name.isprintable() else repr(name)


def inert(name: str, marks: str) -> str:
    """Returns a name, printable, as text that looks the same and means nothing to programs that show it.

    A word joiner, which has no width, follows what the regular expression `marks` fits: "<b>" is a tag, but not with a
    joiner behind "<".
    """
    return re.sub(marks, "\\g<0>\u2060", printable(name), flags=re.IGNORECASE)


def escaped(text: str) -> str:
    """Returns a text for the terminal, whose control characters and invisible ones are escaped, but for line breaks."""
    return "".join(x if x.isprintable() or x == "\n" else repr(x)[1:-1] for x in text)


def counted(count: int, noun: str, nouns: str = "") -> str:
    """Returns a number of things in words, "1 image" or "2 images"; `nouns` is a plural that does not end in s."""
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"


def counted_bytes(count: float) -> str:
    """Returns a number of bytes in words: "999 bytes", "1.5 kB", "20.0 MB" or "3.4 TB"."""
    if count < 1000:
        return f"{count:.0f} bytes"
    power = next((power for power in (1, 2, 3) if round(count / 1000**power, 1) < 1000), 4)
    return f"{count / 1000**power:,.1f} {('kB', 'MB', 'GB', 'TB')[power - 1]}"


def enumeration(texts: Sequence[str], most: int = 20) -> str:
    """Joins the first `most` texts for an error's text, with the number of further ones."""
    more = [f"and {len(texts) - most} more"] if len(texts) > most else []
    return ", ".join([*texts[:most], *more])


def _fail(reason: object, status: int = 1) -> NoReturn:
    print(f"ERROR: {escaped(' '.join(str(reason).split()))}", file=sys.stderr)
    sys.exit(status)


def _open_closed_streams() -> None:
    """Opens standard streams that are closed (<&-): the next file would take their number, and what is printed."""
    for number, (name, mode) in enumerate({"stdin": "r", "stdout": "w", "stderr": "w"}.items()):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))
            os.set_inheritable(number, True)


@contextlib.contextmanager
def _ending_with_the_pipe() -> Iterator[None]:
    """Ends the process quietly if the reader of its standard output, such as head, has ended."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is flushed at the end
        sys.exit(128 + signal.SIGPIPE)


def _excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("ERROR: interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


def _end_with_dvc() -> None:
    """Starts a thread that ends this process when DVC has ended. Processes are looked up now, while all still run."""
    import psutil  # a dependency of DVC

    shell = Path(os.environ.get("SHELL") or "sh").name  # DVC runs the stage in it; some exec the command, others wait
    try:
        child = psutil.Process()
        parent = psutil.Process(child.ppid())
        if parent.name() == shell:
            child = parent
        dvc = child.ppid()
    except psutil.NoSuchProcess:  # DVC has ended already
        os._exit(1)

    def wait() -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            while child.ppid() == dvc:
                time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
