"""What stands above a step: what the bodies of primitives mention that is defined outside of them."""

from __future__ import annotations

import ast
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from tinygrad_ce.core import REGISTRY, Primitive
from tinygrad_ce.program.inlining import globals_of, literal, parsed
from tinygrad_ce.program.reachable import is_installed


def called_above() -> frozenset[str]:
    """What functions above a step may be called, and what their bodies mention."""
    return _called_by((*REGISTRY.values(),))


@lru_cache(maxsize=1)
def _called_by(primitives: tuple[Primitive, ...]) -> frozenset[str]:
    names = {"math", *(op.name for op in primitives)}
    for op in primitives:
        if can_be_printed(op.body):
            names_above(op.body, names)
    return frozenset(names - {"np"})


def names_above(function: Any, known: set[str] | None = None) -> set[str]:
    """What a function mentions that is defined outside of it, and what the functions among that mention."""
    names: set[str] = set() if known is None else known
    around = globals_of(function)
    mentioned = {node.id for node in ast.walk(parsed(function)) if isinstance(node, ast.Name)}
    for name in (mentioned & around.keys()) - names:
        names.add(name)
        value = around[name].body if isinstance(around[name], Primitive) else around[name]
        if can_be_printed(value):
            names_above(value, names)
    return names


def can_be_printed(function: Any) -> bool:
    """Whether this is a function whose text is there, and that is not imported from a package."""
    if not isinstance(function, FunctionType) or is_installed(function.__module__):
        return False
    try:
        parsed(function)
    except (OSError, SyntaxError, ValueError):
        return False
    return True


def definition_of(name: str, value: Any) -> str:
    """The line that gives a name its meaning: an import, or a value as it is; a comment where there is none."""
    if isinstance(value, ModuleType) and is_installed(value.__name__):
        return f"import {value.__name__}" if value.__name__ == name else f"import {value.__name__} as {name}"
    own = getattr(value, "__name__", "")
    module = "numpy" if own and getattr(np, own, None) is value else getattr(value, "__module__", None)
    if own and isinstance(module, str) and is_installed(module):
        return f"from {module} import {own}" if own == name else f"from {module} import {own} as {name}"
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub" and np.isfinite(value).all():
        usual = np.array(value.tolist()).dtype == value.dtype
        dtype = "" if usual else f", dtype={ast.unparse(literal(value.dtype))}"
        return f"{name} = np.array({value.tolist()!r}{dtype})"
    if isinstance(value, np.generic) or (isinstance(value, float) and not np.isfinite(value)):
        return f"{name} = {ast.unparse(literal(value))}"
    try:
        ast.literal_eval(repr(value))
    except (ValueError, SyntaxError):
        return f"# {name}: a {type(value).__name__} from outside of this program; define it before you run this"
    return f"{name} = {value!r}"
