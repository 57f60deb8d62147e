"""The page in Chromium: a graph that is too large for one picture, in levels that fold."""

import numpy as np
import pytest
from views.page.losses import many_operations, page_of, textbook

import tinygrad_ce as tg

PLACE = """() => ({
  crumbs: [...document.querySelectorAll("#crumbs button")].map((x) => x.textContent), follow: at("follow").checked,
  now: [...svg.querySelectorAll(".now[data-node], .now[data-group]")].map((x) => x.getAttribute("aria-label")),
})"""


class Block(tg.nn.Module):
    """x + W relu(V x)."""

    def __init__(self):
        self.inner, self.outer = tg.nn.Dense(3, 3), tg.nn.Dense(3, 3)

    def forward(self, x):
        return x + self.outer(self.inner(x).relu())


@pytest.fixture(scope="module")
def blocks():
    """The page of six residual blocks, each of which folds."""
    tg.seed(0)
    model = tg.nn.Sequential(*[Block() for _ in range(6)], tg.nn.Dense(3, 2))
    x = tg.Tensor(np.random.default_rng(0).normal(size=(2, 3)), name="x")
    loss = tg.losses.softmax_cross_entropy(model(x), [0, 1])
    return loss, page_of(loss).html


@pytest.fixture
def page(blocks, opened):
    return opened(blocks[0], html=blocks[1])


def place(page):
    return page.evaluate(PLACE)


def test_a_small_graph_is_one_picture_without_a_way_up(opened):
    page = opened(textbook()[0])
    assert not page.locator("#level").is_visible()
    assert page.locator("script#levels").count() == page.locator(".fold").count() == 0


def test_a_large_graph_opens_with_an_overview_in_which_the_step_lights_its_fold(page):
    assert page.locator(".fold").count() == 6
    assert place(page) == {"crumbs": ["loss"], "follow": True, "now": ["open Sequential / Block, 1 of 6"]}
    assert page.locator("#up").is_disabled()


def test_a_fold_is_opened_and_left_by_the_keyboard(page):
    fold = page.locator(".fold").nth(2)
    group = fold.get_attribute("data-group")
    fold.focus()
    page.keyboard.press("Enter")
    assert len(place(page)["crumbs"]) == 2
    assert not place(page)["follow"]  # the step is elsewhere
    assert page.evaluate("svg.contains(document.activeElement)")
    page.keyboard.press("Escape")
    assert place(page)["crumbs"] == ["loss"]
    assert page.evaluate("document.activeElement.dataset.group") == group
    page.keyboard.press("Escape")
    assert place(page)["crumbs"] == ["loss"]


def test_a_pinned_node_stays_pinned_in_the_other_levels_and_escape_lets_it_go_first(page):
    page.locator(".fold").nth(0).click()
    page.locator(".parameter rect.body").first.click()
    page.locator("#crumbs button").first.click()
    assert page.locator(".fold.pinned").count() == 1
    assert page.locator(".fold.off").count() == 0
    page.locator(".fold").nth(1).click()
    page.keyboard.press("Escape")
    assert (page.locator(".pinned").count(), len(place(page)["crumbs"])) == (0, 2)


def test_the_story_opens_the_level_of_each_step_and_its_numbers_are_there(page):
    """Each value and gradient of the graph is in the picture of its step, as the engine computes it."""
    seen = page.evaluate("""() => steps.map((step, k) => {
      go(k);
      const wire = wires.filter(([all]) => step.edge !== undefined && all.includes(step.edge)).map(([, g]) => g);
      const cell = cells.get(step.node), here = `.panel.value [data-cell="${cell}"]`;
      return {
        forward: step.phase === "forward", back: step.edge !== undefined, value: number(valueOf(step.node), cell, 3),
        own: cards.get(step.node)?.querySelector(here)?.textContent,
        lit: wire.length === 1 && wire[0].matches(".back.arrived"),
        share: wire[0]?.querySelector(".share").textContent,
        wanted: step.edge === undefined ? "" : number(arrays[edges[step.edge].share], cell, 3),
        seen: cardOf(step.node) !== undefined,
      };
    })""")
    assert len(seen) > 60
    assert all(step["own"] == step["value"] for step in seen if step["forward"])
    assert all(step["lit"] and step["share"] == step["wanted"] for step in seen if step["back"])
    assert all(step["seen"] for step in seen)


def test_without_following_the_picture_stays_and_the_fold_is_lit(page):
    page.locator("#follow").uncheck()
    places = page.evaluate(f"() => steps.map((_, k) => {{ go(k); return ({PLACE})(); }})")
    assert all(where["crumbs"] == ["loss"] and where["now"] for where in places)
    page.locator("#first").click()
    page.locator("#follow").check()
    assert len(place(page)["crumbs"]) == 2


def test_a_changed_number_is_seen_in_a_level_that_is_opened_later(page):
    page.fill("#value", "9")
    page.keyboard.press("Enter")
    page.evaluate("openLevel(levels.length - 1)")
    assert page.evaluate("""() => [...cards].every(([n, card]) => [...card.querySelectorAll(".panel.value [data-cell]")]
      .every((text) => text.textContent === number(valueOf(n), Number(text.dataset.cell), 3)))""")


def test_the_name_of_a_node_from_elsewhere_leads_there(page):
    page.locator(".fold").nth(1).click()
    before = place(page)["crumbs"]
    name = page.locator(".outside").get_attribute("aria-label").removeprefix("go to ")
    page.locator(".outside rect.body").click()
    assert place(page)["crumbs"] != before
    assert page.locator(f'.node[aria-label="pin {name}"]').count() == 1


def test_letters_are_never_smaller_than_twelve_pixels_and_the_page_does_not_jump(page):
    page.click("#whole")
    heights = set()
    for k in range(page.evaluate("levels.length")):
        page.evaluate(f"openLevel({k})")
        heights.add(page.locator("#picture").bounding_box()["height"])
        assert (
            page.evaluate(
                "zoom * Math.min(...[...svg.querySelectorAll('text')].map((x) => x.getAttribute('font-size')))"
            )
            >= 12
        )
    assert len(heights) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_level_is_accessible(blocks, opened, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(blocks[0], (390, 844), scheme, html=blocks[1])
    for k in (0, 1):
        page.evaluate(f"openLevel({k})")
        results = axe.run(page)
        assert results.violations_count == 0, results.generate_report()


def test_five_hundred_operations_are_a_page_of_few_pictures(opened):
    loss = many_operations(500)
    html = page_of(loss).html
    assert len(html) < 4_000_000
    assert html.count(".tg-graph rect.paper") == 2  # its style once, for light and dark
    page = opened(loss, html=html)
    assert page.evaluate("levels.length") < 40
    assert page.evaluate("drawn.filter(Boolean).length") == 1  # the others are read when they are looked at
    page.keyboard.press("End")
    assert len(place(page)["crumbs"]) > 1
