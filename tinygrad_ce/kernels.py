"""The Numba loops, all in this one file: softmax, the cross-entropies with their gradients, the optimizers.

Each public function takes the arguments of the primitive (or update) of its name and gives the same result; the
primitive's body is the definition, and a test holds the two equal. NotImplemented says that the body shall do it.
Loops do no checks: `losses/` has made them.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygrad_ce import cache
from tinygrad_ce.threads import STEP, in_parts

Array = npt.NDArray[Any]
numba: Any
try:
    import numba
except ImportError:  # a platform without Numba still has the bodies
    numba = None


def jit(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first call, and keep the machine code on disk where only we can write."""
    if numba is None or numba.config.DISABLE_JIT:
        return np.errstate(all="ignore")(loop)  # as Python; compiled loops do not warn of inf - inf either
    # "contract" lets a multiplication and an addition become one fused instruction, and nothing else: never NaN-blind.
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
    chosen = numba.config.CACHE_DIR  # where the user wants all Numba code to be kept, if anywhere
    try:
        if not chosen:
            directory = cache.directory()
            if directory is None:
                return numba.njit(**options)(loop)  # type: ignore[no-any-return]
            # Loops that check their indices are other machine code.
            numba.config.CACHE_DIR = str(directory / "boundscheck" if numba.config.BOUNDSCHECK else directory)
        return numba.njit(cache=True, **options)(loop)  # type: ignore[no-any-return]
    except RuntimeError:  # Numba has found no way to keep it: compile in every process
        return numba.njit(**options)(loop)  # type: ignore[no-any-return]
    finally:
        numba.config.CACHE_DIR = (
            chosen  # it is read while a loop is decorated; other people's loops stay where they are
        )


def lookup(name: str, body: Callable[..., Any], above: int = 0) -> Callable[..., Any]:
    """The kernel of this name where it can do the work (for arrays of at least so many elements), or the body."""
    if numba is None:
        warn_once()
        return body
    kernel = globals()[name]
    kinds = "lq" if name == "first_bad_label" else "fd"  # int64; float32 and float64

    def compute(*values: Any, **params: Any) -> Any:
        dtype = values[0].dtype
        if dtype.char in kinds and dtype.isnative and values[0].size >= above:
            out = kernel(*values, **params)
            if out is not NotImplemented:
                return out
        return body(*values, **params)

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


# ---- exp, log1p and tanh that the compiler turns into vector instructions, because they are arithmetic only
#
# math.exp is a call into the C library for one number; these are 8 or 16 numbers at a time. What Python sees here is
# their meaning; what Numba compiles is the @overload below. Each dtype has constants of its own, because a float32
# loop must not meet a float64. Errors, held by tests/test_vector_math.py against mpmath: exp and log1p below 1 ulp,
# tanh below 2. Polynomials are evaluated in pairs (G. Estrin, 1960): the processor works on several at a time.
# Source: J.-M. Muller, "Elementary Functions", 3rd ed., sections 3.2 (polynomials), 5.1 (evaluation), 11.2 (reduction).


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


def exp_of(x: Any, error: Any) -> Any:
    """exp(x + error) for x <= 0, where the error is at most a few units in the last place of x.

    x = n ln 2 + r with |r| <= 0.35; n comes from adding a number so large that what is behind the point falls off.
    exp(r) is its Taylor polynomial, and times 2**n is n added to the exponent bits: to n + 64, and then times 2**-64,
    so that results below the normal range are rounded once.
    """
    return np.exp(x) * (1 + error)


def log1p_of(x: Any) -> Any:
    """log(1 + x): 1 + x = 2**n m with m near 1, and log m is twice the artanh of (m - 1) / (m + 1), by its series.

    What rounding 1 + x has cost is added at the end, divided by 1 + x.
    Source: M. Abramowitz, I. Stegun, "Handbook of Mathematical Functions", 4.1.27; K. Ng, FreeBSD's s_log1p.c, 1993.
    """
    return np.log1p(x)


def tanh_of(x: Any) -> Any:
    """1 - 2 e / (1 + e) with e = exp(-2 |x|), and near 0, where that would cancel, the Taylor series.

    Source: M. Abramowitz, I. Stegun, "Handbook of Mathematical Functions", 4.5.64 (the series).
    """
    return np.tanh(x)


def plus(total: Any, x: Any) -> Any:
    """total + x, in a sum whose terms may be added in any order: the compiler keeps many partial sums."""
    return total + x


def either(condition: Any, yes: Any, no: Any) -> Any:
    """yes if condition else no, both computed: a branch would keep some loops out of the vector registers."""
    return yes if condition else no


def rank(x: Any) -> Any:
    """A whole number that orders as x does, so that a maximum can be taken in any order (NaN is first or last).

    Floats of one sign order as their bits do; the bits of the negative ones are flipped.
    """
    whole = np.int32 if x.dtype.itemsize == 4 else np.int64
    bits = x.view(whole)
    return bits if bits >= 0 else bits ^ np.iinfo(whole).max


def ranked(rank: Any) -> Any:
    """The number of this rank."""
    bits = rank if rank >= 0 else rank ^ np.iinfo(rank.dtype).max
    return bits.view(np.float32 if rank.dtype.itemsize == 4 else np.float64)


if numba is not None:
    from numba import types
    from numba.extending import intrinsic, overload

    INLINE: Any = {"forceinline": True}  # a call inside a loop would keep it out of the vector registers

    def _reinterpreted(targets: dict[Any, Any]) -> Any:
        """The same bits read as another type."""

        def typed(context: Any, value: Any) -> Any:
            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                return builder.bitcast(arguments[0], context.get_value_type(targets[value]))

            return targets[value](value), generate

        return typed

    _bits: Any = intrinsic(_reinterpreted({types.float64: types.int64, types.float32: types.int32}))
    _float: Any = intrinsic(_reinterpreted({types.int64: types.float64, types.int32: types.float32}))

    def _fadd(context: Any, total: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.fadd(*arguments, flags=("reassoc",))  # of this addition alone

        return total(total, total), generate

    _added: Any = intrinsic(_fadd)

    def _select(context: Any, condition: Any, yes: Any, no: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.select(*arguments)

        return yes(types.boolean, yes, yes), generate

    _selected: Any = intrinsic(_select)

    @overload(either, strict=False, jit_options=INLINE)
    def _either(condition: Any, yes: Any, no: Any) -> Any:
        return lambda condition, yes, no: _selected(condition, yes, no)

    @overload(plus, strict=False, jit_options=INLINE)
    def _plus(total: Any, x: Any) -> Any:
        return lambda total, x: _added(total, x)

    def _kinds(x: Any) -> tuple[Any, Any, int, int]:
        """The type of a float and of a whole number as long, the digits of the fraction, the bias of the exponent."""
        return (
            (np.float32, np.int32, 23, 127) if x in (types.float32, types.int32) else (np.float64, np.int64, 52, 1023)
        )

    @overload(rank, strict=False, jit_options=INLINE)
    def _rank(x: Any) -> Any:
        _, whole, digits, _ = _kinds(x)
        sign, others = (31, whole(2**31 - 1)) if digits == 23 else (63, whole(2**63 - 1))

        def body(x):
            bits = _bits(x)
            return whole(bits ^ (whole(bits >> sign) & others))

        return body

    @overload(ranked, strict=False, jit_options=INLINE)
    def _ranked(rank: Any) -> Any:
        _, whole, digits, _ = _kinds(rank)
        sign, others = (31, whole(2**31 - 1)) if digits == 23 else (63, whole(2**63 - 1))
        return lambda rank: _float(whole(rank ^ (whole(rank >> sign) & others)))

    @overload(exp_below, strict=False, jit_options=INLINE)
    def _exp_below(x: Any, top: Any) -> Any:
        def body(x, top):
            difference = x - top
            back = difference - x
            return exp_of(difference, (x - (difference - back)) - (top + back))

        return body

    @overload(exp_of, strict=False, jit_options=INLINE)
    def _exp_of(x: Any, error: Any) -> Any:
        real, whole, digits, _ = _kinds(x)
        single = digits == 23
        zero, one, half, log2_e = real(0), real(1), real(0.5), real(1 / math.log(2))
        # ln 2, and what is missing in it; n times the first is exact inside a fused multiplication and addition.
        ln2, ln2_rest = real(math.log(2)), real(-1.904654299957768e-09 if single else 2.3190468138462996e-17)
        shift, unshift = real(1.5 * 2**digits + 64), real(2.0**-64)
        lowest = real(-104 if single else -746)  # below, exp is 0
        c3, c4, c5, c6, c7 = (real(1 / math.factorial(n)) for n in range(3, 8))
        c8, c9, c10, c11, c12, c13 = (real(1 / math.factorial(n)) for n in range(8, 14))

        def body(x, error):
            t = x * log2_e + shift
            n = t - shift
            high = x - n * ln2
            low = error - n * ln2_rest
            r = high + low
            lost = low - (r - high)
            r2 = r * r
            p = (c3 * r + half) + r2 * (c5 * r + c4)
            if single:
                p = p + r2 * r2 * (c7 * r + c6)
            else:
                q = ((c7 * r + c6) + r2 * (c9 * r + c8)) + r2 * r2 * ((c11 * r + c10) + r2 * (c13 * r + c12))
                p = p + r2 * r2 * q
            p = one + (r + (r2 * p + lost))
            e = _float(whole(_bits(p) + whole(_bits(t) << digits))) * unshift
            return either(x < lowest, zero, either(x == x, e, x))

        return body

    @overload(log1p_of, strict=False, jit_options=INLINE)
    def _log1p(x: Any) -> Any:
        real, whole, digits, bias = _kinds(x)
        single = digits == 23
        zero, half, one, two, inf, nan = (real(v) for v in (0, 0.5, 1, 2, np.inf, np.nan))
        # ln 2 in two parts, the first with so few digits that n times it is exact (W. Cody, W. Waite, 1980).
        ln2_high, ln2_low = (
            (real(0.693359375), real(-2.12194440e-4))
            if single
            else (real(6.93147180369123816490e-01), real(1.90821492927058770002e-10))
        )
        bits_of = lambda number: int(np.asarray(number, real).view(whole))  # noqa: E731
        carry = whole(bits_of(1) - bits_of(math.sqrt(0.5)))  # the next exponent begins at sqrt(1/2) instead of 1
        c3, c5, c7, c9, c11, c13, c15, c17, c19, c21 = (real(2 / n) for n in range(3, 22, 2))

        def body(x):
            w = one + x
            back = w - one
            lost = (one - (w - back)) + (x - back)
            exponent = whole(whole(whole(_bits(w) + carry) >> digits) - bias)
            f = _float(whole(_bits(w) - whole(exponent << digits))) - one
            n = real(exponent)
            s = f / (two + f)
            q = s * s
            if single:
                p = ((c9 * q + c7) * q + c5) * q + c3
            else:
                p = ((((((c21 * q + c19) * q + c17) * q + c15) * q + c13) * q + c11) * q + c9) * q + c7
                p = (p * q + c5) * q + c3
            square = half * f * f
            log = n * ln2_high - ((square - (s * (square + q * p) + (n * ln2_low + lost / w))) - f)
            log = x if x == zero or not x < inf else log
            return log if not x <= -one else (-inf if x == -one else nan)

        return body

    def _taylor_of_tanh(terms: int) -> list[float]:
        """The coefficients of x, x**3, x**5...: from tanh' = 1 - tanh**2."""
        c = [1.0]
        for n in range(1, terms):
            c.append(-sum(c[i] * c[n - 1 - i] for i in range(n)) / (2 * n + 1))
        return c

    @overload(tanh_of, strict=False, jit_options=INLINE)
    def _tanh(x: Any) -> Any:
        real, whole, digits, _ = _kinds(x)
        single = digits == 23
        zero, one, two, small = real(0), real(1), real(2), real(0.55)
        sign = whole(-(2 ** (31 if single else 63)))
        c3, c5, c7, c9, c11, c13, c15, c17 = map(real, _taylor_of_tanh(9)[1:])
        c19, c21, c23, c25, c27, c29, c31, c33 = map(real, _taylor_of_tanh(17)[9:])
        c35, c37, c39 = map(real, _taylor_of_tanh(20)[17:])

        def body(x):
            size = abs(x)
            q = size * size
            q2 = q * q
            q4 = q2 * q2
            p = ((c3 + c5 * q) + q2 * (c7 + c9 * q)) + q4 * ((c11 + c13 * q) + q2 * (c15 + c17 * q))
            if not single:
                r = ((c19 + c21 * q) + q2 * (c23 + c25 * q)) + q4 * ((c27 + c29 * q) + q2 * (c31 + c33 * q))
                p = p + q4 * q4 * (r + q4 * q4 * ((c35 + c37 * q) + q2 * c39))
            e = exp_of(-two * size, zero)
            t = either(size < small, size + size * (q * p), one - (e + e) / (one + e))
            return _float(whole(_bits(t) | (_bits(x) & sign)))

        return body


# ---- rows of logits: what softmax and the cross-entropies have in common
#
# Many classes: a row is copied into a buffer that the nearest cache holds, exp is taken there, and the result is
# written once. The buffer ends in -inf, whose exp is 0, so that every step is whole vectors.
# Few classes: a row is shorter than a vector, so rows become the columns of a panel, and every step is done for all of
# its rows at once.

VECTOR = 64  # elements that a buffer's length is a multiple of: four vectors of 16 float32
LANES = 128  # rows in a panel
FEW = 48  # classes; up to here a panel is faster
SHORT = 20_000  # elements that are never worth another thread


@jit
def _buffer(classes, like):
    return np.empty((classes + VECTOR - 1) // VECTOR * VECTOR, like.dtype)


def _row(classes: int, dtype: Any) -> Array:
    """The same from Python."""
    return np.empty(-(-classes // VECTOR) * VECTOR, dtype)


@jit
def _copied(row, buffer):
    """Copy a row into the buffer, and return its largest number."""
    top = rank(row[0])
    for c in range(len(row)):
        x = row[c]
        buffer[c] = x
        top = max(top, rank(x))
    buffer[len(row) :] = -np.inf
    return ranked(top)


@jit
def _exponentials(buffer, top):
    """Turn each number into exp(number - top), and return the sum of all."""
    total = 0.0
    for start in range(0, len(buffer), 2048):  # so that the sum finds its numbers in the nearest cache
        part = buffer[start : start + 2048]
        for c in range(len(part)):
            part[c] = exp_below(part[c], top)
        total += _sum(part)
    return total


@jit
def _sum(numbers):
    """The sum in blocks, and what rounding has cost where the sums of the blocks are added.

    32,000 additions of float64 in a row would cost some of the last digits that the losses promise.
    Source: A. Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen", 1974.
    """
    block = 128 if numbers.itemsize == 8 else 2048
    total = lost = 0.0
    for start in range(0, len(numbers), block):
        part = _short_sum(numbers[start : start + block])
        added = total + part
        back = added - total
        lost += (total - (added - back)) + (part - back)
        total = added
    return total + lost if abs(total) < np.inf else total


@jit
def _short_sum(numbers):
    total = 0.0
    for c in range(len(numbers)):
        total = plus(total, np.float64(numbers[c]))
    return total


@jit
def _into(z, first, panel):
    """Rows of z as the columns of the panel; what is left of it keeps its old numbers."""
    for k in range(min(panel.shape[1], len(z) - first)):
        for c in range(z.shape[1]):
            panel[c, k] = z[first + k, c]


@jit
def _out_of(panel, first, out):
    for k in range(min(panel.shape[1], len(out) - first)):
        for c in range(out.shape[1]):
            out[first + k, c] = panel[c, k]


@jit
def _tops(panel, ranks, top):
    """The largest number of each column; ranks is where they are kept meanwhile."""
    for k in range(len(top)):
        ranks[k] = rank(panel[0, k])
    for c in range(1, len(panel)):
        for k in range(len(top)):
            ranks[k] = max(ranks[k], rank(panel[c, k]))
    for k in range(len(top)):
        top[k] = ranked(ranks[k])


@jit
def _column_exponentials(panel, top, part, total):
    """Turn each number of a column into exp(number - top of the column), and add them up, eight at a time."""
    for k in range(len(total)):
        total[k] = 0
    for first in range(0, len(panel), 8):
        for k in range(len(part)):
            part[k] = 0
        for c in range(first, min(first + 8, len(panel))):
            row = panel[c]
            for k in range(len(row)):
                e = exp_below(row[k], top[k])
                row[k] = e
                part[k] += np.float64(e)
        for k in range(len(total)):
            total[k] += part[k]


def lanes_for(rows: int) -> int:
    """How many rows a panel takes: whole vectors."""
    return LANES if rows >= LANES else (rows + 15) // 16 * 16 or 16


class _Scratch(threading.local):
    """What a panel needs, made once in a thread, and in Python: Numba would take half a second to compile np.empty."""

    def __init__(self) -> None:
        self.made: dict[Any, tuple[Array, Array, Array, Array]] = {}

    def __call__(self, classes: int, rows: int, dtype: Any) -> tuple[Array, Array, Array, Array]:
        """For each row: its logits, its top and its true logit; the rank of the top; the label; five numbers."""
        lanes = lanes_for(rows)
        key = (classes, lanes, dtype.char)
        if key not in self.made:
            whole = np.int32 if dtype.itemsize == 4 else np.int64
            panel = np.zeros((classes + 2, lanes), dtype)
            self.made[key] = (panel, np.zeros(lanes, whole), np.zeros(lanes, np.int64), np.zeros((5, lanes)))
        return self.made[key]


_scratch = _Scratch()


def _same(shape: tuple[int, ...], other: tuple[int, ...]) -> None:
    """The loops trust their arrays to be alike."""
    if other != shape:
        raise ValueError(f"shapes {shape} and {other} differ")


def _seconds(count: int, nanoseconds: float, z: Array) -> float:
    """What a loop over so many elements takes, roughly: the nanoseconds are those of a float64."""
    return count * nanoseconds * 1e-9 * (z.dtype.itemsize / 8)


# ---- softmax cross-entropy with class indices


def xent(z: Array, y: Array, w: Any, *, smoothing: float = 0.0, reduction: str = "none") -> Any:
    return _xent(z, y, w, smoothing, reduction, None, np.empty((0, z.shape[1]), z.dtype))


def xent_grad(upstream: Any, z: Array, y: Array, w: Any, *, smoothing: float = 0.0, reduction: str = "none") -> Array:
    slope = np.empty(z.shape, z.dtype)
    _xent(z, y, w, smoothing, reduction, upstream, slope)
    return slope


def xent_with_gradient(z: Array, y: Array, w: Any, *, smoothing: float = 0.0, reduction: str = "none") -> Any:
    """The reduced loss, and its gradient at the logits: exp is taken once for both."""
    if reduction == "none":
        return NotImplemented
    slope = np.empty(z.shape, z.dtype)
    return _xent(z, y, w, smoothing, reduction, None, slope), slope


def _xent(z: Array, y: Array, w: Any, smoothing: float, reduction: str, upstream: Any, slope: Array) -> Any:
    """Fill the gradient if there is room for one, and return the loss."""
    z, y = np.ascontiguousarray(z), np.ascontiguousarray(y)
    _same(z.shape[:1], y.shape)
    w, upstream = _row_of(w, z.shape[1:], z, smoothing != 0), _upstream(upstream, reduction, z.shape[:1], z)
    rows, classes = z.shape
    share = 1 / rows if reduction == "mean" and rows else 1.0
    loss = np.empty(rows, z.dtype)
    few = classes <= FEW and smoothing == 0 and len(w) == 1
    if few and 0 < z.size < SHORT:  # the batches of toy networks, without ceremony
        _xent_few(z, y, w, upstream, share, *_scratch(classes, rows, z.dtype), loss, slope)
        return _reduced(loss, reduction)

    def loop(z: Array, y: Array, upstream: Array, loss: Array, slope: Array) -> None:
        if few:
            _xent_few(z, y, w, upstream, share, *_scratch(classes, len(z), z.dtype), loss, slope)
        else:
            _xent_many(z, y, w, smoothing, upstream, share, _row(classes, z.dtype), loss, slope)

    _by_rows(loop, (z, y, upstream, loss, slope), 3.0 if few else 1.0, step=LANES if few else 1)
    return _reduced(loss, reduction)


def _by_rows(loop: Callable[..., None], arrays: tuple[Array, ...], nanoseconds: float, step: int) -> None:
    """Call the loop with the arrays, or in several threads with some of their rows (of those that have as many)."""
    rows = len(arrays[0])
    if arrays[0].size < SHORT:
        if rows > 0:
            loop(*arrays)
        return

    def work(start: int, stop: int) -> None:
        loop(*(array[start:stop] if len(array) == rows else array for array in arrays))

    in_parts(work, rows, _seconds(arrays[0].size, nanoseconds, arrays[0]), step)


def _row_of(w: Any, shape: tuple[int, ...], z: Array, full: bool = False) -> Any:
    """Weights in the dtype of z, flat: one for all, those of the last axes (again and again), or one for each."""
    if type(w) is float and w == 1 and not full:
        return _ONES[z.dtype.char]
    w = np.asarray(w, z.dtype)
    if not full:
        if w.size == 1:
            return w.reshape(1)
        while w.ndim and w.shape[0] == 1:
            w = w[0]
        if w.shape == shape[len(shape) - w.ndim :]:
            return np.ascontiguousarray(w).reshape(-1)
    return np.array(np.broadcast_to(w, shape)).reshape(-1)  # a copy: Numba compiles anew for what is read only


_ONES = {"f": np.ones(1, np.float32), "d": np.ones(1)}


def _upstream(upstream: Any, reduction: str, shape: tuple[int, ...], z: Array) -> Any:
    if upstream is None:
        return _ONES[z.dtype.char]
    _same(np.shape(upstream), shape if reduction == "none" else ())
    return np.ascontiguousarray(upstream, z.dtype).reshape(-1)


def _reduced(loss: Array, reduction: str) -> Any:
    if reduction == "none":
        return loss
    total = _sum(loss)  # of all, whichever thread has filled them
    return loss.dtype.type(total / max(len(loss), 1) if reduction == "mean" else total)


@jit
def _xent_few(z, y, w, upstream, share, panel, ranks, label, numbers, loss, slope):
    """Fill the loss of each row and, if there is room for it, the gradient."""
    rows, classes = z.shape
    lanes = len(label)
    top, true, panel = panel[classes], panel[classes + 1 :], panel[:classes]
    gap, others, chosen, g, part = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    for k in range(lanes):
        g[k] = np.float64(upstream[0]) * share * w[0]
    for first in range(0, rows, lanes):
        here = min(lanes, rows - first)
        _into(z, first, panel)
        _tops(panel, ranks, top)
        foreign = 0
        for k in range(here):
            known = 0 <= y[first + k] < classes
            label[k] = y[first + k] if known else 0
            foreign += 0 if known else 1
            true[0, k] = panel[label[k], k]
            panel[label[k], k] = -np.inf
        for k in range(lanes):
            gap[k] = np.float64(top[k]) - np.float64(true[0, k])
        _column_exponentials(panel, top, part, others)
        _column_exponentials(true, top, part, chosen)
        for k in range(lanes):  # two terms of one sign: how far the label is below the top, and the log of the sum
            gap[k] += log1p_of(others[k] + (chosen[k] - 1))
        for k in range(here):
            loss[first + k] = w[0] * gap[k]
        if len(slope) > 0:
            if len(upstream) > 1:
                for k in range(here):
                    g[k] = np.float64(upstream[first + k]) * share * w[0]
            for k in range(lanes):
                factor = g[k] / (others[k] + chosen[k])
                top[k] = factor
                true[0, k] = -(others[k] * factor)  # minus the sum of the others, which cannot cancel
            for c in range(classes):
                for k in range(lanes):
                    panel[c, k] *= top[k]
            for k in range(here):
                panel[label[k], k] = true[0, k]
            _out_of(panel, first, slope)
        if foreign > 0:  # ignored rows; `losses` refuses a label that is no class, and here nothing foreign is read
            for i in range(first, first + here):
                if not 0 <= y[i] < classes:
                    loss[i] = 0 if y[i] < 0 else np.nan
                    slope[i : i + 1] = loss[i]


@jit
def _xent_many(z, y, w, smoothing, upstream, share, buffer, loss, slope):
    """Fill the loss of each row and, if there is room for it, the gradient."""
    rows, classes = z.shape
    step, weigh = 0 if len(upstream) == 1 else 1, 0 if len(w) == 1 else 1
    uniform = smoothing / classes  # of the label's weight, for every class
    weight = _sum(w) if weigh else np.float64(w[0]) * classes
    for i in range(rows):
        label = y[i]
        own = 0.0 if label < 0 else np.nan  # `losses` refuses a label that is no class; here nothing foreign is read
        mass = own
        if 0 <= label < classes:
            own = (1 - smoothing) * np.float64(w[label * weigh])
            mass = own + uniform * weight
        if mass == 0 or mass != mass:  # an ignored row counts for nothing, whatever is in it
            loss[i] = mass
            slope[i : i + 1] = mass
            continue
        top = _copied(z[i], buffer)
        true = buffer[label]
        gaps = own * (np.float64(top) - np.float64(true)) if own != 0 else 0.0
        if smoothing != 0:
            gaps += _gaps(z[i], w, top, uniform)
        buffer[label] = -np.inf
        others = _exponentials(buffer, top)
        e = np.float64(exp_below(true, top))
        loss[i] = gaps + mass * math.log1p(others + (e - 1))
        if len(slope) > 0:
            g = np.float64(upstream[i * step]) * share
            total = others + e
            _scaled(buffer, g * mass / total, g * uniform, w, slope[i])
            taken = uniform * np.float64(w[label * weigh])
            slope[i, label] = g * _at(own + taken, mass, uniform * weight - taken, e, others)


@jit
def _at(target, mass, rest, e, others):
    """mass p - target of one class, whose exponential is e; the target of the other classes is rest.

    Where the class has most of the mass the two cancel: there both are taken from the other classes.
    """
    if 2 * target > mass:
        return rest - mass * (others / (others + e))
    return mass * (e / (others + e)) - target


@jit
def _gaps(row, w, top, uniform):
    """The sum of the weighted distances to the top; a class without weight may be at -inf."""
    total = 0.0
    for c in range(len(row)):
        gap = uniform * np.float64(w[c]) * (np.float64(top) - np.float64(row[c]))
        total = plus(total, gap if w[c] != 0 else 0.0)
    return total


@jit
def _scaled(buffer, factor, uniform, w, row):
    """factor times exp, less the share of the target that smoothing gave to every class."""
    factor, uniform = row.dtype.type(factor), row.dtype.type(uniform)
    if uniform == 0:
        for c in range(len(row)):
            row[c] = buffer[c] * factor
    else:
        for c in range(len(row)):
            row[c] = buffer[c] * factor - uniform * w[c]


# ---- softmax cross-entropy with soft targets: ((1 - smoothing) q + smoothing / C) w for each class


def soft_xent(z: Array, q: Array, w: Any, *, smoothing: float = 0.0, reduction: str = "none") -> Any:
    return _soft_xent(z, q, w, smoothing, reduction, None, np.empty((0, z.shape[1]), z.dtype))


def soft_xent_grad(
    upstream: Any, z: Array, q: Array, w: Any, *, smoothing: float = 0.0, reduction: str = "none"
) -> Array:
    slope = np.empty(z.shape, z.dtype)
    _soft_xent(z, q, w, smoothing, reduction, upstream, slope)
    return slope


def soft_xent_with_gradient(z: Array, q: Array, w: Any, *, smoothing: float = 0.0, reduction: str = "none") -> Any:
    """The reduced loss, and its gradient at the logits."""
    if reduction == "none":
        return NotImplemented
    slope = np.empty(z.shape, z.dtype)
    return _soft_xent(z, q, w, smoothing, reduction, None, slope), slope


def _soft_xent(z: Array, q: Array, w: Any, smoothing: float, reduction: str, upstream: Any, slope: Array) -> Any:
    z, q = np.ascontiguousarray(z), np.ascontiguousarray(q, z.dtype)
    _same(z.shape, q.shape)
    w, upstream = _row_of(w, z.shape[1:], z, True), _upstream(upstream, reduction, z.shape[:1], z)
    share = 1 / max(len(z), 1) if reduction == "mean" else 1.0
    loss = np.empty(len(z), z.dtype)

    def loop(z: Array, q: Array, upstream: Array, loss: Array, slope: Array) -> None:
        room = _row(z.shape[1], z.dtype), np.empty(z.shape[1], z.dtype)
        _soft_xent_rows(z, q, w, smoothing, upstream, share, *room, loss, slope)

    _by_rows(loop, (z, q, upstream, loss, slope), 2.0, step=1)
    return _reduced(loss, reduction)


@jit
def _soft_xent_rows(z, q, w, smoothing, upstream, share, buffer, target, loss, slope):
    """Fill the loss of each row and, if there is room for it, the gradient."""
    rows, classes = z.shape
    step = 0 if len(upstream) == 1 else 1
    keep, uniform = z.dtype.type(1 - smoothing), z.dtype.type(smoothing / classes)
    for i in range(rows):
        for c in range(classes):
            target[c] = (keep * q[i, c] + uniform) * w[c]
        big, most = 0, target[0]
        for c in range(1, classes):
            if target[c] > most:
                big, most = c, target[c]
        target[big] = 0  # the class with the largest target is kept out of all sums, and treated alone
        rest = _sum(target)
        mass = rest + np.float64(most)
        if mass == 0:  # a row without weight counts for nothing
            loss[i] = 0
            slope[i : i + 1] = 0
            continue
        top = _copied(z[i], buffer)
        true = buffer[big]
        gaps = 0.0
        for c in range(classes):
            gap = np.float64(target[c]) * (np.float64(top) - np.float64(buffer[c]))
            gaps = plus(gaps, gap if target[c] != 0 else 0.0)  # a class that is not wanted may have logit -inf
        gaps += np.float64(most) * (np.float64(top) - np.float64(true))
        buffer[big] = -np.inf
        others = _exponentials(buffer, top)
        e = np.float64(exp_below(true, top))
        loss[i] = gaps + mass * math.log1p(others + (e - 1))
        if len(slope) > 0:
            g = np.float64(upstream[i * step]) * share
            factor, taken = z.dtype.type(g * mass / (others + e)), z.dtype.type(g)
            row = slope[i]
            for c in range(classes):
                row[c] = buffer[c] * factor - taken * target[c]
            row[big] = g * _at(np.float64(most), mass, rest, e, others)


# ---- sigmoid (binary) cross-entropy: weight (w y log p + (1 - y) log(1 - p)), element by element

BLOCK = 1024  # elements that are worked on before the next are read


def sigmoid_xent(z: Array, y: Array, w: Any, weight: Any, *, reduction: str = "none") -> Any:
    return _sigmoid_xent(z, y, w, weight, reduction, None, None)


def sigmoid_xent_grad(upstream: Any, z: Array, y: Array, w: Any, weight: Any, *, reduction: str = "none") -> Array:
    slope = np.empty(z.shape, z.dtype)
    _sigmoid_xent(z, y, w, weight, reduction, upstream, slope)
    return slope


def sigmoid_xent_with_gradient(z: Array, y: Array, w: Any, weight: Any, *, reduction: str = "none") -> Any:
    """The reduced loss, and its gradient at the logits: exp is taken once for both."""
    if reduction == "none":
        return NotImplemented
    slope = np.empty(z.shape, z.dtype)
    return _sigmoid_xent(z, y, w, weight, reduction, None, slope), slope


def _sigmoid_xent(z: Array, y: Array, w: Any, weight: Any, reduction: str, upstream: Any, slope: Array | None) -> Any:
    _same(z.shape, y.shape)
    shape, count = z.shape, z.size
    w, weight = _row_of(w, shape, z), _row_of(weight, shape, z)
    upstream = _upstream(upstream, reduction, shape, z)
    z, y = np.ascontiguousarray(z).reshape(-1), np.ascontiguousarray(y, z.dtype).reshape(-1)
    nothing = np.empty(0, z.dtype)
    flat = nothing if slope is None else slope.reshape(-1)
    loss = np.empty(z.shape, z.dtype) if reduction == "none" else nothing
    sums = np.zeros(-(-count // BLOCK))
    share = 1 / max(count, 1) if reduction == "mean" else 1.0

    def work(start: int, stop: int) -> None:
        part = slice(start, stop)
        three = (array if len(array) <= 1 else array[part] for array in (upstream, loss, flat))
        blocks = sums[start // BLOCK : -(-stop // BLOCK)]
        space = np.empty((5, BLOCK), z.dtype)
        _sigmoid_xent_blocks(z[part], y[part], w, weight, start, *three, share, blocks, space)

    in_parts(work, count, _seconds(count, 2.5, z), step=BLOCK)
    if reduction == "none":
        return loss.reshape(shape)
    return z.dtype.type(_sum(sums) * share)


@jit
def _sigmoid_xent_blocks(z, y, w, weight, start, upstream, loss, slope, share, sums, space):
    """Fill the losses and the gradient, where there is room for them, and the sum of the losses of each block."""
    losses, slopes, several_w, several_weights, several_upstream = space[0], space[1], space[2], space[3], space[4]
    _repeated(w, 0, several_w)
    _repeated(weight, 0, several_weights)
    several_upstream[:] = upstream[0] * z.dtype.type(share)
    for b in range(len(sums)):
        first = b * BLOCK
        here = min(BLOCK, len(z) - first)
        stop = first + here
        if len(w) > 1:
            _repeated(w, start + first, several_w)
        if len(weight) > 1:
            _repeated(weight, start + first, several_weights)
        _sigmoid_xent_block(
            z[first:stop],
            y[first:stop],
            several_w[:here],
            several_weights[:here],
            upstream[first:stop] if len(upstream) > 1 else several_upstream[:here],
            losses[:here],
            slopes[:here],
        )
        sums[b] = _sum(losses[:here])
        if len(loss) > 0:
            loss[first:stop] = losses[:here]
        if len(slope) > 0:
            slope[first:stop] = slopes[:here]


@jit
def _repeated(row, first, out):
    """The numbers of a row, again and again, from this place on."""
    k = first % len(row)
    for i in range(len(out)):
        out[i] = row[k]
        k = k + 1 if k + 1 < len(row) else 0


@jit
def _sigmoid_xent_block(z, y, w, weight, upstream, loss, slope):
    zero, one = z.dtype.type(0), z.dtype.type(1)
    for i in range(len(z)):
        x, positive, negative = z[i], w[i] * y[i], one - y[i]
        e = exp_of(-abs(x), zero)
        rest = log1p_of(e)
        large = one / (one + e)
        small = e * large
        p, q = either(x >= zero, large, small), either(x >= zero, small, large)
        # 0 * inf is 0 here: a label says that the other term does not count.
        left = either(negative == zero, zero, negative * (max(x, zero) + rest))
        right = either(positive == zero, zero, positive * (max(-x, zero) + rest))
        bad = either(x < np.inf, zero, x - x)  # NaN at inf and NaN, where the model has said nothing
        counts = weight[i] != zero
        loss[i] = either(counts, weight[i] * (left + right) + bad, zero)
        slope[i] = either(counts, upstream[i] * (weight[i] * (negative * p - positive * q)) + bad, zero)


# ---- softmax and its logarithm along the last axis, and functions of one number


def softmax(x: Array, *, axis: int = -1) -> Any:
    if not _along_rows(x, axis):
        return NotImplemented
    rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
    out = np.empty(rows.shape, x.dtype)
    few = rows.shape[1] <= FEW

    def loop(rows: Array, out: Array) -> None:
        if few:
            panel, ranks, _, numbers = _scratch(rows.shape[1], len(rows), x.dtype)
            _softmax_few(rows, panel, ranks, numbers, out)
        else:
            _softmax_many(rows, out)

    _by_rows(loop, (rows, out), 2.0 if few else 1.0, step=LANES if few else 1)
    return out.reshape(x.shape)


def _along_rows(x: Array, axis: Any) -> bool:
    return x.ndim > 0 and type(axis) is int and axis in (-1, x.ndim - 1) and x.dtype.char in "fd"


@jit
def _softmax_few(z, panel, ranks, numbers, out):
    rows, classes = z.shape
    lanes = len(ranks)
    top, panel, total, part = panel[classes], panel[:classes], numbers[0], numbers[4]
    for first in range(0, rows, lanes):
        _into(z, first, panel)
        _tops(panel, ranks, top)
        _column_exponentials(panel, top, part, total)
        for k in range(lanes):
            top[k] = 1 / total[k]
        for c in range(classes):
            for k in range(lanes):
                panel[c, k] *= top[k]
        _out_of(panel, first, out)


@jit
def _softmax_many(z, out):
    buffer = _buffer(z.shape[1], z)
    for i in range(len(z)):
        total = _exponentials(buffer, _copied(z[i], buffer))
        _scaled(buffer, 1 / total, 0.0, buffer, out[i])


def log_softmax(x: Array, *, axis: int = -1) -> Any:
    if not _along_rows(x, axis):
        return NotImplemented
    rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
    out = np.empty(rows.shape, x.dtype)
    _by_rows(_log_softmax, (rows, np.empty(0, x.dtype), out), 2.0, step=1)
    return out.reshape(x.shape)


def logsumexp(x: Array, *, axis: Any = None, keepdims: bool = False) -> Any:
    if not _along_rows(x, axis):
        return NotImplemented
    rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
    sums = np.empty(len(rows), x.dtype)
    _by_rows(_log_softmax, (rows, sums, np.empty((0, x.shape[-1]), x.dtype)), 2.0, step=1)
    return sums.reshape(*x.shape[:-1], 1) if keepdims else sums.reshape(x.shape[:-1])


@jit
def _log_softmax(z, sums, out):
    """Fill what there is room for: the log of the sum of exp of each row, or the row less that."""
    buffer = _buffer(z.shape[1], z)
    for i in range(len(z)):
        top = _copied(z[i], buffer)
        c = 0
        while c < z.shape[1] - 1 and buffer[c] != top:
            c += 1
        is_top = np.float64(exp_below(buffer[c], top))  # 1; NaN where the top is infinite or NaN
        buffer[c] = -np.inf  # so the sum is that of the others, and log1p keeps its digits
        rest = math.log1p(_exponentials(buffer, top)) * is_top
        if len(sums) > 0:
            sums[i] = np.float64(top) + rest
        if len(out) > 0:
            row = out[i]
            for c in range(len(row)):
                row[c] = (np.float64(z[i, c]) - np.float64(top)) - rest


def tanh(x: Array) -> Array:
    """NumPy's own, which is vectorised, in several threads."""
    return _one_by_one(lambda x, out: np.tanh(x, out=out), x, 0.9)


def sigmoid(x: Array) -> Array:
    return _one_by_one(_sigmoid, x, 0.8)


def softplus(x: Array) -> Array:
    return _one_by_one(_softplus, x, 1.3)


def _one_by_one(loop: Callable[..., Any], x: Array, nanoseconds: float) -> Array:
    x = np.ascontiguousarray(x)
    out = np.empty(x.shape, x.dtype)
    _by_rows(loop, (x.reshape(-1), out.reshape(-1)), nanoseconds, step=STEP)
    return out


@jit
def _sigmoid(x, out):
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for i in range(len(x)):
        e = exp_of(-abs(x[i]), zero)
        out[i] = either(x[i] < zero, e, one) / (one + e)


@jit
def _softplus(x, out):
    zero = x.dtype.type(0)
    for i in range(len(x)):
        out[i] = max(x[i], zero) + log1p_of(exp_of(-abs(x[i]), zero))


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


def sgd(p: Array, *rest: Any) -> None:
    _sgd(p, *rest) if p.size < SHORT else _update(_sgd, 2, (p, *rest))


def sgd_momentum(p: Array, *rest: Any) -> None:
    _sgd_momentum(p, *rest) if p.size < SHORT else _update(_sgd_momentum, 3, (p, *rest))


def adam(p: Array, *rest: Any) -> None:
    _adam(p, *rest) if p.size < SHORT else _update(_adam, 4, (p, *rest))


def rmsprop(p: Array, *rest: Any) -> None:
    _rmsprop(p, *rest) if p.size < SHORT else _update(_rmsprop, 3, (p, *rest))


def _update(loop: Callable[..., None], arrays: int, arguments: tuple[Any, ...]) -> None:
    """Call the loop for a long parameter, in several threads; the first so many arguments are arrays."""
    flat = tuple(array.reshape(-1) for array in arguments[:arrays])
    _by_rows(lambda *parts: loop(*parts, *arguments[arrays:]), flat, 0.4 * arrays, step=STEP)


@jit
def _sgd(p, g, lr, weight_decay):
    p, g = p.reshape(-1), g.reshape(-1)
    dtype = p.dtype.type
    lr, weight_decay = dtype(lr), dtype(weight_decay)
    for i in range(len(p)):
        p[i] -= lr * (g[i] + weight_decay * p[i])


@jit
def _sgd_momentum(p, g, velocity, lr, momentum, nesterov, weight_decay):
    p, g, velocity = p.reshape(-1), g.reshape(-1), velocity.reshape(-1)
    dtype = p.dtype.type
    lr, momentum, weight_decay = dtype(lr), dtype(momentum), dtype(weight_decay)
    for i in range(len(p)):
        slope = g[i] + weight_decay * p[i]
        velocity[i] = momentum * velocity[i] + slope
        p[i] -= lr * (slope + momentum * velocity[i] if nesterov else velocity[i])


@jit
def _adam(p, g, mean, square, rate, beta1, beta2, correction2, eps, added_decay, taken_decay):
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
def _rmsprop(p, g, square, lr, decay, eps, weight_decay):
    p, g, square = p.reshape(-1), g.reshape(-1), square.reshape(-1)
    dtype = p.dtype.type
    keep, new = dtype(decay), dtype(1 - decay)
    lr, eps, weight_decay = dtype(lr), dtype(eps), dtype(weight_decay)
    for i in range(len(p)):
        slope = g[i] + weight_decay * p[i]
        square[i] = keep * square[i] + new * (slope * slope)
        p[i] -= lr * slope / (np.sqrt(square[i]) + eps)
