"""A program as standalone NumPy: one line for each operation and each rule, as one would write it by hand.

What is printed is the primitives' own bodies: a body that is one expression stands in the line itself, with the
program's names in place of the arguments; a longer one becomes a function above the step. There are no templates.
What the engine computes with more digits than a textbook is printed in the forms of `textbook.py`, or as it is: exact.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import REGISTRY, Primitive
from tinygrad_ce.program.above import called_above, can_be_printed, definition_of
from tinygrad_ce.program.inlining import (
    Inlined,
    asks_for_attribute,
    calls_private,
    globals_of,
    index_of,
    literal,
    parsed,
    returned_locals,
    single_expression,
    substituted,
)
from tinygrad_ce.program.ir import Function, Instruction, Named, Value, uses
from tinygrad_ce.program.names import Names
from tinygrad_ce.program.outlined import Call, Update, outline_updates
from tinygrad_ce.program.passes import left_to_broadcasting, plain, simplified
from tinygrad_ce.program.textbook import FORMS, LOSES, RULES, SHOWN

LONGEST = 120  # characters of a line
SHORT = 12  # characters of an expression that may stand in a line several times
WIDEST = 70  # characters of an expression into which another one is still folded


def as_numpy(program: Function, exact: bool = False, name: str = "step") -> str:
    """The text of a program: in the forms of textbooks, or exact, with the forms that keep the last digits.

    name: of the function.
    """
    program = outline_updates(program if exact else left_to_broadcasting(plain(program)))
    writer = _Text(program, exact)
    lines = writer.lines()
    arguments = ", ".join([*(value.name for value in program.inputs), *program.numbers])
    head = [
        *sorted(writer.imports),
        "import numpy as np",
        "",
        "",
        *(
            line
            for text in (*writer.helpers.values(), *writer.updates.values())
            for line in (*text.splitlines(), "", "")
        ),
    ]
    answer = ", ".join(ast.unparse(writer.node(value, of_its_dtype=True)) for value in program.answers)
    return "\n".join([*head, f"def {name}({arguments}):", *_prepared(program), *lines, f"    return {answer}".rstrip()])


def lines_of(program: Function) -> dict[Instruction, str]:
    """The exact line in which each instruction stands, without its shape."""
    program = outline_updates(program)
    writer = _Text(program, exact=True)
    writer.lines()
    lines: dict[Instruction, str] = {}
    for i in reversed(program.instructions):
        if isinstance(i, Call):
            lines |= dict.fromkeys([i, *i.group], writer.call(i))
            continue
        readers = writer.uses[i.result] if i.result in writer.folded else ()
        lines[i] = lines[program.instructions[readers[-1]]] if readers else writer.written[i.result]
    return lines


def _prepared(program: Function) -> list[str]:
    """A comment where a loss has changed its weights before the first operation."""
    given = [dict(zip(i.op.arguments, i.inputs, strict=False)) for i in program.instructions if i.op in _LOSSES]
    arrays = {x: name for names in given for name, x in names.items() if isinstance(x, Value) and x.prepared}
    if not {"w", "weight"} & {*arrays.values()}:
        return []
    names = ", ".join(x.name for x in program.inputs if x in arrays)
    return [f"    # {names}: as the loss has prepared them: flat, and for a mean the weights over their sum"]


_LOSSES = {ops.xent, ops.soft_xent, ops.sigmoid_xent}


class _Text:
    """Turns instructions into lines, and collects the functions that they need."""

    def __init__(self, program: Function, exact: bool) -> None:
        self.exact = exact
        self.program = program
        self.helpers: dict[str, str] = {}
        self.updates: dict[Update, str] = {}
        self.above: dict[str, Any] = {}  # the functions that stand there
        self.imports: set[str] = set()
        self.folded: dict[Value, ast.expr] = {}
        self.folded_notes: dict[Value, list[str]] = {}
        self.written: dict[Value, str] = {}
        self.uses = uses(program.instructions)
        self.answers = {*program.answers}
        self.names = {x: x.name for x in program.values if not x.name.startswith("_")}
        self.allocator = Names("np", "step", *called_above(), *program.numbers, *self.names.values())
        self.rows: list[tuple[str, str, str]] = []  # lines, their shapes, and what their forms give up
        self.known: dict[str, str] = {}  # by an expression, the name of its value
        self.assigned = {x.name for x in program.inputs}
        self.notes: list[str] = []  # what the forms that are being written give up
        self.explained: set[str] = set()  # the forms whose loss stands behind a line already

    def lines(self, comments: bool = True) -> list[str]:
        """The lines of the step, with sections and, in one column, shapes as comments."""
        section = None
        for i in self.program.instructions:
            if i.section != section:
                section = i.section
                self.rows += [("", "", "")] if self.rows else []
                self.rows.append((f"# {section}", "", ""))
            if isinstance(i, Call):
                self.row(self.call(i))
                continue
            expression = self.expression(i)
            if self.can_fold(i, expression):
                self.folded[i.result] = expression
                self.folded_notes[i.result], self.notes = self.notes, []
            elif ast.unparse(expression) != self.named(i.result):  # a form has written the line
                if isinstance(expression, ast.Constant) and i.result in self.answers:
                    expression = literal(i.result.example[()])  # a number is no float32
                self.write(self.named(i.result), expression, i.result.example)
            self.written[i.result] = self.rows[-1][0]
        if not comments:
            return [f"    {text}" for text, shape, _ in self.rows if shape]
        width = min(WIDEST, max((len(text) for text, shape, _ in self.rows if shape), default=0))
        return [line.rstrip() for row in self.rows for line in _lines_of_row(*row, width)]

    def write(self, name: str, expression: ast.expr, example: Any) -> None:
        """One line, which gives an expression its name, with the shape of its value and what its form gives up."""
        text = ast.unparse(expression)
        if name in self.assigned:  # a parameter that is updated: what was computed from the old one is outdated
            self.known.clear()
        self.assigned.add(name)
        self.known[text] = name
        comment = f"# {np.shape(example)}" if isinstance(example, (np.ndarray, np.generic)) else ""
        self.row(f"{name} = {text}", comment)

    def import_module(self, name: str) -> None:
        """Import a module above the step."""
        self.imports.add(f"import {name}")

    def note(self, form: str) -> None:
        """Say behind the next line what this form gives up, if no line has said it."""
        if form in LOSES and form not in self.explained:
            self.explained.add(form)
            self.notes.append(LOSES[form])

    def row(self, text: str, comment: str = "") -> None:
        """A line; with its shape, and what its form gives up."""
        self.rows.append((text, comment, "; ".join(self.notes)))
        self.notes = []

    def written_out(
        self, name: str, expression: ast.expr, example: Any, result: str | None = None, own: bool = False
    ) -> ast.expr:
        """The name of an intermediate result of a form; one that has a name already is not computed again.

        result: the name, if it is the result of the form. own: it is written into, so that nothing stands for it.
        """
        text = ast.unparse(expression)
        if own or text not in self.known:
            name = result or self.allocator.free(name, link="")
            self.write(name, expression, example)
        return ast.Name(name if own and self.known.pop(text) else self.known[text])

    def call(self, call: Call) -> str:
        """The line that calls the function for an optimizer's update, which is put above the step."""
        update = call.update
        if update not in self.updates:
            inner = _Text(update.body, self.exact)
            lines = inner.lines(comments=False)
            self.helpers |= inner.helpers
            self.above |= inner.above
            self.imports |= inner.imports
            defaults = [f"{name}={ast.unparse(literal(value))}" for name, value in update.defaults.items()]
            arguments = ", ".join([*(x.name for x in update.body.inputs), *update.numbers, *defaults])
            answer = ", ".join(ast.unparse(inner.node(x)) for x in update.body.outputs.values())
            head = f"def {update.name}({arguments}):"
            self.updates[update] = "\n".join([head, *lines, f"    return {answer}"])
        keywords = [f"{name}={ast.unparse(literal(value))}" for name, value in call.keywords.items()]
        arguments = ", ".join([*(ast.unparse(self.node(x)) for x in call.inputs), *call.numbers, *keywords])
        self.known.clear()  # what was computed from the old parameter is outdated
        self.assigned |= {self.named(x) for x in call.results}
        return f"{', '.join(self.named(x) for x in call.results)} = {update.name}({arguments})"

    def named(self, value: Value) -> str:
        """The name of a value; an intermediate result gets a new one."""
        if value not in self.names:
            self.names[value] = self.allocator.free("t1", link="") if value.name.startswith("_") else value.name
        return self.names[value]

    def can_fold(self, i: Instruction, expression: ast.expr) -> bool:
        """Whether this is an intermediate result of a rule, short enough to stand inside the next line."""
        is_intermediate = i.result.name.startswith("_") and len(self.uses[i.result]) == 1
        return is_intermediate and i.result not in self.answers and len(ast.unparse(expression)) < WIDEST // 2

    def node(self, value: Any, of_its_dtype: bool = False) -> ast.expr:
        """What stands for a value in an expression. of_its_dtype: a number is more than one of Python's."""
        if not isinstance(value, Value):
            return literal(value)
        if value in self.folded:
            self.notes += self.folded_notes.pop(value, [])
            return self.folded[value]
        if value.role != "constant":
            return ast.Name(self.named(value))
        number = literal(value.example.flat[0].item())
        if value.example.ndim == 0:  # a Python number stands for a float64, and in a textbook for any
            if value.dtype.itemsize < 8 and (self.exact or of_its_dtype):
                return literal(value.example[()])
            return number if self.exact else as_fraction(value.example[()])
        if not self.exact:
            filled, values = FORMS["broadcast_to"], {"x": value.example.flat[0].item(), "shape": value.shape}
            return Inlined(filled, {}, values | {"dtype": value.dtype}, self).answer()
        shape, dtype = literal(value.shape), literal(value.dtype)
        return ast.Call(ast.parse("np.full", mode="eval").body, [shape, number, dtype], [])

    def expression(self, i: Instruction) -> ast.expr:
        """The call of an instruction, or its body where that is one expression."""
        body = parsed(i.op.body)
        names = {name: self.argument(x, name, body) for name, x in zip(i.op.arguments, i.inputs, strict=False)}
        if i.op.starred is not None:
            first = len(i.op.arguments) - 1
            names[i.op.starred] = ast.Tuple([self.node(x) for x in i.inputs[first:]])
        form = None if self.exact else FORMS.get(i.op.name)
        if form is not None:
            return self.form(form, i, names)
        if i.op is ops.getitem:  # the pattern is known: what `filled` makes of it can be written down
            return ast.Subscript(names["x"], index_of(i.params["pattern"], names["indices"]))
        single = single_expression(body)
        if single is not None and not calls_private(single):
            self.need(i.op.body, of=single)
            line = substituted(single, names | {name: literal(value) for name, value in i.params.items()})
            return line if self.exact else _with_sign(line)
        called = self.need(i.op.body, name=i.op.name)
        defaults = i.op.defaults
        options = [ast.keyword(k, literal(v)) for k, v in i.params.items() if k not in defaults or defaults[k] != v]
        inputs = [self.argument(x, i.op.argument(k), body) for k, x in enumerate(i.inputs)]
        return ast.Call(ast.Name(called), inputs, options)

    def form(self, form: Callable[..., Any], i: Instruction, names: dict[str, ast.expr]) -> ast.expr:
        """The textbook form of an instruction; its intermediate results are lines of their own."""
        examples = [_example(x) for x in i.inputs]
        for name, x in zip(i.op.arguments, i.inputs, strict=False):
            if name == i.op.starred:
                continue
            often = sum(isinstance(node, ast.Name) and node.id == name for node in ast.walk(parsed(form))) > 1
            if often and len(ast.unparse(names[name])) > SHORT:  # written once
                names[name] = self.written_out("t1", names[name], x.example)
        values = _values(i.op, i.params, examples) | {"dtype": i.result.dtype}
        return Inlined(form, names, values, self, self.named(i.result) if returned_locals(form) else None).answer()

    def argument(self, value: Any, name: str, body: ast.FunctionDef) -> ast.expr:
        """What stands for an argument: a number with a dtype where the body asks for `name.dtype` and the like."""
        node = self.node(value)
        if isinstance(value, Value) and isinstance(node, ast.Constant) and asks_for_attribute(body, name):
            return literal(value.example[()])
        return node

    def need(self, function: Any, of: ast.expr | None = None, name: str = "") -> str:
        """Put a function above the step, and before it what it calls; or only what one expression of it calls.

        Returns what it is called there: this name, with a number if another function has it.
        """
        if of is None:
            name = next((n for n, other in self.above.items() if other is function), name)
            if name in self.above and self.above[name] is not function:
                name = self.allocator.free(name)
            if name in self.above:
                return name
            self.above[name] = function  # it may call itself
        around = REGISTRY | globals_of(function)
        for node in ast.walk(of or parsed(function)):
            if isinstance(node, ast.Name) and node.id in around and node.id not in function.__code__.co_varnames:
                self.need_global(node.id, around[node.id])
        if of is None:
            definition = copy(parsed(function))
            definition.name = name
            self.helpers[name] = ast.unparse(definition)
        return name

    def need_global(self, name: str, value: Any) -> None:
        value = value.body if isinstance(value, Primitive) else value
        if can_be_printed(value):
            self.need(value, name=name)
        elif type(value).__module__.startswith("tinygrad_ce"):  # such as the marker for index arrays in a pattern
            self.helpers[name] = f'{name} = "{name}"  # stands for the next index array'
        elif value is not np and not name.startswith("__"):
            line = definition_of(name, value)
            if line.startswith(("import ", "from ")):
                self.imports.add(line)
            else:
                self.helpers[name] = line


def _lines_of_row(text: str, shape: str, note: str, width: int) -> list[str]:
    """A line with its shape in one column; what its form gives up stands behind it, or above where it is long."""
    line = f"    {text:<{width}}  {shape}" if shape else f"    {text}"
    note = f"{note}: exact=True does not" if note else ""
    together = f"{line}  {'' if shape else '# '}{note}" if note else line
    if not note or len(together) <= LONGEST:
        return [together]
    return [f"    # {note}", line]


def expression_of(value: Value, instructions: list[Instruction]) -> tuple[ast.expr, dict[str, Any]]:
    """A value as one expression of what the instructions started from, and what that expression calls, by name."""
    program = simplified(Function([], instructions, {"value": value}))
    program = outline_updates(program)
    writer = _Text(program, exact=True)
    for i in program.instructions:
        writer.folded[i.result] = writer.expression(i)
    return writer.node(program.outputs["value"]), _called_by([i.op for i in program.instructions])


def textbook_form(op: Primitive, params: Mapping[str, Any], inputs: Sequence[Any]) -> ast.expr | None:
    """A cross-entropy of these values and numbers as one expression in textbook form; None for other operations."""
    if op.name not in SHOWN:
        return None
    names = {name: _shown(x) for name, x in zip(op.arguments, inputs, strict=True)}
    return Inlined(FORMS[op.name], names, _values(op, params, [_example(x) for x in inputs])).answer()


def textbook_rule(op: Primitive, params: Mapping[str, Any], g: Value, out: Value) -> ast.expr | None:
    """The rule of an operation's one input, from what is upstream and its result; None if it is printed as it is."""
    if op.name not in RULES:
        return None
    values = {"g": g.example, "out": out.example, **params}
    return Inlined(RULES[op.name], {"g": _shown(g), "out": _shown(out)}, values).answer()


def _shown(x: Any) -> ast.expr:
    """How a value stands in an expression of a view."""
    if not isinstance(x, Value):
        return literal(x)
    single = x.role == "constant" and x.example.size == 1
    return literal(x.example.item()) if single else ast.Name(x.name, ast.Load())


def _example(x: Any) -> Any:
    """What a value was: a constant is a number, and what may change is an array."""
    if not isinstance(x, Value):
        return np.asarray(float(x)) if isinstance(x, Named) else x
    return x.example.item() if x.role == "constant" and x.example.size == 1 else x.example


def _values(op: Primitive, params: Mapping[str, Any], inputs: list[Any]) -> dict[str, Any]:
    """The arguments of an operation, by name."""
    values = {**dict(zip(op.arguments, inputs, strict=False)), **params}
    if op.starred is not None:
        values[op.starred] = tuple(inputs[len(op.arguments) - 1 :])
    return values


def as_fraction(number: Any) -> ast.expr:
    """A number as one would write it: what a mean divides by stays visible in 1 / 32."""
    count = round(1 / abs(number.item())) if number.dtype.kind == "f" and 1e-9 < abs(number) < 0.5 else 0
    if count > 2 and number.dtype.type(1 / count) == abs(number):
        return ast.BinOp(literal(1 if number > 0 else -1), ast.Div(), ast.Constant(count))
    return literal(number.item())


_SIGNS: dict[str, ast.cmpop] = {
    "np.greater": ast.Gt(),
    "np.greater_equal": ast.GtE(),
    "np.less": ast.Lt(),
    "np.less_equal": ast.LtE(),
    "np.equal": ast.Eq(),
    "np.not_equal": ast.NotEq(),
}


def _with_sign(call: ast.expr) -> ast.expr:
    """A comparison as it is written: x > 0 for np.greater(x, 0)."""
    sign = _SIGNS.get(ast.unparse(call.func)) if isinstance(call, ast.Call) else None
    return ast.Compare(call.args[0], [sign], call.args[1:]) if sign and isinstance(call, ast.Call) else call


def _called_by(ops: list[Primitive]) -> dict[str, Any]:
    """What the bodies of these primitives can call, and all primitives, as a printed program has them: their bodies."""
    functions: dict[str, Any] = {}
    for op in ops:
        for name, x in op.body.__globals__.items():  # markers, such as the one for index arrays in a pattern, too
            if not name.startswith("__") and (callable(x) or type(x).__module__.startswith("tinygrad_ce")):
                functions[name] = x
    return functions | {name: op.body for name, op in REGISTRY.items()}
