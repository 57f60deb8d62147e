"""What the parameters of an estimator may be, and the words for one that may not."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce import nn
from tinygrad_ce.sklearn.network import ACTIVATIONS


class Rule(NamedTuple):
    """Which values are accepted, and what the message says of them."""

    accepts: Callable[[Any], bool]
    words: str


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _between(low: float, high: float, below: bool = False) -> Rule:
    """Numbers of at least `low` and at most (or below) `high`."""
    upper = f" and {'less than' if below else 'at most'} {high:g}" if high < math.inf else ""
    return Rule(
        lambda x: _is_real(x) and low <= x and (x < high if below else x <= high) and math.isfinite(x),
        f"a number of at least {low:g}{upper}",
    )


def _one_of(*values: str) -> Rule:
    return Rule(lambda x: isinstance(x, str) and x in values, f"one of {', '.join(map(repr, values))}")


def _is_sizes(value: Any) -> bool:
    several = list(value) if isinstance(value, (list, tuple, np.ndarray)) else [value]
    return all(_is_whole(size) and size > 0 for size in several)


def _is_class_weight(value: Any) -> bool:
    if value is None or isinstance(value, str):
        return value in (None, "balanced")
    several = value if isinstance(value, list) else [value]  # of labels a dict for each
    return all(
        isinstance(weights, Mapping) and all(_is_real(x) and 0 <= x < math.inf for x in weights.values())
        for weights in several
    )


POSITIVE = Rule(lambda x: _is_real(x) and 0 < x < math.inf, "a number above 0")
COUNT = Rule(lambda x: _is_whole(x) and x >= 1, "a whole number of at least 1")
FLAG = Rule(lambda x: isinstance(x, (bool, np.bool_)), "True or False")

RULES = {
    "loss": _one_of("squared_error", "poisson"),
    "hidden_layer_sizes": Rule(_is_sizes, "a size, or several, as in (100, 50): each a whole number above 0"),
    "activation": _one_of(*ACTIVATIONS),
    "solver": _one_of("adam", "sgd"),
    "alpha": _between(0, math.inf),
    "batch_size": Rule(lambda x: (isinstance(x, str) and x == "auto") or COUNT.accepts(x), f"'auto', or {COUNT.words}"),
    "learning_rate": _one_of("constant", "invscaling", "adaptive"),
    "learning_rate_init": POSITIVE,
    "power_t": _between(0, math.inf),
    "max_iter": COUNT,
    "shuffle": FLAG,
    "tol": _between(0, math.inf),
    "verbose": Rule(
        lambda x: FLAG.accepts(x) or (_is_whole(x) and x >= 0), "True, False or a whole number of at least 0"
    ),
    "warm_start": FLAG,
    "momentum": _between(0, 1, below=True),
    "nesterovs_momentum": FLAG,
    "early_stopping": FLAG,
    "validation_fraction": _between(0, 1, below=True),
    "beta_1": _between(0, 1, below=True),
    "beta_2": _between(0, 1, below=True),
    "epsilon": POSITIVE,
    "n_iter_no_change": Rule(lambda x: COUNT.accepts(x) or x == math.inf, f"{COUNT.words}, or inf"),
    "max_fun": Rule(lambda x: _is_whole(x) and x == 15000, "left as it is: it belongs to solver='lbfgs'"),
    "class_weight": Rule(_is_class_weight, "'balanced', or a dict from classes to weights, numbers of at least 0"),
    "label_smoothing": _between(0, 1, below=True),
    "dropout": _between(0, 1, below=True),
    "batch_norm": FLAG,
    "module": Rule(
        lambda x: x is None or (callable(x) and not (isinstance(x, type) and issubclass(x, nn.Module))),
        "a tg.nn.Module, or a function of (n_in, n_out) that makes one",
    ),
    "compile": Rule(lambda x: x is True or x is False or (isinstance(x, str) and x == "auto"), "True, False or 'auto'"),
}
OF_THE_NETWORK = ("hidden_layer_sizes", "activation", "dropout", "batch_norm")  # which `module` replaces


def check_parameters(name: str, values: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Raise ValueError for a parameter that may not be what it is. name: of the estimator."""
    if isinstance(values["solver"], str) and values["solver"] == "lbfgs":
        raise ValueError(
            f"{name}: solver='lbfgs' is not here, only steps of gradients are: pass solver='adam' or 'sgd'"
        )
    for parameter, rule in RULES.items():
        if parameter in values and not rule.accepts(values[parameter]):
            raise ValueError(f"{name}: {parameter}={values[parameter]!r} is not possible; it must be {rule.words}")
    if values["early_stopping"] and not values["validation_fraction"]:
        raise ValueError(
            f"{name}: validation_fraction=0 keeps no rows to decide when to stop: pass 0.1, or early_stopping=False"
        )
    if values["module"] is not None:
        changed = [key for key in OF_THE_NETWORK if values[key] is not defaults[key] and values[key] != defaults[key]]
        if changed:
            raise ValueError(
                f"{name}: module= is the whole network, so {changed[0]}={values[changed[0]]!r} would be ignored: leave "
                "one of the two out"
            )
