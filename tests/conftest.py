"""What holds for every test, and fixtures that several folders use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from tinygrad_ce.core import REGISTRY, Primitive, primitive

settings.register_profile("no timing", deadline=None)  # a slow machine is no failure
settings.load_profile("no timing")


@pytest.fixture
def registry() -> Iterator[dict[str, Primitive]]:
    """The registry, put back as it was after the test."""
    before = dict(REGISTRY)
    yield REGISTRY
    REGISTRY.clear()
    REGISTRY.update(before)


@pytest.fixture
def explosive(registry: dict[str, Primitive]) -> Any:
    """A primitive whose rule must not be called."""

    @primitive
    def explosive(x):  # type: ignore[no-untyped-def]
        return x * 1

    @explosive.vjp("x")
    def explosive_x(g, out, x):  # type: ignore[no-untyped-def]
        raise AssertionError("a gradient that nobody asked for")

    return explosive
