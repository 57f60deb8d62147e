"""The kernels ahead of time: a small call of each, with every kind of array that training gives it.

Numba compiles a loop when it is first called with a dtype and a number of dimensions. `tinygrad-ce warmup` makes these
calls, so that the compiled code lies on disk before a training asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce import kernels

WITH_LOOPS = ("rows", "cross_entropy", "binary_cross_entropy", "softmax", "elementwise", "optimizers")
DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def kernels_to_compile() -> list[tuple[str, Callable[[], None]]]:
    """A name, and a call that makes Numba compile the kernel of that name: for each kernel and kind of array."""
    return [(f"{name} ({dtype})", partial(_call_all, calls)) for dtype in DTYPES for name, calls in _calls(dtype)]


def _call_all(calls: Sequence[Callable[[], Any]]) -> None:
    for call in calls:
        call()


def _calls(dtype: np.dtype[Any]) -> Iterator[tuple[str, Sequence[Callable[[], Any]]]]:
    from tinygrad_ce.kernels import cross_entropy, elementwise, optimizers, softmax  # they bring Numba in
    from tinygrad_ce.kernels.rows import MAX_PANEL_CLASSES

    few, many = np.zeros((2, 3), dtype), np.zeros((2, MAX_PANEL_CLASSES + 1), dtype)
    y, w = np.zeros(2, np.int64), np.ones(many.shape[1], dtype)  # class weights may become arrays that are read only
    yield "xent, few classes", _loss("xent", (2,), few, y, 1.0)
    weighted = partial(cross_entropy.xent, many, y, w, smoothing=0.1)
    yield "xent, many classes", [*_loss("xent", (2,), many, y, 1.0), weighted]
    weighted = partial(cross_entropy.soft_xent, many, many, w)
    yield "soft_xent", [*_loss("soft_xent", (2,), many, many, 1.0), weighted]
    yield "sigmoid_xent", _loss("sigmoid_xent", (2, 3), few, few, 1.0, 1.0)
    yield "softmax, few classes", [partial(softmax.softmax, few)]
    yield "softmax, many classes", [partial(softmax.softmax, many)]
    yield "log_softmax, logsumexp", [partial(softmax.log_softmax, few), partial(softmax.logsumexp, few, axis=-1)]
    yield "sigmoid", [partial(elementwise.sigmoid, few)]
    yield "softplus", [partial(elementwise.softplus, few)]
    yield "tanh_slope, sigmoid_slope", [partial(elementwise.tanh_slope, few), partial(elementwise.sigmoid_slope, few)]
    yield "erf, erfc", [partial(elementwise.erf, few), partial(elementwise.erfc, few)]
    for shape in ((3,), (2, 3)):
        p, g, m, s = (np.ones(shape, dtype) for _ in range(4))
        of = f"{len(shape)}-D parameters"
        yield f"sgd, {of}", [partial(optimizers.sgd, p, g, 0.1, 0.0)]
        yield f"sgd_momentum, {of}", [partial(optimizers.sgd_momentum, p, g, m, 0.1, 0.9, False, 0.0)]
        yield f"adam, {of}", [partial(optimizers.adam, p, g, m, s, 0.1, 0.9, 0.999, 0.1, 1e-8, 0.0, 0.0)]
        yield f"rmsprop, {of}", [partial(optimizers.rmsprop, p, g, s, 0.1, 0.99, 1e-8, 0.0)]
        yield f"adagrad, {of}", [partial(optimizers.adagrad, p, g, s, 0.1, 1e-10, 0.0)]


def _loss(name: str, shape: tuple[int, ...], *values: Any) -> list[Callable[[], Any]]:
    """The loss, its gradient and both in one go, with each reduction. shape: of the losses that are not reduced."""
    loss, gradient, both = (kernels.find(name + end) for end in ("", "_grad", "_with_gradient"))
    calls: list[Callable[[], Any]] = []
    for reduction in ("none", "mean", "sum"):
        upstream = np.ones(shape if reduction == "none" else (), values[0].dtype)
        calls += [
            partial(loss, *values, reduction=reduction),
            partial(gradient, upstream, *values, reduction=reduction),
            partial(both, *values, reduction=reduction),
        ]
    return calls


# ---- what Numba says of it


def loops() -> dict[str, Any]:
    """The compiled loops by name; none where Numba is missing, or told to leave them as Python."""
    files = [import_module(f"{kernels.__name__}.{file}") for file in WITH_LOOPS]
    return {name: value for file in files for name, value in vars(file).items() if hasattr(value, "signatures")}


def compilations() -> int:
    """How often this process has compiled a loop that it did not find on disk."""
    return sum(sum(loop.stats.cache_misses.values()) for loop in loops().values())


def kept_in() -> Path | None:
    """The directory in which compiled loops are kept between runs; None if they are not kept."""
    paths = (loop.stats.cache_path for loop in loops().values())  # parts of loops are kept with their callers
    path = next((path for path in paths if path is not None), None)
    return None if path is None else Path(path).parents[1]  # below it, one folder for these versions of the kernels
