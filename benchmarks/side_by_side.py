"""Timing of contenders in turn: A B C A B C..., so that a machine whose speed drifts is unfair to nobody."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

Contender = Callable[[], Any]


def block(run: Contender, repeats: int) -> float:
    """Seconds for one call, averaged over a block of calls."""
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


def in_turn(contenders: dict[str, Contender], seconds: float = 0.1, rounds: int = 15) -> dict[str, list[float]]:
    """For each contender, one time for each round; a block takes about `seconds`."""
    repeats = {}
    for name, run in contenders.items():
        once = block(run, 3)  # warm up: caches, compilers, allocators
        once = block(run, 20 if once < 0.01 else 1)
        repeats[name] = max(1, int(seconds / once))
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            gc.collect()
            times[name].append(block(run, repeats[name]))
    return times


def ratio(theirs: list[float], ours: list[float]) -> float:
    """The median over the rounds of their time against ours."""
    return statistics.median(their / our for their, our in zip(theirs, ours, strict=True))


def table(times: dict[str, list[float]], ours: str, goals: dict[str, float], unit: str = "us") -> None:
    """Print the median of each contender, and the median over the rounds of its time against ours."""
    scale = {"us": 1e6, "ms": 1e3, "s": 1.0}[unit]
    print(f"{'':<28}{'median, ' + unit:>12}{'times ours':>12}   goal")
    for name, values in times.items():
        times_ours, goal = ratio(values, times[ours]), goals.get(name)
        verdict = "" if goal is None else f"   {goal:g} {'reached' if times_ours >= goal else 'MISSED'}"
        print(f"{name:<28}{statistics.median(values) * scale:>12.1f}{times_ours:>12.2f}{verdict}")
