"""trainer.hardest: the rows with the largest loss, beside losses that are computed one row at a time."""

from functools import partial

import numpy as np
import pytest
from train.trainings import X, Y, every_loss, trainer, trainer_and_targets

import tinygrad_ce as tg
from tinygrad_ce import nn

LABELS = np.stack([Y, X[:, 0] > 0, X[:, 1] > 0], axis=1).astype(float)


def one_by_one(run, X, y):
    """The loss of each row by itself, in evaluation mode."""
    run.model.eval()
    return np.array([run.loss(run.model(X[k : k + 1]), y[k : k + 1]).item() for k in range(len(X))])


def check(run, X, y, n=10):
    losses = one_by_one(run, X, y)
    hard = run.hardest(X, y, n)
    np.testing.assert_array_equal(hard.rows, np.argsort(-losses, kind="stable")[:n])
    np.testing.assert_allclose(hard.losses, losses[hard.rows], rtol=1e-9)
    np.testing.assert_array_equal(hard.predicted.reshape(n, -1), run.predict(X).reshape(len(X), -1)[hard.rows])
    return hard


@every_loss
def test_the_rows_with_the_largest_loss(which):
    run, targets = trainer_and_targets(which)
    run.fit(X, targets, epochs=3, seed=0)
    hard = check(run, X, targets)
    np.testing.assert_array_equal(hard.true, Y[hard.rows])
    if which == "mse of one-hot":
        assert hard.probabilities is None
    else:
        np.testing.assert_array_equal(hard.probabilities, run.predict_proba(X)[hard.rows, hard.predicted])


@pytest.mark.parametrize(
    "loss", [nn.SoftmaxCrossEntropy(weight=[1.0, 5.0]), partial(tg.losses.softmax_cross_entropy, weight=[1.0, 5.0])]
)
def test_the_weights_of_classes_count(loss):
    run = trainer(loss)
    plain = one_by_one(run, X, Y)  # the mean of one row is divided by its own weight
    hard = run.hardest(X, Y, 50)
    np.testing.assert_allclose(hard.losses, (plain * np.array([1.0, 5.0])[Y])[hard.rows], rtol=1e-9)
    assert (np.diff(hard.losses) <= 0).all()


def test_a_loss_of_ones_own_is_asked_row_by_row():
    def squared(p, y):
        return ((p - y) ** 2).mean()

    run = trainer(squared, 2)
    hard = check(run, X, X)
    assert hard.probabilities is None
    np.testing.assert_array_equal(hard.true, X[hard.rows])


def test_a_loss_that_is_nan_is_the_hardest():
    def nan_above_2(p, y):
        return tg.Tensor(np.nan) if y.max() > 2 else ((p - y) ** 2).mean()

    hard = trainer(nan_above_2, 2).hardest(X, X, 50)
    above = np.flatnonzero(X.max(axis=1) > 2)
    assert 0 < len(above) < 50
    np.testing.assert_array_equal(hard.rows[: len(above)], above)
    assert not np.isnan(hard.losses[len(above) :]).any()


class Penalized(nn.SoftmaxCrossEntropy):
    """A loss of ours with something more."""

    def forward(self, predictions, targets):
        return super().forward(predictions, targets) + (predictions**2).mean()


def test_a_loss_that_is_derived_from_ours_is_asked_itself():
    check(trainer(Penalized()), X, Y)


def test_several_labels():
    run = trainer(nn.SigmoidBCE(), 3)
    hard = check(run, X, LABELS, 4)
    np.testing.assert_array_equal(hard.true, LABELS[hard.rows])
    assert hard.probabilities is None
    assert "[" in str(hard)


def test_numbers_are_in_the_units_of_the_table():
    class Scaled:
        class_names = ()

        def invert(self, numbers):
            return np.asarray(numbers) * 10 + 3

    run = trainer(nn.MSE(), 1)
    hard = check(run, X, X[:, :1])
    np.testing.assert_array_equal(hard.true, X[hard.rows, 0])
    run.preparation = Scaled()
    scaled = run.hardest(X, X[:, :1])
    np.testing.assert_array_equal(scaled.true, 10 * hard.true + 3)
    np.testing.assert_array_equal(scaled.predicted, 10 * hard.predicted + 3)
    np.testing.assert_array_equal(scaled.losses, hard.losses)


def test_rows_that_the_loss_ignores_are_not_hard():
    run = trainer(nn.SoftmaxCrossEntropy(ignore_index=-1))
    partly = np.where(np.arange(50) % 2, Y, -1)
    hard = run.hardest(X, partly, 50)
    assert sorted(hard.rows) == [*range(1, 50, 2)]


def test_a_dataset_brings_the_names_of_its_classes():
    data = tg.data.moons(50, seed=0)
    hard = trainer().hardest(data, n=3)
    assert len(hard) == 3
    np.testing.assert_array_equal(hard.true, np.array(data.class_names)[data.y[hard.rows]])
    assert set(hard.predicted) <= set(data.class_names)
    lines = str(hard).splitlines()
    assert lines[0].split() == ["row", "loss", "true", "predicted", "probability"]
    assert lines[2].split()[:3] == [str(hard.rows[0]), f"{hard.losses[0]:.4g}", hard.true[0]]
    assert list(trainer().hardest(data.X, data.y, 3).true) == list(data.y[hard.rows])


def test_more_rows_than_there_are_and_fewer():
    run = trainer()
    assert len(run.hardest(X, Y, 1000)) == 50
    for n, error in ((0, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="hardest: n is"):
            run.hardest(X, Y, n)


def test_looking_for_hard_rows_changes_nothing():
    run = trainer(dropout=0.5)
    before = run.model.state()
    assert run.hardest(X, Y).losses.tolist() == run.hardest(X, Y).losses.tolist()
    assert all(module.training for module in run.model.modules())
    for name, array in run.model.state().items():
        np.testing.assert_array_equal(array, before[name])
