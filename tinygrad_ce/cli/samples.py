"""`tinygrad-ce sample`: a small table to try the other commands with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinygrad_ce import data as datasets
from tinygrad_ce.cli.terminal import console
from tinygrad_ce.cli.views import check_writable
from tinygrad_ce.disk import write_whole


def sample(
    path: Annotated[Path, typer.Argument(metavar="CSV", help="the file to write; one that exists is refused")],
) -> None:
    """Write a small table with dates, words and missing values, to try the other commands with.

    Example:
      tinygrad-ce sample my.csv
    """
    check_writable(path, ".csv")
    if path.exists():
        raise FileExistsError(f"{path} exists; name a file that does not")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, datasets.sample_csv().encode())
    console.print(f"wrote {path}", highlight=False, soft_wrap=True)
