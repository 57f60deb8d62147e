"""Reports: what a trained model is worth on data that it has not seen, in scikit-learn's figures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.data.checks import extra, quoted
from tinygrad_ce.report.parts import Part, Picture, Report, Sentence, Table
from tinygrad_ce.report.words import format_number, several, short
from tinygrad_ce.train.answers import Answers, Contrast
from tinygrad_ce.train.weights import sample_weights
from tinygrad_ce.views import plots

PICTURE = "(a picture, which .figure(path) saves)"
BINS = 10  # of the probabilities, where calibration is measured
LABELS = {
    "accuracy": "accuracy",
    "exact_match": "all labels of a row right",
    "log_loss": "log loss",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "calibration_error": "calibration error",
}
RELIABILITY = ("probability", "was true", "rows")
MISTAKES = ("frequent mistake", "answered as", "rows")


@dataclass(frozen=True, eq=False, repr=False)
class ClassificationReport(Report):
    """How good a classifier's answers and its probabilities are; `print(report)` shows all of it.

    accuracy: the share of right answers; where each row has several labels, of right labels.
    exact_match: the share of rows in which all labels are right; None where there is one answer a row.
    log_loss: the mean of -log p of what was true. roc_auc, average_precision: of yes against no; of more classes, or of
    labels, the mean over each against the rest. calibration_error: how far a probability is from the share that was
    true, in the mean over ten bins: the probability of yes, or of more classes that of the answer.
    What is None is not defined for these data or this loss, and `notes` say why.
    classes: for each class or label its precision, recall, f1-score and support.
    confusion: (C, C) counts, row = the true class, column = the answer; of labels (L, 2, 2), a table for each.
    reliability: (bins, 3): a bin's mean probability, the share that was true, its rows (or their weights).
    contrasts: what the ROC curves are drawn from. table: scikit-learn's own classification report.

    Source of the calibration error: M. Naeini, G. Cooper, M. Hauskrecht, "Obtaining well calibrated probabilities using
    Bayesian binning", 2015.
    """

    accuracy: float
    exact_match: float | None
    log_loss: float | None
    roc_auc: float | None
    average_precision: float | None
    calibration_error: float | None
    classes: dict[str, dict[str, float]]
    confusion: Array
    reliability: Array
    contrasts: tuple[Contrast, ...]
    table: str
    notes: tuple[str, ...]

    @property
    def figures(self) -> dict[str, float]:
        """Those of the figures that are defined, by their names."""
        return {name: getattr(self, name) for name in LABELS if getattr(self, name) is not None}

    def figure(self, path: Any = None) -> Any:
        """Reliability and ROC curves as a matplotlib Figure (a notebook shows it); with a path, also saved there.

        ValueError if neither is defined for these data.
        """
        if not self.contrasts and not len(self.reliability):
            raise ValueError(f"report: there is no curve to draw: {'; '.join(self.notes)}")
        roc_curve = extra("sklearn.metrics").roc_curve
        curves = {c.name: roc_curve(c.true, c.score, sample_weight=c.weights)[:2] for c in self.contrasts}
        return plots.save(plots.reliability_figure(self.reliability, curves), path)

    @property
    def parts(self) -> list[Part]:
        """Tables of the classes, the figures, the calibration and the mistakes; what is not defined; the curves."""
        keys = next(iter(self.classes.values()), {})
        classes = [
            (short(name, 30), *(f"{value:g}" if key == "support" else f"{value:.2f}" for key, value in row.items()))
            for name, row in self.classes.items()
        ]
        tables = [
            _numbers([*classes, *_averages(self.table, len(keys))], ("", *keys)),
            _numbers([(LABELS[name], f"{value:.4f}") for name, value in self.figures.items()]),
            _numbers([(f"{p:.3f}", f"{share:.3f}", f"{rows:g}") for p, share, rows in self.reliability], RELIABILITY),
            _mistakes(list(self.classes), self.confusion),
        ]
        curves = Picture(lambda: self.figure()._repr_png_(), "reliability and ROC curves", least=600, text=PICTURE)
        return [*(table for table in tables if table.rows), *map(Sentence, self.notes), curves]


@dataclass(frozen=True, eq=False, repr=False)
class RegressionReport(Report):
    """How far a model's numbers are from the true ones, in the units of the table; `print(report)` shows it.

    rmse: the root of the mean squared error. mae: the mean absolute error. r2: the share of the targets' variance that
    is explained; None where it is not defined, and `notes` say why. Of several outputs, the mean over them.
    outputs: the same figures for each output. true, predicted: (N, K).
    """

    rmse: float
    mae: float
    r2: float | None
    outputs: dict[str, dict[str, float]]
    notes: tuple[str, ...]
    true: Array
    predicted: Array

    @property
    def figures(self) -> dict[str, float]:
        """Those of the figures that are defined, by their names."""
        return _defined(rmse=self.rmse, mae=self.mae, r2=self.r2)

    def figure(self, path: Any = None) -> Any:
        """What was predicted over what was true, and the residuals, as a matplotlib Figure; with a path, also saved."""
        return plots.save(plots.residuals_figure(self.true, self.predicted, tuple(self.outputs)), path)

    @property
    def parts(self) -> list[Part]:
        """A row for each output, and what is not defined; the pictures."""
        rows = [
            (short(name, 30), *(format_number(figures[key]) if key in figures else "" for key in ("rmse", "mae", "r2")))
            for name, figures in (self.outputs | ({"mean": self.figures} if len(self.outputs) > 1 else {})).items()
        ]
        picture = Picture(lambda: self.figure()._repr_png_(), "the residuals", least=600, text=PICTURE)
        notes = several(len(self.true), "row"), *self.notes
        return [_numbers(rows, ("", "RMSE", "MAE", "R²")), *map(Sentence, notes), picture]


def _numbers(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> Table:
    """A table whose columns are numbers, but for the first."""
    return Table(rows, header, right=frozenset(range(1, max(map(len, rows), default=1))))


# ---- of classes


def report_on_classes(answers: Answers) -> ClassificationReport:
    """The report of a classifier's answers. ImportError if scikit-learn is not there."""
    metrics, weights, names = extra("sklearn.metrics"), answers.weights, answers.names
    truth = answers.true, answers.predicted
    options: dict[str, Any] = {"labels": range(len(names)), "sample_weight": weights, "zero_division": 0}
    columns = metrics.precision_recall_fscore_support(*truth, **options)
    keys = ("precision", "recall", "f1-score", "support")
    every = answers.contrasts()
    contrasts = [contrast for contrast in every if contrast.has_both]
    reliability = _reliability(answers)
    match = metrics.accuracy_score(*truth, sample_weight=weights)
    return ClassificationReport(
        accuracy=float(np.average((truth[0] == truth[1]).reshape(len(truth[0]), -1).mean(axis=1), weights=weights)),
        exact_match=float(match) if answers.has_several_labels else None,
        log_loss=_log_loss(answers),
        roc_auc=_mean(metrics.roc_auc_score(c.true, c.score, sample_weight=c.weights) for c in contrasts),
        average_precision=_mean(
            metrics.average_precision_score(c.true, c.score, sample_weight=c.weights) for c in contrasts
        ),
        calibration_error=_calibration_error(reliability),
        classes={
            name: dict(zip(keys, map(float, row), strict=True)) for name, *row in zip(names, *columns, strict=True)
        },
        confusion=_confusion(answers),
        reliability=reliability,
        contrasts=tuple(contrasts),
        table=metrics.classification_report(*truth, target_names=[short(name, 30) for name in names], **options),
        notes=_notes(answers, [contrast.name for contrast in every if not contrast.has_both]),
    )


def _log_loss(answers: Answers) -> float | None:
    p, true, weights, labels = answers.probabilities, answers.true, answers.weights, range(len(answers.names))
    if p is None or len(labels) < 2:
        return None
    if answers.has_several_labels:
        p, true, weights, labels = p.ravel(), true.ravel(), _for_each_label(answers), range(2)
    return float(extra("sklearn.metrics").log_loss(true, p, labels=labels, sample_weight=weights))


def _for_each_label(answers: Answers) -> Array | None:
    """The weights of all labels, one row after the other."""
    return None if answers.weights is None else np.repeat(answers.weights, len(answers.names))


def _reliability(answers: Answers) -> Array:
    """The reliability table: of the probability of yes, or of more classes of that of the answer."""
    p, true, weights = answers.probabilities, answers.true, answers.weights
    if p is None:
        return np.zeros((0, 3))
    if answers.has_several_labels:
        return reliability_table(p.ravel(), true.ravel() == 1, _for_each_label(answers))
    if len(answers.names) == 2:
        return reliability_table(p[:, 1], true == 1, weights)
    return reliability_table(p.max(axis=1), true == answers.predicted, weights)


def reliability_table(p: Array, is_true: Array, weights: Array | None = None, bins: int = BINS) -> Array:
    """(bins, 3): mean probability, share that was true, and the rows (or their weight) of each bin that has some.

    As `sklearn.calibration.calibration_curve`, which knows neither the weights nor how many rows there are in a bin.
    p: (N,) probabilities. is_true: (N,) bool. weights: (N,), or None.

    >>> reliability_table(np.array([0.1, 0.9, 0.9]), np.array([False, True, False]), bins=2)
    array([[0.1, 0. , 1. ],
           [0.9, 0.5, 2. ]])
    """
    weights = np.ones(len(p)) if weights is None else weights
    bin_of = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], p)
    total, p_sum, true_sum = (np.bincount(bin_of, w, bins) for w in (weights, weights * p, weights * is_true))
    filled = total > 0
    return np.column_stack([p_sum[filled] / total[filled], true_sum[filled] / total[filled], total[filled]])


def _calibration_error(reliability: Array) -> float | None:
    p, share, rows = reliability.T
    return float(np.average(np.abs(p - share), weights=rows)) if len(rows) else None


def _confusion(answers: Answers) -> Array:
    metrics = extra("sklearn.metrics")
    truth, options = (answers.true, answers.predicted), {"sample_weight": answers.weights}
    if answers.has_several_labels:
        return np.asarray(metrics.multilabel_confusion_matrix(*truth, **options))
    return np.asarray(metrics.confusion_matrix(*truth, labels=range(len(answers.names)), **options))


def _notes(answers: Answers, without_contrast: Sequence[str]) -> tuple[str, ...]:
    notes = []
    if without_contrast:
        notes.append(
            "Left out of ROC AUC and average precision, which need rows of a class and rows of others: "
            + quoted(without_contrast)
        )
    if answers.probabilities is None:
        notes.append("Left out: log loss and calibration, because the loss is of no probabilities")
    return tuple(notes)


def _mean(values: Iterable[Any]) -> float | None:
    numbers = [float(value) for value in values]
    return sum(numbers) / len(numbers) if numbers else None


def _averages(table: str, columns: int) -> list[Sequence[str]]:
    """The last rows of scikit-learn's table, over all classes; the accuracy is none of them, it stands below."""
    lines = (re.split(r"\s{2,}", line.strip()) for line in table.strip("\n").split("\n\n")[-1].splitlines())
    return [line for line in lines if len(line) == 1 + columns]


def _mistakes(names: Sequence[str], counts: Array) -> Table:
    """The confusion where there is room for it; of more classes the mistakes that are most frequent."""
    if counts.ndim < 3 and len(names) > 8:
        return _frequent_mistakes(names, counts)
    header = ["label", "true no", "false yes", "false no", "true yes"]
    if counts.ndim < 3:
        header = [r"true \ answer", *(short(name, max(5, 56 // len(names) - 3)) for name in names)]
    rows = zip(names, counts.reshape(len(names), -1), strict=True)
    return _numbers([(short(name, 16), *(f"{count:g}" for count in row)) for name, row in rows], header)


def _frequent_mistakes(names: Sequence[str], counts: Array, most: int = 5) -> Table:
    wrong = np.where(np.eye(len(names), dtype=bool), 0, counts)
    cells = np.argsort(-wrong, axis=None, kind="stable")[:most]
    rows = [
        (short(names[i], 24), short(names[j], 24), f"{wrong[i, j]:g}")
        for i, j in zip(*np.unravel_index(cells, wrong.shape), strict=True)
        if wrong[i, j]
    ]
    return Table(rows, MISTAKES, right=frozenset({2}))


# ---- of numbers


def report_on_numbers(true: Array, predicted: Array, sample_weight: Any, names: Sequence[str]) -> RegressionReport:
    """The report of a regression: true and predicted (N, K), sample_weight (N,) or None, names of the K outputs."""
    weights = None
    if sample_weight is not None:
        weights = sample_weights("report", sample_weight, len(true), np.dtype(float))
        true, predicted, weights = true[weights > 0], predicted[weights > 0], weights[weights > 0]
    if not len(true):
        raise ValueError("report: no row counts: every row has weight 0")
    metrics = extra("sklearn.metrics")
    options = {"sample_weight": weights, "multioutput": "raw_values"}
    rmse = np.sqrt(metrics.mean_squared_error(true, predicted, **options))
    mae = metrics.mean_absolute_error(true, predicted, **options)
    varies = (true.min(axis=0) < true.max(axis=0)).tolist()
    explained = metrics.r2_score(true, predicted, **options).tolist() if any(varies) else varies
    r2 = [value if defined else None for value, defined in zip(explained, varies, strict=True)]
    constant = [name for name, defined in zip(names, varies, strict=True) if not defined]
    return RegressionReport(
        rmse=float(rmse.mean()),
        mae=float(mae.mean()),
        r2=_mean(value for value in r2 if value is not None),
        outputs={name: _defined(rmse=float(rmse[k]), mae=float(mae[k]), r2=r2[k]) for k, name in enumerate(names)},
        notes=(f"Left out: R² of {quoted(constant)}, whose true numbers are all the same",) if constant else (),
        true=true,
        predicted=predicted,
    )


def _defined(**figures: float | None) -> dict[str, float]:
    return {name: value for name, value in figures.items() if value is not None}
