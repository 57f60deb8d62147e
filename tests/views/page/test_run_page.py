"""The page of a run: text is escaped, and a browser shows it in light and dark, on a phone and on a screen."""

import numpy as np
import pytest
from views.page.losses import DESKTOP, PHONE

import tinygrad_ce as tg
from tinygrad_ce.report.page import as_page
from tinygrad_ce.report.parts import Code, Heading, Picture, Section, Sentence, Table

HOSTILE = "<img src=x onerror=alert(1)>\x1b[2J$title&amp;\ud800"


@pytest.fixture(scope="module")
def page():
    """A page with everything that may stand on one, and with a hostile name wherever a text is."""
    pytest.importorskip("matplotlib")
    tg.seed(0)
    moons = tg.data.moons(64, seed=0)
    model = tg.nn.Sequential(tg.nn.Dense(2, 16), tg.nn.Tanh(), tg.nn.Dense(16, 2))
    trainer = tg.Trainer(model, tg.nn.SoftmaxCrossEntropy(), tg.optim.Adam(model.parameters()))
    trainer.fit(moons, epochs=2, seed=0, compile=False)
    cost = trainer.loss(model(moons.X), moons.y)
    cost.backward()
    wide = tuple(f"column {n}" for n in range(30))
    curves = Picture(trainer.history.plot()._repr_png_, HOSTILE)
    sections = [
        Section(
            "The data",
            [
                Heading(HOSTILE),
                Sentence(HOSTILE * 9),
                Table([(HOSTILE, *wide[1:])], wide, label=HOSTILE),
                Code(HOSTILE),
            ],
        ),
        Section(HOSTILE, [curves, Picture(tg.draw(cost, HOSTILE).svg.encode(), HOSTILE, "svg+xml")]),
        Section(
            "The audit",
            [*tg.audit(model, cost, trainer.optimizer).parts, *tg.explain(model.layers[0].W, cost).parts],
        ),
        Section("The program", [Code("def step():\n" + "    x = np.tanh(x)  # a long line " * 20)]),
    ]
    return as_page(HOSTILE, sections, links=True)


def test_no_text_becomes_an_element_or_a_control_code(page):
    assert "<img src=x" not in page
    assert "\x1b" not in page
    assert r"\x1b[2J" in page  # written out, as Python does
    assert "$title" in page
    assert page.encode()
    assert page == page.strip()


@pytest.mark.parametrize("size", [PHONE, (1280, 800), DESKTOP])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen_in_light_and_dark(opened, page, size, scheme):
    shown = opened(None, size, scheme, html=page)
    assert shown.evaluate("document.documentElement.scrollWidth") <= size[0]
    paper, ink = shown.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
    assert (paper, ink) == {
        "light": ("rgb(255, 255, 255)", "rgb(27, 31, 36)"),
        "dark": ("rgb(13, 17, 23)", "rgb(230, 237, 243)"),
    }[scheme]
    image = shown.evaluate("(i => [i.complete, i.naturalWidth])(document.querySelector('img'))")
    assert image[0]
    assert image[1] > 500


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(opened, page, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for size in (PHONE, DESKTOP):
        results = axe.run(opened(None, size, scheme, html=page))
        assert results.violations_count == 0, results.generate_report()


def test_its_links_lead_to_its_sections(opened, page):
    shown = opened(None, html=page)
    targets = shown.evaluate("[...document.querySelectorAll('nav a')].map(a => document.querySelector(a.hash).tagName)")
    assert targets == ["H2"] * 4
    assert np.all(
        shown.evaluate("[...document.querySelectorAll('section')].map(s => s.getAttribute('aria-labelledby'))")
    )
