"""Each NumPy function agrees with NumPy in value, shape, dtype and kind of error, for many arrays and forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from agreement import answer_of, check_alike, check_gradients
from numpy_calls import ARRAYS, CALLS
from samples import text_of

from tinygrad_ce.core import Tensor
from tinygrad_ce.numpy_protocol import FUNCTIONS
from tinygrad_ce.numpy_protocol.registry import name_of

OTHERWISE = {  # what we refuse, or refuse as another kind of error, and why
    ("np.median", "()"): "a single number has an axis 0 here, as in np.sum, and NumPy refuses it in np.median",
    ("np.median", "(0, 3)"): "NumPy warns and answers NaN: there is no middle element",
    ('np.einsum("ii->i"', "(0, 3)"): "NumPy answers with memory that nobody has written to",
    ("np.linalg.matmul", "()"): "a TypeError that says to write a * b",
    ("np.matmul", "()"): "a TypeError that says to write a * b",
    ("a.dot", "()"): "numbers of NumPy have no method dot",
}


@pytest.mark.parametrize("f", CALLS, ids=text_of)
def test_functions_agree_with_numpy(f: Callable[[Any], Any]) -> None:
    problems = []
    text = text_of(f) or ""
    for name, array in ARRAYS.items():
        if any(start in text and name.endswith(shape) for start, shape in OTHERWISE):
            continue
        expected = answer_of(f, array)
        for asks in (False, True) if array.dtype.kind == "f" else (False,):
            try:
                check_alike(answer_of(f, Tensor(array, requires_grad=asks)), expected)
            except Exception as error:
                problems.append(f"{name}: {error} (NumPy: {expected!r})")
    assert not problems, "\n".join(problems)


SMOOTH = [array for name, array in ARRAYS.items() if name.startswith("float64") and array.size > 1]


COARSE = ("round(2)", "np.float32)")  # for numerical slopes: steps too small, numbers too coarse


@pytest.mark.parametrize("f", [f for f in CALLS if not (text_of(f) or "").endswith(COARSE)], ids=text_of)
def test_gradients_are_the_slopes_of_numpys_functions(f: Callable[[Any], Any]) -> None:
    for array in SMOOTH:
        answer = answer_of(f, Tensor(array, requires_grad=True))
        answers = answer if isinstance(answer, (tuple, list)) else [answer]
        for k, each in enumerate(answers):
            if isinstance(each, Tensor) and each.requires_grad:
                check_gradients(f if each is answer else lambda x, k=k: f(x)[k], (array,))


def test_every_function_has_calls() -> None:
    texts = "".join(text_of(f) or "" for f in CALLS)
    names = {name_of(function) for function in FUNCTIONS}
    assert sorted(name for name in names if f"{name}(" not in texts) == [], "a function and its calls come together"
