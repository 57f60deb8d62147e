"""Small real data sets from packages: digits, iris, wine and breast_cancer of scikit-learn, palmerpenguins."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tinygrad_ce.data.checks import extra
from tinygrad_ce.data.dataset import Dataset
from tinygrad_ce.data.table import from_csv


def digits() -> Dataset:
    """1797 handwritten digits of 8 x 8 grey values, as scikit-learn bundles them, scaled from 0..16 to 0..1.

    The pixels share one scale, so `standardize` leaves them alone: by itself, a pixel that is lit once in a thousand
    digits would become as loud as all the others.
    Raises ImportError where scikit-learn is not installed.

    >>> digits()
    Dataset('digits', 1797 rows, 64 features, 10 classes)
    """
    whole = _from_sklearn("digits")
    return replace(whole, X=whole.X / 16, numeric=np.zeros(whole.n_features, dtype=bool))


def iris() -> Dataset:
    """Four measures of 150 flowers of three kinds of iris (Fisher, 1936), as scikit-learn bundles them.

    Raises ImportError where scikit-learn is not installed.

    >>> iris().class_names
    ('setosa', 'versicolor', 'virginica')
    """
    return _from_sklearn("iris")


def wine() -> Dataset:
    """Thirteen chemical measures of 178 wines from three growers, as scikit-learn bundles them.

    Raises ImportError where scikit-learn is not installed.

    >>> wine()
    Dataset('wine', 178 rows, 13 features, 3 classes)
    """
    return _from_sklearn("wine")


def breast_cancer() -> Dataset:
    """Thirty measures of the cell nuclei of 569 tumours, as scikit-learn bundles them (Wisconsin, diagnostic).

    Raises ImportError where scikit-learn is not installed.

    >>> breast_cancer().class_names
    ('malignant', 'benign')
    """
    return _from_sklearn("breast_cancer")


def penguins(missing: str = "drop") -> Dataset:
    """Measures, island, sex and year of 344 penguins of three species (Gorman, Williams and Fraser, 2014).

    The table of the package palmerpenguins: four numbers, two texts, a year, and 11 rows in which a value is missing;
    missing="drop" leaves these out, so that 333 stay, and "mean" keeps them, as in `from_csv`.
    Raises ImportError where palmerpenguins is not installed.

    >>> penguins().class_names
    ('Adelie', 'Chinstrap', 'Gentoo')
    """
    spec = find_spec("palmerpenguins")  # importing it would import pandas
    folders = spec.submodule_search_locations if spec else extra("palmerpenguins").__path__
    path = Path(next(iter(folders or ()))) / "data" / "penguins.csv"
    return from_csv(path, "species", missing=missing)


def _from_sklearn(name: str) -> Dataset:
    bundle = getattr(extra("sklearn.datasets"), f"load_{name}")()
    X, y = np.asarray(bundle.data, dtype=np.float64), np.asarray(bundle.target, dtype=np.int64)
    feature_names = tuple(str(feature) for feature in bundle.feature_names)
    class_names = tuple(str(label) for label in bundle.target_names)
    return Dataset(X, y, feature_names, class_names, name, np.ones(X.shape[1], dtype=bool))
