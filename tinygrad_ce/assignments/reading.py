"""Reading a teacher's version, a script or a notebook, with one sentence for whatever is missing in it or wrong."""

from __future__ import annotations

import linecache
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce.assignments.assignment import HINT_COST, Assignment
from tinygrad_ce.assignments.notebooks import cells_of
from tinygrad_ce.assignments.statements import docstring
from tinygrad_ce.assignments.teacher import RUBRIC
from tinygrad_ce.core import Array
from tinygrad_ce.data.checks import closest, shown

CATALOG = Path(__file__).parent / "catalog"


def from_file(path: str | Path) -> Assignment:
    """Read a teacher's version: a Python file, or a notebook with the same code.

    path: of the file, which is run. Raises OSError for a file that cannot be read, ValueError in one sentence for what
    is missing in it or wrong.

    >>> from_file(CATALOG / "softmax_cross_entropy.py").points
    {'d_z': 2, 'd_W': 1, 'd_b': 1}
    """
    path = Path(path)
    if path.suffix not in (".py", ".ipynb"):
        raise ValueError(f"{path} is no teacher's version of an exercise: that is a .py or .ipynb file")
    if path.suffix == ".ipynb":
        return from_source(_source_of(path), path.stem, path.suffix)
    try:
        return from_source(path.read_text(encoding="utf-8"), path.stem)
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is no text in UTF-8: save it as UTF-8") from None


def from_source(source: str, name: str, ending: str = ".py") -> Assignment:
    """The assignment that a teacher's text defines. name, ending: of the file. ValueError as for `from_file`.

    >>> problem = from_source(ready("one_neuron").source, "week_1")
    >>> problem.name, problem.points == ready("one_neuron").points
    ('week_1', True)
    """
    source = source.partition(RUBRIC)[0].rstrip() + "\n"
    names = _run(source, name, ending)
    points = _points(name, names)
    title, _, text = (names["__doc__"] or name).strip().partition("\n")
    assignment = Assignment(
        name=name,
        title=title.strip().rstrip("."),
        text=text.strip(),
        source=source,
        forward=_function(name, names, "forward"),
        solution=_function(name, names, "gradients"),
        inputs=_inputs(name, names),
        points=points,
        hints=_hints(name, names, points),
        hint_cost=_hint_cost(name, names),
        starter=names.get("STARTER"),
    )
    _try(assignment)
    if "HINTS" in names or assignment.forward is None:
        return assignment
    from tinygrad_ce.assignments.from_rules import hints_of_function

    found = hints_of_function(assignment.forward, assignment.example())
    return replace(assignment, hints={name: found[name] for name in points if name in found})


def ready(name: str) -> Assignment:
    """One of the assignments that come with the package: `names()` lists them. ValueError for another name.

    >>> ready("softmax_cross_entropy").title
    'Softmax and cross-entropy'
    """
    if name not in names():
        raise ValueError(f"there is no exercise {shown(name)}:{closest(name, names())} there are {', '.join(names())}")
    return from_file(CATALOG / f"{name}.py")


def assignment_of(name_or_path: str | Path) -> Assignment:
    """A ready assignment, or that of a teacher's file.

    name_or_path: what has an ending is a file. Raises as `ready` and `from_file` do.

    >>> assignment_of("one_neuron").name, assignment_of(CATALOG / "bce.py").name
    ('one_neuron', 'bce')
    """
    return from_file(name_or_path) if Path(name_or_path).suffix else ready(str(name_or_path))


def names() -> list[str]:
    """What the assignments that come with the package are called, the easiest first.

    >>> names()[0]
    'one_neuron'
    """
    return [
        *("one_neuron", "softmax_cross_entropy", "bce", "two_layers", "batch_norm", "embedding", "layer_norm"),
        *("dropout", "attention", "momentum", "weight_decay", "find_the_bug"),
    ]


def _source_of(path: Path) -> str:
    """The text of a teacher's notebook: its first Markdown cell is the docstring, and its code the code."""
    cells = cells_of(path)
    text = next((cell.text for cell in cells if cell.kind == "markdown"), path.stem)
    literal = docstring(text.lstrip("# "))
    return "\n\n\n".join([literal, *(cell.text for cell in cells if cell.kind == "code")])


def _run(source: str, name: str, ending: str) -> dict[str, Any]:
    """The names that a text defines. Its lines can be looked up, so that a function of it can be read again."""
    file = f"{zlib.crc32(source.encode()):08x}/{name}{ending}"  # messages name its end; two files of one name are two
    try:
        code = compile(source, file, "exec")
    except (SyntaxError, ValueError) as error:
        place = f"line {error.lineno}" if isinstance(error, SyntaxError) else "the file"
        raise ValueError(f"{name}: {place} is no Python: {getattr(error, 'msg', error)}") from None
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    found: dict[str, Any] = {"__name__": name, "__doc__": None}
    try:
        exec(code, found)
    except Exception as error:
        raise ValueError(f"{name}: running it raises {type(error).__name__}: {error}") from None
    return found


def _function(file: str, found: Mapping[str, Any], name: str) -> Callable[..., Any] | None:
    value = found.get(name)
    if value is not None and not callable(value):
        raise ValueError(f"{file}: {name} must be a function: write def {name}(...)")
    return value


def _points(file: str, found: Mapping[str, Any]) -> dict[str, float]:
    points = found.get("POINTS")
    if points is None:
        raise ValueError(f'{file}: POINTS is missing: write what counts how much, POINTS = {{"d_W": 2}}')
    if not isinstance(points, dict) or not points:
        raise ValueError(f'{file}: POINTS must be a dict of what is asked for, as in POINTS = {{"d_W": 2}}')
    for name in points:
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"{file}: {shown(name)} in POINTS must be the name of a variable, as d_W is")
    check_points(file, points)
    return points


def check_points(whose: str, points: Mapping[str, float]) -> None:
    """ValueError where what something counts is no number of at least 0."""
    for name, worth in points.items():
        if isinstance(worth, bool) or not isinstance(worth, (int, float)) or not 0 <= worth < np.inf:
            raise ValueError(f"{whose}: the points of {name} are {shown(worth)}; they must be a number of at least 0")


def _inputs(file: str, found: Mapping[str, Any]) -> Callable[..., dict[str, Array]]:
    inputs, example = _function(file, found, "inputs"), found.get("EXAMPLE")
    if inputs is not None:
        return inputs
    if example is None:
        raise ValueError(f"{file}: the arguments are missing: write def inputs(generator): ... or EXAMPLE = {{...}}")
    if not isinstance(example, dict):
        raise ValueError(f'{file}: EXAMPLE must be a dict of arrays, as in EXAMPLE = {{"x": np.ones(3)}}')
    return lambda generator: {name: np.array(value) for name, value in example.items()}


def _hints(file: str, found: Mapping[str, Any], points: Mapping[str, float]) -> dict[str, tuple[str, ...]]:
    hints = found.get("HINTS", {})
    if not isinstance(hints, dict):
        raise ValueError(f'{file}: HINTS must be a dict of lists of sentences, as in HINTS = {{"d_W": ["..."]}}')
    for name, texts in hints.items():
        if name not in points:
            raise ValueError(f"{file}: HINTS has {shown(name)}, which is not in POINTS")
        if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{file}: the hints of {name} must be a list of sentences")
    return {name: tuple(texts) for name, texts in hints.items()}


def _hint_cost(file: str, found: Mapping[str, Any]) -> float:
    cost = found.get("HINT_COST", HINT_COST)
    if type(cost) not in (int, float) or not 0 <= cost <= 1:
        raise ValueError(f"{file}: HINT_COST is {shown(cost)}; it must be a share of the points, from 0 to 1")
    return float(cost)


def _try(assignment: Assignment) -> None:
    """Run it on its example. ValueError if that fails, or if something that is asked for is not there."""
    file = assignment.name
    if assignment.solution is None and assignment.forward is None:
        raise ValueError(f"{file}: there is neither forward nor gradients: write def gradients(...), the solution")
    if assignment.starter is not None and assignment.statements.function("gradients") is None:
        raise ValueError(f"{file}: a STARTER needs gradients, the solution, whose arguments it has")
    if assignment.starter is not None and not isinstance(assignment.starter, str):
        raise ValueError(f"{file}: STARTER must be a text, the body of gradients that students get")
    whose = "forward" if assignment.solution is None else "gradients"
    try:
        answers = assignment.right_values(assignment.example())
    except Exception as error:
        raise ValueError(f"{file}: {whose} fails on the example: {type(error).__name__}: {error}") from None
    if not isinstance(answers, dict):
        raise ValueError(f"{file}: gradients must return a dict of what is asked for, not {type(answers).__name__}")
    missing = [name for name in assignment.points if name not in answers]
    if missing:
        there = f"{whose} gives {', '.join(answers) or 'nothing'};{closest(missing[0], answers)}".rstrip(";")
        raise ValueError(f"{file}: POINTS asks for {missing[0]}, and {there}")
