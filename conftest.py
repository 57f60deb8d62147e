"""What the examples in docstrings may use without importing it, and how the suite runs without a package.

TINYGRAD_CE_TEST_WITHOUT=numba,scipy: as where these cannot be had. What needs them is skipped.
"""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def hide(packages: list[str]) -> None:
    """Make each import of these packages fail, here and in all processes that tests start."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in packages:
        Path(folder, f"{name}.py").write_text(f'raise ModuleNotFoundError("{name} is hidden", name="{name}")\n')
    sys.path.insert(0, folder)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))


hide([name for name in os.environ.get("TINYGRAD_CE_TEST_WITHOUT", "").split(",") if name])

import tinygrad_ce as tg  # noqa: E402 (after what is hidden)


@pytest.fixture(autouse=True)
def names_for_doctests(doctest_namespace: dict[str, Any]) -> None:
    for module in (tg, tg.data, tg.nn):
        doctest_namespace.update({name: getattr(module, name) for name in module.__all__})
    doctest_namespace.update({"np": np, "tg": tg})
