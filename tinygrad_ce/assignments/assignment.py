"""An assignment: the forward pass that is given, the values that are asked for, what they count, and the solution.

The teacher's version is a file of Python that defines it (README.md in this folder says what stands in it); the ones in
`catalog/` are such files.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce.core import Array

CATALOG = Path(__file__).parent / "catalog"


@dataclass(frozen=True, eq=False)
class Assignment:
    """What students are asked to compute by hand.

    name: short, as a file is called. title, text: what a student reads first, in Markdown. source: the teacher's file.
    forward: from arrays to the loss, in NumPy; None where values of `solution` are asked for that are no gradients.
    solution: from the same arguments to a dict of what is asked for. inputs: from a generator and sizes to arguments.
    points: by what is asked for, in order. hints: for each of them, the stronger the later. hint_cost: the share of the
    points of a gradient that each of its hints costs.
    """

    name: str
    title: str
    text: str
    source: str
    forward: Callable[..., Any] | None
    solution: Callable[..., dict[str, Array]] | None
    inputs: Callable[..., dict[str, Array]]
    points: Mapping[str, float]
    hints: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hint_cost: float = 0.1

    def example(self) -> dict[str, Array]:
        """The arguments that students try their functions on."""
        return self.inputs(np.random.default_rng(0))


def from_file(path: str | Path) -> Assignment:
    """Read a teacher's file.

    >>> from_file(CATALOG / "softmax_cross_entropy.py").points
    {'d_z': 2, 'd_W': 1, 'd_b': 1}
    """
    path = Path(path)
    names = runpy.run_path(str(path))
    title, _, text = (names["__doc__"] or path.stem).strip().partition("\n")
    return Assignment(
        name=path.stem,
        title=title.rstrip("."),
        text=text.strip(),
        source=path.read_text(encoding="utf-8"),
        forward=names.get("forward"),
        solution=names.get("gradients"),
        inputs=names["inputs"],
        points=names["POINTS"],
        hints=names.get("HINTS", {}),
        hint_cost=names.get("HINT_COST", 0.1),
    )


def ready(name: str) -> Assignment:
    """One of the assignments that come with the package.

    >>> ready("softmax_cross_entropy").title
    'Softmax and cross-entropy'
    """
    return from_file(CATALOG / f"{name}.py")
