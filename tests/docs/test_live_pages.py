"""The live pages of the lessons: their own moments ask what is true, and each is solved by what it asks for."""

import math
import re
import sys
from math import log
from pathlib import Path

import pytest

import tinygrad_ce as tg

sys.path.append(str(Path(tg.__file__).parents[1] / "docs"))

import live_pages

DESKTOP = (1280, 800)


@pytest.fixture
def opened(opened_html):
    """A function that opens the page of a lesson at its first moment, with the right answer chosen."""

    def open_lesson(name):
        (moment,) = live_pages.LIVE[name].moments
        page = opened_html(live_pages.live_page(name).html, DESKTOP, fragment="?moment")
        assert page.locator("#moment-title").inner_text() == f"1. {moment.title}"
        if moment.answers:
            page.get_by_label(moment.answer, exact=True).check()
        else:
            page.get_by_label("Your number").fill(str(moment.answer))
        page.locator("#moment-guess").click()
        assert re.fullmatch(r"Not yet: [^{}*<>=]+\.", page.locator("#moment-verdict").inner_text())
        return page

    return open_lesson


def press(page, words):
    """Press a button of the moment."""
    page.locator(".moment-buttons").get_by_role("button", name=words, exact=True).click()


def train(page, steps):
    """Train so many steps, and draw."""
    page.evaluate(f"trainSteps({steps}); redraw()")


def mark_as(page, value):
    """Type a value for the marked weight."""
    page.evaluate(f"setWeight(session.selected.name, session.selected.index, {value})")


def loss_of(page):
    """The loss of the training rows."""
    return page.evaluate("session.step.outputs.loss[0]")


def solved(page):
    """Whether the page says so, and that the answer was right."""
    return page.locator("#moment-verdict").inner_text().startswith("✓ Solved. You foretold it.")


def test_who_knows_nothing_pays_ln_2(opened):
    page = opened("01_why_log")
    assert loss_of(page) == pytest.approx(log(2), rel=1e-12)
    assert live_pages.KNOWS_NOTHING.answer == pytest.approx(log(2), abs=5e-4)
    train(page, 300)
    assert solved(page)


def test_the_gradient_of_the_bias_is_a_quarter_and_ends_at_ln_3(opened):
    page = opened("03_p_minus_y")
    assert page.evaluate("MEASURES.gradient()") == live_pages.P_MINUS_Y.answer == -0.25
    mark_as(page, 1)
    assert not solved(page)
    mark_as(page, log(3))
    assert solved(page)


def test_one_output_costs_what_two_cost(opened):
    page = opened("05_binary")
    two = loss_of(page)
    press(page, "one output")
    assert loss_of(page) == pytest.approx(two, rel=1e-12)
    train(page, 20)
    assert solved(page)


def test_huge_logits_have_a_loss(opened):
    page = opened("06_exact")
    press(page, "weights × 2000")
    train(page, 10)
    assert 10 < loss_of(page) < 1e6
    assert solved(page)


def test_a_contradiction_has_a_floor(opened):
    page = opened("07_labels")
    train(page, 1000)
    assert log(2) / 2 < loss_of(page) < log(2) / 2 + 0.005
    assert live_pages.TWO_LABELS.answer == pytest.approx(log(2) / 2, abs=5e-4)
    assert solved(page)


def test_a_bias_in_front_of_batch_norm_is_useless(opened):
    page = opened("10_batch_norm")
    mark_as(page, 5)
    assert solved(page)


def test_the_naive_softmax_breaks_and_can_be_mended(opened):
    page = opened("11_nan")
    press(page, "weights × 2000")
    assert math.isnan(loss_of(page))
    assert "e = np.exp(z2)" in page.locator("#say").inner_text()
    press(page, "as drawn")
    train(page, 300)
    assert solved(page)
