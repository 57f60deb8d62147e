"""The pictures of the lessons, drawn when the site is built: each shows one thing, computed by the engine.

`python docs/lesson_pictures.py [FOLDER]` writes them all, to look at.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import tinygrad_ce as tg
from tinygrad_ce.views.plots import COLOURS

BLUE, RED, GREEN = COLOURS[:3]
GREY = "#57606a"


def panels(columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure with panels side by side, without a frame at the top and at the right."""
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    axes = list(np.ravel(figure.subplots(1, columns)))
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def bars(axes: Axes, title: str, values: np.ndarray) -> None:
    """A bar for each class with its number; negative ones in red, and no bar for NaN."""
    axes.bar(range(len(values)), values, color=[RED if value < 0 else BLUE for value in values])
    for k, value in enumerate(values):
        if np.isfinite(value):
            height = 3 if value >= 0 else -12
            axes.annotate(f"{value:.2g}", (k, value), (0, height), textcoords="offset points", ha="center")
    axes.axhline(0, color=GREY, lw=0.8)
    axes.set(title=title, xlabel="class", xticks=range(len(values)))


def why_log() -> Figure:
    """The curve of -log p, with three points that the lesson names."""
    figure, (axes,) = panels()
    p = np.linspace(0.008, 1, 400)
    axes.plot(p, -np.log(p), color=BLUE, lw=2)
    for value, words in ((0.1, "sure and wrong: 2.30"), (0.5, "a coin: 0.69"), (0.9, "sure and right: 0.11")):
        axes.plot(value, -np.log(value), "o", color=RED)
        axes.annotate(words, (value, -np.log(value)), (8, 8), textcoords="offset points")
    axes.set(xlabel="p, the probability of the true class", ylabel="loss  −log p", xlim=(0, 1.12), ylim=(0, 5))
    return figure


def squared_error() -> Figure:
    """Both losses of a sigmoid over its logit, for y = 1; at the right their slopes."""
    figure, (left, right) = panels(2)
    z = tg.Tensor(np.linspace(-8, 4, 400), requires_grad=True)
    y = np.ones(400)
    losses = {
        "cross-entropy": (tg.losses.sigmoid_binary_cross_entropy(z, y, reduction="none"), BLUE, "-"),
        "squared error": (tg.losses.mse(z.sigmoid(), y, reduction="none") / 2, RED, "--"),
    }
    for name, (loss, colour, style) in losses.items():
        left.plot(z.data, loss.data, style, color=colour, lw=2, label=name)
        right.plot(z.data, tg.gradients(loss.sum(), z), style, color=colour, lw=2, label=name)
    left.set(xlabel="logit z", ylabel="loss, for y = 1")
    right.set(xlabel="logit z", ylabel="its slope: what training sees")
    left.legend(frameon=False)
    return figure


def p_minus_y() -> Figure:
    """Bars of p, y and p - y for the logits 2, 1, 0.1."""
    figure, axes = panels(3)
    p, y = tg.ops.softmax(np.array([2.0, 1.0, 0.1])), np.array([1.0, 0.0, 0.0])
    for each, title, values in zip(axes, ("p", "y", "p − y"), (p, y, p - y), strict=True):
        bars(each, title, values)
        each.set_ylim(-0.5, 1.15)
    return figure


def logits() -> Figure:
    """The loss of one neuron layer while it trains on two far groups: with one softmax, and with two."""
    figure, (axes,) = panels()
    X, y = np.array([[-2.0], [-1.5], [1.5], [2.0]]), np.array([0, 0, 1, 1])

    def twice(z: tg.Tensor, y: np.ndarray) -> tg.Tensor:
        e = np.exp(tg.ops.softmax(z))  # the second softmax, written out: the loss would warn of it
        return tg.losses.cross_entropy(e / e.sum(axis=1, keepdims=True), y)

    for name, loss_of, colour, style in (
        ("softmax once", tg.losses.softmax_cross_entropy, BLUE, "-"),
        ("softmax twice", twice, RED, "--"),
    ):
        W, losses = tg.Tensor(np.zeros((1, 2)), requires_grad=True), []
        optimizer = tg.optim.SGD([W], lr=0.3)
        for _ in range(200):
            loss = loss_of(X @ W, y)
            losses.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        axes.plot(losses, style, color=colour, lw=2, label=name)
    axes.axhline(np.log(1 + 1 / np.e), color=GREY, lw=1, ls=":", label="0.313, the floor")
    axes.set(xlabel="step", ylabel="loss", ylim=(0, 0.75), xlim=(0, 200))
    axes.legend(frameon=False, loc="center right", bbox_to_anchor=(1, 0.7))
    return figure


def binary() -> Figure:
    """The sigmoid of z, and the second probability of the softmax of (0, z)."""
    figure, (axes,) = panels()
    z = np.linspace(-6, 6, 200)
    axes.plot(z, tg.ops.softmax(np.stack([0 * z, z], axis=1))[:, 1], color=COLOURS[4], lw=7, label="softmax of 0 and z")
    axes.plot(z, tg.ops.sigmoid(z), color=RED, lw=1.5, ls="--", label="sigmoid of z")
    axes.plot(1.5, tg.ops.sigmoid(np.array(1.5)), "o", color=GREY)
    axes.annotate("z = 1.5: 0.818", (1.5, 0.818), (10, -8), textcoords="offset points")
    axes.set(xlabel="logit z", ylabel="probability of a dog", ylim=(0, 1.05))
    axes.legend(frameon=False)
    return figure


def exact() -> Figure:
    """The loss of a mistake over the logit: as the log of a softmax, and from the logits."""
    figure, (axes,) = panels()
    z = np.linspace(0, 1000, 401)
    rows = np.stack([z, 0 * z], axis=1)
    with np.errstate(divide="ignore"):
        naive = -np.log(tg.ops.softmax(rows)[:, 1])
    exact = tg.losses.softmax_cross_entropy(rows, np.ones(401, int), reduction="none").data
    axes.plot(z, exact, color=BLUE, lw=2, label="from the logits")
    axes.plot(z, np.where(np.isfinite(naive), naive, np.nan), color=RED, lw=4, ls="--", label="log of the softmax")
    axes.annotate("from here on: infinite", (745, 745), (-150, 0), textcoords="offset points", color=RED)
    axes.set(xlabel="logit of the wrong class", ylabel="loss", xlim=(0, 1000), ylim=(0, 1000))
    axes.legend(frameon=False, loc="lower right")
    return figure


def labels() -> Figure:
    """What a row of labels is: the target of each class, for four kinds."""
    figure, axes = panels(4)
    one_hot = np.array([1.0, 0.0, 0.0])
    kinds = {
        "0": one_hot,
        "soft": np.array([0.75, 0.25, 0.0]),
        "0, smoothed": 0.9 * one_hot + 0.1 / 3,
        "−1, ignored": np.full(3, np.nan),
    }
    for each, (title, values) in zip(axes, kinds.items(), strict=True):
        bars(each, title, values)
        each.set_ylim(0, 1.15)
    axes[0].set_ylabel("y")
    axes[3].text(1, 0.5, "counts for\nnothing", ha="center", color=GREY)
    return figure


def initialisation() -> Figure:
    """The root mean square of the activations of ten ReLU layers, for three sizes of weights."""
    figure, (axes,) = panels()
    he = np.sqrt(2 / 64)
    for name, size, colour, style in (
        ("twice He", 2 * he, RED, "--"), ("He", he, BLUE, "-"), ("half of He", he / 2, GREEN, "-."),
    ):  # fmt: skip
        rng = np.random.default_rng(0)
        h = rng.normal(size=(200, 64))
        sizes = [np.sqrt((h**2).mean())]
        for _ in range(10):
            h = np.maximum(h @ (size * rng.normal(size=(64, 64))), 0)
            sizes.append(np.sqrt((h**2).mean()))
        axes.plot(sizes, style, color=colour, lw=2, marker="o", ms=4, label=name)
    axes.set(xlabel="layer", ylabel="size of the activations", yscale="log", xticks=range(11))
    axes.legend(frameon=False)
    return figure


def saturation() -> Figure:
    """Three activations, and their slopes."""
    figure, axes = panels(2)
    z = tg.Tensor(np.linspace(-5, 5, 401), requires_grad=True)
    for name, function, colour, style in (
        ("tanh", tg.ops.tanh, BLUE, "-"), ("sigmoid", tg.ops.sigmoid, RED, "--"), ("ReLU", tg.ops.relu, GREEN, "-."),
    ):  # fmt: skip
        values = function(z)
        axes[0].plot(z.data, values.data, style, color=colour, lw=2, label=name)
        axes[1].plot(z.data, tg.gradients(values.sum(), z), style, color=colour, lw=2, label=name)
    axes[0].set(xlabel="z", ylabel="what it gives", ylim=(-1.2, 2.2))
    axes[1].set(xlabel="z", ylabel="its slope", ylim=(-0.05, 1.1))
    axes[0].legend(frameon=False)
    return figure


def batch_norm() -> Figure:
    """The values 1, 2 and 6, and what batch norm makes of them."""
    figure, axes = panels(2)
    x = np.array([[1.0], [2.0], [6.0]])
    for each, title, values in zip(axes, ("before", "after"), (x, tg.nn.BatchNorm(1)(x).data), strict=True):
        mean, spread = values.mean(), values.std()
        each.axvspan(mean - spread, mean + spread, color=COLOURS[4], alpha=0.25, label="mean ± spread")
        each.axvline(mean, color=GREY, ls="--", lw=1)
        each.plot(values[:, 0], [0, 0, 0], "o", color=BLUE, ms=9)
        for value, height in zip(values[:, 0], (12, -22, 12), strict=True):
            each.annotate(f"{value:.3g}", (value, 0), (0, height), textcoords="offset points", ha="center")
        each.set(title=f"{title}: mean {abs(mean):.3g}, spread {spread:.3g}", yticks=[], ylim=(-1, 1), xlim=(-3, 7))
        each.spines["left"].set_visible(False)
    axes[0].legend(frameon=False, loc="lower left")
    return figure


def nan() -> Figure:
    """What becomes of the logit 800: a chain of operations with their values."""
    figure, (axes,) = panels()
    steps = (("z", "800"), ("exp(z)", "inf"), ("sum", "inf"), ("p = e / sum", "inf / inf\n= nan"), ("−log p", "nan"))
    for k, (name, value) in enumerate(steps):
        colour = BLUE if k == 0 else RED
        words = {1: "the culprit", 4: "where you\nsee it"}.get(k, "")
        axes.text(k, 0.45, name, ha="center", size=11)
        axes.text(k, 0, value, ha="center", va="center", size=12, color=colour,
                  bbox={"boxstyle": "round,pad=0.5", "fc": "white", "ec": colour, "lw": 1.5})  # fmt: skip
        axes.text(k, -0.5, words, ha="center", va="center", color=GREY)
        if k:
            arrow = {"arrowstyle": "->", "color": GREY, "shrinkA": 34, "shrinkB": 36}
            axes.annotate("", (k, 0), (k - 1, 0), arrowprops=arrow)
    axes.set(xlim=(-0.5, 4.5), ylim=(-0.7, 0.7))
    axes.set_axis_off()
    return figure


def overfitting() -> Figure:
    """Both losses of the lesson's network, over 1,000 epochs."""
    figure, (axes,) = panels()
    data = tg.data.moons(60, noise=0.15, seed=1)
    wrong = data.y.copy()
    wrong[:5] = 1 - wrong[:5]
    train, test = replace(data, y=wrong).take(range(30)), data.take(range(30, 60))
    tg.seed(3)
    nn = tg.nn
    model = nn.Sequential(nn.Dense(2, 8), nn.Tanh(), nn.Dense(8, 8), nn.Tanh(), nn.Dense(8, 2))
    trainer = tg.Trainer(model, tg.losses.softmax_cross_entropy, tg.optim.SGD(model.parameters(), lr=0.2))
    history = trainer.fit(train, epochs=1000, batch_size=30, validation=test, seed=0)
    for column, name, colour, style in (("loss", "training rows", BLUE, "-"), ("val_loss", "test rows", RED, "--")):
        axes.plot(history["epoch"], history[column], style, color=colour, lw=2, label=name)
    axes.axhline(np.log(2), color=GREY, lw=1, ls=":", label="guessing")
    axes.set(xlabel="epoch", ylabel="loss", xlim=(0, 1000), ylim=(0, 0.8))
    axes.legend(frameon=False)
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "01_why_log": why_log,
    "02_squared_error": squared_error,
    "03_p_minus_y": p_minus_y,
    "04_logits": logits,
    "05_binary": binary,
    "06_exact": exact,
    "07_labels": labels,
    "08_initialisation": initialisation,
    "09_saturation": saturation,
    "10_batch_norm": batch_norm,
    "11_nan": nan,
    "12_overfitting": overfitting,
}


def write_pictures(folder: Path) -> None:
    """Write NAME.svg into the folder for each lesson; the same file comes out each time."""
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "lessons", "font.size": 10}):
        for name, draw in PICTURES.items():
            draw().savefig(folder / f"{name}.svg", metadata={"Date": None}, facecolor="white")


if __name__ == "__main__":
    write_pictures(Path(sys.argv[1] if len(sys.argv) > 1 else "pictures"))
