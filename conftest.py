"""What the examples in docstrings may use without importing it: np, tg, and the names of tg, tg.data and tg.nn."""

from typing import Any

import numpy as np
import pytest

import tinygrad_ce as tg


@pytest.fixture(autouse=True)
def names_for_doctests(doctest_namespace: dict[str, Any]) -> None:
    for module in (tg, tg.data, tg.nn):
        doctest_namespace.update({name: getattr(module, name) for name in module.__all__})
    doctest_namespace.update({"np": np, "tg": tg})
