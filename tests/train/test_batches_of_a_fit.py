"""Batches of a fit: a short last one may be left out, the loss of each may be kept; targets of one number a row."""

import numpy as np
import pytest
import sklearn.metrics
from program.loops_as_python import loops_as_python
from train.trainings import COLUMN, X, Y, network, trainer

import tinygrad_ce as tg
from tinygrad_ce import nn, optim
from tinygrad_ce.program.epochs import BatchProgram
from tinygrad_ce.train import Callback, NotFiniteError, Trainer, find_learning_rate

ways = pytest.mark.parametrize("compile", [False, True])


# ---- drop_last


@ways
def test_the_last_short_batch_is_left_out(compile):
    ours, model = trainer(make=optim.Adam), network()
    with loops_as_python():
        history = ours.fit(X, Y, epochs=3, batch_size=16, seed=5, drop_last=True, compile=compile, batch_losses=True)
    assert history.compiled is compile
    optimizer, generator, losses = optim.Adam(model.parameters(), lr=0.1), np.random.default_rng(5), []
    for _ in range(3):
        order = generator.permutation(50)
        for start in (0, 16, 32):
            rows = order[start : start + 16]
            optimizer.zero_grad()
            loss = tg.losses.softmax_cross_entropy(model(X[rows]), Y[rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    for mine, theirs in zip(ours.model.parameters(), model.parameters(), strict=True):
        np.testing.assert_allclose(mine.data, theirs.data, rtol=1e-9)
    np.testing.assert_allclose(history.batch_losses, losses, rtol=1e-9)
    np.testing.assert_allclose(history["loss"], np.reshape(losses, (3, 3)).mean(axis=1), rtol=1e-9)


@ways
def test_drop_last_changes_nothing_where_all_batches_are_full(compile):
    with loops_as_python():
        left_out, kept = (
            trainer().fit(X, Y, epochs=2, batch_size=25, seed=1, drop_last=drop, compile=compile)
            for drop in (True, False)
        )
    assert left_out.columns == kept.columns


def test_batch_norm_needs_no_other_batch_size_then():
    tg.seed(0)
    model = nn.Sequential(nn.Dense(2, 4), nn.BatchNorm(4), nn.Dense(4, 2))
    run = Trainer(model, nn.SoftmaxCrossEntropy(), optim.SGD(model.parameters()))
    with pytest.raises(ValueError, match="drop_last=True"):
        run.fit(X, Y, batch_size=7, epochs=1)
    run.fit(X, Y, batch_size=7, epochs=1, drop_last=True)
    with pytest.raises(ValueError, match="one row in each"):
        run.fit(X, Y, batch_size=1, drop_last=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop_last": True, "batch_size": 64}, "50 rows in batches of 64 are nothing but that: pass batch_size=50"),
        ({"drop_last": True, "sample_weight": np.arange(50) > 30, "batch_size": 32}, "19 rows in batches of 32"),
        ({"drop_last": 1}, "drop_last=1 must be True or False"),
        ({"batch_losses": "yes"}, "batch_losses='yes' must be True or False"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:20],
)
def test_options_that_leave_nothing_are_refused(options, message):
    run = trainer()
    with pytest.raises(ValueError, match=f"^fit: .*{message}"):
        run.fit(X, Y, **options)
    assert run.optimizer.steps == 0


# ---- the loss of each batch


@ways
def test_the_losses_of_all_batches_are_kept_on_request(compile):
    run = trainer()
    with loops_as_python():
        assert run.fit(X, Y, epochs=1, seed=0, compile=compile).batch_losses == []
        first = run.fit(X, Y, epochs=3, batch_size=16, seed=0, compile=compile, batch_losses=True)
        second = run.fit(X, Y, epochs=1, batch_size=16, compile=compile, batch_losses=True)
    assert (len(first.batch_losses), len(second.batch_losses)) == (12, 4)
    assert run.history.batch_losses == first.batch_losses + second.batch_losses
    by_epoch = np.reshape(first.batch_losses, (3, 4)) @ [16, 16, 16, 2] / 50
    np.testing.assert_allclose(by_epoch, first["loss"], rtol=1e-12)


def test_losses_of_an_epoch_that_was_not_completed_are_kept():
    class Stop(Callback):
        def after_step(self, loop):
            return loop.epoch == 2 and loop.batch == 3

    run = trainer()
    history = run.fit(X, Y, epochs=5, batch_size=10, seed=0, batch_losses=True, callbacks=Stop())
    assert (len(history), len(history.batch_losses), len(run.history.batch_losses)) == (1, 8, 8)


@ways
def test_losses_up_to_an_error_are_kept(compile):
    """A label that is no class, in the last of three batches; compiled epochs go back and make these steps again."""
    run, rows = trainer(lr=0.01), X.copy()
    order = np.random.default_rng(4).permutation(50)
    rows[order[40]] = np.inf
    with loops_as_python(), np.errstate(all="ignore"), pytest.raises(NotFiniteError, match="batch 3"):
        run.fit(rows, Y, epochs=2, batch_size=16, seed=4, compile=compile, batch_losses=True)
    assert len(run.history) == 0
    assert len(run.history.batch_losses) == run.optimizer.steps == 2


@ways
def test_an_error_names_its_epoch_and_batch_where_batches_are_left_out(compile):
    generator, rows = np.random.default_rng(4), X.copy()
    first, second = generator.permutation(50), generator.permutation(50)
    bad = next(row for row in first[48:] if row not in second[48:])  # left out in the first epoch alone
    rows[bad] = np.inf
    batch = int(np.argmax(second == bad)) // 16 + 1
    with (
        loops_as_python(),
        np.errstate(all="ignore"),
        pytest.raises(NotFiniteError, match=f"epoch 2, batch {batch}"),
    ):
        trainer(lr=0.01).fit(rows, Y, epochs=2, batch_size=16, seed=4, compile=compile, drop_last=True)


def test_steps_that_are_made_again_step_by_step_are_kept_once(monkeypatch):
    expected = trainer().fit(X, Y, epochs=3, batch_size=16, seed=0, compile=False, batch_losses=True)
    monkeypatch.setattr(BatchProgram, "run", lambda *_: None)  # something is not finite, it says
    with loops_as_python():
        history = trainer().fit(X, Y, epochs=3, batch_size=16, seed=0, compile=True, batch_losses=True)
    assert history.compiled
    np.testing.assert_allclose(history.batch_losses, expected.batch_losses, rtol=1e-12)


def test_a_search_for_a_learning_rate_leaves_no_trace_in_the_history():
    run = trainer()
    run.fit(X, Y, epochs=2, seed=0, batch_losses=True)
    columns, losses, generator = dict(run.history.columns), [*run.history.batch_losses], run.generator
    state = generator.bit_generator.state
    find_learning_rate(run, X, Y, high=1e4)
    assert (run.history.columns, run.history.batch_losses) == (columns, losses)
    assert run.generator is generator
    assert generator.bit_generator.state == state


# ---- targets of one number a row

ONE_NUMBER = {
    "sigmoid-bce": (nn.SigmoidBCE(), ()),
    "bce": (nn.BCE(), (nn.Sigmoid(),)),
    "function": (tg.losses.sigmoid_binary_cross_entropy, ()),
    "mse": (nn.MSE(), ()),
    "huber": (nn.Huber(), ()),
}


@ways
@pytest.mark.parametrize("labels", [Y, Y.astype(bool), Y.astype(float)], ids=["int", "bool", "float"])
@pytest.mark.parametrize("which", ONE_NUMBER)
def test_targets_in_a_row_are_those_of_a_column(which, labels, compile):
    loss, end = ONE_NUMBER[which]
    found = []
    for targets in (labels, COLUMN):
        run = trainer(loss, 1, *end)
        with loops_as_python():
            history = run.fit(
                X, targets, epochs=2, batch_size=16, seed=0, compile=compile, validation=(X, targets), clip_norm=1.0
            )
        assert history.compiled is compile
        found.append((history.columns, run.evaluate(X, targets, batch_size=7), run.model.state()))
    assert found[0][:2] == found[1][:2]
    for name, array in found[0][2].items():
        np.testing.assert_array_equal(array, found[1][2][name])


def test_binary_rows_are_measured_and_pictured():
    run = trainer(nn.SigmoidBCE(), 1)
    run.fit(X, Y, epochs=5, seed=0)
    assert run.evaluate(X, Y)["accuracy"] == sklearn.metrics.accuracy_score(Y, run.predict(X))
    np.testing.assert_array_equal(run.confusion_matrix(X, Y), sklearn.metrics.confusion_matrix(Y, run.predict(X)))
    assert run.plot_boundary(X, Y).axes
    moons = tg.data.moons(40, seed=0)
    assert run.fit(moons, epochs=1, validation=moons)["val_accuracy"] == [(run.predict(moons) == moons.y).mean()]
    assert run.confusion_matrix(moons).sum() == 40


def test_a_column_of_targets_fits_predictions_in_a_row():
    class Flat(nn.Module):
        def __init__(self):
            tg.seed(0)
            self.dense = nn.Dense(2, 1)

        def forward(self, x):
            return self.dense(x)[:, 0]

    model = Flat()
    run = Trainer(model, nn.SigmoidBCE(), optim.SGD(model.parameters()))
    assert run.evaluate(X, COLUMN) == run.evaluate(X, Y)


@pytest.mark.parametrize(
    ("loss", "n_out", "targets"),
    [(nn.SigmoidBCE(), 2, Y), (nn.MSE(), 2, Y), (nn.MSE(), 1, X), (nn.MSE(), 2, X.reshape(50, 1, 2))],
)
def test_nothing_else_is_reshaped_and_nothing_is_broadcast(loss, n_out, targets):
    with pytest.raises(ValueError, match="have shape"):
        trainer(loss, n_out).fit(X, targets)
    with pytest.raises(ValueError, match="have shape"):
        tg.losses.mse(X[:, :1], X[:, 0])  # the loss itself is as strict as it was


# ---- accuracy where there are classes


@ways
@pytest.mark.parametrize(
    ("loss", "n_out", "targets", "has_accuracy"),
    [
        (nn.SigmoidBCE(), 1, COLUMN * 0.9 + 0.05, False),
        (nn.SigmoidBCE(), 1, Y * 0.9, False),
        (nn.SigmoidBCE(), 2, np.eye(2)[Y], True),
        (nn.SoftmaxCrossEntropy(), 2, np.eye(2)[Y] * 0.8 + 0.1, False),
        (nn.SoftmaxCrossEntropy(), 2, np.eye(2)[Y], True),
        (nn.MSE(), 2, np.eye(2)[Y], True),
        (nn.MSE(), 2, X, False),
    ],
    ids=["soft", "soft row", "multi-label", "soft classes", "one-hot", "mse of one-hot", "numbers"],
)
def test_accuracy_is_reported_where_an_answer_is_right_or_wrong(loss, n_out, targets, has_accuracy, compile):
    run = trainer(loss, n_out)
    with loops_as_python():
        history = run.fit(X, targets, epochs=1, validation=(X, targets), compile=compile)
    for figures, name in ((history.columns, "accuracy"), (history.columns, "val_accuracy")):
        assert (name in figures) is has_accuracy
    measured = run.evaluate(X, targets)
    assert ("accuracy" in measured) is has_accuracy
    if n_out == 2 and isinstance(loss, nn.SigmoidBCE):  # each label by itself
        assert measured["accuracy"] == (run.predict(X) == targets).mean()
    if isinstance(loss, (nn.SigmoidBCE, nn.SoftmaxCrossEntropy)):  # it answers with classes all the same
        assert run.predict(X).dtype.kind == "i"
