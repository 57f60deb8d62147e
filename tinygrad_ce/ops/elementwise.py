"""Functions of one number (exp, tanh, sigmoid...) and choices between numbers (where, maximum, clip)."""

from __future__ import annotations

import numpy as np

from tinygrad_ce.core import primitive


@primitive
def identity(x):
    """x under a new number: functions of functions use it to tell an argument from the tensor that was passed.

    >>> identity(np.array([1.0]))
    array([1.])
    """
    return x


@identity.vjp("x")
def identity_x(g, out, x):
    return g


@primitive
def exp(x):
    """e to the power of x, elementwise; it is its own derivative.

    >>> exp([0.0, 1.0])
    array([1.        , 2.71828183])
    """
    return np.exp(x)


@exp.vjp("x")
def exp_x(g, out, x):
    return g * out


@primitive
def log(x):
    """The natural logarithm, elementwise: -inf at 0, NaN below; its derivative is 1 / x.

    >>> log([1.0, 2.0])
    array([0.        , 0.69314718])
    """
    return np.log(x)


@log.vjp("x")
def log_x(g, out, x):
    return g / x


@primitive
def log1p(x):
    """log(1 + x), elementwise, with all its digits near 0, where 1 + x would lose them.

    >>> log1p([0.0, 1e-20])
    array([0.e+00, 1.e-20])
    """
    return np.log1p(x)


@log1p.vjp("x")
def log1p_x(g, out, x):
    return g / (1 + x)


@primitive
def expm1(x):
    """exp(x) - 1, elementwise, with all its digits near 0, where the difference would lose them.

    >>> expm1([0.0, 1e-20])
    array([0.e+00, 1.e-20])
    """
    return np.expm1(x)


@expm1.vjp("x")
def expm1_x(g, out, x):
    return g * exp(x)


@primitive
def sqrt(x):
    """The square root, elementwise: NaN below 0; its derivative 1 / (2 sqrt(x)) is infinite at 0.

    >>> sqrt([4.0, 9.0])
    array([2., 3.])
    """
    return np.sqrt(x)


@sqrt.vjp("x")
def sqrt_x(g, out, x):
    return g / (2 * out)


@primitive
def absolute(x):
    """|x|, elementwise; the derivative is the sign, and 0 at the kink. ValueError for an integer without an opposite.

    >>> absolute([-2.0, 3.0])
    array([2., 3.])
    """
    if getattr(x, "dtype", np.dtype(float)).kind == "i" and np.any(x == np.iinfo(x.dtype).min):
        raise ValueError(f"abs({np.iinfo(x.dtype).min}) does not fit into {x.dtype}: convert first, with astype(float)")
    return np.abs(x)


@absolute.vjp("x")
def absolute_x(g, out, x):
    return g * sign(x)  # 0 at the kink


@primitive
def sign(x):
    """-1, 0 or 1, elementwise; its derivative is 0 everywhere.

    >>> sign([-2.0, 0.0, 3.0])
    array([-1.,  0.,  1.])
    """
    return np.sign(x)


@sign.vjp("x")
def sign_x(g, out, x):
    return where(False, g, 0)  # not g * 0, which is NaN where g is infinite


@primitive
def sin(x):
    """The sine of x in radians, elementwise.

    >>> sin([0.0, np.pi / 2])
    array([0., 1.])
    """
    return np.sin(x)


@sin.vjp("x")
def sin_x(g, out, x):
    return g * cos(x)


@primitive
def cos(x):
    """The cosine of x in radians, elementwise.

    >>> cos([0.0, np.pi])
    array([ 1., -1.])
    """
    return np.cos(x)


@cos.vjp("x")
def cos_x(g, out, x):
    return -(g * sin(x))


@primitive
def tanh(x):
    """The hyperbolic tangent, elementwise, between -1 and 1; its derivative is 1 - tanh(x)**2.

    >>> tanh([0.0, 20.0])
    array([0., 1.])
    """
    return np.tanh(x)


@tanh.vjp("x")
def tanh_x(g, out, x):
    return g * tanh_slope(x)


@primitive
def tanh_slope(x):
    """1 - tanh(x)**2, without the subtraction: where tanh(x) is nearly 1, it would leave no digits.

    >>> tanh_slope(np.array([0.0]))
    array([1.])
    """
    e = np.exp(-2 * np.minimum(np.abs(x), 400))  # beyond, the slope is 0, and -2 * x might be too large
    below = 1 + e
    return 4 * e / (below * below)


@tanh_slope.vjp("x")
def tanh_slope_x(g, out, x):
    return -2 * g * out * tanh(x)


@primitive
def sigmoid(x):
    """1 / (1 + exp(-x)), elementwise, without overflow; its derivative is sigmoid(x) sigmoid(-x).

    >>> sigmoid([0.0, 800.0])
    array([0.5, 1. ])
    """
    e = np.exp(-np.abs(x))  # never overflows, and keeps its digits on the left, where 1 / (1 + exp(-x)) does too
    return np.where(x >= 0, 1, e) / (1 + e)


@sigmoid.vjp("x")
def sigmoid_x(g, out, x):
    return g * sigmoid_slope(x)


@primitive
def sigmoid_slope(x):
    """sigmoid(x) * sigmoid(-x): 1 - sigmoid(x) would leave no digits where sigmoid(x) is nearly 1.

    >>> sigmoid_slope(np.array([0.0]))
    array([0.25])
    """
    e = np.exp(-np.abs(x))
    below = 1 + e
    return e / (below * below)


@sigmoid_slope.vjp("x")
def sigmoid_slope_x(g, out, x):
    return -g * out * tanh(x / 2)  # tanh(x / 2) is sigmoid(x) - sigmoid(-x), with its digits near 0


@primitive
def relu(x):
    """max(x, 0), elementwise; the derivative is 1 above 0, and 0 at the kink and below.

    >>> relu([-1.0, 0.0, 2.0])
    array([0., 0., 2.])
    """
    return np.maximum(x, 0)


@relu.vjp("x")
def relu_x(g, out, x):
    return where(x > 0, g, 0)  # 0 at the kink


@primitive
def softplus(x):
    """log(1 + exp(x)), elementwise, without overflow: a smooth relu whose derivative is sigmoid(x).

    >>> softplus([-800.0, 800.0])
    array([  0., 800.])
    """
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


@softplus.vjp("x")
def softplus_x(g, out, x):
    return g * sigmoid(x)


@primitive(broadcasts=True)
def maximum(a, b):
    """The larger of a and b, elementwise; shapes broadcast, and at a tie each gets half of the gradient.

    >>> maximum([1.0, 5.0], 3.0)
    array([3., 5.])
    """
    return np.maximum(a, b)


@maximum.vjp("a")
def maximum_a(g, out, a, b):
    return where(a > b, g, where(a == b, g / 2, 0))  # half to each at a tie


@maximum.vjp("b")
def maximum_b(g, out, a, b):
    return where(b > a, g, where(a == b, g / 2, 0))


@primitive(broadcasts=True)
def minimum(a, b):
    """The smaller of a and b, elementwise; shapes broadcast, and at a tie each gets half of the gradient.

    >>> minimum([1.0, 5.0], 3.0)
    array([1., 3.])
    """
    return np.minimum(a, b)


@minimum.vjp("a")
def minimum_a(g, out, a, b):
    return where(a < b, g, where(a == b, g / 2, 0))


@minimum.vjp("b")
def minimum_b(g, out, a, b):
    return where(b < a, g, where(a == b, g / 2, 0))


@primitive(broadcasts=True)
def where(condition, x, y):
    """x where the condition holds and y elsewhere, elementwise; the branch not taken gets exactly 0.

    >>> where([True, False], [1.0, 2.0], 0.0)
    array([1., 0.])
    """
    return np.where(condition, x, y)


@where.vjp("x")
def where_x(g, out, condition, x, y):
    return where(condition, g, 0)  # exactly 0 for the branch not taken


@where.vjp("y")
def where_y(g, out, condition, x, y):
    return where(condition, 0, g)


where.constant_in("condition")


@primitive
def clip(x, *, low=None, high=None):
    """x, not below low and not above high, elementwise; the derivative is 1 between and at them, and 0 beyond.

    >>> clip([-2.0, 0.5, 2.0], low=0.0, high=1.0)
    array([0. , 0.5, 1. ])
    """
    return np.clip(x, low, high)


@clip.vjp("x")
def clip_x(g, out, x, *, low, high):
    return where(out == x, g, 0)  # 1 at the bounds themselves


@primitive
def astype(x, *, dtype):
    """x in another dtype; the gradient comes back in that of x.

    >>> astype([1.5, 2.5], dtype=np.dtype(int))
    array([1, 2])
    """
    return np.asarray(x).astype(dtype)


@astype.vjp("x")
def astype_x(g, out, x, *, dtype):
    return g  # the walk gives every share the dtype of its input


# ---- x log y and its kin: 0 log 0 = 0, by continuity; the names are SciPy's


def _alike(x, y):
    """y as an array of the dtype that x and y have together: the logarithm of a Python number would be a float64."""
    return np.asarray(y, np.result_type(x, y))


@primitive(broadcasts=True)
def xlogy(x, y):
    """x log(y), elementwise, and 0 where x is 0; shapes broadcast.

    >>> xlogy([0.0, 2.0], [0.0, 1.0])
    array([0., 0.])
    """
    y = _alike(x, y)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(x == 0, np.where(np.isnan(y), y, 0), x * np.log(y))


@xlogy.vjp("x")
def xlogy_x(g, out, x, y):
    return xlogy(g, y)


@xlogy.vjp("y")
def xlogy_y(g, out, x, y):
    return xdivy(g * x, y)


@primitive(broadcasts=True)
def xlog1py(x, y):
    """x log(1 + y), elementwise, and 0 where x is 0; shapes broadcast.

    >>> xlog1py([0.0, 2.0], [-1.0, 0.0])
    array([0., 0.])
    """
    y = _alike(x, y)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(x == 0, np.where(np.isnan(y), y, 0), x * np.log1p(y))


@xlog1py.vjp("x")
def xlog1py_x(g, out, x, y):
    return xlog1py(g, y)


@xlog1py.vjp("y")
def xlog1py_y(g, out, x, y):
    return xdivy(g * x, 1 + y)


@primitive(broadcasts=True)
def xdivy(x, y):
    """x / y, and 0 where x is 0: the slope of x log y.

    >>> xdivy([0.0, 1.0], [0.0, 2.0])
    array([0. , 0.5])
    """
    y = _alike(x, y)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(x == 0, np.where(np.isnan(y), y, 0), x / y)


@xdivy.vjp("x")
def xdivy_x(g, out, x, y):
    return xdivy(g, y)


@xdivy.vjp("y")
def xdivy_y(g, out, x, y):
    return -xdivy(g * x, y * y)


# Where they are defined, where their slopes are finite, and what they round: for `tg.why_nan`.
LOGITS = "pass the logits to tg.losses.{}: it never forms what was rounded"
NEGATIVE = "find out why it is negative: a probability, a length or a square is not"
_BY_HAND = """by hand? tg.ops.softmax(z) and tg.ops.logsumexp(z) subtract the maximum first, tg.ops.sigmoid(z) and \
tg.ops.softplus(z) never overflow. Else standardise what goes in, or tg.ops.clip(x, high=80)"""
for _steep in (exp, expm1):
    _steep.domain("x < log(largest)", _BY_HAND, words="{op}(x) is too large for {dtype} above {log(largest):.5g}")
exp.domain("out > 0", LOGITS.format("softmax_cross_entropy") + "; tg.ops.logsumexp(z) needs no exp either")
log.domain("x >= 0", NEGATIVE, words="{op} needs x > 0")
log.domain("x > 0", "keep it away from 0: tg.ops.clip(x, low=1e-12); a * log(x), 0 at 0, is tg.ops.xlogy(a, x)")
log1p.domain("x > -1", "keep the argument above -1: tg.ops.clip(x, low=-1 + 1e-12)")
sqrt.domain("x >= 0", NEGATIVE + ". mean(x * x) - mean(x)**2 may round to less than 0: take t.var()")
sqrt.domain("x >= 0", "add an eps under the root, sqrt(x + 1e-12), as tg.nn.LayerNorm does", slope="x > 0")
tanh.domain("abs(out) < 1", "log(1 - tanh(z)**2) is 2 * (log(2) - z - tg.ops.softplus(-2 * z)): nothing is rounded")
sigmoid.domain("0 < out < 1", LOGITS.format("sigmoid_binary_cross_entropy"))
xlogy.domain("y > 0 or x == 0", LOGITS.format("softmax_cross_entropy") + ", or eps=1e-12 in the loss")
xlog1py.domain("y > -1 or x == 0", LOGITS.format("sigmoid_binary_cross_entropy") + ", or eps=1e-12 in the loss")
