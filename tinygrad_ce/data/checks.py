"""Checks of arguments and turns of phrase that the data functions share."""

from __future__ import annotations

import importlib
import math
import numbers
import operator
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np

from tinygrad_ce.report.words import listed, short

LONGEST = 80  # characters of a value in a message
MOST = 20  # names in a message

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

    known = list(islice(names, 1000))  # it compares letter by letter
    found = [other for other in known if other.lower() == name.lower()] or get_close_matches(name[:LONGEST], known, n=1)
    return f" did you mean {shown(found[0])}?" if found else ""


def shown(value: Any) -> str:
    """A value as Python writes it, with its middle left out where it is long.

    >>> len(shown("x" * 5000)) < 120
    True
    """
    words = repr(value)
    return words if len(words) <= LONGEST else f"{short(words, LONGEST)} ({len(words):,} characters)"


def quoted(names: Sequence[Any]) -> str:
    """Names for a message, as Python writes them: of many the first, and how many there are besides.

    >>> quoted(["a", "b"])
    "'a', 'b'"
    """
    return listed([shown(name) for name in names], MOST)


def extra(module: str, name: str = "data") -> Any:
    """An optional dependency, imported only when it is needed. name: of the extra that brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = {"sklearn": "scikit-learn"}.get(module.split(".")[0], module)
        raise ImportError(f'{package} cannot be imported: pip install "tinygrad_ce[{name}]"') from error
