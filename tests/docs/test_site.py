"""The site that was built: no link leads nowhere, every public name is in the reference, search works offline.

It is asked where TINYGRAD_CE_SITE names the folder: CI builds the site first.
"""

import os
import re
import sys
import zlib
from functools import reduce
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from page_blocks import DOCS
from test_house import NAMES

import tinygrad_ce as tg
from tinygrad_ce.report.parts import Report

sys.path.append(str(DOCS))

from check_links import broken_links

SITE = Path(os.environ.get("TINYGRAD_CE_SITE", "nowhere")).resolve()
built = pytest.mark.skipif(not SITE.is_dir(), reason="TINYGRAD_CE_SITE names no folder with the built site")
MODULES = ("nn", "losses", "optim", "data", "train", "export", "ops", "assignments", "check", "sklearn", "views")
SITES = ("390 light", "390 dark", "1280 light", "1280 dark")


def documented():
    """The names in the index that other sites would read."""
    text = zlib.decompress((SITE / "objects.inv").read_bytes().split(b"zlib.\n", 1)[1]).decode()
    return {line.split()[0] for line in text.splitlines() if " py:" in line}


def public():
    """The names of the package, of its modules, and of the classes that the rules of the house list."""
    names = {*NAMES, *tg.__all__} | {f"{module}.{name}" for module in MODULES for name in module_of(module).__all__}
    return {f"tinygrad_ce.{name}" for name in names if not isinstance(value_of(f"tinygrad_ce.{name}"), ModuleType)}


def module_of(name):
    """A module of the package; that for scikit-learn is there only once it is imported."""
    return import_module(f"tinygrad_ce.{name}")


def subclasses(cls):
    """All that are derived from a class, once the modules that define the answers of views are imported."""
    for module in ("audit.findings", "explain.explanation", "nan.diagnosis", "surface.landscape"):
        module_of(f"views.{module}")
    return {*cls.__subclasses__(), *(c for child in cls.__subclasses__() for c in subclasses(child))}


def value_of(name):
    """What a name of the package, with dots, stands for."""
    return reduce(getattr, name.split(".")[1:], tg)


@built
def test_no_link_leads_nowhere_and_nothing_is_fetched():
    assert [*broken_links(SITE)] == []


@built
def test_every_public_name_is_on_a_page_of_the_reference():
    elsewhere = {"tinygrad_ce.History": "train.History", "tinygrad_ce.NotFiniteError": "train.NotFiniteError"}
    elsewhere |= {"tinygrad_ce.History.plot": "train.History.plot", "tinygrad_ce.train.Trainer": "Trainer"}
    elsewhere |= {"tinygrad_ce.grade": "grading.grade"}
    for name, other in elsewhere.items():
        assert value_of(name) is value_of(f"tinygrad_ce.{other}")
    assert {f"tinygrad_ce.{elsewhere.get(n, n.removeprefix('tinygrad_ce.'))}" for n in public()} - documented() == set()


@built
def test_the_report_that_a_public_function_gives_is_on_a_page_of_the_reference():
    functions = [getattr(tg, name) for name in tg.__all__ if not isinstance(getattr(tg, name), (ModuleType, type))]
    given = {str(getattr(f, "__annotations__", {}).get("return")) for f in functions}
    reports = {cls.__name__ for cls in subclasses(Report)} & given
    assert reports >= {"Audit", "Diagnosis", "Explanation", "Surface"}
    assert reports - {name.rpartition(".")[2] for name in documented()} == set()


@built
def test_every_command_is_in_the_reference():
    from tinygrad_ce.cli import COMMANDS

    page = (SITE / "reference" / "command.html").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert re.search(rf"Usage: tinygrad-ce {command.__name__.replace('_', '-')} ", page)


@built
def test_no_page_of_the_reference_shows_markup_or_leaves_a_default_unread():
    for page in sorted((SITE / "reference").rglob("*.html")):
        text = re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))
        assert re.findall(r".*(?::(?:ref|func|class|term|param|raises|ivar)\b.*:|~\w+\.|<factory>|``).*", text) == [], (
            page
        )


@built
def test_what_is_quoted_can_be_typed():
    assert "pip install &quot;tinygrad_ce[data,cluster]&quot;" in (
        SITE / "gallery/17_search_on_a_cluster.html"
    ).read_text(encoding="utf-8")
    assert "tinygrad-ce exercise NAME --out" in (SITE / "gallery/19_an_exercise_for_a_class.html").read_text(
        encoding="utf-8"
    )


@built
def test_search_finds_a_loss_without_a_network(contexts):
    page = contexts((1280, 800), "light").new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((SITE / "index.html").as_uri())
    page.fill("input[name=q]", "softmax_cross_entropy")
    page.press("input[name=q]", "Enter")
    page.wait_for_selector("#search-results li a")
    addresses = [link.get_attribute("href") for link in page.query_selector_all("#search-results li a")]
    assert any("reference/losses.html" in address for address in addresses)
    assert [url for url in asked if not url.startswith("file:")] == []
    page.close()


@built
@pytest.mark.parametrize("size", SITES)
@pytest.mark.parametrize(
    "name", ["index", "start", "howto/see", "reference/losses", "reference/ops/power", "gallery/03_moons", "how/engine"]
)
def test_a_page_fits_its_window(contexts, name, size):
    width, scheme = size.split()
    page = contexts((int(width), 800), scheme).new_page()
    page.goto((SITE / f"{name}.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= int(width)
    page.close()
