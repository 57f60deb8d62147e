"""What a step refers to: the models and parameters that tracing must leave as they were, and how it sees to that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from tinygrad_ce.core import Array, Primitive, Tensor
from tinygrad_ce.nn import Module
from tinygrad_ce.optim import Optimizer


class TraceError(RuntimeError):
    """The step does something that a program cannot hold; the message says what to write instead."""


Place = tuple[str, Callable[[], Any]]  # the name of something that a step can see, and how to look it up again

OTHERS = ("tinygrad_ce", "numpy", "builtins", "math")  # their functions see nothing of the user's


def _held(step: Callable[..., Any]) -> list[Place]:
    """What a step can see from inside, and what the user's own functions can see that it calls."""
    found: list[Place] = [("step", partial(_itself, step))]
    waiting, done = [step], set()
    while waiting:
        thing = waiting.pop()
        if id(thing) not in done:
            done.add(id(thing))
            seen = _seen_by(thing)
            found += seen
            waiting += [value for _, look in seen if _is_run(value := look())]
    return found


def _is_run(thing: Any) -> bool:
    """Whether a step may run this, so that what it sees is the step's too."""
    if isinstance(thing, (FunctionType, MethodType, partial, Module)):
        return True
    return callable(thing) and isinstance(type(thing).__call__, FunctionType)


def _seen_by(thing: Any) -> list[Place]:
    """What one function, method, module or object that can be called sees."""
    if isinstance(thing, FunctionType):
        return [] if (thing.__module__ or "").partition(".")[0] in OTHERS else _seen_by_function(thing)
    if isinstance(thing, MethodType):
        parts = [thing.__func__, thing.__self__]
    elif isinstance(thing, partial):
        parts = [thing.func, *thing.args, *thing.keywords.values()]
    elif isinstance(thing, Module):
        parts = [type(module).forward for module in thing.modules()]
    else:
        parts = [type(thing).__call__]
    return [(getattr(part, "__name__", "self"), partial(_itself, part)) for part in parts]


def _seen_by_function(function: FunctionType) -> list[Place]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    found: list[Place] = [(name, partial(getattr, cell, "cell_contents", None)) for name, cell in cells]
    names = {*_names_in(function.__code__)}
    for name in sorted(names & function.__globals__.keys()):
        found.append((name, partial(function.__globals__.get, name)))
        module = function.__globals__[name]
        if isinstance(module, ModuleType) and module.__name__.partition(".")[0] not in OTHERS:
            inside = sorted(names & vars(module).keys())
            found += [(f"{name}.{inner}", partial(vars(module).get, inner)) for inner in inside]
    return found


def _itself(x: Any) -> Any:
    return x


def _names_in(code: CodeType) -> Iterator[str]:
    """The global names and attributes that a function mentions, and the functions inside of it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


class OutdatedError(TraceError):
    """What tracing has fixed is another one now: the step must be traced again."""


def _referred(step: Callable[..., Any]) -> list[Any]:
    """What a function refers to, as far as it can be seen from outside."""
    found = [look() for _, look in _held(step)]
    for thing in [*found]:
        if hasattr(thing, "__dict__") and not isinstance(thing, (Module, Optimizer, FunctionType, ModuleType, type)):
            found += vars(thing).values()
    return found


def models_of(step: Callable[..., Any]) -> list[Module]:
    """The models that a function refers to."""
    return list({id(thing): thing for thing in _referred(step) if isinstance(thing, Module)}.values())


class Settings:
    """The Python values that a step refers to (numbers, flags, names, tensors, models), and whether they have changed.

    What each step reads anew is not among them: arrays, learning rates, modes, generators of random numbers.

    >>> scale = 2.0; settings = Settings(lambda x: scale * x); settings.changed() is None
    True
    """

    def __init__(self, step: Callable[..., Any]) -> None:
        self.places = [(name, look) for name, look in _held(step)]
        things = [(name, look()) for name, look in self.places]
        holders = [
            (name, thing) for name, thing in things if hasattr(thing, "__dict__") and not _is_seen_through(thing)
        ]
        for name, holder in holders:
            for owner in holder.modules() if isinstance(holder, Module) else [holder]:
                label = name if owner is holder else type(owner).__name__
                inside = [attribute for attribute in vars(owner) if attribute not in READ_ANEW]
                self.places += [(f"{label}.{attribute}", partial(vars(owner).get, attribute)) for attribute in inside]
        self.looks = [look for _, look in self.places]
        self.values = self._now()
        self.copies = [_copied(value) for value in self.values]

    def _now(self) -> list[Any]:
        return [look() for look in self.looks]

    def changed(self) -> str | None:
        """The name of the first value that is another one now; None if all are what they were."""
        now = self._now()
        for k, (old, new) in enumerate(zip(self.values, now, strict=True)):
            if (old is not new or type(new) in MUTABLE) and not _is_alike(self.copies[k], new):
                return self.places[k][0]
        return None


READ_ANEW = ("training", "schedule", "steps", "memory", "parameters", "variables", "grad")
MUTABLE = (list, dict, set)
PLAIN = (int, float, complex, bool, str, bytes, type(None), np.generic)


def _is_seen_through(thing: Any) -> bool:
    return isinstance(thing, (FunctionType, ModuleType, type, Tensor, np.ndarray, np.random.Generator, Primitive))


def _copied(value: Any) -> Any:
    """A copy of a container; anything else is itself."""
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return type(value)(map(_copied, value)) if type(value) in (list, tuple, set) else value


def _is_alike(old: Any, new: Any) -> bool:
    """Whether a step that has seen the old value would do the same with the new one."""
    if old is new or isinstance(new, (np.ndarray, np.random.Generator)):
        return True
    if type(old) is not type(new):
        return False
    if isinstance(new, dict):
        return old.keys() == new.keys() and all(_is_alike(old[key], new[key]) for key in new)
    if isinstance(new, (list, tuple)):
        return len(old) == len(new) and all(map(_is_alike, old, new))
    return isinstance(new, (*PLAIN, set)) and bool(old == new or (old != old and new != new))


@contextmanager
def unchanged(modules: Sequence[Module]) -> Iterator[None]:
    """At the end, attributes of modules and NumPy's generator are as before; TraceError if they had changed.

    A model that counts its calls, or draws random numbers of its own, is no program.
    """
    state, before = _numpys_state(), [(module, _plain_attributes(module)) for module in modules]
    changed = []
    try:
        yield
    finally:
        for module, name, value in ((m, name, value) for m, old in before for name, value in old.items()):
            if not _alike(vars(module).get(name), value):
                changed.append(f"{name} of {module!r:.60}")
                object.__setattr__(module, name, value)
        if any(not np.array_equal(a, b) for a, b in zip(_numpys_state(), state, strict=True)):
            changed.append("NumPy's random generator")
            np.random.set_state(state)
    if changed:
        raise TraceError(
            f"the step changes {changed[0]} while it runs, and a program cannot hold that: draw random numbers with "
            "tg.nn.Dropout or pass them in, and count outside of the step"
        )


def _numpys_state() -> Any:
    return np.random.get_state()


def _plain_attributes(module: Module) -> dict[str, Any]:
    """Copies of what is neither a tensor nor a module nor an array."""
    kinds = (int, float, str, bool, type(None), np.random.Generator, list, dict)
    plain = {name: value for name, value in vars(module).items() if type(value) in kinds}
    return {name: deepcopy(value) for name, value in plain.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, dict)):
        inner = value.values() if isinstance(value, dict) else value
        return all(isinstance(x, (int, float, str, bool, type(None))) for x in inner)
    return True


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
