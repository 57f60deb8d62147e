"""Learn where a gradient comes from: each use with its numbers, one way to the loss, and the rows of the batch.

Run it: python examples/13_where_a_gradient_comes_from.py
"""

import numpy as np
from numpy.testing import assert_allclose

import tinygrad_ce as tg


def show(explanation):
    print("\n   " + str(explanation).replace("\n", "\n   ").replace("\n   \n", "\n\n") + "\n")


print("1. One use: upstream times local, from the loss back to x")
x = tg.Tensor(0.5, requires_grad=True, name="x")
loss = np.tanh(3 * x)
show(tg.explain(loss))
found = tg.explain(x, loss)
show(found)
by_hand = (1 - np.tanh(3 * 0.5) ** 2) * 3
print(f"   on paper: (1 - tanh(1.5)^2) * 3 = {by_hand:.6f}")
assert_allclose(found.gradient, by_hand)

print("\n2. Three uses: a value that is used several times gets a share from each use, and its gradient is their sum")
a = tg.Tensor(2.0, requires_grad=True, name="a")
loss = a * a + np.sin(a)
found = tg.explain(a, loss)
show(found)
print(f"   on paper: a * a gives a + a = 4, and sin(a) gives cos(2) = {np.cos(2):.4f}; together {4 + np.cos(2):.4f}")
assert_allclose([share.value for share in found.shares], [2, 2, np.cos(2)])
assert_allclose(sum(share.value for share in found.shares), 4 + np.cos(2))

print("\n3. One way of many: each floor of this tower has two, so 20 floors have 2^20. `.path()` takes the steepest")
y = x
for _ in range(20):
    y = y * 0.5 + y * 0.25
found = tg.explain(x, y)
show(found)
print(f"   the largest of {2**20:,} terms: {found.path().product:.4g}; their sum: {found.gradient:.4g}")
assert_allclose(found.path().product, 0.5**20)
assert_allclose(found.gradient, 0.75**20)

print("\n4. A network: which rows of the batch push a weight, and where to")
tg.seed(0)
data = tg.data.iris()
rows = np.arange(0, 150, 15)
features, y = ((data.X - data.X.mean(axis=0)) / data.X.std(axis=0))[rows], data.y[rows]
model = tg.nn.Sequential(tg.nn.Dense(4, 5), tg.nn.Tanh(), tg.nn.Dense(5, 3))
loss = tg.losses.softmax_cross_entropy(model(tg.Tensor(features, name="x")), y)
loss.backward()
W = model.parameters()[2]
found = tg.explain(W, at=(0, 1))  # of the last backward(), if no loss is named
show(found)
show(found.path())
h = np.tanh(features @ model.parameters()[0].data)
p = np.exp(h @ W.data) / np.exp(h @ W.data).sum(axis=1, keepdims=True)
by_hand = h[:, 0] * (p - np.eye(3)[y])[:, 1] / len(y)
print(f"   on paper, row i adds h[i, 0] * (p[i, 1] - (y[i] == 1)) / N: {by_hand[:5].round(4)} ...")
assert_allclose(found.rows.contributions, by_hand)
assert_allclose(by_hand.sum(), W.grad[0, 1])
before, wrong = W.data[0, 1], found.rows.hardest[0]
alone = tg.losses.softmax_cross_entropy(model(features[[wrong]]), y[[wrong]])
step = -0.1 * tg.gradients(alone, W)[0, 1]
print(f"   the row that pushes hardest is {wrong}; a step on it alone would move W2[0, 1] by {step:+.4f}")
assert np.sign(step) == -np.sign(by_hand[wrong])

print("\n5. The rule as LaTeX, for a report")
print(f"   {tg.explain(W).latex()}")
print(f"   {tg.explain(a, a * a + np.sin(a)).latex()}")
