"""`tinygrad-ce train`: a network is trained, measured, and with --out drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

import tinygrad_ce as tg
from tinygrad_ce.cli.results import ResultsFolder, boundary_plot, graph_pictures, run_record
from tinygrad_ce.cli.run import Run, prepared
from tinygrad_ce.cli.settings import Settings
from tinygrad_ce.cli.terminal import console


def train(
    settings: Settings,
    compiled: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="whole epochs as one compiled function; without the option, if so many steps repay it",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="write history.png, boundary.png (2-D data), graph.svg, step.html and run.json here"),
    ] = None,
) -> None:
    """Train a network on three quarters of the data, and measure it on the rest."""
    folder = ResultsFolder(out) if out is not None else None
    run = prepared(settings)
    show_data(run)
    console.print(run.model.summary(), highlight=False)
    pictures = graph_pictures(run) if folder is not None else {}
    history = run.trainer.fit(
        run.train.X,
        run.targets(run.train),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        validation=(run.test.X, run.targets(run.test)),
        compile="auto" if compiled is None else compiled,
        progress=True,
        seed=settings.seed,
    )
    if not len(history):
        console.print("stopped by Ctrl-C before the first epoch had ended: there is nothing to show")
        raise typer.Exit(130)
    figures = {
        name: run.trainer.evaluate(part.X, run.targets(part))
        for name, part in (("train", run.train), ("test", run.test))
    }
    show_figures(figures, history)
    if folder is not None:
        plots = {"history.png": history.plot, "boundary.png": boundary_plot(run)}
        folder.write({**plots, **pictures, "run.json": run_record(run, figures, history)})
        console.print(f"wrote {', '.join(folder.written)} to {out}", highlight=False)


def show_data(run: Run) -> None:
    """Print a table of the data: parts, classes, features."""
    table = Table(title=run.train.name)
    table.add_column("class")
    for part in ("training rows", "test rows"):
        table.add_column(part, justify="right")
    for c, name in enumerate(run.train.class_names):
        table.add_row(str(name), *(str(int((part.y == c).sum())) for part in (run.train, run.test)))
    table.add_section()
    table.add_row("all", str(len(run.train)), str(len(run.test)))
    console.print(table)
    scaled, features = int(run.train.numeric.sum()), run.train.n_features
    how = "standardised with the training part's mean and deviation"
    scaling = "" if not scaled else f", {how}" if scaled == features else f", {scaled} of them {how}"
    console.print(f"{features} features{scaling}", highlight=False)


def show_figures(figures: dict[str, dict[str, float]], history: tg.History) -> None:
    """Print the final table, and how training ended if not by its last epoch."""
    table = Table(
        title=f"after {len(history)} epochs" + ("" if history.stopped == "finished" else f" ({history.stopped})")
    )
    table.add_column("part")
    for name in figures["test"]:
        table.add_column(name, justify="right")
    for part, row in figures.items():
        table.add_row(part, *(f"{value:.4f}" for value in row.values()))
    console.print(table)
