"""Learn what a training loop does: ten lines by hand, then the Trainer, and both end with the same parameters.

Run it: python examples/03_moons.py [folder for the picture, by default pictures]
"""

import sys
from pathlib import Path

import numpy as np

import tinygrad_ce as tg

EPOCHS, BATCH_SIZE, LEARNING_RATE = 60, 32, 0.01

print("1. Data: two half moons that reach into each other. No straight line separates them")
data = tg.data.moons(600, noise=0.1, seed=0)
train, test = tg.data.split(data, test=0.25, seed=0)
print(f"   train {train}")
print(f"   test  {test}")

print("\n2. Model: two hidden layers of 16; the last layer gives one logit for each class")


def new_model():
    tg.seed(0)  # the same initial weights each time
    return tg.nn.Sequential(
        tg.nn.Dense(2, 16), tg.nn.Tanh(), tg.nn.Dense(16, 16), tg.nn.Tanh(), tg.nn.Dense(16, train.n_classes)
    )


model = new_model()
print(model.summary())

print("\n3. The loop by hand. Each step: forget the old gradients, forward, backward, update")
optimizer = tg.optim.Adam(model.parameters(), lr=LEARNING_RATE)
generator = np.random.default_rng(0)  # the order of the rows, another one in each epoch
mean_losses = []
for epoch in range(1, EPOCHS + 1):
    total = 0.0
    for X, y in tg.data.batches(train.X, train.y, BATCH_SIZE, seed=generator):
        optimizer.zero_grad()
        loss = tg.losses.softmax_cross_entropy(model(X), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)
    mean_losses.append(total / len(train))
    if epoch in (1, 2, 5, 10, 20, 40, 60):
        print(f"   epoch {epoch:2}   loss {mean_losses[-1]:.4f}")
assert mean_losses[-1] < mean_losses[0] / 20

with tg.no_grad():  # only to look: nothing has to be recorded
    predicted = model(test.X).data.argmax(axis=1)
accuracy = np.mean(predicted == test.y)
print(f"   test accuracy {accuracy:.4f}: {np.sum(predicted == test.y)} of {len(test)} points")
assert accuracy >= 0.98

print("\n4. The same with the Trainer: it is that loop, with validation, early stopping and a history")
twin = new_model()
trainer = tg.Trainer(twin, tg.nn.SoftmaxCrossEntropy(), tg.optim.Adam(twin.parameters(), lr=LEARNING_RATE))
history = trainer.fit(train.X, train.y, epochs=EPOCHS, batch_size=BATCH_SIZE, seed=0)
print(f"   {history}")
print(f"   test: {trainer.evaluate(test.X, test.y)}")
np.testing.assert_allclose(history["loss"], mean_losses, rtol=1e-12)

differences = [np.abs(a.data - b.data).max() for a, b in zip(model.parameters(), twin.parameters(), strict=True)]
print(f"   largest difference of any parameter between the two ways: {max(differences)}")
assert max(differences) == 0

print("\n5. What was learnt: the answer at every point of the plane")
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "pictures")
folder.mkdir(parents=True, exist_ok=True)
trainer.plot_boundary(test.X, test.y, data.class_names, path=folder / "03_moons_boundary.png")
print(f"   wrote {folder / '03_moons_boundary.png'}")
