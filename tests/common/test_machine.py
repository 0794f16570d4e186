import errno

import numpy as np
import pytest

from stages.common import cli, machine


class ResourceExhaustedError(Exception):
    """Named as TensorFlow's, whose text has many lines."""


def array_of_numpy():
    np.empty(2**50)


def raiser(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ("main", "words"),
    [
        (raiser(OSError(errno.EIO, "Input/output error", "mine/a.png")), "mine/a.png'. The disk or the network folder"),
        (raiser(OSError(errno.ESTALE, "Stale file handle", "mine/a.png")), "connected and mounted, and run again."),
        (raiser(OSError(errno.ENOTCONN, "Not connected", "mine/a.png")), "does not answer"),
        (raiser(OSError(errno.EMFILE, "Too many open files", "mine/a.png")), "(`ulimit -n 4096`) and run again."),
        (raiser(OSError(errno.ENFILE, "Too many open files in system")), "Raise the limit of open files"),
        (raiser(OSError(errno.ENOMEM, "Cannot allocate memory")), "Close other programs"),
        (raiser(OSError(errno.ENOSPC, "No space left on device", "data")), "'data'. Fix that and run again."),
        (raiser(MemoryError()), "not enough memory. Close other programs"),
        (raiser(MemoryError("a.png cannot be decoded")), "not enough memory: a.png cannot be decoded. Close"),
        (raiser(ResourceExhaustedError("OOM when allocating tensor\n\nHint: many\nlines")), "allocating tensor. Close"),
        (raiser(RuntimeError("can't start new thread")), "not enough memory: can't start new thread."),
        (array_of_numpy, "not enough memory: Unable to allocate 8.00 PiB for an array"),
    ],
)
def test_a_fault_of_the_machine_is_one_line_that_says_what_to_do(main, words, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.run(main)
    error = capsys.readouterr().err
    assert caught.value.code == 1 and error.count("\n") == 1 and error.startswith("ERROR: ")
    assert words in error and error.endswith(" run again.\n")


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ValueError("another"), KeyError("memory")])
def test_other_errors_stay_tracebacks(error):
    with pytest.raises(type(error)):
        cli.run(raiser(error))


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, None])
def test_what_is_the_file_s_fault(number):
    assert not machine.is_at_fault(OSError(number, "text") if number else OSError("broken data stream"))
