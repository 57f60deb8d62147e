"""The exercise: planted mistakes are recognised, in a network with batch normalization and in others."""

from __future__ import annotations

import numpy as np
import pytest
from exercises.networks import batch_norm_network, binary_network, softmax, textbook_network, without

import tinygrad_ce as tg
from tinygrad_ce.exercises import search
from tinygrad_ce.exercises.factors import factors

BATCH_NORM = {  # the mistake, what it says, the gradient, and what a student who makes it hands in
    "the mean forgotten": ("mean", "off by the factor 8", "d_logits", lambda v, g: v["p"] - v["onehot"]),
    "the mean forgotten, further down": ("mean", "divides by 8", "d_W0", lambda v, g: 8 * g["d_W0"]),
    "the mean twice": ("mean twice", "off by the factor 1/8", "d_h1", lambda v, g: g["d_h1"] / 8),
    "y - p": ("sign", "wrong sign", "d_logits", lambda v, g: (v["onehot"] - v["p"]) / 8),
    "y - p, and the mean": ("mean and sign", "besides", "d_logits", lambda v, g: v["onehot"] - v["p"]),
    "no one-hot": ("target", "one_hot(y, 4) was not subtracted", "d_logits", lambda v, g: v["p"] / 8),
    "no one-hot and no mean": ("target and mean", "besides", "d_logits", lambda v, g: v["p"]),
    "transposed": ("transpose", "(4, 5) instead of (5, 4)", "d_W3", lambda v, g: g["d_logits"].T @ v["h1"]),
    "transposed, and the mean": ("transpose and mean", "factor 8", "d_W3", lambda v, g: 8 * g["d_W3"].T),
    "pre-activations": ("wrong operand", "t8 was taken where h1", "d_W3", lambda v, g: v["t8"].T @ g["d_logits"]),
    "a bias not summed": ("not summed", "not summed over axis 0", "d_b3", lambda v, g: g["d_logits"]),
    "a bias averaged": ("averaged", "averaged over axis 0", "d_b3", lambda v, g: g["d_logits"].mean(axis=0)),
    "the wrong axis": ("wrong axis", "over axis 1 instead", "d_shift1", lambda v, g: g["d_t8"].sum(axis=1)),
    "all axes": ("wrong axis", "over all axes instead", "d_shift1", lambda v, g: g["d_t8"].sum()),
    "kept dimensions": ("shape", "the numbers are right", "d_b3", lambda v, g: g["d_b3"][None]),
    "no derivative": ("no derivative", "derivative of tanh is missing", "d_t8", lambda v, g: g["d_h1"]),
    "no upstream": ("no upstream", "d_h1, which comes from above", "d_t8", lambda v, g: 1 - v["h1"] ** 2),
    "at z": ("wrong value", "at t8 instead of h1", "d_t8", lambda v, g: g["d_h1"] * (1 - v["t8"] ** 2)),
    "1 - h": ("missing factor", "the factor h1 is missing", "d_t8", lambda v, g: g["d_h1"] * (1 - v["h1"])),
    "1 + h h": ("sign", "added instead of subtracted", "d_t8", lambda v, g: g["d_h1"] * (1 + v["h1"] ** 2)),
    "h h": ("missing term", "the term 1 is missing", "d_t8", lambda v, g: -g["d_h1"] * v["h1"] ** 2),
    "no scale": ("no derivative", "derivative of mul is missing", "d_t6", lambda v, g: g["d_t7"]),
    "scale without n": ("missing factor", "t6 is missing", "d_scale1", lambda v, g: g["d_t8"].sum(axis=0)),
    "times": ("inverse", "multiplied with t5", "d_t3", lambda v, g: g["d_t6"] * v["t5"]),
    "the 2 of a root": ("missing factor", "the factor 2 is missing", "d_t4", lambda v, g: g["d_t5"] / v["t5"]),
    "no minus": ("sign", "minus", "d_t1", lambda v, g: g["d_t3"].sum(axis=0)),
    "no mean": ("missing share", "t1 = z1.mean(axis=0)", "d_z1", lambda v, g: without(g, v, "mean")),
    "no variance": ("missing share", "t2 = np.var(z1, axis=0)", "d_z1", lambda v, g: without(g, v, "variance")),
    "neither": ("missing share", "2 contributions are missing", "d_z1", lambda v, g: without(g, v, "mean", "variance")),
    "a sign in a share": (
        *("sign", "the share through t1", "d_z1"),
        lambda v, g: without(g, v, "mean") - g["d_t1"] / 8,
    ),
    "a mean in a share": (
        *("mean", "the share through t1", "d_z1"),
        lambda v, g: without(g, v, "mean") + g["d_t1"],
    ),
    "a 2 in a share": (
        *("missing factor", "the factor 2 is missing, in the share through t2", "d_z1"),
        lambda v, g: without(g, v, "variance") + g["d_t2"] * v["t3"] / 8,
    ),
    "further up: no mean": ("missing share", "from d_z1 on", "d_W0", lambda v, g: v["x"].T @ without(g, v, "mean")),
    "further up: tanh": (
        *("no derivative", "right from d_t8 on, but there: the derivative of tanh is missing", "d_shift1"),
        lambda v, g: g["d_h1"].sum(axis=0),
    ),
    "some other factor": ("factor", "3.3 times", "d_W0", lambda v, g: 3.3 * g["d_W0"]),
    "rounded": ("nearly", "of the largest number at most", "d_W0", lambda v, g: g["d_W0"].round(3)),
    "one cell": ("nearly", "1 of 15 numbers, most at [2, 1]", "d_W0", lambda v, g: g["d_W0"] + _cell(2, 1) * 1e-3),
    "one column": ("unknown", "all outside of column 2", "d_W0", lambda v, g: g["d_W0"] * [1, 1, 3, 1, 1]),
    "nonsense": ("unknown", "none of the usual", "d_W0", lambda v, g: np.sin(np.arange(15.0)).reshape(3, 5)),
    "nothing yet": ("zeros", "all numbers are 0", "d_W0", lambda v, g: np.zeros((3, 5))),
    "NaN": ("not finite", "1 of 15 numbers is NaN or infinite", "d_W0", lambda v, g: g["d_W0"] / (1 - _cell(0, 0))),
    "another shape": ("shape", "shape (2, 3) instead of (3, 5)", "d_W0", lambda v, g: np.ones((2, 3))),
}  # fmt: skip


def _cell(i, j):
    cell = np.zeros((3, 5))
    cell[i, j] = 1
    return cell


@pytest.mark.parametrize("name", BATCH_NORM)
def test_a_planted_mistake_is_named(net, name):
    mistake, words, gradient, hand_in = BATCH_NORM[name]
    with np.errstate(all="ignore"):
        answer = hand_in(net.v, net.g)
    verdict = net.verdict(**{gradient: answer})
    assert not verdict.right
    assert (verdict.name, verdict.mistake) == (gradient, mistake), verdict
    assert words in verdict.message


@pytest.mark.parametrize("name", BATCH_NORM)
def test_a_planted_mistake_is_named_in_float32(name):
    """With the rounding of float32 in the graph and in the answer."""
    network = batch_norm_network(dtype=np.float32)
    mistake, words, gradient, hand_in = BATCH_NORM[name]
    with np.errstate(all="ignore"):
        answer = np.asarray(hand_in(network.v, network.g), np.float32)
    verdict = network.verdict(**{gradient: answer})
    assert verdict.mistake == mistake, verdict
    assert words in verdict.message


OTHERS = {
    "the diagonal of softmax": (
        *(textbook_network, "only the diagonal", "several of z2", "d_z2"),
        lambda v, g: g["d_p1"] * v["p1"] * (1 - v["p1"]),
    ),
    "softmax without its sum": (
        *(textbook_network, "missing term", "was not subtracted", "d_z2"),
        lambda v, g: g["d_p1"] * v["p1"],
    ),
    "relu without its mask": (
        *(textbook_network, "no derivative", "derivative of relu is missing", "d_z1"),
        lambda v, g: g["d_h1"],
    ),
    "relu's mask of the gradient": (
        *(textbook_network, "wrong operand", "d_h1 was taken where z1 must stand", "d_z1"),
        lambda v, g: g["d_h1"] * (g["d_h1"] > 0),
    ),
    "relu's mask turned round": (
        *(textbook_network, "mask", "changed places", "d_z1"),
        lambda v, g: g["d_h1"] * (v["z1"] <= 0),
    ),
    "relu's mask alone": (
        *(textbook_network, "no upstream", "d_h1", "d_z1"),
        lambda v, g: (v["z1"] > 0).astype(float),
    ),
    "one number for all": (
        *(textbook_network, "shape", "np.broadcast_to", "d_t3"),
        lambda v, g: 1 / 6,
    ),
    "the sigmoid at z": (
        *(binary_network, "wrong value", "at z1 instead of h1", "d_z1"),
        lambda v, g: g["d_h1"] * v["z1"] * (1 - v["z1"]),
    ),
    "no y": (binary_network, "target", "y was not subtracted", "d_z2", lambda v, g: v["p"] / 7),
    "a flat answer": (binary_network, "shape", "(7,) instead of (7, 1)", "d_z2", lambda v, g: g["d_z2"].ravel()),
    "a bias not summed": (binary_network, "not summed", "axis 0", "d_b2", lambda v, g: g["d_z2"]),
    "no sigmoid": (
        *(lambda: binary_network(fused=False), "no derivative", "sigmoid", "d_z2"),
        lambda v, g: g["d_h2"],
    ),
    "one of two terms": (
        *(lambda: binary_network(fused=False), "missing share", "h2 is used 2 times", "d_h2"),
        lambda v, g: -v["y"] / v["p"] / 7,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_planted_mistakes_of_other_networks(name):
    network, mistake, words, gradient, hand_in = OTHERS[name]
    made = network()
    verdict = made.verdict(**{gradient: hand_in(made.v, made.g)})
    assert verdict.mistake == mistake, verdict
    assert words in verdict.message


def test_at_a_kink_one_is_told_which_slope_is_meant():
    x = tg.Tensor([-1.0, 0.0, 2.0], requires_grad=True, name="x")
    loss = (x.relu() * [3.0, 4.0, 5.0]).sum()
    assert tg.exercise(loss).check(d_x=[0, 0, 5])
    verdict = tg.exercise(loss).check(d_x=[0, 4, 5])["d_x"]
    assert verdict.mistake == "kink"


def test_a_penalty_on_the_weights_is_a_use_of_them():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 1))
    w = tg.Tensor(rng.normal(size=(3, 1)), requires_grad=True, name="w")
    loss = tg.losses.mse(tg.Tensor(x) @ w, y) + 0.5 * (w**2).sum()
    data = 2 * x.T @ (x @ w.data - y) / 6
    assert tg.exercise(loss).check(d_w=data + w.data)
    verdict = tg.exercise(loss).check(d_w=data)["d_w"]
    assert verdict.mistake == "missing share"
    assert "w ** 2" in verdict.message
    verdict = tg.exercise(loss).check(d_w=data / 2 + w.data)["d_w"]
    assert not verdict.right


def test_a_mean_where_the_loss_is_a_sum():
    z = tg.Tensor(np.arange(15.0).reshape(5, 3), requires_grad=True, name="z")
    loss = (z**2).sum()
    verdict = tg.exercise(loss).check(d_z=2 * z.data / 5)["d_z"]
    assert verdict.mistake == "factor"
    assert "5 is the length of an axis" in verdict.message


def test_a_mean_that_only_a_part_has_passed_is_not_the_factor():
    x = tg.Tensor(np.linspace(-1, 2, 5), requires_grad=True, name="x")
    loss = (x**2).mean() + (x**3).sum()
    verdict = tg.exercise(loss).check(d_x=5 * (2 * x.data / 5 + 3 * x.data**2))["d_x"]
    assert verdict.mistake == "factor"
    assert "forgotten" not in verdict.message


def test_an_answer_between_the_right_one_and_a_mistake_is_not_explained():
    x = tg.Tensor(np.array([1, 2, 3], np.float32), requires_grad=True, name="x")
    loss = x.sum() + (x * np.float32(0.0012)).sum()
    assert tg.exercise(loss).check(d_x=np.full(3, 1, np.float32))["d_x"].mistake == "missing share"
    assert tg.exercise(loss).check(d_x=np.full(3, 1.00008, np.float32))["d_x"].mistake == "nearly"


def test_half_of_a_square_is_no_mean():
    z = tg.Tensor([1.0, 2.0, 4.0], requires_grad=True, name="z")
    verdict = tg.exercise((z**2).sum() * 0.5).check(d_z=2 * z.data)["d_z"]
    assert verdict.mistake == "factor"
    assert "mean" not in verdict.message.split("Also fits")[0]


def test_a_batch_of_one_row_has_no_mean_to_forget():
    z = tg.Tensor([[1.0, 2.0, -1.0]], requires_grad=True, name="z")
    loss = tg.losses.softmax_cross_entropy(z, np.array([1]))
    right = softmax(z.data) - [[0, 1, 0]]
    assert tg.exercise(loss).check(d_z=right)
    for wrong in (right * 2, -right, softmax(z.data), right + 1):
        verdict = tg.exercise(loss).check(d_z=wrong)["d_z"]
        assert not verdict.right
        assert "mean" not in verdict.mistake


def test_two_rows_may_be_a_mean_or_a_square():
    """With N = 2 the numbers cannot tell: what is likelier stands first, and the other is told too."""
    p = tg.Tensor([[1.0, 2.0], [-1.0, 3.0]], requires_grad=True, name="p")
    loss = (p**2).sum() / 2
    verdict = tg.exercise(loss).check(d_p=p.data / 2)["d_p"]
    assert verdict.mistake in ("mean twice", "missing factor")
    assert "Also fits" in verdict.message


def test_two_mistakes_are_not_told_again_in_the_other_order(net):
    logits = net.v["h1"] @ net.v["W3"] + net.v["b3"]
    verdict = net.verdict(d_logits=(np.exp(logits) - 1) / 8)
    assert verdict.mistake == "target and not normalised"
    assert "Also fits" not in verdict.message


def test_what_a_value_is_divided_by_is_searched_once(monkeypatch):
    """Each wrong answer to a line, of all students, asks for it."""
    searched = []
    monkeypatch.setattr(search, "factors", lambda name, program: searched.append(name) or factors(name, program))
    network = textbook_network()
    exercise = network.exercise()
    for factor, mistake in ((-1, "sign"), (2, "factor"), (6, "mean")):
        assert exercise.check(d_W0=factor * network.g["d_W0"])["d_W0"].mistake == mistake
    assert searched == ["d_W0"]


def test_one_number_alone_is_not_explained_by_any_factor():
    x = tg.Tensor(3.0, requires_grad=True, name="x")
    verdict = tg.exercise(x * x).check(d_x=5.0)["d_x"]
    assert verdict.mistake == "unknown"
    assert "6" not in verdict.message


@pytest.mark.parametrize("name", ["nonsense", "one column", "rounded", "another shape", "kept dimensions", "NaN"])
def test_the_right_numbers_are_not_told(net, name):
    _, _, gradient, hand_in = BATCH_NORM[name]
    with np.errstate(all="ignore"):
        answer = hand_in(net.v, net.g)
    message = net.verdict(**{gradient: answer}).message
    for right in np.ravel(net.g[gradient]):
        if not np.isclose(right, answer, rtol=5e-3).any():
            assert f"{right:.4g}" not in message
