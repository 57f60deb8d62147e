"""The loss of a model as a function of one vector: all its parameters, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.backward import recording
from tinygrad_ce.core import Array, Tensor, array_of
from tinygrad_ce.data.structures import map_parts, parts_of
from tinygrad_ce.functional import gradients
from tinygrad_ce.graph.checks import check_not_traced, check_readable
from tinygrad_ce.nn.module import Module, call_model
from tinygrad_ce.nn.restoring import left_as_they_are


def joined(arrays: Sequence[Any]) -> Array:
    """All numbers of several arrays in one vector, in float64."""
    return np.concatenate([np.asarray(array, np.float64).ravel() for array in arrays])


def _in_float64(x: Any) -> Array:
    array = array_of(x)
    return array.astype(np.float64) if array.dtype.kind == "f" else array


class LossOfVector:
    """loss(model(X), y) as a function of the parameters, in float64; afterwards all is as it was, to the last bit.

    here: (n,) the parameters of the model. value: the loss there. eps: the rounding of a loss.
    """

    def __init__(self, model: Any, loss: Any, X: Any, y: Any) -> None:
        if not isinstance(model, Module):
            raise TypeError(f"tg.surface: model is of class {type(model).__name__}: pass a tg.nn.Module")
        if isinstance(loss, Tensor) or not callable(loss):
            raise TypeError(f"tg.surface: loss is {loss!r}: pass the function that computes it, such as tg.losses.mse")
        self.model, self.loss, self.X, self.y = model, loss, map_parts(_in_float64, X), y
        rows, targets = parts_of(self.X)[0].shape, array_of(y).shape
        if not rows or rows[:1] != targets[:1]:
            raise ValueError(f"tg.surface: X has shape {rows} and y {targets}: each row needs one target")
        self.parameters = model.parameters()
        if sum(p.size for p in self.parameters) < 2:
            raise ValueError(f"tg.surface: a plane needs two numbers that are trained, and {model!r} has fewer")
        check_not_traced(self.parameters[0], "tg.surface")
        self.here = joined([p.data for p in self.parameters])
        self.modules = [*model.modules(), *(loss.modules() if isinstance(loss, Module) else ())]
        with self.at(self.here) as here:
            check_readable(here, "tg.surface")
            self.value, self.eps = here.item(), float(np.finfo(here.dtype).eps)
        if not np.isfinite(self.value):
            raise ValueError(f"tg.surface: the loss of the model is {self.value}: ask tg.why_nan(loss) for the cause")
        if abs(self(self.here) - self.value) > 64 * self.eps * abs(self.value):
            raise ValueError("tg.surface: two calls of the loss differ: switch off what is random in it")

    def vector(self, parts: Any, what: str) -> Array:
        """(n,) from such a vector, or from a list of arrays shaped as the parameters."""
        arrays = [np.asarray(part) for part in ([parts] if isinstance(parts, np.ndarray) else parts)]
        shapes, own = [array.shape for array in arrays], [p.shape for p in self.parameters]
        if shapes not in (own, [self.here.shape]):
            raise ValueError(f"tg.surface: {what} has the shapes {shapes}, and the parameters have {own}")
        if not np.isfinite(joined(arrays)).all():
            raise ValueError(f"tg.surface: {what} holds NaN or infinity: pass finite numbers")
        return joined(arrays)

    def parts(self, vector: Array) -> list[Array]:
        """The numbers of a vector in the shapes of the parameters."""
        pieces = np.split(vector, np.cumsum([p.size for p in self.parameters])[:-1])
        return [piece.reshape(p.shape) for piece, p in zip(pieces, self.parameters, strict=True)]

    @contextmanager
    def at(self, vector: Array) -> Iterator[Tensor]:
        """Inside, these numbers are the parameters; gives the loss. Random generators draw the same at every vector."""
        own = [p.data for p in self.parameters]
        try:
            with left_as_they_are(self.modules), recording(True), np.errstate(all="ignore"):
                for parameter, array in zip(self.parameters, self.parts(vector), strict=True):
                    parameter.data = array
                yield self.loss(call_model(self.model, self.X), self.y)
        finally:
            for parameter, array in zip(self.parameters, own, strict=True):
                parameter.data = array

    def __call__(self, vector: Array) -> float:
        """The loss there."""
        with self.at(vector) as loss:
            return float(loss.data)

    def gradient(self) -> Array:
        """(n,) at the parameters of the model."""
        with self.at(self.here) as loss:
            return joined(gradients(loss, self.parameters))

    def hessian_times(self, vector: Array) -> Array:
        """(n,) the Hessian at the parameters of the model, times this vector: back through the graph of the gradient.

        Raises NotImplementedError that names the primitive whose gradient has no derivative.
        """
        with self.at(self.here) as loss:
            shares = gradients(loss, self.parameters, create_graph=True)
            slope = ops.concatenate(*(ops.reshape(share, shape=(-1,)) for share in shares))
            if not slope.requires_grad:  # the loss is linear
                return np.zeros_like(vector)
            return joined(gradients(slope, self.parameters, gradient=vector))
