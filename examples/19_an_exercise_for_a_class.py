"""Learn to set homework: an exercise of your own network, for students and for the teacher, and three hand-ins judged.

Run it: python examples/19_an_exercise_for_a_class.py
"""

import runpy
from pathlib import Path

import numpy as np

import tinygrad_ce as tg
from tinygrad_ce.assignments import cost_of_hints, from_file, names, take_hint, unlock

folder = Path("homework")
folder.mkdir(exist_ok=True)

print("1. A teacher computes a loss. What has a name is called so in the exercise")
generator = np.random.default_rng(0)
x, y = generator.normal(size=(6, 2)), np.arange(6) % 3
W1, b1, W2, b2 = (
    tg.Tensor(generator.normal(size=size), requires_grad=True, name=name)
    for name, size in {"W1": (2, 4), "b1": (4,), "W2": (4, 3), "b2": (3,)}.items()
)
h = (tg.Tensor(x, name="x") @ W1 + b1).named("z1").tanh().named("h")
z2 = (h @ W2 + b2).named("z2")
loss = tg.losses.softmax_cross_entropy(z2, y)
exercise = tg.exercise(loss)
exercise.points = {"d_z2": 2, "d_W2": 1, "d_z1": 2, "d_W1": 1}
print("   asked for, with points:", exercise.points)

print("\n2. Two files: one for students, one for the teacher")
print("   students get blanks and a locked solution, the teacher gets the solution and a rubric")
student = exercise.to_script(folder / "student.py", title="Two layers", password="swordfish")
teachers = exercise.to_script(folder / "week_1.py", title="Two layers", teacher=True)
blanks = [line.strip() for line in student.read_text(encoding="utf-8").splitlines() if " = None" in line]
print("   " + "\n   ".join(blanks))
problem = from_file(teachers)
print("   the teacher's file agrees with the engine on", ", ".join(problem.check()))

print("\n3. A student runs the file as it is. It needs NumPy only")
runpy.run_path(str(student), run_name="__main__")

print("\n4. The student takes two hints for d_z1. They are counted in the file, and cost points")
for _ in range(2):
    print("   " + take_hint(student, "d_z1").replace("\n", "\n   "))

print("\n5. Three hand-ins: all right; without the slope of tanh; and one that stopped in the middle")
RIGHT = {
    "d_z2": "(p - np.eye(3)[y]) / len(y)",
    "d_W2": "h.T @ d_z2",
    "d_z1": "(d_z2 @ W2.T) * (1 - h**2)",
    "d_W1": "x.T @ d_z1",
}
hand_ins = {
    "Ada": RIGHT,
    "Ben": RIGHT | {"d_z1": "d_z2 @ W2.T"},
    "Cleo": RIGHT | {"d_z1": "None", "d_W1": "None"},
}
scores = {}
for name, lines in hand_ins.items():
    path, text = folder / f"{name}.py", student.read_text(encoding="utf-8")
    for value, line in lines.items():
        text = text.replace(f"{value} = None", f"{value} = {line}")
    path.write_text(text, encoding="utf-8")
    handed_in = runpy.run_path(str(path))
    grade = tg.grade(handed_in["gradients"], problem)
    costs = cost_of_hints(problem, handed_in["HINTS"])
    scores[name] = grade.score - sum(costs[v.name] for v in grade.verdicts.values() if v.right and v.name in costs)
    print(f"   {name}: {scores[name]:g} of {sum(problem.points.values()):g} points, hints {handed_in['HINTS']}")
    for verdict in grade.verdicts.values():
        print(f"      {verdict.name}  {'right' if verdict.right else f'{verdict.mistake}: {verdict.message}'}")
assert scores["Ada"] == 6 - 0.4
assert scores["Ada"] > scores["Ben"] > scores["Cleo"]

print("\n6. After the deadline the teacher says the password")
print("   " + unlock(student, "swordfish").splitlines()[0])

print("\n7. Twelve exercises are ready: tinygrad-ce exercise NAME --out student.ipynb writes one")
print("   " + ", ".join(names()))
