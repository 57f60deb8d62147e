"""`tinygrad-ce source`: one training step of the network as a program."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import tinygrad_ce as tg
from tinygrad_ce.cli.run import Run, first_batch, prepared
from tinygrad_ce.cli.settings import Settings, Without
from tinygrad_ce.report.words import visible


def source(
    settings: Annotated[Settings, Without("epochs", "patience")],
    lowered: Annotated[bool, typer.Option("--lowered", help="the loops that are compiled, instead of NumPy")] = False,
    exact: Annotated[bool, typer.Option("--exact", help="with the forms that keep the last digits")] = False,
    javascript: Annotated[bool, typer.Option("--javascript", help="as an ES module, instead of NumPy")] = False,
) -> None:
    """Print one training step of the network, with the optimizer's update, as NumPy that runs on its own.

    Example:
      tinygrad-ce source moons --hidden 8 --optimizer sgd
    """
    if lowered + exact + javascript > 1:
        raise typer.BadParameter("choose one of --lowered, --exact and --javascript")
    program = program_of_first_batch(prepared(settings))
    text = program.lowered if lowered else program.javascript if javascript else program.text(exact)
    typer.echo(visible(text))


def program_of_first_batch(run: Run) -> tg.Program:
    """The training step, traced on the first batch that training would see."""
    X, y = first_batch(run)
    model, loss, optimizer = run.model.train(), run.trainer.loss, run.trainer.optimizer

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        cost = loss(model(x), y)
        cost.backward()
        optimizer.step()
        return cost

    return tg.trace(step, X, y)
