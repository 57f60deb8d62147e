"""Infinite logits, rows and elements that count for nothing: values, gradients and second derivatives.

The oracles: the limit (a logit of 1e4 in place of an infinite one), and the same batch without what counts for nothing.
"""

import itertools

import numpy as np
import pytest
from losses.cases import INF, LABELS, LOGITS, NAN, per_row, run

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.losses import binary_cross_entropy, sigmoid_binary_cross_entropy, softmax_cross_entropy

pytestmark = pytest.mark.filterwarnings("ignore:.*one class along axis")
dtypes = pytest.mark.parametrize("dtype", [np.float64, np.float32])

# ---- infinite logits of the sigmoid form

AGREES = [(INF, 1.0), (-INF, 0.0)]  # logit and target
WRONG = [(INF, 0.0, 1.0), (-INF, 1.0, -1.0), (INF, 0.25, 0.75), (-INF, 0.25, -0.25)]  # and the slope


@dtypes
@pytest.mark.parametrize("options", [{}, {"weight": 2.0}, {"pos_weight": 3.0}, {"weight": [2.0], "pos_weight": [3.0]}])
def test_an_infinite_logit_costs_nothing_where_the_target_agrees_and_infinity_where_not(way, dtype, options):
    for z, y in AGREES:
        loss, slope = per_row(sigmoid_binary_cross_entropy, np.array([z], dtype), np.array([y]), **options)
        np.testing.assert_array_equal(loss, [0])
        np.testing.assert_array_equal(slope, [0])
    for z, y, _ in WRONG:
        loss, slope = per_row(sigmoid_binary_cross_entropy, np.array([z], dtype), np.array([y]), **options)
        far = per_row(sigmoid_binary_cross_entropy, np.array([np.sign(z) * 1e4], dtype), np.array([y]), **options)
        np.testing.assert_array_equal(loss, [INF])
        np.testing.assert_allclose(slope, far[1], rtol=1e-6)


@pytest.mark.parametrize(("z", "y", "expected"), WRONG)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_the_slope_at_an_infinite_logit_is_finite(way, z, y, expected, reduction):
    logits, targets = np.array([z, 0.0]), np.array([y, 0.5])
    for loss in (sigmoid_binary_cross_entropy, lambda x, y, **o: binary_cross_entropy(ops.sigmoid(x), y, **o)):
        _, slope = run(loss, logits, targets, reduction=reduction)
        np.testing.assert_allclose(slope, np.array([expected, 0]) / (2 if reduction == "mean" else 1), rtol=1e-15)


@pytest.mark.parametrize(("z", "y"), AGREES)
def test_fused_and_textbook_agree_that_it_costs_nothing(way, z, y):
    for fused in (True, False):
        loss, slope = per_row(
            lambda x, y, f=fused, **o: binary_cross_entropy(ops.sigmoid(x), y, fused=f, **o), [z], [y]
        )
        np.testing.assert_array_equal(loss, [0])
        np.testing.assert_array_equal(slope, [0])


def test_infinite_logits_do_not_spoil_a_mean_where_they_are_right(way):
    loss, slope = run(sigmoid_binary_cross_entropy, [INF, -INF, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0])
    np.testing.assert_allclose(loss, np.log(2) / 2, rtol=1e-15)
    np.testing.assert_allclose(slope, [0, 0, -0.125, 0.125], rtol=1e-15)


# ---- what has no weight: in value, gradient, and second derivative


def value_slope_and_curvature(loss, z, direction):
    """Of a loss of logits alone; the second derivative along a direction, and what changes with what is upstream."""
    x, up = tg.Tensor(z, requires_grad=True), tg.Tensor(1.0, requires_grad=True)
    out = loss(x)
    slope = tg.gradients(out * up if out.ndim == 0 else (out * up).sum(), x, create_graph=True)
    curvature, mixed = tg.gradients((slope * direction).sum(), [x, up])
    return out.data, slope.data, curvature, mixed


@pytest.mark.parametrize("spoiled", [NAN, INF, -INF, 1e300])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"weight": [1.0, 2.0, 0.5]}], ids=str)
def test_an_ignored_row_has_no_part_in_any_derivative(way, spoiled, reduction, options):
    z = np.vstack([LOGITS, [spoiled, 0.0, spoiled]])
    direction = np.random.default_rng(3).normal(size=z.shape)
    options = {"reduction": reduction, **options}
    everything = value_slope_and_curvature(
        lambda x: softmax_cross_entropy(x, np.append(LABELS, -1), ignore_index=-1, **options), z, direction
    )
    alone = value_slope_and_curvature(lambda x: softmax_cross_entropy(x, LABELS, **options), LOGITS, direction[:-1])
    for got, expected in zip(everything, alone, strict=True):
        got = np.asarray(got)
        if got.ndim:
            np.testing.assert_array_equal(got[-1], 0)
            got = got[:-1]
        np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("spoiled", [NAN, INF, -INF])
@pytest.mark.parametrize("form", ["labels", "soft"])
def test_a_row_of_weight_zero_has_no_part_in_any_derivative(way, spoiled, form):
    z, y = np.vstack([LOGITS, [spoiled, 0.0, 1.0]]), np.array([1, 2, 1, 2, 0])
    targets = y if form == "labels" else np.eye(3)[y]
    direction = np.random.default_rng(4).normal(size=z.shape)
    weight = [0.0, 2.0, 1.0]

    def loss(x, rows=slice(None)):
        return softmax_cross_entropy(x, targets[rows], weight=weight, reduction="sum")

    everything = value_slope_and_curvature(loss, z, direction)
    alone = value_slope_and_curvature(lambda x: loss(x, slice(4)), LOGITS, direction[:4])
    for got, expected in zip(everything, alone, strict=True):
        got = np.asarray(got)
        if got.ndim:
            np.testing.assert_array_equal(got[-1], 0)
            got = got[:-1]
        np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-16)


@dtypes
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("spoiled", "y"), [*itertools.product([NAN, INF, -INF], [0.0, 1.0, 0.3])])
def test_an_element_of_weight_zero_has_no_part_in_any_derivative(way, dtype, spoiled, y, reduction):
    z, targets = np.array([0.5, spoiled, -1.0], dtype), np.array([1.0, y, 0.25], dtype)
    weight, direction = np.array([2.0, 0.0, 1.0], dtype), np.array([0.5, 2.0, -1.0], dtype)
    kept = [0, 2]

    def loss(x, which=slice(None)):
        out = sigmoid_binary_cross_entropy(x, targets[which], weight=weight[which], pos_weight=3.0, reduction="sum")
        return out / 3 if reduction == "mean" else out

    got = value_slope_and_curvature(
        lambda x: sigmoid_binary_cross_entropy(x, targets, weight=weight, pos_weight=3.0, reduction=reduction),
        z,
        direction,
    )
    expected = value_slope_and_curvature(lambda x: loss(x, kept), z[kept], direction[kept])
    for ours, right in zip(got, expected, strict=True):
        ours = np.asarray(ours)
        if ours.ndim:
            assert ours[1] == 0
            ours = ours[kept]
        np.testing.assert_allclose(ours, right, rtol=1e-5 if dtype == np.float32 else 1e-13)


def test_a_positive_that_weighs_nothing_counts_for_nothing(way):
    loss, slope = per_row(sigmoid_binary_cross_entropy, [NAN, INF, -INF, 1.0], np.ones(4), pos_weight=0.0)
    np.testing.assert_array_equal(loss, 0)
    np.testing.assert_array_equal(slope, 0)


def test_soft_targets_of_a_row_without_weight_have_no_gradient(way):
    q = tg.Tensor(np.full((2, 3), 1 / 3), requires_grad=True)
    z = np.array([[NAN, 0.0, INF], [1.0, 2.0, 3.0]])
    weights = np.array([[0.0], [1.0]])
    (slope,) = tg.gradients(sigmoid_binary_cross_entropy(z, q, weight=weights, reduction="sum"), [q])
    np.testing.assert_array_equal(slope[0], 0)
    np.testing.assert_allclose(slope[1], -z[1], rtol=1e-15)  # softplus(-z) - softplus(z)
    (slope,) = tg.gradients(softmax_cross_entropy(z[:1], q[:1], weight=np.zeros(3), reduction="sum"), [q])
    np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize("reduction", ["none", "sum"])
def test_a_nan_row_spoils_no_other_row_of_any_derivative(way, reduction):
    z = LOGITS.copy()
    z[2, 1] = NAN
    direction = np.random.default_rng(5).normal(size=z.shape)
    spoiled = value_slope_and_curvature(lambda x: softmax_cross_entropy(x, LABELS, reduction=reduction), z, direction)
    right = value_slope_and_curvature(
        lambda x: softmax_cross_entropy(x, LABELS, reduction=reduction), LOGITS, direction
    )
    for got, expected in zip(spoiled[1:3], right[1:3], strict=True):
        assert np.isnan(got[2]).all()
        np.testing.assert_array_equal(np.delete(got, 2, 0), np.delete(expected, 2, 0))
