"""Functions of one number (exp, tanh, sigmoid...) and choices between numbers (where, maximum, clip)."""

from __future__ import annotations

import numpy as np

from tinygrad_ce.core import primitive


@primitive
def identity(x):
    """x under a new number: functions of functions use it to tell an argument from the tensor that was passed."""
    return x


@identity.vjp("x")
def identity_x(g, out, x):
    return g


@primitive
def exp(x):
    return np.exp(x)


@exp.vjp("x")
def exp_x(g, out, x):
    return g * out


@primitive
def log(x):
    return np.log(x)


@log.vjp("x")
def log_x(g, out, x):
    return g / x


@primitive
def log1p(x):
    return np.log1p(x)


@log1p.vjp("x")
def log1p_x(g, out, x):
    return g / (1 + x)


@primitive
def expm1(x):
    return np.expm1(x)


@expm1.vjp("x")
def expm1_x(g, out, x):
    return g * exp(x)


@primitive
def sqrt(x):
    return np.sqrt(x)


@sqrt.vjp("x")
def sqrt_x(g, out, x):
    return g / (2 * out)


@primitive
def absolute(x):
    if getattr(x, "dtype", np.dtype(float)).kind == "i" and np.any(x == np.iinfo(x.dtype).min):
        raise ValueError(f"abs({np.iinfo(x.dtype).min}) does not fit into {x.dtype}: convert first, with astype(float)")
    return np.abs(x)


@absolute.vjp("x")
def absolute_x(g, out, x):
    return g * sign(x)  # 0 at the kink


@primitive
def sign(x):
    return np.sign(x)


@sign.vjp("x")
def sign_x(g, out, x):
    return where(False, g, 0)  # not g * 0, which is NaN where g is infinite


@primitive
def sin(x):
    return np.sin(x)


@sin.vjp("x")
def sin_x(g, out, x):
    return g * cos(x)


@primitive
def cos(x):
    return np.cos(x)


@cos.vjp("x")
def cos_x(g, out, x):
    return -(g * sin(x))


@primitive
def tanh(x):
    return np.tanh(x)


@tanh.vjp("x")
def tanh_x(g, out, x):
    return g * tanh_slope(x)


@primitive
def tanh_slope(x):
    """1 - tanh(x)**2, without the subtraction: where tanh(x) is nearly 1, it would leave no digits."""
    e = np.exp(-2 * np.minimum(np.abs(x), 400))  # beyond, the slope is 0, and -2 * x might be too large
    below = 1 + e
    return 4 * e / (below * below)


@tanh_slope.vjp("x")
def tanh_slope_x(g, out, x):
    return -2 * g * out * tanh(x)


@primitive
def sigmoid(x):
    e = np.exp(-np.abs(x))  # never overflows, and keeps its digits on the left, where 1 / (1 + exp(-x)) does too
    return np.where(x >= 0, 1, e) / (1 + e)


@sigmoid.vjp("x")
def sigmoid_x(g, out, x):
    return g * sigmoid_slope(x)


@primitive
def sigmoid_slope(x):
    """sigmoid(x) * sigmoid(-x): 1 - sigmoid(x) would leave no digits where sigmoid(x) is nearly 1."""
    e = np.exp(-np.abs(x))
    below = 1 + e
    return e / (below * below)


@sigmoid_slope.vjp("x")
def sigmoid_slope_x(g, out, x):
    return -g * out * tanh(x / 2)  # tanh(x / 2) is sigmoid(x) - sigmoid(-x), with its digits near 0


@primitive
def relu(x):
    return np.maximum(x, 0)


@relu.vjp("x")
def relu_x(g, out, x):
    return where(x > 0, g, 0)  # 0 at the kink


@primitive
def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


@softplus.vjp("x")
def softplus_x(g, out, x):
    return g * sigmoid(x)


@primitive(broadcasts=True)
def maximum(a, b):
    return np.maximum(a, b)


@maximum.vjp("a")
def maximum_a(g, out, a, b):
    return where(a > b, g, where(a == b, g / 2, 0))  # half to each at a tie


@maximum.vjp("b")
def maximum_b(g, out, a, b):
    return where(b > a, g, where(a == b, g / 2, 0))


@primitive(broadcasts=True)
def minimum(a, b):
    return np.minimum(a, b)


@minimum.vjp("a")
def minimum_a(g, out, a, b):
    return where(a < b, g, where(a == b, g / 2, 0))


@minimum.vjp("b")
def minimum_b(g, out, a, b):
    return where(b < a, g, where(a == b, g / 2, 0))


@primitive(broadcasts=True)
def where(condition, x, y):
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
    return np.clip(x, low, high)


@clip.vjp("x")
def clip_x(g, out, x, *, low, high):
    return where(out == x, g, 0)  # 1 at the bounds themselves


@primitive
def astype(x, *, dtype):
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
    """x / y, and 0 where x is 0: the slope of x log y."""
    y = _alike(x, y)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(x == 0, np.where(np.isnan(y), y, 0), x / y)


@xdivy.vjp("x")
def xdivy_x(g, out, x, y):
    return xdivy(g, y)


@xdivy.vjp("y")
def xdivy_y(g, out, x, y):
    return -xdivy(g * x, y * y)
