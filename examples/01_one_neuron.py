"""Learn what backpropagation computes: one neuron by hand, the same one by the engine, and one step that learns.

Run it: python examples/01_one_neuron.py
"""

import numpy as np

import tinygrad_ce as tg

# One example: the input x, and the answer y that the neuron should give.
x, y = 2.0, 1.0
# What it can learn: a weight and a bias.
w, b = -0.5, 0.3

print("1. Forward: from the input to the loss, one small step after another")
z = w * x + b
p = 1 / (1 + np.exp(-z))
loss = (p - y) ** 2
print(f"   z    = w x + b         = {w} * {x} + {b} = {z:.6f}")
print(f"   p    = 1 / (1 + e^-z)  = {p:.6f}")
print(f"   loss = (p - y)^2       = {loss:.6f}")

print("\n2. Backward by hand: each step has a slope, and the chain rule multiplies them")
dloss_dp = 2 * (p - y)
dp_dz = p * (1 - p)
dz_dw, dz_db = x, 1.0
dloss_dz = dloss_dp * dp_dz
dloss_dw = dloss_dz * dz_dw
dloss_db = dloss_dz * dz_db
print(f"   dloss/dp = 2 (p - y)                   = {dloss_dp:+.6f}")
print(f"   dp/dz    = p (1 - p)                   = {dp_dz:+.6f}")
print(f"   dz/dw    = x                           = {dz_dw:+.6f}")
print(f"   dz/db    = 1                           = {dz_db:+.6f}")
print(f"   dloss/dw = dloss/dp * dp/dz * dz/dw    = {dloss_dw:+.6f}")
print(f"   dloss/db = dloss/dp * dp/dz * dz/db    = {dloss_db:+.6f}")

print("\n3. The same by the engine: it writes down every operation while we compute")
W = tg.Tensor(w, requires_grad=True, name="w")
B = tg.Tensor(b, requires_grad=True, name="b")
Z = (W * x + B).named("z")
P = Z.sigmoid().named("p")
LOSS = ((P - y) ** 2).named("loss")
for tensor in (W, B, Z, P, LOSS):
    print(f"   {tensor!r}")

print("\n   loss.backward() walks back through what was written, and fills every .grad:")
LOSS.backward()
for tensor, by_hand in ((P, dloss_dp), (Z, dloss_dz), (W, dloss_dw), (B, dloss_db)):
    print(f"   {tensor.name}.grad = {tensor.grad:+.6f}     by hand {by_hand:+.6f}")
    np.testing.assert_allclose(tensor.grad, by_hand, rtol=1e-12)

print("\n4. A third opinion: move w a little, and see how much the loss moves (no calculus at all)")


def loss_of(w, b):
    return (tg.ops.sigmoid(w * x + b) - y) ** 2


h = 1e-6
numerical = (loss_of(w + h, b) - loss_of(w - h, b)) / (2 * h)
print(f"   (loss(w + h) - loss(w - h)) / 2h = {numerical:+.6f}     W.grad = {W.grad:+.6f}")
np.testing.assert_allclose(numerical, W.grad, rtol=1e-6)
print("   gradcheck does that for every input, and for the derivatives of the derivatives:")
report = tg.check.gradcheck(loss_of, w, b, names=["w", "b"])
print("   " + str(report).replace("\n", "\n   "))
assert report.ok

print("\n5. Learn: one step of gradient descent, against the slope")
learning_rate = 0.5
new_w = w - learning_rate * W.grad
new_b = b - learning_rate * B.grad
new_loss = loss_of(new_w, new_b)
print(f"   w = {w} - {learning_rate} * ({W.grad:+.6f}) = {new_w:+.6f}")
print(f"   b = {b} - {learning_rate} * ({B.grad:+.6f}) = {new_b:+.6f}")
print(f"   the loss falls from {loss:.6f} to {new_loss:.6f}")
assert new_loss < loss

optimizer = tg.optim.SGD([W, B], lr=learning_rate)
optimizer.step()
print(f"   optimizer.step() does the same:  w = {W.item():+.6f}, b = {B.item():+.6f}")
np.testing.assert_allclose([W.item(), B.item()], [new_w, new_b], rtol=1e-12)
