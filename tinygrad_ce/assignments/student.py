"""What students get of an assignment: the forward pass, a blank for each value that is asked for, and no answer."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterable, Mapping

import numpy as np

from tinygrad_ce.assignments.assignment import Assignment, sizes_of
from tinygrad_ce.assignments.hints import SOLUTION, TAKEN, TEXTS, WIDTH, packed_hints
from tinygrad_ce.assignments.locking import seal
from tinygrad_ce.assignments.notebooks import Cell, grouped
from tinygrad_ce.assignments.statements import arguments_of, assigned_in, docstring, mentioned_in

TEACHERS = ("gradients", "POINTS", "HINTS", "HINT_COST", "STARTER")  # names of the file that students do not get
GIVEN = ("forward", "inputs", "EXAMPLE")  # names that they get, with all that these need

MAIN = '''def main():
    """Compute the example, and say what is missing still."""
    answers = gradients(**{arguments})
    for name, shape in SHAPES.items():
        answer = answers.get(name)
        if answer is None:
            print(f"{{name}} is still None")
        elif np.shape(answer) != shape:
            print(f"{{name}} has shape {{np.shape(answer)}}, and it should have {{shape}}")
        else:
            print(f"{{name}} has the right shape, {{shape}}; the grader looks at its numbers")'''


def script(assignment: Assignment, file: str, password: str | None = None) -> str:
    """The text of the script that students fill in. file: what it is called. password: opens the solution in it."""
    head, *functions = _given(assignment)
    text = f"{assignment.title}\n\n{assignment.text}\n\n{instructions(assignment, file)}"
    parts = [
        f"{docstring(text)}\n\n{head}",
        *functions,
        gradients(assignment),
        main(assignment),
        *packed(assignment, password),
        'if __name__ == "__main__":\n    main()',
    ]
    return "\n\n\n".join(parts) + "\n"


def cells(assignment: Assignment, file: str, password: str | None = None) -> list[Cell]:
    """The cells of the notebook that students fill in, with each blank in a cell of its own."""
    head, *functions = _given(assignment)
    if assignment.starter is None:
        blanks = [*blank_cells(assignment)]
    else:
        blanks = [Cell("markdown", "## The function to mend"), Cell("code", gradients(assignment))]
    forward = [Cell("markdown", "## What is given"), *(Cell("code", text) for text in functions)]
    return [
        Cell("markdown", f"# {assignment.title}\n\n{assignment.text}\n\n{instructions(assignment, file)}"),
        Cell("code", head),
        *forward,
        *blanks,
        Cell("markdown", "## Try it\n\nThis cell says what is still missing, and whether the shapes fit."),
        Cell("code", f"{main(assignment)}\n\n\nmain()"),
        *(Cell("code", text) for text in packed(assignment, password)),
    ]


def instructions(assignment: Assignment, file: str) -> str:
    """What to do, what to hand in, and how it will be graded."""
    names = ", ".join(f"`{name}` ({_points(points)})" for name, points in assignment.points.items())
    if assignment.starter is not None:
        what = "Mend the function `gradients`: one line of it is wrong."
    elif file.endswith(".ipynb"):
        what = "Put an expression in the place of each `None`. NumPy is all that you need."
    else:
        what = "In `gradients`, put an expression in the place of each `None`. NumPy is all that you need."
    sizes = " and other sizes" if _sizes(assignment) else ""
    run = "cells from the top" if file.endswith(".ipynb") else "file"
    lines = [
        f"What to do. {what} Run the {run}: it says what is missing, and whether the shapes fit.",
        f"What to hand in. This file, `{file}`. Leave the names of functions, and of what they take and return, as they"
        " are.",
        f"How it is graded. Your function `gradients` is called with other numbers{sizes}. Asked for are {names}."
        " A value that is missing scores 0, and so do all of them where the function stops with an error: run the file"
        " before you hand it in. A mistake costs once: what is right, given an earlier wrong value of yours,"
        " scores its points.",
    ]
    if packed_hints(assignment):
        first = next(name for name in assignment.points if assignment.hints.get(name))
        reload = " Save the notebook before, and load it again after." if file.endswith(".ipynb") else ""
        lines.append(
            f"Hints. `tinygrad-ce hint {file} {first}` shows the next hint for a value, if you have tinygrad_ce. Each"
            f" costs {assignment.hint_cost:.0%} of the points of its value, and is counted in `{TAKEN}` in this file."
            f"{reload}"
        )
    if not file.endswith(".ipynb"):
        return "\n\n".join("\n".join(textwrap.wrap(line, WIDTH, break_on_hyphens=False)) for line in lines)
    parts = (line.partition(". ") for line in lines)
    return "\n\n".join(f"**{head}.** {rest}" for head, _, rest in parts)


def gradients(assignment: Assignment) -> str:
    """The function `gradients` of a script: the forward pass, and the blanks; or what it starts with."""
    if assignment.starter is not None:
        body = [textwrap.dedent(assignment.starter).strip("\n")]
        return _function("gradients", _signature(assignment), "What is asked for; one line is wrong.", body)
    blanks = "\n".join(f"{name} = None  # {_about(assignment, name)}" for name in assignment.points)
    body = [*_forward_steps(assignment), blanks, f"return {_dict(assignment.points)}"]
    return _function("gradients", _signature(assignment), "What is asked for: replace each None.", body)


def blank_cells(assignment: Assignment) -> Iterable[Cell]:
    """The cells of a notebook with a function for each blank, and one that puts them together."""
    steps = "\n".join(_forward_steps(assignment))
    there = list(dict.fromkeys([*arguments_of(_head(assignment)), *assigned_in(steps)]))
    calls = []
    for name in assignment.points:
        about = _about(assignment, name)
        yield Cell("markdown", f"### `{name}`: {about}")
        body = [f"{name} = None  # {about}\nreturn {name}"]
        yield Cell("code", _function(f"compute_{name}", there, f"Compute {name}: replace None.", body))
        calls.append(_call(f"{name} = compute_{name}", there))
        there = [*there, name]
    body = [steps, "\n".join(calls), f"return {_dict(assignment.points)}"]
    text = "## All together\n\nThis is the function that is graded. It calls yours; leave it as it is."
    yield Cell("markdown", text)
    written = _function("gradients", _signature(assignment), "What is asked for.", [part for part in body if part])
    yield Cell("code", written)


def main(assignment: Assignment) -> str:
    """The function that tries what a student has written, and the shapes that it looks for."""
    drawn = assignment.statements.function("inputs") is not None
    arguments = "inputs(np.random.default_rng(0))" if drawn else "EXAMPLE"
    shapes = "".join(f'    "{name}": {shape},\n' for name, shape in assignment.shapes.items())
    return f"SHAPES = {{\n{shapes}}}\n\n\n{MAIN.format(arguments=arguments)}"


def packed(assignment: Assignment, password: str | None) -> list[str]:
    """What a student does not read: the hints and, if there is a password, the solution that it opens."""
    texts = []
    hints = packed_hints(assignment)
    if hints:
        texts.append(f"# What `tinygrad-ce hint` shows: one at a time.\n{_constant(TEXTS, hints)}")
    if password is not None:
        sealed = seal(solution_text(assignment), password)
        texts.append(f"# `tinygrad-ce unlock` opens it with the teacher's password.\n{_constant(SOLUTION, sealed)}")
    return texts


def solution_text(assignment: Assignment) -> str:
    """The teacher's function `gradients`, and what it needs. ValueError where there is none."""
    code = assignment.statements
    if code.function("gradients") is None:
        raise ValueError(f"{assignment.name}: there is no solution to lock: its file has no gradients")
    given = code.needed_by(GIVEN, but=TEACHERS)
    needed = [node for node in code.needed_by(["gradients"]) if node not in given]
    return "\n\n\n".join(cell.text for cell in grouped(code, needed))


# ---- pieces of text


def _given(assignment: Assignment) -> list[str]:
    """The head of a student's file, and each function that it has from the teacher's."""
    code = assignment.statements
    starter = mentioned_in(ast.parse(textwrap.dedent(assignment.starter))) if assignment.starter else set()
    needed = code.needed_by([*GIVEN, *starter], but=TEACHERS)
    functions = [code.as_written(node) for node in needed if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    others = [code.as_written(node) for node in needed if not isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    imports = [text for text in others if text.startswith(("import ", "from "))]
    if "import numpy as np" not in imports:
        imports.append("import numpy as np")
    values = [text for text in others if text not in imports]
    if packed_hints(assignment):
        values.append(f"{TAKEN} = {{}}  # how many hints were taken, by value: the command writes it")
    return ["\n\n".join(["\n".join(imports), *values]), *functions]


def _head(assignment: Assignment) -> ast.FunctionDef:
    """The function whose arguments the one of students has."""
    code = assignment.statements
    function = code.function("gradients") or code.function("forward")
    if function is None:
        raise ValueError(f"{assignment.name}: gradients must stand in the file as def gradients(...)")
    return function


def _signature(assignment: Assignment) -> list[str]:
    return [ast.unparse(_head(assignment).args)]


def _forward_steps(assignment: Assignment) -> list[str]:
    """The lines of the forward pass, where they are a straight sequence of lines with the solution's arguments."""
    code = assignment.statements
    forward = code.function("forward")
    if forward is None or arguments_of(forward) != arguments_of(_head(assignment)):
        return []
    steps = code.steps(forward)
    return [steps] if steps else []


def _function(name: str, arguments: list[str], described: str, body: Iterable[str]) -> str:
    head = _call(f"def {name}", arguments) + ":"
    lines = [f'"""{described}"""', *body]
    return f"{head}\n" + "\n".join(textwrap.indent(line, "    ") for line in lines)


def _call(start: str, arguments: Iterable[str]) -> str:
    """A call or a head of a function, in several lines where it is long."""
    line = f"{start}({', '.join(arguments)})"
    return textwrap.fill(line, WIDTH, subsequent_indent=" " * 8, break_long_words=False, break_on_hyphens=False)


def _dict(names: Iterable[str]) -> str:
    pairs = [f'"{name}": {name}' for name in names]
    line = f"{{{', '.join(pairs)}}}"
    return line if len(line) < WIDTH else "{\n" + "".join(f"    {pair},\n" for pair in pairs) + "}"


def _constant(name: str, text: str) -> str:
    """An assignment of a long text, in several lines."""
    lines = (text[start : start + WIDTH] for start in range(0, len(text), WIDTH))
    return f'{name} = """\n' + "\n".join(lines) + '\n"""'


def _about(assignment: Assignment, name: str) -> str:
    return f"shape {_shape_in_words(assignment, name)}, {_points(assignment.points[name])}"


def _points(points: float) -> str:
    return f"{points:g} point{'' if points == 1 else 's'}"


def _shape_in_words(assignment: Assignment, name: str) -> str:
    """A shape with the names of the sizes, `(n, classes)`, where they can be read off other sizes."""
    shape = assignment.shapes[name]
    sizes = _sizes(assignment)
    other = _other_shapes(assignment, sizes)
    if name not in other or len(other[name]) != len(shape):
        return str(shape)
    words = [_size_in_words(a, b, sizes) for a, b in zip(shape, other[name], strict=True)]
    return f"({', '.join(words)}{',' if len(words) == 1 else ''})"


def _size_in_words(size: int, other: int, sizes: Mapping[str, tuple[int, int]]) -> str:
    return next((name for name, both in sizes.items() if both == (size, other)), str(size))


def _sizes(assignment: Assignment) -> dict[str, tuple[int, int]]:
    """The sizes that `inputs` has as keywords, each with a multiple of it: no two of them grow alike."""
    return {name: (n, n * (k + 2)) for k, (name, n) in enumerate(sizes_of(assignment.inputs).items())}


def _other_shapes(assignment: Assignment, sizes: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, ...]]:
    """The shapes for other sizes; {} where the teacher's functions do not take them."""
    try:
        arguments = assignment.inputs(np.random.default_rng(0), **{name: b for name, (_, b) in sizes.items()})
        answers = assignment.right_values(arguments)
    except Exception:  # sizes that do not go together: the numbers of the example stand in the file
        return {}
    return {name: np.shape(answers[name]) for name in assignment.points}
