"""The cross-entropies in a compiled step: one call of their kernels gives the loss and its gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.program.abstract import AbstractArray, CannotLower, Node, broadcast_to, mapped, node_of

if TYPE_CHECKING:
    from tinygrad_ce.program.ir import Instruction
    from tinygrad_ce.program.schedule import Buffer, Lowering

KERNELS = {
    ops.xent: ("xent", False),
    ops.xent_grad: ("xent", True),
    ops.soft_xent: ("soft_xent", False),
    ops.soft_xent_grad: ("soft_xent", True),
    ops.sigmoid_xent: ("sigmoid_xent", False),
    ops.sigmoid_xent_grad: ("sigmoid_xent", True),
}


def node(i: Instruction, inputs: list[Any]) -> Node | None:
    """A loss or its gradient, its arrays in the form that the kernel takes; None if the kernel does not take them."""
    which, slope = KERNELS[i.op]
    upstream: Any = 1.0
    if slope:
        upstream, *inputs = inputs
    z = node_of(inputs[0])
    rows = which != "sigmoid_xent"
    if z.dtype.str[1:] not in ("f4", "f8") or z.size == 0 or (rows and len(z.shape) != 2):
        return None
    _, y, *weights = inputs
    y = node_of(y) if which == "xent" else _as(z.dtype, y)
    if which == "xent" and y.dtype != np.int64:
        return None
    if not rows and y.shape != z.shape:
        return None
    weighed = [_weight(_as(z.dtype, w), z, i.params, which) for w in weights]
    shape = {"none": z.shape[:1] if rows else z.shape}.get(i.params["reduction"], ())
    upstream = _as(z.dtype, upstream)
    if upstream.shape != shape:
        upstream = broadcast_to(upstream, shape).node
    detail = (which, dict(i.params))
    return Node("slope" if slope else "loss", i.result.shape, z.dtype, (z, y, *weighed, upstream), detail)


def _as(dtype: np.dtype[Any], x: Any) -> Node:
    x = x if isinstance(x, AbstractArray) else AbstractArray(node_of(np.asarray(x, dtype)))
    return x.node if x.dtype == dtype else mapped("astype", x, dtype=dtype).node


def _weight(w: Node, z: Node, params: Any, which: str) -> Node:
    """One weight, or one for each class (or element), as the kernels take them."""
    from tinygrad_ce.kernels.rows import MAX_PANEL_CLASSES  # brings Numba in

    in_a_panel = which == "xent" and params["smoothing"] == 0 and z.shape[-1] <= MAX_PANEL_CLASSES
    single = w.size == 1 and (which == "sigmoid_xent" or in_a_panel)
    wanted = (1,) if single else z.shape if which == "sigmoid_xent" else z.shape[1:]
    if w.kind == "full":
        return Node("full", wanted, w.dtype, detail=w.detail)
    return w if w.shape == wanted or single else broadcast_to(AbstractArray(w), wanted).node


def call(plan: Lowering, of: Node, slopes: list[Node], last: bool) -> None:
    """The call of a kernel that fills a loss, its gradient, or both."""
    from tinygrad_ce.program.schedule import Statement

    which, params = of.detail
    loss = of if of.kind == "loss" else None
    slope = of if of.kind == "slope" else _partner(of, slopes)
    *values, upstream = of.inputs
    buffers = [plan.buffers[x] for x in values]
    filled = {x: plan.buffer(plan.name_for(x), x.shape, x.dtype, "temporary") for x in (loss, slope) if x is not None}
    plan.buffers.update(filled)
    target = plan.buffers[of]
    statement = Statement(of, target, (), (), "call", last=last, also=slope if of is loss else None)
    statement.writes.update(filled.values())
    statement.reads = {x: {None} for x in (*values, upstream)}
    statement.lines = _lines(
        plan, which, params, buffers, values[0], plan.buffers[upstream], loss, slope, statement.writes
    )
    plan.add(statement)


def _partner(of: Node, slopes: list[Node]) -> Node | None:
    """The gradient of this very loss for upstream 1, which the same call gives."""
    for slope in slopes:
        upstream = slope.inputs[-1]
        same = len(slope.inputs) == len(of.inputs) and all(map(_same, slope.inputs[:-1], of.inputs[:-1]))
        if same and slope.detail == of.detail and upstream.kind == "full" and upstream.detail == 1:
            return slope
    return None


def _same(a: Node, b: Node) -> bool:
    return a is b or (a.kind == b.kind == "full" and (a.shape, a.dtype, a.detail) == (b.shape, b.dtype, b.detail))


def _lines(
    plan: Lowering,
    which: str,
    params: dict[str, Any],
    values: list[Buffer],
    z: Node,
    upstream: Buffer,
    loss: Node | None,
    slope: Node | None,
    writes: set[Buffer],
) -> list[str]:
    from tinygrad_ce.kernels.binary_cross_entropy import BLOCK  # these bring Numba in
    from tinygrad_ce.kernels.rows import MAX_PANEL_CLASSES, PARALLEL_THRESHOLD, buffer_shape, panel_rows

    reduction, dtype = params["reduction"], z.dtype
    rows = z.shape[0] if which != "sigmoid_xent" else z.size
    share = 1 / rows if reduction == "mean" else 1.0

    def work(name: str, shape: tuple[int, ...], kind: Any = dtype) -> str:
        made = plan.buffer(name, shape, kind, "work")
        return made.name if len(shape) == 1 else plan.view(made, shape)

    whole = loss is not None and reduction == "none"
    losses = plan.buffers[loss].name if whole and loss is not None else None
    slopes = plan.buffers[slope] if slope is not None else None
    if which == "sigmoid_xent":
        plan.imports.update(("sigmoid_xent_blocks", "accurate_sum"))
        plan.linked.add(("sigmoid_xent_blocks", dtype.name))
        sums = work("sums", (-(-rows // BLOCK),), np.float64)
        nothing = work("nothing", (0,))
        space = work("space", (5, min(rows, BLOCK)))
        given = ", ".join(b.name for b in values)
        lines = [
            f"sigmoid_xent_blocks({given}, 0, {upstream.name}, {losses or nothing}, "
            f"{slopes.name if slopes else nothing}, {share!r}, {sums}, {space})"
        ]
        total = f"accurate_sum({sums}) * {share!r}"
    else:
        matrix = plan.view(values[0], z.shape)
        out = plan.view(slopes, z.shape) if slopes else work("nothing", (0, z.shape[1]))
        each = losses or work("losses", (rows,))
        y = values[1].name if which == "xent" else plan.view(values[1], z.shape)
        few = which == "xent" and z.shape[1] <= MAX_PANEL_CLASSES and params["smoothing"] == 0 and values[2].size == 1
        ignored = params.get("ignore_index")
        labels = f"{ignored is not None}, {ignored or 0}, " if which == "xent" else ""
        if few:
            plan.imports.update(("xent_panel", "accurate_sum"))
            plan.linked.add(("xent_panel", dtype.name))
            lanes = panel_rows(rows)
            room = f"{work('panel', (z.shape[1] + 3, lanes))}, {work('three', (3, lanes), np.float64)}"
            answer = plan.free("total")
            lines = [
                f"{answer} = xent_panel({matrix}, {y}, {labels}{values[2].name}[0], {upstream.name}, {share!r}, "
                f"{room}, {each}, {out})"
            ]
        else:
            name = "xent_rows" if which == "xent" else "soft_xent_rows"
            plan.imports.update((name, "accurate_sum"))
            plan.linked.add((name, dtype.name))
            room = work("buffer", buffer_shape(z.shape[1]))
            room += ", " + work("target", (z.shape[1],)) if which == "soft_xent" else ""
            lines = [
                f"{name}({matrix}, {y}, {labels}{values[2].name}, {float(params['smoothing'])!r}, {upstream.name}, "
                f"{share!r}, {room}, {each}, {out})"
            ]
        in_the_kernel = few and z.size < PARALLEL_THRESHOLD  # as in an eager step
        added = answer if in_the_kernel else f"accurate_sum({each})"
        total = f"{added} / {rows}" if reduction == "mean" else added
    if loss is not None and not whole:
        lines.append(f"{plan.buffers[loss].name}[0] = {total}")
    return lines


__all__ = ["KERNELS", "CannotLower", "call", "node"]
