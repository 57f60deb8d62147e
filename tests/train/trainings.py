"""Small trainings that the tests of tinygrad_ce/train share: data, networks and trainers for every loss."""

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import nn, optim
from tinygrad_ce.train import Trainer

rng = np.random.default_rng(4)
X = rng.normal(size=(50, 2))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
COLUMN = Y[:, None].astype(float)


def network(n_out=2, *end, dropout=0.0):
    tg.seed(0)
    middle = [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(nn.Dense(2, 8), nn.Tanh(), *middle, nn.Dense(8, n_out), *end)


def trainer(loss=None, n_out=2, *end, lr=0.1, make=optim.SGD, dropout=0.0):
    model = network(n_out, *end, dropout=dropout)
    return Trainer(model, loss or nn.SoftmaxCrossEntropy(), make(model.parameters(), lr=lr))


LOSSES = {
    "softmax-cross-entropy": (nn.SoftmaxCrossEntropy(), Y, (2,)),
    "cross-entropy": (nn.CrossEntropy(), Y, (2, nn.Softmax())),
    "one-hot": (nn.SoftmaxCrossEntropy(), np.eye(2)[Y], (2,)),
    "sigmoid-bce": (nn.SigmoidBCE(), COLUMN, (1,)),
    "bce": (nn.BCE(), COLUMN, (1, nn.Sigmoid())),
    "function": (tg.losses.softmax_cross_entropy, Y, (2,)),
    "binary function": (tg.losses.sigmoid_binary_cross_entropy, COLUMN, (1,)),
    "mse of one-hot": (nn.MSE(), np.eye(2)[Y], (2,)),
}
every_loss = pytest.mark.parametrize("which", LOSSES)


def trainer_and_targets(which, **options):
    loss, targets, end = LOSSES[which]
    return trainer(loss, *end, **options), targets
