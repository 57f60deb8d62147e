"""What holds for every test, and fixtures that several folders use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from tinygrad_ce.core import REGISTRY, primitive

settings.register_profile("no timing", deadline=None)  # a slow machine is no failure
settings.load_profile("no timing")


@pytest.fixture
def explosive() -> Iterator[Any]:
    """A primitive whose rule must not be called."""
    before = dict(REGISTRY)

    @primitive
    def explosive(x):  # type: ignore[no-untyped-def]
        return x * 1

    @explosive.vjp("x")
    def explosive_x(g, out, x):  # type: ignore[no-untyped-def]
        raise AssertionError("a gradient that nobody asked for")

    yield explosive
    REGISTRY.clear()
    REGISTRY.update(before)
