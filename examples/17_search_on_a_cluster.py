"""Learn to search for the best network on many processes or machines: GridSearchCV, joblib and a Dask cluster.

Run it: python examples/17_search_on_a_cluster.py [address of a scheduler, as in tcp://10.0.0.5:8786]
Without an address, it starts a small cluster in this process. It needs pip install "tinygrad_ce[data,cluster]".
"""

import sys
from contextlib import ExitStack

import numpy as np
from dask.distributed import Client, LocalCluster
from joblib import parallel_config
from sklearn.datasets import load_wine
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tinygrad_ce.sklearn import MLPClassifier

print("1. Data: 13 measurements of 178 wines from three growers; a quarter is kept for the end")
wine = load_wine(as_frame=True)
X, test_X, y, test_y = train_test_split(wine.data, wine.target, test_size=0.25, stratify=wine.target, random_state=0)
print(f"   train {len(X)}, test {len(test_X)}")

print("\n2. What is searched: the line that imports MLPClassifier is the only one that differs from scikit-learn's own")
network = MLPClassifier(learning_rate_init=0.02, max_iter=300, tol=1e-3, random_state=0)
candidates = {
    "mlpclassifier__hidden_layer_sizes": [(4,), (16,)],
    "mlpclassifier__alpha": [1e-4, 1.0],
    "mlpclassifier__dropout": [0.0, 0.5],  # not in scikit-learn's
}
pipeline = make_pipeline(StandardScaler(), network).set_output(transform="pandas")  # columns keep their names
search = GridSearchCV(pipeline, candidates, cv=4)

print("\n3. In this process, one fit after the other")
search.fit(X, y)
alone = search.cv_results_["mean_test_score"]
print(f"   {len(alone)} candidates on 4 folds; the best reaches {search.best_score_:.4f}")

print("\n4. The same on a cluster: inside of parallel_config, joblib sends each fit to a worker")
with ExitStack() as opened:
    if len(sys.argv) > 1:
        address = sys.argv[1]
    else:
        local = LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None)
        address = opened.enter_context(local)
    client = opened.enter_context(Client(address))
    opened.enter_context(parallel_config("dask"))
    print(f"   {len(client.scheduler_info()['workers'])} workers")
    search.fit(X, y)
np.testing.assert_array_equal(search.cv_results_["mean_test_score"], alone)
print("   every score is the same: a fit depends on its random_state, and not on where it runs")

print("\n5. The best of them")
for name, value in search.best_params_.items():
    print(f"   {name.removeprefix('mlpclassifier__')} = {value}")
accuracy = search.score(test_X, test_y)
print(f"   accuracy on the test part {accuracy:.4f}")
assert accuracy >= 0.95

print("\n6. Why it takes the first wine of the test part for what it does: slope times value of each measurement")
scaler, best = search.best_estimator_
explained = best.explain_row(scaler.transform(test_X), 0)
print("   " + "\n   ".join(str(explained).splitlines()[:7]))
