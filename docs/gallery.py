"""The examples as pages: what sphinx-gallery needs is written from them, and what they write is shown."""

from __future__ import annotations

import ast
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import tinygrad_ce as tg

SECTION = re.compile(r'^print\("(?:\\n)?(\d+\. [^"]*)"\)$')
FOLDER = "pictures"  # into which the examples write, in the folder where they run
PAGES = "_pages/pages"  # what is in the first folder goes into the site as it is
THUMBNAILS = {"15_step_through": "images/step.png", "18_live": "images/live.png"}  # they write pages, no pictures
HEADER = """\
Examples
========

Short programs that print what they teach. Each page shows one as it ran when this site was built: its lines, what they
printed, and the pictures that they drew. They are in the folder `examples` of the repository.
"""


os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "warning")  # Sphinx would print what its workers log


def write_sources(examples: Path, folder: Path) -> None:
    """Write each example as sphinx-gallery reads it: a docstring with a heading, and a cell for each section.

    A section of an example begins with `print("2. What comes now")`; here that line becomes the cell's heading.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    write_thumbnail(folder / "thumbnail.png")
    (folder / "GALLERY_HEADER.rst").write_text(HEADER, encoding="utf-8")
    for path in sorted(examples.glob("[0-9]*.py")):
        (folder / path.name).write_text(as_cells(path.read_text(encoding="utf-8"), path.stem), encoding="utf-8")


def write_thumbnail(path: Path) -> None:
    """The picture of an example that draws none."""
    figure = Figure(figsize=(4, 2.8))
    figure.text(0.5, 0.5, r"$\frac{\partial L}{\partial w}$", fontsize=90, ha="center", va="center", color="#0b62c4")
    figure.savefig(path, transparent=True)


def as_cells(text: str, stem: str) -> str:
    """The text of an example as sphinx-gallery wants it. stem: of the file, as 04_digits."""
    docstring = ast.get_docstring(ast.parse(text)) or ""
    first, _, rest = docstring.partition("\n")
    subject = re.sub("^Learn (to |that |by )?", "", re.split("[:,]", first)[0])
    title = literal(f"{int(stem[:2])}. {subject[0].upper()}{subject[1:]}".rstrip("."))
    described = "\n\n".join([title + "\n" + "=" * len(title), literal(first), *commands(rest)])
    body = text.split('"""', 2)[2].lstrip("\n")
    lines = [f'"""\n{described}\n"""', ""]
    if stem in THUMBNAILS:
        lines += [f"# sphinx_gallery_thumbnail_path = {THUMBNAILS[stem]!r}", ""]
    for line in body.splitlines():
        found = SECTION.match(line)
        lines += cell(found[1]) if found else [line]
    return "\n".join(lines) + "\n"


def commands(described: str) -> list[str]:
    """How it is run, and what it needs, as paragraphs."""
    return [
        as_command(line) if line.startswith("Run it: ") else literal(line) for line in described.splitlines() if line
    ]


def as_command(line: str) -> str:
    """The line of a docstring that says how an example is run, as a block."""
    return ".. code-block:: text\n\n    " + line.removeprefix("Run it: ").replace(" [", "\n        [")


def cell(title: str) -> list[str]:
    """The comments that begin a cell. The number stays, so the heading is the one that the program prints."""
    heading = literal(ast.literal_eval(f'"{title}"'))
    return ["# %%", f"# {heading}", "# " + "-" * len(heading), ""]


def literal(text: str) -> str:
    """The text, with no sign of it read as markup."""
    return re.sub(r"([*_|\\])", r"\\\1", text)


def files_that_are_written(block: tuple[Any, ...], variables: dict[str, Any], settings: dict[str, Any]) -> str:
    """For sphinx-gallery: the pictures and pages that a cell has written, as reStructuredText that shows them."""
    paths = variables["image_path_iterator"]
    shown = []
    for path in sorted(Path(FOLDER).glob("*"), key=os.path.getmtime):
        if path.suffix in (".png", ".svg"):
            place = Path(next(paths)).with_suffix(path.suffix)
            shutil.move(path, place)
            address = place.relative_to(settings["src_dir"]).as_posix()
            shown.append(f".. image:: /{address}\n    :alt: {path.stem}\n    :class: sphx-glr-single-img\n")
        elif path.suffix == ".html":
            place = Path(settings["src_dir"]) / PAGES / path.name
            place.parent.mkdir(exist_ok=True, parents=True)
            shutil.move(path, place)
            shown.append(frame(path.name))
    return "\n".join(shown)


def frame(name: str) -> str:
    """A page that an example wrote, inside of the example's page."""
    address = f"../{Path(PAGES).name}/{name}"
    return (
        f'.. raw:: html\n\n    <iframe class="written" src="{address}" title="{name}" loading="lazy"></iframe>\n'
        f'    <p><a href="{address}">Open {name} alone</a></p>\n'
    )


def as_in_a_new_process(settings: dict[str, Any], file: str) -> None:
    """For sphinx-gallery: before an example runs, what another one may have set is as it was."""
    np.seterr(divide="warn", over="warn", under="ignore", invalid="warn")
    tg.seed(0)
