"""The arithmetic of + - * /: each operation is a body that computes it, and one rule for each of its inputs.

A rule gets the gradient g of the output, the output, and the inputs; it returns g times d output / d input.
"""

from tinygrad_ce.core import primitive


@primitive(broadcasts=True)
def add(a, b):
    """a + b, elementwise; shapes broadcast, and the gradient goes to both as it is."""
    return a + b


@add.vjp("a")
def add_a(g, out, a, b):
    return g


@add.vjp("b")
def add_b(g, out, a, b):
    return g


@primitive(broadcasts=True)
def sub(a, b):
    """a - b, elementwise; shapes broadcast."""
    return a - b


@sub.vjp("a")
def sub_a(g, out, a, b):
    return g


@sub.vjp("b")
def sub_b(g, out, a, b):
    return -g


@primitive(broadcasts=True)
def mul(a, b):
    """a * b, elementwise; shapes broadcast, and each gets the gradient times the other."""
    return a * b


@mul.vjp("a")
def mul_a(g, out, a, b):
    return g * b


@mul.vjp("b")
def mul_b(g, out, a, b):
    return g * a


@primitive(broadcasts=True)
def div(a, b):
    """a / b, elementwise; shapes broadcast."""
    return a / b


@div.vjp("a")
def div_a(g, out, a, b):
    return g / b


@div.vjp("b")
def div_b(g, out, a, b):
    return -(g * out / b)


div.domain("b != 0", "add an eps (1e-12) to it, as tg.nn.BatchNorm does; tg.ops.maximum(count, 1) for a count")


@primitive
def neg(x):
    """-x, elementwise."""
    return -x


@neg.vjp("x")
def neg_x(g, out, x):
    return -g
