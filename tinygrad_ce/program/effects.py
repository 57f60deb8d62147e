"""What a step refers to: the models and parameters that tracing must leave as they were, and how it sees to that."""

from __future__ import annotations

from array import array as array_of_python
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from hashlib import blake2b
from typing import Any

import numpy as np

from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.nn import Module
from tinygrad_ce.optim import Optimizer
from tinygrad_ce.program.reachable import CONTAINERS, names_in, places_of
from tinygrad_ce.variable import Variable


class TraceError(RuntimeError):
    """The step does something that a program cannot hold; the message says what to write instead."""


class OutdatedError(TraceError):
    """What tracing has fixed is another one now: the step must be traced again."""


def _referred(step: Any) -> list[Any]:
    """What a function refers to, as far as it can be seen from outside."""
    return [inner for _, look in places_of(step) for inner in _flat(look())]


def _flat(value: Any) -> Iterator[Any]:
    """A value, or what is in its containers."""
    if isinstance(value, CONTAINERS):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _flat(inner)
    else:
        yield value


def models_of(step: Any) -> list[Module]:
    """The models that a function refers to, without the modules inside of them."""
    found: list[Module] = []
    inside: set[int] = set()
    for thing in _referred(step):
        if isinstance(thing, Module) and id(thing) not in inside:
            found.append(thing)
            inside |= {id(module) for module in thing.modules()}
    return found


# Attributes that are arrays of numbers.
GIVING_NUMBERS = {"data", "grad", "numpy", "arrays", "state", "predict", "deepcopy"}


def computes_outside(step: Callable[..., Any]) -> bool:
    """Whether a step may compute arrays from its data outside of tensors: whether it mentions what gives numbers."""
    return not GIVING_NUMBERS.isdisjoint(names_in(step))


def array_names(step: Callable[..., Any]) -> dict[int, str]:
    """What the arrays and tensors that a step refers to are called, by their ids."""
    values = ((name, look()) for name, look in reversed(places_of(step)))  # near names are kept
    return {id(value): name for name, value in values if isinstance(value, (Tensor, np.ndarray))}


def _bytes_of(array: Array) -> bytes:
    """The bytes of an array; of a large one a digest, so that it is not held twice."""
    content = array.tobytes()
    return blake2b(content).digest() if len(content) > 10_000 else content


class Settings:
    """The values that a step refers to (numbers, flags, names, arrays, models), and whether they have changed.

    What each step reads anew is not among them: parameters, the arrays of a module, learning rates, modes, generators
    of random numbers.

    >>> scale = 2.0; settings = Settings(lambda x: scale * x); settings.changed() is None
    True
    """

    def __init__(self, step: Any) -> None:
        self.places = places_of(step)
        values = [look() for _, look in self.places]
        modules = [value for value in values if isinstance(value, Module)]
        read_anew = {id(x) for module in modules for x in vars(module).values() if isinstance(x, np.ndarray)}
        self.copies = [np.ndarray if id(value) in read_anew else _copied(value) for value in values]

    def changed(self) -> str | None:
        """The name of the first value that is another one now; None if all are what they were."""
        for old, (name, look) in zip(self.copies, self.places, strict=True):
            new = look()
            if old is not new and not _is_alike(old, new):
                return name
        return None


BUFFERS = (array_of_python, bytearray, memoryview)
PLAIN = (int, float, complex, bool, str, bytes, type(None), np.generic)


def _copied(value: Any) -> Any:
    """A copy of a container or an array; anything else is itself."""
    value = _opened(value)
    if _is_array(value):
        return _Snapshot(value)
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    if isinstance(value, (set, frozenset)):
        return {*value}
    return [*map(_copied, value)] if isinstance(value, CONTAINERS) else value


class _Snapshot:
    """What an array or tensor was at one time; of what each step reads anew, which tensor it was."""

    def __init__(self, value: Any) -> None:
        self.tensor = value if _is_read_anew(value) else None
        self.facts = _facts(value)

    def is_of(self, value: Any) -> bool:
        """Whether a step would do the same with this value."""
        if not _is_array(value) or (self.tensor is not None and self.tensor is not value):
            return False
        return bool(self.facts == _facts(value))


def _is_array(value: Any) -> bool:
    has_numbers = hasattr(type(value), "__array__") or isinstance(value, BUFFERS)
    return has_numbers and not isinstance(value, np.generic)


def _opened(value: Any) -> Any:
    """An array of objects as a list: its bytes are those of addresses, not of what may change there."""
    return [value.shape, *value.flat] if isinstance(value, np.ndarray) and value.dtype == object else value


def _is_read_anew(value: Any) -> bool:
    return isinstance(value, Tensor) and (value.requires_grad or isinstance(value, Variable))


def _facts(value: Any) -> Any:
    array = value.data if isinstance(value, Tensor) else np.asarray(value)
    if _is_read_anew(value):
        return value.requires_grad
    return array.shape, array.dtype, _bytes_of(array)


def _is_alike(old: Any, new: Any) -> bool:
    """Whether a step that has seen the old value, or its copy, would do the same with the new one."""
    new = new if old is np.ndarray else _opened(new)
    if isinstance(old, _Snapshot):
        return old.is_of(new)
    if old is new or isinstance(new, np.ndarray):
        return old is new or old is np.ndarray
    if isinstance(new, np.random.Generator):
        return isinstance(old, np.random.Generator)
    if isinstance(new, dict):
        return isinstance(old, dict) and [*old] == [*new] and all(_is_alike(old[key], new[key]) for key in new)
    if isinstance(new, (set, frozenset)):
        return bool(old == new)
    if isinstance(new, CONTAINERS):
        return isinstance(old, list) and len(old) == len(new) and all(map(_is_alike, old, new))
    return type(old) is type(new) and isinstance(new, PLAIN) and bool(old == new or (old != old and new != new))


@contextmanager
def unchanged(modules: Sequence[Module]) -> Iterator[None]:
    """At the end, attributes of modules and NumPy's generator are as before; TraceError if they had changed.

    A model that counts its calls, or draws random numbers of its own, is no program.
    """
    state: Any = np.random.get_state()
    before = [(module, _plain_attributes(module)) for module in modules]
    changed = []
    try:
        yield
    finally:
        for module, name, value in ((m, name, value) for m, old in before for name, value in old.items()):
            if not _alike(vars(module).get(name), value):
                changed.append(f"{name} of {module!r:.60}")
                object.__setattr__(module, name, value)
        now: Any = np.random.get_state()
        if any(not np.array_equal(a, b) for a, b in zip(now, state, strict=True)):
            changed.append("NumPy's random generator")
            np.random.set_state(state)
    if changed:
        raise TraceError(
            f"the step changes {changed[0]} while it runs, and a program cannot hold that: draw random numbers with "
            "tg.nn.Dropout or pass them in, and count outside of the step"
        )


def _plain_attributes(module: Module) -> dict[str, Any]:
    """Copies of what is neither a tensor nor a module nor an array."""
    return {name: deepcopy(value) for name, value in vars(module).items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    kinds = (int, float, str, bool, type(None))
    if type(value) in (list, dict):
        return all(isinstance(x, kinds) for x in (value.values() if type(value) is dict else value))
    return type(value) in (*kinds, np.random.Generator)


def _alike(a: Any, b: Any) -> bool:
    if isinstance(a, np.random.Generator) and isinstance(b, np.random.Generator):
        return bool(a.bit_generator.state == b.bit_generator.state)
    return type(a) is type(b) and (a == b or a != a)


def parameters_of(step: Callable[..., Any]) -> list[Tensor]:
    """The parameters that can be seen from outside: of the models, optimizers and tensors that a function refers to."""
    found: dict[int, Tensor] = {}
    for thing in _referred(step):
        inside: Any = [thing]
        if isinstance(thing, (Module, Optimizer)):
            inside = thing.parameters() if isinstance(thing, Module) else thing.parameters
        found |= {t.serial: t for t in inside if isinstance(t, Tensor) and t.op is None and t.requires_grad}
    return list(found.values())


@contextmanager
def for_reading_only(parameters: Sequence[Tensor]) -> Iterator[None]:
    """Inside, nobody can write to the parameters."""
    writeable = [p.data for p in parameters if p.data.flags.writeable]
    try:
        for array in writeable:
            array.flags.writeable = False
        yield
    finally:
        for array in writeable:
            array.flags.writeable = True


@contextmanager
def nudged(parameters: Sequence[tuple[Tensor, Array]]) -> Iterator[None]:
    """Inside, the parameters have other values, and nobody can write to them."""
    try:
        for parameter, before in parameters:
            parameter.data[...] = before * parameter.dtype.type(1.25) + parameter.dtype.type(0.01)
        with for_reading_only([parameter for parameter, _ in parameters]):
            yield
    finally:
        for parameter, before in parameters:
            parameter.data[...] = before
