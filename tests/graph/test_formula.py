"""Formulas: printed expressions, the numbers of one cell in them, and textbook forms, against arithmetic on paper."""

from __future__ import annotations

import ast

import numpy as np
import pytest
from samples import SAMPLES
from scipy import special

import tinygrad_ce as tg
from tinygrad_ce.core import REGISTRY, Tensor
from tinygrad_ce.graph import cells
from tinygrad_ce.graph import formula as formulas
from tinygrad_ce.graph.expressions import parsed, renamed
from tinygrad_ce.graph.formula import Formula
from tinygrad_ce.graph.nodes import Graph
from tinygrad_ce.report.words import format_number


def wanted(data, name=None):
    return Tensor(data, requires_grad=True, name=name)


def read(loss):
    return Graph(loss, "the test")


def only(graph, name):
    """The node of this name in the program."""
    return next(node for node in graph.nodes if node.name == name)


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
    monkeypatch.setattr(formulas, "format_number", lambda value: repr(getattr(value, "item", lambda: value)()))
    monkeypatch.setattr(cells, "MAX_TERMS", 10**9)


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


ARRAYS = {
    "v": np.array([1.5, -2.0, 3.0]),
    "W": np.array([[1.0, -2.0], [0.5, 4.0], [-3.0, 2.5]]),
    "S": np.linspace(-2.0, 2.0, 24).reshape(2, 4, 3),
    "E": np.zeros((0, 3)),
    "k": np.array(2.0),
    "mask": np.array([True, False, True]),
}


@pytest.mark.usefixtures("all_digits")
@pytest.mark.parametrize(
    "text",
    [
        *("v @ W", "v @ v", "W.T @ v", "W @ W.T", "S @ W", "S @ v", "v @ S.transpose(0, 2, 1)", "W[:, 0] @ (W - k)"),
        *("np.einsum('ij,ik->jk', W, W)", "np.einsum('bni,io->bon', S, W)", "np.einsum('i,i->', v, v)"),
        *("np.einsum('bni,i->b', S, v)", "np.einsum('ij,j->ij', W, W[:1, 0] * k)", "np.einsum('i,,j->ji', v, k, v)"),
        *("S.sum()", "S.sum(axis=(0, 2))", "S.mean(axis=-1, keepdims=True)", "np.mean(S - v, axis=1)", "k.sum()"),
        *("E.sum(axis=0)", "E @ v", "E.T @ E", "k - (v - W.T).sum(axis=0) / k", "(v * v).sum() * k"),
        *("v[:, None] * W", "np.tile(W, (1, 2)) / (k * k)", "np.flip(v) - -v", "(-v)**2", "-v**2", "k**-v"),
        *("(v**k)**3", "(v > 0) & mask", "(k > v) & (v > -1)"),
        *("np.logical_or(v < k, np.equal(v, 3.0))", "np.where(mask, v, np.exp(v) - 1)"),
        *("np.cumsum(v) * k", "np.sort(v)[::-1]", "W.reshape(2, 3).swapaxes(0, 1).astype(np.float64)", "np.sum(v) * v"),
        *("v[mask] * k", "W[[2, 0, 0]] - np.asarray(k)", "S[..., 1:].T * 2", "W % k // 0.5", "v.sum(0) - v.max()"),
    ],
)
def test_every_cell_of_an_expression_is_filled_with_its_numbers(text):
    formula = Formula(ast.parse(text, mode="eval").body, ARRAYS)
    value = eval(text, {"np": np}, ARRAYS)
    assert_filled(formula, np.asarray(value), 1e-12)
    assert {piece.table.shape for piece in formula.pieces if not isinstance(piece, str)} <= {np.shape(value)}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("k * np.cumsum(v)", "2 * (-0.5)"),
        ("k * np.einsum('...i->i', v)", "2 * (-2)"),
        ("k * np.sum(v, initial=1.0)", "2 * 3.5"),
        ("k * np.sum(W, 0)", "2 * 4.5"),
        ("k - (mask ^ True)", "2 - True"),
        ("k * (k is None)", "2 * False"),
    ],
)
def test_what_is_not_known_is_the_number_that_it_gives(text, filled):
    formula = Formula(ast.parse(text, mode="eval").body, ARRAYS)
    assert formula.filled((1,) * formula.value.ndim) == filled


def test_numbers_have_four_digits():
    assert [format_number(x) for x in (0.25, 2 / 3, -12345.678, 1e-9, 0.0, -0.0, np.nan, np.inf, True, 3)] == [
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


def test_a_rule_gives_the_share_of_its_use():
    a = wanted([1.0, 2.0], "a")
    use = only(read((a.tanh() * a).sum()), "a").uses[0]
    assert use.formula.readable.filled((1,)) == "2 * (1 - 0.964 * 0.964)"
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


@pytest.mark.parametrize(
    ("names", "text"),
    [({"x": "y"}, "1 - exp(y)"), ({"x": "#12"}, "1 - exp(#12)"), ({"x": parsed("a + b")}, "1 - exp(a + b)")],
)
def test_an_expression_with_other_names(names, text):
    tree = parsed("1 - exp(x)")
    assert ast.unparse(renamed(tree, names)) == text
    assert ast.unparse(tree) == "1 - exp(x)"
