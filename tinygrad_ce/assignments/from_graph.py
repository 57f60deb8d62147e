"""A teacher's file of a recorded graph: its forward pass, its backward pass, its arrays, and hints off its rules."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_ce.assignments.from_rules import hints
from tinygrad_ce.assignments.statements import Statements, docstring
from tinygrad_ce.core import Array
from tinygrad_ce.graph.nodes import Graph
from tinygrad_ce.program.ir import Function
from tinygrad_ce.program.numpy_text import as_numpy
from tinygrad_ce.program.passes import simplified

MOST_NUMBERS = 2000  # that are written into a file as literals
DIGITS = re.compile(r"^ *# .*: exact=True does not\n|(?<=\))  [^#\n]*: exact=True does not$", re.MULTILINE)
NOT_FINITE = re.compile(r"inf|nan")


def text_of_graph(graph: Graph, points: Mapping[str, float], hint_cost: float, title: str, text: str) -> str:
    """The text of a teacher's file that asks for these gradients of a graph, by their names in it.

    Raises ValueError for more than 2,000 numbers of data and parameters.
    """
    program, names = graph.recorded.program, graph.gradient_names
    nodes = {name: node for node, name in names.items()}
    _refuse_large(program)
    forward = [i for i in program.instructions if i.section == "forward"]
    loss = graph.loss.instruction
    assert loss is not None
    answers = {name: nodes[name].derivative for name in points}
    values = {name: value for name, value in answers.items() if value is not None}
    functions = [
        _printed("forward", Function(program.inputs, forward, {"loss": loss.result})),
        _printed("gradients", Function(program.inputs, program.instructions, values)),
    ]
    text = text or "This is the forward pass of a network. Write its backward pass, by hand, in NumPy."
    imports, *defined = _merged(functions, list(answers))
    constants = [
        _constant("POINTS", points),
        f"HINT_COST = {hint_cost}",
        _constant("HINTS", {name: hints(nodes[name], names) for name in answers}),
        _dict_of_arrays("EXAMPLE", {x.name: x.example for x in program.inputs}),
    ]
    head = "\n\n".join([docstring(f"{title}\n\n{text}"), imports, *constants])
    return "\n\n\n".join([head, *defined]) + "\n"


def _refuse_large(program: Function) -> None:
    count = sum(x.example.size for x in program.inputs)
    if count > MOST_NUMBERS:
        largest = max(program.inputs, key=lambda x: x.example.size)
        raise ValueError(
            f"an exercise as a file holds its data and parameters, and these are {count:,} numbers, of which "
            f"{largest.name} has {largest.example.size:,}: at most {MOST_NUMBERS:,} can be read; take a smaller batch "
            "or network"
        )


def _printed(name: str, function: Function) -> Statements:
    """A program as a function of this name, without the notes on digits that it loses."""
    return Statements.of(DIGITS.sub("", as_numpy(simplified(function), name=name)))


def _merged(functions: list[Statements], answers: list[str]) -> list[str]:
    """The texts of `forward` and `gradients`, after what they need: each statement once."""
    forward, gradients = (code.tree.body[-1] for code in functions)
    above = [code.as_written(node) for code in functions for node in code.tree.body[:-1]]
    own = [_described(functions[0].as_written(forward), "The loss."), _solution(functions[1], gradients, answers)]
    needed = dict.fromkeys([*above, "import numpy as np"])
    imports = sorted(text for text in needed if text.startswith("import "))
    return ["\n".join(imports), *(text for text in needed if text not in imports), *own]


def _described(function: str, words: str) -> str:
    """The text of a function with a docstring, and without the comment that its only section has."""
    head, _, body = function.partition("\n")
    return f'{head}\n    """{words}"""\n{body.removeprefix("    # forward" + chr(10))}'


def _solution(code: Statements, function: ast.stmt, answers: list[str]) -> str:
    """The text of `gradients`, which returns its answers by name."""
    assert isinstance(function, ast.FunctionDef)
    last = function.body[-1]
    assert isinstance(last, ast.Return)
    assert last.value is not None
    values = last.value.elts if len(answers) > 1 and isinstance(last.value, ast.Tuple) else [last.value]
    pairs = "".join(f'        "{k}": {ast.unparse(v)},\n' for k, v in zip(answers, values, strict=True))
    lines = code.as_written(function).splitlines()[: last.lineno - function.lineno]
    head, *body = lines
    return "\n".join([head, '    """The gradients."""', *body, f"    return {{\n{pairs}    }}"])


def _constant(name: str, value: Mapping[str, Any]) -> str:
    line = json.dumps(value, ensure_ascii=False)
    return f"{name} = {line if len(line) < 100 else json.dumps(value, indent=4, ensure_ascii=False)}"


def _dict_of_arrays(name: str, arrays: Mapping[str, Array]) -> str:
    """Arrays as they are written in Python, with all their digits, each row of a matrix on a line of its own."""
    lines = [f"{name} = {{"]
    for key, array in arrays.items():
        dtype = "" if array.dtype in (np.float64, np.int64, np.bool_) else f", dtype=np.{array.dtype.name}"
        rows = [f"        {row}," for row in array.tolist()] if array.ndim > 1 else []
        numbers = NOT_FINITE.sub(r"np.\g<0>", "\n".join(["[", *rows, "    ]"]) if rows else repr(array.tolist()))
        lines.append(f'    "{key}": np.array({numbers}{dtype}),')
    return "\n".join([*lines, "}"])
