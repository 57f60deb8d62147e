"""Directions through the parameters: random, steepest, eigenvectors of the Hessian, those of a training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.data.checks import whole_number
from tinygrad_ce.nn import Module
from tinygrad_ce.views.surface.vector import LossOfVector, joined

WAYS = {  # what a title says, and what an error says where they span no plane
    "random": ("two random directions", ""),
    "gradient": ("the way down and a random direction", "the gradient is 0: pass directions='hessian'"),
    "hessian": ("the leading eigenvectors of its Hessian", ""),
    "path": ("the plane of its training", "pass path=Route(model) after some epochs of fit(..., callbacks=[route])"),
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
        if not isinstance(model, Module):
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


def directions_of(kind: Any, loss: LossOfVector, eigenvectors: Array, path: Array, generator: Any) -> Array:
    """(2, n): the directions that are called `kind`, or the user's own. path: (k, n), from the parameters of now."""
    n = loss.here.size
    if not isinstance(kind, str):
        found = np.array([vector_of(direction, loss, "a direction") for direction in kind])
    elif kind == "random":
        found = _random(loss, generator)
    elif kind == "gradient":
        downhill, other = _unit(-loss.gradient()), generator.normal(size=n)
        found = np.array([downhill, _unit(other - downhill * (downhill @ other))])
    elif kind == "hessian":
        found = eigenvectors[:2]
    elif kind == "path":
        axes = np.linalg.svd(np.vstack([path, np.zeros((2, n))]), full_matrices=False)[2][:2]
        found = axes * 1.1 * np.abs(axes @ path.T).max(axis=1, initial=0)[:, None]  # so that the path is on the map
    else:
        raise ValueError(f"tg.surface: directions={kind!r}: pass one of {', '.join(WAYS)}, or a pair of your own")
    if found.shape != (2, n) or np.linalg.matrix_rank(found) < 2:
        cure = WAYS[kind][1] if isinstance(kind, str) else "pass two, neither 0 nor parallel"
        raise ValueError(f"tg.surface: these directions span no plane: {cure}")
    return found


def vector_of(parts: Any, loss: LossOfVector, what: str) -> Array:
    """(n,) from such a vector, or from a list of arrays shaped as the parameters."""
    arrays = [np.asarray(part) for part in ([parts] if isinstance(parts, np.ndarray) else parts)]
    shapes, own = [array.shape for array in arrays], [p.shape for p in loss.parameters]
    if shapes not in (own, [loss.here.shape]):
        raise ValueError(f"tg.surface: {what} has the shapes {shapes}, and the parameters have {own}")
    return joined(arrays)


def _random(loss: LossOfVector, generator: Any) -> Array:
    """Two directions in which the weights of each neuron, a column, are as long as the model's; biases and scales stay.

    So networks that compute the same have the same map, however their weights are scaled (H. Li et al., "Visualizing
    the loss landscape of neural nets", 2018, section 4). Where that spans no plane, all parameters are scaled as one.
    """
    pair = []
    for _ in range(2):
        parts = [generator.normal(size=p.shape) if p.ndim > 1 else np.zeros(p.shape) for p in loss.parameters]
        for part, weights in zip(parts, loss.parts(loss.here), strict=True):
            if part.ndim > 1:
                columns, own = (x.reshape(-1, x.shape[-1]) for x in (part, weights))
                part *= np.linalg.norm(own, axis=0) / np.linalg.norm(columns, axis=0)
        pair.append(joined(parts))
    if np.linalg.matrix_rank(pair) < 2:
        pair = [_unit(generator.normal(size=v.size)) * (np.linalg.norm(loss.here) or 1.0) for v in pair]
    return np.array(pair)


def _unit(vector: Array) -> Array:
    return vector / (np.linalg.norm(vector) or 1.0)


def eigenpairs(product: Callable[[Array], Array], n: int, generator: np.random.Generator) -> tuple[Array, Array]:
    """(k,) eigenvalues of a symmetric matrix (n, n), the largest first, and (k, n) their vectors, of length 1.

    The matrix is known by its products with vectors (C. Lanczos, 1950; every new vector is made orthogonal to all that
    came before). Each value is the curvature along its vector, and the outermost ones are the first to be exact.
    Raises FloatingPointError where a product is not finite.

    >>> values, _ = eigenpairs(lambda v: v * [3.0, -1.0, 2.0], 3, np.random.default_rng(0)); values.round(6)
    array([ 3.,  2., -1.])
    """
    basis, images = np.empty((2, min(n, STEPS), n))
    following = np.zeros(n)
    for k in range(len(basis)):
        other = _unit(generator.normal(size=n))  # where the product leads to nothing new, what has not been reached
        rest = following + 1e-12 * (np.linalg.norm(following) or 1.0) * other
        for _ in range(2):  # rounding leaves some of the basis the first time
            rest = rest - basis[:k].T @ (basis[:k] @ rest)
        basis[k] = _unit(rest)
        images[k] = following = product(basis[k])
        if not np.isfinite(following).all():
            raise FloatingPointError("its second derivatives are not finite here")
    within = basis @ images.T
    values, rotation = np.linalg.eigh((within + within.T) / 2)
    return values[::-1], (rotation.T @ basis)[::-1]
