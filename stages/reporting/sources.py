"""Facts about data sets and initial weights: title, description and licence, in data/*/card.yaml beside them."""

from pathlib import Path

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from stages.common.cli import UserError


class Source(BaseModel):
    """Facts about a data set or initial weights in Markdown; `limit` says what they do to the numbers of a run."""

    title: str = ""
    description: str
    licence: str
    limit: str = ""


def find(path: str) -> Source | None:
    """Returns the facts about data.images or model.weights, or None about the user's own.

    They stand in the card.yaml of the folder in data/ that holds the path, by the path in that folder.

    Raises:
        UserError: the card.yaml is not a mapping from paths to facts.
    """
    folder = Path(*Path(path).parts[:2])
    card = folder / "card.yaml"
    if not card.exists():
        return None
    try:
        facts = TypeAdapter(dict[str, Source]).validate_python(yaml.safe_load(card.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError):
        raise UserError(
            f"{card} does not map paths to a description and a licence: compare data/*/card.yaml."
        ) from None
    return facts.get(str(Path(path).relative_to(folder)))
