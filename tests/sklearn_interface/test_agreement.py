"""For the same random_state, every number is scikit-learn's own: it is the oracle, parameter for parameter."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn_interface.tables import counts, diabetes, iris, labels, two_irises, two_targets

from tinygrad_ce import sklearn as ours

SMALL = {"hidden_layer_sizes": (8, 6), "batch_size": 32, "max_iter": 12, "random_state": 3}

TABLES = {"MLPClassifier": [iris, two_irises, labels], "MLPRegressor": [diabetes, two_targets, counts]}
PAIRS = [(name, table) for name, tables in TABLES.items() for table in tables]

SETTINGS = [
    {},
    {"activation": "tanh", "alpha": 0.5},
    {"activation": "logistic", "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
    {"activation": "identity", "hidden_layer_sizes": 5, "batch_size": "auto"},
    {"hidden_layer_sizes": (), "shuffle": False, "alpha": 0},
    {"solver": "sgd", "learning_rate_init": 0.01},
    {"solver": "sgd", "nesterovs_momentum": False, "learning_rate_init": 0.01},
    {"solver": "sgd", "momentum": 0, "learning_rate_init": 0.01},
    {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.2, "learning_rate_init": 0.05},
    {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 1, "learning_rate_init": 0.02},
    {"tol": 0.05, "n_iter_no_change": 2, "max_iter": 60, "learning_rate_init": 0.01},
    {"early_stopping": True, "n_iter_no_change": 2, "validation_fraction": 0.2, "max_iter": 30},
]


def both(name, **parameters):
    """Our estimator and scikit-learn's, with the same parameters."""
    compiled = {"compile": parameters.pop("compile")} if "compile" in parameters else {}
    return getattr(ours, name)(**parameters, **compiled), getattr(neural_network, name)(**parameters)


def fitted(estimators, *data, **weights):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return [estimator.fit(*data, **weights) for estimator in estimators]


def assert_same(mine, theirs, X, rtol=1e-9, curve=True):
    assert mine.n_iter_ == theirs.n_iter_
    assert mine.t_ == theirs.t_
    assert (mine.n_layers_, mine.n_outputs_) == (theirs.n_layers_, theirs.n_outputs_)
    assert mine.out_activation_ == theirs.out_activation_
    if curve:
        assert_allclose(mine.loss_curve_, theirs.loss_curve_, rtol=rtol)
        assert_allclose(mine.loss_, theirs.loss_, rtol=rtol)
    if theirs.validation_scores_ is not None:
        assert_allclose(mine.validation_scores_, theirs.validation_scores_, rtol=rtol)
        assert_allclose(mine.best_validation_score_, theirs.best_validation_score_, rtol=rtol)
        assert mine.best_loss_ is None
    elif curve:
        assert_allclose(mine.best_loss_, theirs.best_loss_, rtol=rtol)
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(mine, name), getattr(theirs, name), strict=True):
            assert_allclose(a, b, rtol=rtol, atol=rtol)
            assert a.dtype == b.dtype
    answer, expected = mine.predict(X), theirs.predict(X)
    assert answer.shape == expected.shape
    if expected.dtype.kind == "f":
        assert_allclose(answer, expected, rtol=1e3 * rtol, atol=1e3 * rtol)
    else:
        np.testing.assert_array_equal(answer, expected)
        assert_allclose(mine.predict_proba(X), theirs.predict_proba(X), rtol=1e3 * rtol, atol=1e3 * rtol)


def test_the_folder_does_not_hide_scikit_learn():
    assert hasattr(neural_network, "MLPClassifier")
    assert ours.__name__ == "tinygrad_ce.sklearn"


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize(("name", "table"), [PAIRS[0], PAIRS[1], PAIRS[3]])
def test_each_parameter_means_what_it_means_there(name, table, settings):
    X, y = table()
    mine, theirs = fitted(both(name, **SMALL | settings), X, y)
    assert_same(mine, theirs, X)


@pytest.mark.parametrize(("name", "table"), PAIRS)
@pytest.mark.parametrize("weighted", [False, True])
def test_targets_of_all_kinds(name, table, weighted):
    X, y = table()
    weights = np.random.default_rng(0).uniform(0.1, 3, len(X)) if weighted else None
    poisson = {"loss": "poisson"} if table is counts else {}
    mine, theirs = fitted(both(name, **SMALL | poisson | {"max_iter": 4}), X, y, sample_weight=weights)
    assert not mine.history_.compiled
    # scikit-learn shows the mean over the outputs, and descends along the gradient of their sum.
    assert_same(mine, theirs, X, curve=table is not two_targets)


@pytest.mark.parametrize(
    ("name", "table", "settings"),
    [  # batches of one size only: each other size would be compiled too
        ("MLPClassifier", iris, {"batch_size": 30}),
        ("MLPRegressor", counts, {"batch_size": 34, "loss": "poisson"}),
        ("MLPClassifier", two_irises, SETTINGS[9] | {"batch_size": 25, "momentum": 0.8}),
    ],
)
def test_compiled_epochs_give_the_same(name, table, settings):
    X, y = table()
    weights = None if "tol" in settings else np.random.default_rng(0).uniform(0.1, 3, len(X))
    pair = both(name, **SMALL | settings, compile=True)
    mine, theirs = fitted(pair, X, y, sample_weight=weights)
    assert mine.history_.compiled
    if "tol" in settings:
        assert mine.history_["lr"][-1] < mine.history_["lr"][0]
    assert_same(mine, theirs, X)


def test_the_loss_of_several_outputs_is_the_one_whose_gradient_is_taken():
    X, y = two_targets()
    (mine,) = fitted([ours.MLPRegressor(**SMALL | {"max_iter": 1, "batch_size": 442, "alpha": 0})], X, y)
    start, _ = both("MLPRegressor", **SMALL | {"max_iter": 1, "batch_size": 442, "learning_rate_init": 1e-300})
    (before,) = fitted([start], X, y)
    assert_allclose(mine.loss_, 0.5 * ((before.predict(X) - y) ** 2).sum(axis=1).mean())


def test_one_step_from_copied_weights():
    X, y = iris()
    mine, theirs = fitted(both("MLPClassifier", **SMALL | {"warm_start": True, "max_iter": 1}), X, y)
    generator = np.random.default_rng(7)
    for a, b in zip(mine.coefs_, theirs.coefs_, strict=True):
        a[...] = b[...] = generator.normal(size=a.shape)
    fitted([mine, theirs], X, y)
    assert_allclose(mine.loss_, theirs.loss_, rtol=1e-12)
    assert_same(mine, theirs, X)


def test_float32_stays_float32():
    X, y = iris()
    mine, theirs = fitted(both("MLPClassifier", **SMALL), X.astype(np.float32), y)
    assert mine.predict_proba(X.astype(np.float32)).dtype == np.float32
    assert_same(mine, theirs, X.astype(np.float32), rtol=1e-4)


@pytest.mark.parametrize(("name", "table"), PAIRS[:4])
def test_partial_fit_goes_on(name, table):
    X, y = table()
    mine, theirs = both(name, **SMALL | {"batch_size": 10})
    for start in (0, 30, 60):
        for estimator in (mine, theirs):
            classes = {"classes": np.arange(4) if table is labels else np.unique(y)} if name[3] == "C" else {}
            estimator.partial_fit(X[start : start + 30], y[start : start + 30], **classes)
    assert mine.n_iter_ == 1
    assert len(mine.loss_curve_) == 3
    assert_same(mine, theirs, X)


@pytest.mark.parametrize(("name", "table"), PAIRS[:4])
def test_early_stopping_weighs_the_rows_that_are_kept_apart(name, table):
    X, y = table()
    weights = np.random.default_rng(1).uniform(0.1, 3, len(X))
    settings = SMALL | {"early_stopping": True, "validation_fraction": 0.3}
    mine, theirs = fitted(both(name, **settings), X, y, sample_weight=weights)
    assert_same(mine, theirs, X)


@pytest.mark.parametrize("change", [{"alpha": 10.0}, {"learning_rate_init": 0.5}, {"beta_1": 0.1}, {"batch_size": 5}])
@pytest.mark.parametrize("compile", [True, False])
def test_partial_fit_sees_the_parameters_that_changed(change, compile):
    X, y = iris()
    mine, theirs = both("MLPClassifier", **SMALL, compile=compile)
    for estimator in (mine, theirs):
        estimator.partial_fit(X, y, classes=np.unique(y))
        estimator.set_params(**change)
        estimator.partial_fit(X, y).partial_fit(X, y)
    assert_same(mine, theirs, X)


def test_a_warm_start_goes_on_with_a_new_optimizer():
    X, y = two_irises()
    pair = both("MLPClassifier", **SMALL | {"warm_start": True, "max_iter": 3})
    for _ in range(2):
        mine, theirs = fitted(pair, X, y)
    assert len(mine.loss_curve_) == 6
    assert len(mine.history_) == 6
    assert_same(mine, theirs, X)


def test_fit_without_a_warm_start_forgets():
    X, y = iris()
    (once,) = fitted([ours.MLPClassifier(**SMALL)], X, y)
    (twice,) = fitted(fitted([ours.MLPClassifier(**SMALL)], X[:100], y[:100]), X, y)
    assert twice.loss_curve_ == once.loss_curve_
    np.testing.assert_array_equal(twice.classes_, [0, 1, 2])


def test_one_class_only():
    X, _ = iris()
    (mine,) = fitted([ours.MLPClassifier(**SMALL)], X, np.full(150, "all"))
    assert set(mine.predict(X)) == {"all"}


def test_what_verbose_prints(capsys):
    X, y = two_irises()
    settings = {"solver": "sgd", "learning_rate": "adaptive", "tol": 10, "n_iter_no_change": 1, "verbose": True}
    mine, theirs = both("MLPClassifier", **SMALL | settings)
    fitted([theirs], X, y)
    expected = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Iteration")]
    fitted([mine], X, y)
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if line.startswith("Iteration")] == expected
    assert any("Setting learning rate to 0.0002" in line for line in printed)


def test_scores_of_probabilities_are_exact_where_they_are_tiny():
    X, y = two_irises()
    (mine,) = fitted([ours.MLPClassifier(**SMALL)], X, y)
    far = 1e4 * X[:1]
    logarithms = mine.predict_log_proba(far)
    assert np.isfinite(logarithms).all()
    score = mine.decision_function(far)[0]
    assert_allclose(logarithms, [[-max(score, 0), -max(-score, 0)]], atol=1e-12)
