"""Memory of a schedule: buffers whose lives do not overlap share it."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence

from tinygrad_ce.program.statements import Buffer, Loop
from tinygrad_ce.report.words import listed

ALIGNMENT = 64  # bytes: a line of the cache
ROLES = {
    "state": "parameters and what else lives from step to step",
    "input": "the batch",
    "random": "random numbers",
    "fixed": "fixed arrays",
    "work": "workspace of the losses",
    "temporary": "what is computed on the way",
}


def assign_offsets(buffers: Sequence[Buffer], loops: Sequence[Loop], answers: Iterable[Buffer]) -> int:
    """Assign offsets in one arena to the temporary buffers by their lifetimes; return its size in bytes.

    answers: buffers that are read after the last loop. The largest buffers choose first.
    """
    lives = _lifetimes(loops, answers)
    placed: list[tuple[int, int, int, int]] = []  # from, to, and the first and last loop, in the order of the arena
    for b in sorted((b for b in buffers if b.role == "temporary"), key=lambda b: (-b.bytes, b.name)):
        size = b.bytes
        first, last = lives.setdefault(b, (0, len(loops)))
        b.offset = 0
        for start, end, born, dead in placed:
            if born > last or first > dead:
                continue
            if b.offset + size <= start:
                break
            b.offset = max(b.offset, -(-end // ALIGNMENT) * ALIGNMENT)
        insort(placed, (b.offset, b.offset + size, first, last))
    return max((end for _, end, *_ in placed), default=0)


def _lifetimes(loops: Sequence[Loop], answers: Iterable[Buffer]) -> dict[Buffer, tuple[int, int]]:
    """For each buffer the first and the last loop that touches it."""
    lives: dict[Buffer, tuple[int, int]] = {}
    for k, loop in enumerate(loops):
        for b in (b for s in loop.statements for b in s.touched):
            lives[b] = (lives.get(b, (k, k))[0], k)
    for b in answers:
        lives[b] = (lives.get(b, (0, 0))[0], len(loops))
    return lives


def report(buffers: Sequence[Buffer], arena: int) -> str:
    """How many bytes the arrays need, and what for. arena: the memory that temporary buffers share."""
    rows = []
    for role, purpose in ROLES.items():
        of_role = [b for b in buffers if b.role == role]
        if of_role:
            size = arena if role == "temporary" else sum(b.bytes for b in of_role)
            names = [b.name for b in of_role]
            rows.append(f"{size:>12,} bytes  {purpose}: {listed(names, 8)}")
    apart = sum(b.bytes for b in buffers if b.role == "temporary")
    total = arena + sum(b.bytes for b in buffers if b.role != "temporary")
    shared = f" ({apart:,} if they did not share memory, as their lives do not overlap)" if apart > arena else ""
    return "\n".join([f"{total:,} bytes, allocated once", *rows]) + shared
