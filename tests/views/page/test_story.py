"""The page in Chromium: what stands where, one cell through the whole story, and phases told apart."""

import numpy as np
import pytest
from views.page.losses import (
    PHONE,
    card_of,
    diamond,
    four,
    go_to,
    network_of_digits,
    rows,
    shared_maps,
    shown,
    textbook,
    wanted,
)

import tinygrad_ce as tg
from tinygrad_ce import ops

GRAPHS = {"network": lambda: textbook()[0], "diamond": diamond, "digits": network_of_digits, "maps": shared_maps}
BOXES = """() => steps.map((_, n) => {
  go(n);
  const bottom = (selector) => {
    const box = document.querySelector(selector)?.getBoundingClientRect();
    return box ? [box.top, box.bottom] : null;
  };
  return [bottom("#picture"), bottom("#headline"), bottom(".filled"), bottom("#detail figure.result")];
})"""


@pytest.mark.parametrize("name", GRAPHS)
def test_the_result_stands_above_the_fold_in_every_step(opened, name):
    page = opened(GRAPHS[name](), (1280, 800))
    for picture, headline, filled, result in page.evaluate(BOXES):
        assert picture[1] - picture[0] <= 0.38 * 800 + 1
        for box in (headline, filled, result):
            assert box is None or (box[0] >= 0 and box[1] <= 800), box


def test_what_was_computed_stands_before_what_it_was_computed_from(opened):
    page = opened(textbook()[0])
    for number in (0, 3, 7, 12):
        page.evaluate(f"go({number})")
        captions = page.locator("#detail figcaption").all_text_contents()
        result = page.locator("#detail figure.result figcaption").text_content()
        assert captions[0] == result
        page.locator(".operands summary").click()
        assert not page.locator(".operands figure").first.is_visible()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowLeft")
        assert not page.locator(".operands figure").first.is_visible()  # it stays folded
        page.locator(".operands summary").click()


def test_by_default_the_cell_that_pushes_hardest_is_followed_from_the_loss_to_a_leaf(opened):
    loss, n = textbook()
    page = opened(loss)
    path = {page.evaluate("nodes.map((node) => node.name)")[node]: cell for node, cell in page.evaluate("data.path")}
    row = np.abs(n.d_z2).argmax()
    unit = np.abs(n.d_z2[row, 0] * n.W2[:, 0]).argmax()
    assert path["z2"] == row
    assert path["h1"] == path["z1"] == row * 3 + unit
    d_z1 = n.d_z2[row, 0] * n.W2[unit, 0] * (1 - n.h1[row, unit] ** 2)
    pushes = {"x": 0, "W0": np.abs(n.x[row] * d_z1).max(), "b0": abs(d_z1)}
    leaf = max(pushes, key=pushes.get)
    assert leaf in path
    go_to(page, "Backward: from z2 to h1")
    assert shown(page).filled[0].startswith(f"d_h1[{row}, {unit}] = ")
    go_to(page, "Forward: z1")
    assert shown(page).filled[0].startswith(f"z1[{row}, {unit}] = ")
    chosen = page.locator(".tg-graph text.chosen")
    assert chosen.count() >= 10  # one of each array


def test_a_click_follows_another_cell_through_all_steps(opened):
    loss, _ = textbook()
    page = opened(loss)
    go_to(page, "Forward: h1")
    page.get_by_role("button", name="cell [2, 0]:").click()
    for headline, start in (
        ("Forward: z1", "z1[2, 0]"),
        ("Forward: z2", "z2[2, 0]"),
        ("Backward: from loss to z2", "d_z2[2, 0]"),
        ("Backward: from h1 to z1", "d_z1[2, 0]"),
    ):
        assert go_to(page, headline.replace("loss", page.evaluate("nodes[data.loss].name"))).filled[0].startswith(start)


def test_operands_light_up_and_point_at_their_numbers(opened):
    loss, n = textbook()
    page = opened(loss)
    go_to(page, "Forward: z1")
    page.get_by_role("button", name="cell [3, 1]:").click()
    lit = page.locator("#detail figure", has_text="W0 (2, 3)").locator("td.lit")
    assert lit.all_text_contents() == [four(w) for w in n.W0[:, 1]]
    assert page.locator("#detail figure", has_text="x (4, 2)").locator("td.lit").all_text_contents() == [
        four(x) for x in n.x[3]
    ]
    page.locator(".filled .number").nth(1).hover()  # W0[0, 1]
    assert page.locator("td.pointed").all_text_contents() == [four(n.W0[0, 1])]
    assert card_of(page, "W0").locator("text.pointed").text_content() == f"{n.W0[0, 1]:.3g}"
    page.locator(".filled .number").nth(0).focus()
    assert page.locator("td.pointed").all_text_contents() == [four(n.x[3, 0])]
    page.locator("#detail figure", has_text="W0 (2, 3)").locator("td.lit").nth(1).hover()
    assert page.locator(".filled .pointed").text_content().strip("()") == four(n.W0[1, 1])


def test_shares_stand_on_their_edges_and_lead_to_their_steps(opened):
    loss, n = textbook()
    page = opened(loss)
    arrived = page.locator(".tg-graph .wire.arrived .share")
    go_to(page, "Backward: from z2 to W2")
    cell = page.evaluate("cells.get(nodes.findIndex((node) => node.name === 'W2'))")
    share = page.locator(".wire.back .share")
    assert share.text_content() == f"{n.d_W2.flat[cell]:.3g}"
    assert page.locator(".wire.back path.tail").is_visible()
    assert not page.locator(".wire.back path.head").is_visible()
    page.evaluate("go(11)")
    assert arrived.count() == 7
    share = page.get_by_role("button", name="share of d_h1")
    share.press("Enter")
    assert shown(page).headline == "Backward: from z2 to h1"
    page.locator(".wire.arrived .share").last.click()
    assert shown(page).headline.startswith("Backward: from ")
    assert page.locator(".wire.back .share").count() == 1


def test_phases_are_told_apart_by_a_word_a_line_and_a_colour(opened):
    page = opened(textbook()[0])
    seen = {}
    for headline in ("Forward: z1", "Backward: from z1 to W0", "Update: W0"):
        now = go_to(page, headline)
        word = page.text_content("#headline .badge")
        assert now.headline.startswith(word)
        styles = page.evaluate("""() => [".filled", "pre .now", "#headline .badge"].map((selector) => {
          const style = getComputedStyle(document.querySelector(selector));
          return [style.borderLeftStyle, style.borderLeftColor];
        })""")
        assert styles[0] == styles[1] == styles[2]
        seen[word] = tuple(styles[0])
        after = page.evaluate("getComputedStyle(document.querySelector('pre .now'), '::after').content")
        assert after == f'"{word.lower()}"'
    assert len({style for style, _ in seen.values()}) == len({colour for _, colour in seen.values()}) == 3


def test_a_fused_cross_entropy_opens(opened):
    rng = np.random.default_rng(0)
    z, y = wanted(rng.normal(size=(4, 3)), "z"), np.array([0, 1, 2, 1])
    page = opened(tg.losses.softmax_cross_entropy(z, y).named("loss"))
    p = np.exp(z.data) / np.exp(z.data).sum(axis=1, keepdims=True)
    of_class = p[np.arange(4), y]
    now = go_to(page, "Forward: loss")
    assert now.opened["p = softmax(z) (4, 3)"] == rows(p)
    assert now.opened["np.log(p[np.arange(4), y]) (4,)"] == rows(np.log(of_class))
    assert now.opened["np.log(p[np.arange(4), y]).mean()"] == rows(np.log(of_class).mean())
    now = go_to(page, "Backward: from loss to z")
    assert now.opened["p - one_hot(y, 3) (4, 3)"] == rows(p - np.eye(3)[y])
    loss, n = textbook()
    page = opened(loss, page=page)
    page.evaluate("go(5)")
    assert shown(page).opened["p - y (4, 1)"] == rows(4 * n.d_z2)


def test_names_are_the_learners_and_the_gradient_of_c_is_d_c(opened):
    a, b = wanted([1.0, 2.0], "a"), wanted([3.0, 4.0], "b")
    c = (a * b).named("c")
    page = opened((ops.tanh(c) * c).sum().named("error"))
    names = page.evaluate("nodes.map((node) => node.name)")
    assert {"a", "b", "c", "error"} <= set(names)
    assert card_of(page, "c").locator("text.name").text_content() == "c"
    for name in names:
        headlines = page.evaluate(
            """(name) => steps.map((step, n) => {
          go(n);
          const is = step.edge !== undefined && nodes[step.node].name === name;
          return is ? document.querySelector("#detail .filled").textContent : null;
        }).filter(Boolean)""",
            name,
        )
        assert all(text.startswith(f"d_{name}") for text in headlines)
    program = page.text_content("#program pre")
    for name in ("a", "b", "c"):
        assert f"d_{name} = " in program
        assert f"{name} = {name} - lr * d_{name}" in program or name == "c"


def test_words_and_a_legend_for_beginners(opened):
    page = opened(textbook()[0])
    assert page.text_content("#intro").startswith("Forward computes the loss.")
    page.locator("#intro .word", has_text="gradient").click()
    assert "slope of the loss" in page.text_content("#word-card")
    page.keyboard.press("Escape")
    page.locator("#help summary").first.click()
    assert page.locator(".legend li").count() == 5
    assert page.locator(".legend .badge").all_text_contents() == ["Forward", "Backward", "Update"]


def test_on_paper_nothing_is_cut(opened):
    page = opened(network_of_digits(), (800, 600))
    page.evaluate("document.querySelectorAll('details').forEach((box) => { box.open = false; })")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    cut = page.evaluate("""() => [...document.querySelectorAll("#picture, pre, figure, .rows")]
      .filter((x) => x.scrollHeight > x.clientHeight + 1 || x.scrollWidth > x.clientWidth + 1)
      .map((x) => x.className || x.id)""")
    assert cut == []
    assert page.locator("#program pre").is_visible()
    assert page.locator(".operands figure").first.is_visible()
    assert not page.locator("#controls").is_visible()
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not page.locator(".operands").first.evaluate("(box) => box.open")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, (1280, 800)], ids=["phone", "laptop"])
def test_every_phase_is_accessible(opened, size, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(textbook()[0], size, scheme)
    page.locator("#help summary").first.click()
    for headline in ("Forward: z1", "Backward: from z1 to W0", "Update: W0"):
        go_to(page, headline)
        results = axe.run(page)
        assert results.violations_count == 0, results.generate_report()
    assert page.get_attribute("#slider", "aria-label") == "step"


def test_zero_is_not_the_brightest_colour_in_the_dark(opened):
    page = opened(shared_maps(), scheme="dark")
    go_to(page, "Forward: t1")
    colours = page.evaluate("""() => {
      const canvas = document.querySelector("#detail figure.result canvas");
      return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
    }""")
    brightness = np.reshape(colours, (-1, 4))[:, :3].sum(axis=1)
    values = np.abs(np.linspace(-1, 1, 60) ** 2)
    assert brightness[values.argmin()] == brightness.min()
    assert brightness[values.argmin()] < brightness[values.argmax()]
    assert (
        page.evaluate("getComputedStyle(svg.querySelector('image')).filter") == "none"
    )  # painted for the dark already


def test_names_from_right_to_left_stay_in_order(opened):
    page = opened((wanted([1.0, 2.0], "שלום") * tg.Tensor([3.0, 4.0], name="k")).sum())
    assert page.locator("#program bdi").count() >= 3
    assert shown(page).headline == "Forward: t1 = \u2068שלום\u2069 * k"
    go_to(page, "Backward: from t1 to")
    assert shown(page).filled[0].startswith("d_\u2068שלום\u2069[0] = ")


def test_a_card_that_is_focused_says_its_numbers(opened):
    page = opened(diamond())
    card_of(page, "a").focus()
    assert card_of(page, "a").get_attribute("aria-description") == "2"
    card_of(page, "t1").focus()
    page.keyboard.press("End")
    card_of(page, "a").focus()
    assert card_of(page, "a").get_attribute("aria-description").startswith("2; gradient ")
    page.keyboard.press("Home")
    card_of(page, "loss").focus()
    assert card_of(page, "loss").get_attribute("aria-description") == "not computed yet"
