"""`tg.why_nan` of functions that are not defined, overflow, or have no finite slope everywhere."""

from __future__ import annotations

import ast
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


@pytest.mark.parametrize("op", [op for op in REGISTRY.values() if op.domains], ids=lambda op: op.name)
def test_every_declared_condition_can_be_evaluated(op: Any) -> None:
    """A misspelt name would say nothing, and nobody would notice."""
    known = {"out", "largest", "rows", "inf", "abs", "max", "min", "log", "axis", *op.arguments, *op.defaults}
    for condition, cure, slope in op.domains:
        assert cure
        for text in (condition, slope):
            names = {node.id for node in ast.walk(ast.parse(text, mode="eval")) if isinstance(node, ast.Name)}
            assert names <= known | {"ddof", "exponent", "smoothing"}, text
