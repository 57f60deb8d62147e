"""An answer as it was handed in, what is said of it, and the words for answers that no usual mistake explains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.report.words import format_number

EPSILON32 = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Verdict:
    """What is to be said about one gradient.

    name: as in `exercise.names`. mistake: a short stable key ("mean", "sign", "transpose", "missing share"...), None if
    it is right. message: in words. follows: the wrong gradients of yours that this one is right for.
    """

    name: str
    right: bool
    mistake: str | None
    message: str
    follows: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}  {self.in_words}"

    @property
    def in_words(self) -> str:
        return self.message if self.mistake is None else f"wrong ({self.mistake}): {self.message}"


@dataclass(frozen=True)
class Answer:
    """An array that somebody has computed, in float64, and the rounding error of the dtype that it came in."""

    array: Array
    epsilon: float

    @classmethod
    def read(cls, name: str, value: Any) -> Answer:
        """What was handed in as an array. Raises TypeError if it is none."""
        if value is None:
            raise TypeError(f"{name} is None: does the function that computes it return it?")
        try:
            array = np.asarray(value.data if isinstance(value, Tensor) else value)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name} cannot be read as an array of numbers: {error}") from None
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{name} must be real numbers, and these have dtype {array.dtype}")
        answer = array.astype(np.float64)
        in_16_bits = _in_bits(answer, 16)  # as round numbers are in any dtype
        in_float32 = _in_bits(answer, 24).all() and 2 * in_16_bits.sum() < in_16_bits.size
        return cls(answer, max(epsilon(array), EPSILON32) if in_float32 else epsilon(array))


def epsilon(array: Array) -> float:
    """The rounding error of a dtype; 0 of whole numbers."""
    return float(np.finfo(array.dtype).eps) if array.dtype.kind == "f" else 0.0


def of_one_dtype(answers: Mapping[str, Answer]) -> dict[str, Answer]:
    """What was handed in together: beside a float32 array, a list that may have been float32 is taken for it too.

    On its own it does not tell, if it is [1, 0] but for rounding, or what is left where terms cancel.
    """
    largest = min(max((answer.epsilon for answer in answers.values()), default=0.0), EPSILON32)
    single = {name: x for name, x in answers.items() if x.epsilon < largest and _in_bits(x.array, 24).all()}
    return {**answers, **{name: replace(x, epsilon=largest) for name, x in single.items()}}


def _in_bits(array: Array, bits: int) -> Array:
    """Which of the numbers that are not 0 have a mantissa of so many bits; float32 has 24."""
    mantissas = np.frexp(array[np.isfinite(array) & (array != 0)])[0]
    return np.asarray(np.mod(mantissas * 2**bits, 1) == 0)


def reshaped(array: Array, shape: tuple[int, ...]) -> Iterator[tuple[str, Array, str]]:
    """An answer brought into the shape of the gradient, each with the mistake that was mended, and how."""
    if array.size == np.prod(shape) and [n for n in array.shape if n != 1] == [n for n in shape if n != 1]:
        how = f"reshape it to {shape}, or drop or keep a dimension of size 1 with keepdims"
        yield "shape", array.reshape(shape), how
        return
    extra = array.ndim - len(shape)
    if extra >= 0 and array.size:
        axes = tuple(i for i, n in enumerate(array.shape) if i < extra or (shape[i - extra] == 1 and n > 1))
        summed = array.sum(axis=axes, keepdims=True)
        if summed.size == np.prod(shape):
            yield "not summed", summed.reshape(shape), f"sum it over axis {axes[0] if len(axes) == 1 else axes}"
    try:
        spread = np.broadcast_to(array, shape)
    except ValueError:
        return
    yield "shape", spread, f"repeat it for every place with np.broadcast_to(..., {shape})"


def counted(bad: Array) -> str:
    """How many numbers are bad, in words."""
    return f"{int(bad.sum())} of {bad.size} number{'s' if bad.size != 1 else ''}"


def at_a_place(index: Any) -> str:
    """Where a number stands, in words."""
    return f"at [{', '.join(str(int(i)) for i in index)}]" if len(index) else "as it is a single number"


def in_one_line(bad: Array) -> str:
    """If all wrong numbers lie in one row or column: which."""
    for axis, name in ((0, "row"), (1, "column")):
        if bad.ndim == 2 and bad.shape[axis] > 1:
            lines = np.flatnonzero(bad.any(axis=1 - axis))
            if len(lines) == 1:
                return f"; all outside of {name} {lines[0]} is right"
    return ""


# ---- numbers


def tells_enough(array: Array) -> bool:
    """Whether there are several different numbers: one alone is easily hit by chance."""
    return bool(array.size > 1 and np.ptp(array) > 1e-3 * np.abs(array).max())


def ratio(array: Array, right: Array) -> float:
    """By which factor what is right comes nearest to an array."""
    size = float(np.abs(right).max())
    scaled = right / size
    return float(np.sum(array * scaled) / np.sum(scaled * scaled)) / size


def fraction(factor: float) -> str:
    """A factor as one reads it: 7/8 of, or 1.5 times."""
    near = Fraction(factor).limit_denominator(100)
    if np.isclose(factor, float(near), 1e-6) and not np.isclose(factor, round(factor, 2), 1e-6):
        return f"{near.numerator}/{near.denominator} of"
    return f"{format_number(factor, 6)} times"


# ---- words


def transposed(shape: tuple[int, ...], right: tuple[int, ...]) -> str:
    """The words for numbers that are right, but turned."""
    if shape == right:
        return "the right numbers, transposed: write .T, or exchange the two sides of the product"
    return f"the right numbers, but transposed: shape {shape} instead of {right}; write .T, or exchange the sides"


def not_finite(array: Array) -> str:
    """The words for NaN and infinity."""
    bad = ~np.isfinite(array)
    if not bad.any():
        return "the right gradient itself is not finite here: tg.why_nan(loss) says where that begins"
    index = np.argwhere(bad)[0]
    what = "NaN" if np.isnan(array[tuple(index)]) else "infinite"
    words = f"{counted(bad)} {'is' if bad.sum() == 1 else 'are'} NaN or infinite, the first {at_a_place(index)}"
    return f"{words}: it is {what}. Look for a division by 0, a log of 0 or an exp that overflows"


def unexplained(array: Array, truth: Array, allowed: Array, is_zero: bool) -> tuple[str, str]:
    """The mistake and the words for numbers that no usual mistake gives."""
    off = np.abs(array - truth)
    bad = off > allowed
    index = np.unravel_index(int(np.where(bad, off, -1).argmax()), off.shape)  # not where more is allowed
    where = f"most {at_a_place(index)}, where yours is {format_number(array[index])}"
    if is_zero:
        return "unknown", f"wrong in {counted(bad)}, {where}: too large"
    share = float(off[index]) / float(np.abs(truth).max())
    size, line = format_number(share, 2), in_one_line(bad)
    if share < 1e-2:
        words = f"nearly right: off by {size} of the largest number at most, in {counted(bad)}, {where}{line}"
        return "nearly", f"{words}. Was a number rounded on the way, or is an eps another one?"
    words = f"wrong in {counted(bad)}, {where}; the error there is {size} times the largest right number{line}"
    return "unknown", f"{words}. It is none of the usual mistakes"
