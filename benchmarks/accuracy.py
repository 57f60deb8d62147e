"""How many digits the cross-entropies lose: loss and gradient against exact values, beside the installed peers.

python -m benchmarks.accuracy [--picture docs/images/accuracy.png]

The error is counted in ulp, units in the last place of the exact value, which mpmath computes with 60 digits from the
same floats that the libraries are given. In each row of logits one class leads the others by a gap of 0 to 700 (80 in
float32, where exp underflows beyond): the right class (confident and right) or a wrong one. The gradient is judged at
the true class, where a library that computes p - 1 cancels, and at all classes (of 32,000: at a sample of 1000).
"all digits lost" is an answer of 0, infinity or NaN, or one that is wrong by more than a tenth of the exact value.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mpmath
import numpy as np

Run = Callable[
    [np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]
]  # logits, targets -> losses, gradient of the sum

GAPS = {"float64": (0, 1, 5, 10, 15, 20, 30, 40, 80, 200, 700), "float32": (0, 1, 5, 10, 15, 20, 30, 40, 80)}
ROWS = {2: 32, 10: 32, 1000: 8, 32_000: 2}  # how many rows are tried for so many classes
SAMPLE = 1000  # classes at which the gradient is judged, if there are more
SIDES = ("right", "wrong")
LOST = np.inf
PROMISE = 4  # ulp


# ---- the libraries, each as its users call it


@dataclass(frozen=True)
class Library:
    name: str
    softmax: Run
    sigmoid: Run | None


def tinygrad_ce() -> Library:
    import tinygrad_ce as tg

    def run_with(loss: Callable[..., Any]) -> Run:
        def run(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            logits = tg.Tensor(z, requires_grad=True)
            losses = loss(logits, y, reduction="none")
            losses.sum().backward()
            return losses.data, np.asarray(logits.grad)

        return run

    return Library(
        "tinygrad_ce",
        run_with(tg.losses.softmax_cross_entropy),
        run_with(tg.losses.sigmoid_binary_cross_entropy),
    )


def torch() -> Library:
    import torch

    def run_with(loss: Callable[..., Any]) -> Run:
        def run(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            logits = torch.tensor(z, requires_grad=True)
            losses = loss(logits, torch.tensor(y), reduction="none")
            losses.sum().backward()
            assert logits.grad is not None
            return losses.detach().numpy(), logits.grad.numpy()

        return run

    functional = torch.nn.functional
    return Library("PyTorch", run_with(functional.cross_entropy), run_with(functional.binary_cross_entropy_with_logits))


def jax() -> Library:
    import jax
    import jax.numpy as jnp
    import optax

    jax.config.update("jax_enable_x64", True)

    def run_with(loss: Callable[..., Any]) -> Run:
        def total_and_losses(z: Any, y: Any) -> tuple[Any, Any]:
            losses = loss(z, y)
            return losses.sum(), losses

        step = jax.jit(jax.grad(total_and_losses, has_aux=True))

        def run(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            slope, losses = step(jnp.asarray(z), jnp.asarray(y))
            return np.asarray(losses), np.asarray(slope)

        return run

    return Library(
        "JAX",
        run_with(optax.softmax_cross_entropy_with_integer_labels),
        run_with(optax.sigmoid_binary_cross_entropy),
    )


def mygrad() -> Library:
    """It has the mean over the rows only, so each row is a batch of its own; and it has no sigmoid form."""
    import mygrad
    from mygrad.nnet.losses import softmax_crossentropy

    def run(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        losses, slope = np.empty(len(z), z.dtype), np.empty_like(z)
        for i in range(len(z)):
            logits = mygrad.tensor(z[i : i + 1])
            loss = softmax_crossentropy(logits, y[i : i + 1])
            loss.backward()
            losses[i], slope[i] = loss.item(), logits.grad[0]
        return losses, slope

    return Library("MyGrad", run, None)


def installed() -> list[Library]:
    found = [tinygrad_ce()]
    for package, make in (("torch", torch), ("jax", jax), ("mygrad", mygrad)):
        try:
            found.append(make())
            print(f"{package} {version(package)}")
        except ImportError as missing:
            print(f"{package} is skipped: {missing}")
    return found


# ---- exact values


@dataclass(frozen=True)
class Exact:
    """Exact numbers as sums of two floats, in which their distance to a library's numbers is a NumPy expression."""

    high: np.ndarray
    low: np.ndarray

    @classmethod
    def of(cls, numbers: list[Any]) -> Exact:
        high = [float(x) for x in numbers]
        return cls(np.array(high), np.array([float(x - h) for x, h in zip(numbers, high, strict=True)]))

    def worst(self, got: np.ndarray) -> float:
        """The largest error in ulp; LOST if any number has no digit left."""
        error = np.abs((got.astype(np.float64) - self.high) - self.low)
        if not np.all(error <= np.abs(self.high) / 10):
            return LOST
        return float(np.max(error / np.spacing(np.abs(self.high).astype(got.dtype))))


@dataclass(frozen=True)
class Row:
    """Logits below 0, of which one is then raised to lead by a gap; and the exact exponentials of all."""

    z: np.ndarray
    exps: list[Any]
    leader: int
    other: int  # the true class, if the leader is a wrong one

    def raised(self, gap: float) -> np.ndarray:
        z = self.z.copy()
        z[self.leader] = np.delete(z, self.leader).max() + z.dtype.type(gap)
        return z

    def exact(self, z: np.ndarray, label: int, classes: np.ndarray) -> tuple[Any, list[Any]]:
        """The loss of the raised row, and its gradient at some classes; sums of positive numbers, which keep digits."""
        exps = [*self.exps]
        exps[self.leader] = mpmath.exp(mpmath.mpf(float(z[self.leader])))
        true, exps[label] = exps[label], mpmath.mpf(0)
        others = mpmath.fsum(exps)
        total = others + true
        slope = [-others / total if c == label else exps[c] / total for c in classes.tolist()]
        return mpmath.log1p(others / true), slope


def rows_of(classes: int, dtype: str) -> list[Row]:
    generator = np.random.default_rng(classes)
    rows = []
    for _ in range(ROWS[classes]):
        z = generator.uniform(-5, 0, classes).astype(dtype)
        leader, other = generator.choice(classes, 2, replace=False).tolist()
        rows.append(Row(z, [mpmath.exp(mpmath.mpf(float(v))) for v in z], leader, other))
    return rows


# ---- measurements


@dataclass(frozen=True)
class Error:
    """The worst error of a library in one case."""

    library: str
    dtype: str
    case: str
    side: str
    gap: int
    loss: float
    at_true: float
    anywhere: float


def softmax_errors(libraries: list[Library], dtype: str, classes: int) -> Iterator[Error]:
    rows = rows_of(classes, dtype)
    chosen = np.arange(classes)
    if classes > SAMPLE:
        chosen = np.random.default_rng(0).choice(classes, SAMPLE, replace=False)
    for gap in GAPS[dtype]:
        z = np.stack([row.raised(gap) for row in rows])
        for side in SIDES:
            y = np.array([row.leader if side == "right" else row.other for row in rows])
            judged = [np.array([label, row.leader, *chosen]) for row, label in zip(rows, y, strict=True)]
            exact = [row.exact(*what) for row, *what in zip(rows, z, y.tolist(), judged, strict=True)]
            losses, slopes = Exact.of([loss for loss, _ in exact]), [Exact.of(slope) for _, slope in exact]
            at_true = Exact.of([slope[0] for _, slope in exact])
            for library in libraries:
                loss, slope = library.softmax(z, y)
                yield Error(
                    library.name,
                    dtype,
                    f"softmax, {classes:,} classes",
                    side,
                    gap,
                    losses.worst(loss),
                    at_true.worst(slope[np.arange(len(z)), y]),
                    max(right.worst(row[at]) for right, row, at in zip(slopes, slope, judged, strict=True)),
                )


def sigmoid_errors(libraries: list[Library], dtype: str) -> Iterator[Error]:
    for gap in GAPS[dtype]:
        sizes = (gap + np.random.default_rng(gap).uniform(0, 1, 32)).astype(dtype)
        z = np.concatenate([sizes, -sizes])
        for side in SIDES:
            y = ((z > 0) == (side == "right")).astype(dtype)
            # p - y is 1 - 1 / (1 + exp(-x)) with a sign, where x is the logit of the true one of the two classes
            exps = [mpmath.exp(mpmath.mpf(float(-x if one else x))) for x, one in zip(z, y, strict=True)]
            losses = Exact.of([mpmath.log1p(e) for e in exps])
            slopes = Exact.of([(-e if one else e) / (1 + e) for e, one in zip(exps, y, strict=True)])
            for library in libraries:
                if library.sigmoid is not None:
                    loss, slope = library.sigmoid(z, y)
                    error = slopes.worst(slope)
                    yield Error(library.name, dtype, "sigmoid", side, gap, losses.worst(loss), error, error)


def measured(libraries: list[Library]) -> list[Error]:
    errors: list[Error] = []
    with mpmath.workdps(60):
        for dtype in GAPS:
            for classes in ROWS:
                errors += softmax_errors(libraries, dtype, classes)
            errors += sigmoid_errors(libraries, dtype)
    return errors


# ---- what is printed

QUANTITIES = {"loss": "loss", "at_true": "gradient, true class", "anywhere": "gradient, all classes"}


def told(ulp: float) -> str:
    if ulp == LOST:
        return "all digits lost"
    return f"{ulp:.1f}" if ulp < 1000 else f"{ulp:.0e}".replace("e+0", "e").replace("e+", "e")


def cell(errors: list[Error], quantity: str) -> str:
    """The worst error over the gaps; and from which gap on all digits are lost, if they are."""
    if not errors:
        return "-"
    lost = [error.gap for error in errors if getattr(error, quantity) == LOST]
    return f"all digits lost at {min(lost)}" if lost else told(max(getattr(error, quantity) for error in errors))


def print_cases(errors: list[Error], names: list[str]) -> None:
    print("\nThe worst error in ulp over all gaps; where all digits are lost, the smallest gap with that")
    print(f"{'':<57}" + "".join(f"{name:>24}" for name in names))
    for dtype, case in dict.fromkeys((error.dtype, error.case) for error in errors):
        for side in SIDES:
            here = [error for error in errors if (error.dtype, error.case, error.side) == (dtype, case, side)]
            for quantity, words in QUANTITIES.items():
                if case == "sigmoid" and quantity == "anywhere":
                    continue  # there is one class only
                words = "gradient" if case == "sigmoid" and quantity == "at_true" else words
                cells = [cell([error for error in here if error.library == name], quantity) for name in names]
                head = f"{dtype} {case:<22}"
                print(f"{head} {side:<6}{words:<21}" + "".join(f"{text:>24}" for text in cells))


def at_true_class(errors: list[Error], name: str, dtype: str) -> list[float]:
    """For each gap, the error of the gradient at the true class, which leads: what the picture shows."""
    return [
        error.at_true
        for error in errors
        if (error.library, error.dtype, error.case, error.side) == (name, dtype, "softmax, 10 classes", "right")
    ]


def print_gaps(errors: list[Error], names: list[str]) -> None:
    print("\nThe picture in numbers: gradient at the true class in ulp, 10 classes, confident and right, by logit gap")
    for dtype, gaps in GAPS.items():
        print(f"{dtype:<13}" + "".join(f"{gap:>8}" for gap in gaps))
        for name in names:
            values = at_true_class(errors, name, dtype)
            print(f"{name:<13}" + "".join(f"{'lost' if value == LOST else told(value):>8}" for value in values))


def print_summary(errors: list[Error], names: list[str]) -> None:
    print("\nThe worst over everything")
    for name in names:
        own = [error for error in errors if error.library == name]
        parts = [
            f"{dtype} {words} {cell([error for error in own if error.dtype == dtype], quantity)}"
            for dtype in GAPS
            for quantity, words in (("loss", "loss"), ("anywhere", "gradient"))
        ]
        print(f"{name:<13}" + "; ".join(parts))


# ---- the picture

# Paul Tol's "bright" colours and black, told apart by colour-blind eyes; lines that coincide differ in width.
STYLES = {
    "tinygrad_ce": ("#228833", "o", 2.5),
    "PyTorch": ("#EE6677", "D", 6.0),
    "JAX": ("#4477AA", "s", 3.5),
    "MyGrad": ("#111111", "^", 1.3),
}
LOST_FROM = {"float64": 1e16, "float32": 1e7}  # where the band for "all digits lost" begins


def draw_panel(axes: Any, errors: list[Error], names: list[str], dtype: str) -> None:
    gaps, start = GAPS[dtype], LOST_FROM[dtype]
    middle, end, green = start**1.06, start**1.12, STYLES["tinygrad_ce"][0]
    axes.set_xscale("function", functions=(np.log1p, np.expm1))
    axes.set_yscale("log")
    axes.axhspan(start, end, color="#DDDDDD", lw=0)
    axes.text(0.15, middle, "all digits lost", va="center")
    axes.axhline(PROMISE, color=green, lw=1, ls="--")
    axes.text(gaps[-1], PROMISE * 1.3, "the promise: 4 ulp ", color=green, ha="right", va="bottom")
    for name in (name for name in STYLES if name in names):
        colour, marker, width = STYLES[name]
        values = [middle if error == LOST else error for error in at_true_class(errors, name, dtype)]
        axes.plot(gaps, values, marker=marker, color=colour, lw=width, ms=width + 2, label=name, clip_on=False)
    axes.annotate(
        "tinygrad_ce",
        (gaps[-1], 1),
        (-4, -9),
        color=green,
        textcoords="offset points",
        ha="right",
        va="top",
        weight="bold",
    )
    peers = [line for line in axes.lines if line.get_label() in names and line.get_label() != "tinygrad_ce"]
    axes.legend(handles=peers, labelcolor="linecolor", loc=(0.66, 0.45), frameon=False)
    axes.set(
        title=dtype, xlabel="gap between the right logit and the next", ylim=(start**-0.14, end), xlim=(0, gaps[-1])
    )
    ticks = [gap for gap in gaps if gap not in (15, 30)]
    axes.set_xticks(ticks, [str(gap) for gap in ticks])
    powers = [10.0**n for n in range(0, 17, 2) if 10.0**n < start]
    axes.set_yticks(powers, [f"$10^{{{round(np.log10(power))}}}$" for power in powers])
    axes.minorticks_off()
    axes.grid(alpha=0.25)


def draw(errors: list[Error], names: list[str], path: Path) -> None:
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, dtype in zip(panels, GAPS, strict=True):
        draw_panel(axes, errors, names, dtype)
    panels[0].set_ylabel("error, in units of the last place (ulp)")
    figure.suptitle("Gradient at the true class of a model that is confident and right, 10 classes")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200)
    with Image.open(path) as picture:
        smaller = picture.convert("RGB").quantize(128)  # a third of the size
    smaller.save(path, optimize=True)
    print(f"\nwrote {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the gradient's errors into this file")
    picture = parser.parse_args().picture
    print(__doc__)
    libraries = installed()
    names = [library.name for library in libraries]
    errors = measured(libraries)
    print_cases(errors, names)
    print_gaps(errors, names)
    print_summary(errors, names)
    if picture:
        draw(errors, names, picture)


if __name__ == "__main__":
    main()
