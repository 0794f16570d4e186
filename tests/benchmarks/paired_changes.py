"""Coverage of the 95% intervals of statistics/paired_changes.py: how often they hold the true change.

    python -m tests.benchmarks.paired_changes [--simulations 1000]

Made-up predictions of two models for the same images of two classes, whose true change of accuracy and loss is known:
the first is right on 70% to 97% of the images, and the second on as many or more. The logits of both have 70% of the
variance of their noise in common. With near-duplicates, 30% of the groups have 2 to 6 images, which have 90% of the
variance in common.

Of accuracy, 0.946 to 0.974 of the intervals hold the true change; of loss, 0.935 to 0.951 without near-duplicates, and
with them 0.885 of 40 images, 0.912 of 65, 0.938 of 200 and 0.946 of 1,000: few groups have most of the difference.
"""

import argparse

import numpy as np
import pandas as pd
from scipy import stats
from tqdm import tqdm

from stages.statistics import paired_changes

ACCURACIES = (0.7, 0.8, 0.9, 0.97)  # of the first model
GAINS = (0, 0.2, 0.5)  # how much higher the logits of the second are
SHARPNESS = (3, 4)  # scale of the logits of each model: both are too confident, the second more


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=1000)
    simulations = parser.parse_args().simulations
    settings = [(accuracy, gain) for accuracy in ACCURACIES for gain in GAINS]
    truths = {setting: truth(*setting) for setting in settings}
    rows = []
    for copies in (False, True):
        for count in (40, 65, 200, 1000):
            for simulation in tqdm(range(simulations), leave=False, disable=None):
                rng = np.random.default_rng([copies, count, simulation])
                setting = settings[rng.integers(len(settings))]
                table = simulate(rng, count, copies, *setting)
                changes = {"accuracy": paired_changes.of_accuracy(table), "loss": paired_changes.of_loss(table)}
                rows += [
                    {
                        "near-duplicates": copies,
                        "images": count,
                        "metric": metric,
                        "coverage": change.low <= truths[setting][metric] <= change.high,
                        "width": change.high - change.low,
                    }
                    for metric, change in changes.items()
                ]
    means = pd.DataFrame(rows).groupby(["near-duplicates", "images", "metric"]).mean().unstack("metric")
    print(f"Means over {simulations} simulations\n{means.to_string(float_format='{:.3f}'.format)}")


def simulate(rng, count, copies, accuracy, gain):
    """Returns the table of paired_changes: group, whether `a` and `b` are right, loss_a and loss_b."""
    sizes = np.where(rng.random(count) < 0.3, rng.integers(2, 7, count), 1) if copies else np.ones(count, int)
    groups = np.repeat(np.arange(count), sizes)[:count]
    common = 0.9 if copies else 0

    def noise():
        return np.sqrt(common) * rng.normal(size=count)[groups] + np.sqrt(1 - common) * rng.normal(size=count)

    shared, columns = noise(), {"group": groups}
    for name, sharpness, higher in zip("ab", SHARPNESS, (0, gain), strict=True):
        logits = stats.norm.ppf(accuracy) + higher + np.sqrt(0.7) * shared + np.sqrt(0.3) * noise()
        columns |= {name: logits > 0, f"loss_{name}": np.logaddexp(0, -sharpness * logits)}
    return pd.DataFrame(columns)


def truth(accuracy, gain):
    """Returns the true changes: that of accuracy in closed form, that of loss from 2,000,000 images."""
    table = simulate(np.random.default_rng(0), 2_000_000, False, accuracy, gain)
    return {
        "accuracy": stats.norm.cdf(stats.norm.ppf(accuracy) + gain) - accuracy,
        "loss": (table["loss_b"] - table["loss_a"]).mean(),
    }


if __name__ == "__main__":
    main()
