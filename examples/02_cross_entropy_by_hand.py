"""Learn what cross-entropy is, by hand and by the engine, and how three slips of common write-ups are caught.

Run it: python examples/02_cross_entropy_by_hand.py [folder for the picture, by default pictures]
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.testing import assert_allclose, assert_raises

import tinygrad_ce as tg
from tinygrad_ce.losses import binary_cross_entropy, cross_entropy, sigmoid_binary_cross_entropy
from tinygrad_ce.views.plots import COLOURS

print("1. One example: H(p, q) = -sum p(x) log q(x), where p is the truth and q the prediction")
p = np.array([1.0, 0.0, 0.0, 0.0, 0.0])
for prediction in ([0.1, 0.5, 0.1, 0.1, 0.2], [0.1, 0.6, 0.1, 0.1, 0.1]):
    q = tg.Tensor(prediction, requires_grad=True)
    loss = cross_entropy(q, p)
    loss.backward()
    by_hand = -np.sum(p * np.log(prediction))
    print(f"   q = {prediction}: by hand -log 0.1 = {by_hand:.6f}, engine {loss.item():.6f}, dH/dq = {q.grad}")
    assert_allclose([by_hand, loss.item()], -np.log(0.1))
    assert_allclose(q.grad, -p / prediction)
print("   The loss is the same: only the true class counts. The gradient says so too: it is 0 at every other class.")

print("\n2. N examples: the likelihood, and the cost")
Q, labels = np.array([[0.1, 0.3, 0.6], [0.2, 0.3, 0.5]]), np.array([0, 2])
losses = -np.log(Q[[0, 1], labels])
likelihood = Q[0, 0] * Q[1, 2]
print(f"   the loss of each example    {losses}")
print(f"   likelihood = 0.1 * 0.5 =    {likelihood:.6f}")
print(f"   -log likelihood =           {-np.log(likelihood):.6f}, the sum of the losses")
print(f"   cost = mean of the losses = {losses.mean():.6f}, the same size for few examples and for many")
print("   log always grows, so to maximise the likelihood is to minimise the sum of the losses, or their mean.")
assert_allclose(cross_entropy(Q, labels, reduction="none").data, losses)
assert_allclose(losses, [2.30258509, 0.69314718], rtol=1e-8)
assert_allclose(cross_entropy(Q, labels, reduction="sum").data, -np.log(likelihood))
assert_allclose(cross_entropy(Q, labels).data, losses.mean())

print("\n3. Three ways to write the truth")
one_hot = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
soft = np.array([[0.8, 0.1, 0.1], [0.0, 0.25, 0.75]])
for name, targets, rows in (("index", labels, one_hot), ("one-hot", one_hot, one_hot), ("soft", soft, soft)):
    cost = cross_entropy(Q, targets).item()
    print(f"   {name:8} {targets.tolist()!s:40} cost {cost:.6f}")
    assert_allclose(cost, np.mean(-np.sum(rows * np.log(Q), axis=1)))

print("\n4. Two classes: cost = -(1/m) sum [y log p + (1 - y) log(1 - p)]")
y, p = np.array([1, 0, 0, 1]), np.array([0.9, 0.2, 0.6, 0.4])
by_hand = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))
cost = binary_cross_entropy(p, y).item()
print(f"   y = {y}, p = {p}: by hand {by_hand:.6f}, engine {cost:.6f}")
assert_allclose(cost, by_hand)

figure = Figure(figsize=(6, 4), layout="constrained")
axes, grid = figure.subplots(), np.linspace(0.005, 0.995, 400)
for label, name, style in ((1, "y = 1:  −log p", "-"), (0, "y = 0:  −log(1 − p)", "--")):
    curve = binary_cross_entropy(grid, np.full(400, label), reduction="none").data
    axes.plot(grid, curve, style, color=COLOURS[1 - label], lw=2, label=name)
axes.set(xlabel="predicted probability p", ylabel="loss", xlim=(0, 1), ylim=(0, 5))
axes.set_title("What costs is to be sure and wrong")
axes.grid(alpha=0.3)
axes.legend(frameon=False, loc="upper center")
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "pictures")
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "02_binary_cross_entropy.png", dpi=150)
print(f"   wrote {folder / '02_binary_cross_entropy.png'}")

print("\n5. Its derivative with respect to the logit z, where p = 1 / (1 + e^-z)")
print("   on paper:  dL/dp = -y/p + (1 - y)/(1 - p) = (p - y) / (p (1 - p))")
print("              dp/dz = p (1 - p)")
print("              dL/dz = dL/dp * dp/dz = p - y")
y, z, h = np.array([1.0, 0.0, 1.0]), tg.Tensor([-2.0, 0.5, 3.0], requires_grad=True), 1e-6
p = z.sigmoid()
above, below = (sigmoid_binary_cross_entropy(z.data + step, y, reduction="none").data for step in (h, -h))
slopes = {
    "p - y": p.data - y,
    "one rule, of the logit": tg.gradients(sigmoid_binary_cross_entropy(z, y, reduction="sum"), z),
    "two rules, log after sigmoid": tg.gradients(binary_cross_entropy(p, y, reduction="sum", fused=False), z),
    "numerically": (above - below) / (2 * h),
}
for name, slope in slopes.items():
    print(f"   {name:30} {slope.round(6)}")
    assert_allclose(slope, p.data - y, rtol=1e-7)

print("\n6. Two slips: 'dp/dw = p (1 - p)', and 'p = 1 / (1 + exp(-wx + b))'. We give their rules to a neuron:")


@tg.primitive
def neuron(w, x, b):
    return 1 / (1 + np.exp(-(w * x + b)))


@neuron.vjp("w")
def neuron_w(g, out, w, x, b):
    return g * out * (1 - out)


@neuron.vjp("b")
def neuron_b(g, out, w, x, b):
    return -(g * out * (1 - out))  # the slope of 1 / (1 + exp(-wx + b))


w, x, b = 0.4, 3.0, -0.7
with assert_raises(tg.check.GradcheckError) as caught:
    tg.check.gradcheck(lambda w, b: neuron(w, x, b), w, b, names=["w", "b"])
print("   " + str(caught.exception).replace("\n", "\n   "))
ratio_w, ratio_b = (m.analytic / m.numerical for m in caught.exception.report.mismatches)
assert_allclose([ratio_w, ratio_b], [1 / x, -1], rtol=1e-6)
print(f"   w: analytic / numerical = {ratio_w:.6f} = 1/x. The factor x was forgotten: dp/dw = p (1 - p) x")
print(f"   b: analytic / numerical = {ratio_b:.6f}. The sign is wrong, and so are the values of that formula:")
right, slip = neuron(w, x, b), 1 / (1 + np.exp(-w * x + b))
print(f"      sigmoid(wx + b) = {right:.6f}, but 1 / (1 + exp(-wx + b)) = sigmoid(wx - b) = {slip:.6f}")
assert_allclose([right, slip], tg.ops.sigmoid(np.array([w * x + b, w * x - b])))

print("\n7. Third slip: two returns in a row. Python never reaches the second")


def loss_of_one(p, y):
    if y == 1:
        return -tg.ops.log(p)
        return -tg.ops.log(1 - p)


print(f"   p = 0.9: for y = 1 it gives {loss_of_one(0.9, 1):.6f}, for y = 0 {loss_of_one(0.9, 0)} instead of 2.302585")
with assert_raises(TypeError) as caught:
    tg.check.gradcheck(lambda p: loss_of_one(p, 0), 0.9)
print(f"   {caught.exception}")
print("   The formula of step 4 needs no if: y and 1 - y choose the term, for a whole array at once.")
assert_allclose(binary_cross_entropy(0.9, 0.0).data, -np.log(1 - 0.9))
