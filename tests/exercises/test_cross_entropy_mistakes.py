"""The exercise: planted mistakes in the slope of a cross-entropy."""

from __future__ import annotations

import numpy as np
import pytest
from exercises.networks import batch_norm_network, logistic, softmax

import tinygrad_ce as tg
from tinygrad_ce.program.textbook import FUNCTIONS

CLASS_WEIGHTS = np.array([1.0, 2.0, 4.0, 0.5])


def crossed_network(**options):
    """Logits and their softmax cross-entropy: z, the probabilities p, the one-hot target t and its labels y."""
    rng = np.random.default_rng(11)
    z, y = rng.normal(size=(6, 4)), np.array([0, 1, 2, 3, 1, 1])
    loss = tg.losses.softmax_cross_entropy(tg.Tensor(z, requires_grad=True, name="z"), y, **options)
    return loss, z, softmax(z), np.eye(4)[y], y


CROSSED = {  # the mistake, what it says, and what a student who makes it hands in, but for the mean
    "1 from every class": ("target", "in every class", lambda z, p, t, y: p - 1),
    "the true class alone": ("only the true class", "only the true class", lambda z, p, t, y: (p - 1) * t),
    "labels + 1": ("labels", "class y + 1", lambda z, p, t, y: p - np.eye(4)[(y + 1) % 4]),
    "labels - 1": ("labels", "class y - 1", lambda z, p, t, y: p - np.eye(4)[(y - 1) % 4]),
    "classes in reverse": ("labels", "in reverse", lambda z, p, t, y: p - t[:, ::-1]),
    "the slope of a sigmoid": ("wrong derivative", "p * (1 - p)", lambda z, p, t, y: p * (1 - p)),
    "at the probabilities": ("at the probabilities", "behind the softmax", lambda z, p, t, y: -t / p),
    "exp alone": ("not normalised", "its sum over the classes", lambda z, p, t, y: np.exp(z) - t),
    "exp of the gaps": (
        *("not normalised", "its sum over the classes"),
        lambda z, p, t, y: np.exp(z - z.max(axis=1, keepdims=True)) - t,
    ),
    "softmax over the rows": ("wrong axis", "over axis 0", lambda z, p, t, y: np.exp(z) / np.exp(z).sum(axis=0) - t),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", CROSSED)
def test_planted_mistakes_in_the_slope_of_a_cross_entropy(name, dtype):
    mistake, words, hand_in = CROSSED[name]
    loss, *values = crossed_network()
    wrong = hand_in(*values).astype(dtype)
    for answer, key in (
        (wrong / 6, mistake),
        (wrong, f"{mistake} and mean"),
        (-wrong / 6, f"{mistake} and sign"),
    ):
        verdict = tg.exercise(loss).check(d_z=answer)["d_z"]
        assert verdict.mistake == key, verdict
        assert words in verdict.message


def test_a_mistake_in_the_slope_of_a_cross_entropy_is_found_from_further_down():
    network = batch_norm_network()
    wrong = (network.v["p"] - 1) / 8
    verdict = network.verdict(d_W3=network.v["h1"].T @ wrong)
    assert verdict.mistake == "target"
    assert "right from d_logits on, but there: 1 was subtracted in every class" in verdict.message


OPTIONS = {  # the options, the mistake, what it says, and what a student who makes it hands in
    "no smoothing": (
        *({"label_smoothing": 0.1}, "smoothing", "label smoothing was forgotten"),
        lambda z, p, t, w: (p - t) / 6,
    ),
    "no weights": (
        *({"weight": CLASS_WEIGHTS}, "weights", "weights of the classes were forgotten"),
        lambda z, p, t, w: (p - t) / 6,
    ),
    "no weights in a sum": (
        *({"weight": CLASS_WEIGHTS, "reduction": "sum"}, "weights", "weights of the classes were forgotten"),
        lambda z, p, t, w: p - t,
    ),
    "divided by N": (
        *({"weight": CLASS_WEIGHTS}, "weights", "divided by the sum of the weights of the labels"),
        lambda z, p, t, w: w * (p - t) / 6,
    ),
    "not divided": (
        *({"weight": CLASS_WEIGHTS}, "weights", "divided by the sum of the weights of the labels"),
        lambda z, p, t, w: w * (p - t),
    ),
    "neither weights nor smoothing": (
        *({"weight": CLASS_WEIGHTS, "label_smoothing": 0.2}, "weights and smoothing", "and the label smoothing too"),
        lambda z, p, t, w: (p - t) / 6,
    ),
    "divided by the ignored ones too": (
        *({"ignore_index": 1}, "mean", "over the rows that are not ignored"),
        lambda z, p, t, w: (p - t) * (1 - t[:, [1]]) / 6,
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_forgotten_smoothing_and_weights(name):
    options, mistake, words, hand_in = OPTIONS[name]
    loss, z, p, t, y = crossed_network(**options)
    verdict = tg.exercise(loss).check(d_z=hand_in(z, p, t, CLASS_WEIGHTS[y][:, None]))["d_z"]
    assert verdict.mistake == mistake, verdict
    assert words in verdict.message


def test_two_classes_that_have_changed_places():
    z, y = np.array([[0.3, -1.0], [2.0, 0.5], [0.1, 0.2]]), np.array([0, 1, 1])
    loss = tg.losses.softmax_cross_entropy(tg.Tensor(z, requires_grad=True, name="z"), y)
    verdict = tg.exercise(loss).check(d_z=(softmax(z) - np.eye(2)[1 - y]) / 3)["d_z"]
    assert verdict.mistake == "labels"
    assert verdict.message.startswith("the two classes have changed places")


def test_mistakes_with_soft_labels():
    rng = np.random.default_rng(3)
    z, q = rng.normal(size=(5, 3)), rng.dirichlet(np.ones(3), size=5)
    loss = tg.losses.softmax_cross_entropy(tg.Tensor(z, requires_grad=True, name="z"), q)
    p = softmax(z)
    for wrong, mistake in (
        (p - np.roll(q, 1, axis=1), "labels"),
        (p - q[:, ::-1], "labels"),
        (-q / p, "at the probabilities"),
        (np.exp(z) - q, "not normalised"),
    ):
        assert tg.exercise(loss).check(d_z=wrong / 5)["d_z"].mistake == mistake


def test_mistakes_in_a_binary_cross_entropy():
    rng = np.random.default_rng(4)
    z, y, w = rng.normal(size=(6, 2)), rng.integers(2, size=(6, 2)), rng.uniform(1, 3, size=(6, 1))
    p, tensor = logistic(z), tg.Tensor(z, requires_grad=True, name="z")
    plain = tg.losses.sigmoid_binary_cross_entropy(tensor, y)
    assert tg.exercise(plain).check(d_z=(p - y) * p * (1 - p) / 12)["d_z"].mistake == "wrong derivative"
    assert tg.exercise(plain).check(d_z=(p - 1 + y) / 12)["d_z"].mistake == "labels"
    loss = tg.losses.sigmoid_binary_cross_entropy(tensor, y, weight=w, pos_weight=3.0)
    for wrong, words in (
        ((1 - y) * p - 3 * y * (1 - p), "weight was forgotten"),
        (w * (p - y), "pos_weight was forgotten"),
        (p - y, "weight and pos_weight were forgotten"),
    ):
        verdict = tg.exercise(loss).check(d_z=wrong / 12)["d_z"]
        assert verdict.mistake == "weights"
        assert verdict.message.startswith(words)


@pytest.mark.parametrize("rows", [3, 4, 7])
def test_the_factors_of_a_mean_of_squares(rows):
    """2 d / N, without its 2, without its mean, and without both."""
    rng = np.random.default_rng(6)
    t, prediction = rng.normal(size=(2, rows, 1))
    loss = tg.losses.mse(tg.Tensor(prediction, requires_grad=True, name="prediction"), t)
    d = prediction - t
    assert tg.exercise(loss).check(d_prediction=2 * d / rows)
    for wrong, mistake, words in (
        (d, "mean and factor", "the mean was forgotten"),
        (2 * d, "mean", "The mean was forgotten"),
        (d / rows, "factor", "the slope of a square has a factor 2"),
    ):
        verdict = tg.exercise(loss).check(d_prediction=wrong)["d_prediction"]
        assert verdict.mistake == mistake, verdict
        assert words in verdict.message
    both = tg.exercise(loss).check(d_prediction=d)["d_prediction"].message
    assert "the factor 2 in the slope of a square" in both


@pytest.mark.parametrize(
    "options", [{"label_smoothing": 0.1}, {"weight": CLASS_WEIGHTS}, {"weight": CLASS_WEIGHTS, "label_smoothing": 0.1}]
)
def test_the_solution_with_smoothing_and_weights_runs(options):
    loss = crossed_network(**options)[0]
    exercise = tg.exercise(loss)
    text = exercise.solution()
    assert "xent_grad" not in text
    assert "xent_grad" not in "".join(exercise.hint("d_z") for _ in range(3))
    arrays = {node.name: node.value for node in exercise._graph.nodes}
    namespace = {"np": np, "softmax": softmax, **FUNCTIONS, **arrays}
    exec(text, namespace)
    assert exercise.check(d_z=namespace["d_z"])
