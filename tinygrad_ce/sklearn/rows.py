"""The rows of a fit: how much each counts, and which are kept apart to decide when to stop."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array

from tinygrad_ce.core import Array


def weights_of_rows(name: str, sample_weight: Any, X: Array) -> Array:
    """(N,) of sample_weight, (N,) or one number for all rows. ValueError, in the name of an estimator, for others."""
    if isinstance(sample_weight, numbers.Real):  # as scikit-learn's own take it
        sample_weight = np.full(len(X), sample_weight)
    weights: Array = check_array(sample_weight, ensure_2d=False, dtype=X.dtype, input_name="sample_weight")
    if weights.shape != (len(X),):
        raise ValueError(f"{name}: sample_weight has shape {weights.shape}, and X has {len(X)} rows")
    if (weights < 0).any():
        raise ValueError(f"{name}: sample_weight holds {weights.min()}; it must be 0 or more")
    return weights


def kept_apart(name: str, X: Array, targets: Array, weights: Array | None, options: dict[str, Any]) -> Any:
    """(X, targets, weights) to learn from, and those that decide when to stop; weights: (N,), or None for both.

    options: of scikit-learn's train_test_split. ValueError, in the name of an estimator, if too few are on one side.
    """
    arrays = [X, targets] if weights is None else [X, targets, weights]
    parts = train_test_split(*arrays, **options)
    learnt, held_out = ([*half, None][:3] for half in (parts[::2], parts[1::2]))
    if len(held_out[0]) < 2:
        raise ValueError(
            f"{name}: validation_fraction={options['test_size']} keeps {len(held_out[0])} of {len(X)} rows to decide "
            "when to stop, and two are the least: make it larger, or pass more rows"
        )
    for half, purpose in ((learnt, "learn from"), (held_out, "decide when to stop")):
        if weights is not None and not half[2].any():
            raise ValueError(
                f"{name}: none of the rows to {purpose} has a weight above 0: pass early_stopping=False, another "
                "random_state, or more rows with a weight"
            )
    return learnt, held_out
