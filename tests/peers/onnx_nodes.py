"""The node tests of ONNX: each operation that we have gives the numbers that the standard's tests expect.

    python tests/peers/onnx_nodes.py

ONNX's arithmetic on integers is NumPy's on arrays; here all inputs are Tensors. Types that NumPy does not have
(bfloat16, float8, int4) and strings are left out.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import onnx
from onnx.backend.test.loader import load_model_tests

import tinygrad_ce as tg

ops, losses = tg.ops, tg.losses


def reduced(function: Callable[..., Any]) -> Callable[..., Any]:
    def reduction(x: Any, axes: Any = None, keepdims: int = 1, noop_with_empty_axes: int = 0, **_: Any) -> Any:
        axes = None if axes is None or np.size(axes) == 0 else tuple(int(a) for a in np.ravel(_numbers(axes)))
        if axes is None and noop_with_empty_axes:
            return (
                x
                if function in (np.sum, np.prod, np.max, np.min, np.mean, ops.logsumexp)
                else function(x, (), bool(keepdims))
            )
        return function(x, axis=axes, keepdims=bool(keepdims))

    return reduction


def _numbers(x: Any) -> np.ndarray:
    return np.asarray(x.data if isinstance(x, tg.Tensor) else x)


def _arg(function: Callable[..., Any]) -> Callable[..., Any]:
    def chosen(x: Any, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Any:
        if select_last_index:
            raise NotImplementedError("select_last_index")
        return function(x, axis=axis, keepdims=bool(keepdims))

    return chosen


def _gemm(a: Any, b: Any, c: Any = 0, alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0) -> Any:
    return alpha * ((a.T if transA else a) @ (b.T if transB else b)) + beta * c


def _transposed(x: Any, perm: Any = None) -> Any:
    return np.transpose(x, None if perm is None else tuple(perm))


def _flattened(x: Any, axis: int = 1) -> Any:
    axis = axis + x.ndim if axis < 0 else axis
    return np.reshape(x, (int(np.prod(x.shape[:axis])), -1))


def _norm(order: int) -> Callable[..., Any]:
    def norm(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return (
            np.sum(np.abs(x), axis=axis, keepdims=keepdims)
            if order == 1
            else np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))
        )

    return norm


def _cross_entropy(z: Any, y: Any, weight: Any = None, reduction: str = "mean", ignore_index: Any = None) -> Any:
    weight = None if weight is None else weight.data
    return losses.softmax_cross_entropy(z, y, weight=weight, reduction=reduction, ignore_index=ignore_index, axis=1)


def _nll(z: Any, y: Any, weight: Any = None, reduction: str = "mean", ignore_index: Any = None) -> Any:
    weight = None if weight is None else weight.data
    return losses.nll(z, y, weight=weight, reduction=reduction, ignore_index=ignore_index, axis=1)


def _gelu(x: Any, approximate: str = "none") -> Any:
    return tg.nn.GELU(approximate=approximate)(x)


def _split_shape(x: Any, shape: Any) -> tuple[int, ...]:
    return tuple(int(n) if n else x.shape[k] for k, n in enumerate(np.ravel(_numbers(shape))))


OURS: dict[str, Callable[..., Any]] = {
    "Abs": np.abs,
    "Acos": np.arccos,
    "Acosh": np.arccosh,
    "Asin": np.arcsin,
    "Asinh": np.arcsinh,
    "Atan": np.arctan,
    "Atanh": np.arctanh,
    "Ceil": np.ceil,
    "Cos": np.cos,
    "Cosh": np.cosh,
    "Erf": lambda x: ops.erf(x),
    "Exp": np.exp,
    "Floor": np.floor,
    "Log": np.log,
    "Neg": np.negative,
    "Reciprocal": np.reciprocal,
    "Relu": ops.relu,
    "Round": np.round,
    "Sigmoid": ops.sigmoid,
    "Sign": np.sign,
    "Sin": np.sin,
    "Sinh": np.sinh,
    "Softplus": ops.softplus,
    "Sqrt": np.sqrt,
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Tan": np.tan,
    "Tanh": np.tanh,
    "Identity": ops.identity,
    "Not": np.logical_not,
    "IsNaN": np.isnan,
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": lambda a, b: a / b if a.dtype.kind == "f" else np.trunc(a / b).astype(a.dtype),  # towards 0
    "Pow": np.power,
    "Mod": lambda a, b, fmod=0: np.fmod(a, b) if fmod else np.mod(a, b),
    "And": np.logical_and,
    "Or": np.logical_or,
    "Xor": np.logical_xor,
    "Equal": np.equal,
    "Greater": np.greater,
    "Less": np.less,
    "GreaterOrEqual": np.greater_equal,
    "LessOrEqual": np.less_equal,
    "MatMul": np.matmul,
    "Gemm": _gemm,
    "Max": lambda *xs: reduce(np.maximum, xs),
    "Min": lambda *xs: reduce(np.minimum, xs),
    "Sum": lambda *xs: sum(xs[1:], start=xs[0]),
    "Mean": lambda *xs: sum(xs[1:], start=xs[0]) / len(xs),
    "Clip": lambda x, low=None, high=None: np.clip(x, low, high),
    "Where": np.where,
    "Einsum": lambda *xs, equation: np.einsum(equation, *xs),
    "LeakyRelu": lambda x, alpha=0.01: tg.nn.LeakyReLU(alpha)(x),
    "Gelu": _gelu,
    "Softmax": lambda x, axis=-1: ops.softmax(x, axis=axis),
    "LogSoftmax": lambda x, axis=-1: ops.log_softmax(x, axis=axis),
    "ReduceSum": reduced(np.sum),
    "ReduceMean": reduced(np.mean),
    "ReduceMax": reduced(np.max),
    "ReduceMin": reduced(np.min),
    "ReduceProd": reduced(np.prod),
    "ReduceL1": reduced(_norm(1)),
    "ReduceL2": reduced(_norm(2)),
    "ReduceLogSumExp": reduced(ops.logsumexp),
    "ReduceSumSquare": reduced(lambda x, axis=None, keepdims=False: np.sum(x * x, axis=axis, keepdims=keepdims)),
    "ReduceLogSum": reduced(lambda x, axis=None, keepdims=False: np.log(np.sum(x, axis=axis, keepdims=keepdims))),
    "ArgMax": _arg(np.argmax),
    "ArgMin": _arg(np.argmin),
    "Transpose": _transposed,
    "Flatten": _flattened,
    "Reshape": lambda x, shape, allowzero=0: np.reshape(
        x, _split_shape(x, shape) if not allowzero else tuple(_numbers(shape))
    ),
    "Squeeze": lambda x, axes=None: np.squeeze(x, None if axes is None else tuple(int(a) for a in _numbers(axes))),
    "Unsqueeze": lambda x, axes: np.expand_dims(x, tuple(int(a) for a in _numbers(axes))),
    "Concat": lambda *xs, axis: np.concatenate(xs, axis=axis),
    "Expand": lambda x, shape: np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(int(n) for n in _numbers(shape)))),
    "Tile": lambda x, reps: np.tile(x, tuple(int(n) for n in _numbers(reps))),
    "Gather": lambda x, i, axis=0: np.take(x, _numbers(i), axis=axis),
    "GatherElements": lambda x, i, axis=0: np.take_along_axis(x, _numbers(i), axis=axis),
    "CumSum": lambda x, axis, exclusive=0, reverse=0: np.cumsum(x, axis=int(_numbers(axis))),
    "Trilu": lambda x, k=0, upper=1: (np.triu if upper else np.tril)(x, int(_numbers(k))),
    "Size": lambda x: np.asarray(np.size(x)),
    "Shape": lambda x, start=0, end=None: np.asarray(np.shape(x)[start:end]),
    "SoftmaxCrossEntropyLoss": _cross_entropy,
    "NegativeLogLikelihoodLoss": _nll,
    "NonZero": lambda x: np.asarray(np.nonzero(x)),
}

# Tests in which the standard says something else than NumPy, by name, with the reason.
CONVENTIONS: dict[str, str] = {}


def main() -> int:
    agreed, refused, wrong = Counter[str](), Counter[str](), 0
    reasons: dict[str, str] = {}
    for case in load_model_tests(kind="node"):
        nodes = case.model.graph.node
        if len(nodes) != 1 or nodes[0].op_type not in OURS:
            continue
        node, name = nodes[0], nodes[0].op_type
        options = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        options = {k: v.decode() if isinstance(v, bytes) else v for k, v in options.items()}
        for given, expected in case.data_sets:
            if not all(isinstance(x, np.ndarray) and x.dtype.kind in "fiub" and x.dtype.isbuiltin for x in given):
                continue
            named = iter(given)
            inputs = [tg.Tensor(next(named)) if n else None for n in node.input]
            inputs = [
                x.data if x is not None and x.dtype.kind in "iu" and k and "Loss" in name else x
                for k, x in enumerate(inputs)
            ]
            try:
                mine = np.asarray(getattr(out := OURS[name](*inputs, **options), "data", out))
            except Exception as error:
                refused[name] += 1
                reasons.setdefault(
                    name, f"{case.name}: {type(error).__name__}: {str(error).strip().splitlines()[0][:140]}"
                )
                continue
            theirs = np.asarray(expected[0])
            same = mine.shape == theirs.shape and np.allclose(mine, theirs, case.rtol, case.atol, equal_nan=True)
            if same or case.name in CONVENTIONS:
                agreed[name] += 1
            else:
                wrong += 1
                shown = f"{mine.ravel()[:4]} {mine.shape}, not {theirs.ravel()[:4]} {theirs.shape}"
                print(f"DIFFERS {case.name} ({name} {options}): {shown}")
    for name, count in refused.items():
        print(f"refused {count:3} of {name}: {reasons[name]}")
    print(
        f"{sum(agreed.values())} node tests of {len(agreed)} operations agree ({len(CONVENTIONS)} conventions), "
        f"{sum(refused.values())} are refused, {wrong} differ"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    sys.exit(main())
