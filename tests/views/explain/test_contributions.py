"""`tg.explain`: contributions against autograd and the chain rule on paper; and which loss is meant."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from graphs import GRAPHS, drawn_inputs, gradients_by_autograd, recorded_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from views.explain.explained import lines, terms, the_sum, wanted

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.core import Tensor
from tinygrad_ce.graph.nodes import Graph
from tinygrad_ce.source_lines import state
from tinygrad_ce.views.explain import explanation as explain
from tinygrad_ce.views.explain import paths


def after(explanation, start):
    """The rest of the first line that starts so."""
    return next(line.strip()[len(start) :].strip() for line in lines(explanation) if line.strip().startswith(start))


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
    theirs = {graph.node_of(v): g for v, g in zip(values, expected, strict=True) if isinstance(v, Tensor)}
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
        "a -> p -> h1 -> t1 -> t2 -> loss": a.data * (1 - np.square(t)) * b.data,
        "a -> p -> t2 -> loss": b.data,
        "a -> t1 -> t2 -> loss": np.array(t),
    }
    assert found.path_count == 3
    assert {" -> ".join(path.names) for path in found.paths} == set(by_hand)
    for path in found.paths:
        np.testing.assert_allclose(path.contribution, by_hand[" -> ".join(path.names)], rtol=1e-12)
    sizes = [abs(path.contribution[1]) for path in found.paths]
    assert sizes == sorted(sizes, reverse=True)
    np.testing.assert_allclose(found.gradient, sum(by_hand.values()), rtol=1e-12)
    shares = {share.by: share for share in found.shares}
    np.testing.assert_allclose(shares["p"].value, by_hand["a -> p -> h1 -> t1 -> t2 -> loss"] + b.data)
    assert (shares["p"].argument, shares["p"].rule, shares["p"].path_count) == ("b", "d_p * b", 2)
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
    state().last_loss = None
    with pytest.raises(ValueError, match="backward\\(\\) has not been called"):
        tg.explain(W)
    loss.backward()
    assert tg.explain(W).path_count == 2
