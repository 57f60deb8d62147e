"""Pieces of an SVG picture: text of known width, and a heat map of an array."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.report.words import escaped, format_number

# Widths must be known before anything is drawn, so all text is set in fonts whose letters are 0.6 of their size wide.
FONT = "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"
LETTER = 0.605
NEGATIVE, MIDDLE, POSITIVE = (33, 102, 172), (247, 247, 247), (213, 94, 0)  # told apart by colour-blind eyes
SIDES = (120, 78)  # the largest heat map, in pixels
CELLS = 64  # a side of a heat map has at most so many cells


def wide(text: str, size: float) -> float:
    """How many pixels a text takes."""
    return sum(2.0 if ord(c) > 0x2E80 else 1.0 for c in text) * LETTER * size


def written(
    x: float, y: float, text: str, size: float, kind: str = "", anchor: str = "start", cell: int | None = None
) -> str:
    """A text element; the text is the user's, perhaps, so it is escaped. cell: which number of an array it is."""
    mark = "" if cell is None else f' data-cell="{cell}"'
    classes = f' class="{kind}"' if kind else ""
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}"{classes}{place}{mark}>{escaped(text)}</text>'


def rows_of(array: Array) -> Array:
    """An array of any shape as a table: the last axis across."""
    return array.reshape(1, -1) if array.ndim < 2 else array.reshape(-1, array.shape[-1])


def short(value: float) -> str:
    """A number with three significant digits.

    >>> short(-0.12345), short(1e-7), short(3)
    ('-0.123', '1e-07', '3')
    """
    return format_number(value, digits=3)


def range_of(array: Array) -> str:
    """The smallest and the largest number, as in "-1.2 … 3"."""
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    if not finite.size:
        return "nothing finite" if array.size else "empty"
    spoiled = array.size - finite.size
    said = f"{short(finite.min())} … {short(finite.max())}"
    return said + (f", {spoiled} not finite" if spoiled else "")


def heat_map(array: Array) -> tuple[str, int, int]:
    """A data address of a PNG image, and its size in cells; blue is negative, orange positive, grey not finite.

    A table with more than CELLS rows or columns is shown by the mean of neighbouring cells.
    """
    table = _scaled(rows_of(array).astype(np.float64))
    for axis in (0, 1):
        table = _averaged(table, axis)
    share = _scaled(table)[..., None]
    finite = np.isfinite(share[..., 0])
    share = np.nan_to_num(share, posinf=0, neginf=0)
    ends = np.where(share < 0, np.array(NEGATIVE), np.array(POSITIVE))
    colours = np.array(MIDDLE) + (ends - np.array(MIDDLE)) * np.abs(share)
    colours = np.where(finite[..., None], colours, np.array((128, 128, 128)))
    return _png(np.round(colours).astype(np.uint8)), *table.shape[::-1]


def _scaled(table: Array) -> Array:
    """Divided by the largest of its finite numbers, so that they are between -1 and 1."""
    largest = float(np.abs(table[np.isfinite(table)]).max(initial=0))
    return table / (largest or 1.0)


def _averaged(table: Array, axis: int) -> Array:
    """The means of neighbours along an axis, as many as are shown."""
    size = table.shape[axis]
    if size <= CELLS:
        return table
    starts = np.arange(CELLS) * size // CELLS
    counts = np.diff(starts, append=size)
    with np.errstate(invalid="ignore"):  # inf - inf, which is shown as not finite
        sums = np.add.reduceat(table, starts, axis=axis)
    return np.asarray(sums / (counts[:, None] if axis == 0 else counts))


def _png(colours: Array) -> str:
    """(height, width, 3) bytes as the data address of a PNG (https://www.w3.org/TR/png/)."""
    height, width, _ = colours.shape
    lines = b"".join(b"\0" + colours[row].tobytes() for row in range(height))

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    image = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")
    )
    return "data:image/png;base64," + base64.b64encode(image).decode()
