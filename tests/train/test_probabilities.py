"""predict_proba and predict(threshold=): what a model's scores say of probabilities, with every loss."""

from functools import partial

import numpy as np
import pytest
import scipy.special
from train.trainings import COLUMN, X, Y, trainer

import tinygrad_ce as tg
from tinygrad_ce import nn

THREE = np.where(X[:, 0] > 0.5, 2, Y)
LABELS = np.stack([Y, X[:, 0] > 0, X[:, 1] > 0], axis=1).astype(float)


class LogSoftmax(nn.Module):
    """Logits to logarithms of probabilities."""

    def forward(self, x):
        return tg.ops.log_softmax(x)


class Turned(nn.Module):
    """(N, 6) to (N, 3, 2): two answers a row, the classes along axis 1."""

    def forward(self, x):
        return x.reshape(-1, 3, 2)


class Flat(nn.Module):
    """(N, 1) to (N,)."""

    def forward(self, x):
        return x[:, 0]


def logits_of(run):
    """What the network gives before the end that belongs to the loss."""
    layers = [layer for layer in run.model.layers if not isinstance(layer, (nn.Softmax, nn.Sigmoid, LogSoftmax))]
    return nn.Sequential(*layers).eval()(X).data


# ---- probabilities


@pytest.mark.parametrize(
    ("loss", "end"),
    [
        (nn.SoftmaxCrossEntropy(), ()),
        (partial(tg.losses.softmax_cross_entropy, label_smoothing=0.1), ()),
        (nn.CrossEntropy(), (nn.Softmax(),)),
        (nn.KLDivergence(), (nn.Softmax(),)),
        (nn.NLL(), (LogSoftmax(),)),
        (tg.losses.nll, (LogSoftmax(),)),
    ],
)
def test_of_three_classes_the_rows_are_the_softmax_of_the_logits(loss, end):
    run = trainer(loss, 3, *end)
    p = run.predict_proba(X)
    np.testing.assert_allclose(p, scipy.special.softmax(logits_of(run), axis=1), rtol=1e-12)
    np.testing.assert_allclose(run.predict_proba(X, batch_size=7), p, rtol=1e-12)


@pytest.mark.parametrize(("loss", "end"), [(nn.SigmoidBCE(), ()), (nn.BCE(), (nn.Sigmoid(),))])
@pytest.mark.parametrize("flat", [(), (Flat(),)])
def test_of_one_yes_or_no_answer_there_are_two_columns(loss, end, flat):
    run = trainer(loss, 1, *flat, *end)
    yes = scipy.special.expit(logits_of(run).reshape(-1))
    np.testing.assert_allclose(run.predict_proba(X), np.column_stack([1 - yes, yes]), rtol=1e-12)


def test_the_smaller_probability_keeps_its_digits():
    run = trainer(nn.SigmoidBCE(), 1)
    run.model.layers[-1].b.data[...] = 50.0
    np.testing.assert_allclose(run.predict_proba(X)[:, 0], scipy.special.expit(-logits_of(run)[:, 0]), rtol=1e-12)


@pytest.mark.parametrize(("loss", "end"), [(nn.SigmoidBCE(), ()), (nn.BCE(), (nn.Sigmoid(),))])
def test_of_several_labels_there_is_a_column_for_each(loss, end):
    run = trainer(loss, 3, *end)
    run.fit(X, LABELS, epochs=2, seed=0)
    np.testing.assert_allclose(run.predict_proba(X), scipy.special.expit(logits_of(run)), rtol=1e-12)


def test_of_several_answers_a_row_the_classes_stay_on_the_axis_of_the_loss():
    run = trainer(nn.SoftmaxCrossEntropy(axis=1), 6, Turned())
    p = run.predict_proba(X)
    assert p.shape == (50, 3, 2)
    np.testing.assert_allclose(p, scipy.special.softmax(logits_of(run), axis=1), rtol=1e-12)
    np.testing.assert_array_equal(p.argmax(axis=1), run.predict(X))


def own_loss(p, y):
    return ((p - y) ** 2).mean()


@pytest.mark.parametrize(("loss", "name"), [(nn.MSE(), "MSE"), (nn.Hinge(), "Hinge"), (own_loss, "own_loss")])
def test_numbers_that_are_no_probabilities_are_refused(loss, name):
    with pytest.raises(
        ValueError, match=rf"predict_proba: the loss {name} is of no probabilities.*SoftmaxCrossEntropy"
    ):
        trainer(loss, 2).predict_proba(X)


def test_the_boundary_of_a_model_without_probabilities_is_drawn_all_the_same():
    run = trainer(nn.MSE(), 2)
    run.fit(X, np.eye(2)[Y], epochs=2, seed=0)
    image = run.plot_boundary(X, Y).axes[0].images[0].get_array()
    assert (image >= 0).all()
    assert (image <= 1).all()


def test_a_boundary_is_of_one_answer_a_row():
    run = trainer(nn.SigmoidBCE(), 3)
    with pytest.raises(ValueError, match="one class index"):
        run.plot_boundary(X, LABELS)


def test_the_old_name_is_answered_with_the_new_one():
    with pytest.raises(AttributeError, match=r"did you mean trainer.predict_proba\(X\)\?"):
        _ = trainer().probabilities


# ---- a threshold


@pytest.mark.parametrize(("loss", "end"), [(nn.SigmoidBCE(), ()), (nn.BCE(), (nn.Sigmoid(),))])
def test_a_threshold_is_of_the_probability(loss, end):
    run = trainer(loss, 1, *end)
    run.fit(X, COLUMN, epochs=5, seed=0)
    yes = run.predict_proba(X)[:, 1]
    found = [run.predict(X, threshold=threshold) for threshold in (0, 0.3, 0.7, 1)]
    for answers, threshold in zip(found, (0, 0.3, 0.7, 1), strict=True):
        assert answers.dtype == np.int64
        np.testing.assert_array_equal(answers, yes > threshold)
    assert found[1].sum() > found[2].sum()
    np.testing.assert_array_equal(run.predict(X, threshold=0.5), run.predict(X))
    assert run.predict(X, threshold=float(yes[7]))[7] == 0  # above, and not at


def test_a_threshold_of_several_labels():
    run = trainer(nn.SigmoidBCE(), 3)
    np.testing.assert_array_equal(run.predict(X, threshold=0.4), scipy.special.expit(logits_of(run)) > 0.4)


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan"), True, "high", [0.5]])
def test_a_threshold_that_is_no_probability(threshold):
    with pytest.raises(ValueError, match=r"predict: threshold=.* must be a probability, a number from 0 to 1"):
        trainer(nn.SigmoidBCE(), 1).predict(X, threshold=threshold)


def test_a_threshold_needs_a_yes_or_no():
    with pytest.raises(ValueError, match=r"chooses among classes: leave it out, .*predict_proba\(X\)\[:, 1\] > 0.3"):
        trainer(n_out=2).predict(X, threshold=0.3)
    with pytest.raises(ValueError, match=r"gives numbers: leave it out, .*trainer.predict\(X\) > 0.3"):
        trainer(nn.MSE(), 1).predict(X, threshold=0.3)


def test_nan_is_above_no_threshold():
    rows = X.copy()
    rows[3] = np.nan
    with pytest.raises(ValueError, match="row 3 are nan"):
        trainer(nn.SigmoidBCE(), 1).predict(rows, threshold=0.3)
