"""tanh, sigmoid and softmax of 10,000 to 1,000,000 numbers: ours, what one writes in NumPy, and PyTorch.

Goal: faster than both in every row.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from benchmarks.side_by_side import Contender, in_turn, ratio


def with_numpy(name: str, x: np.ndarray) -> Contender:
    """As it stands in textbooks."""

    def softmax() -> np.ndarray:
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]

    def sigmoid() -> np.ndarray:
        return 1 / (1 + np.exp(-x))  # type: ignore[no-any-return]

    return {"tanh": lambda: np.tanh(x), "sigmoid": sigmoid, "softmax": softmax}[name]


def with_torch(name: str, x: np.ndarray) -> Contender | None:
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    t = torch.tensor(x)
    return {"tanh": lambda: torch.tanh(t), "sigmoid": lambda: torch.sigmoid(t), "softmax": lambda: t.softmax(-1)}[name]


def with_ours(name: str, x: np.ndarray) -> Contender:
    import tinygrad_ce as tg

    function: Any = getattr(tg.ops, name)
    return lambda: function(x)


def main() -> None:
    print(__doc__)
    generator = np.random.default_rng(0)
    print(f"{'':<34}{'ours, us':>12}{'NumPy':>12}{'PyTorch':>12}   times ours")
    missed = 0
    for dtype in (np.float32, np.float64):
        for name, shapes in {
            "tanh": [(10_000,), (100_000,), (1_000_000,)],
            "sigmoid": [(10_000,), (100_000,), (1_000_000,)],
            "softmax": [(1000, 10), (10_000, 10), (100_000, 10), (10, 1000), (100, 1000), (1000, 1000)],
        }.items():
            for shape in shapes:
                x = (3 * generator.normal(size=shape)).astype(dtype)
                made = {"ours": with_ours(name, x), "NumPy": with_numpy(name, x), "PyTorch": with_torch(name, x)}
                times = in_turn({who: run for who, run in made.items() if run is not None}, seconds=0.02, rounds=9)
                ratios = {who: ratio(times[who], times["ours"]) for who in times if who != "ours"}
                missed += any(value < 1 for value in ratios.values())
                cells = "".join(f"{np.median(t) * 1e6:>12.1f}" for t in times.values())
                told = "   ".join(f"{who} {v:.2f}{'' if v >= 1 else ' MISSED'}" for who, v in ratios.items())
                print(f"{f'{name} {shape} {dtype.__name__}':<34}{cells}   {told}", flush=True)
    print(f"goal: missed in {missed} rows")


if __name__ == "__main__":
    main()
