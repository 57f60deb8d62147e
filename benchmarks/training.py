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
SEEDS = range(10)  # one test digit is 0.002, so a single seed decides nothing


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
    for data, goal in GOALS.items():
        mine, peer = [], []
        for seed in SEEDS:
            *result, run = ours(data, seed)
            mine.append(result)
            peer.append(theirs(run, seed))
        means = [statistics.mean(accuracy for accuracy, _ in results) for results in (mine, peer)]
        reached = means[0] >= goal and means[0] >= means[1]
        print(f"{data}: goal {goal} and scikit-learn's: {'reached' if reached else 'MISSED'}")
        for name, results, mean in zip(("tinygrad_ce", "scikit-learn"), (mine, peer), means, strict=True):
            each = " ".join(f"{accuracy:.3f}" for accuracy, _ in results)
            seconds = statistics.median(seconds for _, seconds in results)
            print(f"  {name:<13} mean accuracy {mean:.4f}, {seconds:4.2f} s a fit   each seed: {each}")


if __name__ == "__main__":
    main()
