"""`tg.explain`: how it is shown, in the terminal, as HTML and as LaTeX; edges, and refusals."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.mathtext import MathTextParser
from samples import SAMPLES
from views.explain.explained import lines, network, terms, the_sum, uses, wanted

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.core import REGISTRY, Tensor
from tinygrad_ce.graph.nodes import Graph
from tinygrad_ce.source_lines import state
from tinygrad_ce.views.explain import explanation as explain

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
        shown = "".join(name.replace("\x1b", r"\x1b").split())
        if len(name) < 40:
            assert shown in "".join(str(found).split())
            assert shown in "".join("".join(page.text).split())


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
            names = explain.symbols_of_gradients(graph, made)
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
    with pytest.raises(ValueError, match="there is no path from empty: it has no elements"):
        nothing.path()


def test_float32_stays_float32():
    x = wanted(np.array([1.0, 2.0], np.float32), "x")
    found = tg.explain(x, (np.tanh(x) * x).sum())
    assert {found.gradient.dtype, *(share.value.dtype for share in found.shares)} == {np.dtype(np.float32)}


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
        found = tg.explain(b, np.tanh(x + halved(b)).sum(), at=1, rows=x)
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
        assert [uses(found)[0][title] for title in ("upstream", "local", "share")] == ["2", "0.0625", "0.125"]
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
    state().last_loss = None
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
    with pytest.raises(ValueError, match=r"other of shape \(1,\) is no loss, and #\d+, from which .* not made from it"):
        tg.explain(wanted([1.0], "other"))
    h.named("two").backward(np.ones((1, 1)))
    tg.explain(W)  # one number
    several = (W * 2.0).named("several\nnumbers")
    several.backward(np.ones((2, 1)))
    says = r"W .* and several numbers, from which the last backward\(\) started, is no single number either: pass"
    with pytest.raises(ValueError, match=says):
        tg.explain(W)
    with pytest.raises(ValueError, match="has no history"):
        tg.explain(W, wanted(1.0))
    with tg.no_grad(), pytest.raises(ValueError, match="has no history"):
        tg.explain(W, (W * W).sum())


@pytest.mark.parametrize(
    ("at", "says"),
    [
        ((2, 0), r"at=\(2, 0\) is no cell of W, which has shape \(2, 1\)"),
        ((-3, 0), "no cell of W"),
        (0, "no cell of W"),
        ((), "no cell of W"),
        ((0, 0, 0), "no cell of W"),
        (1.5, r"at=1.5 is no cell of W, which has shape \(2, 1\): give an integer for each axis"),
        ("a", "no cell of W"),
        ((0, None), "no cell of W"),
        (slice(None), "no cell of W"),
    ],
)
def test_a_wrong_cell(at, says):
    W = wanted([[1.0], [2.0]], "W")
    with pytest.raises(IndexError, match=says):
        tg.explain(W, W.sum(), at=at)


def test_other_wrong_arguments():
    W = wanted([[1.0], [2.0]], "W")
    loss = W.sum().named("cost")
    for wrong in ({"at": 0}, {"rows": W}):
        with pytest.raises(ValueError, match="= is for a tensor that leads to the loss, and cost is the loss"):
            tg.explain(loss, **wrong)


def test_a_name_with_a_line_break_stays_on_one_line():
    W = wanted([[1.0], [2.0]], "two\nlines")
    loss = W.sum()
    for wrong in (
        {"at": 0},
        {"rows": W[0]},
        {"rows": wanted([1.0], "no\nrows")},
        {"loss": (wanted(1.0, "a\nb") * 2.0).named("c\nd")},
        {"loss": wanted(1.0, "a\nb")},
        {"loss": (W * 2.0).named("a\nb")},
    ):
        with pytest.raises((IndexError, ValueError)) as caught:
            tg.explain(W, **{"loss": loss, **wrong})
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="there is no path from a b") as caught:
        tg.explain((W * 2.0).sum().named("a\nb")).path()


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
