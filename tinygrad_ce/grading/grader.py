"""`tg.grade`: which gradients of a student's function are right, and which mistakes are in the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tinygrad_ce.core import Array
from tinygrad_ce.grading.calls import called
from tinygrad_ce.grading.forms import gradients_of
from tinygrad_ce.grading.grades import Evidence, Grade, Points
from tinygrad_ce.grading.judging import judged
from tinygrad_ce.grading.problems import problem_of
from tinygrad_ce.grading.sandbox import MEGABYTES, SECONDS, call

__all__ = ["Evidence", "Grade", "grade"]


def grade(
    function: Any,
    problem: Any,
    inputs: Mapping[str, Array] | Callable[..., dict[str, Array]] | None = None,
    *,
    points: Points | None = None,
    seconds: float = SECONDS,
    megabytes: float = MEGABYTES,
) -> Grade:
    """Judge a backward pass that a student wrote, on inputs on which mistakes show, in a process of its own.

    function: `gradients(x, W, ...)` that returns a dict `{"d_W": ...}` (or a tuple, in the order of points);
    `backward(dout, cache)`, alone or as the pair `(forward, backward)`; `gradient(out_grad, node)`; a
    `torch.autograd.Function`; or a class of single numbers with operators and `.backward()`.

    problem: an assignment, its name or the path of its file; a loss; or a NumPy function with `inputs`, a dict of
    arrays or a function `inputs(generator, n=4)` that returns one. If it returns no single number, the student's
    function gets `dout`, the gradient of its result, too. Its own gradients are the engine's, in float64.

    points: by gradient, what it counts; those of the assignment, or 1 for each floating point argument. seconds,
    megabytes: what the function may take for all inputs together. What it does not return scores 0; what is right
    for wrong gradients of its own counts whole.

    Raises TypeError for a function or a problem of no such kind, ValueError for inputs or points that do not fit.

    >>> def loss(x, w): return ((x @ w) ** 2).mean()
    >>> def gradients(x, w): return {"d_w": 2 * x.T @ (x @ w), "d_x": 2 * np.outer(x @ w, w) / len(x)}
    >>> grade(gradients, loss, {"x": np.ones((4, 3)), "w": np.ones(3)}).summary
    '1 of 2 points'
    """
    asked = problem_of(problem, inputs, points)
    student = gradients_of(function, asked.forward)
    return judged(asked, lambda cases: call(lambda case: called(student, case), cases, seconds, megabytes))
