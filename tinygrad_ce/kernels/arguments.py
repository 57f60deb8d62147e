"""The arguments of the losses in the form that their loops take: contiguous, flat, in the dtype of the logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
ONES: dict[str, Array] = {"f": np.ones(1, np.float32), "d": np.ones(1)}


def upstream_share(reduction: str, count: int, upstream: Any) -> float:
    """What is upstream of each of so many losses; 1 where each has its own."""
    if reduction == "none":
        return 1.0
    return (1.0 if upstream is None else float(upstream)) / (count if reduction == "mean" and count else 1)


def own_upstream(upstream: Any, reduction: str, shape: tuple[int, ...], z: Array) -> Array:
    """What is upstream of each loss, flat; [1] where it is in the share."""
    if upstream is None or reduction != "none":
        if upstream is not None:
            check_same_shape(np.shape(upstream), ())
        return ONES[z.dtype.char]
    check_same_shape(np.shape(upstream), shape)
    flat: Array = np.ascontiguousarray(upstream, z.dtype).reshape(-1)
    return flat


def check_same_shape(shape: tuple[int, ...], other: tuple[int, ...]) -> None:
    """Raise ValueError unless they are the same: the loops trust their arrays to be alike."""
    if other != shape:
        raise ValueError(f"shapes {shape} and {other} differ")


def contiguous(x: Array) -> Array:
    """The array, copied if it does not lie in C order."""
    return x if x.flags.c_contiguous else np.array(x, order="C")


def class_weights(w: Any, z: Array) -> Array:
    """One weight for each class, in the dtype of z."""
    return np.array(np.broadcast_to(np.asarray(w, z.dtype), z.shape[-1:]))  # a copy: Numba compiles read-only anew


def reduced(loss: Array, total: Any, reduction: str) -> Any:
    """The losses, or their sum or mean."""
    if reduction == "none":
        return loss
    return loss.dtype.type(total / (len(loss) or 1) if reduction == "mean" else total)


def flat_weights(w: Any, shape: tuple[int, ...], z: Array) -> Any:
    """Weights in the dtype of z, flat: one for all, those of the last axes (again and again), or one for each."""
    if type(w) is float and w == 1:
        return ONES[z.dtype.char]
    w = np.asarray(w, z.dtype)
    if w.size == 1:
        return w.reshape(1)
    while w.ndim and w.shape[0] == 1:
        w = w[0]
    if w.shape == shape[len(shape) - w.ndim :]:
        return np.ascontiguousarray(w).reshape(-1)
    return np.array(np.broadcast_to(w, shape)).reshape(-1)  # a copy: Numba compiles anew for what is read only
