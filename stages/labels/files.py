"""Search for image files in a folder, and what is known of them before they are opened."""

import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stages.common import machine
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
SPECIAL_FILES = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
SPECIAL_FILES |= dict.fromkeys((stat.S_IFCHR, stat.S_IFBLK), "a device")
# Extensions of tables and notes that lie beside images.
TEXTS = {".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".manifest", ".md", ".xml", ".yaml", ".yml", ".xlsx"}
TEXTS |= {".parquet", ".cls"}  # .cls: labels in WebDataset's archives


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file, and what is known of it before it is opened."""

    path: str  # below the folder of images, with `/`
    class_name: str = ""  # empty until a source of labels has given it
    problem: str = ""  # why the file cannot be used; empty if it can
    split: str = ""  # train, validation or test, if it is given; else empty
    group: str = ""  # the cell in the group column of the table of labels; else empty
    columns: Mapping[str, str] = field(default_factory=dict)  # from names of that table's further columns to cells


@dataclass(frozen=True)
class Labelled:
    """Image files with the labels of one source."""

    images: list[ImageFile]  # sorted by path; those that cannot be used have a problem
    source: str  # the name of the source in errors; empty for sub-folders
    notes: list[str] = field(default_factory=list)  # what the user should know, a line each
    has_splits: bool = False  # whether splits are given: images without one are then left out
    left_out: list[ImageFile] = field(default_factory=list)  # images of classes that are not used


def find_files(folder: str | Path) -> list[ImageFile]:
    """Lists the files that `walk` yields, sorted by path; each counts as an image, so that a broken one is noticed.

    Raises:
        UserError: the folder is missing.
    """
    if not Path(folder).is_dir():
        raise UserError(
            f"{folder} is not a folder. Set data.images to a folder of images with one sub-folder per class."
        )
    return sorted((ImageFile(path, problem=problem) for path, problem in walk(folder)), key=lambda image: image.path)


def is_text(path: str) -> bool:
    """Tells by its extension whether a file is a table or a note, such as lie beside images."""
    return os.path.splitext(path)[1].lower() in TEXTS


def empty_folders(folder: str | Path, found: list[ImageFile]) -> list[str]:
    """Returns the folders that hold none of the files that `find_files` found, by path below `folder`, sorted.

    Of folders in each other, the outermost is named.
    """
    lowest = {os.path.dirname(image.path) for image in found}
    full = {str(path) for name in lowest for path in (Path(name), *Path(name).parents)}
    empty = []
    for path, names, _ in os.walk(folder):
        names[:] = [name for name in names if name[0] != "." and not IGNORED.fullmatch(name)]
        below = {name: os.path.normpath(os.path.join(os.path.relpath(path, folder), name)) for name in names}
        empty += [below[name] for name in names if below[name] not in full]
        names[:] = [name for name in names if below[name] in full]
    return sorted(empty)


def linked_folders(folder: str | Path, images: list[ImageFile]) -> list[str]:
    """Returns the folders on the way to images that are symbolic links, by path below `folder`, sorted."""
    lowest = {os.path.dirname(image.path) for image in images}  # few folders, even if there are many images
    folders = {str(path) for name in lowest for path in (Path(name), *Path(name).parents)}
    return sorted(name for name in folders if name != "." and (Path(folder) / name).is_symlink())


def walk(folder: str | Path) -> Iterator[tuple[str, str]]:
    """Yields (path, problem) of each file in a folder, however deep, sorted by name within each folder; or of one file.

    The path is below `folder`, with `/`; of `folder` itself, if that is a file, it is empty. The problem says why the
    file cannot be opened and is empty for a regular file: special files, links to nothing or in a circle, and folders
    that cannot be listed have one. Hidden files and folders are ignored, and those that match IGNORED; for iCloud's
    `.NAME.icloud`, NAME is yielded. Symbolic links are followed, but from each folder that lies directly in `folder`
    another is entered once, however many links lead there.

    Raises:
        OSError: `folder` itself is missing or cannot be listed; or the machine is at fault, such as a disk.
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
                    names_reversed = sorted(names, reverse=True)  # the last one is popped first
                    pending += [(os.path.join(path, name), ancestors | {identity}) for name in names_reversed]
                continue
            problem = SPECIAL_FILES.get(stat.S_IFMT(status.st_mode), "")
        except OSError as error:
            if not path or machine.is_at_fault(error):
                raise
            problem = _why_missing(root / path) if isinstance(error, FileNotFoundError) else str(error.strerror)
        yield path, problem


def _why_missing(path: Path) -> str:
    if path.with_name(f".{path.name}.icloud").exists():
        return PLACEHOLDER
    return ANNEX if path.is_symlink() and "/annex/objects/" in os.readlink(path) else "a link to nothing"
