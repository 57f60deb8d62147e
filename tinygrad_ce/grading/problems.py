"""What a student's function is judged against: an assignment, a loss, or a NumPy function of the teacher's."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce.assignments import Assignment, assignment_of
from tinygrad_ce.assignments.reading import check_points
from tinygrad_ce.assignments.recorded import recorded
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.data.checks import quoted
from tinygrad_ce.exercises.backward_program import of_graph, of_source
from tinygrad_ce.exercises.examiner import Examiner
from tinygrad_ce.grading.cases import Case, Cases, Inputs, changed, resized
from tinygrad_ce.grading.grades import Points
from tinygrad_ce.graph.nodes import Graph, Node
from tinygrad_ce.graph.rules import shown
from tinygrad_ce.source_lines import cell_of

Loss = Callable[[Mapping[str, Array]], Tensor]
NEARBY = 1e-6  # how far numbers are moved to see whether a derivative jumps
LONGEST = 80  # characters of a line that is shown whole
JUMP = 1e-3  # by which share of the largest number it must change there


@dataclass(frozen=True, eq=False)
class Problem:
    """What is asked for, the cases to try, and what is right for any arguments. Nobody's answers are kept in it.

    points: by what is asked for. loss: from arguments to the loss, with a history; None where the right values are
    those of `solution`. forward: in NumPy, for forms that need one. inputs: where arguments of other sizes come from.
    """

    name: str
    points: Points
    cases: tuple[Case, ...]
    loss: Loss | None = None
    solution: Callable[..., dict[str, Array]] | None = None
    forward: Callable[..., Any] | None = None
    inputs: Cases | None = None
    _examiners: dict[Case, Examiner] = field(default_factory=dict)
    _nearby: dict[Case, list[dict[str, Array]]] = field(default_factory=dict)

    def right(self, arguments: Mapping[str, Array]) -> dict[str, Array]:
        """What is right for these arguments, by name. Raises whatever the forward pass raises."""
        with np.errstate(all="ignore"):
            if self.loss is None:
                assert self.solution is not None
                return {name: np.asarray(value) for name, value in self.solution(**arguments).items()}
            graph = Graph(self.loss(arguments), "tg.grade")
            return {name: np.asarray(node.gradient) for node, name in graph.gradient_names.items()}

    def examiner(self, case: Case) -> Examiner:
        """Who judges the answers for a case; found once, however many students there are."""
        if case not in self._examiners:
            arguments = case.exact
            if self.loss is not None:
                said = written if self.forward is not None else None
                program = of_graph(Graph(self.loss(arguments), "tg.grade", arguments), said)
            else:
                assert self.solution is not None
                program = of_source(self.solution, arguments)
            self._examiners[case] = Examiner(program)
        return self._examiners[case]

    def nearby(self, case: Case, name: str) -> Array:
        """The right value, and those very near, one after the other: at a kink, as that of relu, they differ."""
        if case not in self._nearby:
            draws = (np.random.default_rng(seed).uniform for seed in range(4))
            moved = (changed(case.exact, lambda x, d=draw: x + NEARBY * d(-1, 1, x.shape)) for draw in draws)  # type: ignore[misc]
            self._nearby[case] = [self.right(arguments) for arguments in (case.exact, *moved)]
        return np.stack([right[name] for right in self._nearby[case]])


def written(node: Node) -> str:
    """The line of the forward pass that computes a node, as its author wrote it: names of ours stand in no file.

    Where that line is no plain assignment, or long, it is the operation alone.
    """
    text, place = shown(node), node.place
    if place is None:
        return text
    words = f"line {place.number} of {Path(place.file).name}" if cell_of(place.file) is None else place.short
    words = f"in {Path(place.file).name}" if place.file.endswith(".ipynb") else words  # cells have lines of their own
    line = place.text.partition("  #")[0].rstrip()
    try:
        (statement,) = ast.parse(line).body
    except (SyntaxError, ValueError):
        return text.replace(place.short, words)
    plain = isinstance(statement, (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return)) and len(line) <= LONGEST
    if not plain or any(isinstance(part, ast.Lambda) for part in ast.walk(statement)):
        return text.replace(place.short, words)
    return f"{line} ({words})"


def jumps(nearby: Array) -> Array:
    """Where numbers differ among arrays by more than a smooth function changes nearby.

    A jump is seen by the largest number or, where a number is small, by its own size.
    """
    size = np.abs(nearby)
    seen = np.minimum(JUMP * size.max(initial=0), 0.1 * size.max(axis=0))
    changes: Array = np.ptp(nearby, axis=0) > np.maximum(seen, 10 * NEARBY)
    return changes


def problem_of(problem: Any, inputs: Any = None, points: Points | None = None) -> Problem:
    """A problem, of whatever `tg.grade` may be passed.

    Raises TypeError for what is none, ValueError where inputs are missing or superfluous, or points are for what
    nothing is known of.
    """
    if isinstance(problem, Problem):
        if inputs is not None or points is not None:
            raise ValueError("tg.grade: a Problem has its own inputs and points: leave both out")
        return problem
    if isinstance(problem, (str, Path)):
        problem = assignment_of(problem)
    if isinstance(problem, Assignment):
        taken = problem.inputs if inputs is None else _inputs(inputs)
        found = _of_functions(problem.name, problem.forward, problem.solution, taken, points or problem.points)
    elif isinstance(problem, Tensor):
        if inputs is not None:
            raise ValueError("tg.grade: a loss has its own numbers: leave inputs out, or pass a NumPy function")
        found = _of_loss(problem, points)
    elif callable(problem):
        if inputs is None:
            raise ValueError("tg.grade: a function needs arguments to run on: pass inputs={'x': ..., 'W': ...}")
        found = _of_functions(getattr(problem, "__name__", "problem"), problem, None, _inputs(inputs), points)
    else:
        raise TypeError(
            f"tg.grade: problem is {type(problem).__name__}; pass a loss, a NumPy function with inputs={{...}}, "
            "or an assignment (its name, or the path of its file)"
        )
    return found


def _inputs(inputs: Any) -> Inputs:
    """A function of inputs. TypeError for what is none."""
    if isinstance(inputs, Mapping):
        return resized(inputs)
    if not callable(inputs):
        raise TypeError(
            f"tg.grade: inputs is {type(inputs).__name__}; pass a dict of arrays, or a function "
            "inputs(generator, n=4) that returns one"
        )
    made: Inputs = inputs
    return made


def _of_functions(
    name: str,
    forward: Callable[..., Any] | None,
    solution: Callable[..., Any] | None,
    inputs: Inputs,
    points: Points | None,
) -> Problem:
    """The problem of a forward pass or, where there is none or it does not name what is asked for, of a solution."""
    if forward is not None:
        example = inputs(np.random.default_rng(0))
        returned = _output(forward(**changed(example, np.copy)))
        passed, loss = (_with_upstream(inputs, forward), _with_output) if np.ndim(returned) else (inputs, _alone)
        every = Cases(passed)
        asked = {f"d_{x}": 1.0 for x, array in example.items() if np.asarray(array).dtype.kind == "f"}
        found = Problem(name, points or asked, (), loss(forward), None, forward, every)
        known = found.right(Case("", every.drawn(0)).exact)
        if solution is None or {*found.points} <= {*known}:
            return _checked(found, every, known)
    if solution is None:
        raise ValueError(f"{name}: there is neither forward nor gradients, so that nothing is known to be right")
    found = Problem(name, points or {}, (), None, solution, forward, Cases(inputs))
    assert found.inputs is not None
    known = found.right(Case("", found.inputs.drawn(0)).exact)
    return _checked(found if points else replace(found, points=dict.fromkeys(known, 1.0)), found.inputs, known)


def _output(result: Any) -> Any:
    """The output of a forward pass, which may return a cache beside it."""
    return result[0] if isinstance(result, tuple) else result


def _alone(forward: Callable[..., Any]) -> Loss:
    """A forward pass whose output is the loss."""
    return lambda arguments: recorded(forward, arguments)


def _with_output(forward: Callable[..., Any]) -> Loss:
    """A loss whose gradient at the output of a forward pass is `dout`."""

    def loss(arguments: Mapping[str, Array]) -> Tensor:
        inside = {name: array for name, array in arguments.items() if name != "dout"}
        out = recorded(forward, inside)
        product = out.named(out.name or "out") * Tensor(arguments["dout"], name="dout")
        total: Tensor = product.sum()
        product.note = total.note = None  # no line of anybody's
        return total

    return loss


def _with_upstream(inputs: Inputs, forward: Callable[..., Any]) -> Inputs:
    """The same inputs, and before them `dout`, a gradient of the output."""

    def with_upstream(generator: np.random.Generator, **sizes: int) -> dict[str, Array]:
        arguments = inputs(generator, **sizes)
        shape = np.shape(_output(forward(**changed(arguments, np.copy))))
        return {"dout": generator.normal(size=shape), **arguments}

    with_upstream.__signature__ = inspect.signature(inputs)  # type: ignore[attr-defined]
    return with_upstream


def _of_loss(loss: Tensor, points: Points | None) -> Problem:
    """The problem of a loss that was computed here: its arguments are its leaves, by their names in its program."""
    graph = Graph(loss, "tg.grade")
    leaves = {node.name: node for node in graph.nodes if node.kind != "result"}
    example = {name: np.array(node.value) for name, node in leaves.items()}
    asked = {graph.gradient_names[node]: 1.0 for node in leaves.values() if node in graph.gradient_names}

    def inputs(generator: np.random.Generator) -> dict[str, Array]:
        move = {name: generator.uniform(0.5, 1.5, array.shape) for name, array in example.items()}
        return {name: array * move[name] if (array < 0).any() else array for name, array in example.items()}

    found = Problem("the loss", points or asked, (), lambda arguments: _computed_again(graph, arguments))
    return _checked(found, [lambda: Case("the example", example), *[*Cases(inputs)][1:]], found.right(example))


def _computed_again(graph: Graph, arguments: Mapping[str, Array]) -> Tensor:
    """The loss of a graph with other numbers in its leaves; each result keeps its name."""
    fresh: dict[Node, Any] = {}
    for node in graph.nodes:
        tensor = node.tensor
        if node.kind != "result":
            asks = node.kind == "parameter"
            fresh[node] = arguments[node.name] if tensor is None else Tensor(arguments[node.name], requires_grad=asks)
        else:
            assert tensor is not None
            assert tensor.op is not None
            inputs = list(tensor.inputs)
            for edge in node.inputs:
                inputs[edge.position] = fresh[edge.source]
            fresh[node] = tensor.op(*inputs, **tensor.params)
        if tensor is not None:
            fresh[node].name = node.name
    loss: Tensor = fresh[graph.loss]
    return loss


def _checked(problem: Problem, every: Any, known: Mapping[str, Array]) -> Problem:
    """The problem with those cases on which it can be computed; the example must be one of them."""
    unknown = [name for name in problem.points if name not in known]
    if unknown:
        asked, names = quoted(unknown), quoted([*known])
        raise ValueError(f"{problem.name}: nothing is known of {asked}, which points are for; what is: {names}")
    if not problem.points:
        raise ValueError(f"{problem.name}: nothing is asked for: pass points={{'d_W': 1}}")
    check_points(problem.name, problem.points)
    cases: list[Case] = []
    for number, make in enumerate(every):
        try:
            case = make()
            if case.words in {other.words for other in cases}:
                continue
            right = problem.right(case.exact)
            if all(np.isfinite(right[name]).all() for name in problem.points) or number == 0:
                cases.append(case)
        except Exception:
            if number == 0:
                raise
    return replace(problem, cases=tuple(cases))
