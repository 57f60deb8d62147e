"""Learn to tell why a network does not learn: saturated, dead, vanishing, exploding, or a wrong learning rate.

Run it: python examples/12_is_it_learning.py [folder for the picture, by default pictures]
"""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.testing import assert_allclose

import tinygrad_ce as tg
from tinygrad_ce.views import Watch

LEARNING_RATE, EPOCHS = 0.03, 15
digits = tg.data.digits()
X = (digits.X - digits.X.mean(axis=0)) / (digits.X.std(axis=0) + 1e-8)
y = digits.y
batch = X[:128], y[:128]
softmax_cross_entropy = tg.nn.SoftmaxCrossEntropy()


def network(activation, hidden=2, scale=1.0, bias=0.0):
    """Dense layers of 32 units with an activation between; their first weights and biases can be spoiled."""
    tg.seed(0)
    sizes = [64, *[32] * hidden, 10]
    layers = []
    for n_in, n_out in pairwise(sizes):
        layers += [tg.nn.Dense(n_in, n_out), activation()]
        layers[-2].W.data *= scale
        layers[-2].b.data += bias
    return tg.nn.Sequential(*layers[:-1])


def examined(model, lr=LEARNING_RATE):
    """The audit before the first step."""
    loss = softmax_cross_entropy(model(batch[0]), batch[1])
    return tg.audit(model, loss, tg.optim.SGD(model.parameters(), lr))


print("1. A healthy network. One line a layer; then all figures: what flows through it, forward and back")
model = network(tg.nn.Tanh)
healthy = examined(model)
print(healthy)
print(healthy.details)
assert healthy.verdict == "fine"

print("\n2. Where the figures come from")
dense, tanh = healthy.rows[:2]
W, b = model.layers[0].W, model.layers[0].b
h = np.tanh(batch[0] @ W.data + b.data)
by_hand = 100 * np.mean(1 - h**2 < 0.05)
print(f"   saturated: 1 - tanh^2, the slope, is below 5 % of its largest for {by_hand:.2f} % of the numbers")
assert_allclose(tanh.saturated, by_hand)
softmax_cross_entropy(model(batch[0]), batch[1]).backward()
gradient = np.hypot(np.linalg.norm(W.grad), np.linalg.norm(b.grad))
weight = np.hypot(np.linalg.norm(W.data), np.linalg.norm(b.data))
print(f"   update / weight: lr * |gradient| / |weight| = {LEARNING_RATE} * {gradient:.4f} / {weight:.4f}", end=" ")
print(f"= {LEARNING_RATE * gradient / weight:.5f}; about 0.001 is healthy")
assert_allclose(dense.update_per_weight, LEARNING_RATE * gradient / weight)

print("\n3. Four illnesses, each planted, and what the audit says before the first step")
ill = {
    "saturated": network(tg.nn.Sigmoid, scale=20),  # weights 20 times too large
    "dead": network(tg.nn.ReLU, bias=-10),  # no input is ever large enough
    "vanishing": network(tg.nn.Sigmoid, hidden=10),  # ten slopes of at most 1/4
    "exploding": network(tg.nn.ReLU, hidden=10, scale=5),
}
for planted, spoiled in ill.items():
    found = examined(spoiled)
    print(f"   {planted:9} in {', '.join(row.path for row in found.illnesses[planted])}")
    print(f"             {found.lesson}")
rows = [row for row in examined(ill["vanishing"]).rows if row.gradient is not None]
shares = [row.share for row in rows]
print("   How the gradient vanishes, from the last layer to the first, of eleven:")
print("     ", " ".join(f"{share:.0e}" for share in shares[::-1]))
assert shares[0] < 1e-6
assert max(shares) == shares[-1] == 1

print("\n4. A ReLU network with three learning rates: first the audit, then what training makes of it")
learnt = []
for lr, expected in ((LEARNING_RATE, "fine"), (LEARNING_RATE * 100, "too large"), (LEARNING_RATE / 100, "too small")):
    model = network(tg.nn.ReLU)
    rows = [row for row in examined(model, lr).rows if row.gradient is not None]
    assert all(row.verdict.endswith(expected) for row in rows)
    trainer = tg.Trainer(model, softmax_cross_entropy, tg.optim.SGD(model.parameters(), lr))
    losses = trainer.fit(X, y, epochs=EPOCHS, seed=0)["loss"]
    print(f"   lr {lr:<6g}  update / weight {', '.join(f'{row.update_per_weight:.1e}' for row in rows)}", end="  ")
    print(f"{rows[0].verdict:17}  the loss ends at {losses[-1]:.4f}")
    learnt.append((losses[-1], examined(model, lr)))
(good, _), (large, killed), (small, _) = learnt
assert good < 0.1
assert min(large, small) > 2 > 20 * good
print(f"   Steps too large kill units for good: {killed.rows[3].dead:.0f} % of the second ReLU's are dead by then")
assert "dead" in killed.illnesses

print("\n5. Over time: Adam with a learning rate that is 30 times its usual one drives the units into saturation")
model = network(tg.nn.Tanh)
watch = Watch(*batch)
trainer = tg.Trainer(model, softmax_cross_entropy, tg.optim.Adam(model.parameters(), lr=0.03))
trainer.fit(X, y, epochs=EPOCHS, seed=0, callbacks=[watch])
print(watch)
first, last = (audit.rows[3].saturated for audit in (watch.audits[0], watch.audits[-1]))
print(f"   the second Tanh: {first:.0f} % of its numbers saturated after epoch 1, {last:.0f} % after epoch {EPOCHS}")
assert last > first
assert "saturated" in watch.audits[-1].illnesses
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "pictures")
folder.mkdir(parents=True, exist_ok=True)
watch.plot(folder / "12_audit_over_time.png")
print(f"   wrote {folder / '12_audit_over_time.png'}")
