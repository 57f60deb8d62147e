"""Callbacks and compiled epochs: events of whole epochs are called there, batch events keep training step by step."""

import warnings

import numpy as np
import pytest
from train.trainings import Everything, Recorder, X, Y, neuron, trainer

import tinygrad_ce as tg
from tinygrad_ce import optim
from tinygrad_ce.train import Callback
from tinygrad_ce.train import compiled as compiled_training

# ---- classes with events


class AfterEpochOnly(Callback):
    def __init__(self):
        self.seen = []

    def before_fit(self, loop):
        self.seen.append("before")

    def after_epoch(self, loop):
        assert (loop.rows, loop.targets, loop.predictions, loop.loss) == (None,) * 4
        self.seen.append((loop.epoch, loop.batch, dict(loop.figures), loop.model.state()))

    def after_fit(self, loop):
        self.seen.append(loop.stopped)


def test_events_of_whole_epochs_are_called_in_compiled_ones():
    class Eager(AfterEpochOnly):
        def after_epoch(self, loop):
            self.seen.append((loop.epoch, loop.batch, dict(loop.figures), loop.model.state()))

    compiled, eager = AfterEpochOnly(), Eager()
    options = {"epochs": 3, "batch_size": 25, "seed": 3, "validation": (X, Y)}
    assert neuron().fit(X, Y, callbacks=compiled, compile=True, **options).compiled
    assert not neuron().fit(X, Y, callbacks=eager, compile=False, **options).compiled
    assert [compiled.seen[0], compiled.seen[-1]] == ["before", "finished"] == [eager.seen[0], eager.seen[-1]]
    for mine, theirs in zip(compiled.seen[1:-1], eager.seen[1:-1], strict=True):
        assert mine[:2] == theirs[:2]
        assert mine[2] == pytest.approx(theirs[2], rel=1e-9)
        for name, value in theirs[3].items():
            np.testing.assert_allclose(mine[3][name], value, rtol=1e-9)


@pytest.mark.parametrize("event", ["before_batch", "after_loss", "after_backward", "after_step"])
def test_a_batch_event_keeps_epochs_from_being_compiled_and_fit_says_so_once(event):
    calls = []
    callback = type("Mine", (Callback,), {event: lambda self, loop: calls.append(loop.batch)})
    with pytest.warns(UserWarning, match=rf"runs step by step, because Mine\.{event} is called for each batch") as said:
        history = neuron().fit(X, Y, epochs=2, batch_size=16, compile=True, callbacks=[callback(), callback()])
    assert len(said) == 1
    assert not history.compiled
    assert calls == [batch for _ in range(2) for batch in (1, 1, 2, 2, 3, 3, 4, 4)]


def test_auto_stays_step_by_step_for_a_batch_event_without_a_word(monkeypatch, capsys):
    pytest.importorskip("numba")
    monkeypatch.setattr(
        compiled_training, "SECONDS", dict.fromkeys(compiled_training.SECONDS, 0) | {"saved by a step": 1}
    )
    assert not neuron().fit(X, Y, epochs=2, callbacks=Everything()).compiled
    assert capsys.readouterr() == ("", "")
    assert neuron().fit(X, Y, epochs=2, batch_size=25, callbacks=AfterEpochOnly()).compiled


def test_our_own_callbacks_do_not_keep_epochs_from_being_compiled():
    options = {"batch_size": 25, "validation": (X, Y), "patience": 5, "clip_norm": 1.0, "progress": True, "seed": 0}
    watch = tg.views.Watch(X, Y)
    run = trainer(dropout=0.2)
    assert run.fit(X, Y, epochs=2, compile=True, callbacks=[watch], **options).compiled
    assert watch.epochs == [1, 2]


def test_a_watch_sees_each_epoch_beside_a_batch_event():
    watch, recorder = tg.views.Watch(X, Y), Recorder()
    run = neuron()
    run.fit(X, Y, epochs=3, callbacks=[watch, recorder])
    assert watch.epochs == [1, 2, 3]
    assert len({found.loss for found in watch.audits}) == 3
    expected = tg.audit(run.model, run.loss(run.model(X), Y), run.optimizer)
    assert watch.audits[-1].rows[0].gradient == expected.rows[0].gradient


def test_the_learning_rates_of_a_new_optimizer_are_in_the_history_of_both_ways():
    class Renew(Callback):
        def after_epoch(self, loop):
            if loop.epoch == 1:
                loop.trainer.optimizer = optim.SGD(
                    loop.model.parameters(), lr=optim.StepDecay(0.4, every=3, factor=0.5)
                )

    rates = [neuron().fit(X, Y, epochs=4, batch_size=25, compile=way, callbacks=Renew())["lr"] for way in (False, True)]
    assert rates == [[0.1, 0.4, 0.4, 0.2]] * 2


# ---- plain functions that change the training


def _momentum(run):
    run.optimizer.momentum = 0.9


def _another_optimizer(run):
    run.optimizer = tg.optim.SGD(run.model.parameters(), lr=0.3, momentum=0.5)


def _another_loss(run):
    run.loss = lambda z, y: 3 * tg.losses.softmax_cross_entropy(z, y)


def _a_number_of_the_model(run):
    run.model.factor = 0.5


class _Scaled(tg.nn.Module):
    def __init__(self):
        self.inner, self.factor = tg.nn.Dense(2, 2), 1.0

    def forward(self, x):
        return self.inner(x) * self.factor


@pytest.mark.parametrize("change", [_momentum, _another_optimizer, _another_loss, _a_number_of_the_model])
def test_a_compiled_fit_follows_what_callbacks_change(change):
    results = []
    for compiled in (False, True):
        tg.seed(0)
        model = _Scaled()
        run = tg.Trainer(model, tg.nn.SoftmaxCrossEntropy(), tg.optim.SGD(model.parameters(), lr=0.1, momentum=0.1))
        callback = lambda run, row: change(run) if row["epoch"] == 2 else None  # noqa: E731
        history = run.fit(X, Y, epochs=4, batch_size=25, callbacks=callback, compile=compiled, seed=0)
        assert history.compiled is compiled
        results.append((history["loss"], model.state()))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-9)
    for name, value in results[0][1].items():
        np.testing.assert_allclose(results[1][1][name], value, rtol=1e-9)


class _Branching(_Scaled):
    def forward(self, x):
        z = self.inner(x)
        return z * 2 if self.factor < 1 and z.sum() > 0 else z


def test_a_fit_that_callbacks_make_untraceable_goes_on_step_by_step():
    pytest.importorskip("numba")
    results = []
    for compiled in (False, True):
        tg.seed(0)
        model = _Branching()
        run = tg.Trainer(model, tg.nn.SoftmaxCrossEntropy(), tg.optim.SGD(model.parameters(), lr=0.1))
        callback = lambda run, row: _a_number_of_the_model(run) if row["epoch"] == 2 else None  # noqa: E731
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            history = run.fit(X, Y, epochs=5, batch_size=25, callbacks=callback, compile=compiled, seed=0)
        results.append((history["loss"], history["epoch"]))
    assert "from epoch 3 on, this training runs step by step" in str(said[0].message)
    assert results[0][1] == results[1][1] == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-9)
