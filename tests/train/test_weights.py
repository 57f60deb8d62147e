"""Weights of rows and of classes: a row of weight 3 counts as if it were there three times, in every figure."""

import re
from functools import partial

import numpy as np
import pytest
import sklearn.metrics
import sklearn.utils.class_weight as sklearn_weights
from program.loops_as_python import loops_as_python
from train.test_whole_data_losses import LOSSES, scores_of, still
from train.trainings import COLUMN, X, Y, network, trainer

import tinygrad_ce as tg
from tinygrad_ce import nn, optim
from tinygrad_ce.train import Callback, Trainer

rng = np.random.default_rng(11)
TIMES = rng.integers(0, 4, 50)  # some rows are not there at all
WEIGHTS = rng.random(50) + 0.1
OURS = {name: case for name, case in LOSSES.items() if name != "a mean of one's own"}


class LogSoftmax(nn.Module):
    """Logarithms of probabilities."""

    def forward(self, x):
        return tg.ops.log_softmax(x, axis=-1)


MORE = {
    "kl of labels": (nn.KLDivergence(weight=[1.0, 3.0]), Y, (2, nn.Softmax())),
    "hinge of classes": (nn.Hinge(), Y, (2,)),
    "hinge": (tg.losses.hinge, 2 * COLUMN - 1, (1,)),
    "huber": (nn.Huber(delta=0.3), X, (2,)),
    "log-probabilities": (nn.NLL(ignore_index=1), Y, (2, LogSoftmax())),
    "taking reduction": (
        lambda p, y, reduction="mean": tg.losses.mse(p, y, reduction=reduction), X, (2,),
    ),
}  # fmt: skip
EVERY = {name: (loss, targets, end) for name, (loss, _, targets, end) in OURS.items()} | MORE


# ---- what a weighted mean is


@pytest.mark.filterwarnings("ignore:softmax_cross_entropy. every row has the ignored index")
@pytest.mark.parametrize("batch_size", [1, 7, 50])
@pytest.mark.parametrize("which", OURS)
def test_the_figures_are_those_of_repeated_rows(which, batch_size):
    loss, formula, targets, end = OURS[which]
    run = still(loss, *end)
    right = formula(np.repeat(scores_of(run), TIMES, axis=0), np.repeat(targets, TIMES, axis=0))
    measured = run.evaluate(X, targets, batch_size=batch_size, sample_weight=TIMES)
    np.testing.assert_allclose(measured["loss"], right, rtol=1e-12)
    history = run.fit(
        X, targets, epochs=1, batch_size=batch_size, seed=0, sample_weight=TIMES, validation=(X, targets, TIMES)
    )
    np.testing.assert_allclose([history["loss"][0], history["val_loss"][0]], [right, right], rtol=1e-12)


def fitted(which, repeated=False, **options):
    loss, targets, end = EVERY[which]
    model = network(*end)
    run = Trainer(model, loss, optim.Adam(model.parameters(), lr=0.05))
    if repeated:
        data, options = (np.repeat(X, TIMES, axis=0), np.repeat(targets, TIMES, axis=0)), options | {"batch_size": 500}
    else:
        data, options = (X, targets), {"sample_weight": TIMES, "batch_size": 50} | options
    return run, run.fit(*data, epochs=3, seed=0, **options)


@pytest.mark.parametrize("way", ["eager", "compiled"])
@pytest.mark.parametrize("which", EVERY)
def test_training_is_that_of_repeated_rows(which, way):
    (expected, history), compile = fitted(which, repeated=True, compile=False), way == "compiled"
    with loops_as_python():
        run, ours = fitted(which, compile=compile)
    assert ours.compiled is compile
    assert ours.columns.keys() == history.columns.keys()
    for name, values in history.columns.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-9)
    for mine, theirs in zip(run.model.parameters(), expected.model.parameters(), strict=True):
        np.testing.assert_allclose(mine.data, theirs.data, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_weights_far_from_one_overflow_nothing(dtype):
    model = network().astype(dtype)
    run = Trainer(model, nn.SoftmaxCrossEntropy(), optim.SGD(model.parameters(), lr=1e-3))
    alike = run.evaluate(X, Y)["loss"]
    history = run.fit(X, Y, epochs=1, batch_size=50, sample_weight=np.full(50, 5000.0))
    np.testing.assert_allclose(history["loss"][0], alike, rtol=2 * np.finfo(dtype).eps)
    assert {p.dtype for p in model.parameters()} == {np.dtype(dtype)}


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("which", ["class weights", "ignored", "pos_weight", "mse", "taking reduction"])
def test_compiled_epochs_weigh_as_the_loop_does(which, compile):
    loss, targets, end = EVERY[which]
    learnt = []
    for way in (False, compile):
        model = network(*end, dropout=0.3)
        run = Trainer(model, loss, optim.Adam(model.parameters(), lr=0.05))
        with loops_as_python():
            history = run.fit(X, targets, epochs=3, batch_size=16, seed=1, sample_weight=WEIGHTS, compile=way)
        learnt.append((model.state(), history.columns))
    (state, columns), (other, others) = learnt
    for name, array in state.items():
        np.testing.assert_allclose(other[name], array, rtol=1e-9)
    for name, values in columns.items():
        np.testing.assert_allclose(others[name], values, rtol=1e-9)


def test_the_figures_are_scikit_learns():
    run = trainer()
    run.fit(X, Y, epochs=3, seed=0)
    measured = run.evaluate(X, Y, sample_weight=WEIGHTS, batch_size=7)
    accuracy = sklearn.metrics.accuracy_score(Y, run.predict(X), sample_weight=WEIGHTS)
    log_loss = sklearn.metrics.log_loss(Y, run.predict_proba(X), sample_weight=WEIGHTS)
    np.testing.assert_allclose([measured["accuracy"], measured["loss"]], [accuracy, log_loss], rtol=1e-12)


def test_a_batch_of_ignored_labels_alone_has_loss_0():
    with pytest.warns(UserWarning, match="every row has the ignored index"):
        history = trainer(nn.SoftmaxCrossEntropy(ignore_index=-1)).fit(
            X, np.full(50, -1), epochs=1, sample_weight=WEIGHTS
        )
    assert history["loss"] == [0.0]


# ---- which weight is whose


def test_weights_are_shuffled_with_their_rows():
    seen = []

    class See(Callback):
        def before_batch(self, loop):
            seen.append((loop.rows[:, 0], loop.targets[:, 0], loop.weights))

    model = network(1)
    run = Trainer(model, nn.MSE(), optim.SGD(model.parameters(), lr=1e-9))
    run.fit(X, X[:, :1], epochs=2, batch_size=16, sample_weight=X[:, 0] + 10, callbacks=See())
    assert [len(weights) for _, _, weights in seen] == [16, 16, 16, 2] * 2
    for rows, targets, weights in seen:
        np.testing.assert_array_equal(rows, targets)
        np.testing.assert_array_equal(rows + 10, weights)


@pytest.mark.parametrize("compile", [False, True])
def test_rows_of_weight_0_are_in_no_batch(compile):
    """Bit for bit as without them, whatever they hold."""
    spoilt = np.where((TIMES == 0)[:, None], np.nan, X)
    ours, expected = trainer(dropout=0.2), trainer(dropout=0.2)
    options = {"epochs": 2, "batch_size": 8, "seed": 3, "compile": compile}
    with loops_as_python():
        ours.fit(spoilt, Y, sample_weight=TIMES, validation=(spoilt, Y, TIMES), **options)
        expected.fit(X[TIMES > 0], Y[TIMES > 0], sample_weight=TIMES[TIMES > 0], **options)
    for mine, theirs in zip(ours.model.parameters(), expected.model.parameters(), strict=True):
        np.testing.assert_array_equal(mine.data, theirs.data)
    assert np.isfinite(ours.history["val_loss"]).all()
    assert np.isfinite(ours.evaluate(spoilt, Y, sample_weight=TIMES)["loss"])


def test_weights_come_in_many_forms():
    expected = trainer().fit(X, Y, epochs=1, seed=0, sample_weight=WEIGHTS)["loss"]
    for form in (list(WEIGHTS), tg.Tensor(WEIGHTS), WEIGHTS * 2.0**40):  # only their ratios count
        np.testing.assert_allclose(trainer().fit(X, Y, epochs=1, seed=0, sample_weight=form)["loss"], expected)
    assert trainer().fit(X, Y, epochs=1, seed=0, sample_weight=np.ones(50, bool))["loss"] == pytest.approx(
        trainer().fit(X, Y, epochs=1, seed=0)["loss"], rel=1e-12
    )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (WEIGHTS[:5], r"sample_weight has shape \(5,\), and X has 50 rows"),
        (WEIGHTS[:, None], r"has shape \(50, 1\).*sample_weight\.ravel\(\)"),
        (1.0, "sample_weight is a float; it must be an array"),
        (-WEIGHTS, r"must not be negative, NaN or infinite, and that of row 0 is -"),
        (np.where(np.arange(50) == 7, np.nan, 1), "row 7 is nan"),
        (np.where(np.arange(50) == 7, np.inf, 1), "row 7 is inf"),
        (np.zeros(50), "weights of all rows are 0"),
        (np.array(["a"] * 50), "sample_weight must hold real numbers"),
    ],
    ids=["short", "column", "number", "negative", "nan", "infinite", "zeros", "text"],
)
def test_weights_that_are_none_are_refused(weights, message):
    run = trainer()
    for where, call in (
        ("fit", lambda: run.fit(X, Y, sample_weight=weights)),
        ("evaluate", lambda: run.evaluate(X, Y, sample_weight=weights)),
        ("fit: validation", lambda: run.fit(X, Y, validation=(X, Y, weights))),
    ):
        with pytest.raises((ValueError, TypeError), match=rf"^{where}: .*{message}") as caught:
            call()
        assert "\n" not in str(caught.value)
    assert run.optimizer.steps == 0


def test_a_loss_of_ones_own_is_told_how_to_be_weighed():
    words = re.escape('let it take reduction, def loss(p, y, reduction="mean")')
    run = trainer(lambda p, y: tg.losses.softmax_cross_entropy(p, y))
    for call in (run.fit, run.evaluate):
        with pytest.raises(ValueError, match=words):
            call(X, Y, sample_weight=WEIGHTS)

    class Own(nn.Module):
        def forward(self, p, y, reduction="mean"):
            return tg.losses.softmax_cross_entropy(p, y, reduction=reduction)

    expected = trainer().fit(X, Y, epochs=1, seed=0, sample_weight=WEIGHTS)["loss"]
    for loss in (Own(), partial(tg.losses.softmax_cross_entropy, reduction="mean")):
        assert trainer(loss).fit(X, Y, epochs=1, seed=0, sample_weight=WEIGHTS)["loss"] == expected

    def total(p, y, reduction="mean"):
        return tg.losses.softmax_cross_entropy(p, y)

    with pytest.raises(ValueError, match=r'reduction="none" the loss has shape \(\)'):
        trainer(total).fit(X, Y, sample_weight=WEIGHTS)


# ---- weights of classes

NAMED = tg.data.Dataset(
    X, (TIMES % 3).astype(np.int64), ("a", "b"), ("red", "green", "blue"), "colours", np.ones(2, bool)
)


class SeeWeights(Callback):
    """Collects targets and weights."""

    def __init__(self):
        self.pairs = []

    def before_batch(self, loop):
        labels = loop.targets.argmax(axis=1) if loop.targets.ndim == 2 and loop.targets.shape[1] > 1 else loop.targets
        self.pairs += zip(labels.reshape(-1).tolist(), loop.weights.tolist(), strict=True)


def weights_by_class(*data, loss=None, n_out=2, **options):
    see = SeeWeights()
    trainer(loss, n_out).fit(*data, epochs=1, callbacks=see, **options)
    return see.pairs


@pytest.mark.parametrize(
    ("data", "loss", "n_out"),
    [
        ((X, Y), None, 2),
        ((X, np.eye(2)[Y]), None, 2),
        ((X, Y), nn.SigmoidBCE(), 1),
        ((X, COLUMN), nn.SigmoidBCE(), 1),
        ((NAMED,), None, 3),
    ],
    ids=["labels", "one-hot", "binary", "column", "dataset"],
)
@pytest.mark.parametrize("class_weight", ["balanced", {0: 3.0, 1: 0.5}])
def test_class_weights_are_scikit_learns(data, loss, n_out, class_weight):
    labels = data[0].y if len(data) == 1 else Y
    each = sklearn_weights.compute_sample_weight(class_weight, labels)
    expected = sorted(zip(labels.tolist(), each.tolist(), strict=True))
    found = sorted(weights_by_class(*data, loss=loss, n_out=n_out, class_weight=class_weight))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_class_weights_multiply_sample_weights():
    ours, expected = trainer(), trainer()
    ours.fit(X, Y, epochs=1, seed=0, class_weight={1: 3.0}, sample_weight=WEIGHTS)
    expected.fit(X, Y, epochs=1, seed=0, sample_weight=WEIGHTS * np.where(Y == 1, 3.0, 1.0))
    assert ours.history.columns == expected.history.columns


def test_classes_are_called_by_their_names():
    pairs = {*weights_by_class(NAMED, n_out=3, class_weight={"red": 2.0, 2: 0.0})}
    assert pairs == {(0, 2.0), (1, 1.0)}  # blue rows, of weight 0, are left out


def test_ignored_labels_are_no_class():
    labels = np.where(np.arange(50) < 10, -1, Y)
    pairs = weights_by_class(X, labels, loss=nn.SoftmaxCrossEntropy(ignore_index=-1), class_weight="balanced")
    balanced = sklearn_weights.compute_class_weight("balanced", classes=np.array([0, 1]), y=labels[labels >= 0])
    assert {*pairs} == {(-1, 1.0), (0, balanced[0]), (1, balanced[1])}


@pytest.mark.parametrize(
    ("data", "loss", "class_weight", "message"),
    [
        ((X, X), nn.MSE(), "balanced", "these targets are numbers.*sample_weight="),
        ((X, Y), None, "even", r'class_weight=\'even\' must be "balanced" or a dict'),
        ((X, Y), None, [1, 2], r"class_weight=\[1, 2\] must be"),
        ((X, Y), None, {2: 1.0}, "has the class 2, which is none; the classes are 0 to 1"),
        ((X, Y), None, {"red": 1.0}, "has the class 'red', which is none; the classes are 0 to 1"),
        ((NAMED,), None, {"gren": 1.0}, "'gren', which is none; did you mean 'green'.*'red', 'green', 'blue'"),
        ((NAMED,), None, {3: 1.0}, "has the class 3, which is none"),
        ((X, Y), None, {1: -1.0}, "class_weight of 1 is -1.0; it must be a number that is not negative"),
        ((X, Y), None, {1: "much"}, "class_weight of 1 is 'much'"),
        ((X, Y), None, {0: 0, 1: 0}, "weights of all rows are 0"),
        ((X, np.eye(2)[Y]), nn.SigmoidBCE(), "balanced", r"shape \(50, 2\) .* do not give each row one class"),
        ((X, np.full((50, 2), 0.5)), None, "balanced", "do not give each row one class"),
        ((X, COLUMN * 0.9), nn.SigmoidBCE(), "balanced", "do not give each row one class"),
    ],
    ids=lambda value: "" if isinstance(value, tuple) else str(value)[:25],
)
def test_class_weights_that_do_not_fit_are_refused(data, loss, class_weight, message):
    run = trainer(loss, 3 if data[0] is NAMED else 2)
    with pytest.raises((ValueError, TypeError), match=rf"^fit: .*{message}") as caught:
        run.fit(*data, class_weight=class_weight)
    assert "\n" not in str(caught.value)
    assert run.optimizer.steps == 0
