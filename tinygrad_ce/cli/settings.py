"""The settings of a run: each is declared once, here, and becomes an option of every command that takes settings."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from types import UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union

import typer

import tinygrad_ce as tg
from tinygrad_ce import data as datasets
from tinygrad_ce.data.checks import shown
from tinygrad_ce.data.kinds import MOST_LEVELS

Activation: TypeAlias = Literal["tanh", "sigmoid", "relu", "softplus"]
Loss: TypeAlias = Literal["auto", "softmax-cross-entropy", "cross-entropy", "sigmoid-bce", "bce", "mse"]
Optimizer: TypeAlias = Literal["adam", "adamw", "sgd", "momentum", "rmsprop", "adagrad"]
Missing: TypeAlias = Literal["error", "drop", "mean"]
Decimal: TypeAlias = Literal[".", ","]
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
    target: Annotated[str | None, typer.Option(help="the column of the CSV file that is predicted")] = None
    drop: Annotated[str, typer.Option(help="columns of the CSV file to leave out, with commas between them")] = ""
    missing: Annotated[
        Missing, typer.Option(help="missing values: an error; drop their rows; or take the column's mean")
    ] = "error"
    delimiter: Annotated[str | None, typer.Option(help="between the fields of the CSV file  [default: found]")] = None
    decimal: Annotated[Decimal | None, typer.Option(help="decimal sign of the CSV file  [default: found]")] = None
    day_first: Annotated[
        bool | None, typer.Option("--day-first/--no-day-first", help="whether 03/04/2025 is in April  [default: found]")
    ] = None
    encoding: Annotated[str, typer.Option(help="of the CSV file, such as cp1252")] = "utf-8"
    most_levels: Annotated[int, typer.Option(help="a column of words with more different ones is left out")] = (
        MOST_LEVELS
    )
    hidden: Annotated[str, typer.Option(help="sizes of the hidden layers; '' for none")] = "64,64"
    activation: Annotated[Activation, typer.Option(help="after each hidden layer")] = "tanh"
    loss: Annotated[
        Loss,
        typer.Option(
            help="auto: softmax-cross-entropy for classes, mse for numbers; bce and sigmoid-bce are for two classes"
        ),
    ] = "auto"
    optimizer: Annotated[Optimizer, typer.Option()] = "adam"
    lr: Annotated[float, typer.Option(help="learning rate")] = 0.01
    epochs: Annotated[int, typer.Option(help="passes over the training data")] = 100
    batch_size: Annotated[int, typer.Option(help="rows in a batch")] = 32
    patience: Annotated[
        int | None,
        typer.Option(help="stop after so many epochs without a better validation loss, and go back to the best"),
    ] = None
    seed: Seed = 0
    dtype: Annotated[Precision, typer.Option(help="of the parameters and all arithmetic")] = "float32"


@dataclass(frozen=True)
class ViewSettings(Settings):
    """The settings of a command that shows one batch: it trains only if it is asked to."""

    epochs: Annotated[int, typer.Option(help="train so many epochs first")] = 0


@dataclass(frozen=True)
class TrainSettings(Settings):
    """The settings of `train`, which takes no data where it goes on with a run."""

    data: Annotated[
        str, typer.Argument(metavar="DATA", help=f"{', '.join(datasets.NAMES)}, or a CSV file", show_default=False)
    ] = ""


OF_TABLES = ("target", "drop", "missing", "delimiter", "decimal", "day_first", "encoding", "most_levels")


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
    parameters = sorted([*options, *own], key=lambda parameter: parameter.default is not inspect.Parameter.empty)

    @functools.wraps(command)
    def expanded(**arguments: Any) -> None:
        settings = kind(**{option.name: arguments.pop(option.name) for option in options})
        command(settings=settings, **arguments)

    expanded.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
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


def settings_from(record: Mapping[str, Any]) -> Settings:
    """The settings that a run has recorded. ValueError names what is missing, unknown or of another kind."""
    types = typing.get_type_hints(Settings)
    if unknown := sorted({*record} - {*types}):
        raise ValueError(f"there is no setting {shown(unknown[0])} in this version of tinygrad_ce")
    for name, kind in types.items():
        if name not in record:
            raise ValueError(f"the setting {name!r} is missing")
        if not _fits(record[name], kind):
            raise ValueError(f"the setting {name!r} is {shown(record[name])}")
    return Settings(**record)


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a type, one of several types, or one of the values of a Literal; an int is a float, too."""
    if typing.get_origin(kind) is Literal:
        return value in typing.get_args(kind)
    if typing.get_origin(kind) in (Union, UnionType):
        return any(_fits(value, one) for one in typing.get_args(kind))
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)
