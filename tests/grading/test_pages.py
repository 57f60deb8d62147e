"""The pages of a graded class: what a student reads, what the teacher sees, for everybody, on screens and on paper."""

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from statistics import median
from urllib.parse import unquote

import numpy as np
import pytest
from grading.marked_class import CHANGES, HOSTILE, PROBLEMS, STUDENTS, marked, not_run, source, whole_class

from tinygrad_ce.assignments import ready
from tinygrad_ce.exercises import Verdict
from tinygrad_ce.grading.grades import Evidence, Grade
from tinygrad_ce.grading.marked import HandIn, Marked, line_of
from tinygrad_ce.grading.results import write_all
from tinygrad_ce.grading.student_page import student_page
from tinygrad_ce.grading.teacher_page import page_names, teacher_page

PHONE, DESKTOP = (390, 844), (1280, 800)
ASSIGNMENT = ready("softmax_cross_entropy")


class Reading(HTMLParser):
    """What a page shows: its text, its tables as rows of cells, and the classes of the cells."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.tables, self.texts, self.off, self.in_cell = [], [], [], [], False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.in_cell = True
            if "off" in dict(attributes).get("class", "").split():
                self.off.append((len(self.tables[-1]) - 1, len(self.tables[-1][-1]) - 1))

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.in_cell = False

    def handle_data(self, data):
        self.texts.append(data)
        if self.in_cell:
            self.tables[-1][-1][-1] += data

    @property
    def text(self):
        return " ".join(self.texts)


def wrong(yours, right, name="d_W", file="missing.py"):
    """A hand-in with one wrong value."""
    evidence = {name: Evidence("the example", {"W": np.ones(3)}, np.array(yours), np.array(right))}
    grade = Grade({name: Verdict(name, False, "unknown", "wrong in some numbers")}, {name: 1}, evidence)
    return Marked(HandIn("Bo", Path(file)), {name: 1}, grade)


@pytest.fixture(scope="module")
def forty(tmp_path_factory):
    return whole_class(tmp_path_factory.mktemp("class"))


# ---- the student's page


def test_points_verdicts_and_what_follows(tmp_path):
    page = Reading(student_page(ASSIGNMENT, marked("Zoë", CHANGES[3], tmp_path)).html)
    assert "2 of 4 points" in page.text
    rows = [["d_z", "✗ sign", "0 of 2"], ["d_W", "↳ follows", "1 of 1"], ["d_b", "↳ follows", "1 of 1"]]
    assert page.tables[0][1:] == rows
    assert re.search(r"Begin with\s+d_z", page.text)
    assert re.search(r"d_z\s+→\s+d_W\s+,\s+d_b\s+: right for your own\s+d_z", page.text)


def test_the_line_of_a_mistake_is_marked_in_the_students_file(tmp_path):
    page = student_page(ASSIGNMENT, marked("Zoë", CHANGES[2], tmp_path)).html
    number = source(CHANGES[2]).splitlines().index("    d_W = x.T @ -d_z") + 1
    assert f"Line {number}: <code>d_W = x.T @ -d_z</code>" in page
    lines = re.findall(r'<span class="line wrong"><span class="place">(\d+)</span>', page)
    assert lines == [str(number)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("d_W = 1\nd_W = 2", 2),
        ("d_b, d_W = 1, 2\nprint(d_W)", 1),
        ('grads["d_W"] = 1', 1),
        ("d_W += 1", 1),
        ("d_W: float = 1", 1),
        ('x = 1\nreturn {"d_W": x}', 2),
        ("d_W = 1\nreturn {'d_W': d_W}", 1),
        ("%matplotlib inline\nd_W = (", 2),
        ("d_W == 1", None),
        ("f(d_W, axis=0)", None),
        ("# d_W = 1", None),
        ("d_W2 = 1", None),
        ("y = d_W", None),
        ("", None),
        ("def compute_d_W(x):\n    d_W = x.T\nd_W = compute_d_W(x)", 2),
        ("def compute_d_W(x):\n    return x.T\nd_W = compute_d_W(x)", 1),
    ],
)
def test_the_line_that_computes_a_value(text, line):
    assert line_of("d_W", text) == line


def test_exactly_the_wrong_numbers_are_marked():
    page = Reading(student_page(ASSIGNMENT, wrong([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.5], [3.0, 4.0]])).html)
    assert page.off == [(1, 2)]  # row 0 below the head, column 1 after the title
    assert page.tables[1][1] == ["0", "1", "2 wrong"]
    assert "1 of 4 wrong" in page.text


def test_right_numbers_stand_there_only_with_solutions(tmp_path):
    one = marked("Zoë", CHANGES[1], tmp_path)
    right = [f"{x:.4g}" for x in one.evidence["d_z"].right.ravel()]
    cells = lambda page: {cell for table in Reading(page.html).tables for row in table for cell in row}  # noqa: E731
    assert not cells(student_page(ASSIGNMENT, one)) & {*right}
    assert {*right} <= cells(student_page(ASSIGNMENT, one, solutions=True))


def test_the_suggested_check_has_a_number_of_the_students_and_its_place():
    one = wrong([1.0, 2.0, 9.0], [1.0, 2.5, 3.0])
    text = Reading(student_page(ASSIGNMENT, one).html).text
    assert re.search(r"Add 1e-6 to\s+W\[2\]", text)
    assert "Yours is 9." in text


@pytest.mark.parametrize(
    ("yours", "right", "words"),
    [
        (np.nan, 1.0, "nan"),
        ([np.inf, 1.0], [1.0, 1.0], "inf"),
        (np.ones((2, 3)), np.ones((3, 2)), "it must be (3, 2)"),
        (2.0, np.ones((3, 2)), "it must be (3, 2)"),
        (np.ones((0, 3)), np.ones((2, 3)), "it holds no numbers"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "it holds no numbers"),
        ([True, False], [1.0, 1.0], "1 of 2 wrong"),
        ([1e-320, 1.0], [0.0, np.nan], "all 2 wrong"),
    ],
)
def test_numbers_of_every_kind_have_a_table(yours, right, words):
    assert words in Reading(student_page(ASSIGNMENT, wrong(yours, right), solutions=True).html).text


def test_of_a_large_array_the_part_with_the_worst_number_is_shown():
    right = np.arange(10_000.0).reshape(100, 100)
    yours = right.copy()
    yours[50, 60] = -1.0
    html = student_page(ASSIGNMENT, wrong(yours, right)).html
    table = Reading(html).tables[1]
    assert len(table) == 9
    assert len(table[0]) == 7
    assert "-1 wrong" in next(row for row in table if row[0] == "50")[table[0].index("60")]
    assert len(html) < 30_000


def test_of_an_array_of_many_axes_the_plane_of_the_worst_number_is_shown():
    right = np.zeros((2, 3, 4, 5))
    yours = right.copy()
    yours[1, 2, 3, 4] = 7.0
    page = Reading(student_page(ASSIGNMENT, wrong(yours, right)).html)
    assert "here [1, 2, :, :]" in page.text
    assert page.tables[1][4][5] == "7 wrong"


def test_without_a_grade_the_sentence_is_there_and_the_file(tmp_path):
    one = not_run("Bo", *PROBLEMS[0], tmp_path)
    text = Reading(student_page(ASSIGNMENT, one).html).text
    assert "0 of 4 points" in text
    assert PROBLEMS[0][0] in text
    assert "while True:" in text
    assert one.remark not in text  # it is the teacher's
    assert "hello\nhello" not in text


def test_lines_of_the_teachers_file_are_not_named():
    grade = Grade({"d_W": Verdict("d_W", False, "mean", "t6 = t5.mean() (line 6 of own.py) divides by 6")}, {"d_W": 1})
    page = student_page(ASSIGNMENT, Marked(HandIn("Bo", Path("missing.py")), {"d_W": 1}, grade))
    assert "t6 = t5.mean() divides by 6." in Reading(page.html).text


def test_remarks_on_a_function_stand_below_its_points():
    grade = Grade({"d_W": Verdict("d_W", True, None, "right")}, {"d_W": 1}, remarks=("it writes into <x>",))
    page = student_page(ASSIGNMENT, Marked(HandIn("Bo", Path("missing.py")), {"d_W": 1}, grade))
    assert "Besides: it writes into &lt;x&gt;" in page.html


def test_a_long_file_is_shown_around_its_mistakes(tmp_path):
    path = tmp_path / "long.py"
    path.write_text("pass\n" * 500 + "d_W = 1\n" + "pass\n" * 500)
    html = student_page(ASSIGNMENT, wrong([1.0], [2.0], file=path)).html
    assert [int(number) for number in re.findall(r'class="place">(\d+)<', html)] == [*range(495, 508)]
    assert html.count(">…</span>") == 2


def test_nobody_else_is_named_on_a_students_page(forty):
    named = [name for name in STUDENTS if len(name) > 4 and name != "index"]
    for one in forty:
        text = Reading(student_page(ASSIGNMENT, one).html).text
        assert one.hand_in.student in text
        others = [name for name in named if name != one.hand_in.student and name in text]
        assert others == []


def test_what_a_student_writes_is_never_part_of_the_page(tmp_path):
    path = tmp_path / "<img src=x>.py"
    path.write_text("d_W = '</pre><script>alert(1)</script>'\x1b[31m \u202e\n", encoding="utf-8")
    grade = Grade({HOSTILE: Verdict(HOSTILE, False, HOSTILE, HOSTILE, (HOSTILE,))}, {HOSTILE: 1}, remarks=(HOSTILE,))
    for one in (
        Marked(HandIn(HOSTILE, path), {HOSTILE: 1}, grade, remark=HOSTILE, printed=HOSTILE),
        Marked(HandIn(HOSTILE, path), {HOSTILE: 1}, None, HOSTILE, HOSTILE, HOSTILE),
    ):
        for page in (student_page(ASSIGNMENT, one), teacher_page(ASSIGNMENT, [one])):
            read = Reading(page.html)
            assert "img" not in read.tags
            assert read.tags.count("script") == page.html.count("function sortBy")
            assert not {"\x1b", "\u202e"} & set(page.html)


def test_a_notebook_shows_its_cells_of_code(tmp_path):
    path = tmp_path / "a.ipynb"
    cells = '{"cell_type": "markdown", "source": "words"}, {"cell_type": "code", "source": ["%time\\n", "d_W = 1"]}'
    path.write_text(f'{{"cells": [{cells}]}}')
    assert HandIn("Bo", path).source() == "%time\nd_W = 1"
    assert HandIn("Bo", path.rename(tmp_path / "a.IPYNB")).source() == "%time\nd_W = 1"
    for broken in ("", "[]", '{"cells": 3}', '{"cells": [{"cell_type": "code"}]}', "\x00"):
        path.write_text(broken)
        assert HandIn("Bo", path).source() == ""


# ---- the teacher's page


def test_the_class_is_a_table_of_students_and_values(forty):
    page = Reading(teacher_page(ASSIGNMENT, forty).html)
    head, *rows, foot = page.tables[0]
    assert head == ["student", "points", "d_z", "d_W", "d_b", "remark"]
    assert [row[0] for row in rows] == STUDENTS
    assert [float(row[1]) for row in rows] == [one.score for one in forty]
    assert rows[3][2:5] == ["✗ sign", "↳ follows", "↳ follows"]
    assert rows[8][2:] == ["–", "–", "–", "did not run"]
    assert float(foot[1]) == median(one.score for one in forty)
    right = sum(row[2] == "✓ right" for row in rows)
    assert foot[2] == f"{right} of 40 right"


@pytest.mark.parametrize("points", [1, 5, 0.25, 30])
def test_the_distribution_counts_everybody_once(points):
    right, no = Verdict("d", True, None, "right"), Verdict("d", False, "sign", "a minus")
    grades = [Grade({"d": right if n % 3 else no}, {"d": points}) for n in range(20)]
    class_ = [Marked(HandIn(f"S{n}", Path("missing.py")), {"d": points}, grade) for n, grade in enumerate(grades)]
    spoken = re.search(
        r'aria-label="How many reached how many points. ([^"]*)"', teacher_page(ASSIGNMENT, class_).html
    )[1]
    assert sorted(int(count) for count in re.findall(r"points: (\d+)", spoken)) == [7, 13]


def test_mistakes_are_counted_and_what_follows_is_none(forty):
    page = Reading(teacher_page(ASSIGNMENT, forty).html)
    counted = {row[0]: int(row[1]) for row in page.tables[1][1:]}
    changes = [CHANGES[i * 5 % len(CHANGES)] for i in range(40) if i % 9 != 8]
    assert counted["d_z sign"] == sum(change.get("d_z", "").startswith("(one_hot") for change in changes)
    assert counted["d_z mean"] == sum(change.get("d_z") == "p - one_hot" for change in changes)
    assert counted["d_b missing"] == sum("d_b" in change and change["d_b"] is None for change in changes)
    assert not [name for name in counted if "follows" in name or "upstream" in name]
    assert [*counted.values()] == sorted(counted.values(), reverse=True)
    assert any("d_W = x.T @ -d_z" in row[2] for row in page.tables[1][1:])


def shared(class_):
    """Who shares what, by the table of the page."""
    html = teacher_page(ASSIGNMENT, class_).html
    part = html.partition("Who shares a mistake")[2].partition("</section>")[0]
    return {row[0]: row[2] for row in Reading(part).tables[0][1:]} if "<table>" in part else {}


def with_numbers(student, yours, mistake="unknown", case="the example", code=""):
    evidence = {"d_W": Evidence(case, {}, np.asarray(yours), np.zeros(2))}
    grade = Grade({"d_W": Verdict("d_W", False, mistake, "wrong")}, {"d_W": 1}, evidence)
    return Marked(HandIn(student, Path(code or "missing.py")), {"d_W": 1}, grade)


def test_who_shares_the_same_wrong_numbers():
    a, b, c = with_numbers("A", [1.0, 2.0]), with_numbers("B", np.float32([1.0, 2.0])), with_numbers("C", [1.0, 2.1])
    assert shared([a, b, c]) == {"A, B": "the same wrong numbers in d_W: no usual mistake gives them"}


def test_what_is_unusual_stands_before_what_is_usual():
    usual = [with_numbers(name, [3.0, 4.0], "sign") for name in "AB"]
    rare = [with_numbers(name, [1.0, 2.0]) for name in "CDE"]
    assert [*shared([*usual, *rare])] == ["C, D, E", "A, B"]


@pytest.mark.parametrize(
    "other", [{"yours": [0.0, 0.0]}, {"yours": [1.0, 2.0], "case": "one row"}, {"yours": [[1.0, 2.0]]}]
)
def test_zeros_other_arguments_and_other_shapes_are_not_shared(other):
    assert shared([with_numbers("A", [1.0, 2.0]), with_numbers("B", **other)]) == {}
    assert shared([with_numbers("A", [0.0, 0.0], "zeros"), with_numbers("B", [0.0, 0.0], "zeros")]) == {}


def test_the_same_code_is_found_behind_spaces_and_comments(tmp_path):
    texts = {"a.py": "d_W = x.T @ d_z\n", "b.py": "# mine\nd_W  =  x.T@d_z  # mine\n\n", "c.py": "d_W = d_z.T @ x\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    class_ = [with_numbers(name, [k + 1.0, 0.0], code=tmp_path / name) for k, name in enumerate(texts)]
    assert shared(class_) == {"a.py, b.py": "the same code, but for spaces and comments"}


def test_what_did_not_run_has_words_for_the_teacher(forty):
    rows = Reading(teacher_page(ASSIGNMENT, forty).html).tables[-1][1:]
    assert [row[0] for row in rows] == STUDENTS[8::9]
    assert [row[1] for row in rows] == [problem for problem, _ in PROBLEMS]
    assert all(remark in row[2] for row, (_, remark) in zip(rows, PROBLEMS, strict=True))


def test_every_link_leads_to_the_page_of_that_student(forty, tmp_path):
    page = write_all(ASSIGNMENT, forty, tmp_path / "pages")
    links = re.findall(r'<th scope="row"><a href="([^"]*)"><bdi>([^<]*)</bdi>', page.read_text(encoding="utf-8"))
    assert [unescape(name) for _, name in links] == STUDENTS
    for address, name in links:
        target = page.parent / unquote(unescape(address))
        assert f"<bdi>{name}</bdi>" in target.read_text(encoding="utf-8")
    assert {path.name for path in page.parent.iterdir()} == {unquote(link) for link, _ in links} | {"index.html"}


def test_page_names_are_safe_and_no_two_alike():
    names = [
        "../x",
        "a/b",
        "a\\b",
        "CON",
        "nul",
        "",
        "?",
        "ä" * 300,
        "𝔸" * 300,
        "Bo",
        "bo",
        "BO",
        "Zoe\u0308",
        "Zoë",
        "index",
    ]
    found = page_names([Marked(HandIn(name, Path("a.py")), {}) for name in names])
    assert len({name.casefold() for name in found}) == len(names)
    for name in found:
        assert re.fullmatch(r"[\w-]+", name)
        assert len(f"{name}.html".encode()) < 255
        assert name.casefold() not in ("con", "nul", "index")


def test_an_empty_class_and_a_class_of_one_have_pages():
    assert "There are none in what ran." in teacher_page(ASSIGNMENT, []).html
    assert "<b>1</b> hand-in<" in teacher_page(ASSIGNMENT, [wrong([1.0], [2.0])]).html


def test_the_page_of_200_students_is_small(tmp_path):
    html = teacher_page(ASSIGNMENT, whole_class(tmp_path, 200)).html
    assert len(html.encode()) < 300_000


# ---- in a browser


def violations(page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    found = axe.run(page).response["violations"]
    return {one["id"]: [node["html"][:200] for node in one["nodes"]] for one in found}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(opened_html, forty, tmp_path, size, scheme):
    one = marked("Zoë", CHANGES[6], tmp_path)
    pages = (student_page(ASSIGNMENT, one, True), student_page(ASSIGNMENT, forty[8]), teacher_page(ASSIGNMENT, forty))
    for shown in pages:
        page = opened_html(shown.html, size, scheme)
        assert violations(page) == {}
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_columns_sort_by_a_click_and_by_keys(opened_html, forty):
    page = opened_html(teacher_page(ASSIGNMENT, forty).html, DESKTOP)

    def column(n):
        return page.locator(f".sortable tbody tr > :nth-child({n})").all_inner_texts()

    scores = sorted(one.score for one in forty)
    page.get_by_role("button", name="points").click()
    assert [float(text) for text in column(2)] == scores
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("points")
    page.keyboard.press("Enter")
    assert [float(text) for text in column(2)] == scores[::-1]
    page.get_by_role("button", name="student").click()
    names = column(1)
    assert names.index("Ada Lovelace") < names.index("Jürgen Ångström") < names.index("Zoë Müller")
    assert sorted(names) == sorted(STUDENTS)
    assert page.locator("th[aria-sort=ascending]").count() == 1
    assert page.locator("tfoot tr").count() == 1


def test_a_students_page_is_two_sheets_of_paper_at_most(opened_html, tmp_path):
    page = opened_html(student_page(ASSIGNMENT, marked("Zoë", CHANGES[6], tmp_path), True).html, DESKTOP, "dark")
    sheets = page.pdf(format="A4", prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", sheets)) in (1, 2)
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.set_viewport_size({"width": 690, "height": 1000})  # of A4 between its margins
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
