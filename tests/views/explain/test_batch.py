"""`tg.explain`: which rows of the batch a gradient comes from."""

from __future__ import annotations

import numpy as np
import pytest
from views.explain.explained import lines, softmax, wanted

import tinygrad_ce as tg
from tinygrad_ce.core import Tensor
from tinygrad_ce.graph.nodes import Graph
from tinygrad_ce.views.explain import explanation as explain


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


def by_masking(result, node, cell, graph):
    """What comes back for each row of the gradient of a result alone, along the only edge between them."""
    (edge,) = (edge for edge in node.uses if edge.target is result)
    rows = np.eye(len(result.value))
    shape = (-1, *(1 for _ in result.shape[1:]))
    return [float(edge.pulled(result.gradient * row.reshape(shape))[cell]) for row in rows]


def test_rows_through_batch_norm_sum_to_the_gradient():
    rng = np.random.default_rng(2)
    tg.seed(1)
    model = tg.nn.Sequential(tg.nn.Dense(2, 3), tg.nn.BatchNorm(3), tg.nn.ReLU(), tg.nn.Dense(3, 3))
    x = rng.normal(size=(8, 2))
    loss = tg.losses.softmax_cross_entropy(model(x), np.arange(8) % 3)
    graph = Graph(loss, "the test")
    for p in model.parameters():
        node = graph.node_of(p)
        for cell in np.ndindex(p.shape):
            rows = explain.Explanation(graph, node, cell).rows
            np.testing.assert_allclose(
                rows.contributions, by_masking(node.uses[0].target, node, cell, graph), atol=1e-15
            )
            assert rows.rest == 0


def test_what_does_not_come_through_the_rows():
    x, w = np.array([1.0, 2.0, 3.0]), wanted(0.5, "w")
    found = tg.explain(w, ((w * x - 1.0) ** 2).mean() + 0.1 * w * w)
    np.testing.assert_allclose(found.rows.contributions, 2 * (0.5 * x - 1) * x / 3)
    assert found.rows.rest == pytest.approx(2 * 0.1 * 0.5)
    assert "0.1 does not come through the rows of the batch." in " ".join(lines(found))


def test_the_way_to_the_batch_may_be_longer():
    """A weight that is transposed and masked before it meets the data."""
    rng = np.random.default_rng(3)
    x, W = rng.normal(size=(5, 2)), wanted(rng.normal(size=(3, 2)), "W")
    mask = np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]])  # data with rows, and no batch
    loss = ((x @ (W.T * mask)) ** 2).sum()
    found = tg.explain(W, loss, at=(2, 0))
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


def test_large_batches_need_no_limit():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(5_000, 20)), rng.integers(0, 3, size=5_000)
    W = wanted(rng.normal(size=(20, 3)), "W")
    found = tg.explain(W, tg.losses.softmax_cross_entropy(x @ W, y), at=(7, 1))
    by_hand = x[:, 7] * (softmax(x @ W.data) - np.eye(3)[y])[:, 1] / 5_000
    np.testing.assert_allclose(found.rows.contributions, by_hand, rtol=1e-9, atol=1e-18)
    assert "Of 5,000 rows" in str(found)


def test_where_there_is_no_batch():
    x = Tensor(np.arange(6.0).reshape(3, 2), name="x")
    W = wanted(np.ones((2, 2)), "W")
    h = np.tanh(x @ W)
    loss = (h * h).sum()
    assert tg.explain(h, loss).rows is None  # its rows are the rows of the batch
    assert tg.explain(W, (W * W).sum()).rows is None
    stacked = wanted(np.ones((2, 3, 4)), "stacked")
    assert tg.explain(stacked, (stacked @ np.ones((2, 4, 2))).sum()).rows is None
    features, w = np.array([1.0, 2.0]), wanted([3.0, 4.0], "w")
    assert tg.explain(w, (features * w).sum()).rows is None  # each number of w has a row of its own
    logits = wanted(np.zeros((3, 2)), "logits")
    assert tg.explain(logits, tg.losses.softmax_cross_entropy(logits, np.array([0, 1, 1]))).rows is None
    assert tg.explain(W, (x @ W).sum()).rows is not None
    assert tg.explain(W, (x.data[:1] @ W).sum()).rows is None  # one row


def no_table(explanation):
    """Why there is none."""
    assert explanation.rows is None
    text = explanation.parts[-1].text
    assert text.startswith("There is no table of the rows of a batch: ")
    return text


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
    found = tg.explain(V, loss_of(X), at=(1, 2))
    alone = [tg.gradients(loss_of(X[row : row + 1]), V)[1, 2] - rest for row in range(4)]
    np.testing.assert_allclose(found.rows.contributions, alone, rtol=1e-9)
    assert found.rows.rest == pytest.approx(rest, abs=1e-12)
    assert found.rows.targets is None  # the ones that a gradient starts with are none
    assert found.rows.meet is None


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
    assert "each row of data belongs to one row of the batch" in no_table(tg.explain(data, of(model(data), targets)))
    W = wanted(np.ones((3, 2)), "W")
    assert "nothing tells which tensor holds the batch" in no_table(tg.explain(W, (wanted(x) @ W).sum()))


def test_where_rows_cannot_be_told_apart_there_is_no_table():
    rng = np.random.default_rng(8)
    x, W, A = rng.normal(size=(4, 4)), wanted(rng.normal(size=(4, 4)), "W"), wanted(rng.normal(size=(4, 4)), "A")
    data = Tensor(x, name="x")
    for mixed in (W @ data.T, A @ data, data.mean(axis=0) @ W):
        asked = A if mixed.inputs[0] is A else W
        assert "does not stand on the first axis of" in no_table(tg.explain(asked, (mixed**2).sum()))
    summed = data.sum(axis=0)  # as many numbers as there are rows
    assert "first axis" in no_table(tg.explain(W, (np.tanh(summed * W) ** 2).sum() + (data * 1.0).sum()))
    assert "no data with several rows" in no_table(tg.explain(W, (W * W).sum()))


def test_a_parameter_that_meets_a_sum_over_the_rows_first_has_no_table():
    rng = np.random.default_rng(11)
    x, y = wanted(rng.normal(size=(5, 3)), "x"), rng.normal(size=(5, 2))
    W, U = wanted(rng.normal(size=(2, 3)), "W"), wanted(rng.normal(size=(3, 2)), "U")
    loss = tg.losses.mse(x @ U + x @ (W * x.mean(axis=0)).T, y)
    assert "where W meets the data" in no_table(tg.explain(W, loss))
    assert tg.explain(U, loss).rows is not None


def test_the_ones_that_a_gradient_starts_with_are_no_batch_of_their_own():
    x, V = wanted(np.arange(12.0).reshape(4, 3), "x"), wanted(np.ones((3, 5)), "V")
    assert "only constants have its rows" in no_table(tg.explain(V, (np.tanh((x * 2.0) @ V) * np.ones((4, 5))).sum()))


def test_rows_that_meet_before_the_loss_are_told():
    rng = np.random.default_rng(9)
    x, W = rng.normal(size=(5, 3)), wanted(rng.normal(size=(3, 2)), "W")
    z = x @ W
    for loss in (np.sqrt((z * z).mean()), ((z - z.mean(axis=0)) ** 2).sum(), (z.T @ z).sum()):
        assert "depends on the others as well" in last_words(tg.explain(W, loss))
    for loss in (np.sqrt(z * z).mean() / 3 + (W * W).sum(), tg.losses.softmax_cross_entropy(z, np.arange(5) % 2)):
        assert "depends on the others" not in last_words(tg.explain(W, loss))


@pytest.mark.parametrize("n", [4, 6])
def test_two_batches_in_one_loss(n):
    rng = np.random.default_rng(10)
    W = wanted(rng.normal(size=(3, 2)), "W")
    first, second = rng.normal(size=(6, 3)), rng.normal(size=(n, 3))
    x, x2 = Tensor(first, name="x"), Tensor(second, name="x2")
    found = tg.explain(W, (np.tanh(x @ W) * 2.0).sum() + ((x2 @ W) ** 2).sum(), at=(1, 0))
    by_hand = first[:, 1] * 2 / np.cosh(first @ W.data)[:, 0] ** 2
    other = second[:, 1] * 2 * (second @ W.data)[:, 0]
    if n == 6:
        np.testing.assert_allclose(found.rows.contributions, by_hand + other)
        assert "several batches, x and x2: a row here is that row of each of them" in last_words(found)
    else:
        np.testing.assert_allclose(found.rows.contributions, by_hand)
        assert found.rows.rest == pytest.approx(other.sum())
        assert "The rows are those of x." in last_words(found)


def test_a_gradient_that_a_sum_hands_on_has_the_name_of_each_result():
    """The engine has one array for both; a reader looks for `d_z1`."""
    x, W, b = Tensor(np.ones((2, 3)), name="x"), wanted(np.ones((3, 2)), "W"), wanted(np.ones((2, 2)), "b")
    loss = np.tanh(x @ W + b).sum()
    text = " ".join(str(tg.explain(W, loss)).split())
    assert "In a rule, d_z1 is the gradient of the loss with respect to z1." in text
    assert "    d_z1 = d_t1 " in tg.source(loss)
