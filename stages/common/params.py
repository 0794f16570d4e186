"""params.yaml: every parameter, its type and its range, declared once.

`read` checks the whole file, so that a misspelt key stops the first stage that runs, and hands out only the keys that
the caller names: those are the keys that its stage declares in dvc.yaml.
"""

from dataclasses import dataclass

import yaml

from stages.common.cli import UserError

FINE_TUNE_LAYERS = 154  # layers of Keras's MobileNetV2 without top, the input layer counted


@dataclass(frozen=True)
class Whole:
    """A whole number in [low, high]."""

    low: int
    high: int

    def __str__(self):
        return f"a whole number from {self.low} to {self.high}"

    def convert(self, value):
        if isinstance(value, bool) or int(value) != float(value) or not self.low <= int(value) <= self.high:
            raise ValueError
        return int(value)


@dataclass(frozen=True)
class Real:
    """A number in [low, high], or in (low, high) where `open`."""

    low: float
    high: float
    open: bool = False

    def __str__(self):
        return f"a number {'between' if self.open else 'from'} {self.low} {'and' if self.open else 'to'} {self.high}"

    def convert(self, value):
        # float(): `dvc exp run -S key=0.00001` writes 1e-05, which YAML 1.1 reads as a string.
        number = float(value)
        inside = self.low < number < self.high if self.open else self.low <= number <= self.high
        if isinstance(value, bool) or not inside:
            raise ValueError
        return number


@dataclass(frozen=True)
class Choice:
    """One of some words."""

    words: tuple

    def __str__(self):
        return f"one of {', '.join(self.words)}"

    def convert(self, value):
        if value not in self.words:
            raise ValueError
        return value


@dataclass(frozen=True)
class Text:
    """A text that is not empty, starts with one of `prefixes` and ends in `suffix`."""

    meaning: str
    suffix: str = ""
    prefixes: tuple = ("",)

    def __str__(self):
        return self.meaning

    def convert(self, value):
        if not isinstance(value, str) or not value.strip():
            raise ValueError
        if not value.startswith(self.prefixes) or not value.endswith(self.suffix):
            raise ValueError
        return value


@dataclass(frozen=True)
class Minimum:
    """A mapping from some metrics to a number in [0, 1] each."""

    metrics: tuple

    def __str__(self):
        return f"a mapping from some of {', '.join(self.metrics)} to a number from 0 to 1 each, such as {{accuracy: 0.9}}"

    def convert(self, value):
        if not isinstance(value, dict) or not set(value) <= set(self.metrics):
            raise ValueError
        return {metric: Real(0, 1).convert(number) for metric, number in value.items()}


@dataclass(frozen=True)
class Threshold:
    """A number in (0, 1), or the criterion that chooses it: "max_f1" or "precision>=X" with X in (0, 1]."""

    def __str__(self):
        return "a number between 0 and 1, max_f1, or a precision, such as precision>=0.95"

    def convert(self, value):
        if not isinstance(value, str) or value[:1].isdigit():
            return Real(0, 1, open=True).convert(value)
        if value != "max_f1" and not (value.startswith("precision>=") and 0 < float(value.removeprefix("precision>=")) <= 1):
            raise ValueError
        return value


PARAMS = {
    "seed": Whole(0, 2**32 - 1),  # the range of keras.utils.set_random_seed
    "image_size": Whole(32, 1024),  # MobileNetV2 halves the picture five times
    "batch_size": Whole(1, 4096),
    "data.images": Text("the path of a folder of pictures, one sub-folder per class"),
    "data.validation": Real(0, 1, open=True),
    "data.test": Real(0, 1, open=True),
    "data.unreadable": Choice(("error", "skip")),
    "data.label_conflict": Choice(("error", "drop")),
    "data.split": Choice(("auto", "random")),
    "alpaca.base_url": Text("an address that starts with http:// or https://", prefixes=("http://", "https://")),
    "alpaca.max_missing": Whole(0, 327),
    "model.weights": Text("the path of a .weights.h5 file", suffix=".weights.h5"),
    "model.dropout": Real(0, 0.99),
    "augmentation.flip": Choice(("none", "horizontal", "vertical", "horizontal_and_vertical")),
    "augmentation.rotation": Real(0, 0.5),
    "train.class_weights": Choice(("none", "balanced")),
    "train.mixed_precision": Choice(("none", "float16", "bfloat16")),
    "train.distribution": Choice(("none", "mirrored", "multi_worker")),
    **{
        f"{phase}.{key}": kind
        for phase in ("train_frozen", "finetune")
        for key, kind in {
            "epochs": Whole(1, 10_000),
            "learning_rate": Real(0, 10, open=True),
            "schedule": Choice(("constant", "cosine")),
            "early_stopping.monitor": Choice(("none", "val_loss", "val_accuracy")),
            "early_stopping.patience": Whole(1, 10_000),
        }.items()
    },
    "finetune.fine_tune_at": Whole(0, FINE_TUNE_LAYERS),
    "evaluate.threshold": Threshold(),
    "evaluate.minimum": Minimum(("accuracy", "auc", "precision", "recall", "f1")),
}


def read(*keys, path="params.yaml"):
    """Reads and checks the parameters.

    Args:
        keys: dotted names out of PARAMS, such as "finetune.fine_tune_at".
        path: the parameter file, relative to the working folder.

    Returns:
        dict from each of `keys` to its value, converted to the declared type.

    Raises:
        UserError: the file cannot be read, or a key is unknown, missing, of a wrong type or out of range.
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
    given = dict(_flatten(tree))
    for key in sorted(given.keys() - PARAMS.keys()):
        raise UserError(f"{path}: {key} is no parameter of this pipeline. There are: {', '.join(PARAMS)}.")
    for key in sorted(PARAMS.keys() - given.keys()):
        raise UserError(f"{path}: {key} is missing; it must be {PARAMS[key]}.")
    values = {}
    for key, kind in PARAMS.items():
        try:
            values[key] = kind.convert(given[key])
        except (TypeError, ValueError, OverflowError):
            raise UserError(f"{path}: {key} is {given[key]!r}, but must be {kind}.") from None
    if values["data.validation"] + values["data.test"] >= 1:
        raise UserError(
            f"{path}: data.validation {values['data.validation']} and data.test {values['data.test']} leave nothing to "
            "train on; their sum must be below 1."
        )
    return {key: values[key] for key in keys}


def _flatten(tree, prefix=""):
    """Yields (dotted key, value) for every parameter of a mapping of mappings."""
    for key, value in tree.items():
        if isinstance(value, dict) and f"{prefix}{key}" not in PARAMS:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
