"""One eager training step: forward, backward, SGD; Dense 2-16-16-2 with tanh, softmax cross-entropy, batch 32, float32.

Beside our step: the price list (`price_list.py`), which builds such a step up from hand-written NumPy, feature by
feature, with the same kernels; and the peers. All must compute the same losses before anybody is timed.
Goals: 3.2 times faster than PyTorch eager, 2 times MyGrad, 8 times autograd; at most 1.5 times textbook NumPy by hand.
"""

from __future__ import annotations

import itertools
import os
import statistics
from typing import Any

import numpy as np

from benchmarks import price_list
from benchmarks.side_by_side import Contender, in_turn, named, ratio, verdict

SIZES = (2, 16, 16, 2)
LR = 0.1
STEPS_TO_COMPARE, TOLERANCE = 5, 1e-5
TEXTBOOK = "hand-written textbook NumPy"
GOALS = {"torch": 3.2, "mygrad": 2.0, "autograd": 8.0, TEXTBOOK: 1.5}
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


def check_losses(contenders: dict[str, Contender]) -> None:
    """AssertionError if the contenders do not compute the same."""
    losses = {name: [step().item() for _ in range(STEPS_TO_COMPARE)] for name, step in contenders.items()}
    first = next(iter(losses.values()))
    for name, values in losses.items():
        np.testing.assert_allclose(values, first, rtol=TOLERANCE, err_msg=name)
    print(f"the first losses of all: {' '.join(f'{loss:.6f}' for loss in first)}\n")


def print_price_list(times: dict[str, list[float]], ours: str, names: list[str]) -> None:
    """The median of each step, its share of ours, and what its last feature has added to that."""
    print(f"{'':<62}{'median, us':>10}{'share of ours':>15}{'adds':>7}")
    for before, name in zip([None, *names], [*names, ours], strict=True):
        share, adds = 1 / ratio(times[ours], times[name]), ""
        if name.startswith("+") and before is not None:
            steps = zip(times[name], times[before], times[ours], strict=True)  # of one round: the machine drifts
            adds = f"{statistics.median((after - without) / whole for after, without, whole in steps):+.2f}"
        print(f"{name:<62}{statistics.median(times[name]) * 1e6:>10.1f}{share:>15.2f}{adds:>7}")


def main() -> None:
    print(__doc__)
    prices = price_list.contenders(X, Y, WEIGHTS, LR)
    libraries = {"tinygrad_ce": tinygrad_ce, "torch": pytorch, "mygrad": mygrad, "autograd": autograd}
    steps = {name: start() for name, start in named(libraries).items()}
    ours, *peers = steps
    contenders = {**steps, **prices}
    check_losses(contenders)
    times = in_turn(contenders, seconds=0.005, rounds=101)  # short blocks: neighbours in time are compared
    print_price_list(times, ours, [*prices])
    print()
    for name in peers:
        value = ratio(times[name], times[ours])
        print(f"{name + ' / ours':<40}{value:>6.2f}   {verdict(value, least=GOALS[name.split()[0]])}")
    value = ratio(times[ours], times[TEXTBOOK])
    print(f"{'ours / ' + TEXTBOOK:<40}{value:>6.2f}   {verdict(value, most=GOALS[TEXTBOOK])}")


if __name__ == "__main__":
    main()
