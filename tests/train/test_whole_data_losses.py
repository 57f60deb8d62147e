"""The loss of evaluate, of validation and of the history is the loss of all rows at once, whatever the batch size."""

from functools import partial

import numpy as np
import pytest
from program.loops_as_python import loops_as_python
from scipy.special import expit, log_softmax, softmax
from train.trainings import X, Y, network

import tinygrad_ce as tg
from tinygrad_ce import nn, optim
from tinygrad_ce.train import Trainer

SIZES = [1, 3, 32, 50]
rng = np.random.default_rng(7)
CLASSES = rng.integers(0, 3, 50)
IGNORING = np.where(np.arange(50) % 3 == 0, -1, CLASSES)
FAR = np.where(IGNORING < 0, -100, CLASSES)  # no index of a class from behind either
WEIGHTS = np.array([0.2, 1.0, 5.0])
COLUMN = Y[:, None].astype(float)
SOFT = softmax(rng.normal(size=(50, 3)), axis=1)


def picked(z, y):
    return -log_softmax(z, axis=1)[np.arange(len(y)), y]


def weighted_mean(z, y, w=WEIGHTS):
    return (picked(z, y) * w[y]).sum() / w[y].sum()


def ignoring_weighted_mean(z, y):
    return weighted_mean(z[y >= 0], y[y >= 0])


def smoothed(z, y):
    target = 0.9 * np.eye(3)[y] + 0.1 / 3
    return -(target * log_softmax(z, axis=1)).sum(axis=1).mean()


def binary(z, y, positive=1.0, weight=1.0):
    return -(weight * (positive * y * np.log(expit(z)) + (1 - y) * np.log(expit(-z))))


# what fit is called with, the loss of all rows by NumPy, the targets, the end of the network
LOSSES = {
    "class weights": (nn.SoftmaxCrossEntropy(weight=WEIGHTS), weighted_mean, CLASSES, (3,)),
    "weights of probabilities": (nn.CrossEntropy(weight=WEIGHTS), weighted_mean, CLASSES, (3, nn.Softmax())),
    "ignored": (nn.SoftmaxCrossEntropy(ignore_index=-1), lambda z, y: picked(z, y)[y >= 0].mean(), IGNORING, (3,)),
    "an ignored class": (
        nn.SoftmaxCrossEntropy(ignore_index=0), lambda z, y: picked(z, y)[y != 0].mean(), CLASSES, (3,)
    ),
    "both": (nn.SoftmaxCrossEntropy(weight=WEIGHTS, ignore_index=-100), ignoring_weighted_mean, FAR, (3,)),
    "a partial": (
        partial(tg.losses.softmax_cross_entropy, weight=WEIGHTS, ignore_index=-1), ignoring_weighted_mean, IGNORING,
        (3,),
    ),
    "smoothed": (nn.SoftmaxCrossEntropy(label_smoothing=0.1), smoothed, CLASSES, (3,)),
    "sum": (nn.SoftmaxCrossEntropy(reduction="sum"), lambda z, y: picked(z, y).sum(), CLASSES, (3,)),
    "weighted sum": (
        nn.SoftmaxCrossEntropy(reduction="sum", weight=WEIGHTS), lambda z, y: (picked(z, y) * WEIGHTS[y]).sum(),
        CLASSES, (3,),
    ),
    "weights of soft labels": (
        nn.SoftmaxCrossEntropy(weight=WEIGHTS),
        lambda z, y: -(y * WEIGHTS * log_softmax(z, axis=1)).sum() / len(y), SOFT, (3,),
    ),
    "pos_weight": (nn.SigmoidBCE(pos_weight=3.0), lambda z, y: binary(z, y, positive=3.0).mean(), COLUMN, (1,)),
    "sum of bce": (nn.BCE(reduction="sum"), lambda z, y: binary(z, y).sum(), COLUMN, (1, nn.Sigmoid())),
    "mse": (nn.MSE(), lambda z, y: ((z - y) ** 2).mean(), X, (2,)),
    "mse of weighted columns": (
        nn.MSE(weight=np.array([1.0, 7.0])), lambda z, y: ((z - y) ** 2 * [1, 7]).mean(), X, (2,)
    ),
    "sum of mse": (nn.MSE(reduction="sum"), lambda z, y: ((z - y) ** 2).sum(), X, (2,)),
    "a mean of one's own": (lambda z, y: ((z - y) ** 2).mean(), lambda z, y: ((z - y) ** 2).mean(), X, (2,)),
}  # fmt: skip


def still(loss, *end):
    """A trainer whose steps are too small to be seen: the loss of an epoch is then that of all rows."""
    model = network(*end)
    return Trainer(model, loss, optim.SGD(model.parameters(), lr=1e-300))


def scores_of(run):
    """What comes before the softmax or sigmoid, if the network has one at its end."""
    layers = run.model.layers[:-1] if isinstance(run.model[-1], (nn.Softmax, nn.Sigmoid)) else run.model.layers
    return nn.Sequential(*layers)(X).data


@pytest.mark.filterwarnings("ignore:softmax_cross_entropy. every row has the ignored index")
@pytest.mark.parametrize("batch_size", SIZES)
@pytest.mark.parametrize("which", LOSSES)
def test_no_figure_depends_on_the_batch_size(which, batch_size):
    loss, formula, targets, end = LOSSES[which]
    run = still(loss, *end)
    right = formula(scores_of(run), targets)
    np.testing.assert_allclose(run.evaluate(X, targets, batch_size=batch_size)["loss"], right, rtol=1e-12)
    history = run.fit(X, targets, epochs=1, batch_size=batch_size, validation=(X, targets), seed=0)
    np.testing.assert_allclose(history["val_loss"], [right], rtol=1e-12)
    np.testing.assert_allclose(history["loss"], [right], rtol=1e-12)


@pytest.mark.parametrize("which", ["class weights", "both", "sum", "mse of weighted columns"])
def test_compiled_epochs_have_the_same_figure(which):
    loss, formula, targets, end = LOSSES[which]
    run = still(loss, *end)
    right = formula(scores_of(run), targets)
    with loops_as_python():
        history = run.fit(X, targets, epochs=2, batch_size=16, compile=True, seed=0)
    assert history.compiled
    np.testing.assert_allclose(history["loss"], [right, right], rtol=1e-12)


def test_a_loss_of_ones_own_that_is_no_mean_is_evaluated_on_all_rows():
    """The root of a mean is no mean of roots, and a weighted mean no mean of weighted means."""
    run = still(lambda z, y: tg.ops.sqrt(((z - y) ** 2).mean()), 2)
    weighted = still(lambda z, y: tg.losses.softmax_cross_entropy(z, y, weight=WEIGHTS), 3)
    for batch_size in SIZES:
        root = run.evaluate(X, X, batch_size=batch_size)["loss"]
        np.testing.assert_allclose(root, np.sqrt(((scores_of(run) - X) ** 2).mean()), rtol=1e-12)
        mean = weighted.evaluate(X, CLASSES, batch_size=batch_size)["loss"]
        np.testing.assert_allclose(mean, weighted_mean(scores_of(weighted), CLASSES), rtol=1e-12)


def test_the_accuracy_leaves_out_ignored_rows_also_of_an_index_that_is_a_class():
    run = still(nn.SoftmaxCrossEntropy(ignore_index=0), 3)
    counted = CLASSES != 0
    right = (scores_of(run).argmax(axis=1) == CLASSES)[counted].mean()
    history = run.fit(X, CLASSES, epochs=1, batch_size=7, seed=0)
    np.testing.assert_allclose([history["accuracy"][0], run.evaluate(X, CLASSES)["accuracy"]], [right, right])


@pytest.mark.parametrize(
    ("end", "loss", "targets"),
    [
        ((3, nn.Softmax()), nn.CrossEntropy(), CLASSES),
        ((1, nn.Sigmoid()), nn.BCE(), COLUMN),
        ((1, nn.Sigmoid()), lambda p, y: tg.losses.binary_cross_entropy(p, y), COLUMN),
    ],
    ids=["softmax", "sigmoid", "function"],
)
def test_saturated_probabilities_are_evaluated_through_their_logits_in_any_batches(end, loss, targets):
    """Where probabilities round to 0 and 1, the loss of the whole data is finite only if it sees the logits."""
    run = still(loss, *end)
    run.model[-2].W.data *= 4000
    scores = scores_of(run)
    right = picked(scores, targets).mean() if len(scores[0]) > 1 else np.logaddexp(0, scores * (1 - 2 * targets)).mean()
    assert right > 100
    for batch_size in SIZES:
        np.testing.assert_allclose(run.evaluate(X, targets, batch_size=batch_size)["loss"], right, rtol=1e-12)


class Reshaped(nn.Module):
    """A network whose answer is (rows, words, classes), by reshaping what a softmax gave."""

    def __init__(self):
        self.inner = network(6)

    def forward(self, x):
        return nn.Softmax()(self.inner(x).reshape(-1, 3)).reshape(len(x), 2, 3)


def test_the_end_of_the_graph_is_made_again_through_reshapes():
    run = Trainer(model := Reshaped(), nn.CrossEntropy(), optim.SGD(model.parameters()))
    y = np.stack([CLASSES, CLASSES[::-1]], axis=1)
    right = picked(model.inner(X).data.reshape(-1, 3), y.reshape(-1)).mean()
    for batch_size in SIZES:
        np.testing.assert_allclose(run.evaluate(X, y, batch_size=batch_size)["loss"], right, rtol=1e-12)


class TwoHeads(nn.Module):
    """A network with two answers, in a tuple or a dict."""

    def __init__(self, named):
        self.inner, self.other, self.named = network(3), network(1), named

    def forward(self, x):
        answers = self.inner(x), self.other(x)
        return dict(zip("ab", answers, strict=True)) if self.named else answers


@pytest.mark.parametrize("named", [False, True], ids=["tuple", "dict"])
def test_a_model_of_two_answers_is_evaluated(named):
    def loss(answers, y):
        a, b = answers.values() if named else answers
        return tg.losses.softmax_cross_entropy(a, y, weight=WEIGHTS) + (b**2).mean()

    model = TwoHeads(named)
    run = Trainer(model, loss, optim.SGD(model.parameters()))
    right = weighted_mean(model.inner(X).data, CLASSES) + (model.other(X).data ** 2).mean()
    for batch_size in SIZES:
        np.testing.assert_allclose(run.evaluate(X, CLASSES, batch_size=batch_size)["loss"], right, rtol=1e-12)
    assert run.fit(X, CLASSES, epochs=1, validation=(X, CLASSES))["val_loss"][0] < right


@pytest.mark.parametrize("loss", [nn.MSE(reduction="none"), nn.SoftmaxCrossEntropy(reduction="none")], ids=repr)
@pytest.mark.parametrize("batch_size", [1, 8])
def test_a_loss_for_each_row_trains_with_no_batch_size(loss, batch_size):
    with pytest.raises(ValueError, match=r'fit: .*reduction="none".*"mean"'):
        still(loss, 3).fit(X, CLASSES, batch_size=batch_size)


@pytest.mark.parametrize("option", ["weight", "pos_weight"])
def test_weights_of_rows_would_be_shuffled_away_from_their_rows(option):
    run = still(nn.SigmoidBCE(**{option: np.linspace(0, 1, 50)[:, None]}), 1)
    before = run.model.state()
    with pytest.raises(ValueError, match=rf"fit: the loss's {option}= has shape \(50, 1\).*shuffles"):
        run.fit(X, COLUMN, batch_size=50)
    for name, array in run.model.state().items():
        np.testing.assert_array_equal(array, before[name])
    per_row = np.logaddexp(0, -scores_of(run)) if option == "pos_weight" else binary(scores_of(run), COLUMN)
    w = np.linspace(0, 1, 50)[:, None]
    right = (w * per_row * COLUMN + (1 - COLUMN) * binary(scores_of(run), 0)).mean() if option == "pos_weight" else (
        w * per_row
    ).mean()  # fmt: skip
    np.testing.assert_allclose(run.evaluate(X, COLUMN, batch_size=9)["loss"], right, rtol=1e-12)
