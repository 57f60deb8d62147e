"""What a student's function is judged against: an assignment, a loss, or a NumPy function of the teacher's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce import assignments
from tinygrad_ce.assignments import Assignment
from tinygrad_ce.assignments.recorded import recorded
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.exercises import Exercise
from tinygrad_ce.grading.cases import Case, Inputs, cases, resized
from tinygrad_ce.graph.nodes import Graph, Node


@dataclass(frozen=True, eq=False)
class Problem:
    """The right gradients for any arguments, what is asked for, and the cases to try.

    loss: from arguments to the loss, as a Tensor; None where the solution itself is the right answer. solution: from
    arguments to what is asked for. points: by what is asked for. upstream: whether the arguments hold `dout`, the
    gradient of an output that is no loss.
    """

    name: str
    loss: Callable[[Mapping[str, Array]], Tensor] | None
    solution: Callable[..., Any] | None
    forward: Callable[..., Any] | None
    cases: tuple[Case, ...]
    points: Mapping[str, float]
    upstream: bool = False

    def exercise(self, case: Case) -> Exercise:
        """The exercise of one case; its Tensors are new, so that no answer of another student is in it."""
        assert self.loss is not None
        return Exercise(self.loss(case.arguments))


def problem_of(problem: Any, inputs: Any = None, points: Mapping[str, float] | None = None) -> Problem:
    """A problem, made of whatever was passed to `tg.grade`. TypeError for what is none, ValueError without inputs."""
    if isinstance(problem, Problem):
        return problem
    if isinstance(problem, (str, Path)):
        problem = assignments.from_file(problem) if Path(problem).suffix else assignments.ready(str(problem))
    if isinstance(problem, Assignment):
        return _of_forward(problem.name, problem.forward, problem.solution, problem.inputs, points or problem.points)
    if isinstance(problem, Tensor):
        return _of_loss(problem, points)
    if not callable(problem):
        raise TypeError(
            f"tg.grade: problem is {type(problem).__name__}; pass a loss, a NumPy function with inputs={{...}}, or an "
            "assignment (its name, or the path of its file)"
        )
    if inputs is None:
        raise ValueError("tg.grade: a function needs arguments to run on: pass inputs={'x': ..., 'W': ...}")
    make = inputs if callable(inputs) else resized(inputs, problem)
    return _of_forward(getattr(problem, "__name__", "problem"), problem, None, make, points)


def _of_forward(
    name: str,
    forward: Callable[..., Any] | None,
    solution: Callable[..., Any] | None,
    inputs: Inputs,
    points: Mapping[str, float] | None,
) -> Problem:
    if forward is None:
        kept = tuple(_with_finite(cases(inputs), lambda arguments: solution(**arguments)))
        return Problem(name, None, solution, None, kept, dict(points or {}))
    upstream = np.ndim(_output(forward(**inputs(np.random.default_rng(0))))) > 0
    if upstream:
        inputs = _with_upstream(inputs, forward)

    def loss(arguments: Mapping[str, Array]) -> Tensor:
        return recorded(_as_loss(forward) if upstream else forward, arguments)

    kept = tuple(_with_finite(cases(inputs), lambda arguments: loss(arguments).data))
    asked = {f"d_{x}": 1.0 for x, a in kept[0].arguments.items() if np.asarray(a).dtype.kind == "f" and x != "dout"}
    return Problem(name, loss, solution, forward, kept, dict(points or asked), upstream)


def _output(result: Any) -> Any:
    """The output of a forward pass that may return a cache beside it."""
    return result[0] if isinstance(result, tuple) else result


def _with_upstream(inputs: Inputs, forward: Callable[..., Any]) -> Inputs:
    """The same inputs with `dout`, a gradient of the output."""

    def with_upstream(generator: np.random.Generator, **sizes: int) -> dict[str, Array]:
        arguments = inputs(generator, **sizes)
        return {**arguments, "dout": generator.normal(size=np.shape(_output(forward(**arguments))))}

    with_upstream.__signature__ = inspect.signature(inputs)  # type: ignore[attr-defined]
    return with_upstream


def _as_loss(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A loss whose gradient at the output of the forward pass is `dout`."""

    def loss(dout: Any, **arguments: Any) -> Any:
        return (_output(forward(**arguments)) * dout.data).sum()

    return loss


def _with_finite(every: Any, value: Callable[[Mapping[str, Array]], Any]) -> Any:
    """The cases on which the problem's own forward pass runs and is finite; the example must be one of them."""
    for number, case in enumerate(every):
        try:
            with np.errstate(all="ignore"):
                found = value(case.arguments)
        except Exception:
            if number == 0:
                raise
            continue
        arrays = found.values() if isinstance(found, dict) else [found]
        if number == 0 or all(np.isfinite(array).all() for array in arrays):
            yield case


def _of_loss(loss: Tensor, points: Mapping[str, float] | None) -> Problem:
    """The problem of a loss that was computed here: its arguments are its leaves, by their names."""
    graph = Graph(loss, "tg.grade")
    leaves = {node.name: node for node in graph.nodes if node.kind != "result"}
    example = {name: np.asarray(node.value) for name, node in leaves.items()}

    def again(arguments: Mapping[str, Array]) -> Tensor:
        return _computed_again(graph, arguments)

    def inputs(generator: np.random.Generator) -> dict[str, Array]:
        return {
            name: array * generator.uniform(0.5, 1.5, array.shape) if array.dtype.kind == "f" else array
            for name, array in example.items()
        }

    every = [Case("the loss as it was computed", example), *[*cases(inputs)][1:]]
    kept = tuple(_with_finite(every, lambda arguments: again(arguments).data))
    asked = {graph.gradient_names[node]: 1.0 for node in leaves.values() if node in graph.gradient_names}
    return Problem("loss", again, None, None, kept, dict(points or asked))


def _computed_again(graph: Graph, arguments: Mapping[str, Array]) -> Tensor:
    """The loss of a graph with other numbers in its leaves; each result keeps its name."""
    fresh: dict[Node, Any] = {}
    for node in graph.nodes:
        tensor = node.tensor
        if node.kind != "result":
            array = arguments[node.name]
            asks = node.kind == "parameter"
            fresh[node] = Tensor(array, requires_grad=asks, name=node.name) if tensor is not None else array
            continue
        assert tensor is not None
        assert tensor.op is not None
        inputs = list(tensor.inputs)
        for edge in node.inputs:
            inputs[edge.position] = fresh[edge.source]
        fresh[node] = tensor.op(*inputs, **tensor.params)
        fresh[node].name = tensor.name
    loss: Tensor = fresh[graph.loss]
    return loss
