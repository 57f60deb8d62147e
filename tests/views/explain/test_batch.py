"""`tg.explain`: which rows of the batch a gradient comes from, as the losses tell it, or `rows=`."""

from __future__ import annotations

import re

import numpy as np
import pytest
from views.explain.explained import lines, softmax, wanted

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.core import Tensor


@pytest.mark.parametrize("targets", ["labels", "one-hot", "soft"])
def test_the_rows_of_logistic_regression(targets):
    rng = np.random.default_rng(0)
    x, y, W = rng.normal(size=(7, 3)), np.arange(7) % 4, wanted(rng.normal(size=(3, 4)), "W")
    rows = {"labels": np.eye(4)[y], "one-hot": np.eye(4)[y], "soft": rng.dirichlet(np.ones(4), size=7)}[targets]
    loss = tg.losses.softmax_cross_entropy(x @ W, y if targets == "labels" else rows)
    found = tg.explain(W, loss, at=(1, 2))
    by_hand = x[:, 1] * (softmax(x @ W.data) - rows)[:, 2] / 7
    np.testing.assert_allclose(found.rows.contributions, by_hand, rtol=1e-9)
    assert found.rows.rest == 0
    hardest = np.argsort(-np.abs(by_hand))
    assert found.rows.hardest == hardest.tolist()
    text = lines(found)
    begin = text.index("Which rows of the batch push W[1, 2] hardest")
    table = [line.split() for line in text[begin + 3 : begin + 8]]
    assert [int(row[0]) for row in table] == hardest[:5].tolist()
    told = [" ".join(f"{q:.2g}" for q in rows[n]) if targets == "soft" else str(y[n]) for n in hardest[:5]]
    assert [" ".join(row[1:-5]) for row in table] == told
    assert [float(row[-5]) for row in table] == pytest.approx(by_hand[hardest[:5]], rel=1e-3)
    ways = ["down" if contribution > 0 else "up" for contribution in by_hand[hardest[:5]]]
    assert [row[-1] for row in table] == ways
    down, up = by_hand[by_hand > 0], by_hand[by_hand < 0]
    told = f"Of 7 rows, {len(down)} (together {down.sum():.4g}) would move W[1, 2] down, and {len(up)} (together "
    assert f"{told}{up.sum():.4g}) up." in " ".join(text)


def test_a_row_pushes_where_a_step_on_this_row_alone_would_go():
    """On a copy of the network, a step of gradient descent with the loss of one row."""
    rng = np.random.default_rng(1)
    tg.seed(0)
    model = tg.nn.Sequential(tg.nn.Dense(3, 4), tg.nn.Tanh(), tg.nn.Dense(4, 1))
    x, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 1))
    W = model.parameters()[0]
    found = tg.explain(W, tg.losses.mse(model(x), y), at=(2, 1))
    for row in range(6):
        alone = tg.gradients(tg.losses.mse(model(x[row : row + 1]), y[row : row + 1]), W) / 6
        assert found.rows.contributions[row] == pytest.approx(alone[2, 1], rel=1e-9)
    np.testing.assert_array_equal(found.rows.targets, y)


def test_rows_through_batch_norm_are_the_gradients_of_the_losses_of_the_rows():
    """The loss of one row depends on all of them, and so do its slopes."""
    rng = np.random.default_rng(2)
    tg.seed(1)
    model = tg.nn.Sequential(tg.nn.Dense(2, 3), tg.nn.BatchNorm(3), tg.nn.ReLU(), tg.nn.Dense(3, 3))
    x, y = rng.normal(size=(8, 2)), np.arange(8) % 3
    loss = tg.losses.softmax_cross_entropy(model(x), y)
    of_rows = tg.losses.softmax_cross_entropy(model(x), y, reduction="none")
    for p in model.parameters():
        cell = (0,) * p.ndim
        found = tg.explain(p, loss, at=cell)
        alone = [tg.gradients(of_rows[row], p)[cell] / 8 for row in range(8)]
        np.testing.assert_allclose(found.rows.contributions, alone, rtol=1e-7, atol=1e-15)
        assert found.rows.rest == pytest.approx(0, abs=1e-15)  # the gradient of a bias before it is rounding alone


LOSSES = {
    "mse": (lambda z, y, **k: tg.losses.mse(z, np.eye(2)[y], **k)),
    "weighted": (lambda z, y, **k: tg.losses.mse(z, np.eye(2)[y], weight=np.array([[1.0, 3.0]]), **k)),
    "huber": (lambda z, y, **k: tg.losses.huber(z, np.eye(2)[y], delta=0.3, **k)),
    "hinge": (lambda z, y, **k: tg.losses.hinge(z, 2 * np.eye(2)[y] - 1, **k)),
    "hinge of classes": tg.losses.hinge,
    "softmax": tg.losses.softmax_cross_entropy,
    "of classes with weights": (lambda z, y, **k: tg.losses.softmax_cross_entropy(z, y, weight=[1.0, 2.0], **k)),
    "of probabilities": (lambda z, y, **k: tg.losses.cross_entropy(ops.softmax(z), y, **k)),
    "apart": (lambda z, y, **k: tg.losses.cross_entropy(ops.softmax(z), y, fused=False, **k)),
    "nll": (lambda z, y, **k: tg.losses.nll(ops.log_softmax(z), y, fused=False, **k)),
    "kl": (lambda z, y, **k: tg.losses.kl_divergence(ops.softmax(z), np.eye(2)[y] * 0.8 + 0.1, **k)),
    "sigmoid": (lambda z, y, **k: tg.losses.sigmoid_binary_cross_entropy(z, np.eye(2)[y], **k)),
    "binary apart": (lambda z, y, **k: tg.losses.binary_cross_entropy(ops.sigmoid(z), np.eye(2)[y], fused=False, **k)),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_every_loss_tells_its_batch(loss, reduction):
    rng = np.random.default_rng(12)
    x, y, W = rng.normal(size=(6, 3)), np.array([0, 1, 1, 0, 1, 0]), wanted(rng.normal(size=(3, 2)), "W")
    found = tg.explain(W, loss(x @ W, y, reduction=reduction), at=(1, 0))
    of_rows = loss(x @ W, y, reduction="none").reshape(6, -1).sum(axis=1)
    alone = np.array([tg.gradients(of_rows[row], W)[1, 0] for row in range(6)])
    ratio = found.gradient[1, 0] / alone.sum()  # what a mean divides by
    np.testing.assert_allclose(found.rows.contributions, alone * ratio, rtol=1e-9, atol=1e-15)
    assert found.rows.rest == 0
    assert len(found.rows.targets) == 6
    own = loss(x @ W, y, reduction="none").mean()  # reduced by hand: the losses of the rows are known still
    np.testing.assert_allclose(tg.explain(W, own, at=(1, 0)).rows.contributions.sum(), tg.gradients(own, W)[1, 0])


def test_what_does_not_come_through_the_rows():
    x, w = np.array([1.0, 2.0, 3.0]), wanted(0.5, "w")
    found = tg.explain(w, ((w * x - 1.0) ** 2).mean() + 0.1 * w * w, rows=x)
    np.testing.assert_allclose(found.rows.contributions, 2 * (0.5 * x - 1) * x / 3)
    assert found.rows.rest == pytest.approx(2 * 0.1 * 0.5)
    assert "0.1 does not come through the rows of the batch." in " ".join(lines(found))


def test_the_way_to_the_batch_may_be_longer():
    """A weight that is transposed and masked before it meets the data."""
    rng = np.random.default_rng(3)
    x, W = rng.normal(size=(5, 2)), wanted(rng.normal(size=(3, 2)), "W")
    mask = np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]])  # data with rows, and no batch
    loss = ((x @ (W.T * mask)) ** 2).sum()
    found = tg.explain(W, loss, at=(2, 0), rows=x)
    d_z = 2 * (x @ (W.data.T * mask))
    np.testing.assert_allclose(found.rows.contributions, x[:, 0] * d_z[:, 2] * 2.0, rtol=1e-12)


def test_the_batch_is_what_the_targets_have_rows_for():
    """Not what most operations have rows for."""
    rng = np.random.default_rng(5)
    x, y, W = rng.normal(size=(5, 2)), np.array([0, 1, 1, 0, 1]), wanted(rng.normal(size=(2, 2)), "W")
    masked = W * np.array([[1.0, 0.0], [2.0, 1.0]])
    for _ in range(9):
        masked = np.tanh(masked)
    loss = tg.losses.softmax_cross_entropy(x @ masked, y)
    assert tg.explain(W, loss).rows.contributions.shape == (5,)


def test_the_rows_of_an_embedding_are_those_that_looked_it_up():
    words = np.array([1, 0, 1, 2])
    E, y = wanted(np.arange(6.0).reshape(3, 2) / 10, "E"), np.array([0, 1, 1, 0])
    loss = tg.losses.softmax_cross_entropy(E[words], y)
    found = tg.explain(E, loss, at=(1, 0))
    d_z = (softmax(E.data[words]) - np.eye(2)[y]) / 4
    np.testing.assert_allclose(found.rows.contributions, np.where(words == 1, d_z[:, 0], 0), atol=1e-15)
    np.testing.assert_array_equal(found.rows.targets, y)
    text = str(found)
    table = text[text.index("direction") : text.index("A step goes")]
    assert [int(line.split()[0]) for line in table.splitlines()[2:]] == [0, 2]


def test_predictions_that_a_loss_counts_one_by_one_are_its_rows():
    """As many as it averages over, and their array is named; of rows= there are as many as in the data."""
    rng = np.random.default_rng(15)
    x, y, W = rng.normal(size=(6, 3, 4)), rng.integers(0, 5, size=(6, 3)), wanted(rng.normal(size=(4, 5)), "W")
    loss = tg.losses.softmax_cross_entropy(x @ W, y)
    found = tg.explain(W, loss, at=(1, 2))
    d_z = softmax(x.reshape(18, 4) @ W.data) - np.eye(5)[y.reshape(18)]
    by_hand = x.reshape(18, 4)[:, 1] * d_z[:, 2] / 18
    np.testing.assert_allclose(found.rows.contributions, by_hand, rtol=1e-9)
    assert "Of 18 rows of t1 = np.reshape(z1, (-1, 5)), " in " ".join(lines(found))
    of_data = tg.explain(W, loss, at=(1, 2), rows=x)
    np.testing.assert_allclose(of_data.rows.contributions, by_hand.reshape(6, 3).sum(axis=1), rtol=1e-9)
    assert "Of 6 rows, " in " ".join(lines(of_data))
    long = (x @ W).named("z" * 500).reshape(18, 5).named("y" * 500)
    (*_, words) = tg.explain(W, tg.losses.softmax_cross_entropy(long, y.ravel())).parts
    assert re.search(r" of y{39}… = np\.reshape\(z{20,48}…, ", words.text)


def test_probabilities_that_a_loss_passes_over_get_nothing_from_it():
    """The loss is computed from the logits behind them; what they get comes from another term."""
    z = wanted(np.arange(6.0).reshape(3, 2), "z")
    p = ops.sigmoid(z)
    losses = tg.losses.binary_cross_entropy(p, np.eye(2)[[0, 1, 1]], reduction="none")
    loss = losses.mean() + (p * p).sum()
    found = tg.explain(p, loss, at=(2, 1), rows=z)
    np.testing.assert_allclose(found.rows.contributions, [0, 0, 2 / (1 + np.exp(-5))])
    assert found.rows.rest == 0


def test_large_batches_need_no_limit():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(5_000, 20)), rng.integers(0, 3, size=5_000)
    W = wanted(rng.normal(size=(20, 3)), "W")
    found = tg.explain(W, tg.losses.softmax_cross_entropy(x @ W, y), at=(7, 1))
    by_hand = x[:, 7] * (softmax(x @ W.data) - np.eye(3)[y])[:, 1] / 5_000
    np.testing.assert_allclose(found.rows.contributions, by_hand, rtol=1e-9, atol=1e-18)
    assert "Of 5,000 rows" in str(found)


def test_a_loss_written_by_hand_does_not_say_where_the_batch_is():
    x = Tensor(np.arange(6.0).reshape(3, 2), name="x")
    W = wanted(np.ones((2, 2)), "W")
    loss = (np.tanh(x @ W) ** 2).sum()
    found = tg.explain(W, loss)
    assert found.rows is None
    assert "This loss does not say where the batch is: tg.explain(..., rows=x) does" in last_words(found)
    assert tg.explain(W, loss, rows=x).rows is not None
    assert tg.explain(W, (x.data[:1] @ W).sum(), rows=x.data[:1]).rows is None  # one row
    assert "rows=" not in str(tg.explain(W, (W * W).sum()))  # no data


def test_a_number_that_belongs_to_one_row_gets_all_from_it():
    x, y = Tensor(np.arange(6.0).reshape(3, 2) - 2, name="x"), np.array([0, 1, 1])
    logits = wanted(np.zeros((3, 2)), "logits")
    found = tg.explain(logits, tg.losses.softmax_cross_entropy(logits, y), at=(1, 0))
    np.testing.assert_allclose(found.rows.contributions, [0, 1 / 6, 0])
    h = np.tanh(x @ wanted(np.ones((2, 2)), "W"))
    loss = tg.losses.softmax_cross_entropy(h, y)
    np.testing.assert_allclose(tg.explain(h, loss, at=(2, 1)).rows.contributions[:2], 0)


def last_words(explanation):
    return explanation.parts[-1].text


@pytest.mark.parametrize("skip", [0.0, 2.0])
@pytest.mark.parametrize("penalised", [True, False])
def test_the_rows_of_a_gradient_penalty_are_those_of_one_row_at_a_time(penalised, skip):
    rng = np.random.default_rng(6)
    X, V = rng.normal(size=(4, 3)), wanted(rng.normal(size=(3, 5)), "V")

    def loss_of(X):
        x = wanted(X, "x")
        out = np.tanh(x @ V).sum() + ((x * x).sum() * skip if skip else 0.0)
        (g,) = tg.gradients(out, [x], create_graph=True)
        return (g * g).sum() / 4 + 0.1 * out + (0.5 * V * V).sum() * (0.3 if penalised else 0.0)

    rest = 0.3 * V.data[1, 2] if penalised else 0.0
    found = tg.explain(V, loss_of(X), at=(1, 2), rows=X)
    alone = [tg.gradients(loss_of(X[row : row + 1]), V)[1, 2] - rest for row in range(4)]
    np.testing.assert_allclose(found.rows.contributions, alone, rtol=1e-9)
    assert found.rows.rest == pytest.approx(rest, abs=1e-12)
    assert found.rows.targets is None


def test_data_that_want_a_gradient_are_data():
    rng = np.random.default_rng(7)
    tg.seed(0)
    model = tg.nn.Sequential(tg.nn.Dense(3, 4), tg.nn.Tanh(), tg.nn.Dense(4, 2))
    x, y = rng.normal(size=(6, 3)), np.array([0, 1, 1, 0, 1, 0])
    for of, targets in ((tg.losses.softmax_cross_entropy, y), (tg.losses.mse, np.eye(2)[y])):
        data = wanted(x)
        for p in model.parameters():
            plain = tg.explain(p, of(model(x), targets)).rows
            rows = tg.explain(p, of(model(data), targets)).rows
            np.testing.assert_allclose(rows.contributions, plain.contributions, rtol=1e-12)


def test_an_axis_of_the_same_length_is_not_taken_for_the_batch():
    """Transposed squares, products from the left, sums over the rows: what follows from them has no rows."""
    rng = np.random.default_rng(8)
    x, W, A = rng.normal(size=(4, 4)), wanted(rng.normal(size=(4, 4)), "W"), wanted(rng.normal(size=(4, 4)), "A")
    for mixed in (W @ x.T, A @ x, x.mean(axis=0) @ W):
        asked = A if mixed.inputs[0] is A else W
        found = tg.explain(asked, (mixed**2).sum() + (x @ W).sum() * 0.0 + (x * A).sum() * 0.0, rows=x)
        np.testing.assert_allclose(found.rows.contributions, 0, atol=1e-12)
        assert found.rows.rest == pytest.approx(found.gradient[found.cell])
    # As many numbers as there are rows; the sum of them is a row's no more.
    found = tg.explain(W, ((x @ W).sum(axis=0) ** 2).sum(), at=(1, 2), rows=x)
    by_hand = x[:, 1] * 2 * (x @ W.data)[:, 2].sum()
    np.testing.assert_allclose(found.rows.contributions, by_hand, rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rounding_is_not_said_to_come_by_no_row(dtype):
    """Nor is the gradient of a bias before BatchNorm, which is rounding alone; a small decay of weights is."""
    rng = np.random.default_rng(13)
    x, V = rng.normal(size=(40, 3)).astype(dtype), wanted(rng.normal(size=(3, 2)).astype(dtype), "V")
    for loss in (tg.losses.softmax_cross_entropy(x @ V, np.arange(40) % 2), np.tanh(x @ V).mean()):
        assert tg.explain(V, loss, rows=x).rows.rest == 0
    tg.seed(0)
    model = tg.nn.Sequential(tg.nn.Dense(3, 4), tg.nn.BatchNorm(4), tg.nn.Dense(4, 2))
    loss = tg.losses.softmax_cross_entropy(model(x.astype(np.float64)), np.arange(40) % 2)
    assert all(tg.explain(p, loss).rows.rest == 0 for p in model.parameters())
    decay = 1e-7 * (V.astype(np.float64) ** 2).sum()
    found = tg.explain(V, np.tanh(x.astype(np.float64) @ V.astype(np.float64)).mean() + decay, at=(0, 0), rows=x)
    if dtype == np.float64:
        assert found.rows.rest == pytest.approx(2e-7 * V.data[0, 0], rel=1e-6)


@pytest.mark.parametrize("order", [[0, 2, 1, 3, 4], [0, 1, 3, 2, 4], [0, 2, 3, 4, 1], [0, 1, 2, 3, 3], [1, 0, 2, 3, 4]])
def test_rows_in_another_order_are_told_by_where_they_came_from(order):
    """An order that leaves the first rows alone still is another: row 2 of the data is not row 2 of the loss."""
    rng = np.random.default_rng(11)
    x, t, W = rng.normal(size=(5, 3)), rng.normal(size=(5, 2)), wanted(rng.normal(size=(3, 2)), "W")
    found = tg.explain(W, (((x @ W)[order] - t) ** 2).sum(), at=(1, 0), rows=x)
    slopes = 2 * ((x @ W.data)[order] - t)[:, 0]  # of the loss, at each row after the exchange
    by_hand = [x[row, 1] * slopes[np.array(order) == row].sum() for row in range(5)]
    np.testing.assert_allclose(found.rows.contributions, by_hand, rtol=1e-9, atol=1e-12)
    assert found.rows.rest == 0


@pytest.mark.parametrize(
    "mix",
    [
        lambda h: h[[0, 1, 3, 2]],
        lambda h: h[::-1],
        lambda h: np.cumsum(h, axis=0),
        lambda h: ops.softmax(h, axis=0),
        lambda h: h.max(axis=0),
        lambda h: h.T,
    ],
)
@pytest.mark.parametrize("rows", [[1, 1, 1, 1], [0, 0, 0, 0], [-2, -2, -2, -2], [3, 1, 1, 1]])
def test_equal_rows_are_told_apart(mix, rows):
    """By what another number in one row alone changes: one derivative for each row, of the loss that NumPy computes."""
    rng = np.random.default_rng(12)
    x, t = np.array(rows, float)[:, None] * np.ones(4), rng.normal(size=(4, 4))
    W, b = wanted(rng.normal(size=(4, 4)), "W"), wanted(np.zeros((4, 4)), "b")
    found = tg.explain(W, ((mix(x @ W) - t) ** 2).sum(), at=(1, 2), rows=x)
    by_row = tg.gradients(((mix(x @ W.data + b) - t) ** 2).sum(), b)
    np.testing.assert_allclose(found.rows.contributions, x[:, 1] * by_row[:, 2], rtol=1e-9, atol=1e-12)
    assert found.rows.rest == 0


def test_an_operation_that_refuses_other_numbers_is_not_known_to_work_by_rows():
    @tg.primitive
    def checked(x):
        if not np.isin(x, [0.0, 1.0]).all():
            raise ValueError("only 0 and 1")
        return x * 2.0

    @checked.vjp("x")
    def _(g, out, x):
        return g * 2.0

    x, w = wanted([[0.0, 1.0], [1.0, 1.0]], "x"), wanted([1.0, 2.0], "w")
    found = tg.explain(w, (checked(x) * w).sum(), at=0, rows=x)
    assert (found.rows.contributions.tolist(), found.rows.rest) == ([0.0, 0.0], 2.0)


def test_an_optimizers_step_does_not_take_the_rows_away():
    """What comes back is computed with the parameters of now, and sums to the gradient that is shown."""
    rng = np.random.default_rng(14)
    x, W, V = rng.normal(size=(5, 3)), wanted(rng.normal(size=(3, 2)), "W"), wanted(rng.normal(size=(2, 1)), "V")
    h = x @ W
    loss = (h @ V).sum()
    V.data[:] = [[3.0], [5.0]]
    for asked, by_hand in ((W, x[:, 1] * 5.0), (V, h.data[:, 1])):
        found = tg.explain(asked, loss, at=(1, asked.shape[1] - 1), rows=x)
        np.testing.assert_allclose(found.rows.contributions, by_hand, rtol=1e-9)
        assert found.rows.rest == 0


@pytest.mark.parametrize("n", [4, 6])
def test_two_batches_in_one_loss(n):
    rng = np.random.default_rng(10)
    W = wanted(rng.normal(size=(3, 2)), "W")
    first, second = rng.normal(size=(6, 3)), rng.normal(size=(n, 3))
    x, x2 = Tensor(first, name="x"), Tensor(second, name="x2")
    loss = (np.tanh(x @ W) * 2.0).sum() + ((x2 @ W) ** 2).sum()
    by_hand = first[:, 1] * 2 / np.cosh(first @ W.data)[:, 0] ** 2
    other = second[:, 1] * 2 * (second @ W.data)[:, 0]
    for rows, mine, rest in ((x, by_hand, other), (second, other, by_hand)):
        found = tg.explain(W, loss, at=(1, 0), rows=rows)
        np.testing.assert_allclose(found.rows.contributions, mine)
        assert found.rows.rest == pytest.approx(rest.sum())
    if n == 6:  # both losses tell batches of one size: a row is that row of each
        loss = tg.losses.mse(x @ W, np.ones((6, 2))) + tg.losses.mse(x2 @ W, np.zeros((6, 2)))
        found = tg.explain(W, loss, at=(1, 0))
        by_hand = first[:, 1] * (first @ W.data - 1)[:, 0] / 6 + second[:, 1] * (second @ W.data)[:, 0] / 6
        np.testing.assert_allclose(found.rows.contributions, by_hand)


def test_a_loss_on_the_way_to_another_loss_is_not_counted_twice():
    rng = np.random.default_rng(14)
    x, y, W, V = rng.normal(size=(5, 3)), np.arange(5) % 2, wanted(rng.normal(size=(3, 2)), "W"), wanted(2.0, "V")

    def loss_of(reduction):
        z = x @ W
        first = tg.losses.softmax_cross_entropy(z, y, reduction=reduction)
        return first + tg.losses.softmax_cross_entropy(np.tanh(z) * V, y, reduction=reduction)

    found = tg.explain(W, loss_of("mean") + 0.5 * (W * W).sum(), at=(0, 1))
    alone = [tg.gradients(loss_of("none")[row], W)[0, 1] / 5 for row in range(5)]
    np.testing.assert_allclose(found.rows.contributions, alone, rtol=1e-9)
    assert found.rows.rest == pytest.approx(W.data[0, 1])


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (
            np.ones((7, 2)),
            r"rows= is an array of shape \(7, 2\), and nothing of it went into the loss: .*; these went in: x",
        ),
        (np.zeros((3, 2)), r"rows= is an array of shape \(3, 2\), and nothing of it"),
        (Tensor(np.ones((3, 2)), name="other"), "rows= is other, and nothing of it went into the loss"),
        (2.0, r"rows= is an array of shape \(\), and nothing of it"),
        ("the loss", "rows= is cost, a single number: pass data whose first axis is the batch"),
        ("x", r"rows= is an array of shape \(\), and nothing of it"),
        (None, ""),
    ],
)
def test_rows_that_are_not_there(rows, says):
    x, W = Tensor(np.ones((3, 2)), name="x"), wanted(np.ones((2, 1)), "W")
    loss = (x @ W * 2.0).sum().named("cost")
    rows = loss if isinstance(rows, str) and rows == "the loss" else rows
    if rows is None:
        assert tg.explain(W, loss, rows=x.data.astype(np.float32)).rows is not None  # the same numbers
        assert tg.explain(W, loss, rows=x.data.tolist()).rows is not None
        return
    with pytest.raises(ValueError, match=says):
        tg.explain(W, loss, rows=rows)


# ---- in words


def remarks(explanation):
    return " ".join(" ".join(lines(explanation)).split())


def test_a_row_of_an_embedding_names_the_rows_that_looked_it_up():
    C = wanted(np.arange(12.0).reshape(6, 2) / 10, "C")
    loss = tg.losses.mse(C[np.array([5, 1, 2, 5])], np.zeros((4, 2)))
    found = tg.explain(C, loss, at=(5, 0))
    assert "C[5] was used by rows 0 and 3:" in remarks(found)
    np.testing.assert_allclose(found.rows.contributions, [0.25, 0, 0, 0.25])  # 2 * 1.0 / 8 each
    assert "C[1] was used by row 1:" in remarks(tg.explain(C, loss, at=(1, 0)))
    never = tg.explain(C, loss, at=(3, 1))
    assert float(never.gradient[3, 1]) == 0
    assert "Exactly 0: the index does not choose C[3, 1]." in remarks(never)


def test_a_lookup_of_single_numbers_names_the_number():
    """Another number of the same row was used by other rows."""
    x = wanted(np.arange(9.0).reshape(3, 3), "x")
    single = remarks(tg.explain(x, x[[0, 0, 1], [1, 2, 1]].sum(), at=(0, 1)))
    assert "x[0, 1] was used by row 0:" in single
    assert "x[1] was used by rows 0 and 2:" in remarks(tg.explain(x, x[[1, 0, 1]].sum(), at=(1, 1)))
    assert "x[2, 1] was used by row 1:" in remarks(tg.explain(x, (x[x.data > 5] ** 2).sum(), at=(2, 1)))


@pytest.mark.parametrize("weights", [[1.0, -1.0], [1.0, -2.0, 1.0], [3.0, -1.0, -2.0]])
def test_products_that_cancel_are_not_said_to_be_zero(weights):
    W, b, c = wanted([[1.0]], "W"), wanted([0.5], "b"), np.array(weights)[:, None]
    for p, loss in ((W, ((np.ones_like(c) @ W) * c).sum()), (b, ((np.ones_like(c) + b) * c).sum())):
        found = tg.explain(p, loss)
        assert not found.gradient.any()
        assert "Exactly 0: what comes back from several numbers cancels." in remarks(found)
    zeros = tg.explain(W, ((np.zeros_like(c) @ W) * c).sum())
    assert "Exactly 0: each product in the rule is 0." in remarks(zeros)


def test_only_a_division_by_the_count_is_called_a_mean():
    s = wanted([1.0, 2.0], "v").sum()
    assert "because loss is a mean over so many" in remarks(tg.explain(s, s / 2))
    assert "a mean" not in remarks(tg.explain(s, s / 7))
    s = wanted(np.ones((3, 2)), "v").sum()  # over all numbers of three rows
    assert "It is divided by 3, because loss is a mean over so many." in remarks(tg.explain(s, s / 3))


def test_exact_zeros_say_why():
    x = wanted([[1.0, -2.0, 3.0]], "x")
    for loss, says in (
        (ops.relu(x).sum(), "Exactly 0: relu is off: its input is not positive."),
        (np.where(x.data > 0, x, 1.0).sum(), "Exactly 0: `where` took its other value."),
        (np.clip(x, 0.0, 9.0).sum(), "Exactly 0: clip holds it at a bound."),
        (np.maximum(x, 0.5).sum(), "Exactly 0: the other number is larger."),
        (x.max(axis=1).sum(), "Exactly 0: another number is the largest."),
        ((ops.relu(x * 1.0) * 1.0).sum(), "Exactly 0: nothing comes back to this number of t1."),
        ((x * 2.0).sum() * 0.0, "Exactly 0: the gradient of t1 is 0 everywhere."),
        ((x * np.zeros(3)).sum(), "Exactly 0: the local slope of mul is 0 there."),
    ):
        found = tg.explain(x, loss, at=(0, 1))
        assert found.gradient[0, 1] == 0
        assert says in remarks(found)
    assert "Exactly 0" not in remarks(tg.explain(x, ops.relu(x).sum(), at=(0, 0)))
    tiny = wanted([1e-200], "tiny")
    underflown = remarks(tg.explain(tiny, (tiny * 1e-300).sum() * 1e-300))
    assert "The product is smaller than any number of float64: it is rounded to 0." in underflown
    assert "Exactly 0" not in underflown


def test_saturated_slopes_means_and_maxima_are_said():
    x = wanted([[8.0, 0.1]], "x")
    for op, slope, most in ((ops.tanh, 1 - np.tanh(8) ** 2, "1"), (ops.sigmoid, 1 / (2 + 2 * np.cosh(8)), "0.25")):
        said = remarks(tg.explain(x, op(x).sum(), at=(0, 0)))
        assert f"{op.name} is saturated: its slope is at most {most}, and {slope:.4g} here." in said
        assert "saturated" not in remarks(tg.explain(x, op(x).sum(), at=(0, 1)))
    assert "It is divided by 2, because loss is a mean over so many." in remarks(tg.explain(x, x.mean()))
    e = np.exp(x - x.max(axis=1, keepdims=True))
    found = tg.explain(x, -np.log(e / e.sum(axis=1, keepdims=True))[0, 1], at=(0, 0))
    assert "The maximum is only subtracted: it changes no result" in remarks(found)
    assert "only subtracted" not in remarks(tg.explain(x, (x - x.max(axis=1, keepdims=True)).sum(), at=(0, 0)))


def test_a_gradient_that_a_sum_hands_on_has_the_name_of_each_result():
    """The engine has one array for both; a reader looks for `d_z1`."""
    x, W, b = Tensor(np.ones((2, 3)), name="x"), wanted(np.ones((3, 2)), "W"), wanted(np.ones((2, 2)), "b")
    loss = np.tanh(x @ W + b).sum()
    text = " ".join(str(tg.explain(W, loss)).split())
    assert "In a rule, d_z1 is the gradient of the loss with respect to z1." in text
    assert "    d_z1 = d_t1 " in tg.source(loss)
