"""What all views read: nodes, edges, shares and places, against NumPy, autograd and arithmetic on paper."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
from fused import ready_gradient
from graphs import GRAPHS, gradients_by_autograd, recorded_graph
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.core import EAGER, Tensor, interpreter
from tinygrad_ce.graph.nodes import Graph

SEED = st.integers(0, 2**32 - 1)


def wanted(data, name=None):
    return Tensor(data, requires_grad=True, name=name)


def read(loss):
    return Graph(loss, "the test")


def only(graph, name):
    """The node of this name in the program."""
    return next(node for node in graph.nodes if node.name == name)


# ---- random graphs


@settings(deadline=None, max_examples=40)
@given(steps=GRAPHS, seed=SEED)
def test_gradients_and_shares_of_random_graphs(steps, seed):
    inputs = np.random.default_rng(seed)
    inputs = [np.asarray(inputs.normal(size=shape)) for shape in ((), (2,), (3, 2), (3, 1), (1, 2))]
    loss, values = recorded_graph(steps, inputs)
    graph = read(loss)
    expected = gradients_by_autograd(steps, inputs)
    for value, theirs in zip(values, expected, strict=True):
        node = graph.node_of(value) if isinstance(value, Tensor) else None
        if node is not None and node.gradient is not None:
            np.testing.assert_allclose(node.gradient, theirs, rtol=1e-7, atol=1e-9)
    for node in graph.nodes:
        if node.gradient is not None and node is not graph.loss:
            shares = [edge.share for edge in node.uses if edge.share is not None]
            np.testing.assert_allclose(np.sum(shares, axis=0), node.gradient, rtol=1e-10, atol=1e-12)
        if node.formula is not None:
            np.testing.assert_allclose(node.formula.value, node.value, rtol=1e-12, atol=1e-14)
    for edge in graph.edges:
        if edge.share is not None:
            scale = np.abs(edge.share).max()
            np.testing.assert_allclose(edge.formula.value, edge.share, rtol=1e-10, atol=1e-12 * scale)
            np.testing.assert_allclose(edge.formula.readable.value, edge.share, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(edge.pulled(3 * edge.target.gradient), 3 * edge.share, rtol=1e-9, atol=1e-12)
            if edge.local is not None:
                np.testing.assert_allclose(edge.local * edge.target.gradient, edge.share, rtol=1e-9, atol=1e-12)


@settings(deadline=None, max_examples=20)
@given(steps=GRAPHS, seed=SEED)
def test_the_nodes_stand_in_the_order_of_the_forward_pass(steps, seed):
    rng = np.random.default_rng(seed)
    loss, _ = recorded_graph(steps, [np.asarray(rng.normal(size=s)) for s in ((), (2,), (3, 2), (3, 1), (1, 2))])
    graph = read(loss)
    order = {node: n for n, node in enumerate(graph.nodes)}
    assert graph.nodes[-1] is graph.loss
    assert all(order[edge.source] < order[edge.target] for edge in graph.edges)
    assert len({node.name for node in graph.nodes}) == len(graph.nodes)


# ---- what is upstream, and local


def test_a_local_derivative_is_one_number_for_each_number():
    a, b, W = wanted([[1.0, -2.0]], "a"), wanted(3.0, "b"), wanted(np.ones((2, 2)), "W")
    graph = read((np.tanh(a * b) @ W).sum())
    use_of_a, use_of_b = only(graph, "a").uses[0], only(graph, "b").uses[0]
    np.testing.assert_array_equal(use_of_a.local, [[3.0, 3.0]])
    assert use_of_b.local is None  # a sum over both numbers
    assert only(graph, "h1").uses[0].local is None  # a product of matrices
    np.testing.assert_allclose(only(graph, "t1").uses[0].local, 1 - np.tanh([[3.0, -6.0]]) ** 2)


def test_a_gradient_of_zeros_makes_no_product_of_matrices_a_local_derivative():
    x, W = wanted(np.array([[1.0, 2.0], [3.0, 4.0]]), "x"), wanted(np.array([[1.0, 5.0], [6.0, 2.0]]), "W")
    graph = read(((x @ W) * np.zeros((2, 2))).sum())
    assert not only(graph, "x").gradient.any()
    assert only(graph, "x").uses[0].local is None


def test_two_parameters_with_one_array_are_two():
    a, b = wanted([1.0, 2.0], "a"), wanted([0.0, 0.0], "b")
    b.data = a.data
    graph = read((a * a * b).sum())
    np.testing.assert_allclose(only(graph, "a").gradient, [2.0, 8.0])
    np.testing.assert_allclose(only(graph, "b").gradient, [1.0, 4.0])


def test_what_is_detached_is_used_without_a_gradient():
    x = wanted([3.0, 4.0], "x")
    for other in (x.detach(), x.data):
        graph = read((x * other).sum())
        assert [edge.share is None for edge in only(graph, "x").uses] == [False, True]
        np.testing.assert_array_equal(only(graph, "x").gradient, [3.0, 4.0])
    turned = read(ops.mul(x.data, x).sum())
    np.testing.assert_array_equal(turned.node_of(x).gradient, [3.0, 4.0])


def test_numbers_that_were_written_to_after_the_loss():
    W, b = wanted(np.ones((2, 2)), "W"), wanted(np.zeros(2), "b")
    loss = np.tanh(ops.affine(np.array([[0.3, 0.4]]), W, b)).sum()
    assert read(loss).changed == []
    loss.backward()
    tg.optim.SGD([W], lr=1e-3).step()
    assert {node.name for node in read(loss).changed} == {"W", "b"}


# ---- reading changes nothing


def network(seed=0):
    tg.seed(seed)
    model = tg.nn.Sequential(tg.nn.Dense(3, 5), tg.nn.BatchNorm(5), tg.nn.Tanh(), tg.nn.Dense(5, 3))
    x = np.random.default_rng(seed).normal(size=(6, 3))
    return model, x, np.arange(6) % 3


def test_reading_changes_nothing():
    def run(look):
        model, x, y = network()
        loss = tg.losses.softmax_cross_entropy(model(x), y)
        ready = None if ready_gradient(loss) is None else ready_gradient(loss).copy()
        state = np.random.get_state()[1].copy()
        if look:
            before = model.state()
            graph = read(loss)
            for node in graph.nodes:
                assert node.formula is None or node.formula.readable.pieces
            for edge in graph.edges:
                assert edge.formula is None or edge.formula.readable.pieces
                assert edge.local is None or edge.local.shape == edge.source.shape
            assert graph.source
            assert graph.changed == []
            assert all(np.array_equal(before[path], array) for path, array in model.state().items())
            assert all(p.grad is None for p in model.parameters())
            assert (ready is None) == (ready_gradient(loss) is None)
            np.testing.assert_array_equal(ready_gradient(loss), ready)
            np.testing.assert_array_equal(np.random.get_state()[1], state)
            assert interpreter.get() is EAGER
            assert interpreter.get().recording
        loss.backward()
        return [p.grad for p in model.parameters()]

    for seen, unseen in zip(run(True), run(False), strict=True):
        assert seen.tobytes() == unseen.tobytes()


def test_gradients_of_a_backward_pass_stay_what_they_are():
    model, x, y = network()
    loss = tg.losses.softmax_cross_entropy(model(x), y)
    loss.backward()
    before = [(p.grad, p.grad.copy()) for p in model.parameters()]
    graph = read(loss)
    for edge in graph.edges:
        assert edge.formula is None or edge.formula.value is not None
    for p, (grad, copy) in zip(model.parameters(), before, strict=True):
        assert p.grad is grad
        np.testing.assert_array_equal(grad, copy)


def test_a_chain_of_thousands_is_read_without_recursion():
    x = wanted(1.0, "x")
    y = x
    for _ in range(3_000):
        y = y * 1.0
    graph = read(y)
    assert len(graph.nodes) == 3_001
    assert graph.node_of(x).gradient == 1.0


# ---- lines of the user's code

HERE = Path(__file__).name


def line(frames=1):
    """The number of the line that calls this."""
    frame: FrameType = sys._getframe(frames)
    return frame.f_lineno


def assert_made_at(loss, expected, op=None):
    """The results (of one primitive) were made in this file at the expected line."""
    nodes = [node for node in read(loss).nodes if node.op is not None and op in (None, node.op.name)]
    assert nodes
    assert {(Path(node.place.file).name, node.place.number) for node in nodes} == {(HERE, expected)}


class Doubled(tg.nn.Module):
    """A user's module, which calls a layer of ours."""

    def __init__(self):
        self.inner = tg.nn.Dense(2, 2)

    def forward(self, x):
        y, self.line = self.inner(x) * 2.0, line()
        return y


def test_the_line_of_operators_functions_and_methods():
    x = wanted([1.0, 2.0], "x")
    y, where = x * 2.0, line()
    assert_made_at(y.sum(), where, "mul")
    y, where = 2.0 - x, line()
    assert_made_at(y.sum(), where, "sub")
    y, where = np.exp(x), line()
    assert_made_at(y.sum(), where, "exp")
    y, where = np.logaddexp(x, 0.0).sum(), line()
    assert_made_at(y, where)
    y, where = ops.softplus(x), line()
    assert_made_at(y.sum(), where, "softplus")
    y, where = x.mean(), line()
    assert_made_at(y, where)
    y, where = x.var() + x[0], line()
    assert_made_at(y, where)
    y, where = ops.einsum("i,i->", x, x), line()
    assert_made_at(y, where)
    y, where = sum(part for part in x), line()
    assert_made_at(y, where)


def test_an_operation_over_several_lines_is_at_its_own():
    x = wanted([1.0, 2.0], "x")
    start = line()
    y = (
        x
        * np.tanh(
            x,
        )
    ).sum()
    graph = read(y)
    assert start < only(graph, "h1").place.number <= start + 6
    assert start < graph.loss.place.number <= start + 6


def test_the_line_of_layers_is_where_the_model_is_called():
    model = tg.nn.Sequential(tg.nn.Dense(2, 3), tg.nn.BatchNorm(3), tg.nn.Sequential(tg.nn.Tanh(), tg.nn.Dense(3, 1)))
    out, where = model(np.ones((4, 2))), line()
    total, end = out.sum(), line()
    graph = read(total)
    assert {node.place.number for node in graph.nodes if node.op is not None and node is not graph.loss} == {where}
    assert graph.loss.place.number == end
    names = [[type(call[0]).__name__ for call in node.modules] for node in graph.nodes if node.op is not None]
    assert names[0] == ["Sequential", "Dense"]
    assert ["Sequential", "Sequential", "Dense"] in names
    assert names[-1] == []


def test_the_line_in_a_users_module_is_in_its_forward():
    model = tg.nn.Sequential(Doubled(), tg.nn.ReLU())
    loss, where = model(np.ones((4, 2))).sum(), line()
    graph = read(loss)
    assert {node.op.name: node.place.number for node in graph.nodes if node.op is not None} == {
        "affine": model[0].line,
        "mul": model[0].line,
        "relu": where,
        "reduce_sum": where,
    }


def test_the_line_of_a_lambda_in_a_model_is_its_own():
    model, where = tg.nn.Sequential(tg.nn.Dense(2, 2), lambda x: x * 3.0), line()
    loss, called = model(np.ones((4, 2))).sum(), line()
    assert_made_at(loss, where, "mul")
    assert_made_at(loss, called, "affine")


@pytest.mark.parametrize("loss", [tg.losses.softmax_cross_entropy, tg.nn.SoftmaxCrossEntropy()])
def test_the_line_of_a_loss(loss):
    cost, where = loss(wanted(2 * np.eye(3), "z"), np.arange(3)), line()
    assert_made_at(cost, where)


def test_the_line_of_a_loss_of_many_operations():
    p = ops.softmax(wanted(np.eye(3), "z"))
    cost, where = tg.losses.cross_entropy(p, np.arange(3), fused=False, label_smoothing=0.1), line()
    assert_made_at(cost, where, "xlogy")
    cost, where = tg.nn.MSE()(p, np.eye(3)), line()
    assert_made_at(cost, where, "constant_power")


def test_training_and_tracing_note_no_lines():
    places = []

    def loss(z, y):
        cost = tg.losses.mse(z, y)
        places.append((z.note, cost.note))
        return cost

    model = tg.nn.Sequential(tg.nn.Dense(2, 1), tg.nn.Tanh())
    x, y = np.ones((4, 2)), np.zeros((4, 1))
    trainer = tg.Trainer(model, loss, tg.optim.SGD(model.parameters(), lr=0.1))
    trainer.fit(x, y, epochs=2, progress=False, compile=False)
    tg.trace(lambda x, y: loss(model(x), y), x, y)
    assert places
    assert set(places) == {(None, None)}
    eager = loss(model(x), y)
    assert eager.note is not None
    with tg.no_grad():
        assert (model(x) * 2.0).note is None


def test_a_line_is_kept_in_threads_too():
    from threading import Thread

    found = []

    def work():
        y, where = wanted(2.0) * 3.0, line()
        found.append((read(y).loss.place.number, where))

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert found[0][0] == found[0][1]


# ---- what cannot be read


def test_what_cannot_be_read_says_why():
    x = wanted([1.0, 2.0], "x")
    with pytest.raises(TypeError, match=r"the test: a loss is a Tensor .* this is float"):
        read(1.0)
    with pytest.raises(ValueError, match=r"the test: x has no history: it was made by you"):
        read(x)
    with pytest.raises(ValueError, match=r"no history: it depends on nothing with a gradient"):
        read(Tensor([1.0]).sum())
    with tg.no_grad(), pytest.raises(ValueError, match="no history"):
        read((x * x).sum())
    with pytest.raises(ValueError, match="the test: two lines has no history"):
        read(Tensor([1.0], name="two\nlines"))
    with pytest.raises(ValueError, match=r"has shape \(2,\): reduce it with .mean\(\) or .sum\(\)"):
        read(x * x)

    def step(x):
        read((wanted([1.0]) * x).sum())

    with pytest.raises(RuntimeError, match="the test: this step is being traced"):
        tg.trace(step, np.ones(1))
