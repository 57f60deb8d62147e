"""Data: toy sets, small real ones, a table of one's own; then `split`, `standardize`, `batches`, `one_hot`.

Every source gives a `Dataset`. The order of use is load, split, standardize (with the training part's statistics only,
or the test part would leak into training), batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_ce.data.checks import closest
from tinygrad_ce.data.dataset import Dataset
from tinygrad_ce.data.mnist1d import mnist1d
from tinygrad_ce.data.parts import batches, one_hot, split, standardize
from tinygrad_ce.data.preparation import Preparation
from tinygrad_ce.data.real import breast_cancer, digits, iris, penguins, wine
from tinygrad_ce.data.sample import sample_csv
from tinygrad_ce.data.table import from_csv, from_frame, predicts_numbers
from tinygrad_ce.data.toys import blobs, circles, moons, spirals, xor

__all__ = [
    "NAMES",
    "Dataset",
    "Preparation",
    "batches",
    "blobs",
    "breast_cancer",
    "circles",
    "digits",
    "from_csv",
    "from_frame",
    "iris",
    "load",
    "mnist1d",
    "moons",
    "one_hot",
    "penguins",
    "predicts_numbers",
    "sample_csv",
    "spirals",
    "split",
    "standardize",
    "wine",
    "xor",
]

NAMES: dict[str, Callable[..., Dataset]] = {
    "moons": moons,
    "circles": circles,
    "spirals": spirals,
    "xor": xor,
    "blobs": blobs,
    "digits": digits,
    "iris": iris,
    "wine": wine,
    "breast_cancer": breast_cancer,
    "penguins": penguins,
    "mnist1d": mnist1d,
}


def load(name: str, **options: Any) -> Dataset:
    """The data set of this name, made with these options of its function.

    Raises ValueError that lists the names for an unknown one, TypeError for an option that the function lacks.

    >>> load("moons", n=100)
    Dataset('moons', 100 rows, 2 features, 2 classes)
    """
    if not isinstance(name, str):
        raise TypeError(f"load: name is {name!r}; write one of {', '.join(NAMES)}")
    if name not in NAMES:
        raise ValueError(f"load: there is no data set {name!r};{closest(name, NAMES)} the names: {', '.join(NAMES)}")
    return NAMES[name](**options)
