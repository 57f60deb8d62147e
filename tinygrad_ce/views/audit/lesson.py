"""The one sentence that the figures of a model teach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import attrgetter

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
        where = f"{first.path}'s {first.class_name}" if alone else f"The activation in {first.path}"
        low, high = first.flat_inputs or (math.nan, math.nan)
        ends = format_number(low, 3), format_number(high, 3)
        inputs = "are all negative there ({} to {})" if high < 0 else "lie between {} and {}"
        return f"{where} is {getattr(first, verdict):.0f} % {verdict}: its inputs {inputs.format(*ends)}."
    if verdict.startswith("updates"):
        update = first.update_per_weight or 0.0
        times = f"{format_number(update / HEALTHY_UPDATE, 2)} times what is healthy in the long run"
        return f"The next step changes {first.path} by {format_number(update, 2)} of its size, {times}."
    return _way_back(rows, ill, verdict)


def _way_back(rows: Sequence[Row], ill: list[Row], verdict: str) -> str:
    """By how much each kind of layer multiplies the gradient, if that makes what arrives: a shortcut has no factor."""
    reached = sorted((row for row in rows if row.share and row.gradient is not None), key=attrgetter("order"))
    if len(reached) < 3:
        return ""
    end = (max if verdict == "exploding" else min)(ill, key=lambda row: row.share or 0) if ill else reached[0]
    passed = [row for row in rows if end.order < row.order <= reached[-1].order and 0 < (row.factor or 0) < math.inf]
    logs: dict[str, list[float]] = {}
    for row in passed:
        logs.setdefault(row.class_name, []).append(math.log(row.factor or 1))
    left = f"{format_number(end.share, 2)} {'of it is left' if (end.share or 0) < 1 else 'times as much arrives'}"
    makes_it = math.isclose(sum(map(sum, logs.values())), math.log(end.share or 1), rel_tol=0.05, abs_tol=0.05)
    if not makes_it or any(row.uses > 1 for row in (end, *passed)):
        return f"The gradient has several ways back to {end.path}: {left}." if ill else ""
    factors = {kind: math.exp(sum(logs[kind]) / len(logs[kind])) for kind in logs}
    strong = [kind for kind in logs if not 0.95 < factors[kind] < 1.05 or abs(sum(logs[kind])) > math.log(2)]
    strong.sort(key=lambda kind: -abs(sum(logs[kind])))
    said = [f"each {kind} {_times(factors[kind], 'it' if n else 'the gradient')}" for n, kind in enumerate(strong)]
    said = said or ["each layer passes on almost all of the gradient"]
    after = f"{len(logs[strong[0]])} of them" if len(strong) == 1 else f"{len(passed)} layers"
    return f"On the way back {' and '.join(said)}: after {after} {left}."


def _times(factor: float, what: str) -> str:
    verb, factor = ("multiplies", factor) if factor > 1 else ("divides", 1 / factor)
    return f"{verb} {what} by {format_number(factor, 2 if factor > 1.5 else 3)}"
