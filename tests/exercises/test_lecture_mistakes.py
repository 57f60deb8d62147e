"""The exercise: planted mistakes in a network of square matrices, and in the exercise of a famous lecture."""

from __future__ import annotations

import numpy as np
import pytest
from exercises.networks import Network

import tinygrad_ce as tg


def square_network():
    """Two products with square matrices, where a wrong transposition does not show in the shapes."""
    rng = np.random.default_rng(5)
    x, U, V = (rng.normal(size=(3, 3)) for _ in range(3))
    tU, tV = tg.Tensor(U, requires_grad=True, name="U"), tg.Tensor(V, requires_grad=True, name="V")
    loss = ((tg.Tensor(x, name="x") @ tU).named("a").tanh().named("h") @ tV).named("s")
    h = np.tanh(x @ U)
    d = 2 * (h @ V) / 9
    return (loss * loss).mean(), x, U, V, h, d


SQUARES = {
    "W not transposed": ("transpose", "d_h", lambda x, U, V, h, d: d @ V),
    "x not transposed": ("transpose", "d_V", lambda x, U, V, h, d: h @ d),
    "sides exchanged": ("transpose", "d_V", lambda x, U, V, h, d: d.T @ h),
    "another layer's weights": ("wrong operand", "d_h", lambda x, U, V, h, d: d @ U.T),
    "another layer's inputs": ("wrong operand", "d_V", lambda x, U, V, h, d: x.T @ d),
    "the 2 of a square": ("missing share", "d_s", lambda x, U, V, h, d: d / 2),
}  # fmt: skip


@pytest.mark.parametrize("name", SQUARES)
def test_square_matrices(name):
    loss, *values = square_network()
    mistake, gradient, hand_in = SQUARES[name]
    verdict = tg.exercise(loss).check({gradient: hand_in(*values)})[gradient]
    if name == "the 2 of a square":  # s * s uses s twice: half of the gradient, or one of its shares
        assert verdict.mistake in (mistake, "factor")
        assert "used 2 times" in verdict.message
    else:
        assert verdict.mistake == mistake, verdict


def test_the_two_of_a_square_that_is_one_operation():
    x = tg.Tensor([1.0, 2.0, -3.0], requires_grad=True, name="x")
    verdict = tg.exercise((x**2).sum()).check(d_x=[1.0, 2.0, -3.0])["d_x"]
    assert verdict.mistake == "missing factor"
    assert "the factor 2 is missing" in verdict.message


def lecture_network(rows=8, words=5, context=3, hidden=6):
    """An embedding, two layers with batch norm and the loss in single steps, as in A. Karpathy's lecture "makemore".

    Source: github.com/karpathy/nn-zero-to-hero, part 4, "Becoming a Backprop Ninja": every line there has its gradient.
    """
    rng = np.random.default_rng(0)
    X, Y = rng.integers(words, size=(rows, context)), rng.integers(words, size=rows)
    sizes = {"C": (words, 2), "W1": (2 * context, hidden), "b1": hidden, "gain": (1, hidden), "bias": (1, hidden)}
    sizes |= {"W2": (hidden, words), "b2": words}
    C, W1, b1, gain, bias, W2, b2 = (
        tg.Tensor(rng.normal(size=size), requires_grad=True, name=name) for name, size in sizes.items()
    )
    emb = C[X].named("emb")
    embcat = emb.reshape(rows, -1).named("embcat")
    hprebn = (embcat @ W1 + b1).named("hprebn")
    bnmean = (hprebn.sum(0, keepdims=True) * (1 / rows)).named("bnmean")
    bndiff = (hprebn - bnmean).named("bndiff")
    bndiff2 = (bndiff**2).named("bndiff2")
    bnvar = (bndiff2.sum(0, keepdims=True) * (1 / (rows - 1))).named("bnvar")
    bnvar_inv = ((bnvar + 1e-5) ** -0.5).named("bnvar_inv")
    bnraw = (bndiff * bnvar_inv).named("bnraw")
    hpreact = (gain * bnraw + bias).named("hpreact")
    h = hpreact.tanh().named("h")
    logits = (h @ W2 + b2).named("logits")
    maxes = logits.max(1, keepdims=True).named("maxes")
    norm = (logits - maxes).named("norm")
    counts = norm.exp().named("counts")
    total = counts.sum(1, keepdims=True).named("total")
    total_inv = (total**-1).named("total_inv")
    probs = (counts * total_inv).named("probs")
    loss = -probs.log().named("logprobs")[np.arange(rows), Y].mean()

    steps = (C, W1, W2, gain, emb, embcat, bndiff, bnvar, bnvar_inv, bnraw, h, logits, counts, total, total_inv, probs)
    v = {tensor.name: tensor.data for tensor in (*steps, bias)}
    g = {"d_logprobs": np.where(np.arange(words) == Y[:, None], -1 / rows, 0)}
    g["d_probs"] = g["d_logprobs"] / v["probs"]
    g["d_total_inv"] = (v["counts"] * g["d_probs"]).sum(1, keepdims=True)
    g["d_total"] = -(v["total"] ** -2) * g["d_total_inv"]
    g["d_counts"] = v["total_inv"] * g["d_probs"] + g["d_total"]
    g["d_norm"] = v["counts"] * g["d_counts"]
    g["d_maxes"] = -g["d_norm"].sum(1, keepdims=True)
    g["d_logits"] = (v["probs"] - np.eye(words)[Y]) / rows
    g["d_h"], g["d_W2"] = g["d_logits"] @ v["W2"].T, v["h"].T @ g["d_logits"]
    g["d_b2"] = g["d_logits"].sum(0)
    g["d_hpreact"] = (1 - v["h"] ** 2) * g["d_h"]
    g["d_gain"] = (v["bnraw"] * g["d_hpreact"]).sum(0, keepdims=True)
    g["d_bias"] = g["d_hpreact"].sum(0, keepdims=True)
    g["d_bnraw"] = v["gain"] * g["d_hpreact"]
    g["d_bnvar_inv"] = (v["bndiff"] * g["d_bnraw"]).sum(0, keepdims=True)
    g["d_bnvar"] = -0.5 * (v["bnvar"] + 1e-5) ** -1.5 * g["d_bnvar_inv"]
    g["d_bndiff2"] = np.ones((rows, hidden)) / (rows - 1) * g["d_bnvar"]
    g["d_bndiff"] = v["bnvar_inv"] * g["d_bnraw"] + 2 * v["bndiff"] * g["d_bndiff2"]
    g["d_bnmean"] = -g["d_bndiff"].sum(0, keepdims=True)
    g["d_hprebn"] = (  # the formula on paper, of the lecture's exercise 3
        v["gain"] * v["bnvar_inv"] / rows
        * (rows * g["d_hpreact"] - g["d_bias"] - rows / (rows - 1) * v["bnraw"] * g["d_gain"])
    )  # fmt: skip
    g["d_embcat"], g["d_W1"] = g["d_hprebn"] @ v["W1"].T, v["embcat"].T @ g["d_hprebn"]
    g["d_b1"] = g["d_hprebn"].sum(0)
    g["d_emb"] = g["d_embcat"].reshape(rows, context, 2)
    g["d_C"] = np.zeros((words, 2))
    np.add.at(g["d_C"], X, g["d_emb"])
    v["X"] = X
    return Network(loss, v, g)


def test_every_step_of_a_famous_exercise_is_right():
    network = lecture_network()
    report = network.exercise().check(network.g)
    assert report, report
    assert len(report) == 26


def overwriting(v, g):
    d_C = np.zeros_like(g["d_C"])
    d_C[v["X"]] = g["d_emb"]
    return d_C


LECTURE = {
    "added with =": ("overwritten", "last share has overwritten", "d_C", overwriting),
    "one use of counts": (
        "missing share",
        "counts is used 2 times",
        "d_counts",
        lambda v, g: v["total_inv"] * g["d_probs"],
    ),
    "one use of bndiff": (
        *("missing share", "through bnraw", "d_bndiff"),
        lambda v, g: 2 * v["bndiff"] * g["d_bndiff2"],
    ),
    "the logarithm": ("inverse", "multiplied with probs", "d_probs", lambda v, g: g["d_logprobs"] * v["probs"]),
    "the power": (
        *("exponent", "-1 instead of -2", "d_total"),
        lambda v, g: -(v["total"] ** -1) * g["d_total_inv"],
    ),
    "another power": (
        *("exponent", "-0.5 instead of -1.5", "d_bnvar"),
        lambda v, g: -0.5 * (v["bnvar"] + 1e-5) ** -0.5 * g["d_bnvar_inv"],
    ),
    "the minus": ("sign", "wrong sign", "d_total", lambda v, g: v["total"] ** -2 * g["d_total_inv"]),
    "all n": ("factor", "7/8 of the right one; is 7 divided by", "d_bndiff2", lambda v, g: g["d_bndiff2"] * 7 / 8),
    "all n, in a share": (
        *("factor", "the share through bndiff2", "d_bndiff"),
        lambda v, g: v["bnvar_inv"] * g["d_bnraw"] + 2 * v["bndiff"] * g["d_bndiff2"] * 7 / 8,
    ),
    "a value for a gradient": ("mixed up", "this is h", "d_h", lambda v, g: v["h"]),
    "a gradient for another": ("mixed up", "this is d_gain", "d_bias", lambda v, g: g["d_gain"]),
    "dimensions dropped": ("shape", "(6,) instead of (1, 6)", "d_bias", lambda v, g: g["d_bias"].ravel()),
    "averaged": ("averaged", "averaged over axis 0", "d_bias", lambda v, g: g["d_hpreact"].mean(0, keepdims=True)),
    "one, not one eighth": (
        *("missing factor", "the factor 0.125 is missing", "d_hprebn"),
        lambda v, g: g["d_bndiff"] + g["d_bnmean"],
    ),
    "every label": ("no upstream", "local derivative alone", "d_logprobs", lambda v, g: -8 * g["d_logprobs"]),
}


@pytest.mark.parametrize("name", LECTURE)
def test_slips_in_a_famous_exercise(name):
    network = lecture_network()
    mistake, words, gradient, hand_in = LECTURE[name]
    verdict = network.verdict(**{gradient: hand_in(network.v, network.g)})
    assert verdict.mistake == mistake, verdict
    assert words in verdict.message
