"""What a schedule is made of: buffers, statements that fill them, library calls, and nests of loops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_ce import kernels
from tinygrad_ce.core import Array
from tinygrad_ce.program.abstract import Node, in_order, through
from tinygrad_ce.program.ir import Function, Instruction, Value
from tinygrad_ce.program.lowering import Nodes, check_dtype
from tinygrad_ce.program.names import Names

Index = tuple[tuple[int | None, int, int], ...]  # for each axis of a buffer: the loop along it, the first, the step
# What the loops call themselves.
RESERVED = {"np", "math", "s", "order", "steps", "numbers", "run", "thread", "threads", "gate", "passed"}
RESERVED |= {*"ijklmnopq", *kernels.FILE_OF}


@dataclass(eq=False)
class Buffer:
    """Memory of a node.

    role: whose it is ("temporary", "state", "input", "fixed", "random", "work"). value: of the program, if it holds
    one. content: of a fixed one. offset: of a temporary one, in the arena that all of them share, in bytes.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    role: str
    value: Value | None = None
    content: Array | None = None
    offset: int = 0

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """How much memory it takes."""
        return self.size * self.dtype.itemsize


@dataclass(frozen=True)
class View:
    """A buffer under another name and shape, for library calls that take matrices."""

    name: str
    buffer: Buffer
    shape: tuple[int, ...]
    transposed: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the buffer."""
        return self.buffer.dtype


@dataclass(frozen=True)
class First:
    """The first element of a buffer, as an argument of a library call."""

    buffer: Buffer


@dataclass(frozen=True)
class Call:
    """A call of a library function with buffers, views and literals.

    into: the buffer whose first element gets the result. scale: what it is multiplied with ("*") or divided by ("/").
    """

    function: str
    arguments: tuple[Any, ...]
    into: Buffer | None = None
    scale: tuple[str, float | int] | None = None


@dataclass(eq=False)
class Statement:
    """Fills one buffer, in loops over a domain, or by library calls.

    kind: "map", "reduce", "scatter_add" or "call". index: where in the target an element goes. reads: which nodes are
    read from memory (in which buffer) and where (None: anywhere). is_update: an update, or what needs one.
    also: what a call fills besides.
    """

    node: Node
    target: Buffer
    domain: tuple[int, ...]
    index: Index
    kind: str
    reads: dict[Node, set[Index | None]] = field(default_factory=dict)
    sources: dict[Node, Buffer] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    writes: set[Buffer] = field(default_factory=set)
    is_update: bool = False
    also: Node | None = None

    @property
    def instructions(self) -> list[Instruction]:
        """The instructions that it computes."""
        return [x.source for x in (self.node, self.also) if x is not None and x.source is not None]

    @property
    def touched(self) -> set[Buffer]:
        """The buffers that it reads or writes."""
        return self.writes | set(self.sources.values())


@dataclass(eq=False)
class Loop:
    """Statements with one domain, in one nest of loops; or one statement that is a call."""

    domain: tuple[int, ...]
    statements: list[Statement]
    is_update: bool

    @property
    def is_call(self) -> bool:
        """Whether it is a library call."""
        return self.statements[0].kind == "call"


@dataclass
class Schedule:
    """Statements in order, and the buffers that they work on.

    batched: the inputs hold many batches, of which each step takes one. answers: where each output lies.
    out_of_place: the updates that cannot be written where the old value is.
    """

    function: Function
    nodes: Nodes
    batched: bool
    out_of_place: set[Node]
    buffers: list[Buffer] = field(default_factory=list)
    of_node: dict[Node, Buffer] = field(default_factory=dict)
    views: dict[tuple[Buffer, tuple[int, ...], bool], View] = field(default_factory=dict)
    answers: dict[str, Buffer] = field(default_factory=dict)
    statements: list[Statement] = field(default_factory=list)
    names: Names = field(default_factory=lambda: Names(*RESERVED))

    def buffer(self, name: str, shape: Sequence[int], dtype: Any, role: str, **more: Any) -> Buffer:
        """A new buffer; numbers are added to its name until it is a new one."""
        new = Buffer(self.free_name(name), tuple(shape), np.dtype(dtype), role, **more)
        check_dtype(new.dtype)
        self.buffers.append(new)
        return new

    def buffer_for(self, node: Node) -> Buffer:
        """A new temporary buffer with the name of the result that the node is, or is a part of."""
        return self.buffer(_name_for(node, self.nodes), node.shape, node.dtype, "temporary")

    def free_name(self, name: str) -> str:
        """This name, or with a number behind it if it is taken."""
        name = name.lstrip("_")
        return self.names.free(name if name.isidentifier() else f"t_{name}")

    def view(self, buffer: Buffer, shape: tuple[int, ...], turned: bool = False) -> View:
        """A buffer as a matrix, or as the transpose of one."""
        key = (buffer, shape, turned)
        if key not in self.views:
            name = self.free_name(f"{buffer.name}_{'T' if turned else 'rows'}")
            self.views[key] = View(name, buffer, shape, turned)
        return self.views[key]

    def add(self, statement: Statement, first: bool = False) -> None:
        """One more statement; first: before all others."""
        statement.writes.add(statement.target)
        statement.sources = {x: self.of_node[x] for x in statement.reads}
        self.statements.insert(0 if first else len(self.statements), statement)


def _name_for(node: Node, nodes: Nodes) -> str:
    source: Instruction | None = node.source
    if source is None:
        return "t"
    result = nodes.of(source.result)
    whole = result is node or (in_order(result) and result.inputs[0] is node)
    return source.result.name if whole else f"{source.result.name}_part"


def identity(shape: Sequence[int]) -> Index:
    """Each element of an array of this shape, in its place."""
    return tuple((k, 0, 1) for k in range(len(shape)))


def loop_order(reduction: Node) -> list[int]:
    """The axes of what a reduction reads, the outermost loop first; but for sums, those that go are the innermost."""
    (name, gone), axes = reduction.detail, range(len(reduction.inputs[0].shape))
    return list(axes) if name == "sum" else [k for k in axes if k not in gone] + [k for k in axes if k in gone]


def read_by_reduction(reduction: Node) -> Index:
    """Where a reduction reads, in its loops."""
    order = loop_order(reduction)
    return tuple((order.index(k), 0, 1) for k in range(len(order)))


def is_transposed(node: Node) -> bool:
    """Whether this is a matrix whose transpose is what lies in memory."""
    whole = node.kind == "view" and node.inputs[0].shape == node.shape[::-1]  # not of a part: that is a copy
    return whole and node.detail == ((1, 0, 1), (0, 0, 1))


def note_reads(plan: Schedule, x: Any, index: Index, reads: dict[Node, set[Index | None]], whole: bool = False) -> None:
    """Note which buffers, and where, the expression of x reads; whole: of what fills x's own buffer."""
    if not isinstance(x, Node) or x.kind in ("full", "iota"):
        return
    if not whole and x in plan.of_node:
        reads.setdefault(x, set()).add(index if plan.of_node[x].shape == x.shape else None)
    elif x.kind == "view":
        note_reads(plan, x.inputs[0], through(x, index), reads)
    elif x.kind == "gather":
        reads.setdefault(x.inputs[0], set()).add(None)  # anywhere
        for each in x.inputs[1:]:
            note_reads(plan, each, index, reads)
    elif x.kind == "map":
        for each in x.inputs:
            note_reads(plan, each, index, reads)
    else:
        raise AssertionError(f"{x.kind} has no buffer")
