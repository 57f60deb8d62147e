"""Where the commands print, and how bad input ends one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from tinygrad_ce.data.checks import visible


class PlainConsole(Console):
    """Names of classes and files are the user's, and are shown as they are.

    So there is no markup and no emoji, and an escape code among them is printed, not obeyed.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Every text passes here on its way into a line or a table."""
        return super().render_str(visible(text), **options)


console = PlainConsole()
errors = PlainConsole(stderr=True)

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
