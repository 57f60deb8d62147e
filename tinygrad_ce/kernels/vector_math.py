"""exp, log1p and tanh for loops: arithmetic only, so that the compiler turns them into vector instructions."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from tinygrad_ce.kernels.jit import numba

# math.exp is a call into the C library for one number; these are 8 or 16 numbers at a time. What Python sees here is
# their meaning; what Numba compiles is the @overload below. Each dtype has constants of its own, because a float32
# loop must not meet a float64. Errors, which tests hold against mpmath: exp and log1p below 1 ulp,
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
    exp(r) is its Taylor polynomial. 2**(n + 64) is a float with nothing but exponent bits; times 2**-64 comes last,
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


def exp_any(x: Any) -> Any:
    """exp(x) for any x: exp_of is for those that are not positive."""
    return np.exp(x)


def fma(a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once, of float64: what a product or a quotient has lost to rounding.

    One instruction, and a call into the C library on processors that do not have it.
    """
    try:
        return float(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)))
    except (ValueError, OverflowError):  # of infinity and NaN there is no fraction
        return a * b + c


def plus(total: Any, x: Any) -> Any:
    """total + x, in a sum whose terms may be added in any order: the compiler keeps many partial sums."""
    return total + x


def widest() -> None:
    """Called in a loop's function, lets its vectors be as long as the processor has them.

    Otherwise LLVM prefers 256 bits on many processors that have 512: mixed with other code, those can cost clock speed.
    """


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

    def _multiply_add(context: Any, a: Any, b: Any, c: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.fma(*arguments)

        return types.float64(types.float64, types.float64, types.float64), generate

    _multiplied_and_added: Any = intrinsic(_multiply_add)

    def _select(context: Any, condition: Any, yes: Any, no: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.select(*arguments)

        return yes(types.boolean, yes, yes), generate

    _selected: Any = intrinsic(_select)

    def _prefer_512_bits(context: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            set.add(builder.function.attributes, '"prefer-vector-width"="512"')
            return context.get_dummy_value()

        return types.none(), generate

    _widest: Any = intrinsic(_prefer_512_bits)

    @overload(widest, strict=False, jit_options=INLINE)
    def _prefer_widest() -> Any:
        return lambda: _widest()

    @overload(either, strict=False, jit_options=INLINE)
    def _either(condition: Any, yes: Any, no: Any) -> Any:
        return lambda condition, yes, no: _selected(condition, yes, no)

    @overload(fma, strict=False, jit_options=INLINE)
    def _fma(a: Any, b: Any, c: Any) -> Any:
        return lambda a, b, c: _multiplied_and_added(a, b, c)

    @overload(plus, strict=False, jit_options=INLINE)
    def _plus(total: Any, x: Any) -> Any:
        return lambda total, x: _added(total, x)

    def _kinds(x: Any) -> tuple[Any, Any, int, int]:
        """The type of a float and of a whole number as long, the digits of the fraction, the bias of the exponent."""
        return (
            (np.float32, np.int32, 23, 127) if x in (types.float32, types.int32) else (np.float64, np.int64, 52, 1023)
        )

    def _ln2_in_two_parts(single: bool) -> tuple[Any, Any]:
        """The first has so few digits that n times it is exact, also without fused multiplication and addition.

        Source: W. Cody, W. Waite, "Software Manual for the Elementary Functions", 1980.
        """
        if single:
            return np.float32(0.693359375), np.float32(-2.12194440e-4)
        return np.float64(6.93147180369123816490e-01), np.float64(1.90821492927058770002e-10)

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
        real, whole, digits, bias = _kinds(x)
        single = digits == 23
        zero, one, half, log2_e = real(0), real(1), real(0.5), real(1 / math.log(2))
        ln2, ln2_rest = _ln2_in_two_parts(single)
        # The last bits of t are n, the bias of the exponent, and 64: away from the numbers below the normal range.
        shift, unshift = real(1.5 * 2**digits + bias + 64), real(2.0**-64)
        lowest = real(-104 if single else -746)  # below, exp is 0
        c3, c4, c5, c6, c7 = (real(1 / math.factorial(n)) for n in range(3, 8))
        c8, c9, c10, c11, c12, c13 = (real(1 / math.factorial(n)) for n in range(8, 14))

        def body(x, error):
            t = x * log2_e + shift
            n = t - shift
            high = x - n * ln2
            low = error - n * ln2_rest
            r = high + low
            lost = zero if single else low - (r - high)  # a quarter of a unit in the last place
            r2 = r * r
            p = (c3 * r + half) + r2 * (c5 * r + c4)
            if single:
                p = p + r2 * r2 * (c7 * r + c6)
            else:
                q = ((c7 * r + c6) + r2 * (c9 * r + c8)) + r2 * r2 * ((c11 * r + c10) + r2 * (c13 * r + c12))
                p = p + r2 * r2 * q
            p = one + (r + (r2 * p + lost))
            e = (p * _float(whole(_bits(t) << digits))) * unshift  # NaN times whatever the bits of a NaN say is NaN
            return either(x < lowest, zero, e)

        return body

    @overload(exp_any, strict=False, jit_options=INLINE)
    def _exp_any(x: Any) -> Any:
        real, _, _, _ = _kinds(x)
        zero, one = real(0), real(1)

        def body(x):
            e = exp_of(-abs(x), zero)
            return either(x > zero, one / e, e)

        return body

    @overload(log1p_of, strict=False, jit_options=INLINE)
    def _log1p(x: Any) -> Any:
        real, whole, digits, bias = _kinds(x)
        single = digits == 23
        zero, half, one, two, inf, nan = (real(v) for v in (0, 0.5, 1, 2, np.inf, np.nan))
        ln2_high, ln2_low = _ln2_in_two_parts(single)
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
