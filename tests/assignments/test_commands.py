"""`tinygrad-ce exercise`, `hint` and `unlock`, as a teacher and a student would type them."""

from __future__ import annotations

import pytest
from cli.commands import done, invoke, refused

from tinygrad_ce.assignments import from_file, names, ready


def test_without_a_name_the_ready_ones_are_listed():
    words = done("exercise")
    assert all(name in words for name in names())


def test_a_student_takes_a_hint_and_a_teacher_opens_the_solution(ending, tmp_path):
    pytest.importorskip("cryptography")
    path = tmp_path / "new" / f"student{ending}"
    assert f"wrote {path}: Batch normalisation" in done("exercise", "batch_norm", "--out", path, "--password", "fish")
    assert "hint 1 of 3 for d_x (costs 0.3 points) x is used three times" in done("hint", path, "d_x")
    assert "hint 2 of 3 for d_x" in done("hint", path, "d_x")
    assert "d_x = (d_n - d_n.mean(axis=0)" in done("unlock", path, "--password", "fish")
    assert refused("unlock", path, "--password", "fist") == (
        "error: the solution stays locked: this is not its password\n"
    )


def test_a_teachers_file_becomes_a_students(ending, tmp_path):
    teachers = tmp_path / f"week_1{ending}"
    done("exercise", "bce", "--out", teachers, "--teacher")
    assert from_file(teachers).points == ready("bce").points
    done("exercise", teachers, "--out", tmp_path / "student.py")
    assert "d_z = None  # shape (n,), 2 points" in (tmp_path / "student.py").read_text()
    assert "is the teacher's file itself: name another one" in refused("exercise", teachers, "--out", teachers)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["exercise", "batchnorm"], "did you mean 'batch_norm'?"),
        (["exercise", "--teacher"], "name the exercise to write: tinygrad-ce exercise lists them"),
        (["exercise", "bce", "--out", "a.txt"], "--out a.txt must end in .py or .ipynb"),
        (
            ["exercise", "bce", "--out", "a.py", "--teacher", "--password", "x"],
            "the teacher's version shows the solution",
        ),
        (["exercise", "nowhere.py"], "No such file"),
        (["hint", "nowhere.py", "d_w"], "No such file"),
        (["hint", "a.txt", "d_w"], "a.txt must end in .py"),
        (["unlock", "nowhere.py", "--password", "x"], "No such file"),
    ],
)
def test_bad_input_ends_in_one_line(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words in refused(*arguments)
    assert [*tmp_path.iterdir()] == []


def test_a_password_that_is_not_written_is_asked_for(tmp_path):
    pytest.importorskip("cryptography")
    path = ready("bce").to_script(tmp_path / "student.py", password="fish")
    assert invoke("unlock", path).exit_code == 1  # nobody answers
