"""Learn to see the shape of a loss: logistic regression is a bowl, a network with a hidden layer is not.

Run it: python examples/20_the_shape_of_a_loss.py [folder for the pictures, by default pictures]
"""

import sys
from pathlib import Path

import numpy as np
from numpy.testing import assert_allclose

import tinygrad_ce as tg
from tinygrad_ce.views import Route

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "pictures")
folder.mkdir(parents=True, exist_ok=True)
data = tg.data.xor(60, noise=0.2, seed=0)  # four clouds; the classes lie crosswise
X, y = data.X, data.y[:, None].astype(float)
cross_entropy = tg.nn.SigmoidBCE()

print("1. Logistic regression: three numbers, and a bowl")
tg.seed(0)
line = tg.nn.Dense(2, 1)
bowl = tg.surface(line, cross_entropy, X, y, span=6.0)
print(bowl)
assert bowl.convex

print("\n2. Where the curvature comes from: the Hessian is the mean of p (1 - p) x x', which is never negative")
A = np.column_stack([X, np.ones(len(X))])
p = 1 / (1 + np.exp(-(X @ line.W.data + line.b.data)))
by_hand = np.linalg.eigvalsh(A.T @ (A * p * (1 - p)) / len(X))[::-1]
print(f"   by hand    {by_hand.round(6)}")
print(f"   tg.surface {bowl.eigenvalues.round(6)}")
assert_allclose(bowl.eigenvalues, by_hand, rtol=1e-9)

print("\n3. With a hidden layer, before training")
tg.seed(3)
model = tg.nn.Sequential(tg.nn.Dense(2, 8), tg.nn.Tanh(), tg.nn.Dense(8, 1))
hills = tg.surface(model, cross_entropy, X, y, "hessian", span=3.0)
print(f"   the smallest of {sum(p.size for p in model.parameters())} curvatures is {hills.eigenvalues[-1]:.4f}")
assert not hills.convex

print("\n4. The way of a training, on the plane that shows most of it")
route = Route(model)
trainer = tg.Trainer(model, cross_entropy, tg.optim.Adam(model.parameters(), lr=0.03))
trainer.fit(X, y, epochs=60, seed=0, callbacks=[route])
trained = tg.surface(model, cross_entropy, X, y, "path", path=route)
print(trained)
assert trained.share > 0.8
assert trained.loss < hills.loss / 2

for found, name in ((bowl, "20_bowl"), (trained, "20_training")):
    found.plot(folder / f"{name}.png")
    print(f"   wrote {folder / name}.png")
