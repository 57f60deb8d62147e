"""The results of a class as files: a table for a teacher, and what Gradescope, Otter and PrairieLearn read."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tinygrad_ce.assignments import Assignment
from tinygrad_ce.disk import whole_file
from tinygrad_ce.grading.marked import Marked, for_students, points_text, standing
from tinygrad_ce.grading.student_page import student_page
from tinygrad_ce.grading.teacher_page import page_names, teacher_page
from tinygrad_ce.report.words import cut

LONGEST = 5000  # letters of a text in a results file
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four: full-width forms


def write_all(
    assignment: Assignment,
    marked: Sequence[Marked],
    folder: str | Path,
    results: str = "",
    solutions: bool = False,
) -> Path:
    """Write a page for the teacher, index.html, and one for each student beside it; the teacher's page.

    folder: made if it is not there. results: "gradescope", "otter" or "prairielearn" for a JSON file beside each
    student's page, "" for none. solutions: whether students see the right numbers. Raises ValueError for other
    results.
    """
    if results and results not in RESULTS:
        raise ValueError(f"results: {results!r} is none of {', '.join(RESULTS)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for one, name in zip(marked, page_names(marked), strict=True):
        student_page(assignment, one, solutions).save(folder / f"{name}.html")
        if results:
            _write_json(RESULTS[results](one), folder / f"{name}.json")
    return teacher_page(assignment, marked).save(folder / "index.html")


def write_csv(marked: Sequence[Marked], path: str | Path) -> None:
    """Write a table with a row for each hand-in, as spreadsheets and pandas read it.

    Its columns: student, file, score, possible, then by what is asked for its points and its mistake ("right" where
    there is none), and problem. It begins with a byte order mark, without which Excel takes UTF-8 for another code;
    no text in it is run as a formula.
    """
    names = list(dict.fromkeys(name for one in marked for name in one.points))
    header = ["student", "file", "score", "possible"]
    header += [column for name in names for column in (name, f"{name} mistake")]
    with whole_file(path) as draft, draft.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([_cell(title) for title in [*header, "problem"]])
        for one in marked:
            row = [_cell(one.hand_in.student), _cell(one.hand_in.file.name)]
            row += [points_text(one.score), points_text(one.possible)]
            for name in names:
                row += [points_text(one.reached(name)), _cell(_mistake(one, name))] if name in one.points else ["", ""]
            writer.writerow([*row, _cell(one.problem)])


def _mistake(marked: Marked, name: str) -> str:
    return standing(marked.verdicts[name]).word if marked.grade is not None else ""


def _cell(text: str) -> str:
    """A text that a spreadsheet shows as it is: one that begins like a formula gets an apostrophe before it."""
    text = _text(text).replace("\n", " ").strip(" ")
    return f"'{text}" if text.startswith(_FORMULA) else text


def gradescope(marked: Marked) -> dict[str, Any]:
    """The results.json of Gradescope: a test for each value that is asked for.

    What only the teacher is to see, the remark and what was printed, is a hidden test.
    """
    tests: list[dict[str, Any]] = [
        {
            "name": name,
            "score": marked.reached(name),
            "max_score": float(marked.points[name]),
            "status": "passed" if standing(verdict).kind == "right" else "failed",
            "output": _words(marked, name),
            "output_format": "text",
            "visibility": "visible",
        }
        for name, verdict in marked.verdicts.items()
    ]
    if for_teacher := "\n".join(filter(None, (marked.remark, marked.printed))):
        output = _text(for_teacher)
        tests.append({"name": "for the teacher", "output": output, "output_format": "text", "visibility": "hidden"})
    return {
        "score": marked.score,
        "execution_time": _finite(marked.seconds),
        "output": _summary(marked),
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
    }


def otter(marked: Marked) -> dict[str, Any]:
    """The results that Otter's `GradingResults.from_ottr_json` reads: a test file for each value that is asked for.

    A test there is passed or failed: points that were reached in part are one test of each kind.
    """
    return {
        "test_file_results": [
            {"filename": f"{name}.py", "points": None, "test_case_results": _cases(marked, name)}
            for name in marked.points
        ]
    }


def _cases(marked: Marked, name: str) -> list[dict[str, Any]]:
    words, reached, possible = _words(marked, name), marked.reached(name), float(marked.points[name])
    parts = [(reached, True), (possible - reached, False)]
    case = {"name": name, "code": "", "hidden": False}
    return [
        {
            "passed": passed,
            "error": None if passed else words,
            "test_case": {
                **case,
                "points": points,
                "success_message": words if passed else None,
                "failure_message": None if passed else words,
            },
        }
        for points, passed in parts
        if points > 0 or (not possible and passed)
    ]


def prairielearn(marked: Marked) -> dict[str, Any]:
    """The results.json of a grader outside of PrairieLearn, scores from 0 to 1.

    A file that did not run is not gradable there: its student loses no attempt.
    """
    if marked.grade is None:
        return {
            "gradable": False,
            "score": 0.0,
            "message": _text(marked.problem),
            "format_errors": [_text(marked.problem)],
        }
    return {
        "gradable": True,
        "score": marked.score / marked.possible if marked.possible else 0.0,
        "message": _summary(marked),
        "output": "",
        "tests": [
            {
                "name": name,
                "description": f"your {name}",
                "points": marked.reached(name),
                "max_points": float(marked.points[name]),
                "message": _words(marked, name),
                "output": "",
            }
            for name in marked.points
        ],
    }


RESULTS: dict[str, Callable[[Marked], dict[str, Any]]] = {
    "gradescope": gradescope,
    "otter": otter,
    "prairielearn": prairielearn,
}


def _summary(marked: Marked) -> str:
    """What a student reads first."""
    score = f"{points_text(marked.score)} of {points_text(marked.possible)} points"
    return score if marked.grade is not None else _text(f"{score}. {marked.problem}")


def _words(marked: Marked, name: str) -> str:
    """What is said of one value."""
    if marked.grade is None:
        return _text(marked.problem)
    verdict = marked.verdicts[name]
    if verdict is None:
        return f"There is no {name} in what your function returns"
    words = for_students(verdict.message)
    return _text(words if verdict.right or verdict.follows else f"wrong ({verdict.mistake}): {words}")


def _text(text: str) -> str:
    """A text that any reader of JSON and CSV takes: no control characters, no half of a letter, not too long."""
    return cut(text, LONGEST)


def _finite(number: float) -> float:
    return round(number, 3) if number == number and abs(number) != float("inf") else 0.0


def _write_json(content: dict[str, Any], path: Path) -> None:
    with whole_file(path) as draft:
        draft.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
