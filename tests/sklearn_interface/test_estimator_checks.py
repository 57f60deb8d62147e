"""scikit-learn's own checks of an estimator: none fails, and none is skipped but for a setting of its environment."""

from unittest import SkipTest

import pytest
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from tinygrad_ce import nn
from tinygrad_ce.sklearn import MLPClassifier, MLPRegressor


def network(n_in, n_out):
    """A module of one's own."""
    return nn.Sequential(nn.Dense(n_in, 12), nn.Tanh(), nn.Dense(12, n_out))


ESTIMATORS = [
    MLPClassifier((16,), max_iter=60, learning_rate_init=0.02),
    MLPRegressor(hidden_layer_sizes=(16,), max_iter=60, learning_rate_init=0.02),
    MLPClassifier(module=network, max_iter=60, learning_rate_init=0.02, label_smoothing=0.01),
]


def is_setting_of_the_environment(check):
    """Whether it runs only where a variable was set before SciPy was imported: nothing that an estimator can do."""
    return check.func.__name__ == "check_array_api_input"


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(ESTIMATORS)
def test_the_check_passes(estimator, check):
    if is_setting_of_the_environment(check):
        assert not estimator.__sklearn_tags__().array_api_support
        return
    try:
        check(estimator)
    except SkipTest as skipped:
        pytest.fail(f"skipped: {skipped}")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_check_estimator_finds_nothing():
    """With the other solver. (With dropout, twice a row is not a row of weight 2: it draws other numbers for each.)"""
    estimator = MLPRegressor(
        hidden_layer_sizes=(16,), activation="tanh", solver="sgd", max_iter=60, learning_rate_init=0.02
    )
    results = check_estimator(estimator, on_skip=None)
    assert len(results) > 50
    assert {r["check_name"] for r in results if r["status"] != "passed"} == {"check_array_api_input"}
