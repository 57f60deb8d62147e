"""Whose the files of a folder are, in the forms in which course systems export them; two students are never mixed."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from tinygrad_ce.grading.handins import hand_ins
from tinygrad_ce.grading.marked import LARGEST


def written(folder, *paths):
    """The folder, with these files in it."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(f"# {path}")
    return folder


def students(folder):
    """The file of each student, relative to the folder; of those that cannot be graded, the problem."""
    return {
        one.hand_in.student: one.problem or one.hand_in.file.relative_to(folder).as_posix() for one in hand_ins(folder)
    }


def test_plain_files_are_called_by_their_names(tmp_path):
    written(tmp_path, "Zoë.py", "bo.ipynb", "notes.txt", ".hidden.py", "__pycache__/bo.py", "Ada.PY")
    assert students(tmp_path) == {"Ada": "Ada.PY", "bo": "bo.ipynb", "Zoë": "Zoë.py"}
    assert [*students(tmp_path)] == ["Ada", "bo", "Zoë"]


def test_a_folder_for_each_student(tmp_path):
    written(tmp_path, "ada/x.py", "bo/deep/x.py", "bo/data.csv", "cy/essay.pdf")
    found = students(tmp_path)
    assert found.pop("cy") == "You handed in 'essay.pdf', and a .py or .ipynb file is asked for."
    assert found == {"ada": "ada/x.py", "bo": "bo/deep/x.py"}


def test_a_student_with_two_files_is_told_so_and_nothing_is_picked(tmp_path):
    written(tmp_path, "ada/x.py", "ada/y.ipynb", "bo/x.py", "cy/x.py")
    assert "several files, 'x.py', 'y.ipynb', and only one" in students(tmp_path)["ada"]


def test_an_archive_beside_plain_files_is_a_students_and_cannot_be_graded(tmp_path):
    found = students(written(tmp_path, "ada.py", "bo.ZIP", "data.csv"))
    assert found == {"ada": "ada.py", "bo": "You handed in 'bo.ZIP', and a .py or .ipynb file is asked for."}


def test_folders_of_groups_have_students_by_file_and_equal_names_stay_apart(tmp_path):
    written(tmp_path, "monday/ada.py", "monday/bo.py", "friday/ada.py", "friday/cy.py")
    assert students(tmp_path) == {
        "ada (friday)": "friday/ada.py",
        "ada (monday)": "monday/ada.py",
        "bo": "monday/bo.py",
        "cy": "friday/cy.py",
    }


METADATA = """---
submission_11:
  :submitters:
  - :name: Ada Lovelace
    :sid: '1'
    :email: ada@example.org
  :created_at: 2026-11-01
  :results:
    :tests:
    - :name: nobody
submission_12:
  :submitters:
  - :sid: '2'
    :name: 'Seán O''Brien'
  - :name: "Zo\\u00eb"
"""


def test_gradescope_lists_the_names(tmp_path):
    export = written(tmp_path, *(f"assignment_7_export/submission_{n}/answer.py" for n in (11, 12, 13)))
    (export / "assignment_7_export/submission_metadata.yml").write_text(METADATA)
    assert students(tmp_path / "assignment_7_export") == {
        "Ada Lovelace": "submission_11/answer.py",
        "Seán O'Brien & Zoë": "submission_12/answer.py",
        "submission_13": "submission_13/answer.py",
    }
    assert [*students(tmp_path)] == [*students(tmp_path / "assignment_7_export")]


def test_moodle_has_folders_or_long_names(tmp_path):
    written(
        tmp_path,
        "Zoë Müller_123_assignsubmission_file_/x.py",
        "Ada_B_124_assignsubmission_file/my x.py",
        "Bo_125_assignsubmission_file_my-x_2.py",
        "Bo_126_assignsubmission_file_x.py",
    )
    assert [*students(tmp_path)] == ["Ada_B", "Bo (125)", "Bo (126)", "Zoë Müller"]


def test_canvas_takes_the_newest_and_marks_what_is_late(tmp_path):
    written(
        tmp_path,
        *("doejane_1_10_ps.py", "doejane_1_11_ps-1.py", "doejane_1_12_ps-10.py", "doejane_1_13_ps-2.py"),
        *("doejane_2_14_ps.py", "lovelaceada_LATE_3_15_ps.ipynb", "bo_4_16_ps.pdf", "cy_5_17_a.py", "cy_5_18_b.py"),
    )
    found = students(tmp_path)
    assert found["doejane (1)"] == "doejane_1_12_ps-10.py"
    assert found["doejane (2)"] == "doejane_2_14_ps.py"
    assert "'bo_4_16_ps.pdf'" in found["bo"]
    assert "several files" in found["cy"]
    (late,) = [one for one in hand_ins(tmp_path) if one.remark]
    assert (late.hand_in.student, late.remark) == ("lovelaceada", "handed in late (Canvas)")


def test_nbgrader_has_a_folder_for_the_student_and_one_for_the_problem_set(tmp_path):
    written(tmp_path, *(f"course/submitted/{name}/ps1/x.ipynb" for name in ("ada", "bo")), "course/release/ps1/x.ipynb")
    expected = {"ada": "ada/ps1/x.ipynb", "bo": "bo/ps1/x.ipynb"}
    assert students(tmp_path / "course/submitted") == expected
    assert [*students(tmp_path / "course")] == ["ada", "bo"]


@pytest.mark.parametrize(
    "name", ["=1+1", "-x", "@a", "<script>", "a;b", "'", "CON", "محمد علي", "李", "a\nb", "a\x1bb"]
)
def test_any_name_is_a_students(tmp_path, name):
    assert students(written(tmp_path, f"{name}.py", "bo.py")).keys() == {name, "bo"}


def test_names_that_look_the_same_are_told_apart(tmp_path):
    written(tmp_path, *(f"{unicodedata.normalize(form, 'Zoë')}.py" for form in ("NFC", "NFD")))
    if len([*tmp_path.iterdir()]) == 2:
        assert sorted(len(unicodedata.normalize("NFC", name)) for name in students(tmp_path)) == [3, 7]


def test_names_that_look_the_same_in_a_table_are_told_apart(tmp_path):
    """In a CSV file of one line for each student, a line break in a name is a space."""
    written(tmp_path, "Ada B.py", "Ada\nB.py", " Ada B.py")
    assert sorted(" ".join(name.split()) for name in students(tmp_path)) == ["Ada B", "Ada B (2)", "Ada B (3)"]


def test_links_are_not_followed(tmp_path):
    written(tmp_path, "class/ada.py", "elsewhere/secret.py")
    (tmp_path / "class/bo.py").symlink_to(tmp_path / "elsewhere/secret.py")
    (tmp_path / "class/cy").symlink_to(tmp_path / "elsewhere")
    found = students(tmp_path / "class")
    assert found == {"ada": "ada.py", "bo": "What you handed in is a link, and no file."}
    assert {one.hand_in.student: one.hand_in.source() for one in hand_ins(tmp_path / "class")}["bo"] == ""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have names on Unix")
def test_a_pipe_is_no_file_and_nobody_waits_for_it(tmp_path, monkeypatch):
    written(tmp_path, "ada.py")
    os.mkfifo(tmp_path / "bo.py")
    monkeypatch.setattr(Path, "read_bytes", lambda _: b"read")  # which would wait for someone to write
    found = {one.hand_in.student: (one.problem, one.hand_in.source()) for one in hand_ins(tmp_path)}
    assert found == {"ada": ("", "read"), "bo": ("What you handed in is a link, and no file.", "")}


@pytest.mark.parametrize("content", ["[" * 100_000, '{"cells": [{"cell_type": "code", "source": null}]}'])
def test_what_is_no_notebook_has_no_source(tmp_path, content):
    (tmp_path / "ada.ipynb").write_text(content)
    (ada,) = hand_ins(tmp_path)
    assert ada.hand_in.source() == ""  # whoever asks gets no exception


def test_a_file_with_data_in_it_is_too_large(tmp_path):
    written(tmp_path, "ada.py", "bo.py")
    with open(tmp_path / "bo.py", "wb") as file:
        file.truncate(LARGEST + 1)
    assert "larger than 20 MB" in students(tmp_path)["bo"]


def test_no_folder_and_no_files_are_one_sentence(tmp_path):
    with pytest.raises(NotADirectoryError, match="is no folder"):
        hand_ins(tmp_path / "none")
    with pytest.raises(ValueError, match=r"no \.py or \.ipynb file"):
        hand_ins(written(tmp_path, "essay.pdf"))
