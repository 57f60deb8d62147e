"""The kernels ahead of time: a small call of each, with every kind of array that training gives it.

Numba compiles a loop when it is first called with a dtype and a number of dimensions. `tinygrad-ce warmup` makes these
calls, so that the compiled code lies on disk before a training asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def kernels_to_compile() -> list[tuple[str, Callable[[], None]]]:
    """A name, and a call that makes Numba compile the kernel of that name: for each kernel and kind of array."""
    from tinygrad_ce import kernels  # brings Numba in, so not before it is needed

    labels = partial(kernels.first_bad_label, np.zeros(2, np.int64), classes=2, ignored=-1)
    return [
        ("first_bad_label", partial(_make, [labels])),
        *((f"{name} ({dtype})", partial(_make, each)) for dtype in DTYPES for name, each in _calls(kernels, dtype)),
    ]


def _make(calls: Sequence[Callable[[], Any]]) -> None:
    for call in calls:
        call()


def _calls(kernels: Any, dtype: np.dtype[Any]) -> Iterator[tuple[str, Sequence[Callable[[], Any]]]]:
    few, many = np.zeros((2, 3), dtype), np.zeros((2, kernels.FEW + 1), dtype)
    y, w = np.zeros(2, np.int64), np.ones(many.shape[1], dtype)  # class weights may become arrays that are read only
    weighted = partial(kernels.xent, many, y, w, smoothing=0.1)
    yield "xent, few classes", _loss(kernels, "xent", (2,), few, y, 1.0)
    yield "xent, many classes", [*_loss(kernels, "xent", (2,), many, y, 1.0), weighted]
    yield "soft_xent", [*_loss(kernels, "soft_xent", (2,), many, many, 1.0), partial(kernels.soft_xent, many, many, w)]
    yield "sigmoid_xent", _loss(kernels, "sigmoid_xent", (2, 3), few, few, 1.0, 1.0)
    yield "softmax, few classes", [partial(kernels.softmax, few)]
    yield "softmax, many classes", [partial(kernels.softmax, many)]
    yield "log_softmax, logsumexp", [partial(kernels.log_softmax, few), partial(kernels.logsumexp, few, axis=-1)]
    yield "sigmoid", [partial(kernels.sigmoid, few)]
    yield "softplus", [partial(kernels.softplus, few)]
    for shape in ((3,), (2, 3)):
        p, g, m, s = (np.ones(shape, dtype) for _ in range(4))
        of = f"{len(shape)}-D parameters"
        yield f"sgd, {of}", [partial(kernels.sgd, p, g, 0.1, 0.0)]
        yield f"sgd_momentum, {of}", [partial(kernels.sgd_momentum, p, g, m, 0.1, 0.9, False, 0.0)]
        yield f"adam, {of}", [partial(kernels.adam, p, g, m, s, 0.1, 0.9, 0.999, 0.1, 1e-8, 0.0, 0.0)]
        yield f"rmsprop, {of}", [partial(kernels.rmsprop, p, g, s, 0.1, 0.99, 1e-8, 0.0)]


def _loss(kernels: Any, name: str, shape: tuple[int, ...], *values: Any) -> list[Callable[[], Any]]:
    """The loss, its gradient and both in one go, with each reduction. shape: of the losses that are not reduced."""
    loss, gradient, both = (getattr(kernels, name + end) for end in ("", "_grad", "_with_gradient"))
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
    from tinygrad_ce import kernels

    return {name: value for name, value in vars(kernels).items() if hasattr(value, "signatures")}


def compilations() -> int:
    """How often this process has compiled a loop that it did not find on disk."""
    return sum(sum(loop.stats.cache_misses.values()) for loop in loops().values())


def kept_in() -> Path | None:
    """The directory in which compiled loops are kept between runs; None if they are not kept."""
    path = next(iter(loops().values())).stats.cache_path
    if path is None:
        return None
    folder = Path(path)  # one for the package, below the directory of the cache
    return folder if folder.name == "__pycache__" else folder.parent
