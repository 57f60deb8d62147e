"""The page of one student: what is right, what went wrong, on which numbers, in which line, and what to do next."""

from __future__ import annotations

import ast
from collections.abc import Iterable

import numpy as np

from tinygrad_ce.assignments import Assignment
from tinygrad_ce.core import Array
from tinygrad_ce.data.checks import visible
from tinygrad_ce.grading.grades import Evidence
from tinygrad_ce.grading.marked import LONGEST_LINE, Marked, for_students, line_of, points_text, standing
from tinygrad_ce.report.page import file_text, filled
from tinygrad_ce.report.words import cut, escaped, format_number
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
    score = f"{points_text(marked.score)} of {several_points(marked.possible)}"
    head = (
        f"<header><h1>{escaped(assignment.title)}</h1>"
        f'<p class="large"><b><bdi>{escaped(student)}</bdi></b> · {score}</p>'
        f'<p class="soft">{escaped(marked.hand_in.file.name)}</p></header>'
    )
    if marked.grade is None:
        sentence = f'<p><span class="verdict missing">– not graded</span> {escaped(marked.problem)}</p>'
        parts = [section("Why there are no points", sentence)]
    else:
        wrong = [name for name, verdict in marked.verdicts.items() if verdict is None or not verdict.right]
        remarks = "".join(f"<p>Besides: {escaped(remark)}</p>" for remark in marked.grade.remarks)
        parts = [section("Points", _points(marked), _where_to_begin(marked, wrong), _chain(marked), remarks)]
        parts += [_mistake(assignment, marked, name, solutions) for name in wrong]
        parts += [_arguments([marked.evidence[name] for name in wrong if name in marked.evidence])]
    parts += [_source(marked)]
    body = f"{head}\n<main>\n{''.join(parts)}\n</main>"
    title = f"{assignment.title}: {student}"
    return Page(page_html(title, body), "says what went wrong in", title, "student.html")


def page_html(title: str, body: str, script: str = "") -> str:
    """The text of a page of this folder."""
    css = file_text("tinygrad_ce.views", "run_page.css") + "\n" + file_text("tinygrad_ce.grading", "pages.css")
    skeleton = file_text("tinygrad_ce.grading", "page.html")
    return visible(filled(skeleton, title=escaped(title), css=css, body=body, script=script))


def section(title: str, *parts: str) -> str:
    """A part of a page under a heading."""
    return f"<section><h2>{escaped(title)}</h2>{''.join(parts)}</section>\n"


def scrolled(html: str, label: str) -> str:
    """What may be wider than a phone, in a frame that scrolls, by keys too."""
    return f'<div class="wide" tabindex="0" role="group" aria-label="{escaped(label)}">{html}</div>'


def several_points(points: float) -> str:
    """Points with their noun."""
    return f"{points_text(points)} {'point' if points == 1 else 'points'}"


def _points(marked: Marked) -> str:
    """The verdicts and points by what is asked for."""
    rows = ""
    for name, verdict in marked.verdicts.items():
        shown = standing(verdict)
        points = f"{points_text(marked.reached(name))} of {points_text(marked.points[name])}"
        rows += (
            f'<tr><th scope="row"><code>{escaped(name)}</code></th>'
            f'<td><span class="verdict {shown.kind}">{shown.sign} {escaped(shown.word)}</span></td>'
            f'<td class="number">{points}</td></tr>'
        )
    head = (
        '<thead><tr><th scope="col">asked for</th><th scope="col">verdict</th><th scope="col">points</th></tr></thead>'
    )
    return scrolled(f"<table>{head}<tbody>{rows}</tbody></table>", "verdicts and points")


def _where_to_begin(marked: Marked, wrong: list[str]) -> str:
    if not wrong:
        return "<p>All of it is right.</p>"
    first = next((name for name in wrong if standing(marked.verdicts[name]).kind != "follows"), wrong[0])
    return f'<p class="next">Begin with <code>{escaped(first)}</code>.</p>'


def _chain(marked: Marked) -> str:
    """What follows from what: each wrong value with those that are right for it."""
    followers: dict[str, list[str]] = {}
    for name, verdict in marked.verdicts.items():
        for source in verdict.follows if verdict is not None else ():
            followers.setdefault(source, []).append(name)
    items = (
        f"<li>{_codes([source])} → {_codes(names)}: right for your own {_codes([source])}, so the mistake is not here."
        f" It comes right when {_codes([source])} is.</li>"
        for source, names in followers.items()
    )
    return f"<h3>What follows from what</h3><ul>{''.join(items)}</ul>" if followers else ""


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"<code>{escaped(name)}</code>" for name in names)


def _mistake(assignment: Assignment, marked: Marked, name: str, solutions: bool) -> str:
    """One value that is not right: why, in which line, with which numbers, and what to try."""
    verdict, evidence = marked.verdicts[name], marked.evidence.get(name)
    shown = standing(verdict)
    title = f'<code>{escaped(name)}</code> <span class="verdict {shown.kind}">{shown.sign} {escaped(shown.word)}</span>'
    message = f"There is no {name} in what your function returns" if verdict is None else verdict.message
    stops = verdict is not None and verdict.mistake == "error"
    same = next(
        other for other, said in marked.verdicts.items() if said is verdict or (said and said.message == message)
    )
    if stops and same != name:
        return f"<section><h2>{title}</h2><p>As for {_codes([same])}: the function returns nothing.</p></section>\n"
    parts = [f"<p>{escaped(_sentence(message, assignment))}</p>"]
    source = marked.hand_in.source()
    line = line_of(name, source)
    if line is not None and not stops:
        own = escaped(source.splitlines()[line - 1].strip()[:LONGEST_LINE])
        parts.append(f"<p>{_numbered(marked, line)}: <code>{own}</code></p>")
    if evidence is not None and shown.kind != "follows":
        parts.append(_numbers(name, evidence, solutions))
    parts.append(f'<p class="next"><b>Next:</b> {_next_step(assignment, marked, name, line)}</p>')
    return f"<section><h2>{title}</h2>{''.join(parts)}</section>\n"


def _numbered(marked: Marked, line: int) -> str:
    """A line by its number; cells of a notebook are numbered through where they stand on the page."""
    return f"Line {line}{', as numbered below' if marked.hand_in.is_notebook else ''}"


def _sentence(words: str, assignment: Assignment) -> str:
    """Words as a sentence: they begin small where they follow a name in a terminal, and may name the teacher's file."""
    words = for_students(words)
    first = words.partition(" ")[0].rstrip(",")
    names = {getattr(node, "id", getattr(node, "arg", "")) for node in ast.walk(assignment.statements.tree)}
    words = words[:1].upper() + words[1:] if first.isalpha() and first not in names else words  # d_W stays d_W, and x x
    return words if words.endswith((".", "!", "?")) else f"{words}."


def _next_step(assignment: Assignment, marked: Marked, name: str, line: int | None) -> str:
    """A step to try, as HTML."""
    verdict, evidence = marked.verdicts[name], marked.evidence.get(name)
    mistake = "missing" if verdict is None else verdict.mistake or ""
    of = name.removeprefix("d_")
    if mistake in ("missing", "zeros"):
        returned = escaped(f'return {{..., "{name}": {name}}}')
        return f"compute it, and return it under its name: <code>{returned}</code>."
    if mistake == "error":
        return "call your function on such an input, and print what the line uses where it stops, each with its shape."
    if verdict is not None and verdict.follows:
        return f"mend {_codes(verdict.follows)} first, and run your file again: leave this line as it is."
    if "shape" in mistake or (evidence is not None and np.shape(evidence.yours) != np.shape(evidence.right)):
        return (
            f"write <code>print({escaped(name)}.shape, {escaped(of)}.shape)</code> below the line: both must be equal."
        )
    if mistake == "not finite":
        return "print each array that the line uses, and find the first that is not finite."
    if evidence is not None and np.size(evidence.yours) and assignment.forward is not None and of in evidence.arguments:
        at = ", ".join(map(str, _worst(evidence)))
        place = f"[{at}]" if at else ""
        return (
            f"check one number without calculus. Add 1e-6 to <code>{escaped(of + place)}</code>, compute the loss "
            f"again, and divide by 1e-6 what it grew by: <code>{escaped(name + place)}</code> must be that. "
            f"Yours is {format_number(evidence.yours[_worst(evidence)])}."
        )
    where = f"line {line}" if line is not None else "the line that computes it"
    return f"take {where} apart: print each array in it with its shape, and do one number with pencil and paper."


# ---- numbers


def _numbers(name: str, evidence: Evidence, solutions: bool) -> str:
    """The student's own numbers, those that are wrong marked; beside them the right ones, if they may be seen."""
    yours, right = np.asarray(evidence.yours), np.asarray(evidence.right)
    alike = yours.shape == right.shape
    off = _off(yours, right) if alike else None
    center = _worst(evidence) if alike else (0,) * yours.ndim
    count = f"; it must be {right.shape}" if off is None else f", {_share(off)} wrong"
    off = None if off is not None and off.all() else off  # a mark on every number says nothing
    tables = array_table(yours, f"your {name}, shape {yours.shape}{count}", center, off)
    if solutions:
        tables += array_table(right, f"the right {name}", center if alike else (0,) * right.ndim)
    return f'<p>Shown on: {escaped(evidence.case)}.</p><div class="arrays">{tables}</div>'


def _share(off: Array) -> str:
    return f"all {off.size}" if off.all() and off.size > 1 else f"{int(off.sum())} of {off.size}"


def _off(yours: Array, right: Array) -> Array:
    """Which numbers are visibly wrong: at least the worst one."""
    with np.errstate(all="ignore"):
        distance = np.abs(yours - right)
    distance = np.where(np.isfinite(distance), distance, np.inf)
    largest = np.abs(right[np.isfinite(right)]).max(initial=0.0)
    off: Array = (distance > 1e-4 * largest) | (distance == distance.max(initial=0.0)) & (distance > 0)
    return off


def _worst(evidence: Evidence) -> tuple[int, ...]:
    """The index of the number that is most wrong; of the first where the shapes differ."""
    yours, right = np.asarray(evidence.yours), np.asarray(evidence.right)
    if yours.shape != right.shape or not yours.size:
        return (0,) * yours.ndim
    with np.errstate(all="ignore"):
        distance = np.nan_to_num(np.abs(yours - right), nan=np.inf)
    return tuple(int(i) for i in np.unravel_index(int(distance.argmax()), distance.shape))


def array_table(array: Array, caption: str, center: tuple[int, ...], off: Array | None = None) -> str:
    """An array as a table with its indices; of a large one, the part around an index.

    off: where numbers are wrong.
    """
    if not array.size:
        return f"<p>{escaped(caption)}: it holds no numbers.</p>"
    leading = center[:-2]
    plane = array[leading].reshape(-1, array.shape[-1]) if array.ndim else array.reshape(1, 1)
    marked = np.zeros(plane.shape, bool) if off is None else off[leading].reshape(plane.shape)
    row, column = ((0, 0, *center))[-2:] if array.ndim else (0, 0)
    rows, columns = _window(row, plane.shape[0], ROWS), _window(column, plane.shape[1], COLUMNS)
    if leading:
        caption += f"; here [{', '.join(map(str, leading))}, :, :]"
    if len(rows) < plane.shape[0] or len(columns) < plane.shape[1]:
        caption += "; a part of it"
    titled = array.ndim > 1
    head = "".join(f'<th scope="col">{j}</th>' for j in columns) if array.ndim else ""
    head = f"<thead><tr>{'<td></td>' if titled else ''}{head}</tr></thead>" if head else ""
    body = ""
    for i in rows:
        cells = "".join(_number_cell(plane[i, j], bool(marked[i, j])) for j in columns)
        title = f'<th scope="row">{i}</th>' if titled else ""
        body += f"<tr>{title}{cells}</tr>"
    caption = f"<caption>{escaped(caption)}</caption>"
    return scrolled(f'<table class="numbers">{caption}{head}<tbody>{body}</tbody></table>', "numbers")


def _number_cell(value: float, off: bool) -> str:
    number = escaped(format_number(value))
    return f'<td class="off">{number}<span class="seen-by-readers"> wrong</span></td>' if off else f"<td>{number}</td>"


def _window(center: int, n: int, most: int) -> range:
    """At most so many indices of n, around one of them."""
    start = min(max(center - most // 2, 0), max(n - most, 0))
    return range(start, min(start + most, n))


def _arguments(evidences: list[Evidence]) -> str:
    """The inputs on which the mistakes were found: each case once, whole if it is tiny."""
    cases = {evidence.case: evidence.arguments for evidence in evidences}
    parts = ""
    for case, arguments in cases.items():
        arrays = {name: np.asarray(value) for name, value in arguments.items()}
        parts += f"<h3>{escaped(case[:1].upper() + case[1:])}</h3>"
        shapes = (f"<code>{escaped(name)}</code> {array.shape or 'a number'}" for name, array in arrays.items())
        parts += f"<p>{', '.join(shapes)}</p>"
        if sum(array.size for array in arrays.values()) <= TINY:
            tables = (array_table(array, name, (0,) * array.ndim) for name, array in arrays.items())
            parts += f'<div class="arrays">{"".join(tables)}</div>'
    return section("The inputs", parts) if cases else ""


# ---- the student's file


def _source(marked: Marked) -> str:
    """The student's own lines, those of the wrong values marked; of a long file, what is around these."""
    lines = [cut(line, LONGEST_LINE) for line in marked.hand_in.source().splitlines()]
    if not lines:
        return ""
    notes: dict[int, list[str]] = {}
    kinds: dict[int, str] = {}
    for name, verdict in marked.verdicts.items() if marked.grade is not None else ():
        number, shown = line_of(name, "\n".join(lines)), standing(verdict)
        if number is not None and shown.kind in ("wrong", "follows"):
            notes.setdefault(number, []).append(f"{name} {shown.sign} {shown.word}")
            kinds[number] = "wrong" if "wrong" in (shown.kind, kinds.get(number)) else "follows"
    numbers = [number for number in range(1, len(lines) + 1) if _near(number, kinds, len(lines))]
    shown_lines, last = "", 0
    for number in numbers:
        if number > last + 1:
            shown_lines += '<span class="line soft">…</span>'
        note = f" <em>← {escaped(', '.join(notes[number]))}</em>" if number in notes else ""
        kind = f" {kinds[number]}" if number in kinds else ""
        place = f'<span class="place">{number}</span>'
        shown_lines += f'<span class="line{kind}">{place}{escaped(lines[number - 1])}{note}</span>'
        last = number
    if last < len(lines):
        shown_lines += '<span class="line soft">…</span>'
    return section("Your file", scrolled(f'<pre class="source">{shown_lines}</pre>', "your file"))


def _near(number: int, marks: dict[int, str], n: int) -> bool:
    """Whether a line is shown: all of a short file, of a long one what is near a mark, or its beginning."""
    if n <= WHOLE_SOURCE:
        return True
    return any(abs(number - mark) <= LINES_AROUND for mark in marks) if marks else number <= WHOLE_SOURCE
