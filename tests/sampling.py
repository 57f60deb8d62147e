"""What a sample of a primitive is, and the arrays that most samples are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

rng = np.random.default_rng(20240607)


@dataclass(frozen=True, eq=False)
class Sample:
    """One call of a primitive: `op(*inputs, **params)`.

    smooth: False at a kink, or where a derivative means nothing: the numerical checks go around it.
    constant: the positions of floating-point inputs that are declared to have no gradient.
    """

    inputs: tuple[Any, ...]
    params: dict[str, Any]
    smooth: bool = True
    constant: tuple[int, ...] = ()

    @property
    def wrt(self) -> list[int]:
        """The positions of the inputs that have a gradient."""
        return [i for i, x in enumerate(self.inputs) if is_floating(x) and i not in self.constant]

    def with_arrays(self, change: Callable[[np.ndarray], np.ndarray]) -> Sample:
        """The same call with every floating-point array changed."""
        return replace(self, inputs=tuple(change(x) if is_floating(x) else x for x in self.inputs))


def is_floating(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def float32(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32)


def strided(x: np.ndarray) -> np.ndarray:
    """The same numbers, contiguous along no axis: every other element of a larger array, walked backwards."""
    if x.ndim == 0:
        return x
    larger = np.full([2 * n + 1 for n in x.shape], np.nan, x.dtype)
    view = np.flip(larger[(slice(1, None, 2),) * x.ndim])
    view[...] = x
    return view


def spread(*shape: int, shift: float = 0.37) -> np.ndarray:
    """Distinct numbers between -2 and 2, none of them near 0 and no two near each other, in random order."""
    n = int(np.prod(shape))
    return rng.permutation((np.arange(n) - n // 2 + shift) * 4 / max(n, 1)).reshape(shape)


def positive(*shape: int) -> np.ndarray:
    """Distinct numbers between 0.3 and 2.5, in random order."""
    return rng.permutation(np.linspace(0.3, 2.5, int(np.prod(shape)))).reshape(shape)


def distribution(*shape: int) -> np.ndarray:
    rows = positive(*shape)
    return rows / rows.sum(axis=-1, keepdims=True)


def S(*inputs: Any, smooth: bool = True, constant: tuple[int, ...] = (), **params: Any) -> Sample:
    return Sample(inputs, params, smooth, constant)


def of_shapes(make: Callable[..., np.ndarray], **params: Any) -> list[Sample]:
    """One input in the shapes that elementwise functions must take: a matrix, a 0-d array, no elements, three axes."""
    return [S(make(*shape), **params) for shape in ((2, 3), (), (0, 3), (2, 1, 4))]


def pairs(make: Callable[..., np.ndarray], other: Callable[..., np.ndarray] | None = None) -> list[Sample]:
    """Two inputs of equal shapes, and of shapes that broadcast in every way, also against 0-d arrays and numbers."""
    other = other or (lambda *shape: make(*shape, shift=0.61) if make is spread else make(*shape))
    shapes = [
        ((2, 3), (2, 3)),
        ((2, 3), (3,)),
        ((3,), (2, 3)),
        ((2, 1), (1, 4)),
        ((), (2, 2)),
        ((2, 2), ()),
        ((), ()),
        ((3, 1, 2), (4, 1)),
        ((0, 3), (3,)),
        ((1, 3), (0, 3)),
        ((1,), (2, 1, 1)),
    ]
    both = [S(make(*a), other(*b)) for a, b in shapes]
    return [*both, S(make(2, 3), 1.7), S(1.7, other(2, 3))]


def within_one(*shape: int) -> np.ndarray:
    """Distinct numbers between -0.67 and 0.67."""
    return np.asarray(spread(*shape) / 3)


def above_one(*shape: int) -> np.ndarray:
    return np.asarray(1 + positive(*shape))


def reductions(make: Callable[..., np.ndarray], empty: bool = True) -> list[Sample]:
    """All the ways to name axes; with `empty`, also a sum over no elements, where that is a number."""
    samples = [
        S(make(2, 3)),
        S(make(2, 3), axis=0),
        S(make(2, 3), axis=-1, keepdims=True),
        S(make(2, 3), keepdims=True),
        S(make(2, 3, 4), axis=(0, -1)),
        S(make(2, 3, 4), axis=(2, 0), keepdims=True),
        S(make(2, 3, 4), axis=1),
        S(make()),
        S(make(1, 1), axis=1),
        S(make(0, 3), axis=1),
    ]
    return [*samples, S(make(0, 3), axis=0), S(make(0, 3))] if empty else samples


def soft(make: Callable[..., np.ndarray]) -> list[Sample]:
    """What softmax and its logarithm take."""
    return [
        S(make(2, 3)),
        S(make(2, 3), axis=0),
        S(make(2, 3, 4), axis=1),
        S(make(4)),
        S(make(0, 3)),
        S(make(3, 1)),
        S(np.array([[800.0, 799.0, 10.0], [-800.0, -801.0, -802.0]])),
    ]
