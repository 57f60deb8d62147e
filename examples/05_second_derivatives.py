"""Learn what second derivatives tell: the cost of a logistic regression is a bowl, with a hidden layer it is not.

Run it: python examples/05_second_derivatives.py [folder for the picture, by default pictures]
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.testing import assert_allclose

import tinygrad_ce as tg
from tinygrad_ce.views.plots import COLOURS

print("1. A gradient is made of the same operations as everything else, so it can be differentiated again")


def cube(x):
    return x**3


slope, curvature = tg.grad(cube), tg.grad(tg.grad(cube))
print(f"   x^3 at x = 3: value {cube(3.0):g}, slope 3 x^2 = {slope(3.0):g}, curvature 6 x = {curvature(3.0):g}")
assert_allclose([slope(3.0), curvature(3.0)], [27, 18])

data = tg.data.xor(40, noise=0.2, seed=0)  # four clouds; the classes lie crosswise
X, y, N = data.X, data.y.astype(float), len(data)


def logistic_cost(theta):
    """theta: two weights and a bias."""
    return tg.losses.sigmoid_binary_cross_entropy(X @ theta[:2] + theta[2], y)


def network_cost(theta):
    """theta: W1 (2, 2), b1 (2), w2 (2) and b2, one after the other."""
    W1, b1, w2, b2 = theta[:4].reshape(2, 2), theta[4:6], theta[6:8], theta[8]
    hidden = tg.ops.tanh(X @ W1 + b1)
    return tg.losses.sigmoid_binary_cross_entropy(hidden @ w2 + b2, y)


print("\n2. Logistic regression: the Hessian (all second derivatives), its eigenvalues (the curvatures)")
generator = np.random.default_rng(0)
for _ in range(4):
    theta = generator.normal(size=3) * 3
    H = tg.hessian(logistic_cost)(theta)
    eigenvalues = np.linalg.eigvalsh(H)
    print(f"   at {theta.round(2)!s:22} eigenvalues {eigenvalues.round(6)}")
    assert eigenvalues.min() >= -1e-12
    A = np.column_stack([X, np.ones(N)])
    p = tg.ops.sigmoid(A @ theta)
    assert_allclose(H, A.T @ (A * (p * (1 - p))[:, None]) / N, rtol=1e-9, atol=1e-14)
print("   None is negative: the cost is convex, a bowl. Whoever walks down anywhere ends at the same lowest cost.")
print("   Why: the logit z = theta . x is linear in theta, and the loss has slope p - y and curvature p (1 - p) in z.")
print("   So in any direction v the curvature is  v' H v = mean of p (1 - p) (v . x)^2,  which is never negative.")

print("\n3. With a hidden layer of two tanh units, at random points again")
lowest = []
for _ in range(4):
    theta = generator.normal(size=9)
    eigenvalues = np.linalg.eigvalsh(tg.hessian(network_cost)(theta))
    lowest.append(eigenvalues.min())
    print(f"   smallest eigenvalue {eigenvalues.min():+.6f}, largest {eigenvalues.max():+.6f}")
assert max(lowest) < 0
print("   There is a negative one: in its direction the cost bends downwards. It is not convex: no bowl.")

print("\n4. Why: the two hidden units can change places. Train, then exchange them:")
theta = np.random.default_rng(3).normal(size=9)
for _ in range(2000):
    theta = theta - 0.5 * tg.grad(network_cost)(theta)
twin = theta[[1, 0, 3, 2, 5, 4, 7, 6, 8]]
middle = (theta + twin) / 2
costs = [network_cost(point).item() for point in (theta, twin, middle)]
print(f"   the trained network costs {costs[0]:.4f}, its twin {costs[1]:.4f}, the point half-way {costs[2]:.4f}")
print("   A convex function lies, between two points, never above the straight line that joins them. This one does.")
assert_allclose(costs[0], costs[1])
assert costs[2] > costs[0] + 1
bend = tg.hvp(network_cost, middle, twin - theta) @ (twin - theta)
print(f"   Half-way, the curvature along that line is v' H v = {bend:+.4f}: the top of a hill")
assert bend < 0

figure = Figure(figsize=(9, 3.6), layout="constrained")
t = np.linspace(0, 1, 101)
starts_and_ends = (np.array([-3.0, 2.0, 1.0]), np.array([3.0, -1.0, -2.0])), (theta, twin)
titles = "logistic regression: a bowl", "one hidden layer: a hill between two valleys"
for axes, cost, (start, end), title, colour in zip(
    figure.subplots(1, 2), (logistic_cost, network_cost), starts_and_ends, titles, COLOURS, strict=False
):
    curve = [cost(start + s * (end - start)).item() for s in t]
    axes.plot(t, curve, color=colour, lw=2, label="cost")
    axes.plot([0, 1], [curve[0], curve[-1]], "o--", color="0.4", lw=1, label="straight line")
    axes.set(title=title, xlabel="from one point of parameter space (0) to another (1)", ylabel="cost")
    axes.set_ylim(bottom=-0.05 * max(curve))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "pictures")
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "05_convex_or_not.png", dpi=150)
print(f"   wrote {folder / '05_convex_or_not.png'}")
