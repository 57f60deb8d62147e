"""What leaves the page: the description in a safetensors file that `tg.load` reads, and the program as Python."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any

from tinygrad_ce import losses, nn
from tinygrad_ce.live.traced import Traced
from tinygrad_ce.optim import Optimizer
from tinygrad_ce.storage.architecture import describe
from tinygrad_ce.storage.classes import LOSS_FUNCTIONS, LOSSES, OPTIMIZERS, OwnCodeError, arguments_of, is_listed
from tinygrad_ce.storage.document import describe_saved


def saved_of(traced: Traced, task: str, preparation: Any = None) -> dict[str, Any] | None:
    """The JSON document of a file with the model, as text, and by path the names of the arrays that belong there.

    None for a model with code of the user's own, or with arrays that a step does not change.
    """
    names = {id(x.variable): x.name for x in traced.program.inputs if x.role == "state"}
    model, loss = traced.training.model, traced.training.loss
    try:
        describe(model)
    except OwnCodeError:
        return None
    document, arrays = describe_saved(model, loss, preparation, task)
    places = {path: names.get(id(leaf)) for path, leaf in nn.module.leaves_of(model)}
    found = {path: places.get(path) for path in (name.removeprefix("model.") for name in arrays)}
    if None in found.values():
        return None
    return {"document": json.dumps(document), "arrays": found}


def code_of(traced: Traced, optimizers: dict[str, Optimizer], classes: int) -> dict[str, Any] | None:
    """Python that makes the model, the loss and each optimizer again; None for code of the user's own.

    `{lr}` stands for the learning rate.
    """
    try:
        describe(traced.training.model)
        return {
            "model": in_namespace(repr(traced.training.model)),
            "loss": code_of_loss(traced.training.loss, traced.target, classes),
            "optimizers": {name: code_of_optimizer(optimizer) for name, optimizer in optimizers.items()},
        }
    except OwnCodeError:
        return None


def in_namespace(text: str) -> str:
    """The repr of layers as it is written with `import tinygrad_ce as tg`.

    >>> in_namespace("Sequential(Dense(2, 1), Tanh())")
    'tg.nn.Sequential(tg.nn.Dense(2, 1), tg.nn.Tanh())'
    """
    return re.sub(r"\b([A-Z]\w*)\(", r"tg.nn.\1(", text)


def code_of_loss(loss: Callable[[Any, Any], Any], target: str, classes: int) -> str:
    """A loss as Python, for targets that are class numbers or numbers. OwnCodeError for the user's own."""
    if getattr(loss, "__name__", "") == "squared_error" and loss.__module__ == "tinygrad_ce.live.offers":
        return f"lambda z, y: tg.losses.mse(tg.ops.softmax(z), tg.data.one_hot(y, {classes}))"
    if getattr(loss, "__name__", "") == "double_softmax" and loss.__module__ == "tinygrad_ce.live.offers":
        return "lambda z, y: tg.losses.softmax_cross_entropy(tg.ops.softmax(z), y)"
    function = loss.func if isinstance(loss, partial) else loss
    options = loss.keywords if isinstance(loss, partial) else getattr(loss, "options", {})
    name = next((name for name, known in LOSS_FUNCTIONS.items() if known is function), "")
    if not (name or is_listed(loss, LOSSES)) or not all(isinstance(x, (int, float, str)) for x in options.values()):
        raise OwnCodeError("the loss")
    name = name or type(loss).function.__name__  # type: ignore[attr-defined]
    assert hasattr(losses, name)
    targets = f"tg.data.one_hot(y, {classes})" if target == "one-hot" else "y"
    arguments = "".join(f", {option}={value!r}" for option, value in options.items())
    plain = target != "one-hot" and not arguments
    return f"tg.losses.{name}" if plain else f"lambda z, y: tg.losses.{name}(z, {targets}{arguments})"


def code_of_optimizer(optimizer: Optimizer) -> str:
    """An optimizer as Python, `{lr}` for its rate, without defaults. OwnCodeError for the user's own."""
    if not is_listed(optimizer, OPTIMIZERS):
        raise OwnCodeError("the optimizer")
    defaults = {name: x.default for name, x in signature(type(optimizer)).parameters.items()}
    own = {
        name: value for name, value in arguments_of(optimizer, but=["lr"]).items() if plainly(defaults[name]) != value
    }
    options = "".join(f", {name}={tuple(x) if isinstance(x, list) else x!r}" for name, x in own.items())
    return f"tg.optim.{type(optimizer).__name__}(model.parameters(), lr={{lr}}{options})"


def plainly(value: Any) -> Any:
    """A default as JSON has it: tuples are lists there."""
    return [*value] if isinstance(value, tuple) else value
