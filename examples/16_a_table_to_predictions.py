"""Learn a whole small job: a table with gaps becomes a network, a file, and predictions in another program.

It needs the package palmerpenguins, in the extra `data`.

Run it: python examples/16_a_table_to_predictions.py [folder for what it writes, by default pictures]
"""

import subprocess
import sys
from pathlib import Path

import tinygrad_ce as tg

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "pictures")
folder.mkdir(parents=True, exist_ok=True)

print("1. A table: 344 penguins, measured on three islands; some rows have gaps")
penguins = tg.data.penguins(missing="mean")
train, validation, test = tg.data.standardize(*tg.data.split(penguins, 0.6, 0.2, 0.2))
print(f"   train {len(train)}, validation {len(validation)}, test {len(test)}")
print(train.preparation.summary())

print("\n2. A network with a hidden layer of 16")
tg.seed(0)
model = tg.nn.Sequential(tg.nn.Dense(train.n_features, 16), tg.nn.Tanh(), tg.nn.Dense(16, train.n_classes))
trainer = tg.Trainer(model, tg.nn.SoftmaxCrossEntropy(), tg.optim.Adam(model.parameters(), lr=0.01))
trainer.fit(train, epochs=20, validation=validation, class_weight="balanced", seed=0)
print(f"   accuracy on penguins that it has not seen: {trainer.evaluate(test)['accuracy']:.4f}")
assert trainer.evaluate(test)["accuracy"] > 0.95

path = folder / "16_penguins.safetensors"
trainer.save(path)
print("\n3. Saved: parameters, Adam's memory, the history, the preparation of the rows")
print(f"   wrote {path}")

print("\n4. Loaded, it goes on as if it had never stopped: 20 epochs and 20 more are 40")
elsewhere = tg.load(path)
for t in (trainer, elsewhere.trainer):
    t.fit(train, epochs=20, validation=validation, class_weight="balanced")
same = all((a.data == b.data).all() for a, b in zip(model.parameters(), elsewhere.model.parameters(), strict=True))
print(f"   every parameter has the same bits: {same}; epochs in the history: {len(elsewhere.history)}")
assert same

print("\n5. New penguins, without the species: their columns may come in any order")
new = folder / "16_new_penguins.csv"
new.write_text(
    "island,sex,year,body_mass_g,flipper_length_mm,bill_depth_mm,bill_length_mm\n"
    "Torgersen,male,2007,3750,181,18.7,39.1\n"
    "Biscoe,female,2009,5200,219,15,46.2\n"
    "Dream,,2008,3700,195,19.5,50.5\n"
)
program = "import sys, tinygrad_ce as tg; print(*tg.load(sys.argv[1]).predict(sys.argv[2]))"
answers = subprocess.run([sys.executable, "-c", program, path, new], capture_output=True, text=True, check=True).stdout
print(f"   another program answers: {answers.strip()}")
assert answers.split() == elsewhere.predict(new).tolist() == ["Adelie", "Gentoo", "Chinstrap"]

print("\n6. Away with it: a Python file that needs NumPy only, and its weights beside it")
tg.export.numpy(trainer, folder / "sixteen_penguins.py")
program = f"""
import sys
import numpy as np
sys.path.insert(0, {str(folder)!r})
import sixteen_penguins
print(*sixteen_penguins.forward(np.array({trainer.preparation.features(new).tolist()})).argmax(axis=1))
assert "tinygrad_ce" not in sys.modules
"""
answers = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
print(f"   NumPy alone answers: class {answers.strip()}")
assert [penguins.class_names[int(c)] for c in answers.split()] == elsewhere.predict(new).tolist()
print(f"   wrote {folder / 'sixteen_penguins.py'}")
