"""What a trained model is measured and pictured by: metrics against scikit-learn, confusion matrix, boundaries."""

from itertools import pairwise

import numpy as np
import pytest
import sklearn.metrics
from matplotlib.backends.backend_agg import FigureCanvasAgg
from train.trainings import X, Y, every_loss, trainer, trainer_and_targets

from tinygrad_ce import nn
from tinygrad_ce.losses import softmax_cross_entropy
from tinygrad_ce.train import History
from tinygrad_ce.train.metrics import RunningMetrics
from tinygrad_ce.views import plots

# ---- metrics


def scores_of(run):
    return run.model.eval()(X).data


@every_loss
def test_predict_and_predict_proba(which):
    run, targets = trainer_and_targets(which)
    run.fit(X, targets, epochs=3, seed=0)
    scores = scores_of(run)
    if which == "mse of one-hot":
        np.testing.assert_array_equal(run.predict(X), scores.argmax(axis=1))
        return
    p = run.predict_proba(X)
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
    run, targets = trainer_and_targets(which)
    run.fit(X, targets, epochs=5, seed=0)
    figures = run.evaluate(X, targets)
    np.testing.assert_allclose(figures["loss"], run.loss(run.model.eval()(X), targets).item(), rtol=1e-12)
    np.testing.assert_allclose(figures["accuracy"], sklearn.metrics.accuracy_score(Y, run.predict(X)))
    for batch_size in (1, 7):
        again = run.evaluate(X, targets, batch_size=batch_size)
        np.testing.assert_allclose(list(again.values()), list(figures.values()), rtol=1e-12)


@every_loss
def test_the_confusion_matrix_is_scikit_learns(which):
    run, targets = trainer_and_targets(which)
    run.fit(X, targets, epochs=5, seed=0)
    ours = run.confusion_matrix(X, targets)
    np.testing.assert_array_equal(ours, sklearn.metrics.confusion_matrix(Y, run.predict(X), labels=[0, 1]))


def test_a_confusion_matrix_of_three_classes():
    rng = np.random.default_rng(5)
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


@every_loss
def test_a_row_of_nan_is_not_right(which):
    run, targets = trainer_and_targets(which)
    run.fit(X, targets, epochs=1, seed=0)
    rows = X.copy()
    rows[::2] = np.nan
    measured, odd = run.evaluate(rows, targets), run.evaluate(X[1::2], targets[1::2])
    assert np.isnan(measured["loss"])
    assert measured["accuracy"] == odd["accuracy"] / 2


def test_class_names_are_a_list_of_names():
    for wrong in ("ab", 2):
        with pytest.raises(TypeError, match=r"^class_names=.* must be a list of 2 names, as"):
            trainer().report(X, Y, class_names=wrong)


def test_a_size_of_batches_that_is_none_is_refused_by_whom_it_was_given():
    with pytest.raises(ValueError, match=r"^predict: batch_size is 0; it must be at least 1"):
        trainer().predict(X, batch_size=0)


def test_measuring_leaves_each_module_in_its_mode():
    run = trainer(dropout=0.5)
    run.model[2].training = False
    modes = [module.training for module in run.model.modules()]
    run.predict(X)
    run.evaluate(X, Y)
    run.predict_proba(X)
    run.confusion_matrix(X, Y)
    with pytest.raises(ValueError, match="inner sizes"):
        run.predict(np.zeros((3, 5)))
    assert [module.training for module in run.model.modules()] == modes
    run.fit(X, Y, epochs=1, validation=(X, Y))
    assert all(module.training for module in run.model.modules())


def test_evaluation_drops_nothing():
    run = trainer(dropout=0.9)
    np.testing.assert_array_equal(run.predict_proba(X), run.predict_proba(X))
    assert run.evaluate(X, Y) == run.evaluate(X, Y)


def test_measuring_leaves_gradients_alone():
    run = trainer()
    run.fit(X, Y, epochs=1)
    before = [p.grad.copy() for p in run.model.parameters()]
    run.evaluate(X, Y)
    run.predict(X)
    for p, g in zip(run.model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.grad, g)


# ---- pictures


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
    run, _ = trainer_and_targets(which)
    assert run.plot_boundary(X, Y).axes


@pytest.mark.parametrize(("stretch", "aspect"), [(1.0, 1.0), (1000.0, "auto")])
def test_a_boundary_has_one_scale_where_its_features_are_alike_and_a_marker_for_each_class(stretch, aspect):
    points = np.random.default_rng(0).random((40, 2)) * [1.0, stretch]
    labels = np.arange(40) % 9
    axes = plots.boundary_figure(lambda x: np.full((len(x), 9), 1 / 9), points, labels, range(9)).axes[0]
    assert axes.get_aspect() == aspect
    looks = [(dots.get_paths()[0].vertices.tobytes(), dots.get_facecolor().tobytes()) for dots in axes.collections]
    assert len(set(looks)) == 9
    assert len({shape for shape, _ in looks}) == 7


def test_the_shares_of_a_confusion_matrix_have_a_scale():
    cells, scale = plots.confusion_figure(np.array([[3, 1], [0, 4]]), ["a", "b"]).axes
    assert scale.get_ylabel() == "share of the true class"
    assert cells.images[0].get_clim() == (0, 1)


def test_long_names_and_dollars_stay_labels():
    names = ["a rather long name of a class, the first", "$\\frac$ price in $"]
    legend = trainer().plot_boundary(X, Y, names).legends[0]
    first, second = (text.get_text() for text in legend.get_texts())
    assert len(first) <= 22
    assert (first[:8], first[-5:]) == ("a rather", "first")
    assert second.count(r"\$") == second.count("$") == 3


def inside_its_figure(figure, text):
    area = text.get_window_extent()
    return figure.bbox.x0 <= area.x0 and area.x1 <= figure.bbox.x1


@pytest.mark.parametrize("longest", [1, 22])
def test_the_title_over_few_confusion_cells_is_whole(longest):
    figure = plots.confusion_figure(np.eye(3, dtype=int), ["m" * longest, "m" * longest, "b"])
    FigureCanvasAgg(figure).draw()
    titles = [figure._suptitle, figure.axes[0].title] if figure._suptitle else [figure.axes[0].title]
    assert [title.get_text() for title in titles if title.get_text()] == ["confusion matrix"]
    assert all(inside_its_figure(figure, title) for title in titles)


def test_the_numbers_under_residuals_stand_apart():
    true = np.linspace(8e4, 6.6e5, 20)[:, None]
    figure = plots.residuals_figure(true, true / 1e4, ["price"])
    FigureCanvasAgg(figure).draw()
    for axes in figure.axes:
        areas = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
        shown = [area for area in areas if axes.bbox.x0 <= (area.x0 + area.x1) / 2 <= axes.bbox.x1]
        assert all(left.x1 < right.x0 for left, right in pairwise(shown))


def test_a_boundary_refuses_labels_that_are_no_classes():
    with pytest.raises(ValueError, match="class indices"):
        trainer().plot_boundary(X, Y + 7)


def test_the_mean_loss_has_the_same_bits_however_an_epoch_is_cut():
    """The clock cuts a compiled epoch into portions; a plateau schedule and early stopping compare the last bits."""
    rng = np.random.default_rng(0)
    losses, scores, targets = rng.random(40), rng.normal(size=(40, 3, 2)), rng.integers(0, 2, (40, 3))
    found = []
    for portion in (1, 7, 25, 40):
        metrics = RunningMetrics("classes", softmax_cross_entropy)
        for k in range(0, 40, portion):
            part = slice(k, k + portion)
            metrics.add_many(losses[part], scores[part], targets[part])
        found.append(metrics.figures()["loss"])
    assert len({*found}) == 1
