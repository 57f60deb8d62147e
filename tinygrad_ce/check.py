"""gradcheck: is the derivative that the rules compute the one that the function has? In float64, to second order.

A directional derivative tests all elements at once: for a random direction u and a random weighting v of the outputs,
the slope of v . f(x + t u) at t = 0 must equal (the pullback of v) times u. Only where that fails, every single element
is computed both ways and shown.

The slope is measured with steps that shrink until two estimates agree, each extrapolated from three central
differences (L. F. Richardson, 1911; C. Ridders, "Accurate computation of F'(x) and F'(x) F''(x)", 1982). How far they
agree is the error of the measurement, and a derivative is wrong only if it differs by more. So inputs of every size can
be checked; and where no step settles, or the slopes on the two sides differ, f has no derivative, and that is said.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.data.dataset import Dataset
from tinygrad_ce.data.structures import map_parts
from tinygrad_ce.functional import gradients, kept_in_the_graph
from tinygrad_ce.nn.module import call_model
from tinygrad_ce.report.parts import Heading, Part, Sentence, Table, Words
from tinygrad_ce.report.parts import Report as Shown
from tinygrad_ce.report.words import format_number

__all__ = ["GradcheckError", "Mismatch", "Report", "gradcheck", "gradcheck_model"]

ROUNDING = 64  # the rounding error of a function value, a few operations long, in units of its last place
EPSILON = float(np.finfo(float).eps)
FIRST_STEP, SHRINK, LAST_STEP = 2.0**-7, 4, 2.0**-42  # of the size of an input
COLUMNS = ("input", "index", "analytic", "numerical", "relative", "trouble")  # of the table of wrong elements
SETTLED = 1e-9  # two estimates that agree as far end the search for a better step


@dataclass(frozen=True)
class Mismatch:
    """One element whose two derivatives differ.

    argument: its name. index: the place in it. analytic: what the rules give. numerical: what was measured.
    trouble: why there is no derivative to compare with, or "".
    """

    argument: str
    index: tuple[int, ...]
    analytic: float
    numerical: float
    trouble: str = ""  # why there is no derivative to compare with

    @property
    def relative(self) -> float:
        """By how much they differ, as a share of the larger one."""
        scale = max(abs(self.analytic), abs(self.numerical))
        return abs(self.analytic - self.numerical) / scale if scale else 0.0


@dataclass(frozen=True, repr=False)
class Report(Shown):
    """What gradcheck found: `ok`, the largest relative difference of the projections, and every wrong element.

    order: how many times f was differentiated. largest_difference: relative. notes: remarks in words. mismatches: the
    wrong elements.
    """

    order: int
    largest_difference: float
    notes: tuple[str, ...] = ()
    mismatches: tuple[Mismatch, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether no derivative is wrong."""
        return not self.mismatches

    @property
    def parts(self) -> list[Part]:
        """The verdict, the remarks, and every wrong element as a row of a table."""
        orders = "first" if self.order == 1 else "first and second"
        verdict = "right" if self.ok else "NOT DEFINED" if all(m.trouble for m in self.mismatches) else "WRONG"
        parts: list[Part] = [Heading(f"gradcheck, {orders} derivatives, in float64: {verdict}")]
        parts += [Sentence(note) for note in self.notes]
        if self.ok:
            return [*parts, Sentence(f"largest relative difference of the projections: {self.largest_difference:.1e}")]
        columns = COLUMNS if any(m.trouble for m in self.mismatches) else COLUMNS[:-1]
        numbers = frozenset({2, 3, 4})
        rows = [_row(m)[: len(columns)] for m in self.mismatches]
        return [*parts, Table(rows, columns, right=numbers, whole=numbers)]


def _row(m: Mismatch) -> tuple[str, ...]:
    index = str(list(m.index)) if m.index else "-"
    numbers = format_number(m.analytic, 6), format_number(m.numerical, 6), f"{m.relative:.1e}"
    return m.argument, index, *numbers, Words(m.trouble)


class GradcheckError(AssertionError):
    """A derivative is wrong; `.report` has every element that is."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


def gradcheck(
    f: Callable[..., Any],
    *inputs: Any,
    order: int = 2,
    rtol: float = 1e-5,
    atol: float = 0.0,
    seed: int = 0,
    names: Sequence[str] | None = None,
) -> Report:
    """Compare the derivatives that the rules compute with numerical ones; raise GradcheckError where they differ.

    f: a function of tensors that returns a tensor of any shape. inputs: arrays or tensors; those of floating point are
    checked, in float64 whatever they come as; integers and booleans are passed on as they are.
    order: 1, or 2 to check the derivatives of the derivatives too. rtol, atol: how much may differ, beside the error of
    the numerical derivative itself.
    seed: of the random directions. names: what the inputs are called in the table.
    Where f has no derivative (relu at 0, a jump, the border of its domain) GradcheckError says that; outputs that are
    infinite and stay so (masked logits) are left out, and so are inputs that are infinite.
    Raises TypeError if nothing is there to be checked, ValueError if two calls of `f` differ (dropout, say).

    >>> print(gradcheck(lambda x: (x**3).sum(), np.array([1.0, 2.0])))
    gradcheck, first and second derivatives, in float64: right
    largest relative difference of the projections: ...
    """
    if order not in (1, 2):
        raise ValueError(f"gradcheck: order={order} must be 1 or 2")
    if not (rtol >= 0 and atol >= 0):
        raise ValueError(f"gradcheck: rtol={rtol} and atol={atol} must not be negative")
    if names is not None and len(names) != len(inputs):
        raise ValueError(f"gradcheck: {len(names)} names for {len(inputs)} inputs")
    values, checked, notes = _in_float64(inputs)
    labels = [names[i] if names else f"input {i}" for i in checked]
    call = _Call(f, values, checked)
    point = [values[i] for i in checked]
    notes += [f"{n}: infinite elements were not moved" for n, x in zip(labels, point, strict=True) if np.isinf(x).any()]
    call.must_repeat(point)
    generator = np.random.default_rng(seed)
    largest = _compare(call, point, labels, notes, 1, generator, rtol, atol)
    if order == 2:
        directions = [generator.normal(size=x.shape) for x in point]
        largest = max(largest, _compare(call.slope(directions), point, labels, notes, 2, generator, rtol, atol))
    return Report(order, largest, tuple(notes))


def gradcheck_model(
    model: Any, loss: Callable[..., Any], X: Any, y: Any = None, order: int = 2, seed: int = 0
) -> Report:
    """gradcheck of loss(model(X), y) with respect to every parameter; the model itself is left as it is.

    order: 1, or 2 for second derivatives too. seed: of the random directions.
    model: a Module; a float64 copy of it is checked, in the mode (train or eval) that it is in.
    X, y: a batch, small: every wrong element will be computed numerically; or a Dataset in the place of X. A tuple of
    arrays, or a dict, is several inputs of the model. Raises as `gradcheck`.

    >>> gradcheck_model(tg.nn.Dense(2, 2), tg.losses.softmax_cross_entropy, np.ones((3, 2)), [0, 1, 1]).ok
    True
    """
    if isinstance(X, Dataset):
        X, y = X.X, X.y if y is None else y
    twin = copy.deepcopy(model).astype(np.float64)
    names = [name for name, _ in twin.named_parameters()]
    arrays = map_parts(np.asarray, X)
    data = map_parts(lambda array: array.astype(np.float64) if array.dtype.kind == "f" else array, arrays)

    def cost(*parameters: Tensor) -> Any:
        return loss(call_model(twin.replaced(list(parameters)), data), y)

    return gradcheck(cost, *(p.data for p in twin.parameters()), order=order, seed=seed, names=names)


class _Call:
    """f as a function of the inputs that are checked."""

    def __init__(self, f: Callable[..., Any], values: list[Any], checked: list[int]) -> None:
        self.f, self.values, self.checked = f, values, checked

    def tensors(self, point: Sequence[Array]) -> list[Tensor]:
        return [Tensor(x, requires_grad=True) for x in point]

    def of_tensors(self, tensors: Sequence[Tensor]) -> Tensor:
        arguments = list(self.values)
        for i, tensor in zip(self.checked, tensors, strict=True):
            arguments[i] = tensor
        with kept_in_the_graph(tensors):
            out = self.f(*arguments)
        if not isinstance(out, Tensor):
            hint = " (does every branch of it return?)" if out is None else ""
            raise TypeError(f"gradcheck: f returns {type(out).__name__}; it must return one Tensor{hint}")
        return out

    def value(self, point: Sequence[Array]) -> Array:
        return self.of_tensors(self.tensors(point)).data  # recorded: f may itself take gradients

    def pull(self, point: Sequence[Array], v: Array) -> list[Array]:
        tensors = self.tensors(point)
        out = self.of_tensors(tensors)
        return gradients(out, tensors, gradient=v) if out.requires_grad else [np.zeros_like(x) for x in point]

    def must_repeat(self, point: Sequence[Array]) -> None:
        if not np.array_equal(self.value(point), self.value(point), equal_nan=True):
            raise ValueError(
                "gradcheck: f gives another value for the same inputs; switch its randomness off (for dropout: "
                "model.eval())"
            )

    def slope(self, directions: Sequence[Array]) -> _Call:
        """The function (d f . directions) of the same inputs, whose derivatives are f's second ones."""
        return _SlopeCall(self, directions)


class _SlopeCall(_Call):
    def __init__(self, inner: _Call, directions: Sequence[Array]) -> None:
        super().__init__(inner.f, inner.values, inner.checked)
        self.inner, self.directions = inner, directions

    def of_tensors(self, tensors: Sequence[Tensor]) -> Tensor:
        out = self.inner.of_tensors(tensors)
        if not out.requires_grad:
            return Tensor(0.0)
        weights = np.cos(np.arange(out.size, dtype=float)).reshape(out.shape)  # any fixed weighting of the outputs
        shares = gradients((out * weights).sum(), tensors, create_graph=True)
        terms = [ops.reduce_sum(share * u) for share, u in zip(shares, self.directions, strict=True)]
        total: Tensor = ops.reduce_sum(ops.stack(*terms))
        return total


def _in_float64(inputs: Sequence[Any]) -> tuple[list[Any], list[int], list[str]]:
    values, checked, notes = [], [], []
    for i, x in enumerate(inputs):
        array = x.data if isinstance(x, Tensor) else np.asarray(x)
        if array.dtype.kind == "f":
            checked.append(i)
            if array.dtype != np.float64:
                notes.append(f"input {i} came as {array.dtype} and was checked in float64")
            array = array.astype(np.float64)
        values.append(array)
    if not checked:
        raise TypeError("gradcheck: none of the inputs is floating-point, so there is nothing to differentiate by")
    return values, checked, notes


def _compare(
    call: _Call,
    point: list[Array],
    labels: list[str],
    notes: list[str],
    order: int,
    generator: np.random.Generator,
    rtol: float,
    atol: float,
) -> float:
    """Projected derivatives both ways; the largest relative difference, or GradcheckError with all elements."""
    out = call.value(point)
    v = generator.normal(size=out.shape) if out.size > 1 else np.ones(out.shape)  # one output: its own derivative
    if not np.isfinite(out).all() and order == 1:
        notes.append("outputs that are infinite, and stay so, were left out")
    v = np.where(np.isfinite(out), v, 0)
    analytic = call.pull(point, v)
    check = _Comparison(call, point, out, v, rtol, atol)
    largest = 0.0
    for i, x in enumerate(point):
        random = generator.normal(size=x.shape)
        measured = []
        for scale in _scales(x):
            u = random * scale
            projected = float(np.vdot(np.where(u == 0, 0, analytic[i]), u))
            measured.append((projected, check.slope(i, u)))
        settled = [(projected, slope) for projected, slope in measured if not slope.trouble]
        if not settled or not all(check.agree(projected, slope) for projected, slope in settled):
            wrong, report = _table(check, labels, notes, order, analytic)
            if settled or wrong:
                raise GradcheckError(report)
        for projected, slope in settled:
            size = max(abs(projected), abs(slope.value))
            if size > atol + slope.error:
                largest = max(largest, abs(projected - slope.value) / size)
    return largest


def _vanish(quotients: list[float]) -> bool:
    """Whether difference quotients go to 0 with the step."""
    sizes = np.abs(quotients)
    return len(sizes) > 2 and bool(np.all(np.diff(sizes) <= 0) and sizes[-1] <= 1e-9 * sizes[0])


def _scales(x: Array) -> list[Array]:
    """How far the elements of an input are moved: as far as they are large; small ones also as if they were 1.

    Infinite ones are not moved.
    """
    size = np.where(np.isfinite(x), np.abs(x), 0)
    scales = [np.where(np.isfinite(x), np.maximum(size, 1), 0)]
    if np.any((size > 0) & (size < 0.01)):
        scales.append(np.where((size == 0) & np.isfinite(x), 1, size))
    return scales


@dataclass(frozen=True)
class _Slope:
    """A measured derivative, how far it can be trusted, and why there is none."""

    value: float
    error: float
    trouble: str = ""


@dataclass(frozen=True)
class _Comparison:
    """v . f around a point: its measured slopes, and whether a derivative agrees with one."""

    call: _Call
    point: list[Array]
    out: Array
    v: Array
    rtol: float
    atol: float

    @property
    def rounding(self) -> float:
        """The rounding error of v . f, and that of its derivative along an input as large as 1."""
        finite = np.isfinite(self.out)
        kind: Any = self.out.dtype if self.out.dtype.kind == "f" else float
        return ROUNDING * float(np.finfo(kind).eps) * float(np.abs(self.v[finite] * self.out[finite]).sum())

    def agree(self, analytic: float, slope: _Slope) -> bool:
        """Whether they differ by no more than the measurement's error and what is allowed."""
        size = max(abs(analytic), abs(slope.value))
        return abs(analytic - slope.value) <= self.atol + self.rtol * size + 10 * slope.error + self.rounding

    def moved(self, i: int, change: Array) -> float:
        """v . f where input i is changed; NaN where f is not finite or not defined, but for what is infinite anyway."""
        moved = list(self.point)
        moved[i] = self.point[i] + change
        try:
            with np.errstate(all="ignore"):
                out = self.call.value(moved)
        except (ValueError, ArithmeticError):  # a loss refuses probabilities beyond 1
            return np.nan
        still = np.isfinite(self.out)
        if not np.array_equal(out[~still], self.out[~still]):
            return np.nan
        return float(np.vdot(self.v[still], out[still]))

    def slope(self, i: int, u: Array, size: float = 1.0) -> _Slope:
        """The derivative along u of input i, with the step that gives the smallest relative error."""
        finite = np.isfinite(self.out)
        here = float(np.vdot(self.v[finite], self.out[finite]))
        best, least, step = _Slope(np.nan, np.inf, self.nowhere()), np.inf, FIRST_STEP * size
        central: list[float] = []
        bends: list[float] = []
        while step > LAST_STEP * size:
            ahead, behind = self.moved(i, step * u), self.moved(i, -step * u)
            central.append((ahead - behind) / (2 * step))
            bends.append((ahead - here) / step + (behind - here) / step)  # the slope ahead less the slope behind
            noise = (self.rounding + 4 * EPSILON * size * abs(central[-1])) / step
            if len(central) > 2 and np.isfinite(central[-3:]).all():
                before, once = (b + (b - a) / 15 for a, b in (central[-3:-1], central[-2:]))
                value, error = once + (once - before) / 255, abs(once - before) + noise
                relative = error / max(abs(value), noise) if error else 0.0
                found = _Slope(value, error, self.trouble(value, error, noise, bends))
                beyond = best.trouble and not found.trouble and 500 * noise < abs(best.value)  # a kink, but not here
                if beyond or (relative < least and (best.trouble or not found.trouble)):
                    best, least = found, relative
                if relative < SETTLED or noise > 0.1 * max(abs(value), abs(once - before)):
                    break
            step /= SHRINK
        if (
            best.trouble and _vanish(central) and _vanish(bends)
        ):  # as those of x * abs(x) at 0, in proportion to the step
            return _Slope(0.0, abs(central[-1]))
        return best

    def trouble(self, value: float, error: float, noise: float, bends: list[float]) -> str:
        """Why f has no derivative, as far as the last steps tell: its slopes on two sides differ, or none settles."""
        before, kink = (b + (b - a) / 3 for a, b in (bends[-3:-1], bends[-2:]))  # without the curvature, which shrinks
        least = 1e-3 * abs(value) + self.atol + 50 * noise
        if abs(kink) > least and abs(kink) > 0.7 * abs(before):
            if abs(kink) > 1.4 * abs(before):
                return "no derivative: f jumps here, or has a vertical tangent"
            left, right = (0.0 if abs(s) < 1e-6 * abs(kink) else s for s in (value - kink / 2, value + kink / 2))
            sides = f"{format_number(left, 6)} to the left and {format_number(right, 6)} to the right"
            return f"no derivative: a kink, with slope {sides}"
        if error > least:
            return "no derivative: the difference quotients settle at no step (a jump, a vertical tangent, or noise)"
        return ""

    def nowhere(self) -> str:
        """Why there is no finite difference at all."""
        if not np.isfinite(self.out).all():
            at = tuple(int(k) for k in np.argwhere(~np.isfinite(self.out))[0])
            return f"no derivative: f is {self.out[at]} here" + (f" (output {list(at)})" if at else "")
        return "no derivative: f is not defined on both sides of it, however small the step"


def _table(
    check: _Comparison, labels: list[str], notes: list[str], order: int, analytic: list[Array]
) -> tuple[bool, Report]:
    """Every element both ways; those that differ, or where none does by itself (False), the ten that differ most."""
    everything, wrong = [], []
    for i, x in enumerate(check.point):
        scale = _scales(x)[-1]
        for index in (tuple(map(int, at)) for at in np.argwhere(scale)):
            unit = np.zeros(x.shape)
            unit[index] = 1
            slope = check.slope(i, unit, float(scale[index]))
            trouble = slope.trouble
            if np.isnan(analytic[i][index]) and not np.isfinite(check.out).all():  # 0 * inf
                trouble = check.nowhere()
            m = Mismatch(labels[i], index, float(analytic[i][index]), slope.value, trouble)
            everything.append(m)
            if trouble or not check.agree(m.analytic, slope):
                wrong.append(m)
    shown = wrong or sorted(everything, key=lambda m: -abs(m.analytic - m.numerical))[:10]
    which = "the first derivatives are wrong" if order == 1 else "the first derivatives are right, the second are wrong"
    if wrong and all(m.trouble for m in wrong):
        which = "the first derivative cannot be checked" if order == 1 else "the second derivative cannot be checked"
    weighted = "the outputs, weighted at random and added up" if check.v.size > 1 else "the output"
    notes = [*notes, f"{which}; each number is a derivative of {weighted}"]
    return bool(wrong), Report(order, max(m.relative for m in shown), tuple(notes), tuple(shown))
