"""Labels from sub-folders: the class of an image is the folder that it lies in."""

import re

from stages.common import params
from stages.common.cli import counted, enumeration, printable
from stages.labels import given_splits
from stages.labels.companions import Separated
from stages.labels.files import ANNEX, PLACEHOLDER, SPECIAL_FILES, ImageFile, Labelled

# A folder in the DCIM folder of a camera (JEITA CP-3461, Design rule for Camera File system).
CAMERA = re.compile(r"[1-9]\d\d[A-Z0-9_]{5}")


def find(found: Separated, data: params.Data) -> Labelled:
    """Labels the images that lie in a class folder.

    Raises:
        UserError: folders look like splits, but cannot be used as such.
    """
    notes, layout = [*found.notes], given_splits.find(found.images)
    given_splits.refuse_other_splits(layout)
    if layout.folders and data.split == "auto":
        given_splits.require_labels(layout, data.images)
    if layout.root:
        notes.append(f"All images lie in {printable(layout.root)}, whose sub-folders count.")
    images = []
    for file in found.images:
        top, is_folder, _ = layout.inner[file.path].partition("/")
        # What cannot be opened might be a class folder.
        if is_folder or file.problem not in {"", PLACEHOLDER, ANNEX, *SPECIAL_FILES.values()}:
            images.append(ImageFile(file.path, top or file.path, file.problem))
    anew = layout.folders and data.split == "random"
    candidates = layout.inner if anew or not layout.splits else layout.splits
    loose = sorted(path for path in candidates if "/" not in layout.inner[path])
    if loose and not anew:
        notes.append(
            f"Left out: {counted(len(loose), 'file')} beside the class folders, such as "
            f"{enumeration(list(map(printable, loose)), 3)}."
        )
    labelled = given_splits.add(Labelled(images, "", notes), layout, data)
    if anew:
        labelled.notes.append(
            f"The splits {', '.join(map(printable, sorted(layout.folders)))} are divided anew, because data.split is "
            "random" + (f"; {len(loose)} files outside of class folders are left out." if loose else ".")
        )
    if shared := given_splits.shared_folders(layout):
        tops = enumeration(sorted({repr(image.class_name) for image in images}), 5)
        labelled.notes.append(
            f"WARNING: the classes {tops} hold the same {len(shared)} folders, such as "
            f"{enumeration(list(map(repr, shared)), 3)}. If those are the classes, set data.images to one of "
            "the folders that hold them."
        )
    if images and all(CAMERA.fullmatch(image.class_name) for image in images):
        first = repr(images[0].class_name)
        labelled.notes.append(f"WARNING: the classes, such as {first}, are folders as cameras number them.")
    if alike := sorted(given_splits.splits_of(image.class_name for image in images)):
        named = enumeration(list(map(repr, alike)))
        labelled.notes.append(f"WARNING: {named} is a class here, but named like a split.")
    return labelled
