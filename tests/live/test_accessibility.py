"""The live page for everybody: axe finds nothing, all is done by keys, forced colours keep the marks."""

import json

import pytest

import tinygrad_ce as tg
from tinygrad_ce.live import live
from tinygrad_ce.report.page import file_text

WORDS = json.loads(file_text("tinygrad_ce.views.browser", "words.json"))
PHONE, DESKTOP, PROJECTOR = (390, 844), (1280, 800), (1280, 720)


@pytest.fixture(scope="module")
def of_moons():
    tg.seed(0)
    model = tg.nn.Sequential(tg.nn.Dense(2, 4), tg.nn.Tanh(), tg.nn.Dense(4, 2))
    trainer = tg.Trainer(model, tg.losses.softmax_cross_entropy, tg.optim.SGD(model.parameters(), lr=0.3))
    return live(trainer, tg.data.moons(24, seed=0))


def violations(page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    found = axe.run(page).response["violations"]
    return {one["id"]: [node["html"][:200] for node in one["nodes"]] for one in found}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_axe_finds_nothing_on_the_page_and_in_a_moment(opened_live, of_moons, size, scheme):
    page = opened_live(of_moons, size, scheme)
    assert violations(page) == {}
    page.locator("#moment-list button").first.click()
    assert violations(page) == {}
    page.locator("#moment .word").first.click()
    assert violations(page) == {}


def test_tab_reaches_every_control_and_keys_operate_it(opened_live, of_moons):
    page = opened_live(of_moons, DESKTOP)
    reached = []
    for _ in range(150):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.getAttribute('role')"))
        if "word-list" in reached:
            break
    buttons = page.evaluate(
        """[...document.querySelectorAll("button, select, input, summary")]
        .filter((one) => one.checkVisibility() && one.tabIndex >= 0 && !one.disabled && one.type !== "radio")
        .map((one) => one.id).filter(Boolean)"""
    )
    assert {*buttons} - {*reached} == set()
    before = page.locator("#figures").inner_text()
    page.locator("#one").focus()
    page.keyboard.press("Enter")
    assert page.locator("#figures").inner_text() != before
    page.locator("#moment-list button").first.focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "moment-title"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator("#word-card").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#word-card").is_hidden()
    assert page.evaluate("document.activeElement.className") == "word"


def test_every_word_in_the_first_sentence_says_its_line(opened_live, of_moons):
    page = opened_live(of_moons, PHONE)
    page.locator("#help").click()
    lines = {word.lower(): line for word, line in WORDS.items()}
    for word in page.locator("#welcome p .word").all():
        word.click()
        shown = page.locator("#word-card").inner_text().split("\n")
        assert lines[shown[0].lower()] == shown[-1]
        box = page.locator("#word-card").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE[0]
        page.keyboard.press("Escape")


def test_the_first_sentence_goes_and_comes_back(opened_live, of_moons):
    page = opened_live(of_moons, DESKTOP)
    assert page.locator("#in-short").is_visible()
    page.locator("#help").click()
    page.locator("#welcome-close").click()
    assert page.locator("#welcome").is_hidden()
    assert page.evaluate("document.activeElement.id") == "help"
    page.keyboard.press("Enter")
    assert page.locator("#welcome").is_visible()
    assert page.locator("#welcome .legend li").count() == 6


def test_what_matters_first_is_visible_without_scrolling(opened_live, of_moons):
    page = opened_live(of_moons, (1280, 800))
    for panel in ("#play", "#points", "#neurons", "#curve-panel > svg", "#verdicts-panel li >> nth=0"):
        box = page.locator(panel).bounding_box()
        assert box["y"] + box["height"] <= 800, panel
    network, curve = (page.locator(panel).bounding_box() for panel in ("#network-panel", "#curve-panel"))
    assert curve["x"] == network["x"]
    assert network["y"] + network["height"] <= curve["y"] < network["y"] + network["height"] + 20


def test_a_lecture_is_read_from_the_last_row(opened_live, of_moons):
    page = opened_live(of_moons, PROJECTOR, fragment="#lecture")
    smallest = page.evaluate(
        """Math.min(...[...document.querySelectorAll("button, label, p, h2, li, select, pre")]
        .filter((one) => one.checkVisibility() && one.textContent.trim())
        .map((one) => parseFloat(getComputedStyle(one).fontSize)))"""
    )
    assert smallest >= 22
    assert page.evaluate("document.documentElement.scrollWidth") <= PROJECTOR[0]
    assert page.locator("#below").is_hidden()
    page.locator("#lecture-panel").select_option("below")
    assert page.locator("#program-panel").is_visible()
    page.locator("#lecture").click()
    assert page.locator("#verdicts-panel").is_visible()


def test_forced_colours_keep_the_marks_and_printing_is_whole(opened_live, of_moons):
    page = opened_live(of_moons, DESKTOP)
    page.emulate_media(forced_colors="active")
    borders = page.locator(".swatch").evaluate_all("(all) => all.map((one) => getComputedStyle(one).borderTopStyle)")
    assert {*borders} == {"solid", "dotted", "dashed"}
    page.emulate_media(forced_colors="none", media="print")
    for panel in page.locator("main section").all():
        assert panel.evaluate("(one) => one.scrollWidth <= one.clientWidth + 1"), panel.get_attribute("id")


def test_reduced_motion_trains_and_what_is_announced_is_not_every_frame(opened_live, of_moons):
    page = opened_live(of_moons, DESKTOP)
    page.emulate_media(reduced_motion="reduce")
    page.evaluate(
        """() => { window.announcements = 0;
        const announced = announce, start = performance.now();
        announce = (time) => { announcements += 1; announced(time); };
        requestAnimationFrame = () => 0; // the frames come from here: 60 a second for 12 seconds
        at("play").click();
        for (let frame = 0; frame < 720; frame++) runFrame(start + frame * 1000 / 60);
        at("play").click(); }"""
    )
    assert page.evaluate("session.count") == 720
    assert page.evaluate("announcements") <= 4
