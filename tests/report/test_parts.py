"""Every part as text and as HTML: what is escaped, how wide it gets, and what is loaded for it."""

from collections import Counter
from html import unescape
from unicodedata import east_asian_width
from xml.etree.ElementTree import fromstring

import pytest
from fresh import printed

from tinygrad_ce.report.html import as_html
from tinygrad_ce.report.page import as_page
from tinygrad_ce.report.parts import (
    Code,
    Formula,
    Heading,
    Line,
    List,
    Listing,
    Picture,
    PrintedText,
    Report,
    Section,
    Sentence,
    SideBySide,
    Strong,
    Table,
    Words,
)
from tinygrad_ce.report.text import as_text, for_terminal
from tinygrad_ce.report.words import cut, format_number, listed, percent, several, short, visible

HOSTILE = "<b>&\"'</b>\x1b[31m\0\u202e"
OF_A_TEXT = {
    "heading": Heading,
    "sentence": Sentence,
    "list": lambda text: List([text]),
    "formula": Formula,
    "code": Code,
    "listing": lambda text: Listing([Line(text, 3, "wrong", text)]),
    "picture": lambda text: Picture(b"", text),
    "cell": lambda text: Table([(text, text)]),
    "words": lambda text: Table([(Words(text), Strong(text))], header=(text, "b"), caption=text),
    "section": lambda text: Section(text, [SideBySide([Sentence(text)])]),
}
WORDS = "Each sigmoid divides the gradient by about four, and so four of them leave nothing that a layer can learn. "
WIDE = "漢字🙂"


class Shown(Report):
    """Shows the parts that it is made of."""

    def __init__(self, *parts):
        self.parts = parts


def columns(line):
    """How many columns of a terminal a line takes, by the Unicode standard."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in line)


@pytest.mark.parametrize("kind", OF_A_TEXT)
def test_what_somebody_named_is_escaped(kind):
    part = OF_A_TEXT[kind](HOSTILE)
    text, html = as_text([part]), as_html([part])
    assert not {"\x1b", "\0", "\u202e"} & {*text}
    assert r"<b>&\"'</b>\x1b[31m\x00\u202e".replace('\\"', '"') in text.replace("\n", "")
    assert not {"\x1b", "\0", "\u202e", "\ufffd"} & {*html}
    assert r"\x1b[31m\x00\u202e" in html
    assert HOSTILE[:7] in unescape(html).replace("&quot;", '"')
    assert "b" not in {element.tag for element in fromstring(html).iter()} or kind == "words"  # Strong is bold


@pytest.mark.parametrize("width", [60, 61, 80, 100])
@pytest.mark.parametrize("words", [WORDS * 3, "n" * 250, WIDE * 60, f"a {WIDE * 40} {WORDS}"])
@pytest.mark.parametrize("kind", ["heading", "sentence", "list", "picture", "cell", "words", "section"])
def test_words_stay_within_the_terminal_and_are_all_there(kind, words, width):
    text = as_text([OF_A_TEXT[kind](words)], width)
    assert max(map(columns, text.splitlines())) <= width
    assert not Counter("".join(words.split())) - Counter(text)
    if kind in ("heading", "sentence"):
        assert "".join(text.split()) == "".join(words.split())


def test_a_terminal_of_any_width_shows_whole_letters(monkeypatch):
    for asked, width in ((20, 60), (80, 80), (300, 100)):
        monkeypatch.setenv("COLUMNS", str(asked))
        assert max(map(len, str(Shown(Sentence(WORDS * 5))).splitlines())) in range(width - 12, width + 1)


def test_a_second_line_stands_further_right():
    assert as_text([Sentence("note: one two three", indent=6)], 11).splitlines() == [
        "note: one",
        "      two",
        "      three",
    ]


def test_a_wide_table_folds_and_keeps_every_cell():
    cells = [[f"{row}{column:02d}" * 5 for column in range(8)] for row in range(3)]
    letters = Counter("".join("".join(row) for row in cells))
    for table in (Table(cells, [f"title {n}" for n in range(8)]), Table(cells)):
        text = as_text([table], 60)
        assert max(map(len, text.splitlines())) <= 60
        assert not letters - Counter(text)


@pytest.mark.parametrize("header", [(), ("name", "number")])
def test_a_column_that_is_kept_whole_takes_no_room_from_the_others(header):
    text = as_text([Table([("n" * 90, "0.25")], header, whole=frozenset({0}))], 60)
    assert "0.25" in text
    assert text.count("n") >= 90


def test_a_range_is_not_broken_into_lines_beside_a_long_formula():
    table = Table(
        [("", "-0.125 to 0.5\nmean 0.25", "a_long_name + another_long_name * a_third")], ("", "value", "formula")
    )
    for html, whole in (
        (as_html([table]), 'white-space: pre"'),
        (as_page("", [Section("", [table])]), 'class="whole"'),
    ):
        value, formula = (html[: html.index(text)].rpartition("<td")[2] for text in ("-0.125", "a_long"))
        assert (whole in value, whole in formula) == (True, False)


def test_numbers_stand_on_the_right_and_titles_above_them():
    table = Table([("a", "1"), ("bbb", "22")], header=("x", "y"), right=frozenset({1}))
    assert as_text([table]).splitlines() == ["x      y", "--------", "a      1", "bbb   22"]
    assert as_html([table]).count("text-align: right") == 3


def test_only_a_long_text_asks_for_room_where_a_table_is_wider_than_the_page():
    short_one, long_one = (as_html([Table([("a", Words("word " * n))])]) for n in (3, 9))
    assert ("min-width" in short_one, "min-width" in long_one) == (False, True)


@pytest.mark.parametrize("table", [Table([]), Table([], header=("a", "b"))])
def test_a_table_without_rows(table):
    assert as_text([table]).split() == [*table.header, "-----"] * bool(table.header)
    assert fromstring(as_html([table])).find(".//tbody") is not None


def test_headings_and_tables_are_set_apart():
    table = Table([("a", "1")])
    text = as_text([Heading("first"), table, table, Sentence("words"), Heading("second")])
    assert text.splitlines() == ["first", "  a  1", "", "  a  1", "words", "", "second"]


def test_a_picture_is_drawn_only_for_html_and_says_why_it_is_not():
    def drawn():
        raise ImportError('pip install "tinygrad_ce[plot]" <now>')

    shown = Shown(Picture(drawn, "the loss over the epochs"))
    assert str(shown) == "(a picture: the loss over the epochs)"
    assert "pip install &quot;tinygrad_ce[plot]&quot; &lt;now&gt;" in shown._repr_html_()
    assert 'src="data:image/png;base64,UE5H"' in as_html([Picture(lambda: b"PNG", "a")])


def test_an_ascii_terminal_gets_signs_that_it_knows(monkeypatch):
    assert for_terminal("▁█ … é 🙂", "ascii") == ".@ ... \\xe9 \\U0001f642"
    assert for_terminal("▁█ … é", "utf-8") == "▁█ … é"
    assert for_terminal("▁", "no such encoding") == "."
    monkeypatch.setattr("sys.stdout", None)
    assert str(Shown(Sentence("a … b"))) == "a ... b"


def test_a_report_shows_its_parts_in_every_way():
    shown = Shown(Heading("loss"), Formula("L = -log p"))
    assert str(shown) == repr(shown) == "loss\n  L = -log p"
    assert shown._repr_html_() == as_html(shown.parts)


def test_printed_lines_have_parts_for_a_notebook_or_are_shown_as_code():
    text = PrintedText.of([Table([("a", "1")])], 40)
    assert (text, text.parts) == ("  a  1", [Table([("a", "1")])])
    assert "<table" in text._repr_html_()
    assert repr(PrintedText("a\nb")) == "a\nb"
    assert "<pre" in PrintedText("a\nb")._repr_html_()
    assert "program" not in PrintedText("a\nb")._repr_html_()  # to those who hear it: it is any text


# ---- numbers and names in words


@pytest.mark.parametrize(
    ("share", "said"),
    [(100.0, "100"), (99.9999, "99.9"), (99.6, "99.6"), (62.5, "62.5"), (0.04, "0.04"), (0.0, "0")],
)
def test_a_share_is_said_to_be_all_only_where_it_is(share, said):
    assert percent(share) == said


def test_numbers_names_and_lists():
    assert [format_number(x) for x in (1 / 3, -0.0, 123456.0, 5, True, float("nan"))] == [
        "0.3333", "0", "1.235e+05", "5", "True", "nan"
    ]  # fmt: skip
    assert [cut("a" * n, 5) for n in (5, 6)] == ["aaaaa", "aaaa…"]
    assert short("two\nlines", 9) == "two lines"
    assert [short("abcdefgh", n) for n in (8, 7, 5)] == ["abcdefgh", "abc…fgh", "ab…gh"]
    assert all(len(short("abcdefghi", n)) <= n for n in range(3, 10))
    assert listed(range(6)) == "0, 1, 2, 3 and 2 more"
    assert listed(range(5)) == "0, 1, 2, 3, 4"  # "and 1 more" would be no shorter
    assert [several(n, "row") for n in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]
    assert several(2, "class", "classes") == "2 classes"
    assert visible("a\tb\nc\r\x85\ud800") == "a\tb\nc\\r\\x85\\ud800"


@pytest.mark.parametrize("part", ["Sentence('a')", "Table([('a', '1')])"])
def test_nothing_is_loaded_before_it_is_shown(part):
    code = f"""
        import sys
        from tinygrad_ce.report.parts import Report, Sentence, Table
        class Shown(Report):
            parts = [{part}]
        shown = Shown()
        print("built", *{{"rich", "html"}} & {{name.split(".")[0] for name in sys.modules}})
        str(shown)
        print("as text", *{{"rich", "html"}} & {{name.split(".")[0] for name in sys.modules}})
    """
    words = printed(code)
    assert words[:3] == ["built", "as", "text"]
    assert words[3:] == (["rich"] if "Table" in part else [])


def test_a_phone_shows_a_title_and_what_is_said_of_it_without_scrolling(contexts, tmp_path):
    name = "a_name_that_is_longer_than_the_screen_of_a_phone_is_wide"
    rows = [("cause", Words(f"the parameter {name} is not finite itself")), ("numbers", f"{name}[2] = nan")]
    (tmp_path / "page.html").write_text(as_page("a page", [Section("why", [Table(rows)])]))
    page = contexts((390, 844), "light").new_page()
    page.goto((tmp_path / "page.html").as_uri())
    wide, frame = (page.locator(each).bounding_box() for each in ("table", ".wide"))
    page.close()
    assert wide["width"] <= frame["width"]
