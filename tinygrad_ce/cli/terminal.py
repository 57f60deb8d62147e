"""Where the commands print, and how bad input ends one."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from tinygrad_ce.report.parts import Part
from tinygrad_ce.report.text import as_text, for_terminal
from tinygrad_ce.report.words import visible


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


def show(parts: Sequence[Part]) -> None:
    """Print the parts of a report, in signs that the terminal knows."""
    text = for_terminal(as_text(parts, console.width), console.encoding)
    console.print(text, highlight=False, soft_wrap=True)


# What the library calls an option, and what the command calls it: a message says what to type.
OPTIONS = (
    (r"regression=True", "--loss mse"),
    (r"day_first=True", "--day-first"),
    (r"day_first=False", "--no-day-first"),
    (r"drop=(\[\.\.\.\])?", "--drop"),
    (r"(missing|delimiter|decimal|encoding)=", r"--\1 "),
    (r"most_levels=", "--most-levels "),
    (r"new_levels=", "--new-levels "),
    (r"from_csv\(\.\.\., --encoding \"cp1252\"\)", "--encoding cp1252"),
    (r"preparation\.features\(table\)", "tinygrad-ce predict"),
    (r", or pass stratify=False", ""),  # classes are always spread over the parts here
)

EXPECTED = (
    *(ValueError, TypeError, IndexError, OSError, ImportError),
    *(ArithmeticError, AssertionError, MemoryError),
)


def in_command_words(message: str) -> str:
    """A message of the library with its options as they are typed here; what stands in quotes is the user's.

    >>> in_command_words('fill it in, or pass missing="mean"')
    'fill it in, or pass --missing "mean"'
    """
    for library, command in OPTIONS:
        message = re.sub(rf"(?<!')\b{library}", command, message)
    return message


def leave_dropped_columns_to_the_summary() -> None:
    """Silence, for the rest of the command, the warning of what a summary says that the command prints or writes."""
    warnings.filterwarnings("ignore", ".*: dropped: column", UserWarning)


def _show_warnings() -> Callable[..., None]:
    """A function that prints a warning without the line of our code that gave it, and each text once.

    A command may read the same table several times.
    """
    said: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        text = in_command_words(str(message))
        if text not in said:
            said.add(text)
            errors.print("warning:", style="bold yellow", end=" ")
            errors.print(text, highlight=False, soft_wrap=True)

    return show


def report_errors(command: Callable[..., None]) -> Callable[..., None]:
    """The same command, but bad input ends it with one message and exit code 1, and a warning is one line as well."""

    @functools.wraps(command)
    def reporting(*args: Any, **kwargs: Any) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("default", UserWarning)
                warnings.showwarning = _show_warnings()
                command(*args, **kwargs)
        except EXPECTED as error:
            errors.print("error:", style="bold red", end=" ")
            errors.print(in_command_words(str(error)) or type(error).__name__, highlight=False, soft_wrap=True)
            raise typer.Exit(1) from None

    return reporting
