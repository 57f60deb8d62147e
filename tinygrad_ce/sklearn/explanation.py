"""What each feature pushes the answer to one row: the gradient of its score, times the feature's value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.functional import gradients
from tinygrad_ce.report.parts import Heading, Part, Report, Sentence, Table
from tinygrad_ce.report.words import format_number, listed, several, short

MOST = 10  # features that are printed
LONGEST = 40  # letters of a name


@dataclass(frozen=True, eq=False, repr=False)
class RowExplanation(Report):
    """The pushes of the features of one row. Printed: the largest first, in size.

    what: the number that is explained, in words. score: what it is for this row. feature_names, values, pushes: (D,),
    in the order of the columns.
    """

    what: str
    score: float
    feature_names: tuple[str, ...]
    values: Array
    pushes: Array

    @property
    def order(self) -> list[int]:
        """The columns, the largest push in size first."""
        return [int(column) for column in np.argsort(-np.abs(self.pushes), kind="stable")]

    @property
    def parts(self) -> list[Part]:
        """The features that push most, the largest first."""
        rows = [
            (short(self.feature_names[j], LONGEST), format_number(self.values[j]), f"{self.pushes[j]:+.4g}")
            for j in self.order[:MOST]
        ]
        rest = len(self.pushes) - MOST
        more = [Sentence(f"and {several(rest, 'feature')} that push less")] if rest > 0 else []
        table = Table(rows, ("feature", "value", "pushes"), right=frozenset({1, 2}))
        return [Heading(f"{self.what}: {self.score:+.4g}"), table, *more]


def explain_row(estimator: Any, X: Array, i: int, target: Any) -> RowExplanation:
    """The explanation of row i of X by a fitted estimator; see `MultilayerPerceptron.explain_row`."""
    name = type(estimator).__name__
    if isinstance(i, bool) or not isinstance(i, (int, np.integer)) or not -len(X) <= i < len(X):
        raise IndexError(f"{name}.explain_row: there is no row {i!r}; X has {len(X)}")
    row = Tensor(np.asarray(X[[i]], estimator.module_.parameters()[0].dtype), requires_grad=True)
    scores = estimator.module_.eval()(row)[0]
    what, score = _explained(estimator, scores, target)
    (gradient,) = gradients(score, [row])
    names = getattr(estimator, "feature_names_in_", [f"x{j}" for j in range(X.shape[1])])
    return RowExplanation(what, score.item(), tuple(map(str, names)), X[i], gradient[0] * row.data[0])


def _explained(estimator: Any, scores: Any, target: Any) -> tuple[str, Any]:
    """The number that is explained, in words and as a Tensor."""
    if estimator.out_activation_ == "softmax":
        classes = [*estimator.classes_]
        chosen = int(scores.data.argmax()) if target is None else _position(target, classes)
        others = np.where(np.arange(len(classes)) == chosen, -np.inf, scores.data)
        second = int(others.argmax())
        return f"{classes[chosen]} before {classes[second]}, the lead in log-odds", scores[chosen] - scores[second]
    if is_classifier(estimator) and len(scores.data) == 1:
        classes = [*estimator.classes_]
        chosen = int(scores.data[0] > 0) if target is None else _position(target, classes)
        chosen = min(chosen, len(classes) - 1)
        return f"{classes[chosen]}, in log-odds", scores[0] if chosen else -scores[0]
    output = 0 if target is None else _position(target, range(len(scores.data)))
    unit = {"logistic": "log-odds", "exp": "the logarithm of the prediction"}.get(estimator.out_activation_, "")
    return f"output {output}" + (f", in {unit}" if unit else ""), scores[output]


def _position(target: Any, known: Any) -> int:
    if target not in known:
        raise ValueError(f"explain_row: target={target!r} is unknown; there are {listed(known, 20)}")
    return [*known].index(target)
