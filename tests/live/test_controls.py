"""Buttons, keys and fields of the live page, its curve, and what is said aloud."""

import math

import pytest
from live.training import STATE, tanh_page

WORDS = "document.getElementById('say').textContent"
BAD = {
    "rate": ["", "  ", "abc", "1e400", "-1", "NaN", "0x", "1,5", "Infinity"],
    "seed": ["", "1.5", "-3", "1e400", "one"],
    "width-1": ["", "0", "9", "2.5", "-1", "1e400"],
}


@pytest.fixture
def page(opened_live):
    return opened_live(tanh_page())


def tried(page, field, text):
    box = page.locator(f"#{field}")
    box.fill(text)
    box.press("Enter")
    return page.locator(f"#{field}-wrong")


@pytest.mark.parametrize("field", BAD)
def test_a_word_stands_beside_a_field_that_cannot_be_read_and_nothing_is_lost(page, field):
    page.evaluate("trainSteps(5); redraw()")
    before = page.evaluate(f"[{STATE}, session.settings, session.count]")
    for text in BAD[field]:
        wrong = tried(page, field, text)
        assert wrong.text_content(), text
        assert page.locator(f"#{field}").get_attribute("aria-invalid") == "true"
        page.evaluate("redraw()")
        assert page.locator(f"#{field}").input_value() == text
        assert page.evaluate(f"[{STATE}, session.settings, session.count]") == before, text
    assert tried(page, field, "3").text_content() == ""
    assert page.locator(f"#{field}").get_attribute("aria-invalid") == "false"


def test_every_setting_is_chosen_by_keyboard(page):
    def keys(field, *pressed):
        page.locator(f"#{field}").focus()
        for key in pressed:
            page.keyboard.press(key)

    keys("rate-slider", "Home")
    assert page.evaluate("session.settings.rate") == 1e-4
    assert page.locator("#rate").input_value() == "0.0001"
    keys("rate-slider", "End")
    assert page.evaluate("session.settings.rate") == 100
    keys("batch", "Home")
    assert page.evaluate("session.settings.batch") == 1
    assert page.locator("#batch").get_attribute("aria-valuetext") == "1 of 60 rows"
    keys("batch", "End")
    assert page.locator("#batch").get_attribute("aria-valuetext") == "all 60 rows"
    for field, value in (("optimizer", "Adam"), ("activation", "relu"), ("loss", "squared error")):
        page.locator(f"#{field}").select_option(value)
        assert page.evaluate(f"session.settings.{field}") == value
    page.locator("#depth").select_option("3")
    assert page.evaluate("session.settings.hidden") == [4, 4, 4]
    tried(page, "width-3", "7")
    assert page.evaluate("[session.settings.hidden, session.step.state.W4.length]") == [[4, 4, 7], 28]
    tried(page, "seed", "12")
    assert page.evaluate("session.settings.seed") == 12
    keys("own", "Enter")
    assert page.evaluate("session.key") == "own"
    for field, pressed in (("one", " "), ("inside", "Enter"), ("reset", " "), ("thousand", "Enter")):
        keys(field, pressed)
    page.wait_for_selector("#play:has-text('Train')")
    names = "[...document.querySelectorAll('#controls :is(button, input, select, summary)')].map((x) => x.tabIndex)"
    assert set(page.evaluate(names)) == {0}


def test_training_runs_and_pauses_and_says_the_figures_when_it_does(page):
    said = page.locator("#announced")
    page.locator("#play").press("Enter")
    assert "Pause" in page.locator("#play").text_content()
    page.wait_for_selector("#figures:has-text('step 3')")
    page.locator("#play").press("Enter")
    count = page.evaluate("session.count")
    assert count >= 3
    loss = page.evaluate("written(session.step.outputs.loss[0], 4)")
    assert said.text_content().startswith(f"Step {count}: loss {loss}, ")
    assert said.text_content().endswith("% right")
    page.evaluate("globalThis.shown = null; at('thousand').click(); shown = at('play').textContent")
    assert "Pause" in page.evaluate("shown")  # at once, not with the first frame
    page.wait_for_selector("#play:has-text('Train')")
    assert page.evaluate("session.count") == count + 1000
    assert said.text_content().startswith(f"Step {count + 1000}: ")


def test_the_live_regions_are_silent_from_frame_to_frame(page):
    page.evaluate(
        "globalThis.changes = 0; training.announced = Infinity;"
        "new MutationObserver(() => { changes += 1; }).observe(at('announced'), { childList: true });"
        "for (let i = 0; i < 20; i++) { trainStep(); redraw(); }"
    )
    assert page.evaluate("changes") == 0


def test_the_curve_shows_both_losses_and_what_guessing_costs(page):
    page.evaluate("trainSteps(100); redraw()")
    svg = page.locator("#curve-panel > svg")
    label = svg.get_attribute("aria-label")
    history = page.evaluate("session.history")
    assert label.startswith("Losses from step 0 to 100, first ")
    assert f"training rows: loss {history['train'][-1]:.4g}" in label
    assert f"test rows: loss {history['test'][-1]:.4g}" in label
    assert f"{round(100 * history['testAccuracy'][-1])} % right" in label
    assert page.locator("#curve-guess").text_content() == f"guessing: ln 2 = {math.log(2):.3f}"
    guess = page.evaluate(
        "document.querySelector('#curve-panel > svg path[stroke-dasharray=\"6 4\"]').getAttribute('d')"
    )
    height = float(guess.split(",")[1].split("H")[0])
    first = svg.locator('path[stroke="var(--mark)"]').get_attribute("d")
    steps, losses = [], []
    for point in first.removeprefix("M").split("L"):
        step, loss = map(float, point.split(","))
        steps.append(step)
        losses.append(loss)
    assert len(losses) == len(history["train"])
    # heights are proportional to losses: that of ln 2 tells the scale
    zero = 150 - 34
    for loss, drawn in zip(history["train"], losses, strict=True):
        assert drawn == pytest.approx(zero - (zero - height) * loss / math.log(2), abs=0.11)
    page.evaluate("chooseNetwork({ loss: 'squared error' })")
    assert not page.locator("#curve-guess").is_visible()


def test_a_combination_that_is_not_there_leaves_the_controls_as_they_were(page):
    page.evaluate("delete page.networks['relu/cross-entropy/2']")
    page.locator("#activation").select_option("relu")
    assert "no network of relu" in page.evaluate(WORDS)
    assert page.locator("#activation").input_value() == "tanh"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_controls_and_curve_are_accessible_and_fit(opened_live, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened_live(tanh_page(), (width, 800), scheme)
    page.locator("#keep > summary").click()
    tried(page, "rate", "fast")
    page.evaluate("choose({ rate: 1e9 }); trainSteps(3); redraw()")
    found = axe.run(page, context="header, #curve-panel").response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
