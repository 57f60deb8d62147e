"""Twelve networks, with each layer, loss and optimizer among them, train in JavaScript as the engine does, for long."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from program.in_node import job, needs_node, run_in_node

import tinygrad_ce as tg
from tinygrad_ce import losses, nn, optim
from tinygrad_ce.optim import SGD, AdaGrad, Adam, AdamW, RMSprop

LOOKED = (1, 20, 200)
ROWS = 12
rng = np.random.default_rng(3)
X = rng.normal(size=(ROWS, 2))
LABELS = (X[:, 0] * X[:, 1] > 0).astype(np.int64) + (X[:, 0] > 1)
ONE_HOT = np.eye(3)[LABELS]
SOFT = rng.dirichlet(np.ones(3), ROWS)
SIGNS = 2 * ONE_HOT - 1
NUMBERS = np.stack([np.sin(X[:, 0]), X[:, 0] * X[:, 1], X[:, 1] ** 2], axis=1)
WORDS = rng.integers(0, 6, (ROWS, 2))


class Network(NamedTuple):
    """Layers, a loss, an optimizer; targets and inputs where they are others."""

    layers: Callable[[], list[Any]]
    loss: Callable[[Any, Any], Any]
    optimizer: Callable[..., Any]
    y: np.ndarray = LABELS
    x: np.ndarray = X
    clip: float | None = None


NETWORKS = {
    "tanh": Network(
        lambda: [nn.Dense(2, 8), nn.Tanh(), nn.Dense(8, 8), nn.Tanh(), nn.Dense(8, 3)],
        losses.softmax_cross_entropy,
        partial(SGD, lr=0.3),
    ),
    "relu": Network(
        lambda: [nn.Dense(2, 8), nn.ReLU(), nn.Dense(8, 3)],
        partial(losses.softmax_cross_entropy, label_smoothing=0.1, weight=[1.0, 2.0, 3.0]),
        partial(SGD, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.001),
    ),
    "sigmoid": Network(
        lambda: [nn.Dense(2, 8), nn.Sigmoid(), nn.Dense(8, 3)],
        losses.sigmoid_binary_cross_entropy,
        partial(Adam, lr=0.02),
        ONE_HOT,
    ),
    "leaky relu": Network(
        lambda: [nn.Dense(2, 8), nn.LeakyReLU(), nn.Dense(8, 3)],
        losses.mse,
        partial(AdamW, lr=0.01, weight_decay=0.01),
        NUMBERS,
    ),
    "gelu": Network(
        lambda: [nn.Dense(2, 8), nn.GELU(), nn.Dense(8, 3)], losses.huber, partial(RMSprop, lr=0.01), NUMBERS
    ),
    "silu": Network(lambda: [nn.Dense(2, 8), nn.SiLU(), nn.Dense(8, 3)], losses.hinge, partial(AdaGrad, lr=0.1), SIGNS),
    "softplus, probabilities": Network(
        lambda: [nn.Dense(2, 8), nn.Softplus(), nn.Dense(8, 3), nn.Softmax()],
        losses.cross_entropy,
        partial(SGD, lr=optim.Cosine(0.3, steps=200)),
    ),
    # A bias before it has no gradient but rounding, which Adam would take for one: every machine has another.
    "batch norm, dropout, clipped": Network(
        lambda: [nn.Dense(2, 8, bias=False), nn.BatchNorm(8), nn.ReLU(), nn.Dropout(0.3), nn.Dense(8, 3)],
        losses.softmax_cross_entropy,
        partial(Adam, lr=0.01),
        clip=1.0,
    ),
    "layer norm, residual": Network(
        lambda: [nn.Dense(2, 8), nn.Residual(nn.LayerNorm(8), nn.Dense(8, 8), nn.Tanh()), nn.Dense(8, 3)],
        lambda z, y: losses.nll(tg.ops.log(tg.ops.softmax(z)), y),
        partial(SGD, lr=0.1),
    ),
    "embedding": Network(
        lambda: [nn.Embedding(6, 4), nn.Flatten(), nn.Tanh(), nn.Dense(8, 3)],
        losses.softmax_cross_entropy,
        partial(Adam, lr=optim.WarmUp(optim.StepDecay(0.05, every=50), steps=10)),
        x=WORDS,
    ),
    "probabilities of yes": Network(
        lambda: [nn.Dense(2, 8), nn.Tanh(), nn.Dense(8, 3), nn.Sigmoid()],
        losses.binary_cross_entropy,
        partial(RMSprop, lr=0.01, weight_decay=0.001),
        ONE_HOT,
    ),
    "divergence": Network(
        lambda: [nn.Dense(2, 8), nn.Tanh(), nn.Dense(8, 3), nn.Softmax()],
        losses.kl_divergence,
        partial(SGD, lr=0.2, momentum=0.5),
        SOFT,
    ),
}


class Training:
    """One training from its beginning; the same each time."""

    def __init__(self, network):
        tg.seed(0)
        self.network, self.model = network, nn.Sequential(*network.layers())
        self.optimizer = network.optimizer(self.model.parameters())
        generator = np.random.default_rng(7)
        for module in self.model.modules():
            if isinstance(module, nn.Dropout):
                module.generator = generator

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = self.network.loss(self.model(x), y)
        loss.backward()
        if self.network.clip is not None:
            optim.clip_grad_norm(self.optimizer.parameters, self.network.clip)
        self.optimizer.step()
        return loss

    def program(self):
        return tg.trace(self.step, self.network.x, self.network.y)


def test_each_layer_loss_and_optimizer_is_among_them():
    trainings = [Training(network) for network in NETWORKS.values()]
    used = {type(module).__name__ for t in trainings for module in t.model.modules()}
    assert {x for x in nn.__all__ if hasattr(nn.layers, x)} - {"Module", "init"} <= used
    assert {type(t.optimizer) for t in trainings} == {SGD, AdaGrad, Adam, AdamW, RMSprop}
    assert len(trainings) == 12


@needs_node
def test_every_array_equals_the_engines_after_1_20_and_200_steps(tmp_path):
    jobs = []
    for network in NETWORKS.values():
        steps = [(network.x, network.y)] * max(LOOKED)
        jobs.append(job(Training(network).program(), steps) | {"looked": LOOKED})
    for (name, network), answer in zip(NETWORKS.items(), run_in_node(jobs, tmp_path), strict=True):
        assert "error" not in answer, (name, answer)
        training = Training(network)
        state = training.program().inputs
        found = dict(zip(LOOKED, answer["states"], strict=True))
        for k in range(1, max(LOOKED) + 1):
            loss = training.step(network.x, network.y).item()
            np.testing.assert_allclose(
                next(iter(answer["outputs"][k - 1].values())), [loss], 1e-12, err_msg=f"{name}, {k}"
            )
            for value in state if k in LOOKED else ():
                if value.role == "state":
                    where = f"{name}, {value.name} after {k}"
                    # Beside the largest number of an array, one that sums have cancelled to 0 is rounding.
                    scale = np.abs(value.variable.data).max(initial=0)
                    np.testing.assert_allclose(
                        found[k][value.name], value.variable.data.reshape(-1), 1e-12, 1e-13 * scale, err_msg=where
                    )
