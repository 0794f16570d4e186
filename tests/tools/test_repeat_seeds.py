import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stages.common.cli import UserError
from stages.evaluation import model_evaluation, prediction_sets
from stages.tools import experiments, repeat_seeds
from tests.benchmarks import repeat_intervals
from tests.support import make_split

SPLIT = {"train": [150, 150], "test": [60, 40]}
FACTOR = 1 / 3 + 1 / 3  # of Nadeau and Bengio, for three repeats


def interval(values, metric="accuracy", split=SPLIT):
    """The ends of the interval of one score."""
    [row] = repeat_seeds.summary(pd.DataFrame({f"finetuned {metric}": values}), **split).itertuples()
    assert row[1:3] == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    return row[3:]


@pytest.mark.parametrize(
    ("metric", "variance_at"),
    [("accuracy", lambda m: m * (1 - m)), ("loss", lambda m: m), ("ece", lambda m: m * (1 - m))],
)
def test_the_width_of_the_interval_uses_nadeau_and_bengios_variance(metric, variance_at):
    values = [0.6, 0.75, 0.9]
    for end in interval(values, metric):
        deviation = 0.15 * np.sqrt(FACTOR * variance_at(end) / variance_at(0.75))
        assert abs(end - 0.75) == pytest.approx(4.302652729911275 * deviation)  # Student's t, 2 degrees of freedom


@pytest.mark.parametrize(
    "metric", ["accuracy", "top5_accuracy", "auc", "precision", "recall", "f1", "ece", "threshold"]
)
@pytest.mark.parametrize("values", [[1, 1, 0.5], [0, 0, 0.5], [1, 1, 1], [0, 0, 0], [0, 1, 0]])
def test_the_interval_of_a_fraction_stays_between_0_and_1(metric, values):
    low, high = interval(values, metric)
    assert 0 <= low <= np.mean(values) <= high + 1e-12 <= 1 + 1e-12  # up to float rounding


@pytest.mark.parametrize("metric", ["loss", "calibrated_loss", "temperature", "set_size"])
@pytest.mark.parametrize("values", [[0.01, 0.02, 0.9], [3, 4, 9], [0, 0, 0]])
def test_the_interval_of_a_loss_stays_above_0_and_has_no_upper_bound(metric, values):
    low, high = interval(values, metric)
    assert 0 <= low <= np.mean(values) <= high
    assert high > 9 or max(values) < 9


@pytest.mark.parametrize(
    ("metric", "test", "images"),
    [
        ("accuracy", [60, 40], 100),
        ("recall", [60, 40], 40),  # that of the second class
        ("recall", [20, 40, 40], 90),  # 9 / (1 / 20 + 1 / 40 + 1 / 40)
    ],
)
def test_the_interval_of_equal_repeats_is_wilsons_for_the_number_of_images(metric, test, images):
    split = {"train": [2 * count for count in test], "test": test}
    wilson = stats.binomtest(images, images).proportion_ci(method="wilson")  # two repeats: 1 / 2 + 1 / 2 = 1
    assert interval([1, 1], metric, split) == pytest.approx((wilson.low, wilson.high))


def test_every_metric_of_evaluate_has_a_kind_of_interval():
    metrics = set[str]()
    for count in (2, 7):
        split = make_split(3 * count, [str(k) for k in range(count)])
        probabilities = np.full((3 * count, count), 1 / count)
        predictions = (split.labels, probabilities, probabilities)
        metrics |= model_evaluation.evaluate(split.manifest, split.classes, *predictions).scores.keys()
    metrics |= prediction_sets.evaluate(predictions[:2], predictions[:2]).keys()
    # At most 1, but no fractions of images that are independent.
    others = {"ece", "calibrated_ece", "threshold", "set_threshold", "set_coverage_low", "set_coverage_high"}
    known = {*repeat_seeds.OF_ALL_IMAGES, *repeat_seeds.OF_CLASSES, *repeat_seeds.UNBOUNDED, *others}
    assert metrics | {"temperature", "threshold"} <= known


def test_the_intervals_cover_the_mean_over_other_splits():
    counts = (100, 100)
    scores = [repeat_intervals.run(np.random.default_rng(k), counts, 0.995, noise=0.1) for k in range(200)]
    rows = repeat_intervals.measure({"accuracy": np.array([x["accuracy"] for x in scores])}, counts)
    covered = pd.DataFrame(rows).set_index(["repeats", "kind"])[["others", "same"]].unstack("kind")
    assert (covered.xs("ours", axis=1, level="kind") > 0.94).all(axis=None)
    assert (covered.xs("plain", axis=1, level="kind").loc[3] < 0.8).all()  # often without any width


def test_a_finished_experiment_with_other_parameters_is_refused(monkeypatch):
    monkeypatch.setattr(experiments, "parameters", lambda name: {"finetune.learning_rate": 1e-05, "seed": 1})
    repeat_seeds.check("x-seed-1", ["finetune.learning_rate=1e-05", "seed=1"])
    with pytest.raises(UserError, match="experiment x-seed-1 has finetune.learning_rate=1e-05: take another NAME"):
        repeat_seeds.check("x-seed-1", ["finetune.learning_rate=2e-05", "seed=1"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("finetune.fine_tune_at", "finetune.fine_tune_at must be KEY=VALUE"),
        ("finetune.epoch=5", "finetune.epoch is not a parameter; did you mean finetune.epochs?"),
        ("finetune.epochs=five", "finetune.epochs is 'five', but must be a whole number"),
        ("finetune=5", "finetune is a group of parameters; name one of them: finetune.epochs"),
        ("evaluate.minimum=0.9", "evaluate.minimum is now evaluate.min_metrics"),
        ("seed=3", "seed is set 2 times"),
    ],
)
def test_a_wrong_change_is_refused_before_anything_runs(workplace, monkeypatch, change, words):
    monkeypatch.setattr("sys.argv", ["repeat_seeds", "x", change])
    with pytest.raises(UserError, match=words):
        repeat_seeds.main()


def test_the_table_says_what_the_interval_is_of():
    table = pd.DataFrame({"finetuned accuracy": [0.9, 0.8, 0.85]})
    shown = repeat_seeds.with_heading(repeat_seeds.summary(table, **SPLIT))
    assert list(shown) == ["mean", "standard deviation", "95% interval of the mean"]
    low, high = interval([0.9, 0.8, 0.85])
    assert shown.iloc[0, -1] == f"{low:.4f} to {high:.4f}"
    said = repeat_seeds.describe(table["finetuned accuracy"], repeat_seeds.summary(table, **SPLIT).iloc[0])
    assert "mean test accuracy over 3 seeds is 0.8500 (95% interval" in said
    assert said.endswith("; single seeds have 0.8000 to 0.9000.")
    equal = pd.DataFrame({"finetuned accuracy": [0.9, 0.9]})
    said = repeat_seeds.describe(equal["finetuned accuracy"], repeat_seeds.summary(equal, **SPLIT).iloc[0])
    assert said.endswith("; each seed has 0.9000.")


@pytest.fixture
def commit(monkeypatch):
    """The committed run and the settings of its repeats, called x; both can be changed."""
    state = {"accuracy": 0.85, "known": True, "repeats": {"seed": 1}}
    committed = {"seed": 42, "finetune.epochs": 10, "data.images": "a"}
    model = {"data/models/finetuned": "1"}
    monkeypatch.setattr(experiments, "is_run", lambda revision: state["known"])
    monkeypatch.setattr(experiments, "hashes", lambda revision: {"finetune": model, "evaluate": model})
    monkeypatch.setattr(experiments, "parameters", lambda x: committed | (state["repeats"] if "seed" in x else {}))
    monkeypatch.setattr(experiments, "scores", lambda x: {"finetuned accuracy": state["accuracy"]})
    return state


ACCURACIES = pd.Series([0.8, 0.85, 0.9], name="finetuned accuracy")


@pytest.mark.parametrize(
    ("accuracy", "meaning"),
    [
        (0.85, "as the mean."),
        (0.9, "0.0500 away from the mean: another seed alone may do that."),
        (
            0.61,
            "0.2400 away from the mean: another seed alone may do that.",
        ),  # 4.30 * 0.05 * sqrt(4 / 3) + 0.01 = 0.258
        (0.59, "0.2600 away from the mean: more than another seed alone explains."),
        (1.0, "0.1500 away from the mean: another seed alone may do that."),
    ],
)
def test_the_committed_run_is_compared_with_what_a_further_seed_would_give(commit, accuracy, meaning):
    commit["accuracy"] = accuracy
    said = repeat_seeds.compare_with_commit("x", ACCURACIES, 100)
    assert said == f"The committed run, seed 42, has {accuracy:.4f}, {meaning}"


def test_changed_settings_are_to_be_compared_with_the_same_seeds(commit):
    commit["repeats"] = {"seed": 1, "finetune.epochs": 5}
    said = repeat_seeds.compare_with_commit("x", ACCURACIES, 100)
    assert "Whether finetune.epochs=5 helps" in said
    assert said.endswith("repeat_seeds committed finetune.epochs=10\n    python -m stages.tools.compare committed x")


@pytest.mark.parametrize("other", [{"known": False}, {"repeats": {"seed": 1, "data.images": "b"}}])
def test_without_a_committed_run_on_these_images_nothing_is_compared(commit, other):
    commit.update(other)
    assert repeat_seeds.compare_with_commit("x", ACCURACIES, 100) == ""
