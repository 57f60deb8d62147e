"""Functions that are not defined, overflow, or have no finite slope everywhere: where, and what helps, in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tinygrad_ce.report.words import format_number


@dataclass(frozen=True)
class Domain:
    """Where a function of one number is defined (`holds`, and in `words`), and `cure`: how to stay there.

    ends: the numbers at which its slope is infinite.
    """

    holds: Callable[[float], bool]
    words: str
    cure: str
    ends: tuple[float, ...] = ()


_INSIDE = "keep the argument inside: {name}(tg.ops.clip(x, low=-0.999999, high=0.999999))"
_UP_TO_ONE = "from -1 to 1"
DOMAINS = {
    "arcsin": Domain(lambda x: abs(x) <= 1, _UP_TO_ONE, _INSIDE, (-1, 1)),
    "arccos": Domain(lambda x: abs(x) <= 1, _UP_TO_ONE, _INSIDE, (-1, 1)),
    "arctanh": Domain(lambda x: abs(x) < 1, "between -1 and 1", _INSIDE, (-1, 1)),
    "arccosh": Domain(
        lambda x: x >= 1, "from 1 on", "keep the argument above 1: {name}(tg.ops.clip(x, low=1 + 1e-6))", (1,)
    ),
    "cbrt": Domain(lambda x: True, "everywhere", "keep the argument away from 0, or take another function", (0,)),
}


def outside(c: Any) -> tuple[str, str] | None:
    """Of a Case: that the argument lies where the function is not defined."""
    domain, x = DOMAINS[c.name], c.operand("x")
    if domain.holds(x):
        return None
    return f"{c.name} is defined {domain.words}, and this is {c.name}({format_number(x)})", domain.cure.format(
        name=c.name
    )


def slope_at_an_end(c: Any, argument: str) -> tuple[str, str] | None:
    """Of a Case: that the argument lies where the function is vertical."""
    domain, x = DOMAINS[c.name], c.operand("x")
    if x not in domain.ends:
        return None
    return f"the slope of {c.name} at {format_number(x)} is infinite", domain.cure.format(name=c.name)


def no_angle(c: Any, argument: str) -> tuple[str, str] | None:
    """Of a Case: that the point (0, 0) lies in no direction."""
    if c.operand("a") != 0 or c.operand("b") != 0:
        return None
    return (
        "arctan2 has no slope at (0, 0): a point there lies in no direction",
        "leave such points out before the angle: a safe b, tg.ops.where(good, b, 1.0)",
    )


def divided_by_zero(c: Any) -> tuple[str, str] | None:
    """Of a Case: that a remainder or a whole quotient was asked of a division by 0."""
    if c.operand("b") != 0:
        return None
    return f"{format_number(c.operand('a'))} was divided by 0", "keep the divisor away from 0"
