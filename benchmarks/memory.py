"""Peak memory of loss and gradient, beyond the logits and targets, in units of the logits' own size.

1.00 is the gradient itself. Goal: no other array of that size, with any option. Each case runs in a process of its own;
what is measured is the largest resident size that the system has seen (POSIX only).
"""

from __future__ import annotations

import os
import subprocess
import sys

SETUP = """
import resource, sys, numpy as np
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
N, C = 4000, 10000
generator = np.random.default_rng(0)
def arrays(n, classes, soft):
    z = generator.random((n, classes), np.float32)
    y = np.full((n, classes), np.float32(1 / classes)) if soft else generator.integers(0, classes, n)
    return z, y
"""
OURS = """
import tinygrad_ce as tg
weight = np.linspace(0.5, 1.5, {classes}).astype(np.float32)
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
run(*arrays(2, {classes}, {soft}))  # compiled, imported
before = run(*arrays(N, {classes}, {soft}))
print((peak() - before) / (4 * N * {classes}))
"""
SOFTMAX, SIGMOID = "softmax_cross_entropy", "sigmoid_binary_cross_entropy"
CASES = {
    "labels": (OURS, SOFTMAX, "", False),
    "labels, weight, smoothing": (OURS, SOFTMAX, ", weight=weight, label_smoothing=0.1", False),
    "labels, reduction sum": (OURS, SOFTMAX, ", reduction='sum'", False),
    "soft labels": (OURS, SOFTMAX, "", True),
    "soft labels, weight, smoothing": (OURS, SOFTMAX, ", weight=weight, label_smoothing=0.1", True),
    "sigmoid": (OURS, SIGMOID, "", True),
    "sigmoid, pos_weight, weight": (OURS, SIGMOID, ", pos_weight=3.0, weight=weight", True),
    "PyTorch, labels": (TORCH, "", "", False),
    "PyTorch, soft labels": (TORCH, "", "", True),
    "JAX, labels": (JAX, "", "", False),
    "JAX, soft labels": (JAX, "", "", True),
}


def measured(code: str, loss: str, options: str, soft: bool) -> float | None:
    """The peak in units of the logits, or None if the library is not there."""
    code = code.format(loss=loss, options=options, classes="C", integer="" if soft else "_with_integer_labels")
    code = SETUP + code + MEASURE.format(classes="C", soft=soft)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)
    if "ModuleNotFoundError" in done.stderr:
        return None
    done.check_returncode()
    return float(done.stdout)


def main() -> None:
    print(__doc__)
    for name, case in CASES.items():
        value = measured(*case)
        ours = case[0] is OURS
        goal = "" if not ours or value is None else "   reached" if value < 1.1 else "   MISSED"
        print(f"{name:<34}" + ("not installed" if value is None else f"{value:>6.2f}{goal}"), flush=True)


if __name__ == "__main__":
    main()
