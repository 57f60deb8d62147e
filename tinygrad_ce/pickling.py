"""A primitive is pickled by its name: its rules and its kernel are those of the process that reads it.

Tensors, modules, optimizers and trainers are pickled as they are (`joblib` sends them to other processes so). A tensor
with a history refuses, in words: a graph belongs to the process that made it. Compiled programs are not sent along.
"""

from __future__ import annotations

import importlib
from typing import Any

from tinygrad_ce.core import REGISTRY, Primitive


def primitive_called(name: str, module: str) -> Primitive:
    """The primitive of this name, which importing the module makes; ValueError if it does not.

    >>> primitive_called("mul", "tinygrad_ce.ops.arithmetic")
    <primitive mul>
    """
    if name not in REGISTRY:
        importlib.import_module(module)
    if name not in REGISTRY:
        raise ValueError(
            f"primitive {name}: it was pickled in a process that had made it in {module}, and here {module} does not: "
            "put it into a file that both import"
        )
    return REGISTRY[name]


def _reduced(op: Primitive) -> tuple[Any, ...]:
    if REGISTRY.get(op.name) is not op:
        raise TypeError(f"primitive {op.name}: another one has its name now, so it cannot be pickled by it")
    return primitive_called, (op.name, op.body.__module__)


def attach() -> None:
    """Tell pickle how a primitive is pickled, and copy.deepcopy that it is its own copy, as a function is."""
    Primitive.__reduce__ = _reduced  # type: ignore[method-assign, assignment]
    Primitive.__copy__ = Primitive.__deepcopy__ = lambda op, *_: op  # type: ignore[attr-defined]
