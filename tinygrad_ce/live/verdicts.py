"""What the page needs to judge layers as `tg.audit` does: its thresholds, its words, and the curves of activations."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.core import Tensor
from tinygrad_ce.graph.layers import DEAD, FLAT, curve_of
from tinygrad_ce.nn import Module, ReLU, Sigmoid, Softplus, Tanh
from tinygrad_ce.views import audit

ACTIVATIONS: tuple[type[Module], ...] = (Tanh, Sigmoid, ReLU, Softplus)


def audit_content() -> dict[str, Any]:
    """The page's `audit`: {thresholds, cures, separate, curves}, from the constants of `tg.audit`.

    >>> audit_content()["curves"]["Tanh"]
    {'largest': 1.0, 'both_sides': True}
    """
    return {
        "thresholds": {
            "most": audit.MOST,
            "fewest_rows": audit.FEWEST_ROWS,
            "flat": FLAT,
            "dead": DEAD,
            "vanishing": audit.VANISHING,
            "exploding": audit.EXPLODING,
            "large_update": audit.LARGE_UPDATE,
            "long_update": audit.LONG_UPDATE,
            "small_update": audit.SMALL_UPDATE,
            "small_gradient": audit.SMALL_GRADIENT,
        },
        "cures": audit.CURES,
        "separate": audit.SEPARATE_NOTE,
        "curves": {activation.__name__: _curve(activation()) for activation in ACTIVATIONS},
    }


def _curve(activation: Module) -> dict[str, Any]:
    """The largest slope of an activation, and whether it is flat on both sides: measured, as `tg.audit` does."""
    curve = curve_of(activation(Tensor(np.zeros((1, 1)), requires_grad=True)))
    assert curve is not None
    return {"largest": curve.largest, "both_sides": curve.flat_on_both_sides}
