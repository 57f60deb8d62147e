"""One step of Adam on a parameter of 1,000,000 numbers, against PyTorch's `foreach` and `fused` updates on the CPU.

Goal: 2 times as fast as the faster of the two.
"""

from __future__ import annotations

import os

import numpy as np

from benchmarks.side_by_side import Contender, in_turn, table

GOAL = 2.0


def ours(start: np.ndarray, grad: np.ndarray) -> Contender:
    import tinygrad_ce as tg

    parameter = tg.Tensor(start, requires_grad=True)
    parameter.grad = grad.copy()
    return tg.optim.Adam([parameter], lr=1e-3).step


def with_torch(start: np.ndarray, grad: np.ndarray, which: str) -> Contender:
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    parameter = torch.tensor(start, requires_grad=True)
    parameter.grad = torch.tensor(grad)
    return torch.optim.Adam([parameter], lr=1e-3, **{which: True}).step


def main() -> None:
    print(__doc__)
    generator = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        start, grad = (generator.normal(size=1_000_000).astype(dtype) for _ in range(2))
        contenders = {"tinygrad_ce": ours(start, grad)}
        try:
            contenders |= {f"PyTorch {which}": with_torch(start, grad, which) for which in ("foreach", "fused")}
        except ImportError:
            print("PyTorch is not installed: skipped")
        print(dtype.__name__)
        table(in_turn(contenders), "tinygrad_ce", {name: GOAL for name in contenders if "PyTorch" in name})


if __name__ == "__main__":
    main()
