"""Several threads in one step: which rows of a loop each thread takes, and where all wait for each other.

Every element is computed by one thread, by the same instructions whichever it is: any number of threads gives the
same bits. A thread that reads only rows that it has written itself does not wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinygrad_ce.program.abstract import Node
from tinygrad_ce.program.lowering import MIN_SHARED_WORK, work_of_products
from tinygrad_ce.program.statements import Buffer, Index, Loop, Schedule, Statement

MIN_ROWS = 8  # of a loop that is shared


@dataclass(frozen=True)
class Share:
    """How a loop is shared: by so many rows, or done by the thread with this number (modulo the number of threads)."""

    rows: int | None = None
    thread: int = 0
    waits: bool = False


@dataclass(frozen=True)
class Access:
    """A read or write of some buffer.

    rows: how it is cut, if each thread touches only its own rows of the buffer. thread: the only one that touches it.
    half: which half of the columns of a batch it is, if it is one.
    """

    buffer: Buffer
    is_write: bool
    rows: int | None = None
    thread: int | None = None
    half: int | None = None

    def is_apart(self, other: Access) -> bool:
        """Whether no thread can get in another's way."""
        if not (self.is_write or other.is_write) or not _overlap(self.buffer, other.buffer):
            return True
        if self.half is not None and other.half is not None and self.half != other.half:
            return True
        if self.thread is not None or other.thread is not None:
            return self.thread == other.thread
        return self.buffer is other.buffer and self.rows is not None and self.rows == other.rows


def is_worth_sharing(plan: Schedule) -> bool:
    """Whether a step has enough work for several threads."""
    return plan.batched and work_of_products(plan.nodes) >= MIN_SHARED_WORK


def share(plan: Schedule, loops: Sequence[Loop]) -> list[Share]:
    """How each loop is shared, in order; the batch has been gathered before them, row by row."""
    shares: list[Share] = []
    open_accesses = [a for b in plan.buffers if b.role in ("input", "random") for a in _gathered(plan, b)]
    alone = 0
    for loop in loops:
        rows = shared_rows(loop)
        half = half_of_product(loop)
        thread = half if half is not None else None if rows else _thread_of_conflict(loop, open_accesses, alone)
        found = _accesses(loop, rows, thread)
        waits = not all(a.is_apart(b) for a in found for b in open_accesses)
        if thread is not None and waits and half is None:
            thread = alone
            alone += 1
            found = _accesses(loop, rows, thread)
        open_accesses = found if waits else open_accesses + found
        shares.append(Share(rows, thread or 0, waits))
    return shares


def _thread_of_conflict(loop: Loop, before: Sequence[Access], otherwise: int) -> int:
    """The thread that has done what this loop goes on with, so that nobody needs to wait."""
    touched = {b for s in loop.statements for b in s.touched}
    threads = [a.thread for a in before if a.thread is not None and any(_overlap(a.buffer, b) for b in touched)]
    return threads[-1] if threads else otherwise


def _gathered(plan: Schedule, b: Buffer) -> list[Access]:
    """The accesses by which a batch is gathered; random numbers are copied by the first thread."""
    if is_halved(plan, b):
        return [Access(b, True, thread=half, half=half) for half in (0, 1)]
    rows = rows_gathered(b)
    return [Access(b, True, rows, None if rows else 0)]


def rows_gathered(b: Buffer) -> int | None:
    """The number of rows of which each thread gathers its own; None if the first thread gathers all."""
    return b.shape[0] if b.role == "input" and b.shape and b.shape[0] >= MIN_ROWS else None


def is_halved(plan: Schedule, b: Buffer) -> bool:
    """Whether a batch is gathered in two halves of its columns, each by the thread that multiplies them."""
    halves = (s for s in plan.statements if s.calls and s.calls[0].function == "multiply_terms")
    return any(s.calls[0].arguments[2] is b for s in halves)


def half_of_product(loop: Loop) -> int | None:
    """Which half of the terms of a product a loop computes, if it does."""
    call = loop.statements[0].calls[0] if loop.is_call else None
    return int(call.arguments[9] > 0) if call is not None and call.function == "multiply_terms" else None


def _overlap(a: Buffer, b: Buffer) -> bool:
    """Whether two buffers have memory in common."""
    if a is b:
        return True
    in_arena = a.role == b.role == "temporary"
    return in_arena and a.offset < b.offset + b.bytes and b.offset < a.offset + a.bytes


def shared_rows(loop: Loop) -> int | None:
    """The number of rows into which the work of a loop can be cut; None if one thread has to do it."""
    if loop.is_call:
        calls = loop.statements[0].calls
        rows = calls[0].arguments[4] if calls[0].function == "multiply" else 0
    else:
        rows = loop.domain[0] if loop.domain and all(map(_writes_own_rows, loop.statements)) else 0
    return int(rows) if rows >= MIN_ROWS else None


def _writes_own_rows(s: Statement) -> bool:
    """Whether each index of the outermost loop writes elements of its own, and nothing before or after that loop."""
    if s.kind == "reduce":
        name, axes = s.node.detail
        innermost = range(len(s.domain) - len(axes), len(s.domain))
        if len(axes) == len(s.domain) or (name == "sum" and sorted(axes) != [*innermost]):
            return False
    return s.kind != "scatter_add" and any(axis == 0 and step for axis, _, step in s.index)


def _accesses(loop: Loop, rows: int | None, thread: int | None) -> list[Access]:
    """What a loop reads and writes, and how that is cut."""
    found: list[Access] = []
    for s in loop.statements:
        for node, places in s.reads.items():
            half = half_of_product(loop) if s.calls and s.sources[node] is s.calls[0].arguments[2] else None
            found.append(Access(s.sources[node], False, _rows_read(s, node, places, rows), thread, half))
        for b in s.writes:
            whole_rows = loop.is_call or _is_own_row(s.index, b, rows)
            found.append(Access(b, True, rows if whole_rows else None, thread))
    return found


def _rows_read(s: Statement, node: Node, places: set[Index | None], rows: int | None) -> int | None:
    """The cut of what a statement reads, if each thread reads only its own rows."""
    if s.kind == "call":
        first = s.calls[0]
        is_left = first.function == "multiply" and first.arguments[2] is s.sources[node] and not first.arguments[7]
        alone = first.function == "multiply" and first.arguments[3] is not s.sources[node]
        return rows if is_left and alone else None
    return rows if all(p is not None and _is_own_row(p, s.sources[node], rows) for p in places) else None


def _is_own_row(index: Index, buffer: Buffer, rows: int | None) -> bool:
    """Whether the outermost loop runs along the first axis of a buffer, from end to end, and along no other."""
    first, *others = index or ((None, 0, 0),)
    whole = bool(buffer.shape) and buffer.shape[0] == rows
    return whole and first == (0, 0, 1) and all(axis != 0 for axis, _, _ in others)
