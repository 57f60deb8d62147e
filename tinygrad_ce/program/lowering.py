"""From instructions to nodes: each primitive's body is run on abstract arrays, which write down what NumPy would do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.program.abstract import AbstractArray, CannotLower, Node, node_of
from tinygrad_ce.program.ir import Function, Instruction, Value
from tinygrad_ce.program.numpy_functions import body_of, broadcast_to, mapped

MIN_SHARED_WORK = 4_000_000  # multiplications in a step; the threads of a smaller one would mostly wait
MIN_SPLIT_TERMS = 256  # of a sum; the halves of a shorter one are not worth another pass over the product
MAX_LOOP_PRODUCT = 50_000_000  # multiplications; such loops are as fast as the BLAS, and their sizes are known
DTYPES = {"f4", "f8", "i8", "i4", "i2", "i1", "u4", "u2", "u1", "b1"}  # kind and bytes

LOSSES = {
    ops.xent: ("xent", False),
    ops.xent_grad: ("xent", True),
    ops.soft_xent: ("soft_xent", False),
    ops.soft_xent_grad: ("soft_xent", True),
    ops.sigmoid_xent: ("sigmoid_xent", False),
    ops.sigmoid_xent_grad: ("sigmoid_xent", True),
}


@dataclass
class Nodes:
    """The nodes of a program: of each of its values, and all of them, oldest first."""

    function: Function
    by_value: dict[Value, Node]

    def of(self, value: Value) -> Node:
        """The node of a value."""
        if value not in self.by_value:
            assert value.role == "constant"
            self.by_value[value] = node_of(value.example)
        return self.by_value[value]

    def answers(self) -> set[Node]:
        """What the program answers with, and what becomes of its state."""
        return {self.of(v) for v in self.function.answers}

    def uses(self) -> Counter[Node]:
        """How often each node is an input of another."""
        return Counter(x for node in self.in_order() for x in nodes_in(node.inputs))

    def in_order(self) -> list[Node]:
        """All nodes that an answer needs, and all inputs, oldest first."""
        found: dict[float, Node] = {}
        waiting = [*self.answers(), *(node for node in self.by_value.values() if node.kind == "input")]
        while waiting:
            node = waiting.pop()
            if node.number not in found:
                found[node.number] = node
                waiting.extend(nodes_in(node.inputs))
        return [found[n] for n in sorted(found)]


def nodes_in(inputs: Iterable[object]) -> list[Node]:
    """The inputs of a node that are nodes, not numbers."""
    return [x for x in inputs if isinstance(x, Node)]


def lowered_to_nodes(function: Function, batched: bool = False) -> Nodes:
    """Every value's node. CannotLower if an operation has no loops. batched: many batches are given at once."""
    nodes = Nodes(function, {})
    for x in function.inputs:
        try:
            check_dtype(x.dtype)
        except CannotLower as error:
            raise CannotLower(f"{x.name}: {error.why}", error.way_out) from None
        nodes.by_value[x] = Node("input", x.shape, x.dtype, detail=x)
    for i in function.instructions:
        nodes.by_value[i.result] = node = _node_of_instruction(i, nodes)
        _set_source(node, i)
    _start_products_from_their_bias(nodes)
    if batched and work_of_products(nodes) >= MIN_SHARED_WORK:
        _split_products_of_the_batch(nodes)
    return nodes


def check_dtype(dtype: np.dtype[np.generic]) -> None:
    """CannotLower if there are no loops for this dtype."""
    if dtype.str[1:] not in DTYPES:
        raise CannotLower(f"arrays of dtype {dtype} have no loops here", "convert them with .astype(np.float32)")


def _node_of_instruction(i: Instruction, nodes: Nodes) -> Node:
    inputs = [AbstractArray(nodes.of(x)) if isinstance(x, Value) else x for x in i.inputs]
    try:
        node = _loss_node(i, inputs) if i.op in LOSSES else None
        if node is None:
            node = node_of(body_of(i.op.body)(*inputs, **i.params))
    except CannotLower as error:
        raise error.located(i) from None
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise CannotLower(f"its body does not run on arrays without elements: {error}").located(i) from error
    if node.shape != i.result.shape or node.dtype != i.result.dtype:
        raise CannotLower(f"loops would give {node.shape} {node.dtype}, its body another array").located(i)
    return node


def _set_source(node: Node, i: Instruction) -> None:
    """Set the source of a node, and of the nodes that it is computed from, where they have none."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if node.source is None and node.kind != "input":
            node.source = i
            waiting.extend(nodes_in(node.inputs))


def _start_products_from_their_bias(nodes: Nodes) -> None:
    """Let a product that loops compute start from the row that is added to it; one of no terms is zero."""
    in_order = nodes.in_order()
    for node in in_order:
        if node.kind == "matmul" and multiplications(node) == 0:  # nothing is added up
            node.kind, node.detail, node.inputs = "full", 0.0, ()
    uses, values = nodes.uses(), set(nodes.by_value.values())
    for node in in_order:
        if node.kind != "map" or node.detail != "add" or len(node.shape) != 2:
            continue
        product, row = node.inputs
        if not isinstance(product, Node) or not isinstance(row, Node) or product.kind != "matmul":
            continue
        is_row = row.kind == "view" and row.detail == ((1, 0, 1),) and row.inputs[0].dtype == node.dtype
        alone = len(product.inputs) == 2 and uses[product] == 1 and product not in values
        if is_row and alone and is_computed_by_loops(product):
            node.kind, node.detail, node.inputs = "matmul", None, (*product.inputs, row.inputs[0])


def _split_products_of_the_batch(nodes: Nodes) -> None:
    """Compute the product of wide rows of the batch and a parameter as the sum of two halves, each of half the terms.

    So two threads can each keep their half of the inputs and of the parameter in their own cache, where it is read,
    and updated. It is the sum of halves for any number of threads: the bits are the same.
    """
    for node in nodes.in_order():
        if node.kind != "matmul" or {x.kind for x in node.inputs[:2]} != {"input"}:
            continue
        (a, b, *bias), inner = node.inputs, node.inputs[0].shape[1]
        if a.detail.role != "input" or b.detail.role != "state" or inner < MIN_SPLIT_TERMS or not bias:
            continue
        middle = half_of_rows(inner)
        halves = [Node("matmul", node.shape, node.dtype, (a, b), part) for part in ((0, middle), (middle, inner))]
        total = Node("map", node.shape, node.dtype, tuple(halves), "add")
        row = broadcast_to(AbstractArray(bias[0]), node.shape).node
        for k, part in enumerate((*halves, total, row), start=1):
            part.number, part.source = node.number - 1 + k / 5, node.source  # older than what is made of them
        node.kind, node.detail, node.inputs = "map", "add", (total, row)


def half_of_rows(rows: int) -> int:
    """Where the share of the first of two threads ends (see kernels/gate.py)."""
    return rows // 8 // 2 * 8


def work_of_products(nodes: Nodes) -> int:
    """How many multiplications all matrix products of a step take."""
    return sum(multiplications(node) for node in nodes.in_order() if node.kind == "matmul")


def multiplications(product: Node) -> int:
    """How many multiplications a matrix product takes."""
    (rows, inner), columns = product.inputs[0].shape, product.shape[1]
    return int(rows * inner * columns)


def is_computed_by_loops(product: Node) -> bool:
    """Whether a product is small enough for loops of known sizes; larger ones are left to the BLAS."""
    return multiplications(product) <= MAX_LOOP_PRODUCT


# ---- the cross-entropies have kernels


def _loss_node(i: Instruction, inputs: list[Any]) -> Node | None:
    """A loss or its gradient, its arrays in the form that the kernel takes; None if the kernel does not take them."""
    which, is_slope = LOSSES[i.op]
    upstream: Any = 1.0
    if is_slope:
        upstream, *inputs = inputs
    z = node_of(inputs[0])
    rows = which != "sigmoid_xent"
    if z.dtype.str[1:] not in ("f4", "f8") or z.size == 0 or (rows and len(z.shape) != 2):
        return None
    _, y, *weights = inputs
    y = node_of(y) if which == "xent" else _as(z.dtype, y)
    if (which == "xent" and y.dtype != np.int64) or (not rows and y.shape != z.shape):
        return None
    scaled = [_weight(_as(z.dtype, w), z, i.params, which) for w in weights]
    shape = {"none": z.shape[:1] if rows else z.shape}.get(i.params["reduction"], ())
    upstream = _as(z.dtype, upstream)
    if upstream.shape != shape:
        upstream = broadcast_to(upstream, shape).node
    kind = "slope" if is_slope else "loss"
    return Node(kind, i.result.shape, z.dtype, (z, y, *scaled, upstream), (which, dict(i.params)))


def _as(dtype: np.dtype[Any], x: Any) -> Node:
    x = x if isinstance(x, AbstractArray) else AbstractArray(node_of(np.asarray(x, dtype)))
    return x.node if x.dtype == dtype else mapped("astype", x, dtype=dtype).node


def _weight(w: Node, z: Node, params: Any, which: str) -> Node:
    """One weight, or one for each class (or element), as the kernels take them."""
    from tinygrad_ce.kernels.rows import MAX_PANEL_CLASSES  # brings Numba in

    in_a_panel = which == "xent" and params["smoothing"] == 0 and z.shape[-1] <= MAX_PANEL_CLASSES
    single = w.size == 1 and (which == "sigmoid_xent" or in_a_panel)
    shape = (1,) if single else z.shape if which == "sigmoid_xent" else z.shape[1:]
    if w.kind == "full":
        return Node("full", shape, w.dtype, detail=w.detail)
    return w if w.shape == shape or single else broadcast_to(AbstractArray(w), shape).node
