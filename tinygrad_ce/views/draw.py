"""The graph of a loss as an SVG picture: shown by notebooks, saved as a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tinygrad_ce.core import Tensor
from tinygrad_ce.disk import whole_file
from tinygrad_ce.graph.checks import check_unchanged
from tinygrad_ce.graph.nodes import Graph
from tinygrad_ce.report import parts
from tinygrad_ce.report.html import as_html
from tinygrad_ce.report.page import page_html
from tinygrad_ce.views.graph_picture import Picture

MOST_PIXELS = 10_000_000  # of a PNG: they are drawn in a few seconds, and programs open it
READABLE = 0.4  # of its size, below which a picture cannot be read
LARGEST_IN_NOTEBOOK = 1_000_000  # letters of a picture: a notebook holds it, and whoever opens that waits for it
WIDEST_IN_NOTEBOOK = 1_500  # pixels of a PNG: more than a cell shows


@dataclass(eq=False)
class Drawing:
    """A picture of a graph: shown by Jupyter, marimo and VS Code, saved with `.save`."""

    svg: str
    title: str

    def _repr_html_(self) -> str | None:
        """The picture, as wide as it is or as its cell, and scrolled where its letters would become too small.

        None, so that its text is shown, if it is too large.
        """
        if len(self.svg) > LARGEST_IN_NOTEBOOK:
            return None
        least = round(READABLE * _size(self.svg)[0])
        return as_html([parts.Picture(self.svg.encode(), f"the graph of {self.title}", "svg+xml", least)])

    def _repr_svg_(self) -> str | None:
        return self.svg if len(self.svg) <= LARGEST_IN_NOTEBOOK else None

    def _repr_png_(self) -> bytes | None:
        """The same where no SVG may be shown, as in a notebook that is not trusted; None where it cannot be made."""
        return png_for_notebook(self.svg)

    def __repr__(self) -> str:
        large = f", {len(self.svg) / 1e6:.1f} MB" if len(self.svg) > LARGEST_IN_NOTEBOOK else ""
        return f'<a picture of {self.title}{large}: .save("graph.svg"), or ".png", ".html">'

    def save(self, path: str | Path) -> Path:
        """Write it as .svg, .png or .html; the path.

        Raises ValueError for another ending, and for a PNG that would be too large to be opened; ImportError where
        what makes a PNG is not installed.
        """
        path = Path(path)
        ending = path.suffix.lower()
        if ending not in (".svg", ".png", ".html"):
            raise ValueError(f"save: {path.name} must end in .svg, .png or .html")
        html = page_html(self.title, self.svg, "body { margin: 1rem; }") if ending == ".html" else self.svg
        content = _png_file(self.svg) if ending == ".png" else html.encode()
        with whole_file(path) as draft:
            draft.write_bytes(content)
        return path


def draw(loss: Tensor, title: str = "") -> Drawing:
    """The graph of a loss as an SVG picture, with the values and the gradients of this loss in the nodes.

    Small tensors (up to 4 x 4) are shown as numbers, larger ones as heat maps with their range: blue is negative,
    orange positive. A dashed line carries no gradient. Before `loss.backward()` the picture has none, and says so.
    title: which loss it is, as in "after 20 epochs"; it stands below the picture.
    Raises TypeError and ValueError for what has no history, or more than 1,500 nodes.

    >>> w = Tensor(2.0, requires_grad=True, name="w")
    >>> draw(w * w + 1)
    <a picture of loss, 3 nodes: .save("graph.svg"), or ".png", ".html">
    """
    graph = Graph(loss, "tg.draw")
    check_unchanged(loss, "tg.draw")
    picture = Picture(graph, loss.grad is not None, on_paper=True)
    return Drawing(picture.svg(title), f"{graph.loss.name}, {len(graph.nodes)} nodes")


def png_for_notebook(svg: str) -> bytes | None:
    """A PNG no larger than a cell shows well; None for a picture that is too large, or where nothing can make one."""
    try:
        zoom = min(2.0, WIDEST_IN_NOTEBOOK / max(_size(svg)))
        return _as_png(svg, zoom) if len(svg) <= LARGEST_IN_NOTEBOOK else None
    except ImportError:
        return None


def _png_file(svg: str) -> bytes:
    """A PNG twice as large as the picture, or as large as programs open. ValueError if its letters cannot be read."""
    width, height = _size(svg)
    zoom = min(2.0, (MOST_PIXELS / (width * height)) ** 0.5)
    if zoom < READABLE:
        raise ValueError(
            f"save: a PNG of this picture would be {2 * max(width, height):,} pixels long, and few programs open that: "
            "save it as .svg or .html"
        )
    return _as_png(svg, zoom)


def _size(svg: str) -> tuple[int, int]:
    size = re.search(r'viewBox="0 0 (\d+) (\d+)"', svg)
    assert size is not None
    return int(size[1]), int(size[2])


def _drawn_once(svg: str) -> str:
    """The picture with each piece of its wires once: where many share a long way, to draw all of them takes seconds."""
    drawn: set[tuple[str, str, str]] = set()

    def new_pieces(wire: re.Match[str]) -> str:
        start, kind, way = wire.groups()  # a dashed wire is drawn beside a solid one
        path, *pieces = re.findall("[MLC][^MLC]*", way)
        place = path[1:].strip()
        for piece in pieces:
            end = piece.split()[-1].lstrip("L")
            path += f"M{end} " if (kind, place, piece) in drawn else piece
            drawn.add((kind, place, piece))
            place = end
        return f"{start}{path}"

    return re.sub('(<g class="(wire[^"]*)" [^>]*><path d=")([^"]*)', new_pieces, svg)


def _as_png(svg: str, zoom: float) -> bytes:
    try:
        import resvg_py
        from matplotlib import get_data_path
    except ImportError:
        raise ImportError(
            'a PNG is made with resvg_py and matplotlib\'s fonts: pip install "tinygrad_ce[plot]"'
        ) from None
    fonts = Path(get_data_path()) / "fonts" / "ttf"
    made = resvg_py.svg_to_bytes(
        svg_string=_drawn_once(svg),
        background="white",
        zoom=zoom,
        font_files=[str(fonts / "DejaVuSansMono.ttf"), str(fonts / "DejaVuSansMono-Bold.ttf")],
        font_family="DejaVu Sans Mono",
        monospace_family="DejaVu Sans Mono",
    )
    return bytes(made)
