"""Callbacks: plain functions, classes with events, and what both do to compiled epochs."""

import signal
import warnings

import numpy as np
import pytest
from trainings import X, Y, trainer

import tinygrad_ce as tg

# ---- plain functions


@pytest.mark.parametrize("second_answer", [None, False, 1.0, np.ones(2)], ids=str)
def test_callbacks_get_trainer_and_figures_and_only_true_stops(second_answer):
    """An accuracy of 1.0, say, is an answer that a lambda gives by the way."""
    calls = []

    def first(t, row):
        calls.append(("first", t, row["epoch"]))
        return row["epoch"] == 2

    def second(t, row):
        calls.append(("second", t, row["epoch"]))
        return second_answer

    run = trainer()
    history = run.fit(X, Y, epochs=5, callbacks=[first, second])
    assert calls == [(name, run, epoch) for epoch in (1, 2) for name in ("first", "second")]
    assert history.stopped == "callback"
    assert len(history) == 2


def test_an_error_in_a_callback_is_the_users_to_see_and_ctrl_c_works_again():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError):
        trainer().fit(X, Y, callbacks=lambda t, row: 1 / 0)
    assert signal.getsignal(signal.SIGINT) is before


# ---- compiled epochs and plain functions that change the training


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
        history = run.fit(X, Y, epochs=4, callbacks=callback, compile=compiled, seed=0)
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
    results = []
    for compiled in (False, True):
        tg.seed(0)
        model = _Branching()
        run = tg.Trainer(model, tg.nn.SoftmaxCrossEntropy(), tg.optim.SGD(model.parameters(), lr=0.1))
        callback = lambda run, row: _a_number_of_the_model(run) if row["epoch"] == 2 else None  # noqa: E731
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            history = run.fit(X, Y, epochs=5, callbacks=callback, compile=compiled, seed=0)
        results.append((history["loss"], history["epoch"]))
    assert "from epoch 3 on, this training runs step by step" in str(said[0].message)
    assert results[0][1] == results[1][1] == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-9)
