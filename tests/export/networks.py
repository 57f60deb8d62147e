"""Networks that are exported: every layer of the library, and what is odd in inputs, outputs and functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_ce as tg
from tinygrad_ce import nn

rng = np.random.default_rng(14)


class TwoInputs(nn.Module):
    """Words and numbers, each with layers of their own; two answers."""

    def __init__(self) -> None:
        self.words, self.flat = nn.Embedding(5, 3), nn.Flatten()
        self.numbers = nn.Dense(2, 6)
        self.slope = tg.Tensor(np.ones(6), requires_grad=True)

    def forward(self, words: Any, numbers: Any) -> Any:
        both = self.flat(self.words(words)) * self.slope + self.numbers(numbers)
        return both, tg.ops.softmax(both)


class NamedOutputs(nn.Module):
    """A dict of answers, one of them without a row for each row."""

    def __init__(self) -> None:
        self.blocks = [nn.Dense(3, 4), nn.Dense(4, 2)]

    def forward(self, x: Any) -> Any:
        hidden = self.blocks[0](x)
        return {"scores": self.blocks[1](tg.ops.relu(hidden)), "mean": hidden.mean(axis=0)}


def doubled(x: Any) -> Any:
    """A plain function in a Sequential."""
    return np.exp(-x * 2)


def rows(*shape: int) -> np.ndarray:
    return rng.normal(size=shape)


def words(*shape: int) -> np.ndarray:
    return rng.integers(0, 5, shape)


Case = tuple[Callable[[], nn.Module], Any]

ACTIVATIONS = [
    *(nn.Sigmoid, nn.Tanh, nn.ReLU, nn.LeakyReLU, nn.SiLU, nn.GELU, nn.Softplus, nn.Softmax),
]
LAYERS: dict[str, Case] = {
    **{
        layer.__name__: (lambda layer=layer: nn.Sequential(nn.Dense(3, 4), layer(), nn.Dense(4, 2)), rows(5, 3))
        for layer in ACTIVATIONS
    },
    "GELU by tanh": (lambda: nn.Sequential(nn.Dense(3, 4), nn.GELU("tanh")), rows(5, 3)),
    "Softmax over the rows' first axis": (lambda: nn.Sequential(nn.Dense(3, 4), nn.Softmax(axis=1)), rows(5, 2, 3)),
    "a Dense without bias": (lambda: nn.Sequential(nn.Dense(3, 4, bias=False)), rows(5, 3)),
    "BatchNorm": (lambda: nn.Sequential(nn.Dense(3, 4), nn.BatchNorm(4, eps=0.01), nn.Tanh()), rows(5, 3)),
    "BatchNorm of three axes": (lambda: nn.Sequential(nn.BatchNorm(3), nn.BatchNorm(3)), rows(5, 2, 3)),
    "LayerNorm": (lambda: nn.Sequential(nn.Dense(3, 4), nn.LayerNorm(4), nn.Dense(4, 2)), rows(5, 3)),
    "Dropout": (lambda: nn.Sequential(nn.Dense(3, 4), nn.Dropout(0.5), nn.Dense(4, 2)), rows(5, 3)),
    "Residual": (lambda: nn.Residual(nn.Dense(3, 4), nn.ReLU(), nn.Dense(4, 3)), rows(5, 3)),
    "Flatten": (lambda: nn.Sequential(nn.Flatten(), nn.Dense(8, 3)), rows(5, 2, 4)),
    "Embedding": (lambda: nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Dense(6, 2)), words(7, 2)),
    "Sequential in Sequential": (
        lambda: nn.Sequential(nn.Dense(3, 4), nn.Sequential(nn.ReLU(), nn.Dense(4, 4)), nn.Dense(4, 1)),
        rows(5, 3),
    ),
}
CASES: dict[str, Case] = LAYERS | {
    "two inputs": (TwoInputs, (words(4, 2), rows(4, 2))),
    "two inputs by name": (TwoInputs, {"words": words(4, 2), "numbers": rows(4, 2)}),
    "named outputs": (NamedOutputs, rows(5, 3)),
    "functions": (lambda: nn.Sequential(nn.Dense(3, 4), doubled, tg.ops.relu, lambda x: x[:, 1:3]), rows(5, 3)),
    "whole numbers": (lambda: nn.Sequential(nn.Dense(3, 4)), np.arange(12).reshape(4, 3)),
    "one row": (lambda: nn.Sequential(nn.Dense(3, 4), nn.Softmax()), rows(1, 3)),
}


def network(case: str, dtype: Any = np.float64) -> tuple[nn.Module, Any]:
    """The network of a case after some batches in training mode, so that averages have moved; and its example."""
    make, example = CASES[case]
    tg.seed(3)
    model = make().astype(dtype)
    for _ in range(3):
        call(model, more(example, 6, dtype))
    return model, more(example, len(next(iter(parts(example)))), dtype)


def parts(example: Any) -> list[Any]:
    """The arrays of an example."""
    return [*(example.values() if isinstance(example, dict) else example if isinstance(example, tuple) else [example])]


def more(example: Any, rows: int, dtype: Any) -> Any:
    """So many rows like these, the floating-point ones of this dtype."""
    if isinstance(example, dict):
        return {name: more(x, rows, dtype) for name, x in example.items()}
    if isinstance(example, tuple):
        return tuple(more(x, rows, dtype) for x in example)
    x = example[np.arange(rows) % len(example)]
    return (x * np.linspace(1, 2, rows).reshape(-1, *(1,) * (x.ndim - 1))).astype(dtype) if x.dtype.kind == "f" else x


def call(model: nn.Module, example: Any) -> Any:
    """The model's answers for an example."""
    return model(**example) if isinstance(example, dict) else model(*parts(example))


def answers(model: nn.Module, example: Any) -> list[np.ndarray]:
    """What the model answers in evaluation mode, as arrays."""
    modes = [(module, module.training) for module in model.modules()]
    answer = call(model.eval(), example)
    for module, training in modes:
        module.training = training
    several = answer.values() if isinstance(answer, dict) else answer if isinstance(answer, tuple) else [answer]
    return [x.data for x in several]
