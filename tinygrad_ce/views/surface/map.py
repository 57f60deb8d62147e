"""What tg.surface gives: a map of the loss as a picture and in characters, with its verdict in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.report.histograms import ASCII_BARS
from tinygrad_ce.report.parts import Heading, Part, Picture, Report, Sentence, Table
from tinygrad_ce.report.words import format_number, listed, several
from tinygrad_ce.views import plots

ENDS = 3  # eigenvalues that are kept from each end
STEEP = 100.0  # the highest loss over the lowest, from which on a map has a logarithmic scale


@dataclass(frozen=True, repr=False, eq=False)
class Surface(Report):
    """The loss on a plane through the parameters of a model: print it, or let a notebook show it.

    title: what it is. loss: in the middle, at the parameters. steps: (points,) along both directions. values: (points,
    points), at [i, j] the loss steps[i] along the first direction and steps[j] along the second. directions: two lists
    of arrays shaped as the parameters. path: (k, 2), where the training went. share: of its squared distances from the
    middle, what the plane shows. eigenvalues: of the Hessian, the largest and the smallest, in descending order.
    curvature: (2,) along the directions. rounding: what is no larger may be 0. obstacle: why no curvature is known, or
    "". witness: two points (a, b) half-way between which the loss is higher than the mean of both, or None.
    """

    title: str
    loss: float
    steps: Array
    values: Array
    directions: tuple[list[Array], list[Array]]
    path: Array
    share: float
    eigenvalues: Array
    curvature: Array
    rounding: float
    obstacle: str
    witness: tuple[Array, Array] | None

    @property
    def lowest_curvature(self) -> float:
        """The smallest that was found, along the directions or an eigenvector; 0 where no curvature is known."""
        return float(min([*self.eigenvalues, *self.curvature], default=0.0))

    @property
    def convex(self) -> bool:
        """False where the loss is proved to be no bowl, True where nothing that was looked at speaks against one."""
        return self.witness is None and self.lowest_curvature >= -self.rounding

    @property
    def parts(self) -> Sequence[Part]:
        """The verdict and what else there is to say, the figures, the map."""
        low, high = _range(self.values)
        rows = [("loss here", format_number(self.loss))]
        rows += [("on the map", f"{format_number(low)} to {format_number(high)}")]
        if not self.obstacle:
            rows += [("curvature", "{} along d1, {} along d2".format(*map(format_number, self.curvature)))]
            rows += [("eigenvalues", listed([*map(format_number, self.eigenvalues)], 2 * ENDS))]
        sentences = [Sentence(text) for text in (*self._verdict(), *self._remarks())]
        picture = Picture(lambda: self.plot()._repr_png_(), self.title, text=self._in_characters())
        return [Heading(self.title), *sentences, Table(rows), picture]

    def _verdict(self) -> Iterator[str]:
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

    def _remarks(self) -> Iterator[str]:
        missing = int((~np.isfinite(self.values)).sum())
        if missing:
            yield f"At {missing} of {several(self.values.size, 'point')} it is not finite: nothing is drawn there."
        if len(self.path):
            yield f"The plane shows {self.share:.0%} of the path of the training (of its squared distances from here)."
        beyond = sum(np.abs(place).max() > self.steps[-1] for place in self.path)
        if beyond:
            yield f"The map ends before {beyond} of {several(len(self.path), 'point')} of the path: pass a larger span."

    @property
    def _is_steep(self) -> bool:
        low, high = _range(self.values)
        return 0 < STEEP * low < high

    def _heights(self) -> Array:
        """(points, points) from 0, the lowest loss, to 1, the highest; NaN where it is not finite."""
        with np.errstate(all="ignore"):
            heights = np.log(self.values) if self._is_steep else self.values
        low, high = _range(heights)
        return np.where(np.isfinite(heights), np.clip((heights - low) / ((high - low) or 1.0), 0, 1), np.nan)

    def _in_characters(self) -> str:
        """The map for a terminal, whose characters are twice as high as wide."""
        step = -(-len(self.steps) // 60)
        a, b = self.steps[::step], self.steps[:: 2 * step]
        levels = np.nan_to_num(self._heights()[::step, :: 2 * step] * (len(ASCII_BARS) - 1), nan=len(ASCII_BARS))
        cells = np.array([*ASCII_BARS, "?"])[levels.round().astype(int)]
        for place, sign in (*((place, "o") for place in self.path), (np.zeros(2), "X")):
            if np.abs(place).max() <= self.steps[-1]:
                cells[np.abs(a - place[0]).argmin(), np.abs(b - place[1]).argmin()] = sign
        low, high = map(format_number, _range(self.values))
        legend = f"{low} '{ASCII_BARS}' {high}{' (logarithmic)' if self._is_steep else ''}, d1 to the right, d2 upwards"
        signs = "X: the parameters" + ("; o: the training" if len(self.path) else "")
        return "\n".join([*("".join(row).rstrip() for row in cells.T[::-1]), legend, signs])

    def plot(self, path: Any = None) -> Any:
        """The map as a matplotlib Figure: lines of equal loss, and the path of the training. path: also saved there."""
        figure = plots.new_figure(6.4, 5.2)
        axes, heights = figure.subplots(), np.ma.masked_invalid(self._heights().T)
        filled = axes.contourf(self.steps, self.steps, heights, levels=np.linspace(0, 1, 21), cmap="viridis")
        axes.contour(self.steps, self.steps, heights, levels=filled.levels, colors="white", linewidths=0.6, alpha=0.5)
        low, high = _range(self.values)
        shares = np.linspace(0, 1, 6)
        losses = low * (high / low) ** shares if self._is_steep else low + (high - low) * shares
        bar = figure.colorbar(filled, ticks=shares, label="loss, logarithmic" if self._is_steep else "loss")
        bar.set_ticklabels([format_number(loss, 3) for loss in losses])
        if len(self.path):
            axes.plot(*self.path.T, "o-", color=plots.COLOURS[1], markersize=3, lw=1.2, label="the training")
        axes.plot(0, 0, "*", color="white", markeredgecolor="black", markersize=13, label="the parameters")
        axes.set(xlabel="along d1", ylabel="along d2", aspect="equal")
        axes.set_title(self.title, fontsize="medium")
        axes.set(xlim=self.steps[[0, -1]], ylim=self.steps[[0, -1]])
        return plots.save(figure, path)


def _range(values: Array) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return float(finite.min()), float(finite.max())
