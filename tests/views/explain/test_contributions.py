"""`tg.explain`: shares against autograd and the chain rule on paper, one way to the loss, which loss is meant."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from graphs import GRAPHS, drawn_inputs, gradients_by_autograd, recorded_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from views.explain.explained import lines, terms, the_sum, uses, wanted

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.core import Tensor
from tinygrad_ce.graph.nodes import Graph
from tinygrad_ce.source_lines import state
from tinygrad_ce.views.explain import explanation as explain
from tinygrad_ce.views.explain.arguments import largest_cell

# ---- shares


@settings(deadline=None, max_examples=20)
@given(steps=GRAPHS, seed=st.integers(0, 2**32 - 1))
def test_shares_sum_to_the_gradient_of_every_tensor(steps, seed):
    inputs = drawn_inputs(seed)
    loss, values = recorded_graph(steps, inputs)
    graph = Graph(loss, "the test")
    expected = gradients_by_autograd(steps, inputs)
    theirs = {graph.node_of(v): g for v, g in zip(values, expected, strict=True) if isinstance(v, Tensor)}
    data = [node for node in graph.nodes if node.op is None and node.shape[:1] == (3,)][:1]
    for node in graph.nodes[:-1]:
        if node.gradient is None:
            continue
        cell = largest_cell(node.gradient)
        found = explain.Explanation(graph, node, cell, data)
        gradient = theirs.get(node, node.gradient)
        np.testing.assert_allclose(sum(share.value for share in found.shares), gradient, rtol=1e-7, atol=1e-9)
        shown, whole = terms(found)
        assert whole == pytest.approx(float(gradient[cell]), rel=6e-4, abs=1e-9)
        rounding = 5.1e-4 * (sum(map(abs, shown)) + abs(whole))  # each has four digits
        assert sum(shown) == pytest.approx(whole, abs=rounding + 1e-12)
        for row, share in zip(uses(found), found.shares, strict=False):
            assert float(row["share"]) == pytest.approx(float(share.value[cell]), rel=6e-4, abs=1e-12)
            if share.local is not None:
                product = np.broadcast_to(share.upstream * share.local, share.value.shape)
                np.testing.assert_allclose(product, share.value, rtol=1e-4, atol=1e-9)
                assert float(row["local"]) == pytest.approx(float(share.local[cell]), rel=6e-4, abs=1e-12)
        if found.rows is not None:
            assert found.rows.contributions.sum() + found.rows.rest == pytest.approx(float(gradient[cell]), abs=1e-6)


def test_shares_by_the_chain_rule():
    """a reaches (a tanh(b a) + b a) twice, by p = b a and as a factor; p reaches it twice, too."""
    a, b = wanted([0.7, -1.2], "a"), wanted([0.4, 2.0], "b")
    p = b * a
    loss = (a * np.tanh(p) + p).sum()
    found = tg.explain(a, loss, at=1)
    t = np.tanh([0.4 * 0.7, 2.0 * -1.2])
    slope = a.data * (1 - t * t)  # of a tanh(p) at p
    shares = {share.by: share for share in found.shares}
    assert list(shares) == ["p", "t1"]
    np.testing.assert_allclose(shares["p"].value, (slope + 1) * b.data, rtol=1e-12)
    np.testing.assert_allclose(shares["t1"].value, t, rtol=1e-12)
    np.testing.assert_allclose(found.gradient, (slope + 1) * b.data + t, rtol=1e-12)
    assert (shares["p"].argument, shares["p"].rule) == ("b", "d_p * b")
    assert sum(terms(found)[0]) == pytest.approx(found.gradient[1], abs=2e-3)
    row = uses(found)[0]
    assert (row["use"], row["used in"]) == ("0", "p = b * a")
    numbers = [float(row[title]) for title in ("upstream", "local", "share")]
    assert numbers == pytest.approx([slope[1] + 1, 2.0, (slope[1] + 1) * 2.0], rel=1e-3)
    following = shares["p"].next  # the links go on to the loss
    np.testing.assert_allclose([share.value for share in following.shares], [slope, np.ones(2)], rtol=1e-12)
    assert [share.by for share in following.shares] == ["h1", "t2"]
    last = following.shares[1].next.shares[0].next
    assert "made by 5 operations" in str(last)
    assert (last.shares, float(last.gradient)) == ([], 1.0)


def test_a_rule_that_is_no_product_is_shown_with_its_numbers():
    x, w = wanted([[1.0, 2.0], [0.0, 1.0]], "x"), wanted([[3.0], [5.0]], "w")
    z = x @ w
    found = tg.explain(w, (z * 2.0 + z * z).sum(), at=(1, 0))
    assert "rule  x.T @ d_z = 2 * 28 + 1 * 12 = 68" in str(found)  # 2 comes back by z * 2, and z by each side of z * z
    assert not {"upstream", "local"} & {*uses(found)[0]}  # columns in which nothing would stand are left out
    assert the_sum(found) == "68 is the gradient of w[1, 0]: it is used only once."


def test_upstream_local_and_share():
    x = wanted([0.5, 2.0], "x")
    found = tg.explain(x, (np.exp(x) * 0.25).sum(), at=0)
    e = np.exp(0.5)
    (row,) = uses(found)
    assert [row[title] for title in ("upstream", "local", "share")] == ["0.25", f"{e:.4g}", f"{e / 4:.4g}"]
    assert f"  rule  d_t1 * t1 = 0.25 * {e:.4g} = {e / 4:.4g}" in lines(found)


def test_a_tensor_that_one_operation_uses_three_times():
    t = wanted([2.0, 3.0], "t")
    found = tg.explain(t, ops.einsum("i,i,i->", t, t, t), at=0)
    assert [share.argument for share in found.shares] == ["operands[0]", "operands[1]", "operands[2]"]
    assert [float(share.value[0]) for share in found.shares] == [4.0] * 3
    assert uses(found)[1]["used in"].endswith(", as operands[1]")
    assert the_sum(found) == "4 + 4 + 4 = 12, which is the gradient of t[0]."
    joined = tg.explain(t, (np.concatenate([t, t]) * np.array([1.0, 2.0, 3.0, 4.0])).sum(), at=1)
    assert the_sum(joined) == "2 + 4 = 6, which is the gradient of t[1]."
    assert [share.argument for share in joined.shares] == ["arrays[0]", "arrays[1]"]


def tower(x, floors):
    for _ in range(floors):
        x = x * 0.5 + x * 0.25
    return x


def test_a_tower_of_diamonds_has_three_shares():
    """It has more than 2^40 paths to the loss, and three uses of x."""
    x = wanted(1.0, "x")
    found = tg.explain(x, tower(x, 40) + x)
    assert [float(share.value) for share in found.shares] == pytest.approx([0.5 * 0.75**39, 0.25 * 0.75**39, 1.0])
    shown, whole = terms(found)
    assert whole == pytest.approx(0.75**40 + 1, rel=1e-3)
    assert sum(shown) == pytest.approx(whole, rel=1e-3)


def test_more_uses_than_can_be_shown():
    x = wanted(1.0, "x")
    found = tg.explain(x, sum((x * float(k) for k in range(1, 301)), start=0.0))
    assert len(found.shares) == 300
    assert "And 292 more uses: together" in str(found)
    shown, whole = terms(found)
    assert whole == 300 * 301 / 2
    assert sum(shown) == pytest.approx(whole, rel=1e-3)
    assert shown[:8] == [float(k) for k in range(293, 301)]


# ---- one way to the loss


def test_a_path_follows_the_largest_share_from_number_to_number():
    rng = np.random.default_rng(0)
    X, W, V = rng.normal(size=(4, 3)), wanted(rng.normal(size=(3, 5)), "W"), wanted(rng.normal(size=(5, 1)), "V")
    h = np.tanh(X @ W)
    path = tg.explain(W, ((h @ V) ** 2).sum(), at=(2, 1)).path()
    hidden = np.tanh(X @ W.data)
    terms_of_rows = X[:, 2] * (1 - hidden[:, 1] ** 2) * V.data[1, 0] * 2 * (hidden @ V.data)[:, 0]
    row = int(np.argmax(np.abs(terms_of_rows)))
    assert [(step.edge.target.name, step.next_cell) for step in path.steps] == [
        ("z1", (row, 1)),
        ("h", (row, 1)),
        ("z2", (row, 0)),
        ("t1", (row, 0)),
        ("loss", ()),
    ]
    locals_by_hand = [X[row, 2], 1 - hidden[row, 1] ** 2, V.data[1, 0], 2 * (hidden @ V.data)[row, 0], 1.0]
    np.testing.assert_allclose([step.local for step in path.steps], locals_by_hand, rtol=1e-9)
    assert path.product == pytest.approx(terms_of_rows[row], rel=1e-9)
    assert path.steps[0].upstream * path.steps[0].local == pytest.approx(terms_of_rows[row], rel=1e-9)
    assert f"The local slopes multiply to {terms_of_rows[row]:.4g}: one of the terms that sum to" in " ".join(
        lines(path)
    )
    assert any(line.split()[:4] == ["W[2,", "1]", f"z1[{row},", "1]"] for line in lines(path))


def test_a_path_may_begin_with_another_use():
    x = wanted(3.0, "x")
    found = tg.explain(x, np.sin(x * x) + x * 5.0 + x * 7.0)
    assert found.path().names == found.path(use=3).names
    assert found.path(use=2).product == 5.0
    assert "It begins with the use that was asked for. Then, at each step the use," in " ".join(
        lines(found.path(use=2))
    )
    assert "asked for" not in str(found.path())
    assert found.path(use=0).product == pytest.approx(np.cos(9.0) * 3.0)
    for wrong in (4, -1, 1.0, True, "0"):
        with pytest.raises(IndexError, match=r"is no use of x: they are 0 to 3"):
            found.path(use=wrong)
    with pytest.raises(ValueError, match=r"there is no path from .*: the loss itself has no way to go"):
        tg.explain(x * x).path()


def test_the_steps_of_random_graphs_are_one_term_of_the_gradient():
    """By finite differences of each result, with respect to one number that it is computed from."""
    rng = np.random.default_rng(3)
    x, y = wanted(rng.normal(size=(2, 3)), "x"), rng.normal(size=(2, 3))
    loss = (np.exp(np.tanh(x) * y).mean(axis=0) ** 2 + np.maximum(x, y).sum(axis=0)).sum()
    for cell in np.ndindex(2, 3):
        for use in range(2):
            for step in tg.explain(x, loss, at=cell).path(use=use).steps:
                tensor = step.edge.target.tensor
                results = []
                for sign in (1, -1):
                    arrays = [np.array(array) for array in tensor.arrays]
                    arrays[step.edge.position][step.cell] += sign * 1e-6
                    results.append(tensor.op.run(*arrays, **tensor.params)[step.next_cell])
                assert (results[0] - results[1]) / 2e-6 == pytest.approx(step.local, rel=1e-5, abs=1e-8)
                assert step.upstream == step.edge.target.gradient[step.next_cell]


def test_a_path_of_thousands_of_operations():
    x = wanted(1.0, "x")
    y = x
    for _ in range(500):
        y = -y
    path = tg.explain(x, y).path()
    assert len(path.names) == 501
    assert "first and the last 12 of 500 steps" in " ".join(lines(path))
    assert path.product == 1.0


# ---- which cell


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
    state().last_loss = None
    with pytest.raises(ValueError, match="backward\\(\\) has not been called"):
        tg.explain(W)
    loss.backward()
    assert len(tg.explain(W).shares) == 2
