"""`tinygrad-ce cache` and `warmup`: compiled training steps that are kept on disk, and kernels compiled ahead."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from tinygrad_ce import cache as places
from tinygrad_ce.cli import terminal
from tinygrad_ce.kernels import warmup as ahead
from tinygrad_ce.program import code_cache, kept_texts
from tinygrad_ce.report.parts import Heading, Table


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="remove them, and the programs kept for live pages")] = False,
) -> None:
    """List the compiled training steps that are kept on disk, or remove them.

    Example:
      tinygrad-ce cache
    """
    console = terminal.console
    folder = places.directory()
    if folder is None:
        raise OSError("nothing is kept: there is no directory for compiled code that only you can write to")
    if clear:
        count = code_cache.clear()
        kept_texts.clear()
        console.print(f"removed {_compiled_steps(count)} from {folder}", highlight=False, soft_wrap=True)
        return
    programs = code_cache.listing()
    rows = []
    for program in programs:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(program.used))
        rows.append((program.name.removeprefix("step_"), used, f"{program.bytes / 1000:,.0f}"))
    if rows:
        table = Table(rows, ("step", "last used", "kB"), right=frozenset({2}), whole=frozenset({1}))
        terminal.show([Heading(_compiled_steps(len(rows))), table])
    total = sum(program.bytes for program in programs) / 1e6
    words = f"{total:.1f} MB in {folder}; beyond {code_cache.LIMIT / 1e6:.0f} MB the oldest are removed"
    console.print(words, highlight=False, soft_wrap=True)


def warmup() -> None:
    """Compile every kernel now, so that no training waits for it.

    Example:
      tinygrad-ce warmup
    """
    from tinygrad_ce.kernels import jit as kernels  # brings Numba in, so not with the other commands

    console = terminal.console
    if not ahead.loops():
        why = "Numba is not installed" if kernels.numba is None else "NUMBA_DISABLE_JIT is set"
        console.print(f"{why}: there is nothing to compile", highlight=False)
        return
    folder = ahead.kept_in()
    if folder is None:
        raise OSError("nothing was kept: there is no directory for compiled code that only you can write to")
    start = time.perf_counter()
    calls = ahead.kernels_to_compile()
    columns = (TextColumn("compiling"), MofNCompleteColumn(), BarColumn(bar_width=12), TextColumn("{task.description}"))
    new = 0
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(calls))
        for name, call in calls:
            progress.update(task, description=name, refresh=True)
            before = ahead.compilations()
            call()
            new += ahead.compilations() > before
            progress.advance(task)
    if new == 0:
        words = f"all {len(calls)} kernels were there"
    elif new == len(calls):
        words = f"compiled {new} kernels"
    else:
        words = f"compiled {new} of {len(calls)} kernels; the others were there"
    seconds = time.perf_counter() - start
    console.print(f"{words} ({seconds:.1f} s); they are kept in {folder}", highlight=False, soft_wrap=True)


def _compiled_steps(count: int) -> str:
    return f"{count} compiled step{'' if count == 1 else 's'}"
