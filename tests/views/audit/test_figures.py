"""The figures of the audit, against NumPy by hand."""

import numpy as np
import pytest
from fresh import ran
from hypothesis import given, settings
from hypothesis import strategies as st
from views.audit.networks import KINDS, Identity, X, Y, audited, loss_of, network, norm

import tinygrad_ce as tg
from tinygrad_ce import nn, optim
from tinygrad_ce.views.audit import Audit, audit

rng = np.random.default_rng(7)


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
    assert "62.5 %" in str(found)
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
    *(lambda z: tg.ops.log(z * z), lambda z: z * np.array([0.0, 2.0]), lambda z: z * tg.ops.sigmoid(z.detach())),
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


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_an_embedding_is_measured_by_the_rows_that_the_batch_has_used(momentum):
    tg.seed(0)
    model = nn.Sequential(nn.Embedding(5000, 4), nn.Dense(4, 3))
    table, optimizer = model.layers[0].parameters()[0], optim.SGD(model.parameters(), lr=0.1, momentum=momentum)
    words = rng.integers(0, 5000, 40)
    loss = loss_of(model, words)
    found = audit(model, loss, optimizer)
    (gradient,) = tg.gradients(loss, [table])
    used = np.unique(words)
    ratio = norm(gradient[used]) / norm(table.data[used])
    assert found.rows[0].gradient_per_weight == pytest.approx(ratio, rel=1e-9)
    assert found.rows[0].update_per_weight == pytest.approx(0.1 * ratio, rel=1e-9)
    assert found.verdict == "fine"


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
    done = ran(code, PYTHONWARNINGS="error")
    assert (done.returncode, done.stdout, done.stderr) == (0, "audit\n", "")
    assert tg.audit is audit
    assert isinstance(audited(network()), Audit)
