"""Learn where NaN comes from: five losses that break, forward or only backward, each asked `tg.why_nan` and cured.

Run it: python examples/10_where_the_nan_came_from.py
"""

import numpy as np
from numpy.testing import assert_allclose

import tinygrad_ce as tg

np.seterr(all="ignore")  # NumPy would warn; here we ask why instead


def ask(loss):
    """The diagnosis, printed."""
    found = tg.why_nan(loss)
    print("\n      " + str(found).replace("\n", "\n      ") + "\n")
    return found


print("1. A softmax by hand, p = exp(z) / sum(exp(z)). exp(z) is infinite from z = 709.78 on")
z = tg.Tensor([[1.0, 2.0, 0.0], [800.0, 0.0, 3.0]], requires_grad=True, name="z")
rows, labels = np.arange(2), np.array([1, 0])
e = np.exp(z)
p = e / e.sum(axis=1, keepdims=True)
found = ask(-np.log(p[rows, labels]).mean())
assert (found.forward.op, found.forward.index, found.forward.operands) == ("exp", (1, 0), {"x": 800.0})
assert "inf / inf = nan" in found.forward.then
print("   The NaN itself is inf / inf, but the exp is to blame. The cure: a softmax does not change when a row is")
print("   shifted, so subtract its maximum, and no exp is larger than 1")

print("\n2. With the maximum subtracted nothing overflows, but the probability of a label can become 0")
print("   where the model is sure and wrong: exp(3 - 800) is less than the smallest number")
labels = np.array([1, 2])
e = np.exp(z - z.max(axis=1, keepdims=True))
p = e / e.sum(axis=1, keepdims=True)
found = ask(-np.log(p[rows, labels]).mean())
assert (found.forward.op, found.forward.operands) == ("log", {"x": 0.0})
loss = tg.losses.softmax_cross_entropy(z, labels)
assert not tg.why_nan(loss)
on_paper = (-2 + np.log(np.exp(1) + np.exp(2) + np.exp(0)) + 797) / 2
assert_allclose(loss.item(), on_paper)
print("   The cure: -log p = log(sum(exp(z))) - z[label] needs no p. softmax_cross_entropy computes it so:")
print(f"   loss {loss.item():.6f}, on paper {on_paper:.6f}")

print("\n3. A loss that is finite, and a gradient that is not: where(x > 0, sqrt(x), 0) at x = 0")
x = tg.Tensor([4.0, 0.0], requires_grad=True, name="x")
root = np.sqrt(x)
chosen = np.where(x.data > 0, root, 0.0)
found = ask(chosen.sum())
assert found.forward is None
assert (found.backward.op, found.backward.index, found.backward.upstream) == ("sqrt", (1,), 0.0)
safe = np.where(x.data > 0, x, 1.0)
loss = np.where(x.data > 0, np.sqrt(safe), 0.0).sum()
assert not tg.why_nan(loss)
slope = tg.gradients(loss, x)
assert_allclose(slope, [1 / (2 * np.sqrt(4.0)), 0.0])
print("   `where` chooses results; the chain rule still multiplies by the slope of what was not chosen.")
print(f"   The cure chooses the input, too. Its gradient: {slope}, on paper 1 / (2 sqrt(4)) and 0")

print("\n4. A learning rate that is too large: fit w in w x = y, x = 10, y = 20, by gradient descent")
w, learning_rate = tg.Tensor(0.0, requires_grad=True, name="w"), 0.02
print(f"   each step multiplies the error w - 2 by 1 - 2 x^2 lr = {1 - 2 * 10**2 * learning_rate:g}")
steps = 0
while True:
    loss = (w * 10.0 - 20.0) ** 2
    if tg.why_nan(loss):
        break
    if steps in (0, 1, 2, 10, 100):
        print(f"      step {steps:3}   w {w.item():.6e}   loss {loss.item():.6e}")
    w.grad = None
    loss.backward()
    w.data -= learning_rate * w.grad
    steps += 1
print(f"   After {steps} steps the loss is no longer finite. w still is, and the diagnosis says what it thinks of it:")
found = ask(loss)
assert found.forward.op == "constant_power"
assert "learning rate that blew up" in found.forward.cause
assert np.isfinite(w.data)
on_paper = next(n for n in range(1000) if 3.0**n * 20 > np.sqrt(np.finfo(float).max))  # the error is 2 * (-3)**n
assert steps == on_paper
print(f"   On paper the error 20 * 3^n is beyond the root of the largest number, 1.34e154, at n = {on_paper}")

print("\n5. A hole in the data, in a row that the loss leaves out")
X = np.arange(12.0).reshape(4, 3)
X[2, 1] = np.nan
known = np.isfinite(X).all(axis=1, keepdims=True)
W = tg.Tensor(np.full((3, 1), 0.1), requires_grad=True, name="W")
predictions = tg.Tensor(X, name="X") @ W
found = ask(np.where(known, predictions, 0.0).sum())
assert (found.forward, found.backward.name, found.backward.index) == (None, "X", (2, 1))
loss = (X[known[:, 0]] @ W).sum()
assert not tg.why_nan(loss)
assert_allclose(tg.gradients(loss, W)[:, 0], [0 + 3 + 9, 1 + 4 + 10, 2 + 5 + 11])
print("   The gradient of W is X.T @ upstream, and 0 * NaN is NaN. The cure: take the row out before the product.")
print(f"   Then the gradient is {tg.gradients(loss, W)[:, 0]}, the sums of the columns of the other rows")
