"""The teacher's version: written, read back, graded with; and a sentence for each file that is none."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from assignments.files import written

import tinygrad_ce as tg
from tinygrad_ce.assignments import from_file, from_source, names, ready
from tinygrad_ce.assignments.teacher import MISTAKES, RUBRIC

GOOD = '''"""A product. And more"""
import numpy as np
POINTS = {"d_w": 2}
def inputs(generator, n=3):
    return {"x": generator.normal(size=n), "w": generator.normal(size=n)}
def forward(x, w):
    return (x * w).sum()
def gradients(x, w):
    return {"d_w": x}
'''


def assert_alike(a, b):
    """Two assignments ask for the same, and have the same answers."""
    assert (a.title, a.text, a.hint_cost, a.starter) == (b.title, b.text, b.hint_cost, b.starter)
    assert [*a.points.items()] == [*b.points.items()]
    assert a.hints == b.hints
    right, other = a.right_values(a.example()), b.right_values(b.example())
    for name in a.points:
        np.testing.assert_array_equal(right[name], other[name])


@pytest.mark.parametrize("name", names())
def test_a_teachers_version_is_read_back(name, ending, tmp_path):
    problem = ready(name)
    path = written(problem, tmp_path / f"{name}{ending}", teacher=True)
    again = from_file(path)
    assert_alike(again, problem)
    assert again.check() == problem.check()
    twice = written(again, tmp_path / f"again{ending}", teacher=True)
    assert_alike(from_file(twice), problem)
    assert twice.read_text().count("Points in all") == 1


def test_that_of_a_loss_is_read_back_and_is_right(loss, ending, tmp_path):
    exercise = tg.exercise(loss)
    path = written(exercise, tmp_path / f"week_1{ending}", teacher=True, title="Week 1", text="With `NumPy`, \\alpha.")
    problem = from_file(path)
    assert (problem.name, problem.title, problem.text) == ("week_1", "Week 1", "With `NumPy`, \\alpha.")
    assert problem.check() == [*exercise.points]
    report = exercise.check(problem.right_values(problem.example()))
    assert report, report


@pytest.mark.parametrize("name", ["batch_norm", "softmax_cross_entropy"])
def test_one_grades_with_what_was_read_back(name, ending, tmp_path):
    problem = from_file(written(ready(name), tmp_path / f"{name}{ending}", teacher=True))
    assert tg.grade(ready(name).solution, problem).score == sum(problem.points.values())

    def no_mean(**arguments):
        right = problem.solution(**arguments)
        first = next(iter(problem.points))
        return {**right, first: right[first] * 7}

    assert tg.grade(no_mean, problem).score < sum(problem.points.values())


def test_the_rubric_has_points_costs_and_mistakes(ending, tmp_path):
    text = written(ready("batch_norm"), tmp_path / f"t{ending}", teacher=True).read_text()
    assert "| `d_x` | 3 | (6, 4) | 0.3 |" in text
    assert "Points in all: 7" in text
    assert all(f"| {key} |" in text for key in MISTAKES)
    assert "| sign |" not in written(ready("momentum"), tmp_path / f"m{ending}", teacher=True).read_text()
    assert RUBRIC in ready("batch_norm").to_script(tmp_path / "t.py", teacher=True).read_text()


def test_the_mistakes_of_the_rubric_are_those_of_verdicts():
    folder = Path(tg.__file__).parent / "exercises"
    sources = "".join(path.read_text() for path in folder.glob("*.py"))
    for key in MISTAKES:
        assert f'"{key}"' in sources, key


BAD = {
    "no points": (("POINTS", "POINT"), "week_1: POINTS is missing: write what counts how much, POINTS = "),
    "points are a list": (('{"d_w": 2}', '["d_w"]'), "POINTS must be a dict of what is asked for"),
    "points are words": (('"d_w": 2', '"d_w": "2"'), "the points of d_w are '2'; they must be a number of at least 0"),
    "points are negative": (('"d_w": 2', '"d_w": -2'), "the points of d_w are -2"),
    "a name is none": (('{"d_w": 2}', '{"d w": 2}'), "'d w' in POINTS must be the name of a variable"),
    "what is not returned": (('{"d_w": 2}', '{"d_W": 2}'), "POINTS asks for d_W, and gradients gives d_w;"),
    "no inputs": (("def inputs", "def input_arrays"), "the arguments are missing: write def inputs(generator): "),
    "inputs are no function": (("def forward", "inputs = 3\ndef forward"), "inputs must be a function"),
    "an example": (("def inputs(generator, n=3)", "EXAMPLE = 3\ndef other(generator, n=3)"), "EXAMPLE must"),
    "a syntax error": (("gradients(x, w):", "gradients(x, w)"), "week_1: line 8 is no Python: expected ':'"),
    "it raises": (("import numpy as np", "import numpy as np\n1 / 0"), "running it raises ZeroDivisionError:"),
    "an import": (("import numpy as np", "import nump"), "running it raises ModuleNotFoundError: No module"),
    "the solution raises": (('{"d_w": x}', '{"d_w": x @ 3}'), "gradients fails on the example: ValueError: "),
    "it returns none": (('return {"d_w": x}', "pass"), "gradients must return a dict of what is asked"),
    "hints for another": (("def forward", 'HINTS = {"d_q": ["?"]}\ndef forward'), "HINTS has 'd_q', which is not"),
    "hints are a word": (("def forward", 'HINTS = {"d_w": "?"}\ndef forward'), "the hints of d_w must be a list"),
    "hints are a list": (("def forward", "HINTS = [1]\ndef forward"), "HINTS must be a dict of lists of sentences"),
    "cost": (("def forward", "HINT_COST = 10\ndef forward"), "HINT_COST is 10; it must be a share of the points"),
    "a starter": (("def forward", "STARTER = 3\ndef forward"), "STARTER must be a text, the body of gradients"),
}


@pytest.mark.parametrize("case", [*BAD])
def test_each_bad_file_has_one_line(case, tmp_path):
    (old, new), words = BAD[case]
    file = tmp_path / "week_1.py"
    file.write_text(GOOD.replace(old, new))
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        from_file(file)
    assert "\n" not in str(error.value)


def test_neither_forward_nor_gradients():
    source = GOOD.partition("def forward")[0]
    with pytest.raises(ValueError, match="there is neither forward nor gradients: write def gradients"):
        from_source(source, "week_1")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        from_file(tmp_path / "nowhere.py")
    with pytest.raises(ValueError, match=r"week_1\.txt is no teacher's version of an exercise: that is a \.py"):
        from_file("week_1.txt")
    file = tmp_path / "a.py"
    file.write_bytes(b'"""\xff"""')
    with pytest.raises(ValueError, match=r"a\.py is no text in UTF-8"):
        from_file(file)


def test_a_notebook_that_is_none_is_refused_in_one_line(tmp_path):
    pytest.importorskip("nbformat")
    file = tmp_path / "a.ipynb"
    for text in ("{", "[]", '{"cells": 3}', ""):
        file.write_text(text)
        with pytest.raises(ValueError, match=r"a\.ipynb is no notebook") as error:
            from_file(file)
        assert "\n" not in str(error.value)


def test_without_a_solution_the_engine_has_the_right_values():
    problem = from_source(GOOD.partition("def gradients")[0], "week_1")
    arguments = problem.example()
    np.testing.assert_allclose(problem.right_values(arguments)["d_w"], arguments["x"])
    assert problem.shapes == {"d_w": (3,)}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("x * 1.0001", "week_1: d_w of gradients is off by "),
        ("x[:2]", r"week_1: d_w of gradients has shape \(2,\), and it must be \(3,\)"),
        ("x * np.nan", "week_1: d_w of gradients is off by nan"),
    ],
)
def test_a_solution_that_disagrees_is_found_when_asked(wrong, words):
    problem = from_source(GOOD.replace('"d_w": x', f'"d_w": {wrong}'), "week_1")
    with pytest.raises(ValueError, match=words):
        problem.check()


def test_a_forward_pass_that_takes_no_tensors_is_checked_with_slopes():
    forward = "np.vectorize(float)(x * w).sum()"
    right = from_source(GOOD.replace("(x * w).sum()", forward), "week_1")
    assert right.check() == ["d_w"]
    wrong = from_source(GOOD.replace("(x * w).sum()", forward).replace('"d_w": x', '"d_w": x * 1.001'), "week_1")
    with pytest.raises(ValueError, match="off by"):
        wrong.check()


def test_a_solution_may_write_into_its_arguments():
    problem = from_source(GOOD.replace('    return {"d_w": x}', '    x *= 2\n    return {"d_w": x / 2}'), "week_1")
    assert problem.check() == ["d_w"]


def test_a_teachers_version_has_no_password(tmp_path):
    with pytest.raises(ValueError, match="the teacher's version shows the solution: password= is for the file"):
        ready("bce").to_script(tmp_path / "t.py", teacher=True, password="x")
