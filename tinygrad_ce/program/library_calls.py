"""The cross-entropies in a compiled step: one call of their kernels gives the loss and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.program.abstract import Node
from tinygrad_ce.program.statements import Buffer, Call, First, Schedule, Statement


def fill_loss(plan: Schedule, node: Node, slopes: list[Node], is_update: bool) -> None:
    """Add the call of a kernel that fills a loss, its gradient, or both."""
    loss = node if node.kind == "loss" else None
    slope = node if loss is None else _partner(node, slopes)
    filled = {x: plan.buffer_for(x) for x in (loss, slope) if x is not None}
    plan.of_node.update(filled)
    statement = Statement(node, filled[node], (), (), "call", is_update=is_update, also=slope if loss else None)
    statement.writes.update(filled.values())
    statement.reads = {x: {None} for x in node.inputs}
    losses, gradient = (filled.get(x) if x is not None else None for x in (loss, slope))
    add_call = _call_of_sigmoid if node.detail[0] == "sigmoid_xent" else _call_of_rows
    add_call(plan, statement, losses, gradient)
    plan.add(statement)


def _partner(loss: Node, slopes: list[Node]) -> Node | None:
    """The gradient of this very loss for upstream 1, which the same call gives."""
    for slope in slopes:
        upstream = slope.inputs[-1]
        same = len(slope.inputs) == len(loss.inputs) and all(map(_same, slope.inputs[:-1], loss.inputs[:-1]))
        if same and slope.detail == loss.detail and upstream.kind == "full" and upstream.detail == 1:
            return slope
    return None


def _same(a: Node, b: Node) -> bool:
    return a is b or (a.kind == b.kind == "full" and (a.shape, a.dtype, a.detail) == (b.shape, b.dtype, b.detail))


def _call_of_sigmoid(plan: Schedule, statement: Statement, loss: Buffer | None, slope: Buffer | None) -> None:
    from tinygrad_ce.kernels.binary_cross_entropy import BLOCK  # brings Numba in

    z, (_, params), values = statement.node.inputs[0], statement.node.detail, _values(plan, statement)
    each = loss is not None and params["reduction"] == "none"
    share = 1 / z.size if params["reduction"] == "mean" else 1.0
    sums = plan.buffer("sums", (-(-z.size // BLOCK),), np.float64, "work")
    nothing = plan.buffer("nothing", (0,), z.dtype, "work")
    room = plan.buffer("space", (5, min(z.size, BLOCK)), z.dtype, "work")
    outputs = (loss if each else nothing, slope or nothing)
    work = (sums, plan.view(room, room.shape))
    *arrays, upstream = values
    statement.calls = [Call("sigmoid_xent_blocks", (*arrays, 0, upstream, *outputs, share, *work))]
    if loss is not None and not each:
        statement.calls.append(Call("accurate_sum", (sums,), into=loss, scale=("*", share)))


def _call_of_rows(plan: Schedule, statement: Statement, loss: Buffer | None, slope: Buffer | None) -> None:
    from tinygrad_ce.kernels.rows import MAX_PANEL_CLASSES, PARALLEL_THRESHOLD, buffer_shape, panel_rows  # brings Numba

    node, (which, params) = statement.node, statement.node.detail
    z, (_, y, w, upstream) = node.inputs[0], _values(plan, statement)
    rows, classes = z.shape
    reduction, smoothing, ignored = params["reduction"], float(params["smoothing"]), params.get("ignore_index")
    share = 1 / rows if reduction == "mean" else 1.0
    scale = ("/", rows) if reduction == "mean" else None

    def work(name: str, shape: tuple[int, ...], dtype: Any = z.dtype) -> Any:
        buffer = plan.buffer(name, shape, dtype, "work")
        return buffer if len(shape) == 1 else plan.view(buffer, shape)

    matrix = plan.view(plan.of_node[z], z.shape)
    gradient = plan.view(slope, z.shape) if slope else work("nothing", (0, classes))
    each = loss if loss is not None and reduction == "none" else work("losses", (rows,))
    labels = (y, ignored is not None, int(ignored or 0)) if which == "xent" else (plan.view(y, z.shape),)
    room: tuple[Any, ...]
    if which == "xent" and classes <= MAX_PANEL_CLASSES and smoothing == 0 and w.size == 1:
        lanes = panel_rows(rows)
        room = (work("panel", (classes + 3, lanes)), work("three", (3, lanes), np.float64))
        arguments = (matrix, *labels, First(w), upstream, share, *room, each, gradient)
        statement.calls = [Call("xent_panel", arguments)]
        if loss is not None and each is not loss and z.size < PARALLEL_THRESHOLD:  # the kernel's own sum, as eagerly
            statement.calls = [Call("xent_panel", arguments, into=loss, scale=scale)]
            return
    else:
        room = (work("buffer", buffer_shape(classes)),)
        room += (work("target", (classes,)),) if which == "soft_xent" else ()
        arguments = (matrix, *labels, w, smoothing, upstream, share, *room, each, gradient)
        statement.calls = [Call("xent_rows" if which == "xent" else "soft_xent_rows", arguments)]
    if loss is not None and each is not loss:
        statement.calls.append(Call("accurate_sum", (each,), into=loss, scale=scale))


def _values(plan: Schedule, statement: Statement) -> list[Buffer]:
    """The buffers of what the kernel takes: logits, targets, weights, upstream."""
    return [plan.of_node[x] for x in statement.node.inputs]
