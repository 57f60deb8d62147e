"""Dataclasses as plain JSON values, and back with every value checked: anybody may have written what is read."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import fields
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from tinygrad_ce.data.checks import quoted, shown


def plain(value: Any) -> Any:
    """The value with lists for tuples, all the way down.

    >>> plain({"levels": ("a", "b")})
    {'levels': ['a', 'b']}
    """
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, tuple | list) else value


def mapping(what: str, value: Any) -> dict[str, Any]:
    """The value as a dict; ValueError if it is no JSON object."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{what} is {shown(value)}; it must be an object")
    return dict(value)


def fields_from(kind: type, what: str, values: Mapping[str, Any], unchecked: Collection[str] = ()) -> dict[str, Any]:
    """The arguments of a dataclass: exactly its fields, each of its type, lists as tuples.

    unchecked: names of fields that are given back as they are.

    Raises ValueError, in one line, for fields that are missing or too many, and for values of another type.
    """
    hints = get_type_hints(kind)
    names = [f.name for f in fields(kind)]
    if set(values) != set(names):
        wrong = quoted(sorted(set(values) ^ set(names)))
        raise ValueError(f"{what} must have the entries {quoted(names)}; missing or too many: {wrong}")
    checked = [name for name in names if name not in unchecked]
    return {**values, **{name: _of_type(f"{name} of {what}", values[name], hints[name]) for name in checked}}


def _of_type(what: str, value: Any, hint: Any) -> Any:
    if get_origin(hint) is UnionType:  # X | None
        return None if value is None else _of_type(what, value, get_args(hint)[0])
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        if not isinstance(value, list) or (inner[-1] is not Ellipsis and len(value) != len(inner)):
            raise ValueError(
                f"{what} is {shown(value)}; it must be a list" + f" of {len(inner)}" * (inner[-1] is not ...)
            )
        return tuple(_of_type(what, one, inner[0]) for one in value)
    if hint is float and type(value) in (int, float):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    elif type(value) is hint:
        return value
    raise ValueError(f"{what} is {shown(value)}; it must be a {'finite number' if hint is float else hint.__name__}")
