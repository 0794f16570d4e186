"""The two phases of training: their stages, what they leave, and how they are called."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Phase:
    """A phase of training."""

    stage: str  # name in dvc.yaml, and of the group in params.yaml
    model: str  # name of the model that it leaves, in metrics and file names
    title: str  # name of that model in charts and texts

    @property
    def saved_model(self) -> str:
        return f"data/models/{self.model}"

    @property
    def history(self) -> str:
        """Path of the history, a CSV file with a row per epoch (common/history.py)."""
        return f"data/training/{self.stage}.csv"

    @property
    def metrics(self) -> str:
        """Path of the metrics of the epoch that is kept, a JSON file."""
        return f"data/training/{self.stage}.json"


TRAIN_FROZEN = Phase("train_frozen", "frozen", "Frozen")
FINETUNE = Phase("finetune", "finetuned", "Fine-tuned")
PHASES = (TRAIN_FROZEN, FINETUNE)
