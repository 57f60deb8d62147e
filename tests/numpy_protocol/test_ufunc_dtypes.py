"""Each ufunc agrees with NumPy in value, dtype and kind of error, for all pairs of dtypes and kinds of numbers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from agreement import answer_of, check_alike

from tinygrad_ce.core import Tensor
from tinygrad_ce.numpy_protocol import UFUNCS

VALUES = {
    "float64": np.array([0.7, -1.25, 2.0, 0.0, 3.5, -4.0]),
    "float32": np.array([0.7, -1.25, 2.0, 0.0, 3.5, -4.0], np.float32),
    "int64": np.array([3, -1, 2, 0, 1, 7]),
    "int32": np.array([3, -1, 2, 0, 1, 7], np.int32),
    "uint8": np.array([3, 1, 2, 0, 250, 7], np.uint8),
    "bool": np.array([True, False, True, True, False, False]),
    "big-endian": np.array([0.7, -1.25, 2.0, 0.0, 3.5, -4.0], ">f8"),
}
NUMBERS = [2, 2.5, True, -1, np.float32(2.5), np.float64(2.5), np.int64(2), np.uint8(3), np.array(1.5), np.array(2)]
MATRICES = ("matmul", "vecdot", "matvec", "vecmat")
UNARY = [ufunc for ufunc in UFUNCS if ufunc.nin == 1]
BINARY = [ufunc for ufunc in UFUNCS if ufunc.nin == 2 and ufunc.__name__ not in MATRICES]
# NumPy computes these of small integers in float16: exp(12) would be inf. Here integers of any width are numbers.
SMALL, IN_FLOAT64 = ("uint8", "bool"), ("exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh")
OTHERWISE = {
    ("bitwise", "fiu"): "& | ^ ~ combine masks, and integers are refused",
    ("invert", "fiu"): "the same",
    ("reciprocal", "iub"): "NumPy's answer is 0 for all but 1 and -1, and it is refused with what to write",
}


def refused(ufunc: Any, *inputs: Any) -> bool:
    """Whether the table says that we refuse what NumPy takes."""
    kinds = {np.asarray(x).dtype.kind for x in inputs}
    return any(ufunc.__name__.startswith(start) and kinds & {*refused} for start, refused in OTHERWISE)


@pytest.mark.parametrize("ufunc", UNARY, ids=lambda ufunc: ufunc.__name__)
@pytest.mark.parametrize("name", VALUES)
def test_functions_of_one_array(ufunc: Any, name: str) -> None:
    array = VALUES[name]
    if refused(ufunc, array):
        assert isinstance(answer_of(ufunc, Tensor(array)), TypeError)
        return
    plain = array.astype(float) if name in SMALL and ufunc.__name__ in IN_FLOAT64 else array
    check_alike(answer_of(ufunc, Tensor(array)), answer_of(ufunc, plain))
    check_alike(answer_of(ufunc, Tensor(array[2])), answer_of(ufunc, plain[2]))


@pytest.mark.parametrize("ufunc", BINARY, ids=lambda ufunc: ufunc.__name__)
def test_functions_of_two_arrays(ufunc: Any) -> None:
    for (a_name, a), (b_name, b) in itertools.product(VALUES.items(), VALUES.items()):
        a, b = a[:, None], b[None, ::-1]
        if refused(ufunc, a, b):
            continue
        expected = answer_of(lambda x, b=b: ufunc(x, b), a)
        for left, right in ((Tensor(a), Tensor(b)), (Tensor(a), b), (a, Tensor(b))):
            try:
                check_alike(answer_of(lambda x, right=right: ufunc(x, right), left), expected)
            except Exception as error:
                raise AssertionError(f"{ufunc.__name__} of {a_name} and {b_name}") from error


@pytest.mark.parametrize("ufunc", BINARY, ids=lambda ufunc: ufunc.__name__)
def test_functions_of_an_array_and_a_number(ufunc: Any) -> None:
    for (name, a), number in itertools.product(VALUES.items(), NUMBERS):
        if refused(ufunc, a, number) or (ufunc is np.fmod and (name == "uint8" or number is True)):
            continue  # of -1, NumPy says that it overflows; of True, it takes int8 and we take int64
        for f in (lambda x, n=number: ufunc(x, n), lambda x, n=number: ufunc(n, x)):
            try:
                check_alike(answer_of(f, Tensor(a)), answer_of(f, a))
            except Exception as error:
                raise AssertionError(f"{ufunc.__name__} of {name} and {number!r}") from error
