"""Learn what the backward pass of a network with batch norm is: printed as NumPy, run, and compared with the formulas.

Run it: python examples/08_printed_backprop.py
"""

import numpy as np
from numpy.testing import assert_allclose

import tinygrad_ce as tg

tg.seed(0)
generator = np.random.default_rng(0)
N, classes = 8, 3
x, y = generator.normal(size=(N, 2)), np.arange(N) % classes
model = tg.nn.Sequential(tg.nn.Dense(2, 4), tg.nn.BatchNorm(4), tg.nn.Dense(4, classes))
loss = tg.losses.softmax_cross_entropy(model(tg.Tensor(x, name="x")), y)

print("1. The network's forward and backward pass, as NumPy that runs on its own")
text = tg.source(loss)
print()
print("   " + text[text.index("def step(") :].replace("\n", "\n   ").replace("\n   \n", "\n\n"))

print("\n2. It is a program: run it, and compare with what the engine computes")
program: dict = {}
exec(text, program)
parameters = [p.data for p in model.parameters()]
W0, b0, scale, shift, W2, b2 = parameters
answer, *gradients = program["step"](x, *parameters, y)
loss.backward()
for parameter, gradient in zip(model.parameters(), gradients, strict=True):
    assert_allclose(gradient, parameter.grad, rtol=1e-10, atol=1e-14)
print(f"   loss {answer:.6f} and {loss.item():.6f}; all {len(gradients)} gradients agree")

print("\n3. Softmax and cross-entropy on paper: the gradient at the logits is (p - y) / N")
z1 = x @ W0 + b0
mean, variance = z1.mean(axis=0), z1.var(axis=0)
deviation = np.sqrt(variance + 1e-5)
normalised = (z1 - mean) / deviation
logits = (normalised * scale + shift) @ W2 + b2
p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
at_the_logits = (p - np.eye(classes)[y]) / N
assert_allclose(at_the_logits.sum(axis=0), gradients[5], rtol=1e-10, atol=1e-14)
print(f"   its sum over the batch is the gradient of the last bias: {gradients[5].round(6)}")

print("\n4. Batch norm on paper: three terms, because the mean and the variance depend on every row")
print("   d_z = (d_n - mean(d_n) - n mean(d_n n)) / sqrt(variance + eps), where n is the normalised z")
d_n = at_the_logits @ W2.T * scale
terms = d_n, -d_n.mean(axis=0), -normalised * (d_n * normalised).mean(axis=0)
d_z = sum(terms) / deviation
for name, term in zip(("d_n", "- mean(d_n)", "- n mean(d_n n)"), terms, strict=True):
    print(f"   {name:16} largest {np.abs(term).max():.6f}")
assert_allclose(x.T @ d_z, gradients[0], rtol=1e-9, atol=1e-14)
print(f"   x.T @ d_z is the gradient of the first weights: {(x.T @ d_z)[0].round(6)} ...")
naive = x.T @ (d_n / deviation)
print(f"   with the first term alone it would be           {naive[0].round(6)} ...: wrong")
assert np.abs(naive - gradients[0]).max() > 1e-3
print("   The bias in front of a batch norm has gradient 0: the mean takes it away again.")
assert_allclose(gradients[1], 0, atol=1e-14)
