"""The page in Chromium: what users have stumbled over."""

import numpy as np
import pytest
from views.page.losses import card_of, diamond, textbook, wanted

import tinygrad_ce as tg


def test_after_a_click_with_the_mouse_the_space_bar_plays(opened):
    loss, _ = textbook()
    page = opened(loss)
    card_of(page, "W0").click(position={"x": 5, "y": 5})
    assert page.locator("#unpin").is_visible()
    page.keyboard.press(" ")
    assert page.locator("#play").text_content() == "Pause"
    page.keyboard.press(" ")
    assert page.locator("#play").text_content() == "Play"
    assert page.locator("#unpin").is_visible()
    page.locator("#next").click()
    page.keyboard.press(" ")
    assert page.locator("#play").text_content() == "Pause"


def is_in_sight(page, locator, frame):
    inner, outer = locator.bounding_box(), page.locator(frame).bounding_box()
    return outer["x"] <= inner["x"] + inner["width"] / 2 <= outer["x"] + outer["width"] and (
        outer["y"] <= inner["y"] + inner["height"] / 2 <= outer["y"] + outer["height"]
    )


def test_the_node_of_the_step_stays_in_sight_while_zooming(opened):
    loss, _ = textbook()
    page = opened(loss)
    page.keyboard.press("End")
    for _ in range(5):
        page.locator("#larger").click()
        assert is_in_sight(page, page.locator(".node.now rect.body"), "#picture")
    page.locator("#whole").click()
    assert page.evaluate("zoom") == 1  # its letters have 12 pixels, and get no smaller
    assert is_in_sight(page, page.locator(".node.now rect.body"), "#picture")
    page = opened(diamond(), (1400, 950))
    page.locator("#whole").click()
    picture, svg = page.locator("#picture").bounding_box(), page.locator(".tg-graph").bounding_box()
    assert page.evaluate("zoom") > 1
    assert svg["width"] <= picture["width"]
    assert svg["height"] <= picture["height"]


@pytest.mark.parametrize("size", [(1280, 720), (1300, 800), (1920, 1080)])
def test_nothing_needs_to_be_scrolled_on_a_projector(opened, size):
    loss, _ = textbook()
    page = opened(loss, size)
    for number in range(12):
        page.evaluate(f"go({number})")
        for seen in ("#picture", "#controls", "#headline", ".filled >> nth=0", "pre span.now >> nth=0"):
            if page.locator(seen).count():
                box = page.locator(seen).bounding_box()
                assert box["y"] >= 0
                assert box["y"] + box["height"] <= size[1], seen


def test_a_partial_sum_that_is_wider_than_the_whole_has_room(opened):
    a = tg.Tensor(2.0, requires_grad=True, name="a")
    page = opened(a * a + np.sin(a))
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    text = card_of(page, "a").locator(".panel.gradient text[data-cell]")
    assert text.text_content() == f"{np.cos(2):.3g}"
    inner, card = text.bounding_box(), card_of(page, "a").locator("rect.body").bounding_box()
    assert card["x"] < inner["x"] < inner["x"] + inner["width"] < card["x"] + card["width"]


def test_a_range_that_is_wider_than_that_of_the_whole_has_room(opened):
    w = wanted(np.linspace(-1, 1, 64).reshape(64, 1), "w")
    page = opened((w * 12345678.0).sum() + (w * -12345678.0).sum() + w.sum())
    for number in range(page.evaluate("steps.length")):
        page.evaluate(f"go({number})")
        inner = card_of(page, "w").locator(".panel.gradient text").last.bounding_box()
        card = card_of(page, "w").locator("rect.body").bounding_box()
        assert inner["x"] + inner["width"] < card["x"] + card["width"]


OUTSIDE = """() => steps.flatMap((_, n) => {
    go(n);
    return [...svg.querySelectorAll(".node .panel text")].filter((text) => {
      const card = text.closest(".node").querySelector("rect.body").getBoundingClientRect();
      const place = text.getBoundingClientRect();
      return place.width && !(card.left < place.left && place.right < card.right);
    }).map((text) => [n, text.textContent]);
})"""


def test_the_numbers_of_each_step_stay_in_their_cards_in_letters_as_large_as_there_is_room_for(opened):
    w, b, h = wanted(0.5, "w"), wanted(-1.0, "b"), wanted(np.linspace(-1, 1, 25).reshape(5, 5), "h")
    page = opened((np.tanh(w * 2.0 + b) - 0.3) ** 2 + (h * 0.0012).sum() + h.sum() - (h * 0.0012).sum())
    assert page.evaluate(OUTSIDE) == []
    pair = wanted([1.0, 2.0], "pair")
    page = opened((pair * 12345.678).sum() - (pair * 12345.678).sum() + pair.sum())
    assert page.evaluate(OUTSIDE) == []
    sizes = "[...svg.querySelectorAll('.node .panel text')].map((text) => getComputedStyle(text).fontSize)"
    assert set(page.evaluate(sizes)) == {"12px"}  # the sum is short again


def test_the_lines_of_the_program_are_wrapped(opened):
    loss, _ = textbook()
    page = opened(loss, (1280, 720))
    assert page.evaluate("document.querySelector('pre').scrollWidth <= document.querySelector('pre').clientWidth")


def test_the_space_bar_plays_after_a_click_on_a_cell_but_belongs_to_what_the_keyboard_has_reached(opened):
    page = opened(textbook()[0])
    page.locator("#detail td button").nth(2).click()
    page.keyboard.press(" ")
    assert page.text_content("#play") == "Pause"
    page.keyboard.press(" ")
    page.focus("summary")
    page.keyboard.press(" ")
    assert page.evaluate("document.querySelector('details').open")
    assert page.text_content("#play") == "Play"
    page.locator("#detail td button").nth(2).focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.matches('#detail td button')")
