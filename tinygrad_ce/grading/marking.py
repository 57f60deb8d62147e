"""A whole class: each hand-in is run alone, as many at once as there are processors, and judged like all the others."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from tinygrad_ce.assignments import Assignment, cost_of_hints
from tinygrad_ce.core import Array
from tinygrad_ce.grading.handins import Found, hand_ins
from tinygrad_ce.grading.judging import judged
from tinygrad_ce.grading.marked import Marked
from tinygrad_ce.grading.outcomes import Outcome
from tinygrad_ce.grading.problems import Problem, problem_of
from tinygrad_ce.grading.sandbox import MEGABYTES, SECONDS, FileRun, end, run_file
from tinygrad_ce.grading.worker import ENGINES


def mark_class(
    folder: str | Path,
    assignment: Assignment,
    seconds: float = SECONDS,
    megabytes: float = MEGABYTES,
    *,
    at_once: int | None = None,
    progress: Callable[[int, int], object] = lambda done, count: None,
) -> list[Marked]:
    """Grade every hand-in of a folder, in the order of the students' names.

    folder: of scripts and notebooks, as Gradescope, Moodle, Canvas or nbgrader export them, or plain files. seconds,
    megabytes: what each may take; one that takes more, crashes or fails costs only itself. at_once: how many run at the
    same time, one for each processor if it is None. progress: is called with how many are done, of how many.

    Raises NotADirectoryError and ValueError for a folder without hand-ins, and whatever the assignment's own functions
    raise. It guards against accidents; whoever does not trust a class runs it on a machine of its own.
    """
    found = hand_ins(folder)
    problem = problem_of(assignment)
    marked: list[Marked] = []
    with _Runs(assignment, problem, seconds, megabytes) as runs:
        ends = runs.start(found, at_once or os.cpu_count() or 1)
        for one, end_of_run in zip(found, ends, strict=True):
            progress(len(marked), len(found))
            marked.append(_marked(runs, one, end_of_run))
    progress(len(marked), len(found))
    return marked


EndOfRun = SimpleQueue[FileRun | Exception]  # holds one, when it has come


@dataclass(eq=False)
class _Runs:
    """Runs the files of a class, some at a time; when it is left, none of their processes runs any more.

    Ctrl-C may come between any two lines of the main thread. So nothing is started before `with` has been entered, and
    what it waits for are queues, which keep no lock when a wait is interrupted; a Future may.
    """

    assignment: Assignment
    problem: Problem
    seconds: float
    megabytes: float
    _waiting: SimpleQueue[tuple[Path, EndOfRun]] = field(default_factory=SimpleQueue)
    _threads: list[threading.Thread] = field(default_factory=list)
    _processes: set[subprocess.Popen[Any]] = field(default_factory=set)
    _stopped: bool = False

    def __enter__(self) -> _Runs:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped = True
        for process in [*self._processes]:
            end(process)
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def start(self, found: Sequence[Found], at_once: int) -> list[EndOfRun | None]:
        """Begin to run these hand-ins, and return where each run will be put; None for what cannot be run."""
        ends: list[EndOfRun | None] = [None if one.problem else SimpleQueue() for one in found]
        for one, end_of_run in zip(found, ends, strict=True):
            if end_of_run is not None:
                self._waiting.put((one.hand_in.file, end_of_run))
        self._threads += [threading.Thread(target=self._work, daemon=True) for _ in range(min(at_once, len(found)))]
        for thread in self._threads:
            thread.start()
        return ends

    def _work(self) -> None:
        """Run one file after the other, as long as some are waiting."""
        cases = [case.arguments for case in self.problem.cases]
        while not self._stopped and not self._waiting.empty():
            with contextlib.suppress(Empty):  # another thread may have been faster
                file, end_of_run = self._waiting.get_nowait()
                try:
                    end_of_run.put(self.run(file, cases))
                except Exception as error:
                    end_of_run.put(error)

    def run(self, file: Path, cases: Sequence[Mapping[str, Array]]) -> FileRun:
        """Run a file for these arguments."""
        limits, allowed = (self.seconds, self.megabytes), self._allowed
        return run_file(file, cases, *limits, forward=self._forward, allowed=allowed, watch=self._watch)

    @cached_property
    def _forward(self) -> str:
        """The text of the forward pass, with what it needs."""
        code = self.assignment.statements
        return "\n\n".join(code.as_written(node) for node in code.needed_by(["forward"], but=["gradients"]))

    @cached_property
    def _allowed(self) -> list[str]:
        """The engines that the teacher's own file imports: an exercise for PyTorch needs it."""
        tree = self.assignment.statements.tree
        names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        imported = {name.partition(".")[0] for name in names}
        return [engine for engine in ENGINES if engine in imported and engine != "tinygrad_ce"]

    def _watch(self, process: subprocess.Popen[Any]) -> None:
        self._processes.add(process)
        if self._stopped:
            end(process)


# ---- one hand-in


def _marked(runs: _Runs, one: Found, end_of_run: EndOfRun | None) -> Marked:
    """What came of one hand-in. Whatever goes wrong with it must not cost the others theirs."""
    marked = Marked(one.hand_in, runs.assignment.points, problem=one.problem, remark=one.remark)
    if end_of_run is None:
        return marked
    run = end_of_run.get()
    if isinstance(run, OSError):
        return replace(marked, problem="Your file cannot be read.", remark=_joined(one.remark, str(run)))
    if isinstance(run, Exception):
        words = f"running it failed: {type(run).__name__}: {run}"
        return replace(marked, problem="Your file could not be run; your teacher knows.", remark=words)
    failed = run.error or (run.outcomes[0].error if all(outcome.error for outcome in run.outcomes) else "")
    more = (words for words in run.remarks if words.removeprefix("refused: ") not in failed)
    marked = replace(marked, printed=run.printed, seconds=run.seconds, remark=_joined(one.remark, failed, *more))
    if failed:
        return replace(marked, problem=_in_a_sentence("Your file" if run.error else "Your function", failed))
    try:
        grade = judged(runs.problem, _answers_of(runs, one.hand_in.file, run))
    except Exception as error:
        words = f"judging it failed: {type(error).__name__}: {error}"
        return replace(marked, problem="Your answers could not be judged; your teacher knows.", remark=words)
    return _with_hints(runs.assignment, replace(marked, grade=grade), run.hints)


def _answers_of(runs: _Runs, file: Path, run: FileRun) -> Callable[[Sequence[Mapping[str, Array]]], list[Outcome]]:
    """What a file answers: for the cases of the problem it has been run already, for others it is run again."""
    known = [run.outcomes]

    def answers(cases: Sequence[Mapping[str, Array]]) -> list[Outcome]:
        if known:
            return [*known.pop()]
        again = runs.run(file, cases)
        return [*again.outcomes] or [Outcome(error=again.error) for _ in cases]

    return answers


def _with_hints(assignment: Assignment, marked: Marked, taken: Any) -> Marked:
    """The same with what hints have cost."""
    assert marked.grade is not None
    try:
        costs = cost_of_hints(assignment, taken or {})
    except ValueError as error:
        return replace(marked, remark=_joined(marked.remark, str(error)))
    if not costs:
        return marked
    points = {name: worth - costs.get(name, 0) for name, worth in marked.grade.points.items()}
    words = ", ".join(f"{cost:g} of {name}" for name, cost in costs.items())
    remarks = (*marked.grade.remarks, f"hints cost points: {words}")
    return replace(marked, grade=replace(marked.grade, points=points, remarks=remarks))


ADVICE = {  # by how an error begins: what its student can do
    "it took": "Look for a loop that never ends",
    "its process ended": "Look for what leaves Python, or calls another library",
    "it needs more memory": "Look for an array that is larger than its inputs are",
    "it calls itself": "Write a loop instead",
    "it is no Python": "Run the file before you hand it in",
    "the file is empty": "Look whether you handed in the right one",
    "the file is no notebook": "Look whether it still opens",
    "the file has no function": "Keep the name that the exercise gave it",
    "ModuleNotFoundError": "NumPy is all that is needed: leave the import out",
    "PermissionError": "Leave that line out",
}


def _in_a_sentence(what: str, error: str) -> str:
    """Why there is no grade, for the student. what: has failed.

    >>> _in_a_sentence("Your file", "the file is empty")
    'Your file is empty. Look whether you handed in the right one.'
    """
    advice = next((f" {words}." for start, words in ADVICE.items() if error.startswith(start)), "")
    if re.match(r"\w+(Error|Exception|Exit|Interrupt)\b", error):
        return f"{what} stops with {error}.{advice}"
    subject = re.match(r"(it|its|the file) ", error)
    whose = "'s" if subject and subject[1] == "its" else ""
    return f"{what}{whose} {error[subject.end() :] if subject else f'stops with {error}'}.{advice}"


def _joined(*remarks: str) -> str:
    return "; ".join(filter(None, remarks))
