"""Parts of a program as modules: a graph that keeps chosen values, passes and updates, steps of all sizes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from tinygrad_ce.core import Tensor
from tinygrad_ce.optim import Optimizer
from tinygrad_ce.program.ir import Function, Value
from tinygrad_ce.program.javascript_sizes import formula
from tinygrad_ce.program.javascript_text import PROBES, Factory, update_of_all_sizes
from tinygrad_ce.program.javascript_text import sized_javascript as module_of_sizes
from tinygrad_ce.program.lowered import lowered_alone, written_from
from tinygrad_ce.program.names import Names
from tinygrad_ce.program.passes import drop_dead_code
from tinygrad_ce.program.program import Program, trace
from tinygrad_ce.report.parts import PrintedText
from tinygrad_ce.variable import Variable


def javascript_keeping(program: Function, values: Sequence[Value]) -> PrintedText:
    """A recorded graph as an ES module that keeps chosen values: `outputs` has each of them, by its printed name.

    `createStep({ state })` gives `inputs` (leaves and data, by their names), `forward()`, `backward()` and `outputs`,
    each array in C order. Shapes are those of the graph. CannotLower for an operation without JavaScript, by its name.

    >>> from tinygrad_ce.program.record import record
    >>> x = Tensor([1.0, 2.0], requires_grad=True, name="x")
    >>> program = record((x * x).sum()).program
    >>> "outputs:{t1,d_x}" in javascript_keeping(program, [program.instructions[0].result, program.outputs["d_x"]])
    True
    """
    outputs = {value.name: value for value in values}
    return Program.of(drop_dead_code(replace(program, outputs=outputs))).javascript


# ---- passes and updates


def passes_of(program: Function) -> Function:
    """The forward and backward pass of a step; `outputs` has besides its own all values that have names in the text.

    What its update needs is among them.
    """
    named = [i.result for i in program.instructions if i.section != "update" and not i.result.name.startswith("_")]
    values = {value.name: value for value in (*named, *_border(program))}
    return drop_dead_code(replace(program, outputs={**values, **program.outputs}, updates={}, optimizers={}))


def update_of(program: Function) -> Function:
    """The update of a step from what its passes have computed: gradients are `state` that it does not change."""
    border = {
        value: Value(value.name, value.example, "state", variable=Variable(value.example)) for value in _border(program)
    }

    def moved(x: Any) -> Any:
        return border.get(x, x) if isinstance(x, Value) else x

    rows = [replace(i, inputs=tuple(map(moved, i.inputs))) for i in program.instructions if i.section == "update"]
    updates = {moved(old): moved(new) for old, new in program.updates.items()}
    kept = [moved(x) for x in program.inputs if x.role in ("state", "fixed")]
    inputs = list(dict.fromkeys([*kept, *border.values()]))
    return drop_dead_code(replace(program, inputs=inputs, instructions=rows, outputs={}, updates=updates))


def _border(program: Function) -> list[Value]:
    """The values that the two passes compute and the update needs."""
    own = {i.result for i in program.instructions if i.section == "update"}
    needed = [x for i in program.instructions if i.section == "update" for x in i.inputs if isinstance(x, Value)]
    needed += program.updates.values()
    passed = [x for x in needed if x not in own and x.role in ("result", "input", "random")]
    return list(dict.fromkeys(passed))


def update_alone(optimizer: Optimizer, names: Mapping[str, Tensor], taken: Sequence[str] = ()) -> Program:
    """What an optimizer does to parameters, as a program: its `javascript` has `update({ lr, t })`, in place.

    names: what the parameters are called; the gradient of `W0` is `d_W0`. Those of the optimizer that are not among
    them are left as they are. taken: names that its memory must not have. `state` has the parameters, what the
    optimizer remembers of them, and the gradients. Nothing of the tensors or the optimizer is changed.

    >>> w = Tensor([1.0, 2.0], requires_grad=True)
    >>> sorted(update_alone(tg.optim.Adam([w]), {"w": w}).state)
    ['d_w', 'm_w', 'v_w', 'w']
    """
    called = {id(parameter): name for name, parameter in names.items()}
    trained = [parameter for parameter in optimizer.parameters if id(parameter) in called]
    before = [(parameter, parameter.grad, parameter.name) for parameter in optimizer.parameters]

    def step(*gradients: Tensor) -> None:
        optimizer.zero_grad()
        products = [(parameter * g).sum() for parameter, g in zip(trained, gradients, strict=True)]
        reduce(add, products).backward()
        optimizer.step()

    try:
        for k, parameter in enumerate(trained):
            parameter.name = f"p{k}"
        program = Program.of(update_of(trace(step, *(np.ones_like(x.data) for x in trained), models=[])))
    finally:
        for parameter, grad, name in before:
            parameter.grad, parameter.name = grad, name
    allocator = Names(*taken, *names, *(f"d_{name}" for name in names))
    for x in program.inputs:
        if (found := re.fullmatch(r"(?:(\w+)_)?p(\d+)", x.name)) is not None:
            name = called[id(trained[int(found[2])])]
            own = {None: name, "d": f"d_{name}"}
            x.name = own[found[1]] if found[1] in own else allocator.free(f"{found[1]}_{name}")
    return program


# ---- steps of all sizes


@dataclass(frozen=True)
class SizedJavaScript:
    """A module for all sizes.

    shapes: of each array in `buffers`, in which a size is a number, a name, or a formula of names.
    """

    text: str
    shapes: dict[str, list[int | str]]


WIDTHS = tuple(  # as PROBES, numbers that nothing else in a network has, in all likelihood
    zip(
        (59, 67, 73, 83, 97, 103, 109, 127),
        (58, 62, 74, 82, 86, 94, 106, 118),
        (61, 71, 79, 89, 101, 107, 113, 137),
        strict=True,
    )
)


def sized_javascript(
    trace_with: Callable[[dict[str, int]], Mapping[str, Function]], widths: Sequence[str] = ()
) -> SizedJavaScript:
    """Steps traced with several sizes as one module for all of them, with the update of several optimizers.

    trace_with: from sizes, `{"batch": 37, "w1": 59}`, to programs by the names of their optimizers: the passes of the
    first one count, and the updates of all; alike ones, as those of networks of one depth, cost little. widths: the
    names of the sizes besides `batch`.
    `createStep({ batch, sizes: { w1, w2 }, state })` gives `inputs, state, buffers, outputs, forward(), backward()`
    and `updates[optimizer]({ lr, t })`; `buffers` has every value that has a name in the printed program.
    ValueError for names of widths that are none; CannotLower where the module would be another for other sizes.
    """
    if (
        any(not name.isidentifier() or name == "batch" for name in widths)
        or len({*widths}) < len(widths)
        or len(widths) > len(WIDTHS)
    ):
        raise ValueError(
            f"sized_javascript: widths={[*widths]} must be up to {len(WIDTHS)} different names, none of them batch"
        )
    columns = zip(PROBES, *WIDTHS[: len(widths)], strict=True)
    sizes = [dict(zip(("batch", *widths), column, strict=True)) for column in columns]
    traced = [trace_with({**each}) for each in sizes]
    passes = [passes_of(next(iter(programs.values()))) for programs in traced]
    shapes = [{x.name: x.shape for x in _arrays(each)} for each in passes]
    updates = {}
    for name in traced[0]:
        parts = [(each, update_of(programs[name])) for each, programs in zip(sizes, traced, strict=True)]
        needed = [_arrays(update) for _, update in parts]
        updates[name] = _update_factory(parts, frozenset(x.name for x in needed[0]) & {*shapes[0]})
        for known, values in zip(shapes, needed, strict=True):
            known |= {x.name: x.shape for x in values}
    plans = [(each, lowered_alone(part)) for each, part in zip(sizes, passes, strict=True)]
    text = module_of_sizes(plans, [*next(iter(traced[0].values())).outputs], updates)
    return SizedJavaScript(text, {name: _shape([each[name] for each in shapes], sizes) for name in shapes[0]})


def _arrays(program: Function) -> list[Value]:
    """The arrays that a page sees: what is filled in, what stays, and what is computed."""
    return [*(x for x in program.inputs if x.role != "fixed"), *program.outputs.values()]


def _update_factory(updates: Sequence[tuple[dict[str, int], Function]], given: frozenset[str]) -> Factory:
    """The factory of an update; of alike ones it is asked for again and again: those of all networks of one depth."""
    key = given, *((tuple(sizes.items()), written_from(update)) for sizes, update in updates)
    if key not in _factories:
        if len(_factories) > 64:
            _factories.clear()
        _factories[key] = update_of_all_sizes([(sizes, lowered_alone(update)) for sizes, update in updates], given)
    return _factories[key]


_factories: dict[Any, Factory] = {}


def _shape(shapes: Sequence[tuple[int, ...]], sizes: Sequence[Mapping[str, int]]) -> list[int | str]:
    """The shape of an array in terms of the sizes."""
    known = tuple(tuple(each.items()) for each in sizes)
    texts = [formula(tuple(map(str, column)), known) for column in zip(*shapes, strict=True)]
    return [int(text) if text.isdigit() else text.replace("$", "") for text in texts]
