"""Checks of arguments and turns of phrase that the data functions share."""

from __future__ import annotations

import importlib
import math
import numbers
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

Seed = int | np.random.Generator | None


def whole_number(where: str, name: str, value: Any, *, least: int) -> int:
    """The value as an int, if it is an integer (True is none) and at least `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{where}: {name} is {value!r}; it must be an integer of at least {least}")
    if value < least:
        raise ValueError(f"{where}: {name} is {value}; it must be at least {least}")
    return operator.index(value)


def amount_of(where: str, name: str, value: Any, *, below: float = math.inf) -> float:
    """The value as a float, if it is a real number from 0 to less than `below`."""
    allowed = f"it must be a number of at least 0 and less than {below}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{where}: {name} is {value!r}; {allowed}")
    amount = float(value)
    if not 0 <= amount < below:  # so that NaN is refused too
        raise ValueError(f"{where}: {name} is {value}; {allowed}")
    return amount


def generator_from(where: str, seed: Any) -> np.random.Generator:
    """A Generator as it is (it advances), or a new one from an integer, or from None an unforeseeable one."""
    if isinstance(seed, np.random.Generator):
        return seed
    if seed is None:
        return np.random.default_rng()
    return np.random.default_rng(whole_number(where, "seed", seed, least=0))


def closest(name: str, names: Iterable[str]) -> str:
    """A question that proposes the most similar name; '' if none is similar."""
    from difflib import get_close_matches  # not before a name was wrong

    found = get_close_matches(name, list(names), n=1)
    return f" did you mean {found[0]!r}?" if found else ""


def several(n: int, one: str, many: str = "") -> str:
    """A number with its noun: "1 row", "2 rows"."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def extra(module: str) -> Any:
    """An optional dependency, imported only when it is needed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = {"sklearn": "scikit-learn"}.get(module.split(".")[0], module)
        raise ImportError(f'{package} cannot be imported: pip install "tinygrad_ce[data]"') from error
