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

STEPS, LEARNING_RATE = 2000, 0.5
W_START, B_START = -4.0, -3.0
x, y = np.array([1.0]), np.array([1.0])  # one example

print("1. One neuron p = sigmoid(w x + b). The answer should be y = 1, and the neuron starts sure of the contrary")
z_start = W_START * 1.0 + B_START
p_start = tg.ops.sigmoid(np.array(z_start))
print(f"   w = {W_START:g}, b = {B_START:g}, x = 1:  z = {z_start:g}, p = {p_start:.6f}")

slopes = {"squared error": (p_start - 1) * p_start * (1 - p_start), "cross-entropy": p_start - 1}
print("\n2. Two losses for it, and on paper their gradients with respect to the logit z")
print("   squared error   L = (p - y)^2 / 2   dL/dz = (p - y) * dp/dz = (p - y) p (1 - p)")
print("   cross-entropy   L = -log p          dL/dz = -1/p * dp/dz = -1/p * p (1 - p) = p - y")
print(f"   At the start:   (p - y) p (1 - p) = {slopes['squared error']:+.6f}, almost none, where the error is largest")
print(f"                   p - y             = {slopes['cross-entropy']:+.6f}, the full error: 1/p has cancelled the p")


def squared_error(z):
    return tg.losses.mse(z.sigmoid(), y) / 2


def cross_entropy(z):
    return tg.losses.sigmoid_binary_cross_entropy(z, y)


def train(loss_of):
    """Gradient descent; p, the loss and the gradient at the logit, before each step."""
    w = tg.Tensor(W_START, requires_grad=True)
    b = tg.Tensor(B_START, requires_grad=True)
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


print("\n3. Train the neuron with each, by gradient descent")
print(f"   {STEPS} steps, learning rate {LEARNING_RATE}")
runs = {"squared error": train(squared_error), "cross-entropy": train(cross_entropy)}
for name, (p, loss, gradient) in runs.items():
    print(f"   {name}")
    for step in (0, 1, 10, 100, 1000, 2000):
        print(f"      step {step:4}   p {p[step]:.6f}   loss {loss[step]:.6f}   dL/dz {gradient[step]:+.6f}")
    on_paper = p - 1 if name == "cross-entropy" else (p - 1) * p * (1 - p)
    assert_allclose(gradient, on_paper, rtol=1e-9)
    assert_allclose(gradient[0], slopes[name], rtol=1e-9)

first = {name: int(np.argmax(p > 0.5)) for name, (p, _, _) in runs.items()}  # the first step with p > 1/2
print(f"   The answer is right (p > 1/2) after {first['cross-entropy']} steps with cross-entropy,", end=" ")
print(f"after {first['squared error']} with squared error.")
print("   With squared error the neuron that is most wrong learns most slowly: its gradient does not tell it so.")
assert 0 < first["cross-entropy"] < 20
assert first["squared error"] > 50 * first["cross-entropy"]

figure = Figure(figsize=(9.5, 3.8), layout="constrained")
left, right = figure.subplots(1, 2)
steps = np.arange(STEPS + 1)
for (name, (_, loss, gradient)), colour, style in zip(runs.items(), COLOURS, ("--", "-"), strict=False):
    left.plot(steps, np.abs(gradient), style, color=colour, lw=2, label=name)
    right.plot(steps, loss, style, color=colour, lw=2, label=name)
left.set(title="gradient at the logit", ylabel="|dL/dz|", yscale="log")
right.set(title="loss", ylabel="L")
for axes in (left, right):
    axes.set_xscale("symlog", linthresh=1)  # logarithmic, but with room for step 0
    axes.set(xlabel="step", xlim=(0, STEPS))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "pictures")
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "07_gradients_and_losses.png", dpi=150)
print(f"   wrote {folder / '07_gradients_and_losses.png'}")
