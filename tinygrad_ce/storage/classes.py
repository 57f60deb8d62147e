"""The classes of the package that a file may name, and how each is described by the arguments that make it again."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

import numpy as np

from tinygrad_ce import losses, nn, optim
from tinygrad_ce.data.checks import shown

LAYERS: dict[str, type[nn.Module]] = {
    layer.__name__: layer
    for layer in (
        *(nn.Sequential, nn.Residual, nn.Dense, nn.Embedding, nn.BatchNorm, nn.LayerNorm, nn.Dropout, nn.Flatten),
        *(nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Softmax, nn.Softplus, nn.Tanh),
    )
}
LOSSES: dict[str, type[nn.Module]] = {
    loss.__name__: loss
    for loss in (
        *(nn.BCE, nn.CrossEntropy, nn.Hinge, nn.Huber, nn.KLDivergence, nn.MSE, nn.NLL, nn.SigmoidBCE),
        nn.SoftmaxCrossEntropy,
    )
}
LOSS_FUNCTIONS = {name: getattr(losses, name) for name in losses.__all__}
OPTIMIZERS: dict[str, type[optim.Optimizer]] = {
    kind.__name__: kind for kind in (optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.AdaGrad)
}
SCHEDULES: dict[str, type] = {
    kind.__name__: kind
    for kind in (*(optim.Constant, optim.StepDecay, optim.Cosine, optim.WarmUp, optim.OneCycle, optim.ReduceOnPlateau),)
}
SIZES = ("n_in", "n_out", "n_features", "n_words")  # the arguments that an array of the layer is as long as


class OwnCodeError(Exception):
    """What cannot be described because it is code of the user's own; the text says what it is and where."""


def is_listed(value: Any, classes: dict[str, type]) -> bool:
    """Whether this is an object of one of these classes, and not of one derived from it."""
    return classes.get(type(value).__name__) is type(value)


def arguments_of(value: Any, but: Sequence[str] = (), **others: str) -> dict[str, Any]:
    """The arguments that make such an object again: each is kept in an attribute of its name, or of the one in others.

    but: those to leave out.

    >>> arguments_of(nn.LeakyReLU(0.2)), arguments_of(optim.StepDecay(0.1, every=5), lr="rate")
    ({'slope': 0.2}, {'lr': 0.1, 'every': 5, 'factor': 0.1})
    """
    names = [name for name in signature(type(value)).parameters if name not in ("parameters", *but)]
    return {name: plain(getattr(value, others.get(name, name))) for name in names}


def plain(value: Any) -> Any:
    """The value as JSON has it: NumPy's numbers as Python's, tuples as lists. TypeError for what JSON lacks."""
    if isinstance(value, np.generic) and value.dtype.kind in "fiub":
        return value.item()
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{shown(value)} is neither a number nor a text")


def checked_arguments(cls: type, arguments: Any) -> dict[str, Any]:
    """The arguments out of a file, if they are those that the class takes. ValueError in words if not."""
    names = {name for name in signature(cls).parameters if name != "parameters"}
    if not isinstance(arguments, dict) or set(arguments) - names:
        raise ValueError(f"{cls.__name__} takes {', '.join(sorted(names)) or 'nothing'}, and not {shown(arguments)}")
    return arguments
