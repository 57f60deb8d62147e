"""Ten epochs and ten more are twenty: a trainer goes on where its last fit stood."""

import math

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.nn import Dense, Dropout, Sequential, SoftmaxCrossEntropy, Tanh
from tinygrad_ce.train import Callback, History

DATA = tg.data.moons(70, seed=1)


def trainer():
    tg.seed(0)
    model = Sequential(Dense(2, 6), Tanh(), Dropout(0.3), Dense(6, 2))
    return tg.Trainer(model, SoftmaxCrossEntropy(), tg.optim.Adam(model.parameters(), lr=0.01))


@pytest.mark.parametrize("compile", [False, True])
def test_ten_epochs_and_ten_more_are_twenty(compile):
    once, twice = trainer(), trainer()
    once.fit(DATA, epochs=20, batch_size=16, seed=3, compile=compile)
    for seed in (3, None):
        twice.fit(DATA, epochs=10, batch_size=16, seed=seed, compile=compile)
    for a, b in zip(once.model.parameters(), twice.model.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)
    assert twice.history.columns == once.history.columns
    assert twice.history["epoch"] == [*range(1, 21)]


def test_the_history_of_a_fit_is_its_own():
    ours = trainer()
    first = ours.fit(DATA, epochs=2, seed=0)
    second = ours.fit(DATA, epochs=3, validation=DATA)
    assert (len(first), len(second), len(ours.history)) == (2, 3, 5)
    assert second["epoch"] == [1, 2, 3]
    assert all(math.isnan(x) for x in ours.history["val_loss"][:2])
    assert ours.history["val_loss"][2:] == second["val_loss"]


def test_epochs_before_an_error_are_kept():
    class FailInTheSecond(Callback):
        def after_epoch(self, loop):
            if loop.epoch == 2:
                raise RuntimeError("no more")

    ours = trainer()
    with pytest.raises(RuntimeError, match="no more"):
        ours.fit(DATA, epochs=5, seed=0, callbacks=FailInTheSecond())
    assert ours.history["epoch"] == [1, 2]


def test_nothing_is_added_to_a_history_by_a_fit_without_an_epoch():
    history = History()
    history.extend(History())
    assert history.columns == {}
