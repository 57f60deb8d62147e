"""Learn to teach the engine a new function: its body, its derivative rule, the check of both; and to watch it at work.

Run it: python examples/06_your_own_primitive.py
"""

import numpy as np
from numpy.testing import assert_allclose, assert_raises

import tinygrad_ce as tg

print("1. The function: swish(x) = x s(x), where s is the sigmoid. The body computes it with arrays")


@tg.primitive
def swish(x):
    return x * tg.ops.sigmoid(x)


x = np.array([-2.0, 0.0, 1.0, 3.0])
print(f"   swish({x}) = {swish(x).round(6)}")
assert_allclose(swish(x), x / (1 + np.exp(-x)))

print("\n2. Without a rule it can be computed, but not differentiated. The engine says what is missing:")
with assert_raises(NotImplementedError) as caught:
    tg.grad(swish)(1.0)
print(f"   {caught.exception}")

print("\n3. The rule. On paper: swish' = s + x s (1 - s). The chain rule multiplies it by g, which comes from above")


@swish.vjp("x")
def swish_x(g, out, x):
    s = tg.ops.sigmoid(x)
    return g * (s + x * s * (1 - s))


X = tg.Tensor(x, requires_grad=True, name="x")
swish(X).sum().backward()
s = 1 / (1 + np.exp(-x))
print(f"   engine   {X.grad.round(6)}")
print(f"   on paper {(s + x * s * (1 - s)).round(6)}")
assert_allclose(X.grad, s + x * s * (1 - s))

print("\n4. The rule is written with operations that have rules themselves, so the second derivative comes for free")
second = tg.grad(tg.grad(swish))(1.0)
s = 1 / (1 + np.exp(-1.0))
print(f"   swish''(1) = {second:.6f}; on paper 2 s (1 - s) + s (1 - s) (1 - 2 s) = {s * (1 - s) * (3 - 2 * s):.6f}")
assert_allclose(second, s * (1 - s) * (3 - 2 * s))
report = tg.check.gradcheck(swish, x, order=2, names=["x"])
print("   " + str(report).replace("\n", "\n   "))
assert report.ok

print("\n5. A wrong rule: somebody forgets that the factor s depends on x too")


@tg.primitive
def wrong_swish(x):
    return x * tg.ops.sigmoid(x)


@wrong_swish.vjp("x")
def wrong_swish_x(g, out, x):
    return g * tg.ops.sigmoid(x)


with assert_raises(tg.check.GradcheckError) as caught:
    tg.check.gradcheck(wrong_swish, x, names=["x"])
print("   " + str(caught.exception).replace("\n", "\n   "))
wrong = [mismatch.index for mismatch in caught.exception.report.mismatches]
print("   At x = 0 the forgotten part is 0, so x[1] is not in the table: one lucky point proves nothing.")
assert wrong == [(0,), (2,), (3,)]

print("\n6. In a network: a layer is a Module with a forward. It learns sin(x) from 64 points")


class Swish(tg.nn.Module):
    def forward(self, x):
        return swish(x)


tg.seed(0)
inputs = np.linspace(-3, 3, 64)[:, None]
targets = np.sin(inputs)
model = tg.nn.Sequential(tg.nn.Dense(1, 16), Swish(), tg.nn.Dense(16, 1))
report = tg.check.gradcheck_model(model, tg.losses.mse, inputs[::8], targets[::8])
print(f"   gradcheck of the whole model: {'right' if report.ok else 'WRONG'}")
optimizer = tg.optim.Adam(model.parameters(), lr=0.02)
for step in range(501):
    optimizer.zero_grad()
    loss = tg.losses.mse(model(inputs), targets)
    loss.backward()
    optimizer.step()
    if step in (0, 10, 100, 500):
        print(f"   step {step:3}: mean squared error {loss.item():.6f}")
assert loss.item() < 1e-3

print("\n7. An instrument of your own")
print("   Every call of a primitive goes through one place in the engine, and `interpreted` puts a function there.")
print("   It gets the call, and `inner`, which does it; it may look, count or answer otherwise.")
print(
    "   This one prints all calls of a training step; those after the loss are the rules at work, from the loss back:"
)
calls = []


def show(inner, op, inputs, params):
    result = inner(op, inputs, params)
    if isinstance(result, tg.Tensor):  # the bodies call primitives, too, on arrays
        calls.append(op.name)
        shapes = ", ".join(str(np.shape(value)) for value in inputs)
        print(f"   {len(calls):2} {op.name:14} {shapes} -> {result.shape}")
    return result


with tg.core.interpreted(show):
    loss = tg.losses.mse(model(inputs), targets)
    print("      ---- the loss; now backward")
    slopes = tg.gradients(loss, model.parameters(), create_graph=True)
print("   The rules of affine are matrix products with a transposed input; the `sigmoid` is the first line of swish_x.")
print("   create_graph=True has the rules run on tensors, so that they are calls. loss.backward() runs them on arrays:")
optimizer.zero_grad()
loss.backward()
for parameter, slope in zip(model.parameters(), slopes, strict=True):
    assert_allclose(parameter.grad, slope.data, rtol=1e-9, atol=1e-15)
print(f"   the same gradients, and {len(calls)} calls as before: after the `with`, the instrument is gone.")
assert calls[:3] == ["affine", "swish", "affine"]
assert calls.count("sigmoid") == 1
