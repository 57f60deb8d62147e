"""Pictures of a training run, with matplotlib: its history, the confusion matrix, the decision boundary."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.disk import whole_file
from tinygrad_ce.report.words import short

# Paul Tol's "bright" scheme: told apart by colour-blind eyes (https://personal.sron.nl/~pault/).
COLOURS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#BBBBBB")
MARKERS = ("o", "^", "s", "D", "v", "P", "X")  # one per class, also for who sees no colours
PIXELS_PER_INCH = 110  # in a notebook
MOST_UNLIKE = 5.0  # times as wide as high, up to which the axes of a boundary have one scale
GRID = 300  # points on a side of a boundary's background
MOST_NAMES = 12  # that the legend of an audit has room for
REFERENCE = {"color": "0.4", "lw": 1, "ls": ":"}  # a line to compare with
DOTS = {"s": 14, "edgecolor": "white", "linewidth": 0.4}


def _short(name: Any, longest: int = 22) -> str:
    """A name as a label: no longer than there is room for, and with no $ that matplotlib would take for mathematics."""
    return short(name, longest).replace("$", r"\$")


def _figure(width: float, height: float, rows: int = 1, columns: int = 1, grid: bool = True) -> tuple[Any, list[Any]]:
    """A figure that belongs to no window and no global state, and its axes; those of one column share their x."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError('pictures need matplotlib: pip install "tinygrad_ce[plot]"') from None
    figure: Any = Figure(figsize=(width, height), layout="constrained")
    figure._repr_png_ = partial(_as_png, figure)  # made without pyplot, it has no form of its own in a notebook
    panels = list(np.ravel(figure.subplots(rows, columns, sharex="col")))
    for axes in panels if grid else ():
        axes.grid(alpha=0.3)
    return figure, panels


def _as_png(figure: Any) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="png", dpi=PIXELS_PER_INCH)
    return file.getvalue()


def save(figure: Any, path: Any = None) -> Any:
    """The figure, which is also written to this path, whole or not at all, or to this open file, if there is one."""
    if hasattr(path, "write"):
        figure.savefig(path, dpi=150)
    elif path is not None:
        path = Path(path)
        with whole_file(path if path.suffix else path.with_name(f"{path.name}.png")) as draft:
            figure.savefig(draft, dpi=150)
    return figure


def history_figure(history: Any) -> Any:
    """The loss of each epoch, and the accuracy where there is one; dashed for the validation data.

    Dotted is the loss of who only guesses among the classes, ln C. Faint are the losses of the batches, if they were
    kept: the last of them stands over the last epoch.
    """
    names = ["loss", "accuracy"] if "accuracy" in history.columns else ["loss"]
    figure, panels = _figure(5.2 * len(names), 3.8, columns=len(names))
    marker = "o" if len(history) == 1 else None
    for axes, name in zip(panels, names, strict=True):
        for column, colour, style, label in ((name, 0, "-", "training"), (f"val_{name}", 1, "--", "validation")):
            if column in history.columns:
                values = history["epoch"], history[column]
                axes.plot(*values, style, color=COLOURS[colour], label=label, marker=marker)
        axes.set(xlabel="epoch", title=name)
    if history.guessing is not None:
        panels[0].axhline(history.guessing, **REFERENCE, label=f"guessing: ln {round(np.exp(history.guessing))}")
    if history.batch_losses:
        ends = np.linspace(0, len(history), len(history.batch_losses) + 1)[1:]
        panels[0].plot(ends, history.batch_losses, color=COLOURS[0], lw=0.6, alpha=0.35, zorder=0, label="of a batch")
        panels[0].set_xlim(left=0)  # the batches of the first epoch come before its end
    for axes in panels:
        axes.legend(frameon=False)
    return figure


def confusion_matrix(labels: Array, predicted: Array, classes: int) -> Array:
    """(classes, classes) counts: row = the true class, column = the predicted one.

    >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 1, 0]), 2)
    array([[1, 0],
           [1, 1]])
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    if labels.shape != predicted.shape or labels.ndim != 1:
        raise ValueError(f"confusion_matrix: labels {labels.shape} and predictions {predicted.shape} must be two (N,)")
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(f"confusion_matrix: labels must be class indices from 0 to {classes - 1}")
    return np.bincount(labels.astype(int) * classes + predicted, minlength=classes**2).reshape(classes, classes)


def confusion_figure(matrix: Array, class_names: Any) -> Any:
    """The confusion matrix as a picture, with the counts in the cells."""
    names = [_short(name) for name in class_names]
    longest = max(map(len, names))
    side = 1.2 + 0.36 * len(matrix) + max(1.0, 0.085 * longest)  # the cells, and the names beside them
    figure, (axes,) = _figure(side + 1.1, side, grid=False)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    colours = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(colours, ax=axes, shrink=0.8, label="share of the true class")
    for i, j in np.argwhere(matrix):
        axes.text(j, i, str(matrix[i, j]), ha="center", va="center", color="white" if share[i, j] > 0.5 else "black")
    slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if longest > 2 else {}
    axes.set_xticks(range(len(names)), names, **slanted)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true")
    figure.suptitle("confusion matrix", fontsize="large")  # over the whole figure: few cells are narrower than it
    return figure


def reliability_figure(reliability: Array, curves: dict[str, tuple[Array, Array]]) -> Any:
    """Whether probabilities come true, and the ROC curve of each class.

    reliability: (bins, 3) mean probability, share that was true, rows. curves: (false, true) positive rates by name.
    """
    figure, (calibration, roc) = _figure(9.6, 4.2, columns=2)
    for axes in (calibration, roc):
        axes.plot([0, 1], [0, 1], **REFERENCE)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    p, share, rows = reliability.T
    calibration.plot(p, share, color=COLOURS[0], lw=1.4)
    calibration.scatter(p, share, s=12 + 120 * rows / max(rows.sum(), 1e-300), color=COLOURS[0], zorder=3)
    calibration.set(xlabel="probability (larger: more rows)", ylabel="share that was true", title="reliability")
    for k, (name, rates) in enumerate(curves.items()):
        style = "-" if k < len(COLOURS) else "--"
        roc.plot(*rates, style, color=COLOURS[k % len(COLOURS)], lw=1.6, label=_short(name))
    roc.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC curve")
    if 0 < len(curves) <= 2 * len(COLOURS):
        roc.legend(frameon=False, loc="lower right", fontsize="small" if len(curves) <= 7 else "xx-small")
    return figure


def residuals_figure(true: Array, predicted: Array, names: Any) -> Any:
    """Predicted over true numbers, and what is between them over what was predicted.

    true, predicted: (N, K). names: of the K outputs.
    """
    figure, (both, residuals) = _figure(9.6, 4.2, columns=2)
    for k, name in enumerate(names):
        colour = COLOURS[k % len(COLOURS)]
        both.scatter(true[:, k], predicted[:, k], label=_short(name), color=colour, **DOTS)
        residuals.scatter(predicted[:, k], true[:, k] - predicted[:, k], color=colour, **DOTS)
    ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
    both.plot(ends, ends, **REFERENCE)
    residuals.axhline(0, **REFERENCE)
    both.set(xlabel="true", ylabel="predicted", title="predictions")
    residuals.set(xlabel="predicted", ylabel="true - predicted", title="residuals")
    for axes in (both, residuals):
        axes.locator_params(axis="x", nbins=5)  # numbers in the units of a table are long
    if 1 < len(names) <= len(COLOURS):
        both.legend(frameon=False)
    return figure


def learning_rates_figure(found: Any) -> Any:
    """The loss of each batch over the rate that it was trained with, its running mean, and the suggested rate."""
    figure, (axes,) = _figure(6.4, 3.8)
    axes.plot(found.rates, found.losses, color=COLOURS[0], lw=0.6, alpha=0.5, label="of a batch")
    axes.plot(found.rates, found.smoothed, color=COLOURS[0], lw=1.6, label="running mean")
    axes.axvline(found.suggestion, color=COLOURS[1], ls="--", label=f"suggestion: {found.suggestion:.2g}")
    axes.set(xscale="log", xlabel="learning rate", title="loss")
    axes.legend(frameon=False)
    return figure


def boundary_figure(predict: Any, X: Array, y: Array, class_names: Any, feature_names: Any = ("x1", "x2")) -> Any:
    """What the model would answer everywhere around 2-D data, with the data on top; paler where it is less sure.

    predict: from (N, 2) points to class probabilities (N, C). X: (N, 2). y: (N,) class indices.
    """
    figure, (axes,) = _figure(6.4, 4.8, grid=False)
    low, high = X.min(axis=0), X.max(axis=0)
    span = np.maximum(high - low, 1e-9)
    sides = np.linspace(low - 0.08 * span, high + 0.08 * span, GRID).T
    p = predict(np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2).astype(X.dtype))
    aspect = "equal" if span.max() <= MOST_UNLIKE * span.min() else "auto"
    extent = (*sides[0, [0, -1]], *sides[1, [0, -1]])
    axes.imshow(_shades(p), origin="lower", extent=extent, aspect=aspect, interpolation="bilinear")
    for c, name in enumerate(class_names):
        if c < p.shape[1]:  # the line along which class c is as probable as the best of the others
            lead = p[:, c] - np.delete(p, c, axis=1).max(axis=1)
            if lead.min() < 0 < lead.max():
                axes.contour(*sides, lead.reshape(GRID, GRID), levels=[0.0], colors="0.3", linewidths=1)
        look = {"color": COLOURS[c % len(COLOURS)], "marker": MARKERS[(c + c // len(COLOURS)) % len(MARKERS)]}
        axes.scatter(*X[y == c].T, label=_short(name), **look, **DOTS)
    axes.set(title="decision boundary", xlabel=_short(feature_names[0], 48), ylabel=_short(feature_names[1], 48))
    figure.legend(title="class", loc="outside right upper", frameon=False)
    return figure


def _shades(p: Array) -> Array:
    """(GRID, GRID, 4) the colour of the most probable class of each point, paler where it is less sure. p: (N, C)."""
    from matplotlib.colors import to_rgba_array

    shades = to_rgba_array(COLOURS)[p.argmax(axis=1) % len(COLOURS)]
    shades[:, 3] = 0.12 + 0.38 * (p.max(axis=1) - 1 / p.shape[1]) / (1 - 1 / p.shape[1])
    return np.asarray(shades).reshape(GRID, GRID, 4)


def surface_figure(surface: Any) -> Any:
    """A map of a loss: lines of equal loss, the parameters in the middle, and the path of the training."""
    figure, (axes,) = _figure(6.4, 5.2, grid=False)
    heights, sides = np.ma.masked_invalid(surface.heights().T), (surface.steps, surface.steps)
    filled = axes.contourf(*sides, heights, levels=np.linspace(0, 1, 21), cmap="viridis")
    axes.contour(*sides, heights, levels=filled.levels, colors="white", linewidths=0.6, alpha=0.5)
    losses = (np.geomspace if surface.is_steep else np.linspace)(surface.low, surface.high, 6)
    label = "loss, logarithmic" if surface.is_steep else "loss"
    figure.colorbar(filled, ticks=np.linspace(0, 1, 6), label=label).set_ticklabels([f"{loss:.3g}" for loss in losses])
    if len(surface.path):  # black and white, which are told apart on every colour and by every eye
        dots = {"marker": "o", "markersize": 3.5, "markerfacecolor": "white", "markeredgewidth": 0.8}
        axes.plot(*surface.path.T, color="black", lw=1.2, label="the training", **dots)
    axes.plot(0, 0, "*", color="white", markeredgecolor="black", markersize=13, label="the parameters")
    axes.set(xlabel="along d1", ylabel="along d2", aspect="equal", xlim=sides[0][[0, -1]], ylim=sides[0][[0, -1]])
    axes.set_title(_short(surface.title, 64), fontsize="medium")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


AUDITED = {  # what is drawn over the epochs: the columns of a row, with the look of their lines
    "update / weight": {"update_per_weight": "-"},
    "norm of the gradient": {"gradient": "-"},
    "gradient / last layer's": {"share": "-"},
    "saturated, and dead (dotted), %": {"saturated": "-", "dead": ":"},
}


def audit_figure(epochs: Any, layers: Any, healthy: float) -> Any:
    """What layers did over the epochs: update / weight, norm of the gradient, saturated and dead shares.

    layers: for each its rows of the audits, one an epoch. healthy: where update / weight should be.
    """
    shown = {title: [layer for layer in layers if _measured(layer, looks)] for title, looks in AUDITED.items()}
    titles = [title for title in shown if shown[title]]
    figure, panels = _figure(8.4, 0.4 + 2.3 * len(titles), rows=len(titles))
    for axes, title in zip(panels, titles, strict=True):
        if title == "update / weight":
            axes.axhline(healthy, color="0.3", lw=1, ls="--", label=f"about {healthy:g} is healthy")
        _draw_layers(axes, epochs, shown[title], AUDITED[title])
        axes.set_title(title, loc="left", fontsize="medium")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize="small")
    panels[-1].set_xlabel("epoch")
    panels[-1].xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    return figure


def _measured(layer: Any, looks: dict[str, str]) -> list[str]:
    """Those of the columns in which the layer has a number."""
    layer = [row for row in layer if row.gradient is not None or "share" not in looks]  # shares decide on parameters
    return [column for column in looks if any(getattr(row, column) is not None for row in layer)]


def _draw_layers(axes: Any, epochs: Any, layers: Any, looks: dict[str, str]) -> None:
    """Lines over the epochs: shares on a scale up to 100 %, everything else on a logarithmic one."""
    from matplotlib import colormaps
    from matplotlib.ticker import NullFormatter

    many = len(layers) >= len(COLOURS)  # then they go from dark to light as they follow each other
    colours = colormaps["viridis"](np.linspace(0, 0.9, len(layers))) if many else COLOURS
    for n, layer in enumerate(layers):
        label = _short(layer[0].name, 30) if n % -(-len(layers) // MOST_NAMES) == 0 else None
        for column in _measured(layer, looks):
            values = np.array([getattr(row, column) for row in layer], float)  # None becomes nan: a gap
            marker = "o" if len(epochs) == 1 else None
            axes.plot(epochs, values, looks[column], color=colours[n], lw=1.6, label=label, marker=marker)
            label = None
    if "saturated" in looks:
        axes.set_ylim(-4, 104)
        return
    axes.set_yscale("log")
    if axes.dataLim.ymax > 0:  # from one power of ten to another
        low, high = np.log10([axes.dataLim.minposy, axes.dataLim.ymax])
        axes.set_ylim(10.0 ** (np.ceil(low) - 1), 10.0 ** (np.floor(high) + 1))
    axes.yaxis.set_minor_formatter(NullFormatter())
