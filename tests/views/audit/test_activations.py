"""Activations that a user has written out of primitives, against their slopes by hand."""

import numpy as np
import pytest
from views.audit.networks import X, audited, loss_of

import tinygrad_ce as tg
from tinygrad_ce import nn, optim
from tinygrad_ce.views.audit import audit
from tinygrad_ce.views.audit.activations import find_activations


class Written(nn.Module):
    """A dense layer, an activation written in forward, and another dense layer."""

    def __init__(self, activation, scale=1.0, bias=0.0):
        tg.seed(0)
        self.first, self.last = nn.Dense(6, 8), nn.Dense(8, 3)
        self.activation = activation
        self.first.W.data *= scale
        self.first.b.data += bias

    def forward(self, x):
        return self.last(self.activation(self.first(x)))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


FLAT_ON_BOTH_SIDES = {  # the function, and its slope as a share of the largest
    "1/(1+exp(-x))": (lambda z: 1 / (1 + np.exp(-z)), lambda z: 4 * sigmoid(z) * (1 - sigmoid(z))),
    "tanh from exps": (
        lambda z: (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z)),
        lambda z: 1 - np.tanh(z) ** 2,
    ),
    "tanh from a sigmoid": (lambda z: 2 * tg.ops.sigmoid(2 * z) - 1, lambda z: 1 - np.tanh(z) ** 2),
    "hard tanh": (lambda z: np.minimum(np.maximum(z, -1), 1), lambda z: (np.abs(z) < 1) * 1.0),
}


@pytest.mark.parametrize("name", FLAT_ON_BOTH_SIDES)
@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_saturation_is_found_in_what_is_written_by_hand(name, scale, dtype):
    function, slope = FLAT_ON_BOTH_SIDES[name]
    model = Written(function, scale).astype(dtype)
    row = audited(model, x=X.astype(dtype)).rows[0]
    z = X.astype(dtype) @ model.first.W.data + model.first.b.data
    assert row.saturated == pytest.approx(100 * np.mean(slope(z) <= 0.05), abs=0.3)
    assert row.saturated > 10 or scale == 1.0
    assert row.dead == 0


OFF_ON_THE_LEFT = {
    "maximum(x, 0)": lambda z: np.maximum(z, 0),
    "x * (x > 0)": lambda z: z * (z > 0),
    "(x > 0) * x": lambda z: (z > 0) * z,
    "where(x > 0, x, 0)": lambda z: tg.ops.where(z > 0, z, 0.0),
    "(x + |x|) / 2": lambda z: (z + abs(z)) / 2,
    "1 - mask": lambda z: z - z * (z < 0),
}


@pytest.mark.parametrize("name", OFF_ON_THE_LEFT)
def test_dead_units_are_found_in_what_is_written_by_hand(name):
    function = OFF_ON_THE_LEFT[name]
    bias = np.array([0, -30, 0, -30, -30, 0, -30, -30])
    found = audited(Written(function, bias=bias))
    assert found.rows[0].dead == pytest.approx(100 * 5 / 8)
    assert found.rows[0].saturated is None
    assert "The activation in (model) is 62.5 % dead: its inputs are all negative there" in found.lesson
    assert audited(Written(function)).rows[0].dead == 0
    assert audited(Written(function, bias=-30)).rows[0].dead == 100  # the mask has no true value that would tell


LEAKY = {
    "where": lambda z: tg.ops.where(z > 0, z, 0.01 * z),
    "maximum": lambda z: np.maximum(z, 0.01 * z),
    "module": nn.LeakyReLU(),
}


@pytest.mark.parametrize("name", LEAKY)
def test_a_leaky_unit_is_never_dead(name):
    rows = audited(Written(LEAKY[name], bias=np.array([0, -30] * 4))).rows
    row = next(row for row in rows if row.dead is not None)
    assert (row.dead, row.saturated, row.verdict) == (0, None, "fine")


@pytest.mark.parametrize("function", [lambda z: z * tg.ops.sigmoid(z), nn.SiLU(), nn.GELU(), nn.Softplus()])
def test_a_curve_that_rises_on_the_right_is_not_saturated_there(function):
    """Where the sigmoid in x * sigmoid(x) is flat, its own slope is 1."""
    row = next(row for row in audited(Written(function, bias=20)).rows if row.dead is not None)
    assert (row.saturated, row.dead) == (None, 0)
    row = next(row for row in audited(Written(function, bias=-60)).rows if row.dead is not None)
    assert row.dead == 100


def test_the_widest_of_those_inside_each_other_is_the_activation():
    x = tg.Tensor(np.ones((2, 2)), requires_grad=True)
    inner = tg.ops.sigmoid(x)
    results = [inner, x * inner]
    (found,) = find_activations(results)
    assert [tensor.op.name for tensor in found.tensors] == ["sigmoid", "mul"]
    assert found.source is x
    s = sigmoid(1.0)
    np.testing.assert_allclose(found.slopes() * found.largest, s + s * (1 - s), rtol=1e-12)
    assert found.largest == pytest.approx(1.0998, abs=1e-3)  # SiLU's largest slope, Ramachandran and others 2017


rng = np.random.default_rng(0)
MASK = rng.random((40, 8)) > 0.5
NONE = {
    "dropout by hand": lambda z: z * (MASK / 0.5),
    "a bool mask": lambda z: z * MASK,
    "noise": lambda z: tg.ops.tanh(z) + z + rng.normal(size=(40, 8)),
    "a mask for each unit": lambda z: z * np.array([0.0, 1] * 4),
    "softmax by hand": lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True),
    "normalised": lambda z: z - z.mean(axis=0),
    "sum of two": lambda z: z + z * 2.0,
    "square": lambda z: z * z,
    "a shortcut around a tanh": lambda z: 10 * z + tg.ops.tanh(10 * z),  # its slope is 10 or more
}


@pytest.mark.parametrize("name", [name for name in NONE if name != "noise"])
def test_what_only_looks_like_one_is_none(name):
    row = audited(Written(NONE[name])).rows[0]
    assert row.saturated is row.dead is None


def test_updates_and_gradients_are_found_where_a_model_is_nothing_but_primitives():
    class Plain(nn.Module):
        def __init__(self):
            tg.seed(0)
            dense = nn.Dense(6, 8), nn.Dense(8, 3)
            self.W, self.V = dense[0].W, dense[1].W

        def forward(self, x):
            return (1 / (1 + np.exp(-(x @ self.W * 30.0)))) @ self.V

    model = Plain()
    found = audit(model, loss_of(model), optim.SGD(model.parameters(), 0.1))
    (row,) = found.rows
    assert row.verdict == "saturated"
    z = X @ model.W.data * 30
    assert row.saturated == pytest.approx(100 * np.mean(4 * sigmoid(z) * (1 - sigmoid(z)) <= 0.05))
    assert row.update_per_weight == pytest.approx(
        0.1 * row.gradient / np.hypot(*map(np.linalg.norm, (model.W.data, model.V.data)))
    )


def test_a_long_chain_of_operations_takes_no_long_time():
    """Each chain is looked at up to a length: sixty operations are not run thousands of times each."""
    calls = []

    class Chain(nn.Module):
        def forward(self, x):
            for _ in range(60):
                x = x * 1.01
            return x

    inner = tg.ops.mul.run
    try:
        tg.ops.mul.run = lambda *args, **params: calls.append(1) or inner(*args, **params)
        model = nn.Sequential(nn.Dense(6, 3), Chain())
        audited(model)
    finally:
        tg.ops.mul.run = inner
    assert len(calls) <= 60 * (1 + 16 * 17)


def test_the_same_network_gets_the_same_figures_however_it_is_written():
    by_hand, ready = Written(lambda z: 1 / (1 + np.exp(-z)), scale=5.0), Written(tg.ops.sigmoid, scale=5.0)
    ours, theirs = audited(by_hand, 0.1).rows, audited(ready, 0.1).rows
    for one, other in zip(ours, theirs, strict=True):
        assert one.verdict == other.verdict
        for figure in ("saturated", "dead", "share", "gradient", "update_per_weight"):
            expected = getattr(other, figure)
            assert getattr(one, figure) == (expected and pytest.approx(expected, rel=1e-9)), figure


def test_elu_by_hand_is_dead_where_its_exponential_is():
    row = audited(Written(lambda z: tg.ops.where(z > 0, z, np.exp(z) - 1), bias=np.array([0, -30] * 4))).rows[0]
    assert (row.dead, row.saturated) == (50, None)


class ByHand(nn.Module):
    def forward(self, x):
        return 1 / (1 + np.exp(-x))


def test_a_layer_of_many_operations_hands_back_what_one_operation_does():
    factors = []
    for activation in (nn.Sigmoid, ByHand):
        tg.seed(0)
        factors.append(audited(nn.Sequential(nn.Dense(6, 8), activation(), nn.Dense(8, 3))).rows[1].factor)
    assert factors[0] < 0.25
    assert factors[1] == pytest.approx(factors[0], rel=1e-12)


@pytest.mark.parametrize("bias", [0.0, -1.0])
def test_relu6_is_switched_off_for_half_of_its_numbers_and_well(bias):
    """It is flat on both sides, but as a ReLU: its numbers below 0 are not lost to saturation."""
    row = audited(Written(lambda z: np.minimum(np.maximum(z, 0), 6), bias=bias)).rows[0]
    assert (row.saturated, row.verdict) == (None, "fine")


@pytest.mark.parametrize("condition", [lambda z: z > 0, lambda z: z >= 0])
def test_a_where_with_one_value_for_all_is_a_comparison_with_0(condition):
    """Of negative numbers alone nothing tells where the other side begins."""
    elu = Written(lambda z: tg.ops.where(condition(z), z, np.exp(z) - 1), bias=-60)
    assert (audited(elu).rows[0].dead, audited(elu).rows[0].verdict) == (100, "dead")
    other_way = Written(lambda z: tg.ops.where(z < 0, np.exp(z) - 1, z), bias=-60)
    assert audited(other_way).rows[0].dead == 100
    alive = Written(lambda z: tg.ops.where(condition(z), z, np.exp(z) - 1), bias=60)
    assert (audited(alive).rows[0].dead, audited(alive).rows[0].saturated) == (0, None)
