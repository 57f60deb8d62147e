"""PyTorch's own samples of the operations that we have: value, gradient and second gradient are compared.

    python tests/peers/opinfo.py [NAME...]

An operation is listed below in NumPy's or our words. What we refuse is counted, with its reason from REFUSALS, or else
its first message; what differs is printed, and is an error unless CONVENTIONS says why.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db

import tinygrad_ce as tg

ops, losses = tg.ops, tg.losses


def reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    def reduced(x: Any, dim: Any = None, keepdim: bool = False, **options: Any) -> Any:
        axis = tuple(dim) if isinstance(dim, (list, tuple)) else dim
        return function(x, axis=None if axis == () else axis, keepdims=keepdim, **options)

    return reduced


def spread(function: Callable[..., Any]) -> Callable[..., Any]:
    """var and std: PyTorch divides by n - 1 unless told otherwise."""

    def reduced(x: Any, dim: Any = None, unbiased: bool = True, correction: Any = None, keepdim: bool = False) -> Any:
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        ddof = int(unbiased) if correction is None else correction
        axis = tuple(dim) if isinstance(dim, (list, tuple)) else dim
        return function(x, axis=None if axis == () else axis, ddof=ddof, keepdims=keepdim)

    return reduced


def scaled(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, b, alpha=1: function(a, alpha * b)


def _subtracted_from(a: Any, b: Any, alpha: Any = 1) -> Any:
    return b - alpha * a


def _chunks(x: Any, chunks: int, dim: int = 0) -> Any:
    size = -(-x.shape[dim] // chunks)
    return np.split(x, [*range(size, x.shape[dim], size)], axis=dim)


def _squeezed(x: Any, dim: Any = None) -> Any:
    """PyTorch leaves an axis alone that is longer than 1."""
    axes = range(x.ndim) if dim is None else [d % max(x.ndim, 1) for d in ([dim] if np.ndim(dim) == 0 else dim)]
    return np.squeeze(x, tuple(axis for axis in axes if x.ndim and x.shape[axis] == 1))


def _difference(x: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:
    if n == 0:  # PyTorch leaves out what would be put before and behind
        return x
    return np.diff(np.concatenate([part for part in (prepend, x, append) if part is not None], axis=dim), n=n, axis=dim)


def _of_one_or_many(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: function(*x) if isinstance(x, (list, tuple)) else function(x)


def divided(a: Any, b: Any, rounding_mode: str | None = None) -> Any:
    quotient = a / b
    return quotient if rounding_mode is None else {"floor": np.floor, "trunc": np.trunc}[rounding_mode](quotient)


def clamped(x: Any, min: Any = None, max: Any = None) -> Any:
    return np.clip(x, min, max)


def with_logits(z: Any, y: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> Any:
    return losses.sigmoid_binary_cross_entropy(z, y, weight=weight, pos_weight=pos_weight, reduction=reduction)


def cross_entropy(z: Any, y: Any, weight: Any = None, ignore_index: Any = None, **options: Any) -> Any:
    axis = 0 if np.ndim(z) == 1 else 1
    ignore_index = -100 if ignore_index is None and y.dtype.kind == "i" else ignore_index
    weight = None if weight is None else weight.data
    return losses.softmax_cross_entropy(z, y, weight=weight, ignore_index=ignore_index, axis=axis, **options)


def huber(x: Any, y: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    return losses.huber(x, y, delta=delta, reduction=reduction)


def gathered(x: Any, dim: int, index: Any, **_: Any) -> Any:
    return np.take_along_axis(x, index, axis=dim)


def flattened(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    if x.ndim == 0:
        return np.reshape(x, (1,))
    first, last = start_dim % x.ndim, end_dim % x.ndim
    return np.reshape(x, (*x.shape[:first], int(np.prod(x.shape[first : last + 1])), *x.shape[last + 1 :]))


def sorted_values(x: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    if descending:
        raise NotImplementedError("descending")
    return np.sort(x, axis=dim)


OURS: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "erf": lambda x: ops.erf(x),
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "floor": np.floor,
    "log": np.log,
    "log10": np.log10,
    "log1p": np.log1p,
    "log2": np.log2,
    "neg": np.negative,
    "positive": np.positive,
    "reciprocal": np.reciprocal,
    "round": np.round,
    "sgn": np.sign,
    "sign": np.sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "square": np.square,
    "tan": np.tan,
    "tanh": np.tanh,
    "trunc": np.trunc,
    "sigmoid": ops.sigmoid,
    "nn.functional.relu": ops.relu,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "clone": lambda x, **_: np.copy(x),
    "deg2rad": lambda x: x * (np.pi / 180),
    "frac": lambda x: x - np.trunc(x),
    "nn.functional.logsigmoid": lambda x: -ops.softplus(-x),
    "nn.functional.tanhshrink": lambda x: x - np.tanh(x),
    "nn.functional.silu": lambda x: x * ops.sigmoid(x),
    "nn.functional.softsign": lambda x: x / (1 + np.abs(x)),
    "nn.functional.mish": lambda x: x * np.tanh(ops.softplus(x)),
    "isnan": np.isnan,
    "isfinite": np.isfinite,
    "isinf": np.isinf,
    "logical_not": np.logical_not,
    "add": scaled(np.add),
    "sub": scaled(np.subtract),
    "rsub": _subtracted_from,
    "mul": np.multiply,
    "div/no_rounding_mode": divided,
    "div/floor_rounding": divided,
    "div/trunc_rounding": divided,
    "true_divide": np.true_divide,
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
    "pow": np.power,
    "float_power": np.float_power,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "fmax": np.fmax,
    "fmin": np.fmin,
    "max/binary": np.maximum,
    "min/binary": np.minimum,
    "hypot": np.hypot,
    "logaddexp": np.logaddexp,
    "logaddexp2": np.logaddexp2,
    "xlogy": lambda a, b: ops.xlogy(a, b),
    "clamp": clamped,
    "clamp_min": clamped,
    "clamp_max": lambda x, max: np.clip(x, None, max),
    "lerp": lambda a, b, w: a + w * (b - a),
    "addcmul": lambda a, b, c, value=1: a + value * b * c,
    "addcdiv": lambda a, b, c, value=1: a + value * b / c,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
    "isclose": lambda a, b, **k: np.isclose(a, b, **k),
    "allclose": lambda a, b, **k: np.allclose(a, b, **k),
    "__radd__": lambda a, b: b + a,
    "__rsub__": lambda a, b: b - a,
    "__rmul__": lambda a, b: b * a,
    "__rdiv__": lambda a, b: b / a,
    "__rpow__": lambda a, b: b**a,
    "__rmod__": lambda a, b: b % a,
    "__rmatmul__": lambda a, b: b @ a,
    "where": lambda x, condition, y: np.where(condition, x, y),
    "masked_fill": lambda x, m, v: np.where(m, v, x),
    "sum": reduction(np.sum),
    "mean": reduction(np.mean),
    "amax": reduction(np.max),
    "amin": reduction(np.min),
    "nansum": reduction(np.nansum),
    "nanmean": reduction(np.nanmean),
    "prod": reduction(np.prod),
    "all": reduction(np.all),
    "any": reduction(np.any),
    "count_nonzero": reduction(np.count_nonzero),
    "argmax": reduction(np.argmax),
    "argmin": reduction(np.argmin),
    "max/reduction_no_dim": np.max,
    "min/reduction_no_dim": np.min,
    "max/reduction_with_dim": reduction(np.max),
    "min/reduction_with_dim": reduction(np.min),
    "logsumexp": reduction(ops.logsumexp),
    "var": spread(np.var),
    "var/unbiased": spread(np.var),
    "std": spread(np.std),
    "std/unbiased": spread(np.std),
    "cumsum": lambda x, dim, dtype=None: np.cumsum(x, axis=dim, dtype=dtype),
    "cumprod": lambda x, dim, dtype=None: np.cumprod(x, axis=dim, dtype=dtype),
    "sort": sorted_values,
    "msort": lambda x: np.sort(x, axis=0),
    "argsort": lambda x, dim=-1, descending=False, stable=False: np.argsort(
        x if not descending else -x, axis=dim, kind="stable"
    ),
    "diff": _difference,
    "trace": np.trace,
    "softmax": lambda x, dim, **_: ops.softmax(x, axis=dim),
    "log_softmax": lambda x, dim, **_: ops.log_softmax(x, axis=dim),
    "nn.functional.softmin": lambda x, dim: ops.softmax(-x, axis=dim),
    "nn.functional.softplus": lambda x, beta=1: ops.softplus(beta * x) / beta,
    "matmul": np.matmul,
    "mm": np.matmul,
    "bmm": np.matmul,
    "mv": np.matmul,
    "dot": np.dot,
    "vdot": np.vdot,
    "inner": np.inner,
    "outer": np.outer,
    "kron": np.kron,
    "linalg.vecdot": lambda a, b, dim=-1: np.sum(a * b, axis=dim),
    "tensordot": lambda a, b, dims: np.tensordot(a, b, dims),
    "einsum": lambda xs, equation: np.einsum(equation, *xs),
    "addmm": lambda c, a, b, beta=1, alpha=1: beta * c + alpha * (a @ b),
    "nn.functional.linear": lambda x, W, b=None: x @ np.transpose(W) + (0 if b is None else b),
    "linalg.multi_dot": lambda xs: np.linalg.multi_dot(xs),
    "linalg.diagonal": lambda x, offset=0, dim1=-2, dim2=-1: np.diagonal(x, offset, dim1, dim2),
    "linalg.vector_norm": lambda x, ord=2, dim=None, keepdim=False, **k: np.linalg.norm(
        x if dim is not None else np.ravel(x),
        ord,
        axis=dim if dim is None or np.ndim(dim) == 0 else tuple(dim),
        keepdims=keepdim,
        **k,
    ),
    "reshape": lambda x, shape: np.reshape(x, shape),
    "view": lambda x, *shape: np.reshape(x, shape[0] if len(shape) == 1 else shape),
    "ravel": np.ravel,
    "flatten": flattened,
    "squeeze": _squeezed,
    "squeeze/multiple": _squeezed,
    "unsqueeze": lambda x, dim: np.expand_dims(x, dim),
    "transpose": lambda x, a, b: np.swapaxes(x, a, b),
    "permute": lambda x, dims: np.transpose(x, dims),
    "movedim": lambda x, a, b: np.moveaxis(x, a, b),
    "T": lambda x: x.T,
    "mT": lambda x: x.mT,
    "t": np.transpose,
    "expand": lambda x, shape: np.broadcast_to(
        x, [x.shape[i - len(shape)] if n == -1 else n for i, n in enumerate(shape)]
    ),
    "broadcast_to": lambda x, shape: np.broadcast_to(x, shape),
    "cat": lambda xs, dim=0: np.concatenate(xs, axis=dim),
    "stack": lambda xs, dim=0: np.stack(xs, axis=dim),
    "hstack": np.hstack,
    "vstack": np.vstack,
    "dstack": np.dstack,
    "column_stack": np.column_stack,
    "flip": lambda x, dims: np.flip(x, dims),
    "fliplr": np.fliplr,
    "flipud": np.flipud,
    "roll": lambda x, shifts, dims=None: np.roll(x, shifts, dims),
    "tile": lambda x, reps: np.tile(x, reps),
    "rot90": lambda x, k=1, dims=(0, 1): np.rot90(x, k, dims),
    "tril": lambda x, k=0: np.tril(x, k),
    "triu": lambda x, k=0: np.triu(x, k),
    "diag": lambda x, k=0: np.diag(x, k),
    "diagonal": lambda x, offset=0, dim1=0, dim2=1: np.diagonal(x, offset, dim1, dim2),
    "atleast_1d": _of_one_or_many(np.atleast_1d),
    "atleast_2d": _of_one_or_many(np.atleast_2d),
    "__getitem__": lambda x, index: x[index],
    "gather": gathered,
    "take_along_dim": lambda x, index, dim=None: np.take_along_axis(x, index, axis=dim),
    "index_select": lambda x, dim, index: np.take(x, index, axis=dim),
    "take": lambda x, index: np.take(x, index),
    "repeat_interleave": lambda x, repeats, dim=None: np.repeat(x, repeats, axis=dim),
    "unbind": lambda x, dim=0: [*np.moveaxis(x, dim, 0)],
    "chunk": _chunks,
    "nn.functional.pad/constant": lambda x, pad, mode="constant", value=None: np.pad(
        x,
        [(0, 0)] * (x.ndim - len(pad) // 2) + [*zip(pad[::2], pad[1::2], strict=True)][::-1],
        constant_values=value or 0,
    ),
    "nn.functional.mse_loss": lambda x, y, reduction="mean": losses.mse(x, y, reduction=reduction),
    "nn.functional.huber_loss": huber,
    "nn.functional.binary_cross_entropy_with_logits": with_logits,
    "nn.functional.binary_cross_entropy": lambda p, y, weight=None, reduction="mean": losses.binary_cross_entropy(
        p, y, weight=weight, reduction=reduction
    ),
    "nn.functional.cross_entropy": cross_entropy,
    "nn.functional.nll_loss": lambda x, y, weight=None, ignore_index=-100, reduction="mean": losses.nll(
        x, y, weight=None if weight is None else weight.data, ignore_index=ignore_index, reduction=reduction, axis=1
    ),
    "nn.functional.gelu": lambda x, approximate="none": tg.nn.GELU(approximate=approximate)(x),
    "nn.functional.leaky_relu": lambda x, negative_slope=0.01: tg.nn.LeakyReLU(negative_slope)(x),
    "nn.functional.layer_norm": lambda x, shape, weight=None, bias=None, eps=1e-5: _layer_norm(
        x, shape, weight, bias, eps
    ),
}


def _layer_norm(x: Any, shape: Any, weight: Any, bias: Any, eps: float) -> Any:
    axes = tuple(range(-len(shape), 0))
    normal = (x - np.mean(x, axis=axes, keepdims=True)) / np.sqrt(np.var(x, axis=axes, keepdims=True) + eps)
    return normal * (1 if weight is None else weight) + (0 if bias is None else bias)


ONE_ELEMENT = "of a single number NumPy makes an array of one element"
# Where the two differ by agreement: the operation, and why.
CONVENTIONS: dict[str, str] = {
    "cumsum": ONE_ELEMENT,
    "cumprod": ONE_ELEMENT,
    "argsort": ONE_ELEMENT,
    "index_select": ONE_ELEMENT,
}
# Why samples of an operation are refused.
REFUSALS: dict[str, str] = {
    **dict.fromkeys(
        ("softmax", "log_softmax", "nn.functional.softmin"), "an axis without elements has no largest one, as in NumPy"
    ),
    "nn.functional.cross_entropy": "soft labels must be a probability distribution",
    "nn.functional.nll_loss": "the samples are no log-probabilities",
    "nn.functional.binary_cross_entropy": "weights must not be negative",
    "nn.functional.binary_cross_entropy_with_logits": "weights must not be negative",
    "nn.functional.pad/constant": "negative widths cut off, which np.pad refuses",
    "nn.functional.gelu": "there is the approximation by tanh only",
    "nn.functional.softplus": "there is no threshold: it is exact everywhere",
    "einsum": "np.einsum wants the ellipsis in the output too",
    "gather": "np.take_along_axis wants indices with the other axes of the array",
    "take_along_dim": "np.take_along_axis wants indices with the other axes of the array",
    "sort": "np.sort has no descending order",
    "cat": "np.concatenate takes no empty vector among matrices",
    **dict.fromkeys(
        ("logsumexp", "transpose", "mean", "linalg.vector_norm"), "a single number has no axis 0, as in NumPy"
    ),
    "tensordot": "np.tensordot wants axes of equal lengths, also where one is 1",
    "repeat_interleave": "np.repeat is not told the size of its result",
}


def converted(x: Any) -> Any:
    """Torch's tensors in a sample as ours; one that asks for gradients as one that does."""
    if isinstance(x, torch.Tensor):
        array = x.detach().numpy().copy()
        return (
            tg.Tensor(array, requires_grad=True)
            if x.requires_grad
            else tg.Tensor(array)
            if x.is_floating_point()
            else array
        )
    if isinstance(x, (list, tuple)):
        return type(x)(map(converted, x)) if type(x) in (list, tuple) else [*map(converted, x)]
    return np.dtype(str(x).removeprefix("torch.")) if isinstance(x, torch.dtype) else x


def leaves_of(x: Any) -> list[Any]:
    """What asks for gradients in the arguments of a sample, in order."""
    if isinstance(x, (list, tuple)):
        return [leaf for inner in x for leaf in leaves_of(inner)]
    if isinstance(x, dict):
        return leaves_of([*x.values()])
    return [x] if getattr(x, "requires_grad", False) is True else []


def weights_like(shape: Any, seed: int) -> np.ndarray:
    return np.cos(np.arange(int(np.prod(shape)), dtype=float) + seed).reshape(shape)


def theirs(op: Any, sample: Any) -> list[np.ndarray | None]:
    """Values, gradients and second gradients by PyTorch."""
    leaves = leaves_of([sample.input, *sample.args, sample.kwargs])
    out = op(sample.input, *sample.args, **sample.kwargs)
    outs = [o for o in (out if isinstance(out, (list, tuple)) else [out]) if isinstance(o, torch.Tensor)]
    if len(outs) == 2 and outs[0].is_floating_point() and not outs[1].is_floating_point():
        outs.pop()  # max, min and sort give the places too
    results: list[Any] = [o.detach().numpy() for o in outs] or [np.asarray(out)]
    for order in (1, 2):
        loss: Any = sum(
            (o * torch.tensor(weights_like(o.shape, order)).to(o.dtype)).sum() for o in outs if o.requires_grad
        )
        if not leaves or not isinstance(loss, torch.Tensor):
            break
        outs = torch.autograd.grad(loss, leaves, create_graph=True, allow_unused=True)  # type: ignore[assignment]
        results += [None if o is None else o.detach().numpy() for o in outs]
        outs = [o for o in outs if o is not None]
    return results


def ours(name: str, sample: Any) -> list[np.ndarray | None]:
    """The same by us."""
    arguments, options = converted([sample.input, *sample.args]), {k: converted(v) for k, v in sample.kwargs.items()}
    leaves = leaves_of([arguments, options])
    out = OURS[name](*arguments, **options)
    outs = [*out] if isinstance(out, (list, tuple)) else [out]
    results: list[Any] = [np.asarray(o.data if isinstance(o, tg.Tensor) else o) for o in outs]
    for order in (1, 2):
        loss: Any = sum(
            (
                np.sum(o * weights_like(o.shape, order).astype(o.dtype))
                for o in outs
                if getattr(o, "requires_grad", False)
            ),
            0,
        )
        if not leaves or not isinstance(loss, tg.Tensor):
            break
        outs = [*tg.gradients(loss, leaves, create_graph=True)]
        results += [None if o is None else o.data for o in outs]
    return results


def difference(mine: list[Any], expected: list[Any], dtype: torch.dtype) -> str | None:
    """Where the two differ, in words; None if they agree."""
    tolerance = 1e-9 if dtype is torch.float64 else 2e-4
    for k in range(max(len(mine), len(expected))):
        a = mine[k] if k < len(mine) else None
        b = expected[k] if k < len(expected) else None
        if a is None and b is None:
            continue
        a = np.zeros_like(b) if a is None else a
        b = np.zeros_like(a) if b is None else b
        if a.shape != b.shape:
            return f"result {k} has shape {a.shape}, and PyTorch's {b.shape}"
        scale = np.abs(b[np.isfinite(b)]).max(initial=1.0) if b.dtype.kind == "f" else 0
        if not np.allclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True):
            wrong = ~np.isclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            return f"result {k} at {at} is {a[at]!r}, and PyTorch's {b[at]!r}"
    return None


def main(names: list[str]) -> int:
    agreed, refused, differing = Counter[str](), Counter[str](), Counter[str]()
    reasons: dict[str, str] = {}
    for op in op_db:
        name = op.name + (f"/{op.variant_test_name}" if op.variant_test_name else "")
        name = name if name in OURS else op.name if op.name in OURS and not op.variant_test_name else name
        if name not in OURS or (names and name not in names):
            continue
        for dtype in (torch.float64, torch.float32):
            if dtype not in op.supported_dtypes("cpu"):
                continue
            for sample in op.sample_inputs("cpu", dtype, requires_grad=op.supports_autograd):
                try:
                    expected = theirs(op, sample)
                except (RuntimeError, NotImplementedError):
                    continue
                try:
                    mine = ours(name, sample)
                except Exception as error:
                    refused[name] += 1
                    reasons.setdefault(name, f"{type(error).__name__}: {str(error).strip().splitlines()[0][:150]}")
                    continue
                found = difference(mine, expected, dtype)
                if found is None:
                    agreed[name] += 1
                else:
                    differing[name] += 1
                    if differing[name] <= 3:
                        shown = [
                            tuple(x.shape) if isinstance(x, torch.Tensor) else x for x in (sample.input, *sample.args)
                        ]
                        print(
                            f"DIFFERS {name} {dtype} {shown} {sample.kwargs}: {found} {CONVENTIONS.get(name, '')}"[:400]
                        )
    for name, count in refused.items():
        print(f"refused {count:4} of {name}: {REFUSALS.get(name) or 'WITHOUT A REASON: ' + reasons[name]}")
    unexplained = sum(count for name, count in differing.items() if name not in CONVENTIONS)
    print(
        f"{sum(agreed.values())} samples of {len(agreed)} operations agree, {sum(refused.values())} are refused, "
        f"{sum(differing.values())} differ, {unexplained} of them without a convention"
    )
    missing = [name for name in OURS if not (agreed[name] or refused[name] or differing[name])]
    print("without samples:", ", ".join(missing) or "none")
    return 1 if unexplained else 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    torch.manual_seed(0)
    sys.exit(main(sys.argv[1:]))
