"""`tinygrad-ce train`: a network is trained, measured, and with --out kept and drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinygrad_ce.cli.figures import figures_of, rows_by_class, show_figures
from tinygrad_ce.cli.folders import KeptRun
from tinygrad_ce.cli.results import ResultsFolder, graph_pictures, plots_of, run_record
from tinygrad_ce.cli.run import Run, check_positive, fit, prepared
from tinygrad_ce.cli.settings import TrainSettings
from tinygrad_ce.cli.terminal import console, in_command_words, leave_dropped_columns_to_the_summary, show
from tinygrad_ce.report.parts import Heading
from tinygrad_ce.report.words import several

WITH_FROM = ("epochs", "compiled", "start", "out")  # the options that go with --from; all others are those of the run


def train(
    context: typer.Context,
    settings: TrainSettings,
    compiled: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="whole epochs as one compiled function; without the option, if so many steps repay it",
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="go on with the run in this folder, for --epochs epochs more"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="write model.safetensors, run.json, history.png, boundary.png (2-D data), confusion.png or "
            "residuals.png here, and of the first batch graph and page, before and after training; "
            "with --from, its folder if there is no other"
        ),
    ] = None,
) -> None:
    """Train a network on 60 % of the data, watch it on 20 %, and measure it at the end on the other 20 %.

    Example:
      tinygrad-ce train moons --epochs 20 --out runs/moons
      tinygrad-ce train --from runs/moons --epochs 30
    """
    kept = None
    if start is not None:
        _check_nothing_else(context)
        kept, out = KeptRun(start), out or start
    elif not settings.data:
        raise typer.BadParameter("name a data set or a CSV file, as in: tinygrad-ce train moons", param_hint="DATA")
    check_positive(settings.epochs, "epochs")
    folder = ResultsFolder(out) if out is not None else None
    leave_dropped_columns_to_the_summary()
    run = prepared(settings) if kept is None else kept.fresh()
    show_data(run)
    console.print(run.model.summary(), highlight=False)
    pictures = graph_pictures(run, "before") if folder is not None else {}
    if kept is not None:
        run = kept.resume(run, settings.epochs)
    history = fit(
        run, settings.epochs, seed=None if kept else settings.seed, compile="auto" if compiled is None else compiled
    )
    if not len(history):
        console.print("stopped by Ctrl-C before the first epoch had ended: there is nothing to show")
        raise typer.Exit(130)
    figures = {name: figures_of(run.trainer, part, run.loss) for name, part in run.parts.items()}
    stopped = "" if history.stopped == "finished" else f" ({history.stopped})"
    show_figures(figures, f"after {several(len(run.trainer.history), 'epoch')}{stopped}")
    if folder is not None:
        trained = graph_pictures(run, "trained") if pictures else {}
        record = {"model.safetensors": run.trainer.save, "run.json": run_record(run, figures)}
        folder.write({**plots_of(run), **pictures, **trained, **record})
        console.print(f"wrote {', '.join(folder.written)} to {out}", highlight=False)


def _check_nothing_else(context: typer.Context) -> None:
    """Refuse settings beside --from: a run that goes on has its own."""
    typed = {
        name for name in context.params if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }
    others = [option.opts[0] for option in context.command.params if option.name in typed.difference(WITH_FROM)]
    if others:
        raise ValueError(
            f"--from goes on with the settings of that run: leave out {', '.join(others).replace('data', 'DATA')}"
        )


def show_data(run: Run) -> None:
    """Print a table of the data: parts, classes, features; and what became of the columns of a table."""
    show([Heading(run.train.name), rows_by_class(run)])
    scaled, features = int(run.train.numeric.sum()), run.train.n_features
    how = "standardised with the training part's mean and deviation"
    scaling = "" if not scaled else f", {how}" if scaled == features else f", {scaled} of them {how}"
    console.print(f"{features} features{scaling}", highlight=False)
    if run.settings.target is not None and run.train.preparation is not None:
        console.print(in_command_words(run.train.preparation.summary()), highlight=False, soft_wrap=True)
