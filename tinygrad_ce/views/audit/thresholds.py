"""When a layer is called ill: every number that decides it, what the verdict means, its cure, and where it is from."""

from __future__ import annotations

from typing import NamedTuple

# An activation is flat where its slope is at most this share of its largest: |tanh| > 0.975, and a sigmoid within
# 0.013 of 0 or 1. A unit is dead where its slope is at most DEAD of the largest for every row: as good as nothing.
FLAT, DEAD = 0.05, 1e-6
MOST = 50.0  # percent of a layer's numbers that are flat, or of its units that are dead: a few always are
FEWEST_ROWS = 8
VANISHING, EXPLODING = 1e-3, 1e3
HEALTHY_UPDATE = 1e-3
LARGE_UPDATE, SMALL_UPDATE, SMALL_GRADIENT = 0.1, 1e-4, 0.03
LONG_UPDATE = 0.01

GLOROT = "Glorot and Bengio 2010"
KARPATHY = 'CS231n, "ratio of weights:updates"'


class Verdict(NamedTuple):
    """A line of the table of verdicts. cure: empty where there is no illness."""

    name: str
    threshold: str
    meaning: str
    cure: str
    source: str


VERDICTS = (  # the most urgent first
    Verdict(
        "not finite",
        "one number that is NaN or infinite",
        "NaN or infinity has come in;",
        "tg.why_nan(loss) names the operation that made the first one.",
        "arithmetic: whatever is added to NaN is NaN",
    ),
    Verdict(
        "no gradient",
        "a gradient of exactly 0, or none",
        "These parameters stay as they are.",
        "Use them in the loss, or see which layer lets nothing back.",
        "the rule of the update",
    ),
    Verdict(
        "saturated",
        f"{MOST:g} % of the numbers have a slope of at most {FLAT:.0%} of the largest",
        "Where the curve is flat, gradients are lost.",
        "Usual cures: smaller initial weights, standardised inputs, BatchNorm in front of the activation.",
        f"{GLOROT}, section 3; the share: SATURATED_SOURCE",
    ),
    Verdict(
        "dead",
        f"{MOST:g} % of the units have a slope of at most {DEAD:g} of the largest for every row, of {FEWEST_ROWS} rows "
        "or more",
        "Units whose slope is 0 for every row learn nothing.",
        'Usual cures: a smaller learning rate, initial weights with init="he_normal", biases near 0, another '
        "activation (Softplus, Tanh).",
        "Lu and others 2020, section 2; the share: DEAD_SOURCE",
    ),
    Verdict(
        "exploding",
        f"the gradient at the outputs is more than {EXPLODING:g} times that at the last layer's",
        f"The gradient grows more than {EXPLODING:g}-fold on its way back.",
        'Usual cures: smaller initial weights (init="glorot_uniform" or "he_normal"), BatchNorm, clip_norm=1.0 in fit.',
        f"{GLOROT}, section 4.2: it should stay near 1; clipping: Pascanu and others 2013, section 3",
    ),
    Verdict(
        "vanishing",
        f"it is less than {VANISHING:g} of that",
        f"Less than {VANISHING:g} of the gradient comes back to here.",
        'Usual cures: ReLU or Tanh instead of Sigmoid, init="he_normal" or "glorot_uniform", BatchNorm, fewer layers.',
        f"{GLOROT}, section 4.2: it should stay near 1",
    ),
    Verdict(
        "updates too large",
        f"the next step is longer than {LARGE_UPDATE:g} of the weights",
        f"One step changes the weights by more than {LARGE_UPDATE:g} of their size; about {HEALTHY_UPDATE:g} is "
        "healthy, and more at first.",
        "Usual cure: a smaller learning rate.",
        "measured on 170 small networks: none that began below it went wrong, of the others every second",
    ),
    Verdict(
        "updates too small",
        f"the next step is shorter than {SMALL_UPDATE:g} of the weights, while some layer has gradient / weight above "
        f"{SMALL_GRADIENT:g}",
        f"One step changes the weights by less than {SMALL_UPDATE:g} of their size; about {HEALTHY_UPDATE:g} is "
        "healthy.",
        "Usual cure: a larger learning rate.",
        f"{KARPATHY}; measured on the same 170: below {SMALL_GRADIENT:g} most had been learnt",
    ),
    Verdict(
        "fine: long steps",
        f"the next step is longer than {LONG_UPDATE:g} of the weights",
        f"Usual at first, and ten times the {HEALTHY_UPDATE:g} that is healthy in the long run.",
        "",
        KARPATHY,
    ),
)
CURES = {verdict.name: f"{verdict.meaning} {verdict.cure}" for verdict in VERDICTS if verdict.cure}
SEPARATE = "not in the graph"
SEPARATE_NOTE = (
    "no gradient passes through these. A softmax or sigmoid that is differentiated together with its cross-entropy is "
    "one, and whatever works on the data alone."
)
