"""The parts of a report as HTML: the one place that writes tables, paragraphs and pages.

In a notebook elements carry their own styles, without colours or backgrounds: they stand on light pages and on dark
ones. On a page of ours the same elements have classes. What may be wider than its page scrolls, by keys too.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence

from tinygrad_ce.report import parts
from tinygrad_ce.report.parts import SIGNS, Line, Part, Picture, Table
from tinygrad_ce.report.words import escaped

STYLES = {  # of a notebook, by the kind of an element
    "heading": "font-weight: bold; margin: 0.6em 0 0.3em",
    "sentence": "margin: 0.3em 0",
    "formula": "margin: 0.3em 1em; font-family: monospace",
    "code": "margin: 0.3em 0; line-height: 1.3; font-family: monospace",  # nbconvert sets it as words
    "line": "display: block",
    "place": "display: inline-block; min-width: 3em",
    "wide": "overflow-x: auto",
    "table": "border-collapse: collapse; margin: 0.3em 0",
    "caption": "text-align: left",
    "left": "text-align: left",
    "number": "text-align: right",
    "cell": "vertical-align: top; padding: 0.2em 0.7em; border-bottom: 1px solid rgba(128, 128, 128, 0.4)",
    "long": "min-width: 15em",  # where the table is wider than the page
    "wrapped": "font-family: monospace; white-space: pre-wrap",
    "whole": "font-family: monospace; white-space: pre",
    "beside": "display: flex; flex-wrap: wrap; gap: 0 1.5em",
    "mark": "font-weight: bold",
}
CLASSES = {  # of a page, whose style knows the other kinds by their elements
    *("formula", "line", "place", "wide", "number", "words", "long", "whole", "beside", "next", "soft", "sortable"),
    *("mark", "right", "wrong", "follows", "missing", "off"),
}
TAGS = {parts.Term: "code", parts.Strong: "b", parts.Name: "bdi"}
SHORT = 24  # letters of a line of a cell, as in "-0.125 … 0.5": so few are not broken into lines
LONG = 30  # letters: words that need some room
RIGHT_TO_LEFT = re.compile(r"\w*[\u0590-\u08ff]\w*")  # such a name would turn the line around it, too


def as_html(shown: Iterable[Part], above: str = "") -> str:
    """The parts below each other as one block for a notebook. above: HTML that stands in it above them."""
    return f'<div class="tinygrad-ce">{above}{Writer().parts(shown)}</div>'


class Writer:
    """Writes parts for a notebook, with their own styles; on_page: for a page of ours, which has a style sheet."""

    def __init__(self, on_page: bool = False) -> None:
        self.on_page = on_page

    def look(self, *kinds: str) -> str:
        """What an element of these kinds looks like, as an attribute."""
        classes = " ".join(kind for kind in kinds if kind in CLASSES)
        styles = "; ".join(STYLES[kind] for kind in kinds if kind in STYLES)
        attribute, looks = ("class", classes) if self.on_page else ("style", styles)
        return f' {attribute}="{looks}"' if looks else ""

    def scrolled(self, content: str, label: str) -> str:
        """A frame that scrolls what is wider than the page. label: what it is, in words."""
        return f'<div{self.look("wide")} tabindex="0" role="group" aria-label="{escaped(label)}">{content}</div>'

    def parts(self, shown: Iterable[Part]) -> str:
        """Parts below each other."""
        return "".join(map(self.part, shown))

    def part(self, part: Part) -> str:
        """One part, its texts escaped."""
        match part:
            case parts.Heading(text):
                tag = "h3" if self.on_page else "p"
                return f"<{tag}{self.look('heading')}>{self.words(text)}</{tag}>"
            case parts.Sentence(text, kind=kind):
                return f"<p{self.look('sentence', kind)}>{self.words(text)}</p>"
            case parts.List(items):
                return f"<ul>{''.join(f'<li>{self.words(item)}</li>' for item in items)}</ul>"
            case parts.Formula(text):
                return f"<p{self.look('formula')}>{escaped(text)}</p>"
            case parts.Code(text):
                return self.scrolled(f"<pre{self.look('code')}>{escaped(text)}</pre>", "a text")
            case parts.Listing(lines):
                return self.scrolled(f"<pre{self.look('code')}>{''.join(map(self.line, lines))}</pre>", "a program")
            case parts.SideBySide(inner):
                return f"<div{self.look('beside')}>{self.parts(inner)}</div>"
            case parts.Section(title, inner):
                return self.parts([parts.Heading(title), *inner])
            case Table():
                return self.table(part)
            case Picture():
                return self.picture(part)

    def words(self, text: str) -> str:
        """A text of a sentence or a cell, with what is set off in it."""
        content = escaped(text)
        match text:
            case parts.Phrase():
                return "".join(map(self.words, text.pieces)).replace("\n", "<br/>")
            case parts.WrongNumber():
                unseen = '<span class="seen-by-readers"> wrong</span>'  # the sign itself is written by the page's style
                return content + (unseen if self.on_page else f" {SIGNS['wrong']}")
            case parts.Link():
                return f'<a href="{escaped(text.address)}"><bdi>{content}</bdi></a>'
            case parts.Mark():
                return f"<span{self.look('mark', text.kind)}>{content}</span>"
        tag = TAGS.get(type(text))
        return f"<{tag}>{content}</{tag}>" if tag else content

    def line(self, line: Line) -> str:
        """A line of code with its number and what is said of it."""
        place = f"<span{self.look('place')}>{line.number}</span>" if line.number else ""
        text = RIGHT_TO_LEFT.sub(r"<bdi>\g<0></bdi>", escaped(line.text))
        remark = f" <em>← {escaped(line.remark)}</em>" if line.remark else ""
        return f"<span{self.look('line', line.mark)}>{place}{text}{remark}</span>"

    def table(self, part: Table) -> str:
        """A table, which scrolls where it is wider than the screen."""
        caption = f"<caption{self.look('caption')}>{escaped(part.caption)}</caption>" if part.caption else ""
        head = "".join(self.title(part, n) for n in range(len(part.header)))
        head = f"<thead><tr>{head}</tr></thead>" if head else ""
        body = "".join(f"<tr>{self.row(part, row)}</tr>" for row in part.rows)
        foot = f"<tfoot><tr>{self.row(part, part.footer)}</tr></tfoot>" if part.footer else ""
        look = self.look("table", "sortable" if part.sortable else "")
        return self.scrolled(f"<table{look}>{caption}{head}<tbody>{body}</tbody>{foot}</table>", part.label)

    def title(self, part: Table, n: int) -> str:
        """The title of a column, on a page a button where the column can be sorted; an empty corner is none."""
        if self.on_page and n in part.sortable:
            return f'<th scope="col" aria-sort="none"><button type="button">{self.words(part.header[n])}</button></th>'
        text, look = part.header[n], self.look("number" if n in part.right else "left", "cell")
        return f'<th scope="col"{look}>{self.words(text)}</th>' if text else f"<td{look}></td>"

    def row(self, part: Table, cells: Sequence[str]) -> str:
        """A row of cells, the first of which may be its title."""
        titled = part.titled or not part.header
        return "".join(self.cell(part, n, text, titled and n == 0) for n, text in enumerate(cells))

    def cell(self, part: Table, n: int, text: str, is_title: bool) -> str:
        """One cell of column n."""
        side = "number" if n in part.right else "left"
        if is_title:
            return f'<th scope="row"{self.look(side, "cell")}>{self.words(text)}</th>'
        if isinstance(text, parts.Words):
            kinds = "words", "long" if len(text) > LONG else ""
        else:
            short = " " in text and max(map(len, text.split("\n"))) <= SHORT
            whole = "whole" if short or n in part.whole else "wrapped"
            kinds = whole, "off" if isinstance(text, parts.WrongNumber) else ""
        return f"<td{self.look(side, 'cell', *kinds)}>{self.words(text)}</td>"

    def picture(self, part: Picture) -> str:
        """A picture within the text of the page, which gives it its colours; what kept it from being drawn."""
        if self.on_page and part.kind == "svg+xml" and isinstance(part.content, bytes):
            return self.scrolled(part.content.decode(), part.label)
        try:
            content = part.content if isinstance(part.content, bytes) else part.content()
        except (ImportError, ValueError) as error:
            return self.part(parts.Code(str(error)))
        address = f"data:image/{part.kind};base64,{base64.b64encode(content).decode()}"
        style = "max-width: 100%; height: auto" + (f"; min-width: {part.least}px" if part.least else "")
        width = f' width="{part.width}"' if part.width else ""
        shown = f'<img src="{address}"{width} alt="{escaped(part.label)}" style="{style}"/>'
        return self.scrolled(shown, part.label) if part.least else shown


# ---- what is no part


def code_lines(lines: Iterable[str]) -> str:
    """Lines of a program for an element `pre` of a page, each an element of its own."""
    return "".join(Writer(on_page=True).line(Line(line)) for line in lines)


def page_in_frame(html: str, title: str, height: int) -> str:
    """A whole page in a frame, so that its style and keys don't meet those of the notebook around it."""
    from html import escape  # the page is shown as it is: nothing in it is replaced

    size = f'width="100%" height="{height}" style="border: 0"'
    return f'<iframe srcdoc="{escape(html)}" title="{escaped(title)}" {size}></iframe>'


def progress_line(count: int, total: int, text: str) -> str:
    """How far something has come: a bar, and a text behind it. count, total: of epochs."""
    bar = f'<progress value="{count}" max="{total}" aria-label="epochs"></progress>'
    return f'{bar} <span style="white-space: pre">{escaped(text)}</span>'
