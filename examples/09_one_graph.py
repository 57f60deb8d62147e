"""Learn that a training step is a program: the same step is run eagerly, printed as NumPy, and compiled to loops.

Run it: python examples/09_one_graph.py
"""

from numpy.testing import assert_allclose

import tinygrad_ce as tg

data = tg.data.moons(96, noise=0.1, seed=0)
x, y = data.X[:32], data.y[:32]
tg.seed(0)
model = tg.nn.Sequential(tg.nn.Dense(2, 8), tg.nn.Tanh(), tg.nn.Dense(8, 2))
optimizer = tg.optim.SGD(model.parameters(), lr=0.5)
loss = tg.nn.SoftmaxCrossEntropy()
start = model.state()


def step(x, y):
    optimizer.zero_grad()
    cost = loss(model(x), y)
    cost.backward()
    optimizer.step()
    return cost


print("1. A step of one's own, and what it does: every operation, every rule, every update")
program = tg.trace(step, x, y)
text = program.source
print()
print("   " + text[text.index("def step(") :].replace("\n", "\n   ").replace("\n   \n", "\n\n"))
print(f"\n   What tracing has fixed: {'; '.join(program.fixed)}")

print("\n2. Twenty steps eagerly, by the printed NumPy, and by the compiled loops")
eager = [step(x, y).item() for _ in range(20)]
learnt = model.state()

namespace: dict = {}
exec(text, namespace)
parameters = list(start.values())
printed = []
for _ in range(20):
    cost, *parameters = namespace["step"](x, y, *parameters, 0.5)
    printed.append(float(cost))

model.restore(start)
compiled_step = tg.compile(step)
compiled = [float(compiled_step(x, y)) for _ in range(20)]

for costs in (printed, compiled):
    assert_allclose(costs, eager, rtol=1e-9)
for (name, value), other in zip(learnt.items(), parameters, strict=True):
    assert_allclose(other, value, rtol=1e-9, atol=1e-12)
    assert_allclose(model.state()[name], value, rtol=1e-9, atol=1e-12)
print(f"   the loss goes from {eager[0]:.6f} to {eager[-1]:.6f}, three times the same; so do all parameters")

print("\n3. What is compiled: loops of known sizes, in which operations have been fused")
loops = program.lowered
backward = loops[loops.index("# ---- backward") : loops.index("# ---- update")]
print()
print("\n".join(f"   {line[8:]}" for line in backward.splitlines()[1:] if line.strip()))
print("\n   and its memory:")
print("   " + program.memory.replace("\n", "\n   "))

print("\n4. The Trainer compiles whole epochs, the loop over the batches included")
histories = []
for compile_it in (False, True):
    model.restore(start)
    trainer = tg.Trainer(model, loss, tg.optim.Adam(model.parameters(), lr=0.05))
    histories.append(trainer.fit(data.X, data.y, epochs=40, batch_size=32, seed=0, compile=compile_it))
step_by_step, whole = histories
assert_allclose(whole["loss"], step_by_step["loss"], rtol=1e-7)
print(f"   step by step: loss {step_by_step['loss'][-1]:.6f}, accuracy {step_by_step['accuracy'][-1]:.3f}")
print(f"   compiled:     loss {whole['loss'][-1]:.6f}, accuracy {whole['accuracy'][-1]:.3f}")
