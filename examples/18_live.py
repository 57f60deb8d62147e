"""Learn by changing everything: a page in which your own network trains, and a moment that you write for a class.

Run it: python examples/18_live.py [folder for the pages, by default pictures], and open them in a browser
"""

import math
import sys
from pathlib import Path

import numpy as np

import tinygrad_ce as tg
from tinygrad_ce.live import Moment, State

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "pictures")
folder.mkdir(parents=True, exist_ok=True)

print("1. A network for two moons, as one would train it, and its page")
tg.seed(0)
train, test = tg.data.standardize(*tg.data.split(tg.data.moons(80, noise=0.15, seed=0), 0.25, seed=0))
model = tg.nn.Sequential(tg.nn.Dense(2, 4), tg.nn.Tanh(), tg.nn.Dense(4, 4), tg.nn.Tanh(), tg.nn.Dense(4, 2))
trainer = tg.Trainer(model, tg.nn.SoftmaxCrossEntropy(), tg.optim.SGD(model.parameters(), lr=0.3))
page = tg.live(trainer, train, test)
print(f"   wrote {page.save(folder / '18_moons.html')}")
print(f"   It has {len(page.html) / 1000:.0f} kB, and needs nothing else: no server, no network.")
print("   Press Train; drag a point, or an edge; press step inside; choose one of the twelve moments.")

print("\n2. Why the page's loss has a dashed line: whoever knows nothing says 1/2 for each of two classes")
print(f"   the loss of that is -ln(1/2) = {math.log(2):.4f}")

print("\n3. Why softmax twice never gets below the floor that one of the moments shows")
logits = np.array([[1.0, 0.0]])  # what a second softmax gets at best: the probabilities 1 and 0
floor = tg.losses.softmax_cross_entropy(tg.Tensor(logits), [0]).item()
print(f"   -ln(e / (e + 1)) = {floor:.4f}")
assert math.isclose(floor, math.log(1 + 1 / math.e))

print("\n4. A moment of your own: a state, a question, a check")
too_far = Moment(
    title="Too far",
    question="The learning rate is 30. What happens to the loss in the next ten steps?",
    answers=["it falls faster", "it jumps up and down"],
    answer="it jumps up and down",
    states=[State("rate 30", rate=30.0)],
    task="Press one step ten times.",
    check="steps >= 10 and loss > 0.5",
    explanation="The gradient is the slope where you stand; thirty times as far away, the slope is another one.",
)
page = tg.live(trainer, train, test, title="Lesson 1", moments=[too_far])
print(f"   wrote {page.save(folder / '18_lesson.html')}")
trainer.optimizer.lr = 30.0  # is it true? The same ten steps here
for _ in range(10):
    trainer.loss(model(train.X), train.y).backward()
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
after = trainer.loss(model(train.X), train.y).item()
print(f"   after ten steps with rate 30 the loss is {after:.2f}")
assert after > 0.5
