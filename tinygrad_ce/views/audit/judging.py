"""The verdict on each layer, by the table of thresholds; and the one sentence that the figures teach."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from tinygrad_ce.graph.layers import Layer
from tinygrad_ce.report.words import format_number, listed
from tinygrad_ce.views.audit import thresholds
from tinygrad_ce.views.audit.figures import Gradients, Row


def judge(layers: list[Layer], rows: list[Row], gradients: Gradients) -> None:
    """Give each row its verdict and its reason."""
    asking = max((row.gradient_per_weight or 0.0 for row in rows), default=0.0) > thresholds.SMALL_GRADIENT
    for layer, row in zip(layers, rows, strict=True):
        after = sorted((other for other in rows if other.order > row.order), key=lambda other: other.order)
        row.verdict, row.reason = _judged(layer, row, gradients, after, asking)


def _judged(layer: Layer, row: Row, gradients: Gradients, after: list[Row], asking: bool) -> tuple[str, str]:
    """The most urgent verdict on a layer, and what more there is to say.

    after: the rows of layers that compute later. asking: whether the gradient of some layer is still large.
    """
    not_finite = _not_finite(layer, gradients)
    if not_finite:
        return "not finite", not_finite
    unused = [name for name, parameter in layer.parameters if parameter.serial not in gradients.by_serial]
    if unused:
        which = "" if len(unused) == len(layer.parameters) else f"{listed(unused)} is "
        return "no gradient", f"{which}not used by this loss"
    if row.gradient == 0:
        blocking = next((other.path for other in after if other.dead == 100), None)
        return "no gradient", "it is 0" if blocking is None else f"{blocking} lets nothing back"
    if row.saturated is not None and row.saturated >= thresholds.MOST:
        return "saturated", ""
    if row.dead is not None and row.dead >= thresholds.MOST and row.rows >= thresholds.FEWEST_ROWS:
        return "dead", ""
    if not layer.calls:
        return thresholds.SEPARATE, ""
    verdict = _size_of_steps(row, asking) if layer.parameters else "fine"
    if verdict == "fine" and has_too_few_rows(row):
        return verdict, "too few rows for a verdict on dead units"
    long = row.update_per_weight is not None and row.update_per_weight > thresholds.LONG_UPDATE
    return verdict, "long steps, usual only at first" if verdict == "fine" and long else ""


def has_too_few_rows(row: Row) -> bool:
    """Whether many units are off for all rows, which are so few that healthy ones may be."""
    return row.dead is not None and row.dead >= thresholds.MOST and row.rows < thresholds.FEWEST_ROWS


def _size_of_steps(row: Row, asking: bool) -> str:
    """The verdict on what reaches the parameters of a layer, and on what the optimizer makes of it."""
    if row.share is not None and row.share > thresholds.EXPLODING:
        return "exploding"
    if row.share is not None and row.share < thresholds.VANISHING:
        return "vanishing"
    update = row.update_per_weight
    if update is not None and update > thresholds.LARGE_UPDATE:
        return "updates too large"
    if update is not None and update < thresholds.SMALL_UPDATE and asking:
        return "updates too small"
    return "fine"


def _not_finite(layer: Layer, gradients: Gradients) -> str:
    """Where in a layer there is a NaN or infinity: in what it was given to work with, before what came of it."""
    parameters = [parameter for _, parameter in layer.parameters]
    looked_at = {
        "its parameters": [parameter.data for parameter in parameters],
        "its numbers": [tensor.data for tensor in layer.results],
        "its gradient": gradients.of([*layer.outputs, *parameters]),
    }
    return next((where for where, arrays in looked_at.items() if not all(np.isfinite(a).all() for a in arrays)), "")


# ---- the sentence that teaches


def lesson(rows: Sequence[Row], illnesses: dict[str, list[Row]]) -> str:
    """What the figures of the most telling illness teach; of a healthy deep model, how its gradient travels."""
    causes = ("not finite", "dead", "saturated", "exploding", "vanishing", "updates too large", "updates too small")
    verdict = next((cause for cause in (*causes, "no gradient") if cause in illnesses), "fine")
    ill = illnesses.get(verdict, [])
    if verdict == "not finite":
        first = min(ill, key=lambda row: (row.reason == "its gradient", row.order))
        return f"NaN or infinity begins in {first.path}: {first.reason}."
    if verdict == "no gradient":
        return f"Nothing comes back to {ill[0].path}: {ill[0].reason}."
    if verdict in ("dead", "saturated"):
        first = min(ill, key=lambda row: row.order)
        share = f"{first.dead:.0f} % dead" if verdict == "dead" else f"{first.saturated:.0f} % flat"
        return f"{_activation(first)} is {share}: the inputs there {_between(first)}."
    if verdict.startswith("updates"):
        return _on_updates(ill, extreme=max if verdict.endswith("large") else min)
    return _on_the_way_back(rows, verdict, ill)


def _activation(row: Row) -> str:
    alone = row.gradient is None and not row.own_part
    return f"{row.path}'s {class_of(row)}" if alone else f"The activation in {row.path}"


def class_of(row: Row) -> str:
    """The class of a layer, without its sizes."""
    return row.layer.split("(")[0]


def _between(row: Row) -> str:
    low, high = row.inputs or (math.nan, math.nan)
    ends = format_number(low, 3), format_number(high, 3)
    return f"are all negative ({ends[0]} to {ends[1]})" if high < 0 else f"lie between {ends[0]} and {ends[1]}"


def _on_updates(ill: list[Row], extreme: Callable[..., Row]) -> str:
    row = extreme(ill, key=lambda row: row.update_per_weight)
    update, healthy = row.update_per_weight or 0.0, thresholds.HEALTHY_UPDATE
    compared = f"{update / healthy:,.0f} times" if update > healthy else f"1/{healthy / (update or math.inf):,.0f} of"
    return (
        f"The next step changes {row.path} by {format_number(update, 2)} of its size, {compared} the {healthy:g} that is "
        "healthy in the long run."
    )


def _on_the_way_back(rows: Sequence[Row], verdict: str, ill: list[Row]) -> str:
    """By how much each kind of layer multiplies the gradient, and what that makes of it."""
    with_share = [row for row in rows if row.share and row.gradient is not None and math.isfinite(row.share)]
    if len(with_share) < 3 or (ill and not any(row in with_share for row in ill)):
        return ""
    first = min(with_share, key=lambda row: row.order)
    grows = verdict == "exploding" or (verdict == "fine" and (first.share or 0) > 1)
    end = (max if grows else min)(ill, key=lambda row: row.share or 0) if ill else first
    passed = [row for row in rows if row.order > end.order and row.factor and math.isfinite(row.factor)]
    kinds = {class_of(row): [other for other in passed if class_of(other) == class_of(row)] for row in passed}
    factors = {kind: math.exp(np.mean([math.log(row.factor or 1) for row in found])) for kind, found in kinds.items()}
    strongest = sorted(factors, key=lambda kind: factors[kind], reverse=grows)[:2]
    steps = [f"each {kind} {_times(factors[kind])}" for kind in strongest if not 0.9 < factors[kind] < 1.1]
    share = format_number(end.share, 2)
    if not steps:
        return f"Each layer passes the gradient on almost as it is: after {len(passed)} of them {share} of it is left."
    after = f"after {len(kinds[strongest[0]])} of them {share} {'times as much has come' if grows else 'of it is left'}"
    said = " and ".join([steps[0].replace(" it by", " the gradient by"), *steps[1:]])
    return f"On the way back, {said}: {after}."


def _times(factor: float) -> str:
    return f"multiplies it by {format_number(factor, 2)}" if factor > 1 else f"divides it by {format_number(1 / factor, 2)}"
