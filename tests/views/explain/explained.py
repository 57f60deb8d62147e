"""Tensors to explain, and explanations taken apart."""

from __future__ import annotations

import numpy as np

import tinygrad_ce as tg
from tinygrad_ce.core import Tensor
from tinygrad_ce.report.parts import Sentence, Table


def wanted(data, name=None):
    return Tensor(data, requires_grad=True, name=name)


def lines(explanation):
    return [line.rstrip() for line in str(explanation).splitlines()]


def the_sum(explanation):
    """The sentence that adds up the shares."""
    texts = [part.text for part in explanation.parts if isinstance(part, Sentence)]
    (text,) = (text for text in texts if "which is the gradient of" in text or text.endswith("it is used only once."))
    return text


def terms(explanation):
    """The terms of the visible sum, and what it says that they sum to."""
    text = the_sum(explanation)
    if "used only once" in text:
        return [float(text.split()[0])], float(text.split()[0])
    left, right = text.split(" = ")
    return [float(term.strip("()")) for term in left.split(" + ")], float(right.split(",")[0])


def uses(explanation):
    """The rows of the table of uses, as lists of cells by the title of the column."""
    table = next(part for part in explanation.parts if isinstance(part, Table))
    return [dict(zip(table.header, row, strict=True)) for row in table.rows]


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def network():
    tg.seed(0)
    model = tg.nn.Sequential(tg.nn.Dense(2, 3), tg.nn.Tanh(), tg.nn.Dense(3, 2))
    x = Tensor(np.array([[0.5, -1.0], [2.0, 0.25]]), name="x")
    return model, x, np.array([0, 1])
