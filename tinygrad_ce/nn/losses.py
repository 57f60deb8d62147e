"""The losses as modules: options are fixed when they are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_ce import losses
from tinygrad_ce.nn.module import Module


class _Loss(Module):
    """A loss with its options: called with predictions and targets."""

    function: Callable[..., Any]

    def __init__(self, **options: Any) -> None:
        self.options = options

    def forward(self, predictions: Any, targets: Any) -> Any:
        return type(self).function(predictions, targets, **self.options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.options.items())})"


class CrossEntropy(_Loss):
    """`tg.losses.cross_entropy` of probabilities, with its options.

    >>> CrossEntropy()(np.array([[0.5, 0.5]]), [0]).round(4)
    Tensor(0.6931)
    """

    function = staticmethod(losses.cross_entropy)


class SoftmaxCrossEntropy(_Loss):
    """`tg.losses.softmax_cross_entropy` of logits, with its options.

    >>> SoftmaxCrossEntropy(label_smoothing=0.1)(np.array([[0.0, 0.0]]), [0]).round(4)
    Tensor(0.6931)
    """

    function = staticmethod(losses.softmax_cross_entropy)


class BCE(_Loss):
    """`tg.losses.binary_cross_entropy` of probabilities, with its options.

    >>> BCE()(np.array([0.5]), [1.0]).round(4)
    Tensor(0.6931)
    """

    function = staticmethod(losses.binary_cross_entropy)


class SigmoidBCE(_Loss):
    """`tg.losses.sigmoid_binary_cross_entropy` of logits, with its options.

    >>> SigmoidBCE()(np.array([0.0]), [1.0]).round(4)
    Tensor(0.6931)
    """

    function = staticmethod(losses.sigmoid_binary_cross_entropy)


class MSE(_Loss):
    """`tg.losses.mse`, with its options.

    >>> MSE()(np.array([1.0, 3.0]), [1.0, 1.0])
    Tensor(2.)
    """

    function = staticmethod(losses.mse)


class NLL(_Loss):
    """`tg.losses.nll` of log-probabilities, with its options.

    >>> NLL()(np.log([[0.5, 0.5]]), [0]).round(4)
    Tensor(0.6931)
    """

    function = staticmethod(losses.nll)


class KLDivergence(_Loss):
    """`tg.losses.kl_divergence` of probabilities, with its options.

    >>> KLDivergence()(np.array([[0.5, 0.5]]), [[0.5, 0.5]])
    Tensor(0.)
    """

    function = staticmethod(losses.kl_divergence)


class Huber(_Loss):
    """`tg.losses.huber`, with its options.

    >>> Huber()(np.array([1.0, 5.0]), [1.0, 1.0])
    Tensor(1.75)
    """

    function = staticmethod(losses.huber)


class Hinge(_Loss):
    """`tg.losses.hinge` of scores, with its options.

    >>> Hinge()(np.array([[2.0, 0.0]]), [0])
    Tensor(0.)
    """

    function = staticmethod(losses.hinge)
