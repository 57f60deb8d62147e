"""A class of made-up hand-ins: each gets what it deserves, and none costs another one anything."""

from __future__ import annotations

import contextlib
import sys
import threading
import traceback

import pytest
from fresh import GUARD
from grading.hand_ins import ENDLESS, MEGABYTES, ORDINARY, PLENTY, RIGHT, SAMPLES, SECONDS

from tinygrad_ce.assignments import from_source, ready
from tinygrad_ce.grading import marking, problems, sandbox
from tinygrad_ce.grading.marking import mark_class
from tinygrad_ce.grading.outcomes import PRINTED

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory can be limited on Linux")


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The class, by student; those that never end are marked apart, so that only they have little time."""
    marked = []
    for samples, seconds in ((ORDINARY, PLENTY), (ENDLESS, SECONDS)):
        folder = tmp_path_factory.mktemp("submissions")
        for sample in samples:
            sample.write(folder)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        marked += mark_class(folder, ready("softmax_cross_entropy"), seconds, MEGABYTES)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    return {one.hand_in.student: one for one in marked}


def test_there_is_a_result_for_each_in_the_order_of_names(graded):
    assert len(SAMPLES) >= 60
    parts = [sorted((sample.student for sample in samples), key=str.casefold) for samples in (ORDINARY, ENDLESS)]
    assert [*graded] == [*parts[0], *parts[1]]


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample.student for sample in SAMPLES])
def test_each_gets_what_it_deserves(graded, sample):
    one = graded[sample.student]
    assert sample.problem in one.problem
    assert bool(one.problem) == bool(sample.problem)
    assert (one.grade is None) == bool(sample.problem)
    assert one.score == sample.score
    assert sample.remark in one.remark
    assert len(one.printed) <= PRINTED
    if one.grade is not None:
        verdicts = one.grade.verdicts
        assert {name for name, verdict in verdicts.items() if not verdict.right} == {*sample.mistakes, *sample.follows}
        assert {name for name, verdict in verdicts.items() if verdict.follows} == {*sample.follows}
        assert {name: verdicts[name].mistake for name, mistake in sample.mistakes.items() if mistake} == {
            name: mistake for name, mistake in sample.mistakes.items() if mistake
        }
        assert sample.note in " ".join(one.grade.remarks)


def test_an_interrupt_ends_all_that_runs(tmp_path, monkeypatch):
    """As by Ctrl-C while hand-ins run: none of their processes goes on."""
    started, runs = threading.Event(), []

    def run_file(*arguments, watch, **options):
        def watching(process):
            watch(process)
            started.set()

        runs.append(sandbox.run_file(*arguments, watch=watching, **options))
        return runs[-1]

    def interrupt(done, count):
        assert started.wait(GUARD)
        raise KeyboardInterrupt

    monkeypatch.setattr(marking, "run_file", run_file)
    for name in ("ada", "bo", "cy"):
        (tmp_path / f"{name}.py").write_text("while True: pass")
    with pytest.raises(KeyboardInterrupt):
        mark_class(tmp_path, ready("softmax_cross_entropy"), PLENTY, MEGABYTES, at_once=2, progress=interrupt)
    assert 1 <= len(runs) <= 2
    assert all(run.error == sandbox.ENDED for run in runs)


class Interrupt:
    """Raises KeyboardInterrupt in this thread before one of the instructions of Python that grade a class."""

    def __init__(self, step):
        self.left, self.raised, self.too_late = step, threading.Event(), threading.Event()

    def __call__(self, frame, event, argument):
        frame.f_trace_opcodes = frame.f_code.co_filename in (marking.__file__, contextlib.__file__)
        self.left -= event == "opcode"
        if self.left == 0 and not self.raised.is_set() and not self.too_late.is_set():
            self.raised.set()
            raise KeyboardInterrupt
        return self


def test_an_interrupt_at_any_instruction_leaves_nothing_running(tmp_path, monkeypatch):
    """From the start of the first hand-in to the wait for its end."""
    (tmp_path / "ada.py").write_text("while True: pass")
    runs, left = [], []

    def run_file(*arguments, watch, **options):
        """As the one that runs processes: it goes on until it is ended, or until the interrupt would come too late."""
        ended = threading.Event()
        runs.append(ended)
        watch(ended)
        while not ended.wait(0.05):
            if not interrupt.raised.is_set():
                interrupt.too_late.set()
                ended.set()
        return sandbox.FileRun(error="it is over")

    assignment, before = ready("softmax_cross_entropy"), sys.gettrace()
    problem = problems.problem_of(assignment)
    monkeypatch.setattr(marking, "problem_of", lambda _: problem)
    monkeypatch.setattr(marking, "run_file", run_file)
    monkeypatch.setattr(marking, "end", lambda ended: ended.set())
    for step in range(1, 10_000):
        interrupt = Interrupt(step)
        try:
            sys.settrace(interrupt)
            mark_class(tmp_path, assignment, 30, MEGABYTES)
        except KeyboardInterrupt as error:  # its frames are alive, as they are where the command reports it
            where = [*traceback.walk_tb(error.__traceback__)][-2]
            left += [where for ended in runs if not ended.is_set()]
            for ended in runs:
                ended.set()
        finally:
            sys.settrace(before)
        if interrupt.too_late.is_set():
            break
    assert interrupt.too_late.is_set()
    assert not left


def test_hints_cost_points_and_the_student_reads_it(tmp_path):
    """A fifth of the two points of d_z, for two hints."""
    (tmp_path / "ada.py").write_text(f"HINTS = {{'d_z': 2}}\n{RIGHT}")
    (tmp_path / "bo.py").write_text(f"HINTS = {{'d_z': 'many'}}\n{RIGHT}")
    ada, bo = mark_class(tmp_path, ready("softmax_cross_entropy"), PLENTY, MEGABYTES)
    assert (ada.score, ada.possible) == (pytest.approx(3.6), 4)
    assert ada.grade.remarks == ("hints cost points: 0.4 of d_z",)
    assert (bo.score, "'many'" in bo.remark) == (4, True)


def test_what_a_teachers_file_imports_of_ours_students_may_not(tmp_path):
    source = ready("softmax_cross_entropy").source
    assignment = from_source(source.replace("import numpy", "import tinygrad_ce\nimport numpy", 1), "own")
    (tmp_path / "ada.py").write_text(f"import tinygrad_ce\n{RIGHT}")
    (ada,) = mark_class(tmp_path, assignment, PLENTY, MEGABYTES)
    assert (ada.score, ada.remark.count("it imports tinygrad_ce")) == (0, 1)  # and not as what was refused again


def test_each_case_is_looked_into_once_for_the_whole_class(tmp_path, monkeypatch):
    counted = []
    first = problems.Examiner.__init__
    monkeypatch.setattr(problems.Examiner, "__init__", lambda self, *a: (counted.append(a), first(self, *a))[1])
    for n in range(4):
        (tmp_path / f"{n}.py").write_text(RIGHT.replace("/ len(y)", ""))
    marked = mark_class(tmp_path, ready("softmax_cross_entropy"), PLENTY, MEGABYTES)
    assert {one.score for one in marked} == {2}
    assert len(counted) <= len(problems.problem_of("softmax_cross_entropy").cases)


def test_what_goes_wrong_in_judging_costs_one_student_only(tmp_path, monkeypatch):
    first = marking.judged

    def judged(problem, run):
        outcomes = run([])
        if "broken" in outcomes[0].value["value"]:
            raise ZeroDivisionError("in the grader")
        return first(problem, lambda cases: outcomes)

    run_file = marking.run_file

    def run_some(path, *arguments, **options):
        if path.name == "cy.py":
            raise ZeroDivisionError("in the sandbox")
        return run_file(path, *arguments, **options)

    monkeypatch.setattr(marking, "judged", judged)
    monkeypatch.setattr(marking, "run_file", run_some)
    (tmp_path / "ada.py").write_text(RIGHT.replace("return {", 'return {"broken": 1, '))
    (tmp_path / "bo.py").write_text(RIGHT)
    (tmp_path / "cy.py").write_text(RIGHT)
    ada, bo, cy = mark_class(tmp_path, ready("softmax_cross_entropy"), PLENTY, MEGABYTES)
    assert (ada.grade, "in the grader" in ada.remark, bo.score) == (None, True, 4)
    assert (cy.grade, "in the sandbox" in cy.remark) == (None, True)
