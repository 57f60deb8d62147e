"""`tinygrad-ce grade`: a table, a CSV file and pages, or one line that says what to type instead."""

import csv
import json
import os
import signal
import subprocess
import sys

import pytest
from cli.commands import done, invoke, refused
from fresh import GUARD

from tinygrad_ce.assignments import names, ready

RIGHT = """import numpy as np
def gradients(x, w, b, y):
    d_z = (1 / (1 + np.exp(-(x @ w + b))) - y) / len(y)
    return {"d_z": d_z}
"""
TEACHERS = '''"""A logistic neuron"""
import numpy as np
POINTS = {"d_z": 3}
def inputs(generator, n=5, features=2):
    return {"x": generator.normal(size=(n, features)), "w": generator.normal(size=features),
            "b": generator.normal(), "y": generator.integers(2, size=n)}
def forward(x, w, b, y):
    z = x @ w + b
    p = 1 / (1 + np.exp(-z))
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
def gradients(x, w, b, y):
    return {"d_z": (1 / (1 + np.exp(-(x @ w + b))) - y) / len(y)}
'''


@pytest.fixture
def course(tmp_path):
    """A folder with a teacher's file and a class of four."""
    (tmp_path / "neuron.py").write_text(TEACHERS)
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "ada.py").write_text(RIGHT)
    (tmp_path / "class" / "bo.py").write_text(RIGHT.replace(" / len(y)", ""))
    (tmp_path / "class" / "=1+1.py").write_text("gradients = 1")
    (tmp_path / "class" / "<b>Zoë.py").write_text("def gradients(x, w, b, y): 1 / 0")
    return tmp_path


def graded(course, *options, out="grades.csv"):
    """What is printed by a command that grades the class."""
    return done("grade", course / "class", "--exercise", course / "neuron.py", "--out", course / out, *options)


def test_a_class_becomes_a_table_a_csv_file_and_pages(course):
    said = graded(course)
    assert "A logistic neuron: 4 hand-ins" in said
    assert "✓ right" in said
    assert "✗ mean" in said
    assert said.endswith("4 hand-ins, median 0 of 3 points; 2 could not be graded, and have 0 points")
    with open(course / "grades.csv", encoding="utf-8-sig", newline="") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert {name: row["score"] for name, row in rows.items()} == {"'=1+1": "0", "<b>Zoë": "0", "ada": "3", "bo": "0"}
    assert rows["bo"]["d_z mistake"] == "mean"
    assert rows["'=1+1"]["problem"].startswith("Your file has no function gradients.")
    assert rows["<b>Zoë"]["problem"].startswith("Your function stops with ZeroDivisionError: division by zero (line 1")
    pages = {page.name: page.read_text(encoding="utf-8") for page in (course / "grades").iterdir()}
    assert len(pages) == 5
    assert {"index.html", "ada.html", "bo.html"} <= {*pages}
    assert "ZeroDivisionError" in pages["index.html"]
    assert "<b>Zoë" not in "".join(pages.values())
    assert "ada" not in pages["bo.html"].replace("graded", "")


def test_the_files_of_the_class_stay_as_they_are_and_grading_again_gives_the_same(course):
    before = {path: path.read_bytes() for path in (course / "class").iterdir()}
    graded(course)
    first = (course / "grades.csv").read_bytes()
    graded(course)
    assert (course / "grades.csv").read_bytes() == first
    assert {path: path.read_bytes() for path in (course / "class").iterdir()} == before


def test_results_for_another_system_stand_beside_the_pages(course):
    graded(course, "--results", "gradescope", out="deep/er/all.csv")
    results = {path.stem: json.loads(path.read_text()) for path in (course / "deep/er/all").glob("*.json")}
    assert len(results) == 4
    assert (results["ada"]["score"], results["bo"]["score"]) == (3, 0)


@pytest.mark.parametrize("options", [(), ("--solutions",)])
def test_students_see_right_numbers_only_if_the_teacher_says_so(course, options):
    graded(course, *options)
    assert ("the right d_z" in (course / "grades/bo.html").read_text(encoding="utf-8")) == bool(options)


def test_a_ready_exercise_is_meant_by_its_name(tmp_path):
    ready("one_neuron").to_script(tmp_path / "class.py")
    (tmp_path / "class").mkdir()
    (tmp_path / "class.py").rename(tmp_path / "class" / "ada.py")
    said = done("grade", tmp_path / "class", "--exercise", "one_neuron", "--out", tmp_path / "grades.csv")
    assert "1 hand-in, median 0 of" in said


def test_bad_input_is_one_line(course):
    def line(folder="class", exercise="neuron.py", out="g.csv", *options):
        exercise = course / exercise if exercise.endswith(".py") else exercise
        return refused("grade", course / folder, "--exercise", exercise, "--out", course / out, *options)

    (course / "empty").mkdir()
    (course / "grades").write_text("mine")
    (course / "points.py").write_text(TEACHERS.replace("POINTS", "POINT"))
    assert "none is no folder: name the one with the files that were handed in" in line(folder="none")
    assert "neuron.py is no folder" in line(folder="neuron.py")
    assert "empty has no hand-in: no .py or .ipynb file" in line(folder="empty")
    assert all(name in line(exercise="neuron") for name in names())
    assert "nowhere.py" in line(exercise="nowhere.py")
    assert "POINTS is missing" in line(exercise="points.py")
    assert "must end in .csv" in line(out="grades.txt")
    assert "among the hand-ins" in line(out="class/grades.csv")
    assert "among the hand-ins" in line(out="class.csv")
    assert "grades, which is a file" in line(out="grades.csv")
    assert "neuron.py is a file, and no folder; name another place" in line(out="neuron.py/more/g.csv")
    assert "--seconds 0 must be at least 1" in line("class", "neuron.py", "g.csv", "--seconds", 0)
    assert "--megabytes -1 must be at least 1" in line("class", "neuron.py", "g.csv", "--megabytes", -1)
    assert (course / "grades").read_text() == "mine"
    assert not (course / "g.csv").exists()


def test_the_help_says_that_it_is_no_security_boundary():
    assert "no security boundary" in " ".join(invoke("grade", "--help").stdout.split())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc lists processes on Linux")
def test_ctrl_c_leaves_no_processes(course):
    """The command is interrupted when a hand-in that never ends has begun to run."""
    for path in (course / "class").iterdir():
        path.unlink()
    (course / "class" / "ada.py").write_text("while True: pass")
    out = ("--exercise", course / "neuron.py", "--out", course / "grades.csv", "--seconds", "500")
    command = [sys.executable, "-m", "tinygrad_ce", "grade", course / "class", *out]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        while not (workers := workers_of(process.pid)):
            assert process.poll() is None, process.stderr.read()
        os.kill(process.pid, signal.SIGINT)
        process.wait(GUARD)
    assert process.returncode != 0
    assert not (course / "grades.csv").exists()
    assert all(not os.path.exists(f"/proc/{worker}") for worker in workers)


def workers_of(parent):
    """The processes of hand-ins that this one has started."""
    try:
        with open(f"/proc/{parent}/task/{parent}/children") as file:
            children = file.read().split()
        found = []
        for task in os.listdir(f"/proc/{parent}/task"):
            with open(f"/proc/{parent}/task/{task}/children") as file:
                children += file.read().split()
        for child in {*children}:
            with open(f"/proc/{child}/cmdline", "rb") as file:
                if b"worker.py" in file.read():
                    found.append(child)
        return found
    except OSError:  # one of them has just ended
        return []
