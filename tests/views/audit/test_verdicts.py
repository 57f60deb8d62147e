"""The verdicts of the audit on planted illnesses, and which layers it looks at."""

import numpy as np
import pytest
from views.audit.networks import DEEP, PLANTED, Identity, X, Y, audited, loss_of, network, norm

import tinygrad_ce as tg
from tinygrad_ce import nn, optim
from tinygrad_ce.views.audit import CURES, SEPARATE, audit

rng = np.random.default_rng(7)


# ---- verdicts on planted illnesses


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
