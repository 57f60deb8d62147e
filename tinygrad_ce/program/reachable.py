"""What a step can see from inside: through functions, methods, modules, classes, objects and containers."""

from __future__ import annotations

import builtins
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import lru_cache, partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from tinygrad_ce.core import Primitive, Tensor
from tinygrad_ce.nn import Module
from tinygrad_ce.optim import Optimizer

Place = tuple[str, Callable[[], Any]]  # the name of something that a step can see, and how to look it up again

CONTAINERS = (list, tuple, dict, set, frozenset, deque)
CLOSED = (Tensor, np.ndarray, np.generic, np.random.Generator, str, bytes, int, float, complex, type(None))
# Attributes of modules and optimizers that each step reads anew.
READ_ANEW = ("training", "schedule", "steps", "missed", "memory", "parameters", "variables")
OURS = ("tinygrad_ce", "numpy")
# Modules of Python whose classes hold values of the user's: SimpleNamespace, Namespace, threading.local, UserDict.
HOLDERS = ("types", "argparse", "_thread", "collections")
NUMBERS = (np.ndarray, np.generic, int, float, complex)
UNCALLED = ("__init__", "__new__", "__del__", "__repr__", "__str__")  # by a step that uses an object which is there


def places_of(step: Any) -> list[Place]:
    """Every place that a step can read, as far as that can be seen from outside; near ones first."""
    return _search(step)[0]


def names_in(step: Callable[..., Any]) -> set[str]:
    """The names that a step mentions, and the functions and classes of the user's that it can reach."""
    return _search(step)[1]


def _search(step: Callable[..., Any]) -> tuple[list[Place], set[str]]:
    found: list[Place] = [("step", partial(_itself, step))]
    unread: dict[str, str] = {}  # attributes of the user's own objects, which nobody but the code found here reads
    waiting: deque[tuple[str, Any]] = deque([("step", step)])
    done: dict[int, Any] = {}  # kept, so that no number is used again
    mentioned: set[str] = set()
    while waiting:
        label, thing = waiting.popleft()
        if id(thing) in done or isinstance(thing, CLOSED):
            continue
        done[id(thing)] = thing
        if isinstance(thing, CONTAINERS):
            entries = thing.items() if isinstance(thing, dict) else enumerate(thing)
            waiting += [(f"{label}[{key!r}]", inner) for key, inner in entries]
            continue
        seen = _seen_by(label, thing, mentioned)
        found += seen
        waiting += [(name, look()) for name, look in seen]
        whole = isinstance(thing, (Module, Optimizer, FunctionType, ModuleType, type))
        if hasattr(thing, "__dict__") and not whole and type(thing).__module__ != "collections":
            unread |= {f"{label}.{name}": name for name in vars(thing)}
    read = [(label, look) for label, look in found if label not in unread or unread[label] in mentioned]
    return read, mentioned


def _seen_by(label: str, thing: Any, mentioned: set[str]) -> list[Place]:
    """What one function, method, module, class or object sees. mentioned: the names in the code so far."""
    if isinstance(thing, FunctionType):
        return [] if _is_foreign(thing.__module__) else _seen_by_function(thing, mentioned)
    if isinstance(thing, ModuleType):
        return [] if _is_foreign(thing.__name__) else _entries(thing.__name__, vars(thing), mentioned)
    if isinstance(thing, type):
        return [] if _is_foreign(thing.__module__) else _seen_by_class(thing)
    if isinstance(thing, Primitive):
        rules = [(label, partial(thing.rule, k)) for k in range(len(thing.arguments))]
        return [(label, partial(getattr, thing, "body")), *rules]
    if isinstance(thing, MethodType):
        return [(label, partial(_itself, part)) for part in (thing.__func__, thing.__self__)]
    if isinstance(thing, ContextVar):
        return [(label, partial(thing.get, None))]
    if isinstance(thing, partial):
        return [(label, partial(_itself, part)) for part in (thing.func, *thing.args, *thing.keywords.values())]
    wrapped = [getattr(thing, name, None) for name in ("__func__", "__wrapped__", "fget", "func")]
    inside = [(label, partial(_itself, part)) for part in wrapped if isinstance(part, FunctionType)]
    return inside + _seen_by_object(label, thing)


def _seen_by_function(function: FunctionType, mentioned: set[str]) -> list[Place]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    found: list[Place] = [(name, partial(getattr, cell, "cell_contents", None)) for name, cell in cells]
    names = {*_names_in(function.__code__)}
    mentioned |= names
    known = function.__globals__
    found += [(name, partial(known.get, name)) for name in sorted(names & (known.keys() | vars(builtins).keys()))]
    for name in sorted(names & (known.keys() | sys.modules.keys())):  # also one that is imported in the function
        module = known.get(name, sys.modules.get(name))
        if isinstance(module, ModuleType) and not _is_foreign(module.__name__):
            found += _entries(name, vars(module), names)
    what = f"an option of {function.__name__}"
    found += [(what, partial(getattr, function, name)) for name in ("__defaults__", "__kwdefaults__")]
    found.append((f"the code of {function.__name__}", partial(getattr, function, "__code__")))  # notebooks reload it
    return found + _attributes(function.__name__, vars(function), lambda name: True)


def _seen_by_class(cls: type) -> list[Place]:
    found = [(base.__name__, partial(_itself, base)) for base in cls.__mro__[1:] if not _is_foreign(base.__module__)]
    return found + _attributes(
        cls.__name__, vars(cls), lambda name: not _is_pythons(name) or _is_method(vars(cls), name)
    )


def _seen_by_object(label: str, thing: Any) -> list[Place]:
    """The attributes of an object, and what its class has if the user wrote that."""
    cls = type(thing)
    found = [] if _is_foreign(cls.__module__) else [(cls.__name__, partial(_itself, cls))]
    slots = [name for base in cls.__mro__ for name in _slots(base)]
    found += [(f"{label}.{name}", partial(getattr, thing, name, None)) for name in slots if not _is_pythons(name)]
    if not _is_open(thing):  # a scaler of scikit-learn: its numbers, and nothing behind them
        own = getattr(thing, "__dict__", {})
        return found + _entries(label, own, {name for name in [*own] if isinstance(own[name], NUMBERS)})
    hidden = READ_ANEW if isinstance(thing, (Module, Optimizer)) else ()
    return found + _attributes(label, vars(thing), lambda name: name not in hidden)


def _is_method(owner: Any, name: str) -> bool:
    """Whether it is a method that Python calls by itself: `__getitem__`, `__getattr__`, `__call__`."""
    return isinstance(owner[name], FunctionType) and name not in UNCALLED


def _slots(cls: type) -> Iterator[str]:
    slots = vars(cls).get("__slots__", ()) if not _is_foreign(cls.__module__) else ()
    yield from (slots,) if isinstance(slots, str) else slots


def _is_open(thing: Any) -> bool:
    """Whether the attributes of an object are looked at. Those of loggers and threads are no matter of a step."""
    module = type(thing).__module__ or ""
    ours = module.partition(".")[0] in OURS or module in HOLDERS
    return hasattr(thing, "__dict__") and (ours or not _is_foreign(module))


def _attributes(label: str, owner: Any, is_seen: Callable[[str], bool]) -> list[Place]:
    """The entries of a __dict__, and how many there are: a new attribute may stand before one of the class."""
    names = [name for name in owner if is_seen(name)]
    entries = _entries(label, owner, {*names})
    return [*entries, (f"the attributes of {label}", owner.__len__)]


def _entries(label: str, owner: Any, names: set[str]) -> list[Place]:
    return [(f"{label}.{name}", partial(owner.get, name)) for name in owner if name in names]


def _is_pythons(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def is_installed(module: str | None) -> bool:
    """Whether it is a module of Python's or of an installed package."""
    return _is_foreign(module) and (module or "").partition(".")[0] not in OURS


@lru_cache(maxsize=1000)
def _is_foreign(module: str | None) -> bool:
    """Whether it is a module of ours, of Python's or of an installed package: their code sees nothing of the user's."""
    top = (module or "").partition(".")[0]
    home = Path(getattr(sys.modules.get(top), "__file__", None) or "").parts
    return top in (*OURS, *sys.stdlib_module_names) or "site-packages" in home or "dist-packages" in home


def _names_in(code: CodeType) -> Iterator[str]:
    """The global names and attributes that a function mentions, and the functions inside of it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)
        elif isinstance(constant, str):
            yield constant  # getattr(options, "scale")


def _itself(x: Any) -> Any:
    return x
