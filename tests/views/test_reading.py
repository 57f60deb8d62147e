"""What all views read: nodes, edges, shares, formulas and places, against NumPy, autograd and arithmetic on paper."""

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
from samples import SAMPLES
from scipy import special

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.core import EAGER, REGISTRY, Tensor, interpreter
from tinygrad_ce.views import formula as formulas
from tinygrad_ce.views.formula import number
from tinygrad_ce.views.reading import Graph

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
        node = graph.of(value) if isinstance(value, Tensor) else None
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


# ---- formulas, with the numbers of one cell

PAPER = {
    **{
        name: getattr(np, name)
        for name in ("exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh", "abs", "sign")
    },
    **{name: getattr(np, name) for name in ("maximum", "minimum", "where", "isnan", "inf", "nan")},
    **{
        name: getattr(np, name)
        for name in ("tan", "sinh", "cosh", "log2", "log10", "exp2", "cbrt", "hypot", "logaddexp")
    },
    **{f"arc{name}": getattr(np, f"arc{name}") for name in ("sin", "cos", "tan", "tan2", "sinh", "cosh", "tanh")},
    **{name: getattr(np, name) for name in ("floor", "ceil", "rint", "trunc", "remainder", "floor_divide")},
    "erf": special.erf,
    "erfc": special.erfc,
    "sigmoid": special.expit,
    "softplus": lambda x: np.logaddexp(0, x),
    "xlogy": special.xlogy,
    "xlog1py": special.xlog1py,
    "xdivy": lambda x, y: 0.0 if x == 0 else x / y,
    "tanh_slope": lambda x: np.cosh(x) ** -2.0,
    "sigmoid_slope": lambda x: special.expit(x) * special.expit(-x),
    "np": np,
}  # what a reader of a filled formula knows
CASES = [
    (name, i) for name in sorted(REGISTRY) if name in SAMPLES for i, sample in enumerate(SAMPLES[name]) if sample.wrt
]


def loss_of(op, sample):
    """A loss that depends on every cell of a primitive's result in its own way; None where there is nothing to show."""
    values = [wanted(x, f"x{k}") if k in sample.wrt else x for k, x in enumerate(sample.inputs)]
    with np.errstate(all="ignore"):
        out = op(*values, **sample.params)
        if out.size == 0 or not out.requires_grad:
            return None
        return (out * np.linspace(0.5, 1.5, out.size).reshape(out.shape)).sum()


@pytest.fixture
def all_digits(monkeypatch):
    """Numbers are printed with all their digits, and sums with all their terms."""
    monkeypatch.setattr(formulas, "number", lambda value: repr(getattr(value, "item", lambda: value)()))
    monkeypatch.setattr(formulas, "MOST_TERMS", 10**9)


def assert_filled(formula, expected, rtol):
    """The formula, and each cell of it as Python computes the filled text, give the expected numbers."""
    np.testing.assert_allclose(formula.value, expected, rtol=1e-5, atol=1e-6)
    for cell in np.ndindex(expected.shape):
        text = formula.filled(cell)
        with np.errstate(all="ignore"):
            assert eval(text, PAPER) == pytest.approx(float(expected[cell]), rel=rtol, abs=1e-12, nan_ok=True), text


@pytest.mark.usefixtures("all_digits")
@pytest.mark.parametrize(("name", "i"), CASES)
def test_every_primitive_fills_in_the_numbers_of_a_cell(name, i):
    loss = loss_of(REGISTRY[name], SAMPLES[name][i])
    if loss is None:
        return
    graph = read(loss)
    digits = 1e-9 if all(node.value.dtype == np.float64 or node.kind == "data" for node in graph.nodes) else 1e-6
    node = next(node for node in graph.nodes if node.op is not None)
    formulas_and_values = [(node.formula, node.value), *((edge.formula, edge.share) for edge in node.inputs)]
    for formula, value in formulas_and_values:
        if formula is not None:
            assert_filled(formula, value, digits)
            if formula.textbook is not None:
                assert_filled(formula.textbook, value, digits)


def test_numbers_have_four_digits():
    assert [number(x) for x in (0.25, 2 / 3, -12345.678, 1e-9, 0.0, -0.0, np.nan, np.inf, True, 3)] == [
        *("0.25", "0.6667", "-1.235e+04", "1e-09", "0", "0", "nan", "inf", "True", "3")
    ]


def test_a_long_sum_shows_its_first_three_terms_and_its_last():
    x, w = wanted(np.arange(1.0, 7.0), "x"), wanted(np.full(6, 0.5), "w")
    graph = read((x @ w) * 1.0)
    assert only(graph, "z1").formula.filled() == "1 * 0.5 + 2 * 0.5 + 3 * 0.5 + … + 6 * 0.5"
    few = read((x[:4] * 2.0).sum())
    assert few.loss.formula.filled() == "2 + 4 + 6 + 8"


@pytest.mark.parametrize(
    ("f", "cell", "filled"),
    [
        (lambda a, b: a**2, (1,), "(-2)**2"),
        (lambda a, b: -a, (1,), "-(-2)"),
        (lambda a, b: b - a, (1,), "3 - (-2)"),
        (lambda a, b: a / (b - a), (0,), "1 / 2"),
        (lambda a, b: np.where(a > b, a, b), (1,), "where(False, -2, 3)"),
        (lambda a, b: np.maximum(a, b), (1,), "maximum(-2, 3)"),
        (lambda a, b: np.exp(a), (1,), "exp(-2)"),
        (lambda a, b: np.concatenate([a, b]), (2,), "3"),
        (lambda a, b: np.einsum("i,j->ij", a, b), (1, 0), "-2 * 3"),
        (lambda a, b: np.einsum("i,i->", a, b), (), "1 * 3 + (-2) * 3"),
        (lambda a, b: a[::-1], (0,), "-2"),
        (lambda a, b: a[[1, 1, 0]], (1,), "-2"),
        (lambda a, b: a.reshape(2, 1) @ b.reshape(1, 2), (1, 1), "-2 * 3"),
        (lambda a, b: a.astype(np.float32), (1,), "-2"),
    ],
)
def test_how_a_cell_is_written(f, cell, filled):
    graph = read(f(wanted([1.0, -2.0], "a"), wanted([3.0, 3.0], "b")).sum())
    assert graph.nodes[-2].formula.filled(cell) == filled


def test_a_single_term_keeps_its_parentheses():
    a, b, c = wanted([[2.0]], "a"), wanted([[3.0]], "b"), wanted([[5.0]], "c")

    @tg.primitive
    def over_a_product(a, b, c):
        return c / (a @ b) - (c - a).sum() * 2

    try:
        for argument in "abc":
            over_a_product.vjp(argument)(eval(f"lambda g, out, a, b, c: g * {argument}"))
        assert only(read(over_a_product(a, b, c).sum()), "t1").formula.filled((0, 0)) == "5 / (2 * 3) - (5 - 2) * 2"
    finally:
        del REGISTRY["over_a_product"]


weight, table = 3.0, np.array([1.0, 2.0])  # outside of the primitive below, whose arguments are called so, too


def test_an_argument_may_be_called_as_something_outside_is():
    @tg.primitive
    def scaled(weight, table):
        return weight * table

    @scaled.vjp("weight")
    def scaled_weight(g, out, weight, table):
        return g * table

    scaled.constant_in("table")
    try:
        w, table = wanted([5.0, 7.0], "w"), np.array([10.0, 20.0])
        graph = read(scaled(w, table).sum())
        assert only(graph, "t1").formula.text == "w * table"
        np.testing.assert_array_equal(only(graph, "t1").formula.value, [50.0, 140.0])
        assert "t1 = w * table" in "\n".join(graph.source)
    finally:
        del REGISTRY["scaled"]


def test_other_numbers_for_the_names_of_a_formula():
    a = wanted([1.0, 2.0], "a")
    use = only(read((a.tanh() * a).sum()), "a").uses[0]
    other = use.formula.readable.with_numbers({"d_h1": np.array([10.0, 20.0])})
    np.testing.assert_allclose(other.value, [10, 20] * (1 - np.tanh(a.data) ** 2))
    assert other.filled((1,)) == "20 * (1 - 0.964 * 0.964)"
    np.testing.assert_allclose(use.formula.value, use.share)


def test_the_textbook_form_of_the_cross_entropies():
    z, y = wanted([[1.0, 2.0, 0.5], [0.1, 0.2, 0.3]], "z"), np.array([2, 0])
    graph = read(tg.losses.softmax_cross_entropy(z, y))
    assert graph.loss.formula.readable.text == "-np.log(softmax(z)[np.arange(2), y]).mean()"
    p = np.exp(z.data) / np.exp(z.data).sum(axis=1, keepdims=True)
    use = only(graph, "z").uses[0]
    assert use.formula.readable.text == "(softmax(z) - one_hot(y, 3)) / 2"
    assert use.formula.readable.filled((0, 2)) == f"({p[0, 2]:.4g} - 1) / 2"
    np.testing.assert_allclose(use.share, (p - np.eye(3)[y]) / 2)
    binary = read(tg.losses.sigmoid_binary_cross_entropy(z, np.eye(3)[y], reduction="sum"))
    assert only(binary, "z").uses[0].formula.readable.filled((0, 2)) == "sigmoid(0.5) - 1"


WITH_OPTIONS = {  # the options of the loss, the text of the loss and of the gradient, and the gradient by hand
    "smoothing": (
        {"label_smoothing": 0.1},
        "-(smoothed(y, 3, 0.1) * np.log(softmax(z))).sum(axis=-1).mean()",
        "(softmax(z) - smoothed(y, 3, 0.1)) / 4",
        lambda p, t, w: (p - 0.9 * t - 0.1 / 3) / 4,
    ),
    "weights": (
        {"weight": [1, 2, 4]},
        "-(w[y] * np.log(softmax(z)[np.arange(4), y])).sum()",
        "w[y][:, None] * (softmax(z) - one_hot(y, 3))",
        lambda p, t, w: w[:, None] * (p - t) / w.sum(),
    ),
    "weights and a sum": (
        {"weight": [1, 2, 4], "reduction": "sum"},
        "-(w[y] * np.log(softmax(z)[np.arange(4), y])).sum()",
        "w[y][:, None] * (softmax(z) - one_hot(y, 3))",
        lambda p, t, w: w[:, None] * (p - t),
    ),
    "weights and smoothing": (
        {"weight": [1, 2, 4], "label_smoothing": 0.3, "reduction": "sum"},
        "-(w * smoothed(y, 3, 0.3) * np.log(softmax(z))).sum(axis=-1).sum()",
        "(w * smoothed(y, 3, 0.3)).sum(axis=-1, keepdims=True) * softmax(z) - w * smoothed(y, 3, 0.3)",
        lambda p, t, w: p * ((0.7 * t + 0.1) * [1, 2, 4]).sum(axis=1, keepdims=True) - (0.7 * t + 0.1) * [1, 2, 4],
    ),
    "ignored": (
        {"ignore_index": 2},
        "-((y != 2) * w * np.log(softmax(z)[np.arange(4), y])).sum()",
        "((y != 2) * w)[:, None] * (softmax(z) - one_hot(y, 3))",
        lambda p, t, w: (p - t) * [[0], [1], [1], [1]] / 3,
    ),
}


@pytest.mark.parametrize("name", WITH_OPTIONS)
def test_the_textbook_form_with_smoothing_and_weights(name):
    options, loss, slope, by_hand = WITH_OPTIONS[name]
    z = wanted([[1.0, 2.0, 0.5], [0.1, 0.2, 0.3], [-1.0, 0.4, 0.0], [2.0, 1.0, -1.0]], "z")
    y = np.array([2, 0, 1, 1])
    graph = read(tg.losses.softmax_cross_entropy(z, y, **options))
    use = only(graph, "z").uses[0]
    assert graph.loss.formula.readable.text == loss
    assert use.formula.readable.text == slope
    p = np.exp(z.data) / np.exp(z.data).sum(axis=1, keepdims=True)
    right = by_hand(p, np.eye(3)[y], np.array([1, 2, 4])[y])
    np.testing.assert_allclose(use.formula.readable.value, right, rtol=1e-12, atol=1e-15)


def test_the_textbook_form_of_soft_labels_and_of_binary_weights():
    z, q = wanted([[1.0, 2.0], [0.1, 0.2]], "z"), np.array([[0.25, 0.75], [0.5, 0.5]])
    soft = only(read(tg.losses.softmax_cross_entropy(z, q, label_smoothing=0.2)), "z").uses[0].formula.readable
    assert soft.text == "(softmax(z) - ((1 - 0.2) * q + 0.2 / 2)) / 2"
    binary = tg.losses.sigmoid_binary_cross_entropy(z, q, weight=[[2.0], [3.0]], pos_weight=4.0)
    slope = only(read(binary), "z").uses[0].formula.readable
    assert slope.text == "weight * ((1 - q) * sigmoid(z) - w * q * (1 - sigmoid(z))) / 4"
    p = 1 / (1 + np.exp(-z.data))
    np.testing.assert_allclose(slope.value, [[2.0], [3.0]] * ((1 - q) * p - 4 * q * (1 - p)) / 4)


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
    np.testing.assert_array_equal(turned.of(x).gradient, [3.0, 4.0])


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
    assert graph.of(x).gradient == 1.0


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
    with pytest.raises(ValueError, match=r"has shape \(2,\): reduce it with .mean\(\) or .sum\(\)"):
        read(x * x)

    def step(x):
        read((wanted([1.0]) * x).sum())

    with pytest.raises(RuntimeError, match="the test: this step is being traced"):
        tg.trace(step, np.ones(1))
