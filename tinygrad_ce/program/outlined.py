"""A pass: what an optimizer does to a parameter becomes one function, which is called once for each parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tinygrad_ce.core import REGISTRY
from tinygrad_ce.program.ir import Function, Instruction, Named, Value, key, uses
from tinygrad_ce.program.names import Names, tidy

ARGUMENTS = {"param": "W", "grad": "d_W"}  # what an update calls its arguments, and what they are called in a program


@dataclass(eq=False)
class Update:
    """A function of a parameter, its gradient, an optimizer's memory and the numbers of the step.

    name: what it is called. body: what it does, in names of its own. numbers: its arguments behind the arrays.
    defaults: the hyperparameters, by name.
    """

    name: str
    body: Function
    numbers: list[str]
    defaults: dict[str, float]


@dataclass(eq=False)
class Call(Instruction):
    """results = update(*inputs, *numbers, **keywords); the instruction's own result is the first of them.

    keywords: the hyperparameters that differ from the function's defaults. group: the instructions for which it stands.
    """

    update: Update
    results: tuple[Value, ...]
    numbers: tuple[str, ...]
    keywords: dict[str, float]
    group: list[Instruction]


def outline_updates(program: Function) -> Function:
    """The program with a call in place of the instructions that update one parameter, where its last one stood.

    Updates that differ in shapes, dtypes and hyperparameters only are calls of one function. What is one line, as that
    of plain SGD, stays where it is.
    """
    names = Names("np", "step", *REGISTRY, *program.numbers, *(x.name for x in program.values))
    updates: dict[Any, Update] = {}
    calls: dict[Instruction, Call] = {}
    groups = [group for group in _groups(program) if len(group) > 2]
    for group in groups:
        call = _call_of(program, group)
        first = updates.setdefault(_key(call.update), call.update)
        if first is call.update:
            first.name = names.free(_optimizer_of(program, group))
        call.update = first
        call.keywords = {k: x for k, x in call.keywords.items() if call.update.defaults[k] != x}
        calls[group[-1]] = call
    inside = {i for group in groups for i in group} - {*calls}
    return replace(program, instructions=[calls.get(i, i) for i in program.instructions if i not in inside])


def _groups(program: Function) -> list[list[Instruction]]:
    """The instructions of the updates, those together that work on the same state or on each other's results."""
    group_of: dict[Value, list[Instruction]] = {}
    for i in program.instructions:
        if i.section != "update":
            continue
        own = {x for x in i.inputs if isinstance(x, Value) and (x in group_of or x in program.updates)} | {i.result}
        together = {id(group_of[x]): group_of[x] for x in own if x in group_of}
        joined = [*(other for group in together.values() for other in group), i]
        for other in joined:
            own |= {other.result, *(x for x in other.inputs if isinstance(x, Value) and x in program.updates)}
        group_of.update(dict.fromkeys(own, joined))
    place = {i: k for k, i in enumerate(program.instructions)}
    groups = {id(group): sorted(group, key=place.__getitem__) for group in group_of.values()}
    return sorted(groups.values(), key=lambda group: place[group[-1]])


def _call_of(program: Function, group: list[Instruction]) -> Call:
    """The call for a group of instructions, with a function of its own."""
    inputs, results = _inputs(program, group), _results(program, group)
    meanings = {k: x for i in group for n in i.inputs if isinstance(n, Named) for k, x in n.names.items()}
    defaults = {name: x for name, x in meanings.items() if not isinstance(x, str)}
    numbers = {name: x for name, x in meanings.items() if isinstance(x, str)}
    in_order = sorted(numbers, key=lambda name: name == "lr")
    body = _with_local_names(program, group, inputs, results, Names("np", *REGISTRY, *meanings))
    update = Update("", body, in_order, defaults)
    op, section = group[-1].op, group[-1].section
    passed = tuple(numbers[name] for name in in_order)
    return Call(op, tuple(inputs), {}, results[0], section, update, tuple(results), passed, defaults, group)


def _inputs(program: Function, group: Sequence[Instruction]) -> list[Value]:
    """The parameter, its gradient, and the optimizer's memory."""
    inside = {i.result for i in group}
    values = [x for i in group for x in i.inputs if isinstance(x, Value) and x not in inside and x.role != "constant"]
    state = [x for x in program.inputs if x in values and x in program.updates]
    parameters = [x for x in state if x.variable.requires_grad]
    gradients = [x for x in dict.fromkeys(values) if x not in state]
    return [*parameters, *gradients, *(x for x in state if x not in parameters)]


def _results(program: Function, group: Sequence[Instruction]) -> list[Value]:
    """The new parameter and memory, and whatever else is needed outside of the group."""
    inside = {i.result for i in group}
    states = sorted(program.updates, key=lambda x: not x.variable.requires_grad)
    used = [x for i in program.instructions if i not in group for x in i.inputs if isinstance(x, Value)]
    needed = [*(program.updates[state] for state in states), *used, *program.outputs.values()]
    return [x for x in dict.fromkeys(needed) if x in inside]


def _with_local_names(
    program: Function, group: Sequence[Instruction], inputs: list[Value], results: list[Value], names: Names
) -> Function:
    """The group as a function: what is updated keeps its name, if the old one is not needed after that line."""
    readers = uses(group)
    state_of = {new: state for state, new in program.updates.items()}
    local = {x: replace(x, name=names.free(x.local if x in program.updates else "d_W")) for x in inputs}
    newest = {value.name: x for x, value in local.items()}  # by a name, which value has it last
    body = []
    for k, i in enumerate(group):
        state = state_of.get(i.result)
        name = local[state].name if state in local else ARGUMENTS.get(i.result.local, i.result.local)
        if not name:
            name = f"_{k}"
        elif name in newest and (max(readers[newest[name]], default=-1) > k or newest[name] in results):
            name = names.free(f"new_{name}")
        elif name not in newest:
            name = names.free(name)
        newest[name] = i.result
        arguments = tuple(local.get(x, x) if isinstance(x, Value) else x for x in i.inputs)
        local[i.result] = replace(i.result, name=name, role="result")
        body.append(Instruction(i.op, arguments, i.params, local[i.result], "body"))
    return Function([local[x] for x in inputs], body, {x.name: local[x] for x in results})


def _key(update: Update) -> Any:
    """What two updates have in common that are calls of one function."""

    def named(x: Value) -> Any:
        return (x.shape, x.example.tobytes()) if x.role == "constant" else x.name

    lines = [(*key(i, named, number="formula"), i.result.name) for i in update.body.instructions]
    names = tuple(x.name for x in (*update.body.inputs, *update.body.outputs.values()))
    return tuple(lines), names, tuple(update.numbers), tuple(update.defaults)


def _optimizer_of(program: Function, group: Sequence[Instruction]) -> str:
    """What the optimizer of these parameters calls its update."""
    variables = {id(x.variable) for x in _inputs(program, group) if x in program.updates}
    names = [o.rule_name for o in program.optimizers if any(id(p) in variables for p in o.parameters)]
    return tidy(names[0]) if names else "update"
