"""The Trainer against the loop written by hand, and everything that ends, measures or pictures a training."""

import math
import os
import signal
import threading
import warnings

import numpy as np
import pytest
import sklearn.metrics

import tinygrad_ce as tg
from tinygrad_ce import nn, optim
from tinygrad_ce.train import History, NotFiniteError, Trainer

rng = np.random.default_rng(4)
X = rng.normal(size=(50, 2))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
COLUMN = Y[:, None].astype(float)


def network(n_out=2, *end, dropout=0.0):
    tg.seed(0)
    middle = [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(nn.Dense(2, 8), nn.Tanh(), *middle, nn.Dense(8, n_out), *end)


def trainer(loss=None, n_out=2, *end, lr=0.1, make=optim.SGD, dropout=0.0):
    model = network(n_out, *end, dropout=dropout)
    return Trainer(model, loss or nn.SoftmaxCrossEntropy(), make(model.parameters(), lr=lr))


LOSSES = {
    "softmax-cross-entropy": (nn.SoftmaxCrossEntropy(), Y, (2,)),
    "cross-entropy": (nn.CrossEntropy(), Y, (2, nn.Softmax())),
    "one-hot": (nn.SoftmaxCrossEntropy(), np.eye(2)[Y], (2,)),
    "sigmoid-bce": (nn.SigmoidBCE(), COLUMN, (1,)),
    "bce": (nn.BCE(), COLUMN, (1, nn.Sigmoid())),
    "function": (tg.losses.softmax_cross_entropy, Y, (2,)),
    "binary function": (tg.losses.sigmoid_binary_cross_entropy, COLUMN, (1,)),
    "mse of one-hot": (nn.MSE(), np.eye(2)[Y], (2,)),
}
every_loss = pytest.mark.parametrize("which", LOSSES)


def made(which, **options):
    loss, targets, end = LOSSES[which]
    return trainer(loss, *end, **options), targets


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
        run, targets = made(which, dropout=0.3)
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
    assert run.probabilities(X).dtype == np.float32


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


# ---- validation, early stopping, callbacks, history


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


def test_pictures_are_written(tmp_path):
    run = trainer()
    history = run.fit(X, Y, epochs=2, validation=(X, Y))
    axes = history.plot(tmp_path / "history.png").axes
    assert [a.get_title() for a in axes] == ["loss", "accuracy"]
    np.testing.assert_array_equal(axes[0].lines[0].get_ydata(), history["loss"])
    np.testing.assert_array_equal(axes[0].lines[1].get_ydata(), history["val_loss"])
    run.plot_boundary(X, Y, path=tmp_path / "boundary.png")
    run.plot_confusion(X, Y, path=tmp_path / "confusion.png")
    for name in ("history", "boundary", "confusion"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_an_empty_history_has_nothing_to_plot():
    with pytest.raises(ValueError, match="empty"):
        History().plot()


@pytest.mark.parametrize("names", [("no", "yes"), ["no", "yes"], np.array(["no", "yes"])], ids=type)
def test_pictures_take_class_names(names):
    run = trainer()
    labels = [label.get_text() for label in run.plot_confusion(X, Y, names).axes[0].get_xticklabels()]
    assert labels == ["no", "yes"]
    (legend,) = run.plot_boundary(X, Y, names).legends
    assert [text.get_text() for text in legend.get_texts()] == ["no", "yes"]


def test_too_few_class_names_are_refused():
    for plot in (trainer().plot_confusion, trainer().plot_boundary):
        with pytest.raises(ValueError, match="class_names"):
            plot(X, Y, ["only one"])


def test_a_boundary_needs_two_features_a_label_for_each_row_and_classes():
    run = trainer()
    with pytest.raises(ValueError, match="2 features"):
        run.plot_boundary(np.zeros((5, 3)), np.zeros(5, int))
    with pytest.raises(ValueError, match=r"rows|shape"):
        run.plot_boundary(X, Y[:5])
    with pytest.raises(ValueError, match="classes"):
        trainer(nn.MSE(), 1).plot_boundary(X, X[:, 0])


@pytest.mark.parametrize("which", ["cross-entropy", "sigmoid-bce", "bce"])
def test_boundaries_of_every_classifier(which):
    run, _ = made(which)
    assert run.plot_boundary(X, Y).axes


# ---- measuring


def scores_of(run):
    return run.model.eval()(X).data


@every_loss
def test_predict_and_probabilities(which):
    run, targets = made(which)
    run.fit(X, targets, epochs=3, seed=0)
    scores = scores_of(run)
    if which == "mse of one-hot":
        np.testing.assert_array_equal(run.predict(X), scores.argmax(axis=1))
        return
    p = run.probabilities(X)
    assert p.shape == (50, 2)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    if scores.shape[1] == 1:
        positive = 1 / (1 + np.exp(-scores)) if "sig" in which or "binary" in which else scores
        expected = np.concatenate([1 - positive, positive], axis=1)
    elif which == "cross-entropy":
        expected = scores
    else:
        expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(p, expected, rtol=1e-12)
    answers = run.predict(X)
    assert answers.dtype.kind == "i"
    np.testing.assert_array_equal(answers, expected.argmax(axis=1))
    np.testing.assert_array_equal(run.predict(X, batch_size=7), answers)


def test_a_regression_predicts_its_numbers():
    run = trainer(nn.MSE(), 1)
    run.fit(X, X[:, :1], epochs=1)
    np.testing.assert_allclose(run.predict(X), scores_of(run), rtol=1e-13)


@every_loss
def test_evaluate_measures_loss_and_accuracy(which):
    run, targets = made(which)
    run.fit(X, targets, epochs=5, seed=0)
    figures = run.evaluate(X, targets)
    np.testing.assert_allclose(figures["loss"], run.loss(run.model.eval()(X), targets).item(), rtol=1e-12)
    np.testing.assert_allclose(figures["accuracy"], sklearn.metrics.accuracy_score(Y, run.predict(X)))
    for batch_size in (1, 7):
        again = run.evaluate(X, targets, batch_size=batch_size)
        np.testing.assert_allclose(list(again.values()), list(figures.values()), rtol=1e-12)


@every_loss
def test_the_confusion_matrix_is_scikit_learns(which):
    run, targets = made(which)
    run.fit(X, targets, epochs=5, seed=0)
    ours = run.confusion_matrix(X, targets)
    np.testing.assert_array_equal(ours, sklearn.metrics.confusion_matrix(Y, run.predict(X), labels=[0, 1]))


def test_a_confusion_matrix_of_three_classes():
    x = rng.normal(size=(60, 2))
    y = rng.integers(0, 3, 60)
    run = trainer(n_out=3)
    expected = sklearn.metrics.confusion_matrix(y, run.predict(x), labels=[0, 1, 2])
    np.testing.assert_array_equal(run.confusion_matrix(x, y), expected)


@pytest.mark.parametrize("wrong", [Y + 5, Y - 1, Y[:5]])
def test_labels_that_are_no_classes_have_no_place_in_a_confusion_matrix(wrong):
    with pytest.raises(ValueError, match=r"class|rows|shape|\(N,\)"):
        trainer().confusion_matrix(X, wrong)


def test_a_regression_has_no_confusion_matrix():
    with pytest.raises(ValueError, match="classes"):
        trainer(nn.MSE(), 1).confusion_matrix(X, Y)


def test_ignored_rows_count_in_no_figure():
    run = trainer(nn.SoftmaxCrossEntropy(ignore_index=-1))
    partly = np.where(np.arange(50) % 5 == 4, Y, -1)
    counted = partly >= 0
    right = {"loss": run.evaluate(X[counted], Y[counted])["loss"], "accuracy": (run.predict(X) == Y)[counted].mean()}
    for batch_size in (50, 7):
        figures = run.evaluate(X, partly, batch_size=batch_size)
        np.testing.assert_allclose([figures[name] for name in right], list(right.values()), rtol=1e-12)
    np.testing.assert_array_equal(
        run.confusion_matrix(X, partly), sklearn.metrics.confusion_matrix(Y[counted], run.predict(X[counted]))
    )


def test_measuring_leaves_each_module_in_its_mode():
    run = trainer(dropout=0.5)
    run.model[2].training = False
    modes = [module.training for module in run.model.modules()]
    run.predict(X)
    run.evaluate(X, Y)
    run.probabilities(X)
    run.confusion_matrix(X, Y)
    with pytest.raises(ValueError, match="inner sizes"):
        run.predict(np.zeros((3, 5)))
    assert [module.training for module in run.model.modules()] == modes
    run.fit(X, Y, epochs=1, validation=(X, Y))
    assert all(module.training for module in run.model.modules())


def test_evaluation_drops_nothing():
    run = trainer(dropout=0.9)
    np.testing.assert_array_equal(run.probabilities(X), run.probabilities(X))
    assert run.evaluate(X, Y) == run.evaluate(X, Y)


def test_measuring_leaves_gradients_alone():
    run = trainer()
    run.fit(X, Y, epochs=1)
    before = [p.grad.copy() for p in run.model.parameters()]
    run.evaluate(X, Y)
    run.predict(X)
    for p, g in zip(run.model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.grad, g)


# ---- Ctrl-C


def interrupting(epoch):
    def callback(_, row):
        if row["epoch"] == epoch:
            os.kill(os.getpid(), signal.SIGINT)

    return callback


def test_ctrl_c_ends_training_and_keeps_what_was_learnt():
    before = signal.getsignal(signal.SIGINT)
    run, states = trainer(), []
    history = run.fit(
        X, Y, epochs=50, batch_size=10, seed=0,
        callbacks=[lambda t, row: states.append(t.model.state()), interrupting(3)],
    )  # fmt: skip
    assert signal.getsignal(signal.SIGINT) is before
    assert history.stopped == "interrupted"
    assert 3 <= len(history) < 50
    start = network().state()
    for name, array in run.model.state().items():
        assert np.isfinite(array).all()
        assert (array != start[name]).any()


def test_ctrl_c_within_an_epoch_ends_it_after_the_batch():
    calls = []

    def loss(predictions, targets):
        calls.append(len(targets))
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return tg.losses.softmax_cross_entropy(predictions, targets)

    history = trainer(loss).fit(X, Y, epochs=5, batch_size=10)
    assert calls == [10, 10]
    assert history.stopped == "interrupted"


def test_ctrl_c_keeps_the_last_parameters_not_the_best():
    run = trainer(lr=0.5)
    history = run.fit(X, Y, epochs=60, seed=0, validation=(X, 1 - Y), patience=50, callbacks=interrupting(6))
    assert history.stopped == "interrupted"
    assert run.evaluate(X, 1 - Y)["loss"] > min(history["val_loss"])


def test_a_second_ctrl_c_is_not_held_back():
    def twice(*_):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer().fit(X, Y, epochs=3, callbacks=twice)
    assert signal.getsignal(signal.SIGINT) is before


def test_training_works_in_another_thread():
    answers = []
    thread = threading.Thread(target=lambda: answers.append(trainer().fit(X, Y, epochs=2, seed=0)["loss"]))
    thread.start()
    thread.join()
    assert answers == [trainer().fit(X, Y, epochs=2, seed=0)["loss"]]


# ---- a loss that is not finite


def test_a_nan_in_the_data_names_epoch_batch_and_operation():
    x = X.copy()
    x[:] = np.nan
    run = trainer()
    before = run.model.state()
    with pytest.raises(NotFiniteError, match=r"loss is nan in epoch 1, batch 1.*affine.*layers\.0\.W"):
        run.fit(x, Y, epochs=2, batch_size=10)
    for name, array in run.model.state().items():
        np.testing.assert_array_equal(array, before[name])


def test_the_first_operation_is_named_not_the_last():
    def loss(predictions, targets):
        return (tg.ops.log(predictions - 1e6) * 2).mean()

    with np.errstate(invalid="ignore"), pytest.raises(NotFiniteError, match=r"the first is #\d+ = log\(#\d+\)"):
        trainer(loss).fit(X, Y)


def test_a_run_that_diverges_names_the_epoch_and_the_batch():
    run = trainer(nn.MSE(), 1, lr=1e6)
    with np.errstate(all="ignore"), pytest.raises(NotFiniteError, match=r"epoch \d+, batch \d+"):
        run.fit(X * 1e3, X[:, :1], epochs=200, batch_size=10)


def test_a_gradient_that_is_not_finite_does_not_reach_the_parameters():
    def loss(predictions, targets):
        return tg.ops.sqrt(predictions * 0).sum()  # 0, with an infinite slope

    run = trainer(loss)
    with np.errstate(all="ignore"), pytest.raises(NotFiniteError):
        run.fit(X, Y, epochs=1)
    assert all(np.isfinite(p.data).all() for p in run.model.parameters())


# ---- bad arguments


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"epochs": 0}, "epochs"),
        ({"epochs": -1}, "epochs"),
        ({"epochs": 1.5}, "epochs"),
        ({"epochs": True}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"patience": 0}, "patience"),
        ({"patience": "soon"}, "patience"),
        ({"clip_norm": 0}, "clip_norm"),
        ({"clip_norm": "small"}, "clip_norm"),
        ({"validation": (X,)}, "validation"),
        ({"validation": X}, "validation"),
        ({"validation": (X[:0], Y[:0])}, "rows"),
        ({"validation": (X, Y[:5])}, "rows"),
        ({"callbacks": 3}, "callbacks"),
        ({"callbacks": [3]}, "callbacks"),
        ({"seed": "a"}, "seed"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, dict) else "",
)
def test_bad_options_are_refused_by_name_before_anything_is_learnt(options, name):
    run = trainer()
    before = run.model.state()
    with pytest.raises((ValueError, TypeError), match=name):
        run.fit(X, Y, **options)
    for path, array in run.model.state().items():
        np.testing.assert_array_equal(array, before[path])


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X, Y[:5], r"50 rows .*\(5,\)"),
        (X[:0], Y[:0], "no rows"),
        (X, None, "target"),
        (None, Y, "rows"),
        (X, Y + 2, "there are 2 classes"),
        (X, Y.astype(float), r"astype\(int\)"),
        (X, Y[:, None], "ravel"),
        (np.zeros((50, 3)), Y, r"inner sizes 3 and 2.*layers\.0\.W"),
        (X.astype(str), Y, "X|numbers"),
        (X + 1j, Y, "X|numbers"),
    ],
    ids=["rows", "empty", "no y", "no X", "labels", "floats", "column", "features", "text", "complex"],
)
def test_bad_data_say_what_is_wrong(x, y, message):
    with pytest.raises((ValueError, TypeError), match=message):
        trainer().fit(x, y, epochs=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, nn.MSE(), None), "model"),
        ((nn.Dense(2, 2), 3, None), "loss"),
        ((nn.Dense(2, 2), nn.MSE(), 0.1), "optimizer"),
    ],
    ids=["model", "loss", "optimizer"],
)
def test_a_trainer_checks_what_it_is_made_of(arguments, message):
    with pytest.raises(TypeError, match=f"Trainer: {message}"):
        Trainer(*arguments)


def test_an_optimizer_of_another_model_is_refused():
    with pytest.raises(ValueError, match="no parameter of this model"):
        Trainer(nn.Dense(2, 2), nn.MSE(), optim.SGD(nn.Dense(2, 2).parameters()))


def test_a_loss_for_each_row_is_no_loss_to_train_with():
    with pytest.raises(ValueError, match='reduction="mean"'):
        trainer(nn.SoftmaxCrossEntropy(reduction="none")).fit(X, Y)


@pytest.mark.parametrize("answer", [3.0, None, np.zeros(())], ids=str)
def test_a_loss_that_answers_with_no_tensor_is_told(answer):
    with pytest.raises(TypeError, match="loss"):
        trainer(lambda predictions, targets: answer).fit(X, Y)


def test_the_progress_bar_shows_the_figures(capsys):
    trainer().fit(X, Y, epochs=2, progress=True)
    out = capsys.readouterr().out
    assert "2/2" in out
    assert "loss" in out


def test_without_progress_nothing_is_printed(capsys):
    trainer().fit(X, Y, epochs=2)
    assert capsys.readouterr().out == ""


def test_long_names_and_dollars_stay_labels():
    names = ["a rather long name of a class, the first", "$\\frac$ price in $"]
    legend = trainer().plot_boundary(X, Y, names).legends[0]
    first, second = (text.get_text() for text in legend.get_texts())
    assert len(first) <= 22
    assert (first[:8], first[-5:]) == ("a rather", "first")
    assert second.count(r"\$") == second.count("$") == 3


def test_a_last_step_that_diverges_is_seen():
    model = nn.Dense(2, 1)
    run = Trainer(model, nn.MSE(), optim.SGD(model.parameters(), lr=1e308))
    with np.errstate(all="ignore"), pytest.raises(NotFiniteError, match="is no longer finite at the end of epoch 1"):
        run.fit(X * 1e3, X[:, :1], epochs=1, batch_size=50)


def test_a_boundary_refuses_labels_that_are_no_classes():
    with pytest.raises(ValueError, match="class indices"):
        trainer().plot_boundary(X, Y + 7)


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
