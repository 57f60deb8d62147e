"""The table of verdicts: when each holds, what it means, its cure, and the source; the sentence that figures teach."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from tinygrad_ce.report.words import format_number, percent
from tinygrad_ce.views.audit.activations import DEAD, FLAT

if TYPE_CHECKING:
    from tinygrad_ce.views.audit.figures import Row

MOST, FEWEST_ROWS = 50.0, 8  # percent of a layer's numbers or units: a few are always flat
VANISHING, EXPLODING = 1e-3, 1e3  # three powers of ten are beyond what a learning rate makes good
HEALTHY_UPDATE, LONG_UPDATE, LARGE_UPDATE, SMALL_UPDATE, SMALL_GRADIENT = 1e-3, 0.01, 0.1, 1e-4, 0.03


class Verdict(NamedTuple):
    """A line of the table. meaning: with the cure. holds: of a layer's figures. remark: on a layer that is fine."""

    name: str
    threshold: str
    meaning: str
    source: str
    holds: Callable[[Row], bool]
    remark: str = ""


GLOROT = "Glorot and Bengio 2010, section 4.2: near 1 at the start"
SEPARATE = "not in the graph"
VERDICTS = (  # the most urgent first
    Verdict(
        "not finite",
        "one number that is NaN or infinite",
        "NaN or infinity has come in; tg.why_nan(loss) names the operation that made the first one.",
        "whatever is added to NaN is NaN",
        lambda row: bool(row.not_finite),
    ),
    Verdict(
        "no gradient",
        "none, or one of exactly 0",
        "These parameters stay as they are. Use them in the loss, or see which layer lets nothing back.",
        "the rule of the update",
        lambda row: bool(row.unused) or row.gradient == 0,
    ),
    Verdict(
        "saturated",
        f"{MOST:g} % of the numbers have a slope of at most {100 * FLAT:g} % of the largest",
        "Where the curve is flat, gradients are lost. Usual cures: smaller initial weights, standardised inputs, "
        "BatchNorm in front of the activation.",
        "Glorot and Bengio 2010, section 3; measured on 224 small networks: with fewer at the start 1 of 118 ended "
        "with more than twice the loss of the same network with usual weights, with more 41 of 106",
        lambda row: (row.saturated or 0) >= MOST,
    ),
    Verdict(
        "dead",
        f"{MOST:g} % of the units have a slope of at most {DEAD:g} of the largest for all rows, {FEWEST_ROWS} or more",
        "Units whose slope is 0 for every row learn nothing. Usual cures: a smaller learning rate, initial weights "
        'with init="he_normal", biases near 0, another activation (Softplus, Tanh).',
        "measured on 112 small networks with ReLU, in the same way: 23 of 67 with fewer, 38 of 45 with more",
        lambda row: (row.dead or 0) >= MOST and row.rows >= FEWEST_ROWS,
    ),
    Verdict(
        SEPARATE,
        "no operation of the layer",
        "no gradient passes through these. A softmax or sigmoid that is differentiated together with its cross-entropy "
        "is one, and whatever works on the data alone.",
        "the graph",
        lambda row: not row.uses,
    ),
    Verdict(
        "exploding",
        f"the gradient at the outputs is more than {EXPLODING:g} times that at the last layer's",
        f"The gradient grows more than {EXPLODING:g}-fold on its way back. Usual cures: smaller initial weights "
        '(init="glorot_uniform" or "he_normal"), BatchNorm, clip_norm=1.0 in fit.',
        f"{GLOROT}; clipping: Pascanu, Mikolov and Bengio 2013, section 3.2",
        lambda row: row.gradient is not None and (row.share or 1) > EXPLODING,
    ),
    Verdict(
        "vanishing",
        f"the gradient at the outputs is less than {VANISHING:g} of that at the last layer's",
        f"Less than {VANISHING:g} of the gradient comes back to here. Usual cures: ReLU or Tanh instead of Sigmoid, "
        'init="he_normal" or "glorot_uniform", BatchNorm, fewer layers.',
        GLOROT,
        lambda row: row.gradient is not None and (row.share or 1) < VANISHING,
    ),
    Verdict(
        "updates too large",
        f"the next step is longer than {LARGE_UPDATE:g} of the weights",
        f"One step changes the weights by more than {LARGE_UPDATE:g} of their size; about {HEALTHY_UPDATE:g} is "
        "healthy, and more at first. Usual cure: a smaller learning rate.",
        "measured on 170 small networks: none that began below it went wrong, of those above it every second",
        lambda row: (row.update_per_weight or 0) > LARGE_UPDATE,
    ),
    Verdict(
        "updates too small",
        f"the next step is shorter than {SMALL_UPDATE:g} of the weights, gradient / weight above {SMALL_GRADIENT:g} in "
        "some layer",
        f"One step changes the weights by less than {SMALL_UPDATE:g} of their size; about {HEALTHY_UPDATE:g} is "
        "healthy. Usual cure: a larger learning rate.",
        f"measured on the same 170: with all gradients below {SMALL_GRADIENT:g} most had been learnt",
        lambda row: row.asking and row.update_per_weight is not None and row.update_per_weight < SMALL_UPDATE,
    ),
    Verdict(
        "too few rows",
        f"{MOST:g} % of the units are off for all rows, which are fewer than {FEWEST_ROWS}",
        f"with fewer than {FEWEST_ROWS} rows there is no verdict on dead units, for a healthy ReLU too is switched off "
        "for all of so few in many units. Use a larger batch.",
        "measured on 120 healthy networks with ReLU: of 1, 2, 4 and 8 rows, it is so in 100, 21, 3 and none of them",
        lambda row: (row.dead or 0) >= MOST,
        remark="too few rows for a verdict on dead units",
    ),
    Verdict(
        "long steps",
        f"the next step is longer than {LONG_UPDATE:g} of the weights",
        f"usual only at first: ten times the {HEALTHY_UPDATE:g} that is healthy in the long run.",
        'CS231n notes, "Neural networks part 3", ratio of weights:updates',
        lambda row: (row.update_per_weight or 0) > LONG_UPDATE,
        remark="long steps, usual only at first",
    ),
)
CURES = {verdict.name: verdict.meaning for verdict in VERDICTS if verdict.name != SEPARATE and not verdict.remark}
SEPARATE_NOTE = next(verdict.meaning for verdict in VERDICTS if verdict.name == SEPARATE)
_FIRST_CAUSES = ("not finite", "dead", "saturated", "exploding", "vanishing")  # of others, which follow from them


def verdict_on(row: Row) -> Verdict | None:
    """The most urgent that holds; None: all is fine."""
    return next((verdict for verdict in VERDICTS if verdict.holds(row)), None)


def lesson(rows: Sequence[Row], illnesses: dict[str, list[Row]]) -> str:
    """On what most layers suffer from; of a healthy deep model, on its gradient; empty if there is nothing to say."""
    causes = [cause for cause in _FIRST_CAUSES if cause in illnesses] or [*illnesses, "fine"]
    verdict = max(causes, key=lambda cause: (cause == "not finite", len(illnesses.get(cause, []))))
    ill = illnesses.get(verdict, [])
    first = min(ill or rows, key=lambda row: (row.reason == "its gradient", row.order))
    if verdict in ("not finite", "no gradient"):
        return f"It begins in {first.path}: {first.reason}."
    if verdict in ("dead", "saturated"):
        share = percent((first.dead if verdict == "dead" else first.saturated) or 0)
        alone = first.gradient is None and not first.own_part
        where = f"{first.path}'s {first.class_name}" if alone else f"The activation in {first.path}"
        return f"{where} is {share} % {verdict}: its inputs {first.flat_inputs}."
    if verdict.startswith("updates"):
        update = first.update_per_weight or 0.0
        times = f"{format_number(update / HEALTHY_UPDATE, 3)} times what is healthy in the long run"
        return f"The next step changes {first.path} by {format_number(update, 3)} of its size, {times}."
    return _way_back(rows, ill, verdict)


def _way_back(rows: Sequence[Row], ill: list[Row], verdict: str) -> str:
    """By how much each kind of layer multiplies the gradient, if that makes what arrives: a shortcut has no factor."""
    reached = sorted((row for row in rows if row.share and row.gradient is not None), key=attrgetter("order"))
    if len(reached) < 3:
        return ""
    end = (max if verdict == "exploding" else min)(ill or reached[:1], key=lambda row: row.share or 0)
    passed = [row for row in rows if end.order < row.order <= reached[-1].order and 0 < (row.factor or 0) < math.inf]
    logs: dict[str, list[float]] = {}
    for row in passed:
        logs.setdefault(row.class_name, []).append(math.log(row.factor or 1))
    totals = {kind: sum(logs[kind]) for kind in logs}
    left = f"{format_number(end.share, 2)} {'of it is left' if (end.share or 0) < 1 else 'times as much arrives'}"
    makes_it = math.isclose(sum(totals.values()), math.log(end.share or 1), rel_tol=0.05, abs_tol=0.05)
    if not makes_it or any(row.uses > 1 for row in (end, *passed)):
        return f"The gradient has several ways back to {end.path}: {left}." if ill else ""
    strong = [kind for kind in sorted(logs, key=lambda kind: -abs(totals[kind])) if abs(totals[kind]) > math.log(1.25)]
    factors = [math.exp(totals[kind] / len(logs[kind])) for kind in strong]
    said = [
        f"each {kind} {'multiplies' if factor > 1 else 'divides'} it by {format_number(max(factor, 1 / factor), 3)}"
        for kind, factor in zip(strong, factors, strict=True)
    ] or ["each layer passes on almost all of it"]
    after = f"{len(logs[strong[0]])} of them" if len(strong) == 1 else f"{len(passed)} layers"
    return f"On the gradient's way back {' and '.join(said)}: after {after} {left}."
