"""The page of one student: what is right, what went wrong, on which numbers, in which line, and what to do next."""

from __future__ import annotations

import ast
from collections.abc import Sequence

import numpy as np

from tinygrad_ce.assignments import Assignment
from tinygrad_ce.core import Array
from tinygrad_ce.grading.grades import Evidence
from tinygrad_ce.grading.marked import LONGEST_LINE, Marked, for_students, joined, line_of, points_text, standing
from tinygrad_ce.report.page import as_page
from tinygrad_ce.report.parts import (
    Heading,
    Line,
    List,
    Listing,
    Mark,
    Name,
    Part,
    Phrase,
    Section,
    Sentence,
    SideBySide,
    Strong,
    Table,
    Term,
    Words,
    WrongNumber,
)
from tinygrad_ce.report.words import cut, format_number
from tinygrad_ce.views.pages import Page

ROWS, COLUMNS = 8, 6  # of an array, around the number that is most wrong
TINY = 80  # numbers of all arguments together that are shown whole
LINES_AROUND, WHOLE_SOURCE = 6, 60  # lines: of a long file only those around what is marked


def student_page(assignment: Assignment, marked: Marked, solutions: bool = False) -> Page:
    """What a student reads of a graded hand-in: a page without a script, with nothing of anybody else on it.

    assignment: what was asked. solutions: whether the right numbers stand beside the student's wrong ones. Arrays of
    any shape are cut to 8 rows and 6 columns around their worst number.

    >>> from pathlib import Path
    >>> from tinygrad_ce.assignments import ready
    >>> from tinygrad_ce.grading.marked import HandIn
    >>> absent = Marked(HandIn("Ada", Path("ada.py")), {"d_W": 2}, problem="The file is empty.")
    >>> "The file is empty." in student_page(ready("softmax_cross_entropy"), absent).html
    True
    """
    student = marked.hand_in.student
    points = "point" if marked.possible == 1 else "points"
    score = f" · {points_text(marked.score)} of {points_text(marked.possible)} {points}"
    head = [Sentence(Phrase(Name(student), score)), Sentence(marked.hand_in.file.name, kind="soft")]
    if marked.grade is None:
        reason = Phrase(Mark("missing", "not graded"), " ", marked.problem)
        sections = [Section("Why there are no points", [Sentence(reason)])]
    else:
        wrong = [name for name, verdict in marked.verdicts.items() if verdict is None or not verdict.right]
        remarks = [Sentence(f"Besides: {remark}") for remark in marked.grade.remarks]
        sections = [Section("Points", [_points(marked), _where_to_begin(marked, wrong), *_chain(marked), *remarks])]
        sections += [_mistake(assignment, marked, name, solutions) for name in wrong]
        sections += _arguments([marked.evidence[name] for name in wrong if name in marked.evidence])
    sections += _source(marked)
    title = f"{assignment.title}: {student}"
    html = as_page(title, sections, head, heading=assignment.title)
    return Page(html, "says what went wrong in", title, "student.html")


def _points(marked: Marked) -> Table:
    """The verdicts and points by what is asked for."""
    rows = []
    for name, verdict in marked.verdicts.items():
        points = f"{points_text(marked.reached(name))} of {points_text(marked.points[name])}"
        rows.append((Term(name), standing(verdict), Words(points)))
    header = ("asked for", "verdict", "points")
    return Table(rows, header, right=frozenset({2}), titled=True, label="verdicts and points")


def _where_to_begin(marked: Marked, wrong: list[str]) -> Part:
    if not wrong:
        return Sentence("All of it is right.")
    first = next((name for name in wrong if standing(marked.verdicts[name]).kind != "follows"), wrong[0])
    return Sentence(Phrase("Begin with ", Term(first), "."), kind="next")


def _chain(marked: Marked) -> list[Part]:
    """What follows from what: each wrong value with those that are right for it."""
    followers: dict[str, list[str]] = {}
    for name, verdict in marked.verdicts.items():
        for source in verdict.follows if verdict is not None else ():
            followers.setdefault(source, []).append(name)
    items = []
    for source, names in followers.items():
        own = Term(source)
        right = ": right for your own ", own, ", so the mistake is not here. It comes right when ", own, " is."
        items.append(Phrase(own, " → ", joined(map(Term, names)), *right))
    return [Heading("What follows from what"), List(items)] if items else []


def _mistake(assignment: Assignment, marked: Marked, name: str, solutions: bool) -> Section:
    """One value that is not right: why, in which line, with which numbers, and what to try."""
    verdict, evidence = marked.verdicts[name], marked.evidence.get(name)
    mark = standing(verdict)
    title = Phrase(Term(name), " ", mark)
    message = f"There is no {name} in what your function returns" if verdict is None else verdict.message
    stops = verdict is not None and verdict.mistake == "error"
    same = next(
        other for other, said in marked.verdicts.items() if said is verdict or (said and said.message == message)
    )
    if stops and same != name:
        return Section(title, [Sentence(Phrase("As for ", Term(same), ": the function returns nothing."))])
    parts: list[Part] = [Sentence(_sentence(message, assignment))]
    source = marked.hand_in.source()
    line = line_of(name, source)
    if line is not None and not stops:
        own = source.splitlines()[line - 1].strip()[:LONGEST_LINE]
        below = ", as numbered below" if marked.hand_in.is_notebook else ""  # of a notebook's cells
        parts.append(Sentence(Phrase(f"Line {line}{below}: ", Term(own))))
    if evidence is not None and mark.kind != "follows":
        parts += _numbers(name, evidence, solutions)
    step = Phrase(Strong("Next:"), " ", *_next_step(assignment, marked, name, line))
    return Section(title, [*parts, Sentence(step, kind="next")])


def _sentence(words: str, assignment: Assignment) -> str:
    """Words as a sentence: they begin small where they follow a name in a terminal, and may name the teacher's file."""
    words = for_students(words)
    first = words.partition(" ")[0].rstrip(",")
    names = {getattr(node, "id", getattr(node, "arg", "")) for node in ast.walk(assignment.statements.tree)}
    words = words[:1].upper() + words[1:] if first.isalpha() and first not in names else words  # d_W stays d_W, and x x
    return words if words.endswith((".", "!", "?")) else f"{words}."


def _next_step(assignment: Assignment, marked: Marked, name: str, line: int | None) -> Sequence[str]:
    """A step to try, as the pieces of a phrase."""
    verdict, evidence = marked.verdicts[name], marked.evidence.get(name)
    mistake = "missing" if verdict is None else verdict.mistake or ""
    of = name.removeprefix("d_")
    if mistake in ("missing", "zeros"):
        return "compute it, and return it under its name: ", Term(f'return {{..., "{name}": {name}}}'), "."
    if mistake == "error":
        return ("call your function on such an input, and print what the line uses where it stops, with each shape.",)
    if verdict is not None and verdict.follows:
        return "mend ", joined(map(Term, verdict.follows)), " first, and run your file again: leave this line as it is."
    if "shape" in mistake or (evidence is not None and np.shape(evidence.yours) != np.shape(evidence.right)):
        return "write ", Term(f"print({name}.shape, {of}.shape)"), " below the line: both must be equal."
    if mistake == "not finite":
        return ("print each array that the line uses, and find the first that is not finite.",)
    if evidence is not None and np.size(evidence.yours) and assignment.forward is not None and of in evidence.arguments:
        at = ", ".join(map(str, _worst(evidence)))
        place = f"[{at}]" if at else ""
        yours = format_number(evidence.yours[_worst(evidence)])
        return (
            *("check one number without calculus. Add 1e-6 to ", Term(of + place), ", compute the loss again, and "),
            *("divide by 1e-6 what it grew by: ", Term(name + place), f" must be that. Yours is {yours}."),
        )
    where = f"line {line}" if line is not None else "the line that computes it"
    return (f"take {where} apart: print each array in it with its shape, and do one number with pencil and paper.",)


# ---- numbers


def _numbers(name: str, evidence: Evidence, solutions: bool) -> list[Part]:
    """The student's own numbers, those that are wrong marked; beside them the right ones, if they may be seen."""
    yours, right = np.asarray(evidence.yours), np.asarray(evidence.right)
    alike = yours.shape == right.shape
    off = _off(yours, right) if alike else None
    center = _worst(evidence) if alike else (0,) * yours.ndim
    count = f"; it must be {right.shape}" if off is None else f", {_share(off)} wrong"
    off = None if off is not None and off.all() else off  # a mark on every number says nothing
    tables = [array_table(yours, f"your {name}, shape {yours.shape}{count}", center, off)]
    if solutions:
        tables.append(array_table(right, f"the right {name}", center if alike else (0,) * right.ndim))
    return [Sentence(f"Shown on: {evidence.case}."), SideBySide(tables)]


def _share(off: Array) -> str:
    return f"all {off.size}" if off.all() and off.size > 1 else f"{int(off.sum())} of {off.size}"


def _off(yours: Array, right: Array) -> Array:
    """Which numbers are visibly wrong: at least the worst one."""
    distance = _distance(yours, right)
    largest = np.abs(right[np.isfinite(right)]).max(initial=0.0)
    off: Array = (distance > 1e-4 * largest) | (distance == distance.max(initial=0.0)) & (distance > 0)
    return off


def _distance(yours: Array, right: Array) -> Array:
    """How far each number is off, infinitely where one of the two is not finite."""
    with np.errstate(all="ignore"):
        distance = np.abs(yours - right)
    return np.where(np.isfinite(distance), distance, np.inf)


def _worst(evidence: Evidence) -> tuple[int, ...]:
    """The index of the number that is most wrong; of the first where the shapes differ."""
    yours, right = np.asarray(evidence.yours), np.asarray(evidence.right)
    if yours.shape != right.shape or not yours.size:
        return (0,) * yours.ndim
    return tuple(int(i) for i in np.unravel_index(int(_distance(yours, right).argmax()), yours.shape))


def array_table(array: Array, caption: str, center: tuple[int, ...], off: Array | None = None) -> Part:
    """An array as a table with its indices; of a large one, the part around an index.

    off: where numbers are wrong.
    """
    if not array.size or not array.ndim:
        return Sentence(f"{caption}: {format_number(array[()]) if array.size else 'it holds no numbers'}.")
    leading = center[:-2]
    plane = array[leading].reshape(-1, array.shape[-1])
    wrong = np.zeros(plane.shape, bool) if off is None else off[leading].reshape(plane.shape)
    row, column = (0, *center)[-2:]
    rows, columns = _window(row, plane.shape[0], ROWS), _window(column, plane.shape[1], COLUMNS)
    if leading:
        caption += f"; here [{', '.join(map(str, leading))}, :, :]"
    if len(rows) < plane.shape[0] or len(columns) < plane.shape[1]:
        caption += "; a part of it"
    header, cells = [*map(str, columns)], []
    for i in rows:
        cells.append([(WrongNumber if wrong[i, j] else str)(format_number(plane[i, j])) for j in columns])
    titled = array.ndim > 1
    if titled:
        header, cells = ["", *header], [[str(i), *row] for i, row in zip(rows, cells, strict=True)]
    right = frozenset(range(len(header)))
    return Table(cells, header, right, whole=right, label="numbers", caption=caption, titled=titled)


def _window(center: int, n: int, most: int) -> range:
    """At most so many indices of n, around one of them."""
    start = min(max(center - most // 2, 0), max(n - most, 0))
    return range(start, min(start + most, n))


def _arguments(evidences: list[Evidence]) -> list[Section]:
    """The inputs on which the mistakes were found: each case once, whole if it is tiny."""
    parts: list[Part] = []
    for case, arguments in {evidence.case: evidence.arguments for evidence in evidences}.items():
        arrays = {name: np.asarray(value) for name, value in arguments.items()}
        shapes = [Phrase(Term(name), f" {array.shape or 'a number'}") for name, array in arrays.items()]
        parts += [Heading(case[:1].upper() + case[1:]), Sentence(joined(shapes))]
        if sum(array.size for array in arrays.values()) <= TINY:
            parts.append(SideBySide([array_table(array, name, (0,) * array.ndim) for name, array in arrays.items()]))
    return [Section("The inputs", parts)] if parts else []


# ---- the student's file


def _source(marked: Marked) -> list[Section]:
    """The student's own lines, those of the wrong values marked; of a long file, what is around these."""
    lines = [cut(line, LONGEST_LINE) for line in marked.hand_in.source().splitlines()]
    marks: dict[int, list[tuple[str, Mark]]] = {}
    for name, verdict in marked.verdicts.items() if marked.grade is not None else ():
        number, mark = line_of(name, "\n".join(lines)), standing(verdict)
        if number is not None and mark.kind in ("wrong", "follows"):
            marks.setdefault(number, []).append((name, mark))
    shown: list[Line] = []
    last = 0
    for number, text in enumerate(lines, start=1):
        if _near(number, [*marks], len(lines)):
            gap = [Line("…")] if number > last + 1 else []
            shown += [*gap, _line(number, text, marks.get(number, []))]
            last = number
    shown += [Line("…")] if last < len(lines) else []
    return [Section("Your file", [Listing(shown)])] if lines else []


def _line(number: int, text: str, marks: Sequence[tuple[str, Mark]]) -> Line:
    """A line of the file, with what is wrong of the values that it computes."""
    kind = max((mark.kind for _, mark in marks), default="")  # "wrong" comes after "follows"
    return Line(text, number, kind, ", ".join(f"{name} {mark}" for name, mark in marks))


def _near(number: int, marks: Sequence[int], n: int) -> bool:
    """Whether a line is shown: all of a short file, of a long one what is near a mark, or its beginning."""
    if n <= WHOLE_SOURCE:
        return True
    return any(abs(number - mark) <= LINES_AROUND for mark in marks) if marks else number <= WHOLE_SOURCE
