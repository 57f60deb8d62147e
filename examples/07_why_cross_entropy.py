"""Learn why a sigmoid is trained with cross-entropy: with squared error its gradient dies where it is wrong and sure.

Run it: python examples/07_why_cross_entropy.py [folder for the picture, by default pictures]
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.testing import assert_allclose

import tinygrad_ce as tg
from tinygrad_ce.views.plots import COLOURS

STEPS, LEARNING_RATE = 1000, 0.5
x, y = 1.0, 1.0
start = {"w": -4.0, "b": -3.0}

print("1. One neuron p = sigmoid(w x + b). The answer should be y = 1, and it starts sure of the contrary")
p = tg.ops.sigmoid(start["w"] * x + start["b"])
print(f"   w = {start['w']:g}, b = {start['b']:g}, x = {x:g}:  z = -7, p = {p:.6f}")

print("\n2. Two losses, and on paper their gradients with respect to the logit z")
print("   squared error  L = (p - y)^2 / 2    dL/dz = (p - y) * dp/dz = (p - y) p (1 - p)")
print("   cross-entropy  L = -log p           dL/dz = -1/p    * dp/dz = -(1 - p) = p - y")
print(f"   At the start:  (p - y) p (1 - p) = {(p - y) * p * (1 - p):+.6f}: almost no slope, where the error is largest")
print(f"                  (p - y)           = {p - y:+.6f}: the full error. The log undoes the flat end of the sigmoid")


def squared_error(z):
    return tg.losses.mse(z.sigmoid(), np.array(y)) / 2


def cross_entropy(z):
    return tg.losses.sigmoid_binary_cross_entropy(z, np.array(y))


def train(loss_of):
    """The probability, the loss and the gradient at the logit, for each step of gradient descent."""
    w, b = (tg.Tensor(value, requires_grad=True) for value in start.values())
    optimizer = tg.optim.SGD([w, b], lr=LEARNING_RATE)
    rows = []
    for _ in range(STEPS + 1):
        optimizer.zero_grad()
        z = w * x + b
        loss = loss_of(z)
        loss.backward()
        rows.append((z.sigmoid().item(), loss.item(), z.grad.item()))
        optimizer.step()
    return np.array(rows).T


print(f"\n3. Train both in the same way: {STEPS} steps, learning rate {LEARNING_RATE}")
runs = {"squared error": train(squared_error), "cross-entropy": train(cross_entropy)}
for name, (p, loss, gradient) in runs.items():
    print(f"   {name}")
    for step in (0, 1, 10, 100, 1000):
        print(f"      step {step:4}   p {p[step]:.6f}   loss {loss[step]:.6f}   dL/dz {gradient[step]:+.6f}")
    on_paper = p - y if name == "cross-entropy" else (p - y) * p * (1 - p)
    assert_allclose(gradient, on_paper, rtol=1e-9)

