"""The statements that fill a buffer: one function for each kind of node."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_ce.program.abstract import CannotLower, Node, in_order
from tinygrad_ce.program.ir import Value
from tinygrad_ce.program.library_calls import fill_loss
from tinygrad_ce.program.lowering import is_computed_by_loops
from tinygrad_ce.program.statements import (
    Buffer,
    Call,
    Index,
    Schedule,
    Statement,
    identity,
    is_transposed,
    loop_order,
    note_reads,
    read_by_reduction,
)


def fill(plan: Schedule, node: Node, update: Value | None, is_update: bool, slopes: list[Node]) -> None:
    """Give a node its buffer, and add the statements that fill it. update: the state that it becomes."""
    if node.kind == "input":
        value: Value = node.detail
        content = np.ascontiguousarray(value.example) if value.role == "fixed" else None
        plan.of_node[node] = plan.buffer(value.name, node.shape, node.dtype, value.role, value=value, content=content)
    elif node.kind in ("constant", "full"):
        content = node.detail if node.kind == "constant" else np.full(node.shape, node.detail, node.dtype)
        plan.of_node[node] = plan.buffer("fixed", node.shape, node.dtype, "fixed", content=content)
    elif node.kind == "reshape" or in_order(node):
        plan.of_node[node] = plan.of_node[node.inputs[0]]
    elif node.kind in ("loss", "slope"):
        fill_loss(plan, node, slopes, is_update)
    else:
        in_place = update is not None and node.kind == "map" and node not in plan.out_of_place
        home = plan.of_node[plan.nodes.of(update)] if update is not None and in_place else None
        if home is None or any(home in s.writes for s in plan.statements):
            home = plan.buffer_for(node)
        plan.of_node[node] = home
        FILL.get(node.kind, fill_elementwise)(plan, node, home, is_update)


def fill_elementwise(plan: Schedule, node: Node, target: Buffer, is_update: bool) -> None:
    """One element after the other."""
    here = identity(node.shape)
    statement = Statement(node, target, node.shape, here, "map", is_update=is_update)
    note_reads(plan, node, here, statement.reads, whole=True)
    plan.add(statement)


def fill_reduction(plan: Schedule, node: Node, target: Buffer, is_update: bool) -> None:
    """Sums and maxima; but for sums over the first axes, the axes that go are the innermost loops."""
    x, (name, axes) = node.inputs[0], node.detail
    leading = axes == tuple(range(len(axes))) and 0 < len(axes) < len(x.shape)
    if name == "sum" and x in plan.of_node and node.dtype.kind == "f" and leading and x.size:
        rows, columns = math.prod(x.shape[: len(axes)]), math.prod(x.shape[len(axes) :])
        call = Call("add_rows", (target, plan.of_node[x], rows, columns))
        plan.add(Statement(node, target, (), (), "call", reads={x: {None}}, calls=[call], is_update=is_update))
        return
    read = read_by_reduction(node)
    domain = tuple(x.shape[k] for k in loop_order(node))
    index = tuple((None, 0, 0) if k in axes else read[k] for k in range(len(x.shape)))
    statement = Statement(node, target, domain, index, "reduce", is_update=is_update)
    note_reads(plan, x, read, statement.reads)
    plan.add(statement)


def fill_scattered(plan: Schedule, node: Node, target: Buffer, is_update: bool) -> None:
    """Zeros, with elements added at places."""
    values = node.inputs[0]
    statement = Statement(node, target, values.shape, (), "scatter_add", is_update=is_update)
    for x in node.inputs:
        note_reads(plan, x, identity(values.shape), statement.reads)
    plan.add(statement)


def fill_concatenated(plan: Schedule, node: Node, target: Buffer, is_update: bool) -> None:
    """Several arrays, one behind the other."""
    start = 0
    for x in node.inputs:
        index = tuple((k, start if k == node.detail else 0, 1) for k in range(len(node.shape)))
        statement = Statement(x, target, x.shape, index, "map", is_update=is_update)
        note_reads(plan, x, identity(x.shape), statement.reads)
        plan.add(statement)
        start += x.shape[node.detail]


def fill_product(plan: Schedule, node: Node, target: Buffer, is_update: bool) -> None:
    """A product of two matrices: of small ones by loops of known sizes, of large ones by the BLAS."""
    turned = [is_transposed(x) for x in node.inputs[:2]]
    sources = [x.inputs[0] if turn else x for x, turn in zip(node.inputs[:2], turned, strict=True)]
    if node.dtype.kind != "f" or any(x.dtype != node.dtype for x in sources):
        raise CannotLower("a product of integers", "convert them with .astype(float)")
    a, b, *bias = (plan.of_node[x] for x in (*sources, *node.inputs[2:]))
    if is_computed_by_loops(node):
        (rows, inner), columns = node.inputs[0].shape, node.shape[1]
        some = {None: ()}.get(node.detail, node.detail)  # of the terms
        name = "multiply_terms" if some else "multiply"
        call = Call(name, (target, bias[0] if bias else None, a, b, rows, inner, columns, *turned, *some))
    else:
        left, right = (plan.view(x, s.shape, turn) for x, s, turn in zip((a, b), sources, turned, strict=True))
        call = Call("np.dot", (left, right, plan.view(target, node.shape)))
    reads: dict[Node, set[Index | None]] = {x: {None} for x in (*sources, *node.inputs[2:])}
    plan.add(Statement(node, target, (), (), "call", reads=reads, calls=[call], is_update=is_update))


def fill_by_kernel(plan: Schedule, node: Node, target: Buffer, is_update: bool) -> None:
    """The call of a kernel that fills one array from another."""
    (x,), (name, literals) = node.inputs, node.detail
    call = Call(name, (target, plan.of_node[x], *literals))
    plan.add(Statement(node, target, (), (), "call", reads={x: {None}}, calls=[call], is_update=is_update))


FILL = {
    "reduce": fill_reduction,
    "scatter_add": fill_scattered,
    "concatenate": fill_concatenated,
    "matmul": fill_product,
    "kernel": fill_by_kernel,
}
