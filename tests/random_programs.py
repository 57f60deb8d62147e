"""Random programs: one is drawn for each seed, computed in every way that there is, and compared with autograd."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
from graphs import ALL, BINARY, DATA, MORE_BINARY, Graph, drawn_inputs, run_graph
from program.loops_as_python import assert_close, loops_as_python

import tinygrad_ce as tg
from tinygrad_ce.core import Tensor
from tinygrad_ce.functional import gradients
from tinygrad_ce.program import Program
from tinygrad_ce.program.run import Compiled

NOT_TWICE = ("logaddexp",)  # autograd's own second derivative of it is wrong
NO_LOOPS = ("cumsum", "mod", "prod", "sort")  # a step with one of these runs as NumPy
EXACTNESS = 1e-8  # of gradients, relative to the largest number of the array


def drawn_graph(seed: int) -> Graph:
    """Up to 12 operations on random earlier values."""
    rng = np.random.default_rng(seed)
    names = rng.choice(sorted(ALL), size=rng.integers(1, 13))
    takes_two = BINARY.keys() | MORE_BINARY.keys()
    return [(str(name), *map(int, rng.integers(0, 31, size=1 + (name in takes_two)))) for name in names]


def check_program(seed: int, by_numba: bool = False) -> None:
    """AssertionError where two ways of computing one program disagree.

    by_numba: whether the loops are also compiled by Numba, which takes a second; else they run as Python only.
    """
    graph, inputs = drawn_graph(seed), drawn_inputs(seed)
    value, slopes = autograd.value_and_grad(lambda xs: run_graph(anp, graph, xs)[0])(inputs)
    for way, answers in _answers(graph, inputs, by_numba):
        for k, (mine, theirs) in enumerate(zip(answers, [value, *slopes], strict=True)):
            try:
                assert_close(mine, theirs, EXACTNESS)
            except AssertionError as error:
                raise AssertionError(f"program {seed}, {way}, answer {k}: {graph}: {error}") from error
    if not any(name in NOT_TWICE for name, *_ in graph):
        _check_hessian_product(seed, graph, inputs)


def _answers(graph: Graph, inputs: list[np.ndarray], by_numba: bool) -> Iterator[tuple[str, list[Any]]]:
    """How it was computed, the loss and the gradients of the inputs."""
    leaves = [Tensor(x, requires_grad=True, name=f"leaf{k}") for k, x in enumerate(inputs)]
    loss, _ = run_graph(np, graph, leaves)
    loss.backward()
    yield "eager", [loss.data, *(x.grad for x in leaves)]
    found = dict(zip((graphed := Program.of_loss(loss)).outputs, _run(graphed), strict=True))
    yield "the printed graph", [found[name] for name in ("loss", *(f"d_{x.name}" for x in leaves))]

    def step(data: Any, *leaves: Any) -> Any:
        loss, _ = run_graph(np, graph, [*leaves], data=data)
        return loss, *gradients(loss, [*leaves], create_graph=True)

    program = tg.trace(step, DATA, *leaves)
    yield "traced", [*program.run(DATA, *inputs)]
    yield "printed", _run(program)
    if any(name in NO_LOOPS for name, *_ in graph):
        return
    with loops_as_python():
        yield "loops", [*Compiled(program).step(DATA, *inputs)]
    if by_numba:
        compiled = Compiled(program)
        compiled.prepare()
        yield "compiled", [*compiled.step(DATA, *inputs)]


def _run(program: Program) -> list[Any]:
    """What the text of a program gives."""
    names: dict[str, Any] = {}
    exec(program.text(exact=True), names)
    with np.errstate(all="ignore"):
        return [*names["step"](*(x.example for x in program.inputs))]


def _check_hessian_product(seed: int, graph: Graph, inputs: list[np.ndarray]) -> None:
    directions = drawn_inputs(seed + 1)

    def along(numpy: Any, slopes: Any) -> Any:
        return sum((numpy.sum(slope * way) for slope, way in zip(slopes, directions, strict=True)), start=0.0)

    slopes_of = autograd.grad(lambda xs: run_graph(anp, graph, xs)[0])
    expected = autograd.grad(lambda xs: along(anp, slopes_of(xs)))(inputs)
    leaves = [Tensor(x, requires_grad=True) for x in inputs]
    slopes = gradients(run_graph(np, graph, leaves)[0], leaves, create_graph=True)
    for k, (mine, theirs) in enumerate(zip(gradients(along(np, slopes), leaves), expected, strict=True)):
        try:
            assert_close(mine, theirs, 10 * EXACTNESS)
        except AssertionError as error:
            raise AssertionError(f"program {seed}, Hessian product {k}: {graph}: {error}") from error
