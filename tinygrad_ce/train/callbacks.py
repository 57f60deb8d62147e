"""Callback: code of one's own at fixed places of the training loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tinygrad_ce.data.checks import closest

if TYPE_CHECKING:
    from tinygrad_ce.train.loop import Loop
    from tinygrad_ce.train.trainer import Trainer

BATCH_EVENTS = ("before_batch", "after_loss", "after_backward", "after_step")
EVENTS = ("before_fit", *BATCH_EVENTS, "after_epoch", "after_fit")


class Callback:
    """The base: write the events that you need; `fit(..., callbacks=[Mine()])` calls them at their places in the loop.

    Each event gets the `Loop` (see there for what it may read and change). An event that returns True, or calls
    `loop.stop()`, ends the training: after the current batch, or epoch. An error that it raises ends `fit`.
    The four batch events have no place in compiled epochs: with one of them, `fit` runs step by step (and warns, if
    compile=True had asked for compiled epochs).
    Raises TypeError, when the class is defined, for a method whose name looks like an event and is none.

    >>> class LargestGradient(Callback):
    ...     def before_fit(self, loop):
    ...         self.largest = 0.0
    ...     def after_backward(self, loop):
    ...         self.largest = max(self.largest, *(abs(p.grad).max() for p in loop.model.parameters()))
    ...     def after_epoch(self, loop):
    ...         print(f"epoch {loop.epoch}: largest gradient {self.largest:.3f}")
    ...         self.largest = 0.0
    >>> data = tg.data.moons(60, seed=0); tg.seed(0); model = Dense(2, 2)
    >>> trainer = Trainer(model, SoftmaxCrossEntropy(), tg.optim.SGD(model.parameters(), lr=0.5))
    >>> history = trainer.fit(data.X, data.y, epochs=2, seed=0, callbacks=LargestGradient())
    epoch 1: largest gradient ...
    epoch 2: largest gradient ...
    """

    def __init_subclass__(cls) -> None:
        for name, value in vars(cls).items():
            if callable(value) and name.startswith(("before_", "after_", "on_")) and name not in EVENTS:
                raise TypeError(
                    f"{cls.__name__}.{name} would never be called: the events are {', '.join(EVENTS)};"
                    f"{closest(name, EVENTS) or ' give a method of your own another name'}"
                )

    def before_fit(self, loop: Loop) -> bool | None:
        """Before the first epoch: set up what the other events use."""
        return None

    def before_batch(self, loop: Loop) -> bool | None:
        """Before the forward pass; `loop.rows` and `loop.targets` may be replaced, by augmented ones say."""
        return None

    def after_loss(self, loop: Loop) -> bool | None:
        """Before the backward pass; `loop.loss` may be replaced, by one with a penalty say."""
        return None

    def after_backward(self, loop: Loop) -> bool | None:
        """Before the step: the gradients as they came, before `clip_norm`; they may be changed."""
        return None

    def after_step(self, loop: Loop) -> bool | None:
        """After the optimizer has changed the parameters; the gradients are still there, as they were applied."""
        return None

    def after_epoch(self, loop: Loop) -> bool | None:
        """After the last batch and the validation; `loop.figures` are the epoch's."""
        return None

    def after_fit(self, loop: Loop) -> bool | None:
        """At the end, also after an error: clean up; `loop.stopped` says why it ended, and is None after an error."""
        return None


class BuiltIn(Callback):
    """The base of our own callbacks (`built_in.py`): none of them keeps epochs from being compiled.

    traced: whether its batch events belong to the compiled step, because they look at no numbers.
    """

    traced = False


PlainCallback = Callable[["Trainer", dict[str, float]], Any]  # called after each epoch; True ends the training


class AfterEpoch(Callback):
    """A plain function of the trainer and the epoch's figures, as a callback."""

    def __init__(self, function: PlainCallback) -> None:
        self.function = function

    def after_epoch(self, loop: Loop) -> bool | None:
        """Call the function; an object with a `reason` tells `History.stopped` why it has ended the training."""
        answer: bool | None = self.function(loop.trainer, loop.figures)
        if answer is True:
            loop.stop(getattr(self.function, "reason", "callback"))
        return answer


def overrides(callback: Callback, event: str) -> bool:
    """Whether the callback has an event of its own, and not the base's empty one."""
    method = getattr(callback, event)
    return getattr(method, "__func__", method) is not getattr(Callback, event)


def as_callbacks(callbacks: Any) -> list[Callback]:
    """What `fit(callbacks=)` was called with, as a list. TypeError for what is neither a Callback nor a function."""
    several = callbacks if isinstance(callbacks, Sequence) else [callbacks]
    return [callback if isinstance(callback, Callback) else _adapted(callback, callbacks) for callback in several]


def _adapted(callback: Any, callbacks: Any) -> Callback:
    if isinstance(callback, type) and issubclass(callback, Callback):
        raise TypeError(f"fit: callbacks holds the class {callback.__name__}; pass an object: {callback.__name__}()")
    if not callable(callback):
        raise TypeError(
            f"fit: callbacks={callbacks!r} must be a function of trainer and figures, a tg.train.Callback, or a list "
            "of those"
        )
    return AfterEpoch(callback)
