"""The parts of a report as HTML: the one place that writes tables, paragraphs and pages.

There are no colours here and no backgrounds: what is shown stands on light pages and on dark ones.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence

from tinygrad_ce.report.parts import Code, Formula, Heading, Part, Picture, Strong, Table, Words
from tinygrad_ce.report.words import escaped

_RULE = "1px solid rgba(128, 128, 128, 0.4)"  # seen on white and on black


def as_html(parts: Sequence[Part]) -> str:
    """The parts below each other as one block."""
    return block(*map(html_of, parts))


def block(*parts: str) -> str:
    """Pieces of HTML as one form."""
    return f'<div class="tinygrad-ce">{"".join(parts)}</div>'


def html_of(part: Part) -> str:
    """One part, its texts escaped."""
    if isinstance(part, Heading):
        return f'<p style="font-weight: bold; margin: 0.6em 0 0.3em">{escaped(part.text)}</p>'
    if isinstance(part, Table):
        return _table(part)
    if isinstance(part, Code):  # nbconvert's pages set `pre` as they set sentences
        style = "margin: 0.3em 0; line-height: 1.3; overflow-x: auto; font-family: monospace"
        return f'<pre style="{style}">{escaped(part.text)}</pre>'
    if isinstance(part, Formula):
        return f'<p style="margin: 0.3em 1em; font-family: monospace">{escaped(part.text)}</p>'
    if isinstance(part, Picture):
        return _picture(part)
    return f'<p style="margin: 0.3em 0">{escaped(part.text)}</p>'


def _table(part: Table) -> str:
    head = "".join(_cell("th", title, n in part.right, scope="col") for n, title in enumerate(part.header))
    head = f"<thead><tr>{head}</tr></thead>" if head else ""
    titled = 0 if part.header else 1
    body = "".join(f"<tr>{_row(row, titled, part.right, part.whole)}</tr>" for row in part.rows)
    shown = f'<table style="border-collapse: collapse; margin: 0.3em 0">{head}<tbody>{body}</tbody></table>'
    return f'<div style="overflow-x: auto">{shown}</div>'  # on a phone it is wider than the screen


def _row(row: Sequence[str], titled: int, right: Collection[int], whole: Collection[int]) -> str:
    cells = [_cell("th", cell, scope="row") for cell in row[:titled]]
    cells += [_cell("td", cell, n in right, n in whole) for n, cell in enumerate(row[titled:], start=titled)]
    return "".join(cells)


def _cell(tag: str, text: str, right: bool = False, whole: bool = False, scope: str = "") -> str:
    style = f"text-align: {'right' if right else 'left'}; vertical-align: top; padding: 0.2em 0.7em"
    style += f"; border-bottom: {_RULE}"
    if isinstance(text, Words):
        style += "; min-width: 15em" if len(text) > 30 else ""  # where the table is wider than the page
    elif tag == "td":
        style += f"; font-family: monospace; white-space: {'pre' if whole else 'pre-wrap'}"
    content = f"<b>{escaped(text)}</b>" if isinstance(text, Strong) else escaped(text)
    scoped = f' scope="{scope}"' if scope else ""
    return f'<{tag}{scoped} style="{style}">{content}</{tag}>'


def _picture(part: Picture) -> str:
    try:
        content = part.content if isinstance(part.content, bytes) else part.content()
    except (ImportError, ValueError) as error:
        return html_of(Code(str(error)))
    address = f"data:image/{part.kind};base64,{base64.b64encode(content).decode()}"
    style = "max-width: 100%; height: auto" + (f"; min-width: {part.least}px" if part.least else "")
    width = f' width="{part.width}"' if part.width else ""
    shown = f'<img src="{address}"{width} alt="{escaped(part.label)}" style="{style}"/>'
    return f'<div style="overflow-x: auto">{shown}</div>' if part.least else shown
