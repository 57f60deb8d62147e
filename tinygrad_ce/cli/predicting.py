"""`tinygrad-ce predict` and `evaluate`: a run that was kept is asked about the rows of a new table."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from tinygrad_ce.cli.figures import figures_of, report_of, show_figures
from tinygrad_ce.cli.folders import KeptRun, saved_at
from tinygrad_ce.cli.terminal import console
from tinygrad_ce.cli.views import check_writable
from tinygrad_ce.disk import write_whole
from tinygrad_ce.report.words import visible

RunFolder: TypeAlias = Annotated[Path, typer.Argument(metavar="DIR", help="the folder of a run: train --out DIR")]
NewLevels: TypeAlias = Annotated[
    Literal["error", "ignore"],
    typer.Option(help="words that a column did not have in training: an error, or taken for none of those it had"),
]


def predict(
    run: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="the folder of a run: train --out DIR; or its model.safetensors alone"),
    ],
    table: Annotated[Path, typer.Argument(metavar="CSV", help="the rows to predict, with or without the target")],
    proba: Annotated[bool, typer.Option("--proba", help="also the probability of each class")] = False,
    new_levels: NewLevels = "error",
    out: Annotated[Path | None, typer.Option(help="the CSV file to write; without it, they are printed")] = None,
) -> None:
    """Predict the rows of a table with a run that was kept: classes by name, numbers in the units of its own table.

    Example:
      tinygrad-ce sample my.csv
      tinygrad-ce train my.csv --target renewed --missing mean --out runs/my
      tinygrad-ce predict runs/my my.csv --out predictions.csv
    """
    if out is not None:
        check_writable(out, ".csv")
    saved = saved_at(run)
    if proba and not saved.preparation.class_names:
        raise ValueError(f"--proba: {run} predicts numbers, which have no probabilities")
    rows = saved.preparation.features(table, new_levels)
    columns = {"prediction": [str(answer) for answer in saved.predict(rows)]}
    if proba:
        probabilities = saved.predict_proba(rows)
        for c, name in enumerate(saved.preparation.class_names):
            columns[f"P({name})"] = [str(p) for p in probabilities[:, c]]
    text = _as_csv(columns)
    if out is None:
        typer.echo("\n".join(visible(line) for line in text.split("\n")), nl=False)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, text.encode())
    console.print(f"wrote {len(rows)} predictions to {out}", highlight=False, soft_wrap=True)


def _as_csv(columns: dict[str, list[str]]) -> str:
    """The columns as the text of a CSV file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def evaluate(
    run: RunFolder,
    table: Annotated[Path, typer.Argument(metavar="CSV", help="rows with their target")],
    new_levels: NewLevels = "error",
) -> None:
    """Measure a run that was kept on the rows of another table: accuracy of classes; RMSE, MAE and R2 of numbers.

    Example:
      tinygrad-ce sample my.csv
      tinygrad-ce train my.csv --target renewed --missing mean --out runs/my
      tinygrad-ce evaluate runs/my my.csv
    """
    kept = KeptRun(run)
    part = kept.saved.preparation.dataset(table, new_levels).astype(kept.settings.dtype)
    show_figures({table.name: figures_of(kept.saved.trainer, part, kept.loss)}, f"{run}, {len(part)} rows")
    report = report_of(kept.saved.trainer, part, kept.loss)
    if report is None:
        console.print('precision, recall and more: pip install "tinygrad_ce[data]"', highlight=False)
    elif part.class_names:
        console.print(str(report), highlight=False, soft_wrap=True)
