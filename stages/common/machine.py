"""Faults of the machine, its memory, descriptors, disks and network folders, told from faults of a single file."""

import errno
import os

# What open() and read() say of the file itself; everything else that they say is a fault of the machine.
OF_THE_FILE = {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.EISDIR}
OF_THE_FILE |= {errno.ENAMETOOLONG, errno.EILSEQ, errno.EOVERFLOW, errno.EFBIG}
MORE_FILES = "Raise the limit of open files (`ulimit -n 4096`)"
MORE_MEMORY = "Close other programs, raise the limit (`ulimit -v`, a container's) or take a machine with more,"
CHECK_DISK = "The disk or the network folder does not answer: check that it is connected and mounted,"
REMEDIES = {errno.EMFILE: MORE_FILES, errno.ENFILE: MORE_FILES, errno.ENOMEM: MORE_MEMORY}
NO_ANSWER = "EIO ESTALE ENOTCONN ENXIO ENODEV ETIMEDOUT EHOSTDOWN EHOSTUNREACH ENETDOWN ENETUNREACH ECONNRESET"
NO_ANSWER += " ECONNABORTED ECONNREFUSED EREMOTEIO ENOLINK EUCLEAN EBADMSG"
# Not every system has all of them.
REMEDIES |= dict.fromkeys((getattr(errno, name) for name in NO_ANSWER.split() if hasattr(errno, name)), CHECK_DISK)


def is_at_fault(error: BaseException) -> bool:
    """Tells whether an error is the machine's. Pillow's own OSErrors have no number: they are the file's."""
    if isinstance(error, OSError):
        return error.errno is not None and error.errno not in OF_THE_FILE
    # TensorFlow's error, whose type is not imported for this; and Python's, where a thread cannot be started.
    other = type(error).__name__ == "ResourceExhaustedError" or str(error) == "can't start new thread"
    return isinstance(error, MemoryError) or other


def explain(error: BaseException) -> str:
    """Returns a line about an OSError, or another fault of the machine: what is wrong, and what to do."""
    if isinstance(error, OSError):
        where = "" if error.filename else f" (in {os.getcwd()})"
        return f"{error}{where}. {REMEDIES.get(error.errno or 0, 'Fix that')} and run again."
    what = f": {str(error).splitlines()[0]}" if str(error) else ""
    return f"not enough memory{what}. {MORE_MEMORY} and run again."
