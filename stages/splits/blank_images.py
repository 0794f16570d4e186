"""Blank images, which are all one colour once they are read: what `split` says of them."""

from stages.common.cli import enumeration, printable
from stages.splits.pack import Manifest

ADVICE = (
    "set background to another colour if they are drawn in it on transparency, or export another frame of animations"
)
MOST_CLASSES = 3  # classes that are named for their blank images


def notes(manifest: Manifest) -> list[str]:
    """Counts blank images in a line, and names the classes that have at least twice as many as the others have."""
    blank = manifest["blank"]
    if not blank.any():
        return []
    counts = blank.groupby(manifest["class"]).agg(["sum", "size"])
    rate = counts["sum"] / counts["size"]
    others = (blank.sum() - counts["sum"]) / (len(blank) - counts["size"]).clip(lower=1)
    hit = rate[(counts["sum"] > 1) & (rate >= 2 * others)].sort_values(ascending=False, kind="stable").index
    named = [f"{counts['sum'][name]} of {counts['size'][name]} of class {name!r}" for name in hit]
    where = f", {enumeration(named, MOST_CLASSES)}, which a model may tell by that alone" if named else ""
    first = printable(manifest["path"][blank].iloc[0])
    return [
        f"WARNING: {blank.sum()} of {len(blank)} images are blank (all one colour){where}; first: {first}; {ADVICE}."
    ]


def advice(images: Manifest, manifest: Manifest) -> str:
    """Says how many of the images that are too few, and of all, are blank, and what to do; "" if at most one is."""
    blank, total = images["blank"].sum(), manifest["blank"].sum()
    counts = f"{blank} of these {len(images)} images, and {total} of all {len(manifest)}, are blank (all one colour)"
    return f" {counts}: {ADVICE}." if blank > 1 else ""
