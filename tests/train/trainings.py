"""Small trainings that the tests of tinygrad_ce/train share: data, networks, trainers for every loss, callbacks."""

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import nn, optim
from tinygrad_ce.train import Callback, Trainer

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


def neuron(lr=0.1):
    tg.seed(0)
    model = nn.Dense(2, 2)
    return Trainer(model, nn.SoftmaxCrossEntropy(), optim.SGD(model.parameters(), lr=lr))


class Recorder(Callback):
    """Writes down every event with what the loop said at that moment."""

    def __init__(self):
        self.events = []

    def record(self, loop, event, *more):
        self.events.append((event, loop.epoch, loop.batch, *more))

    def before_fit(self, loop):
        self.record(loop, "before_fit", loop.stopped)

    def before_batch(self, loop):
        self.record(loop, "before_batch", loop.rows.tolist(), loop.targets.tolist())

    def after_loss(self, loop):
        self.record(loop, "after_loss", loop.predictions.data.copy(), loop.loss.item(), loop.model.W.data.copy())

    def after_backward(self, loop):
        self.record(loop, "after_backward", loop.model.W.grad.copy(), loop.model.W.data.copy())

    def after_step(self, loop):
        self.record(loop, "after_step", loop.model.W.grad.copy(), loop.model.W.data.copy())

    def after_epoch(self, loop):
        self.record(loop, "after_epoch", dict(loop.figures), len(loop.history))

    def after_fit(self, loop):
        self.record(loop, "after_fit", loop.stopped)


class Everything(Callback):
    """Has every event, and looks only."""

    def _look(self, loop):
        assert loop.trainer.model is loop.model

    before_fit = before_batch = after_loss = after_backward = after_step = after_epoch = after_fit = _look
