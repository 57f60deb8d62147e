"""How much of a value is rounding: what another order of the same arithmetic may change of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.exercises.answers import epsilon
from tinygrad_ce.exercises.backward_program import Line, Program
from tinygrad_ce.graph.expressions import names_in

RUNS = 6


def rounding(program: Program) -> dict[str, Array]:
    """How far each value that is asked for moves when every number on the way is rounded a little differently.

    The program is run again with the last digits of each result changed. Its forms are those of textbooks, which lose
    more digits than the engine's.
    """
    generator = np.random.default_rng(0)  # of our own: nobody's numbers change
    own = [line for line in program.lines.values() if line not in program.forward]
    lines = [(line, _rounded_alike(line, program.values)) for line in (*program.forward, *own)]
    noise = {name: np.zeros(right.shape) for name, right in program.right.items()}
    with np.errstate(all="ignore"):
        for _ in range(RUNS):
            values: dict[str, Any] = dict(program.values)
            for line, alike in lines:
                array = program.run(line.code, values)
                if array.dtype.kind == "f" and line.terms:
                    changes = 4 * epsilon(array) * generator.uniform(-1, 1, array.size + 1)
                    changes[-1] = 0
                    array = np.asarray(array * (1 + changes[alike]), program.values[line.name].dtype)
                values[line.name] = array
            for name, right in program.right.items():
                difference = np.abs(np.asarray(values[name], np.float64) - np.asarray(right, np.float64))
                noise[name] = np.maximum(noise[name], np.where(np.isfinite(difference), difference, 0))
    return noise


def _rounded_alike(line: Line, values: Mapping[str, Any]) -> Array:
    """For each number of a result, which change it gets: equal numbers the same, so that a maximum keeps its ties.

    Numbers that were only chosen or moved, and not computed, get the last one: none.
    """
    result = np.asarray(values[line.name])
    read = [np.ravel(values[x]) for term in line.terms for x in names_in(term.tree) if x in values]
    moved = np.isin(result, np.concatenate([*read, [0.0]]))
    numbers = np.unique(result, return_inverse=True)[1].reshape(result.shape)
    return np.where(moved, result.size, numbers)
