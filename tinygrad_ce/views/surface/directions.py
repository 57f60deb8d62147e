"""Directions through the parameters: random, steepest, eigenvectors of the Hessian, those of a training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.data.checks import whole_number
from tinygrad_ce.nn import Module
from tinygrad_ce.views.audit.figures import joined
from tinygrad_ce.views.surface.vector import LossOfVector

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


def directions_of(kind: str, own: Any, f: LossOfVector, eigenvectors: Array, path: Array, generator: Any) -> Array:
    """(2, n): the directions that are called `kind`. own: a pair of the user's. path: (k, n), from `f.here`."""
    n = f.here.size
    if kind == OWN:
        found = np.array([f.vector(direction, "a direction") for direction in own])
    elif kind == "random":
        found = np.array([_random(f, generator) for _ in range(2)])
        if not _is_plane(found):  # of one weight, or of weights that are 0: then all parameters are scaled as one
            length = np.linalg.norm(f.here) or 1.0
            found = length * np.array([unit(generator.normal(size=n)) for _ in range(2)])
    elif kind == "gradient":
        downhill, other = unit(-f.gradient()), generator.normal(size=n)
        found = np.array([downhill, unit(other - downhill * (downhill @ other))])
    elif kind == "hessian":
        found = eigenvectors[:2]
    else:
        axes = np.linalg.svd(np.vstack([path, np.zeros((2, n))]), full_matrices=False)[2][:2]
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
        if part.ndim > 1:
            columns, own = (x.reshape(-1, x.shape[-1]) for x in (part, weights))
            part *= np.linalg.norm(own, axis=0) / np.linalg.norm(columns, axis=0)
    return joined(parts)


def _is_plane(found: Array) -> bool:
    if len(found) != 2 or not np.isfinite(found).all():
        return False
    return bool(np.linalg.matrix_rank([unit(direction) for direction in found]) == 2)


def unit(vector: Array) -> Array:
    """The vector at length 1, or 0 where it is 0."""
    with np.errstate(invalid="ignore"):  # of infinities it is NaN
        vector = vector / (np.abs(vector).max() or 1.0)  # now no square is too large or too small
    return vector / (np.linalg.norm(vector) or 1.0)


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
