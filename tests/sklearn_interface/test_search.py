"""Estimators leave their process: pickled, in searches over processes, and on a cluster by joblib's back end."""

import copy
import pickle
import warnings

import cloudpickle
import numpy as np
import pytest
from joblib import parallel_config
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn_interface.tables import diabetes, iris, labels

import tinygrad_ce as tg
from tinygrad_ce.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"max_iter": 4, "random_state": 0, "batch_size": 50}
CANDIDATES = {"hidden_layer_sizes": [(4,), (8,)], "alpha": [1e-4, 1.0]}
FITTED = {
    "classes": lambda: MLPClassifier((4,), **SMALL).fit(*iris()),
    "labels": lambda: MLPClassifier((4,), dropout=0.1, batch_norm=True, **SMALL).fit(*labels()),
    "numbers": lambda: MLPRegressor(hidden_layer_sizes=(4,), early_stopping=True, **SMALL).fit(*diabetes()),
    "a module": lambda: MLPClassifier(module=tg.nn.Sequential(tg.nn.Dense(4, 3), tg.ops.relu), **SMALL).fit(*iris()),
}
TABLES = {"classes": iris, "labels": labels, "numbers": diabetes, "a module": iris}


@pytest.mark.parametrize("kind", FITTED)
@pytest.mark.parametrize(
    "way",
    [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x)), lambda x: pickle.loads(cloudpickle.dumps(x))],
    ids=["deepcopy", "pickle", "cloudpickle"],
)
def test_a_fitted_estimator_arrives_whole(kind, way):
    estimator, (X, y) = FITTED[kind](), TABLES[kind]()
    twin = way(estimator)
    np.testing.assert_array_equal(twin.predict(X), estimator.predict(X))
    assert twin.history_.columns == estimator.history_.columns
    if not estimator.early_stopping:
        for one in (estimator, twin):
            one.partial_fit(X, y)
        assert twin.loss_curve_ == estimator.loss_curve_


def test_clone_keeps_the_parameters_and_nothing_that_was_learnt():
    estimator = FITTED["a module"]()
    fresh = clone(estimator)
    assert not hasattr(fresh, "module_")
    assert fresh.get_params().keys() == estimator.get_params().keys()
    np.testing.assert_array_equal(fresh.fit(*iris()).coefs_[0], estimator.coefs_[0])


def searched(n_jobs):
    """What a search of four candidates finds on three folds."""
    search = GridSearchCV(MLPClassifier(**SMALL), CANDIDATES, cv=3, n_jobs=n_jobs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return search.fit(*iris())


def assert_same_search(found, expected):
    assert found.best_params_ == expected.best_params_
    np.testing.assert_array_equal(found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"])


@pytest.fixture(scope="module")
def in_this_process():
    """The search that the others must equal."""
    return searched(n_jobs=None)


@pytest.mark.filterwarnings("ignore:A worker stopped")
def test_a_search_in_two_processes_finds_the_same(in_this_process):
    from joblib.externals.loky import get_reusable_executor

    try:
        found = searched(n_jobs=2)
    finally:
        get_reusable_executor().shutdown(wait=True)
    assert_same_search(found, in_this_process)


def test_a_search_in_two_threads_finds_the_same(in_this_process):
    with parallel_config("threading"):
        assert_same_search(searched(n_jobs=2), in_this_process)


def test_a_search_on_a_cluster_finds_the_same(in_this_process):
    distributed = pytest.importorskip("dask.distributed")
    settings = {"processes": False, "n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**settings) as cluster, distributed.Client(cluster), parallel_config("dask"):
        assert_same_search(searched(n_jobs=-1), in_this_process)
