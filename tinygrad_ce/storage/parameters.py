"""The arrays of a model, as a file holds them: with what each is, and put back into a model that fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.data.checks import shown
from tinygrad_ce.nn import Module
from tinygrad_ce.nn.module import arrays_of, leaves_of, modules_of
from tinygrad_ce.storage.architecture import describe, shapes_of
from tinygrad_ce.storage.classes import OwnCodeError
from tinygrad_ce.storage.file import Entry
from tinygrad_ce.variable import Variable


def constants_of(model: Module) -> dict[str, Tensor]:
    """By path, the tensors that never asked for gradients: constants, and what a forward pass has left behind."""
    known = {path for path, _, _ in arrays_of(model)}
    return {path: leaf for path, leaf in leaves_of(model) if path not in known and not isinstance(leaf, Variable)}


def paths_of(model: Module, parameters: Sequence[Tensor]) -> list[str]:
    """Where the parameters of an optimizer are in the model. ValueError for one that is not in it."""
    paths = {id(leaf): path for path, leaf in leaves_of(model)}
    for i, parameter in enumerate(parameters):
        if id(parameter) not in paths:
            raise ValueError(
                f"save: parameter {i} of the optimizer, {parameter.label}, is not in the model: make the optimizer "
                "with model.parameters(), and a parameter of the loss an attribute of the model"
            )
    return [paths[id(parameter)] for parameter in parameters]


def describe_model(model: Module) -> tuple[dict[str, Any], dict[str, Array]]:
    """What a file says of a model, and its arrays: "layers" is None where code of the user's own is in it."""
    constants = constants_of(model)
    arrays = {path: array for path, array, _ in arrays_of(model)} | {path: c.data for path, c in constants.items()}
    own = None
    try:
        layers: dict[str, Any] | None = describe(model)
    except OwnCodeError as error:
        layers, own = None, str(error)
    facts = {
        "layers": layers,
        "own": own,
        "parameters": [path for path, _ in model.named_parameters()],
        "constants": [*constants],
        "evaluation": [path for path, module in modules_of(model) if not module.training],
    }
    return facts, arrays


def expected_entries(
    layers: Mapping[str, Any], shared: Mapping[str, str], found: Mapping[str, Entry]
) -> dict[str, Entry]:
    """What a file must hold for these layers: any floating dtype is right."""
    expected = {}
    for path, shape in shapes_of(dict(layers)).items():
        if path not in shared:
            dtype = found[path].dtype if path in found else np.dtype(float)
            expected[path] = Entry(dtype if dtype.kind == "f" else np.dtype(float), shape)
    return expected


def put_arrays(model: Module, arrays: Mapping[str, Array]) -> None:
    """Put these arrays into the model; of the constants, those that have their shape and dtype."""
    for path, array, write in [*arrays_of(model)]:
        write(np.array(arrays[path], array.dtype))
    for path, constant in constants_of(model).items():
        if path in arrays and (arrays[path].shape, arrays[path].dtype) == (constant.shape, constant.dtype):
            constant.data = arrays[path].copy()


def put_flags(model: Module, parameters: Sequence[str], evaluation: Sequence[str], known: Mapping[str, Any]) -> None:
    """Let the same ones ask for gradients, and the same modules be in evaluation mode, as when they were saved."""
    asking, evaluating = {*parameters}, {*evaluation}
    for path, leaf in leaves_of(model):
        if path in known and not isinstance(leaf, Variable):
            leaf.requires_grad = path in asking
    for path, module in modules_of(model):
        module.training = path not in evaluating


def check_finite(arrays: Mapping[str, Array]) -> None:
    """Raise ValueError for NaN or an infinite number, which no training can go on from."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise ValueError(f"{shown(name)} holds {array[place]} at {place}")
