"""What ends a training before its last epoch: Ctrl-C, and numbers that are not finite."""

import signal
import threading

import numpy as np
import pytest
from train.trainings import X, Y, network, neuron, trainer

import tinygrad_ce as tg
from tinygrad_ce import nn, optim
from tinygrad_ce.train import NotFiniteError, Trainer

# ---- Ctrl-C


def interrupting(epoch):
    def callback(_, row):
        if row["epoch"] == epoch:
            signal.raise_signal(signal.SIGINT)

    return callback


def test_ctrl_c_ends_training_and_keeps_what_was_learnt():
    before = signal.getsignal(signal.SIGINT)
    run, states = trainer(), []
    history = run.fit(
        X, Y, epochs=50, batch_size=10, seed=0,
        callbacks=[lambda t, row: states.append(t.model.state()), interrupting(3)],
    )  # fmt: skip
    assert signal.getsignal(signal.SIGINT) is before
    assert history.stopped == "interrupted"
    assert 3 <= len(history) < 50
    start = network().state()
    for name, array in run.model.state().items():
        assert np.isfinite(array).all()
        assert (array != start[name]).any()


def test_ctrl_c_within_an_epoch_ends_it_after_the_batch():
    calls = []

    def loss(predictions, targets):
        calls.append(len(targets))
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return tg.losses.softmax_cross_entropy(predictions, targets)

    history = trainer(loss).fit(X, Y, epochs=5, batch_size=10)
    assert calls == [10, 10]
    assert history.stopped == "interrupted"


@pytest.mark.parametrize("compile", [False, True])
def test_ctrl_c_after_the_last_batch_of_all_interrupts_nothing(compile):
    history = neuron().fit(X, Y, epochs=2, batch_size=25, compile=compile, callbacks=interrupting(2))
    assert (history.stopped, len(history), history.compiled) == ("finished", 2, compile)


def test_ctrl_c_keeps_the_last_parameters_not_the_best():
    run = trainer(lr=0.5)
    history = run.fit(X, Y, epochs=60, seed=0, validation=(X, 1 - Y), patience=50, callbacks=interrupting(6))
    assert history.stopped == "interrupted"
    assert run.evaluate(X, 1 - Y)["loss"] > min(history["val_loss"])


def test_a_second_ctrl_c_is_not_held_back():
    def twice(*_):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer().fit(X, Y, epochs=3, callbacks=twice)
    assert signal.getsignal(signal.SIGINT) is before


def test_training_works_in_another_thread():
    answers = []
    thread = threading.Thread(target=lambda: answers.append(trainer().fit(X, Y, epochs=2, seed=0)["loss"]))
    thread.start()
    thread.join()
    assert answers == [trainer().fit(X, Y, epochs=2, seed=0)["loss"]]


# ---- a loss, a gradient or a parameter that is not finite


def test_a_nan_in_the_data_names_epoch_batch_and_operation():
    x = X.copy()
    x[:] = np.nan
    run = trainer()
    before = run.model.state()
    with pytest.raises(NotFiniteError, match=r"loss is nan in epoch 1, batch 1.*affine.*layers\.0\.W"):
        run.fit(x, Y, epochs=2, batch_size=10)
    for name, array in run.model.state().items():
        np.testing.assert_array_equal(array, before[name])


def test_the_first_operation_is_named_not_the_last():
    def loss(predictions, targets):
        return (tg.ops.log(predictions - 1e6) * 2).mean()

    with np.errstate(invalid="ignore"), pytest.raises(NotFiniteError, match=r"the first is #\d+ = log\(#\d+\)"):
        trainer(loss).fit(X, Y)


def test_the_cure_is_that_of_the_cause():
    """A smaller learning rate helps against neither a gap in the data nor a negative rate."""

    def poisson(predictions, targets):
        return (predictions - tg.ops.log(predictions - 1e6)).mean()

    x = X.copy()
    x[3, 0] = np.nan
    with pytest.raises(NotFiniteError, match=r"drop these rows.*np\.argwhere\(~np\.isfinite\(X\)\)") as gap:
        trainer().fit(x, Y, epochs=1)
    with np.errstate(invalid="ignore"), pytest.raises(NotFiniteError, match=r"Usual cure.*negative") as negative:
        trainer(poisson).fit(X, Y, epochs=1)
    for error in (gap, negative):
        assert "learning rate" not in str(error.value)
    assert "argwhere" not in str(negative.value)


def test_a_run_that_diverges_names_the_epoch_and_the_batch():
    run = trainer(nn.MSE(), 1, lr=1e6)
    with np.errstate(all="ignore"), pytest.raises(NotFiniteError, match=r"epoch \d+, batch \d+"):
        run.fit(X * 1e3, X[:, :1], epochs=200, batch_size=10)


def test_a_gradient_that_is_not_finite_does_not_reach_the_parameters():
    def loss(predictions, targets):
        return tg.ops.sqrt(predictions * 0).sum()  # 0, with an infinite slope

    run = trainer(loss)
    with np.errstate(all="ignore"), pytest.raises(NotFiniteError):
        run.fit(X, Y, epochs=1)
    assert all(np.isfinite(p.data).all() for p in run.model.parameters())


def test_a_last_step_that_diverges_is_seen():
    model = nn.Dense(2, 1)
    run = Trainer(model, nn.MSE(), optim.SGD(model.parameters(), lr=1e308))
    with np.errstate(all="ignore"), pytest.raises(NotFiniteError, match="is no longer finite at the end of epoch 1"):
        run.fit(X * 1e3, X[:, :1], epochs=1, batch_size=50)


def test_compiled_epochs_name_the_epoch_whose_last_step_diverged():
    """Three epochs run in one call: the first one's last step has spoiled the parameters, not the second one's loss."""
    model = nn.Dense(2, 1)
    run = Trainer(model, nn.MSE(), optim.SGD(model.parameters(), lr=1e308))
    with np.errstate(all="ignore"), pytest.raises(NotFiniteError, match="is no longer finite at the end of epoch 1"):
        run.fit(X * 1e3, X[:, :1], epochs=3, batch_size=50, compile=True)
