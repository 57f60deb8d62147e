"""Every test of explain runs in a terminal of a known width."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def a_wide_terminal(monkeypatch):
    """The text is fitted to the terminal; without one, as in CI, its width is not ours to know."""
    monkeypatch.setenv("COLUMNS", "100")
