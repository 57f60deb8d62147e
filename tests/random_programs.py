"""Random programs: one is drawn for each seed, computed in every way that there is, and compared with autograd.

Each is computed once for its gradients (`check_program`), and trained for some steps in every form (`check_forms`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from graphs import ALL, BINARY, DATA, MORE_BINARY, Graph, drawn_inputs, run_graph
from program.in_node import NODE, job, run_in_node
from program.loops_as_python import (
    Training,
    assert_close,
    eager,
    in_loops,
    loops_as_python,
    printed,
    recorded,
    textbook,
)
from program.test_sharing import assert_threads_agree, share_small_steps

import tinygrad_ce as tg
from tinygrad_ce.core import Tensor
from tinygrad_ce.functional import gradients
from tinygrad_ce.nn import Sequential
from tinygrad_ce.optim import SGD
from tinygrad_ce.program import CannotLower, Program
from tinygrad_ce.program.run import Compiled
from tinygrad_ce.variable import write

NOT_TWICE = ("logaddexp",)  # autograd's own second derivative of it is wrong
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


# ---- trainings of random programs, in every form

STEPS = 3
ROWS = len(DATA)


class RandomTraining(Training):
    """Steps on the graph of a seed; its inputs are the parameters."""

    def __init__(self, seed: int) -> None:
        self.graph, self.model = drawn_graph(seed), Sequential()
        self.leaves = [Tensor(x, requires_grad=True, name=f"leaf{k}") for k, x in enumerate(drawn_inputs(seed))]
        rng = np.random.default_rng(seed)
        self.batches = [(DATA + 0.3 * rng.normal(size=DATA.shape),) for _ in range(STEPS)]
        self.optimizer = SGD(self.leaves, lr=0.01, momentum=0.9)

    def step(self, data: Any) -> Any:
        self.optimizer.zero_grad()
        loss, values = run_graph(np, self.graph, self.leaves, data=data)
        loss.backward()
        last = values[-1] * 1.0  # before the update: eagerly it may be a view of a parameter
        self.optimizer.step()
        return loss, last

    def learnt(self) -> dict[str, Any]:
        return {x.name: x.data for x in self.leaves} | super().learnt()


Way = Callable[[Any, int], Sequence[Any]]
FORMS: dict[str, Way] = {"recorded": recorded, "textbook": textbook, "exact": printed, "loops": in_loops}


def check_forms(seed: int, also: dict[str, Way] | None = None) -> Counter[str]:
    """How many forms of a random training are the same as eager steps, and how many are refused.

    also: more forms than the cheap ones, of what has loops. AssertionError where two differ; one, two and three
    threads are compared bit for bit.
    """
    theirs, found = RandomTraining(seed), Counter[str]()
    expected = eager(theirs, STEPS)
    for form, way in {**FORMS, **(also or {})}.items():
        if form not in FORMS and found["loops: refused"]:
            found[f"{form}: refused"] += 1
            continue
        ours = RandomTraining(seed)
        try:
            answers = way(ours, STEPS)
        except CannotLower:
            found[f"{form}: refused"] += 1
            continue
        _assert_same(f"program {seed}, {form}", ours, answers, theirs, expected)
        found[f"{form}: agree"] += 1
    try:
        with pytest.MonkeyPatch.context() as patch:
            share_small_steps(patch)
            assert_threads_agree(lambda: RandomTraining(seed), STEPS, patch)
        found["threads: agree"] += 1
    except CannotLower:
        found["threads: refused"] += 1
    except AssertionError as error:
        raise AssertionError(f"program {seed}, threads: {theirs.graph}: {error}") from error
    return found


def check_in_node(seeds: Sequence[int], folder: Path) -> tuple[Counter[str], list[str]]:
    """The same for JavaScript, in one process of Node; and what differs, in words."""
    if NODE is None:
        return Counter(), []
    found, jobs, differences = Counter[str](), {}, []
    for seed in seeds:
        ours = RandomTraining(seed)
        program = ours.program()
        try:
            jobs[seed] = ours, program, job(program, ours.batches)
        except CannotLower:
            found["javascript: refused"] += 1
    answers = run_in_node([each for *_, each in jobs.values()], folder)
    for (seed, (ours, program, _)), answer in zip(jobs.items(), answers, strict=True):
        theirs = RandomTraining(seed)
        expected = eager(theirs, STEPS)
        try:
            assert "error" not in answer, f"program {seed}, javascript: {theirs.graph}: {answer['error']}"
            shapes = [[x.shape for x in program.outputs.values()]] * STEPS
            given = [
                [array.reshape(shape) for array, shape in zip(arrays.values(), each, strict=True)]
                for arrays, each in zip(answer["outputs"], shapes, strict=True)
            ]
            for x in program.updates:
                write(x.variable, answer["state"][x.name].reshape(x.shape))
            _assert_same(f"program {seed}, javascript", ours, given, theirs, expected)
            found["javascript: agree"] += 1
        except AssertionError as error:
            differences.append(str(error))
    return found, differences


def _assert_same(where: str, ours: Any, answers: Sequence[Any], theirs: Any, expected: Sequence[Any]) -> None:
    try:
        for mine, wanted in zip(answers, expected, strict=True):
            for got, array in zip(mine, wanted, strict=True):
                assert_close(got, array, EXACTNESS)
        learnt = ours.learnt()
        for name, array in theirs.learnt().items():
            assert_close(learnt[name], array, EXACTNESS)
    except AssertionError as error:
        raise AssertionError(f"{where}: {theirs.graph}: {error}") from error
