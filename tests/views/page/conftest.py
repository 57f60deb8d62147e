"""Pages of losses, opened in a browser from disk."""

import numpy as np
import pytest
from views.page.losses import DESKTOP, page_of, peculiar


@pytest.fixture(scope="session")
def losses():
    with np.errstate(all="ignore"):
        return peculiar()


@pytest.fixture
def opened(opened_html):
    """A function that opens the page of a loss from disk."""

    def open_page(loss, size=DESKTOP, scheme="light", html=None, page=None):
        return opened_html(html or page_of(loss).html, size, scheme, page)

    return open_page
