"""The inputs on which a student's function is tried: those that a mistake does not survive.

Lengths that are all different, or all alike (a wrong axis keeps its shape there); one row; ties and zeros; large
numbers; float32. A case on which the problem's own forward pass fails, or is not finite, is none.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ce.core import Array

Inputs = Callable[..., dict[str, Array]]
ROWS = ("n", "rows", "batch", "batch_size", "N")  # what the number of rows is called
LARGE = 30.0  # exp(30 * 30) overflows, exp(30) does not


@dataclass(frozen=True, eq=False)
class Case:
    """The arguments of one call, and in words what is special about them.

    kinks: whether numbers may be equal, so that a derivative has several right values.
    """

    words: str
    arguments: Mapping[str, Array]
    kinks: bool = False

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return sum(np.size(array) for array in self.arguments.values())

    def copies(self) -> dict[str, Array]:
        """The arguments again, in memory of their own."""
        return {name: np.array(array) for name, array in self.arguments.items()}


def cases(inputs: Inputs) -> Iterator[Case]:
    """All cases of a function of inputs. inputs: takes a generator, and sizes as keywords with defaults.

    >>> list(cases(lambda generator, n=4: {"x": generator.normal(size=n)}))[3].words
    'one row'
    """
    sizes = _sizes(inputs)
    yield Case("the example", inputs(np.random.default_rng(0)))
    if sizes:
        different = dict(zip(sizes, range(2, 2 + len(sizes)), strict=True))
        yield Case("lengths that are all different", inputs(np.random.default_rng(1), **different))
        yield Case("lengths that are all alike", inputs(np.random.default_rng(2), **dict.fromkeys(sizes, 3)))
        rows = [name for name in sizes if name in ROWS]
        if rows:
            yield Case("one row", inputs(np.random.default_rng(3), **{rows[0]: 1}))
    yield Case("whole numbers, many of them equal", _each(inputs(np.random.default_rng(4)), np.round), kinks=True)
    yield Case("large numbers", _each(inputs(np.random.default_rng(5)), lambda x: x * LARGE))
    yield Case("float32", _each(inputs(np.random.default_rng(6)), lambda x: x.astype(np.float32)))


def _sizes(inputs: Inputs) -> list[str]:
    """The names of the sizes that may be asked for."""
    _, *rest = inspect.signature(inputs).parameters.values()
    return [x.name for x in rest if isinstance(x.default, int) and not isinstance(x.default, bool)]


def _each(arguments: Mapping[str, Array], change: Callable[[Array], Array]) -> dict[str, Array]:
    """The arguments with their floating-point numbers changed."""
    return {
        name: change(np.asarray(array)) if np.asarray(array).dtype.kind == "f" else array
        for name, array in arguments.items()
    }


def resized(example: Mapping[str, Array], forward: Callable[..., Any]) -> Inputs:
    """A function of inputs for a dict of example arrays: equal lengths are one size, and change together.

    Floating-point numbers are drawn anew with the signs and the scale of the example; others are taken from it again.
    """
    arrays = {name: np.asarray(array) for name, array in example.items()}
    lengths = list(dict.fromkeys(n for array in arrays.values() for n in array.shape))
    first = next((array.shape[0] for array in arrays.values() if array.ndim), None)
    names = {n: "n" if n == first else f"size{k}" for k, n in enumerate(lengths)}

    def inputs(generator: np.random.Generator, **sizes: int) -> dict[str, Array]:
        return {
            name: _drawn(generator, array, tuple(sizes.get(names[n], n) for n in array.shape))
            for name, array in arrays.items()
        }

    generator = inspect.Parameter("generator", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    keywords = [inspect.Parameter(names[n], inspect.Parameter.KEYWORD_ONLY, default=n) for n in lengths]
    inputs.__signature__ = inspect.Signature([generator, *keywords])  # type: ignore[attr-defined]
    return inputs


def _drawn(generator: np.random.Generator, array: Array, shape: tuple[int, ...]) -> Array:
    """An array of another shape with the numbers of an example: the same ones again, floating-point ones moved a bit."""
    again: Array = np.resize(array, shape)
    if array.dtype.kind != "f":
        return again
    moved: Array = (again * generator.uniform(0.5, 1.5, shape)).astype(array.dtype)
    return moved
