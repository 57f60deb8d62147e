"""Parts that a page needs: verdicts, lines and numbers that are marked, as text, in a notebook and on a page."""

import re

import pytest

from tinygrad_ce.report.html import as_html
from tinygrad_ce.report.page import as_page
from tinygrad_ce.report.parts import (
    Line,
    Link,
    List,
    Listing,
    Mark,
    Name,
    Phrase,
    Picture,
    Section,
    Sentence,
    SideBySide,
    Strong,
    Table,
    Term,
    Words,
    WrongNumber,
)
from tinygrad_ce.report.text import as_text

HOSTILE = "<img src=x onerror=alert(1)>\"'&"
NUMBERS = Table(
    [("0", "1", WrongNumber("2"))], ("", "a", "b"), frozenset({0, 1, 2}), caption="your d_W", titled=True,
    footer=("all", "1", "2"),
)  # fmt: skip


def test_as_text_a_mark_is_a_sign():
    rows = [line.split() for line in as_text([NUMBERS]).splitlines()]
    assert [rows[0], rows[1], *rows[3:]] == [["your", "d_W"], ["a", "b"], ["0", "1", "2", "✗"], ["all", "1", "2"]]
    lines = Listing([Line("a = 1", 1), Line("d_W = 2", 12, "wrong", "d_W ✗ sign"), Line("…")])
    assert as_text([lines]).splitlines() == ["    1  a = 1", "✗  12  d_W = 2  ← d_W ✗ sign", "       …"]
    sentence = Sentence(
        Phrase("Begin with ", Term("d_z"), ": ", Mark("follows", "follows"), " ", Link("Ada", "a.html"))
    )
    assert as_text([sentence, List(["one", "3"])]) == "Begin with d_z: ↳ follows Ada\n- one\n- 3"


def test_sections_have_their_title_and_an_empty_line_before_them():
    parts = [Section("a", [Sentence("one")]), Section("b", [SideBySide([Sentence("two"), Sentence("three")])])]
    assert as_text(parts) == "a\none\n\nb\ntwo\nthree"


def test_a_wrong_number_is_told_to_readers_aloud_on_a_page_and_has_its_sign_in_a_notebook():
    page = as_page("a page", [Section("numbers", [NUMBERS])])
    assert '<td class="number off">2<span class="seen-by-readers"> wrong</span></td>' in page
    assert ">2 ✗</td>" in as_html([NUMBERS])
    assert "<script" not in page
    assert "script-src" not in page


@pytest.mark.parametrize(
    "part",
    [
        Section(HOSTILE, [Sentence(HOSTILE, kind="next"), Sentence(HOSTILE, kind="soft")]),
        Sentence(Phrase(HOSTILE, Term(HOSTILE), Strong(HOSTILE), Name(HOSTILE), Mark("right", HOSTILE))),
        Sentence(Link(HOSTILE, HOSTILE)),
        List([HOSTILE]),
        Listing([Line(HOSTILE, 1, "wrong", HOSTILE)]),
        Table([(HOSTILE, Words(HOSTILE), WrongNumber(HOSTILE))], (HOSTILE,) * 3, caption=HOSTILE, label=HOSTILE),
        Table([(HOSTILE,)], (HOSTILE,), sortable=frozenset({0}), footer=(HOSTILE,)),
        Picture(b"", HOSTILE),
    ],
    ids=lambda part: type(part).__name__,
)
def test_what_a_user_named_is_escaped_everywhere(part):
    for html in (as_html([part]), as_page(HOSTILE, [Section(HOSTILE, [part])], [part], links=True)):
        assert "<img src=x" not in html
        assert not re.search(r'="[^"]*<', html)  # nor does it end an attribute
        assert not re.search(r"onerror=alert\(1\)>", html)


def test_only_a_page_with_a_table_that_sorts_has_a_script_and_may_run_it():
    table = Table([("1",)], ("points",), sortable=frozenset({0}))
    page = as_page("a page", [Section("a", [SideBySide([table])])])
    assert '<th scope="col" aria-sort="none"><button type="button">points</button></th>' in page
    assert page.count("<script") == 1
    assert "script-src 'unsafe-inline'" in page
    assert "<button" not in as_html([table])
    assert "script" not in as_page("a page", [Section("a", [Sentence('aria-sort="none"')])])


def test_a_name_from_right_to_left_keeps_its_line():
    page = as_page("a page", [Section("a", [Listing([Line("משקל = 1 + b")])])])
    assert '<span class="line"><bdi>משקל</bdi> = 1 + b</span>' in page
