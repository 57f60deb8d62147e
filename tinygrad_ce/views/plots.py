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


PIXELS_PER_INCH = 110  # in a notebook
MARKERS = ("o", "^", "s", "D", "v", "P", "X")  # one per class, also for who sees no colours
MOST_UNLIKE = 5.0  # times as wide as high, up to which the axes of a boundary have one scale


def _short(name: Any, longest: int = 22) -> str:
    """A name as a label: no longer than there is room for, and with no $ that matplotlib would take for mathematics."""
    return short(name, longest).replace("$", r"\$")


def _figure(width: float, height: float) -> Any:
    """A figure that belongs to no window and no global state; ImportError says what to install."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError('pictures need matplotlib: pip install "tinygrad_ce[plot]"') from None
    figure: Any = Figure(figsize=(width, height), layout="constrained")
    figure._repr_png_ = partial(_as_png, figure)
    return figure


def _as_png(figure: Any) -> bytes:
    """What a notebook shows: a figure that is made without pyplot has no form of its own there."""
    file = BytesIO()
    figure.savefig(file, format="png", dpi=PIXELS_PER_INCH)
    return file.getvalue()


def save(figure: Any, path: Any = None) -> Any:
    """The figure, which is also written to this path, whole or not at all, or to this open file, if there is one."""
    if path is None:
        return figure
    if hasattr(path, "write"):
        figure.savefig(path, dpi=150)
        return figure
    path = Path(path)
    with whole_file(path if path.suffix else path.with_name(f"{path.name}.png")) as draft:
        figure.savefig(draft, dpi=150)
    return figure


def history_figure(history: Any) -> Any:
    """The loss of each epoch, and the accuracy where there is one; dashed for the validation data.

    Dotted is the loss of who only guesses among the classes, ln C.
    Faint behind the losses are those of the batches, if they were kept, with their own scale above.
    """
    panels = ["loss"] + (["accuracy"] if "accuracy" in history.columns else [])
    figure = _figure(5.2 * len(panels), 3.8)
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        axes.plot(history["epoch"], history[name], color=COLOURS[0], label="training")
        if f"val_{name}" in history.columns:
            axes.plot(history["epoch"], history[f"val_{name}"], color=COLOURS[1], ls="--", label="validation")
        if name == "loss" and history.guessing is not None:
            guessing = history.guessing
            axes.axhline(guessing, color="0.4", lw=1.2, ls=":", label=f"guessing: ln {round(np.exp(guessing))}")
        axes.set(xlabel="epoch", title=name)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        if len(history) == 1:
            for line in axes.lines:
                line.set_marker("o")
    if history.batch_losses:
        _draw_batches(figure.axes[0], history.batch_losses, len(history))
    return figure


def _draw_batches(axes: Any, losses: Any, epochs: int) -> None:
    """The loss of each batch, on a scale of batches whose last one stands over the last epoch."""
    above = axes.twiny()
    above.plot(np.arange(1, len(losses) + 1), losses, color=COLOURS[0], lw=0.6, alpha=0.35, zorder=0)
    axes.set_xlim(left=0)  # the batches of the first epoch come before its end
    above.set_xlim(np.array(axes.get_xlim()) * len(losses) / epochs)
    above.set_xlabel("batch", color="0.5")
    above.tick_params(colors="0.5")
    axes.set_zorder(above.get_zorder() + 1)  # the epochs lie over the batches
    axes.patch.set_visible(False)


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
    matrix = np.zeros((classes, classes), int)
    np.add.at(matrix, (labels, predicted), 1)
    return matrix


def confusion_figure(matrix: Array, class_names: Any) -> Any:
    """The confusion matrix as a picture, with the counts in the cells."""
    classes, names = len(matrix), [_short(name) for name in class_names]
    side = 1.2 + 0.36 * classes + max(1.0, 0.085 * max(map(len, names)))  # the cells, and the names beside them
    figure = _figure(side + 1.1, side)
    axes = figure.subplots()
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    colours = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(colours, ax=axes, shrink=0.8, label="share of the true class")
    for i, j in np.ndindex(matrix.shape):
        if matrix[i, j]:
            axes.text(
                j, i, str(matrix[i, j]), ha="center", va="center", color="white" if share[i, j] > 0.5 else "black"
            )
    slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if max(map(len, names)) > 2 else {}
    axes.set_xticks(range(classes), names, **slanted)
    axes.set_yticks(range(classes), names)
    axes.set(xlabel="predicted", ylabel="true")
    figure.suptitle("confusion matrix", fontsize="large")  # over the whole figure: few cells are narrower than it
    return figure


def reliability_figure(reliability: Array, curves: dict[str, tuple[Array, Array]]) -> Any:
    """Whether probabilities come true, and the ROC curve of each class.

    reliability: (bins, 3) mean probability, share that was true, rows. curves: (false, true) positive rates by name.
    """
    figure = _figure(9.6, 4.2)
    calibration, roc = figure.subplots(1, 2)
    for axes in (calibration, roc):
        axes.plot([0, 1], [0, 1], color="0.6", lw=1, ls=":")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.grid(alpha=0.3)
    p, share, rows = reliability.T
    calibration.plot(p, share, color=COLOURS[0], lw=1.4)
    calibration.scatter(p, share, s=12 + 120 * rows / max(rows.sum(), 1e-300), color=COLOURS[0], zorder=3)
    calibration.set(xlabel="probability (larger: more rows)", ylabel="share that was true", title="reliability")
    for k, (name, (false_rate, true_rate)) in enumerate(curves.items()):
        look = "-" if k < len(COLOURS) else "--"
        roc.plot(false_rate, true_rate, look, color=COLOURS[k % len(COLOURS)], lw=1.6, label=_short(name))
    roc.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC curve")
    if 0 < len(curves) <= 2 * len(COLOURS):
        roc.legend(frameon=False, loc="lower right", fontsize="small" if len(curves) <= 7 else "xx-small")
    return figure


def residuals_figure(true: Array, predicted: Array, names: Any) -> Any:
    """Predicted over true numbers, and what is between them over what was predicted.

    true, predicted: (N, K). names: of the K outputs.
    """
    figure = _figure(9.6, 4.2)
    both, residuals = figure.subplots(1, 2)
    for k, name in enumerate(names):
        look = {"s": 14, "color": COLOURS[k % len(COLOURS)], "edgecolor": "white", "linewidth": 0.4}
        both.scatter(true[:, k], predicted[:, k], label=_short(name), **look)
        residuals.scatter(predicted[:, k], true[:, k] - predicted[:, k], **look)
    low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
    both.plot([low, high], [low, high], color="0.4", lw=1, ls=":")
    residuals.axhline(0, color="0.4", lw=1, ls=":")
    both.set(xlabel="true", ylabel="predicted", title="predictions")
    residuals.set(xlabel="predicted", ylabel="true - predicted", title="residuals")
    for axes in (both, residuals):
        axes.grid(alpha=0.3)
        axes.locator_params(axis="x", nbins=5)  # numbers in the units of a table are long
    if 1 < len(names) <= len(COLOURS):
        both.legend(frameon=False)
    return figure


def learning_rates_figure(found: Any) -> Any:
    """The loss of each batch over the rate that it was trained with, its running mean, and the suggested rate."""
    figure = _figure(6.4, 3.8)
    axes = figure.subplots()
    axes.plot(found.rates, found.losses, color=COLOURS[0], lw=0.6, alpha=0.5, label="of a batch")
    axes.plot(found.rates, found.smoothed, color=COLOURS[0], lw=1.6, label="running mean")
    axes.axvline(found.suggestion, color=COLOURS[1], ls="--", label=f"suggestion: {found.suggestion:.2g}")
    axes.set(xscale="log", xlabel="learning rate", title="loss")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def boundary_figure(predict: Any, X: Array, y: Array, class_names: Any, feature_names: Any = ("x1", "x2")) -> Any:
    """What the model would answer everywhere around 2-D data, with the data on top; paler where it is less sure.

    predict: from (N, 2) points to class probabilities (N, C). X: (N, 2). y: (N,) class indices.
    """
    figure = _figure(6.4, 4.8)
    axes = figure.subplots()
    low, high = X.min(axis=0), X.max(axis=0)
    span = np.maximum(high - low, 1e-9)
    alike = bool(span.max() <= MOST_UNLIKE * span.min())
    low, high = low - 0.08 * span, high + 0.08 * span
    grid = [np.linspace(a, b, 300) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*grid), axis=-1).reshape(-1, 2).astype(X.dtype)
    p = predict(points)
    classes = p.shape[1]
    colours = np.array([_rgb(COLOURS[c % len(COLOURS)]) for c in range(classes)])
    certainty = (p.max(axis=1, keepdims=True) - 1 / classes) / (1 - 1 / classes)
    strength = 0.12 + 0.38 * certainty
    image = (1 - strength) + strength * colours[p.argmax(axis=1)]
    extent = (low[0], high[0], low[1], high[1])
    axes.imshow(
        image.reshape(300, 300, 3),
        origin="lower",
        extent=extent,
        aspect="equal" if alike else "auto",
        interpolation="bilinear",
    )
    for c in range(classes):  # the line along which class c is as probable as the best of the others
        lead = p[:, c] - np.delete(p, c, axis=1).max(axis=1)
        if lead.min() < 0 < lead.max():
            axes.contour(*grid, lead.reshape(300, 300), levels=[0.0], colors="0.3", linewidths=1)
    for c, name in enumerate(class_names):
        look = {"color": COLOURS[c % len(COLOURS)], "marker": MARKERS[(c + c // len(COLOURS)) % len(MARKERS)]}
        axes.scatter(*X[y == c].T, s=14, edgecolor="white", linewidth=0.4, label=_short(name), **look)
    axes.set(title="decision boundary", xlim=extent[:2], ylim=extent[2:])
    axes.set(xlabel=_short(feature_names[0], 48), ylabel=_short(feature_names[1], 48))
    figure.legend(title="class", loc="outside right upper", frameon=False)
    return figure


_PANELS = {  # what is drawn over the epochs: the figures of a row, with the look of their lines
    "update / weight": {"update_per_weight": "-"},
    "norm of the gradient": {"gradient": "-"},
    "gradient / last layer's": {"share": "-"},
    "saturated, and dead (dotted), %": {"saturated": "-", "dead": ":"},
}
_MOST_NAMES = 12  # that a legend has room for


def audit_figure(epochs: Any, layers: Any, healthy: float) -> Any:
    """What layers did over the epochs: update / weight, norm of the gradient, saturated and dead shares.

    layers: for each its rows of the audits, one an epoch. healthy: where update / weight should be.
    """
    panels = {title: [layer for layer in layers if _drawn(layer, looks)] for title, looks in _PANELS.items()}
    panels = {title: shown for title, shown in panels.items() if shown}
    figure = _figure(8.4, 0.4 + 2.3 * len(panels))
    subplots = np.atleast_1d(figure.subplots(len(panels), 1, sharex=True))
    for axes, (title, shown) in zip(subplots, panels.items(), strict=True):
        if title == "update / weight":
            axes.axhline(healthy, color="0.3", lw=1, ls="--", label=f"about {healthy:g} is healthy")
        step, marker = -(-len(shown) // _MOST_NAMES), "o" if len(epochs) == 1 else None
        for number, (layer, colour) in enumerate(zip(shown, _in_order(len(shown)), strict=True)):
            label = _short(layer[0].name, 30) if number % step == 0 else None
            for column, look in _drawn(layer, _PANELS[title]).items():
                values = np.array([getattr(row, column) for row in layer], float)  # None becomes nan: a gap
                axes.plot(epochs, values, look, color=colour, lw=1.6, label=label, marker=marker)
                label = None
        if title.endswith("%"):
            axes.set_ylim(-4, 104)
        else:
            _whole_decades(axes)
        axes.set_title(title, loc="left", fontsize="medium")
        axes.grid(alpha=0.3)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize="small")
    subplots[-1].set_xlabel("epoch")
    subplots[-1].xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    return figure


def _drawn(layer: Any, looks: dict[str, str]) -> dict[str, str]:
    """Those of the columns in which the layer has a number."""
    layer = [row for row in layer if row.gradient is not None or "share" not in looks]  # shares decide on parameters
    return {column: look for column, look in looks.items() if any(getattr(row, column) is not None for row in layer)}


def _whole_decades(axes: Any) -> None:
    """A logarithmic scale from one power of ten to another, with all numbers between."""
    from matplotlib.ticker import NullFormatter

    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines])
    exponents = np.log10(values[np.isfinite(values) & (values > 0)])
    axes.set_yscale("log")
    if exponents.size:
        axes.set_ylim(10.0 ** (np.ceil(exponents.min()) - 1), 10.0 ** (np.floor(exponents.max()) + 1))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _in_order(count: int) -> list[Any]:
    """Colours for so many layers; where there are more than colours, from dark to light as they follow each other."""
    if count < len(COLOURS):
        return list(COLOURS[:count])
    from matplotlib import colormaps

    return [colormaps["viridis"](x) for x in np.linspace(0, 0.9, count)]


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
