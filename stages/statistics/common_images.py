"""The images that two test splits have in common."""

import pandas as pd


def merge(a: pd.DataFrame, b: pd.DataFrame, suffixes: tuple[str, str] = ("_a", "_b")) -> pd.DataFrame:
    """Returns a row per image that two tables of images with path and sha256 have in common, in the order of `b`.

    Files of an image have the same sha256. Of several with the same, those with the same path belong together, then the
    others in the order of the tables. The columns are those of both tables; equal names get the suffixes.
    """
    places = [table[["path", "sha256"]].assign(place=range(len(table))) for table in (a, b)]
    unmoved = places[0].merge(places[1], on=["path", "sha256"], suffixes=("_a", "_b"))
    moved = [
        table[~table["place"].isin(unmoved[name])].assign(copy=lambda rest: rest.groupby("sha256").cumcount())
        for table, name in zip(places, ("place_a", "place_b"), strict=True)
    ]
    both = pd.concat([unmoved, moved[0].merge(moved[1], on=["sha256", "copy"], suffixes=("_a", "_b"))])
    both = both.sort_values("place_b")
    of_a, of_b = a.iloc[both["place_a"]].reset_index(drop=True), b.iloc[both["place_b"]].reset_index(drop=True)
    return of_a.merge(of_b, left_index=True, right_index=True, suffixes=suffixes)
