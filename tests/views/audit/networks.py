"""Networks to look at, healthy and spoiled."""

from itertools import pairwise

import numpy as np

import tinygrad_ce as tg
from tinygrad_ce import nn, optim
from tinygrad_ce.views.audit import CURES, SEPARATE, audit

rng = np.random.default_rng(7)
X = rng.normal(size=(40, 6))
Y = rng.integers(0, 3, 40)
KINDS = [*CURES, "fine", SEPARATE]


def network(activation=nn.Tanh, sizes=(6, 8, 3), scale=1.0, bias=0.0, init="glorot_uniform"):
    """Dense layers with activations between; the weights and biases of the hidden ones can be spoiled."""
    tg.seed(0)
    layers = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Dense(n_in, n_out, init=init), activation()]
        if n_out != sizes[-1]:
            layers[-2].W.data *= scale
            layers[-2].b.data += bias
    return nn.Sequential(*layers[:-1])


def loss_of(model, x=X, y=Y):
    return tg.losses.softmax_cross_entropy(model(x), y)


def audited(model, lr=None, x=X, y=Y):
    return audit(model, loss_of(model, x, y), None if lr is None else optim.SGD(model.parameters(), lr))


def norm(*arrays):
    return np.sqrt(sum(np.sum(np.square(array)) for array in arrays))


class Identity(nn.Module):
    """Numbers that want a gradient, on their way into the layer that is looked at."""

    def __init__(self, start):
        self.start = tg.Tensor(start, requires_grad=True)

    def forward(self):
        return self.start * 1.0


DEEP = (6, *[16] * 10, 3)
PLANTED = {
    "fine": (lambda: network(nn.Tanh, (6, 16, 16, 3)), 0.05, {}),
    "relu is fine": (lambda: network(nn.ReLU, (6, 16, 16, 3), init="he_normal"), 0.05, {}),
    "deep is fine": (lambda: network(nn.Tanh, DEEP), 0.05, {}),
    "saturated": (lambda: network(nn.Sigmoid, scale=30), None, {"saturated": ["layers.1"]}),
    "far too saturated": (
        lambda: network(nn.Tanh, scale=300),
        None,
        {"saturated": ["layers.1"], "vanishing": ["layers.0"]},
    ),
    "dead": (lambda: network(nn.ReLU, bias=-30), 0.1, {"dead": ["layers.1"], "no gradient": ["layers.0"]}),
    "vanishing": (
        lambda: network(nn.Sigmoid, DEEP),
        None,
        {"vanishing": [f"layers.{i}" for i in (0, 2, 4, 6, 8)]},
    ),
    "exploding": (
        lambda: network(nn.ReLU, (6, *[64] * 10, 3), scale=6),
        None,
        {"exploding": [f"layers.{i}" for i in (0, 2, 4, 6)]},
    ),
    "updates too large": (lambda: network(), 5.0, {"updates too large": ["layers.0", "layers.2"]}),
    "updates too small": (lambda: network(), 5e-4, {"updates too small": ["layers.0", "layers.2"]}),
}


def trained(watch, epochs=3, lr=0.1, model=None, **options):
    model = model or network()
    trainer = tg.Trainer(model, nn.SoftmaxCrossEntropy(), optim.SGD(model.parameters(), lr=lr))
    trainer.fit(X, Y, epochs=epochs, seed=0, callbacks=watch, **options)
    return trainer
