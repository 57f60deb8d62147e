"""Learn to read the picture of a graph: what is in it, and how a value that is used twice collects its gradient.

Run it: python examples/14_draw_the_graph.py [folder for the pictures, by default pictures]
"""

import sys
from pathlib import Path

import numpy as np

import tinygrad_ce as tg

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "pictures")
folder.mkdir(parents=True, exist_ok=True)

print("1. A diamond: a goes two ways, and both ways come back")
a = tg.Tensor(2.0, requires_grad=True, name="a")
b = (a * a).named("b")
c = (3 * a).named("c")
loss = b + c
print(f"   before backward() the picture says: {tg.draw(loss).svg.split('</text>')[-2].split('>')[-1]}")
loss.backward()
picture = tg.draw(loss)
print(f"   wrote {picture.save(folder / '14_diamond.svg')}")
wires = picture.svg.count('class="wire"')
print(f"   {wires} lines: a into b twice (a * a has two arguments), a into c, b and c into the loss")
assert wires == 5
print(f"   the gradient of a is 2 + 2 + 3 = {a.grad:g}: one share for each line that leaves it")
assert a.grad == 7

print("\n2. A network: each module is a box around its operations")
tg.seed(0)
generator = np.random.default_rng(0)
x = tg.Tensor(generator.normal(size=(4, 2)), name="x")
model = tg.nn.Sequential(tg.nn.Dense(2, 3), tg.nn.Tanh(), tg.nn.Dense(3, 2))
loss = tg.losses.softmax_cross_entropy(model(x), np.array([0, 1, 0, 1]))
loss.backward()
picture = tg.draw(loss)
boxes = [type(module).__name__ for module in model.modules()]
assert picture.svg.count('class="module"') == len(boxes)
print(f"   {len(boxes)} boxes: {', '.join(boxes)}")
print(f"   wrote {picture.save(folder / '14_network.svg')}")
print("   yellow: parameters; blue: data; pink numbers: gradients; dashed lines carry none")
assert picture.svg.count("wire still") == 2
print("   dashed are the lines of x and of the labels: nobody asked for their gradients")

print("\n3. Large tensors are heat maps: blue is negative, orange positive")
train, _ = tg.data.split(tg.data.digits(), seed=0)
model = tg.nn.Sequential(tg.nn.Dense(64, 16), tg.nn.ReLU(), tg.nn.Dense(16, 10))
loss = tg.losses.softmax_cross_entropy(model(tg.Tensor(train.X[:32], name="x")), train.y[:32])
loss.backward()
picture = tg.draw(loss)
print(f"   {picture.svg.count('<image')} heat maps, with their ranges below")
print(f"   wrote {picture.save(folder / '14_digits.svg')}")
