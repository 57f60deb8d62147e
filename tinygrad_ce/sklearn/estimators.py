"""MLPClassifier and MLPRegressor, with scikit-learn's parameters and some more."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import column_or_1d, compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from tinygrad_ce import ops
from tinygrad_ce.core import Array
from tinygrad_ce.missing_names import answering
from tinygrad_ce.sklearn.base import MultilayerPerceptron, as_before_if_it_fails
from tinygrad_ce.sklearn.trained import classes_of, task_of


class MLPClassifier(ClassifierMixin, MultilayerPerceptron):  # type: ignore[misc]
    """A network that tells classes apart: scikit-learn's MLPClassifier, trained by tinygrad_ce.

    scikit-learn's parameters mean what they mean there; solver="lbfgs" is not here. For one random_state the initial
    weights, the batches and so the curve are scikit-learn's too, to rounding. Besides:
    class_weight: "balanced", or {class: weight}; multiplied with sample_weight. label_smoothing: in [0, 1).
    dropout: the share of hidden units silenced in each step. batch_norm: after each hidden Dense.
    module: the network itself: a tg.nn.Module, of which a copy is trained, or a function of (n_in, n_out) that makes
    one; n_out is the number of classes, or 1 for two of them. It gives scores: no softmax or sigmoid at its end.
    compile: whether epochs run as compiled functions: True, False, or "auto": if they repay the compiling.
    There is a decision_function, which scikit-learn's own lacks: CalibratedClassifierCV and OneVsOneClassifier, which
    prefer it to probabilities, calibrate and compare log-odds.

    y: (N,) classes of any kind, or (N, k) zeros and ones, each label for itself. Fitted: scikit-learn's attributes
    (classes_, coefs_, loss_curve_...), module_ (in evaluation mode) and history_ (a tg.History).

    >>> data = tg.data.moons(100, seed=0)
    >>> model = MLPClassifier((16,), random_state=0, max_iter=500, learning_rate_init=0.05)
    >>> model.fit(data.X, data.y).predict([[0, 1]])
    array([0])
    """

    @partial(answering, label="MLPClassifier")
    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        class_weight: Any = None,
        label_smoothing: float = 0.0,
        dropout: float = 0.0,
        batch_norm: bool = False,
        module: Any = None,
        compile: bool | str = "auto",
    ) -> None:
        _store(self, locals())

    _checks_of_y: ClassVar[dict[str, Any]] = {}

    @classmethod
    def from_trained(cls, model: Any, classes: Any = None, **parameters: Any) -> MLPClassifier:
        """A fitted classifier around a copy of a network that is trained already; `partial_fit` trains it further.

        model: a Module, a Trainer, or what `tg.load` gave. X is what that network takes: prepared features. classes:
        their names in the order of the outputs, (k,); without them those of its preparation, or 0 to k - 1. Of several
        outputs the largest wins, or each is a label of its own if a Trainer's loss is binary; a single output is the
        log-odds of the second class. parameters: as of the class.
        Raises TypeError for what is no network, ValueError for one that was trained on numbers, or if the number of
        classes is another.

        >>> network = Dense(2, 3)
        >>> MLPClassifier.from_trained(network, ["a", "b", "c"]).predict(np.eye(2)).shape
        (2,)
        """
        estimator = cls(**parameters)
        estimator._adopt(model)
        outputs = estimator.n_outputs_
        multilabel = outputs > 1 and task_of(model) == "binary"
        estimator.classes_ = classes_of(cls.__name__, model, classes, outputs)
        estimator._multilabel = multilabel
        estimator.out_activation_ = "softmax" if outputs > 1 and not multilabel else "logistic"
        estimator._trainer = estimator._new_trainer()
        return estimator

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> MLPClassifier:
        """One epoch on these rows, which goes on from where the last one stopped. Returns the estimator.

        classes: all that there will be, (k,); needed in the first call. Raises ValueError for others later.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "MLPClassifier: partial_fit does not see all rows, so class_weight='balanced' cannot be computed: pass "
                "a dict, as sklearn.utils.compute_class_weight gives it for all rows"
            )
        with as_before_if_it_fails(self):
            if classes is not None:
                given = np.unique(classes)
                if not hasattr(self, "classes_"):
                    self._set_classes(given, multilabel=type_of_target(y) == "multilabel-indicator")
                elif not np.array_equal(given, np.sort(self.classes_)):
                    raise ValueError(
                        f"MLPClassifier: partial_fit got classes={given}, and in the first call there were "
                        f"{self.classes_}"
                    )
            elif not hasattr(self, "classes_"):
                raise ValueError(
                    "MLPClassifier: the first partial_fit must be told all classes: classes=np.unique(y_all)"
                )
            return self._fit(X, y, sample_weight, incremental=True)  # type: ignore[no-any-return]

    def _set_classes(self, classes: Array, multilabel: bool) -> None:
        self.classes_, self._multilabel = classes, multilabel
        alone = multilabel or len(classes) > 2
        self.n_outputs_ = len(classes) if alone else 1
        self.out_activation_ = "softmax" if alone and not multilabel else "logistic"

    def _encoded(self, y: Array, renew: bool, dtype: Any) -> Array:
        """(N,) indices for a softmax, else (N, k) zeros and ones. renew: whether earlier classes are forgotten."""
        check_classification_targets(y)
        kind = type_of_target(y)
        multilabel = kind == "multilabel-indicator"
        if kind == "multiclass-multioutput":
            raise ValueError(
                "MLPClassifier: y has several columns of classes; one column, or zeros and ones, is possible"
            )
        if not multilabel:
            y = column_or_1d(y, warn=True)
        classes = np.arange(y.shape[1]) if multilabel else np.unique(y)
        if renew or not hasattr(self, "classes_"):
            self._set_classes(classes, multilabel)
        new = np.setdiff1d(classes, self.classes_)
        if len(new) or multilabel != self._multilabel:
            raise ValueError(f"MLPClassifier: y has the classes {classes}, and there were {self.classes_} before")
        if multilabel:
            return np.asarray(y, dtype)
        order = np.argsort(self.classes_)  # those of a network that was trained before need not be sorted
        indices = order[np.searchsorted(self.classes_, y, sorter=order)]
        return indices if self.out_activation_ == "softmax" else indices[:, None].astype(dtype)

    def _row_weights(self, sample_weight: Any, y: Array, X: Array) -> Array | None:
        weights = super()._row_weights(sample_weight, y, X)
        if self.class_weight is None:
            return weights
        of_classes = compute_sample_weight(self.class_weight, y).astype(X.dtype)
        return of_classes if weights is None else weights * of_classes  # type: ignore[no-any-return]

    def _answers(self, scores: Array) -> Array:
        """(N,) indices of classes, or (N, k) zeros and ones for labels."""
        if self.out_activation_ == "softmax":
            indices: Array = np.argmax(scores, axis=1)
            return indices
        return np.asarray(scores > 0, np.int64)

    def _score(self, X: Array, targets: Array, sample_weight: Any = None) -> float:
        scores = self._scores(X)
        if not np.isfinite(scores).all():
            return float("nan")
        return float(accuracy_score(targets, self._answers(scores), sample_weight=sample_weight))

    def predict(self, X: Any) -> Array:
        """The class of each row, (N,); for labels (N, k) zeros and ones."""
        answers = self._answers(self._scores(self._checked(X)))
        if self._multilabel:
            return answers
        classes: Array = self.classes_[np.minimum(answers.reshape(-1), len(self.classes_) - 1)]
        return classes

    def decision_function(self, X: Any) -> Array:
        """The scores: (N, classes), the largest wins; of two classes (N,), of labels (N, k): above 0 is 1."""
        scores = self._scores(self._checked(X))
        return scores[:, 0] if self.n_outputs_ == 1 and not self._multilabel else scores

    def predict_proba(self, X: Any) -> Array:
        """(N, number of classes) probabilities that sum to 1; for labels (N, k), each for itself."""
        scores = self._scores(self._checked(X))
        probabilities: Array
        if self.out_activation_ == "softmax":
            probabilities = ops.softmax(scores)
        else:
            probabilities = ops.sigmoid(scores if self._multilabel else np.hstack([-scores, scores]))
        return probabilities

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithms of `predict_proba`, computed from the scores: exact also where a probability is 1e-300."""
        scores = self._scores(self._checked(X))
        logarithms: Array
        if self.out_activation_ == "softmax":
            logarithms = ops.log_softmax(scores)
        else:
            logarithms = -ops.softplus(-scores if self._multilabel else np.hstack([scores, -scores]))
        return logarithms

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(RegressorMixin, MultilayerPerceptron):  # type: ignore[misc]
    """A network that predicts numbers: scikit-learn's MLPRegressor, trained by tinygrad_ce.

    loss: "squared_error", or "poisson" for counts (y >= 0; the prediction is the exponential of the score).
    All other parameters, and what is fitted, as in `MLPClassifier`. y: (N,), or (N, k) for several outputs. loss_ adds
    the outputs up, as the gradient does; scikit-learn's takes their mean there, and is the same for one output.

    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> model = MLPRegressor(hidden_layer_sizes=(20,), random_state=0, max_iter=1000, learning_rate_init=0.02, tol=1e-5)
    >>> bool(model.fit(X, X[:, 0] ** 2).score(X, X[:, 0] ** 2) > 0.95)
    True
    """

    @partial(answering, label="MLPRegressor")
    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: float = 0.0,
        batch_norm: bool = False,
        module: Any = None,
        compile: bool | str = "auto",
    ) -> None:
        _store(self, locals())

    _checks_of_y: ClassVar[dict[str, Any]] = {"y_numeric": True}

    @classmethod
    def from_trained(cls, model: Any, **parameters: Any) -> MLPRegressor:
        """A fitted regressor around a copy of a network that is trained already; `partial_fit` trains it further.

        model: a Module, a Trainer, or what `tg.load` gave. X, and the numbers that are predicted, are what that network
        takes and gives. parameters: as of the class. Raises TypeError for what is no network, ValueError for one that
        was trained on classes.

        >>> MLPRegressor.from_trained(Dense(2, 1)).predict(np.eye(2)).shape
        (2,)
        """
        estimator = cls(**parameters)
        estimator._adopt(model)
        estimator.out_activation_ = "exp" if estimator.loss == "poisson" else "identity"
        estimator._trainer = estimator._new_trainer()
        return estimator

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """One epoch on these rows, which goes on from where the last one stopped. Returns the estimator."""
        with as_before_if_it_fails(self):
            return self._fit(X, y, sample_weight, incremental=True)  # type: ignore[no-any-return]

    def _encoded(self, y: Array, renew: bool, dtype: Any) -> Array:
        """(N, k) numbers."""
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if self.loss == "poisson" and (y < 0).any():
            raise ValueError(f"MLPRegressor: loss='poisson' is for counts, and y holds {y[y < 0][0]}")
        targets = np.asarray(y, dtype).reshape(len(y), -1)
        if renew or not hasattr(self, "n_outputs_"):
            self.n_outputs_, self.out_activation_ = targets.shape[1], "exp" if self.loss == "poisson" else "identity"
        elif targets.shape[1] != self.n_outputs_:
            raise ValueError(f"MLPRegressor: y has {targets.shape[1]} columns, and there were {self.n_outputs_} before")
        return targets

    def _score(self, X: Array, targets: Array, sample_weight: Any = None) -> float:
        predictions = self._predictions(X)
        if not np.isfinite(predictions).all():
            return float("nan")
        return float(r2_score(targets, predictions, sample_weight=sample_weight))

    def _predictions(self, X: Array) -> Array:
        scores = self._scores(X)
        return np.exp(scores) if self.out_activation_ == "exp" else scores

    def predict(self, X: Any) -> Array:
        """The number for each row, (N,); for several outputs (N, k)."""
        predictions = self._predictions(self._checked(X))
        return predictions[:, 0] if self.n_outputs_ == 1 else predictions


def _store(estimator: Any, arguments: dict[str, Any]) -> None:
    """Keep the arguments of __init__ as they are: what scikit-learn's get_params and clone expect."""
    vars(estimator).update({name: value for name, value in arguments.items() if name not in ("self", "__class__")})
