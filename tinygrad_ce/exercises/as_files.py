"""An exercise of a loss as files for a class: points, what hints cost, a lock, and the text that a teacher gets."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce.assignments import Assignment, from_source
from tinygrad_ce.assignments.locking import seal, unseal
from tinygrad_ce.assignments.statements import Statements, docstring
from tinygrad_ce.core import Array
from tinygrad_ce.data.checks import amount_of, closest, shown
from tinygrad_ce.exercises.hints import STRONGEST, hint
from tinygrad_ce.graph.nodes import Graph, Node
from tinygrad_ce.program.ir import Function
from tinygrad_ce.program.numpy_text import as_numpy
from tinygrad_ce.program.passes import simplified

MOST_NUMBERS = 2000  # that are written into a file as literals
DIGITS = re.compile(r"^ *# .*: exact=True does not\n|(?<=\))  [^#\n]*: exact=True does not$", re.MULTILINE)
NOT_FINITE = re.compile(r"inf|nan")
PLACE = re.compile(r" \((?:(\w+), )?[^()\s]+:\d+\)")  # in a hint: (Dense, train.py:6)


class AsFiles:
    """What an Exercise can do for a class: points, a lock, and files. The exercise brings the graph and its names."""

    _graph: Graph
    _names: Mapping[Node, str]
    _nodes: Mapping[str, Node]
    _hints: Mapping[Node, int]
    _points: dict[str, float] | None = None
    _lock: str | None = None
    hint_cost: float = 0.1

    def status(self, name: str) -> str:
        """Defined by the exercise: "right", or what else was said of a gradient."""
        raise NotImplementedError

    # ---- points

    @property
    def points(self) -> dict[str, float]:
        """What each gradient counts, by name, in the order of the backward pass: 1 for each parameter's, if not set.

        Setting it raises ValueError for a name that there isn't and TypeError or ValueError for what is no number of at
        least 0.

        >>> w = Tensor([2.0, 3.0], requires_grad=True, name="w")
        >>> exercise((w * w).sum()).points
        {'d_w': 1}
        """
        parameters = {name: 1 for name, node in self._nodes.items() if node.kind == "parameter"}
        return dict(parameters if self._points is None else self._points)

    @points.setter
    def points(self, points: Mapping[str, float]) -> None:
        for name, value in points.items():
            if name not in self._nodes:
                there = f"the names are {', '.join(self._nodes)}"
                raise ValueError(
                    f"points: there is no gradient {shown(name)};{closest(str(name), self._nodes)} {there}"
                )
            amount_of("points", name, value)
        if not points:
            raise ValueError(f"points: nothing is asked for: write points={{{next(iter(self._nodes))!r}: 1}}")
        self._points = {name: points[name] for name in self._nodes if name in points}

    @property
    def score(self) -> float:
        """The points of the gradients that are right so far, without what their hints have cost.

        Each hint takes `hint_cost` (0.1) of the points of its gradient, also if it becomes right only afterwards.

        >>> w = Tensor([2.0, 3.0], requires_grad=True, name="w")
        >>> problem = exercise((w * w).sum()); report = problem.check(d_w=[4, 6]); problem.score
        1.0
        """
        right = {name: points for name, points in self.points.items() if self.status(name) == "right"}
        taken = {name: self._hints.get(self._nodes[name], 0) for name in right}
        return sum((max(0.0, 1 - taken[name] * self.hint_cost) * points for name, points in right.items()), 0.0)

    # ---- the lock

    def lock(self, password: str) -> None:
        """Lock `solution()` and the teacher's files: from now on they want this password (the extra `classroom`).

        It keeps a student from looking by accident: whoever has the loss can ask the engine for its gradients. Raises
        ValueError for an empty password, and where a lock is there already.

        >>> w = Tensor([2.0, 3.0], requires_grad=True, name="w")
        >>> problem = exercise((w * w).sum()); problem.lock("swordfish"); problem.solution(password="swordfish")
        d_loss = 1.0                       # ()
        d_t1 = np.broadcast_to(1.0, (2,))  # (2,)
        d_w = d_t1 * w + d_t1 * w          # (2,)
        """
        if self._lock is not None:
            raise ValueError("the solution is locked already")
        self._lock = seal("", password)

    def _check_unlocked(self, password: str | None) -> None:
        """ValueError if there is a lock that this password does not open."""
        if self._lock is None:
            return
        if password is None:
            raise ValueError('the solution is locked: write password="...", which your teacher has')
        unseal(self._lock, password)

    # ---- files

    def assignment(self, name: str = "exercise", *, title: str = "", text: str = "") -> Assignment:
        """The exercise as a teacher's file, with the arrays of this loss as its example.

        title, text: what students read first, in Markdown. Raises ValueError for more than 2,000 numbers.

        >>> w = Tensor([2.0, 3.0], requires_grad=True, name="w")
        >>> exercise((w * w).sum()).assignment().shapes
        {'d_w': (2,)}
        """
        return from_source(self._teachers_text(title or "Backpropagation by hand", text), name)

    def to_script(
        self,
        path: str | Path,
        *,
        points: Mapping[str, float] | None = None,
        title: str = "",
        text: str = "",
        teacher: bool = False,
        password: str | None = None,
    ) -> Path:
        """Write the file that students fill in: the printed forward pass, and a blank for each gradient with points.

        points: sets `points`. title, text: what students read first. teacher, password: as for `Assignment.to_script`;
        if the exercise is locked, the teacher's version wants the password. Raises ValueError for more than 2,000
        numbers of data and parameters, and for a name in points that there isn't.

        >>> w = Tensor([2.0, 3.0], requires_grad=True, name="w")
        >>> path = exercise((w * w).sum()).to_script("student.py", points={"d_w": 2})  # doctest: +SKIP
        """
        return self._for_file(path, points, title, text, teacher, password).to_script(
            path, teacher=teacher, password=None if self._lock is not None and teacher else password
        )

    def to_notebook(
        self,
        path: str | Path,
        *,
        points: Mapping[str, float] | None = None,
        title: str = "",
        text: str = "",
        teacher: bool = False,
        password: str | None = None,
    ) -> Path:
        """Write the same as a notebook (the extra `classroom`), with each blank in a cell of its own.

        The options are those of `to_script`.

        >>> w = Tensor([2.0, 3.0], requires_grad=True, name="w")
        >>> path = exercise((w * w).sum()).to_notebook("student.ipynb")  # doctest: +SKIP
        """
        return self._for_file(path, points, title, text, teacher, password).to_notebook(
            path, teacher=teacher, password=None if self._lock is not None and teacher else password
        )

    def _for_file(
        self,
        path: str | Path,
        points: Mapping[str, float] | None,
        title: str,
        text: str,
        teacher: bool,
        password: str | None,
    ) -> Assignment:
        if teacher:
            self._check_unlocked(password)
        if points is not None:
            self.points = dict(points)
        return self.assignment(Path(path).stem, title=title, text=text)

    def _teachers_text(self, title: str, text: str) -> str:
        """A teacher's file of this exercise."""
        program = self._graph.recorded.program
        _refuse_large(program)
        forward = [i for i in program.instructions if i.section == "forward"]
        loss = self._graph.loss.instruction
        assert loss is not None
        answers = {name: self._nodes[name].derivative for name in self.points}
        values = {name: value for name, value in answers.items() if value is not None}
        functions = [
            _printed("forward", Function(program.inputs, forward, {"loss": loss.result})),
            _printed("gradients", Function(program.inputs, program.instructions, values)),
        ]
        levels = range(1, STRONGEST + 1)
        hints = {
            name: list(dict.fromkeys(_hint(self._nodes[name], level, self._names) for level in levels))
            for name in answers
        }
        text = text or "This is the forward pass of a network. Write its backward pass, by hand, in NumPy."
        imports, *defined = _merged(functions, list(answers))
        constants = [
            _constant("POINTS", self.points),
            f"HINT_COST = {self.hint_cost}",
            _constant("HINTS", hints),
            _dict_of_arrays("EXAMPLE", {x.name: x.example for x in program.inputs}),
        ]
        head = "\n\n".join([docstring(f"{title}\n\n{text}"), imports, *constants])
        return "\n\n\n".join([head, *defined]) + "\n"


def _refuse_large(program: Function) -> None:
    count = sum(x.example.size for x in program.inputs)
    if count > MOST_NUMBERS:
        largest = max(program.inputs, key=lambda x: x.example.size)
        raise ValueError(
            f"an exercise as a file holds its data and parameters, and these are {count:,} numbers, of which "
            f"{largest.name} has {largest.example.size:,}: at most {MOST_NUMBERS:,} can be read; take a smaller batch "
            "or network"
        )


def _printed(name: str, function: Function) -> Statements:
    """A program as a function of this name, without the notes on digits that it loses."""
    return Statements.of(DIGITS.sub("", as_numpy(simplified(function), name=name)))


def _merged(functions: list[Statements], answers: list[str]) -> list[str]:
    """The texts of `forward` and `gradients`, after what they need: each statement once."""
    forward, gradients = (code.tree.body[-1] for code in functions)
    above = [code.as_written(node) for code in functions for node in code.tree.body[:-1]]
    own = [_described(functions[0].as_written(forward), "The loss."), _solution(functions[1], gradients, answers)]
    needed = dict.fromkeys([*above, "import numpy as np"])
    imports = sorted(text for text in needed if text.startswith("import "))
    return ["\n".join(imports), *(text for text in needed if text not in imports), *own]


def _described(function: str, words: str) -> str:
    """The text of a function with a docstring, and without the comment that its only section has."""
    head, _, body = function.partition("\n")
    return f'{head}\n    """{words}"""\n{body.removeprefix("    # forward" + chr(10))}'


def _solution(code: Statements, function: ast.stmt, answers: list[str]) -> str:
    """The text of `gradients`, which returns its answers by name."""
    assert isinstance(function, ast.FunctionDef)
    last = function.body[-1]
    assert isinstance(last, ast.Return)
    assert last.value is not None
    values = last.value.elts if len(answers) > 1 and isinstance(last.value, ast.Tuple) else [last.value]
    pairs = "".join(f'        "{k}": {ast.unparse(v)},\n' for k, v in zip(answers, values, strict=True))
    lines = code.as_written(function).splitlines()[: last.lineno - function.lineno]
    head, *body = lines
    return "\n".join([head, '    """The gradients."""', *body, f"    return {{\n{pairs}    }}"])


def _hint(node: Node, level: int, names: Mapping[Node, str]) -> str:
    """A hint, without the lines of the program of the teacher in it."""
    return PLACE.sub(lambda found: f" ({found[1]})" if found[1] else "", hint(node, level, names))


def _constant(name: str, value: Mapping[str, Any]) -> str:
    line = json.dumps(value, ensure_ascii=False)
    return f"{name} = {line if len(line) < 100 else json.dumps(value, indent=4, ensure_ascii=False)}"


def _dict_of_arrays(name: str, arrays: Mapping[str, Array]) -> str:
    """Arrays as they are written in Python, with all their digits, each row of a matrix on a line of its own."""
    lines = [f"{name} = {{"]
    for key, array in arrays.items():
        dtype = "" if array.dtype in (np.float64, np.int64, np.bool_) else f", dtype=np.{array.dtype.name}"
        rows = [f"        {row}," for row in array.tolist()] if array.ndim > 1 else []
        numbers = NOT_FINITE.sub(r"np.\g<0>", "\n".join(["[", *rows, "    ]"]) if rows else repr(array.tolist()))
        lines.append(f'    "{key}": np.array({numbers}{dtype}),')
    return "\n".join([*lines, "}"])
