"""What the page knows of a traced network besides its program: columns of neurons, weights, lines, layers, its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_ce.live.lines import Line, lines_of, with_other_rows
from tinygrad_ce.live.traced import Traced
from tinygrad_ce.nn import BatchNorm, Dense, Dropout, LayerNorm
from tinygrad_ce.program.ir import Function, Value
from tinygrad_ce.program.javascript_sizes import Sizes, formula
from tinygrad_ce.program.program import Program
from tinygrad_ce.storage.classes import OwnCodeError
from tinygrad_ce.storage.settings import describe_loss

Description = dict[str, Any]
OF_LOGITS = ("sigmoid_binary_cross_entropy", "SigmoidBCE", "hinge", "Hinge")  # losses whose yes is a score above 0


def network(
    traced: Traced,
    features: Sequence[str],
    classes: Sequence[str],
    others: Sequence[tuple[Sizes, Function]] | None = None,
) -> Description:
    """A traced network as the page knows it: see the README of this folder for the keys.

    others: its program with other sizes; None traces it with other numbers of rows.
    """
    program, training = traced.program, traced.training
    columns, weights = stack_of(traced, features, classes)
    names = {id(x.variable): x.name for x in program.inputs if x.role == "state"}
    others = with_other_rows(program) if others is None else others
    lines, above = lines_of(program, constants_of(program), others)
    optimizer = type(training.optimizer).__name__
    return {
        "columns": columns,
        "weights": weights,
        "shapes": shapes_of(program, lines, others),
        "lines": lines,
        "above": above,
        "layers": [
            {
                "path": path,
                "layer": repr(layer),
                "parameters": [names[id(x)] for _, x in layer.named_parameters() if id(x) in names],
                "output": output,
                "before": before,
            }
            for path, layer, before, output in traced.layers
        ],
        "output": traced.output,
        "task": task_of(traced, classes),
        "threshold": threshold_of(training.loss),
        "sizes": [],
        "random": dropouts_of(traced),
        "numbers": {optimizer: {name: read(1)[0].item() for name, read in program.numbers.items() if name != "t"}},
        "begins": beginnings_of(traced, names),
        "evaluation": None,
    }


def beginnings_of(traced: Traced, names: Mapping[int, str]) -> dict[str, float]:
    """By name, the number with which all of an array of a normalizing layer begins: its scale 1, its shift 0..."""
    arrays = {"scale": 1.0, "shift": 0.0, "running_mean": 0.0, "running_variance": 1.0}
    layers = [layer for _, layer, _, _ in traced.layers if isinstance(layer, (BatchNorm, LayerNorm))]
    return {
        names[id(array)]: arrays[kind]
        for layer in layers
        for kind, array in {**vars(layer), **layer.variables}.items()
        if kind in arrays and id(array) in names
    }


def constants_of(program: Function) -> dict[str, str]:
    """How the fixed arrays of our own steps are written: the rows of ones and zeros of the classes."""
    return {
        x.name: f"np.eye({len(x.example)})"
        for x in program.inputs
        if x.role == "fixed" and x.shape == (len(x.example),) * 2 and (x.example == np.eye(len(x.example))).all()
    }


def stack_of(traced: Traced, features: Sequence[str], classes: Sequence[str]) -> tuple[list[Any], list[Any]]:
    """The columns of neurons and the weights between them, if the Dense layers stand one behind the other, else none.

    A column is what goes into a Dense layer, or the model's answer; what is between two Dense layers is not seen.
    """
    program = traced.program
    values = {x.name: x for x in program.values}
    states = {id(x.variable): x.name for x in program.inputs if x.role == "state"}
    dense = [(layer, before, output) for _, layer, before, output in traced.layers if isinstance(layer, Dense)]
    if not dense or any(id(layer.W) not in states for layer, _, _ in dense):
        return [], []
    ends = [*(before for _, before, _ in dense), traced.output]
    joined = all(ends[k + 1] in reached_from(program, output) for k, (_, _, output) in enumerate(dense))
    if not joined or any(len(values[end].shape) != 2 for end in ends) or len({*ends}) < len(ends):
        return [], []
    columns = [{"buffer": end, "size": values[end].shape[1], "names": []} for end in ends]
    for column, names in ((columns[0], features), (columns[-1], classes)):
        column["names"] = [*names] if len(names) == column["size"] else []
    weights = [
        {"name": states[id(layer.W)], "bias": states.get(id(layer.b)), "from": k, "to": k + 1}
        for k, (layer, _, _) in enumerate(dense)
    ]
    return columns, weights


def reached_from(program: Function, name: str) -> set[str]:
    """The names of all that is computed from the array of this name, itself among them."""
    found = {name}
    for i in program.instructions:
        if any(isinstance(x, Value) and x.name in found for x in i.inputs):
            found.add(i.result.name)
    return found


def shapes_of(
    program: Program, lines: Sequence[Line], others: Sequence[tuple[Sizes, Function]]
) -> dict[str, list[int | str]]:
    """By name, the shape of each array that a line names; an axis as long as a size is has the name of the size."""
    named = {x.name for x in program.inputs} | {line["name"] for line in lines}
    shapes: dict[str, list[int | str]] = {x.name: [*x.shape] for x in program.values if x.name in named}
    sizes = tuple(size for size, _ in others)
    tables = [{x.name: x.shape for x in function.values} for _, function in others]
    for name in shapes if tables else ():
        columns = [*zip(*(table.get(name, ()) for table in tables), strict=False)]
        if len(columns) == len(shapes[name]):
            texts = [formula(tuple(map(str, column)), sizes).replace("$", "") for column in columns]
            shapes[name] = [int(text) if text.isdigit() else text for text in texts]
    return shapes


def dropouts_of(traced: Traced) -> dict[str, float]:
    """By the names of the inputs that the page fills with a mask before each step, the rate of its Dropout layer.

    ValueError for random numbers of another kind.
    """
    masks = [x.name for x in traced.program.inputs if x.role == "random"]
    rates = [layer.rate for _, layer, _, _ in traced.layers if isinstance(layer, Dropout) and layer.rate]
    if traced.evaluation:
        rates = []
    if len(masks) != len(rates):
        raise ValueError(
            f"live: the step draws the random numbers {masks[0]}, and the page draws those of Dropout layers only: "
            "take the others out of the model"
        )
    return dict(zip(masks, rates, strict=True))


def task_of(traced: Traced, classes: Sequence[str]) -> str:
    """What the answer says of a row: "classes" (the largest score), "binary" (yes above the threshold), "numbers"."""
    if not classes:
        return "numbers"
    size = next(x.shape for x in traced.program.values if x.name == traced.output)[-1]
    return "classes" if size == len(classes) > 1 else "binary"


def threshold_of(loss: Any) -> float:
    """The score above which a binary answer is a yes: the logit 0 is the probability 0.5."""
    try:
        kind, _ = describe_loss(loss)
    except OwnCodeError:
        return 0.5
    return 0.0 if kind.get("function", kind.get("class")) in OF_LOGITS else 0.5
