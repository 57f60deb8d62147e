"""How much of a gradient is rounding: what another order of the same arithmetic may change of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.program.ir import Instruction, Value
from tinygrad_ce.views.formula import Formula
from tinygrad_ce.views.reading import Graph, Node


def rounding(graph: Graph, nodes: list[Node], runs: int = 6) -> dict[Node, Array]:
    """How far the gradient of each node moves when every number on the way is rounded a little differently.

    The program of the loss is run again with the last digits of each result changed; the cross-entropies in their
    textbook form, which loses more digits than the engine's.
    """
    generator = np.random.default_rng(0)  # of our own: nobody's numbers change
    shares = {edge.rule[1]: edge for edge in graph.edges if edge.rule is not None}
    forms = {value: edge.formula.textbook for value, edge in shares.items() if edge.formula is not None}
    alike = {i: _rounded_alike(i) for i in graph.recorded.program.instructions}
    noise = {node: np.zeros(node.shape) for node in nodes}
    for _ in range(runs):
        values = _shaken_run(graph, forms, alike, generator)
        for node in noise:
            assert node.tensor is not None
            moved = values.get(graph.recorded.gradients[node.tensor.serial])
            if moved is not None:
                with np.errstate(all="ignore"):
                    difference = np.abs(moved.astype(np.float64) - np.asarray(node.gradient, np.float64))
                noise[node] = np.maximum(noise[node], np.where(np.isfinite(difference), difference, 0))
    return noise


def _shaken_run(
    graph: Graph, forms: dict[Value, Any], alike: dict[Instruction, Array], generator: np.random.Generator
) -> dict[Value, Array]:
    """Every value of the program, computed with other last digits."""
    program = graph.recorded.program
    known: dict[Value, Array] = {x: x.example for x in program.inputs}

    def of(x: Any) -> Any:
        return known.get(x, x.example) if isinstance(x, Value) else x

    for i in program.instructions:
        form = forms.get(i.result)
        with np.errstate(all="ignore"):
            if form is None:
                array = np.asarray(i.op.body(*map(of, i.inputs), **i.params))
            else:
                arrays = form.arrays | {value.name: moved for value, moved in known.items()}
                array = Formula(form.whole, arrays, form.functions).value
            if array.dtype.kind == "f":
                changes = 4 * np.finfo(i.result.dtype).eps * generator.uniform(-1, 1, array.size + 1)
                changes[-1] = 0
                array = np.asarray(array * (1 + changes[alike[i]]), i.result.dtype)
        known[i.result] = array
    return known


def _rounded_alike(i: Instruction) -> Array:
    """For each number of a result, which change it gets: equal numbers the same, so that a maximum keeps its ties.

    Numbers that were only chosen or moved, and not computed, get the last one: none.
    """
    result = i.result.example
    came_in = [np.ravel(x.example if isinstance(x, Value) else x) for x in i.inputs]
    moved = np.isin(result, np.concatenate([*came_in, [0.0]]))
    numbers = np.unique(result, return_inverse=True)[1].reshape(result.shape)
    return np.where(moved, result.size, numbers)
