"""What fit leaves behind when it raises: nothing of the failed batch, and nothing that was set for the training."""

import copy
import signal

import numpy as np
import pytest
from program.loops_as_python import loops_as_python
from train.trainings import X, Y

import tinygrad_ce as tg
from tinygrad_ce import nn, optim, source_lines
from tinygrad_ce.core import interpreter
from tinygrad_ce.train import Callback, NotFiniteError, Trainer
from tinygrad_ce.variable import Variable

SPOILED = X.copy()
SPOILED[20] = np.nan
WAYS = pytest.mark.parametrize("compile", [False, True], ids=["eager", "compiled"])


@pytest.fixture(autouse=True)
def _in_python():
    """Compiled epochs as the same loops in Python: nothing here depends on who compiles them."""
    with loops_as_python():
        yield


class Counting(nn.Module):
    """A module with a Variable of its own, that it writes as a running average is written."""

    def __init__(self):
        self.seen = Variable(np.zeros(6), name="seen")

    def forward(self, x):
        here = interpreter.get()
        if self.training:
            here.write(self.seen, here.read(self.seen) + tg.ops.reduce_sum(x, axis=0).detach())
        return x


def training(loss=None):
    tg.seed(0)
    model = nn.Sequential(nn.Dense(2, 6), nn.BatchNorm(6), nn.Tanh(), Counting(), nn.Dropout(0.3), nn.Dense(6, 2))
    return Trainer(model, loss or nn.SoftmaxCrossEntropy(), optim.Adam(model.parameters(), lr=0.01))


def everything(run):
    """All numbers that a training moves: parameters, Variables of the model, memory and steps of the optimizer."""
    arrays = {**run.model.state(), "seen": run.model[3].seen.data.copy(), "steps": np.array(run.optimizer.steps)}
    for parameter, memory in zip(run.optimizer.parameters, run.optimizer.memory, strict=True):
        arrays |= {f"{parameter.name} {k}": variable.data.copy() for k, variable in enumerate(memory)}
    return arrays


def assert_same(ours, theirs, rtol=0.0):
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=rtol, atol=rtol, err_msg=name)


def by_hand(x, y, batch_size, batches, seed=3):
    """What the first batches of a fit of the clean rows leave, by the loop written by hand."""
    run = training()
    generator = np.random.default_rng(seed)
    run.model[4].generator = generator
    for k, (rows, targets) in enumerate(tg.data.batches(x, y, batch_size, seed=generator)):
        if k == batches:
            break
        run.optimizer.zero_grad()
        run.loss(run.model(rows), targets).backward()
        run.optimizer.step()
    return everything(run)


def batch_of(row, batch_size, seed=3):
    """How many batches come before the one with this row."""
    return int(np.argmax(np.random.default_rng(seed).permutation(len(X)) == row)) // batch_size


@pytest.mark.parametrize(("batch_size", "compile"), [(10, False), (50, False), (16, True), (25, True)])
def test_a_batch_with_nan_is_undone_in_every_variable(batch_size, compile):
    run = training()
    with pytest.raises(NotFiniteError, match="loss is nan"):
        run.fit(SPOILED, Y, epochs=2, batch_size=batch_size, seed=3, compile=compile)
    done = batch_of(20, batch_size)
    assert_same(everything(run), by_hand(X, Y, batch_size, done), rtol=1e-9 if compile else 0.0)
    assert all(np.isfinite(array).all() for array in everything(run).values())


@WAYS
def test_an_infinite_gradient_is_undone_in_every_variable(compile):
    def loss(predictions, targets):
        return tg.ops.sqrt(predictions * 0).sum()  # 0, with an infinite slope

    run = training(loss)
    before = everything(run)
    with np.errstate(all="ignore"), pytest.raises(NotFiniteError, match="gradient"):
        run.fit(X, Y, epochs=1, compile=compile)
    assert_same(everything(run), before)


def test_labels_that_the_loss_refuses_are_undone():
    run = training()
    before = everything(run)
    with pytest.raises(ValueError, match="2 classes"):
        run.fit(X, Y + 5, epochs=1)
    assert_same(everything(run), before)


@pytest.mark.parametrize("event", ["after_loss", "after_backward"])
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_error_of_a_callback_within_a_batch_undoes_the_batch(event, error):
    def fail(self, loop):
        if loop.batch == 3:
            raise error

    run = training()
    with pytest.raises(error):
        run.fit(X, Y, batch_size=10, seed=3, callbacks=type("Failing", (Callback,), {event: fail})())
    assert_same(everything(run), by_hand(X, Y, 10, 2))


@pytest.mark.parametrize("event", ["after_step", "after_epoch"])
def test_an_error_after_a_step_keeps_the_step(event):
    def fail(self, loop):
        raise ZeroDivisionError

    run = training()
    with pytest.raises(ZeroDivisionError):
        run.fit(X, Y, batch_size=10, seed=3, callbacks=type("Failing", (Callback,), {event: fail})())
    assert_same(everything(run), by_hand(X, Y, 10, 1 if event == "after_step" else 5))


def test_a_second_ctrl_c_in_the_middle_of_a_batch_undoes_it():
    def twice(predictions, targets):
        if run.optimizer.steps == 2:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return tg.losses.softmax_cross_entropy(predictions, targets)

    run = training(twice)
    with pytest.raises(KeyboardInterrupt):
        run.fit(X, Y, batch_size=10, seed=3)
    assert_same(everything(run), by_hand(X, Y, 10, 2))


def test_a_training_that_succeeds_keeps_its_averages():
    run = training()
    run.fit(X, Y, epochs=1, batch_size=10, seed=3)
    assert_same(everything(run), by_hand(X, Y, 10, 5))


# ---- what was set for the training only


def fails_in_the_data(run, compile):
    with pytest.raises(NotFiniteError):
        run.fit(SPOILED, Y, compile=compile)


def fails_in_a_callback(run, compile):
    def callback(trainer, figures):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run.fit(X, Y, compile=compile, callbacks=callback)


def fails_in_the_validation(run, compile):
    with pytest.raises(ValueError, match="2 classes"):
        run.fit(X, Y, compile=compile, validation=(X, Y + 3))


def fails_by_ctrl_c(run, compile):
    def callback(trainer, figures):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.fit(X, Y, compile=compile, callbacks=callback)


@WAYS
@pytest.mark.parametrize(
    "fails",
    [fails_in_the_data, fails_in_a_callback, fails_in_the_validation, fails_by_ctrl_c],
    ids=lambda f: f.__name__,
)
def test_modes_generators_tracking_rate_and_signals_are_what_they_were(fails, compile):
    run = training()
    run.model.eval()
    run.model[2].training = True
    own = run.model[4].generator = np.random.default_rng(8)
    state = copy.deepcopy(own.bit_generator.state)
    modes = [module.training for module in run.model.modules()]
    here, handler, inner = interpreter.get(), signal.getsignal(signal.SIGINT), source_lines.state().inner
    fails(run, compile)
    assert [module.training for module in run.model.modules()] == modes
    assert run.model[4].generator is own
    assert own.bit_generator.state == state
    assert interpreter.get() is here
    assert signal.getsignal(signal.SIGINT) is handler
    assert source_lines.state().inner is inner
    assert run.optimizer.lr == 0.01
    assert not any("forward" in vars(module) for module in run.model.modules())
