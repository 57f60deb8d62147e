"""Small tables that the tests of this folder train on: standardized, in NumPy arrays."""

import numpy as np
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification


def standardized(X):
    return (X - X.mean(axis=0)) / X.std(axis=0)


def iris():
    """(150, 4) and three classes."""
    X, y = load_iris(return_X_y=True)
    return standardized(X), y


def two_irises():
    """(100, 4) and two classes, which are words."""
    X, y = iris()
    return X[:100], np.array(["setosa", "versicolor"])[y[:100]]


def labels():
    """(100, 8) and (100, 4) labels, each for itself."""
    X, y = make_multilabel_classification(100, 8, n_classes=4, random_state=0)
    return standardized(X), y


def diabetes():
    """(442, 10) and numbers between 0.2 and 3.5."""
    X, y = load_diabetes(return_X_y=True)
    return X * 20, y / 100


def two_targets():
    """(442, 10) and two columns of numbers."""
    X, y = diabetes()
    return X, np.column_stack([y, X[:, 0]])


def counts():
    """(442, 10) and whole numbers of at least 0."""
    X, y = diabetes()
    return X, np.round(y)
