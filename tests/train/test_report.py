"""trainer.report beside scikit-learn's own figures, and what is left out of it, with a word."""

import re
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.special
import sklearn.calibration
import sklearn.metrics as metrics
from train.trainings import COLUMN, X, Y, network, trainer

import tinygrad_ce as tg
from tinygrad_ce import nn, optim
from tinygrad_ce.train import Trainer
from tinygrad_ce.train.report import reliability_table

THREE = np.where(X[:, 0] > 0.7, 2, Y)
LABELS = np.stack([Y, X[:, 0] > 0, X[:, 1] > 0], axis=1).astype(float)
WEIGHTS = np.linspace(0.5, 3.0, 50)
NAMES = ["cold", "mild", "hot"]


def fitted(loss, n_out, targets, *end, **options):
    run = trainer(loss, n_out, *end, **options)
    run.fit(X, targets, epochs=8, seed=0)
    return run


class Turned(nn.Module):
    """(N, 6) to (N, 3, 2): two answers a row, the classes along axis 1."""

    def forward(self, x):
        return x.reshape(-1, 3, 2)


@pytest.fixture(scope="module")
def three():
    return fitted(nn.SoftmaxCrossEntropy(), 3, THREE)


def check(report, expected):
    assert list(report.figures) == list(expected)
    np.testing.assert_allclose(list(report.figures.values()), list(expected.values()), rtol=1e-9)
    assert all(getattr(report, name) == value for name, value in report.figures.items())


def calibration_error(true, p, bins=10):
    """From the definition: the gap between probability and share in each bin, by its rows."""
    edges = np.linspace(0, 1, bins + 1)
    error = 0.0
    for low, high in pairwise(edges):
        inside = (p > low) & (p <= high) if low else p <= high
        if inside.any():
            error += inside.mean() * abs(p[inside].mean() - true[inside].mean())
    return error


# ---- classes


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weighted"])
def test_three_classes(three, weights):
    report, p, answers = three.report(X, THREE, NAMES, sample_weight=weights), three.predict_proba(X), three.predict(X)
    options = {"sample_weight": weights}
    kept = report.figures
    assert kept.pop("calibration_error") == report.calibration_error
    expected = {
        "accuracy": metrics.accuracy_score(THREE, answers, **options),
        "log_loss": metrics.log_loss(THREE, p, **options),
        "roc_auc": metrics.roc_auc_score(THREE, p, multi_class="ovr", **options),
        "average_precision": metrics.average_precision_score(np.eye(3)[THREE], p, **options),
    }
    assert list(kept) == list(expected)
    np.testing.assert_allclose(list(kept.values()), list(expected.values()), rtol=1e-9)
    table = metrics.classification_report(THREE, answers, target_names=NAMES, zero_division=0, **options)
    assert report.table == table
    by_name = metrics.classification_report(
        THREE, answers, target_names=NAMES, zero_division=0, output_dict=True, **options
    )
    assert report.classes == {name: pytest.approx(by_name[name], rel=1e-12) for name in NAMES}
    np.testing.assert_allclose(report.confusion, metrics.confusion_matrix(THREE, answers, **options))
    assert report.exact_match is None
    assert report.notes == ()


def test_the_calibration_of_three_classes_is_of_the_answer(three):
    p, answers = three.predict_proba(X), three.predict(X)
    report = three.report(X, THREE)
    assert report.calibration_error == pytest.approx(calibration_error(answers == THREE, p.max(axis=1)), rel=1e-9)
    share, mean = sklearn.calibration.calibration_curve(answers == THREE, p.max(axis=1), n_bins=10)
    np.testing.assert_allclose(report.reliability[:, :2], np.column_stack([mean, share]), rtol=1e-12)
    assert report.reliability[:, 2].sum() == 50


@pytest.mark.parametrize(
    ("loss", "n_out", "targets", "end"),
    [
        (nn.SigmoidBCE(), 1, COLUMN, ()),
        (nn.BCE(), 1, COLUMN, (nn.Sigmoid(),)),
        (nn.SoftmaxCrossEntropy(), 2, Y, ()),
        (nn.CrossEntropy(), 2, np.eye(2)[Y], (nn.Softmax(),)),
    ],
)
def test_yes_or_no(loss, n_out, targets, end):
    run = fitted(loss, n_out, targets, *end)
    yes = run.predict_proba(X)[:, 1]
    report = run.report(X, targets)
    check(
        report,
        {
            "accuracy": metrics.accuracy_score(Y, yes > 0.5),
            "log_loss": metrics.log_loss(Y, yes),
            "roc_auc": metrics.roc_auc_score(Y, yes),
            "average_precision": metrics.average_precision_score(Y, yes),
            "calibration_error": calibration_error(Y, yes),
        },
    )
    share, mean = sklearn.calibration.calibration_curve(Y, yes, n_bins=10)
    np.testing.assert_allclose(report.reliability[:, :2], np.column_stack([mean, share]), rtol=1e-9)
    assert report.accuracy == pytest.approx(run.evaluate(X, targets)["accuracy"])


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weighted"])
def test_several_labels(weights):
    run = fitted(nn.SigmoidBCE(), 3, LABELS)
    p, answers, options = run.predict_proba(X), run.predict(X), {"sample_weight": weights}
    report = run.report(X, LABELS, ["odd", "east", "north"], weights)
    each = None if weights is None else np.repeat(weights, 3)
    figures = {
        "accuracy": metrics.accuracy_score(LABELS.ravel(), answers.ravel(), sample_weight=each),
        "exact_match": metrics.accuracy_score(LABELS, answers, **options),
        "log_loss": metrics.log_loss(LABELS.ravel(), p.ravel(), sample_weight=each),
        "roc_auc": metrics.roc_auc_score(LABELS, p, **options),
        "average_precision": metrics.average_precision_score(LABELS, p, **options),
    }
    if weights is None:
        figures["calibration_error"] = calibration_error(LABELS.ravel(), p.ravel())
        check(report, figures)
    for name, value in figures.items():
        assert getattr(report, name) == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(report.confusion, metrics.multilabel_confusion_matrix(LABELS, answers, **options))
    assert report.table == metrics.classification_report(
        LABELS, answers, target_names=["odd", "east", "north"], zero_division=0, **options
    )
    assert "label" in str(report)


def test_weights_in_the_reliability_table_count_as_that_many_rows():
    rng = np.random.default_rng(0)
    p, true, counts = rng.random(40), rng.random(40) < 0.5, rng.integers(0, 4, 40)
    repeated = np.repeat(np.arange(40), counts)
    np.testing.assert_allclose(reliability_table(p, true, counts), reliability_table(p[repeated], true[repeated]))


@pytest.mark.parametrize(
    ("loss", "n_out", "targets"),
    [
        (nn.SoftmaxCrossEntropy(), 3, THREE),
        (nn.SigmoidBCE(), 1, COLUMN),
        (nn.SigmoidBCE(), 3, LABELS),
        (nn.MSE(), 2, X),
        (nn.SoftmaxCrossEntropy(axis=1), 6, np.stack([Y, THREE % 2], axis=1)),
    ],
)
def test_a_row_of_weight_3_counts_as_three_rows(loss, n_out, targets):
    run = fitted(loss, n_out, targets, *([Turned()] if n_out == 6 else []))
    counts = np.arange(50) % 4
    weighted = run.report(X, targets, sample_weight=counts)
    repeated = run.report(np.repeat(X, counts, axis=0), np.repeat(targets, counts, axis=0))
    assert weighted.figures == pytest.approx(repeated.figures, rel=1e-9)


def test_a_row_of_weight_0_counts_in_nothing(three):
    weights = np.where(THREE == 2, 0.0, 1.0)
    kept = weights > 0
    without, with_zeros = three.report(X[kept], THREE[kept]), three.report(X, THREE, sample_weight=weights)
    np.testing.assert_allclose(list(with_zeros.figures.values()), list(without.figures.values()), rtol=1e-9)
    assert with_zeros.notes == without.notes != ()


def test_rows_that_the_loss_ignores_count_in_nothing():
    run = fitted(nn.SoftmaxCrossEntropy(ignore_index=-1), 3, partly := np.where(np.arange(50) % 3 == 0, -1, THREE))
    kept = partly >= 0
    assert run.report(X, partly).figures == run.report(X[kept], partly[kept]).figures


def test_several_answers_a_row_are_answers_one_by_one():
    targets = np.stack([Y, THREE % 2], axis=1)
    run = fitted(nn.SoftmaxCrossEntropy(axis=1), 6, targets, Turned())
    p = np.moveaxis(run.predict_proba(X), 1, -1).reshape(-1, 3)
    report = run.report(X, targets)
    assert report.log_loss == pytest.approx(metrics.log_loss(targets.ravel(), p, labels=range(3)), rel=1e-9)
    assert report.confusion.sum() == 100


def test_float32_is_measured_without_a_warning():
    tg.seed(0)
    model = network(3, nn.Softmax()).astype(np.float32)
    run = Trainer(model, nn.CrossEntropy(), optim.SGD(model.parameters(), lr=0.1))
    report = run.report(X, THREE)
    assert report.log_loss == pytest.approx(run.evaluate(X, THREE)["loss"], rel=1e-5)


def test_probabilities_of_float32_scores_have_the_digits_of_float64():
    model = network(3).astype(np.float32)
    run = Trainer(model, nn.SoftmaxCrossEntropy(), optim.SGD(model.parameters(), lr=0.1))
    p = scipy.special.softmax(run.model.eval()(X.astype(np.float32)).data.astype(float), axis=1)
    assert run.report(X, THREE).log_loss == pytest.approx(metrics.log_loss(THREE, p), rel=1e-12)


# ---- what is not defined is left out, with a word


def test_a_class_that_is_missing_in_y(three):
    kept = THREE != 1
    report = three.report(X[kept], THREE[kept], NAMES)
    (note,) = report.notes
    assert note.startswith("Left out of ROC AUC and average precision")
    assert note.endswith("'mild'")
    scores = three.predict_proba(X[kept])
    each = [metrics.roc_auc_score(THREE[kept] == k, scores[:, k]) for k in (0, 2)]
    assert report.roc_auc == pytest.approx(np.mean(each))
    assert report.classes["mild"]["support"] == 0
    assert note in " ".join(str(report).split())  # it is broken into lines


@pytest.mark.parametrize("label", [0, 1])
def test_y_of_one_class_has_no_roc_auc(label):
    run = fitted(nn.SigmoidBCE(), 1, COLUMN)
    kept = label == Y
    report = run.report(X[kept], Y[kept])
    assert (report.roc_auc, report.average_precision) == (None, None)
    assert list(report.figures) == ["accuracy", "log_loss", "calibration_error"]
    assert "ROC AUC" in report.notes[0]


def test_a_loss_of_no_probabilities_has_no_log_loss_and_no_calibration():
    run = fitted(nn.MSE(), 2, np.eye(2)[Y])
    report = run.report(X, Y)
    scores = run.model.eval()(X).data
    check(
        report,
        {
            "accuracy": metrics.accuracy_score(Y, scores.argmax(axis=1)),
            "roc_auc": metrics.roc_auc_score(Y, scores[:, 1]),
            "average_precision": metrics.average_precision_score(Y, scores[:, 1]),
        },
    )
    assert report.notes == ("Left out: log loss and calibration, because the loss is of no probabilities",)


# ---- as text and as a picture


def test_the_text_is_at_most_80_columns_wide(three):
    long = ["a class with quite a long name, the first", "a class with quite a long name, the second", "\x1b[31m"]
    text = str(three.report(X, THREE, long))
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "weighted avg" in three.report(X, THREE, ["<b>", "b", "c"])._repr_html_()
    assert "<b>" not in three.report(X, THREE, ["<b>", "b", "c"])._repr_html_()
    for word in ("precision", "weighted avg", "ROC AUC", "calibration error", "true \\ answer", "was true"):
        assert word in text


def test_the_picture_is_called_by_what_can_be_seen_on_it(three):
    """A page has no method; a terminal says which one draws it."""
    assert 'alt="reliability and ROC curves"' in three.report(X, THREE)._repr_html_()
    assert str(three.report(X, THREE)).endswith("(a picture, which .figure(path) saves)")


def test_of_many_classes_the_most_frequent_mistakes_are_listed():
    data = tg.data.digits()
    tg.seed(0)
    model = nn.Dense(64, 10)
    report = Trainer(model, nn.SoftmaxCrossEntropy(), optim.SGD(model.parameters())).report(data)
    text = str(report)
    assert max(map(len, text.splitlines())) <= 80
    wrong = np.where(np.eye(10, dtype=bool), 0, report.confusion)
    i, j = np.unravel_index(wrong.argmax(), wrong.shape)
    assert re.search(f"frequent mistake +answered as +rows\n-+\n{i} +{j} +{wrong.max()}\n", text)


def test_the_figure_has_reliability_and_the_roc_curve_of_each_class(three, tmp_path):
    report = three.report(X, THREE, NAMES)
    reliability, roc = report.figure(tmp_path / "report.png").axes
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    np.testing.assert_array_equal(reliability.lines[1].get_xdata(), report.reliability[:, 0])
    assert [text.get_text() for text in roc.get_legend().get_texts()] == NAMES
    expected = metrics.roc_curve(THREE == 1, three.predict_proba(X)[:, 1])
    np.testing.assert_allclose(roc.lines[2].get_xydata().T, expected[:2], rtol=1e-9)


def test_a_report_without_curves_has_no_figure():
    run = fitted(nn.MSE(), 2, np.eye(2)[Y])
    with pytest.raises(ValueError, match="no curve to draw"):
        run.report(X[Y == 1], Y[Y == 1]).figure()


# ---- names and data


def test_a_dataset_brings_its_targets_and_names():
    data = tg.data.moons(60, seed=0)
    run = fitted(nn.SoftmaxCrossEntropy(), 2, Y)
    assert list(run.report(data).classes) == list(data.class_names)
    assert run.report(data).figures == run.report(data.X, data.y).figures
    assert list(run.report(data, class_names=["a", "b"]).classes) == ["a", "b"]


@pytest.mark.parametrize(
    ("targets", "options", "message"),
    [
        (THREE + 1, {}, "label 3; it must be class indices from 0 to 2"),
        (THREE - 1, {}, "label -1; it must be"),
        (THREE[:9], {}, "X has 50 rows"),
        (np.stack([THREE] * 2, 1), {}, "y has 100 labels and the model gives 50 answers"),
        (THREE + 0.5, {}, "class indices, whole numbers"),
        (THREE, {"class_names": ["a", "b"]}, "class_names has 2 names, and there are 3 classes"),
        (THREE, {"class_names": ["a", "b", "a"]}, "two classes are called 'a'"),
        (THREE, {"sample_weight": np.ones(9)}, r"sample_weight has shape \(9,\)"),
        (THREE, {"sample_weight": -WEIGHTS}, "sample_weight"),
        (THREE, {"sample_weight": np.full(50, np.nan)}, "sample_weight"),
        (THREE, {"sample_weight": np.zeros(50)}, "no row counts"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(three, targets, options, message):
    with pytest.raises(ValueError, match=message) as error:
        three.report(X, targets, **options)
    assert "\n" not in str(error.value)


def test_soft_targets_are_neither_right_nor_wrong(three):
    with pytest.raises(ValueError, match=r"soft targets.*y.argmax\(axis=-1\)"):
        three.report(X, np.eye(3)[THREE] * 0.7 + 0.1)
    assert three.report(X, np.eye(3)[THREE]).figures == three.report(X, THREE).figures


def test_labels_of_several_labels_are_0_or_1():
    run = fitted(nn.SigmoidBCE(), 3, LABELS)
    with pytest.raises(ValueError, match="label 2; it must be class indices from 0 to 1"):
        run.report(X, LABELS * 2)


# ---- numbers


class Scaled:
    """What a preparation is to a report of numbers: a name, no classes, and the way back to the table's units."""

    class_names = ()
    target = SimpleNamespace(name="price")

    def invert(self, numbers):
        return np.asarray(numbers) * 10 + 3


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weighted"])
@pytest.mark.parametrize("scaled", [False, True])
def test_a_regression(weights, scaled):
    true = X[:, :1] * X[:, 1:]
    run = fitted(nn.MSE(), 1, true)
    predicted = run.predict(X)[:, 0]
    true = true[:, 0]
    if scaled:
        run.preparation = Scaled()
    report = run.report(X, true, sample_weight=weights)
    if scaled:
        true, predicted = 10 * true + 3, 10 * predicted + 3
    options = {"sample_weight": weights}
    check(
        report,
        {
            "rmse": metrics.root_mean_squared_error(true, predicted, **options),
            "mae": metrics.mean_absolute_error(true, predicted, **options),
            "r2": metrics.r2_score(true, predicted, **options),
        },
    )
    assert list(report.outputs) == (["price"] if scaled else ["y"])
    np.testing.assert_allclose(report.predicted[:, 0], predicted)
    assert f"{report.rmse:.4g}" in str(report)


def test_several_outputs(tmp_path):
    run = fitted(nn.MSE(), 2, true := X * [1, 5])
    predicted = run.predict(X)
    report = run.report(X, true)
    check(
        report,
        {
            "rmse": metrics.root_mean_squared_error(true, predicted),
            "mae": metrics.mean_absolute_error(true, predicted),
            "r2": metrics.r2_score(true, predicted),
        },
    )
    assert report.outputs["y2"]["mae"] == pytest.approx(metrics.mean_absolute_error(true[:, 1], predicted[:, 1]))
    assert [line.split()[0] for line in str(report).splitlines()[2:5]] == ["y1", "y2", "mean"]
    predictions, residuals = report.figure(tmp_path / "residuals.png").axes
    np.testing.assert_allclose(residuals.collections[1].get_offsets()[:, 1], (true - predicted)[:, 1])
    assert predictions.get_legend() is not None


@pytest.mark.parametrize("rows", [1, 50])
def test_targets_that_are_all_the_same_have_no_r2(rows):
    run = trainer(nn.MSE(), 1)
    report = run.report(X[:rows], np.full(rows, 2.0))
    assert report.r2 is None
    assert list(report.figures) == ["rmse", "mae"]
    assert report.notes == ("Left out: R² of 'y', whose true numbers are all the same",)
    assert report.notes[0] in str(report)


def test_the_preparation_is_the_datasets_or_else_the_one_of_the_training():
    names = ("x1", "x2"), (), "sums", np.array([True, True])
    plain = tg.data.Dataset(X, X.sum(axis=1), *names)
    scaled = tg.data.Dataset(X, X.sum(axis=1), *names, preparation=Scaled())
    run = trainer(nn.MSE(), 1)
    own_units = run.report(plain).rmse
    assert run.report(scaled).rmse == pytest.approx(10 * own_units)
    run.fit(scaled.X, scaled.y[:, None], epochs=1, seed=0)
    assert run.preparation is None
    run.preparation = Scaled()
    assert run.report(plain).outputs.keys() == {"price"}


def test_a_table_whose_target_was_scaled_is_reported_in_its_own_units(tmp_path):
    rng = np.random.default_rng(0)
    size, colour = rng.normal(size=120), rng.choice(["red", "blue"], 120)
    price = np.round(1000 + 300 * size + 100 * (colour == "red"), 2)
    rows = [f"{s},{c},{p}\n" for s, c, p in zip(size, colour, price, strict=True)]
    (tmp_path / "houses.csv").write_text("size,colour,price\n" + "".join(rows))
    table = tg.data.from_csv(tmp_path / "houses.csv", "price", regression=True)
    train, test = tg.data.split(table)
    scaled, scaled_test = tg.data.standardize(train, test, targets=True)
    tg.seed(0)
    model = nn.Dense(scaled.n_features, 1)
    run = Trainer(model, nn.MSE(), optim.SGD(model.parameters(), lr=0.1))
    run.fit(scaled, epochs=5, seed=0)
    predicted = scaled.preparation.invert(run.predict(scaled_test)[:, 0])
    for report in (run.report(scaled_test), run.report(scaled_test.X, scaled_test.y)):
        assert report.rmse == pytest.approx(metrics.root_mean_squared_error(test.y, predicted))
        assert report.r2 == pytest.approx(metrics.r2_score(test.y, predicted))
        assert [*report.outputs] == ["price"]
    hard = run.hardest(scaled_test, n=3)
    np.testing.assert_allclose(hard.true, test.y[hard.rows])
    np.testing.assert_allclose(hard.predicted, predicted[hard.rows])


def test_a_preparation_of_classes_leaves_numbers_alone():
    class OfClasses(Scaled):
        class_names = ("a", "b")

    run = trainer(nn.MSE(), 1)
    before = run.report(X, Y).figures
    run.preparation = OfClasses()
    assert run.report(X, Y).figures == before


def test_numbers_that_do_not_fit_are_refused():
    run = trainer(nn.MSE(), 2)
    with pytest.raises(ValueError, match=r"targets have 1 column and the model gives 2 numbers .*SoftmaxCrossEntropy"):
        run.report(X, Y)
    with pytest.raises(ValueError, match="class_names= is for classes"):
        run.report(X, X, class_names=["a", "b"])
    rows = X.copy()
    rows[4] = np.nan
    with pytest.raises(ValueError, match="the model's answer in row 4 is"):
        run.report(rows, X)
    with pytest.raises(ValueError, match="y in row 4 is"):
        run.report(X, rows)
    with pytest.raises(ValueError, match="no row counts"):
        run.report(X, X, sample_weight=np.zeros(50))


def test_a_regression_is_sent_from_the_confusion_matrix_to_the_report():
    with pytest.raises(ValueError, match=r"trainer.report\(X, y\) has their RMSE"):
        trainer(nn.MSE(), 1).confusion_matrix(X, Y)
