"""Learn to write the backward pass of a network with batch norm by hand: three slips are diagnosed, and mended.

Run it: python examples/11_hand_written_backprop.py
"""

import numpy as np
from numpy.testing import assert_allclose

import tinygrad_ce as tg

generator = np.random.default_rng(0)
N, classes = 8, 3
x, y = generator.normal(size=(N, 2)), np.arange(N) % classes
sizes = {"W1": (2, 4), "b1": (4,), "scale": (4,), "shift": (4,), "W2": (4, classes), "b2": (classes,)}
W1, b1, scale, shift, W2, b2 = parameters = [
    tg.Tensor(generator.normal(size=size), requires_grad=True, name=name) for name, size in sizes.items()
]

print("1. A network of two layers with batch norm between them. What you name is called so in the exercise")
z = (tg.Tensor(x, name="x") @ W1 + b1).named("z")
mean, var = z.mean(axis=0).named("mean"), z.var(axis=0).named("var")
deviation = tg.ops.sqrt(var + 1e-5).named("deviation")
n = ((z - mean) / deviation).named("n")
a = (n * scale + shift).named("a")
h = a.tanh().named("h")
logits = (h @ W2 + b2).named("logits")
loss = tg.losses.softmax_cross_entropy(logits, y)
exercise = tg.exercise(loss)
print("   " + repr(exercise).replace("\n", "\n   "))
print("   The gradients are hidden: W1.grad is", W1.grad)
assert W1.grad is None


def students(mended=()):
    """The student's backward pass, in plain NumPy; `mended` says which of the three slips are gone."""
    p = np.exp(logits.data) / np.exp(logits.data).sum(axis=1, keepdims=True)
    d = {"d_logits": p - np.eye(classes)[y]}
    if "mean" in mended:
        d["d_logits"] = d["d_logits"] / N
    d["d_W2"], d["d_b2"] = h.data.T @ d["d_logits"], d["d_logits"].sum(axis=0)
    d["d_h"] = d["d_logits"] @ W2.data.T
    slope = 1 - h.data**2 if "slope" in mended else 1 - a.data**2
    d["d_a"] = d["d_h"] * slope
    d["d_scale"], d["d_shift"] = (d["d_a"] * n.data).sum(axis=0), d["d_a"].sum(axis=0)
    d["d_n"] = d["d_a"] * scale.data
    d["d_z"] = d["d_n"] / deviation.data
    if "rows" in mended:
        d_n, rows = d["d_n"], n.data
        d["d_z"] = (d_n - d_n.mean(axis=0) - rows * (d_n * rows).mean(axis=0)) / deviation.data
    d["d_W1"], d["d_b1"] = x.T @ d["d_z"], d["d_z"].sum(axis=0)
    return d


def show(report):
    print("   " + str(report).replace("\n", "\n   "))
    return [verdict.name for verdict in report if verdict.mistake not in (None, "upstream")]


print("\n2. A first try. What is right, given a wrong gradient above it, is told so: three steps are to be mended")
report = exercise.check(students())
assert show(report) == ["d_logits", "d_a", "d_z"]
assert report["d_logits"].mistake == "mean"
assert report["d_a"].mistake == "wrong value"
assert report["d_z"].mistake == "missing share"
assert report["d_W1"].follows == ("d_z",)

print("\n3. The first slip is the factor N. Divide by it, and what has followed from it is right as well")
report = exercise.check(students(["mean"]))
assert show(report) == ["d_a", "d_z"]
assert report["d_W2"].right
assert_allclose(students()["d_W2"], N * students(["mean"])["d_W2"])

print("\n4. The second: tanh' = 1 - tanh^2, and tanh(a) is h. Ask for hints, one stronger than the other")
for _ in range(3):
    print("   " + exercise.hint("d_a").replace("\n", "\n   "))
report = exercise.check(students(["mean", "slope"]))
assert show(report) == ["d_z"]
assert report["d_n"].right

print("\n5. The third: z is used three times, because the mean and the variance depend on every row")
print("   " + exercise.hint("d_z").replace("\n", "\n   "))
report = exercise.check(students(["mean", "slope", "rows"]))
assert show(report) == []
assert report

print("\n6. All of it is right. So it is what the engine computes, in the lines that it prints itself")
print("   " + exercise.solution().replace("\n", "\n   "))
exercise.reveal()
for parameter in parameters:
    assert_allclose(students(["mean", "slope", "rows"])[f"d_{parameter.name}"], parameter.grad, rtol=1e-9, atol=1e-14)
print("   W1.grad[0] is", W1.grad[0].round(6))
