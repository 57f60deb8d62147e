"""Pieces of an SVG picture: elements, text of known width, rectangles, and heat maps of arrays."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import TypeAlias

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.report.words import escaped
from tinygrad_ce.views.columns import Box

# Widths must be known before anything is drawn, so graph.css sets all text in fonts whose letters are equally wide.
LETTER = 0.605  # of their size
NEGATIVE, MIDDLE, POSITIVE = (33, 102, 172), (247, 247, 247), (213, 94, 0)  # told apart by colour-blind eyes
NOT_FINITE = (128, 128, 128)
CELLS = 64  # a side of a heat map has at most so many cells


Attribute: TypeAlias = str | float | None
Attributes: TypeAlias = dict[str, Attribute]


class Svg(str):
    """Finished SVG; any other text is escaped where it is put into an element."""


def element(tag: str, *content: str, **attributes: Attribute) -> Svg:
    """An element: texts are escaped, finished SVG is not; an attribute that is None or "" is left out.

    >>> element("text", "a < b", x=1.25, text_anchor="end", class_="")
    '<text x="1.2" text-anchor="end">a &lt; b</text>'
    """
    start = tag
    for name, value in attributes.items():
        if value is not None and value != "":
            text = _safe(value) if isinstance(value, str) else str(round(value, 1))
            start += f' {name.rstrip("_").replace("_", "-")}="{text}"'
    return Svg(f"<{start}>{''.join(map(_safe, content))}</{tag}>" if content else f"<{start}/>")


def _safe(text: str) -> str:
    return text if isinstance(text, Svg) or text.isalnum() else escaped(text)


def words(x: float, y: float, text: str, size: float, **attributes: Attribute) -> Svg:
    """A text; y is its base line."""
    return element("text", text, x=x, y=y, font_size=size, **attributes)


def rectangle(box: Box, corners: int, **attributes: Attribute) -> Svg:
    """The outline of a box, with round corners."""
    return element("rect", x=box.x, y=box.y, width=box.width, height=box.height, rx=corners, **attributes)


def wide(text: str, size: float) -> float:
    """How many pixels a text takes."""
    return sum(2.0 if ord(c) > 0x2E80 else 1.0 for c in text) * LETTER * size


def rows_of(array: Array) -> Array:
    """An array of any shape as a table: the last axis across."""
    return array.reshape(1, -1) if array.ndim < 2 else array.reshape(-1, array.shape[-1])


def heat_map(array: Array) -> tuple[str, int, int]:
    """A data address of a PNG image, and its size in cells; blue is negative, orange positive, grey not finite.

    A table with more than CELLS rows or columns is shown by the mean of neighbouring cells.
    """
    table = _scaled(rows_of(array).astype(np.float64))  # before the means: sums of large numbers could overflow
    table = _averaged(_averaged(table).T).T
    share = _scaled(table)[..., None]
    ends = np.where(share < 0, NEGATIVE, POSITIVE)
    colours = np.where(np.isfinite(share), MIDDLE + (ends - MIDDLE) * np.abs(share), NOT_FINITE)
    return _png(np.round(colours).astype(np.uint8)), *table.shape[::-1]


def _scaled(table: Array) -> Array:
    """Divided by the largest of its finite numbers, so that they are between -1 and 1."""
    largest = float(np.abs(table[np.isfinite(table)]).max(initial=0))
    return table / (largest or 1.0)


def _averaged(table: Array) -> Array:
    """The means of neighbouring rows, as many as are shown."""
    if len(table) <= CELLS:
        return table
    starts = np.arange(CELLS) * len(table) // CELLS
    with np.errstate(invalid="ignore"):  # inf - inf, which is shown as not finite
        return np.asarray(np.add.reduceat(table, starts) / np.diff(starts, append=len(table))[:, None])


def _png(colours: Array) -> str:
    """(height, width, 3) bytes as the data address of a PNG (https://www.w3.org/TR/png/)."""
    height, width, _ = colours.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    lines = np.insert(colours.reshape(height, -1), 0, 0, axis=1).tobytes()  # 0: none of PNG's filters
    image = b"\x89PNG\r\n\x1a\n"
    for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b"")):
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        image += struct.pack(">I", len(content)) + kind + content + checksum
    return "data:image/png;base64," + base64.b64encode(image).decode()
