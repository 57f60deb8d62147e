"""tg.surface: the loss on a plane through the parameters of a model, and what its curvature tells."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.data.checks import generator_from, whole_number
from tinygrad_ce.optim.arguments import positive
from tinygrad_ce.views.surface.directions import WAYS, Route, directions_of, eigenpairs, vector_of
from tinygrad_ce.views.surface.map import ENDS, Surface
from tinygrad_ce.views.surface.vector import LossOfVector


def surface(
    model: Any,
    loss: Any,
    X: Any,
    y: Any,
    directions: Any = "random",
    span: float = 1.0,
    points: int = 31,
    seed: Any = 0,
    path: Any = None,
) -> Surface:
    """The loss on a plane through the parameters of a model, whether it is a bowl, and the way of a training on it.

    model: a Module, in the mode (train or eval) that it is in; nothing of it is changed. loss: a function or module, so
    that loss(model(X), y) is a single number. X, y: N rows and N targets.
    directions: "random" (each neuron's weights as long as the model's), "gradient" (the way down, and a random one),
    "hessian" (the two leading eigenvectors), "path" (the plane that shows most of `path`), or two of your own, each a
    list of arrays shaped as `model.parameters()`.
    span: how far the map goes from its middle, in lengths of the directions. points: on each side. seed: of what is
    random. path: where a training went: a `tg.views.Route`, or a list of such lists of arrays.
    Raises TypeError and ValueError that say what to pass instead, NotImplementedError where "hessian" needs a rule that
    nobody has written, RuntimeError in a traced step.

    >>> X, y = np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([[1.0], [2.0]])
    >>> tg.surface(tg.nn.Dense(2, 1), tg.losses.mse, X, y).convex
    True
    """
    positive("tg.surface", span=span)
    points, generator = whole_number("tg.surface", "points", points, least=3), generator_from("tg.surface", seed)
    f = LossOfVector(model, loss, X, y)
    route = path.points if isinstance(path, Route) else () if path is None else path
    way = np.array([vector_of(point, f, "a point of the path") for point in route]).reshape(-1, f.here.size) - f.here
    values, vectors, curvature, obstacle = np.empty(0), np.empty((0, f.here.size)), np.empty(0), ""
    try:
        with f.hessian() as product:
            values, vectors = eigenpairs(product, f.here.size, generator)
    except (NotImplementedError, FloatingPointError) as error:
        if isinstance(directions, str) and directions == "hessian":
            raise
        obstacle = str(error)
    leading = vectors[np.argsort(-np.abs(values), kind="stable")]
    plane = directions_of(directions, f, leading, way, generator)
    if not obstacle:
        with f.hessian() as product:
            curvature = np.array([v @ product(v) / (v @ v) for v in plane])
    steps = np.linspace(-span, span, points)
    heights = np.array([[f(f.here + a * plane[0] + b * plane[1]) for b in steps] for a in steps])
    seen = np.linalg.lstsq(plane.T, way.T)[0].T
    named = WAYS[directions][0] if isinstance(directions, str) else "two directions of your own"
    return Surface(
        f"The loss of {type(model).__name__} along {named}",
        loss=f.value,
        steps=steps,
        values=heights,
        directions=(f.parts(plane[0]), f.parts(plane[1])),
        path=seen,
        share=1 - float(np.sum((way - seen @ plane) ** 2) / (np.sum(way**2) or 1.0)),
        eigenvalues=values if len(values) <= 2 * ENDS else np.r_[values[:ENDS], values[-ENDS:]],
        curvature=curvature,
        rounding=f.eps**0.5 * float(np.abs(values).max(initial=0)),
        obstacle=obstacle,
        witness=witness_of(heights, steps, f.eps),
    )


def witness_of(values: Array, steps: Array, eps: float) -> tuple[Array, Array] | None:
    """Two points (a, b) of a map half-way between which the loss is highest above the mean of both; None: nowhere.

    A bowl has no such pair. What is no more than rounding does not count, and neither does what is not finite.
    """
    finite = np.where(np.isfinite(values), values, np.nan)
    highest, found = max(64 * eps * np.nanmax(np.abs(finite)), 1e-9 * (np.nanmax(finite) - np.nanmin(finite))), None
    half = (len(steps) + 1) // 2
    for turn in (1, -1):  # lines that go up, and lines that go down
        f, b = finite[:, ::turn], steps[::turn]
        for i, j in np.ndindex(half, half):
            n, m = len(steps) - 2 * i, len(steps) - 2 * j
            above = np.nan_to_num(f[i : i + n, j : j + m] - (f[:n, :m] + f[2 * i :, 2 * j :]) / 2)
            if above.max() > highest:
                row, column = np.unravel_index(above.argmax(), above.shape)
                highest = above[row, column]
                found = np.array([steps[row], b[column]]), np.array([steps[row + 2 * i], b[column + 2 * j]])
    return found
