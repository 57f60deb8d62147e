"""A browser with the network off, for all tests of pages: conftest.py takes these fixtures up."""

import shutil

import pytest
from fresh import GUARD


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    alone = (
        *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--disable-quic", "--disable-background-networking"),
    )
    with playwright.sync_playwright() as started:
        yield started.chromium.launch(executable_path=chromium, args=list(alone), timeout=1000 * GUARD)


@pytest.fixture(scope="session")
def contexts(browser):
    """A function that gives a context of the browser, with the network off: one for each size and scheme."""
    known = {}

    def context(size, scheme):
        if (size, scheme) not in known:
            viewport = {"width": size[0], "height": size[1]}
            known[size, scheme] = browser.new_context(viewport=viewport, color_scheme=scheme, offline=True)
            known[size, scheme].set_default_timeout(1000 * GUARD)
        return known[size, scheme]

    return context


@pytest.fixture
def opened_html(contexts, tmp_path):
    """A function that opens the text of a page from disk; nothing may be said in the console, and nothing fetched."""
    pages, said = [], []

    def listening(page):
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda r: None if r.url.startswith(("file://", "data:", "blob:")) else said.append(r.url))
        pages.append(page)
        return page

    def open_page(html, size, scheme="light", page=None, fragment=""):
        page = page or listening(contexts(size, scheme).new_page())
        path = tmp_path / "page.html"
        path.write_text(html, encoding="utf-8")
        page.goto(path.as_uri() + fragment)
        if "data-deflated" in html:
            page.wait_for_selector("html[data-ready]", state="attached")
        return page

    yield open_page
    for page in pages:
        page.close()
    assert said == []
