"""The warnings at a softmax that was applied twice and at its kind: both places are named, right uses are not."""

import warnings

import numpy as np
import pytest
from losses.cases import LABELS, LOGITS, PROBABILITIES, one_hot

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


def caught_from(function):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    return [str(w.message) for w in caught]


SHAPINGS = [
    lambda p: p,
    lambda p: tg.ops.broadcast_to(tg.ops.expand_dims(p, axis=0), shape=(2, 4, 3))[1],
    lambda p: tg.ops.concatenate(p[:2], p[2:], axis=0),
    lambda p: tg.ops.stack(p, p)[0],
    lambda p: p.reshape(2, 2, 3).reshape(4, 3),
    lambda p: p.T.T,
    lambda p: p[:4],
    lambda p: tg.ops.squeeze(tg.ops.expand_dims(p, axis=0), axis=0),
    lambda p: tg.ops.swapaxes(p, 0, 1).T,
    lambda p: tg.ops.moveaxis(tg.ops.moveaxis(p, 0, 1), 0, 1),
    lambda p: p.astype(np.float32),
]


@pytest.mark.parametrize("shaped", SHAPINGS)
def test_softmax_applied_twice_names_both_places(shaped):
    here = {}

    def twice():
        here["first"] = line() + 1
        p = tg.ops.softmax(tg.Tensor(LOGITS, requires_grad=True))
        q = shaped(p)
        here["second"] = line() + 1
        softmax_cross_entropy(q, LABELS)

    (message,) = caught_from(twice)
    assert "softmax is applied twice" in message
    assert f"test_misuse.py:{here['first']}," in message
    assert f"test_misuse.py:{here['second']}." in message
    assert "0.576" in message  # e / (e + 2)
    assert "0.551" in message  # -log of it
    assert "cross_entropy(..., targets)" in message


@pytest.mark.parametrize("run", [lambda step: tg.compile(step)(), tg.trace], ids=["compiled", "traced"])
def test_softmax_applied_twice_in_a_step_that_is_traced(run):
    W = tg.Tensor(LOGITS, requires_grad=True)

    def step():
        loss = softmax_cross_entropy(tg.ops.softmax(W * 2.0), LABELS)
        loss.backward()
        return loss

    messages = caught_from(lambda: run(step))
    assert any("softmax is applied twice: before, and again by softmax_cross_entropy at" in m for m in messages)


def line():
    import sys

    return sys._getframe(1).f_lineno


def test_sigmoid_applied_twice_is_told_too():
    z = tg.Tensor(LOGITS, requires_grad=True)
    (message,) = caught_from(lambda: sigmoid_binary_cross_entropy(tg.ops.sigmoid(z).reshape(-1), np.zeros(12)))
    assert "sigmoid is applied twice" in message
    assert message.count("test_misuse.py:") == 2
    assert "from 0.500 to 0.731 only" in message  # sigmoid(0) and sigmoid(1)
    assert "below 0.313 for a positive, and 0.693 for a negative" in message  # -log sigmoid(1), -log(1/2)


@pytest.mark.parametrize(
    "right",
    [
        lambda z: softmax_cross_entropy(z, LABELS),
        lambda z: cross_entropy(tg.ops.softmax(z), LABELS),
        lambda z: cross_entropy(tg.ops.softmax(z), LABELS, fused=False),
        lambda z: binary_cross_entropy(tg.ops.sigmoid(z), np.zeros((4, 3))),
        lambda z: softmax_cross_entropy(tg.ops.log_softmax(z), LABELS),
        lambda z: softmax_cross_entropy(2 * tg.ops.softmax(z), LABELS),
        lambda z: softmax_cross_entropy(tg.ops.concatenate(tg.ops.softmax(z)[:2], z[2:], axis=0), LABELS),
        lambda z: softmax_cross_entropy(tg.ops.where(z > 0, tg.ops.softmax(z), z), LABELS),
        lambda z: mse(tg.ops.softmax(z), one_hot(LABELS, 3)),
    ],
)
def test_right_uses_are_not_warned_about(right):
    assert caught_from(lambda: right(tg.Tensor(LOGITS, requires_grad=True))) == []


OTHER_MISUSES = {
    "these logits look like its output already": lambda z: softmax_cross_entropy(PROBABILITIES, LABELS),
    "sum to 1. With logits between 0 and 1": lambda z: softmax_cross_entropy(PROBABILITIES.T, LABELS, axis=0),
    "not negative and sum to 1": lambda z: softmax_cross_entropy(tg.ops.softmax(z) @ np.eye(3), LABELS),
    "softmax is applied to the output of a sigmoid": lambda z: softmax_cross_entropy(tg.ops.sigmoid(z), LABELS),
    "sigmoid is applied to the output of a softmax": lambda z: sigmoid_binary_cross_entropy(
        tg.ops.softmax(z), one_hot(LABELS, 3)
    ),
    "the softmax of one number is always 1": lambda z: softmax_cross_entropy(z[:, :1], np.zeros(4, int)),
    "(4, 1) has one class along axis": lambda z: cross_entropy(tg.ops.softmax(z[:, :1]), np.zeros(4, int)),
    "write sigmoid_binary_cross_entropy(logits": lambda z: cross_entropy(np.ones((4, 1)), np.zeros(4, int)),
}


@pytest.mark.parametrize("told", OTHER_MISUSES)
def test_other_misuses_are_told_at_the_users_line(told):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        OTHER_MISUSES[told](tg.Tensor(LOGITS, requires_grad=True))
    (warning,) = caught
    assert told in str(warning.message)
    assert warning.filename == __file__


@pytest.mark.filterwarnings("default")
def test_in_a_loop_a_warning_is_shown_once():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(5):
            softmax_cross_entropy(tg.ops.softmax(tg.Tensor(LOGITS, requires_grad=True)), LABELS)
    assert len(caught) == 1


def test_the_warning_names_the_loss_that_was_called_and_advice_that_works():
    z = tg.Tensor(LOGITS, requires_grad=True)
    (message,) = caught_from(lambda: cross_entropy(tg.ops.softmax(z[:, :1]), np.zeros(4, int)))
    assert message.startswith("cross_entropy: ")
    (message,) = caught_from(lambda: softmax_cross_entropy(tg.ops.softmax(z, axis=0), LABELS))
    assert "Write cross_entropy" not in message
    assert caught_from(lambda: softmax_cross_entropy(np.array([[0.5, 0.5]]), np.array([0]))) == []
