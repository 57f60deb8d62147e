"""What the examples in docstrings may use without importing it, and how the suite runs without Numba or SciPy.

TINYGRAD_CE_TEST_WITHOUT=numba,scipy: as where these cannot be had. Tests of compiled code are skipped; those that
compare with SciPy, as they compare with other libraries, still do: it is hidden from the package and from Numba only.
"""

import atexit
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

STUB = 'raise ModuleNotFoundError("it is hidden", name="numba")\n'
SILENCE = """
import warnings

warnings.filterwarnings("ignore", "Numba is not installed")  # said in each process; examples run with -W error
"""
WITHOUT_SCIPY = """
import builtins

imported = builtins.__import__


def import_for_others(name, globals=None, *rest, **more):
    importer = (globals or {}).get("__name__", "").split(".")[0]
    if name.split(".")[0] == "scipy" and importer in ("tinygrad_ce", "numba"):
        raise ModuleNotFoundError("it is hidden", name="scipy")
    return imported(name, globals, *rest, **more)


builtins.__import__ = import_for_others
"""


def hide(packages: list[str]) -> None:
    """Make the package's imports of these fail, here and in all processes that tests start."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    at_start = ""
    if "numba" in packages:
        Path(folder, "numba.py").write_text(STUB)
        at_start += SILENCE
    if "scipy" in packages:
        at_start += WITHOUT_SCIPY
        exec(WITHOUT_SCIPY, {})
    Path(folder, "sitecustomize.py").write_text(at_start)  # Python runs it when it starts
    sys.path.insert(0, folder)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))


# Texts are as wide and as plain as where there is no terminal, whatever the terminal is in which the suite runs.
os.environ |= {"COLUMNS": "80", "LINES": "24", "TERM": "xterm"}
for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
    os.environ.pop(name, None)

HIDDEN = [name for name in os.environ.get("TINYGRAD_CE_TEST_WITHOUT", "").split(",") if name]
if HIDDEN:
    hide(HIDDEN)
WITHOUT_NUMBA = "numba" in HIDDEN or importlib.util.find_spec("numba") is None
# These import Numba at their tops, so without it nobody imports them, not for their examples either.
collect_ignore = ["tinygrad_ce/kernels/gemm.py", "tests/program/loops_as_python.py"] if WITHOUT_NUMBA else []

import tinygrad_ce as tg  # noqa: E402 (after what is hidden)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Without Numba, a test that asks for compiled steps hears that they run as NumPy, and has nothing to test."""
    try:
        return (yield)
    except (UserWarning, AssertionError) as error:  # here, or in a process whose words the test shows
        if WITHOUT_NUMBA and "cannot be compiled: Numba is not" in str(error):
            pytest.skip("it compiles a step, and Numba is not there")
        raise


if WITHOUT_NUMBA:
    from tinygrad_ce.kernels import jit

    jit._warned = True  # the package says once that it is slower, whichever test is the first


@pytest.fixture(autouse=True, scope="session")
def names_for_doctests(doctest_namespace: dict[str, Any]) -> None:
    for module in (tg, tg.data, tg.nn):
        doctest_namespace.update({name: getattr(module, name) for name in module.__all__})
    doctest_namespace.update({"np": np, "tg": tg})
