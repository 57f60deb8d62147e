"""Learn to train on real data: a validation part, early stopping, and a look at the mistakes (handwritten digits).

Run it: python examples/04_digits.py [folder for the pictures, by default pictures]
"""

import sys
from pathlib import Path

import numpy as np

import tinygrad_ce as tg

print("1. Data: 8 x 8 grey values from 0 to 1")
data = tg.data.digits()
print(f"   the first picture, which is a {data.class_names[data.y[0]]}:")
for row in data.X[0].reshape(8, 8):
    print("   " + "".join(" .:*#"[int(4 * value)] * 2 for value in row))

print("\n2. Three parts: to learn from, to decide when to stop, and to be asked only once, at the end")
rest, test = tg.data.split(data, test=0.2, seed=0)
train, validation = tg.data.split(rest, test=0.15, seed=0)
print(f"   train {len(train)}, validation {len(validation)}, test {len(test)}")

print("\n3. Model: ten logits. In training, Dropout silences hidden units at random: none may be relied on too much")
tg.seed(0)
model = tg.nn.Sequential(
    tg.nn.Dense(64, 64, init="he_normal"), tg.nn.ReLU(), tg.nn.Dropout(0.2), tg.nn.Dense(64, data.n_classes)
)
print(model.summary())

print("\n4. Loss: cross-entropy with targets of 0.91 for the true class and 0.01 for each other (label smoothing 0.1)")
loss = tg.nn.SoftmaxCrossEntropy(label_smoothing=0.1)
target = np.array([0.91] + [0.01] * 9)
knows_nothing = loss(np.zeros((len(train), 10)), train.y).item()
at_best = loss(np.log(target)[None, :], np.array([0])).item()
print(f"   10 equal probabilities cost log 10 = {knows_nothing:.4f}; nothing costs less than H(target) = {at_best:.4f}")
np.testing.assert_allclose(knows_nothing, np.log(10))
np.testing.assert_allclose(at_best, -np.sum(target * np.log(target)))

print("\n5. Train until the validation loss has not improved for 10 epochs, then go back to the best epoch")
trainer = tg.Trainer(model, loss, tg.optim.Adam(model.parameters(), lr=3e-3))
history = trainer.fit(
    train.X, train.y, epochs=300, batch_size=32, validation=(validation.X, validation.y), patience=10, seed=0
)
best = int(np.argmin(history["val_loss"]))
for epoch in (0, 1, 4, 19, best, len(history) - 1):
    figures = "   ".join(f"{name} {history[name][epoch]:.4f}" for name in ("loss", "val_loss", "val_accuracy"))
    print(f"   epoch {epoch + 1:3}   {figures}{'   <- best' if epoch == best else ''}")
assert history.stopped == "early"
assert len(history) == best + 1 + 10
np.testing.assert_allclose(trainer.evaluate(validation.X, validation.y)["loss"], history["val_loss"][best])

print("\n6. The test part, for the first and only time")
accuracy = trainer.evaluate(test.X, test.y)["accuracy"]
matrix = trainer.confusion_matrix(test.X, test.y)
print(f"   accuracy {accuracy:.4f}: {np.trace(matrix)} of {len(test)} digits")
assert accuracy >= 0.97
np.testing.assert_allclose(accuracy, np.trace(matrix) / matrix.sum())

print("\n7. The mistakes. Row: the true digit; column: the answer")
print("       " + "".join(f"{name:>4}" for name in data.class_names))
for name, counts in zip(data.class_names, matrix, strict=True):
    print(f"   {name:>4}" + "".join(f"{count or '.':>4}" for count in counts))
mistakes = matrix - np.diag(np.diag(matrix))
pairs = np.triu(mistakes + mistakes.T)  # a 3 for an 8 and an 8 for a 3 are the same pair
a, b = np.unravel_index(pairs.argmax(), pairs.shape)
print(f"   {mistakes.sum()} mistakes; the most confused pair is {a} and {b} ({pairs[a, b]} of the mistakes)")
assert mistakes.sum() == len(test) - np.trace(matrix)

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "pictures")
folder.mkdir(parents=True, exist_ok=True)
history.plot(folder / "04_digits_history.png")
trainer.plot_confusion(test.X, test.y, data.class_names, folder / "04_digits_confusion.png")
print(f"   wrote {folder / '04_digits_history.png'}")
print(f"   wrote {folder / '04_digits_confusion.png'}")
