"""Second derivatives of the losses, fused against textbook graphs, and the gradient that comes with the loss."""

import numpy as np
import pytest
from fused import ready_gradient
from losses.cases import INF, LABELS, LOGITS, PROBABILITIES, WEIGHTS, one_hot, per_row, run

import tinygrad_ce as tg
from tinygrad_ce.losses import (
    binary_cross_entropy,
    cross_entropy,
    mse,
    sigmoid_binary_cross_entropy,
    softmax_cross_entropy,
)

# Shapes with one class, and logits that happen to sum to 1, are tried on purpose; the warnings have tests of their own.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*one class along axis"),
    pytest.mark.filterwarnings("ignore:.*look like its output already"),
]


# ---- second derivatives


SOFT = np.random.default_rng(5).dirichlet(np.ones(3), 4)
SECOND = [
    (softmax_cross_entropy, LOGITS, LABELS, {}),
    (softmax_cross_entropy, LOGITS, LABELS, {"reduction": "none"}),
    (softmax_cross_entropy, LOGITS, LABELS, {"label_smoothing": 0.2, "weight": WEIGHTS}),
    (softmax_cross_entropy, LOGITS, LABELS, {"label_smoothing": 0.2, "reduction": "sum"}),
    (softmax_cross_entropy, LOGITS, np.array([0, -1, 2, 1]), {"ignore_index": -1}),
    (softmax_cross_entropy, LOGITS, SOFT, {"reduction": "none"}),
    (softmax_cross_entropy, LOGITS.T.copy(), LABELS, {"axis": 0, "weight": WEIGHTS}),
    (sigmoid_binary_cross_entropy, LOGITS, SOFT, {"weight": 0.5, "pos_weight": 3.0}),
    (sigmoid_binary_cross_entropy, LOGITS, SOFT, {"reduction": "none"}),
    (binary_cross_entropy, PROBABILITIES, SOFT, {"pos_weight": WEIGHTS}),
    (binary_cross_entropy, PROBABILITIES, SOFT, {"eps": 1e-6}),
    (mse, LOGITS, SOFT, {}),
]


@pytest.mark.parametrize(("loss", "x", "targets", "options"), SECOND)
def test_second_derivatives(way, loss, x, targets, options):
    assert tg.check.gradcheck(lambda t: loss(t, targets, **options), x).ok


@pytest.mark.parametrize("targets", [LABELS, SOFT])
@pytest.mark.parametrize("fused", [True, False])
def test_second_derivatives_through_a_softmax(way, targets, fused):
    assert tg.check.gradcheck(lambda t: cross_entropy(tg.ops.softmax(t), targets, fused=fused), LOGITS).ok
    y = (np.arange(12) % 2).reshape(4, 3)
    assert tg.check.gradcheck(lambda t: binary_cross_entropy(tg.ops.sigmoid(t), y, fused=fused), LOGITS).ok


def test_second_derivatives_with_respect_to_soft_targets_too(way):
    q = tg.ops.softmax
    assert tg.check.gradcheck(lambda t, s: softmax_cross_entropy(t, q(s), reduction="none"), LOGITS, SOFT).ok
    assert tg.check.gradcheck(lambda t, s: sigmoid_binary_cross_entropy(t, q(s), reduction="none"), LOGITS, SOFT).ok


# ---- fused and textbook


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight": WEIGHTS},
        {"label_smoothing": 0.1},
        {"reduction": "none"},
        {"ignore_index": 2},
        {"reduction": "sum"},
    ],
    ids=str,
)
def test_the_fused_and_the_textbook_graph_agree(way, options):
    fused, slope = run(lambda z, y, **o: cross_entropy(tg.ops.softmax(z), y, **o), LOGITS, LABELS, **options)
    textbook = run(lambda z, y, **o: cross_entropy(tg.ops.softmax(z), y, fused=False, **o), LOGITS, LABELS, **options)
    direct = run(softmax_cross_entropy, LOGITS, LABELS, **options)
    for value, grad in (textbook, direct):
        np.testing.assert_allclose(value, fused, rtol=1e-13)
        np.testing.assert_allclose(grad, slope, rtol=1e-12, atol=1e-15)


def test_the_fused_and_the_textbook_binary_graph_agree(way):
    y = (np.arange(12) % 2).reshape(4, 3)
    options = {"weight": 2.0, "pos_weight": [1.0, 2.0, 3.0]}
    fused, slope = run(lambda z, t: binary_cross_entropy(tg.ops.sigmoid(z), t, **options), LOGITS, y)
    textbook = run(lambda z, t: binary_cross_entropy(tg.ops.sigmoid(z), t, fused=False, **options), LOGITS, y)
    np.testing.assert_allclose(textbook[0], fused, rtol=1e-13)
    np.testing.assert_allclose(textbook[1], slope, rtol=1e-12, atol=1e-15)


def test_textbook_networks_are_stable_where_probabilities_underflow(way):
    z = np.array([[0.0, 900.0, 0.0], [-INF, 0.0, 0.0]])
    loss, slope = per_row(lambda t, y, **o: cross_entropy(tg.ops.softmax(t), y, **o), z, np.array([0, 0]))
    np.testing.assert_array_equal(loss, [900, INF])
    np.testing.assert_allclose(slope, [[-1, 1, 0], [-1, 0.5, 0.5]])
    z = np.array([-900.0, 900.0])
    loss, slope = per_row(lambda t, y, **o: binary_cross_entropy(tg.ops.sigmoid(t), y, **o), z, np.array([1, 0]))
    np.testing.assert_array_equal(loss, 900)
    np.testing.assert_array_equal(slope, [-1, 1])


def test_without_fusing_the_gradient_at_the_probabilities_can_be_looked_at():
    z = tg.Tensor(LOGITS, requires_grad=True)
    p = tg.ops.softmax(z)
    cross_entropy(p, LABELS, fused=False, reduction="sum").backward()
    np.testing.assert_allclose(p.grad, -one_hot(LABELS, 3) / PROBABILITIES, rtol=1e-13)
    np.testing.assert_allclose(z.grad, PROBABILITIES - one_hot(LABELS, 3), rtol=1e-12, atol=1e-15)


# ---- the gradient that the kernel computes on the way to the loss


def three_losses():
    soft = np.full((4, 3), 1 / 3)
    return [
        (lambda z: softmax_cross_entropy(z, LABELS)),
        (lambda z: softmax_cross_entropy(z, LABELS, weight=[1, 2, 0.5], ignore_index=0)),
        (lambda z: softmax_cross_entropy(z, soft, label_smoothing=0.1)),
        (lambda z: sigmoid_binary_cross_entropy(z, soft, reduction="sum", pos_weight=2.0)),
    ]


@pytest.mark.parametrize("loss", three_losses())
def test_backward_can_be_called_again_whatever_was_done_to_the_first_gradient(loss, way):
    z = tg.Tensor(LOGITS, requires_grad=True)
    cost = loss(z * 1)
    expected = tg.gradients(cost, z, create_graph=True).data.copy()
    logits = cost.inputs[0] if cost.op.name.endswith("xent") else cost.inputs[0].inputs[0]
    for _ in range(3):
        z.grad = None
        cost.backward()
        np.testing.assert_allclose(z.grad, expected, rtol=1e-14, atol=1e-17)
        np.testing.assert_allclose(logits.grad, expected, rtol=1e-14, atol=1e-17)
        logits.grad[:] = 7
        z.grad[:] = 8


@pytest.mark.parametrize("loss", three_losses())
def test_what_is_upstream_of_the_loss_reaches_the_gradient(loss, way):
    z = tg.Tensor(LOGITS, requires_grad=True)
    once = tg.gradients(loss(z), z)
    for cost in (3 * loss(z), loss(z) + loss(z) + loss(z)):
        np.testing.assert_allclose(tg.gradients(cost, z), 3 * once, rtol=1e-14)
    cost = loss(z)
    np.testing.assert_allclose(tg.gradients(cost, z, gradient=-2.0), -2 * once, rtol=1e-14)
    np.testing.assert_allclose(tg.gradients(cost, z), once, rtol=1e-14)
    np.testing.assert_array_equal(tg.gradients(loss(z) * 0, z), np.zeros((4, 3)))


def test_without_recording_no_gradient_is_computed(way):
    with tg.no_grad():
        cost = softmax_cross_entropy(tg.Tensor(LOGITS, requires_grad=True), LABELS)
    assert ready_gradient(cost) is None
    assert ready_gradient(softmax_cross_entropy(LOGITS, LABELS)) is None
