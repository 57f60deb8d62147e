"""Where the commands print, and how bad input ends one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console

# No markup, no emoji: names of classes and files are the user's, and are shown as they are.
console = Console(markup=False, emoji=False)
errors = Console(stderr=True, markup=False, emoji=False)

EXPECTED = (
    *(ValueError, TypeError, IndexError, OSError, ImportError),
    *(ArithmeticError, AssertionError, MemoryError),
)


def report_errors(command: Callable[..., None]) -> Callable[..., None]:
    """The same command, but bad input ends it with one message and exit code 1, not with a traceback."""

    @functools.wraps(command)
    def reporting(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except EXPECTED as error:
            errors.print("error:", style="bold red", end=" ")
            errors.print(str(error) or type(error).__name__, highlight=False, soft_wrap=True)
            raise typer.Exit(1) from None

    return reporting
