"""Hints that cost, in a student's file and in an Exercise; and solutions that a password opens."""

from __future__ import annotations

import re

import numpy as np
import pytest
from assignments.files import code_of, networks, written

import tinygrad_ce as tg
from tinygrad_ce.assignments import cost_of_hints, from_source, ready, take_hint, unlock
from tinygrad_ce.assignments.locking import seal, unseal


def taken_in(path):
    """What a student's file says of the hints that were taken."""
    return re.search(r"^HINTS = (.*?)  #", code_of(path), re.MULTILINE)[1]


def test_hints_come_one_at_a_time_and_are_counted_in_the_file(ending, tmp_path):
    problem = ready("softmax_cross_entropy")
    path = written(problem, tmp_path / f"student{ending}")
    before = code_of(path)
    assert taken_in(path) == "{}"
    for level, text in enumerate(problem.hints["d_z"], start=1):
        assert take_hint(path, "d_z") == f"hint {level} of 3 for d_z (costs 0.2 points)\n{text}"
        assert taken_in(path) == f"{{'d_z': {level}}}"
    assert "(you had it before: it costs nothing again)" in take_hint(path, "d_z")
    take_hint(path, "d_b")
    assert taken_in(path) == "{'d_z': 3, 'd_b': 1}"
    assert code_of(path).replace("{'d_z': 3, 'd_b': 1}", "{}") == before


def test_a_file_with_a_mistake_in_another_cell_gives_hints(tmp_path):
    pytest.importorskip("nbformat")
    path = ready("bce").to_notebook(tmp_path / "student.ipynb")
    path.write_text(path.read_text().replace("d_p = None", "d_p = (((", 1))
    assert take_hint(path, "d_p").startswith("hint 1 of 2 for d_p")


def test_characters_of_several_bytes_before_the_count_do_not_shift_it(tmp_path):
    path = ready("bce").to_script(tmp_path / "student.py")
    text = path.read_text(encoding="utf-8").replace("HINTS = {}", "name = 'Zoë'; HINTS = {}")
    path.write_text(text, encoding="utf-8")
    take_hint(path, "d_p")
    assert "name = 'Zoë'; HINTS = {'d_p': 1}  # how many" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "name", "words"),
    [
        (
            "",
            "",
            "d_pp",
            "student.py has no hint for 'd_pp': did you mean 'd_p'? there are hints for d_p, d_z, d_w, d_b",
        ),
        ("HINTS = {}", "HINT = {}", "d_p", "student.py has no HINTS: it is no exercise as students get it"),
        ("HINTS = {}", "HINTS = [1]", "d_p", "HINTS must be a dict of how many hints were taken, as in HINTS"),
        ("HINTS = {}", "HINTS = {'d_p': 'x'}", "d_p", "HINTS['d_p'] is 'x'; it must be how many hints were taken"),
        (
            'HINT_TEXTS = """\ne',
            'HINT_TEXTS = """\nf',
            "d_p",
            "HINT_TEXTS was changed: take it from the file as you got it",
        ),
    ],
)
def test_what_is_no_exercise_has_no_hints(old, new, name, words, tmp_path):
    path = ready("bce").to_script(tmp_path / "student.py")
    path.write_text(path.read_text().replace(old, new, 1) if old else path.read_text())
    with pytest.raises(ValueError, match=re.escape(words)):
        take_hint(path, name)


def test_without_hints_the_file_says_nothing_of_them(tmp_path):
    source = ready("bce").source
    start, end = source.index("HINTS = {"), source.index("def inputs")
    source = f"{source[:start]}HINTS = {{}}\n\n\n{source[end:]}"
    path = from_source(source, "week_1").to_script(tmp_path / "student.py")
    assert "hint" not in path.read_text().lower()
    with pytest.raises(ValueError, match=r"student\.py has no HINTS"):
        take_hint(path, "d_p")


BY_HAND = """
import numpy as np
POINTS = {"d_z": 1, "d_w": 1}
EXAMPLE = {"x": np.ones((4, 3)), "w": np.arange(3.0)}
def forward(x, w):
    z = x @ w
    return np.mean(z**2)
"""


def test_a_teachers_file_without_hints_gets_those_of_the_rules():
    problem = from_source(BY_HAND, "week_1")
    assert problem.hints["d_w"][0] == "w is used once:\n  in z = x @ w: start from d_z"
    assert (
        problem.hints["d_w"][-1] == "d_w = (np.expand_dims(d_z, -1) * ___).sum(axis=0)\nwhere ___ stands for x (4, 3)"
    )
    assert {name: len(texts) for name, texts in problem.hints.items()} == {"d_z": 3, "d_w": 3}
    own = from_source(f'{BY_HAND}\nHINTS = {{"d_w": ["think of shapes"]}}\n', "week_2")
    assert own.hints == {"d_w": ("think of shapes",)}


def test_a_function_that_the_engine_cannot_run_has_no_hints():
    source = BY_HAND.replace("np.mean(z**2)", "np.interp(0.5, z, z)")
    solution = 'def gradients(x, w):\n    return {"d_z": x @ w, "d_w": w}\n'
    assert from_source(source + solution, "week_1").hints == {}


def test_what_hints_cost():
    problem = ready("softmax_cross_entropy")  # 2, 1 and 1 points; 3, 2 and 1 hints
    assert cost_of_hints(problem, {}) == {}
    assert cost_of_hints(problem, {"d_z": 2, "d_b": 1}) == {"d_z": 0.4, "d_b": 0.1}
    assert cost_of_hints(problem, {"d_z": 99, "d_q": 3, "d_W": 0}) == {"d_z": 0.6}
    dear = from_source(problem.source.replace("HINTS =", "HINT_COST = 0.5\n\nHINTS ="), "dear")
    assert cost_of_hints(dear, {"d_z": 3}) == {"d_z": 2}


@pytest.mark.parametrize(
    "taken", [[1], None, {"d_z": -5}, {"d_z": True}, {"d_z": "2"}, {"d_z": 0.5}, {"d_z": float("nan")}]
)
def test_nobody_gains_by_counts_that_are_none(taken):
    with pytest.raises(ValueError, match="HINTS"):
        cost_of_hints(ready("softmax_cross_entropy"), taken)


# ---- an exercise in a session


def solved(exercise, *names):
    """Check the right gradients of an exercise."""
    problem = exercise.assignment()
    right = problem.right_values(problem.example())
    return exercise.check({name: right[name] for name in names})


def test_hints_cost_points_of_an_exercise_before_and_after():
    exercise = tg.exercise(networks()["batch norm"])
    exercise.points = {"d_W3": 2, "d_b3": 1}
    assert exercise.score == 0
    exercise.hint("d_W3")
    assert solved(exercise, "d_W3", "d_b3")
    assert exercise.score == pytest.approx(2 * 0.9 + 1)
    for _ in range(5):
        exercise.hint("d_W3")
    assert exercise.score == pytest.approx(2 * 0.7 + 1)
    exercise.hint_cost = 0.5
    assert exercise.score == pytest.approx(1)


def test_only_what_is_right_scores():
    exercise = tg.exercise(networks()["batch norm"])
    exercise.check(d_W3=np.ones((4, 3)))
    assert exercise.score == 0
    solved(exercise, "d_W3")
    assert exercise.score == 1


def test_the_solution_of_an_exercise_is_locked(tmp_path):
    pytest.importorskip("cryptography")
    exercise = tg.exercise(networks()["batch norm"])
    before = exercise.solution()
    exercise.lock("swordfish")
    for call in (exercise.solution, lambda: exercise.to_script(tmp_path / "t.py", teacher=True)):
        with pytest.raises(
            ValueError, match=r'the solution is locked: write password="\.\.\.", which your teacher has'
        ):
            call()
    with pytest.raises(ValueError, match="the solution stays locked: this is not its password"):
        exercise.solution(password="sword")
    assert exercise.solution(password="swordfish") == before
    assert exercise.solution("d_b3", password="swordfish").startswith("d_b3 = ")
    assert exercise.to_script(tmp_path / "t.py", teacher=True, password="swordfish").exists()
    assert "LOCKED" not in exercise.to_script(tmp_path / "s.py").read_text()
    with pytest.raises(ValueError, match="the solution is locked already"):
        exercise.lock("other")


# ---- the solution in a student's file


def test_the_solution_in_a_file_opens_with_its_password_only(ending, tmp_path):
    pytest.importorskip("cryptography")
    problem = ready("batch_norm")
    path = written(problem, tmp_path / f"student{ending}", password="swordfish")
    solution = unlock(path, "swordfish")
    assert solution.startswith("def gradients(x, scale, shift, target):")
    assert solution.strip() in problem.source
    for wrong in ("swordfisch", "", "Swordfish"):
        with pytest.raises(ValueError, match="the solution stays locked: this is not its password"):
            unlock(path, wrong)


def test_without_a_password_the_solution_is_absent(ending, tmp_path):
    path = written(ready("batch_norm"), tmp_path / f"student{ending}")
    with pytest.raises(ValueError, match="has no solution in it: it was written without password="):
        unlock(path, "swordfish")


def test_a_locked_solution_brings_the_functions_that_it_needs(tmp_path):
    pytest.importorskip("cryptography")
    source = ready("bce").source.replace("d_b = d_z.sum()", "d_b = total(d_z)")
    source = source.replace("def gradients", "def total(z):\n    return z.sum()\n\n\ndef gradients")
    path = from_source(source, "week_1").to_script(tmp_path / "student.py", password="x")
    assert "total" not in path.read_text()
    assert unlock(path, "x").startswith("def total(z):\n    return z.sum()\n\n\ndef gradients(")


def test_an_empty_password_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'cannot be locked by an empty password: write password="\.\.\."'):
        ready("bce").to_script(tmp_path / "student.py", password="")


def test_what_is_sealed_is_changed_by_the_salt_and_not_by_a_bit():
    pytest.importorskip("cryptography")
    first, second = seal("d_w = x", "a"), seal("d_w = x", "a")
    assert first[:20] != second[:20]  # the salt: nobody's table of passwords opens two files
    assert unseal(first, "a") == unseal(second, "a") == "d_w = x"
    damaged = first[:-8] + ("A" if first[-8] != "A" else "B") + first[-7:]
    for broken in (damaged, "nothing", "", "é"):
        with pytest.raises(ValueError, match="stays locked"):
            unseal(broken, "a")


def test_the_strongest_hint_says_what_the_functions_in_it_are():
    z = tg.Tensor([[1.0, 2.0]], requires_grad=True, name="z")
    problem = tg.exercise(tg.losses.softmax_cross_entropy(z, np.array([1]))).assignment()
    assert "one_hot(y, classes): 1 where the class is the row's own, else 0" in problem.hints["d_z"][-1]


def test_no_hint_has_a_name_of_the_engines_own():
    z = tg.Tensor([[1.0, 2.0]], requires_grad=True, name="z")
    hints = tg.exercise(tg.losses.softmax_cross_entropy(z, np.array([1]))).assignment().hints["d_z"]
    assert "through loss: made of z" in hints[1]
    assert "xent" not in " ".join(hints)
