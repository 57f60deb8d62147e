"""A page of its own: one HTML file that fetches nothing, of a skeleton, styles, parts and scripts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from string import Template

from tinygrad_ce.report.html import Writer
from tinygrad_ce.report.parts import Part, Section
from tinygrad_ce.report.words import escaped

ROOM = "tinygrad_ce.report"


@cache
def file_text(package: str, *names: str) -> str:
    """The texts of files that lie in a package, such as scripts and styles, one after the other."""
    return "\n".join(files(package).joinpath(name).read_text(encoding="utf-8").rstrip() for name in names)


def filled(skeleton: str, **parts: str) -> str:
    """A skeleton with its `$parts` filled in; what they hold is left as it is."""
    return Template(skeleton).substitute(parts)


def page_html(title: str, body: str, css: str, scripts: bool = False) -> str:
    """The text of an HTML file. body, css: as they stand in it. scripts: whether the scripts in its body may run."""
    allowed = "; script-src 'unsafe-inline'" if scripts else ""
    style = f"{file_text(ROOM, 'palette.css')}\n{css}"
    return filled(file_text(ROOM, "page.html"), title=escaped(title), css=style, body=body, scripts=allowed)


def as_page(
    title: str, sections: Sequence[Section], head: Sequence[Part] = (), heading: str = "", links: bool = False
) -> str:
    """The text of an HTML file with sections of parts.

    heading: at its top, if that is another text than the title. head: what stands below it. links: whether the
    sections are listed there. A script is on the page only where a table can be sorted.

    >>> "a &lt; b" in as_page("a run", [Section("data", [Section("a < b", [])])])
    True
    """
    writer = Writer(on_page=True)
    top, nav, main = f"<h1>{escaped(heading or title)}</h1>{writer.parts(head)}", "", ""
    for number, section in enumerate(sections, start=1):
        words = writer.words(section.title)
        nav += f'<a href="#part{number}">{words}</a>\n'
        main += f'<section aria-labelledby="part{number}">\n<h2 id="part{number}">{words}</h2>\n'
        main += f"{writer.parts(section.parts)}\n</section>\n"
    top += f'<nav aria-label="sections">{nav}</nav>' if links else ""
    body = f"<header>\n{top}\n</header>\n<main>\n{main}</main>"
    sortable = 'aria-sort="' in main  # what a user named has no quotation mark left
    body += f"\n<script>\n{file_text(ROOM, 'sorting.js')}\n</script>" if sortable else ""
    return page_html(title, body, file_text(ROOM, "parts.css"), sortable)
