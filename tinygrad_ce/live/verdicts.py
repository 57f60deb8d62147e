"""What the page needs to judge layers as `tg.audit` does: its thresholds, its words, and the curves of activations."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.core import Tensor
from tinygrad_ce.nn import Module, ReLU, Sigmoid, Softplus, Tanh
from tinygrad_ce.views.audit import verdicts
from tinygrad_ce.views.audit.activations import DEAD, FLAT, find_activations

ACTIVATIONS: tuple[type[Module], ...] = (Tanh, Sigmoid, ReLU, Softplus)


def audit_content() -> dict[str, Any]:
    """The page's `audit`: {thresholds, cures, separate, curves}, from the constants of `tg.audit`.

    >>> audit_content()["curves"]["Tanh"]
    {'largest': 1.0, 'both_sides': True}
    """
    return {
        "thresholds": {
            "most": verdicts.MOST,
            "fewest_rows": verdicts.FEWEST_ROWS,
            "flat": FLAT,
            "dead": DEAD,
            "vanishing": verdicts.VANISHING,
            "exploding": verdicts.EXPLODING,
            "large_update": verdicts.LARGE_UPDATE,
            "long_update": verdicts.LONG_UPDATE,
            "small_update": verdicts.SMALL_UPDATE,
            "small_gradient": verdicts.SMALL_GRADIENT,
        },
        "cures": verdicts.CURES,
        "separate": verdicts.SEPARATE_NOTE,
        "curves": {activation.__name__: _curve(activation()) for activation in ACTIVATIONS},
    }


def _curve(activation: Module) -> dict[str, Any]:
    """The largest slope of an activation, and whether it is flat on both sides: measured, as `tg.audit` does."""
    made = activation(Tensor(np.zeros((1, 1)), requires_grad=True))
    curve = next(find_activations([made]))
    return {"largest": curve.largest, "both_sides": curve.flat_on_both_sides}
