"""How far a training has come: a bar in a terminal, one line that moves in a notebook, the last state in a file."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from tinygrad_ce.report.html import progress_line
from tinygrad_ce.source_lines import notebook_kernel
from tinygrad_ce.train.callbacks import BuiltIn

if TYPE_CHECKING:
    from tinygrad_ce.train.loop import Loop

PAUSE = 0.1  # seconds between two messages to a notebook, which need not keep up with short epochs


class ShowProgress(BuiltIn):
    """Shows the epochs and the latest figures, as it is best where the training runs."""

    def before_fit(self, loop: Loop) -> None:
        """Show that nothing has been done yet."""
        self.line = _line_for(len(loop.epochs))

    def after_epoch(self, loop: Loop) -> None:
        """Advance by one epoch."""
        figures = [
            f"{name} {loop.figures[name]:.4f}"
            + (f" (val {loop.figures[f'val_{name}']:.4f})" if f"val_{name}" in loop.figures else "")
            for name in ("loss", "accuracy")
            if name in loop.figures
        ]
        self.line.advance("  ".join(figures))

    def after_fit(self, loop: Loop) -> None:
        """Leave the last figures where they stand."""
        self.line.end()


def announce(message: str) -> None:
    """Say something beside the results: on stderr, but in a notebook on stdout, as stderr looks like an error there."""
    print(message, file=sys.stdout if notebook_kernel() is not None else sys.stderr)


def _line_for(epochs: int) -> _TerminalLine | _JupyterLine | _MarimoLine:
    if notebook_kernel() is not None:
        return _JupyterLine(epochs)
    marimo = sys.modules.get("marimo")
    if marimo is not None and marimo.running_in_notebook():
        return _MarimoLine(epochs, marimo)
    return _TerminalLine(epochs)


class _TerminalLine:
    """A bar of rich's; where the output is no terminal, only its last state is written."""

    def __init__(self, epochs: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (TextColumn("epoch"), MofNCompleteColumn(), BarColumn(bar_width=12), TextColumn("{task.description}"))
        self.bar = Progress(*columns, console=Console(force_jupyter=False))
        self.task = self.bar.add_task("", total=epochs)
        self.bar.start()

    def advance(self, figures: str) -> None:
        self.bar.update(self.task, advance=1, description=figures)

    def end(self) -> None:
        self.bar.stop()


class _JupyterLine:
    """An output that is replaced by the next one: what is saved with the notebook is the last."""

    def __init__(self, epochs: int) -> None:
        from IPython import display

        self.epochs, self.epoch, self.figures = epochs, 0, ""
        self.output: Any = display.display(self._shown(), raw=True, display_id=True)  # type: ignore[no-untyped-call]
        self.last_shown = time.monotonic()

    def advance(self, figures: str) -> None:
        self.epoch, self.figures = self.epoch + 1, figures
        if time.monotonic() - self.last_shown >= PAUSE:
            self._show()

    def end(self) -> None:
        self._show()

    def _show(self) -> None:
        self.output.update(self._shown(), raw=True)
        self.last_shown = time.monotonic()

    def _shown(self) -> dict[str, str]:
        text = f"epoch {self.epoch}/{self.epochs}  {self.figures}".rstrip()
        return {"text/plain": text, "text/html": progress_line(self.epoch, self.epochs, text)}


class _MarimoLine:
    """marimo's own bar."""

    def __init__(self, epochs: int, marimo: Any) -> None:
        self.bar = marimo.status.progress_bar(total=epochs, title="epochs", show_eta=False, show_rate=False)
        self.updates = self.bar.__enter__()

    def advance(self, figures: str) -> None:
        self.updates.update(subtitle=figures)

    def end(self) -> None:
        self.bar.__exit__(None, None, None)
