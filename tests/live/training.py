"""Trainings that become live pages, and what the engine makes of them: the oracle of the tests of this folder."""

import functools

import numpy as np

import tinygrad_ce as tg
from tinygrad_ce.live import live

nn = tg.nn


@functools.cache
def rows(classes=2):
    """Training and test rows of two features."""
    make = tg.data.moons if classes == 2 else tg.data.blobs
    return make(60, seed=0), make(20, seed=1)


def numbers(count=50):
    """Rows whose targets are numbers."""
    X = np.random.default_rng(4).normal(size=(count, 3))
    return tg.data.Dataset(X, np.sin(X[:, 0]) + X[:, 1], ("a", "b", "c"), (), "sums", np.ones(3, bool))


def stack(*layers, seed=3):
    """A Sequential of layers that are made after `tg.seed(seed)`."""
    tg.seed(seed)
    return nn.Sequential(*(layer() for layer in layers))


def tanh_network(seed=3):
    """2-4-4-2, with tanh."""
    return stack(lambda: nn.Dense(2, 4), nn.Tanh, lambda: nn.Dense(4, 4), nn.Tanh, lambda: nn.Dense(4, 2), seed=seed)


def trainer_of(model, loss=tg.losses.softmax_cross_entropy, optimizer=tg.optim.SGD, lr=0.1, **settings):
    """A trainer of a model."""
    return tg.Trainer(model, loss, optimizer(model.parameters(), lr=lr, **settings))


@functools.cache
def tanh_page():
    """The page of a tanh network and SGD."""
    training, test = rows()
    return live(trainer_of(tanh_network()), training, test=test)


def train(trainer, X, y, steps):
    """So many steps on all rows, as the engine does them; the loss of each."""
    losses = []
    for module in trainer.model.modules():
        module.training = True
    y = y.reshape(-1, 1) if y.dtype.kind == "f" else y
    for _ in range(steps):
        loss = trainer.loss(trainer.model(tg.Tensor(X)), y)
        loss.backward()
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()
        losses.append(loss.item())
    return losses


STATE = "Object.fromEntries(Object.entries(session.step.state).map(([name, array]) => [name, [...array]]))"
LAYERS = "session.network.layers.flatMap(({ parameters }) => parameters)"


def assert_same_numbers(page, trainer, within=1e-12):
    """Every parameter, running average and memory of the page is the engine's, relative to the largest of its array."""
    state, names = page.evaluate(STATE), page.evaluate(LAYERS)
    compared = set()

    def compare(name, array):
        compared.add(name)
        array = np.asarray(array, float).ravel()
        error = np.max(np.abs(state[name] - array))
        assert error <= within * np.max(np.abs(array), initial=1e-3), f"{name}: {error:.2g}"

    for name, parameter, memory in zip(names, trainer.optimizer.parameters, trainer.optimizer.memory, strict=True):
        compare(name, parameter.data)
        for symbol, variable in zip(trainer.optimizer.symbols, memory, strict=False):  # of plain SGD, there is none
            compare(f"{symbol}_{name}", variable.data)
    for path, array in trainer.model.state().items():
        if path.endswith(("running_mean", "running_variance")):
            compare(path.rpartition(".")[2], array)
    others = {f"{symbol}_{name}" for symbol in "mv" for name in names}  # the memory of other optimizers
    assert compared <= set(state) <= compared | others
