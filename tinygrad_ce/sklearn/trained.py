"""A network that is trained already, as the network of an estimator."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from tinygrad_ce import nn
from tinygrad_ce.core import Array
from tinygrad_ce.data.checks import shown
from tinygrad_ce.export.forward import module_of
from tinygrad_ce.report.words import several
from tinygrad_ce.train.metrics import infer_task

OUTPUT_ACTIVATIONS = (nn.Softmax, nn.Sigmoid)


def trained_network(name: str, model: Any, of_classes: bool) -> tuple[nn.Module, int, int]:
    """A copy of the network, without what follows its scores, and the numbers of its inputs and outputs.

    name: of the estimator, for messages; of_classes: whether it is a classifier.
    Raises TypeError for what is no network, ValueError for one that was trained on classes where numbers are to be
    predicted, and the other way round.
    """
    where = f"{name}.from_trained"
    network = copy.deepcopy(module_of(where, model))
    task, other = task_of(model), "MLPRegressor" if of_classes else "MLPClassifier"
    if task is not None and (task != "numbers") != of_classes:
        raise ValueError(
            f"{where}: the network was trained on {task}, as its loss says: {other}.from_trained, or pass the network "
            "alone, trained.model"
        )
    if isinstance(network, nn.Sequential) and len(network) and isinstance(network[-1], OUTPUT_ACTIVATIONS):
        network.layers.pop()
    matrices = [parameter for parameter in network.parameters() if parameter.ndim == 2]
    if not matrices:
        raise TypeError(f"{where}: the model has no matrix of weights: {network!r}")
    return network, matrices[0].shape[0], matrices[-1].shape[1]


def classes_of(name: str, model: Any, classes: Any, outputs: int) -> Array:
    """The classes in the order of the outputs: as they were passed, or those of the preparation, or 0 to k - 1.

    Raises ValueError if they are not as many as the outputs tell apart, or two are alike.
    """
    number = max(outputs, 2)
    if classes is None:
        preparation = getattr(model, "preparation", None)
        classes = (preparation and preparation.class_names) or range(number)
    if np.ndim(classes) != 1 or not len(classes) == len(set(classes)) == number:
        raise ValueError(
            f"{name}.from_trained: classes={shown(classes)}, and the network has {several(outputs, 'output')}: pass "
            f"{number} names that differ, in the order of the outputs"
        )
    return np.array([*classes])


def task_of(model: Any) -> str | None:
    """What a Trainer, or what `tg.load` gave, was trained on: "classes", "binary" or "numbers"; None if unknown."""
    loss, task = getattr(model, "loss", None), getattr(model, "task", None)
    return task if isinstance(task, str) else None if loss is None else infer_task(loss)
