"""`tg.explain`: contributions against autograd, the chain rule and rows on paper; what it says, and what it refuses."""

from __future__ import annotations

import re
import threading
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from graphs import GRAPHS, drawn_inputs, gradients_by_autograd, recorded_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.mathtext import MathTextParser
from samples import SAMPLES

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.core import REGISTRY, Tensor
from tinygrad_ce.tape import recording
from tinygrad_ce.views.explain import document, paths
from tinygrad_ce.views.explain import explanation as explain
from tinygrad_ce.views.reading import Graph

HERE = Path(__file__).name


def wanted(data, name=None):
    return Tensor(data, requires_grad=True, name=name)


def lines(explanation):
    return [line.rstrip() for line in str(explanation).splitlines()]


@pytest.fixture(autouse=True)
def a_wide_terminal(monkeypatch):
    """The text is fitted to the terminal; without one, as in CI, its width is not ours to know."""
    monkeypatch.setenv("COLUMNS", "100")


def after(explanation, start):
    """The rest of the first line that starts so."""
    return next(line.strip()[len(start) :].strip() for line in lines(explanation) if line.strip().startswith(start))


def the_sum(explanation):
    """The sentence below this heading."""
    texts = [part.text for part in explanation.parts if not isinstance(part, document.Rows)]
    return texts[texts.index("The sum") + 1]


def terms(explanation):
    """The terms of the visible sum, and what it says that they sum to."""
    text = the_sum(explanation)
    if "only one path" in text:
        return [float(text.split()[0])], float(text.split()[0])
    left, right = text.split(" = ")
    return [float(term.strip("()")) for term in left.split(" + ")], float(right.split(",")[0])


def count_by_hand(node, loss):
    """How many paths lead to the loss, one by one."""
    if node is loss:
        return 1
    return sum(count_by_hand(edge.target, loss) for edge in node.uses if edge.share is not None)


# ---- contributions


@settings(deadline=None, max_examples=40)
@given(steps=GRAPHS, seed=st.integers(0, 2**32 - 1), most=st.integers(1, 9))
def test_contributions_sum_to_the_gradient_of_every_tensor(steps, seed, most):
    inputs = drawn_inputs(seed)
    loss, values = recorded_graph(steps, inputs)
    graph = Graph(loss, "the test")
    expected = gradients_by_autograd(steps, inputs)
    theirs = {graph.of(v): g for v, g in zip(values, expected, strict=True) if isinstance(v, Tensor)}
    for node in graph.nodes[:-1]:
        if node.gradient is None:
            continue
        cell = explain._cell(node, None)
        found = explain.Explanation(graph, node, cell, most)
        gradient = theirs.get(node, node.gradient)
        close = {"rtol": 1e-7, "atol": 1e-9}
        np.testing.assert_allclose(sum(share.value for share in found.shares), gradient, **close)
        assert sum(share.path_count for share in found.shares) == found.path_count == count_by_hand(node, graph.loss)
        if len(found.paths) == found.path_count:
            np.testing.assert_allclose(sum(path.contribution for path in found.paths), gradient, **close)
        for share in found.shares:
            own = [path for path in found.paths if path.names[1] == share.by]
            assert len(own) <= sum(s.path_count for s in found.shares if s.by == share.by)
        shown, whole = terms(found)
        assert whole == pytest.approx(float(gradient[cell]), rel=6e-4, abs=1e-9)
        rounding = 5.1e-4 * (sum(map(abs, shown)) + abs(whole))  # each has four digits
        assert sum(shown) == pytest.approx(whole, abs=rounding + 1e-12)
        if found.rows is not None:
            assert found.rows.contributions.sum() + found.rows.rest == pytest.approx(float(gradient[cell]), abs=1e-6)


def test_paths_by_the_chain_rule():
    """a reaches (a tanh(b a) + b a) three times, b twice."""
    a, b = wanted([0.7, -1.2], "a"), wanted([0.4, 2.0], "b")
    p = b * a
    loss = (a * np.tanh(p) + p).sum()
    found = tg.explain(a, loss, at=1)
    t = np.tanh(0.4 * 0.7), np.tanh(2.0 * -1.2)
    by_hand = {
        "a -> t1 -> h1 -> t2 -> t3 -> loss": a.data * (1 - np.square(t)) * b.data,
        "a -> t1 -> t3 -> loss": b.data,
        "a -> t2 -> t3 -> loss": np.array(t),
    }
    assert found.path_count == 3
    assert {" -> ".join(path.names) for path in found.paths} == set(by_hand)
    for path in found.paths:
        np.testing.assert_allclose(path.contribution, by_hand[" -> ".join(path.names)], rtol=1e-12)
    sizes = [abs(path.contribution[1]) for path in found.paths]
    assert sizes == sorted(sizes, reverse=True)
    np.testing.assert_allclose(found.gradient, sum(by_hand.values()), rtol=1e-12)
    shares = {share.by: share for share in found.shares}
    np.testing.assert_allclose(shares["t1"].value, by_hand["a -> t1 -> h1 -> t2 -> t3 -> loss"] + b.data)
    assert (shares["t1"].argument, shares["t1"].rule, shares["t1"].path_count) == ("b", "d_t1 * b", 2)
    assert sum(terms(found)[0]) == pytest.approx(found.gradient[1], abs=2e-3)


def test_the_numbers_of_a_path_are_those_of_this_path_alone():
    x, w = wanted([[1.0, 2.0]], "x"), wanted([[3.0], [5.0]], "w")
    z = x @ w
    loss = (z * 2.0 + z * z).sum()
    text = str(tg.explain(w, loss, at=(1, 0)))
    assert "2 * 2 = 4" in text  # x.T @ d_z1, where 2 comes back by z * 2
    assert "2 * 13 = 26" in text  # and 13 by each side of z * z
    assert "26 + 26 + 4 = 56, which is the gradient of w[1, 0]." in text.replace("4 + 26 + 26", "26 + 26 + 4")


def test_upstream_local_and_product():
    x = wanted([0.5, 2.0], "x")
    text = lines(tg.explain(x, (np.exp(x) * 0.25).sum(), at=0))
    e = np.exp(0.5)
    assert f"           upstream 0.25 x local {e:.4g} = {e / 4:.4g}" in text
    assert f"  numbers  0.25 * {e:.4g} = {e / 4:.4g}" in text
    assert f"  rule     d_t1 * t1 = {e:.4g}" not in text


def test_a_tensor_that_one_operation_uses_three_times():
    t = wanted([2.0, 3.0], "t")
    found = tg.explain(t, ops.einsum("i,i,i->", t, t, t), at=0)
    assert [share.argument for share in found.shares] == ["operands[0]", "operands[1]", "operands[2]"]
    assert [float(path.contribution[0]) for path in found.paths] == [4.0] * 3
    assert after(found, "path") == "t -> loss (as operands[0])"
    assert the_sum(found) == "4 + 4 + 4 = 12, which is the gradient of t[0]."
    joined = tg.explain(t, (np.concatenate([t, t]) * np.array([1.0, 2.0, 3.0, 4.0])).sum(), at=1)
    assert the_sum(joined) == "2 + 4 = 6, which is the gradient of t[1]."
    assert [share.argument for share in joined.shares] == ["arrays[0]", "arrays[1]"]


def tower(x, floors):
    for _ in range(floors):
        x = x * 0.5 + x * 0.25
    return x


def test_a_tower_of_diamonds_is_counted_exactly_and_its_sum_is_complete():
    x = wanted(1.0, "x")
    found = tg.explain(x, tower(x, 40) + x)
    assert found.path_count == 2**40 + 1
    assert [share.path_count for share in found.shares] == [2**39, 2**39, 1]
    assert 1 <= len(found.paths) <= 8
    for path in found.paths:  # one factor for each floor
        halves = sum(edge.local == 0.5 for edge in path.edges)
        quarters = sum(edge.local == 0.25 for edge in path.edges)
        assert halves + quarters == (0 if len(path.edges) == 1 else 40)
        assert float(path.contribution) == pytest.approx(0.5**halves * 0.25**quarters)
    assert 0.5**40 in [float(path.contribution) for path in found.paths]  # the largest of all that go on
    assert "549,755,813,886 more paths through" in str(found)
    shown, whole = terms(found)
    assert whole == pytest.approx(0.75**40 + 1, rel=1e-3)
    assert sum(shown) == pytest.approx(whole, rel=1e-3)


def test_paths_that_are_not_shown_are_added_up():
    x = wanted(1.0, "x")
    found = tg.explain(x, tower(x, 3), paths=2)
    assert found.path_count == len(found.paths) == 8
    assert [float(path.contribution) for path in found.paths] == sorted(
        (0.5**k * 0.25 ** (3 - k) for k in (0, 1, 1, 1, 2, 2, 2, 3)), reverse=True
    )
    assert after(found, "and 2 more paths") == "through t1: together 0.09375"
    assert terms(found) == (pytest.approx([0.125, 0.0625, 0.09375, 0.1406], abs=1e-4), pytest.approx(0.4219, abs=1e-4))
    every = tg.explain(x, tower(x, 3), paths=100)
    assert len(terms(every)[0]) == 8
    assert "more path" not in str(every)


def test_all_paths_are_followed_only_while_they_are_few(monkeypatch):
    x = wanted(1.0, "x")
    assert len(tg.explain(x, tower(x, 8)).paths) == 256
    assert len(tg.explain(x, tower(x, 9)).paths) == 8
    monkeypatch.setattr(paths, "MOST_RULES", 100)
    assert len(tg.explain(x, tower(x, 8)).paths) == 8


def test_more_uses_than_can_be_shown():
    x = wanted(1.0, "x")
    found = tg.explain(x, sum((x * float(k) for k in range(1, 301)), start=0.0))
    assert len(found.shares) == found.path_count == 300
    assert "And 292 more uses, with 292 paths: together" in str(found)
    shown, whole = terms(found)
    assert whole == 300 * 301 / 2
    assert sum(shown) == pytest.approx(whole, rel=1e-3)
    assert shown[:8] == [float(k) for k in range(293, 301)]


def test_a_path_of_thousands_of_operations():
    x = wanted(1.0, "x")
    y = x
    for _ in range(2_000):
        y = -y
    found = tg.explain(x, y)
    assert len(found.paths[0].names) == 2_001
    assert "(1,989 more)" in str(found)


def test_the_cell_is_the_one_with_the_largest_gradient():
    x = wanted([[1.0, -5.0], [2.0, 3.0]], "x")
    loss = (x * x).sum()
    assert tg.explain(x, loss).cell == (0, 1)
    assert tg.explain(x, loss, at=(1, -1)).cell == (1, 1)
    assert tg.explain(x, loss, at=(np.int64(0), 0)).cell == (0, 0)
    assert "x[1, 0] = 2" in str(tg.explain(x, loss, at=(-1, 0)))


# ---- which loss


def test_the_last_backward_is_explained():
    W = wanted([1.0, 2.0], "W")
    loss = (W * W).sum()
    other = (W * 5.0).sum()
    loss.backward()
    np.testing.assert_array_equal(tg.explain(W).gradient, [2.0, 4.0])
    other.backward()
    np.testing.assert_array_equal(tg.explain(W).gradient, [5.0, 5.0])
    np.testing.assert_array_equal(tg.explain(W, loss).gradient, [2.0, 4.0])
    assert "W.grad holds other numbers" in str(tg.explain(W))
    W.grad = None
    other.backward()
    assert "W.grad holds" not in str(tg.explain(W))


def test_a_single_number_is_a_loss_unless_it_is_part_of_the_last_one():
    W = wanted([1.0, 2.0], "W")
    penalty = (W * W).sum().named("penalty")
    loss = W.sum() + 3.0 * penalty
    assert "made by 2 operations" in str(tg.explain(penalty))
    loss.backward()
    inside = tg.explain(penalty)
    assert float(inside.gradient) == 3.0
    assert lines(inside)[0] == "Where the gradient of penalty comes from"
    assert "made by 2 operations" in str(tg.explain(penalty, penalty))
    assert "made by 5 operations" in str(tg.explain(loss))


def test_a_loss_that_is_gone_is_not_kept_alive():
    W = wanted([1.0, 2.0], "W")
    (W * W).sum().backward()
    with pytest.raises(ValueError, match=r"pass the loss, tg.explain\(W, loss\), or call loss.backward\(\) first"):
        tg.explain(W)


def test_each_thread_has_its_own_last_backward():
    W = wanted([1.0, 2.0], "W")
    loss = (W * W).sum()
    thread = threading.Thread(target=loss.backward)
    thread.start()
    thread.join()
    recording.last = None
    with pytest.raises(ValueError, match="backward\\(\\) has not been called"):
        tg.explain(W)
    loss.backward()
    assert tg.explain(W).path_count == 2


# ---- the rows of the batch


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


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
        node = graph.of(p)
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
    assert "each row of x belongs to one row of the batch" in no_table(tg.explain(data, of(model(data), targets)))
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


def test_a_gradient_of_two_results_is_said_to_be_of_both():
    x, W, b = Tensor(np.ones((2, 3)), name="x"), wanted(np.ones((3, 2)), "W"), wanted(np.ones((2, 2)), "b")
    text = " ".join(str(tg.explain(W, (np.tanh(x @ W + b)).sum())).split())
    assert "is the gradient of the loss with respect to z1, and to" in text
    assert "the two are equal" in text or "they are equal" in text
    assert "equal" not in str(tg.explain(W, np.tanh(x @ W).sum()))


# ---- the table of a graph


def network():
    tg.seed(0)
    model = tg.nn.Sequential(tg.nn.Dense(2, 3), tg.nn.Tanh(), tg.nn.Dense(3, 2))
    x = Tensor(np.array([[0.5, -1.0], [2.0, 0.25]]), name="x")
    return model, x, np.array([0, 1])


def rows_of(explanation):
    """The table, as lists of cells by the name in the program."""
    (table,) = (part for part in explanation.parts if isinstance(part, document.Rows))
    return {row[1]: dict(zip(table.header, row, strict=True)) for row in table.rows}


def test_the_table_of_a_network():
    model, x, y = network()
    line = 1 + network_line()
    loss = tg.losses.softmax_cross_entropy(model(x), y)
    found = tg.explain(loss)
    rows = rows_of(found)
    assert list(rows) == ["x", "W0", "b0", "z1", "h1", "W2", "b2", "z2", "y", "loss"]
    made = {name: row["made by"] for name, row in rows.items()}
    assert made["z1"] == "np.dot(x, W0) + b0"
    assert made["h1"] == "np.tanh(z1)"
    assert made["x"] == made["y"] == "data"
    assert made["W0"] == "parameter layers.0.W"
    assert [rows[name]["shape"] for name in ("x", "W0", "z2", "loss")] == ["(2, 2)", "(2, 3)", "(2, 2)", "()"]
    assert rows["loss"]["value"] == f"{loss.item():.4g}"
    assert rows["loss"]["gradient"] == "1"
    assert rows["x"]["value"] == "-1 to 2\nmean 0.4375"
    assert rows["y"]["value"] == "0 1"
    assert rows["y"]["gradient"] == ""
    gradient = (softmax(loss.inputs[0].data) - np.eye(2)[y]).sum(axis=0) / 2
    assert rows["b2"]["gradient"] == " ".join(f"{g:.4g}" for g in gradient)
    assert {rows[name]["line"] for name in ("z1", "h1", "z2", "loss")} == {f"{HERE}:{line}"}
    assert rows["W0"]["line"] == rows["x"]["line"] == ""
    assert rows["z1"]["#"] == str(loss.inputs[0].inputs[0].inputs[0].number)
    assert found.parts[-1].text == (
        "softmax and cross-entropy are shown as one operation, on the logits; losses.cross_entropy(..., fused=False) "
        "shows them apart."
    )
    assert (found.paths, found.shares, found.rows) == ([], [], None)
    np.testing.assert_array_equal(found.gradient, 1.0)


def network_line():
    """The line that calls this."""
    import sys

    return sys._getframe(1).f_lineno


def test_it_says_which_form_of_the_cross_entropy_is_shown():
    z, y = wanted([[1.0, 2.0], [3.0, -1.0]], "z"), np.array([0, 1])
    apart = tg.explain(tg.losses.cross_entropy(ops.softmax(z), y, fused=False))
    assert "softmax and cross-entropy are shown apart, with the gradient at the probabilities" in " ".join(lines(apart))
    at_p = rows_of(apart)["p1"]
    assert at_p["made by"] == "softmax(z)"
    together = tg.explain(tg.losses.cross_entropy(ops.softmax(z), y))
    assert "softmax and cross-entropy are shown as one operation" in str(together)
    assert "p1" not in rows_of(together)
    binary = tg.losses.binary_cross_entropy(ops.sigmoid(z), np.eye(2), fused=False)
    assert "sigmoid and cross-entropy are shown apart" in str(tg.explain(binary))
    one = " ".join(lines(tg.explain(tg.losses.sigmoid_binary_cross_entropy(z, np.eye(2)))))
    assert "sigmoid and cross-entropy are shown as one operation" in one
    assert "losses.binary_cross_entropy(..., fused=False)" in one
    assert "cross-entropy" not in str(tg.explain((z * z).sum()))


def test_a_table_of_many_rows_is_cut_and_says_so():
    x = wanted(1.0, "x")
    y = x
    for _ in range(1_000):
        y = y + 1.0
    found = tg.explain(y)
    assert len(rows_of(found)) == 400
    assert "first and the last 200 of 1,001 rows" in str(found)


def test_numbers_that_are_not_finite_are_counted():
    x = wanted([1.0, 0.0, -1.0, 2.0], "x")
    with np.errstate(all="ignore"):
        found = tg.explain(np.log(x).sum())
        at_zero = tg.explain(x, np.sqrt(x * x).sum())
    assert rows_of(found)["t1"]["value"] == "2 of 4 not finite\n0 to 0.6931\nmean 0.3466"
    assert rows_of(found)["loss"]["value"] == "nan"
    assert at_zero.cell == (1,)  # 0 / 0: what is not a number comes first
    assert the_sum(at_zero) == "nan + nan = nan, which is the gradient of x[1]."


def test_a_row_that_is_not_finite_comes_first():
    x, w = np.array([[1.0], [np.inf], [3.0]]), wanted([[2.0]], "w")
    with np.errstate(all="ignore"):
        found = tg.explain(w, np.tanh(x @ w).sum())
    assert found.rows.hardest[0] == 1
    assert np.isnan(found.rows.contributions).tolist() == [False, True, False]
    np.testing.assert_allclose(found.rows.contributions[[0, 2]], np.array([1, 3]) / np.cosh([2, 6]) ** 2, rtol=1e-9)
    assert "not finite" in str(found)
    assert found.rows.rest == 0


def test_after_an_optimizers_step_it_warns():
    model, x, y = network()
    loss = tg.losses.softmax_cross_entropy(model(x), y)
    loss.backward()
    W = model.parameters()[0]
    for found in (tg.explain(loss), tg.explain(W)):
        assert "Careful" not in str(found)
    tg.optim.SGD(model.parameters(), lr=0.1).step()
    for found in (tg.explain(loss), tg.explain(W)):
        assert "Careful: layers.0.W, layers.0.b, layers.2.W, ...: other numbers stand there now" in " ".join(
            lines(found)
        )


# ---- nothing is changed


def test_explaining_changes_nothing():
    def run(look):
        model, x, y = network()
        loss = tg.losses.softmax_cross_entropy(model(x), y)
        if look:
            found = [tg.explain(loss), *(tg.explain(p, loss) for p in model.parameters())]
            assert all(str(one) and one._repr_html_() and one.latex() for one in found)
            assert all(p.grad is None for p in model.parameters())
            assert loss.grad is None
        loss.backward()
        first = [p.grad.tobytes() for p in model.parameters()]
        if look:
            tg.explain(model.parameters()[0])
            assert first == [p.grad.tobytes() for p in model.parameters()]
        loss.backward()
        return first, [p.grad.tobytes() for p in model.parameters()]

    assert run(True) == run(False)


def test_it_may_be_asked_inside_no_grad():
    W = wanted([1.0, 2.0], "W")
    loss = (np.array([[3.0, 4.0], [5.0, 6.0]]) @ W).sum()
    with tg.no_grad():
        found = tg.explain(W, loss)
        assert not (W * W).requires_grad
    np.testing.assert_allclose(found.rows.contributions, [4.0, 6.0])


# ---- how it is shown


class Checked(HTMLParser):
    """Every tag is closed, in order; all text."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.seen = [], [], set()

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


NAMES = [
    *("<script>alert(1)</script>", "größe & <b>", "two words", "日本", "x" * 300, "[red]bold[/red]", ":smile:", "__"),
    *("a\x1b[31mred\nline", "loss", "np", "lambda", "d_t1"),
]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_as_text(name, monkeypatch):
    monkeypatch.setattr("sys.stdout", type("Out", (), {"encoding": "utf-8"})())
    x = wanted([1.0, 2.0], name)
    loss = (x * x).sum().named(name + "!")
    for found in (tg.explain(loss), tg.explain(x, loss)):
        page = Checked()
        page.feed(found._repr_html_())
        assert page.open == []
        assert page.seen <= {"div", "p", "table", "thead", "tbody", "tr", "th", "td"}
        assert max(map(len, str(found).splitlines())) <= 100
        assert "\x1b" not in str(found)
        assert len(str(found)) < 3_000
        shown = name.replace("\x1b", r"\x1b").replace("\n", r"\n")
        if len(name) < 40:
            assert shown.replace(" ", "") in "".join(str(found).split())
            assert shown in "".join(page.text)


def test_the_html_has_no_colours_of_its_own_and_its_tables_have_headers():
    model, x, y = network()
    html = tg.explain(tg.losses.softmax_cross_entropy(model(x), y))._repr_html_()
    assert html.count('<th scope="col"') == 7
    assert set(re.findall(r": #\w+|(?<![-\w])(?:color|background)", html)) == set()
    assert "np.dot(x, W0) + b0" in html


@pytest.mark.parametrize("columns", [80, 100, 300, 20])
def test_lines_fit_the_terminal(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    model, x, y = network()
    loss = tg.losses.softmax_cross_entropy(model(x), y)
    for found in (tg.explain(loss), tg.explain(model.parameters()[0], loss)):
        assert max(map(len, lines(found))) <= min(100, max(60, columns))
        assert repr(found) == str(found)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", None])
def test_a_terminal_that_knows_few_signs(encoding, monkeypatch):
    monkeypatch.setattr("sys.stdout", type("Out", (), {"encoding": encoding})())
    x, w = wanted(np.arange(1.0, 7.0), "größe"), wanted(np.ones(6), "日本")
    text = str(tg.explain(w, x @ w))
    text.encode(encoding or "ascii")
    assert "größe" in text or r"gr\xf6\xdfe" in text


# ---- LaTeX


def test_the_rule_as_latex():
    model, x, y = network()
    loss = tg.losses.softmax_cross_entropy(model(x), y)
    W0, b0, *_ = model.parameters()
    assert tg.explain(W0, loss).latex() == (
        r"\frac{\partial L}{\partial W_{0}} = x^{\top} \, \frac{\partial L}{\partial z_{1}}"
    )
    assert tg.explain(b0, loss).latex() == (
        r"\frac{\partial L}{\partial b_{0}} = \sum_{\mathrm{axis\ }0} \frac{\partial L}{\partial z_{1}}"
    )
    h1 = loss.inputs[0].inputs[0]
    assert tg.explain(h1, loss).latex() == (
        r"\frac{\partial L}{\partial h_{1}} = \frac{\partial L}{\partial z_{2}} \, W_{2}^{\top}"
    )
    assert tg.explain(loss.inputs[0], loss).latex() == (
        r"\frac{\partial L}{\partial z_{2}} = "
        r"\frac{\mathrm{softmax}\left(z_{2}\right) - \mathrm{one\ hot}\left(y, 2\right)}{2}"
    )
    table = tg.explain(loss).latex()
    assert r"h_{1} &= \tanh\left(z_{1}\right)" in table
    assert table.startswith("\\begin{aligned}\n")
    parse = MathTextParser("path").parse
    for line in table.splitlines()[1:-1]:
        parse("$" + line.replace("&", "").removesuffix(r" \\") + "$")


def test_signs_and_parentheses_in_latex():
    a, b = wanted([[1.0, 2.0], [3.0, 4.0]], "a"), wanted([2.0, 5.0], "b")
    assert tg.explain(b, (a / b).sum()).latex() == (
        r"\frac{\partial L}{\partial b} = \sum_{\mathrm{axis\ }0} "
        r"\left(-\frac{\frac{\partial L}{\partial t_{1}} \odot t_{1}}{b}\right)"
    )
    W, x = wanted([[1.0], [3.0]], "W"), Tensor([[2.0, 1.0]], name="x")
    product = tg.explain(W, (x @ W * 2.0).sum())
    assert product.shares[0].rule == "x.T @ d_z1"
    assert product.latex() == r"\frac{\partial L}{\partial W} = x^{\top} \, \frac{\partial L}{\partial z_{1}}"
    indexed = tg.explain(W, (W[1:, 0] ** 2).sum())
    assert "z" not in indexed.latex()
    assert "t1 = W[1:, 0]" in str(indexed)


def test_a_tensor_used_twice_has_a_sum_of_rules():
    a = wanted([1.0, 2.0], "a")
    text = tg.explain(a, (np.tanh(a) * a + a).sum()).latex()
    assert text == (
        r"\frac{\partial L}{\partial a} = \frac{\partial L}{\partial h_{1}} \odot \left(1 - h_{1} \odot h_{1}\right) + "
        r"\frac{\partial L}{\partial t_{1}} \odot h_{1} + \frac{\partial L}{\partial t_{2}}"
    )


def test_matplotlib_reads_the_latex_of_every_primitive():
    found = set()
    for name, samples in SAMPLES.items():
        for sample in samples:
            values = [wanted(x, f"x{k}") if k in sample.wrt else x for k, x in enumerate(sample.inputs)]
            with np.errstate(all="ignore"):
                out = REGISTRY[name](*values, **sample.params) if sample.wrt else Tensor(1.0)
                if out.size == 0 or not out.requires_grad:
                    continue
                loss = (out * np.ones(out.shape)).sum()
            graph = Graph(loss, "the test")
            made = next(node for node in graph.nodes if node.op is not None)
            found.add(explain.latex(made.formula.readable, {}))
            names = explain.gradient_names(graph, made)
            found |= {explain.latex(e.formula.readable, names) for e in made.inputs if e.formula is not None}
    assert len(found) > 300
    parse = MathTextParser("path").parse
    seen = set()
    for text in sorted(found, key=len):
        signs = set(re.findall(r"\\?[a-z]+|[^\w\s]{1,2}", text))
        if not signs <= seen:  # otherwise it has nothing new
            parse(f"${text}$")
            seen |= signs
    assert len(seen) > 100


# ---- at the edges


def test_a_single_number_and_no_number():
    w = wanted(2.0, "w")
    found = tg.explain(w, w * w)
    assert found.cell == ()
    assert the_sum(found) == "2 + 2 = 4, which is the gradient of w."
    assert tg.explain(w, w * w, at=()).cell == ()
    empty = wanted(np.zeros((0, 3)), "empty")
    nothing = tg.explain(empty, (empty * 2.0).sum())
    assert nothing.cell is None
    assert nothing.gradient.shape == (0, 3)
    assert "it has no elements" in str(nothing)
    assert "empty -> t1 -> loss" in str(nothing)


def test_float32_stays_float32():
    x = wanted(np.array([1.0, 2.0], np.float32), "x")
    found = tg.explain(x, (np.tanh(x) * x).sum())
    assert {found.gradient.dtype, *(p.contribution.dtype for p in found.paths)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("its_own", ["no rule", "declared constant", "a rule"])
def test_a_rule_without_a_derivative(its_own):
    """The rows of the batch are sent back all at once; one by one, where the rule can't be differentiated itself."""
    try:

        @tg.primitive
        def half_of(x):
            return x / 2

        if its_own == "declared constant":
            half_of.constant_in("x")
        if its_own == "a rule":

            @half_of.vjp("x")
            def half_of_x(g, out, x):
                return g / 2

        @tg.primitive
        def halved(b):
            return b / 2

        @halved.vjp("b")
        def halved_b(g, out, b):
            return half_of(g)

        x, b = np.arange(6.0).reshape(3, 2), wanted([0.3, -0.4], "b")
        found = tg.explain(b, np.tanh(x + halved(b)).sum(), at=1)
    finally:
        REGISTRY.pop("half_of", None)
        REGISTRY.pop("halved", None)
    by_hand = (1 - np.tanh(x + b.data / 2) ** 2)[:, 1] / 2
    np.testing.assert_allclose(found.rows.contributions, by_hand, rtol=1e-9)
    assert found.rows.rest == 0


def test_a_users_primitive():
    @tg.primitive
    def squashed(x, s):
        return x / (1 + np.abs(x * s))

    @squashed.vjp("x")
    def squashed_x(g, out, x, s):
        return g / (1 + ops.absolute(x * s)) ** 2

    squashed.constant_in("s")
    try:
        x = wanted([[1.0, -3.0], [0.5, 2.0]], "x")
        found = tg.explain(x, (squashed(x, np.ones((2, 2))) * 2.0).sum(), at=(0, 1))
        assert "upstream 2 x local 0.0625 = 0.125" in str(found)
        s = wanted(np.ones((2, 2)), "s")
        loss = squashed(x, s).sum()
        with pytest.raises(ValueError, match="no gradient flows to s: it is used only as `s` of"):
            tg.explain(s, loss)
    finally:
        del REGISTRY["squashed"]


def test_masks_choices_and_indices():
    x = wanted([[1.0, -2.0, 3.0], [-4.0, 5.0, -6.0]], "x")
    double = tg.explain(x, np.where(x.data > 0, x, x * 0.1).sum(), at=(0, 1))
    assert sorted(terms(double)[0]) == [0.0, 0.1]
    picked = tg.explain(x, (x[[0, 0, 1], [1, 1, 2]] * np.array([1.0, 2.0, 4.0])).sum(), at=(0, 1))
    assert picked.gradient[0, 1] == 3.0
    masked = tg.explain(x, (x[x.data > 0] ** 2).sum(), at=(1, 1))
    assert masked.gradient[1, 1] == 10.0
    assert terms(tg.explain(x, (x.T[::-1] * 2.0).sum()))[1] == 2.0


# ---- refusals


def test_what_cannot_be_explained_says_what_to_do():
    x, W = Tensor([[1.0, 2.0]], name="x"), wanted([[1.0], [2.0]], "W")
    h = x @ W
    loss = (h * h).sum()
    recording.last = None
    with pytest.raises(TypeError, match=r"tg.explain: it explains a Tensor, and this is ndarray"):
        tg.explain(W.data)
    with pytest.raises(TypeError, match="a loss is a Tensor that was computed from others, and this is float"):
        tg.explain(W, 3.0)
    with pytest.raises(ValueError, match=r"x is data, and has no gradient: .* requires_grad=True"):
        tg.explain(x, loss)
    with pytest.raises(ValueError, match=r"x is data, and has no gradient"):
        tg.explain(x)
    with pytest.raises(ValueError, match=r"W of shape \(2, 1\) is no loss, and backward\(\) has not been called"):
        tg.explain(W)
    with pytest.raises(ValueError, match=r"reduce it with .mean\(\) or .sum\(\)"):
        tg.explain(W, W * 2.0)
    with pytest.raises(ValueError, match="other is not among the 5 tensors and arrays of which the loss"):
        tg.explain(wanted([1.0], "other"), loss)
    loss.backward()
    with pytest.raises(
        ValueError, match=r"other of shape \(1,\) is no loss, and #\d+, from which the last backward\(\)"
    ):
        tg.explain(wanted([1.0], "other"))
    with pytest.raises(ValueError, match="has no history"):
        tg.explain(W, wanted(1.0))
    with tg.no_grad(), pytest.raises(ValueError, match="has no history"):
        tg.explain(W, (W * W).sum())


@pytest.mark.parametrize(
    ("at", "error", "says"),
    [
        ((2, 0), IndexError, r"at=\(2, 0\) is no cell of W, which has shape \(2, 1\)"),
        ((-3, 0), IndexError, "no cell of W"),
        (0, IndexError, "no cell of W"),
        ((), IndexError, "no cell of W"),
        ((0, 0, 0), IndexError, "no cell of W"),
        (1.5, TypeError, "at=1.5 must be an index of W: integers, one for each axis"),
        ("a", TypeError, "must be an index of W"),
        ((0, None), TypeError, "must be an index of W"),
        (slice(None), TypeError, "must be an index of W"),
    ],
)
def test_a_wrong_cell(at, error, says):
    W = wanted([[1.0], [2.0]], "W")
    with pytest.raises(error, match=says):
        tg.explain(W, W.sum(), at=at)


def test_other_wrong_arguments():
    W = wanted([[1.0], [2.0]], "W")
    loss = W.sum().named("cost")
    for wrong in (0, -1, 1.5, True, "8"):
        with pytest.raises(ValueError, match=r"paths=.* must be a positive integer"):
            tg.explain(W, loss, paths=wrong)
    with pytest.raises(ValueError, match="at= is a cell of a tensor that leads to the loss, and cost is the loss"):
        tg.explain(loss, at=0)


def test_inside_a_traced_step_it_refuses():
    def step(x):
        W = wanted(np.ones(2))
        tg.explain(W, (W * x).sum())

    with pytest.raises(RuntimeError, match=r"tg.explain: this step is being traced"):
        tg.trace(step, np.ones(2))

    def other(x):
        tg.explain((wanted(np.ones(2)) * x).sum())

    with pytest.raises(RuntimeError, match=r"tg.explain: this step is being traced"):
        tg.trace(other, np.ones(2))
