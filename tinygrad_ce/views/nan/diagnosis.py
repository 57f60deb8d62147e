"""What `tg.why_nan` answers: who made the first number that is not finite, of which operands, why, and what helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_ce.core import Tensor
from tinygrad_ce.errors import call_text
from tinygrad_ce.report.parts import Part, Report, Sentence, Table, Words
from tinygrad_ce.report.words import listed
from tinygrad_ce.source_lines import Line
from tinygrad_ce.views.nan.chain import Link, shown


@dataclass(frozen=True, eq=False)
class Finding:
    """The computation, or the leaf, that made the first number that is not finite.

    kind: "result" (an operation's), "data" or "parameter". tensor: the result or leaf; None for an array or number.
    op: the name of the operation; for a leaf None. value: the number at `index`; of a gradient, what the rule gave.
    operands: by argument, the number that went in; an array where it was made of several (a row, a column).
    upstream: what came from the loss to this number; None in the forward pass, and where the rule needs several.
    numbers: the operation, or its rule, with the operands filled in. line: of the user's code; for a leaf where it is
    used first; None where no lines are noted (`fit`). then: what became of the number on its way.
    chain: how it was made, back to ordinary numbers; each link has tensor, index, value, text and line.
    """

    kind: str
    tensor: Tensor | None
    name: str
    op: str | None
    index: tuple[int, ...]
    value: float
    operands: dict[str, Any]
    upstream: float | None
    numbers: str
    line: Line | None
    cause: str
    cure: str
    then: str = ""
    chain: Sequence[Link] = ()

    def __repr__(self) -> str:
        return f"<{self.what}: {self.numbers}>"

    @property
    def what(self) -> str:
        """As in "#17 = log(#16), element [2, 0]"."""
        if self.tensor is not None and self.tensor.op is not None:
            text = f"{self.name} = {call_text(self.tensor.op, self.tensor.inputs)}"
        else:
            text = f"the {self.kind} {self.name}"
        return f"{text}, element {list(self.index)}" if self.index else text

    @property
    def sentence(self) -> str:
        """What broke, with its numbers and the cause."""
        return f"the first is {self.what}: {self.numbers}; {self.cause}"

    @property
    def code(self) -> str:
        """The text of the line; "" where it can't be read."""
        return "" if self.line is None else self.line.text

    @property
    def table(self) -> Table:
        """What there is to say, each with its title."""
        where = "" if self.line is None else f"{self.line.short}  {self.code}".strip()
        rows = [("line", where), ("numbers", self.numbers)]
        links = self.chain[1:] if len(self.chain) > 2 or len(self.operands) > 1 else ()  # else it is in the numbers
        for n, link in enumerate(links):
            place = f"  ({link.line.short})" if link.line is not None else ""
            rows.append(("" if n else "chain", link.text + place))
        rows += [("cause", Words(self.cause)), ("then", Words(self.then)), ("cure", Words(self.cure))]
        return Table([(title, text) for title, text in rows if text])


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis(Report):
    """Where the first number that is not finite came from, in the forward and in the backward pass.

    forward: what made the loss NaN or infinite; None if the loss is finite. backward: what made the gradient of a leaf
    so; None if all are finite. spoilt: the names of the leaves whose gradients are not finite; leaves: of all that want
    a gradient. stale: of those that were written to after the loss was computed, so that the backward pass can't be
    repeated. remarks: what else is worth knowing. As a truth value: whether anything is not finite.
    """

    loss: Tensor
    forward: Finding | None
    backward: Finding | None
    spoilt: list[str]
    leaves: list[str]
    stale: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.spoilt or self.stale or not np.isfinite(self.loss.data).all())

    @property
    def same(self) -> bool:
        """Whether both passes have the same culprit."""
        first, second = self.forward, self.backward
        if first is None or second is None:
            return False
        return (first.kind, first.name, first.op) == (second.kind, second.name, second.op)

    @property
    def parts(self) -> list[Part]:
        """A sentence for each pass, and what was found there."""
        found: list[Part] = []
        value, gradients = shown(self.loss.data), f"the gradient of {listed(self.leaves)}"
        if not self:
            found.append(Sentence(f"All is finite: the loss ({value}), and {gradients}."))
        if self.forward is not None:
            broke = f"The loss is not finite ({value}). The forward pass broke at {self.forward.what}"
            found += [Sentence(broke), self.forward.table]
        if self.same:
            whose = f"In the backward pass the gradient of {listed(self.spoilt)}"
            found.append(Sentence(f"{whose} is not finite, for the same reason."))
        elif self.backward is not None:
            whose = f"the gradient of {listed(self.spoilt)} is not"
            start = f"The loss is finite ({value}), and {whose}" if self.forward is None else f"T{whose[1:]} finite"
            broke = "It goes back to" if self.backward.upstream is None else "The backward pass broke at"
            found += [Sentence(f"{start}. {broke} {self.backward.what}"), self.backward.table]
        elif self.forward is not None and not self.spoilt and not self.stale:
            found.append(Sentence(f"In the backward pass {gradients} is finite."))
        return [*found, *map(Sentence, self.remarks)]
