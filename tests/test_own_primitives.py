"""Primitives of one's own: what the decorator accepts and refuses, and what a rule must answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from leaves import wanted
from samples import text_of

from tinygrad_ce.core import Primitive, Tensor, primitive
from tinygrad_ce.errors import explains
from tinygrad_ce.functional import gradients


@pytest.fixture
def cube(registry: dict[str, Primitive]) -> Any:
    """x**3, made as a user would."""

    @primitive
    def cube(x):  # type: ignore[no-untyped-def]
        """The third power."""
        return x * x * x

    @cube.vjp("x")
    def cube_x(g, out, x):  # type: ignore[no-untyped-def]
        return g * 3 * x * x

    return cube


def test_a_primitive_of_ones_own_has_derivatives_of_any_order(cube: Any, registry: dict[str, Primitive]) -> None:
    assert (repr(cube), cube.__doc__, registry["cube"]) == ("<primitive cube>", "The third power.", cube)
    x = wanted([1.0, 2.0])
    first = gradients(cube(x).sum(), x, create_graph=True)
    second = gradients(first.sum(), x, create_graph=True)
    third = gradients(second.sum(), x)
    np.testing.assert_array_equal(first.data, [3.0, 12.0])
    np.testing.assert_array_equal(second.data, [6.0, 12.0])
    np.testing.assert_array_equal(third, [6.0, 6.0])
    assert cube(2.0) == 8.0
    np.testing.assert_array_equal(cube(np.array([2.0])), [8.0])


def test_a_rule_runs_on_arrays_or_on_tensors(registry: dict[str, Primitive]) -> None:
    seen: list[tuple[type, ...]] = []

    @primitive
    def twice(x):  # type: ignore[no-untyped-def]
        return 2 * x

    @twice.vjp("x")
    def twice_x(g, out, x):  # type: ignore[no-untyped-def]
        seen.append((type(g), type(out), type(x)))
        return 2 * g

    x = wanted([1.0, 2.0])
    y = twice(x)
    gradients(y, x, gradient=[1.0, 1.0])
    gradients(y, x, gradient=[1.0, 1.0], create_graph=True)
    assert seen == [(np.ndarray,) * 3, (Tensor,) * 3]


def test_a_missing_rule_raises_and_names_the_argument(registry: dict[str, Primitive]) -> None:
    @primitive
    def product(a, b):  # type: ignore[no-untyped-def]
        return a * b

    product.vjp("a")(lambda g, out, a, b: g * b)
    x, y = wanted(2.0), wanted(3.0)
    assert float(gradients(product(x, 3.0), x)) == 3.0
    assert float(gradients(product(x, y), x)) == 3.0  # the missing one is not asked for
    with pytest.raises(NotImplementedError) as caught:
        product(x, y).backward()
    text = "product has no derivative rule for `b`: write @product.vjp('b'), or declare product.constant_in('b')"
    assert str(caught.value).replace('"', "'") == text


def test_constant_in(registry: dict[str, Primitive]) -> None:
    @primitive
    def scaled(x, factor):  # type: ignore[no-untyped-def]
        return x * factor

    scaled.vjp("x")(lambda g, out, x, factor: g * factor)
    scaled.constant_in("factor")
    x, factor = wanted(2.0), wanted(3.0)
    scaled(x, factor).backward()
    assert (float(x.grad), factor.grad) == (3.0, None)
    assert not scaled(2.0, factor).requires_grad
    assert float(gradients(scaled(x, factor), factor)) == 0.0


@pytest.mark.parametrize(
    "rule",
    [
        lambda g, out: g,
        lambda g, x: g,
        lambda g, out, y: g,
        lambda out, g, x: g,
        lambda g, out, x, y: g,
    ],
    ids=text_of,
)
def test_a_rule_with_the_wrong_arguments_is_refused_at_once(rule: Any, registry: dict[str, Primitive]) -> None:
    @primitive
    def same(x):  # type: ignore[no-untyped-def]
        return x

    with pytest.raises(TypeError, match=r"the rule <lambda> of same takes \(.*\), and must take \(g, out, x\)"):
        same.vjp("x")(rule)


def test_unknown_arguments_are_named(cube: Any) -> None:
    with pytest.raises(ValueError, match=r"cube has no argument `y`; it has x"):
        cube.vjp("y")
    with pytest.raises(ValueError, match=r"cube has no argument `y`"):
        cube.constant_in("y")


def test_a_rule_that_answers_with_the_wrong_shape(registry: dict[str, Primitive]) -> None:
    @primitive
    def total(x, y):  # type: ignore[no-untyped-def]
        return x.sum() + y

    total.vjp("x")(lambda g, out, x, y: g)
    total.vjp("y")(lambda g, out, x, y: g)
    with pytest.raises(ValueError, match=r"^total: the rule for `x` answered .*shape \(\), and `x` has shape \(3,\)"):
        total(wanted(np.ones(3)), 1.0).backward()


@pytest.mark.parametrize("answer", [None, "text", (1.0,)])
def test_a_rule_that_answers_with_no_gradient_at_all(answer: Any, registry: dict[str, Primitive]) -> None:
    @primitive
    def halved(x):  # type: ignore[no-untyped-def]
        return x / 2

    halved.vjp("x")(lambda g, out, x: answer)  # None: somebody forgot to write `return`
    with pytest.raises((TypeError, ValueError), match=r"^halved: the rule for `x` answered"):
        halved(wanted([1.0, 2.0])).sum().backward()


def test_a_share_is_summed_back_only_where_that_was_declared(registry: dict[str, Primitive]) -> None:
    def plus(a, b):  # type: ignore[no-untyped-def]
        return a + b

    silent, declared = primitive(plus), primitive(broadcasts=True)(plus)
    for op in (silent, declared):
        op.vjp("a")(lambda g, out, a, b: g)
        op.vjp("b")(lambda g, out, a, b: g)
    x = wanted([1.0, 2.0])
    np.testing.assert_array_equal(gradients(declared(x, np.ones((3, 2))).sum(), x), [3.0, 3.0])
    with pytest.raises(ValueError, match=r"`a` has shape \(2,\); if plus broadcasts, declare .*broadcasts=True"):
        gradients(silent(x, np.ones((3, 2))).sum(), x)


def test_parameters_reach_the_rules_with_their_defaults(registry: dict[str, Primitive]) -> None:
    @primitive
    def scaled(x, *, by=2.0, twice=False):  # type: ignore[no-untyped-def]
        return x * by

    seen = []

    @scaled.vjp("x")
    def scaled_x(g, out, x, *, by, twice):  # type: ignore[no-untyped-def]
        seen.append((by, twice))
        return g * by

    x = wanted(1.0)
    for out in (scaled(x), scaled(x, by=3.0), scaled(x, twice=True)):
        out.backward()
    assert seen == [(2.0, False), (3.0, False), (2.0, True)]
    assert float(x.grad) == 7.0


def test_a_starred_argument_stands_for_any_number_of_inputs(registry: dict[str, Primitive]) -> None:
    @primitive
    def weighted(first, *others, power=1):  # type: ignore[no-untyped-def]
        return first + sum((i + 1) * other for i, other in enumerate(others))

    positions = []

    @weighted.vjp("first")
    def weighted_first(g, out, first, *others, power, **rest):  # type: ignore[no-untyped-def]
        return g

    @weighted.vjp("others")
    def weighted_others(g, out, first, *others, power, position):  # type: ignore[no-untyped-def]
        positions.append(position)
        return g * position

    xs = [wanted(1.0) for _ in range(4)]
    weighted(*xs).backward()
    assert [float(x.grad) for x in xs] == [1.0, 1.0, 2.0, 3.0]
    assert sorted(positions) == [1, 2, 3]


def test_an_error_of_the_body_is_told_with_the_shapes(registry: dict[str, Primitive]) -> None:
    @primitive
    def refuse(x, y):  # type: ignore[no-untyped-def]
        raise ValueError("not today")

    with pytest.raises(ValueError, match=r"^refuse: x has shape \(2,\) and y has shape \(3,\); not today \(refuse\(w"):
        refuse(wanted(np.ones(2), name="w"), np.ones(3))


def test_a_diagnosis_replaces_the_reason(registry: dict[str, Primitive]) -> None:
    @primitive
    def refuse(x):  # type: ignore[no-untyped-def]
        raise ValueError("not today")

    explains(refuse)(lambda x: f"x of {x.size} elements is too long" if x.size > 2 else None)
    with pytest.raises(ValueError, match=r"^refuse: x of 3 elements is too long \(refuse\(w\)\)$"):
        refuse(wanted(np.ones(3), name="w"))
    with pytest.raises(ValueError, match=r"^refuse: x has shape \(2,\); not today"):
        refuse(wanted(np.ones(2), name="w"))


def test_a_body_that_answers_with_integers_has_no_gradient(registry: dict[str, Primitive]) -> None:
    @primitive
    def rounded(x):  # type: ignore[no-untyped-def]
        return np.rint(x).astype(int)

    rounded.vjp("x")(lambda g, out, x: g)
    assert not rounded(wanted([1.2])).requires_grad
