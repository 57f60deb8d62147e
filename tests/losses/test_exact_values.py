"""Losses and their gradients are within the promised ulps of the exact values, which mpmath has."""

import mpmath as mp
import numpy as np
import pytest
from losses.cases import one_hot, per_row

from tinygrad_ce.losses import (
    binary_cross_entropy,
    cross_entropy,
    sigmoid_binary_cross_entropy,
    softmax_cross_entropy,
)

# Shapes with one class, and logits that happen to sum to 1, are tried on purpose; the warnings have tests of their own.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*one class along axis"),
    pytest.mark.filterwarnings("ignore:.*look like its output already"),
]


def exact_row(z, q):
    """-sum q log softmax(z) and its gradient for one row of floats, with 800 digits: log(1 + exp(-700)) needs them."""
    with mp.workdps(800):
        z, q = [mp.mpf(float(v)) for v in z], [mp.mpf(v) for v in q]
        e = [mp.exp(v - max(z)) for v in z]
        log_sum = max(z) + mp.log(sum(e))
        loss = sum(weight * (log_sum - v) for weight, v in zip(q, z, strict=True))
        return loss, [sum(q) * v / sum(e) - weight for v, weight in zip(e, q, strict=True)]


def exact_logit(z, y, w=1.0):
    """The binary loss of one logit and its slope, with 800 digits."""
    with mp.workdps(800):
        z, y, w = mp.mpf(float(z)), mp.mpf(float(y)), mp.mpf(float(w))
        loss = w * y * mp.log(1 + mp.exp(-z)) + (1 - y) * mp.log(1 + mp.exp(z))
        return loss, (1 - y) / (1 + mp.exp(-z)) - w * y / (1 + mp.exp(z))


def in_ulps(got, exact, scale=None):
    """The largest distance, in units in the last place of the exact numbers (or of `scale` where it is larger)."""
    got = np.asarray(got)
    worst = 0.0
    for i, (number, right) in enumerate(zip(got.ravel(), exact, strict=True)):
        assert np.isfinite(number), (i, number, right)
        size = got.dtype.type(float(max(abs(right), scale[i] if scale is not None else 0)))
        worst = max(worst, float(abs(mp.mpf(float(number)) - right) / mp.mpf(float(np.spacing(size)))))
    return worst


def confident(gap, classes, dtype, seed):
    """Rows in which one class leads by about `gap`: the true one, then another one."""
    generator = np.random.default_rng(seed)
    z = generator.normal(size=(6, classes)).astype(dtype)
    labels = generator.integers(0, classes, 6)
    leader = np.where(np.arange(6) < 3, labels, (labels + 1) % classes)
    z[np.arange(6), leader] += dtype(gap)
    return z, labels


GAPS = [(np.float64, gap) for gap in (0, 1, 5, 40, 100, 700)] + [(np.float32, gap) for gap in (0, 1, 5, 20, 40, 80)]


def allowed(way, gap, scale=4):
    """What the issue promises of kernels; a body may lose what rounding z - top costs, which grows with the gap."""
    return scale if way == "kernels" else scale + 2 * (gap + 5)


@pytest.mark.parametrize(("dtype", "gap"), GAPS)
@pytest.mark.parametrize("form", ["labels", "one-hot"])
@pytest.mark.parametrize("classes", [1, 2, 3, 10])
def test_softmax_cross_entropy_is_exact_to_the_last_digits(way, dtype, gap, form, classes):
    z, labels = confident(gap, classes, dtype, seed=gap + classes)
    loss, slope = per_row(softmax_cross_entropy, z, labels if form == "labels" else one_hot(labels, classes))
    exact = [exact_row(row, q) for row, q in zip(z, one_hot(labels, classes), strict=True)]
    assert loss.dtype == slope.dtype == dtype
    assert in_ulps(loss, [value for value, _ in exact]) <= allowed(way, gap)
    assert in_ulps(slope, [v for _, gradient in exact for v in gradient]) <= allowed(way, gap)


@pytest.mark.parametrize(("dtype", "gap"), GAPS)
@pytest.mark.parametrize("form", ["smoothing", "soft"])
def test_soft_targets_are_exact_but_for_what_cancels_in_the_question_itself(way, dtype, gap, form):
    z, labels = confident(gap, 5, dtype, seed=gap)
    if form == "smoothing":
        loss, slope = per_row(softmax_cross_entropy, z, labels, label_smoothing=0.125)
        share = mp.mpf(0.125) / 5
        targets = [[share + (mp.mpf(0.875) if c == y else 0) for c in range(5)] for y in labels]
    else:
        soft = np.random.default_rng(gap).dirichlet(np.ones(5), 6).astype(dtype)
        loss, slope = per_row(softmax_cross_entropy, z, soft)
        targets = [[mp.mpf(float(v)) for v in row] for row in soft]
    exact = [exact_row(row, q) for row, q in zip(z, targets, strict=True)]
    assert in_ulps(loss, [value for value, _ in exact]) <= allowed(way, gap)
    scale = [v for row in targets for v in row]  # p - q has no digits of its own left where p is nearly q
    assert in_ulps(slope, [v for _, gradient in exact for v in gradient], scale) <= allowed(way, gap)


@pytest.mark.parametrize(("dtype", "gap"), GAPS)
@pytest.mark.parametrize("y", [0.0, 1.0, 0.25])
@pytest.mark.parametrize("pos_weight", [None, 2.5])
def test_sigmoid_binary_cross_entropy_is_exact_to_the_last_digits(way, dtype, gap, y, pos_weight):
    size = gap + np.random.default_rng(gap).random(8)
    z = np.concatenate([size, -size]).astype(dtype)
    loss, slope = per_row(sigmoid_binary_cross_entropy, z, np.full(16, y, dtype), pos_weight=pos_weight)
    exact = [exact_logit(v, y, pos_weight or 1.0) for v in z]
    assert loss.dtype == slope.dtype == dtype
    assert in_ulps(loss, [value for value, _ in exact]) <= 4
    scale = [mp.mpf(y)] * 16 if 0 < y < 1 else None
    assert in_ulps(slope, [v for _, v in exact], scale) <= 4


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_probability_forms_are_exact_too(way, dtype):
    p = np.array([[1e-30, 0.25, 0.75], [0.5, 0.5, 0.0], [0.125, 0.75, 0.125]], dtype)
    labels = np.array([0, 1, 2])
    loss, slope = per_row(cross_entropy, p, labels)
    picked = [mp.mpf(float(p[i, y])) for i, y in enumerate(labels)]
    assert in_ulps(loss, [-mp.log(v) for v in picked]) <= 4
    assert in_ulps(slope[np.arange(3), labels], [-1 / v for v in picked]) <= 4
    q = np.array([1e-30, 0.25, 0.999], dtype)
    loss, slope = per_row(binary_cross_entropy, q, np.array([1, 0, 0]))
    q = [mp.mpf(float(v)) for v in q]
    assert in_ulps(loss, [-mp.log(q[0]), -mp.log(1 - q[1]), -mp.log(1 - q[2])]) <= 4
    assert in_ulps(slope, [-1 / q[0], 1 / (1 - q[1]), 1 / (1 - q[2])]) <= 4


@pytest.mark.parametrize("size", [1e4, 710.0, 1e308])
@pytest.mark.parametrize("sign", [1, -1])
def test_logits_of_any_finite_size_give_finite_losses(way, size, sign):
    z = np.array([[sign * size, 0.0, 1.0], [0.0, sign * size, -1.0]])
    loss, slope = per_row(softmax_cross_entropy, z, np.array([0, 0]))
    exact = [exact_row(row, [1, 0, 0]) for row in z]
    np.testing.assert_allclose(loss, [float(value) for value, _ in exact], rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(slope, [[float(v) for v in g] for _, g in exact], rtol=1e-12, atol=1e-300)
    loss, slope = per_row(sigmoid_binary_cross_entropy, z[0, :1], np.array([0.0]))
    np.testing.assert_allclose(loss, max(sign * size, 0), atol=1e-300)
    np.testing.assert_allclose(slope, float(sign > 0), atol=1e-300)


def test_smoothing_of_huge_logits_does_not_overflow_where_the_loss_itself_fits(way):
    z = np.array([[1e308, 0.0, 0.0, 0.0]])  # the gaps sum to 3e308, but only a fortieth of that is the loss
    np.testing.assert_allclose(per_row(softmax_cross_entropy, z, np.array([0]), label_smoothing=0.1)[0], 7.5e306)
