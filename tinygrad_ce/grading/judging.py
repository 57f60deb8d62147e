"""From what a student's function returned for each case to its grade.

It does not matter where the function ran: `judged` is passed a way to run it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.data.checks import quoted, shown
from tinygrad_ce.exercises import Verdict
from tinygrad_ce.exercises.answers import Answer, of_one_dtype
from tinygrad_ce.exercises.backward_program import Program
from tinygrad_ce.exercises.examiner import Examiner
from tinygrad_ce.grading.calls import BY_THE_ENGINE
from tinygrad_ce.grading.cases import Case
from tinygrad_ce.grading.grades import UNNAMED, Evidence, Grade
from tinygrad_ce.grading.outcomes import Outcome, Unreadable
from tinygrad_ce.grading.problems import JUMP, Problem, jumps
from tinygrad_ce.grading.shrinking import smallest

Run = Callable[[Sequence[Mapping[str, Array]]], Sequence[Outcome]]
MOST_SHRUNK = 2  # gradients for which the smallest input is looked for
OF_EQUAL_NUMBERS = (
    "of equal numbers each gets a share as if it were alone, so that together they get too much or too little: choose "
    "one of them, or divide the share among them"
)
BESIDE_THE_JUMP = (
    "where the derivative jumps, as at a 0 of relu, take that of one side, or one between: yours is neither"
)
SPREAD = 1.5  # of a jump; a few draws do not find the ends of a sum of many
REST = 100  # of rounding errors, that terms may leave which cancel
EPSILON64 = float(np.finfo(np.float64).eps)


@dataclass(eq=False)
class Trial:
    """What the function returned for one case. refused: what no examiner is needed for, with the verdict on it."""

    case: Case
    answers: dict[str, Answer] = field(default_factory=dict)
    refused: dict[str, Verdict] = field(default_factory=dict)
    wrong: set[str] = field(default_factory=set)

    def verdict(self, name: str, problem: Problem) -> Verdict:
        """What is said of one value on this case."""
        if name in self.refused:
            return self.refused[name]
        examiner = problem.examiner(self.case)
        verdict = examiner.judge(self.answers, [name])[name]
        return replace(verdict, message=_as_asked(verdict.message, examiner.program, problem))


def _as_asked(words: str, program: Program, problem: Problem) -> str:
    """Words in which a gradient that passes through unchanged has the name of that from which it comes.

    `z = x @ w + b` is two operations, whose gradients are one for whoever reads the line.
    """
    for name in reversed(program.lines):
        terms = program.lines[name].terms
        if name not in problem.points and len(terms) == 1 and isinstance(terms[0].tree, ast.Name):
            words = re.sub(rf"\b{re.escape(name)}\b", terms[0].tree.id, words)
    return words


def judged(problem: Problem, run: Run) -> Grade:
    """The grade of a function. run: calls it once for each dict of arguments, and gives back what came of it."""
    outcomes = run([case.arguments for case in problem.cases])
    reports = [outcome.value if isinstance(outcome.value, dict) else {} for outcome in outcomes]
    skipped = [report["skipped"] for report in reports if "skipped" in report]
    if len(skipped) == len(reports):
        outcomes = [replace(outcome, error=skipped[0]) for outcome in outcomes]
        reports = [{} for _ in reports]
    trials = [
        _trial(problem, case, outcome, report)
        for case, outcome, report in zip(problem.cases, outcomes, reports, strict=True)
        if "skipped" not in report
    ]
    verdicts, evidence = {}, {}
    for name in problem.points:
        verdicts[name], shows = _verdict(problem, trials, name)
        if shows is not None and name in shows.answers:
            evidence[name] = _evidence(problem, shows, name)
    _shrink(problem, run, verdicts, evidence)
    printed = next((outcome.printed for outcome in outcomes if outcome.printed), "")
    return Grade(verdicts, dict(problem.points), evidence, tuple(_remarks(problem, verdicts, reports)), printed)


# ---- reading


def _trial(problem: Problem, case: Case, outcome: Outcome, report: Mapping[str, Any]) -> Trial:
    """What the function returned for a case, and which of it is wrong."""
    trial = _read(problem, case, outcome, report)
    for name in trial.answers:
        _compare(problem, trial, name)
    trial.wrong |= {*trial.refused}
    return trial


def _read(problem: Problem, case: Case, outcome: Outcome, report: Mapping[str, Any]) -> Trial:
    """What the function returned for a case."""
    trial = Trial(case)
    if outcome.error:
        key, words = "error", f"the function stops: {outcome.error}"
        if BY_THE_ENGINE in outcome.error:
            key, words = "engine", BY_THE_ENGINE
        trial.refused = {name: Verdict(name, False, key, words) for name in problem.points}
        return trial
    found = _by_name(report.get("value"), [*problem.points])
    for name in problem.points:
        value = found if isinstance(found, str) else _meant(name, found, problem.points)
        try:
            if isinstance(value, tuple) and value[0] is None:
                value = f"{name} is None: nothing has been computed for it"
            if isinstance(value, str):
                trial.refused[name] = Verdict(name, False, "missing", value)
            else:
                answer = Answer.read(name, _numbers(name, value[0]))
                trial.answers[name] = Answer(answer.array, max(answer.epsilon, case.epsilon))
        except TypeError as error:
            trial.refused[name] = Verdict(name, False, "no numbers", str(error))
    trial.answers = of_one_dtype(trial.answers)
    return trial


def _by_name(value: Any, names: list[str]) -> dict[str, Any] | str:
    """What the function returned as a dict; in words why that cannot be."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], dict):  # (loss, gradients)
        value = value[1]
    if isinstance(value, dict):
        return value
    form = f"end it with return {{{', '.join(f'{name!r}: {name}' for name in names)}}}"
    if value is None:
        return f"the function returns None: {form}"
    if isinstance(value, (str, Unreadable)):
        return f"the function returns {_kind(value)}: {form}"
    several = value if isinstance(value, (tuple, list)) else [value]
    if len(names) == 1 and (len(several) != 1 or isinstance(value, list)):
        several = [value]
    if len(several) != len(names):
        return f"the function returns {len(several)} values, where {len(names)} are asked for: {form}"
    return dict(zip(names, several, strict=True))


def _meant(name: str, found: Mapping[str, Any], points: Mapping[str, float]) -> tuple[Any] | str:
    """The value that is meant by a name, as a tuple of one; in words why there is none."""
    if name in found:
        return (found[name],)
    own = name.removeprefix("d_")
    aliases = [f"d{own}", f"grad_{own}", f"{own}_grad", f"g_{own}", f"dL_d{own}", own] if own != name else []
    there = [alias for alias in aliases if alias in found and alias not in points]
    if len(there) == 1:
        return (found[there[0]],)
    if there:
        return f"{name} may be {' or '.join(there)}: return one of them, as {name!r}"
    return f"{name} is not among what the function returns: {quoted([*found]) or 'an empty dict'}"


def _numbers(name: str, value: Any) -> Any:
    """A value that may be an array of numbers. TypeError, in words, for one that cannot be."""
    if isinstance(value, (str, dict, Unreadable)):
        raise TypeError(f"{name} is {_kind(value)}, not an array of numbers")
    try:
        array = np.asarray(value)
    except ValueError:
        raise TypeError(f"{name} is a list whose rows differ in length: each row needs as many numbers") from None
    if array.dtype.kind == "c":
        raise TypeError(f"{name} has complex numbers ({array.dtype}): look for a root or a log of negative numbers")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} is a list that does not hold numbers only")
    return array


def _kind(value: Any) -> str:
    """What something is that is no number."""
    if isinstance(value, str):
        return f"a text ({shown(value)})"
    kind = value.type if isinstance(value, Unreadable) else type(value).__name__
    if kind == "ndarray":
        return "an array of objects"
    if kind in ("generator", "map", "zip", "filter"):
        return f"a {kind}, which has not computed anything yet"
    return f"a {kind}"


# ---- judging


def _compare(problem: Problem, trial: Trial, name: str) -> None:
    """Write down whether an answer is wrong for a case, and what no examiner is needed for.

    It is right where it differs only at places where the derivative jumps, as long as sums that do not jump stay what
    they are: of equal numbers, one may get the whole gradient of their maximum, but not each of them. And where what is
    right is 0 because terms cancel, another order of the terms leaves a rest.
    """
    examiner, answer = problem.examiner(trial.case), trial.answers[name]
    if examiner.right(name, answer):
        return
    truth, array = examiner.truth[name], answer.array
    if array.shape != truth.shape or not np.isfinite(array).all():
        trial.wrong.add(name)
        return
    rest = np.abs(array - truth) <= REST * max(answer.epsilon, EPSILON64) * _largest_term(examiner, name)
    nearby = problem.nearby(trial.case, name) if not rest.all() else truth[None]
    jumping = jumps(nearby)
    if not examiner.right(name, Answer(np.where(rest | jumping, truth, array), answer.epsilon)):
        trial.wrong.add(name)
        return
    beyond = SPREAD * np.ptp(nearby, axis=0)
    outside = (array < nearby.min(axis=0) - beyond) | (array > nearby.max(axis=0) + beyond)
    if (jumping & ~rest & outside).any():
        trial.refused[name] = Verdict(name, False, "kink", BESIDE_THE_JUMP)
        return
    for axis in (-1, None) if jumping.any() else ():
        sums = np.stack([x.sum(axis=axis) for x in (array, *nearby)])
        with_jumps, allowed = jumping.any(axis=axis), 10 * JUMP * np.abs(nearby).max()
        if (with_jumps & ~jumps(sums[1:]) & (np.abs(sums[0] - sums[1]) > allowed)).any():
            trial.refused[name] = Verdict(name, False, "kink", OF_EQUAL_NUMBERS)


def _largest_term(examiner: Examiner, name: str) -> float:
    """The largest number that may have cancelled: of the arrays that a value comes from, and of its terms unsigned."""
    program, terms = examiner.program, [examiner.truth[name]]
    if name in program.lines:
        terms += [program.values[x] for x in program.between(name) if np.ndim(program.values[x])]
        with np.errstate(all="ignore"):
            unsigned = program.rerun([program.lines[name]], {x: np.abs(array) for x, array in program.values.items()})
        terms += [] if unsigned is None else [unsigned]
    return float(max(np.abs(x).max(initial=0, where=np.isfinite(x)) for x in terms))


def _verdict(problem: Problem, trials: Sequence[Trial], name: str) -> tuple[Verdict, Trial | None]:
    """What is said of one gradient after all cases, and the case that shows it best."""
    wrong = [trial for trial in trials if name in trial.wrong]
    if not wrong:
        return Verdict(name, True, None, "right"), None
    everywhere = trials[0] in wrong
    first, *others = wrong if everywhere else sorted(wrong, key=lambda trial: trial.case.size)
    shows, verdict = first, first.verdict(name, problem)
    if verdict.follows:
        for trial in others:
            other = _on_its_own(problem, trial, name, verdict)
            if other is not None:
                shows, verdict, everywhere = trial, other, False
                break
    if verdict.mistake == "not finite" and (cause := _not_finite_before(problem, shows, name)):
        words = f"NaN or infinite, as your own {quoted(cause)} {'is' if len(cause) == 1 else 'are'}"
        verdict = Verdict(name, False, "upstream", f"{words}: the mistake came from there", tuple(cause))
    if not everywhere:
        place = f"on {shows.case.words} ({shows.case.shapes})"
        verdict = replace(verdict, message=f"{place}: {verdict.message}")
    return verdict, shows


def _on_its_own(problem: Problem, trial: Trial, name: str, verdict: Verdict) -> Verdict | None:
    """What is wrong on a case besides following from other wrong gradients; None if nothing is.

    Where the derivative jumps, other choices are right too, and from wrong gradients nobody knows what they would give.
    """
    if name not in trial.refused and jumps(problem.nearby(trial.case, name)).any():
        return None
    other = trial.verdict(name, problem)
    if other.follows or (other.mistake == "not finite" and _not_finite_before(problem, trial, name)):
        return None
    return other


def _not_finite_before(problem: Problem, trial: Trial, name: str) -> list[str]:
    """Which of the student's gradients with NaN or infinity a gradient comes from."""
    lines = problem.examiner(trial.case).program.lines
    before, reached = [name], {name}
    while before:
        line = lines.get(before.pop())
        new = {x for x in (line.reads if line is not None else ()) if x not in reached}
        reached |= new
        before += new
    answers = {x: trial.answers[x] for x in problem.points if x in reached - {name} and x in trial.answers}
    return [x for x, answer in answers.items() if not np.isfinite(answer.array).all()]


def _evidence(problem: Problem, trial: Trial, name: str) -> Evidence:
    right = problem.examiner(trial.case).truth[name]
    return Evidence(trial.case.words, trial.case.arguments, trial.answers[name].array, right)


def _shrink(problem: Problem, run: Run, verdicts: dict[str, Verdict], evidence: dict[str, Evidence]) -> None:
    """For gradients whose mistake has no name, put the smallest input that shows it in the place of the case."""
    unnamed = [name for name, verdict in verdicts.items() if verdict.mistake in UNNAMED and name in evidence]
    for name in unnamed[:MOST_SHRUNK]:

        def answers(every: Sequence[Mapping[str, Array]], name: str = name) -> Iterator[Array | None]:
            for arguments, outcome in zip(every, run(every), strict=True):
                report = outcome.value if isinstance(outcome.value, dict) else {}
                answer = _read(problem, Case("", arguments), outcome, report).answers.get(name)
                yield None if answer is None else answer.array

        found = smallest(problem, name, evidence[name], answers)
        if found is not None:
            evidence[name] = found
        if found is not None and str(found):
            words = f"{verdicts[name].message}. The smallest input that shows it: {found}"
            verdicts[name] = replace(verdicts[name], message=words)


def _remarks(problem: Problem, verdicts: Mapping[str, Verdict], reports: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What is to be said of how the function did it."""
    written = list(dict.fromkeys(name for report in reports for name in report.get("written", ())))
    if written:
        yield f"the function writes into its arguments ({quoted(written)}): compute with copies, as in x = x.copy()"
    first = next(iter(reports), {})
    views = first.get("views") or {}
    for key, argument in views.items():
        yield f"{key} is a view into {argument}: whoever changes one changes the other; return a copy"
    value = first.get("value")
    if isinstance(value, dict):
        meant = {
            id(x[0]) for x in (_meant(name, value, problem.points) for name in problem.points) if not isinstance(x, str)
        }
        natural = {f"d_{name}" for case in problem.cases for name in case.arguments}  # some forms have no choice
        extra = [name for name, x in value.items() if id(x) not in meant and name not in natural]
        if extra:
            yield f"{quoted(extra)} {'is' if len(extra) == 1 else 'are'} not asked for, and left out"
    caught = next((report["caught"] for report in reports if report.get("caught")), "")
    if caught and not all(verdict.right for verdict in verdicts.values()):
        yield f"the function catches an exception that says what is wrong: {caught}"
