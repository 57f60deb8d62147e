"""Results files: what is documented stands in them, hostile text stays text, and other programs read the numbers."""

import csv
import json

import pandas
import pytest
from grading.marked_class import CHANGES, STUDENTS, marked, not_run, whole_class

from tinygrad_ce.assignments import ready
from tinygrad_ce.exercises import Verdict
from tinygrad_ce.grading.grades import Grade
from tinygrad_ce.grading.marked import HandIn, Marked
from tinygrad_ce.grading.results import LONGEST, RESULTS, gradescope, otter, prairielearn, write_all, write_csv

NUMBER, VISIBILITY = (int, float), {"hidden", "after_due_date", "after_published", "visible"}
FORMATS = {"text", "html", "simple_format", "md", "ansi"}

# Gradescope, documentation of autograders, "Autograder Specifications", "Output format": all fields and their kinds.
GRADESCOPE = {
    "score": NUMBER,
    "execution_time": NUMBER,
    "output": str,
    "output_format": FORMATS,
    "test_output_format": FORMATS,
    "test_name_format": FORMATS,
    "visibility": VISIBILITY,
    "stdout_visibility": VISIBILITY,
    "extra_data": dict,
    "tests": [
        {
            "score": NUMBER,
            "max_score": NUMBER,
            "status": {"passed", "failed"},
            "name": str,
            "name_format": FORMATS,
            "number": str,
            "output": str,
            "output_format": FORMATS,
            "tags": list,
            "visibility": VISIBILITY,
            "extra_data": dict,
        }
    ],
    "leaderboard": list,
}
# "External grading", "Grading results", of PrairieLearn's documentation.
PRAIRIELEARN = {
    "gradable": bool,
    "score": NUMBER,
    "message": str,
    "output": str,
    "format_errors": [str],
    "images": list,
    "tests": [
        {
            "name": str,
            "description": str,
            "points": NUMBER,
            "max_points": NUMBER,
            "message": str,
            "output": str,
            "images": list,
        }
    ],
}
# What `GradingResults.from_ottr_json` in otter/test_files of otter-grader 7.0 reads: every field is needed.
CASE = {
    "name": str,
    "code": str,
    "hidden": bool,
    "points": NUMBER,
    "success_message": (str, type(None)),
    "failure_message": (str, type(None)),
}
OTTER = {
    "test_file_results": [
        {
            "filename": str,
            "points": (*NUMBER, type(None)),
            "test_case_results": [{"passed": bool, "error": (str, type(None)), "test_case": CASE}],
        }
    ]
}


def fits(value, form, where="results"):
    """Fails where a value has a field that is not documented, or of another kind."""
    if isinstance(form, dict):
        assert isinstance(value, dict), where
        assert set(value) <= set(form), f"{where}: {set(value) - set(form)} is not documented"
        for name, inner in value.items():
            fits(inner, form[name], f"{where}.{name}")
    elif isinstance(form, list):
        assert isinstance(value, list), where
        for inner in value:
            fits(inner, form[0], f"{where}[]")
    elif isinstance(form, set):
        assert value in form, f"{where}: {value!r}"
    else:
        assert isinstance(value, form), f"{where}: {value!r}"


def needs_all(value, form):
    """Fails where a documented field is not there."""
    if isinstance(form, dict):
        assert set(value) == set(form)
        for name, inner in value.items():
            needs_all(inner, form[name])
    elif isinstance(form, list):
        for inner in value:
            needs_all(inner, form[0])


@pytest.fixture(scope="module")
def forty(tmp_path_factory):
    return whole_class(tmp_path_factory.mktemp("class"))


@pytest.mark.parametrize(("system", "form"), [(gradescope, GRADESCOPE), (prairielearn, PRAIRIELEARN), (otter, OTTER)])
def test_only_documented_fields_of_their_kinds_are_written(forty, system, form):
    for one in forty:
        fits(json.loads(json.dumps(system(one), allow_nan=False)), form)


def test_gradescope_has_a_test_for_each_value_and_they_add_up(forty):
    for one in forty:
        found = gradescope(one)
        shown = [test for test in found["tests"] if test["visibility"] == "visible"]
        assert [test["name"] for test in shown] == ["d_z", "d_W", "d_b"]
        assert sum(test["score"] for test in shown) == found["score"] == one.score
        assert sum(test["max_score"] for test in shown) == 4


def test_gradescope_hides_what_is_for_the_teacher(tmp_path):
    one = not_run("Bo", "The file does not parse.", "SyntaxError: bad", tmp_path)
    found = gradescope(one)
    hidden = [test for test in found["tests"] if test["visibility"] == "hidden"]
    assert len(hidden) == 1
    assert hidden[0]["output"].startswith("SyntaxError: bad\nhello\n")
    seen = {**found, "tests": [test for test in found["tests"] if test["visibility"] != "hidden"]}
    assert "SyntaxError" not in json.dumps(seen)
    assert "hello" not in json.dumps(seen)
    assert found["score"] == 0
    assert found["output"] == "0 of 4 points. The file does not parse."
    assert found["stdout_visibility"] == "hidden"


def test_the_words_of_a_mistake_stand_in_every_system(tmp_path):
    one = marked("Bo", CHANGES[2], tmp_path)
    words = "wrong (sign): "
    assert gradescope(one)["tests"][1]["output"].startswith(words)
    assert prairielearn(one)["tests"][1]["message"].startswith(words)
    case = otter(one)["test_file_results"][1]["test_case_results"][0]
    assert not case["passed"]
    assert case["error"].startswith(words)


def test_prairielearn_scores_from_0_to_1_and_takes_no_attempt_for_a_file_that_did_not_run(tmp_path):
    half = prairielearn(marked("Bo", CHANGES[1], tmp_path))
    assert half["gradable"]
    assert half["score"] == 0.5
    absent = prairielearn(not_run("Bo", "The file does not parse.", "", tmp_path))
    assert not absent["gradable"]
    assert absent["format_errors"] == ["The file does not parse."]


def test_otter_has_every_field_and_its_sums_are_the_scores(forty):
    for one in forty:
        found = otter(one)
        needs_all(found, OTTER)
        cases = [case for file in found["test_file_results"] for case in file["test_case_results"]]
        assert sum(case["test_case"]["points"] for case in cases if case["passed"]) == one.score
        assert sum(case["test_case"]["points"] for case in cases) == 4


def test_otter_itself_reads_the_same_scores(forty):
    results = pytest.importorskip("otter.test_files", reason="otter-grader is not installed").GradingResults
    for one in forty:
        read = results.from_ottr_json(json.dumps(otter(one)))
        assert (read.total, read.possible) == (one.score, one.possible)


NASTY = "\x00\x1b[31m\ud800</script><b>\u202e" + "x" * 20_000


@pytest.mark.parametrize("system", RESULTS)
def test_hostile_text_is_cut_and_stays_text(tmp_path, system):
    path = tmp_path / "a.py"
    path.write_text("")
    grade = Grade({"d_W": Verdict("d_W", False, NASTY, NASTY)}, {"d_W": 1})
    ones = [
        Marked(HandIn(NASTY, path), {"d_W": 1}, grade, remark=NASTY, printed=NASTY, seconds=float("nan")),
        Marked(HandIn(NASTY, path), {"d_W": 1}, None, problem=NASTY, remark=NASTY, seconds=float("inf")),
    ]
    for one in ones:
        text = json.dumps(RESULTS[system](one), allow_nan=False, ensure_ascii=False)
        assert text.encode()  # no half of a letter
        assert len(text) < 10 * LONGEST
        assert not {"\x00", "\x1b", "\u202e"} & set(text)


# ---- the table


def test_pandas_reads_the_table_names_and_numbers(forty, tmp_path):
    write_csv(forty, tmp_path / "grades.csv")
    table = pandas.read_csv(tmp_path / "grades.csv")
    columns = ["student", "file", "score", "possible"]
    columns += ["d_z", "d_z mistake", "d_W", "d_W mistake", "d_b", "d_b mistake", "problem"]
    assert [*table.columns] == columns
    guarded = [f"'{name}" if name.startswith("=") else name for name in STUDENTS]
    assert [*table["student"]] == guarded
    assert [*table["score"]] == [one.score for one in forty]
    assert (table["d_z"] + table["d_W"] + table["d_b"] == table["score"]).all()
    assert table["problem"].notna().sum() == sum(one.grade is None for one in forty)
    assert {"right", "sign", "mean", "missing", "follows"} <= {
        *table["d_z mistake"],
        *table["d_W mistake"],
        *table["d_b mistake"],
    }


def test_the_table_begins_with_the_mark_that_excel_needs(forty, tmp_path):
    write_csv(forty, tmp_path / "grades.csv")
    content = (tmp_path / "grades.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbfstudent,")
    assert content.count(b"\xef\xbb\xbf") == 1


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "  =1", "\r=1", "\uff1d1", '=cmd|"/c calc"!A0']
)
def test_no_text_is_run_as_a_formula(tmp_path, name):
    path = tmp_path / "a.py"
    one = Marked(HandIn(name, path), {"d_W": 1}, None, problem=name)
    write_csv([one], tmp_path / "grades.csv")
    with (tmp_path / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
        row = list(csv.reader(file))[1]
    for cell in (row[0], row[-1]):
        assert cell[0] not in "=+-@\t\r \uff1d"


def test_a_name_of_two_lines_stays_in_its_row(tmp_path):
    write_csv([Marked(HandIn('a\n"b",c', tmp_path / "a.py"), {"d_W": 1})], tmp_path / "grades.csv")
    table = pandas.read_csv(tmp_path / "grades.csv")
    assert len(table) == 1
    assert table["student"][0] == 'a "b",c'


def test_points_of_parts_are_whole_in_the_table(tmp_path):
    grade = Grade({"d_W": Verdict("d_W", True, None, "right")}, {"d_W": 1234.5})
    write_csv([Marked(HandIn("Bo", tmp_path / "a.py"), {"d_W": 1234.5}, grade)], tmp_path / "grades.csv")
    assert pandas.read_csv(tmp_path / "grades.csv")["score"][0] == 1234.5


# ---- everything


def test_all_is_written_under_names_that_belong_together(forty, tmp_path):
    page = write_all(ready("softmax_cross_entropy"), forty, tmp_path / "out", results="gradescope")
    assert page == tmp_path / "out" / "index.html"
    pages = {path.stem for path in page.parent.glob("*.html")} - {"index"}
    assert len(pages) == len(forty)
    assert pages == {path.stem for path in page.parent.glob("*.json")}
    assert json.loads((page.parent / "Ada-Lovelace.json").read_text())["score"] == 3
    assert "Ada Lovelace" in (page.parent / "Ada-Lovelace.html").read_text(encoding="utf-8")


def test_unknown_results_are_refused_before_anything_is_written(forty, tmp_path):
    with pytest.raises(ValueError, match="results: 'moodle' is none of gradescope, otter, prairielearn"):
        write_all(ready("softmax_cross_entropy"), forty, tmp_path / "out", results="moodle")
    assert not (tmp_path / "out").exists()
