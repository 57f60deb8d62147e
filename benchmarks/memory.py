"""Peak memory of loss and gradient, beyond the logits and targets, in units of the logits' own size.

1.00 is the gradient itself. Goal: no other array of that size, with any option. Each case runs in a process of its own;
what is measured is the largest resident size that the system has seen (POSIX only).
"""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

from benchmarks.side_by_side import installed, size

ROWS, CLASSES = size((4000, 10000), tiny=(40, 100))
GOAL = 1.1  # times the logits
SETUP = """
import resource, sys, numpy as np
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
N, C = {rows}, {classes}
generator = np.random.default_rng(0)
def arrays(n, classes, soft):
    z = generator.random((n, classes), np.float32)
    y = np.full((n, classes), np.float32(1 / classes)) if soft else generator.integers(0, classes, n)
    return z, y
"""
OURS = """
import tinygrad_ce as tg
weight = np.linspace(0.5, 1.5, C).astype(np.float32)
def run(z, y):
    logits = tg.Tensor(z)
    logits.requires_grad = True
    before = peak()
    tg.losses.{loss}(logits, y{options}).backward()
    return before
"""
TORCH = """
import os, torch
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
def run(z, y):
    logits, targets = torch.from_numpy(z).requires_grad_(), torch.from_numpy(y)
    before = peak()
    torch.nn.functional.cross_entropy(logits, targets).backward()
    return before
"""
JAX = """
import jax, optax
loss = optax.softmax_cross_entropy{integer}
step = jax.jit(jax.value_and_grad(lambda z, y: loss(z, y).mean()))
def run(z, y):
    z, y = jax.numpy.asarray(z), jax.numpy.asarray(y)
    before = peak()
    step(z, y)[1].block_until_ready()
    return before
"""
MEASURE = """
run(*arrays(2, C, {soft}))  # compiled, imported
before = run(*arrays(N, C, {soft}))
print((peak() - before) / (4 * N * C))
"""
SOFTMAX, SIGMOID = "softmax_cross_entropy", "sigmoid_binary_cross_entropy"


class Case(NamedTuple):
    """A library, and what it computes."""

    code: str
    soft: bool = False
    loss: str = ""
    options: str = ""


CASES = {
    "labels": Case(OURS, False, SOFTMAX),
    "labels, weight, smoothing": Case(OURS, False, SOFTMAX, ", weight=weight, label_smoothing=0.1"),
    "labels, reduction sum": Case(OURS, False, SOFTMAX, ", reduction='sum'"),
    "soft labels": Case(OURS, True, SOFTMAX),
    "soft labels, weight, smoothing": Case(OURS, True, SOFTMAX, ", weight=weight, label_smoothing=0.1"),
    "sigmoid": Case(OURS, True, SIGMOID),
    "sigmoid, pos_weight, weight": Case(OURS, True, SIGMOID, ", pos_weight=3.0, weight=weight"),
}
PEERS = {
    "torch": {"PyTorch, labels": Case(TORCH), "PyTorch, soft labels": Case(TORCH, True)},
    "jax": {"JAX, labels": Case(JAX), "JAX, soft labels": Case(JAX, True)},
}


def peak(case: Case) -> float:
    """The peak of a process that computes this case, in units of the logits."""
    setup = SETUP.format(rows=ROWS, classes=CLASSES)
    integer = "" if case.soft else "_with_integer_labels"
    library = case.code.format(loss=case.loss, options=case.options, integer=integer)
    code = setup + library + MEASURE.format(soft=case.soft)
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    print(__doc__)
    for name, case in size(CASES, tiny={"labels": CASES["labels"], "sigmoid": CASES["sigmoid"]}).items():
        value = peak(case)
        print(f"{name:<34}{value:>6.2f}   {'reached' if value < GOAL else 'MISSED'}", flush=True)
    for package, cases in PEERS.items():
        if installed(package):
            for name, case in cases.items():
                print(f"{name:<34}{peak(case):>6.2f}", flush=True)


if __name__ == "__main__":
    main()
