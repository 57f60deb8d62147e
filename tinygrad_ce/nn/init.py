"""Where weights start: Glorot and He, normal and uniform, drawn from one generator that `seed` restarts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from tinygrad_ce.core import Array

_generator = np.random.default_rng()
_other: ContextVar[np.random.Generator | None] = ContextVar("other generator", default=None)


def seed(value: int | None) -> None:
    """Restart the generator of initial weights and dropout masks; None takes a fresh seed from the system.

    value: an integer, or None.

    >>> seed(0); first = glorot_uniform(2, 3); seed(0); bool((glorot_uniform(2, 3) == first).all())
    True
    """
    global _generator
    if _other.get() is None:
        _generator = np.random.default_rng(value)
    else:
        _other.set(np.random.default_rng(value))


def generator() -> np.random.Generator:
    """The one generator that layers draw from."""
    return _other.get() or _generator


@contextmanager
def drawing_from(value: int) -> Iterator[None]:
    """Meanwhile, layers of this thread draw from a generator of this seed; that of `seed` stays where it is."""
    token = _other.set(np.random.default_rng(value))
    try:
        yield
    finally:
        _other.reset(token)


def glorot_uniform(n_in: int, n_out: int) -> Array:
    """(n_in, n_out) values, uniform with variance 2 / (n_in + n_out): for tanh and sigmoid.

    Source: X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    limit = math.sqrt(6 / (n_in + n_out))
    return generator().uniform(-limit, limit, (n_in, n_out))


def glorot_normal(n_in: int, n_out: int) -> Array:
    """(n_in, n_out) values, normal with variance 2 / (n_in + n_out). Source: as `glorot_uniform`."""
    return generator().normal(0, math.sqrt(2 / (n_in + n_out)), (n_in, n_out))


def he_uniform(n_in: int, n_out: int) -> Array:
    """(n_in, n_out) values, uniform with variance 2 / n_in: for ReLU, which stops half of the signal.

    Source: K. He et al., "Delving deep into rectifiers", 2015.
    """
    limit = math.sqrt(6 / n_in)
    return generator().uniform(-limit, limit, (n_in, n_out))


def he_normal(n_in: int, n_out: int) -> Array:
    """(n_in, n_out) values, normal with variance 2 / n_in. Source: as `he_uniform`."""
    return generator().normal(0, math.sqrt(2 / n_in), (n_in, n_out))


def zeros(n_in: int, n_out: int) -> Array:
    """(n_in, n_out) zeros: enough where there is no hidden layer, and a trap elsewhere: all units stay equal."""
    return np.zeros((n_in, n_out))


INITIALIZERS: dict[str, Callable[[int, int], Array]] = {
    "glorot_uniform": glorot_uniform,
    "glorot_normal": glorot_normal,
    "he_uniform": he_uniform,
    "he_normal": he_normal,
    "zeros": zeros,
}


def initial(how: str | Callable[[int, int], Array], n_in: int, n_out: int) -> Array:
    """Weights by the name of an initializer, or by a function of the two sizes. ValueError for an unknown name."""
    if callable(how):
        weights = np.asarray(how(n_in, n_out), dtype=float)
        if weights.shape != (n_in, n_out):
            raise ValueError(f"init: the function gave shape {weights.shape}, and the weights have ({n_in}, {n_out})")
        return weights
    if how not in INITIALIZERS:
        raise ValueError(f"init={how!r} is unknown; there are {', '.join(INITIALIZERS)}, or pass a function of sizes")
    return INITIALIZERS[how](n_in, n_out)
