"""What students get: nothing in it is an answer, it runs as it is, and filled in it is right."""

from __future__ import annotations

import ast
import io
import re
import runpy
from contextlib import redirect_stdout

import numpy as np
import pytest
from assignments.files import code_of, expressions_in, networks, numbers_in, words_of, written
from fresh import GUARD

import tinygrad_ce as tg
from tinygrad_ce.assignments import from_file, names, ready

ANSWERED_BY_FORWARD = ["batch_norm", "attention", "dropout"]  # whose solutions need no other variables than forward's


def run(path):
    """What a student's file prints, and the names that it defines."""
    code = compile(code_of(path), str(path), "exec")
    space = {"__name__": "__main__"}
    with redirect_stdout(io.StringIO()) as printed:
        exec(code, space)
    return printed.getvalue(), space


def right_expressions(solution, asked):
    """The expressions that a solution assigns to what is asked for."""
    (function,) = (node for node in ast.parse(solution).body if getattr(node, "name", "") == "gradients")
    found = {n.targets[0].id: n.value for n in ast.walk(function) if isinstance(n, ast.Assign)}
    return {name: ast.unparse(found[name]) for name in asked if isinstance(found.get(name), (ast.BinOp, ast.Call))}


def assert_no_answer(path, right, expressions):
    """Neither a right number nor a right expression can be read in a file, or unpacked from it."""
    text = words_of(path)
    answers = np.concatenate([np.ravel(array) for array in right.values()])
    there = numbers_in(text) & {f"{abs(number):.3e}" for number in answers if number not in (0, 1)}
    assert there == set()
    assert {*expressions.values()} & expressions_in(code_of(path)) == set()
    assert expressions
    for expression in expressions.values():
        assert f"= {expression}\\n" not in text.replace("\n", "\\n")


@pytest.mark.parametrize("name", names())
def test_no_answer_is_in_the_file_of_a_ready_exercise(name, ending, tmp_path):
    problem = ready(name)
    path = written(problem, tmp_path / f"student{ending}", password="swordfish")
    asked = ["d_z1"] if name == "find_the_bug" else [*problem.points]
    assert_no_answer(path, problem.right_values(problem.example()), right_expressions(problem.source, asked))


def test_no_answer_is_in_the_file_of_a_loss(loss, ending, tmp_path):
    exercise = tg.exercise(loss)
    solution = exercise.assignment()
    path = written(exercise, tmp_path / f"student{ending}")
    right = solution.right_values(solution.example())
    assert_no_answer(path, right, right_expressions(solution.source, exercise.points))


@pytest.mark.parametrize("name", names())
def test_it_runs_as_it_is_and_says_what_is_missing(name, ending, tmp_path):
    problem = ready(name)
    path = written(problem, tmp_path / f"student{ending}")
    printed, space = run(path)
    lines = printed.splitlines()
    assert len(lines) == len(problem.points)
    if problem.starter is None:
        assert lines == [f"{value} is still None" for value in problem.points]
    assert "import tinygrad_ce" not in code_of(path)
    assert "from tinygrad_ce" not in code_of(path)
    if problem.forward is not None:
        assert space["forward"](**problem.example()) == problem.forward(**problem.example())
    assert list(problem.points) == re.findall(r'^    "(\w+)": \(', code_of(path), re.MULTILINE)[-len(problem.points) :]


def test_that_of_a_loss_computes_that_loss(loss, ending, tmp_path):
    path = written(tg.exercise(loss), tmp_path / f"student{ending}")
    printed, space = run(path)
    np.testing.assert_allclose(space["forward"](**space["EXAMPLE"]), loss.data, rtol=1e-5)
    assert "still None" in printed


@pytest.mark.parametrize("name", ANSWERED_BY_FORWARD)
def test_filled_in_it_is_right(name, ending, tmp_path):
    problem = ready(name)
    path = written(problem, tmp_path / f"student{ending}")
    text = path.read_text()
    for value, expression in right_expressions(problem.source, problem.points).items():
        assert text.count(f"{value} = None") == 1
        text = text.replace(f"{value} = None", f"{value} = {expression}")
    path.write_text(text)
    printed, space = run(path)
    assert printed.count("has the right shape") == len(problem.points)
    other = problem.inputs(np.random.default_rng(5))
    for value, right in problem.right_values(other).items():
        np.testing.assert_allclose(space["gradients"](**other)[value], right, rtol=1e-12)


def test_a_wrong_shape_is_named(tmp_path):
    path = ready("one_neuron").to_script(tmp_path / "student.py")
    path.write_text(path.read_text().replace("d_w = None", "d_w = x"))
    assert "d_w has shape (6, 3), and it should have (3,)\n" in run(path)[0]


def test_each_blank_names_its_shape_and_points(tmp_path):
    text = ready("softmax_cross_entropy").to_script(tmp_path / "student.py").read_text()
    blanks = [line.strip() for line in text.splitlines() if " = None" in line]
    assert blanks == [
        "d_z = None  # shape (n, classes), 2 points",
        "d_W = None  # shape (features, classes), 1 point",
        "d_b = None  # shape (classes,), 1 point",
    ]


TEACHERS = '''"""A product

Two numbers."""

import math

import numpy as np

POINTS = {"d_w": 1.5}
SECRET = "the answer is x"


# Half of it.
def half(x):
    return x / 2  # what a teacher says about it


def of_the_solution(x):
    return np.cos(x)


def inputs(generator):
    return {"x": generator.normal(size=3), "w": generator.normal(size=3)}


def forward(x, w):
    """The loss."""
    # first the product
    z = x * w  # number by number

    return half(np.sin(z)).sum()


def gradients(x, w):
    return {"d_w": of_the_solution(x * w) * x / 2}
'''


def test_the_teachers_comments_on_forward_stay_and_the_rest_does_not(ending, tmp_path):
    file = tmp_path / "week_1.py"
    file.write_text(TEACHERS)
    path = written(from_file(file), tmp_path / f"student{ending}")
    code = code_of(path)
    for kept in ("# Half of it.\ndef half(x):", "# what a teacher", "# first the product\n    z = x * w  # number"):
        assert kept in code
    for gone in ("SECRET", "of_the_solution", "np.cos", "import math", "POINTS"):
        assert gone not in path.read_text()
    assert "1.5 points" in code
    assert run(path)[0] == "d_w is still None\n"


def test_a_forward_pass_that_returns_in_the_middle_is_not_taken_apart(tmp_path):
    file = tmp_path / "week_1.py"
    file.write_text(TEACHERS.replace("    # first", "    if x[0] > 9:\n        return x.sum()\n    # first"))
    code = code_of(from_file(file).to_script(tmp_path / "student.py"))
    assert code.count("z = x * w") == 1
    assert run(tmp_path / "student.py")[0] == "d_w is still None\n"


@pytest.mark.usefixtures("jupyter_folders")
def test_the_notebook_has_a_cell_for_each_blank_and_runs(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    problem = ready("softmax_cross_entropy")
    path = problem.to_notebook(tmp_path / "student.ipynb")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    blanks = [cell.source for cell in notebook.cells if cell.cell_type == "code" and "= None" in cell.source]
    assert [re.findall(r"(\w+) = None", cell) for cell in blanks] == [[name] for name in problem.points]
    nbclient.NotebookClient(notebook, timeout=GUARD, startup_timeout=GUARD).execute()
    outputs = [out.text for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
    assert outputs == ["".join(f"{name} is still None\n" for name in problem.points)]


# ---- of a loss


def test_points_say_what_is_asked_for_and_in_which_order(tmp_path):
    exercise = tg.exercise(networks()["batch norm"])
    assert exercise.points == {"d_W3": 1, "d_b3": 1, "d_shift1": 1, "d_scale1": 1, "d_W0": 1, "d_b0": 1}
    path = exercise.to_script(tmp_path / "student.py", points={"d_W0": 2, "d_z2": 0.5})
    assert re.findall(r"(\w+) = None  # .*, ([\d.]+) point", path.read_text()) == [("d_z2", "0.5"), ("d_W0", "2")]
    assert exercise.points == {"d_z2": 0.5, "d_W0": 2}


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ({"d_w0": 1}, "there is no gradient 'd_w0'; did you mean 'd_W0'? the names are d_loss, d_z2, "),
        ({"d_W0": -1}, "points: d_W0 is -1; it must be a number of at least 0"),
        ({}, "points: nothing is asked for: write points={'d_loss': 1}"),
    ],
)
def test_bad_points_are_refused_in_a_sentence(points, words, tmp_path):
    with pytest.raises(ValueError, match=re.escape(words)):
        tg.exercise(networks()["batch norm"]).to_script(tmp_path / "student.py", points=points)
    assert [*tmp_path.iterdir()] == []


def test_large_data_is_refused_in_words(tmp_path):
    W = tg.Tensor(np.ones((30, 2)), requires_grad=True, name="W")
    loss = (tg.Tensor(np.ones((80, 30)), name="x") @ W).sum()
    with pytest.raises(ValueError, match=r"2,460 numbers, of which x has 2,400: .* take a smaller batch"):
        tg.exercise(loss).to_script(tmp_path / "student.py")


def test_numbers_that_are_not_finite_are_written(tmp_path):
    x = tg.Tensor([np.inf, 1.0, np.nan], requires_grad=True, name="x")
    path = tg.exercise((x * 2).sum()).to_script(tmp_path / "student.py")
    np.testing.assert_array_equal(runpy.run_path(str(path))["EXAMPLE"]["x"], [np.inf, 1.0, np.nan])


def test_a_path_with_another_ending_is_answered_with_the_right_method(tmp_path):
    problem = ready("one_neuron")
    with pytest.raises(ValueError, match=r"must end in \.py: write to_notebook\(\.\.\.\) for a \.ipynb file"):
        problem.to_script(tmp_path / "student.ipynb")
    with pytest.raises(ValueError, match=r"must end in \.ipynb: write student\.ipynb"):
        problem.to_notebook(tmp_path / "student.txt")


def test_sizes_that_are_equal_keep_their_names(tmp_path):
    source = """
import numpy as np
POINTS = {"d_x": 1}
def inputs(generator, n=3, features=3):
    return {"x": generator.normal(size=(n, features))}
def forward(x):
    return (x * x).sum()
"""
    text = tg.assignments.from_source(source, "own").to_script(tmp_path / "own.py").read_text()
    assert "shape (n, features), 1 point" in text
