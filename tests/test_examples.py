"""Each example runs as a user would start it, with warnings as errors; its printed numbers are computed here again."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from math import exp, log
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.image
import numpy as np
import pytest
import sklearn.datasets
from fresh import GUARD

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = sorted(path.name for path in EXAMPLES.glob("*.py"))
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?")


class Printed:
    """What an example has printed, and the pictures that it says it wrote."""

    def __init__(self, text: str, folder: Path) -> None:
        self.text = text
        self.pictures = [folder / name for name in re.findall(r"^ *wrote (.+)$", text, re.MULTILINE)]

    def after(self, *labels: str) -> list[float]:
        """The numbers on the rest of the line after these labels, which follow each other in the text."""
        rest = self.text
        for label in labels:
            assert label in rest, f"{label!r} is not printed in:\n{rest}"
            rest = rest.split(label, 1)[1]
        return [float(number) for number in NUMBER.findall(rest.split("\n", 1)[0])]

    def lines(self, label: str) -> list[list[float]]:
        """The numbers on each line that has the label, after it."""
        tails = (line.split(label, 1)[1] for line in self.text.splitlines() if label in line)
        return [[float(number) for number in NUMBER.findall(tail)] for tail in tails]


def run(name: str, folder: Path, *arguments: str) -> Printed:
    """Run an example in a folder of its own; any warning, exception or word on stderr fails the test."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
        cwd=folder,
        env=os.environ | {"MPLBACKEND": "Agg", "PYTHONUTF8": "1", "COLUMNS": "100"},
        capture_output=True,
        encoding="utf-8",
        timeout=GUARD,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return Printed(done.stdout, folder)


def sigmoid(z):
    return 1 / (1 + np.exp(-np.asarray(z)))


def assert_pictures(printed: Printed, *names: str) -> None:
    """These pictures and no others were written to the default folder, and something is drawn on them."""
    assert [path.name for path in printed.pictures] == list(names)
    assert sorted(path.name for path in printed.pictures[0].parent.iterdir()) == sorted(names)
    for path in printed.pictures:
        pixels = matplotlib.image.imread(path)
        assert min(pixels.shape[:2]) >= 400
        assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 20


def test_one_neuron(tmp_path):
    printed = run("01_one_neuron.py", tmp_path)
    x, y, w, b = 2.0, 1.0, -0.5, 0.3
    p = sigmoid(w * x + b)
    slope = 2 * (p - y) * p * (1 - p)
    assert printed.after("loss = (p - y)^2", "=") == [pytest.approx((p - y) ** 2, abs=1e-6)]
    assert printed.after("w.grad =") == pytest.approx([slope * x] * 2, abs=1e-6)
    assert printed.after("b.grad =") == pytest.approx([slope] * 2, abs=1e-6)
    assert printed.after("(loss(w + h) - loss(w - h)) / 2h =") == pytest.approx([slope * x] * 2, abs=1e-6)
    assert "gradcheck, first and second derivatives, in float64: right" in printed.text
    new = sigmoid((w - 0.5 * slope * x) * x + b - 0.5 * slope)
    assert printed.after("the loss falls from") == pytest.approx([(p - y) ** 2, (new - y) ** 2], abs=1e-6)
    assert not printed.pictures


def test_cross_entropy_by_hand(tmp_path):
    printed = run("02_cross_entropy_by_hand.py", tmp_path)
    for prediction in ("[0.1, 0.5, 0.1, 0.1, 0.2]", "[0.1, 0.6, 0.1, 0.1, 0.1]"):
        assert printed.after(prediction, "-log 0.1 =") == [2.302585, 2.302585, -10, 0, 0, 0, 0]
    assert printed.after("the loss of each example") == [2.30258509, 0.69314718]
    assert printed.after("likelihood = 0.1 * 0.5 =") == [0.05]
    assert printed.after("-log likelihood =") == [pytest.approx(2.302585 + 0.693147, abs=2e-6)]
    assert printed.after("cost = mean of the losses =") == [pytest.approx((2.302585 + 0.693147) / 2, abs=2e-6)]
    soft = -(0.8 * log(0.1) + 0.1 * log(0.3) + 0.1 * log(0.6) + 0.25 * log(0.3) + 0.75 * log(0.5)) / 2
    for way, cost in (("index ", 1.497866), ("one-hot ", 1.497866), ("soft ", soft)):
        assert printed.after(f"   {way}", "] ", "cost ") == [pytest.approx(cost, abs=1e-6)]
    binary = -(log(0.9) + log(0.8) + log(0.4) + log(0.4)) / 4
    assert printed.after("p = [0.9 0.2 0.6 0.4]: by hand") == pytest.approx([binary] * 2, abs=1e-6)
    slopes = sigmoid([-2.0, 0.5, 3.0]) - [1, 0, 1]
    for way in ("p - y   ", "one rule, of the logit", "two rules, log after sigmoid", "numerically"):
        assert printed.after("5.", way) == pytest.approx(slopes, abs=1e-6)
    assert printed.after("w: analytic / numerical =")[0] == pytest.approx(1 / 3, abs=1e-6)
    assert printed.after("b: analytic / numerical =")[0] == pytest.approx(-1, abs=1e-6)
    assert printed.after("sigmoid(wx + b) =")[0] == pytest.approx(sigmoid(0.5), abs=1e-6)
    assert printed.after("sigmoid(wx - b) =")[0] == pytest.approx(sigmoid(1.9), abs=1e-6)
    assert "for y = 0 None instead of 2.302585" in printed.text
    assert "gradcheck: f returns NoneType" in printed.text
    assert_pictures(printed, "02_binary_cross_entropy.png")


def test_moons(tmp_path):
    printed = run("03_moons.py", tmp_path)
    losses = [loss for _, loss in printed.lines("   epoch")]
    assert len(losses) == 7
    assert losses == sorted(losses, reverse=True)
    assert 0.3 < losses[0] < log(2)
    assert losses[-1] < 0.02
    accuracy, right, points = printed.after("test accuracy")
    assert accuracy >= 0.98
    assert (points, accuracy) == (150, round(right / points, 4))
    assert printed.after("between the two ways:") == [0]
    assert_pictures(printed, "03_moons_boundary.png")


def test_digits(tmp_path):
    printed = run("04_digits.py", tmp_path)
    ink = [line.rstrip() for line in printed.text.splitlines()[2:10]]
    assert ink[0].strip() == "..**::"
    assert ink[3].split() == ["..**", "::::"]  # the left and the right side of a 0
    assert printed.after("   train") == [1222, 216, 359]
    best_possible = -0.91 * log(0.91) - 0.09 * log(0.01)
    assert printed.after("cost log 10 =")[0] == pytest.approx(log(10), abs=1e-4)
    assert printed.after("H(target) =") == [pytest.approx(best_possible, abs=1e-4)]
    losses = [row[1] for row in printed.lines("   epoch")]
    assert len(losses) == 6
    assert log(10) > losses[0] > losses[-1] > best_possible
    accuracy, right, digits = printed.after("accuracy ", "accuracy ", "6. ", "accuracy ")
    assert accuracy >= 0.97
    assert (digits, accuracy) == (359, round(right / digits, 4))
    table = printed.text.split("column: the answer\n")[1].splitlines()[1:11]
    matrix = np.array([[int(cell) if cell != "." else 0 for cell in line.split()[1:]] for line in table])
    assert matrix.shape == (10, 10)
    assert (matrix.sum(), np.trace(matrix)) == (359, right)
    a, b, times = map(int, printed.after("the most confused pair is"))
    together = matrix + matrix.T
    assert times == together[a, b] == together[~np.eye(10, dtype=bool)].max()
    assert_pictures(printed, "04_digits_history.png", "04_digits_confusion.png")


def test_second_derivatives(tmp_path):
    printed = run("05_second_derivatives.py", tmp_path)
    assert printed.after("x^3 at x = 3: value") == [27, 3, 2, 27, 6, 18]
    curvatures = np.array(printed.lines("eigenvalues ")[1:]).reshape(4, 3)
    assert (curvatures >= 0).all()
    assert (curvatures <= 2).all()
    assert (curvatures[:, -1] > 0.01).all()
    smallest, largest = np.array(printed.lines("smallest eigenvalue")).T
    assert len(smallest) == 4
    assert (smallest < -0.01).all()
    assert (largest > 0.01).all()
    trained, twin, half_way = printed.after("the trained network costs")
    assert trained == twin < 0.05 < 1 < half_way
    assert printed.after("v' H v = ", "v' H v = ")[0] < -1
    assert_pictures(printed, "05_convex_or_not.png")


def test_your_own_primitive(tmp_path):
    printed = run("06_your_own_primitive.py", tmp_path)
    x = np.array([-2.0, 0.0, 1.0, 3.0])
    s = sigmoid(x)
    assert printed.after("swish([-2.  0.  1.  3.]) =") == pytest.approx(x * s, abs=1e-6)
    assert "swish has no derivative rule for `x`: write @swish.vjp('x')" in printed.text
    assert printed.after("engine  ") == pytest.approx(s + x * s * (1 - s), abs=1e-6)
    s1 = 1 / (1 + exp(-1))
    assert printed.after("swish''(1) =")[0] == pytest.approx(s1 * (1 - s1) * (3 - 2 * s1), abs=1e-6)
    wrong, right = s, s + x * s * (1 - s)
    table = printed.text[printed.text.index("5. A wrong rule") :]
    rows = np.array(re.findall(r"^ +x +\[(\d)\] +(\S+) +(\S+) ", table, re.MULTILINE), float)
    assert rows[:, 0].tolist() == [0, 2, 3]
    assert rows[:, 1] / rows[:, 2] == pytest.approx((wrong / right)[[0, 2, 3]], rel=1e-4)
    errors = [error for _, error in printed.lines("   step")]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3
    forward, backward = printed.text[printed.text.index("7. An instrument") :].split("now backward\n")
    calls = re.findall(r"^ +(\d+) (\w+) +(\(.*) -> (\(.*\))$", forward, re.MULTILINE)
    layer = [("1", "affine", "(64, 1), (1, 16), (16,)", "(64, 16)"), ("2", "swish", "(64, 16)", "(64, 16)")]
    assert calls[:3] == [*layer, ("3", "affine", "(64, 16), (16, 1), (1,)", "(64, 1)")]
    assert calls[-1][-1] == "()"  # the loss is a single number
    rules = re.findall(r"^ +(\d+) (\w+) +(\(.*) -> (\(.*\))$", backward, re.MULTILINE)
    products = [(shapes, result) for _, name, shapes, result in rules if name == "matmul"]
    hidden, weights = ("(64, 1), (1, 16)", "(64, 16)"), ("(16, 64), (64, 1)", "(16, 1)")  # g W^T and h^T g
    assert products == [hidden, weights, ("(1, 64), (64, 16)", "(1, 16)")]
    assert [name for _, name, _, _ in rules].count("sigmoid") == 1
    numbers = [int(number) for number, *_ in calls + rules]
    assert numbers == [*range(1, len(numbers) + 1)]
    assert f"and {len(numbers)} calls as before" in printed.text
    assert not printed.pictures


def test_why_cross_entropy(tmp_path):
    printed = run("07_why_cross_entropy.py", tmp_path)
    first = {}
    for name, slope in (("squared error", lambda p: (p - 1) * p * (1 - p)), ("cross-entropy", lambda p: p - 1)):
        rows, w, b = [], -4.0, -3.0
        for _ in range(2001):
            p = float(sigmoid(w + b))
            loss = -log(p) if name == "cross-entropy" else (p - 1) ** 2 / 2
            rows.append((p, loss, slope(p)))
            w, b = w - 0.5 * slope(p), b - 0.5 * slope(p)
        for step in (0, 1, 10, 100, 1000, 2000):
            assert printed.after("3. ", f"\n   {name}\n", f"step {step:4}") == pytest.approx(rows[step], abs=2e-6)
        first[name] = next(step for step, (p, _, _) in enumerate(rows) if p > 0.5)
    assert printed.after("(p > 1/2) after") == [first["cross-entropy"], first["squared error"]]
    assert_pictures(printed, "07_gradients_and_losses.png")


def test_the_pictures_go_to_the_folder_that_is_named(tmp_path):
    printed = run("02_cross_entropy_by_hand.py", tmp_path, "my/own folder")
    assert printed.pictures == [tmp_path / "my/own folder/02_binary_cross_entropy.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["my"]
    assert printed.pictures[0].stat().st_size > 10_000


@pytest.mark.parametrize("name", NAMES)
def test_it_is_short_and_says_what_it_teaches(name):
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring is not None
    assert docstring.startswith("Learn ")
    assert f"Run it: python examples/{name}" in docstring
    assert 40 <= sum(bool(line.strip()) for line in text.splitlines()) <= 120


def test_each_example_is_tested_and_stands_in_the_readme():
    here = Path(__file__).read_text(encoding="utf-8")
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert len(NAMES) == 20
    for name in NAMES:
        assert f'run("{name}", tmp_path)' in here
        assert f"[{name}]({name})" in readme


def test_printed_backprop(tmp_path):
    printed = run("08_printed_backprop.py", tmp_path)
    text = printed.text[printed.text.index("def step(") :]
    assert "d_b2 = d_z2.sum(axis=0)" in text
    assert "d_W2 = t8.T @ d_z2" in text
    printed_loss, engines = printed.after("2. It is a program", "\n   loss ")[:2]
    assert printed_loss == engines
    assert sum(printed.after("gradient of the last bias: [")) == pytest.approx(0, abs=1e-5)  # p and y both sum to 1
    right, wrong = printed.after("gradient of the first weights: ["), printed.after("it would be           [")
    assert np.abs(np.subtract(right, wrong)).max() > 1e-3


def test_one_graph(tmp_path):
    printed = run("09_one_graph.py", tmp_path)
    assert "    W0 = W0 - lr * d_W0" in printed.text
    assert "# d_z1 = d_h1 * tanh_slope(z1)\n   for i in range(256):" in printed.text
    first, last = printed.after("2. Twenty steps", "\n   the loss goes from ")[:2]
    assert last < first / 2
    assert printed.after("step by step: ") == printed.after("compiled:  ")
    sizes = [int(size.replace(",", "")) for size in re.findall(r"^ +([\d,]+) bytes", printed.text, re.MULTILINE)]
    total, *parts = sizes
    assert total == sum(parts)


def test_where_the_nan_came_from(tmp_path):
    printed = run("10_where_the_nan_came_from.py", tmp_path)
    text = " ".join(printed.text.split())
    for number, culprit in enumerate(("exp(800) = inf", "log(0) = -inf", "0 / (2 * 0) = nan"), start=1):
        section = f"\n{printed.text}".split(f"\n{number}. ")[1].split(f"\n{number + 1}. ")[0]
        assert culprit in section
    assert f"infinite from z = {log(np.finfo(float).max):.2f} on" in text
    first, second = log(exp(1) + exp(2) + exp(0)) - 2, 800 - 3  # exp(0 - 800) adds nothing to the second sum
    assert printed.after("computes it so:\n   loss ") == pytest.approx([(first + second) / 2] * 2, abs=1e-6)
    assert printed.after("Its gradient: [")[:2] == [1 / (2 * 2), 0]
    w, losses = 0.0, []
    while True:
        error = w * 10 - 20
        if abs(error) > np.sqrt(np.finfo(float).max):
            break
        losses.append((w, error**2))
        w -= 0.02 * 2 * error * 10
    assert printed.after("multiplies the error w - 2 by 1 - 2 x^2 lr =") == [1 - 2 * 100 * 0.02]
    for step in (0, 1, 2, 10, 100):
        assert printed.after("4. ", f"      step {step:3}   w ") == pytest.approx(losses[step], rel=1e-6)
    assert printed.after("4. ", "   After ")[0] == len(losses)
    assert printed.after("1.34e154, at n =") == [len(losses)]
    assert "X[2, 1] = nan" in text
    assert "in row 2 and column 1" in text
    assert printed.after("Then the gradient is [")[:3] == [0 + 3 + 9, 1 + 4 + 10, 2 + 5 + 11]
    assert not printed.pictures


def test_draw_the_graph(tmp_path):
    printed = run("14_draw_the_graph.py", tmp_path)
    assert [path.name for path in printed.pictures] == ["14_diamond.svg", "14_network.svg", "14_digits.svg"]
    for path in printed.pictures:
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
    assert "there are no gradients, not yet or no longer" in printed.text
    assert printed.after("the gradient of a is ") == [2, 2, 3, 7]


def test_step_through(tmp_path):
    printed = run("15_step_through.py", tmp_path)
    assert [path.name for path in printed.pictures] == ["15_network.html", "15_shares.html"]
    for path in printed.pictures:
        assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    at_the_output = printed.after("d_z2 = [")
    assert [value > 0 for value in at_the_output] == [True, False, False, True]  # up where y is 0, down where it is 1
    assert printed.after("by hand, d_W2[0, 0] = ")[0] == printed.after("the engine's gradient is ")[0]
    *_, last = printed.text.splitlines()
    assert [float(n) for n in NUMBER.findall(last)] == pytest.approx([2, 2, np.cos(2), 4 + np.cos(2)], abs=1e-4)


def test_is_it_learning(tmp_path):
    printed = run("12_is_it_learning.py", tmp_path)
    assert "Sequential, loss 2.447: fine" in printed.text
    digits = sklearn.datasets.load_digits()
    x = ((digits.data - digits.data.mean(axis=0)) / (digits.data.std(axis=0) + 1e-8))[:128]
    limit = np.sqrt(6 / (64 + 32))
    h = np.tanh(x @ np.random.default_rng(0).uniform(-limit, limit, (64, 32)))
    assert printed.after("below 5 % of its largest for ") == [pytest.approx(100 * np.mean(1 - h * h < 0.05), abs=0.006)]
    lr, gradient, weight, update, healthy = printed.after("lr * |gradient| / |weight| =")
    assert update == pytest.approx(lr * gradient / weight, abs=1e-5)
    assert healthy == 0.001
    for illness, layer in (("saturated", 1), ("dead", 1), ("vanishing", 0), ("exploding", 0)):
        assert re.search(rf"^   {illness} +in layers\.{layer}\b", printed.text, re.MULTILINE)
    shares = [float(share) for share in printed.text.split("of eleven:\n")[1].split("\n")[0].split()]
    assert len(shares) == 11
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 1e-6
    (good, *_), (large, *_), (small, *_) = printed.lines("the loss ends at")
    assert good < 0.1 < 2 < min(large, small)
    first, _, last, epochs = printed.after("the second Tanh:")
    assert (epochs, last > first) == (15, True)
    assert_pictures(printed, "12_audit_over_time.png")


def test_hand_written_backprop(tmp_path):
    printed = run("11_hand_written_backprop.py", tmp_path)
    summaries = re.findall(r"^   (\d+) of 11 right$", printed.text, re.MULTILINE)
    assert summaries == ["0", "4", "8", "11"]
    first = printed.text[printed.text.index("2. A first try") : printed.text.index("3. The first slip")]
    for name, mistake in (("d_logits", "mean"), ("d_a", "wrong value"), ("d_z", "missing share"), ("d_W1", "upstream")):
        assert re.search(rf"^ +{name} +wrong \({mistake}\): ", first, re.MULTILINE)
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(8, 2)), np.arange(8) % 3
    W1, b1, scale, shift, W2, b2 = (generator.normal(size=n) for n in ((2, 4), 4, 4, 4, (4, 3), 3))

    def loss(W1):
        z = x @ W1 + b1
        h = np.tanh((z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + 1e-5) * scale + shift)
        logits = h @ W2 + b2
        return np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(8), y])

    steps = np.eye(8)[:4].reshape(4, 2, 4) * 1e-6  # each of the first row
    slopes = [(loss(W1 + step) - loss(W1 - step)) / 2e-6 for step in steps]
    assert printed.after("W1.grad[0] is [") == pytest.approx(slopes, abs=2e-6)
    assert not printed.pictures


def test_where_a_gradient_comes_from(tmp_path):
    printed = run("13_where_a_gradient_comes_from.py", tmp_path)
    slope = 1 - np.tanh(1.5) ** 2
    use = re.search(r"\n     0   t1 = 3 \* x +\S+:\d+ (.+)\n", printed.text)[1]
    assert [float(n) for n in use.split()] == pytest.approx([slope, 3, 3 * slope], abs=1e-4)
    assert printed.after("(1 - tanh(1.5)^2) * 3 =") == pytest.approx([3 * slope], abs=1e-6)
    total = 4 + np.cos(2)
    assert f"2 + 2 + ({np.cos(2):.4g}) = {total:.4g}, which is the gradient of a." in printed.text
    assert printed.text.count("   on paper: ") == 2
    tower = re.search(r"(\S+) \+ (\S+) = (\S+), which is the gradient of x\.", printed.text)
    one, other, whole = (float(n) for n in tower.groups())
    assert [one, other, whole] == pytest.approx([0.75**19 / 2, 0.75**19 / 4, 0.75**20], rel=1e-3)
    assert f"the largest of 1,048,576 terms: {0.5**20:.4g}; their sum: {0.75**20:.4g}" in printed.text
    text = printed.text[printed.text.index("4. A network") :]
    assert re.search(r"\n   W2\[0, 1\] +z2\[\d, 1\].+\n   z2\[\d, 1\] +loss +1 .+\n", text)
    gradient = float(re.search(r"(\S+) is the gradient of W2", text)[1])
    rows = [line.split() for line in text.split("hardest\n")[1].split("---\n")[1].split("   A step")[0].splitlines()]
    assert len(rows) == 5
    sizes = [abs(float(row[2])) for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    assert all((row[-1] == "down") == (float(row[2]) > 0) for row in rows)
    down, up = (float(n) for n in re.findall(r"\(together (\S+)\)", text))
    assert down + up == pytest.approx(gradient, abs=2e-4)
    by_hand = printed.after("== 1)) / N: [")
    for row in rows:
        if int(row[0]) < 5:
            assert float(row[2]) == pytest.approx(by_hand[int(row[0])], abs=1e-4)
    hardest, step = printed.after("the row that pushes hardest is")[0], printed.after("would move W2[0, 1] by")[0]
    assert hardest == int(rows[0][0])
    assert step * float(rows[0][2]) < 0
    assert r"= h_{1}^{\top} \, \frac{\partial L}{\partial z_{2}}" in printed.text
    assert not printed.pictures


def test_a_table_to_predictions(tmp_path):
    printed = run("16_a_table_to_predictions.py", tmp_path)
    assert printed.after("   train") == [206, 69, 69]  # 60, 20 and 20 % of 344
    assert "target 'species' (3 classes: 'Adelie', 'Chinstrap', 'Gentoo')" in " ".join(printed.text.split())
    assert printed.after("that it has not seen:")[0] > 0.95
    assert "every parameter has the same bits: True; epochs in the history: 40" in printed.text
    assert "another program answers: Adelie Gentoo Chinstrap\n" in printed.text
    assert "NumPy alone answers: class 0 2 1\n" in printed.text
    assert all(path.stat().st_size > 100 for path in printed.pictures)
    assert len(printed.pictures) == 2


def test_search_on_a_cluster(tmp_path):
    pytest.importorskip("dask.distributed")
    printed = run("17_search_on_a_cluster.py", tmp_path)
    assert printed.after("   train") == [133, 45]
    assert printed.after("   8 candidates on")[0] == 4
    assert printed.lines(" workers") == [[]]
    assert "   2 workers\n   every score is the same" in printed.text
    lines = printed.text[printed.text.index(" pushes\n") :].splitlines()[2:]
    pushes = [float(line.split()[-1]) for line in lines]
    assert len(pushes) == 4
    assert pushes == sorted(pushes, key=abs, reverse=True)
    assert {line.split()[0] for line in lines} <= {*sklearn.datasets.load_wine().feature_names}
    assert not printed.pictures


def test_live(tmp_path):
    printed = run("18_live.py", tmp_path)
    assert [path.name for path in printed.pictures] == ["18_moons.html", "18_lesson.html"]
    for path in printed.pictures:
        assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert printed.after("the loss of that is -ln(1/2) =") == [round(log(2), 4)]
    assert printed.after("-ln(e / (e + 1)) =") == [round(log(1 + exp(-1)), 4)]
    assert printed.after("with rate 30 the loss is")[0] > log(2)


def test_an_exercise_for_a_class(tmp_path):
    pytest.importorskip("cryptography")
    printed = run("19_an_exercise_for_a_class.py", tmp_path)
    assert sorted(path.name for path in (tmp_path / "homework").iterdir()) == [
        *("Ada.py", "Ben.py", "Cleo.py", "student.py", "week_1.py")
    ]
    assert printed.text.count(" is still None\n") == 4
    assert printed.text.count("(costs 0.2 points)") == 2
    assert printed.after("   Ada: ") == pytest.approx([6 - 0.4, 6, 2])  # the two hints cost a tenth of 2 points each
    assert printed.after("   Ben: ")[:2] == [4, 6]  # of d_z1 nothing, and what follows from it counts
    assert printed.after("   Cleo: ")[:2] == [3, 6]
    assert "d_z1  no derivative: the derivative of tanh is missing" in printed.text
    assert "d_W1  upstream: right, given your own d_z1" in printed.text
    assert printed.text.count("def gradients(x, W1, b1, W2, b2, y):") == 1
    assert not printed.pictures


def test_the_shape_of_a_loss(tmp_path):
    printed = run("20_the_shape_of_a_loss.py", tmp_path)
    by_hand = printed.after("   by hand ")
    assert printed.after("   tg.surface ") == by_hand
    assert min(by_hand) > 0
    assert "A bowl, as far as seen" in printed.text.split("2. Where")[0]
    count, smallest = printed.after("the smallest of")
    assert count == 2 * 8 + 8 + 8 + 1
    assert smallest < 0
    assert "Not convex" in printed.text.split("4. The way")[1]
    assert_pictures(printed, "20_bowl.png", "20_training.png")
