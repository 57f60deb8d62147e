"""A weight of 0 protects value, gradient and curvature, whatever stands in that row, class or element."""

import warnings

import numpy as np
import pytest
import scipy.special
from losses.cases import INF, NAN, one_hot

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.losses import (
    binary_cross_entropy,
    cross_entropy,
    hinge,
    huber,
    kl_divergence,
    mse,
    nll,
    sigmoid_binary_cross_entropy,
    softmax_cross_entropy,
)

BAD = [NAN, INF, -INF]
W = np.array([1.0, 0.0, 2.0])


def derivatives(loss_of, x):
    """The loss, its gradient, and its Hessian times (1, 1, ...), where there is one."""
    leaf = tg.Tensor(np.array(x, float), requires_grad=True)
    loss = loss_of(leaf)
    seed = np.ones(loss.shape)
    slope = tg.gradients(loss, leaf, create_graph=True, gradient=tg.Tensor(seed))
    curvature = tg.gradients(slope.sum(), leaf) if slope.requires_grad else np.zeros(leaf.shape)
    np.testing.assert_array_equal(tg.gradients(loss, leaf, gradient=seed), slope.data)
    return loss.data, slope.data, curvature


ELEMENTS = {  # predictions and targets that are in order, in the first and last place
    "mse": (mse, [3.0, 4.0, -1.0], [1.0, 0.0, 2.0], {}),
    "huber": (huber, [3.0, 4.0, -1.0], [1.0, 0.0, -0.5], {"delta": 0.75}),
    "hinge": (hinge, [0.5, 4.0, -1.0], [1.0, -1.0, 1.0], {}),
    "sigmoid": (sigmoid_binary_cross_entropy, [0.5, 4.0, -1.0], [1.0, 0.5, 0.25], {"pos_weight": 2.0}),
    "binary": (binary_cross_entropy, [0.5, 0.25, 0.75], [1.0, 0.5, 0.25], {"pos_weight": 2.0}),
    "binary, clipped": (binary_cross_entropy, [0.5, 0.25, 0.75], [1.0, 0.5, 0.25], {"eps": 1e-6}),
    "binary, apart": (binary_cross_entropy, [0.5, 0.25, 0.75], [1.0, 0.5, 0.25], {"fused": False}),
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("bad", [*BAD, 7.0])
@pytest.mark.parametrize("where", ["prediction", "target", "both"])
@pytest.mark.parametrize("name", ELEMENTS)
def test_an_element_of_weight_zero(way, name, where, bad, reduction):
    """The others have what they have alone: value, gradient, curvature."""
    loss, x, y, options = ELEMENTS[name]
    kept = [0, 2]
    x, y = np.array(x), np.array(y)
    alone = derivatives(lambda t: loss(t, y[kept], weight=W[kept], reduction="none", **options), x[kept])
    x[1] = bad if where != "target" else x[1]
    y[1] = bad if where != "prediction" else y[1]
    value, slope, curvature = derivatives(lambda t: loss(t, y, weight=W.tolist(), reduction=reduction, **options), x)
    each = np.insert(alone[0], 1, 0.0)
    np.testing.assert_allclose(value, {"mean": each.sum() / 3, "sum": each.sum(), "none": each}[reduction], rtol=1e-14)
    scale = 3 if reduction == "mean" else 1
    np.testing.assert_allclose(slope, np.insert(alone[1], 1, 0.0) / scale, rtol=1e-14)
    np.testing.assert_allclose(curvature, np.insert(alone[2], 1, 0.0) / scale, rtol=1e-14)


def test_the_example_of_the_square():
    value, slope, _ = derivatives(lambda t: mse(t, [1.0, NAN], weight=[1, 0]), [3.0, 4.0])
    assert value == 2.0
    np.testing.assert_array_equal(slope, [2.0, 0.0])


@pytest.mark.parametrize("bad", BAD)
def test_multiclass_hinge_of_weight_zero(bad):
    s = np.array([[1.0, 0.5, -1.0], [bad, 1.0, bad]])
    value, slope, _ = derivatives(lambda t: hinge(t, np.array([1, 0]), weight=[2.0, 0.0], reduction="sum"), s)
    assert value == 3.0  # 2 (1 + 1 - 0.5)
    np.testing.assert_array_equal(slope, [[2, -2, 0], [0, 0, 0]])


@pytest.mark.parametrize("bad", [*BAD, 7.0])
@pytest.mark.parametrize("options", [{"ignore_index": -1}, {"weight": [0.0, 1.0, 2.0]}])
@pytest.mark.parametrize("loss", [softmax_cross_entropy, cross_entropy, nll], ids=lambda f: f.__name__)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_row_that_is_ignored_or_of_a_class_of_weight_zero(way, loss, options, bad, reduction):
    z = np.array([[0.5, -1.0, 2.0], [0.0, 1.0, 0.0], [1.0, 2.0, -1.0]])
    x = {"cross_entropy": scipy.special.softmax, "nll": scipy.special.log_softmax}.get(loss.__name__, lambda z, **_: z)(
        z, axis=1
    )
    y = np.array([2, -1 if "ignore_index" in options else 0, 1])
    kept, w = [0, 2], np.array(options.get("weight", [1.0] * 3))
    alone = derivatives(lambda t: loss(t, y[kept], reduction="none", weight=w), x[kept])
    x[1] = [bad, 1.0, bad]
    value, slope, curvature = derivatives(lambda t: loss(t, y, reduction=reduction, **options), x)
    scale = w[y[kept]].sum() if reduction == "mean" else 1
    each = np.insert(alone[0], 1, 0.0)
    np.testing.assert_allclose(value, each if reduction == "none" else each.sum() / scale, rtol=1e-14)
    np.testing.assert_allclose(slope, np.insert(alone[1], 1, 0.0, axis=0) / scale, rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(curvature, np.insert(alone[2], 1, 0.0, axis=0) / scale, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("bad", [NAN, 0.0, INF])
@pytest.mark.parametrize("soft", [False, True])
def test_a_probability_of_a_class_of_weight_zero(bad, soft):
    p = np.array([[0.25, 0.75, 0.0], [0.5, 0.5, 0.0]])
    y = np.array([1, 0])
    p[:, 2] = bad
    if bad == INF:  # is no probability, in whatever class
        with pytest.raises(ValueError, match="look like logits"):
            cross_entropy(p, y, weight=[1, 1, 0])
        return
    targets = one_hot(y, 3) if soft else y
    value, slope, curvature = derivatives(lambda t: cross_entropy(t, targets, weight=[1, 1, 0], reduction="none"), p)
    np.testing.assert_allclose(value, [-np.log(0.75), np.log(2)], rtol=1e-15)
    np.testing.assert_allclose(slope, [[0, -1 / 0.75, 0], [-2, 0, 0]], rtol=1e-15)
    np.testing.assert_allclose(curvature, [[0, 1 / 0.75**2, 0], [4, 0, 0]], rtol=1e-15)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("loss", [softmax_cross_entropy, cross_entropy, nll, kl_divergence], ids=lambda f: f.__name__)
def test_soft_labels_of_a_class_of_weight_zero(way, loss, bad):
    p = np.array([[0.25, 0.25, 0.5], [0.125, 0.75, 0.125]])
    q = np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])
    x = p if loss in (cross_entropy, kl_divergence) else np.log(p)
    right = derivatives(lambda t: loss(t, q, weight=[1, 2, 0], reduction="none"), x)
    q[0, 2] = bad
    for mine, theirs in zip(
        derivatives(lambda t: loss(t, q, weight=[1, 2, 0], reduction="none"), x), right, strict=True
    ):
        assert np.isfinite(theirs).all()
        np.testing.assert_array_equal(mine, theirs)
    with pytest.raises(ValueError, match="soft labels"):
        loss(x, q, weight=[1, 2, 1e-30])
    q[0] = [0.7, 0.7, bad]
    with pytest.raises(ValueError, match="soft labels"):
        loss(x, q, weight=[1, 2, 0])
    q[0] = [0.2, 0.2, 0.2]
    with pytest.raises(ValueError, match=r"sums to 0.6"):
        loss(x, q, weight=[1, 2, 0])


def test_what_has_a_weight_is_still_refused():
    with pytest.raises(ValueError, match=r"targets must lie in \[0, 1\], and the one at \(2,\) is 2"):
        binary_cross_entropy([0.5, 0.5, 0.5], [0, 9, 2], weight=[1, 0, 1])
    with pytest.raises(ValueError, match=r"probability at \(2,\) is 2"):
        binary_cross_entropy([0.5, 9.0, 2.0], [0, 1, 1], weight=[1, 0, 1])
    with pytest.raises(ValueError, match=r"row 1 is no probability"):
        cross_entropy([[3.0, 4.0], [3.0, 4.0]], np.array([0, 1]), weight=[0, 1])
    with pytest.raises(ValueError, match=r"-1 or \+1"):
        hinge([0.5, 0.5], [0, 1], weight=[0, 1]), hinge([0.5, 0.5], [0, 1], weight=[1, 0])


ALL_ZERO = {
    "mse": lambda t: mse(t, [[1.0, NAN]], weight=0),
    "huber": lambda t: huber(t, [[1.0, NAN]], weight=[0.0, 0.0]),
    "hinge": lambda t: hinge(t, [[1.0, -1.0]], weight=np.zeros((1, 2))),
    "multiclass hinge": lambda t: hinge(t, [1], weight=0.0),
    "binary": lambda t: binary_cross_entropy(t, [[1.0, NAN]], weight=[0, 0]),
    "sigmoid": lambda t: sigmoid_binary_cross_entropy(t, [[1.0, NAN]], weight=[0, 0]),
    "softmax": lambda t: softmax_cross_entropy(t, [1], weight=[1, 0]),
    "probabilities": lambda t: cross_entropy(t, [1], weight=[1, 0]),
    "logarithms": lambda t: nll(t, [1], weight=[1, 0]),
    "ignored or without weight": lambda t: softmax_cross_entropy(
        ops.concatenate(t, t, axis=0), [1, 7], weight=[1, 0], ignore_index=7
    ),
}


@pytest.mark.parametrize("name", ALL_ZERO)
@pytest.mark.parametrize("x", [[[0.25, 0.5]], [[NAN, 3.0]]])
def test_every_weight_zero_gives_zero_and_one_warning(way, name, x):
    leaf = tg.Tensor(np.array(x), requires_grad=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loss = ALL_ZERO[name](leaf)
    np.testing.assert_array_equal(loss.data, 0)
    np.testing.assert_array_equal(tg.gradients(loss, leaf), 0)
    assert [w.category for w in caught] == [UserWarning]
    assert "the loss is 0" in str(caught[0].message)
    assert caught[0].filename == __file__


# ---- weights that are an input of a program


@pytest.mark.parametrize("loss", [mse, huber, sigmoid_binary_cross_entropy], ids=lambda f: f.__name__)
def test_a_program_takes_weights_as_an_input(loss):
    z = tg.Tensor(np.array([1.0, 2.0, -3.0]), requires_grad=True)
    y = np.array([0.0, 1.0, 1.0])
    program = tg.trace(lambda y, w: loss(z, y, weight=w), y, np.ones(3))
    for w in (np.ones(3), np.array([2.0, 0.0, 0.5])):
        assert program.run(y, w).item() == loss(z, y, weight=w).item()
    with pytest.raises(ValueError, match=r"weight= must not be negative"):
        program.run(y, np.array([1.0, -1.0, 1.0]))


def test_a_program_takes_the_weights_of_classes_as_an_input():
    z = tg.Tensor(np.array([[1.0, 2.0, -3.0], [0.0, 1.0, 0.0]]), requires_grad=True)
    y = np.array([0, 2])
    program = tg.trace(lambda y, w: softmax_cross_entropy(z, y, weight=w), y, np.ones(3))
    for w in (np.ones(3), np.array([2.0, 0.0, 0.5]), np.array([0.0, 1.0, 1.0])):
        np.testing.assert_allclose(program.run(y, w).item(), softmax_cross_entropy(z, y, weight=w).item(), rtol=1e-14)


def test_weights_that_ask_for_gradients_are_refused():
    w = tg.Tensor(np.ones(2), requires_grad=True)
    for loss in (mse, sigmoid_binary_cross_entropy):
        with pytest.raises(TypeError, match=rf"{loss.__name__}: weight= is a constant.*would be lost"):
            loss(np.zeros(2), np.zeros(2), weight=w)
    with pytest.raises(TypeError, match=r"softmax_cross_entropy: weight= is a constant.*would be lost"):
        softmax_cross_entropy(np.zeros((1, 2)), [0], weight=w)
    assert mse(np.ones(2), np.zeros(2), weight=w.detach()).item() == 1.0
