"""What a sentence on a mistake calls things: as the forward pass that students and teachers have before them does."""

from pathlib import Path

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.grading.marked import HandIn, Marked
from tinygrad_ce.grading.results import RESULTS
from tinygrad_ce.grading.student_page import student_page

ASSIGNMENT = tg.assignments.ready("softmax_cross_entropy")
LOSS_LINE = "return -np.log(p[np.arange(len(y)), y]).mean()"


def graded(d_z, d_b="d_z.sum(axis=0)"):
    """A function with these expressions in it, graded."""
    lines = [
        *("def gradients(x, W, b, y):", "e = np.exp(x @ W + b)", "p = e / e.sum(axis=1, keepdims=True)"),
        *(f"d_z = {d_z}", f"d_b = {d_b}", 'return {"d_z": d_z, "d_W": x.T @ d_z, "d_b": d_b}'),
    ]
    names = {"np": np}
    exec("\n    ".join(lines), names)
    return tg.grade(names["gradients"], ASSIGNMENT)


@pytest.fixture(scope="module")
def without_mean():
    return graded("p - np.eye(W.shape[1])[y]", "(p - np.eye(W.shape[1])[y]).sum(axis=1)")


def test_a_line_is_that_of_the_forward_pass_and_its_place_one_of_the_teachers_file(without_mean):
    lines = ASSIGNMENT.source.splitlines()
    number = lines.index(f"    {LOSS_LINE}") + 1
    assert (
        f"{LOSS_LINE} (line {number} of softmax_cross_entropy.py) divides by 6" in without_mean.verdicts["d_z"].message
    )
    number = lines.index("    z = x @ W + b") + 1  # the first: the line of forward
    assert f"in z = x @ W + b (line {number} of softmax_cross_entropy.py)" in without_mean.verdicts["d_b"].message


def test_students_read_the_line_and_no_place_in_a_file_that_they_do_not_have(without_mean):
    marked = Marked(HandIn("Ada", Path("ada.py")), ASSIGNMENT.points, without_mean)
    for text in [student_page(ASSIGNMENT, marked).html, *(str(write(marked)) for write in RESULTS.values())]:
        assert LOSS_LINE in text
        assert "softmax_cross_entropy.py" not in text


def test_a_line_that_is_no_assignment_is_the_operation_with_its_place():
    grade = tg.grade(
        lambda x: {"d_x": np.ones_like(x)}, lambda x: x.mean(), {"x": np.array([1.0, 2.0, 4.0])}, points={"d_x": 1}
    )
    assert ".mean() (line " in grade.verdicts["d_x"].message
    assert "of test_words.py)" in grade.verdicts["d_x"].message


def test_labels_are_called_as_the_argument_is():
    message = graded("p / len(y)").verdicts["d_z"].message
    assert "one_hot(y, 4) was not subtracted" in message
    assert "indices" not in message


def test_a_value_that_is_none_is_missing():
    marked = Marked(
        HandIn("Ada", Path("ada.py")), ASSIGNMENT.points, graded("(p - np.eye(W.shape[1])[y]) / len(y)", None)
    )
    assert marked.verdicts["d_b"].mistake == "missing"
    page = student_page(ASSIGNMENT, marked).html
    assert "– missing" in page
    assert "compute it, and return it" in page


def test_a_function_that_stops_says_so_once():
    grade = graded("p - y")
    assert {verdict.mistake for verdict in grade.verdicts.values()} == {"error"}
    page = student_page(ASSIGNMENT, Marked(HandIn("Ada", Path("ada.py")), ASSIGNMENT.points, grade)).html
    assert page.count("ValueError") == 1
    assert page.count("As for <code>d_z</code>") == 2


def test_the_line_of_a_notebook_is_the_students_own(tmp_path):
    path = ASSIGNMENT.to_notebook(tmp_path / "ada.ipynb")
    path.write_text(path.read_text().replace("d_z = None", "d_z = -p"))
    hand_in = HandIn("Ada", path)
    page = student_page(ASSIGNMENT, Marked(hand_in, ASSIGNMENT.points, graded("-p"))).html
    number = next(n for n, line in enumerate(hand_in.source().splitlines(), 1) if "d_z = -p" in line)
    assert f"Line {number}, as numbered below: <code>d_z = -p" in page


def test_a_sentence_that_begins_with_a_variable_keeps_its_letter():
    problem = tg.assignments.ready("bce")

    def gradients(x, w, b, y):
        p = 1 / (1 + np.exp(-(x @ w + b)))
        d_z = (p - y) / len(y)
        return {"d_p": -y / p / len(y), "d_z": d_z, "d_w": x.sum(axis=0), "d_b": d_z.sum()}

    grade = tg.grade(gradients, problem)
    page = student_page(problem, Marked(HandIn("Ada", Path("ada.py")), problem.points, grade)).html
    assert "<p>p is used 2 times" in page
    assert "<p>The local derivative alone: d_z, which comes from above, is missing" in page  # and not d_z1, of x @ w


def test_a_sign_that_comes_from_above_is_not_said_again():
    def gradients(x, W, b, y):
        e = np.exp(x @ W + b)
        d_z = (np.eye(W.shape[1])[y] - e / e.sum(axis=1, keepdims=True)) / len(y)
        return {"d_z": d_z, "d_W": x.T @ d_z / len(y), "d_b": d_z.sum(axis=0, keepdims=True)}

    verdicts = tg.grade(gradients, ASSIGNMENT).verdicts
    assert [verdict.mistake for verdict in verdicts.values()] == ["sign", "mean twice", "shape"]
    assert verdicts["d_W"].message.startswith("given your own d_z, ")
    assert "the numbers are right, given your own d_z: " in verdicts["d_b"].message


def test_of_a_teachers_notebook_the_line_alone_is_named(tmp_path):
    notebook = tg.assignments.from_file(ASSIGNMENT.to_notebook(tmp_path / "own.ipynb", teacher=True))
    grade = tg.grade(
        lambda x, W, b, y: {"d_b": -notebook.solution(x, W, b, y)["d_b"] * len(y)}, notebook, points={"d_b": 1}
    )
    assert f"{LOSS_LINE} (in own.ipynb) divides by" in grade.verdicts["d_b"].message
    page = student_page(notebook, Marked(HandIn("Ada", Path("ada.py")), {"d_b": 1}, grade)).html
    assert LOSS_LINE in page
    assert "own.ipynb" not in page


def test_class_numbers_instead_of_one_hot_rows_are_named():
    def gradients(x, W, b, y):
        e = np.exp(x @ W + b)
        d_z = (e / e.sum(axis=1, keepdims=True) - y[:, None]) / len(y)
        return {"d_z": d_z, "d_W": x.T @ d_z, "d_b": d_z.sum(axis=0)}

    verdict = tg.grade(gradients, "softmax_cross_entropy").verdicts["d_z"]
    assert verdict.mistake == "target"
    assert "the class number itself, y, was subtracted" in verdict.message


def test_what_is_asked_for_keeps_its_name_where_it_passes_through():
    def forward(x, w, b):
        a = x * w
        z = a + b
        return (z**2).sum()

    def gradients(x, w, b):
        d_z = 2 * (x * w + b)
        return {"d_z": d_z, "d_a": -d_z, "d_w": -d_z * x}

    inputs = {name: np.array([1.5, -2.0, 4.0]) + k for k, name in enumerate("xwb")}
    verdict = tg.grade(gradients, forward, inputs, points=dict.fromkeys(("d_z", "d_a", "d_w"), 1)).verdicts["d_w"]
    assert verdict.follows == ("d_a",)
    assert "d_a" in verdict.message
    assert "d_z" not in verdict.message


def test_an_input_that_is_too_large_to_print_is_not_announced():
    x = tg.Tensor(np.linspace(-2.0, 3.0, 20), requires_grad=True, name="x")
    verdict = tg.grade(lambda x: {"d_x": np.cos(7 * x) + x**3}, (x * x * x).sum()).verdicts["d_x"]
    assert verdict.mistake == "unknown"
    assert "smallest input" not in verdict.message


def test_a_form_that_cannot_choose_what_it_returns_is_not_told_of_more():
    def backward(dout, cache):
        x, w = cache
        return dout * w, dout * x

    pair = (lambda x, w: (x * w, (x, w)), backward)
    inputs = {"x": np.array([1.0, -2.0, 3.0]), "w": np.array([2.0, 5.0, -1.0])}
    grade = tg.grade(pair, lambda x, w: x * w, inputs, points={"d_x": 1})
    assert (grade.score, grade.remarks) == (1, ())
