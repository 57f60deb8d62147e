"""tg.surface: the loss on a plane through the parameters of a model, its curvature, and both in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.data.checks import generator_from, whole_number
from tinygrad_ce.optim.arguments import positive
from tinygrad_ce.report.parts import Heading, Part, Picture, Report, Sentence, Table
from tinygrad_ce.report.words import ASCII_BARS, format_number, listed, percent, several
from tinygrad_ce.views import plots
from tinygrad_ce.views.surface.directions import OWN, WAYS, LossOfVector, Route, directions_of, eigenpairs, unit

ENDS = 3  # eigenvalues that are kept from each end
STEEP = 100.0  # the highest loss over the lowest, from which on a map has a logarithmic scale


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
    nobody has written, FloatingPointError where it is not finite, RuntimeError in a traced step.

    >>> X, y = np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([[1.0], [2.0]])
    >>> tg.surface(tg.nn.Dense(2, 1), tg.losses.mse, X, y).convex
    True
    """
    positive("tg.surface", span=span)
    points, generator = whole_number("tg.surface", "points", points, least=3), generator_from("tg.surface", seed)
    kind = OWN if isinstance(directions, (list, tuple, np.ndarray)) else str(directions)
    if kind not in WAYS:
        raise ValueError(f"tg.surface: directions={directions!r}: pass one of {', '.join(WAYS)}")
    f = LossOfVector(model, loss, X, y)
    route = path.points if isinstance(path, Route) else () if path is None else path
    if not isinstance(route, (list, tuple, np.ndarray)):
        its_class = type(path).__name__
        raise TypeError(f"tg.surface: path is of class {its_class}: pass a tg.views.Route, or a list of points")
    way = np.array([f.vector(point, "a point of the path") for point in route]).reshape(-1, f.here.size) - f.here
    values, vectors, obstacle = np.empty(0), np.empty((0, f.here.size)), ""
    try:
        values, vectors = eigenpairs(f.hessian_times, f.here.size)
    except (NotImplementedError, FloatingPointError) as error:
        if kind == "hessian":
            raise type(error)(f"tg.surface: {error}: pass directions='random'") from None
        obstacle = str(error)
    leading = vectors[np.argsort(-np.abs(values), kind="stable")]
    plane = directions_of(kind, directions, f, leading, way, generator)
    title = f"The loss of {type(model).__name__} along {WAYS[kind][0]}"
    return Surface(title, f, plane, span * np.linspace(-1, 1, points), way, values, obstacle)


class Surface(Report):
    """The loss on a plane through the parameters of a model: print it, or let a notebook show it.

    title: what it is. loss: in the middle, at the parameters. steps: (points,) along both directions. values: (points,
    points), at [i, j] the loss steps[i] along the first direction and steps[j] along the second. directions: two lists
    of arrays shaped as the parameters. path: (k, 2), where the training went. share: of its squared distances from the
    middle, what the plane shows. eigenvalues: of the Hessian, the largest and the smallest, in descending order.
    curvature: (2,) along the directions. lowest_curvature: the smallest found in either, 0 if none is known. rounding:
    what is no larger may be 0. obstacle: why no curvature is known, or "". low, high: the losses between which the map
    lies. is_steep: whether its scale is logarithmic. witness: two points (a, b) half-way between which the loss is
    higher than the mean of both, or None.
    """

    def __init__(
        self, title: str, f: LossOfVector, plane: Array, steps: Array, way: Array, eigenvalues: Array, obstacle: str
    ) -> None:
        self.title, self.loss, self.steps, self.obstacle = title, f.value, steps, obstacle
        self.directions = f.parts(plane[0]), f.parts(plane[1])
        with np.errstate(all="ignore"):
            self.values = np.array([[f(f.here + a * plane[0] + b * plane[1]) for b in steps] for a in steps])
        finite = self.values[np.isfinite(self.values)]
        if not finite.size:
            raise ValueError(f"tg.surface: the loss is finite nowhere on the map: span={steps[-1]:g}, pass less")
        self.low, self.high = float(finite.min()), float(finite.max())
        self.is_steep = 0 < STEEP * self.low < self.high
        self.witness = witness_of(self.values, steps, f.eps)
        self.path = np.linalg.lstsq(plane.T, way.T)[0].T
        self.share = 1 - float(np.sum((way - self.path @ plane) ** 2) / (np.sum(way**2) or 1.0))
        self.eigenvalues = np.r_[eigenvalues[:ENDS], eigenvalues[ENDS:][-ENDS:]]
        self.curvature = np.array([along @ f.hessian_times(along) for along in map(unit, plane) if not obstacle])
        self.lowest_curvature = float(min([*self.eigenvalues, *self.curvature], default=0.0))
        # What rounding leaves of an eigenvalue, and what a step of length 1 adds to the loss without being seen in it.
        self.rounding = f.eps**0.5 * float(np.abs(eigenvalues).max(initial=0)) + 64 * f.eps * abs(self.loss)

    @property
    def convex(self) -> bool:
        """False where the loss is proved to be no bowl, True where nothing that was looked at speaks against one."""
        return self.witness is None and self.lowest_curvature >= -self.rounding

    @property
    def parts(self) -> Sequence[Part]:
        """The verdict and what else there is to say, the figures, the map."""
        rows = [("loss here", format_number(self.loss))]
        rows += [("on the map", f"{format_number(self.low)} to {format_number(self.high)}")]
        if not self.obstacle:
            found = [*self.curvature, *self.eigenvalues]
            d1, d2, *ends = [format_number(value if abs(value) > self.rounding else 0.0) for value in found]
            rows += [("curvature", f"{d1} along d1, {d2} along d2"), ("eigenvalues", listed(ends, 2 * ENDS))]
        picture = Picture(lambda: self.plot()._repr_png_(), self.title, text=self._in_characters())
        return [Heading(self.title), *map(Sentence, self._sentences()), Table(rows), picture]

    def _sentences(self) -> Iterator[str]:
        lowest = self.lowest_curvature
        if self.obstacle:
            yield f"No curvature is known: {self.obstacle}."
        if lowest < -self.rounding:
            along = next((f"d{k + 1}" for k in (0, 1) if self.curvature[k] == lowest), "an eigenvector of the Hessian")
            yield f"Not convex: along {along} it curves down ({format_number(lowest)})."
        if self.witness:
            ends = " and ".join(f"({format_number(a, 2)}, {format_number(b, 2)})" for a, b in self.witness)
            yield f"Not convex: half-way between {ends} it is higher than the mean of these two; a bowl never is."
        if self.convex:
            smallest = "0 (up to rounding)" if lowest <= self.rounding else format_number(lowest)
            curved = "" if self.obstacle else f"the smallest curvature found is {smallest}, and "
            yield f"A bowl, as far as seen: {curved}half-way between two points it is never higher than their mean."
        missing = int((~np.isfinite(self.values)).sum())
        if missing:
            yield f"At {missing} of {several(self.values.size, 'point')} of the map it is not finite."
        if len(self.path):
            share = percent(100 * self.share)
            yield f"The plane shows {share} % of the path of the training (of its squared distances from here)."
        beyond = sum(np.abs(place).max() > self.steps[-1] for place in self.path)
        if beyond:
            yield f"The map ends before {beyond} of {several(len(self.path), 'point')} of the path: pass a larger span."

    def heights(self) -> Array:
        """(points, points) from 0, the lowest loss, to 1, the highest; NaN where it is not finite."""
        scale = np.log if self.is_steep else np.asarray
        with np.errstate(all="ignore"):
            heights = (scale(self.values) - scale(self.low)) / ((scale(self.high) - scale(self.low)) or 1.0)
        return np.where(np.isfinite(self.values), np.clip(heights, 0, 1), np.nan)

    def _in_characters(self) -> str:
        """The map for a terminal, whose characters are twice as high as wide."""
        step = -(-len(self.steps) // 60)
        a, b = self.steps[::step], self.steps[:: 2 * step]
        levels = np.nan_to_num(self.heights()[::step, :: 2 * step] * (len(ASCII_BARS) - 1), nan=len(ASCII_BARS))
        cells = np.array([*ASCII_BARS, "?"])[levels.round().astype(int)]
        for place, sign in (*((place, "o") for place in self.path), (np.zeros(2), "X")):
            if np.abs(place).max() <= self.steps[-1]:
                cells[np.abs(a - place[0]).argmin(), np.abs(b - place[1]).argmin()] = sign
        low, high = format_number(self.low), format_number(self.high)
        legend = f"{low} '{ASCII_BARS}' {high}{' (logarithmic)' if self.is_steep else ''}, d1 to the right, d2 upwards"
        signs = ["X: the parameters", *["o: the training"] * bool(len(self.path)), *["?: not finite"] * ("?" in cells)]
        return "\n".join([*("".join(row).rstrip() for row in cells.T[::-1]), legend, "; ".join(signs)])

    def plot(self, path: Any = None) -> Any:
        """The map as a matplotlib Figure: lines of equal loss, and the path of the training. path: also saved there."""
        return plots.save(plots.surface_figure(self), path)


def witness_of(values: Array, steps: Array, eps: float) -> tuple[Array, Array] | None:
    """Two points (a, b) of a map half-way between which the loss is highest above the mean of both; None: nowhere.

    A bowl has no such pair. What is no more than rounding does not count, and neither does what is not finite.
    """
    finite = np.where(np.isfinite(values), values, np.nan)
    finite /= np.nanmax(np.abs(finite)) or 1.0
    highest, found = max(64 * eps, 1e-9 * (np.nanmax(finite) - np.nanmin(finite))), None
    last = len(steps) - 1
    for row, column in np.ndindex(finite.shape):  # each in the middle of the largest block of points around it
        top, left = max(0, 2 * row - last), max(0, 2 * column - last)
        block = finite[top : 2 * row - top + 1, left : 2 * column - left + 1]
        above = np.nan_to_num(finite[row, column] - (block + block[::-1, ::-1]) / 2)
        if above.max() > highest:
            highest = above.max()
            i, j = np.unravel_index(above.argmax(), above.shape) + np.array([top, left])
            found = np.array([steps[i], steps[j]]), np.array([steps[2 * row - i], steps[2 * column - j]])
    return found
