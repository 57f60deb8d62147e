"""What a model computes in evaluation mode, as a program that holds for any number of rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from inspect import Parameter, Signature, signature
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.backward import no_grad
from tinygrad_ce.core import Array, array_of
from tinygrad_ce.data import Dataset
from tinygrad_ce.data.structures import parts_of
from tinygrad_ce.nn import BatchNorm, Dense, Flatten, LayerNorm, Module
from tinygrad_ce.nn.module import call_model, evaluating
from tinygrad_ce.program import Program, TraceError, trace
from tinygrad_ce.program.ir import Function, Instruction, Value

PROBES = (37, 46)  # two numbers of rows: what differs between their programs is the number of rows
MADE_UP_ROWS = 2
NAMED = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class Forward:
    """A model's forward pass.

    program: it, in evaluation mode; of `PROBES[0]` rows, but that no instruction depends on that. wider: the same with
    `PROBES[1]` rows, which tells the axis of the rows in each shape. examples, answers: what the model was called with,
    and what it gave, by name. several: whether it gives a tuple or a dict, and has keys if that is a dict.
    """

    model: Module
    program: Function
    wider: Function
    examples: dict[str, Array]
    answers: dict[str, Array]
    several: bool
    keys: tuple[str, ...]

    @property
    def inputs(self) -> dict[str, tuple[Any, ...]]:
        """The shape of each input, with "N" for the number of rows, and its dtype."""
        pairs = zip(self.program.inputs, self.wider.inputs, strict=True)
        return {x.name: (_open_shape(x, y), x.dtype) for x, y in pairs if x.role == "input"}

    @property
    def outputs(self) -> dict[str, tuple[Any, ...]]:
        """The shape of each output, with "N" for the number of rows, and its dtype."""
        pairs = zip(self.program.outputs.values(), self.wider.outputs.values(), strict=True)
        return {name: (_open_shape(x, y), x.dtype) for name, (x, y) in zip(self.answers, pairs, strict=True)}

    @property
    def description(self) -> str:
        """The model in words, without the places of functions in memory."""
        return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(self.model))

    @property
    def weights(self) -> dict[str, Array]:
        """The arrays that the program needs besides its inputs, by their names in it."""
        inputs = (x for x in self.program.inputs if x.role != "input")
        return {x.name: np.array(x.variable.data if x.role == "state" else x.example) for x in inputs}


def _open_shape(x: Value, wider: Value) -> tuple[int | str | None, ...]:
    """The shape of a value with "N" for the number of rows; None for what depends on it in another way."""
    pairs = zip(x.shape, wider.shape, strict=True)
    return tuple(n if n == m else "N" if (n, m) == PROBES else None for n, m in pairs)


def module_of(where: str, model: Any) -> Module:
    """The module itself, or the model of a Trainer and its like. TypeError for anything else."""
    module = model if isinstance(model, Module) else getattr(model, "model", None)
    if not isinstance(module, Module):
        raise TypeError(
            f"{where}: the model is {type(model).__name__}; pass a tg.nn.Module, a tg.Trainer, or what tg.load gave"
        )
    return module


def forward_of(where: str, model: Any, example: Any) -> Forward:
    """The forward pass of a model.

    example: rows as the model takes them; several arrays in a tuple (`model(a, b)`) or a dict (`model(**example)`); if
    None, rows are made up where the first layer says how long they are. Raises TypeError and ValueError for an example
    that is none, what the model raises for it, and TraceError for a forward pass that no program can hold.
    """
    module = module_of(where, model)
    examples = _examples(where, module, example)
    keys: list[str] = []

    def forward(*inputs: Any) -> Any:
        answer = call_model(module, dict(zip(examples, inputs, strict=True)) if isinstance(example, dict) else inputs)
        if isinstance(answer, Mapping):
            keys[:] = map(str, answer)
            return tuple(answer.values())
        return answer

    names = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in examples]
    forward.__signature__ = Signature(names)  # type: ignore[attr-defined]
    with evaluating(module):
        with no_grad():
            answer = forward(*examples.values())
        program = trace(forward, *examples.values(), models=[module])
        first, wider = (_with_rows(where, program, rows) for rows in PROBES)
    _refuse_random(where, first)
    answers = answer if isinstance(answer, (tuple, list)) else (answer,)
    outputs = keys or [*first.outputs]
    return Forward(
        module,
        _for_any_rows(where, first, wider),
        wider,
        dict(zip((x.name for x in first.inputs if x.role == "input"), examples.values(), strict=True)),
        {name: np.array(array_of(x)) for name, x in zip(outputs, answers, strict=True)},
        several=bool(keys) or not first.single,
        keys=tuple(keys),
    )


def _examples(where: str, module: Module, example: Any) -> dict[str, Array]:
    """The arrays of an example by their names, floating-point ones in the dtype of the parameters, as in training."""
    dtype = next((p.dtype for p in module.parameters()), None)
    if example is None:
        example = _rows_made_up(where, module, dtype or np.dtype(float))
    if isinstance(example, Dataset):
        example = example.X
    if isinstance(example, dict):
        given = example
    else:
        parts = parts_of(example)
        given = dict(zip(_argument_names(module, len(parts)), parts, strict=True))
    arrays = {name: np.asarray(array_of(x)) for name, x in given.items()}
    for name, x in arrays.items():
        if x.dtype.kind not in "fiub":
            raise TypeError(f"{where}: the example {name} has dtype {x.dtype}; pass an array of numbers, such as X[:5]")
        if x.ndim == 0 or len(x) == 0:
            raise ValueError(f"{where}: the example {name} has shape {x.shape}; pass rows of data, such as X[:5]")
    if len({len(x) for x in arrays.values()}) != 1:
        shapes = ", ".join(f"{name} {x.shape}" for name, x in arrays.items())
        raise ValueError(f"{where}: the examples need the same number of rows, and have {shapes}")
    return {name: x.astype(dtype or x.dtype) if x.dtype.kind == "f" else x for name, x in arrays.items()}


def _argument_names(module: Module, count: int) -> list[str]:
    """What the model calls its inputs."""
    names = [p.name for p in signature(module.forward).parameters.values() if p.kind in NAMED]
    return [names[k] if k < len(names) else f"x{k + 1}" for k in range(count)]


def _rows_made_up(where: str, module: Module, dtype: np.dtype[Any]) -> Array:
    """Rows of numbers for a model whose first layer says how many features they have."""
    needed = [p.name for p in signature(module.forward).parameters.values() if p.default is p.empty and p.kind in NAMED]
    if len(needed) > 1:
        rows = ", ".join(f'"{name}": {name}[:5]' for name in needed)
        raise ValueError(f"{where}: the model takes several inputs: pass some rows that it takes, example={{{rows}}}")
    layers = [inner for inner in module.modules() if not any(other is not inner for other in inner.modules())]
    first = layers[0] if layers else None
    features = first.n_in if isinstance(first, Dense) else getattr(first, "n_features", None)
    if not isinstance(first, (Dense, BatchNorm, LayerNorm)) or features is None:
        kind = type(first).__name__ if layers else "nothing"
        hint = ", whose rows may have any shape" if isinstance(first, Flatten) else ""
        raise ValueError(f"{where}: the model begins with {kind}{hint}: pass some rows that it takes, example=X[:5]")
    return np.linspace(-1, 1, MADE_UP_ROWS * features, dtype=dtype).reshape(MADE_UP_ROWS, features)


def refuse_others(where: str, what: str, forward: Forward, answers: dict[str, Array]) -> None:
    """ValueError if these answers are not, to rounding, those of the model."""
    for name, expected in forward.answers.items():
        got = np.asarray(answers[name])
        bound = 1e-9 if expected.dtype == np.float64 else 1e-4
        size = np.max(np.abs(expected), initial=0, where=np.isfinite(expected)) if expected.dtype.kind == "f" else 0
        if got.shape != expected.shape or not np.allclose(got, expected, bound, bound * size, equal_nan=True):
            raise ValueError(f"{where}: {what} gives other numbers than the model for {name}, shape {expected.shape}")


# ---- any number of rows


def _with_rows(where: str, program: Program, rows: int) -> Function:
    """The program of so many rows. ValueError if the model takes no other number than that of the example."""
    try:
        return program.with_rows(rows)
    except Exception as error:  # whatever the model raises for arrays of another length
        reason = " ".join(str(error).split())
        single = any(np.ndim(array_of(x)) == 1 for x in program.examples)
        hint = " (one row is passed as x[None])" if single else ""
        raise ValueError(f"{where}: the model takes {program.rows} rows, and refuses {rows}{hint}: {reason}") from error


def _refuse_random(where: str, program: Function) -> None:
    for x in program.inputs:
        if x.role == "random":
            raise TraceError(
                f"{where}: the model draws random numbers ({x.name}) in evaluation mode: draw only if self.training"
            )


def _for_any_rows(where: str, first: Function, wider: Function) -> Function:
    """The program with -1 where a reshape names the number of rows. TraceError where something else depends on it."""
    sizes = [(len(program.inputs), len(program.instructions)) for program in (first, wider)]
    if sizes[0] != sizes[1]:
        raise TraceError(f"{where}: the model computes in another way for {PROBES[1]} rows than for {PROBES[0]}")
    pairs = zip(first.instructions, wider.instructions, strict=True)
    return replace(first, instructions=[_for_any(where, i, j) for i, j in pairs])


def _for_any(where: str, i: Instruction, wider: Instruction) -> Instruction:
    """One instruction that does not name the number of rows."""
    line = f"{where}: {i.line.short}: " if i.line else f"{where}: "
    if i.op is not wider.op or i.params.keys() != wider.params.keys():
        raise TraceError(f"{line}{i.op.name} for {PROBES[0]} rows is {wider.op.name} for {PROBES[1]}")
    for x, y in zip(i.inputs, wider.inputs, strict=True):
        if not _is_same(x, y):
            raise TraceError(line + _depends(f"{i.op.name} gets a number that", *map(_number, (x, y))))
    params = dict(i.params)
    for name, value in i.params.items():
        if repr(value) == repr(wider.params[name]):
            continue
        lengths = [shape if isinstance(shape, tuple) else (shape,) for shape in (value, wider.params[name])]
        if i.op is not ops.reshape or sum(n != m for n, m in zip(*lengths, strict=True)) != 1:
            raise TraceError(line + _depends(f"{i.op.name}({name}=...)", value, wider.params[name]))
        params[name] = tuple(n if n == m else -1 for n, m in zip(*lengths, strict=True))
    return replace(i, params=params)


def _is_same(x: Any, y: Any) -> bool:
    """Whether an input of an instruction is the same for both numbers of rows: numbers and constant arrays."""
    if not isinstance(x, Value) or not isinstance(y, Value):
        return repr(x) == repr(y)
    return x.role not in ("constant", "fixed") or (x.shape == y.shape and x.example.tobytes() == y.example.tobytes())


def _number(x: Any) -> Any:
    return x.shape if isinstance(x, Value) and x.shape else x.example.item() if isinstance(x, Value) else x


def _depends(what: str, first: Any, wider: Any) -> str:
    return (
        f"{what} depends on the number of rows ({first} for {PROBES[0]} rows, {wider} for {PROBES[1]}), which is open "
        "in what is exported: let NumPy's broadcasting, mean(axis=0) or reshape(len(x), -1) say it"
    )
