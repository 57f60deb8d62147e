"""NumPy's functions inside a traced step: what our own code makes of shapes and literals is part of the program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from agreement import answer_of
from leaves import wanted
from numpy_calls import ARRAYS, CALLS
from samples import text_of

import tinygrad_ce as tg
from tinygrad_ce.core import Tensor

A = ARRAYS["float64 (2, 3)"]
MADE_BY_OUR_CODE: dict[str, Callable[[Any], Any]] = {
    "a literal index": lambda a: a[:, [0, 2]],
    "a literal index of an axis in the middle": lambda a: a[[[0, 1], [1, 1]]],
    "a literal mask": lambda a: a[[True, False]],
    "an empty literal index": lambda a: a[:, []],
    "logaddexp": lambda a: np.logaddexp(a, 0),
    "trace": lambda a: np.trace(a),
    "trace of an offset": lambda a: np.trace(a, 1),
    "ones_like": lambda a: a * np.ones_like(a),
    "zeros_like": lambda a: np.concatenate([a, np.zeros_like(a)]),
    "full_like": lambda a: a * np.full_like(a, 2),
    "a sum by einsum": lambda a: np.einsum("ij->", a),
    "einsum of one operand": lambda a: np.einsum("ij->i", a),
    "roll along two axes": lambda a: np.roll(a, (1, 1), (0, 1)),
    "pad": lambda a: np.pad(a, ((1, 0), (0, 2)), constant_values=3),
    "pad by the edge": lambda a: np.pad(a, 1, "edge"),
    "rot90": lambda a: np.rot90(a),
    "diag": lambda a: np.diag(a[0]),
    "tril": lambda a: np.tril(a),
    "repeat": lambda a: np.repeat(a, [1, 2, 0], axis=1),
    "take": lambda a: np.take(a, [0, 2], axis=1),
    "a number in dot": lambda a: np.dot(a, 2.0),
    "a power of a matrix": lambda a: np.linalg.matrix_power(a @ a.T, 0) + a @ a.T,
    "clip": lambda a: np.clip(a, -1, 1),
    "norm": lambda a: np.linalg.norm(a, axis=1),
}


def loss_of(f: Callable[[Any], Any], a: Any) -> Any:
    """A number that depends on all that f answers."""
    return (f(a) ** 2).sum()


@pytest.mark.parametrize("name", MADE_BY_OUR_CODE)
def test_what_our_code_makes_is_a_constant_of_the_program(name: str) -> None:
    f = MADE_BY_OUR_CODE[name]
    w = wanted(A, name="w")
    expected = loss_of(f, w)
    expected.backward()
    gradient = np.array(w.grad)

    def step(x: Any) -> tuple[Any, Any]:
        loss = loss_of(f, x)
        return loss, tg.gradients(loss, x, create_graph=True)

    program = tg.trace(step, wanted(A))
    for _ in range(2):
        loss, slope = program.run(A)
        np.testing.assert_allclose(loss, expected.data, rtol=1e-14)
        np.testing.assert_allclose(slope, gradient, rtol=1e-13, atol=1e-14)
    other = A[::-1] + 0.25
    np.testing.assert_allclose(program.run(other)[0], loss_of(f, other), rtol=1e-14)


def test_an_empty_array_needs_no_numbers() -> None:
    def step(a: Any) -> Any:
        loss = np.einsum("ij->", a)
        loss.backward()
        return loss

    assert tg.trace(step, wanted(np.zeros((0, 3)))).run(np.zeros((0, 3))) == 0


def test_they_run_in_loops() -> None:
    def step(a: Any) -> Any:
        square = a[:, [0, 2]] @ np.tril(np.ones_like(a[:, :2]) * 2)
        return (np.logaddexp(square, 0) + np.trace(square) + np.diag(np.take(a, [1, 0], axis=1)[0])).sum()

    expected = step(Tensor(A))
    np.testing.assert_allclose(tg.compile(step)(A), expected.data, rtol=1e-14)


DEPENDS_ON_THE_DATA = (  # how many numbers come out, or which number
    *("np.where(a)", "np.extract", "np.unique", "np.nonzero", "a.nonzero", "np.flatnonzero", "np.argwhere"),
    *("np.searchsorted", "np.digitize"),
)


def is_refused(text: str) -> bool:
    """Whether a program cannot hold this call; arrays that stand in it are constants of the program."""
    return any(start in text for start in DEPENDS_ON_THE_DATA)


@pytest.mark.parametrize("f", CALLS, ids=text_of)
def test_programs_answer_as_the_functions_do(f: Callable[[Any], Any]) -> None:
    def answers(a: Any) -> tuple[Any, ...]:
        answer = f(a)
        return tuple(answer) if isinstance(answer, (tuple, list)) else (answer,)

    for array in (A, ARRAYS["float64 (3, 3)"], ARRAYS["float64 (2, 3, 4)"]):
        expected = answer_of(answers, wanted(array))
        if isinstance(expected, Exception) or not all(isinstance(x, Tensor) for x in expected):
            continue
        if is_refused(text_of(f) or ""):
            with pytest.raises(tg.TraceError, match="needs the numbers of a tensor"):
                tg.trace(answers, wanted(array))
        else:
            ran = tg.trace(answers, wanted(array)).run(array)
            for ours, eager in zip(ran, expected, strict=True):
                np.testing.assert_array_equal(ours, eager.data)
        return


@pytest.mark.parametrize("f", [lambda t: t.tolist(), np.allclose, lambda t: float(t[0, 0])], ids=text_of)
def test_numbers_that_leave_a_step_are_refused(f: Any) -> None:
    with pytest.raises(tg.TraceError, match="the numbers of"):
        tg.trace(lambda a: a * (f(a, a) if f is np.allclose else np.sum(f(a))), wanted(A))
