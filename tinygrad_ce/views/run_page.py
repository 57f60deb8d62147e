"""The page of a trained run: sections of sentences, tables, pictures and programs, in one HTML file without a script.

A section holds what other views have built, which escape what they write as HTML; other text is escaped here, and
control characters that anything holds are shown as they are written in Python.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Any

from tinygrad_ce.report.html import as_html
from tinygrad_ce.report.parts import Heading, Sentence, Table
from tinygrad_ce.report.words import escaped, visible
from tinygrad_ce.views import plots
from tinygrad_ce.views.draw import Drawing


@dataclass(frozen=True)
class Code:
    """Lines that are shown as they are: a program, a summary. label: what they are, for those who cannot see them."""

    text: str
    label: str


@dataclass(frozen=True)
class Plot:
    """A matplotlib figure. label: what can be seen on it, for those who cannot."""

    figure: Any
    label: str


def run_page(title: str, sections: Mapping[str, Sequence[Any]]) -> str:
    """The text of an HTML file that fetches nothing.

    sections: under each heading Heading, Sentence and Table, Code, Plot, or what shows itself in a notebook as SVG or
    HTML.

    >>> "a &lt; b" in run_page("a run", {"data": [Sentence("a < b")]})
    True
    """
    headings = {f"part{number}": escaped(heading) for number, heading in enumerate(sections, start=1)}
    links = "\n".join(f'<a href="#{name}">{heading}</a>' for name, heading in headings.items())
    bodies = (
        f'<section aria-labelledby="{name}">\n<h2 id="{name}">{heading}</h2>\n{_joined(items)}\n</section>'
        for (name, heading), items in zip(headings.items(), sections.values(), strict=True)
    )
    template = Template(_file("run_page.html"))
    parts = {"title": escaped(title), "css": _file("run_page.css"), "links": links}
    return visible(template.substitute(parts, sections="\n".join(bodies)))


def _joined(items: Sequence[Any]) -> str:
    return "\n".join(_html(item) for item in items)


def _html(item: Any) -> str:
    if isinstance(item, (Heading, Sentence)):
        return as_html([item])
    if isinstance(item, Table):
        return _scrolled(as_html([item]), "a table")
    if isinstance(item, Code):
        return _scrolled(f"<pre>{escaped(item.text)}</pre>", item.label)
    if isinstance(item, Plot):
        width = round(96 * item.figure.get_size_inches()[0])  # CSS has 96 pixels to an inch
        return f'<img src="{_png(item.figure)}" width="{width}" alt="{escaped(item.label)}">'
    if isinstance(item, Drawing):
        return _scrolled(item.svg, "a picture")
    return _scrolled(item._repr_html_(), "a table")


def _scrolled(html: str, label: str) -> str:
    """What may be wider than the screen of a phone, in a frame that scrolls, by keys too."""
    return f'<div class="wide" tabindex="0" role="group" aria-label="{escaped(label)}">{html}</div>'


def _png(figure: Any) -> str:
    """A matplotlib figure as a data address."""
    file = io.BytesIO()
    plots.save(figure, file)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _file(name: str) -> str:
    return (files("tinygrad_ce.views") / name).read_text(encoding="utf-8").rstrip("\n")
