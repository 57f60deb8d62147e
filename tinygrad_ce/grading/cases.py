"""The inputs on which a student's function is tried: those that a mistake does not survive.

Lengths that are all different, or all alike (a wrong axis keeps its shape there); one row; ties and zeros; large
numbers; float32.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_ce.assignments.assignment import sizes_of
from tinygrad_ce.core import Array
from tinygrad_ce.report.words import format_number

Inputs = Callable[..., dict[str, Array]]
ROWS = ("n", "N", "m", "rows", "batch", "batch_size")  # what the number of rows is called
LARGE = 1000.0  # exp of it overflows: what a number is multiplied by, or moved by
EPSILON32 = float(np.finfo(np.float32).eps)
EXAMPLE, FAR_FROM_ZERO = "the example", f"{LARGE:g} added to one argument"


@dataclass(frozen=True, eq=False)
class Case:
    """The arguments of one call, and in words what is special about them.

    epsilon: the rounding error that an answer may have at least, where its dtype does not tell.
    """

    words: str
    arguments: Mapping[str, Array]
    epsilon: float = 0.0

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return sum(np.size(array) for array in self.arguments.values())

    @property
    def exact(self) -> dict[str, Array]:
        """The arguments in memory of their own, in float64: what is right is computed with them."""
        return changed(self.arguments, lambda array: array.astype(np.float64))

    @property
    def shapes(self) -> str:
        """The shapes of the arguments, as in `x (2, 3), W (3, 4)`; a number has its value."""
        return ", ".join(
            f"{name} {np.shape(array)}" if np.ndim(array) else f"{name} = {format_number(np.asarray(array).item())}"
            for name, array in self.arguments.items()
        )


@dataclass
class Cases:
    """All cases of a function of inputs, each of which may raise where the function does not allow such sizes.

    inputs: takes a generator, and sizes as keywords with defaults. sizes: the names of these keywords.

    >>> [case().words for case in Cases(lambda generator, n=4: {"x": generator.normal(size=n)})][3]
    'one row'
    """

    inputs: Inputs
    sizes: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.sizes = [*sizes_of(self.inputs)]

    def __iter__(self) -> Iterator[Callable[[], Case]]:
        yield lambda: Case(EXAMPLE, self.drawn(0))
        if self.sizes:
            different = {name: n for n, name in enumerate(self.sizes, start=2)}
            rows = next((name for name in self.sizes if name in ROWS), self.sizes[0])
            yield lambda: Case("lengths that all differ", self.drawn(1, **different))
            yield lambda: Case("lengths that are all alike", self.drawn(2, **dict.fromkeys(self.sizes, 3)))
            yield lambda: Case("one row", self.drawn(3, **{rows: 1}))
        yield lambda: Case("whole numbers, many of them equal or 0", signed(self.drawn(4), lambda x: np.round(x) + 0.0))
        yield lambda: Case("large numbers", signed(self.drawn(5), lambda x: x * LARGE), EPSILON32)
        for name in reversed(self.drawn(7)):  # for the first argument with which it can be computed
            yield lambda name=name: Case(FAR_FROM_ZERO, self._shifted(name), EPSILON32)  # type: ignore[misc]
        yield lambda: Case("float32", changed(self.drawn(6), lambda x: x.astype(np.float32)), EPSILON32)

    def drawn(self, seed: int, **sizes: int) -> dict[str, Array]:
        """Arguments of other sizes."""
        return self.inputs(np.random.default_rng(seed), **sizes)

    def _shifted(self, name: str) -> dict[str, Array]:
        """Arguments with a large number added to one of them. ValueError for what is no place for it."""
        arguments = self.drawn(7)
        array = np.asarray(arguments[name])
        if name == "dout" or array.dtype.kind != "f" or not (array < 0).any():
            raise ValueError(f"{name} is not shifted")
        return {**arguments, name: array + LARGE}


def changed(arguments: Mapping[str, Array], change: Callable[[Array], Array]) -> dict[str, Array]:
    """Copies of the arguments with their floating-point arrays changed."""
    arrays = {name: np.array(array) for name, array in arguments.items()}
    return {name: change(array) if array.dtype.kind == "f" else array for name, array in arrays.items()}


def signed(arguments: Mapping[str, Array], change: Callable[[Array], Array]) -> dict[str, Array]:
    """Copies with those arrays changed in which numbers are negative: others may be probabilities, masks or rates."""
    return changed(arguments, lambda array: change(array) if (array < 0).any() else array)


def resized(example: Mapping[str, Any]) -> Inputs:
    """A function of inputs for a dict of example arrays: equal lengths are one size, and change together.

    The first argument's first length is that of the rows. Numbers are those of the example, moved a bit.
    """
    arrays = {name: np.asarray(array) for name, array in example.items()}
    lengths = list(dict.fromkeys(n for array in arrays.values() for n in array.shape))
    names = {length: f"size{k}" if k else "n" for k, length in enumerate(lengths)}

    def inputs(generator: np.random.Generator, **sizes: int) -> dict[str, Array]:
        new = {length: sizes.get(names[length], length) for length in lengths}
        return {name: _drawn(generator, array, new) for name, array in arrays.items()}

    generator = inspect.Parameter("generator", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    keywords = [inspect.Parameter(names[n], inspect.Parameter.KEYWORD_ONLY, default=n) for n in lengths]
    inputs.__signature__ = inspect.Signature([generator, *keywords])  # type: ignore[attr-defined]
    return inputs


def _drawn(generator: np.random.Generator, array: Array, new: Mapping[int, int]) -> Array:
    """An array of another shape with the numbers of an example, which stay what they are: labels, shares, one-hot rows.

    new: what each length becomes.
    """
    shape = tuple(new[n] for n in array.shape)
    again: Array = np.resize(array, shape)
    if array.dtype.kind == "i" and array.size and array.min() >= 0:  # labels: as many as there are classes
        classes = min((n for n in new if n > array.max()), default=None)
        return again if classes is None else again % new[classes]
    if array.dtype.kind != "f":
        return again
    zeros_and_ones = np.isin(array, (0, 1)).all()
    if array.ndim > 1 and (array >= 0).all() and np.allclose(array.sum(axis=-1), 1):
        if zeros_and_ones:
            again = np.eye(shape[-1])[generator.integers(shape[-1], size=shape[:-1])]
        else:
            again = again / again.sum(axis=-1, keepdims=True)
    elif not zeros_and_ones:
        again = again * generator.uniform(0.5, 1.5, shape)
    return again.astype(array.dtype)
