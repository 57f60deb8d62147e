"""What scikit-learn's estimators do after each epoch: keep the curve, slow down, and stop when nothing gets better."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_ce.core import Array
from tinygrad_ce.sklearn.optimizer import change_rate
from tinygrad_ce.train.callbacks import BuiltIn
from tinygrad_ce.train.loop import Loop

SLOWEST = 1e-6  # the learning rate below which "adaptive" does not go on


class AfterEpoch(BuiltIn):
    """Writes the figures of an epoch into the estimator; ends a fit that gets no better by `tol`.

    validation_score: measures the model on the rows that were kept apart, or None without early stopping.
    best_state: of the model, where that score was the best.
    """

    def __init__(self, estimator: Any, rows: int, validation_score: Callable[[], float] | None) -> None:
        self.estimator, self.rows, self.validation_score = estimator, rows, validation_score
        self.best_state: dict[str, Array] | None = None

    def after_epoch(self, loop: Loop) -> bool | None:
        """Keep the figures; True ends the training."""
        own = self.estimator
        own.n_iter_ += 1
        own.t_ += self.rows
        own.loss_ = loop.figures["loss"]
        own.loss_curve_.append(own.loss_)
        if own.verbose:
            print(f"Iteration {own.n_iter_}, loss = {own.loss_:.8f}")
        better = self._is_better_loss() if self.validation_score is None else self._is_better_score(loop)
        own._waited = 0 if better else own._waited + 1
        if own.solver == "sgd" and own.learning_rate == "invscaling":
            change_rate(loop.optimizer, own.learning_rate_init / (own.t_ + 1) ** own.power_t)
        return own._waited > own.n_iter_no_change and self._stops(loop)

    def _is_better_loss(self) -> bool:
        own = self.estimator
        better: bool = own.loss_ <= own.best_loss_ - own.tol
        own.best_loss_ = min(own.best_loss_, own.loss_)
        return better

    def _is_better_score(self, loop: Loop) -> bool:
        own, best = self.estimator, self.estimator.best_validation_score_
        score = self.validation_score()  # type: ignore[misc]
        own.validation_scores_.append(score)
        loop.history.append({"validation_score": score})
        if own.verbose:
            print(f"Validation score: {score:f}")
        if score > best:
            own.best_validation_score_, self.best_state = score, loop.model.state()
        return not score < best + own.tol

    def _stops(self, loop: Loop) -> bool:
        """Whether to stop: "adaptive" goes on with a fifth of the learning rate, until that is tiny."""
        own, rate = self.estimator, loop.optimizer.lr
        goes_on = own.solver == "sgd" and own.learning_rate == "adaptive" and rate > SLOWEST
        what = "Training loss" if self.validation_score is None else "Validation score"
        if own.verbose:
            end = f"Setting learning rate to {rate / 5:f}" if goes_on else "Stopping."
            print(f"{what} did not improve more than tol={own.tol:f} for {own.n_iter_no_change} epochs. {end}")
        if goes_on:
            change_rate(loop.optimizer, rate / 5)
            own._waited = 0
        return not goes_on
