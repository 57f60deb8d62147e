"""The one sentence that the figures of a model teach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import attrgetter

import numpy as np

from tinygrad_ce.report.words import format_number
from tinygrad_ce.views.audit.figures import Row
from tinygrad_ce.views.audit.verdicts import HEALTHY_UPDATE

_FIRST_CAUSES = ("not finite", "dead", "saturated", "exploding", "vanishing")  # of others, which follow from them


def lesson(rows: Sequence[Row], illnesses: dict[str, list[Row]]) -> str:
    """On what most layers suffer from; of a healthy deep model, on its gradient; empty if there is nothing to say."""
    causes = [cause for cause in _FIRST_CAUSES if cause in illnesses] or [*illnesses, "fine"]
    verdict = causes[0] if causes[0] == "not finite" else max(causes, key=lambda cause: len(illnesses.get(cause, [])))
    ill = illnesses.get(verdict, [])
    first = min(ill or rows, key=lambda row: (row.reason == "its gradient", row.order))
    if verdict in ("not finite", "no gradient"):
        return f"It begins in {first.path}: {first.reason}."
    if verdict in ("dead", "saturated"):
        alone = first.gradient is None and not first.own_part
        where = f"{first.path}'s {class_of(first)}" if alone else f"The activation in {first.path}"
        share = f"{first.dead:.0f} % dead" if verdict == "dead" else f"{first.saturated:.0f} % saturated"
        return f"{where} is {share}: its inputs {_between(*(first.flat_inputs or (math.nan, math.nan)))}."
    if verdict.startswith("updates"):
        update = first.update_per_weight or 0.0
        times = f"{format_number(update / HEALTHY_UPDATE, 2)} times what is healthy in the long run"
        return f"The next step changes {first.path} by {format_number(update, 2)} of its size, {times}."
    return _way_back(rows, ill, verdict)


def class_of(row: Row) -> str:
    """The class of a layer, without its sizes."""
    return row.layer.split("(")[0]


def _between(low: float, high: float) -> str:
    ends = format_number(low, 3), format_number(high, 3)
    return f"are all negative there ({ends[0]} to {ends[1]})" if high < 0 else f"lie between {ends[0]} and {ends[1]}"


def _way_back(rows: Sequence[Row], ill: list[Row], verdict: str) -> str:
    """By how much each kind of layer multiplies the gradient, and what that makes of it."""
    reached = sorted((row for row in rows if row.share and row.gradient is not None), key=attrgetter("order"))
    end = (max if verdict == "exploding" else min)(ill, key=lambda row: row.share or 0) if ill else reached[0]
    passed = [row for row in rows if row.order > end.order and row.factor and 0 < row.factor < math.inf]
    if len(reached) < 3 or not passed:
        return ""
    logs: dict[str, list[float]] = {}
    for row in passed:
        logs.setdefault(class_of(row), []).append(math.log(row.factor or 1))
    factors = {kind: math.exp(np.mean(logs[kind])) for kind in sorted(logs, key=lambda kind: -abs(sum(logs[kind])))}
    strong = [kind for kind, factor in factors.items() if not 0.95 < factor < 1.05][:2]
    said = [
        f"each {kind} {_times(factors[kind], what)}" for kind, what in zip(strong, ("the gradient", "it"), strict=False)
    ]
    said = said or ["each layer passes on almost all of the gradient"]
    after = len(logs[strong[0]]) if strong else len(passed)
    left = f"{format_number(end.share, 2)} {'of it is left' if (end.share or 0) < 1 else 'times as much arrives'}"
    return f"On the way back {' and '.join(said)}: after {after} of them {left}."


def _times(factor: float, what: str) -> str:
    return f"multiplies {what} by {factor:.2g}" if factor > 1 else f"divides {what} by {1 / factor:.2g}"
