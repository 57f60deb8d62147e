"""`tg.why_nan` of functions that are not defined, overflow, or have no finite slope everywhere."""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any

import numpy as np
import pytest
from views.nan.leaves import wanted

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.core import REGISTRY

FORWARD = [
    (ops.arcsin, 1.5, "arcsin needs abs(x) <= 1, and here x = 1.5", "clip"),
    (ops.arccos, -2.0, "arccos needs abs(x) <= 1", "clip"),
    (ops.arctanh, 1.0, "arctanh needs abs(x) < 1, and here x = 1", "clip"),
    (ops.arccosh, 0.5, "arccosh needs x >= 1", "low=1"),
    (ops.log2, 0.0, "log2 needs x > 0, and here x = 0", "tg.ops.clip"),
    (ops.log10, -1.0, "log10 needs x > 0, and here x = -1", "negative"),
    (ops.cosh, 800.0, "cosh(800) is beyond", "smaller"),
    (ops.exp2, 2000.0, "exp2(2000) is beyond", "smaller"),
    (lambda x: ops.mod(x, 0.0), 3.0, "mod needs b != 0, and here b = 0", "away from 0"),
]
BACKWARD = [
    (ops.arcsin, 1.0, "the slope of arcsin at 1 is infinite", "clip"),
    (ops.arccosh, 1.0, "the slope of arccosh at 1 is infinite", "clip"),
    (ops.cbrt, 0.0, "the slope of cbrt at 0 is infinite", "away from 0"),
    (lambda x: ops.arctan2(x, 0.0), 0.0, "the slope of arctan2 at (0, 0) is not defined", "where"),
]


@pytest.mark.parametrize(("f", "at", "cause", "cure"), [*FORWARD, *BACKWARD])
def test_the_cause_and_the_cure_are_told(f: Any, at: float, cause: str, cure: str) -> None:
    with np.errstate(all="ignore"):
        loss = (f(wanted([1.9 if f is ops.arccosh else 0.9, at], "x")) * 2.0).sum()
        found = tg.why_nan(loss)
    finding = found.forward or found.backward
    assert finding is not None
    assert cause in finding.cause
    assert cure in finding.cure


def test_a_primitive_of_the_users_own_declares_its_domain() -> None:
    @tg.primitive
    def logit_for_a_test(x):  # type: ignore[no-untyped-def]
        return np.log(x / (1 - x))

    @logit_for_a_test.vjp("x")
    def logit_for_a_test_x(g, out, x):  # type: ignore[no-untyped-def]
        return g / (x * (1 - x))

    logit_for_a_test.domain("0 < x < 1", cure="keep the logit itself")
    with np.errstate(all="ignore"):
        finding = tg.why_nan(logit_for_a_test(wanted([0.5, 1.0], "p").sigmoid() * 0.0 + 1.0).sum()).forward
    assert finding.cause == "logit_for_a_test needs 0 < x < 1, and here x = 1"
    assert finding.cure == "keep the logit itself"


def test_a_number_just_outside_is_written_with_all_its_digits() -> None:
    with np.errstate(all="ignore"):
        finding = tg.why_nan(ops.arccos(wanted([1 + 2**-52], "x")).sum()).forward
    assert finding.cause == "arccos needs abs(x) <= 1, and here x = 1.0000000000000002"


def test_the_chain_leads_back_to_ordinary_numbers() -> None:
    z = wanted([[1.0, 40.0]], "z")
    p = z.sigmoid()
    with np.errstate(all="ignore"):
        chain = tg.why_nan(ops.log(1 - p[:, 1]).sum()).forward.chain
    assert [(link.tensor.op and link.tensor.op.name, link.index, link.value) for link in chain] == [
        ("log", (0,), -np.inf), ("sub", (0,), 0.0), ("sigmoid", (0, 1), 1.0), (None, (0, 1), 40.0),
    ]  # fmt: skip
    assert re.fullmatch(r"#\d+ = 1 - #\d+ = 0", chain[1].text)
    assert re.fullmatch(r"#\d+\[0, 1\] = sigmoid\(z\) = 1", chain[2].text)
    assert chain[3].text == "z = 40"
    assert chain[3].line is None


def test_of_a_chain_through_a_product_the_row_is_shown() -> None:
    X, W = np.array([[1.0, 2.0], [3.0, 400.0]]), wanted([[0.0], [2.0]], "W")
    with np.errstate(all="ignore"):
        chain = tg.why_nan(ops.exp(ops.matmul(X, W)).sum()).forward.chain
    assert chain[1].index == (1, 0)
    assert chain[1].text.endswith("= matmul(array(2, 2), W) = 800, of a = [3, 400], b = [0, 2]")


def test_a_chain_goes_on_through_what_was_computed_and_not_to_the_data_beside_it() -> None:
    z, one = wanted(40.0, "z"), tg.Tensor(1.0, name="one")
    for difference in (ops.sigmoid(z) - one, one - ops.sigmoid(z)):
        with np.errstate(all="ignore"):
            chain = tg.why_nan(ops.log(difference)).forward.chain
        assert [link.tensor.op and link.tensor.op.name for link in chain] == ["log", "sub", "sigmoid", None]
        assert chain[-1].text == "z = 40"


@pytest.mark.parametrize("size", [1e5, 1e7])
def test_only_a_parameter_that_is_huge_is_said_to_have_blown_up(size: float) -> None:
    with np.errstate(all="ignore"):
        cause = tg.why_nan((wanted([1.0, size], "W") * 1e304).sum()).forward.cause
    assert ("Huge already: W (up to 1e+07)" in cause) is (size > 1e6)


BESIDE_NAN = [([np.nan, np.inf], True), ([np.nan, 1.0], False), ([np.inf, 1.0], False)]


@pytest.mark.parametrize(("data", "is_said"), BESIDE_NAN)
def test_of_nan_beside_infinity_it_is_said_that_a_mask_makes_both(data: list[float], is_said: bool) -> None:
    mask = tg.Tensor(data, name="mask")
    cause = tg.why_nan((wanted([1.0, 2.0], "x") * mask).sum()).forward.cause
    assert ("0 * inf is NaN" in cause) is is_said


@pytest.mark.parametrize("op", [op for op in REGISTRY.values() if op.domains], ids=lambda op: op.name)
def test_every_declared_condition_can_be_evaluated(op: Any) -> None:
    """A misspelt name is told only to the one who asks about this operation."""
    known = {
        "out",
        "largest",
        "rows",
        "inf",
        "abs",
        "max",
        "min",
        "log",
        "axis",
        *inspect.signature(op.body).parameters,
    }
    for condition, cure, slope, words in op.domains:
        assert cure
        for text in (condition, slope, f"f{words!r}"):
            names = {node.id for node in ast.walk(ast.parse(text, mode="eval")) if isinstance(node, ast.Name)}
            assert names <= known | {"op", "dtype"}, text


def root_of_ones_own() -> Any:
    @tg.primitive
    def root_for_a_domain(x, *, shift=0.0):  # type: ignore[no-untyped-def]
        return np.sqrt(x - shift)

    @root_for_a_domain.vjp("x")
    def root_for_a_domain_x(g, out, x, *, shift):  # type: ignore[no-untyped-def]
        return g / (2 * out)

    return root_for_a_domain


@pytest.mark.parametrize(
    ("condition", "words", "told"),
    [
        ("y >= 0", "", "'y >= 0' can't be evaluated (name 'y' is not defined); write Python with "),
        ("x >= shfit", "", "'x >= shfit' can't be evaluated (name 'shfit' is not defined); write Python with "),
        ("x >", "", "'x >' can't be evaluated (invalid syntax); write Python with "),
        ("x >= shift", "no root below {shfit}", "can't be evaluated (name 'shfit' is not defined); write Python with "),
    ],
)
def test_a_misspelt_domain_is_told_in_one_line(condition: str, words: str, told: str) -> None:
    root = root_of_ones_own()
    root.domain(condition, words=words)
    with np.errstate(all="ignore"):
        loss = root(wanted([-1.0], "x"), shift=0.5).sum()
    with pytest.raises(ValueError, match=re.escape(told)) as raised:
        tg.why_nan(loss)
    assert str(raised.value).startswith("root_for_a_domain.domain: ")
    assert "\n" not in str(raised.value)
    assert re.search(r"\babs, .*\bx, shift, out\b", str(raised.value))


def test_a_domain_may_say_what_is_wrong_in_words() -> None:
    root = root_of_ones_own()
    root.domain("x >= shift", "take a larger x", words="there is no real root below {shift:g}")
    with np.errstate(all="ignore"):
        finding = tg.why_nan(root(wanted([3.0, 1.0], "x"), shift=2.0).sum()).forward
    assert finding.cause == "there is no real root below 2, and here x = 1, shift = 2"


@pytest.mark.parametrize(
    ("f", "cause"),
    [
        (lambda x: ops.exp(x * 400.0), "exp(x) is too large for float64 above 709.78, and here x = 800"),
        (lambda x: ops.expm1(x * 400.0), "expm1(x) is too large for float64 above 709.78, and here x = 800"),
        (lambda x: (x - 3.0) ** 0.5, "needs x >= 0 or exponent is a whole number, and here x = -1, exponent = 0.5"),
        (lambda x: (x - 3.0) ** (x / 4), "needs base >= 0 or exponent is a whole number, and here base = -1"),
    ],
)
def test_a_cause_can_be_read_by_who_knows_no_code(f: Any, cause: str) -> None:
    with np.errstate(all="ignore"):
        assert cause in tg.why_nan(f(wanted([2.0], "x")).sum()).forward.cause


def text_of(loss: Any) -> str:
    return " ".join(str(tg.why_nan(loss)).split())


def test_what_a_zero_was_made_of_is_told() -> None:
    a, b, mask = wanted([2.0, 3.0], "a"), wanted([2.0, 1.0], "b"), np.zeros(2)
    zero, count = wanted([0.0, 1.0], "zero"), wanted([0.0], "count")
    with np.errstate(all="ignore"):
        assert re.search(r"chain #\d+ = a - b = 2 - 2 = 0 \(", text_of((1.0 / (a - b)).sum()))
        assert re.search(
            r"chain #\d+ = zero \* zero = 0 \* 0 = 0 \(\S+ zero = 0 ", text_of((1.0 / (zero * zero)).sum())
        )
        assert re.search(r"chain count = 0 cause div needs b != 0", text_of((a / count).sum()))
        empty = text_of((a * mask).sum() / mask.sum())
        assert re.search(r" #\d+\[0\] = a \* 0 = 2 \* 0 = 0 ", text_of(1.0 / (a * mask).sum()))
    assert "b = 0 (computed outside of the graph)" in empty
    assert re.search(r"= div\(#\d+, 0\) line", empty)


def test_a_long_row_is_told_once() -> None:
    A, B = wanted(np.full((2, 8), 1e200), "A"), wanted(np.full((8, 2), 1e200), "B")
    with np.errstate(over="ignore"):
        text = text_of((A @ B).sum())
    assert text.count("8 numbers, all 1e+200") == 2  # of a, of b
    assert "cause this matmul is beyond 1.798e+308" in text
