"""Whether a rule reads the numbers of an argument: what the check of versions asks, against an experiment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from samples import SAMPLES, Sample, primitives

from tinygrad_ce.core import Array, Primitive
from tinygrad_ce.errors import reads_numbers


def perturbed(x: Any) -> Any:
    """Other numbers in the same shape and dtype, in the order backwards, so that labels stay labels."""
    array = np.asarray(x)
    if array.dtype.kind == "f":
        other: Array = array * 1.25 + 0.125
    elif array.dtype.kind == "b":
        other = ~array
    else:
        other = array[::-1].copy() if array.ndim else array
    return other if isinstance(x, np.ndarray) else other.item()


def shares_differ(op: Primitive, rule: Any, sample: Sample, position: int) -> bool:
    """Whether the share of a rule changes with the numbers of the input at a position (or it refuses them)."""
    params = {**op.defaults, **sample.params}
    out = op.body(*sample.inputs, **sample.params)
    g = np.asarray(np.cos(np.arange(np.size(out))).reshape(np.shape(out)) + 1.5, np.asarray(out).dtype)
    others = [perturbed(x) if i == position else x for i, x in enumerate(sample.inputs)]
    with np.errstate(all="ignore"):
        before = np.asarray(rule(g.copy(), out, *sample.inputs, **params))
        try:
            after = np.asarray(rule(g.copy(), out, *others, **params))
        except (ValueError, IndexError, TypeError):
            return True
    return not np.array_equal(before, after, equal_nan=True)


@pytest.mark.parametrize("name", sorted(primitives()))
def test_a_rule_whose_share_changes_with_an_argument_is_known_to_read_it(name: str) -> None:
    op = primitives()[name]
    read = set()
    for sample in SAMPLES[name]:
        for i in sample.wrt:
            rule = op.rule(i)
            for j in range(len(sample.inputs)) if rule is not None else ():
                if shares_differ(op, rule, sample, j):
                    read.add((i, op.argument(j)))
                    assert reads_numbers(rule, op.argument(j)), f"the rule for {op.argument(i)} reads {op.argument(j)}"


NOT_READ = [
    *(("add", "a", "a"), ("add", "a", "b"), ("sub", "b", "a"), ("mul", "a", "a"), ("mul", "b", "b")),
    *(("div", "a", "a"), ("neg", "x", "x"), ("exp", "x", "x"), ("sqrt", "x", "x"), ("matmul", "a", "a")),
    *(("affine", "W", "W"), ("affine", "b", "W"), ("affine", "x", "x"), ("affine", "x", "b"), ("affine", "b", "b")),
    *(("reshape", "x", "x"), ("transpose", "x", "x"), ("broadcast_to", "x", "x")),
]


@pytest.mark.parametrize(("name", "of", "argument"), NOT_READ)
def test_a_rule_that_uses_only_a_shape_is_known_not_to_read(name: str, of: str, argument: str) -> None:
    op = primitives()[name]
    assert not reads_numbers(op.rule(op.arguments.index(of)), argument)


def _closure(g: Any, out: Any, a: Any, b: Any) -> Any:
    return (lambda: g * b)()


def _comprehension(g: Any, out: Any, a: Any, b: Any) -> Any:
    return sum(g * b for _ in range(1))


def _after_a_local(g: Any, out: Any, a: Any, b: Any) -> Any:
    twice = g * 2
    return b * twice


def _handed_on(g: Any, out: Any, a: Any, b: Any) -> Any:
    other = b
    return g * other


def _shape_and_numbers(g: Any, out: Any, a: Any, b: Any) -> Any:
    return g * (b if b.shape else 1)


def _squared(g: Any, out: Any, a: Any, b: Any) -> Any:
    return g * (b * b)


READING = [_closure, _comprehension, _after_a_local, _handed_on, _shape_and_numbers, _squared]


@pytest.mark.parametrize("rule", READING, ids=lambda rule: rule.__name__)
def test_a_rule_that_reads_in_any_way_is_known_to(rule: Any) -> None:
    assert reads_numbers(rule, "b")
    assert not reads_numbers(rule, "a")


def test_in_doubt_a_rule_reads() -> None:
    class Rule:
        def __call__(self, *values: Any) -> Any:
            return values[0]

    assert reads_numbers(Rule(), "x")
