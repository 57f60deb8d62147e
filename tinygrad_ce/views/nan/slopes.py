"""Why a derivative rule made NaN or infinity of finite numbers, by operation, in plain words, and the usual cure.

Mostly a slope is infinite at the number that went in; and where what comes from upstream is 0, 0 * inf is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ce.report.words import format_number
from tinygrad_ce.views.nan.causes import Case, Told, is_deviation, is_norm, of_a_zero, softmax_family, weighted_log
from tinygrad_ce.views.nan.domains import DOMAINS, no_angle, slope_at_an_end
from tinygrad_ce.views.nan.operands import shown

CLIPPED_LOG = "keep it away from 0: tg.ops.log(tg.ops.clip(x, low=1e-12))"


@dataclass(frozen=True, eq=False)
class Share:
    """One number that a rule gave back and that is not finite. case: the result whose rule it is.

    argument: the input to which it was given; dtype: of that. upstream: what came from the loss to this number; None
    where a rule needs more than one. zero: why that is 0, in words ("" where it is not, or where it is not known).
    step: the operation that made it 0.
    """

    case: Case
    argument: str
    dtype: np.dtype[Any]
    upstream: float | None
    zero: str
    step: str


def backward(s: Share) -> Told:
    """Why the rule made a number that is not finite, and what helps."""
    c = s.case
    slope = SLOPES.get(c.name, _no_slope)(c, s.argument) if c.made.alone else None
    if slope is None:
        given = ", ".join(f"{name} = {shown(x)}" for name, x in c.made.operands.items())
        if c.name in ("softmax", "log_softmax", "logsumexp"):
            words = softmax_family(c)
            if words is not None and not np.isfinite(np.asarray(c.operand("x"))).all():
                return words
        upstream = "several numbers" if s.upstream is None else format_number(s.upstream)
        what = f"from upstream {upstream} and {given} the rule of {c.name} for `{s.argument}` made "
        what += format_number(c.value)
        if c.ours:
            largest = format_number(float(np.finfo(s.dtype).max))
            return (
                f"{what}: on the way a number is beyond {largest}, the largest that {s.dtype} holds",
                "make the numbers smaller: a mean instead of a sum, standardised inputs, a smaller learning rate",
            )
        return (
            f"no usual cause is known: {what}",
            f"look which step of the rule of {c.name} gives {format_number(c.value)}",
        )
    what, cure = slope
    if s.upstream != 0:
        return what, cure
    because = f", because {s.zero}" if s.zero else ""
    cause = f"{what}. What comes from upstream is 0{because}; but 0 * inf is NaN, and not 0"
    return cause, safe_input(c.name, s.step, cure)


def safe_input(name: str, step: str, otherwise: str = "") -> str:
    """The cure of an infinite slope behind a choice: the choice has to be made before the operation, too."""
    written = {"div": "a / safe", "constant_power": "safe ** p"}.get(name, f"{name}(safe)")
    if step == "where":
        return (
            f"make the input safe before {name}, with a second `where`: safe = tg.ops.where(good, x, 1.0), then "
            f"tg.ops.where(good, {written}, 0.0)"
        )
    if step == "mul":
        return (
            f"a mask that multiplies does not protect {name}: safe = tg.ops.where(good, x, 1.0) first, then the mask "
            f"times {written}"
        )
    if step in ("getitem", "pick"):
        return f"pick first and apply {name} then, so that it never sees the other elements: {name}(x[picked])"
    return otherwise or f"keep the input of {name} where its slope is finite: tg.ops.where(good, x, 1.0) before it"


def _no_slope(c: Case, argument: str) -> Told | None:
    return None


def _sqrt_slope(c: Case, argument: str) -> Told | None:
    if c.operand("x") != 0:
        return None
    norm = is_norm(c.tensor)
    cure = "add an eps under the root: sqrt(x + 1e-12)"
    if norm:
        cure = "add an eps under the root, sqrt((x * x).sum() + 1e-12), or take the square, whose slope at 0 is 0"
    elif is_deviation(c.tensor):
        cure = "add an eps to the variance before the root, as tg.nn.BatchNorm and tg.nn.LayerNorm do"
    why, _ = of_a_zero(c.tensor.inputs[0])
    root = "; this is the norm of a vector of zeros" if norm else why
    return f"the slope of sqrt at 0 is infinite: 1 / (2 sqrt(0)){root}", cure


def _log_slope(c: Case, argument: str) -> Told | None:
    x = c.operand("x")
    if 0 < x < 1 / c.largest:
        return f"the slope of log at {format_number(x)} is 1 / x, beyond what {c.type} holds", CLIPPED_LOG
    if x != 0:
        return None
    why, cure = of_a_zero(c.tensor.inputs[0])
    return f"the slope of log at 0 is infinite: 1 / 0{why}", cure or CLIPPED_LOG


def _log1p_slope(c: Case, argument: str) -> Told | None:
    if c.operand("x") != -1:
        return None
    return "the slope of log1p at -1 is infinite: 1 / (1 - 1)", "tg.ops.log1p(tg.ops.clip(x, low=-1 + 1e-12))"


def _div_slope(c: Case, argument: str) -> Told | None:
    b = c.operand("b")
    cure = "add an eps to the denominator, or leave such rows out before the division"
    if b == 0:
        why, other = of_a_zero(c.tensor.inputs[1])
        return f"the slope of a division by 0 is infinite: 1 / 0{why}", other or cure
    if abs(b) < 1:
        return (
            f"the slope of a division by {format_number(b)} is beyond what {c.type} holds: it goes with 1 / b**2",
            cure,
        )
    return None


def _power_slope(c: Case, argument: str) -> Told | None:
    general = c.name == "general_power"
    base = c.operand("base" if general else "x")
    exponent = c.operand("exponent") if general else c.tensor.params["exponent"]
    if argument == "exponent" and base < 0:
        return (
            f"the slope with respect to an exponent is out * log(base), and {format_number(base)} is negative: "
            "no logarithm",
            "an exponent that wants a gradient needs a positive base: tg.ops.absolute(x) + 1e-12, say",
        )
    if base == 0 and exponent < 1:
        norm = "; this is the norm of a vector of zeros" if is_norm(c.tensor) else ""
        power = f"{format_number(exponent)} * 0 ** {format_number(exponent - 1)}"
        return (
            f"the slope of x ** {format_number(exponent)} at 0 is infinite: {power}{norm}",
            "add an eps to the base: (x + 1e-12) ** p",
        )
    if base < 0 and exponent != round(exponent):
        return (
            f"{format_number(base)} is negative, and has no real power {format_number(exponent - 1)}",
            "make the base positive",
        )
    return None


def _exp_slope(c: Case, argument: str) -> Told | None:
    if not c.operand("x") > 1:
        return None
    return (
        f"the slope of exp is exp(x) itself, {format_number(c.tensor.data[c.at])}, and times what comes from upstream "
        f"that is beyond {format_number(c.largest)}",
        "keep the argument small: standardise what goes in, or clip it before the exp",
    )


def _xlogy_slope(c: Case, argument: str) -> Told | None:
    bound = 0 if c.name == "xlogy" else -1
    if c.operand("y") != bound:
        return None
    words = weighted_log(c)
    return None if words is None else (f"the slope of log at 0 is infinite; {words[0]}", words[1])


SLOPES: dict[str, Callable[[Case, str], Told | None]] = {
    "sqrt": _sqrt_slope, "log": _log_slope, "log1p": _log1p_slope, "div": _div_slope, "constant_power": _power_slope,
    "general_power": _power_slope, "exp": _exp_slope, "expm1": _exp_slope, "xlogy": _xlogy_slope,
    "xlog1py": _xlogy_slope, "log2": _log_slope, "log10": _log_slope, "arctan2": no_angle,
    **dict.fromkeys(DOMAINS, slope_at_an_end),
}  # fmt: skip
