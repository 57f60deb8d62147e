"""Trainer.fit against the loop written by hand: the loop, early stopping, history, plain callbacks."""

import math

import numpy as np
import pytest
from train.trainings import X, Y, every_loss, network, trainer, trainer_and_targets

import tinygrad_ce as tg
from tinygrad_ce import nn, optim
from tinygrad_ce.train import Trainer

# ---- the loop


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam])
@pytest.mark.parametrize("batch_size", [1, 16, 50, 64])
def test_fit_is_the_loop_that_one_would_write_by_hand(make, batch_size):
    ours = trainer(make=make)
    history = ours.fit(X, Y, epochs=3, batch_size=batch_size, seed=5)

    model = network()
    optimizer = make(model.parameters(), lr=0.1)
    generator = np.random.default_rng(5)
    losses = []
    for _ in range(3):
        total = 0.0
        for xs, ys in tg.data.batches(X, Y, batch_size, seed=generator):
            optimizer.zero_grad()
            loss = tg.losses.softmax_cross_entropy(model(xs), ys)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(ys)
        losses.append(total / len(Y))
    for mine, theirs in zip(ours.model.parameters(), model.parameters(), strict=True):
        np.testing.assert_array_equal(mine.data, theirs.data)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-13)


@every_loss
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_seed_gives_the_same_parameters_bit_for_bit(which, dtype):
    def learnt(seed):
        run, targets = trainer_and_targets(which, dropout=0.3)
        run.model.astype(dtype)
        run.optimizer = optim.Adam(run.model.parameters(), lr=0.05)
        run.fit(X, targets, epochs=4, batch_size=16, seed=seed)
        return run.model.state()

    first, again, other = learnt(1), learnt(1), learnt(2)
    for name, array in first.items():
        assert array.dtype == dtype
        np.testing.assert_array_equal(again[name], array)
    assert any((other[name] != array).any() for name, array in first.items())


@pytest.mark.parametrize(("rows", "batch_size", "sizes"), [(50, 16, [16, 16, 16, 2]), (50, 25, [25, 25]), (3, 8, [3])])
def test_every_row_is_trained_on_once_in_each_epoch(rows, batch_size, sizes):
    seen = []

    def noting(predictions, targets):
        seen.append(targets)
        return tg.losses.softmax_cross_entropy(predictions, targets % 2)

    trainer(noting).fit(X[:rows], np.arange(rows), epochs=2, batch_size=batch_size, seed=0)
    assert [len(targets) for targets in seen] == sizes * 2
    for epoch in (seen[: len(sizes)], seen[len(sizes) :]):
        np.testing.assert_array_equal(np.sort(np.concatenate(epoch)), np.arange(rows))


def test_the_data_are_not_changed():
    x, y = X.copy(), Y.copy()
    trainer().fit(x, y, epochs=2, validation=(x, y))
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


@pytest.mark.parametrize("wrapped", [np.asarray, np.ndarray.tolist, tg.Tensor, np.asfortranarray])
def test_data_come_in_many_forms(wrapped):
    expected = trainer().fit(X, Y, epochs=1, seed=0)["loss"]
    assert trainer().fit(wrapped(X), wrapped(Y), epochs=1, seed=0)["loss"] == expected


def test_float32_stays_float32():
    model = network().astype(np.float32)
    run = Trainer(model, nn.SoftmaxCrossEntropy(), optim.Adam(model.parameters(), lr=0.01))
    run.fit(X, Y, epochs=1)
    assert {p.dtype for p in model.parameters()} == {np.dtype(np.float32)}
    assert run.predict_proba(X).dtype == np.float32


def test_fit_goes_on_where_the_last_one_ended():
    run = trainer()
    first = run.fit(X, Y, epochs=5, seed=0)
    assert run.fit(X, Y, epochs=5, seed=0)["loss"][0] < first["loss"][0]


def test_gradients_are_clipped():
    run = trainer(lr=1.0)
    before = run.model.state()
    run.fit(X, Y, epochs=1, batch_size=50, clip_norm=1e-3)
    moved = math.sqrt(sum(((before[name] - array) ** 2).sum() for name, array in run.model.state().items()))
    np.testing.assert_allclose(moved, 1e-3, rtol=1e-9)


def test_it_learns():
    run = trainer(make=optim.Adam, lr=0.05)
    history = run.fit(X, Y, epochs=150, seed=0)
    assert history["accuracy"][-1] == 1
    assert run.evaluate(X, Y)["accuracy"] == 1


# ---- validation, early stopping, history


def test_the_history_has_a_column_for_every_figure():
    run = trainer(lr=optim.StepDecay(0.5, every=4, factor=0.5))
    history = run.fit(X, Y, epochs=3, batch_size=16, validation=(X[:10], Y[:10]))
    assert set(history.columns) == {"epoch", "loss", "accuracy", "lr", "val_loss", "val_accuracy"}
    assert history["epoch"] == [1, 2, 3]
    assert history["lr"] == [0.5, 0.25, 0.125]
    assert len(history) == 3
    assert history.stopped == "finished"
    assert history.last() == {name: values[-1] for name, values in history.columns.items()}
    measured = run.evaluate(X[:10], Y[:10])
    assert (history["val_loss"][-1], history["val_accuracy"][-1]) == (measured["loss"], measured["accuracy"])
    assert set(trainer(nn.MSE(), 1).fit(X, X[:, :1], epochs=1).columns) == {"epoch", "loss", "lr"}
    with pytest.raises(KeyError, match="val_loss"):
        trainer().fit(X, Y, epochs=1)["val_loss"]


def test_validation_is_only_measured():
    with_it, without = trainer(), trainer()
    with_it.fit(X, Y, epochs=3, seed=0, validation=(X[:7], 1 - Y[:7]))
    without.fit(X, Y, epochs=3, seed=0)
    for a, b in zip(with_it.model.parameters(), without.model.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_patience_stops_and_brings_the_best_back():
    run, states = trainer(lr=0.5), []
    history = run.fit(
        X, Y, epochs=200, seed=0, validation=(X[:20], 1 - Y[:20]), patience=3,
        callbacks=lambda t, row: states.append(t.model.state()),
    )  # fmt: skip
    best = int(np.argmin(history["val_loss"]))
    assert history.stopped == "early"
    assert len(history) == best + 1 + 3
    for name, array in run.model.state().items():
        np.testing.assert_array_equal(array, states[best][name])
    assert run.evaluate(X[:20], 1 - Y[:20])["loss"] == history["val_loss"][best]


def test_patience_without_validation_watches_the_training_loss():
    losses = trainer(lr=20.0).fit(X, Y, epochs=100, seed=0, patience=2)
    assert losses.stopped == "early"
    assert min(losses["loss"][-2:]) >= min(losses["loss"])


def test_the_best_is_restored_also_where_training_ended_by_itself():
    run = trainer(lr=0.5)
    history = run.fit(X, Y, epochs=4, seed=0, validation=(X[:20], 1 - Y[:20]), patience=50)
    assert history.stopped == "finished"
    assert run.evaluate(X[:20], 1 - Y[:20])["loss"] == min(history["val_loss"])


# ---- the progress bar


def test_the_progress_bar_shows_the_figures(capsys):
    trainer().fit(X, Y, epochs=2, progress=True)
    out = capsys.readouterr().out
    assert "2/2" in out
    assert "loss" in out


def test_without_progress_nothing_is_printed(capsys):
    trainer().fit(X, Y, epochs=2)
    assert capsys.readouterr().out == ""
