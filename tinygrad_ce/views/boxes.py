"""What a layout places: boxes, with groups inside of groups, and the wires between them."""

from __future__ import annotations

from dataclasses import dataclass, field

LEAD = 12.0  # of a straight line before its head, at least


@dataclass(eq=False)
class Box:
    """A rectangle; x and y are its top left corner, known after `arrange`.

    above: boxes that stand above this one, side by side, in its column. children: what a group holds.
    width, height: of a group, they are found out; least: the smallest width that it may have.
    starts_row: whether a new row begins with it, as with a time step.
    """

    width: float = 0.0
    height: float = 0.0
    above: list[Box] = field(default_factory=list)
    children: list[Box] = field(default_factory=list)
    least: float = 0.0
    starts_row: bool = False
    x: float = 0.0
    y: float = 0.0

    @property
    def middle(self) -> float:
        """Half way down."""
        return self.y + self.height / 2

    @property
    def right(self) -> float:
        """Where it ends."""
        return self.x + self.width


@dataclass(eq=False)
class Wire:
    """A line from the right side of one box to the left side of another, or from above a box down to it.

    label: the width of what is written at its end. points: where it passes.
    """

    source: Box
    target: Box
    label: float = 0.0
    points: list[tuple[float, float]] = field(default_factory=list)

    @property
    def is_upright(self) -> bool:
        """Whether it leads down to the box that its source stands above."""
        return self.source in self.target.above

    @property
    def lead(self) -> float:
        """How long it is straight before its head, so that nothing runs through what is written there."""
        return max(LEAD, self.label + 10)
