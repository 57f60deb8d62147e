"""How much of a gradient is rounding: what another order of the same arithmetic may change of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.graph.formula import Formula
from tinygrad_ce.graph.nodes import Graph, Node
from tinygrad_ce.program.evaluate import evaluate
from tinygrad_ce.program.ir import Instruction, Value


def rounding(graph: Graph, nodes: list[Node], runs: int = 6) -> dict[Node, Array]:
    """How far the gradient of each node moves when every number on the way is rounded a little differently.

    The program of the loss is run again with the last digits of each result changed; the cross-entropies in their
    textbook form, which loses more digits than the engine's.
    """
    generator = np.random.default_rng(0)  # of our own: nobody's numbers change
    program = graph.recorded.program
    forms = {e.rule[1]: e.formula.textbook for e in graph.edges if e.rule is not None and e.formula is not None}
    alike = {i: _rounded_alike(i) for i in program.instructions}
    noise = {node: np.zeros(node.shape) for node in nodes}
    for _ in range(runs):
        values: dict[Value, Array] = {x: x.example for x in program.inputs}
        with np.errstate(all="ignore"):
            evaluate(program.instructions, values, run_of=_shaken(values, forms, alike, generator))
            for node in noise:
                if node.derivative in values:
                    difference = np.abs(values[node.derivative].astype(np.float64) - np.asarray(node.gradient, float))
                    noise[node] = np.maximum(noise[node], np.where(np.isfinite(difference), difference, 0))
    return noise


def _shaken(
    values: dict[Value, Array],
    forms: dict[Value, Formula | None],
    alike: dict[Instruction, Array],
    generator: np.random.Generator,
) -> Callable[[Instruction], Callable[..., Array]]:
    """For an instruction, the function that computes it with other last digits; values: those computed so far."""

    def run_of(i: Instruction) -> Callable[..., Array]:
        def run(*inputs: Any, **params: Any) -> Array:
            form = forms.get(i.result)
            if form is None:
                array = np.asarray(i.op.body(*inputs, **params))
            else:
                array = form.with_numbers({value.name: array for value, array in values.items()}).value
            if array.dtype.kind != "f":
                return array
            changes = 4 * np.finfo(i.result.dtype).eps * generator.uniform(-1, 1, array.size + 1)
            changes[-1] = 0
            return np.asarray(array * (1 + changes[alike[i]]), i.result.dtype)

        return run

    return run_of


def _rounded_alike(i: Instruction) -> Array:
    """For each number of a result, which change it gets: equal numbers the same, so that a maximum keeps its ties.

    Numbers that were only chosen or moved, and not computed, get the last one: none.
    """
    result = i.result.example
    came_in = [np.ravel(x.example if isinstance(x, Value) else x) for x in i.inputs]
    moved = np.isin(result, np.concatenate([*came_in, [0.0]]))
    numbers = np.unique(result, return_inverse=True)[1].reshape(result.shape)
    return np.where(moved, result.size, numbers)
