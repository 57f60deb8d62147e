"""The text of a step as an ES module: the loops that Numba compiles, in three stages, for every size of the batch."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tinygrad_ce.program.abstract import CannotLower
from tinygrad_ce.program.javascript_alike_text import END, LOOP, Draft, SharedLoops
from tinygrad_ce.program.javascript_loops_text import (
    ARRAYS,
    STAGES,
    Translator,
    fixed,
    functions,
    number_text,
    squeezed,
    with_dependencies,
)
from tinygrad_ce.program.javascript_sizes import BEGIN, parametrized, size_name
from tinygrad_ce.program.javascript_stages import independent, names_in, stages_of
from tinygrad_ce.program.lowered import Lowered
from tinygrad_ce.program.statements import Buffer

HEADER = """\
// A training step, written by tinygrad_ce. s = createStep({{ {given}state }}) has its arrays, in C order. Fill s.inputs
// and s.state, call {calls}; read s.outputs, s.buffers.
// {sizes}state: of another step, to share it.
"""
WIDTH = 118
PROBES = (37, 46, 53)  # sizes of a batch that nothing else in a network has, in all likelihood; odd and even ones


# ---- factories


class Writer:
    """Writes the parts of a factory, before it is known which numbers in it are sizes.

    stages: the lines of each. numbers: the pattern of what each step is given besides arrays.
    """

    def __init__(self, plan: Lowered) -> None:
        self.plan, self.translate = plan, Translator(plan)
        self.translate.constants, self.formulas, loops = stages_of(plan)
        self.translate.learn([s for stage in loops.values() for s in stage])
        self.stages = {stage: self.stage(stage, loops[stage]) for stage in loops}
        self.numbers = pattern_of(self.formulas.values())

    def stage(self, name: str, loops: Sequence[ast.stmt]) -> list[str]:
        """The lines of a stage, with marks around its loops."""
        used = set().union(*map(names_in, loops))
        numbers = {name: formula for name, formula in self.formulas.items() if name in used}
        lines = [f" function {name}({pattern_of(numbers.values())}) {{"]
        for number, formula in numbers.items():
            if number != formula:
                lines.append(f"  const {number} = {self.translate(ast.parse(formula, mode='eval').body)};")
        for part in (part for s in loops for part in independent(s)):
            lines += [LOOP, *self.translate.statement(part, "  "), END]
        return [*lines, " }"]

    def draft(self, lines: Iterable[str]) -> Draft:
        """The whole factory, of these lines."""
        variables = {self.translate.name(name) for name in (*self.translate.buffers, *self.formulas)}
        return Draft("\n".join([BEGIN, *lines]), variables, self.translate.declared, self.translate.calls, self.numbers)

    def arrays(self, names: Collection[str] = ()) -> tuple[list[str], list[str], list[str]]:
        """The line that makes arrays; the entries of the state, but for these names; the names of all of the state."""
        used = self.translate.read | {b.name for b, _ in self.plan.outputs.values()}
        kinds = dict.fromkeys(ARRAYS[b.dtype.name] for b in self.plan.buffers)
        makers = {array: f"${k}" for k, array in enumerate(kinds)}
        rows = [f"{maker} = (size) => new {array}(size)" for array, maker in makers.items()]
        own, state = list[str](), list[str]()
        for b in self.plan.buffers:
            name, array = self.translate.name(b.name), ARRAYS[b.dtype.name]
            new = f"{makers[array]}({1 if b.name in self.translate.single_sums else b.size})"
            if b.role == "state":
                state.append(entry(key_of(b), name))
                own += [] if key_of(b) in names else [entry(key_of(b), new)]
            elif b.role == "fixed" and b.name in used:
                numbers = [number_text(x) for x in fixed(b)]
                new = f"{new}.fill({numbers[0]})" if len({*numbers}) == 1 else f"{array}.from([{', '.join(numbers)}])"
                rows.append(f"{name} = {new}")
            elif b.name in used or b.role in ("input", "random"):
                rows.append(f"{name} = {new}")
        return [f" const {', '.join(rows)};"] if rows else [], own, state

    def beginning(self) -> list[str]:
        """The lines of the arrays, the state among them."""
        lines, own, names = self.arrays()
        if not own:
            return [*lines, " state = {};"]
        self.translate.calls.add("shared")
        return [*lines, f" state = shared({{ {', '.join(own)} }}, state);", f" const {{ {', '.join(names)} }} = state;"]

    def inputs(self) -> str:
        """The entries of what is filled in before each step."""
        inputs = [b for b in self.plan.buffers if b.role in ("input", "random")]
        return ", ".join(entry(key_of(b), self.translate.name(b.name)) for b in inputs)

    def outputs(self) -> dict[str, str]:
        """The entry of each output of the plan, by its name."""
        return {name: entry(name, self.translate.name(b.name)) for name, (b, _) in self.plan.outputs.items()}


def pattern_of(formulas: Iterable[str]) -> str:
    """The destructuring pattern of the numbers that these formulas need."""
    trees = [ast.parse(text) for text in formulas]
    called = {n.func.id for t in trees for n in ast.walk(t) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    names = sorted(set().union(*map(names_in, trees)) - called)
    return f"{{ {', '.join(names)} }}" if names else ""


def key_of(buffer: Buffer) -> str:
    """The learner's name for an array: in the loops it may be another, because `q` is the variable of a loop."""
    return buffer.name if buffer.value is None else buffer.value.name


def entry(key: str, name: str) -> str:
    """An entry of an object; written plainly, `__proto__` would be none."""
    return key if key == name else f"{key}: {name}" if key != "__proto__" else f'["{key}"]: {name}'


def step_draft(plan: Lowered) -> Draft:
    """The factory of a whole step."""
    writer = Writer(plan)
    begin, calls = writer.beginning(), list[str]()
    for stage, lines in writer.stages.items():
        begin += lines
        calls.append(f"{stage}({'' if lines[0].endswith('() {') else 'numbers'}); ")
    kept = [b for b in plan.buffers if b.role == "temporary" and not b.name.endswith("_part")]
    buffers = ["...inputs", "...state", *(entry(key_of(b), writer.translate.name(b.name)) for b in kept)]
    outputs = ", ".join(writer.outputs().values())
    return writer.draft([
        *begin,
        f" const step = ({'numbers' if writer.numbers else ''}) => {{ {''.join(calls)}}};",
        f" const inputs = {{ {writer.inputs()} }};",
        f" const buffers = {{ {', '.join(buffers)} }};",
        f" return {{ BATCH$inputs, state, buffers, outputs: {{ {outputs} }}, {', '.join(STAGES)}, step }};",
    ])  # fmt: skip


def passes_draft(plan: Lowered, outputs: Collection[str], updates: Mapping[str, str]) -> Draft:
    """The factory of a forward and backward pass, all outputs of the plan in `buffers`, and these in `outputs`.

    updates: by the names of optimizers, the factories of their updates.
    """
    writer = Writer(plan)
    writer.translate.calls |= {"checked", "whole_step"}
    entries = writer.outputs()
    factories = ", ".join(f"{number_text(name)}: {factory}" for name, factory in updates.items())
    own = ", ".join(text for name, text in entries.items() if name in outputs)
    return writer.draft([
        " const given = state;",
        *writer.beginning(),
        *writer.stages["forward"],
        *writer.stages["backward"],
        f" return whole_step({{ batch, sizes, inputs: {{ {writer.inputs()} }}, state,",
        f" outputs: {{ {own} }}, forward, backward }}, given, {{ {', '.join(entries.values())} }}, {{ {factories} }});",
    ])  # fmt: skip


def update_draft(plan: Lowered, names: Collection[str]) -> Draft:
    """The factory of an update beside two passes, which have the arrays of these names."""
    writer = Writer(plan)
    lines, own, state = writer.arrays(names)
    writer.translate.calls.add("shared")
    return writer.draft([
        *lines,
        f" const memory = shared({{ {', '.join(own)} }}, state), {{ {', '.join(state)} }} = {{ ...state, ...memory }};",
        *writer.stages["update"],
        " return { memory, update };",
    ])  # fmt: skip


# ---- the whole module


@dataclass(frozen=True)
class Factory:
    """A function that gives a step its arrays, in a module.

    parameters: what it takes besides `state`, as it is written. sizes: those that it answers with. begin: its lines
    that come first.
    """

    name: str
    draft: Draft
    parameters: str = ""
    sizes: str = ""
    begin: str = ""


def assembled(factories: Sequence[Factory], header: str, least: int = 2) -> str:
    """The text of a module, the last of its factories exported; its long lines are folded.

    least: how many loops are alike, so that they become a function. Nothing in it ends a script element.
    """
    shared = SharedLoops([factory.draft for factory in factories], least)
    lines = list[str]()
    for factory in factories:
        text = shared.text(factory.draft).replace(f"{BEGIN}\n", factory.begin, 1).replace("BATCH$", factory.sizes)
        lines += [f"function {factory.name}({{ {factory.parameters}state = {{}} }} = {{}}) {{", text, "}"]
    lines[-3] = f"export {lines[-3]}"
    called = set[str]().union(*(factory.draft.calls for factory in factories))
    above = "".join(functions()[name][1] for name in with_dependencies(called))
    text = header + above + "\n".join([*shared.functions, *lines]) + "\n"
    text = text.replace("</", "< /").replace("<!", "< !")
    return "\n".join(part for line in text.split("\n") for part in folded(squeezed(line)))


def folded(line: str) -> list[str]:
    """A long list in lines that can be read, broken after commas."""
    comma = line.rfind(",", 0, WIDTH) + 1
    broken = len(line) > WIDTH and comma and not line.startswith("//") and '"' not in line
    return [line[:comma], *folded(f"  {line[comma:]}")] if broken else [line]


def javascript(plan: Lowered, batch: int, resized: Callable[[int], Lowered]) -> str:
    """The step as an ES module.

    batch: the rows of its examples; 0 where there are none. resized: the loops for other numbers of rows. Where those
    are others, or the step refuses, the module has this size only, and says why. CannotLower for a function without
    JavaScript.
    """
    own = step_draft(plan)
    if not batch:
        return assembled([Factory("createStep", own)], header("", "", own.numbers))
    try:
        if step_draft(resized(batch)) != own:
            raise CannotLower("it does something else now than when it was traced", "trace it again")
        texts = {rows: step_draft(resized(rows)).text for rows in PROBES} | {batch: own.text}
        text = parametrized([({"batch": rows}, text) for rows, text in texts.items()], len(PROBES))
        begin, words = " checked({ batch });\n", f"any number of rows, {batch} if none is given"
        own = replace(own, text=text, calls={*own.calls, "checked"})
    except Exception as error:  # whatever the user's step raises for arrays of other lengths
        reason = " ".join(str(error).split())
        message = number_text(f"this step was traced with batch {batch} and has no other: {reason}")
        begin, words = f" if (batch !== {batch}) throw new RangeError({message});\n", str(batch)
    text = header("batch, ", f"batch: {words}. ", own.numbers)
    return assembled([Factory("createStep", own, f"batch = {batch}, ", "batch, ", begin)], text)


def header(given: str, sizes: str, numbers: str) -> str:
    """What stands at the top of a module."""
    calls = f"s.step({numbers}), or s.forward(), s.backward(), s.update({numbers})"
    return HEADER.format(given=given, sizes=sizes, calls=calls)


Sized = Sequence[tuple[Mapping[str, int], Lowered]]  # the loops for some sizes


def update_of_all_sizes(plans: Sized, names: Collection[str]) -> Factory:
    """The factory of an update after passes that have the arrays of these names. Errors: see `sized_javascript`."""
    return _of_all_sizes([(sizes, update_draft(plan, names)) for sizes, plan in plans])


def sized_javascript(plans: Sized, outputs: Collection[str], updates: Mapping[str, Factory]) -> str:
    """Passes of several sizes, and the updates of optimizers after them, as one ES module for all sizes.

    outputs: of the step; the others of the passes are in `buffers` only. Raises CannotLower for a function without
    JavaScript, and where numbers depend on the sizes in a way that is not known.
    """
    names = {name: f"$update{k}" for k, name in enumerate(updates, start=1)}
    passes = _of_all_sizes([(sizes, passes_draft(plan, outputs, names)) for sizes, plan in plans])
    checks = ", ".join(entry(size, size_name(size)) for size in plans[0][0])
    passes = replace(passes, name="createStep", begin=f"{passes.begin} checked({{ {checks} }});\n")
    calls = "s.forward(), s.backward(), s.updates[optimizer](numbers)"
    header = HEADER.format(given="batch, sizes, ", sizes="", calls=calls)
    return assembled([*(replace(updates[name], name=names[name]) for name in names), passes], header, least=1)


def _of_all_sizes(drafts: Sequence[tuple[Mapping[str, int], Draft]]) -> Factory:
    (first, draft), *_ = drafts
    text = parametrized([(sizes, each.text) for sizes, each in drafts], len(drafts))
    pattern = ", ".join(f"{name}: {size_name(name)}" for name in first if name != "batch")
    begin = f" const {{ {pattern} }} = sizes;\n" if pattern else ""
    return Factory("", replace(draft, text=text), "batch, sizes = {}, ", begin=begin)
