"""Test accuracy of the default network of `tinygrad-ce train`, against scikit-learn's MLPClassifier.

The same layers, epochs, batch size, optimizer, data and seeds for both.
Goals: digits 0.97, spirals 0.98, moons 0.98, and not below scikit-learn.
"""

from __future__ import annotations

import inspect
import statistics
import time
import warnings

from tinygrad_ce import cli

GOALS = {"digits": 0.97, "spirals": 0.98, "moons": 0.98}
SEEDS = range(5)


def defaults() -> dict[str, object]:
    """The settings of `tinygrad-ce train` without options."""
    parameters = inspect.signature(cli.train).parameters
    return {name: p.default for name, p in parameters.items() if name not in ("data", "out", "seed")}


def ours(data: str, seed: int) -> tuple[float, float, cli.Run]:
    run = cli.prepared(cli.Settings(data=data, seed=seed, **defaults()))  # type: ignore[arg-type]
    start = time.perf_counter()
    run.trainer.fit(
        run.train.X,
        run.targets(run.train),
        epochs=run.settings.epochs,
        batch_size=run.settings.batch_size,
        seed=seed,
    )
    took = time.perf_counter() - start
    return run.trainer.evaluate(run.test.X, run.targets(run.test))["accuracy"], took, run


def theirs(run: cli.Run, seed: int) -> tuple[float, float]:
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
    print(f"{'':<10}{'ours: median (all seeds)':<44}{'s':>6}   {'scikit-learn: median (all seeds)':<44}{'s':>6}")
    for data, goal in GOALS.items():
        mine, other = [], []
        for seed in SEEDS:
            accuracy, took, run = ours(data, seed)
            mine.append((accuracy, took))
            other.append(theirs(run, seed))
        cells = []
        for results in (mine, other):
            accuracies, times = zip(*results, strict=True)
            each = " ".join(f"{a:.3f}" for a in accuracies)
            cell = f"{statistics.median(accuracies):.4f} ({each})"
            cells.append(f"{cell:<44}{statistics.median(times):>6.1f}")
        median, peer = (statistics.median(a for a, _ in results) for results in (mine, other))
        reached = median >= goal and median >= peer
        print(f"{data:<10}{cells[0]}   {cells[1]}   goal {goal} {'reached' if reached else 'MISSED'}")


if __name__ == "__main__":
    main()
