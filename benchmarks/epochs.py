"""Whole training epochs: Dense layers with tanh, mean softmax cross-entropy, float32; SGD (0.1) and Adam (0.001).

Ours is `trainer.fit(..., compile=True)`; JAX runs the epoch in `jax.lax.scan`, PyTorch runs eagerly, and with
`--torch-compile` (20 s and more, needs a C++ compiler) also with torch.compile. NumPy draws the order of every epoch.
Every call starts from the same weights: before anybody is timed, the mean losses of the first two epochs must agree.
Goals, times faster than JAX and than PyTorch eager:
"""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from benchmarks.side_by_side import in_turn, named, size, table

Train = Callable[[int], list[float]]  # trains so many epochs from the start weights, and gives the mean loss of each
RATES = {"sgd": 0.1, "adam": 1e-3}
TOLERANCE = 1e-3  # relative, between the losses


class Network(NamedTuple):
    """What is trained, and how many times faster than each peer we want to be."""

    sizes: tuple[int, ...]
    batch: int
    rows: int  # a multiple of the batch
    goals: dict[str, float]

    def __str__(self) -> str:
        return f"{'-'.join(map(str, self.sizes))}, batch {self.batch}"


NETWORKS = size(
    [
        Network((2, 16, 16, 2), 32, 1024, {"jax": 3.0, "torch": 50.0}),
        Network((64, 64, 10), 32, 1024, {"jax": 1.6, "torch": 15.0}),
        Network((64, 64, 32, 10), 64, 1024, {"jax": 1.5, "torch": 8.0}),
        Network((784, 128, 10), 128, 2048, {"jax": 1.15, "torch": 1.5}),
        Network((784, 256, 128, 10), 128, 2048, {"jax": 1.1, "torch": 1.2}),
    ],
    tiny=[Network((2, 4, 2), 8, 16, {"jax": 3.0, "torch": 50.0})],
)


class Task(NamedTuple):
    """The same for every contender."""

    X: np.ndarray
    y: np.ndarray
    weights: list[np.ndarray]  # biases start at 0
    batch: int
    optimizer: str

    def orders(self, epochs: int) -> Iterator[np.ndarray]:
        """The rows of each epoch in the order in which `fit(seed=0)` takes them."""
        generator = np.random.default_rng(0)
        return (generator.permutation(len(self.X)) for _ in range(epochs))


def task(network: Network, optimizer: str) -> Task:
    """Random inputs, with the classes that a random linear map gives them."""
    generator = np.random.default_rng(0)
    n_in, n_out = network.sizes[0], network.sizes[-1]
    X = generator.normal(size=(network.rows, n_in))
    y = np.argmax(X @ generator.normal(size=(n_in, n_out)), axis=1)
    weights = [generator.normal(size=(m, n)) / np.sqrt(m) for m, n in itertools.pairwise(network.sizes)]
    return Task(X.astype(np.float32), y, [W.astype(np.float32) for W in weights], network.batch, optimizer)


def tinygrad_ce(task: Task) -> Train:
    import tinygrad_ce as tg

    layers: list[tg.nn.Module] = []
    for weights in task.weights:
        dense = tg.nn.Dense(*weights.shape, init=lambda n_in, n_out, weights=weights: weights)
        layers += [dense, tg.nn.Tanh()]
    model = tg.nn.Sequential(*layers[:-1]).astype(np.float32)
    start = model.state()
    kind = {"sgd": tg.optim.SGD, "adam": tg.optim.Adam}[task.optimizer]
    optimizer = kind(model.parameters(), lr=RATES[task.optimizer])
    fresh = optimizer.state()
    trainer = tg.Trainer(model, tg.nn.SoftmaxCrossEntropy(), optimizer)

    def train(epochs: int) -> list[float]:
        model.restore(start)
        optimizer.restore(fresh)
        history = trainer.fit(task.X, task.y, epochs=epochs, batch_size=task.batch, compile=True, seed=0)
        return history["loss"]

    return train


def with_jax(task: Task) -> Train:
    import jax
    import jax.numpy as jnp
    import optax

    optimizer = {"sgd": optax.sgd, "adam": optax.adam}[task.optimizer](RATES[task.optimizer])
    X, y = jnp.asarray(task.X), jnp.asarray(task.y)

    def cost(parameters: Any, x: Any, labels: Any) -> Any:
        for W, b in parameters[:-1]:
            x = jnp.tanh(x @ W + b)
        W, b = parameters[-1]
        # As fast as optax's loss or a little faster: the gradient of its gather is a scatter.
        picked = jax.nn.log_softmax(x @ W + b) * jax.nn.one_hot(labels, W.shape[1])
        return -picked.sum(axis=1).mean()

    def epoch(parameters: Any, state: Any, batches: Any, X: Any, y: Any) -> Any:
        def step(carry: Any, rows: Any) -> Any:
            parameters, state = carry
            loss, grads = jax.value_and_grad(cost)(parameters, X[rows], y[rows])
            updates, state = optimizer.update(grads, state, parameters)
            return (optax.apply_updates(parameters, updates), state), loss

        (parameters, state), losses = jax.lax.scan(step, (parameters, state), batches)
        return parameters, state, losses.mean()

    compiled = jax.jit(epoch, donate_argnums=(0, 1))
    parameters = [(jnp.asarray(W), jnp.zeros(W.shape[1], W.dtype)) for W in task.weights]
    start = parameters, optimizer.init(parameters)
    copied = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))  # all at once; what is donated is lost

    def train(epochs: int) -> list[float]:
        parameters, state = copied(start)
        losses = []
        for order in task.orders(epochs):
            batches = order.astype(np.int32).reshape(-1, task.batch)
            parameters, state, loss = compiled(parameters, state, batches, X, y)
            losses.append(loss)  # not waited for before the next epoch
        return [float(loss) for loss in losses]

    return train


def with_torch(task: Task, compiled: bool = False) -> Train:
    import torch
    from torch.nn import functional

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    layers: list[torch.nn.Module] = []
    for weights in task.weights:
        layers += [torch.nn.Linear(*weights.shape), torch.nn.Tanh()]
    model = torch.nn.Sequential(*layers[:-1])
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[task.optimizer]
    optimizer = kind(model.parameters(), lr=RATES[task.optimizer])
    X, y = torch.from_numpy(task.X), torch.from_numpy(task.y)

    def cost(rows: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(model(X.index_select(0, rows)), y.index_select(0, rows))

    update: Callable[[], Any] = optimizer.step
    if compiled:
        torch._dynamo.reset()  # or it would take this network for the last one with other sizes
        logging.getLogger("torch").setLevel(logging.ERROR)
        cost, update = torch.compile(cost), torch.compile(update)

    def restart() -> None:
        with torch.no_grad():
            for tensor in itertools.chain.from_iterable(state.values() for state in optimizer.state.values()):
                tensor.zero_()  # in place: for new tensors torch.compile would compile anew
            for linear, weights in zip(model[::2], task.weights, strict=True):
                linear.weight.copy_(torch.from_numpy(weights.T))
                linear.bias.zero_()

    def train(epochs: int) -> list[float]:
        restart()
        losses = []
        for order in task.orders(epochs):
            total, batches = 0.0, torch.from_numpy(order).split(task.batch)
            for rows in batches:
                optimizer.zero_grad()
                loss = cost(rows)
                loss.backward()
                update()
                total += loss.item()
            losses.append(total / len(batches))
        return losses

    return train


def with_torch_compile(task: Task) -> Train:
    return with_torch(task, compiled=True)


def installed(torch_compile: bool) -> dict[str, Callable[[Task], Train]]:
    """The contenders by name, ours first; the first word of a name is the package."""
    found = named({"tinygrad_ce": tinygrad_ce, "jax": with_jax, "torch": with_torch})
    if torch_compile and any(start is with_torch for start in found.values()):
        found["torch.compile"] = with_torch_compile
    return found


def first_losses(contenders: dict[str, Callable[[Task], Train]], task: Task) -> dict[str, tuple[Train, list[float]]]:
    """Each contender, ready (compiled), and its mean losses of two epochs."""
    ready = {}
    for name, make in contenders.items():
        try:
            train = make(task)
            ready[name] = train, train(2)
        except Exception as error:
            if make is not with_torch_compile:
                raise
            print(f"{name} failed: skipped ({type(error).__name__})")
    return ready


def check(losses: dict[str, list[float]]) -> None:
    """AssertionError if the contenders have not computed the same."""
    told = ", ".join(f"{name} {' '.join(f'{loss:.6f}' for loss in values)}" for name, values in losses.items())
    print(f"losses of two epochs: {told}")
    first, *others = losses.values()
    for values in others:
        np.testing.assert_allclose(values, first, rtol=TOLERANCE)


def enough(train: Train, seconds: float, clock: Callable[[], float] = time.perf_counter) -> int:
    """A number of epochs that takes between half of these seconds and all of them (one epoch, if it takes longer).

    Three calls must be slow, not one: the machine may have been busy with something else.
    """

    def taken(epochs: int) -> float:
        start = clock()
        train(epochs)
        return clock() - start

    epochs = 1
    while any(taken(epochs) < seconds / 2 for _ in range(3)):  # a single fast call shows that more are needed
        epochs *= 2
    return epochs


def compare(
    contenders: dict[str, Callable[[Task], Train]], network: Network, optimizer: str, seconds: float, rounds: int
) -> None:
    """Print the losses, and the median time of one step of each contender in calls of many epochs."""
    print(f"\n{network}, {optimizer}")
    ready = first_losses(contenders, task(network, optimizer))
    check({name: losses for name, (_, losses) in ready.items()})
    epochs = {name: enough(train, seconds) for name, (train, _) in ready.items()}
    calls = {name: lambda name=name, train=train: train(epochs[name]) for name, (train, _) in ready.items()}
    steps = network.rows // network.batch
    times = {
        name: [taken / (epochs[name] * steps) for taken in values]
        for name, values in in_turn(calls, seconds=seconds, rounds=rounds).items()
    }
    ours = next(iter(ready))
    goals = {name: network.goals[name.split()[0]] for name in ready if name.split()[0] in network.goals}
    table(times, ours, goals)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-compile", action="store_true", help="also PyTorch's step through torch.compile")
    parser.add_argument("--seconds", type=float, default=size(0.3, tiny=0.0), help="of a timed call, at most")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    print(__doc__.rstrip())  # type: ignore[union-attr]
    for network in NETWORKS:
        print(f"  {network}: {' and '.join(f'{goal:g}' for goal in network.goals.values())}")
    contenders = installed(arguments.torch_compile)
    for network, optimizer in itertools.product(NETWORKS, RATES):
        compare(contenders, network, optimizer, arguments.seconds, arguments.rounds)


if __name__ == "__main__":
    main()
