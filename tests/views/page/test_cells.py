"""The page in Chromium: pinned nodes and cells, colours, peculiar numbers, phones, and accessibility."""

import re

import numpy as np
import pytest
from pictures import read
from views.page.losses import (
    PHONE,
    card_of,
    diamond,
    four,
    go_to,
    many_operations,
    marked,
    network_of_digits,
    page_of,
    shared_maps,
    shown,
    textbook,
)

import tinygrad_ce as tg


def dimmed(page):
    return marked(page, "off")


def to_backward_end(page):
    """The last step of the backward pass, before the update."""
    page.evaluate("go(followed.findLastIndex((n) => steps[n].phase === 'backward'))")


def steps_of(page):
    """The headlines of all steps that are followed, which every step on the way says."""
    page.keyboard.press("Home")
    found = [shown(page).headline]
    while shown(page).slider != page.get_attribute("#slider", "max"):
        page.keyboard.press("ArrowRight")
        found.append(shown(page).headline)
    return found


def test_a_pinned_node_shows_only_its_paths(opened):
    loss, _ = textbook()
    page = opened(loss)
    to_backward_end(page)
    card_of(page, "z1").locator("text.name").click()
    assert dimmed(page) == {"x", "W0", "b0", "W2", "b2", "y"}
    assert card_of(page, "z1").get_attribute("aria-pressed") == "true"
    assert page.text_content("#unpin") == "unpin z1"
    assert shown(page).headline == "Backward: from h1 to z1"  # the last step before
    assert [headline.split(" = ")[0] for headline in steps_of(page)] == [
        *("Forward: z1", "Forward: h1", "Forward: z2", "Forward: loss", "Backward starts: d_loss"),
        *("Backward: from loss to z2", "Backward: from z2 to h1", "Backward: from h1 to z1"),
    ]
    page.click("#unpin")
    assert dimmed(page) == set()
    assert shown(page).headline == "Backward: from h1 to z1"
    assert shown(page).count == "10 of 16"
    assert not page.is_visible("#unpin")
    card_of(page, "W2").focus()
    page.keyboard.press("Enter")
    assert dimmed(page) == {"x", "W0", "b0", "z1", "h1", "b2", "y"}
    page.keyboard.press(" ")
    assert dimmed(page) == set()
    page.keyboard.press(" ")
    assert page.text_content("#unpin") == "unpin W2"
    page.focus("#slider")
    page.keyboard.press("Escape")
    assert dimmed(page) == set()
    card_of(page, "b0").locator("text.name").click()
    card_of(page, "b0").locator("text.name").click()  # once more lets go
    assert dimmed(page) == set()


def test_a_pinned_cell_is_followed(opened):
    loss, n = textbook()
    page = opened(loss)
    to_backward_end(page)
    card_of(page, "W0").locator(".panel.value text[data-cell='4']").click()  # row 1, column 1
    assert shown(page).headline == "Backward: from z1 to W0"
    assert shown(page).filled[0].startswith("d_W0[1, 1] = ")
    assert shown(page).filled[0].endswith(f"= {four(n.d_W0[1, 1])}")
    assert card_of(page, "W0").locator("text.chosen").all_text_contents() == [
        f"{n.W0[1, 1]:.3g}",
        f"{n.d_W0[1, 1]:.3g}",
    ]
    page.get_by_role("button", name="cell [0, 2]:").press("Enter")
    assert shown(page).filled[0].startswith("d_W0[0, 2] = ")
    assert card_of(page, "W0").locator("text.chosen").first.text_content() == f"{n.W0[0, 2]:.3g}"
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("cell [0, 2]")


def test_cells_of_heat_maps(opened):
    loss = network_of_digits(12)
    page = opened(loss)
    loss.backward()
    z1 = loss.inputs[0].inputs[0].inputs[0]
    x, weights = (value.data for value in z1.inputs[:2])
    d_z1 = z1.grad
    go_to(page, "Backward: from h1 to z1")
    result = page.locator("#detail figure.result")
    canvas = result.locator("canvas")
    box = canvas.bounding_box()
    canvas.click(position={"x": 20.5 / 32 * box["width"], "y": 7.5 / 12 * box["height"]})
    assert shown(page).filled[0].startswith("d_z1[7, 20] = ")
    assert shown(page).filled[0].endswith(f" = {four(d_z1[7, 20])}")
    assert result.locator("th").all_text_contents() == ["18", "19", "20", "21", "22", "5", "6", "7", "8", "9"]
    assert result.locator("td button").all_text_contents() == [four(g) for g in d_z1[5:10, 18:23].ravel()]
    row, column = result.get_by_label("row"), result.get_by_label("column")
    assert (row.input_value(), column.input_value()) == ("7", "20")
    row.fill("0")
    row.press("Enter")
    assert shown(page).filled[0].startswith("d_z1[0, 20] = ")
    column.fill("99")  # there is no such column: the last one
    column.press("Enter")
    assert shown(page).filled[0].startswith("d_z1[0, 31] = ")
    assert shown(page).filled[0].endswith(f" = {four(d_z1[0, 31])}")
    row.fill("-3")
    row.press("Tab")
    assert row.input_value() == "0"
    result.get_by_role("button", name="cell [2, 29]:").click()
    assert shown(page).filled[0].startswith("d_z1[2, 29] = ")
    go_to(page, "Forward: z1")
    operand = page.locator("#detail figure", has_text="W0 (64, 32)")
    assert operand.locator("table").count() == 0
    assert operand.locator("p").text_content() == f"{weights.min():.3g} … {weights.max():.3g}"
    operand.get_by_role("button", name="show cells of W0 (64, 32)").click()
    at = np.unravel_index(np.abs(weights).argmax(), weights.shape)
    assert operand.locator("td.chosen").text_content() == four(weights[at])
    operand.get_by_label("row").fill("60")
    operand.get_by_label("row").press("Enter")
    assert operand.locator("td.chosen").text_content() == four(weights[60, at[1]])
    operand.get_by_role("button", name="hide cells").click()
    assert operand.locator("table").count() == 0
    page.locator("#detail figure", has_text="x (12, 64)").locator("canvas").click(position={"x": 1.5, "y": 1.5})
    inputs = page.locator("#detail figure", has_text="x (12, 64)")
    assert inputs.locator("td.chosen").text_content() == four(x[0, 0])


def test_the_colours_of_heat_maps_are_those_of_the_numbers(opened):
    page = opened(shared_maps())
    go_to(page, "Forward: t1")
    pixels = page.evaluate("""() => {
      const canvas = document.querySelector("#detail figure.result canvas"), [x, y] = [canvas.width, canvas.height];
      return [x, y, ...canvas.getContext("2d").getImageData(0, 0, x, y).data];
    }""")
    assert pixels[:2] == [10, 6]
    squares = np.linspace(-1, 1, 60).reshape(6, 10) ** 2
    white, orange = np.array([247, 247, 247]), np.array([213, 94, 0])
    expected = white + (orange - white) * squares[..., None]
    assert np.abs(np.reshape(pixels[2:], (6, 10, 4))[..., :3] - expected).max() <= 1


NUMBERS = (0.0, -0.0, 1, -1, 0.5, 1234.5, 0.015625, 99995, 9999.5, 0.00012345, 1e-5, 1e22, 1e300, 5e-324)


def test_numbers_are_written_as_python_writes_them(opened):
    page = opened(diamond())
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=500) * 10.0 ** rng.integers(-12, 12, 500)
    halves = rng.integers(-40_000, 40_000, 500) / 2.0 ** rng.integers(0, 12, 500)  # many are just between two
    numbers = [float(x) for x in (*NUMBERS, *drawn, *halves)]
    for digits in (3, 4):
        texts = page.evaluate(f"(numbers) => numbers.map((x) => written(x, {digits}, false))", numbers)
        assert texts == [f"{x + 0.0:.{digits}g}" for x in numbers]
    spoiled = page.evaluate("[NaN, Infinity, -Infinity].map((x) => written(x, 4, false))")
    assert spoiled == ["nan", "inf", "-inf"]
    assert page.evaluate("[written(1, 4, true), written(0, 4, true)]") == ["True", "False"]


ALL_STEPS = """() => steps.map((_, n) => {
  go(n);
  return document.getElementById("step").innerText + document.getElementById("program").innerText;
})"""


def test_peculiar_losses_are_stepped_through(opened, losses):
    page = None
    for name, loss in losses.items():
        page = opened(loss, page=page)
        texts = page.evaluate(ALL_STEPS)
        assert len(texts) >= 3
        for text in texts:
            own = re.sub(r"(?m)^\w+: .*$", "", text)  # docstrings of operations are quoted, and some say NaN
            assert not re.search(r"undefined|\[object|NaN|null|Infinity", own), (name, text)
        assert page.evaluate("document.querySelectorAll('img, script').length") == 2


def test_what_is_shown_of_peculiar_numbers(opened, losses):
    page = opened(losses["nan"])
    now = shown(page)
    assert now.tables["t1 (4,)"] == [["0", "-inf", "nan", "0.6931"]]
    assert now.filled == ["t1[1] = log(0) = -inf"]  # what is spoiled is looked at first
    page = opened(losses["a user's primitive"], page=page)
    words = "cube_of_the_page: Three <b>times</b> </script><script>alert(1)</script> & more; at losses.py:"
    assert words in shown(page).detail
    page = opened(losses["booleans"], page=page)
    assert go_to(page, "Forward: t3").tables["condition (4,)"] == [["True", "False", "False", "True"]]
    page = opened(losses["embedding"], page=page)
    assert shown(page).tables["indices (4,)"] == [["1", "5", "1", "0"]]
    page = opened(losses["empty"], page=page)
    assert "empty" in shown(page).detail
    page = opened(losses["0-d"], page=page)
    assert shown(page).filled == ["loss = 3 * 2 = 6"]
    page = opened(losses["large 3-d"], page=page)
    result = page.locator("#detail figure.result")
    result.get_by_label("axis 0").fill("2")
    result.get_by_label("axis 0").press("Enter")
    assert re.match(r"t1\[2, \d, \d\] = ", shown(page).filled[0])


def test_a_graph_of_500_operations(opened):
    loss = many_operations()
    page = opened(loss)
    loss.backward()
    a = next(node.tensor for node in read(loss).nodes if node.name == "a")
    page.keyboard.press("End")
    assert shown(page).headline.startswith("Update: a = a - lr * d_a")
    page.keyboard.press("ArrowLeft")
    now = shown(page)
    assert now.count == "1251 of 1252"
    assert now.headline == "Backward: from t1 to a, share 127 of 127"
    assert now.tables["d_a so far"] == [[four(a.grad)]]
    assert now.filled[-1].endswith(f" = {four(a.grad)}; complete")
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    assert shown(page).count == "1248 of 1252"
    picture = page.locator("#picture").bounding_box()
    for step in ("0", "250", "500", "1250"):  # the picture moves along
        page.fill("#slider", step)
        current = page.locator(".tg-graph .node.now").bounding_box()
        assert picture["x"] <= current["x"]
        assert current["x"] + current["width"] <= picture["x"] + picture["width"]
        assert picture["y"] <= current["y"]
        assert current["y"] + current["height"] <= picture["y"] + picture["height"]


@pytest.mark.parametrize("make", [lambda: textbook()[0], network_of_digits], ids=["numbers", "heat maps"])
def test_on_a_phone_nothing_is_wider_than_the_screen(opened, make):
    page = opened(make(), PHONE)
    for number in range(12):
        page.evaluate(f"go({number})")
        for button in page.locator("#detail button", has_text="show cells").all()[:1]:
            button.click()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE[0]
        small = page.evaluate("""() => [...document.querySelectorAll("button:not(.word), select, input")]
          .map((x) => [x, x.getBoundingClientRect()]).filter(([x, box]) => x.checkVisibility() && box.height < 24)
          .map(([x, box]) => [x.textContent, box.height])""")
        assert small == []
    page.click("#first")
    assert shown(page).count == "1 of 16"


def test_a_long_name_above_a_table_is_broken_into_lines_on_a_phone(opened):
    w = tg.Tensor(np.ones((3, 2)), requires_grad=True, name="a_name_that_is_longer_than_the_screen_of_a_phone_is_wide")
    page = opened((tg.Tensor(np.ones((4, 3))) @ w).sum(), PHONE)
    assert page.evaluate("[...document.querySelectorAll('figure')].every((x) => x.scrollWidth <= x.clientWidth)")


def test_light_and_dark(opened):
    backgrounds = {}
    for scheme in ("light", "dark"):
        page = opened(diamond(), scheme=scheme)
        backgrounds[scheme] = page.evaluate("""() => [
          getComputedStyle(document.body).backgroundColor,
          getComputedStyle(document.querySelector(".tg-graph .result rect.body")).fill,
        ]""")
    assert backgrounds == {
        "light": ["rgb(255, 255, 255)", "rgb(255, 255, 255)"],
        "dark": ["rgb(13, 17, 23)", "rgb(22, 27, 34)"],
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(opened, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def checked(page):
        results = axe.run(page)
        assert results.violations_count == 0, results.generate_report()
        unsure = {rule["id"] for rule in results.response["incomplete"]}
        assert unsure <= {"color-contrast"}  # of letters over lines; see the test of the picture's colours

    page = opened(diamond(), scheme=scheme)
    checked(page)
    page.keyboard.press("End")
    checked(page)
    page = opened(network_of_digits(), PHONE, scheme)
    go_to(page, "Backward: from h1 to z1")
    page.locator("#detail button", has_text="show cells").first.click()
    checked(page)
    card_of(page, "b0").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    checked(page)


def test_the_keyboard_reaches_everything(opened):
    page = opened(diamond())
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("""() => {
              const x = document.activeElement;
              return x.id || x.getAttribute("aria-label") || x.className;
            }""")
        )
    expected = ["skip", "picture", *(f"pin {name}" for name in ("a", "t1", "t2", "t3", "loss"))]
    expected += ["next", "play", "back", "first", "last", "slider", "speed", "smaller", "larger", "cell : 4"]
    assert set(expected) <= set(reached)
    assert reached.index("skip") == 0
    page.keyboard.press("Home")
    page.focus(".skip")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "first"


def test_it_works_in_a_notebook(opened):
    frame_html = page_of(diamond())._repr_html_()
    page = opened(None, html=f"<!doctype html><meta charset='utf-8'><h1>a notebook</h1>{frame_html}")
    frame = page.frame_locator("iframe")
    frame.locator("#last").click()
    frame.locator("#back").click()
    assert frame.locator("#headline").text_content() == "Backward: from t1 to a, share 4 of 4"
    frame.locator("#play").focus()
    page.keyboard.press("Home")
    assert frame.locator("#count").text_content() == "1 of 13"
    box, content = page.locator("iframe").bounding_box(), frame.locator("body").bounding_box()
    assert content["height"] <= box["height"] < content["height"] + 200  # that of the highest step so far
    assert frame.locator(":root").evaluate("root => root.scrollHeight <= root.clientHeight")
    assert not page.locator("div > img").is_visible()


def test_a_notebook_that_is_not_trusted_shows_a_picture(opened):
    pytest.importorskip("resvg_py")
    shown = re.sub("<iframe.*</iframe>", "", page_of(diamond())._repr_html_(), flags=re.DOTALL)  # as JupyterLab does
    page = opened(None, html=f"<!doctype html><meta charset='utf-8'>{shown}")
    picture = page.locator("div > img")
    assert picture.is_visible()
    assert picture.evaluate("image => image.complete && image.naturalWidth > 100")
