"""From starting Python to the first loss and gradient, with an empty cache of compiled code and with a warm one.

Goals: 2.5 s from an empty cache, 0.6 s with a warm one, imports included. (Compiling is most of the first figure.)
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.side_by_side import size

CODE = """
import numpy as np, tinygrad_ce as tg
logits = tg.Tensor(np.random.default_rng(0).normal(size=(32, 10)), requires_grad=True)
tg.losses.softmax_cross_entropy(logits, np.arange(32) % 10).backward()
assert logits.grad is not None
"""
GOALS = {"empty cache": 2.5, "warm cache": 0.6}


def seconds(cache: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", CODE], check=True, env={**os.environ, "TINYGRAD_CE_CACHE": cache})
    return time.perf_counter() - start


def main() -> None:
    print(__doc__)
    times: dict[str, list[float]] = {name: [] for name in GOALS}
    for _ in range(size(5, tiny=1)):
        with tempfile.TemporaryDirectory() as cache:
            times["empty cache"].append(seconds(cache))
            seconds(cache)
            times["warm cache"].append(seconds(cache))
    for name, goal in GOALS.items():
        median = statistics.median(times[name])
        print(f"{name:<14}{median:>6.2f} s   goal {goal:g} {'reached' if median <= goal else 'MISSED'}")


if __name__ == "__main__":
    main()
