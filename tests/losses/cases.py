"""What the tests of the losses share: logits, targets, bodies instead of kernels, a loss with its gradient."""

import numpy as np
import pytest
import scipy.special

import tinygrad_ce as tg
from tinygrad_ce.core import REGISTRY
from tinygrad_ce.kernels import attach
from tinygrad_ce.losses import (
    binary_cross_entropy,
    cross_entropy,
    mse,
    sigmoid_binary_cross_entropy,
    softmax_cross_entropy,
)

LOSS_OPS = ("xent", "xent_grad", "soft_xent", "soft_xent_grad", "sigmoid_xent", "sigmoid_xent_grad")
INF, NAN = np.inf, np.nan
LABELS = np.array([2, 0, 1, 2])
LOGITS = np.array([[1.0, 2.0, 0.5], [0.3, -1.2, 2.0], [0.0, 0.0, 0.0], [-3.0, 1.5, 4.0]])
PROBABILITIES = scipy.special.softmax(LOGITS, axis=1)
WEIGHTS = np.array([0.5, 2.0, 3.0])
ALL = [softmax_cross_entropy, cross_entropy, sigmoid_binary_cross_entropy, binary_cross_entropy, mse]
FORMS = [
    pytest.param(softmax_cross_entropy, LOGITS, id="logits"),
    pytest.param(cross_entropy, PROBABILITIES, id="probabilities"),
]
BINARY = [
    pytest.param(sigmoid_binary_cross_entropy, id="logits"),
    pytest.param(binary_cross_entropy, id="probabilities"),
]


def use_bodies(patch):
    for name in LOSS_OPS:
        patch.setattr(REGISTRY[name], "run", REGISTRY[name].body)
    patch.setattr(attach, "FUSED", {})


def run(loss, x, targets, **options):
    """The loss as an array, and its gradient (of the sum, where there are several)."""
    leaf = tg.Tensor(np.asarray(x), requires_grad=True)
    out = loss(leaf, targets, **options)
    (gradient,) = tg.gradients(out, [leaf], gradient=np.ones(out.shape, out.dtype))
    return out.data, gradient


def per_row(loss, x, targets, **options):
    return run(loss, x, targets, reduction="none", **options)


def one_hot(labels, classes):
    return (np.asarray(labels)[..., None] == np.arange(classes)).astype(float)
