"""Search for image files in a folder."""

import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stages.common.cli import UserError

# What systems, file servers and clouds leave in folders, besides hidden files: Windows, Office, macOS, Synology, QNAP,
# NetApp, ext4 and WSL, which writes the streams of an NTFS file beside it; and edits that phones and Lightroom keep.
# RECYCLER is what Windows XP called its bin: "recycled" is a class of waste.
IGNORED = re.compile(
    r"thumbs\.db|ehthumbs(_vista)?\.db|desktop\.ini|\$recycle\.bin|(?-i:RECYCLE[RD])|system volume information"
    r"|dfsrprivate|found\.\d{3}|~\$.*|.*\.(aae|xmp)|__macosx"
    r"|icon\r|network trash folder|temporary items|@eadir|@tmp|@recycle|@recently-snapshot|#recycle|#snapshot|~snapshot"
    r"|lost\+found|picasa\.ini|zbthumbnail\.info|.*@syno(eastream|resource)|.*[.:]zone\.identifier"
    r"|.*:(encryptable|afp_\w+|com\.dropbox\.\w+)",
    re.IGNORECASE,
)
ICLOUD = re.compile(r"^\.(.+)\.icloud$")
PLACEHOLDER = "not here: iCloud has left a placeholder in its place; download it, or move the placeholder away"
ANNEX = "a git-annex link to an image that is not here: run `git annex get`"
SPECIAL_FILES = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file, and what is known of it before it is opened.

    Attributes:
        path: below the folder of images, with `/`.
        class_name: empty until labels.find_images has found it.
        problem: why it cannot be used; empty for a regular file.
        split: train, validation or test, if it is given; else empty.
        group: what the table of labels says; else empty.
        metadata: the other columns of that table.
    """

    path: str
    class_name: str = ""
    problem: str = ""
    split: str = ""
    group: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


def find_files(folder: str | Path) -> list[ImageFile]:
    """Lists all files of a folder, however deep.

    Hidden files and folders are ignored, and those that match IGNORED; every other file counts as an image, whatever
    its name, so that a broken one is noticed. Symbolic links are followed, but from each top folder another is entered
    once.

    Returns:
        list of ImageFile: sorted by path, whatever the order in which the file system lists files. What is no regular
        file, a link to nothing or in a circle, or a folder that cannot be listed is among them with its problem.

    Raises:
        UserError: the folder is missing.
    """
    if not Path(folder).is_dir():
        raise UserError(
            f"{folder} is not a folder. Set data.images to a folder of images with one sub-folder per class."
        )
    return sorted((ImageFile(path, problem=problem) for path, problem in walk(folder)), key=lambda image: image.path)


def linked_folders(folder: str | Path, images: list[ImageFile]) -> list[str]:
    """Returns the folders on the way to images that are symbolic links, by path below `folder`, sorted."""
    lowest = {os.path.dirname(image.path) for image in images}  # of many images few folders
    folders = {str(path) for name in lowest for path in (Path(name), *Path(name).parents)}
    return sorted(name for name in folders if name != "." and (Path(folder) / name).is_symlink())


def walk(folder: str | Path) -> Iterator[tuple[str, str]]:
    """Yields each file of a folder, however deep, sorted by name within each folder.

    Hidden files and folders are ignored, and those that match IGNORED; for iCloud's `.NAME.icloud`, NAME is yielded.
    Symbolic links are followed, but from each folder that lies directly in `folder` another is entered once, however
    many links lead there.

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
                    names = {ICLOUD.sub(r"\1", name) for name in os.listdir(root / path)}
                    names = {name for name in names if name[0] != "." and not IGNORED.fullmatch(name)}
                    # the last one is popped first
                    pending += [(os.path.join(path, x), ancestors | {identity}) for x in sorted(names, reverse=True)]
                continue
            problem = SPECIAL_FILES.get(stat.S_IFMT(status.st_mode), "")
        except OSError as error:
            if not path:
                raise
            problem = _why_missing(root / path) if isinstance(error, FileNotFoundError) else str(error.strerror)
        yield path, problem


def _why_missing(path: Path) -> str:
    if path.with_name(f".{path.name}.icloud").exists():
        return PLACEHOLDER
    return ANNEX if path.is_symlink() and "/annex/objects/" in os.readlink(path) else "a link to nothing"
