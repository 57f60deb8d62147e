"""gradcheck: is the derivative that the rules compute the one that the function has? In float64, to second order.

A directional derivative tests all elements at once: for a random direction u and a random weighting v of the outputs,
(f(x + h u) - f(x - h u)) / 2h, weighted by v, must equal (the pullback of v) times u. Only where that fails, every
single element is computed both ways and shown.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.functional import gradients, kept_in_the_graph

ROUNDING = 64 * float(np.finfo(float).eps)  # of a function value, a few operations long, relative to it
STEP = 1e-6  # near the cube root of the rounding error, where central differences in float64 are best


@dataclass(frozen=True)
class Mismatch:
    """One element whose two derivatives differ."""

    argument: str
    index: tuple[int, ...]
    analytic: float
    numerical: float

    @property
    def relative(self) -> float:
        scale = max(abs(self.analytic), abs(self.numerical))
        return abs(self.analytic - self.numerical) / scale if scale else 0.0


@dataclass(frozen=True)
class Report:
    """What gradcheck found: `ok`, the largest relative difference of the projections, and every wrong element."""

    order: int
    largest_difference: float
    notes: tuple[str, ...] = ()
    mismatches: tuple[Mismatch, ...] = field(default=())

    @property
    def ok(self) -> bool:
        return not self.mismatches

    def __str__(self) -> str:
        orders = "first" if self.order == 1 else "first and second"
        lines = [f"gradcheck, {orders} derivatives, in float64: " + ("right" if self.ok else "WRONG")]
        lines += [f"  {note}" for note in self.notes]
        if self.ok:
            return "\n".join(
                [*lines, f"  largest relative difference of the projections: {self.largest_difference:.1e}"]
            )
        lines.append(f"  {'input':<24} {'index':<14} {'analytic':>14} {'numerical':>14} {'relative':>9}")
        for m in self.mismatches:
            index = str(list(m.index)) if m.index else "-"
            lines.append(f"  {m.argument:<24} {index:<14} {m.analytic:>14.6g} {m.numerical:>14.6g} {m.relative:>9.1e}")
        return "\n".join(lines)


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
    order: 1, or 2 to check the derivatives of the derivatives too. rtol, atol: how much may differ, beside the rounding
    of the numerical derivative itself.
    seed: of the random directions. names: what the inputs are called in the table.
    Choose inputs away from kinks: at relu(0) there is no numerical derivative to compare with.
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
    call.must_repeat(point)
    generator = np.random.default_rng(seed)
    largest = _compare(call, point, labels, notes, 1, generator, rtol, atol)
    if order == 2:
        directions = [generator.normal(size=x.shape) for x in point]
        largest = max(largest, _compare(call.slope(directions), point, labels, notes, 2, generator, rtol, atol))
    return Report(order, largest, tuple(notes))


def gradcheck_model(model: Any, loss: Callable[..., Any], X: Any, y: Any, order: int = 2, seed: int = 0) -> Report:
    """gradcheck of loss(model(X), y) with respect to every parameter; the model itself is left as it is.

    model: a Module; a float64 copy of it is checked, in the mode (train or eval) that it is in.
    X, y: a batch, small: every wrong element will be computed numerically. Raises as `gradcheck`.
    """
    twin = copy.deepcopy(model).astype(np.float64)
    names = [name for name, _ in twin.named_parameters()]
    data = np.asarray(X)
    data = data.astype(np.float64) if data.dtype.kind == "f" else data

    def cost(*parameters: Tensor) -> Any:
        return loss(twin.replaced(list(parameters))(data), y)

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
        return _Slope(self, directions)


class _Slope(_Call):
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
    atol = atol + ROUNDING * float(np.abs(v * out).sum()) / STEP
    analytic = call.pull(point, v)
    largest = 0.0
    for i, x in enumerate(point):
        u = generator.normal(size=x.shape) * np.maximum(1, np.abs(x))  # large inputs take large steps
        numerical = _numerical(call, point, i, u, v)
        projected = float(np.vdot(analytic[i], u))
        difference = abs(projected - numerical)
        scale = max(abs(projected), abs(numerical))
        if not difference <= atol + rtol * scale:
            raise GradcheckError(_table(call, point, labels, notes, order, analytic, v, rtol, atol))
        largest = max(largest, difference / scale if scale > atol else 0.0)
    return largest


def _numerical(call: _Call, point: list[Array], i: int, u: Array, v: Array) -> float:
    """v . (f(x + h u) - f(x - h u)) / 2h, moving input i only."""
    ahead, behind = list(point), list(point)
    ahead[i], behind[i] = point[i] + STEP * u, point[i] - STEP * u
    return float(np.vdot(v, call.value(ahead) - call.value(behind))) / (2 * STEP)


def _table(
    call: _Call,
    point: list[Array],
    labels: list[str],
    notes: list[str],
    order: int,
    analytic: list[Array],
    v: Array,
    rtol: float,
    atol: float,
) -> Report:
    """Every element both ways; those that differ, or where none does by itself, the ten that differ most."""
    everything = []
    for i, x in enumerate(point):
        for index in np.ndindex(x.shape):
            unit = np.zeros(x.shape)
            unit[index] = step = max(1.0, abs(float(x[index])))
            numerical = _numerical(call, point, i, unit, v) / step
            everything.append(Mismatch(labels[i], index, float(analytic[i][index]), numerical))
    wrong = [
        m
        for m in everything
        if not abs(m.analytic - m.numerical) <= atol + rtol * max(abs(m.analytic), abs(m.numerical))
    ]
    shown = wrong or sorted(everything, key=lambda m: -abs(m.analytic - m.numerical))[:10]
    which = "the first derivatives are wrong" if order == 1 else "the first derivatives are right, the second are wrong"
    weighted = "the outputs, weighted at random and added up" if v.size > 1 else "the output"
    notes = [
        *notes,
        f"{which} (or an input sits on a kink, as relu has at 0); each number is a derivative of {weighted}",
    ]
    return Report(order, max(m.relative for m in shown), tuple(notes), tuple(shown))
