"""From loops to a function that runs: the file that Numba compiles, its buffers, and who calls it with what."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from functools import cache as remembered
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce import cache
from tinygrad_ce.core import Array
from tinygrad_ce.program.loops import Buffer, Lowered, Lowering
from tinygrad_ce.program.straight import Program


def lowered(program: Program, batched: bool = False) -> Lowered:
    """The loops of a program. CannotLower if an operation has none."""
    return Lowering(program, batched).lowered()


class Compiled:
    """A program's loops with their memory: `run` makes steps on the parameters where they live.

    batched: `run` takes all rows and the order in which the steps take them; else one batch at a time.
    """

    def __init__(self, program: Program, batched: bool = False) -> None:
        self.program = program
        self.plan = lowered(program, batched)
        self.function = function_of(self.plan.text)
        memory = _aligned(self.plan.total)
        self.arrays: dict[Buffer, Array] = {}
        for b in self.plan.buffers:
            if b.role == "temporary":
                self.arrays[b] = memory[b.offset : b.offset + b.bytes].view(b.dtype)
            else:
                self.arrays[b] = _aligned(b.bytes).view(b.dtype)
                if b.content is not None:
                    self.arrays[b][:] = b.content.reshape(-1)
        views = []
        for v in self.plan.views:
            matrix = self.arrays[v.buffer].reshape(v.shape)
            views.append(matrix.T if v.transposed else matrix)
        self.fixed = (*self.arrays.values(), *views)
        self.inputs = [b for b in self.plan.buffers if b.role == "input"]
        self.drawn = [b for b in self.plan.buffers if b.role == "drawn"]
        self.kept = [b for b in self.plan.buffers if b.role == "kept" and b.value is not None]
        self.formulas = [compile(text, "<number>", "eval") for text in self.plan.numbers]

    def step(self, *arrays: Any) -> Any:
        """One step on one batch."""
        for (_, array), b in zip(zip(self.inputs, self.program.checked(arrays), strict=True), self.inputs, strict=True):
            self.arrays[b][:] = array.reshape(-1)
        for b in self.drawn:
            assert b.value is not None and b.value.draw is not None
            self.arrays[b][:] = b.value.draw().reshape(-1)
        self.fetch()
        self.function(np.empty(0, np.int64), 1, self.numbers(1), *self.fixed)
        answers = tuple(self.arrays[b].reshape(shape).copy() for b, shape in self.plan.outputs.values())
        self.put_back(1)
        return self.program.answer(answers)

    def fetch(self) -> None:
        """Copy what lives from step to step from where it lives."""
        for b in self.kept:
            assert b.value is not None and b.value.home is not None
            self.arrays[b][:] = b.value.home.read().reshape(-1)

    def put_back(self, steps: int) -> None:
        """Copy it back, and count the steps."""
        for b in self.kept:
            assert b.value is not None and b.value.home is not None
            if b.value in self.program.updates:
                b.value.home.write(self.arrays[b].reshape(b.shape))
        for optimizer in self.program.optimizers:
            optimizer.steps += steps

    def numbers(self, steps: int) -> Array:
        """What each of the coming steps is given besides arrays, one row after the other."""
        rows = np.empty((steps, len(self.formulas)))
        before = [optimizer.steps for optimizer in self.program.optimizers]
        for k in range(steps):
            given = {name: read() for name, read in self.program.numbers.items()}
            rows[k] = [eval(formula, {}, given) for formula in self.formulas]
            for optimizer in self.program.optimizers:
                optimizer.steps += 1
        for optimizer, count in zip(self.program.optimizers, before, strict=True):
            optimizer.steps = count
        return rows.reshape(-1)


def _aligned(size: int) -> Array:
    """So many bytes, starting at a line of the cache."""
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size]


# ---- files


@remembered
def function_of(text: str) -> Callable[..., Any]:
    """The compiled function of some generated text."""
    directory = cache.directory()
    name = f"step_{hashlib.sha256((text + _versions()).encode()).hexdigest()[:20]}"
    if directory is None:
        directory = Path(tempfile.mkdtemp(prefix="tinygrad_ce_"))
    folder = directory / "programs"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{name}.py"
    if not path.exists() or path.read_text() != text:
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
            file.write(text)
        os.replace(file.name, path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    function: Callable[..., Any] = module.run
    return function


@remembered
def _versions() -> str:
    """What the machine code depends on besides the text."""
    import numba

    from tinygrad_ce import kernels
    from tinygrad_ce.program import products

    sources = [Path(module.__file__ or "").read_text() for module in (kernels, products)]
    return "".join([numba.__version__, *sources])
