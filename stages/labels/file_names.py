"""Labels from file names: data.label_pattern finds the class in the name of each file."""

import posixpath

from stages.common import params
from stages.common.cli import UserError, printable
from stages.labels import given_splits, pattern
from stages.labels.companions import Separated
from stages.labels.files import ImageFile, Labelled


def find(found: Separated, data: params.Data) -> Labelled:
    """Labels all files; those that the pattern does not fit have a problem.

    Raises:
        UserError: the pattern fits no file, or takes too long.
    """
    base_names = [posixpath.basename(file.path) for file in found.images]
    names = pattern.find("data.label_pattern", data.label_pattern, base_names)
    images = []
    for file, name in zip(found.images, map(str.strip, names), strict=True):
        problem = file.problem or ("" if name else "data.label_pattern does not fit its name")
        images.append(ImageFile(file.path, name, problem))
    if not any(image.class_name for image in images):
        example = f", such as {printable(posixpath.basename(images[0].path))}" if images else ""
        raise UserError(
            f"data.label_pattern {printable(data.label_pattern)} fits no file of {data.images}{example}. In "
            r"cat_12.jpg, ^(.+)_\d+ finds the class cat; names are searched, without their folders."
        )
    labelled = Labelled(images, "data.label_pattern", [*found.notes])
    return given_splits.add(labelled, given_splits.find(found.images), data)
