"""Search for image files in a folder with one sub-folder per class."""

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stages.common.cli import UserError

IGNORED = {"thumbs.db", "desktop.ini", "__macosx"}  # what Windows and macOS leave in folders
SPECIAL_FILES = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file: its path below the folder of images, with `/`, and the name of its class.

    `problem` says why it cannot be opened; it is empty for a regular file.
    """

    path: str
    class_name: str
    problem: str = ""


def find_images(folder: str | Path) -> list[ImageFile]:
    """Lists the images of a folder that has one sub-folder per class.

    The class is the first folder of an image's path; deeper folders do not matter. Hidden files and folders are
    ignored, and those in IGNORED; every other file counts as an image, whatever its name, so that a broken one is
    noticed. Symbolic links are followed, but a class enters a folder once, however many links lead there.

    Args:
        folder: path of the folder.

    Returns:
        list of ImageFile: sorted by path, whatever the order in which the file system lists files. What is no regular
        file, a link to nothing or in a circle, or a folder that cannot be listed is among them with its problem.

    Raises:
        UserError: the folder is missing, has fewer than two sub-folders with files in them, or one whose name is not
            UTF-8.
    """
    if not Path(folder).is_dir():
        raise UserError(
            f"{folder} is not a folder. Set data.images to a folder of images with one sub-folder per class."
        )
    # A file beside the class folders belongs to no class. What cannot be opened might be a class folder.
    images = [
        ImageFile(path, path.split("/")[0], problem)
        for path, problem in walk(folder)
        if "/" in path or problem not in {"", *SPECIAL_FILES.values()}
    ]
    classes = sorted({image.class_name for image in images})
    if len(classes) < 2:
        found = f"only {classes[0]!r}" if classes else "none"
        raise UserError(f"{folder} needs at least two sub-folders with images in them, one per class, but has {found}.")
    for name in classes:
        if name.encode(errors="replace").decode() != name:
            raise UserError(f"{folder} has a sub-folder {name!r}: the name of a class must be UTF-8. Rename it.")
    return sorted(images, key=lambda image: image.path)


def walk(folder: str | Path) -> Iterator[tuple[str, str]]:
    """Yields each file of a folder, however deep, sorted by name within each folder.

    Hidden files and folders are ignored, and those in IGNORED. Symbolic links are followed, but from each folder that
    lies directly in `folder` another is entered once, however many links lead there.

    Args:
        folder: path of the folder; or of a file, which is the only one then.

    Yields:
        (str, str): the path below `folder`, with `/`, empty for `folder` itself; and why it cannot be opened, empty for
        a regular file. What is no regular file, a link to nothing or in a circle, or a folder that cannot be listed is
        among them with its reason.

    Raises:
        OSError: `folder` itself is missing or cannot be listed.
    """
    root = Path(folder)
    parents = Path(os.path.realpath(root)).parents
    ancestors = frozenset((status.st_dev, status.st_ino) for status in map(os.stat, parents))
    visited = set()
    pending = [("", ancestors)]
    while pending:
        path, ancestors = pending.pop()
        try:
            status = os.stat(root / path)
            identity = (status.st_dev, status.st_ino)
            if identity in ancestors:
                raise OSError(errno.ELOOP, "a link to a folder that it lies in")
            if stat.S_ISDIR(status.st_mode):
                visit = (path.split("/")[0], identity)
                if visit not in visited:
                    visited.add(visit)
                    names = sorted(os.listdir(root / path), reverse=True)  # the last one is popped first
                    names = [name for name in names if name[0] != "." and name.lower() not in IGNORED]
                    pending += [(os.path.join(path, name), ancestors | {identity}) for name in names]
                continue
            problem = SPECIAL_FILES.get(stat.S_IFMT(status.st_mode), "")
        except OSError as error:
            if not path:
                raise
            problem = "a link to nothing" if isinstance(error, FileNotFoundError) else str(error.strerror)
        yield path, problem
