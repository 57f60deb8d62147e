"""The fit that both estimators share: checks, network, loss and optimizer, and then the Trainer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from tinygrad_ce import nn, optim
from tinygrad_ce.backward import no_grad
from tinygrad_ce.core import Array, Tensor, array_of
from tinygrad_ce.sklearn.epochs import AfterEpoch
from tinygrad_ce.sklearn.explanation import RowExplanation, explain_row
from tinygrad_ce.sklearn.loss import PenalizedLoss
from tinygrad_ce.sklearn.network import BatchOrder, check_outputs, of_users_own, perceptron
from tinygrad_ce.sklearn.optimizer import EpsilonHatAdam
from tinygrad_ce.sklearn.parameters import check_parameters
from tinygrad_ce.sklearn.rows import kept_apart, weights_of_rows
from tinygrad_ce.sklearn.trained import trained_network
from tinygrad_ce.source_lines import warn
from tinygrad_ce.train import NotFiniteError, Trainer
from tinygrad_ce.train.compiled import seconds_saved
from tinygrad_ce.train.history import History

FLOATS = (np.float64, np.float32)


@contextmanager
def as_before_if_it_fails(estimator: Any) -> Iterator[None]:
    """After an error inside, the estimator has the attributes of before: classes and network belong together."""
    before = {**vars(estimator)}
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


class MultilayerPerceptron(BaseEstimator):  # type: ignore[misc]
    """The base of both estimators: what they share, from the checks of a fit to `explain_row`."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train from new weights (with warm_start, from those that are there). Returns the estimator.

        X: (N, D) numbers. y: (N,), or (N, k) for several outputs. sample_weight: (N,), how much each row counts,
        or one number for all; rows of weight 0 are in no batch.
        Raises ValueError for what does not fit, also for parameters, and is then as it was; warns (ConvergenceWarning)
        if max_iter came first.
        """
        with as_before_if_it_fails(self):
            return self._fit(X, y, sample_weight, incremental=False)

    def _fit(self, X: Any, y: Any, sample_weight: Any, incremental: bool) -> Any:
        name = type(self).__name__
        parameters = signature(type(self)).parameters.values()
        check_parameters(name, self.get_params(deep=False), {p.name: p.default for p in parameters})
        if incremental and self.early_stopping:
            raise ValueError(f"{name}: partial_fit sees no epochs to choose from: pass early_stopping=False")
        first = not hasattr(self, "module_") or not (self.warm_start or incremental)
        if hasattr(X, "toarray"):
            raise TypeError(f"{name}: X is a sparse {type(X).__name__}; pass X.toarray()")
        X, y = validate_data(self, X, y, dtype=FLOATS, multi_output=True, reset=first, **self._checks_of_y)
        targets = self._encoded(y, first and not incremental, X.dtype)
        weights = self._row_weights(sample_weight, y, X)
        if weights is not None and not weights.any():
            raise ValueError(f"{name}: the weight of every row is zero: there is nothing to learn from")
        random_state = check_random_state(self.random_state)
        if first:
            self._start(X, random_state)
        if first or not incremental:
            self._trainer = self._new_trainer()
        else:  # the optimizer goes on as it is, and the loss is what the parameters say by now, as in scikit-learn
            self._renew_loss()
        held_out = None
        if self.early_stopping:
            stratify = targets if is_classifier(self) and self.n_outputs_ == 1 else None
            options = {"test_size": self.validation_fraction, "random_state": random_state, "stratify": stratify}
            (X, targets, weights), held_out = kept_apart(type(self).__name__, X, targets, weights, options)
        if weights is not None and not weights.all():  # what teaches nothing is left out
            X, targets, weights = (array[weights > 0] for array in (X, targets, weights))
        if weights is not None:
            targets = np.column_stack([targets, weights])
        self._train(X, targets, held_out, random_state, incremental)
        return self

    def _row_weights(self, sample_weight: Any, y: Array, X: Array) -> Array | None:
        """(N,) how much each row counts; None if all count the same."""
        return None if sample_weight is None else weights_of_rows(type(self).__name__, sample_weight, X)

    def _start(self, X: Array, random_state: np.random.RandomState) -> None:
        """A new network, and nothing learnt."""
        n_in = X.shape[1]
        if self.module is None:
            hidden = np.atleast_1d(np.asarray(self.hidden_layer_sizes, dtype=int)).tolist()
            sizes = (n_in, *hidden, self.n_outputs_)
            network: nn.Module = perceptron(sizes, self.activation, self.dropout, self.batch_norm, random_state)
        else:
            network = of_users_own(self.module, n_in, self.n_outputs_, random_state)
            check_outputs(type(self).__name__, network.astype(X.dtype), X[:1], self.n_outputs_)
        self._start_with(network.astype(X.dtype))

    def _start_with(self, network: nn.Module) -> None:
        """The network as it is, and no epoch yet."""
        self.module_ = network
        self.history_ = History()
        self.n_iter_, self.t_, self._waited = 0, 0, 0
        self.loss_curve_: list[float] = []
        self.best_loss_: float | None = None if self.early_stopping else np.inf
        self.validation_scores_: list[float] | None = [] if self.early_stopping else None
        self.best_validation_score_: float | None = -np.inf if self.early_stopping else None

    def _new_trainer(self) -> Trainer:
        parameters = self.module_.parameters()
        optimizer: optim.Optimizer
        if self.solver == "adam":
            betas = float(self.beta_1), float(self.beta_2)
            optimizer = EpsilonHatAdam(parameters, self.learning_rate_init, betas, self.epsilon)
        else:
            nesterov = bool(self.nesterovs_momentum and self.momentum)
            optimizer = optim.SGD(parameters, self.learning_rate_init, self.momentum, nesterov)
        trainer = Trainer(self.module_, self._new_loss(), optimizer)
        trainer.history = self.history_
        return trainer

    def _new_loss(self) -> PenalizedLoss:
        smoothing = getattr(self, "label_smoothing", 0.0)
        return PenalizedLoss(self.out_activation_, self._matrices(), self.alpha, smoothing)

    def _renew_loss(self) -> None:
        before: Any = self._trainer.loss
        loss = self._new_loss()
        if (loss.alpha, loss.label_smoothing) != (before.alpha, before.label_smoothing):  # else what is compiled stays
            self._trainer.loss = loss

    def _train(self, X: Array, targets: Array, held_out: Any, random_state: Any, incremental: bool) -> None:
        name, trainer = type(self).__name__, self._trainer
        rows, epochs = len(X), 1 if incremental else self.max_iter
        if self.batch_size != "auto" and self.batch_size > rows:
            warn(f"{name}: batch_size={self.batch_size} is clipped to the {rows} rows")
        batch_size = min(200 if self.batch_size == "auto" else int(self.batch_size), rows)
        self.n_iter_ = 0
        trainer.generator = BatchOrder(random_state, rows, self.shuffle)
        after_epoch = AfterEpoch(self, rows, (lambda: self._score(*held_out)) if held_out else None)
        try:
            history = trainer.fit(
                X,
                targets,
                epochs=epochs,
                batch_size=batch_size,
                callbacks=[after_epoch],
                compile=_compiles(self.compile, self.module_, epochs, -(-rows // batch_size)),
            )
        except NotFiniteError as error:
            raise ValueError(
                f"{name}: the training ran away, its numbers are not finite any more: pass a smaller "
                f"learning_rate_init than {self.learning_rate_init:g}, or standardize X"
            ) from error
        finally:
            trainer.generator = None
            self.module_.eval()
        if history.stopped == "interrupted" or not incremental:
            _warn_of_the_end(name, history.stopped, self.max_iter)
        if after_epoch.best_state is not None:
            self.module_.restore(after_epoch.best_state)

    def _adopt(self, model: Any) -> None:
        """Become fitted with a copy of a network that is trained already; what follows its scores is left out."""
        network, self.n_features_in_, self.n_outputs_ = trained_network(type(self).__name__, model, is_classifier(self))
        self._start_with(network.eval())

    # ---- what a fitted one answers

    def _scores(self, X: Array) -> Array:
        """(N, k): what the module gives, before the output activation."""
        dtype = self.module_.parameters()[0].dtype
        with no_grad():
            scores: Array = array_of(self.module_.eval()(np.asarray(X, dtype)))
        return scores

    def _checked(self, X: Any) -> Array:
        check_is_fitted(self)
        if hasattr(X, "toarray"):
            raise TypeError(f"{type(self).__name__}: X is a sparse {type(X).__name__}; pass X.toarray()")
        array: Array = validate_data(self, X, dtype=FLOATS, reset=False)
        return array

    def explain_row(self, X: Any, i: int, target: Any = None) -> RowExplanation:
        """What each feature pushes the answer to row i of X, as gradient * value; an object that prints itself.

        target: the class, or the number of the output, to explain; without it, the class that is predicted, or output
        0. Of one class among several, the lead over the runner-up is explained; else the score, which for two classes
        is the log-odds. Raises IndexError if there is no row i, ValueError for an unknown target.
        """
        return explain_row(self, self._checked(X), i, target)

    def _matrices(self) -> list[Tensor]:
        return [parameter for parameter in self.module_.parameters() if parameter.ndim >= 2]

    @property
    def coefs_(self) -> list[Array]:
        """The weights of each layer, (n_in, n_out): the arrays of the module itself."""
        return [matrix.data for matrix in self._matrices()]

    @property
    def intercepts_(self) -> list[Array]:
        """The bias of each Dense layer, (n_out,): the arrays of the module itself."""
        layers = [layer for layer in self.module_.modules() if isinstance(layer, nn.Dense)]
        return [layer.b.data for layer in layers if layer.b is not None]

    @property
    def n_layers_(self) -> int:
        """How many layers there are, with the input."""
        return len(self.coefs_) + 1


def _compiles(setting: bool | str, model: nn.Module, epochs: int, steps: int) -> bool:
    """Whether epochs are compiled: as Trainer decides it for "auto", but without a line about it for each fit."""
    if setting != "auto":
        return bool(setting)
    if seconds_saved(model, epochs, steps, has_callbacks=False) <= 0:
        return False
    from tinygrad_ce.program.epochs import can_compile  # not before it is needed

    return can_compile()


def _warn_of_the_end(name: str, stopped: str, max_iter: int) -> None:
    """Say why a training came to no end of its own."""
    if stopped == "interrupted":
        warn(f"{name}: training was interrupted (Ctrl-C)")
    elif stopped == "finished":
        warn(
            f"{name}: max_iter={max_iter} epochs are over, and the training has not converged yet: pass a larger "
            "max_iter, or a larger tol",
            ConvergenceWarning,
        )
