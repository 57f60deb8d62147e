"""`tinygrad-ce exercise`, `hint` and `unlock`: homework as files, its hints, and the solution that is locked in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinygrad_ce import assignments
from tinygrad_ce.cli.terminal import console, show
from tinygrad_ce.cli.views import check_writable
from tinygrad_ce.report.parts import Table, Words
from tinygrad_ce.report.words import visible

StudentFile = Annotated[Path, typer.Argument(metavar="FILE", help="the exercise, a .py or .ipynb file")]


def exercise(
    name: Annotated[
        str | None, typer.Argument(help="a ready exercise, or a teacher's file; without it, the ready ones are listed")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="where to write it: .py or .ipynb; else NAME.ipynb")] = None,
    teacher: Annotated[bool, typer.Option("--teacher", help="the teacher's version, with solution and rubric")] = False,
    password: Annotated[
        str | None, typer.Option(help="put the solution into the file, locked: unlock opens it")
    ] = None,
) -> None:
    """List the ready exercises, or write one as a file: what students fill in, or the teacher's version.

    Example:
      tinygrad-ce exercise
      tinygrad-ce exercise batch_norm --out student.ipynb
      tinygrad-ce exercise batch_norm --out teacher.py --teacher
    """
    if name is None:
        if out is not None or teacher or password is not None:
            raise ValueError("name the exercise to write: tinygrad-ce exercise lists them")
        show([_listing()])
        return
    problem = assignments.assignment_of(name)
    path = Path(f"{problem.name}.ipynb") if out is None else out
    check_writable(path, ".py", ".ipynb")
    if path.exists() and Path(name).exists() and path.samefile(name):
        raise ValueError(f"--out {path} is the teacher's file itself: name another one")
    path.parent.mkdir(parents=True, exist_ok=True)
    write = problem.to_notebook if path.suffix.lower() == ".ipynb" else problem.to_script
    write(path, teacher=teacher, password=password)
    console.print(f"wrote {path}: {problem.title}", highlight=False, soft_wrap=True)


def hint(
    file: StudentFile,
    name: Annotated[str, typer.Argument(help="what the hint is for, as d_W")],
) -> None:
    """Print the next hint for a value of an exercise, and count it in the file: each costs some of its points.

    Save the file first, and load it again afterwards where an editor has it open.

    Example:
      tinygrad-ce exercise one_neuron --out student.py
      tinygrad-ce hint student.py d_z
    """
    typer.echo(visible(assignments.take_hint(file, name)))


def unlock(
    file: StudentFile,
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, help="the teacher's; else it is asked for")],
) -> None:
    """Print the solution that is locked in the file of an exercise.

    Example:
      tinygrad-ce exercise one_neuron --out student.py --password swordfish
      tinygrad-ce unlock student.py --password swordfish
    """
    typer.echo(visible(assignments.unlock(file, password)))


def _listing() -> Table:
    problems = map(assignments.ready, assignments.names())
    rows = [
        (problem.name, Words(problem.title), ", ".join(problem.points), f"{sum(problem.points.values()):g}")
        for problem in problems
    ]
    return Table(rows, ("name", "title", "asked for", "points"), right=frozenset({3}), whole=frozenset({0}))
