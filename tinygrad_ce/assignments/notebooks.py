"""Notebooks as a list of cells, each Markdown or code, and files as text: how exercises are written and read."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tinygrad_ce.assignments.statements import Statements
from tinygrad_ce.data.checks import extra
from tinygrad_ce.disk import write_whole


class Cell(NamedTuple):
    """A cell of a notebook."""

    kind: Literal["markdown", "code"]
    text: str


def checked_ending(path: str | Path, ending: str) -> Path:
    """The path, if its name ends so. ValueError for another one."""
    path = Path(path)
    if path.suffix != ending:
        write = "to_notebook" if path.suffix == ".ipynb" else "to_script" if path.suffix == ".py" else ""
        other = f"write {write}(...) for a {path.suffix} file" if write else f"write {path.stem or 'student'}{ending}"
        raise ValueError(f"{path} must end in {ending}: {other}")
    return path


def grouped(code: Statements, statements: Iterable[ast.stmt]) -> Iterator[Cell]:
    """Cells of code: each function alone, and what stands between functions together."""
    for is_function, group in groupby(statements, lambda node: isinstance(node, ast.FunctionDef)):
        texts = [code.as_written(statement) for statement in group]
        yield from (Cell("code", text) for text in (texts if is_function else ["\n".join(texts)]))


def write_notebook(path: Path, cells: Iterable[Cell]) -> None:
    """Write cells as a notebook that has not been run."""
    nbformat = extra("nbformat", "classroom")
    new = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(
        cells=[new[cell.kind](cell.text, id=f"cell-{k}") for k, cell in enumerate(cells)],
        metadata={"kernelspec": kernel, "language_info": {"name": "python"}},
    )
    nbformat.validate(notebook)
    write_whole(path, text_of_notebook(notebook).encode())


def text_of_notebook(notebook: Any) -> str:
    """What stands in the file of a notebook."""
    text: str = extra("nbformat", "classroom").writes(notebook)
    return text


def read_notebook(path: Path) -> Any:
    """A notebook as nbformat reads it. ValueError for a file that is none."""
    nbformat = extra("nbformat", "classroom")
    try:
        return nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
    except OSError:
        raise
    except Exception as error:  # whatever the reader raises for what is no notebook
        raise ValueError(f"{path.name} is no notebook: {str(error).splitlines()[0]}") from None


def cells_of(path: Path) -> list[Cell]:
    """The cells of a notebook, as they stand in it."""
    return [Cell(cell.cell_type, cell.source) for cell in read_notebook(path).cells if cell.cell_type != "raw"]
