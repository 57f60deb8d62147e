"""A picture read back from its SVG: where its cards, boxes, wires and texts stand; and random networks to draw."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_ce as tg
from tinygrad_ce.graph.nodes import Graph

SVG = "{http://www.w3.org/2000/svg}"
LETTER = 0.6020507812  # DejaVu Sans Mono: 1233 of 2048 units


@dataclass(frozen=True)
class Area:
    x: float
    y: float
    width: float
    height: float

    def holds(self, other: Area, slack: float = 0.15) -> bool:
        return (
            self.x - slack <= other.x
            and self.y - slack <= other.y
            and other.x + other.width <= self.x + self.width + slack
            and other.y + other.height <= self.y + self.height + slack
        )

    def meets(self, other: Area, slack: float = 0.15) -> bool:
        across = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        down = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return across > slack and down > slack

    def has(self, point: tuple[float, float], slack: float = 0.15) -> bool:
        """Whether the point is well inside."""
        inside_x = self.x + slack < point[0] < self.x + self.width - slack
        return inside_x and self.y + slack < point[1] < self.y + self.height - slack


def area(element: ET.Element) -> Area:
    return Area(*(float(element.get(name, "nan")) for name in ("x", "y", "width", "height")))


def text_area(text: ET.Element) -> Area:
    """What a text covers, in a font whose letters are all equally wide."""
    size, x, y = (float(text.get(name, "nan")) for name in ("font-size", "x", "y"))
    letters = sum(2 if ord(c) > 0x2E80 else 1 for c in text.text or "")
    width = letters * LETTER * size
    return Area(x - width if text.get("text-anchor") == "end" else x, y - 0.76 * size, width, 0.94 * size)


def sampled(path: str, steps: int = 16) -> list[tuple[float, float]]:
    """Points along a path of M, L and C commands."""
    words = re.findall(r"[MLC]|-?\d+(?:\.\d+)?", path)
    points: list[tuple[float, float]] = []
    n = 0
    while n < len(words):
        command = words[n]
        numbers = [float(word) for word in words[n + 1 : n + 1 + {"M": 2, "L": 2, "C": 6}[command]]]
        ends = list(zip(numbers[::2], numbers[1::2], strict=True))
        n += 1 + len(numbers)
        if command == "M":
            points.append(ends[0])
            continue
        corners = [points[-1], *ends] if command == "C" else [points[-1], points[-1], ends[0], ends[0]]
        for step in range(1, steps + 1):
            t = step / steps
            weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
            x, y = (sum(w * corner[axis] for w, corner in zip(weights, corners, strict=True)) for axis in (0, 1))
            points.append((x, y))
    return points


class Reader:
    """The pieces of a drawing."""

    def __init__(self, svg: str) -> None:
        self.root = ET.fromstring(svg)
        self.area = Area(*map(float, self.root.get("viewBox", "").split()))
        groups = self.root.findall(f"{SVG}g")
        kinds = {id(g): g.get("class", "").split() for g in groups}
        self.cards = {int(g.get("data-node", -1)): g for g in groups if "node" in kinds[id(g)]}
        self.wires = {int(g.get("data-edge", -1)): g for g in groups if "wire" in kinds[id(g)]}
        self.modules = [g for g in groups if "module" in kinds[id(g)]]
        self.caption = " ".join(text.text or "" for text in self.root.findall(f"{SVG}text"))

    def card(self, node: int) -> Area:
        return area(self._only(self.cards[node], "rect"))

    def boxes(self) -> list[Area]:
        """Of the modules."""
        return [area(self._only(module, "rect")) for module in self.modules]

    def line(self, edge: int) -> list[tuple[float, float]]:
        return sampled(self._only(self.wires[edge], "path").get("d", ""))

    def label(self, edge: int) -> ET.Element:
        return self._only(self.wires[edge], "text")

    def share(self, edge: int) -> ET.Element | None:
        """The place where a page writes what comes back along an edge; None where nothing does."""
        found = [text for text in self.wires[edge].findall(f"{SVG}text") if text.get("class") == "share"]
        return found[0] if found else None

    def numbers(self, node: int, kind: str) -> list[str] | None:
        """The numbers of a card's value or gradient; None where that is a heat map, or not there."""
        panel = self.panel(node, kind)
        cells = [] if panel is None else [text for text in panel.findall(f"{SVG}text") if text.get("data-cell")]
        assert [text.get("data-cell") for text in cells] == [str(n) for n in range(len(cells))]
        return [text.text or "" for text in cells] or None

    def panel(self, node: int, kind: str) -> ET.Element | None:
        found = [g for g in self.cards[node].findall(f"{SVG}g") if kind in g.get("class", "").split()]
        assert len(found) <= 1
        return found[0] if found else None

    def image(self, node: int, kind: str) -> str | None:
        """The address of a heat map."""
        panel = self.panel(node, kind)
        image = None if panel is None else panel.find(f"{SVG}image")
        return None if image is None else image.get("href")

    def said(self, node: int) -> list[str]:
        """All texts of a card."""
        return [text.text or "" for text in self.cards[node].iter(f"{SVG}text")]

    @staticmethod
    def _only(element: ET.Element, kind: str) -> ET.Element:
        found = element.find(SVG + kind)
        assert found is not None
        return found


# ---- random networks

STEPS = (
    *("sum", "double", "square", "times a weight", "shifted and scaled", "joined", "chosen", "times data", "sine"),
    *("dense", "shared dense", "block", "block in a block", "norm", "dropout", "layers", "summed rows", "masked sum"),
)
Step = tuple[str, int, int]
NETWORKS = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=12)


class Block(tg.nn.Module):
    """Two branches that meet again, and a layer that is shared with others."""

    def __init__(self, size: int, shared: tg.nn.Module) -> None:
        self.a, self.b, self.shared = tg.nn.Dense(size, size), tg.nn.Dense(size, size, bias=False), shared

    def forward(self, x: Any) -> Any:
        return self.shared(np.tanh(self.a(x)) * self.b(x)) + x


class Outer(tg.nn.Module):
    """Blocks in a block; more than one of its values is used outside."""

    def __init__(self, size: int, shared: tg.nn.Module) -> None:
        self.first, self.second = Block(size, shared), Block(size, shared)

    def forward(self, x: Any, y: Any) -> Any:
        inner = self.first(x)
        return np.sin(inner) * self.second(y) + inner, inner


def network(steps: Sequence[Step], rows: int = 3, columns: int = 3) -> tg.Tensor:
    """A loss of tensors that are used again and again: the integers of a step say which it takes."""
    rng = np.random.default_rng(len(steps))
    tg.seed(0)
    values = [tg.Tensor(rng.normal(size=(rows, columns)), requires_grad=True, name=name) for name in ("x", "start")]
    weights = [tg.Tensor(rng.normal(size=columns), requires_grad=True, name=f"w{n}") for n in range(2)]
    shared = tg.nn.Dense(columns, columns)
    block, outer = Block(columns, shared), Outer(columns, shared)
    norms = tg.nn.BatchNorm(columns), tg.nn.LayerNorm(columns)
    for kind, i, j in steps:
        x, y, w = values[-1 - i % len(values)], values[-1 - j % len(values)], weights[j % 2]
        if kind == "sum":
            made = [x + y]
        elif kind == "double":
            made = [x + x]
        elif kind == "square":
            made = [x * x]
        elif kind == "times a weight":
            made = [x * w]
        elif kind == "shifted and scaled":
            made = [(x + w) * weights[i % 2]]
        elif kind == "joined":
            parts = [values[(i + n * j) % len(values)] for n in range(2 + (i + j) % 6)]
            made = [tg.ops.concatenate(*parts, axis=1)[:, :columns]]
        elif kind == "chosen":
            made = [tg.ops.where(x > 0, x, y)]
        elif kind == "times data":
            made = [x * rng.normal(size=(rows, columns))]
        elif kind == "sine":
            made = [np.sin(x)]
        elif kind == "dense":
            made = [tg.nn.Dense(columns, columns)(x)]
        elif kind == "shared dense":
            made = [shared(x)]
        elif kind == "block":
            made = [block(x)]
        elif kind == "block in a block":
            made = list(outer(x, y))[::-1]
        elif kind == "norm":
            made = [norms[j % 2](x)]
        elif kind == "dropout":
            made = [tg.nn.Dropout(0.3)(x)]
        elif kind == "layers":
            made = [tg.nn.Sequential(tg.nn.Dense(columns, columns, bias=False), tg.nn.ReLU(), shared)(x)]
        elif kind == "summed rows":
            made = [x.sum(axis=1, keepdims=True) * y]
        else:
            made = [tg.ops.where(x > y, x, w) + w]
        values += made
    last = values[-1]
    for _, i, j in steps:
        if (i + j) % 3 == 0:
            last = last * values[i % len(values)]
    targets = rng.integers(0, columns, rows)
    return last.mean() if len(steps) % 2 else tg.losses.softmax_cross_entropy(last, targets)


def read(loss: tg.Tensor) -> Graph:
    return Graph(loss, "the test")
