"""Pieces of an SVG picture: text of known width, and a heat map of an array."""

from __future__ import annotations

import base64
import struct
import zlib
from html import escape

import numpy as np

from tinygrad_ce.core import Array

# Widths must be known before anything is drawn, so all text is set in fonts whose letters are 0.6 of their size wide.
FONT = "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"
LETTER = 0.605
NEGATIVE, MIDDLE, POSITIVE = (33, 102, 172), (247, 247, 247), (213, 94, 0)  # told apart by colour-blind eyes
SIDES = (120, 78)  # the largest heat map, in pixels
CELLS = 64  # a side of a heat map has at most so many cells


def wide(text: str, size: float) -> float:
    """How many pixels a text takes."""
    return sum(2.0 if ord(c) > 0x2E80 else 1.0 for c in text) * LETTER * size


def cut(text: str, longest: int) -> str:
    """A text of at most so many letters.

    >>> cut("np.dot(x, W0)", 8)
    'np.dot(…'
    """
    return text if len(text) <= longest else text[: longest - 1] + "…"


def written(
    x: float, y: float, text: str, size: float, kind: str = "", anchor: str = "start", cell: int | None = None
) -> str:
    """A text element; the text is the user's, perhaps, so it is escaped. cell: which number of an array it is."""
    mark = "" if cell is None else f' data-cell="{cell}"'
    classes = f' class="{kind}"' if kind else ""
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}"{classes}{place}{mark}>{escape(text)}</text>'


def rows_of(array: Array) -> Array:
    """An array of any shape as a table: the last axis across."""
    return array.reshape(1, -1) if array.ndim < 2 else array.reshape(-1, array.shape[-1])


def short(value: float) -> str:
    """A number with three significant digits.

    >>> short(-0.12345), short(1e-7), short(3)
    ('-0.123', '1e-07', '3')
    """
    text = str(bool(value)) if isinstance(value, (bool, np.bool_)) else f"{value:.3g}"
    return "0" if text == "-0" else text


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
    table = rows_of(array).astype(np.float64)
    for axis in (0, 1):
        table = _averaged(table, axis)
    finite = np.isfinite(table)
    scale = float(np.abs(table[finite]).max(initial=0)) or 1.0
    share = np.clip(np.where(finite, table, 0) / scale, -1, 1)[..., None]
    ends = np.where(share < 0, np.array(NEGATIVE), np.array(POSITIVE))
    colours = np.array(MIDDLE) + (ends - np.array(MIDDLE)) * np.abs(share)
    colours = np.where(finite[..., None], colours, np.array((128, 128, 128)))
    return _png(np.round(colours).astype(np.uint8)), *table.shape[::-1]


def _averaged(table: Array, axis: int) -> Array:
    if table.shape[axis] <= CELLS:
        return table
    parts = np.array_split(table, CELLS, axis=axis)
    return np.concatenate([part.mean(axis=axis, keepdims=True) for part in parts], axis=axis)


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
