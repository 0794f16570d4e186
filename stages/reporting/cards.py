"""Cards of data sets and initial weights: what the model card says about them, in data/*/card.yaml beside them."""

from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from stages.common import yaml_file
from stages.common.cli import UserError


class Card(BaseModel):
    """Facts in Markdown about a data set or initial weights; `limit` says how they limit what the metrics mean."""

    title: str = ""
    description: str
    licence: str
    limit: str = ""


def find(path: str) -> Card | None:
    """Returns the card of data.images or model.weights, None of the user's own.

    The card.yaml of a folder in data/ maps paths in that folder to their cards.

    Raises:
        UserError: the card.yaml does not.
    """
    folder = Path(*Path(path).parts[:2])
    file = folder / "card.yaml"
    if not file.exists():
        return None
    try:
        cards = TypeAdapter(dict[str, Card]).validate_python(yaml_file.read(file))
    except ValidationError:
        raise UserError(
            f"{file} does not map paths to a description and a licence: compare data/*/card.yaml."
        ) from None
    return cards.get(str(Path(path).relative_to(folder)))
