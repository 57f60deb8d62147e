"""The audit against figures computed by hand in NumPy, planted illnesses, and that looking changes nothing."""

import io
import re
import subprocess
import sys
from copy import deepcopy
from itertools import pairwise

import matplotlib.figure
import matplotlib.image
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_ce as tg
from tinygrad_ce import nn, optim
from tinygrad_ce.views import Watch, text
from tinygrad_ce.views.audit import CURES, SEPARATE, Audit, audit

rng = np.random.default_rng(7)
X = rng.normal(size=(40, 6))
Y = rng.integers(0, 3, 40)
KINDS = [*CURES, "fine", SEPARATE]


def network(activation=nn.Tanh, sizes=(6, 8, 3), scale=1.0, bias=0.0, init="glorot_uniform"):
    """Dense layers with activations between; the weights and biases of the hidden ones can be spoiled."""
    tg.seed(0)
    layers = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Dense(n_in, n_out, init=init), activation()]
        if n_out != sizes[-1]:
            layers[-2].W.data *= scale
            layers[-2].b.data += bias
    return nn.Sequential(*layers[:-1])


def loss_of(model, x=X, y=Y):
    return tg.losses.softmax_cross_entropy(model(x), y)


def audited(model, lr=None, x=X, y=Y):
    return audit(model, loss_of(model, x, y), None if lr is None else optim.SGD(model.parameters(), lr))


def norm(*arrays):
    return np.sqrt(sum(np.sum(np.square(array)) for array in arrays))


class Identity(nn.Module):
    """Numbers that want a gradient, on their way into the layer that is looked at."""

    def __init__(self, start):
        self.start = tg.Tensor(start, requires_grad=True)

    def forward(self):
        return self.start * 1.0


class Looked(nn.Module):
    """One layer or function, after numbers of one's own."""

    def __init__(self, start, function):
        self.source = Identity(start)
        self.function = function

    def forward(self):
        return self.function(self.source())


def row_of(start, function):
    """The row of a layer for these numbers as its input."""
    model = Looked(np.asarray(start, float), function)
    found = audit(model, (model() * np.arange(1.0, 1 + np.size(start)).reshape(np.shape(start))).sum())
    return next(row for row in found.rows if row.path in ("function", "(model)"))


# ---- the figures


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_figure_is_the_one_computed_by_hand(dtype):
    model = network(nn.Tanh, scale=2.0).astype(dtype)
    x = X.astype(dtype)
    (W1, b1), (W2, b2) = ((layer.W.data.astype(float), layer.b.data.astype(float)) for layer in model.layers[::2])
    z1 = X @ W1 + b1
    h = np.tanh(z1)
    z2 = h @ W2 + b2
    p = np.exp(z2) / np.exp(z2).sum(axis=1, keepdims=True)
    d_z2 = (p - np.eye(3)[Y]) / len(Y)
    d_h = d_z2 @ W2.T
    d_z1 = d_h * (1 - h * h)
    gradients = {0: (X.T @ d_z1, d_z1.sum(axis=0)), 2: (h.T @ d_z2, d_z2.sum(axis=0))}

    found = audited(model, lr=0.2, x=x)
    near = {"rel": 1e-4 if dtype == np.float32 else 1e-10}
    assert found.loss == pytest.approx(-np.log(p[np.arange(40), Y]).mean(), **near)
    for row, outputs, arriving in zip(found.rows, (z1, h, z2), (d_z1, d_h, d_z2), strict=True):
        assert row.mean == pytest.approx(outputs.mean(), abs=1e-6)
        assert row.spread == pytest.approx(outputs.std(), **near)
        assert row.arriving == pytest.approx(norm(arriving), **near)
        assert row.share == pytest.approx(norm(arriving) / norm(d_z2), **near)
        assert row.uses == 1
    for i, weights in ((0, (W1, b1)), (2, (W2, b2))):
        gradient, weight = norm(*gradients[i]), norm(*weights)
        assert found.rows[i].gradient == pytest.approx(gradient, **near)
        assert found.rows[i].gradient_per_weight == pytest.approx(gradient / weight, **near)
        assert found.rows[i].update_per_weight == pytest.approx(0.2 * gradient / weight, rel=1e-4)
        assert found.rows[i].saturated is found.rows[i].dead is None
    assert found.rows[1].saturated == pytest.approx(100 * np.mean(1 - h * h < 0.05))
    assert 0 < found.rows[1].saturated < 50
    assert found.rows[1].dead == 0
    assert found.rows[1].gradient is found.rows[1].update_per_weight is None


FLAT_TANH = np.arctanh(np.sqrt(0.95))  # 1 - tanh^2 = 0.05
FLAT_SIGMOID = np.log((1 + np.sqrt(0.95)) / (1 - np.sqrt(0.95)))  # s (1 - s) = 0.05 / 4


@pytest.mark.parametrize(("layer", "edge"), [(nn.Tanh(), FLAT_TANH), (nn.Sigmoid(), FLAT_SIGMOID)])
def test_a_number_is_saturated_where_the_slope_is_less_than_a_twentieth_of_the_largest(layer, edge):
    z = edge * np.array([[0.0, 0.99, -0.99, 1.01], [-1.01, 3.0, 0.5, 0.2]])
    assert row_of(z, layer).saturated == pytest.approx(100 * 3 / 8)
    assert row_of(z, layer).dead == 0
    assert row_of(np.zeros((2, 2)), layer).saturated == 0
    assert row_of(np.full((2, 2), 30.0), layer).saturated == 100


COLUMNS = np.array([[-1.0, 2.0, -3.0, 0.0, 1.0], [-2.0, -1.0, -0.1, -5.0, 2.0]])


@pytest.mark.parametrize(
    "function",
    [nn.ReLU(), tg.ops.relu, lambda z: np.maximum(z, 0), lambda z: tg.ops.maximum(0.0, z), lambda z: z.relu()],
)
def test_a_unit_is_dead_if_it_is_off_for_every_row(function):
    start = np.tile(COLUMNS - 1e-12 * (COLUMNS == 0), (4, 1))  # at 0 itself the slope of maximum is a half
    row = row_of(start, function)
    assert row.dead == pytest.approx(100 * 3 / 5)
    assert row.saturated is None  # it is off for half of its numbers, and well
    assert row.verdict == "dead"


@pytest.mark.parametrize(("rows", "verdict"), [(1, "fine"), (7, "fine"), (8, "dead")])
def test_of_few_rows_no_unit_is_called_dead(rows, verdict):
    model = network(nn.ReLU, (6, 8, 3))
    model.layers[0].b.data[:5] = -30  # off for any row
    model.layers[0].b.data[5:] = 30
    found = audited(model, x=X[:rows], y=Y[:rows])
    assert found.rows[1].dead == pytest.approx(100 * 5 / 8)
    assert (found.rows[1].rows, found.rows[1].verdict) == (rows, verdict)
    assert "62 %" in str(found)
    assert ("fewer than 8 rows" in str(found)) == (rows < 8)
    assert found.rows[1].reason == ("too few rows for a verdict on dead units" if rows < 8 else "")


def test_units_are_the_last_axis_and_all_others_are_rows():
    deep = np.stack([COLUMNS, -np.abs(COLUMNS)])
    assert row_of(deep, nn.ReLU()).dead == pytest.approx(100 * 3 / 5)
    assert row_of(-np.abs(COLUMNS[0]), nn.ReLU()).dead == 100  # one axis: rows of one unit
    assert row_of(COLUMNS[0], nn.ReLU()).dead == 0


def test_smooth_and_clipped_curves_are_asked_for_their_slopes():
    assert row_of([[-40.0, -1.0], [-30.0, 3.0]], nn.Softplus()).dead == 50
    assert row_of([[-2.0, 0.5], [0.5, 5.0]], lambda z: tg.ops.clip(z, low=-1, high=1)).saturated == 50


NO_ACTIVATIONS = [
    *(nn.Softmax(), np.exp, np.square, np.abs, np.log1p, tg.ops.neg),
    *(lambda z: z * 2.0, lambda z: 3.0 - z, lambda z: z**3, lambda z: z.T, lambda z: z * z, lambda z: z.sum(axis=0)),
    *(lambda z: tg.ops.maximum(z, 0.01 * z), lambda z: tg.ops.log(z * z), lambda z: z * np.array([0.0, 2.0])),
]


@pytest.mark.parametrize("function", NO_ACTIVATIONS)
def test_what_is_no_activation_is_neither_saturated_nor_dead(function):
    row = row_of([[-0.5, 2.0], [3.0, -0.9]], function)
    assert row.saturated is None
    assert row.dead is None


def test_a_primitive_of_ones_own_is_found_by_its_rule():
    @tg.primitive
    def audited_hard_sigmoid(x):
        return np.clip(0.5 + 0.2 * x, 0, 1)

    @audited_hard_sigmoid.vjp("x")
    def audited_hard_sigmoid_x(g, out, x):
        return tg.ops.where(abs(x) < 2.5, 0.2 * g, 0)

    try:
        row = row_of([[0.0, 3.0, -2.6], [1.0, 4.0, 2.0]], audited_hard_sigmoid)
    finally:
        del tg.core.REGISTRY["audited_hard_sigmoid"]
    assert row.saturated == 50
    assert row.dead == pytest.approx(100 / 3)


def test_a_primitive_that_refuses_other_shapes_is_no_activation():
    @tg.primitive
    def audited_pair(x):
        assert x.shape == (1, 2)
        return np.maximum(x, 0)

    @audited_pair.vjp("x")
    def audited_pair_x(g, out, x):
        return tg.ops.where(x > 0, g, 0)

    try:
        row = row_of([[-1.0, 2.0]], audited_pair)
    finally:
        del tg.core.REGISTRY["audited_pair"]
    assert row.saturated is row.dead is None


OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, 0.3),
    "momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9),
    "nesterov and decay": lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": lambda p: optim.Adam(p, 0.01),
    "adamw": lambda p: optim.AdamW(p, 0.01, weight_decay=0.2),
    "rmsprop": lambda p: optim.RMSprop(p, 0.01),
    "schedule": lambda p: optim.SGD(p, optim.StepDecay(0.5, every=1, factor=0.1)),
}


@pytest.mark.parametrize("which", OPTIMIZERS)
@pytest.mark.parametrize("steps", [0, 3])
def test_the_update_is_that_of_the_step_which_comes_next(which, steps):
    model = network()
    optimizer = OPTIMIZERS[which](model.parameters())

    def step():
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()

    for _ in range(steps):
        step()
    found = audit(model, loss_of(model), optimizer)
    before = [parameter.data.copy() for parameter in model.parameters()]
    step()
    changes = [parameter.data - old for parameter, old in zip(model.parameters(), before, strict=True)]
    for row, i in ((found.rows[0], 0), (found.rows[2], 2)):
        assert row.update_per_weight == pytest.approx(norm(*changes[i : i + 2]) / norm(*before[i : i + 2]), rel=1e-9)


def test_adams_first_update_is_the_learning_rate_in_the_direction_of_the_sign():
    model = nn.Dense(6, 3, bias=False)
    row = audit(model, loss_of(model), optim.Adam(model.parameters(), lr=0.02)).rows[0]
    assert row.update_per_weight == pytest.approx(0.02 * np.sqrt(18) / norm(model.W.data), rel=1e-5)


def test_an_optimizer_of_some_parameters_tells_of_these():
    model = network()
    found = audit(model, loss_of(model), optim.SGD(model.layers[2].parameters(), lr=0.1))
    assert found.rows[0].update_per_weight is None
    assert found.rows[2].update_per_weight > 0


# ---- verdicts on planted illnesses

DEEP = (6, *[16] * 10, 3)
PLANTED = {
    "fine": (lambda: network(nn.Tanh, (6, 16, 16, 3)), 0.05, {}),
    "relu is fine": (lambda: network(nn.ReLU, (6, 16, 16, 3), init="he_normal"), 0.05, {}),
    "deep is fine": (lambda: network(nn.Tanh, DEEP), 0.05, {}),
    "saturated": (lambda: network(nn.Sigmoid, scale=30), None, {"saturated": ["layers.1"]}),
    "far too saturated": (
        lambda: network(nn.Tanh, scale=300),
        None,
        {"saturated": ["layers.1"], "vanishing": ["layers.0"]},
    ),
    "dead": (lambda: network(nn.ReLU, bias=-30), 0.1, {"dead": ["layers.1"], "no gradient": ["layers.0"]}),
    "vanishing": (
        lambda: network(nn.Sigmoid, DEEP),
        None,
        {"vanishing": [f"layers.{i}" for i in (0, 2, 4, 6, 8)]},
    ),
    "exploding": (
        lambda: network(nn.ReLU, (6, *[64] * 10, 3), scale=6),
        None,
        {"exploding": [f"layers.{i}" for i in (0, 2, 4, 6)]},
    ),
    "updates too large": (lambda: network(), 5.0, {"updates too large": ["layers.0", "layers.2"]}),
    "updates too small": (lambda: network(), 5e-4, {"updates too small": ["layers.0", "layers.2"]}),
}


@pytest.mark.parametrize("illness", PLANTED)
def test_a_planted_illness_is_called_by_its_name(illness):
    make, lr, expected = PLANTED[illness]
    found = audited(make(), lr)
    told = {verdict: [row.path for row in rows] for verdict, rows in found.illnesses.items()}
    for verdict, paths in expected.items():
        assert told.get(verdict, [])[: len(paths)] == paths
    assert set(told) == set(expected)
    assert (found.verdict == "fine") == (not expected)
    for verdict in expected:
        assert verdict in found.verdict
        assert CURES[verdict].split()[0] in str(found)


def test_a_rate_a_hundred_times_the_healthy_one_is_too_large_and_a_hundredth_is_too_small():
    model = network()
    ratio = audited(model, 1.0).rows[0].update_per_weight
    healthy = 2e-3 / ratio
    verdicts = [audited(model, healthy * factor).rows[0].verdict for factor in (1, 100, 0.01)]
    assert verdicts == ["fine", "updates too large", "updates too small"]
    said = [audited(model, update / ratio).rows[0].reason for update in (0.009, 0.011, 0.09, 0.11)]
    assert said == ["", "long steps, usual only at first", "long steps, usual only at first", ""]


def test_small_updates_of_what_has_been_learnt_are_no_illness():
    model = network()
    trainer = tg.Trainer(model, nn.SoftmaxCrossEntropy(), optim.Adam(model.parameters(), lr=0.03))
    trainer.fit(X, Y, epochs=400, batch_size=40, seed=0, compile=False)
    found = audit(model, loss_of(model), optim.SGD(model.parameters(), lr=1e-3))
    assert found.rows[2].update_per_weight < 1e-4
    assert "updates too small" not in found.illnesses


def test_vanishing_is_a_matter_of_shares_not_of_sizes():
    """A loss of a millionth has gradients of a millionth in all layers."""
    model = network()
    assert audit(model, loss_of(model) * 1e-6).verdict == "fine"
    assert audit(model, loss_of(model) * 1e6).verdict == "fine"


def test_a_gradient_of_zero_is_told_with_the_layer_that_blocks_it():
    rows = audited(network(nn.ReLU, bias=-30)).rows
    assert (rows[0].verdict, rows[0].reason) == ("no gradient", "layers.1 lets nothing back")

    class Reversed(nn.Module):
        """Its layers are made in another order than they are called."""

        def __init__(self):
            self.relu, self.last, self.first = nn.ReLU(), nn.Dense(8, 3), nn.Dense(6, 8)
            self.first.b.data -= 30

        def forward(self, x):
            return self.last(self.relu(self.first(x)))

    reasons = {row.path: row.reason for row in audited(Reversed()).rows}
    assert reasons == {"relu": "", "last": "", "first": "relu lets nothing back"}
    zeros = audited(network(init="zeros"))
    assert (zeros.rows[0].verdict, zeros.rows[0].reason) == ("no gradient", "it is 0")
    assert zeros.rows[0].gradient_per_weight is None  # nothing to divide by


def test_numbers_that_are_not_finite_are_told_with_where_they_stand():
    model = network(nn.Tanh, (6, 8, 8, 3))
    model.layers[2].W.data[1, 1] = np.nan
    found = audited(model, 0.1)
    assert [row.verdict for row in found.rows] == ["not finite"] * 5
    where = ["its gradient", "its gradient", "its parameters", "its numbers", "its numbers"]
    assert [row.reason for row in found.rows] == where
    assert "why_nan" in str(found)


def test_an_empty_batch_has_no_figures_but_an_audit():
    model = network(nn.ReLU)
    found = audit(model, model(np.zeros((0, 6))).sum())
    assert [row.mean for row in found.rows] == [None] * 3
    assert found.rows[1].dead is None
    assert "no gradient" in found.verdict


def test_a_loss_that_is_not_finite_by_itself_is_told():
    model = network()
    with np.errstate(divide="ignore"):
        loss = tg.losses.mse(model(X), np.zeros((40, 3))) + tg.Tensor(0.0).log()
    assert audit(model, loss).verdict == "not finite: the loss itself"


def test_squares_that_would_overflow_do_not():
    """Nor do small ones become 0, which would be no gradient."""
    for scale in (1e-200, 1e200):
        model = nn.Dense(6, 3)
        loss = model(X).sum() * scale
        row = audit(model, loss).rows[0]
        assert row.gradient == pytest.approx(norm(np.repeat(X.sum(axis=0), 3), np.full(3, 40.0)) * scale)
        assert row.verdict == "fine"


def test_exploded_float32_gradients_do_not_overflow():
    model = network(nn.ReLU, DEEP, scale=1e3).astype(np.float32)
    found = audit(model, (model(X.astype(np.float32)) * 1e-4).sum())
    assert found.rows[0].verdict == "exploding"
    assert 1e20 < found.rows[0].gradient < np.inf


# ---- which layers there are


def test_a_module_that_is_used_twice_is_one_row():
    cell, tanh = nn.Dense(3, 3), nn.Tanh()
    model = nn.Sequential(cell, tanh, cell, tanh)
    x = rng.normal(size=(20, 3))
    found = audited(model, x=x, y=Y[:20])
    assert [(row.path, row.uses) for row in found.rows] == [("layers.0, layers.2", 2), ("layers.1, layers.3", 2)]
    first = np.tanh(x @ cell.W.data)
    both = np.concatenate([first, np.tanh(first @ cell.W.data)])
    assert found.rows[1].saturated == pytest.approx(100 * np.mean(1 - both**2 < 0.05))
    assert found.rows[1].mean == pytest.approx(both.mean())
    loss_of(model, x, Y[:20]).backward()
    assert found.rows[0].gradient == pytest.approx(norm(cell.W.grad, cell.b.grad))
    assert "layers.0, layers.2  Dense" in str(found)


def test_a_unit_that_lives_in_one_use_is_not_dead():
    relu = nn.ReLU()

    class Twice(nn.Module):
        def __init__(self):
            self.source, self.relu = Identity(np.array([[-1.0, -1.0, 1.0]])), relu

        def forward(self):
            return self.relu(self.source()) + self.relu(self.source() * np.array([1.0, -1.0, 1.0]))

    model = Twice()
    row = next(row for row in audit(model, model().sum()).rows if row.path == "relu")
    assert row.uses == 2
    assert row.dead == pytest.approx(100 / 3)


class Raw(nn.Module):
    """Written by a user: parameters as attributes and in a dict, operations in forward, an activation made there."""

    def __init__(self):
        generator = np.random.default_rng(0)
        self.W = tg.Tensor(generator.normal(size=(6, 8)), requires_grad=True)
        self.more = {"V": tg.Tensor(generator.normal(size=(8, 3)), requires_grad=True)}
        self.spare = tg.Tensor(np.ones(2), requires_grad=True)
        self.unused = nn.Dense(2, 2)
        self.last = nn.Dense(3, 3)

    def forward(self, x):
        h = nn.Tanh()(x @ self.W)
        return self.last(h @ self.more["V"])


def test_a_module_of_ones_own_stands_by_its_path():
    model = nn.Sequential(Raw())
    raw = model.layers[0]
    found = audited(model)
    assert [row.name for row in found.rows] == [
        "layers.0  Raw, own part",
        "layers.0.unused  Dense(2, 2)",
        "layers.0.last  Dense(3, 3)",
    ]
    row = found.rows[0]
    h = np.tanh(X @ raw.W.data)
    assert row.saturated == pytest.approx(100 * np.mean(1 - h * h < 0.05))
    assert row.mean == pytest.approx((h @ raw.more["V"].data).mean())  # what it hands on, not what is on its way
    loss_of(model).backward()
    assert row.gradient == pytest.approx(norm(raw.W.grad, raw.more["V"].grad))
    assert (row.verdict, row.reason) == ("no gradient", "spare is not used by this loss")
    assert (found.rows[1].verdict, found.rows[1].reason) == ("no gradient", "not used by this loss")


def test_the_model_itself_is_a_layer_where_it_computes():
    found = audited(nn.Sequential(nn.Dense(6, 4), tg.ops.tanh, nn.Dense(4, 3)))
    assert [row.name for row in found.rows] == [
        "(model)  Sequential, own part",
        "layers.0  Dense(6, 4)",
        "layers.2  Dense(4, 3)",
    ]
    assert found.rows[0].saturated is not None
    assert [row.path for row in audited(nn.Dense(6, 3)).rows] == ["(model)"]


def test_outputs_of_a_module_are_what_it_gives_on_if_its_own_operations_make_it():
    class Residual(nn.Module):
        def __init__(self):
            self.inner = nn.Dense(6, 6)

        def forward(self, x):
            h = x * 5.0  # data on their way to the inner module
            return self.inner(np.tanh(self.inner(h))) * 3.0

    tg.seed(0)
    model = Residual()
    out = model(X)
    row = audit(model, (out * out).sum()).rows[0]
    assert row.name == "(model)  Residual"
    assert row.mean == pytest.approx(out.data.mean())
    assert row.arriving == pytest.approx(norm(2 * out.data))
    inside = audited(nn.Sequential(nn.Dense(6, 4), tg.ops.tanh, nn.Dense(4, 3)))
    assert "not of what the module gives on" in " ".join(str(inside).split())


def test_layers_that_no_gradient_passes_are_there_without_a_verdict():
    model = nn.Sequential(nn.Flatten(), nn.Dense(6, 3), nn.Softmax())
    found = audit(model, tg.losses.cross_entropy(model(X.reshape(40, 2, 3)), Y))
    assert [row.verdict for row in found.rows] == [SEPARATE, "fine", SEPARATE]
    assert found.verdict == "fine"
    assert "differentiated together" in str(found).replace("\n  ", " ")
    textbook = audit(model, tg.losses.cross_entropy(model(X), Y, fused=False))
    assert [row.verdict for row in textbook.rows] == [SEPARATE, "fine", "fine"]


def test_a_head_with_a_small_share_of_the_loss_does_not_make_the_others_explode():
    class Heads(nn.Module):
        def __init__(self):
            self.trunk, self.main, self.aside = nn.Dense(6, 8), nn.Dense(8, 3), nn.Dense(8, 3)

        def forward(self, x):
            h = self.trunk(x).tanh()
            return self.main(h), self.aside(h)

    tg.seed(0)
    model = Heads()
    main, aside = model(X)
    loss = tg.losses.softmax_cross_entropy(main, Y) + 1e-5 * tg.losses.softmax_cross_entropy(aside, Y)
    verdicts = {row.path: row.verdict for row in audit(model, loss).rows}
    assert verdicts == {"(model)": "fine", "trunk": "fine", "main": "fine", "aside": "vanishing"}


# ---- nothing is changed


def state_of(model, optimizer, generator):
    return deepcopy(
        (
            model.state(),
            [parameter.grad for parameter in model.parameters()],
            optimizer.state,
            optimizer.steps,
            generator.bit_generator.state,
            tg.nn.init.generator().bit_generator.state,
            np.random.get_state()[1].tolist(),
            [module.training for module in model.modules()],
        )
    )


def normalised(rate=0.3):
    tg.seed(0)
    return nn.Sequential(nn.Dense(6, 8), nn.BatchNorm(8), nn.ReLU(), nn.Dropout(rate), nn.Dense(8, 3))


@pytest.mark.parametrize("with_gradients", [False, True])
def test_an_audit_changes_nothing(with_gradients):
    model = normalised()
    optimizer = optim.Adam(model.parameters())
    generator = model.layers[3].generator = np.random.default_rng(1)
    if with_gradients:
        loss_of(model).backward()
        optimizer.step()
    loss = loss_of(model)
    ready = None if loss.ready is None else loss.ready.copy()
    before = state_of(model, optimizer, generator)
    str(audit(model, loss, optimizer))
    np.testing.assert_equal(state_of(model, optimizer, generator), before)
    np.testing.assert_equal(loss.ready, ready)
    assert loss.grad is None
    expected = tg.gradients(loss, model.parameters())
    for parameter in model.parameters():
        parameter.grad = None
    loss.backward()
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        np.testing.assert_allclose(parameter.grad, gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("compile", [False, True])
def test_watching_a_training_does_not_change_it(compile):
    def learnt(*callbacks):
        model = normalised()
        trainer = tg.Trainer(model, nn.SoftmaxCrossEntropy(), optim.Adam(model.parameters(), lr=0.02))
        history = trainer.fit(X, Y, epochs=4, batch_size=16, seed=3, compile=compile, callbacks=list(callbacks))
        assert history.compiled == compile
        return model.state(), history.columns

    watch = Watch(X[:20], Y[:20])
    np.testing.assert_equal(learnt(watch), learnt())
    assert watch.epochs == [1, 2, 3, 4]
    assert len({found.loss for found in watch.audits}) == 4


def test_watching_leaves_the_model_the_generators_and_the_averages_alone():
    class Counting(nn.Module):
        def __init__(self):
            self.calls, self.seen, self.total = 0, [], np.zeros(1)
            self.generator = np.random.default_rng(5)

        def forward(self, x):
            self.calls += 1
            self.seen.append(x.shape)
            self.total += 1
            self.new = np.random.normal() + self.generator.normal()
            return x + self.new

    model = nn.Sequential(*normalised().layers, Counting())
    counting, dropout = model.layers[-1], model.layers[3]
    trainer = tg.Trainer(model, nn.SoftmaxCrossEntropy(), optim.SGD(model.parameters(), lr=0.1))
    model.eval()
    before = state_of(model, trainer.optimizer, counting.generator)
    arrays = [parameter.data for parameter in model.parameters()]
    Watch(X, Y)(trainer, {"epoch": 1})
    np.testing.assert_equal(state_of(model, trainer.optimizer, counting.generator), before)
    assert all(parameter.data is array for parameter, array in zip(model.parameters(), arrays, strict=True))
    assert (counting.calls, counting.seen, counting.total.tolist()) == (0, [], [0.0])
    assert not hasattr(counting, "new")
    assert dropout.generator is None


def test_watching_looks_at_the_model_in_training():
    """The outputs of BatchNorm have mean 0 there; in evaluation they would not, before the averages have followed."""
    model = normalised(rate=0.0)
    trainer = tg.Trainer(model, nn.SoftmaxCrossEntropy(), optim.SGD(model.parameters(), lr=0.1))
    model.eval()
    watch = Watch(X + 5, Y)
    watch(trainer)
    assert watch.audits[0].rows[1].mean == pytest.approx(0, abs=1e-9)
    assert watch.audits[0].rows[0].mean != pytest.approx(0, abs=0.1)


# ---- over time


def trained(watch, epochs=3, lr=0.1, model=None, **options):
    model = model or network()
    trainer = tg.Trainer(model, nn.SoftmaxCrossEntropy(), optim.SGD(model.parameters(), lr=lr))
    trainer.fit(X, Y, epochs=epochs, seed=0, callbacks=watch, **options)
    return trainer


def test_a_watch_audits_the_model_as_it_is_after_each_epoch():
    watch = Watch(X, Y)
    trainer = trained(watch)
    by_hand = audit(trainer.model, loss_of(trainer.model), trainer.optimizer)
    assert watch.audits[-1].rows == by_hand.rows
    assert watch.audits[0].loss > watch.audits[-1].loss == by_hand.loss


def test_data_are_turned_to_the_parameters_dtype():
    watch = Watch(X.tolist(), Y.tolist())
    trained(watch, model=network().astype(np.float32))
    assert watch.audits[-1].verdict == "fine"


def test_every_says_how_often_and_epochs_are_counted_on():
    watch = Watch(X, Y, every=3)
    trainer = trained(watch, epochs=5)
    trainer.fit(X, Y, epochs=3, callbacks=[watch])
    assert watch.epochs == [1, 4, 7]


def test_the_table_has_the_verdicts_as_spans_of_epochs():
    watch = Watch(X, Y)
    trainer = trained(watch, epochs=2)
    trainer.optimizer.lr = 1e-5
    trainer.fit(X, Y, epochs=3, callbacks=[watch])
    assert re.search(r"layers\.0  Dense\(6, 8\) +fine 1-2, updates too small 3-5\n", watch.table())
    assert re.search(r"layers\.1  Tanh\(\) +fine 1-5\n", watch.table())
    assert str(watch) == repr(watch) == watch.table()
    assert "<td><b>fine 1-2, updates too small 3-5</b></td>" in watch._repr_html_()


def test_a_layer_that_is_not_always_called_is_watched_when_it_is():
    class Sometimes(nn.Module):
        depth = 0

        def __init__(self):
            self.first, self.skipped = nn.Dense(6, 3), nn.Tanh()

        def forward(self, x):
            z = self.first(x)
            return self.skipped(z) * 2.0 if self.depth % 2 else z

    def deeper(trainer, row):
        Sometimes.depth += 1

    watch = Watch(X, Y)
    trained([watch, deeper], epochs=4, model=Sometimes())
    assert re.search(rf"skipped  Tanh\(\) +{SEPARATE} 1, fine 2, {SEPARATE} 3, fine 4", str(watch))
    assert re.search(rf"\(model\)  Sometimes +{SEPARATE} 1, fine 2, {SEPARATE} 3, fine 4", str(watch))
    watch.plot()


@pytest.mark.parametrize("epochs", [1, 6])
def test_the_plot_has_the_numbers_of_the_audits(epochs, tmp_path):
    watch = Watch(X, Y)
    trained(watch, epochs=epochs)
    figure = watch.plot(tmp_path / "audit.png")
    assert isinstance(figure, matplotlib.figure.Figure)
    assert matplotlib.image.imread(tmp_path / "audit.png").std() > 0.05
    updates, gradients, shares = figure.axes
    assert updates.get_yscale() == gradients.get_yscale() == "log"
    healthy, *lines = updates.lines
    np.testing.assert_array_equal(healthy.get_ydata(), 1e-3)
    for line, i in zip(lines, (0, 2), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), watch.epochs)
        np.testing.assert_array_equal(line.get_ydata(), [found.rows[i].update_per_weight for found in watch.audits])
    for line, i in zip(gradients.lines, (0, 2), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), [found.rows[i].gradient for found in watch.audits])
    saturated, dead = shares.lines
    np.testing.assert_array_equal(saturated.get_ydata(), [found.rows[1].saturated for found in watch.audits])
    np.testing.assert_array_equal(dead.get_ydata(), [found.rows[1].dead for found in watch.audits])


def test_many_layers_and_gradients_of_zero_can_be_plotted(tmp_path):
    watch = Watch(X, Y)
    trained(watch, epochs=2, model=network(nn.ReLU, (6, *[4] * 30, 3), bias=-30))
    figure = watch.plot(tmp_path / "audit.png")
    assert len(figure.axes[0].get_legend().get_texts()) <= 14


# ---- as text


@pytest.mark.parametrize("illness", PLANTED)
def test_tables_fit_a_hundred_columns(illness):
    make, lr, _ = PLANTED[illness]
    found = audited(make(), lr)
    assert str(found) == repr(found)
    assert max(map(len, str(found).splitlines())) <= 100
    assert all(row.path in str(found) for row in found.rows)
    assert {row.verdict for row in found.rows} <= set(KINDS)


class Greek(nn.Dense):
    def __init__(self):
        super().__init__(6, 3)

    def __repr__(self):
        return "β-layer"


def test_a_terminal_that_knows_ascii_only_gets_ascii(monkeypatch):
    found = audited(Greek(), 0.1)
    watch = Watch(X, Y)
    trained(watch, model=Greek())
    assert "█" in str(found)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    printed, table = str(found), str(watch)
    monkeypatch.undo()
    assert printed.isascii()
    assert table.isascii()
    assert "?-layer" in printed
    assert "@" in printed


def test_without_an_optimizer_there_is_no_column_for_updates():
    without, given_one = str(audited(network())), str(audited(network(), 0.1))
    assert "update\n" not in without
    assert "tg.audit(model, loss, optimizer)" in without
    assert "tg.audit(model, loss, optimizer)" not in given_one
    assert len(given_one.splitlines()[2]) > len(without.splitlines()[2])


class Named(nn.Module):
    def __init__(self):
        self.parts = {
            "<script>alert(1)</script>": nn.Dense(6, 3),
            "[red]brackets[/red]": nn.Tanh(),
            "x" * 90: nn.Tanh(),
        }

    def forward(self, x):
        for part in self.parts.values():
            x = part(x)
        return x

    def __repr__(self):
        return "<b>Named</b>"


def test_names_are_escaped_in_html_and_not_read_as_markup():
    found = audited(Named())
    html = found._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert str(found).count("[red]brackets[/red]") == 2  # in both tables
    assert max(map(len, str(found).splitlines())) <= 100
    watch = Watch(X, Y)
    trained(watch, model=Named())
    assert "<script>" not in watch._repr_html_()
    assert max(map(len, watch.table().splitlines())) <= 100
    watch.plot()


def test_html_has_every_figure():
    found = audited(network(scale=30), 0.1)
    html = found._repr_html_()
    assert html.count("<tr>") == 1 + len(found.rows)
    assert "<b>saturated</b>" in html
    assert f"{found.rows[0].update_per_weight:.2g}" in html
    assert found.rows[1].outputs in html


def test_the_histogram_counts_the_outputs():
    row = audited(network()).rows[0]
    z = X @ network().layers[0].W.data
    counts, _ = np.histogram(z, bins=12)
    assert [" ▁▂▃▄▅▆▇█".index(bar) for bar in row.outputs] == np.ceil(counts / counts.max() * 8).tolist()


@pytest.mark.parametrize("size", [1e-320, 1e-200, 1.0, 1e200, 1.7e308])
@pytest.mark.parametrize("values", [[-1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
def test_histograms_of_numbers_of_any_size(values, size):
    assert text.histogram(np.array(values) * size, bins=2) == "▄█"
    assert text.histogram(np.nextafter(np.array([1.0, 1.0]) * size, [0, 2e308]), bins=2) == "██"


# ---- bad input


def test_what_is_no_model_loss_or_optimizer_is_refused():
    model = network()
    loss = loss_of(model)
    with pytest.raises(TypeError, match=r"model is Tensor; it must be a tg\.nn\.Module"):
        audit(loss, model)
    with pytest.raises(TypeError, match=r"tg\.audit: a loss is a Tensor .* and this is float"):
        audit(model, 0.3)
    with pytest.raises(ValueError, match=r"a loss is a single number, and .* has shape \(40, 3\)"):
        audit(model, model(X))
    with pytest.raises(ValueError, match="has no history"):
        audit(model, tg.Tensor(1.0))
    with tg.no_grad():
        unrecorded = loss_of(model)
    with pytest.raises(ValueError, match="has no history"):
        audit(model, unrecorded)
    with pytest.raises(TypeError, match=r"optimizer is float; pass one of tg\.optim"):
        audit(model, loss, 0.1)
    with pytest.raises(ValueError, match=r"holds no parameter of this model: make it with model\.parameters\(\)"):
        audit(model, loss, optim.SGD(network().parameters()))


def test_a_loss_of_another_model_is_refused():
    with pytest.raises(
        ValueError, match=r"no operation of this loss was made in this Sequential: .* calling model\(x\)"
    ):
        audit(network(), loss_of(network()))


def test_a_loss_of_a_training_step_is_refused():
    """The optimizer has written to the parameters since."""
    model, losses = network(), []

    def keeping(predictions, targets):
        losses.append(tg.losses.softmax_cross_entropy(predictions, targets))
        return losses[-1]

    tg.Trainer(model, keeping, optim.SGD(model.parameters())).fit(X, Y, epochs=1, compile=False)
    with pytest.raises(ValueError, match="written to after the loss was computed"):
        audit(model, losses[-1])


def test_a_watch_says_what_it_needs():
    with pytest.raises(ValueError, match=r"Watch: X has shape \(40, 6\) and y \(39,\)"):
        Watch(X, Y[1:])
    with pytest.raises(ValueError, match="Watch: every is 0"):
        Watch(X, Y, every=0)
    with pytest.raises(TypeError, match=r"Watch: every is 1\.5"):
        Watch(X, Y, every=1.5)
    watch = Watch(X, Y)
    assert "nothing has been watched yet" in str(watch)
    assert "nothing has been watched yet" in watch._repr_html_()
    with pytest.raises(ValueError, match="nothing to plot before the first epoch"):
        watch.plot()
    trained(watch)
    with pytest.raises(ValueError, match="this one has watched another model"):
        trained(watch)


# ---- and for every network


@settings(deadline=None, max_examples=30)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    activation=st.sampled_from([nn.Tanh, nn.Sigmoid, nn.ReLU, nn.Softplus]),
    scale=st.sampled_from([0.0, 1e-3, 1.0, 30.0, 1e200]),
    seed=st.integers(0, 100),
)
def test_gradients_are_those_of_backward_whatever_the_network(sizes, activation, scale, seed):
    model = network(activation, (6, *sizes, 3), scale=scale)
    with np.errstate(all="ignore"):
        loss = loss_of(model, np.random.default_rng(seed).normal(size=(10, 6)), Y[:10])
        found = audit(model, loss, optim.SGD(model.parameters(), lr=0.1))
        assert max(map(len, str(found).splitlines())) <= 100
        loss.backward()
    dense = [row for row in found.rows if row.layer.startswith("Dense")]
    for row, layer in zip(dense, model.layers[::2], strict=True):
        gradients = (layer.W.grad.ravel(), layer.b.grad.ravel())
        if all(np.isfinite(gradient).all() for gradient in gradients):
            largest = max(np.abs(gradient).max() for gradient in gradients) or 1.0
            assert row.gradient == pytest.approx(largest * norm(*(g / largest for g in gradients)), rel=1e-9)
        else:
            assert row.verdict == "not finite"
    assert {row.verdict for row in found.rows} <= set(KINDS)


def test_it_is_loaded_when_it_is_first_asked_for():
    code = (
        "import sys, tinygrad_ce as tg; assert 'tinygrad_ce.views.audit' not in sys.modules; print(tg.audit.__name__)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "audit\n", "")
    assert tg.audit is audit
    assert isinstance(audited(network()), Audit)
