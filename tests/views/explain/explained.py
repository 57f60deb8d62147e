"""Tensors to explain, and explanations taken apart."""

from __future__ import annotations

import numpy as np

import tinygrad_ce as tg
from tinygrad_ce.core import Tensor
from tinygrad_ce.report.parts import Table


def wanted(data, name=None):
    return Tensor(data, requires_grad=True, name=name)


def lines(explanation):
    return [line.rstrip() for line in str(explanation).splitlines()]


def the_sum(explanation):
    """The sentence below this heading."""
    texts = [part.text for part in explanation.parts if not isinstance(part, Table)]
    return texts[texts.index("The sum") + 1]


def terms(explanation):
    """The terms of the visible sum, and what it says that they sum to."""
    text = the_sum(explanation)
    if "only one path" in text:
        return [float(text.split()[0])], float(text.split()[0])
    left, right = text.split(" = ")
    return [float(term.strip("()")) for term in left.split(" + ")], float(right.split(",")[0])


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def network():
    tg.seed(0)
    model = tg.nn.Sequential(tg.nn.Dense(2, 3), tg.nn.Tanh(), tg.nn.Dense(3, 2))
    x = Tensor(np.array([[0.5, -1.0], [2.0, 0.25]]), name="x")
    return model, x, np.array([0, 1])
