"""A page of its own: one HTML file that fetches nothing, of a skeleton, styles, parts and scripts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from string import Template

from tinygrad_ce.report.html import OnPage
from tinygrad_ce.report.parts import Part, Section, Table
from tinygrad_ce.report.words import escaped

ROOM = "tinygrad_ce.report"


@cache
def file_text(package: str, name: str) -> str:
    """The text of a file that lies in a package, such as a script or a style."""
    return files(package).joinpath(name).read_text(encoding="utf-8").rstrip()


def files_text(package: str, *names: str) -> str:
    """The texts of several files, one after the other."""
    return "\n".join(file_text(package, name) for name in names)


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
    writer = OnPage()
    names = {f"part{number}": section for number, section in enumerate(sections, start=1)}
    listed = "\n".join(f'<a href="#{name}">{writer.words(section.title)}</a>' for name, section in names.items())
    top = [f"<h1>{escaped(heading or title)}</h1>", writer.parts(head)]
    top += [f'<nav aria-label="sections">{listed}</nav>'] if links else []
    main = "".join(writer.section(section, name) for name, section in names.items())
    body = f"<header>\n{''.join(top)}\n</header>\n<main>\n{main}</main>"
    sortable = any(isinstance(part, Table) and part.sortable for part in _inner(sections))
    body += f"\n<script>\n{file_text(ROOM, 'sorting.js')}\n</script>" if sortable else ""
    return page_html(title, body, file_text(ROOM, "parts.css"), sortable)


def _inner(parts: Sequence[Part]) -> Iterator[Part]:
    for part in parts:
        yield part
        yield from _inner(getattr(part, "parts", ()))
