"""`tg.explain` of a whole graph, as a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from views.explain.explained import lines, network, softmax, the_sum, wanted

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.report.parts import Table
from tinygrad_ce.views.explain.table import numbers

HERE = Path(__file__).name


# ---- the table of a graph


def rows_of(explanation):
    """The table, as lists of cells by the name in the program."""
    (table,) = (part for part in explanation.parts if isinstance(part, Table))
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
    assert rows["x"]["value"] == "-1 … 2\nmean 0.4375"
    assert rows["y"]["value"] == "0 1"
    assert rows["y"]["gradient"] == ""
    gradient = (softmax(loss.inputs[0].data) - np.eye(2)[y]).sum(axis=0) / 2
    assert rows["b2"]["gradient"] == " ".join(f"{g:.4g}" for g in gradient)
    assert {rows[name]["line"] for name in ("z1", "h1", "z2", "loss")} == {f"{HERE}:{line}"}
    assert rows["W0"]["line"] == rows["x"]["line"] == ""
    assert rows["z1"]["#"] == str(loss.inputs[0].inputs[0].inputs[0].serial)
    assert found.parts[-1].text == (
        "softmax and cross-entropy are shown as one operation, on the logits; losses.cross_entropy(..., fused=False) "
        "shows them apart."
    )
    assert (found.shares, found.rows) == ([], None)
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
    assert rows_of(found)["t1"]["value"] == "0 … 0.6931, 2 not finite\nmean 0.3466"
    assert rows_of(found)["loss"]["value"] == "nan"
    assert at_zero.cell == (1,)  # 0 / 0: what is not a number comes first
    assert the_sum(at_zero) == "nan + nan = nan, which is the gradient of x[1]."


def test_what_is_true_in_a_mask_is_counted():
    x, mask = wanted(np.arange(5.0), "x"), np.array([True, False, True, False, True])
    assert rows_of(tg.explain(np.where(mask, x, 0.0).sum()))["mask"]["value"] == "3 of 5 True"


def test_a_row_that_is_not_finite_comes_first():
    x, w = np.array([[1.0], [np.inf], [3.0]]), wanted([[2.0]], "w")
    with np.errstate(all="ignore"):
        found = tg.explain(w, np.tanh(x @ w).sum(), rows=x)
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
        assert "Careful: layers.0.W, layers.0.b, layers.2.W, layers.2.b: other numbers stand there now" in " ".join(
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
    x = np.array([[3.0, 4.0], [5.0, 6.0]])
    loss = (x @ W).sum()
    with tg.no_grad():
        found = tg.explain(W, loss, rows=x)
        assert not (W * W).requires_grad
    np.testing.assert_allclose(found.rows.contributions, [4.0, 6.0])


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.full((3, 2), 0.5), "all 0.5"),
        (np.array([3, 12345, 7, 0]), "0 … 12345\nmean 3089"),
        (np.array([True, False, True, True]), "3 of 4 True"),
        (np.full(5, np.inf), "nothing finite"),
    ],
)
def test_an_array_is_shown_by_its_range_and_mean(array, text):
    assert numbers(array) == text
