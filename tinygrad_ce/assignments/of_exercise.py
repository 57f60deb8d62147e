"""An exercise of a loss as files for a class: points, what hints cost, a lock, and the text that a teacher gets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinygrad_ce.assignments.assignment import HINT_COST, Assignment
from tinygrad_ce.assignments.from_graph import text_of_graph
from tinygrad_ce.assignments.locking import seal, unseal
from tinygrad_ce.assignments.reading import from_source
from tinygrad_ce.data.checks import amount_of, closest, shown
from tinygrad_ce.graph.nodes import Graph, Node


class AsFiles:
    """What an Exercise can do for a class: points, a lock, and files. The exercise brings the graph and its names."""

    _graph: Graph
    _names: Mapping[Node, str]
    _nodes: Mapping[str, Node]
    _hints: Mapping[Node, int]
    _points: dict[str, float] | None = None
    _lock: str | None = None
    hint_cost: float = HINT_COST

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
        title = title or "Backpropagation by hand"
        return from_source(text_of_graph(self._graph, self.points, self.hint_cost, title, text), name)

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
        assignment, options = self._for_file(path, points, title, text, teacher, password)
        return assignment.to_script(path, **options)

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
        assignment, options = self._for_file(path, points, title, text, teacher, password)
        return assignment.to_notebook(path, **options)

    def _for_file(
        self, path: str | Path, points: Mapping[str, float] | None, title: str, text: str, teacher: bool, password: Any
    ) -> tuple[Assignment, dict[str, Any]]:
        """What is written there, and how. A password that has opened the lock is none for the file."""
        if teacher:
            self._check_unlocked(password)
            password = None if self._lock is not None else password
        if points is not None:
            self.points = dict(points)
        return self.assignment(Path(path).stem, title=title, text=text), {"teacher": teacher, "password": password}
