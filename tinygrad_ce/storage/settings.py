"""Losses, optimizers, schedules and generators as JSON, with their arrays beside it, and made again from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import signature
from typing import Any

import numpy as np

from tinygrad_ce.core import Array, Tensor, array_of
from tinygrad_ce.data.checks import quoted, shown
from tinygrad_ce.optim import Optimizer, ReduceOnPlateau, WarmUp
from tinygrad_ce.optim.base import checked_state
from tinygrad_ce.optim.schedules import Schedule
from tinygrad_ce.storage.classes import (
    LOSS_FUNCTIONS,
    LOSSES,
    OPTIMIZERS,
    SCHEDULES,
    OwnCodeError,
    arguments_of,
    checked_arguments,
    is_listed,
    plain,
)

Settings = dict[str, Any]
GENERATORS: dict[str, Callable[[int], Any]] = {"PCG64": np.random.PCG64, "PCG64DXSM": np.random.PCG64DXSM}


# ---- losses


def describe_loss(loss: Any) -> tuple[Settings, dict[str, Array]]:
    """A loss of the package with its options, and those of them that are arrays. OwnCodeError for another one."""
    function = loss.func if isinstance(loss, partial) else loss
    name = next((name for name, known in LOSS_FUNCTIONS.items() if known is function), None)
    if name is not None and not getattr(loss, "args", ()):
        kind, options = {"function": name}, loss.keywords if isinstance(loss, partial) else {}
    elif is_listed(loss, LOSSES):
        kind, options = {"class": type(loss).__name__}, loss.options
    else:
        raise OwnCodeError(f"the loss {getattr(function, '__qualname__', type(function).__qualname__)}")
    arrays = {option: array_of(x) for option, x in options.items() if isinstance(x, (np.ndarray, Tensor, np.generic))}
    others = {option: plain(value) for option, value in options.items() if option not in arrays}
    return {**kind, "options": others}, {f"loss.{option}": array for option, array in arrays.items()}


def build_loss(settings: Any, arrays: Mapping[str, Array]) -> Callable[..., Any]:
    """The loss that is described, with the options among these arrays: a module, or a function."""
    fields = settings if isinstance(settings, dict) else {}
    function, cls = LOSS_FUNCTIONS.get(str(fields.get("function"))), LOSSES.get(str(fields.get("class")))
    called: Any = function or getattr(cls, "function", None)
    options = fields.get("options")
    if called is None or not isinstance(options, dict) or {*options, *arrays} - {*signature(called).parameters}:
        raise ValueError(f"{shown(settings)} with {quoted([*arrays]) or 'no arrays'} is no loss of this version")
    options = options | {name: np.array(array) for name, array in arrays.items()}
    if cls is not None:
        return cls(**options)
    return partial(called, **options) if options else called


# ---- optimizers


def describe_optimizer(optimizer: Optimizer, paths: Sequence[str]) -> tuple[Settings, dict[str, Array]]:
    """An optimizer with its settings and its schedule, and the arrays that it remembers. paths: of its parameters.

    Raises OwnCodeError where its class, or the schedule, is code of the user's own.
    """
    if not is_listed(optimizer, OPTIMIZERS):
        raise OwnCodeError(f"the optimizer {type(optimizer).__qualname__}")
    settings = arguments_of(optimizer, but=["lr"]) | {"lr": describe_schedule(optimizer.schedule)}
    return {"class": type(optimizer).__name__, "settings": settings, "parameters": [*paths]}, state_of(optimizer)


def state_of(optimizer: Optimizer) -> dict[str, Array]:
    """All that the coming steps depend on, as arrays with the names that they have in a file."""
    return {f"optimizer.{name}": np.asarray(value) for name, value in optimizer.state().items()}


def build_optimizer(settings: Settings, parameters: Sequence[Tensor], state: Mapping[str, Array]) -> Optimizer:
    """The optimizer that is described, for these parameters, where it left off."""
    cls = OPTIMIZERS.get(str(settings.get("class")))
    if cls is None:
        raise ValueError(f"{shown(settings.get('class'))} is no optimizer of this version")
    arguments = dict(checked_arguments(cls, settings.get("settings")))
    optimizer = cls(parameters, lr=build_schedule(arguments.pop("lr", None)), **arguments)
    strange = [name for name in state if name not in optimizer.state()]
    if strange:
        raise ValueError(f"it has besides {quoted(strange)}, which this {cls.__name__} does not remember")
    check_state(optimizer, state)
    optimizer.restore(state)
    return optimizer


def check_state(optimizer: Optimizer, state: Mapping[str, Array]) -> None:
    """Raise ValueError, in words, for a state that this optimizer cannot go on from: its schedule's part too."""
    checked_state(optimizer, state)
    for name, value in optimizer.state().items():
        dtype, own = np.asarray(value).dtype, state.get(name)
        if name.startswith(("lr", "schedule.")) and (own is None or own.shape != () or own.dtype != dtype):
            raise ValueError(f"{name}, which the schedule of this optimizer remembers, is missing, or no {dtype}")
        if own is not None and ((name == "lr" and own <= 0) or (name == "schedule.rate" and own < 0)):
            raise ValueError(f"{name} is {own}, and a learning rate is positive")


# ---- schedules


def describe_schedule(schedule: Schedule) -> Settings:
    """A schedule of the package with its settings; what it remembers is part of the optimizer's state."""
    if not is_listed(schedule, SCHEDULES):
        name = getattr(schedule, "__qualname__", type(schedule).__qualname__)
        raise OwnCodeError(f"the schedule {name}")
    name = type(schedule).__name__
    if isinstance(schedule, WarmUp):
        return {"class": name, "after": describe_schedule(schedule.after), "steps": plain(schedule.steps)}
    if isinstance(schedule, ReduceOnPlateau):  # what its rate is by now is restored with the state
        return {"class": name, **arguments_of(schedule, but=["lr"]), "lr": 1.0}
    return {"class": name, **arguments_of(schedule, lr="rate")}


def build_schedule(settings: Any) -> Schedule:
    """The schedule that is described."""
    fields = dict(settings) if isinstance(settings, dict) else {}
    cls = SCHEDULES.get(str(fields.pop("class", None)))
    if cls is None:
        raise ValueError(f"{shown(settings)} is no schedule of this version")
    arguments = checked_arguments(cls, fields)
    if cls is WarmUp:
        arguments = arguments | {"after": build_schedule(arguments.get("after"))}
    schedule: Schedule = cls(**arguments)
    return schedule


# ---- generators


def describe_generator(generator: np.random.Generator) -> Settings:
    """The state of a generator, of the kind that `np.random.default_rng` makes. ValueError for another kind."""
    state: Settings = dict(generator.bit_generator.state)
    if state["bit_generator"] not in GENERATORS:
        raise ValueError(
            f"save: the generator is a {state['bit_generator']}, and the file holds those that "
            "np.random.default_rng(seed) makes: pass one of them as the seed"
        )
    return state


def build_generator(settings: Any) -> np.random.Generator:
    """A generator in that state. ValueError for what is none."""
    fields = settings if isinstance(settings, dict) else {}
    kind = GENERATORS.get(str(fields.get("bit_generator")))
    if kind is None:
        raise ValueError(f"{shown(settings)} is no generator of this version")
    bits = kind(0)
    try:
        bits.state = settings
        if bits.state == settings:
            return np.random.Generator(bits)
    except (ValueError, TypeError, KeyError, OverflowError):
        pass
    raise ValueError(f"{shown(settings)} is no state of a {fields['bit_generator']}")
