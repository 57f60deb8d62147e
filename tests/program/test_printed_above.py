"""What a primitive of the user's mentions stands above the printed step, so that the text runs on NumPy alone."""

import math
from functools import partial
from math import erf

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import primitive

TABLE = np.array([1.0, 2.0, 3.0])
SMALL = np.array([1.0, 2.0, 3.0], np.float32)
OPTIONS = {"factor": 2.0}
PAIR = ("factor", 3.0)
square = lambda x: x * x  # noqa: E731
doubled = partial(np.multiply, 2.0)


def power(x, n=2):
    return x if n == 0 else power(x * x, n - 1)


def scaled_by(k):
    def scaled(x):
        y = x * k
        return y + 1

    return scaled


def of_table(x):
    return x * TABLE * SMALL


def of_options(x):
    k = OPTIONS[PAIR[0]]
    return x * k * PAIR[1]


def of_lambda(x):
    return square(x) + 1


def of_itself(x):
    y = power(x)
    return y


def of_modules(x):
    y = np.empty_like(x)
    for k in range(len(x)):
        y[k] = erf(x[k]) + math.sqrt(2)
    return y


BODIES = [of_table, of_options, of_lambda, of_itself, of_modules, scaled_by(3.0), scaled_by(np.float64(2.0))]


def primitive_of(body):
    """A primitive with this body, whose rule does not matter."""
    op = primitive(body)
    op.vjp("x")(lambda g, out, x: g)
    return op


def run(text, *arrays):
    names = {}
    exec(text, names)
    return names["step"](*arrays)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_what_a_body_mentions_is_printed_too(body, exact, registry):
    x = tg.Tensor([0.5, 1.0, 2.0], requires_grad=True, name="x")
    loss = primitive_of(body)(x).sum()
    np.testing.assert_array_equal(run(tg.source(loss, exact=exact), x.data)[0], loss.data)


@pytest.mark.parametrize("name", ["TABLE", "SMALL", "OPTIONS", "square", "power", "math", "erf", "of_options"])
def test_what_stands_above_shares_no_name_with_the_step(name, registry):
    x = tg.Tensor([0.5, 1.0, 2.0], requires_grad=True, name=name)
    loss = x.sum()
    for body in BODIES[:5]:
        loss = loss + primitive_of(body)(x).named(f"{name} ").sum()
    assert run(tg.source(loss), x.data)[0] == pytest.approx(loss.item())


def test_two_functions_of_one_name_are_two(registry):
    x = tg.Tensor([0.5, 1.0, 2.0], requires_grad=True, name="x")
    first = primitive_of(scaled_by(3.0))
    y = first(x)
    loss = (primitive_of(scaled_by(5.0))(x) * y).sum()
    assert run(tg.source(loss), x.data)[0] == pytest.approx(loss.item())


def test_a_tensor_named_math_does_not_hide_the_module():
    x = tg.Tensor([0.5, 1.0], requires_grad=True, name="math")
    assert run(tg.source(tg.ops.erf(x).sum()), x.data)[0] == pytest.approx(erf(0.5) + erf(1.0))


def test_what_has_no_text_is_said(registry):
    x = tg.Tensor([0.5, 1.0], requires_grad=True, name="x")

    def of_partial(x):
        return doubled(x)

    text = tg.source(primitive_of(of_partial)(x).sum())
    assert "# doubled: a partial from outside of this program; define it before you run this" in text.splitlines()
