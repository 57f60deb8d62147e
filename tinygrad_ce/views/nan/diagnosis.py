"""What `tg.why_nan` answers: who made the first number that is not finite, of which operands, why, and what helps."""

from __future__ import annotations

import linecache
from collections.abc import Iterator
from dataclasses import dataclass, field
from textwrap import fill
from typing import Any

from tinygrad_ce.core import Tensor
from tinygrad_ce.errors import call_text
from tinygrad_ce.source_lines import Line
from tinygrad_ce.views import notebook
from tinygrad_ce.views.nan.blame import not_finite
from tinygrad_ce.views.nan.operands import shown

WIDTH = 88


@dataclass(frozen=True, eq=False)
class Finding:
    """The computation, or the leaf, that made the first number that is not finite.

    kind: "result" (an operation's), "data" or "parameter". tensor: the result or leaf; None for an array or number.
    name: the tensor's name, or its number. op: the name of the operation; for a leaf None.
    index: where in the tensor, the first such number. value: that number; of a gradient, what the rule gave back.
    operands: by argument, the number that went in; an array where it was made of several (a row, a column).
    upstream: in the backward pass, what came from the loss to this number; None where the rule needs several, or where
    the forward pass is to blame. numbers: the operation, or its rule, with the operands filled in.
    line: of the user's code; for a leaf where it is used first; None where no places are noted (`fit`).
    cause, cure: in plain words. then: what became of the number on its way, where that is worth knowing.
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
    def code(self) -> str:
        """The text of the line; "" where it can't be read."""
        return "" if self.line is None else linecache.getline(self.line.file, self.line.number).strip()

    @property
    def rows(self) -> list[tuple[str, str]]:
        """What there is to say, each with its title."""
        where = "" if self.line is None else f"{self.line.short}  {self.code}".strip()
        rows = [("line", where), ("numbers", self.numbers), ("cause", self.cause), ("then", self.then)]
        return [(title, text) for title, text in [*rows, ("cure", self.cure)] if text]


@dataclass(frozen=True, eq=False)
class Diagnosis:
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
        return bool(self.spoilt or self.stale or not_finite(self.loss.data) is not None)

    @property
    def same(self) -> bool:
        """Whether both passes have the same culprit."""
        return (
            self.forward is not None
            and self.backward is not None
            and (self.forward.kind, self.forward.name, self.forward.op)
            == (self.backward.kind, self.backward.name, self.backward.op)
        )

    def _parts(self) -> Iterator[tuple[str, Finding | None]]:
        """Each paragraph's first sentence, and the finding that it is about."""
        value = shown(self.loss.data)
        gradients = f"the gradient of {listed(self.leaves)}"
        if not self:
            yield f"All is finite: the loss ({value}), and {gradients}.", None
        if self.forward is not None:
            yield f"The loss is not finite ({value}). The forward pass broke at {self.forward.what}", self.forward
        if self.backward is not None:
            whose = f"the gradient of {listed(self.spoilt)}"
            if self.same:
                yield f"In the backward pass {whose} is not finite, for the same reason.", None
            else:
                start = "" if self.forward is not None else f"The loss is finite ({value}), and "
                text = f"{start}{whose} is not{' finite' if not start else ''}. "
                broke = "It goes back to" if self.backward.upstream is None else "The backward pass broke at"
                text = text[0].upper() + text[1:]
                yield f"{text}{broke} {self.backward.what}", self.backward
        elif self.forward is not None and not self.spoilt and not self.stale:
            yield f"In the backward pass {gradients} is finite.", None
        for remark in self.remarks:
            yield remark, None

    def __str__(self) -> str:
        lines = []
        for sentence, finding in self._parts():
            lines.append(fill(sentence, WIDTH, break_long_words=False))
            for title, text in finding.rows if finding is not None else []:
                start = f"  {title:8} "
                rest = " " * len(start)
                lines.append(fill(text, WIDTH, initial_indent=start, subsequent_indent=rest, break_long_words=False))
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        parts = []
        for sentence, finding in self._parts():
            parts.append(notebook.paragraph(sentence))
            if finding is not None:
                code = ("line", "numbers")
                rows = [(title, text if title in code else notebook.Sentence(text)) for title, text in finding.rows]
                parts.append(notebook.table(rows))
        return notebook.block(*parts)


def listed(names: list[str]) -> str:
    """The names in a sentence, or the first of many."""
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"
