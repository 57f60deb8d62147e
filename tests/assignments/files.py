"""Losses of several networks, and what stands in a student's file."""

from __future__ import annotations

import ast
import json
import re

import numpy as np

import tinygrad_ce as tg
from tinygrad_ce.assignments.hints import TEXTS, unpacked

NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?|-?\d+e[-+]?\d+")


def code_of(path):
    """The Python of a student's script or notebook."""
    text = path.read_text()
    if path.suffix == ".py":
        return text
    return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code")


def words_of(path):
    """All that can be read in a student's file, and what is packed in it."""
    whole = path.read_text()
    packed = {}
    for node in ast.parse(code_of(path)).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == TEXTS:
            packed = unpacked(node.value.value)
    return f"{whole}\n{json.dumps(packed)}"


def numbers_in(text):
    """The numbers with a point or an exponent in a text, to four digits, without their signs."""
    return {f"{abs(float(number)):.3e}" for number in NUMBER.findall(text)}


def expressions_in(code):
    """Every expression of a program that is more than a name or a number, as Python writes it."""
    trees = (node for node in ast.walk(ast.parse(code)) if isinstance(node, (ast.BinOp, ast.Call, ast.UnaryOp)))
    return {ast.unparse(node) for node in trees}


def networks():
    """The losses of several networks, by name; each with names that their printed programs have."""
    generator = np.random.default_rng(3)
    x, y = generator.normal(size=(6, 2)), np.arange(6) % 3
    nn, losses = tg.nn, tg.losses
    tg.seed(0)  # of the mask of dropout: a number of the data may be like one of an answer
    half = x.astype("float32")
    binary = (y > 1).astype("float32").reshape(6, 1)
    words = generator.integers(5, size=(6, 2))
    normed = nn.Sequential(nn.Dense(2, 4), nn.BatchNorm(4), nn.Tanh(), nn.Dense(4, 3))
    dropped = nn.Sequential(nn.Dense(2, 4), nn.LayerNorm(4), nn.Dropout(0.5), nn.Dense(4, 1))
    embedded = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Dense(8, 3))
    for parameter in (p for model in (normed, dropped, embedded) for p in model.parameters()):
        parameter.data[...] = generator.normal(size=parameter.shape) / 2
    return {
        "batch norm": losses.softmax_cross_entropy(normed(tg.Tensor(x, name="x")), y),
        "float32 and dropout": losses.sigmoid_binary_cross_entropy(dropped.astype("float32")(half), binary),
        "embedding": losses.softmax_cross_entropy(embedded(words), y),
    }


def written(problem, path, **options):
    """The file that an assignment or exercise writes at a path, by its ending."""
    write = problem.to_notebook if path.suffix == ".ipynb" else problem.to_script
    return write(path, **options)
