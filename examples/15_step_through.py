"""Learn to watch backpropagation: a page that steps through a small network, in which every number can be changed.

Run it: python examples/15_step_through.py [folder for the pages, by default pictures], and open them in a browser
"""

import sys
from pathlib import Path

import numpy as np

import tinygrad_ce as tg

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "pictures")
folder.mkdir(parents=True, exist_ok=True)

print("1. A network of 2, 3 and 1 units, and four rows of data: is it an exclusive or?")
tg.seed(0)
x = tg.Tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], name="x")
y = np.array([[0.0], [1.0], [1.0], [0.0]])
model = tg.nn.Sequential(tg.nn.Dense(2, 3), tg.nn.Tanh(), tg.nn.Dense(3, 1))
loss = tg.losses.sigmoid_binary_cross_entropy(model(x), y)
page = tg.step_through(loss, tg.optim.SGD(model.parameters(), lr=0.5))
print(f"   wrote {page.save(folder / '15_network.html')}")
print(f"   It has {len(page.html) / 1000:.0f} kB, and needs nothing else: no server, no network.")
assert len(page.html) < 150_000
assert "http://" not in page.html.replace("http://www.w3.org/", "")
print("   Open it. The right arrow goes one step on, the space bar plays, a click on W0 follows only its path.")
print("   Type another number for a weight: all is computed anew. N takes a step of the training, O goes back.")

print("\n2. What you will see at the first step back, by hand: the gradient at the output is (p - y) / N")
W0, b0, W2, b2 = (parameter.data for parameter in model.parameters())
h1 = np.tanh(x.data @ W0 + b0)
z2 = h1 @ W2 + b2
p = 1 / (1 + np.exp(-z2))
d_z2 = (p - y) / len(y)
print(f"   d_z2 = {d_z2.ravel().round(4)}")

print("\n3. Then the product with the transposed activations, as the page shows it for one cell")
d_W2 = h1.T @ d_z2
print(f"   by hand, d_W2[0, 0] = {d_W2[0, 0]:.6f}: the sum over four rows of h1[row, 0] times d_z2[row, 0]")
loss.backward()
np.testing.assert_allclose(model.parameters()[2].grad, d_W2, rtol=1e-12)
print(f"   the engine's gradient is {model.parameters()[2].grad[0, 0]:.6f}, too")

print("\n4. A value that is used three times: its shares arrive one by one, and add up")
a = tg.Tensor(2.0, requires_grad=True, name="a")
loss = a * a + np.sin(a)
page = tg.step_through(loss)
print(f"   wrote {page.save(folder / '15_shares.html')}")
shares = [2.0, 2.0, np.cos(2.0)]
loss.backward()
assert np.isclose(a.grad, sum(shares))
print(f"   {shares[0]:.4f} + {shares[1]:.4f} + ({shares[2]:.4f}) = {a.grad:.4f}")
