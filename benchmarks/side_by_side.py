"""Timing of contenders in turn: A B C A B C..., so that a machine whose speed drifts is unfair to nobody."""

from __future__ import annotations

import gc
import importlib.util
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, TypeVar

Contender = Callable[[], Any]
T = TypeVar("T")

TINY = os.environ.get("BENCHMARKS_TINY") == "1"  # the tests: whether everything runs; no figure means anything then


def size(full: T, tiny: T) -> T:
    """One of the two: how much is measured, or as little as shows that a benchmark runs."""
    return tiny if TINY else full


def installed(package: str) -> bool:
    """Whether a peer is there; if not, one line says that it is skipped."""
    if importlib.util.find_spec(package) is not None:
        return True
    print(f"{package} is not installed: skipped")
    return False


def named(contenders: dict[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """The contenders by the packages that they need, those that are installed, each with its version: "torch 2.9"."""
    return {f"{package} {version(package)}": start for package, start in contenders.items() if installed(package)}


def block(run: Contender, repeats: int) -> float:
    """Seconds for one call, averaged over a block of calls."""
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


def in_turn(contenders: dict[str, Contender], seconds: float = 0.1, rounds: int = 15) -> dict[str, list[float]]:
    """For each contender, one time for each round; a block takes about `seconds`."""
    if TINY:
        return {name: [block(run, 1)] for name, run in contenders.items()}
    repeats = {}
    for name, run in contenders.items():
        once = block(run, 3)  # warm up: caches, compilers, allocators
        once = block(run, 20 if once < 0.01 else 1)
        repeats[name] = max(1, int(seconds / once))
    times: dict[str, list[float]] = {name: [] for name in contenders}
    with heap_frozen():
        for _ in range(rounds):
            for name, run in contenders.items():
                gc.collect()
                times[name].append(block(run, repeats[name]))
    return times


@contextmanager
def heap_frozen() -> Iterator[None]:
    """Inside, the garbage collector skips all that was there: nobody pays for the modules of the other libraries."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def ratio(theirs: list[float], ours: list[float]) -> float:
    """The median over the rounds of their time against ours."""
    return statistics.median(their / our for their, our in zip(theirs, ours, strict=True))


def verdict(value: float, least: float | None = None, most: float | None = None) -> str:
    """The goal, and whether the value has reached it; nothing where there is no goal."""
    if least is not None:
        return f"goal at least {least:g} {'reached' if value >= least else 'MISSED'}"
    if most is not None:
        return f"goal at most {most:g} {'reached' if value <= most else 'MISSED'}"
    return ""


def table(times: dict[str, list[float]], ours: str, goals: dict[str, float], unit: str = "us") -> None:
    """Print the median of each contender, and the median over the rounds of its time against ours."""
    scale = {"us": 1e6, "ms": 1e3, "s": 1.0}[unit]
    print(f"{'':<28}{'median, ' + unit:>12}{'times ours':>12}   goal")
    for name, values in times.items():
        times_ours, goal = ratio(values, times[ours]), goals.get(name)
        reached = "" if goal is None else f"   {goal:g} {'reached' if times_ours >= goal else 'MISSED'}"
        print(f"{name:<28}{statistics.median(values) * scale:>12.1f}{times_ours:>12.2f}{reached}")
