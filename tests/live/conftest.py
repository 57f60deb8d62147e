"""Live pages, opened in a browser from disk."""

import pytest

DESKTOP = (1280, 800)


@pytest.fixture
def opened_live(opened_html):
    """A function that opens a live page, given as a Page, from disk, with the network off and a silent console."""

    def open_page(live, size=DESKTOP, scheme="light", page=None, fragment=""):
        page = opened_html(live.html, size, scheme, page, fragment)
        page.wait_for_selector("html[data-ready]", state="attached")
        return page

    return open_page
