"""The settings of a run: each is declared once, here, and becomes an option of every command that takes settings."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, Literal, TypeAlias

import typer

import tinygrad_ce as tg
from tinygrad_ce import data as datasets

Activation: TypeAlias = Literal["tanh", "sigmoid", "relu", "softplus"]
Loss: TypeAlias = Literal["softmax-cross-entropy", "cross-entropy", "sigmoid-bce", "bce", "mse"]
Optimizer: TypeAlias = Literal["adam", "adamw", "sgd", "momentum", "rmsprop", "adagrad"]
Precision: TypeAlias = Literal["float32", "float64"]

ACTIVATIONS = {"tanh": tg.nn.Tanh, "sigmoid": tg.nn.Sigmoid, "relu": tg.nn.ReLU, "softplus": tg.nn.Softplus}
LOSSES = {
    "softmax-cross-entropy": tg.nn.SoftmaxCrossEntropy,
    "cross-entropy": tg.nn.CrossEntropy,
    "sigmoid-bce": tg.nn.SigmoidBCE,
    "bce": tg.nn.BCE,
    "mse": tg.nn.MSE,
}
OPTIMIZERS: dict[str, Callable[..., tg.optim.Optimizer]] = {
    "adam": tg.optim.Adam,
    "adamw": tg.optim.AdamW,
    "sgd": tg.optim.SGD,
    "momentum": functools.partial(tg.optim.SGD, momentum=0.9),
    "rmsprop": tg.optim.RMSprop,
    "adagrad": tg.optim.AdaGrad,
}

Seed: TypeAlias = Annotated[int, typer.Option(help="of the data, the weights and the batches")]


@dataclass(frozen=True)
class Settings:
    """Everything that decides a run: the same settings on the same machine give the same parameters, bit for bit."""

    data: Annotated[str, typer.Argument(metavar="DATA", help=f"{', '.join(datasets.NAMES)}, or a CSV file")]
    target: Annotated[str | None, typer.Option(help="the column of the CSV file that holds the classes")] = None
    hidden: Annotated[str, typer.Option(help="sizes of the hidden layers; '' for none")] = "64,64"
    activation: Annotated[Activation, typer.Option(help="after each hidden layer")] = "tanh"
    loss: Annotated[Loss, typer.Option(help="bce and sigmoid-bce are for two classes")] = "softmax-cross-entropy"
    optimizer: Annotated[Optimizer, typer.Option()] = "adam"
    lr: Annotated[float, typer.Option(help="learning rate")] = 0.01
    epochs: Annotated[int, typer.Option(help="passes over the training data")] = 100
    batch_size: Annotated[int, typer.Option(help="rows in a batch")] = 32
    seed: Seed = 0
    dtype: Annotated[Precision, typer.Option(help="of the parameters and all arithmetic")] = "float32"


@dataclass(frozen=True)
class ViewSettings(Settings):
    """The settings of a command that shows one batch: it trains only if it is asked to."""

    epochs: Annotated[int, typer.Option(help="train so many epochs first")] = 0


class Without:
    """Settings that a command does not offer; they keep their defaults: `Annotated[Settings, Without("epochs")]`."""

    def __init__(self, *names: str) -> None:
        self.names = names


def expand_settings(command: Callable[..., None]) -> Callable[..., None]:
    """The same command with its parameter `settings: Settings` replaced by one parameter for each field.

    Typer reads the options of a command off its signature, so the signature is all that has to be changed. A command
    without a parameter `settings` is returned as it is.
    """
    signature = inspect.signature(command, eval_str=True)
    if "settings" not in signature.parameters:
        return command
    annotation = signature.parameters["settings"].annotation
    kind, left_out = annotation, set()
    if typing.get_origin(annotation) is Annotated:
        kind, without = typing.get_args(annotation)
        left_out = set(without.names)
    options = [parameter for parameter in _parameters(kind) if parameter.name not in left_out]
    own = [parameter for name, parameter in signature.parameters.items() if name != "settings"]

    @functools.wraps(command)
    def expanded(**arguments: Any) -> None:
        settings = kind(**{option.name: arguments.pop(option.name) for option in options})
        command(settings=settings, **arguments)

    expanded.__signature__ = signature.replace(parameters=[*options, *own])  # type: ignore[attr-defined]
    expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in [*options, *own]}
    return expanded


def _parameters(kind: type[Settings]) -> list[inspect.Parameter]:
    """The fields of the dataclass as parameters of a function."""
    types = typing.get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=types[field.name],
        )
        for field in fields(kind)
    ]
