"""What holds for the losses of any logits, and needs no oracle: shifts, orders, signs, sums."""

from functools import partial

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from losses.cases import one_hot, per_row, run, use_bodies

import tinygrad_ce as tg
from tinygrad_ce.losses import (
    sigmoid_binary_cross_entropy,
    softmax_cross_entropy,
)

# Shapes with one class, and logits that happen to sum to 1, are tried on purpose; the warnings have tests of their own.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*one class along axis"),
    pytest.mark.filterwarnings("ignore:.*look like its output already"),
]


quick = settings(deadline=None, max_examples=40)


def finite(low, high, *shape):
    return hnp.arrays(np.float64, shape, elements=st.floats(low, high, width=32))


sizes = st.tuples(st.integers(1, 6), st.integers(1, 5))
logits = sizes.flatmap(lambda shape: finite(-50, 50, *shape))


@st.composite
def batch(draw):
    z = draw(logits)
    labels = draw(hnp.arrays(np.int64, len(z), elements=st.integers(0, z.shape[1] - 1)))
    return z, labels


@quick
@given(batch())
def test_rows_of_the_softmax_gradient_sum_to_zero(rows):
    z, labels = rows
    for targets in (labels, one_hot(labels, z.shape[1])):
        _, slope = per_row(softmax_cross_entropy, z, targets)
        np.testing.assert_allclose(slope.sum(axis=1), 0, atol=1e-14)


@quick
@given(batch(), st.integers(-1000, 1000))
def test_a_shift_of_all_logits_changes_nothing(rows, shift):
    z, labels = np.round(rows[0], 3), rows[1]
    loss, slope = per_row(softmax_cross_entropy, z, labels)
    moved, moved_slope = per_row(softmax_cross_entropy, z + shift, labels)
    np.testing.assert_allclose(moved, loss, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(moved_slope, slope, rtol=1e-9, atol=1e-12)


@quick
@given(batch(), st.randoms(use_true_random=False))
def test_classes_in_another_order_give_the_gradient_in_that_order(rows, random):
    z, labels = rows
    order = list(range(z.shape[1]))
    random.shuffle(order)
    loss, slope = per_row(softmax_cross_entropy, z, labels)
    new_labels = np.argsort(order)[labels]
    moved, moved_slope = per_row(softmax_cross_entropy, z[:, order], new_labels)
    np.testing.assert_allclose(moved, loss, rtol=1e-13, atol=1e-300)
    np.testing.assert_allclose(moved_slope, slope[:, order], rtol=1e-13, atol=1e-300)


@quick
@given(batch())
def test_the_cost_is_the_mean_of_the_rows_losses(rows):
    z, labels = rows
    mean, slope = run(softmax_cross_entropy, z, labels)
    loss, row_slopes = per_row(softmax_cross_entropy, z, labels)
    np.testing.assert_allclose(mean, loss.sum() / len(z), rtol=1e-13)
    np.testing.assert_allclose(slope, row_slopes / len(z), rtol=1e-13)


@quick
@given(batch())
def test_smoothing_zero_is_hard_and_one_hot_is_the_index(rows):
    z, labels = rows
    loss, slope = per_row(softmax_cross_entropy, z, labels)
    for targets, options in ((labels, {"label_smoothing": 0}), (one_hot(labels, z.shape[1]), {})):
        same, same_slope = per_row(softmax_cross_entropy, z, targets, **options)
        np.testing.assert_allclose(same, loss, rtol=1e-14, atol=1e-300)
        np.testing.assert_allclose(same_slope, slope, rtol=1e-14, atol=1e-300)


@quick
@given(finite(-700, 700, 5, 2), hnp.arrays(np.int64, 5, elements=st.integers(0, 1)))
def test_softmax_of_two_is_sigmoid_of_their_difference(z, labels):
    difference = z[:, 1] - z[:, 0]
    loss, slope = per_row(softmax_cross_entropy, np.stack([0 * difference, difference], axis=1), labels)
    binary, binary_slope = per_row(sigmoid_binary_cross_entropy, difference, labels.astype(float))
    np.testing.assert_allclose(loss, binary, rtol=1e-14, atol=1e-300)
    np.testing.assert_allclose(slope[:, 1], binary_slope, rtol=1e-14, atol=1e-300)


@quick
@given(finite(-800, 800, 6), hnp.arrays(np.int64, 6, elements=st.integers(0, 64)))
def test_the_other_answer_is_the_other_sign(z, y):
    y = y / 64  # so that 1 - y is exact
    loss, slope = per_row(sigmoid_binary_cross_entropy, z, y)
    mirrored, mirrored_slope = per_row(sigmoid_binary_cross_entropy, -z, 1 - y)
    np.testing.assert_allclose(mirrored, loss, rtol=1e-13, atol=1e-300)
    np.testing.assert_allclose(mirrored_slope, -slope, rtol=1e-13, atol=1e-15)


@quick
@given(st.integers(1, 5).flatmap(lambda n: finite(-20, 20, n)))
def test_the_hessian_is_positive_semidefinite(z):
    p = scipy.special.softmax(z)
    for targets in (np.array([0]), one_hot([0], len(z))):
        hessian = np.asarray(tg.hessian(lambda t, q=targets: softmax_cross_entropy(t.reshape(1, -1), q))(z))
        np.testing.assert_allclose(hessian, np.diag(p) - np.outer(p, p), atol=1e-14)
        assert np.linalg.eigvalsh(hessian).min() >= -1e-14


@quick
@given(batch())
def test_kernels_and_bodies_agree(rows):
    z, labels = rows
    for smoothing in (0.0, 0.25):
        loss = partial(per_row, softmax_cross_entropy, z, labels, label_smoothing=smoothing)
        fast = loss()
        with pytest.MonkeyPatch.context() as patch:
            use_bodies(patch)
            slow = loss()
        for a, b in zip(fast, slow, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-14)
