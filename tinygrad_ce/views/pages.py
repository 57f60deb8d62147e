"""One HTML file that fetches nothing: put together from a skeleton, styles and scripts; saved, or shown in a frame."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygrad_ce.core import Array
from tinygrad_ce.disk import whole_file
from tinygrad_ce.report.html import as_html, page_in_frame
from tinygrad_ce.report.parts import Picture, Sentence
from tinygrad_ce.views.draw import png_for_notebook

HEIGHT = 900  # of the page in a notebook, in pixels, until its script gives it the height of what it shows
LARGEST_IN_NOTEBOOK = 10_000_000  # letters


@dataclass(eq=False)
class Page:
    """A page: shown in a notebook, saved with `.save`; `.html` is its text.

    action, title: what it does with what, as in "steps through" "loss, 3 nodes". svg: a picture of what is on it, for
    where no script may run. file_name: what it would be saved as.
    """

    html: str
    action: str
    title: str
    file_name: str
    svg: str = ""

    def _repr_html_(self) -> str:
        """The page in a frame, and below it its picture, which the page's script hides where scripts may run."""
        words = f"{self.action} {self.title}".capitalize()
        if len(self.html) > LARGEST_IN_NOTEBOOK:
            size = f"{len(self.html) / 1e6:.0f} MB, too much for a notebook"
            return as_html([Sentence(f'{words}: {size}: .save("{self.file_name}")')])
        picture = Picture(self.svg.encode(), f"the graph of {self.title}", "svg+xml")
        return as_html([picture] if self.svg else [], page_in_frame(self.html, self.title, HEIGHT))

    def _repr_png_(self) -> bytes | None:
        """Its picture, where a page cannot be shown; None where there is none, or a PNG cannot be made."""
        return png_for_notebook(self.svg) if self.svg else None

    def __repr__(self) -> str:
        return f'<a page that {self.action} {self.title}: .save("{self.file_name}")>'

    def save(self, path: str | Path) -> Path:
        """Write it; the path. ValueError if that does not end in .html."""
        path = Path(path)
        if path.suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"save: {path.name} must end in .html")
        with whole_file(path) as draft:
            draft.write_text(self.html, encoding="utf-8")
        return path


def as_json(content: Any) -> str:
    """Content as JSON that may stand inside a script element."""
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")


def deflated(text: str, kind: str, name: str = "") -> str:
    """A script element whose text the page's loader unpacks; a script is some four times smaller so.

    kind: its type, as in text/javascript or application/json. name: the element's id.
    """
    packed_text = base64.b64encode(zlib.compress(text.encode(), 9)).decode()
    return f'<script type="text/plain" data-deflated="{kind}" id="{name}">{packed_text}</script>'


def packed(array: Array) -> dict[str, Any]:
    """An array as the pages' script unpacks it: shape, kind of number, whether truth values, bytes in base 64."""
    numbers = array.astype({"f4": "<f4", "f2": "<f4", "b1": "u1"}.get(array.dtype.str[1:], "<f8"))
    return {
        "shape": array.shape,
        "kind": numbers.dtype.str[1:],
        "truth": array.dtype.kind == "b",
        "data": base64.b64encode(numbers.tobytes()).decode(),
    }
