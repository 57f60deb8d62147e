"""An assignment: the forward pass that is given, the values that are asked for, what they count, and the solution.

The teacher's version is a file of Python that defines it (README.md in this folder says what stands in it), or a
notebook with the same code; the ones in `catalog/` are such files.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce.assignments.notebooks import checked_ending, write_notebook
from tinygrad_ce.assignments.recorded import named_tensors, recorded
from tinygrad_ce.assignments.statements import Statements
from tinygrad_ce.core import Array
from tinygrad_ce.disk import write_whole
from tinygrad_ce.functional import gradients
from tinygrad_ce.report.words import format_number

HINT_COST = 0.1  # of the points of a value, for each of its hints


@dataclass(frozen=True, eq=False)
class Assignment:
    """What students are asked to compute by hand.

    name: short, as a file is called. title, text: what a student reads first, in Markdown. source: the teacher's file.
    forward: from arrays to the loss, in NumPy; None where values of `solution` are asked for that are no gradients.
    solution: from the same arguments to a dict of what is asked for. inputs: from a generator and sizes to arguments.
    points: by what is asked for, in order. hints: for each of them, the stronger the later. hint_cost: the share of the
    points of a gradient that each of its hints costs. starter: the body of `gradients` that students get, where it is
    not the forward pass with blanks.

    >>> from tinygrad_ce.assignments import ready
    >>> ready("softmax_cross_entropy").shapes
    {'d_z': (6, 4), 'd_W': (3, 4), 'd_b': (4,)}
    """

    name: str
    title: str
    text: str
    source: str
    forward: Callable[..., Any] | None
    solution: Callable[..., dict[str, Array]] | None
    inputs: Callable[..., dict[str, Array]]
    points: Mapping[str, float]
    hints: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hint_cost: float = HINT_COST
    starter: str | None = None

    def example(self) -> dict[str, Array]:
        """The arguments that students try their functions on."""
        return self.inputs(np.random.default_rng(0))

    @cached_property
    def statements(self) -> Statements:
        """The teacher's file, cut into its statements."""
        return Statements.of(self.source)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each value that is asked for, on the example."""
        answers = self.right_values(self.example())
        return {name: np.shape(answers[name]) for name in self.points}

    def right_values(self, arguments: Mapping[str, Array]) -> dict[str, Array]:
        """What is right for these arguments: by the solution or, where there is none, by the engine.

        Arrays of any floating dtype, by name. Raises whatever the teacher's function raises.

        >>> from tinygrad_ce.assignments import ready
        >>> problem = ready("one_neuron")
        >>> sorted(problem.right_values(problem.example())) == sorted(problem.points)
        True
        """
        if self.solution is not None:
            return self.solution(**{name: np.copy(array) for name, array in arguments.items()})
        return self._engine_gradients(arguments)

    def _engine_gradients(self, arguments: Mapping[str, Array]) -> dict[str, Array]:
        """The gradients of `forward` that the engine computes, of each variable and argument that has a name."""
        assert self.forward is not None
        loss = recorded(self.forward, arguments)
        tensors = named_tensors(loss)
        found = gradients(loss, [*tensors.values()])
        return {f"d_{name}": g.data for name, g in zip(tensors, found, strict=True) if g is not None}

    def check(self) -> list[str]:
        """Compare the solution with the engine's gradients of `forward`; the names of what was compared.

        Where the engine cannot run `forward`, the gradients of its arguments are compared with central differences.
        What has no name in `forward` (the step of an optimizer) is not compared. Raises ValueError that names the first
        value which disagrees.

        >>> from tinygrad_ce.assignments import ready
        >>> ready("softmax_cross_entropy").check()
        ['d_z', 'd_W', 'd_b']
        """
        if self.forward is None:
            return []
        arguments = _in_float64(self.example())
        try:
            right, tolerance = self._engine_gradients(arguments), 1e-8
        except TypeError:  # a function of NumPy that takes no Tensors
            arguments = self.example()
            right, tolerance = self._slopes(arguments), 1e3 * _epsilon(arguments) ** (2 / 3)
        mine = self.right_values(arguments)
        compared = [name for name in self.points if name in right]
        for name in compared:
            a, b = np.asarray(mine[name]), right[name]
            if a.shape != b.shape:
                raise ValueError(f"{self.name}: {name} of gradients has shape {a.shape}, and it must be {b.shape}")
            off, size = np.max(np.abs(a - b), initial=0), np.max(np.abs(b), initial=0)
            if not off <= tolerance * max(size, 1e-3):
                raise ValueError(
                    f"{self.name}: {name} of gradients is off by {format_number(off, 2)} from the gradient of forward"
                )
        return compared

    def _slopes(self, arguments: Mapping[str, Array]) -> dict[str, Array]:
        """The gradient for each floating point argument, numerically: central differences."""
        assert self.forward is not None
        slopes: dict[str, Array] = {}
        width = _epsilon(arguments) ** (1 / 3)
        for name, value in arguments.items():
            x = np.asarray(value)
            if x.dtype.kind != "f":
                continue
            slopes[f"d_{name}"] = np.zeros_like(x)
            for index in np.ndindex(x.shape):
                step = np.zeros_like(x)
                step[index] = width
                up, down = (self.forward(**{**arguments, name: x + sign * step}) for sign in (1, -1))
                slopes[f"d_{name}"][index] = (up - down) / (2 * width)
        return slopes

    # ---- files

    def to_script(self, path: str | Path, *, teacher: bool = False, password: str | None = None) -> Path:
        """Write the file that students fill in, which holds no answer; NumPy is all that it needs.

        teacher: the teacher's version instead, with the solution and a rubric; `from_file` reads it back. password: put
        the solution into the students' file too, locked: `tinygrad-ce unlock FILE` opens it. Raises ValueError for a
        path that does not end in .py and for an empty password, OSError for one that cannot be written.

        >>> from tinygrad_ce.assignments import ready
        >>> path = ready("one_neuron").to_script("student.py")  # doctest: +SKIP
        """
        from tinygrad_ce.assignments import student
        from tinygrad_ce.assignments import teacher as teachers

        path = checked_ending(path, ".py")
        text = teachers.script(self, password) if teacher else student.script(self, path.name, password)
        write_whole(path, text.encode())
        return path

    def to_notebook(self, path: str | Path, *, teacher: bool = False, password: str | None = None) -> Path:
        """Write the same as a notebook (the extra `classroom`), with each blank in a cell of its own.

        The options are those of `to_script`. Raises ImportError where nbformat is not installed.

        >>> from tinygrad_ce.assignments import ready
        >>> path = ready("one_neuron").to_notebook("student.ipynb")  # doctest: +SKIP
        """
        from tinygrad_ce.assignments import student
        from tinygrad_ce.assignments import teacher as teachers

        path = checked_ending(path, ".ipynb")
        cells = teachers.cells(self, password) if teacher else student.cells(self, path.name, password)
        write_notebook(path, cells)
        return path


def sizes_of(inputs: Callable[..., Any]) -> dict[str, int]:
    """The sizes that a function of inputs takes as keywords after its generator, with their defaults.

    >>> sizes_of(lambda generator, n=6, features=3: {})
    {'n': 6, 'features': 3}
    """
    _, *rest = inspect.signature(inputs).parameters.values()
    return {x.name: x.default for x in rest if type(x.default) is int}


def _in_float64(arguments: Mapping[str, Array]) -> dict[str, Array]:
    """Arrays of a floating dtype with all digits; the others as they are."""
    return {name: np.asarray(x, np.float64) if np.asarray(x).dtype.kind == "f" else x for name, x in arguments.items()}


def _epsilon(arguments: Mapping[str, Array]) -> float:
    """What numbers of the coarsest floating dtype among these arrays are rounded by."""
    dtypes = {np.asarray(array).dtype for array in arguments.values()}
    return max((float(np.finfo(dtype).eps) for dtype in dtypes if dtype.kind == "f"), default=2.0**-52)
