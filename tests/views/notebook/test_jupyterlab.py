"""JupyterLab in Chromium: the example notebook is run there, and looked at on a light and on a dark page.

TINYGRAD_CE_PICTURES=folder keeps the pictures, to be looked at.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from fresh import GUARD

EXAMPLE = Path(__file__).parents[3] / "examples" / "first_notebook.ipynb"
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
TALL = {"width": 1280, "height": 9000}  # so that all cells are there at once
IDLE = "document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status === 'idle'"
RUN = "[...document.querySelectorAll('.jp-InputArea-prompt')].filter(p => /\\[\\d+\\]/.test(p.textContent)).length"
CODE_CELLS = sum(cell["cell_type"] == "code" for cell in json.loads(EXAMPLE.read_text())["cells"])


@pytest.fixture(scope="module")
def server(jupyter_folders, tmp_path_factory):
    """The address of a JupyterLab whose folder holds the example; nobody else may reach it."""
    pytest.importorskip("jupyterlab")
    pytest.importorskip("ipykernel")
    folder = tmp_path_factory.mktemp("notebooks")
    shutil.copy(EXAMPLE, folder)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    options = (f"port={port}", "port_retries=0", f"root_dir={folder}", "log_level=ERROR")
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--IdentityProvider.token="]
    command += [
        "--LabApp.extension_manager=readonly",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    process = subprocess.Popen([*command, *(f"--ServerApp.{option}" for option in options)])
    address = f"http://127.0.0.1:{port}"
    try:
        yield answering(address, process)
    finally:
        process.terminate()
        process.wait()


def answering(address, process):
    """The address, once somebody answers there."""
    while process.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/api", timeout=GUARD).close()
        except OSError:
            continue
        return address
    raise AssertionError(f"JupyterLab has ended with {process.returncode}")


def opened(browser, server, jupyter_folders, scheme):
    """The notebook in JupyterLab, not run."""
    settings = jupyter_folders / "jupyterlab_settings_dir" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "themes.jupyterlab-settings").write_text(json.dumps({"theme": THEMES[scheme]}))
    page = browser.new_page(viewport=TALL, color_scheme=scheme)
    page.set_default_timeout(1000 * GUARD)
    page.goto(f"{server}/lab/tree/{EXAMPLE.name}?reset")
    page.wait_for_selector(".jp-KernelName [aria-label^='Python 3']")
    wait_for(page, IDLE)
    return page


def wait_for(page, condition):
    page.wait_for_function(condition, polling=100)  # a page that is not seen draws no frames to wait for


def run_all(page):
    page.click("text=Run >> nth=0")
    page.click("li[data-command='runmenu:run-all']")
    wait_for(page, f"{RUN} === {CODE_CELLS} && {IDLE}")
    wait_for(page, "document.querySelector('iframe[srcdoc]').contentDocument.readyState === 'complete'")


def keep_picture(page, name):
    if folder := os.environ.get("TINYGRAD_CE_PICTURES"):
        page.screenshot(path=f"{folder}/{name}.png")


@pytest.mark.parametrize("scheme", THEMES)
def test_the_example_as_its_reader_sees_it(browser, server, jupyter_folders, scheme):
    page = opened(browser, server, jupyter_folders, scheme)
    run_all(page)
    keep_picture(page, f"jupyterlab_{scheme}")
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert page.locator("progress").count() == 1
    for picture in page.locator(".jp-OutputArea-output img").all():
        across = page.evaluate("image => image.closest('.jp-OutputArea-output').clientWidth", picture.element_handle())
        assert picture.evaluate("image => image.complete && image.naturalWidth > 0")
        assert not picture.is_visible() or picture.bounding_box()["width"] <= across
    frame = page.frame_locator("iframe[srcdoc]")
    assert frame.locator(":root").evaluate("root => root.scrollHeight <= root.clientHeight")
    assert not page.locator("img[alt^='the graph of']").last.is_visible()  # that of the page with scripts
    inks = page.evaluate("[...document.querySelectorAll('.tinygrad-ce td')].map(cell => getComputedStyle(cell).color)")
    light = [sum(map(int, ink.removeprefix("rgb(").removeprefix("rgba(").split(",")[:3])) > 384 for ink in inks[:50]]
    assert set(light) == {scheme == "dark"}
    page.close()
