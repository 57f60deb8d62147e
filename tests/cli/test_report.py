"""tinygrad-ce report: one file about a run, which fetches nothing and shows the user's names as text."""

import json
import re
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from cli.commands import content, done, refused

import tinygrad_ce as tg

pytest.importorskip("matplotlib")
HEADINGS = ("The data", "The network", "The curves", "How good it is")
LAST = ("The hardest rows", "The audit", "One step of the training")


class Page(HTMLParser):
    """The headings, cells and addresses of a page, and whether its elements close in order."""

    EMPTY = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.text, self.headings, self.cells, self.addresses, self.open = text, [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("href", "src", "action", "data", "srcset")]
        if tag not in self.EMPTY:
            self.open.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.EMPTY:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h2", "td", "th"):
            (self.headings if self.open[-1] == "h2" else self.cells).append(data)


def page_of(folder):
    done("report", folder)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def moons(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "moons"
    done("train", "moons", "--epochs", 8, "--hidden", "6", "--out", folder)
    return folder


def test_the_report_fetches_nothing_and_runs_nothing(moons):
    page = page_of(moons)
    assert "<script" not in page.text
    assert [a for a in page.addresses if not a.startswith(("data:image/png;base64,", "#"))] == []
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", page.text)
    assert "default-src 'none'" in page.text


def test_it_has_all_that_is_known_of_the_run(moons):
    page = page_of(moons)
    assert page.headings == [*HEADINGS, "Confusion", *LAST]
    for words in ("Dense(2, 6)", "x1", "def step(", "np.dot", "verdict", "precision"):
        assert words in unescape(page.text)
    figures = json.loads((moons / "run.json").read_text())["figures"]
    for row in figures.values():
        assert f"{row['accuracy']:.4f}" in page.cells
    assert page.text.count("<img ") == 4  # the curves, those of the report, the confusion, the boundary


def test_the_hardest_rows_are_those_with_the_largest_loss(moons):
    saved = tg.load(moons / "model.safetensors")
    moons_again = tg.data.split(tg.data.moons(seed=0), 0.6, 0.2, 0.2, seed=0)
    _, _, test = tg.data.standardize(*moons_again)
    z = saved.model(tg.Tensor(test.X.astype("float32"))).numpy().astype(float)
    losses = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), test.y]
    hardest = np.argsort(-losses)[:5]
    cells = page_of(moons).cells
    start = cells.index("the gradients it gives") + 1
    assert [int(cells[start + 6 * n]) for n in range(5)] == hardest.tolist()
    x1, x2 = moons_again[2].X[hardest[0]]
    felt = cells[start + 4]
    assert f"x1 = {x1:.3g}" in felt
    assert f"x2 = {x2:.3g}" in felt


def test_an_arrow_says_where_the_loss_gets_smaller(moons):
    saved = tg.load(moons / "model.safetensors")
    parts = tg.data.standardize(*tg.data.split(tg.data.moons(seed=0), 0.6, 0.2, 0.2, seed=0))
    cells = page_of(moons).cells
    start = cells.index("the gradients it gives") + 1
    row, felt = int(cells[start]), cells[start + 4]
    name, arrow = re.search(r"(x[12]) = \S+ ([↑↓])", felt).groups()
    x, y = parts[2].X[[row]], parts[2].y[[row]]
    moved = x.copy()
    moved[0, int(name[1]) - 1] += 1e-2 if arrow == "↑" else -1e-2
    loss = saved.trainer.loss
    assert loss(saved.model(moved), y).item() < loss(saved.model(x), y).item()


def table(path, name, label):
    rows = "".join(f"{i},{i * i % 17},{label}{i % 2},{i * 1.5 + i % 3}\n" for i in range(60))
    path.write_text(f"{name},b,kind,price\n{rows}", encoding="utf-8")
    return path


HOSTILE = "<script>alert(1)</script>\x1b[31m&amp;$title\u202e"


def test_the_users_names_are_text(tmp_path):
    source = table(tmp_path / f"{HOSTILE.replace('/', '')}.csv", HOSTILE.replace(",", ""), HOSTILE)
    done(
        "train",
        source,
        "--target",
        "kind",
        "--drop",
        "price",
        "--epochs",
        1,
        "--hidden",
        "2",
        "--out",
        tmp_path / "out",
    )
    page = page_of(tmp_path / "out")
    assert "<script" not in page.text
    assert "&lt;script&gt;" in page.text
    assert "\x1b" not in page.text
    assert "\u202e" not in page.text
    assert "\\x1b[31m" in page.text
    assert any("<script>alert(1)" in cell for cell in page.cells)


def test_a_run_of_numbers_shows_residuals_in_its_own_units(tmp_path):
    source = table(tmp_path / "table.csv", "a", "k")
    done(
        "train",
        source,
        "--target",
        "price",
        "--drop",
        "kind",
        "--epochs",
        3,
        "--hidden",
        "4",
        "--out",
        tmp_path / "out",
    )
    page = page_of(tmp_path / "out")
    assert page.headings == [*HEADINGS, *LAST]
    assert page.text.count("<img ") == 2  # the curves and, once, the residuals
    assert {"RMSE", "MAE", "R2"} <= {*page.cells}
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert f"{record['figures']['test']['RMSE']:.4f}" in page.cells


def test_the_report_can_be_written_elsewhere(moons, tmp_path):
    before = {name: text for name, text in content(moons).items() if name != "report.html"}
    done("report", moons, "--out", tmp_path / "new" / "page.html")
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8").endswith("</html>")
    assert {name: text for name, text in content(moons).items() if name != "report.html"} == before
    assert ".html" in refused("report", moons, "--out", tmp_path / "page.txt")


def test_a_report_changes_nothing_in_the_run(moons):
    before = (moons / "model.safetensors").read_bytes()
    first, second = (re.sub(r"\(#\d+\)", "", page_of(moons).text) for _ in range(2))  # tensors are numbered on
    assert first == second
    assert (moons / "model.safetensors").read_bytes() == before


def test_a_warning_about_the_table_is_said_once(tmp_path):
    rows = "".join(f"{i * i % 17},customer {i},{'yes' if i % 2 else 'no'}\n" for i in range(40))
    (tmp_path / "my.csv").write_text(f"b,customer,renewed\n{rows}")
    options = ("--target", "renewed", "--epochs", 1, "--hidden", "2", "--out", tmp_path / "out")
    done("train", tmp_path / "my.csv", *options)
    assert "warning: " not in done("report", tmp_path / "out")  # its page says what became of each column
    said = done("explain", tmp_path / "my.csv", *options[:2])  # the command reads a table twice
    assert said.count("warning: ") == said.count("identifier or free text") == 1
