"""`tinygrad-ce grade`: the hand-ins of a class, each run alone and graded with reasons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from tinygrad_ce import assignments
from tinygrad_ce.cli.run import check_positive
from tinygrad_ce.cli.terminal import console, show
from tinygrad_ce.cli.views import check_writable
from tinygrad_ce.grading.marked import Marked, points_text, standing
from tinygrad_ce.grading.marking import mark_class
from tinygrad_ce.grading.results import write_all, write_csv
from tinygrad_ce.report.parts import Heading, Part, Table
from tinygrad_ce.report.words import several


def grade(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="what was handed in, scripts and notebooks: as Gradescope, Moodle, Canvas or nbgrader export it, "
            "or a file or a folder for each student",
        ),
    ],
    exercise: Annotated[str, typer.Option(help="a ready exercise by its name, or a teacher's file, .py or .ipynb")],
    out: Annotated[
        Path, typer.Option(help="the CSV file to write; the pages go into a folder of this name beside it")
    ] = Path("grades.csv"),
    seconds: Annotated[int, typer.Option(help="that each hand-in may take")] = 10,
    megabytes: Annotated[int, typer.Option(help="of memory that each hand-in may take")] = 1000,
    results: Annotated[
        Literal["gradescope", "otter", "prairielearn"] | None,
        typer.Option(help="for another grading system: a JSON file beside the page of each student"),
    ] = None,
    solutions: Annotated[bool, typer.Option("--solutions", help="show students the right numbers, too")] = False,
) -> None:
    """Grade a class: which gradients are right, and which mistakes are in the others, on a page for each student.

    Each hand-in runs alone, with limits of time and memory; what it writes elsewhere, starts, or sends is refused. That
    guards against accidents and is no security boundary: grade people whom you do not trust on a machine of its own.

    Example:
      tinygrad-ce exercise one_neuron --out submissions/ada.py
      tinygrad-ce grade submissions --exercise one_neuron --out grades.csv
    """
    check_positive(seconds, "seconds")
    check_positive(megabytes, "megabytes")
    check_writable(out, ".csv")
    pages = out.with_suffix("")
    _check_apart(folder, out)
    problem = assignments.assignment_of(exercise)
    marked = _marked(folder, problem, seconds, megabytes)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_csv(marked, out)
    index = write_all(problem, marked, pages, results or "", solutions)
    show(_parts(problem, marked))
    console.print(f"wrote {out} and {index}: {_summary(marked)}", highlight=False, soft_wrap=True)


def _marked(folder: Path, problem: assignments.Assignment, seconds: float, megabytes: float) -> list[Marked]:
    """The graded class; a bar shows how far it is."""
    columns = TextColumn("grading"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("grading", total=None)

        def progress(done: int, count: int) -> None:
            bar.update(task, completed=done, total=count)

        return mark_class(folder, problem, seconds, megabytes, progress=progress)


def _check_apart(folder: Path, out: Path) -> None:
    """ValueError where grades would lie among the hand-ins: they would be taken for some the next time."""
    hand_ins, pages = folder.absolute().resolve(), out.with_suffix("").absolute().resolve()
    if pages.is_relative_to(hand_ins):
        raise ValueError(f"--out {out} lies in {folder}, among the hand-ins: name a file outside of it")
    if pages.exists() and not pages.is_dir():
        raise FileExistsError(
            f"--out {out}: the pages go into {out.with_suffix('')}, which is a file; name another one"
        )


def _parts(problem: assignments.Assignment, marked: Sequence[Marked]) -> list[Part]:
    """A row for each student: the score, and the verdicts by sign and word."""
    rows = []
    for one in marked:
        score = f"{points_text(one.score)}/{points_text(one.possible)}"
        verdicts = map(standing, one.verdicts.values()) if one.grade is not None else ["not graded"]
        rows.append((one.hand_in.student, score, *verdicts))
    title = f"{problem.title}: {several(len(marked), 'hand-in')}"
    return [Heading(title), Table(rows, ("student", "points", *problem.points), right=frozenset({1}))]


def _summary(marked: Sequence[Marked]) -> str:
    """How the class has done, in one line."""
    middle = f"median {points_text(median(one.score for one in marked))} of {points_text(marked[0].possible)} points"
    left = sum(one.grade is None for one in marked)
    refused = f"; {left} could not be graded, and {'has' if left == 1 else 'have'} 0 points" if left else ""
    return f"{several(len(marked), 'hand-in')}, {middle}{refused}"
