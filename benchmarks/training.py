"""Test accuracy of the default network of `tinygrad-ce train`, against scikit-learn's MLPClassifier.

The same layers, epochs, batch size, optimizer, data and seeds for both.
Goals: digits 0.97, spirals 0.98, moons 0.98, and not below scikit-learn.
"""

from __future__ import annotations

import statistics
import time
import warnings
from dataclasses import replace

from benchmarks.side_by_side import installed, size
from tinygrad_ce import cli

GOALS = {"digits": 0.97, "spirals": 0.98, "moons": 0.98}
SEEDS = range(size(10, tiny=1))  # one test digit is 0.002, so a single seed decides nothing


def ours(data: str, seed: int) -> tuple[float, float, cli.Run]:
    """The test accuracy, the seconds of the fit, and the run: all settings but the seed are those without options."""
    defaults = cli.Settings(data)
    settings = replace(defaults, seed=seed, epochs=size(defaults.epochs, tiny=1))
    run = cli.prepared(settings)
    start = time.perf_counter()
    run.trainer.fit(
        run.train.X,
        run.targets(run.train),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=seed,
    )
    took = time.perf_counter() - start
    return run.trainer.evaluate(run.test.X, run.targets(run.test))["accuracy"], took, run


def theirs(run: cli.Run, seed: int) -> tuple[float, float]:
    """The test accuracy and the seconds of scikit-learn on the same data with the same settings."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    settings = run.settings
    model = MLPClassifier(
        tuple(int(size) for size in settings.hidden.split(",")),
        activation=settings.activation,
        batch_size=settings.batch_size,
        learning_rate_init=settings.lr,
        max_iter=settings.epochs,
        n_iter_no_change=settings.epochs,
        alpha=0.0,
        random_state=seed,
    )
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(run.train.X, run.train.y)
    return float(model.score(run.test.X, run.test.y)), time.perf_counter() - start


def main() -> None:
    print(__doc__)
    if not installed("sklearn"):  # it brings the digits, too
        return
    for data, goal in GOALS.items():
        results: dict[str, list[tuple[float, float]]] = {"tinygrad_ce": [], "scikit-learn": []}
        for seed in SEEDS:
            accuracy, seconds, run = ours(data, seed)
            results["tinygrad_ce"].append((accuracy, seconds))
            results["scikit-learn"].append(theirs(run, seed))
        means = {name: statistics.mean(accuracy for accuracy, _ in rows) for name, rows in results.items()}
        reached = means["tinygrad_ce"] >= max(goal, means["scikit-learn"])
        print(f"{data}: goal {goal} and scikit-learn's: {'reached' if reached else 'MISSED'}")
        for name, rows in results.items():
            each = " ".join(f"{accuracy:.3f}" for accuracy, _ in rows)
            seconds = statistics.median(seconds for _, seconds in rows)
            print(f"  {name:<13} mean accuracy {means[name]:.4f}, {seconds:4.2f} s a fit   each seed: {each}")


if __name__ == "__main__":
    main()
