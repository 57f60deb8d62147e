"""What may stand for X and y: Datasets, tables, columns; and what would be learnt wrongly is refused in words."""

import numpy as np
import pandas
import pytest
import sklearn.metrics

import tinygrad_ce as tg
from tests.train.trainings import COLUMN, X, Y, trainer
from tinygrad_ce import nn
from tinygrad_ce.train.metrics import confusion_counts

MOONS = tg.data.moons(40, seed=0)


def fitted(*data, loss=None, n_out=2, **options):
    run = trainer(loss, n_out)
    history = run.fit(*data, epochs=2, seed=0, **options)
    return run, history


# ---- a Dataset in place of X and y


def test_a_dataset_is_its_x_and_y():
    run, history = fitted(MOONS, validation=MOONS)
    apart, expected = fitted(MOONS.X, MOONS.y, validation=(MOONS.X, MOONS.y))
    assert history.columns == expected.columns
    assert run.evaluate(MOONS) == apart.evaluate(MOONS.X, MOONS.y)
    np.testing.assert_array_equal(run.predict(MOONS), apart.predict(MOONS.X))
    np.testing.assert_array_equal(run.predict_proba(MOONS), apart.predict_proba(MOONS.X))
    expected_counts = sklearn.metrics.confusion_matrix(MOONS.y, apart.predict(MOONS.X))
    np.testing.assert_array_equal(run.confusion_matrix(MOONS), expected_counts)


def test_a_dataset_is_searched_for_a_learning_rate_and_checked_numerically():
    tg.seed(0)
    model = nn.Sequential(nn.Dense(2, 4), nn.Tanh(), nn.Dense(4, 2))
    run = tg.Trainer(model, nn.SoftmaxCrossEntropy(), tg.optim.SGD(model.parameters(), lr=0.1))
    found, expected = (tg.train.find_learning_rate(run, *data, high=1e4) for data in ((MOONS,), (MOONS.X, MOONS.y)))
    assert found.suggestion == expected.suggestion
    few = MOONS.take(slice(0, 5))
    apart, whole = (
        tg.check.gradcheck_model(model, nn.SoftmaxCrossEntropy(), *data) for data in ((few.X, few.y), (few,))
    )
    assert apart == whole


def test_targets_of_another_form_may_stand_beside_a_dataset():
    run, history = fitted(MOONS, MOONS.y[:, None], loss=nn.SigmoidBCE(), n_out=1)
    _, expected = fitted(MOONS.X, MOONS.y[:, None], loss=nn.SigmoidBCE(), n_out=1)
    assert history.columns == expected.columns
    assert run.confusion_matrix(MOONS).sum() == len(MOONS)


def test_pictures_of_a_dataset_have_its_names():
    run, _ = fitted(MOONS)
    boundary = run.plot_boundary(MOONS).axes[0]
    assert (boundary.get_xlabel(), boundary.get_ylabel()) == MOONS.feature_names
    texts = {text.get_text() for text in run.plot_confusion(MOONS).axes[0].get_xticklabels()}
    assert texts == set(MOONS.class_names)


def test_a_learning_rate_is_found_for_a_dataset():
    run = trainer(lr=1.0)
    ours = tg.train.find_learning_rate(run, MOONS, high=1e4)
    assert ours.suggestion == tg.train.find_learning_rate(run, MOONS.X, MOONS.y, high=1e4).suggestion


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((MOONS, MOONS), "y is a Dataset; pass its targets"),
        ((MOONS.X, MOONS), "y is a Dataset; pass its targets"),
        ((X,), "y, the targets, is missing"),
        ((None, Y), "X is a NoneType"),
        ((iter(X), Y), "X is an? .*iterator"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "evaluate", "confusion_matrix", "plot_boundary"])
def test_what_is_missing_is_named(data, message, method):
    with pytest.raises((TypeError, ValueError), match=message):
        getattr(trainer(), method)(*data)


# ---- what would be learnt wrongly


@pytest.mark.parametrize("method", ["fit", "evaluate", "confusion_matrix"])
def test_numbers_under_a_mask_are_not_learnt(method):
    call = getattr(trainer(), method)
    with pytest.raises(TypeError, match=r"X is a masked array.*X\.filled"):
        call(np.ma.masked_greater(X, 1), Y)
    with pytest.raises(TypeError, match=r"y is a masked array.*y\.filled"):
        call(X, np.ma.masked_equal(Y, 1))
    call(np.ma.asarray(X), np.ma.asarray(Y))  # nothing is masked here


def test_rows_of_different_lengths_are_no_array():
    with pytest.raises(ValueError, match="fit: X cannot become an array"):
        trainer().fit([[1.0, 2.0], [3.0]], [0, 1])


def test_numbers_that_are_python_objects_have_a_cure():
    with pytest.raises(TypeError, match=r"X must hold real numbers.*write X\.astype\(float\)"):
        trainer().fit(X.astype(object), Y)
    with pytest.raises(TypeError, match=r"y must hold numbers.*write y\.astype\(int\)"):
        trainer().fit(X, Y.astype(object))
    with pytest.raises(TypeError, match="'b'"):  # the first that is no number
        trainer().fit(X, np.array([0, "b"] * 25, object))
    table = pandas.DataFrame(X).astype("Float64")
    table.iloc[3, 1] = pandas.NA
    with pytest.raises(TypeError, match="<NA>"):
        trainer().fit(table.to_numpy(), Y)


# ---- classes that are none


@pytest.mark.parametrize("method", ["confusion_matrix", "plot_boundary"])
def test_labels_with_a_fraction_are_not_cut_off(method):
    with pytest.raises(ValueError, match=r"y must be class indices, whole numbers, and holds [01]\.5"):
        getattr(trainer(), method)(X, Y + 0.5)
    with pytest.raises(TypeError, match="y must hold numbers"):
        getattr(trainer(), method)(X, Y.astype(str))
    with pytest.raises(ValueError, match="50 rows"):
        getattr(trainer(), method)(X, Y[:5])


@pytest.mark.parametrize("labels", [Y, Y[:, None], Y.astype(float), list(Y), np.eye(2)[Y], COLUMN])
def test_labels_of_every_form_are_counted_alike(labels):
    run = trainer()
    expected = sklearn.metrics.confusion_matrix(Y, run.predict(X), labels=[0, 1])
    np.testing.assert_array_equal(run.confusion_matrix(X, labels), expected)


@pytest.mark.parametrize(("loss", "n_out", "targets"), [(None, 2, Y), (nn.SigmoidBCE(), 1, COLUMN)])
def test_scores_of_nan_are_of_no_class(loss, n_out, targets):
    run = trainer(loss, n_out)
    rows = X.copy()
    rows[7, 1] = np.nan
    for call in (lambda: run.predict(rows), lambda: run.confusion_matrix(rows, targets)):
        with pytest.raises(ValueError, match="scores of row 7 are nan"):
            call()
    assert np.isnan(run.predict_proba(rows)[7]).all()
    assert np.isnan(run.evaluate(rows, targets)["loss"])


# ---- answers of every form


class Answering(nn.Module):
    """A Dense layer whose answer is changed by a function."""

    def __init__(self, change, n_out=2):
        tg.seed(0)
        self.dense, self.change = nn.Dense(2, n_out), change

    def forward(self, x):
        return self.change(self.dense(x))


def answering(change, loss, n_out=2):
    model = Answering(change, n_out)
    return tg.Trainer(model, loss, tg.optim.SGD(model.parameters(), lr=0.1))


@pytest.mark.parametrize("change", [lambda z: (z, z), lambda z: {"logits": z}, lambda z: [z]])
def test_several_answers_are_predicted_as_they_are_and_have_no_probabilities(change):
    def loss(answer, y):
        return tg.losses.mse((answer["logits"] if isinstance(answer, dict) else answer[0])[:, 0], y)

    run = answering(change, loss)
    run.fit(X, Y, epochs=1)
    answers, expected = run.predict(X, batch_size=7), run.model.eval()(X)
    assert type(answers) is type(expected)
    for key in expected if isinstance(expected, dict) else range(len(expected)):
        np.testing.assert_allclose(answers[key], expected[key].data, rtol=1e-13)
    with pytest.raises(TypeError, match=r"answers with a (tuple|dict|list).*out of predict\(X\)"):
        run.predict_proba(X)


@pytest.mark.parametrize("change", [lambda z: z.sum(axis=0), lambda z: z.sum(), lambda z: z[:-1]])
def test_an_answer_without_a_row_for_each_row_would_depend_on_the_batches(change):
    run = answering(change, lambda p, y: (p * p).mean())
    with pytest.raises(ValueError, match="answer to 3 rows has shape"):
        run.predict(X, batch_size=3)


def test_sequences_and_other_class_axes_are_counted():
    """Labels of each place of a sequence, with the classes along the last axis and along axis 1."""
    sequences, labels = X.reshape(10, 5, 2), Y.reshape(10, 5)
    last = answering(lambda z: z, nn.SoftmaxCrossEntropy(), n_out=3)
    first = answering(lambda z: np.swapaxes(z, 1, 2), nn.SoftmaxCrossEntropy(axis=1), n_out=3)
    expected = sklearn.metrics.confusion_matrix(Y, last.predict(sequences).ravel(), labels=[0, 1, 2])
    one_hot = np.eye(3)[labels]
    for run, targets in ((last, labels), (last, one_hot), (first, labels), (first, one_hot.swapaxes(1, 2))):
        np.testing.assert_array_equal(run.confusion_matrix(sequences, targets), expected)


def test_several_binary_answers_are_counted_one_by_one():
    run = answering(lambda z: z, nn.SigmoidBCE())
    targets = np.eye(2)[Y]
    expected = sklearn.metrics.confusion_matrix(targets.ravel(), run.predict(X).ravel())
    np.testing.assert_array_equal(run.confusion_matrix(X, targets), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_a_confusion_matrix_of_small_integers_counts_every_row(dtype):
    labels = np.arange(20, dtype=dtype)
    matrix = confusion_counts(labels, labels, 20)  # 19 * 20 + 19 is no number of their dtype
    assert (matrix == np.eye(20)).all()
