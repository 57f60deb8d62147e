"""The command `tinygrad-ce`: train a network on a data set, check its gradients, print, explain and draw them.

Each command is an ordinary function in the file of its subject; this file lists them, in the order of `--help`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated

import typer

import tinygrad_ce as tg
from tinygrad_ce.cli import (
    caches,
    checking,
    exercising,
    grading,
    predicting,
    reporting,
    samples,
    selftest,
    source,
    terminal,
    training,
    views,
)
from tinygrad_ce.cli.run import Run, prepared
from tinygrad_ce.cli.settings import Settings, expand_settings

__all__ = ["Run", "Settings", "app", "main", "prepared"]

COMMANDS = (
    samples.sample,
    training.train,
    predicting.predict,
    predicting.evaluate,
    reporting.report,
    checking.check,
    views.gradients,
    views.explain,
    views.draw,
    views.step,
    views.live,
    source.source,
    exercising.exercise,
    exercising.hint,
    exercising.unlock,
    grading.grade,
    caches.cache,
    caches.warmup,
    selftest.selftest,
)

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help=__doc__.split("\n\n")[0],
    rich_markup_mode=None,
)


def _help_of(command: Callable[..., None]) -> str:
    """The docstring, with a mark that keeps the lines of its example as they are."""
    return (inspect.getdoc(command) or "").replace("Example:", "\b\nExample:")


for command in COMMANDS:
    app.command(help=_help_of(command))(expand_settings(terminal.report_errors(command)))


def _print_version(asked: bool) -> None:
    if asked:
        terminal.console.print(f"tinygrad_ce {tg.__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Train toy networks, inspect every gradient, and check that it is right."""


def main() -> None:
    """Run the command line."""
    app()
