"""Application of corrections to the table of images: labels change and images are dropped, after the division."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from stages.common import params
from stages.common.cli import UserError, counted, enumeration
from stages.labels import classes, corrections
from stages.labels.corrections import Correction
from stages.labels.files import Labelled
from stages.splits.pack import Manifest


@dataclass(frozen=True)
class Decisions:
    """What corrections say of images.

    Attributes:
        table: a row per image of which they say anything, indexed as the table of pack.pack_images: path, sha256,
            decision, given (class before; empty if it had none), label (class now; empty if it is dropped) and note.
        obsolete: number of rows that drop, or are unsure of, an image that is not there.
        unused: images that are corrected to a class that is not used, by class.
    """

    table: pd.DataFrame
    obsolete: int = 0
    unused: dict[str, int] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """The numbers that corrections.describe says in words."""
        decision, given, label = (self.table[name] for name in ("decision", "given", "label"))
        names_class = decision.isin(corrections.LABELLING)
        counts = {
            "changed": names_class & (given != "") & (given != label),
            "labelled": names_class & (given == ""),
            "confirmed": names_class & (given == label),
            "dropped": decision == "drop",
            "unsure": decision == "unsure",
        }
        return {name: int(which.sum()) for name, which in counts.items()} | {"obsolete": self.obsolete}

    def drop_unreadable(self, table: Manifest) -> Manifest:
        """Returns the table without images that cannot be read and are dropped: they are no fault of the data."""
        return table[(table["problem"] == "") | ~table.index.isin(self._dropped)]

    def apply(self, images: Manifest) -> Manifest:
        """Returns the images that are used, with corrected classes.

        Raises:
            UserError: fewer than two classes are left.
        """
        labels = self.table.loc[self.table["decision"].isin(corrections.LABELLING), "label"]
        names = images["class"].mask(images.index.isin(labels.index), labels.reindex(images.index))
        left = ~images.index.isin(self._dropped) & ~names.isin(["", *self.unused])
        if names[left].nunique() < 2:
            only = enumeration(sorted(map(repr, names[left].unique()))) or "none"
            raise UserError(f"of the classes, corrections of labels leave {only}; two are needed. Take some back.")
        return images.assign(**{"class": names})[left].copy()

    def notes(self, used: Manifest) -> list[str]:
        """Says, a line each, what was applied, and which images and classes are left out; `used` is that of `apply`."""
        lines = [text for text in [corrections.describe(self.counts)] if text]
        if self.unused:
            named = [f"{name!r} ({counted(count, 'image')})" for name, count in self.unused.items()]
            lines.append(f"Left out, because they are corrected to a class that is not used: {enumeration(named, 10)}.")
        if gone := sorted({*self.table["given"]} - {"", *used["class"]}):
            lines.append(
                f"WARNING: no image is left of the class {enumeration(list(map(repr, gone)), 5)}: it is no class any "
                "more, because of corrections."
            )
        return lines

    def in_splits(self, split: pd.Series) -> pd.DataFrame:
        """Returns the table with the split of each image, empty for those that are not used."""
        table = self.table.copy()
        table.insert(2, "split", split.reindex(table.index).fillna(""))
        return table

    @property
    def _dropped(self) -> pd.Index:
        return self.table.index[self.table["decision"] == "drop"]


def decide(rows: Sequence[Correction], table: Manifest, labelled: Labelled, data: params.Data) -> Decisions:
    """Finds out what corrections say of the images in the table of pack.pack_images.

    Raises:
        UserError: a row that names a class fits no image, or names a class that the data do not have; or rows disagree.
    """
    unreadable = table["sha256"] == ""
    paths = {row.path for row in rows}
    hashes = table["sha256"].mask(unreadable, "").tolist()
    places = dict(zip(table["path"], table.index, strict=True))
    of_path = dict(zip(table["path"], hashes, strict=True))
    for path in table["path"][unreadable]:
        if path in paths:
            of_path[path] = corrections.sha256_of(f"{data.images}/{path}")
    found, unmatched = corrections.match(rows, of_path, data.corrections)
    if unmatched:  # by what is decoded: they may be about images that are left out
        unmatched = corrections.match_files(unmatched, labelled.left_out, data)[1]
    if homeless := [row for row in unmatched if row.names_class]:
        raise UserError(
            f"{data.corrections}: {enumeration(list(map(str, homeless)), corrections.NAMED)} fit no image of "
            f"{data.images} that has a label or could have one, neither by path nor by sha256. If it was edited or "
            "removed, delete the row."
        )
    given = {*classes.of(labelled.images), *classes.of(labelled.left_out)}
    corrections.check_classes(rows, given, data.corrections)
    decided = [
        (places[path], path, of_path[path], row.decision, table["class"][places[path]], row.label, row.note)
        for path, row in found.items()
    ]
    columns = ["place", "path", "sha256", "decision", "given", "label", "note"]
    frame = pd.DataFrame(decided, columns=columns).set_index("place").sort_index()
    frame["label"] = frame["label"].mask(frame["decision"] == "unsure", frame["given"])
    names = frame.loc[frame["decision"].isin(corrections.LABELLING), "label"]
    not_used = {*classes.of(labelled.left_out)} - {*classes.of(labelled.images)}
    is_unused = ~names.isin(data.classes) if data.classes else names.isin(not_used)
    return Decisions(frame, len(unmatched), names[is_unused].value_counts().sort_index().to_dict())
