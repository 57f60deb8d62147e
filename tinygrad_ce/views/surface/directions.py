"""The parameters of a model as one vector: the loss as a function of it, directions, and the points of a training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.backward import recording
from tinygrad_ce.core import Array, Tensor, array_of
from tinygrad_ce.data.checks import whole_number
from tinygrad_ce.data.structures import map_parts, parts_of
from tinygrad_ce.functional import gradients
from tinygrad_ce.graph.checks import check_not_traced, check_readable
from tinygrad_ce.nn.module import Module, call_model
from tinygrad_ce.nn.restoring import left_as_they_are
from tinygrad_ce.views.audit.figures import joined, norm

OWN = "a pair of your own"
WAYS = {  # what a title says, and what an error says where they span no plane
    "random": ("two random directions", ""),
    "gradient": ("the way down and a random direction", "the gradient is 0 or not finite: pass directions='random'"),
    "hessian": ("the leading eigenvectors of its Hessian", ""),
    "path": ("the plane of its training", "pass path=Route(model) after some epochs of fit(..., callbacks=[route])"),
    OWN: ("two directions of your own", "pass two, neither 0 nor parallel"),
}
STEPS = 100  # of Lanczos: of up to so many parameters all eigenvalues are found
MOST = 256  # points of a route; where there are more, every second one is dropped


class Route:
    """A callback that keeps the parameters of a model, as they are now and after epochs: `fit(..., callbacks=[route])`.

    model: a Module. every: after how many epochs; it is doubled whenever there are more than 256 points. points: (n,)
    vectors of all parameters. In a loop of your own, call `route()` after a step. Raises ValueError for another model.

    >>> route = Route(tg.nn.Dense(2, 2)); route(); len(route.points)
    2
    """

    def __init__(self, model: Module, every: int = 1) -> None:
        if not isinstance(model, Module) or not model.parameters():
            raise TypeError(f"Route: model is of class {type(model).__name__}: pass the tg.nn.Module that is trained")
        self.model, self.every = model, whole_number("Route", "every", every, least=1)
        self.points: list[Array] = []
        self._passed = -1
        self()

    def __call__(self, trainer: Any = None, figures: Any = None) -> None:
        """Called by `fit` after each epoch, with the trainer and the epoch's figures."""
        if trainer is not None and trainer.model is not self.model:
            raise ValueError("Route: this one follows another model: make a new Route for each")
        self._passed += 1
        if self._passed % self.every == 0:
            self.points.append(joined([p.data for p in self.model.parameters()]))
        if len(self.points) > MOST:
            self.points, self.every = self.points[::2], 2 * self.every


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
            with left_as_they_are(self.model, self.loss), recording(True), np.errstate(all="ignore"):
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


def _in_float64(x: Any) -> Array:
    array = array_of(x)
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def directions_of(kind: str, own: Any, f: LossOfVector, eigenvectors: Array, path: Array, generator: Any) -> Array:
    """(2, n): the directions that are called `kind`. own: a pair of the user's. path: (k, n), from `f.here`."""
    if kind == OWN:
        found = np.array([f.vector(direction, "a direction") for direction in own])
    elif kind == "random":
        found = np.array([_random(f, generator) for _ in range(2)])
        if not _is_plane(found):  # of one weight, or of weights that are 0: then all parameters are scaled as one
            found = (norm([f.here]) or 1.0) * np.array([unit(generator.normal(size=f.here.size)) for _ in range(2)])
    elif kind == "gradient":
        downhill, other = unit(-f.gradient()), generator.normal(size=f.here.size)
        found = np.array([downhill, unit(other - downhill * (downhill @ other))])
    elif kind == "hessian":
        found = eigenvectors[:2]
    else:
        axes = np.linalg.svd(np.vstack([path, np.zeros((2, f.here.size))]), full_matrices=False)[2][:2]
        reach = np.abs(axes @ path.T).max(axis=1, initial=0)
        found = axes * np.where(reach > 1e-9 * reach.max(), 1.1 * reach, 0)[:, None]  # so that the path is on the map
    if not _is_plane(found):
        raise ValueError(f"tg.surface: these directions span no plane: {WAYS[kind][1]}")
    return found


def _random(f: LossOfVector, generator: Any) -> Array:
    """A direction in which the weights of each neuron, a column, are as long as the model's; biases and scales stay.

    So the map stays the same where one layer is scaled up and the next one down, which computes the same (H. Li et al.,
    "Visualizing the loss landscape of neural nets", 2018, section 4).
    """
    parts = [np.zeros(p.shape) if p.ndim < 2 else generator.normal(size=p.shape) for p in f.parameters]
    for part, weights in zip(parts, f.parts(f.here), strict=True):
        axes = tuple(range(part.ndim - 1))  # all but the last; of a bias none, and it is 0
        lengths = np.sqrt(np.sum(part**2, axis=axes))
        part *= np.sqrt(np.sum(weights**2, axis=axes)) / np.where(lengths, lengths, 1)
    return joined(parts)


def _is_plane(found: Array) -> bool:
    plane = len(found) == 2 and np.isfinite(found).all()
    return bool(plane and np.linalg.matrix_rank([unit(direction) for direction in found]) == 2)


def unit(vector: Array) -> Array:
    """The vector at length 1, or 0 where it is 0."""
    with np.errstate(invalid="ignore"):  # of infinities it is NaN
        return vector / (norm([vector]) or 1.0)


def eigenpairs(product: Callable[[Array], Array], n: int) -> tuple[Array, Array]:
    """(k,) eigenvalues of a symmetric matrix (n, n), the largest first, and (k, n) their vectors, of length 1.

    The matrix is known by its products with vectors (C. Lanczos, 1950; every new vector is made orthogonal to all that
    came before). Each value is the curvature along its vector, and the outermost ones are the first to be exact.
    Raises FloatingPointError where a product is not finite.

    >>> values, _ = eigenpairs(lambda v: v * [3.0, -1.0, 2.0], 3); values.round(6)
    array([ 3.,  2., -1.])
    """
    generator = np.random.default_rng(0)
    basis, images = np.empty((2, min(n, STEPS), n))
    following = np.zeros(n)
    for k in range(len(basis)):
        other = unit(generator.normal(size=n))  # where the product leads to nothing new, what has not been reached
        rest = following + 1e-12 * (np.linalg.norm(following) or 1.0) * other
        for _ in range(2):  # rounding leaves some of the basis the first time
            rest = rest - basis[:k].T @ (basis[:k] @ rest)
        basis[k] = unit(rest)
        images[k] = following = product(basis[k])
        if not np.isfinite(following).all():
            raise FloatingPointError("its second derivatives are not finite here")
    within = basis @ images.T
    values, rotation = np.linalg.eigh((within + within.T) / 2)
    return values[::-1], (rotation.T @ basis)[::-1]
