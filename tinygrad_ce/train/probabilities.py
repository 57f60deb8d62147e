"""What a model's scores say of probabilities, by the loss that it was trained with, and the answers that follow."""

from __future__ import annotations

import numbers
from functools import partial
from typing import Any

import numpy as np

from tinygrad_ce import losses, nn, ops
from tinygrad_ce.core import Array
from tinygrad_ce.train.metrics import BINARY, SIGMOID, SOFTMAX, check_scores, class_axis, is_one_of

LOGARITHMS = (nn.NLL, losses.nll)
AS_THEY_ARE = (nn.CrossEntropy, losses.cross_entropy, nn.KLDivergence, losses.kl_divergence)


def has_probabilities(loss: Any) -> bool:
    """Whether what a model was trained to give with this loss are probabilities, or becomes some."""
    return is_one_of(loss, *BINARY, *SOFTMAX, *LOGARITHMS, *AS_THEY_ARE)


def probabilities_of(scores: Array, loss: Any) -> Array:
    """The scores through the softmax, sigmoid or exponential that the loss applies.

    Of classes, in the shape of the scores, (N, C). Of one yes-or-no answer a row, (N, 2): of no and of yes. Of several,
    (N, L): of each yes. ValueError for a loss that is of no probabilities.
    """
    if is_one_of(loss, *BINARY):
        return _of_yes_or_no(scores, is_one_of(loss, *SIGMOID))
    if is_one_of(loss, *SOFTMAX):
        return np.asarray(ops.softmax(scores, axis=class_axis(loss)))
    if is_one_of(loss, *LOGARITHMS):
        return np.exp(scores)
    if is_one_of(loss, *AS_THEY_ARE):
        return scores
    raise ValueError(
        f"predict_proba: the loss {loss_name(loss)} is of no probabilities, so the model's numbers are none: train "
        "with tg.nn.SoftmaxCrossEntropy() or tg.nn.SigmoidBCE(), or, where your own loss applies a softmax, write "
        "tg.ops.softmax(scores)"
    )


def _of_yes_or_no(scores: Array, are_logits: bool) -> Array:
    several = scores.size != len(scores)
    yes = np.asarray(ops.sigmoid(scores)) if are_logits else scores
    if several:
        return yes
    no = np.asarray(ops.sigmoid(-scores)) if are_logits else 1 - scores  # 1 - sigmoid would lose digits
    return np.stack([no.reshape(-1), yes.reshape(-1)], axis=1)


def answers_above(threshold: Any, scores: Array, task: str, loss: Any) -> Array:
    """1 where the probability is above the threshold, else 0. ValueError where there is no yes or no."""
    if task != "binary":
        asked = "chooses among classes" if task == "classes" else "gives numbers"
        cure = "predict_proba(X)[:, 1]" if has_probabilities(loss) else "predict(X)"
        raise ValueError(
            f"predict: threshold={threshold!r} is for answers of yes or no (tg.nn.SigmoidBCE, tg.nn.BCE), and this "
            f"model {asked}: leave it out, or compare for yourself: trainer.{cure} > {threshold!r}"
        )
    if isinstance(threshold, bool) or not isinstance(threshold, numbers.Real) or not 0 <= float(threshold) <= 1:
        raise ValueError(f"predict: threshold={threshold!r} must be a probability, a number from 0 to 1")
    check_scores(scores)
    p = probabilities_of(scores, loss)
    yes: Array = (p if scores.size != len(scores) else p[:, 1]) > float(threshold)
    return yes.astype(np.int64)


def loss_name(loss: Any) -> str:
    """What a loss is called: its function's name, or its class's."""
    function = loss.func if isinstance(loss, partial) else loss
    return getattr(function, "__name__", type(function).__name__)
