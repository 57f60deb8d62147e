"""The Numba loops, all in this one file: the hot loss and gradient loops, and the optimizers' updates.

Each public function takes the arguments of the primitive (or update) of its name and gives the same result; the
primitive's body is the definition, and a test holds the two equal. Loops do no checks: `losses.py` has made them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
numba: Any
try:
    import numba
except ImportError:  # a platform without Numba still has the bodies
    numba = None


def jit(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first call, and keep the machine code on disk where a directory can be written."""
    if numba is None or numba.config.DISABLE_JIT:
        return np.errstate(all="ignore")(loop)  # as Python; compiled loops do not warn of inf - inf either
    # "contract" lets a multiplication and an addition become one fused instruction, and nothing else: never NaN-blind.
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
    try:
        return numba.njit(cache=True, **options)(loop)  # type: ignore[no-any-return]
    except RuntimeError:  # no directory for the cache: compile in every process
        return numba.njit(**options)(loop)  # type: ignore[no-any-return]


def lookup(name: str, body: Callable[..., Any]) -> Callable[..., Any]:
    """The kernel of this name where its first argument is float32, float64 or int64, and otherwise the body."""
    if numba is None:
        warn_once()
        return body
    kernel = globals()[name]

    def compute(*values: Any, **params: Any) -> Any:
        return (kernel if values[0].dtype.char in "fdlq" else body)(*values, **params)

    return compute


_warned = False


def warn_once() -> None:
    """Say once in a process that Numba is missing."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            "Numba is not installed: losses and optimizers run on NumPy, slower", RuntimeWarning, stacklevel=2
        )


# ---- exp and log1p that the compiler turns into vector instructions, because they are arithmetic only
#
# math.exp is a call into the C library for one number; these are 8 or 16 numbers at a time. Each dtype has constants of
# its own, because a float32 loop must not meet a float64. exp: x = n ln 2 + r, |r| <= 0.35; exp(r) by its Taylor
# polynomial, times 2**n by writing n into the exponent bits; n comes from adding a number so large that what is behind
# the point falls off. Error below 1 ulp (tests/test_vector_math.py, against mpmath).
# Source: J.-M. Muller, "Elementary Functions", 3rd ed., sections 3.2 (polynomials) and 11.2 (range reduction).


def exp_below(x: Any, top: Any) -> Any:
    """exp(x - top) for x <= top, with all its digits: what rounding the difference has cost goes into the exponent.

    Source of the error of a difference: D. Knuth, "The Art of Computer Programming", vol. 2, section 4.2.2, theorem B.
    """
    x, top = np.float64(x), np.float64(top)
    difference = x - top
    if not difference > -np.inf:
        return np.exp(difference)
    back = difference - x
    error = (x - (difference - back)) - (top + back)
    return np.exp(difference) * (1 + error)


def log1p_of_small(e: Any) -> Any:
    """log(1 + e) for e in [0, 1]: twice the artanh of s = e / (2 + e), by its series. Error below 2 ulp.

    Source: M. Abramowitz, I. Stegun, "Handbook of Mathematical Functions", 4.1.27.
    """
    return np.log1p(e)


if numba is not None:
    from numba import types
    from numba.extending import intrinsic, overload

    def _reinterpreted(builder_types: dict[Any, Any]) -> Any:
        """The same bits read as another type."""

        def typed(context: Any, value: Any) -> Any:
            target = builder_types[value]

            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                return builder.bitcast(arguments[0], context.get_value_type(target))

            return target(value), generate

        return typed

    _bits = intrinsic(_reinterpreted({types.float64: types.int64, types.float32: types.int32}))
    _float = intrinsic(_reinterpreted({types.int64: types.float64, types.int32: types.float32}))

    @overload(exp_below, strict=False)
    def _exp_below(x: Any, top: Any) -> Any:
        single = x == types.float32
        real, whole = (np.float32, np.int32) if single else (np.float64, np.int64)
        log2_e, one, half_ = real(1 / math.log(2)), real(1), real(0.5)
        # ln 2 in two parts, the first with so few digits that n times it is exact (W. Cody, W. Waite, 1980).
        ln2_high, ln2_low = (
            (real(0.693359375), real(-2.12194440e-4))
            if single
            else (real(6.93147180369123816490e-01), real(1.90821492927058770002e-10))
        )
        shift = real(1.5 * 2 ** (23 if single else 52))
        shift_bits = int(np.asarray(shift).view(whole))
        digits, bias = (23, 127) if single else (52, 1023)
        lowest = real(-120 if single else -760)  # below, exp is 0
        c3, c4, c5, c6, c7 = (real(1 / math.factorial(n)) for n in range(3, 8))
        c8, c9, c10, c11, c12, c13 = (real(1 / math.factorial(n)) for n in range(8, 14))

        def body(x, top):
            difference = x - top
            back = difference - x
            lost = (x - (difference - back)) - (top + back)
            inside = difference > lowest
            error = lost if inside else real(0)
            d = max(difference, lowest)
            t = d * log2_e + shift
            n = t - shift
            high = d - n * ln2_high
            low = n * ln2_low - error
            r = high - low
            rest = (high - r) - low
            p = c7 if single else ((((((c13 * r + c12) * r + c11) * r + c10) * r + c9) * r + c8) * r + c7)
            p = ((((p * r + c6) * r + c5) * r + c4) * r + c3) * r + half_
            p = one + (r + (r * r * p + rest))
            k = whole(_bits(t) - shift_bits)
            half = whole(k >> 1)  # 2**n in two steps, so that results below the normal range round once
            return p * _float(whole((half + bias) << digits)) * _float(whole((k - half + bias) << digits))

        return body

    @overload(log1p_of_small, strict=False)
    def _log1p_of_small(e: Any) -> Any:
        single = e == types.float32
        real = np.float32 if single else np.float64
        two = real(2)
        c3, c5, c7, c9, c11, c13, c15, c17 = (real(2 / n) for n in range(3, 18, 2))
        c19, c21, c23, c25, c27, c29, c31, c33, c35 = (real(2 / n) for n in range(19, 36, 2))

        def short(e):
            s = e / (two + e)
            q = s * s
            p = (((((c15 * q + c13) * q + c11) * q + c9) * q + c7) * q + c5) * q + c3
            return two * s + s * q * p

        def long(e):
            s = e / (two + e)
            q = s * s
            p = (((((((c35 * q + c33) * q + c31) * q + c29) * q + c27) * q + c25) * q + c23) * q + c21) * q + c19
            p = (((((((p * q + c17) * q + c15) * q + c13) * q + c11) * q + c9) * q + c7) * q + c5) * q + c3
            return two * s + s * q * p

        return short if single else long


# ---- softmax cross-entropy with class indices
#
# Few classes: 16 rows become the columns of a panel, and every step is done for the 16 at once; no sum crosses them.
# Many classes: each row has 16 running maxima and sums, one for each position modulo 16, that are joined at its end.

LANES = 16
FEW = 48  # classes; up to here a panel is faster


def _same(shape: tuple[int, ...], *others: tuple[int, ...]) -> None:
    """The loops trust their arrays to be alike."""
    for other in others:
        if other != shape:
            raise ValueError(f"shapes {shape} and {other} differ")


def xent(z: Array, y: Array, *, smoothing: float = 0.0, reduction: str = "none") -> Array:
    z, y = np.ascontiguousarray(z), np.ascontiguousarray(y)
    _same(z.shape[:1], y.shape)
    loss = np.empty(len(z), z.dtype)
    loop = _xent_few if z.shape[1] <= FEW else _xent_many
    total = loop(z, y, smoothing, loss)
    return z.dtype.type(total / len(z)) if reduction == "mean" else loss


@jit
def _panel(z, i, panel):
    """Rows i to i + 16 as the columns of the panel; the last row again where there are no more."""
    rows, classes = z.shape
    for k in range(LANES):
        row = min(i + k, rows - 1)
        for c in range(classes):
            panel[c, k] = z[row, c]


@jit
def _tops(panel, top):
    """The largest number of each column."""
    for k in range(LANES):
        top[k] = panel[0, k]
    for c in range(1, len(panel)):
        for k in range(LANES):
            top[k] = panel[c, k] if panel[c, k] > top[k] else top[k]


@jit
def _xent_few(z, y, smoothing, loss):
    """Fill the loss of each row, and return their sum."""
    rows, classes = z.shape
    panel = np.empty((classes, LANES), z.dtype)
    top = np.empty(LANES, z.dtype)
    others, ties = np.empty(LANES), np.empty(LANES)
    total = 0.0
    for i in range(0, rows, LANES):
        _panel(z, i, panel)
        _tops(panel, top)
        others[:] = 0
        ties[:] = -1  # several logits may share the top: each is exactly 1, and all but one belong to the others
        for c in range(classes):
            for k in range(LANES):
                e = np.float64(exp_below(panel[c, k], top[k]))
                at_top = panel[c, k] == top[k]
                others[k] += 0.0 if at_top else e
                ties[k] += 1.0 if at_top else 0.0
        for k in range(min(LANES, rows - i)):
            loss[i + k] = _row_loss(z[i + k], y[i + k], np.float64(top[k]), others[k] + ties[k], smoothing)
            total += np.float64(loss[i + k])
    return total


@jit
def _row_loss(z, label, top, others, smoothing):
    """top - z[label] + log1p(the others), two terms of one sign; 0 for an ignored row."""
    if label < 0:
        return 0.0
    if label >= len(z) or top == np.inf:  # `losses` refuses such a label with words; here nothing foreign is read
        return np.nan
    row = (1 - smoothing) * (top - z[label]) + math.log1p(others)
    if smoothing != 0:
        gaps = 0.0
        for c in range(len(z)):
            gaps += smoothing / len(z) * (top - z[c])
        row += gaps
    return row


@jit
def _xent_many(z, y, smoothing, loss):
    """Fill the loss of each row, and return their sum."""
    rows, classes = z.shape
    tops, sums, ties = np.empty(LANES, z.dtype), np.empty(LANES), np.empty(LANES)
    total = 0.0
    for i in range(rows):
        row = z[i]
        top = _row_top(row, tops)
        whole = classes - classes % LANES
        sums[:] = 0
        ties[:] = 0
        for c in range(0, whole, LANES):
            for k in range(LANES):
                e = np.float64(exp_below(row[c + k], top))
                at_top = row[c + k] == top
                sums[k] += 0.0 if at_top else e
                ties[k] += 1.0 if at_top else 0.0
        others, tied = _joined(sums), _joined(ties) - 1
        for c in range(whole, classes):
            if row[c] == top:
                tied += 1
            else:
                others += np.float64(exp_below(row[c], top))
        loss[i] = _row_loss(row, y[i], np.float64(top), others + tied, smoothing)
        total += np.float64(loss[i])
    return total


@jit
def _row_top(row, tops):
    """The largest number of a row, with 16 running maxima."""
    for k in range(LANES):
        tops[k] = row[0]
    whole = len(row) - len(row) % LANES
    for c in range(0, whole, LANES):
        for k in range(LANES):
            tops[k] = row[c + k] if row[c + k] > tops[k] else tops[k]
    top = tops[0]
    for k in range(1, LANES):
        top = tops[k] if tops[k] > top else top
    for c in range(whole, len(row)):
        top = row[c] if row[c] > top else top
    return top


@jit
def _joined(sums):
    """The sum of 16 running sums, in pairs."""
    total = 0.0
    for k in range(0, LANES, 4):
        total += (sums[k] + sums[k + 1]) + (sums[k + 2] + sums[k + 3])
    return total


def xent_grad(upstream: Array, z: Array, y: Array, *, smoothing: float = 0.0, reduction: str = "none") -> Array:
    z, y = np.ascontiguousarray(z), np.ascontiguousarray(y)
    _same(z.shape[:1], y.shape)
    if upstream.shape != (() if reduction == "mean" else z.shape[:1]):
        raise ValueError(f"upstream has shape {upstream.shape}")
    slope = np.empty(z.shape, z.dtype)
    share = 1 / len(z) if reduction == "mean" else 1.0
    loop = _xent_grad_few if z.shape[1] <= FEW else _xent_grad_many
    loop(_flat(upstream), share, z, y, smoothing, slope)
    return slope


@jit
def _xent_grad_few(upstream, share, z, y, smoothing, slope):
    rows, classes = z.shape
    step = 0 if len(upstream) == 1 else 1
    panel = np.empty((classes, LANES), z.dtype)
    top = np.empty(LANES, z.dtype)
    sums = np.empty(LANES)
    for i in range(0, rows, LANES):
        _panel(z, i, panel)
        _tops(panel, top)
        for c in range(classes):
            for k in range(LANES):
                panel[c, k] = exp_below(panel[c, k], top[k])
        sums[:] = 0
        for k in range(min(LANES, rows - i)):
            if 0 <= y[i + k] < classes:
                slope[i + k, y[i + k]] = panel[y[i + k], k]
                panel[y[i + k], k] = 0
        for c in range(classes):
            for k in range(LANES):
                sums[k] += np.float64(panel[c, k])
        for k in range(min(LANES, rows - i)):
            row, label = slope[i + k], y[i + k]
            if label < 0 or label >= classes:
                row[:] = 0 if label < 0 else np.nan
                continue
            others = sums[k]
            total = others + row[label]
            g = np.float64(upstream[(i + k) * step]) * share
            for c in range(classes):
                row[c] = panel[c, k] * (g / total) - g * smoothing / classes
            row[label] = g * (smoothing - smoothing / classes - others / total)


@jit
def _xent_grad_many(upstream, share, z, y, smoothing, slope):
    rows, classes = z.shape
    step = 0 if len(upstream) == 1 else 1
    tops, sums = np.empty(LANES, z.dtype), np.empty(LANES)
    whole = classes - classes % LANES
    for i in range(rows):
        row, label = slope[i], y[i]
        if label < 0 or label >= classes:
            row[:] = 0 if label < 0 else np.nan
            continue
        top = _row_top(z[i], tops)
        for c in range(classes):
            row[c] = exp_below(z[i, c], top)
        true = np.float64(row[label])
        row[label] = 0
        sums[:] = 0
        for c in range(0, whole, LANES):
            for k in range(LANES):
                sums[k] += np.float64(row[c + k])
        others = 0.0
        for c in range(whole, classes):
            others += np.float64(row[c])
        others += _joined(sums)
        total = others + true
        g = np.float64(upstream[i * step]) * share
        factor = z.dtype.type(g / total)
        uniform = z.dtype.type(g * smoothing / classes)
        for c in range(classes):
            row[c] = row[c] * factor - uniform
        row[label] = g * (smoothing - smoothing / classes - others / total)


# ---- softmax cross-entropy with soft targets


def soft_xent(z: Array, q: Array) -> Array:
    z = np.ascontiguousarray(z)
    _same(z.shape, q.shape)
    loss = np.empty(len(z), z.dtype)
    _soft_xent(z, np.ascontiguousarray(q), loss)
    return loss


@jit
def _soft_xent(z, q, loss):
    rows, classes = z.shape
    for i in range(rows):
        top, rest = _above_top(z[i])
        mass = 0.0
        gaps = 0.0
        for c in range(classes):
            if q[i, c] != 0:  # a class that is not wanted may have logit -inf
                mass += q[i, c]
                gaps += q[i, c] * (top - z[i, c])
        loss[i] = gaps + mass * rest if mass != 0 else 0.0  # a row without weight counts for nothing


@jit
def _above_top(z):
    """The largest logit, and log(sum(exp(z))) - top with all its digits: log1p of the sum without the top itself."""
    top = z[0]
    for c in range(1, len(z)):
        if z[c] > top:
            top = z[c]
    if top == np.inf:
        return np.float64(top), np.nan
    others, tied = 0.0, -1.0
    for c in range(len(z)):
        if z[c] == top:
            tied += 1
        else:
            others += np.float64(exp_below(z[c], top))
    return np.float64(top), math.log1p(others + tied)


def soft_xent_grad(upstream: Array, z: Array, q: Array) -> Array:
    z = np.ascontiguousarray(z)
    _same(z.shape, q.shape)
    _same(z.shape[:1], upstream.shape)
    slope = np.empty(z.shape, z.dtype)
    _soft_xent_grad(np.ascontiguousarray(upstream), z, np.ascontiguousarray(q), slope)
    return slope


@jit
def _soft_xent_grad(upstream, z, q, slope):
    rows, classes = z.shape
    for i in range(rows):
        top = z[i, 0]
        mass = 0.0
        for c in range(classes):
            mass += q[i, c]
            if z[i, c] > top:
                top = z[i, c]
        if mass == 0:
            slope[i] = 0
            continue
        total = 0.0
        big = -1
        for c in range(classes):
            total += np.float64(exp_below(z[i, c], top))
            if 2 * q[i, c] > mass:
                big = c
        g = np.float64(upstream[i])
        rest_e = 0.0
        rest_q = 0.0
        for c in range(classes):
            e = np.float64(exp_below(z[i, c], top))
            slope[i, c] = g * (mass * (e / total) - q[i, c])
            if c != big:
                rest_e += e
                rest_q += q[i, c]
        if big >= 0:  # mass * p - q would cancel here: take both from the other classes
            slope[i, big] = g * (rest_q - mass * (rest_e / total))


# ---- sigmoid (binary) cross-entropy


def sigmoid_xent(z: Array, y: Array, w: Any) -> Array:
    _same(z.shape, y.shape)
    loss = np.empty(z.shape, z.dtype)
    _sigmoid_xent(_flat(z), _flat(y), _weights(w, z), loss.reshape(-1))
    return loss


def sigmoid_xent_grad(upstream: Array, z: Array, y: Array, w: Any) -> Array:
    _same(z.shape, y.shape, upstream.shape)
    slope = np.empty(z.shape, z.dtype)
    _sigmoid_xent_grad(_flat(upstream), _flat(z), _flat(y), _weights(w, z), slope.reshape(-1))
    return slope


def _flat(array: Array) -> Array:
    return np.ascontiguousarray(array).reshape(-1)


def _weights(w: Any, z: Array) -> Array:
    """One weight for all, or one for each element; the loops step through them by 0 or by 1."""
    w = np.asarray(w, z.dtype)
    return w.reshape(1) if w.size == 1 else np.ascontiguousarray(np.broadcast_to(w, z.shape)).ravel()


@jit
def _sigmoid_xent(z, y, w, loss):
    step = 0 if len(w) == 1 else 1
    zero, one = z.dtype.type(0), z.dtype.type(1)
    for i in range(len(z)):
        x, label, weight = z[i], y[i], w[i * step] * y[i]
        rest = log1p_of_small(exp_below(-abs(x), zero))
        negative = zero if label == one else (one - label) * (max(x, zero) + rest)
        positive = zero if weight == zero else weight * (max(-x, zero) + rest)
        loss[i] = negative + positive if x < np.inf else np.nan


@jit
def _sigmoid_xent_grad(upstream, z, y, w, slope):
    step = 0 if len(w) == 1 else 1
    zero, one = z.dtype.type(0), z.dtype.type(1)
    for i in range(len(z)):
        x = z[i]
        e = exp_below(-abs(x), zero)
        large = one / (one + e)
        small = e * large
        p, q = (large if x >= zero else small), (small if x >= zero else large)
        g = upstream[i] * ((one - y[i]) * p - w[i * step] * y[i] * q)
        slope[i] = g if x < np.inf else np.nan


# ---- the check of labels, one pass


def first_bad_label(y: Array, *, classes: int, ignored: int) -> int:
    row: int = _first_bad_label(np.ascontiguousarray(y), classes, ignored)
    return row


@jit
def _first_bad_label(y, classes, ignored):
    for i in range(len(y)):
        if (y[i] < 0 or y[i] >= classes) and y[i] != ignored:
            return i
    return -1


# ---- optimizers: each updates one parameter and its state in place, in one pass. The arrays are contiguous: one row
# of numbers, whatever their shape. The settings are turned to the parameter's own dtype first, as NumPy does
# with Python numbers: a float32 parameter is updated in float32.


def takes(param: Array, grad: Array) -> bool:
    """Whether the loops below can update this parameter: float32 or float64, contiguous, with a gradient alike."""
    return (
        numba is not None
        and param.dtype.char in "fd"
        and param.dtype == grad.dtype
        and param.flags.c_contiguous
        and grad.flags.c_contiguous
    )


@jit
def sgd(p, g, lr, weight_decay):
    p, g = p.reshape(-1), g.reshape(-1)
    dtype = p.dtype.type
    lr, weight_decay = dtype(lr), dtype(weight_decay)
    for i in range(len(p)):
        p[i] -= lr * (g[i] + weight_decay * p[i])


@jit
def sgd_momentum(p, g, velocity, lr, momentum, nesterov, weight_decay):
    p, g, velocity = p.reshape(-1), g.reshape(-1), velocity.reshape(-1)
    dtype = p.dtype.type
    lr, momentum, weight_decay = dtype(lr), dtype(momentum), dtype(weight_decay)
    for i in range(len(p)):
        slope = g[i] + weight_decay * p[i]
        velocity[i] = momentum * velocity[i] + slope
        p[i] -= lr * (slope + momentum * velocity[i] if nesterov else velocity[i])


@jit
def adam(p, g, mean, square, rate, beta1, beta2, correction2, eps, added_decay, taken_decay):
    p, g, mean, square = p.reshape(-1), g.reshape(-1), mean.reshape(-1), square.reshape(-1)
    dtype = p.dtype.type
    keep1, keep2, new1, new2 = dtype(beta1), dtype(beta2), dtype(1 - beta1), dtype(1 - beta2)
    rate, correction2, eps = dtype(rate), dtype(correction2), dtype(eps)
    added, taken = dtype(added_decay), dtype(taken_decay)
    for i in range(len(p)):
        slope = g[i] + added * p[i]
        mean[i] = keep1 * mean[i] + new1 * slope
        square[i] = keep2 * square[i] + new2 * (slope * slope)
        root = np.sqrt(square[i] / correction2)
        p[i] -= rate * mean[i] / (root + eps) + taken * p[i]


@jit
def rmsprop(p, g, square, lr, decay, eps, weight_decay):
    p, g, square = p.reshape(-1), g.reshape(-1), square.reshape(-1)
    dtype = p.dtype.type
    keep, new = dtype(decay), dtype(1 - decay)
    lr, eps, weight_decay = dtype(lr), dtype(eps), dtype(weight_decay)
    for i in range(len(p)):
        slope = g[i] + weight_decay * p[i]
        square[i] = keep * square[i] + new * (slope * slope)
        p[i] -= lr * slope / (np.sqrt(square[i]) + eps)
