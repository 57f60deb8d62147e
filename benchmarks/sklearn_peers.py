"""MLPClassifier beside scikit-learn's own on its own toy sets: test accuracy over 10 seeds, and the time of a fit.

The same parameters, splits, initial weights, batches and epochs for both, so the same curves to rounding; both in one
thread. A search makes hundreds of small fits, so those of 150 rows are timed too. The time of compiling is shown apart:
it is paid once for each network and batch size, and kept on disk. With batches of 200 rows two thirds of our time are
products of matrices, which are BLAS's for both.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.side_by_side import in_turn, installed, ratio, size, table, verdict

SEEDS = range(size(10, tiny=1))
TOYS = ("iris", "wine", "breast_cancer", "digits")
GOALS = {"digits, batches of 32": 3.0, "digits, batches of 200": 3.0}


def classifiers() -> tuple[Any, Any]:
    """scikit-learn's class and ours."""
    from sklearn.neural_network import MLPClassifier as Theirs

    from tinygrad_ce.sklearn import MLPClassifier as Ours

    return Theirs, Ours


def toy(name: str) -> tuple[Any, Any]:
    """Standardized rows of a data set of scikit-learn's, and their classes."""
    from sklearn import datasets

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    spread = X.std(axis=0)
    return (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1.0), y


def accuracies(kind: Any, name: str) -> list[float]:
    """The test accuracy for each seed."""
    from sklearn.model_selection import train_test_split

    X, y = toy(name)
    answers = []
    for seed in SEEDS:
        train_X, test_X, train_y, test_y = train_test_split(X, y, test_size=0.25, stratify=y, random_state=seed)
        model = kind((32,), learning_rate_init=0.01, max_iter=size(100, tiny=1), random_state=seed).fit(
            train_X, train_y
        )
        answers.append(float(model.score(test_X, test_y)))
    return answers


def compare_accuracy() -> None:
    """Print the mean accuracy of both on each toy set."""
    theirs, ours = classifiers()
    print(f"mean test accuracy over {len(SEEDS)} seeds: goal at least scikit-learn's")
    for name in TOYS:
        expected, found = (statistics.mean(accuracies(kind, name)) for kind in (theirs, ours))
        print(f"  {name:<14} scikit-learn {expected:.4f}   tinygrad_ce {found:.4f}   {verdict(found, least=expected)}")


def compare_time(title: str, name: str, **parameters: Any) -> None:
    """Print the median time of a fit: scikit-learn's, and ours with compiled epochs and without."""
    theirs, ours = classifiers()
    X, y = toy(name)
    epochs = parameters.pop("epochs")
    parameters |= {"max_iter": epochs, "n_iter_no_change": epochs, "random_state": 0}
    start = time.perf_counter()
    ours(**parameters, compile=True).fit(X, y)
    first = time.perf_counter() - start
    contenders: dict[str, Callable[[], Any]] = {
        "scikit-learn": lambda: theirs(**parameters).fit(X, y),
        "tinygrad_ce, step by step": lambda: ours(**parameters, compile=False).fit(X, y),
        "tinygrad_ce, compiled": lambda: ours(**parameters, compile=True).fit(X, y),
    }
    times = in_turn(contenders, seconds=0.0, rounds=size(7, tiny=1))
    print(f"\n{title}: {len(X)} rows, {epochs} epochs; the first compiled fit took {first:.1f} s")
    table(times, "tinygrad_ce, compiled", {}, unit="ms")
    times_as_fast = ratio(times["scikit-learn"], times["tinygrad_ce, compiled"])
    print(f"compiled: {times_as_fast:.2f} times as fast as scikit-learn   {verdict(times_as_fast, GOALS.get(title))}")


def main() -> None:
    print(__doc__)
    if not installed("sklearn"):
        return
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        compare_accuracy()
        few = size(30, tiny=1)
        compare_time("digits, batches of 32", "digits", hidden_layer_sizes=(100,), batch_size=32, epochs=few)
        compare_time("digits, batches of 200", "digits", hidden_layer_sizes=(100,), epochs=size(100, tiny=1))
        compare_time("iris, batches of 150", "iris", hidden_layer_sizes=(32,), epochs=size(200, tiny=1))
        compare_time("iris, batches of 32", "iris", hidden_layer_sizes=(32,), batch_size=32, epochs=few)


if __name__ == "__main__":
    main()
