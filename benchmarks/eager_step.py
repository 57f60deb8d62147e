"""One eager training step: forward, backward, SGD; Dense 2-16-16-2 with tanh, softmax cross-entropy, batch 32, float32.

Goals: 3 times faster than PyTorch eager, 2 times MyGrad, 8 times autograd.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import numpy as np

from benchmarks.side_by_side import Contender, in_turn, table

SIZES = (2, 16, 16, 2)
LR = 0.1
GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(32, SIZES[0])).astype(np.float32)
Y = GENERATOR.integers(0, SIZES[-1], 32)
WEIGHTS = [(GENERATOR.normal(size=(m, n)) / np.sqrt(m)).astype(np.float32) for m, n in itertools.pairwise(SIZES)]


def tinygrad_ce() -> Contender:
    import tinygrad_ce as tg

    layers: list[tg.nn.Module] = []
    for weights in WEIGHTS:
        dense = tg.nn.Dense(*weights.shape, init=lambda n_in, n_out, weights=weights: weights)
        layers += [dense, tg.nn.Tanh()]
    model = tg.nn.Sequential(*layers[:-1]).astype(np.float32)
    loss = tg.nn.SoftmaxCrossEntropy()
    optimizer = tg.optim.SGD(model.parameters(), lr=LR)

    def step() -> Any:
        optimizer.zero_grad()
        cost = loss(model(X), Y)
        cost.backward()
        optimizer.step()
        return cost

    return step


def pytorch() -> Contender:
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    layers: list[torch.nn.Module] = []
    for weights in WEIGHTS:
        linear = torch.nn.Linear(*weights.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weights.T))
            linear.bias.zero_()
        layers += [linear, torch.nn.Tanh()]
    model = torch.nn.Sequential(*layers[:-1])
    loss = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    x, y = torch.from_numpy(X), torch.from_numpy(Y)

    def step() -> Any:
        optimizer.zero_grad()
        cost = loss(model(x), y)
        cost.backward()
        optimizer.step()
        return cost

    return step


def mygrad() -> Contender:
    import mygrad
    from mygrad.nnet.losses import softmax_crossentropy

    W = [mygrad.tensor(weights) for weights in WEIGHTS]
    b = [mygrad.tensor(np.zeros(weights.shape[1], np.float32)) for weights in WEIGHTS]

    def step() -> Any:
        h = X
        for i in range(len(W)):
            h = mygrad.matmul(h, W[i]) + b[i]
            if i + 1 < len(W):
                h = mygrad.tanh(h)
        cost = softmax_crossentropy(h, Y)
        cost.backward()
        for parameter in (*W, *b):
            parameter.data -= np.float32(LR) * parameter.grad
            parameter.null_grad()
        return cost

    return step


def autograd() -> Contender:
    import autograd as ag
    import autograd.numpy as anp
    from autograd.scipy.special import logsumexp

    parameters = [[weights.copy(), np.zeros(weights.shape[1], np.float32)] for weights in WEIGHTS]

    def cost(parameters: list[list[np.ndarray]]) -> np.ndarray:
        h = X
        for i, (W, b) in enumerate(parameters):
            h = anp.dot(h, W) + b
            if i + 1 < len(parameters):
                h = anp.tanh(h)
        return anp.mean(logsumexp(h, axis=1) - h[anp.arange(len(Y)), Y])

    gradient = ag.value_and_grad(cost)

    def step() -> Any:
        value, grads = gradient(parameters)
        for pair, grad in zip(parameters, grads, strict=True):
            for k in range(2):
                pair[k] = pair[k] - np.float32(LR) * grad[k]
        return value

    return step


def installed() -> Iterator[tuple[str, Contender]]:
    for package, make in (("tinygrad_ce", tinygrad_ce), ("torch", pytorch), ("mygrad", mygrad), ("autograd", autograd)):
        try:
            yield f"{package} {version(package)}", make()
        except ImportError:
            print(f"{package} is not installed: skipped")


def main() -> None:
    print(__doc__)
    contenders = dict(installed())
    ours, *peers = contenders
    for name, step in contenders.items():  # all must compute the same before anybody is timed
        print(f"{name}: the first loss is {step().item():.6f}")
    goals = {"torch": 3.0, "mygrad": 2.0, "autograd": 8.0}
    table(in_turn(contenders), ours, {name: goals[name.split()[0]] for name in peers})


if __name__ == "__main__":
    main()
