"""The parts of a report as HTML: the one place that writes tables, paragraphs and pages.

In a notebook elements carry their own styles, without colours or backgrounds: they stand on light pages and on dark
ones. On a page of ours the same elements have classes, and what may be wider than a phone scrolls by keys, too.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence

from tinygrad_ce.report.parts import (
    Advice,
    Code,
    Count,
    Formula,
    Heading,
    Line,
    Link,
    List,
    Listing,
    Mark,
    Name,
    Note,
    Part,
    Phrase,
    Picture,
    Section,
    SideBySide,
    Strong,
    Table,
    Term,
    Words,
    WrongNumber,
)
from tinygrad_ce.report.words import escaped

STYLES = {  # of a notebook, by the kind of an element
    "heading": "font-weight: bold; margin: 0.6em 0 0.3em",
    "sentence": "margin: 0.3em 0",
    "formula": "margin: 0.3em 1em; font-family: monospace",
    "code": "margin: 0.3em 0; line-height: 1.3; overflow-x: auto; font-family: monospace",  # nbconvert sets it as words
    "line": "display: block",
    "place": "display: inline-block; min-width: 3em",
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
    *("formula", "line", "place", "number", "words", "long", "whole", "beside", "next", "soft", "sortable"),
    *("mark", "right", "wrong", "follows", "missing", "off"),
}
SHORT = 24  # letters of a line of a cell, as in "-0.125 to 0.5": so few are not broken into lines
RIGHT_TO_LEFT = re.compile(r"\w*[\u0590-\u08ff]\w*")  # such a name would turn the line around it, too


def as_html(parts: Sequence[Part]) -> str:
    """The parts below each other as one block."""
    return block(*map(html_of, parts))


def block(*parts: str) -> str:
    """Pieces of HTML as one form."""
    return f'<div class="tinygrad-ce">{"".join(parts)}</div>'


def html_of(part: Part) -> str:
    """One part, its texts escaped."""
    return InNotebook().part(part)


class InNotebook:
    """Writes parts that carry their own styles."""

    heading = "p"

    def look(self, *kinds: str) -> str:
        """What an element of these kinds looks like, as an attribute."""
        styles = "; ".join(STYLES[kind] for kind in kinds if kind in STYLES)
        return f' style="{styles}"' if styles else ""

    def scrolled(self, content: str, label: str) -> str:
        """What may be wider than the screen of a phone, in a frame that scrolls. label: what it is, in words."""
        return f'<div style="overflow-x: auto">{content}</div>'

    def code(self, content: str, label: str) -> str:
        """Lines of code."""
        return f"<pre{self.look('code')}>{content}</pre>"

    def parts(self, parts: Iterable[Part]) -> str:
        """Parts below each other."""
        return "".join(map(self.part, parts))

    def part(self, part: Part) -> str:
        """One part, its texts escaped."""
        if isinstance(part, Heading):
            return f"<{self.heading}{self.look('heading')}>{self.words(part.text)}</{self.heading}>"
        if isinstance(part, Table):
            return self.table(part)
        if isinstance(part, Code):
            return self.code(escaped(part.text), part.label)
        if isinstance(part, Listing):
            return self.code("".join(map(self.line, part.lines)), part.label)
        if isinstance(part, Formula):
            return f"<p{self.look('formula')}>{escaped(part.text)}</p>"
        if isinstance(part, Picture):
            return self.picture(part)
        if isinstance(part, List):
            return f"<ul>{''.join(f'<li>{self.words(item)}</li>' for item in part.items)}</ul>"
        if isinstance(part, SideBySide):
            return f"<div{self.look('beside')}>{self.parts(part.parts)}</div>"
        if isinstance(part, Section):
            return self.section(part)
        kinds = ("next",) if isinstance(part, Advice) else ("soft",) if isinstance(part, Note) else ()
        return f"<p{self.look('sentence', *kinds)}>{self.words(part.text)}</p>"

    def section(self, part: Section) -> str:
        """Parts under their title."""
        return self.parts([Heading(part.title), *part.parts])

    def words(self, text: str) -> str:
        """A text of a sentence or a cell, with what is set off in it."""
        if isinstance(text, Phrase):
            return "".join(map(self.words, text.pieces)).replace("\n", "<br/>")
        if isinstance(text, WrongNumber):
            return self.wrong_number(text)
        content = escaped(text)
        if isinstance(text, Term):
            return f"<code>{content}</code>"
        if isinstance(text, Strong):
            return f"<b>{content}</b>"
        if isinstance(text, Link):
            return f'<a href="{escaped(text.address)}"><bdi>{content}</bdi></a>'
        if isinstance(text, Name):
            return f"<bdi>{content}</bdi>"
        if isinstance(text, Mark):
            return f"<span{self.look('mark', text.kind)}>{content}</span>"
        if isinstance(text, Count):
            style = f"display: block; width: {100 * text.share:.0f}%; border-top: 0.5em solid"
            return f'{content}<span class="bar" style="{style}"></span>'
        return content

    def wrong_number(self, number: WrongNumber) -> str:
        """A number that is not right, with its sign."""
        return escaped(number)

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
        look = self.look("table", *(["sortable"] if part.sortable else []))
        return self.scrolled(f"<table{look}>{caption}{head}<tbody>{body}</tbody>{foot}</table>", part.label)

    def title(self, part: Table, n: int) -> str:
        """The title of a column; an empty corner is none."""
        text, look = part.header[n], self.look("number" if n in part.right else "left", "cell")
        return f'<th scope="col"{look}>{self.words(text)}</th>' if text else f"<td{look}></td>"

    def row(self, part: Table, cells: Sequence[str]) -> str:
        """A row of cells, the first of which may be its title."""
        titled = 1 if part.titled or not part.header else 0
        return "".join(self.cell(part, n, text, n < titled) for n, text in enumerate(cells))

    def cell(self, part: Table, n: int, text: str, titles: bool) -> str:
        """One cell of column n."""
        kinds = ["number" if n in part.right and not (titles and not part.header) else "left", "cell"]
        if not titles and isinstance(text, Words):
            kinds += ["words", *(["long"] if len(text) > 30 else [])]
        elif not titles:
            wrong = isinstance(text, WrongNumber)
            short = not wrong and " " in text and max(map(len, text.split("\n"))) <= SHORT
            kinds += ["whole" if short or n in part.whole else "wrapped", *(["off"] if wrong else [])]
        tag, scope = ("th", ' scope="row"') if titles else ("td", "")
        return f"<{tag}{scope}{self.look(*kinds)}>{self.words(text)}</{tag}>"

    def picture(self, part: Picture) -> str:
        """A picture within the text of the page; what kept it from being drawn, if it could not be."""
        try:
            content = part.content if isinstance(part.content, bytes) else part.content()
        except (ImportError, ValueError) as error:
            return self.part(Code(str(error)))
        address = f"data:image/{part.kind};base64,{base64.b64encode(content).decode()}"
        style = "max-width: 100%; height: auto" + (f"; min-width: {part.least}px" if part.least else "")
        width = f' width="{part.width}"' if part.width else ""
        shown = f'<img src="{address}"{width} alt="{escaped(part.label)}" style="{style}"/>'
        return self.scrolled(shown, part.label) if part.least else shown


class OnPage(InNotebook):
    """Writes parts for a page of ours, which has a style sheet."""

    heading = "h3"

    def look(self, *kinds: str) -> str:
        """The classes of an element of these kinds, as an attribute."""
        classes = " ".join(kind for kind in kinds if kind in CLASSES)
        return f' class="{classes}"' if classes else ""

    def scrolled(self, content: str, label: str) -> str:
        """A frame that scrolls, by keys too. label: what it is, in words."""
        return f'<div class="wide" tabindex="0" role="group" aria-label="{escaped(label)}">{content}</div>'

    def code(self, content: str, label: str) -> str:
        """Lines of code in a frame."""
        return self.scrolled(super().code(content, label), label)

    def section(self, part: Section, name: str = "") -> str:
        """A section of the page. name: where links lead to."""
        named, place = (f' aria-labelledby="{name}"', f' id="{name}"') if name else ("", "")
        return f"<section{named}>\n<h2{place}>{self.words(part.title)}</h2>\n{self.parts(part.parts)}\n</section>\n"

    def title(self, part: Table, n: int) -> str:
        """The title of a column, a button where the column can be sorted."""
        if n not in part.sortable:
            return super().title(part, n)
        return f'<th scope="col" aria-sort="none"><button type="button">{self.words(part.header[n])}</button></th>'

    def wrong_number(self, number: WrongNumber) -> str:
        """A number that is not right; its style gives it a sign, which readers aloud get as a word."""
        return f'{escaped(number.number)}<span class="seen-by-readers"> wrong</span>'

    def picture(self, part: Picture) -> str:
        """A picture; one of lines and letters is part of the page, whose colours it has."""
        if part.kind == "svg+xml" and isinstance(part.content, bytes):
            return self.scrolled(part.content.decode(), part.label)
        return super().picture(part)


# ---- what is no part


def code_lines(lines: Iterable[str]) -> str:
    """Lines of a program for an element `pre` of a page, each an element of its own."""
    return "".join(OnPage().line(Line(line)) for line in lines)


def page_in_frame(html: str, title: str, height: int) -> str:
    """A whole page in a frame, so that its style and keys don't meet those of the notebook around it."""
    from html import escape  # the page is shown as it is: nothing in it is replaced

    return (
        f'<iframe srcdoc="{escape(html)}" title="{escaped(title)}" width="100%" height="{height}" '
        'style="border: 0"></iframe>'
    )


def progress_line(count: int, total: int, text: str) -> str:
    """How far something has come: a bar, and a text behind it. count, total: of epochs."""
    bar = f'<progress value="{count}" max="{total}" aria-label="epochs"></progress>'
    return f'{bar} <span style="white-space: pre">{escaped(text)}</span>'
