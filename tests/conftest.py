"""What holds for every test, and fixtures that several folders use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import browser, contexts, opened_html  # noqa: F401  (one browser for all folders)
from hypothesis import HealthCheck, settings

import tinygrad_ce
from tinygrad_ce.core import REGISTRY, Primitive, primitive

collect_ignore_glob = ["peers/*"]  # scripts that are run by hand, and need what a newcomer does not have

# Slowness is no failure, and luck no verdict: each run has the same examples (--hypothesis-profile=default: others).
slow = [HealthCheck.too_slow]
settings.register_profile("same", deadline=None, derandomize=True, database=None, suppress_health_check=slow)
settings.load_profile("same")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that open pages, so that they can be run where there is a browser: `pytest -m browser`."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


# Processes that tests start, in whatever folder, import the package that is tested, not another that is installed.
_tested = str(Path(tinygrad_ce.__file__).parents[1])
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_tested, os.environ.get("PYTHONPATH")]))


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


@pytest.fixture(scope="session")
def jupyter_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Jupyter's and IPython's folders are new ones: no settings of the user's, and none are left behind."""
    folder = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(folder / name.lower()))
        for name in ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"):
            patch.setenv(name, str(folder / name.lower()))
        patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        patch.delenv("MPLBACKEND", raising=False)
        yield folder
