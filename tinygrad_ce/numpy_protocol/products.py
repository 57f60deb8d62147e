"""NumPy's products of vectors and matrices, on tensors."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from tinygrad_ce import ops
from tinygrad_ce.numpy_protocol.registry import flat, implements, in_dtype, rearrange, value
from tinygrad_ce.numpy_protocol.ufuncs import vecdot
from tinygrad_ce.ops.indexing import constant

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@implements(np.dot)
def dot(a: Any, b: Any) -> Any:
    a, b = value(a), value(b)
    if a.ndim == 0 or b.ndim == 0:
        return ops.mul(a, b)
    if b.ndim > 2:
        return tensordot(a, b, ((a.ndim - 1,), (b.ndim - 2,)))
    return ops.matmul(a, b)


@implements(np.inner)
def inner(a: Any, b: Any) -> Any:
    a, b = value(a), value(b)
    if a.ndim == 0 or b.ndim == 0:
        return ops.mul(a, b)
    return tensordot(a, b, ((a.ndim - 1,), (b.ndim - 1,)))


@implements(np.vdot)
def vdot(a: Any, b: Any) -> Any:
    return ops.matmul(flat(value(a)), flat(value(b)))


@implements(np.outer)
def outer(a: Any, b: Any) -> Any:
    return ops.reshape(value(a), shape=(-1, 1)) * ops.reshape(value(b), shape=(1, -1))


@implements(np.kron)
def kron(a: Any, b: Any) -> Any:
    a, b = value(a), value(b)
    ndim = max(a.ndim, b.ndim)
    left, right = ((1,) * (ndim - x.ndim) + x.shape for x in (a, b))
    wide = ops.reshape(a, shape=tuple(n for size in left for n in (size, 1)))
    fine = ops.reshape(b, shape=tuple(n for size in right for n in (1, size)))
    return ops.reshape(wide * fine, shape=tuple(n * m for n, m in zip(left, right, strict=True)))


@implements(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    a, b = value(a), value(b)
    if np.ndim(axes) == 0:
        n = operator.index(axes)
        axes = range(a.ndim - n, a.ndim), range(n)
    summed = [normalize_axis_tuple(pair, x.ndim) for pair, x in zip(axes, (a, b), strict=True)]
    if [a.shape[k] for k in summed[0]] != [b.shape[k] for k in summed[1]]:
        raise ValueError(
            f"np.tensordot: a has shape {a.shape} and b has shape {b.shape}; axes {summed[0]} and {summed[1]} "
            "are summed over and must have the same lengths"
        )
    first, second = LETTERS[: a.ndim], list(LETTERS[a.ndim : a.ndim + b.ndim])
    for i, j in zip(*summed, strict=True):
        second[j] = first[i]
    kept = [c for k, c in enumerate(first) if k not in summed[0]] + [c for c in second if c not in first]
    return ops.contract(a, b, subscripts=f"{first},{''.join(second)}->{''.join(kept)}")


@implements(np.einsum)
def einsum(*operands: Any, optimize: Any = False) -> Any:
    """np.einsum with its subscripts as a string, or as lists of numbers behind each operand."""
    if not isinstance(operands[0], str):
        operands = _in_letters(operands)
    return ops.einsum(operands[0], *operands[1:])


def _in_letters(operands: tuple[Any, ...]) -> tuple[Any, ...]:
    """einsum(a, [0, 1], b, [1, 2], [0, 2]) as einsum("ab,bc->ac", a, b)."""

    def term(places: Any) -> str:
        return "".join("..." if k is Ellipsis else LETTERS[operator.index(k)] for k in places)

    pairs = len(operands) // 2
    subscripts = ",".join(term(operands[2 * k + 1]) for k in range(pairs))
    if len(operands) % 2:
        subscripts += "->" + term(operands[-1])
    return subscripts, *operands[0 : 2 * pairs : 2]


@implements(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Any:
    return ops.reduce_sum(in_dtype(diagonal(a, offset, axis1, axis2), dtype), axis=-1)


@implements(np.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    return ops.diagonal(a, offset=offset, axis1=axis1, axis2=axis2)


@implements(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    if v.ndim == 2:
        return ops.diagonal(v, offset=k)
    return rearrange(np.diag, v, k)


@implements(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    return rearrange(np.diagflat, v, k)


@implements(np.tril)
def tril(m: Any, k: int = 0) -> Any:
    return ops.tril(m, k=k)


@implements(np.triu)
def triu(m: Any, k: int = 0) -> Any:
    return ops.triu(m, k=k)


# ---- the same under the names of the array standard, in np.linalg (NumPy 2.0)


@implements(np.linalg.outer)
def linalg_outer(x1: Any, x2: Any, /) -> Any:
    x1, x2 = value(x1), value(x2)
    if x1.ndim != 1 or x2.ndim != 1:
        raise ValueError(f"np.linalg.outer: the shapes are {x1.shape} and {x2.shape}, and two vectors are needed")
    return outer(x1, x2)


@implements(np.linalg.trace)
def linalg_trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    return trace(x, offset, -2, -1, dtype)


@implements(np.linalg.diagonal)
def linalg_diagonal(x: Any, /, *, offset: int = 0) -> Any:
    return diagonal(x, offset, -2, -1)


@implements(np.linalg.matmul)
def linalg_matmul(x1: Any, x2: Any, /) -> Any:
    return ops.matmul(x1, x2)


@implements(np.linalg.vecdot)
def linalg_vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    if axis != -1:
        x1, x2 = (ops.moveaxis(value(x), axis, -1) for x in (x1, x2))
    return vecdot(x1, x2)


@implements(np.linalg.tensordot)
def linalg_tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    return tensordot(x1, x2, axes)


@implements(np.linalg.multi_dot)
def multi_dot(arrays: Any) -> Any:
    product, *others = map(value, arrays)
    if not others or any(x.ndim != 2 for x in others[:-1]) or {product.ndim, others[-1].ndim} - {1, 2}:
        shapes = ", ".join(str(x.shape) for x in (product, *others))
        raise ValueError(
            f"np.linalg.multi_dot: the shapes are {shapes}; two or more matrices are needed, of which the first "
            "and the last may be vectors"
        )
    for x in others:
        product = dot(product, x)
    return product


@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: Any) -> Any:
    if operator.index(n) < 0:
        raise TypeError("np.linalg.matrix_power: a negative power needs an inverse, which has no derivative rule here")
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError(f"np.linalg.matrix_power: a has shape {a.shape}, and only square matrices have powers")
    if n == 0:
        return ops.broadcast_to(constant(np.eye(a.shape[-1], dtype=a.dtype)), shape=a.shape)
    product = a
    for _ in range(n - 1):
        product = ops.matmul(product, a)
    return product
