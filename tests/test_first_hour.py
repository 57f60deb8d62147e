"""A new user's first hour: a table with dates, gaps and words, a network, predictions elsewhere, and away with it."""

from __future__ import annotations

import csv
import subprocess
import sys

import numpy as np
import pytest
from fresh import GUARD

import tinygrad_ce as tg
from tinygrad_ce.sklearn import MLPClassifier

OPTIONS = ("--target", "renewed", "--missing", "mean", "--hidden", "8", "--epochs", "30", "--dtype", "float64")


def start(folder, *words):
    """What a program prints, run in a process of its own with warnings as errors; a failure shows what it said."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *words], cwd=folder, capture_output=True, encoding="utf-8", timeout=GUARD
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """my.csv, the run that `train` made of it, new.csv (no target, columns in another order) and its predictions."""
    folder = tmp_path_factory.mktemp("hour")
    command = ("-m", "tinygrad_ce")
    start(folder, *command, "sample", "my.csv")
    rows = rows_of(folder / "my.csv")
    start(folder, *command, "train", "my.csv", *OPTIONS, "--out", "run")
    with (folder / "new.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*reversed(rows[0])][1:], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows[:40])
    start(folder, *command, "predict", "run", "new.csv", "--proba", "--out", "predictions.csv")
    return folder


@pytest.fixture(scope="module")
def answers(folder):
    """The probabilities that the command wrote, (40, 2), and the words."""
    rows = rows_of(folder / "predictions.csv")
    probabilities = np.array([[float(row["P(no)"]), float(row["P(yes)"])] for row in rows])
    return probabilities, [row["prediction"] for row in rows]


@pytest.fixture(scope="module")
def saved(folder):
    return tg.load(folder / "run" / "model.safetensors")


@pytest.fixture(scope="module")
def X(folder, saved):
    """The features of new.csv."""
    return saved.preparation.features(folder / "new.csv")


def softmax(scores):
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_the_table_had_what_a_table_has(folder):
    rows = rows_of(folder / "my.csv")
    assert any(row["age"] == "" for row in rows)
    assert any(row["usage"] == "?" for row in rows)
    assert "renewed" not in rows_of(folder / "new.csv")[0]


def test_the_predictions_are_mostly_right(folder, answers):
    truth = [row["renewed"] for row in rows_of(folder / "my.csv")[:40]]
    assert np.mean([a == b for a, b in zip(answers[1], truth, strict=True)]) > 0.85


def test_python_gives_the_numbers_of_the_command(folder, saved, answers):
    np.testing.assert_allclose(saved.predict_proba(folder / "new.csv"), answers[0], rtol=1e-14)
    assert saved.predict(folder / "new.csv").tolist() == answers[1]


def test_onnx_gives_them(folder, saved, X, answers):
    runtime = pytest.importorskip("onnxruntime")
    tg.export.onnx(saved, folder / "model.onnx", X[:5])
    session = runtime.InferenceSession(folder / "model.onnx")
    (scores,) = session.run(None, {session.get_inputs()[0].name: X})
    np.testing.assert_allclose(softmax(scores), answers[0], rtol=1e-10)


def test_pytorch_gives_them(saved, X, answers):
    torch = pytest.importorskip("torch")
    n = saved.model[0].n_in
    network = torch.nn.Sequential(torch.nn.Linear(n, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).double()
    network.load_state_dict(tg.export.torch(saved))
    np.testing.assert_allclose(softmax(network(torch.tensor(X)).detach().numpy()), answers[0], rtol=1e-10)


def test_a_file_that_needs_numpy_only_gives_them(folder, saved, X, answers):
    tg.export.numpy(saved, folder / "network.py", X[:5])
    np.save(folder / "X.npy", X)
    program = "import sys, numpy, network; numpy.save('scores', network.forward(numpy.load('X.npy')))"
    start(folder, "-c", program + "; assert 'tinygrad_ce' not in sys.modules")
    np.testing.assert_allclose(softmax(np.load(folder / "scores.npy")), answers[0], rtol=1e-12)


def test_an_estimator_of_scikit_learn_gives_them(saved, X, answers):
    estimator = MLPClassifier.from_trained(saved)
    np.testing.assert_allclose(estimator.predict_proba(X), answers[0], rtol=1e-12)
    assert estimator.predict(X).tolist() == answers[1]
