"""Several arrays in the place of one: a tuple of arrays, or a dict of them, such as a model with two inputs takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def is_several(value: Any) -> bool:
    """Whether the value is several arrays: a dict, or a tuple of arrays. Lists, of whatever, are one array.

    >>> is_several((np.zeros(3), np.ones(3))), is_several([[1.0, 2.0], [3.0, 4.0]]), is_several((0, 1, 1))
    (True, False, False)
    """
    if isinstance(value, tuple):
        return bool(value) and all(is_several(part) or _has_rows(part) for part in value)
    return isinstance(value, dict)


def _has_rows(value: Any) -> bool:
    return len(getattr(value, "shape", ())) > 0


def named_parts(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """(name, array) of each array in the value, as it would be indexed; one array has the name itself.

    >>> [name for name, _ in named_parts({"image": np.zeros(3), "text": np.ones(3)}, "X")]
    ["X['image']", "X['text']"]
    """
    if not is_several(value):
        yield name, value
        return
    for key, part in value.items() if isinstance(value, dict) else enumerate(value):
        yield from named_parts(part, f"{name}[{key!r}]")


def parts_of(value: Any) -> list[Any]:
    """The arrays in the value, in their order; one array is its only part."""
    return [part for _, part in named_parts(value, "")]


def map_parts(function: Callable[[Any], Any], value: Any) -> Any:
    """The same tuples and dicts with the function's answer in place of each array."""
    if not is_several(value):
        return function(value)
    if isinstance(value, dict):
        return {key: map_parts(function, part) for key, part in value.items()}
    return tuple(map_parts(function, part) for part in value)


def number_of_rows(value: Any) -> int:
    """N, the length of the first array: all others are checked to have it too."""
    return len(parts_of(value)[0])


def take_rows(value: Any, rows: Any) -> Any:
    """These rows (integers, a mask or a slice) of each array."""
    return map_parts(lambda array: array[rows], value)
