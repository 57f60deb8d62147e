"""What an estimator refuses, and in which words; what it takes besides scikit-learn's parameters."""

import inspect

import numpy as np
import pytest
from fresh import ran
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.model_selection import train_test_split
from sklearn_interface.tables import counts, diabetes, iris, labels, two_irises, two_targets

import tinygrad_ce as tg
from tinygrad_ce import nn
from tinygrad_ce import sklearn as ours
from tinygrad_ce.sklearn import MLPClassifier, MLPRegressor

quietly = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SMALL = {"max_iter": 3, "random_state": 0, "hidden_layer_sizes": (6,)}


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_the_parameters_are_scikit_learns_and_ours_come_after_them(name):
    mine = inspect.signature(getattr(ours, name)).parameters
    theirs = inspect.signature(getattr(neural_network, name)).parameters
    shared = {key: mine[key] for key in mine if key in theirs}
    assert [*shared] == [*theirs]
    assert [(p.default, p.kind) for p in shared.values()] == [(p.default, p.kind) for p in theirs.values()]
    assert [*mine][: len(theirs)] == [*theirs]


REFUSED = {
    "solver='lbfgs' is not here.* pass solver='adam' or 'sgd'": {"solver": "lbfgs"},
    "solver='newton' is not possible; it must be one of 'adam', 'sgd'": {"solver": "newton"},
    r"hidden_layer_sizes=\(4, 0\) .* each a whole number above 0": {"hidden_layer_sizes": (4, 0)},
    "activation='gelu' .* 'identity', 'logistic', 'tanh', 'relu'": {"activation": "gelu"},
    "alpha=-1 .* a number of at least 0": {"alpha": -1},
    "batch_size=0 .* 'auto', or a whole number of at least 1": {"batch_size": 0},
    "learning_rate=0.1 .* one of 'constant', 'invscaling', 'adaptive'": {"learning_rate": 0.1},
    "learning_rate_init=0 .* a number above 0": {"learning_rate_init": 0},
    "max_iter=2.5 .* a whole number of at least 1": {"max_iter": 2.5},
    "shuffle='yes' .* True or False": {"shuffle": "yes"},
    "momentum=1 .* a number of at least 0 and less than 1": {"momentum": 1},
    "beta_1=nan .* less than 1": {"beta_1": float("nan")},
    "n_iter_no_change=0 .* at least 1, or inf": {"n_iter_no_change": 0},
    "max_fun=10 .* it belongs to solver='lbfgs'": {"max_fun": 10},
    "dropout=1.0 .* less than 1": {"dropout": 1.0},
    "compile='yes' .* True, False or 'auto'": {"compile": "yes"},
    "module=<class '.*Dense'> .* a tg.nn.Module, or a function": {"module": nn.Dense},
    r"module= is the whole network, so dropout=0.5 would be ignored": {"module": nn.Dense(4, 3), "dropout": 0.5},
    "verbose=-1 .* True, False or a whole number of at least 0": {"verbose": -1},
    "validation_fraction=0 keeps no rows .* pass 0.1, or": {"validation_fraction": 0, "early_stopping": True},
    "class_weight={0: -1} .* numbers of at least 0": {"class_weight": {0: -1}},
    r"class_weight=\[1, 2, 3\] .* 'balanced', or a dict": {"class_weight": [1, 2, 3]},
    "class_weight='even' .* 'balanced', or a dict": {"class_weight": "even"},
    r"module= answers one row with shape \(1, 7\), .* must be \(1, 3\)": {"module": nn.Dense(4, 7)},
    "module= does not take rows of 4 features: affine: x has shape": {"module": nn.Dense(5, 3)},
    "label_smoothing=True .* a number of at least 0": {"label_smoothing": True},
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_parameter_that_cannot_be_is_refused_in_one_line(words):
    with pytest.raises(ValueError, match=f"^MLPClassifier: {words}") as refused:
        MLPClassifier(**REFUSED[words]).fit(*iris())
    assert "\n" not in str(refused.value)


def test_a_keyword_that_does_not_exist_is_answered_with_those_that_do():
    with pytest.raises(TypeError, match=r"^MLPClassifier: there is no hidden_layers=, write hidden_layer_sizes=; it"):
        MLPClassifier(hidden_layers=(4,))
    with pytest.raises(TypeError, match=r"^MLPRegressor: there is no class_weight=.* takes \(loss='squared_error'"):
        MLPRegressor(class_weight="balanced")


X, y = iris()
DATA = {
    "X is a sparse csr_.*; pass X.toarray": (TypeError, lambda: MLPClassifier().fit(sparse.csr_matrix(X), y)),
    "the weight of every row is zero": (ValueError, lambda: MLPClassifier().fit(X, y, np.zeros(150))),
    "there is nothing to learn from$": (
        ValueError,
        lambda: MLPClassifier(class_weight={0: 0}).fit(X[:50], y[:50]),
    ),
    r"sample_weight has shape \(4,\), and X has 150 rows": (ValueError, lambda: MLPClassifier().fit(X, y, np.ones(4))),
    "sample_weight holds -1.0; it must": (ValueError, lambda: MLPClassifier().fit(X, y, -np.ones(150))),
    "validation_fraction=0.001 keeps 1 of 150 rows": (
        ValueError,
        lambda: MLPClassifier(early_stopping=True, validation_fraction=0.001).fit(X, y),
    ),
    "partial_fit sees no epochs to choose from": (
        ValueError,
        lambda: MLPClassifier(early_stopping=True).partial_fit(X, y, classes=[0, 1, 2]),
    ),
    "the first partial_fit must be told all classes": (ValueError, lambda: MLPClassifier().partial_fit(X, y)),
    "partial_fit got classes=.0 1., and in the first call there were .0 1 2.": (
        ValueError,
        lambda: MLPClassifier().partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X, y, classes=[0, 1]),
    ),
    "y has the classes .0 1 2., and there were .1 2. before": (
        ValueError,
        lambda: MLPClassifier().partial_fit(X[50:], y[50:], classes=[1, 2]).partial_fit(X, y),
    ),
    "y has several columns of classes": (ValueError, lambda: MLPClassifier().fit(X, np.column_stack([y, y]))),
    "class_weight='balanced' cannot be computed": (
        ValueError,
        lambda: MLPClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2]),
    ),
    "it answered with int; it must make a tg.nn.Module": (
        TypeError,
        lambda: MLPClassifier(module=lambda n_in, n_out: 3).fit(X, y),
    ),
    "the training ran away, .* a smaller learning_rate_init than 1e.300, or standardize X": (
        ValueError,
        lambda: MLPClassifier(solver="sgd", learning_rate_init=1e300).fit(1e9 * X, y),
    ),
}


@quietly
@pytest.mark.parametrize("words", DATA)
def test_data_that_do_not_fit_are_refused_in_one_line(words):
    kind, fit = DATA[words]
    with np.errstate(all="ignore"), pytest.raises(kind, match=words) as refused:
        fit()
    assert "\n" not in str(refused.value)


@quietly
def test_a_regressor_refuses_what_it_cannot_learn():
    with pytest.raises(ValueError, match=r"loss='poisson' is for counts, and y holds -1"):
        MLPRegressor(loss="poisson").fit(X, -1.0 * (y == 2))
    with pytest.raises(ValueError, match="y has 2 columns, and there were 1 before"):
        MLPRegressor(**SMALL).partial_fit(*diabetes()).partial_fit(*two_targets())


def test_what_was_not_fitted_says_so():
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(X)
    assert not hasattr(MLPClassifier(), "coefs_")


@pytest.mark.parametrize("weighted", ["learn from", "decide when to stop"])
def test_weights_that_the_split_leaves_on_one_side_are_refused(weighted):
    other = {"learn from": "decide when to stop", "decide when to stop": "learn from"}[weighted]
    random_state = np.random.RandomState(2)  # a module draws no weights from it, so that the split is its first draw
    held_out = train_test_split(np.arange(150), test_size=0.1, random_state=random_state)[1]
    weights = 1.0 * (np.isin(np.arange(150), held_out) == (weighted == "decide when to stop"))
    estimator = MLPClassifier(early_stopping=True, random_state=2, module=nn.Dense(4, 3))
    with pytest.raises(ValueError, match=f"none of the rows to {other} has a weight above 0: pass early_stopping=F"):
        estimator.fit(X, y, weights)


FAILING = {
    "weights": lambda fitted: fitted.fit(X[:, :2], y > 0, -np.ones(150)),
    "module": lambda fitted: fitted.set_params(module=nn.Dense(4, 7), hidden_layer_sizes=(100,)).fit(X, y > 0),
    "run away": lambda fitted: fitted.set_params(solver="sgd", learning_rate_init=1e300).fit(1e9 * X, y > 0),
    "partly": lambda fitted: fitted.partial_fit(X, y + 1),
}


@quietly
@pytest.mark.parametrize("how", FAILING)
def test_a_fit_that_fails_leaves_what_was_learnt_before(how):
    fitted = MLPClassifier(**SMALL).fit(X, y)
    before = fitted.predict_proba(X)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="MLPClassifier: "):
        FAILING[how](fitted)
    assert fitted.classes_.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(fitted.predict_proba(X), before)


@quietly
def test_a_first_partial_fit_that_fails_fixes_no_classes():
    estimator = MLPClassifier(**SMALL)
    with pytest.raises(ValueError, match="y has the classes"):
        estimator.partial_fit(X, y, classes=[0, 1])
    assert estimator.partial_fit(X, y, classes=[0, 1, 2]).classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("outputs", "targets"), [(1, 2), (2, 1), (2, 3)])
def test_a_module_needs_a_score_for_each_output(outputs, targets):
    Y = np.column_stack([y, y + 1.0, y + 2.0])[:, :targets].squeeze()
    with pytest.raises(ValueError, match=rf"shape \(1, {outputs}\), and for these y it must be \(1, {targets}\)"):
        MLPRegressor(module=nn.Dense(4, outputs)).fit(X, Y)


@quietly
def test_one_weight_for_all_rows_is_none():
    plain, weighed = (MLPClassifier(**SMALL).fit(X, y, weight) for weight in (None, 2.0))
    more = MLPClassifier(**SMALL, alpha=2e-4).fit(X, y, 2.0)
    assert_allclose(weighed.loss_curve_, plain.loss_curve_, rtol=1e-4)  # but that alpha counts half
    assert_allclose(more.loss_curve_, plain.loss_curve_)


def test_warnings_are_scikit_learns():
    with pytest.warns(ConvergenceWarning, match="max_iter=3 epochs are over"):
        MLPClassifier(**SMALL).fit(X, y)
    with pytest.warns(DataConversionWarning), pytest.warns(ConvergenceWarning):
        MLPClassifier(**SMALL).fit(X, y[:, None])
    with pytest.warns(UserWarning, match="batch_size=500 is clipped to the 150 rows"), pytest.warns(ConvergenceWarning):
        MLPClassifier(**SMALL, batch_size=500).fit(X, y)


# ---- what scikit-learn's own does not have


@quietly
def test_a_class_weight_is_a_weight_of_its_rows():
    weighted = MLPClassifier(**SMALL, class_weight={0: 2.0, 1: 0.5, 2: 0}).fit(X, y, np.arange(1, 151))
    rows = MLPClassifier(**SMALL).fit(X, y, np.array([2.0, 0.5, 0])[y] * np.arange(1, 151))
    assert weighted.loss_curve_ == rows.loss_curve_


@quietly
def test_balanced_classes_count_the_same():
    seldom = np.r_[0:50, 50:60, 100:120]
    balanced = MLPClassifier(**SMALL, class_weight="balanced").fit(X[seldom], y[seldom])
    each = MLPClassifier(**SMALL).fit(X[seldom], y[seldom], 80 / 3 / np.array([50.0, 10.0, 20.0])[y[seldom]])
    assert_allclose(balanced.loss_curve_, each.loss_curve_)


@quietly
@pytest.mark.parametrize("table", [iris, two_irises, labels, diabetes, counts])
def test_a_row_without_weight_is_as_if_it_were_not_there(table):
    X, y = table()
    kept = np.arange(len(X)) % 3 > 0
    kind = MLPRegressor if table in (diabetes, counts) else MLPClassifier
    weighted, without = kind(**SMALL).fit(X, y, kept.astype(float)), kind(**SMALL).fit(X[kept], y[kept])
    assert_allclose(weighted.loss_curve_, without.loss_curve_)
    assert_allclose(weighted.coefs_[0], without.coefs_[0], atol=1e-12)


@quietly
@pytest.mark.parametrize("table", [iris, two_irises])
def test_label_smoothing_is_a_loss_of_soft_labels(table):
    X, y = table()
    settings = SMALL | {"max_iter": 1, "alpha": 0, "learning_rate_init": 1e-300}
    estimator = MLPClassifier(**settings, label_smoothing=0.3).fit(X, y)
    probabilities = estimator.predict_proba(X)
    classes = probabilities.shape[1]
    soft = 0.7 * (np.unique(y)[None, :] == y[:, None]) + 0.3 / classes
    assert_allclose(estimator.loss_, -(soft * np.log(probabilities)).sum(axis=1).mean())


@quietly
def test_dropout_and_batch_norm_stand_after_each_hidden_layer():
    estimator = MLPClassifier((6, 5), dropout=0.5, batch_norm=True, random_state=0, max_iter=2).fit(X, y)
    names = [type(layer).__name__ for layer in estimator.module_.layers]
    assert names == [*["Dense", "BatchNorm", "ReLU", "Dropout"] * 2, "Dense"]
    assert [W.shape for W in estimator.coefs_] == [(4, 6), (6, 5), (5, 3)]
    np.testing.assert_array_equal(estimator.predict_proba(X), estimator.predict_proba(X))  # nothing drops out
    again = MLPClassifier((6, 5), dropout=0.5, batch_norm=True, random_state=0, max_iter=2).fit(X, y)
    assert again.loss_curve_ == estimator.loss_curve_


@quietly
def test_dropout_changes_no_order_of_rows():
    plain, other = (MLPClassifier(**SMALL, dropout=rate, batch_size=150).fit(X, y) for rate in (0, 1e-300))
    assert_allclose(plain.loss_curve_, other.loss_curve_)


@quietly
def test_a_module_of_ones_own_is_copied():
    network = nn.Sequential(nn.Dense(4, 6), nn.GELU(), nn.Dense(6, 3))
    before = network.state()
    estimator = MLPClassifier(module=network, max_iter=3, random_state=0).fit(X, y)
    assert all(np.array_equal(array, before[name]) for name, array in network.state().items())
    assert not np.array_equal(estimator.coefs_[0], network.layers[0].W.data)
    assert not estimator.module_.training


@quietly
def test_a_function_that_makes_a_module_is_seeded_by_random_state():
    def network(n_in, n_out):
        return nn.Sequential(nn.Dense(n_in, 6), nn.Tanh(), nn.Dense(6, n_out))

    tg.seed(5)
    expected = nn.init.generator().random()
    tg.seed(5)
    first, second = (MLPClassifier(module=network, max_iter=2, random_state=1).fit(X, y) for _ in range(2))
    assert first.loss_curve_ == second.loss_curve_
    assert nn.init.generator().random() == expected  # the generator of the user's own layers is where it was


@quietly
def test_names_of_columns_are_kept():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    estimator = MLPClassifier(**SMALL).fit(frame, y)
    assert [*estimator.feature_names_in_] == ["a", "b", "c", "d"]
    assert estimator.explain_row(frame, 0).feature_names == ("a", "b", "c", "d")


# ---- explain_row


@quietly
@pytest.mark.parametrize("table", [iris, two_irises, labels, diabetes, counts])
def test_pushes_are_slopes_times_values(table):
    X, y = table()
    kind = MLPRegressor if table in (diabetes, counts) else MLPClassifier
    estimator = kind(activation="tanh", **SMALL, **({"loss": "poisson"} if table is counts else {})).fit(X, y)
    explained = estimator.explain_row(X, 7)

    def score(row):
        if kind is MLPRegressor:
            answer = estimator.predict(row[None])[0]
            return np.log(answer) if table is counts else answer
        logarithms = estimator.predict_log_proba(row[None])
        if table is labels:
            return estimator.decision_function(row[None])[0, 0]
        ordered = np.sort(logarithms[0])
        return ordered[-1] - ordered[-2]

    assert_allclose(explained.score, score(X[7]))
    h = 1e-6
    slopes = [(score(X[7] + h * e) - score(X[7] - h * e)) / (2 * h) for e in np.eye(X.shape[1])]
    assert_allclose(explained.pushes, slopes * X[7], rtol=1e-6, atol=1e-8)
    assert explained.order[0] == np.abs(explained.pushes).argmax()


@quietly
def test_an_explanation_prints_the_largest_push_first():
    estimator = MLPClassifier((), random_state=0, max_iter=2).fit(X, y)
    explained = estimator.explain_row(X, 0, target=1)
    lines = repr(explained).splitlines()
    assert all(f">{word}<" in explained._repr_html_() for word in lines[3].split())
    assert lines[0].startswith("1 before ")
    assert lines[3].split()[0] == f"x{np.abs(explained.pushes).argmax()}"
    assert len(lines) == 3 + 4  # a title, the names of the columns and a line below them
    assert_allclose(
        explained.score, explained.pushes.sum() + np.subtract(*estimator.intercepts_[0][[1, _second(lines[0])]])
    )


def _second(line):
    """The class after "1 before "."""
    return int(line.split()[2].rstrip(","))


@quietly
def test_a_row_or_class_that_is_not_there():
    estimator = MLPClassifier(**SMALL).fit(*two_irises())
    with pytest.raises(IndexError, match=r"^MLPClassifier.explain_row: there is no row 100; X has 100$"):
        estimator.explain_row(two_irises()[0], 100)
    with pytest.raises(ValueError, match=r"^explain_row: target='rose' is unknown; there are setosa, versicolor$"):
        estimator.explain_row(two_irises()[0], 0, target="rose")
    first, second = (estimator.explain_row(X[:100], 3, target=name) for name in ("setosa", "versicolor"))
    assert_allclose(first.pushes, -second.pushes)


def test_without_scikit_learn_the_import_says_what_to_install():
    process = ran("import sys; sys.modules['sklearn'] = None; import tinygrad_ce.sklearn")
    assert process.stderr.endswith('scikit-learn cannot be imported: pip install "tinygrad_ce[data]"\n')
