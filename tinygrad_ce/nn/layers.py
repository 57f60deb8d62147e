"""Dense, activations, Dropout, BatchNorm, LayerNorm, Embedding, Sequential and Residual."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Array, Tensor, array_of, interpreter
from tinygrad_ce.losses.arguments import checked
from tinygrad_ce.nn import init
from tinygrad_ce.nn.module import Kept, Module
from tinygrad_ce.source_lines import entering_user_code


def _positive(layer: str, **sizes: Any) -> None:
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
            raise ValueError(f"{layer}: {name}={size!r} must be a positive integer")


def _check_numbers(layer: str, **values: Any) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"{layer}: {name}={value!r} must be a number")


def _check_eps(layer: str, eps: float) -> None:
    _check_numbers(layer, eps=eps)
    if not 0 <= eps < math.inf:
        raise ValueError(f"{layer}: eps={eps} must be a number that is not negative")


class Sequential(Module):
    """Modules (or plain functions of one tensor), one after the other.

    >>> model = Sequential(Dense(2, 3), Tanh(), Dense(3, 2))
    >>> model(np.zeros((5, 2))).shape
    (5, 2)
    """

    def __init__(self, *layers: Module | Callable[[Any], Any]) -> None:
        for i, layer in enumerate(layers):
            name = type(self).__name__
            if isinstance(layer, type) and issubclass(layer, Module):
                sizes = "(...)" if signature(layer).parameters else "()"
                raise TypeError(f"{name}: layer {i} is the class {layer.__name__}; write {layer.__name__}{sizes}")
            if not callable(layer):
                hint = f": write {name}(*layers)" if isinstance(layer, (list, tuple)) else ""
                raise TypeError(f"{name}: layer {i} is {type(layer).__name__}, which cannot be called{hint}")
        self.layers = list(layers)

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            if isinstance(layer, Module):
                x = layer(x)
            else:
                with entering_user_code():
                    x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, i: int) -> Any:
        return self.layers[i]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(repr(layer) for layer in self.layers)})"


class Residual(Sequential):
    """x + f(x), where f is the layers one after the other: the gradient has a way around them.

    x: any shape that the layers give back. Raises ValueError, with both shapes, where they give another one.

    >>> Residual(Dense(3, 8), ReLU(), Dense(8, 3))(np.zeros((5, 3))).shape
    (5, 3)

    Source: K. He et al., "Deep residual learning for image recognition", 2016.
    """

    def forward(self, x: Any) -> Any:
        out = super().forward(x)
        if out.shape != x.shape:
            n = x.shape[-1] if x.ndim else 1
            raise ValueError(
                f"Residual: x + f(x) needs one shape, and x has {x.shape}, f(x) has {out.shape}: let the last layer "
                f"give what the first one takes, as in Residual(Dense({n}, 8), ReLU(), Dense(8, {n}))"
            )
        return x + out


class Dense(Module):
    """x W + b: every output is a weighted sum of all inputs.

    n_in, n_out: sizes; x has shape (N, n_in) (more axes in front are fine), W (n_in, n_out), b (n_out,).
    bias: whether there is a b. init: the name of an initializer in `tg.nn.init`, or a function of (n_in, n_out).
    Integers and booleans are taken as numbers in the dtype of W.

    >>> Dense(3, 2)(np.ones((4, 3))).shape
    (4, 2)
    """

    def __init__(
        self, n_in: int, n_out: int, bias: bool = True, init: str | Callable[[int, int], Array] = "glorot_uniform"
    ) -> None:
        _positive("Dense", n_in=n_in, n_out=n_out)
        self.n_in, self.n_out = n_in, n_out
        self.W = Tensor(_initial(init, n_in, n_out), requires_grad=True)
        self.b = Tensor(np.zeros(n_out), requires_grad=True) if bias else None

    def forward(self, x: Any) -> Any:
        if not (isinstance(x, Tensor) and x.requires_grad):  # what asks for gradients is floating
            x = _floating(x, self.W)
        return ops.affine(x, self.W, self.b) if self.b is not None else ops.matmul(x, self.W)

    def __repr__(self) -> str:
        return f"Dense({self.n_in}, {self.n_out}{'' if self.b is not None else ', bias=False'})"


_initial = init.initial  # Dense has an argument called init


class _Activation(Module):
    """A function of each element, without parameters."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Sigmoid(_Activation):
    """1 / (1 + exp(-x)), element by element.

    >>> Sigmoid()(np.array([0.0, 800.0]))
    array([0.5, 1. ])
    """

    def forward(self, x: Any) -> Any:
        return ops.sigmoid(x)


class Tanh(_Activation):
    """tanh(x), element by element.

    >>> Tanh()(np.array([0.0, 20.0]))
    array([0., 1.])
    """

    def forward(self, x: Any) -> Any:
        return ops.tanh(x)


class ReLU(_Activation):
    """max(x, 0), element by element.

    >>> ReLU()(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    def forward(self, x: Any) -> Any:
        return ops.relu(x)


class LeakyReLU(_Activation):
    """x where x > 0, else slope * x, element by element: a ReLU whose gradient is never 0. At 0 its slope is `slope`.

    slope: a finite number; TypeError and ValueError for others. Source: A. Maas et al., "Rectifier nonlinearities
    improve neural network acoustic models", 2013.

    >>> LeakyReLU(0.1)(np.array([-2.0, 3.0]))
    array([-0.2,  3. ])
    """

    def __init__(self, slope: float = 0.01) -> None:
        _check_numbers("LeakyReLU", slope=slope)
        if not math.isfinite(slope):
            raise ValueError(f"LeakyReLU: slope={slope} must be a finite number")
        self.slope = float(slope)

    def forward(self, x: Any) -> Any:
        return ops.where(ops.greater(x, 0), x, x * self.slope)

    def __repr__(self) -> str:
        return f"LeakyReLU({self.slope:g})"


class SiLU(_Activation):
    """x * sigmoid(x), element by element. Source: S. Elfwing et al., "Sigmoid-weighted linear units", 2018.

    >>> SiLU()(np.array([0.0, 1.0]))
    array([0.        , 0.73105858])
    """

    def forward(self, x: Any) -> Any:
        return x * ops.sigmoid(x)


class GELU(_Activation):
    """x * P(Z <= x) for a normal Z, element by element.

    approximate: "none", by erfc; or "tanh", which is right to 5e-4: x (1 + tanh(u)) / 2 with
    u = sqrt(2 / pi) (x + 0.044715 x**3), computed as x sigmoid(2 u), which keeps its digits for negative x. ValueError
    for another.
    Source: D. Hendrycks, K. Gimpel, "Gaussian error linear units", 2016.

    >>> GELU()(np.array([-1.0, 0.0, 1.0]))
    array([-0.15865525,  0.        ,  0.84134475])
    """

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ValueError(f'GELU: approximate={approximate!r} is unknown; there are "none" and "tanh"')
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        if self.approximate == "none":
            return x * (0.5 * ops.erfc(-math.sqrt(0.5) * x))
        near = ops.clip(x, low=-30, high=30)  # beyond, the sigmoid is 0 or 1, and x**3 may be too large
        return x * ops.sigmoid(math.sqrt(8 / math.pi) * (near + 0.044715 * (near * near * near)))

    def __repr__(self) -> str:
        return "GELU()" if self.approximate == "none" else f"GELU({self.approximate!r})"


class Softplus(_Activation):
    """log(1 + exp(x)), element by element: a smooth ReLU.

    >>> Softplus()(np.array([-800.0, 800.0]))
    array([  0., 800.])
    """

    def forward(self, x: Any) -> Any:
        return ops.softplus(x)


class Softmax(_Activation):
    """exp(x) / sum(exp(x)) along an axis: positive numbers that sum to 1.

    >>> Softmax()(np.array([[0.0, 0.0]]))
    array([[0.5, 0.5]])
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        return ops.softmax(x, axis=self.axis)

    def __repr__(self) -> str:
        return f"Softmax({'' if self.axis == -1 else f'axis={self.axis}'})"


class Flatten(_Activation):
    """(N, ...) to (N, all the rest).

    >>> Flatten()(np.ones((4, 2, 3))).shape
    (4, 6)
    """

    def forward(self, x: Any) -> Any:
        return ops.reshape(x, shape=(x.shape[0], math.prod(x.shape[1:])))


class Dropout(Module):
    """In training, each element is 0 with probability `rate`, and the others are scaled up so that the mean stays.

    rate: in [0, 1). The mask comes from the one generator of `tg.nn.init`, or from `self.generator` where a Trainer has
    put its own. Source: N. Srivastava et al., "Dropout", 2014 (in its "inverted" form).

    >>> layer = Dropout(0.5).eval()
    >>> layer(np.ones(3))
    array([1., 1., 1.])
    """

    def __init__(self, rate: float = 0.5) -> None:
        _check_numbers("Dropout", rate=rate)
        if not 0 <= rate < 1:
            raise ValueError(f"Dropout: rate={rate} must lie in [0, 1)")
        self.rate = rate
        self.generator: np.random.Generator | None = None

    def forward(self, x: Any) -> Any:
        if x.dtype.kind != "f":
            raise TypeError(f"Dropout: x must be floating-point numbers, and has dtype {x.dtype}")
        if not self.training or self.rate == 0:
            return x
        return x * interpreter.get().draw(self.mask, x.shape, x.dtype)

    def mask(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """What a tensor is multiplied with: 0 with probability `rate`, else 1 / (1 - rate)."""
        generator = self.generator or init.generator()
        kept = generator.random(shape, dtype=np.float32) >= self.rate
        mask: Array = kept.astype(dtype) / dtype.type(1 - self.rate)
        return mask

    def __repr__(self) -> str:
        return f"Dropout({self.rate})"


class BatchNorm(Module):
    """Each feature shifted and scaled to mean 0 and variance 1 over the batch, then by a learnt shift and scale.

    n_features: the size of the last axis. momentum: how far the running averages, which evaluation uses, follow each
    batch. eps: added to the variance. Raises ValueError for a batch of one row in training, whose variance is 0.
    Source: S. Ioffe, C. Szegedy, "Batch normalization", 2015.

    >>> BatchNorm(1)(np.array([[1.0], [3.0]])).data.round(3)
    array([[-1.],
           [ 1.]])
    """

    def __init__(self, n_features: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        _positive("BatchNorm", n_features=n_features)
        _check_eps("BatchNorm", eps)
        _check_numbers("BatchNorm", momentum=momentum)
        if not 0 <= momentum <= 1:
            raise ValueError(f"BatchNorm: momentum={momentum} must lie in [0, 1]")
        self.n_features, self.momentum, self.eps = n_features, momentum, eps
        self.scale = Tensor(np.ones(n_features), requires_grad=True)
        self.shift = Tensor(np.zeros(n_features), requires_grad=True)
        self.running_mean = np.zeros(n_features)
        self.running_variance = np.ones(n_features)

    running_mean, running_variance = Kept(), Kept()

    def forward(self, x: Any) -> Any:
        x = _floating(x, self.scale)
        _check_features(self, x)
        if not self.training:
            here = interpreter.get()
            mean, variance = (here.read(self.variables[name]) for name in ("running_mean", "running_variance"))
        else:
            axes = tuple(range(x.ndim - 1))
            rows = x.size // self.n_features
            if rows < 2:
                raise ValueError(
                    "BatchNorm: a batch of one row has no variance; use larger batches in training, or model.eval()"
                )
            mean, variance = ops.reduce_mean(x, axis=axes), ops.variance(x, axis=axes)
            self._follow(mean, variance, rows)
        return (x - mean) / ops.sqrt(variance + self.eps) * self.scale + self.shift

    def _follow(self, mean: Any, variance: Any, rows: int) -> None:
        """Move the running averages; the variance with rows - 1, which is unbiased."""
        here = interpreter.get()
        unbiased = _detached(variance) * (rows / (rows - 1))
        for name, new in (("running_mean", _detached(mean)), ("running_variance", unbiased)):
            variable = self.variables[name]
            old = here.read(variable)
            here.write(variable, old + self.momentum * (new - old))

    def __repr__(self) -> str:
        return f"BatchNorm({self.n_features})"


class LayerNorm(Module):
    """Each row shifted and scaled to mean 0 and variance 1 over its features, then by a learnt shift and scale.

    n_features: the size of the last axis. eps: added to the variance.
    Source: J. Ba, J. Kiros, G. Hinton, "Layer normalization", 2016.

    >>> LayerNorm(2)(np.array([[1.0, 3.0]])).data.round(3)
    array([[-1.,  1.]])
    """

    def __init__(self, n_features: int, eps: float = 1e-5) -> None:
        _positive("LayerNorm", n_features=n_features)
        _check_eps("LayerNorm", eps)
        self.n_features, self.eps = n_features, eps
        self.scale = Tensor(np.ones(n_features), requires_grad=True)
        self.shift = Tensor(np.zeros(n_features), requires_grad=True)

    def forward(self, x: Any) -> Any:
        x = _floating(x, self.scale)
        _check_features(self, x)
        mean = ops.reduce_mean(x, axis=-1, keepdims=True)
        variance = ops.variance(x, axis=-1, keepdims=True)
        return (x - mean) / ops.sqrt(variance + self.eps) * self.scale + self.shift

    def __repr__(self) -> str:
        return f"LayerNorm({self.n_features})"


class Embedding(Module):
    """A learnt vector for each of `n_words` integers: x of any shape gives vectors in one more axis.

    n_words: how many. n_out: the length of a vector.
    Source: Y. Bengio et al., "A neural probabilistic language model", 2003.
    Raises TypeError for input that is not integer, IndexError for one outside 0 to n_words - 1.

    >>> Embedding(10, 4)(np.array([[1, 5, 1]])).shape
    (1, 3, 4)
    """

    def __init__(self, n_words: int, n_out: int) -> None:
        _positive("Embedding", n_words=n_words, n_out=n_out)
        self.n_words, self.n_out = n_words, n_out
        self.W = Tensor(init.generator().normal(0, 1, (n_words, n_out)), requires_grad=True)

    def forward(self, x: Any) -> Any:
        words = array_of(x)
        if words.dtype.kind not in "iu":
            raise TypeError(
                f"Embedding: words must be integers, and these have dtype {words.dtype}: cast with .astype(int)"
            )
        checked(x if isinstance(x, Tensor) else words, self._check)
        return ops.index(self.W, x if isinstance(x, Tensor) else words)

    def _check(self, words: Array) -> None:
        outside = (words < 0) | (words >= self.n_words)
        if outside.any():
            raise IndexError(f"Embedding: word {words[outside][0]} is outside 0 to {self.n_words - 1}")

    def __repr__(self) -> str:
        return f"Embedding({self.n_words}, {self.n_out})"


def _floating(x: Any, parameter: Tensor) -> Any:
    """Integers and booleans in the dtype of a parameter: int64 times float32 would be float64."""
    if not hasattr(x, "dtype"):
        x = np.asarray(x)
    return x if x.dtype.kind == "f" else ops.astype(x, dtype=parameter.dtype)


def _detached(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x


def _check_features(layer: Any, x: Any) -> None:
    if x.ndim < 2 or x.shape[-1] != layer.n_features:
        raise ValueError(
            f"{type(layer).__name__}: x has shape {x.shape}, and its last of at least two axes must have "
            f"{layer.n_features} features"
        )
