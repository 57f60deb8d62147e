"""Inputs for every primitive: what the generic tests of the engine walk over; a primitive without any fails there."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from sampling import (
    S,
    Sample,
    above_one,
    distribution,
    float32,
    is_floating,
    of_shapes,
    pairs,
    positive,
    reductions,
    soft,
    spread,
    strided,
    within_one,
)

from tinygrad_ce.core import REGISTRY, Primitive
from tinygrad_ce.ops.indexing import HERE

__all__ = ["SAMPLES", "Sample", "float32", "is_floating", "primitives", "strided", "text_of"]


def comparison() -> list[Sample]:
    """Booleans come out: no input has a gradient."""
    inputs = [(spread(2, 3), spread(3)), (np.array([1.0, 2.0]), np.array([1.0, 3.0])), (np.array([1, 0]), 1)]
    return [S(*both, smooth=False, constant=(0, 1)) for both in inputs]


def weighted_rows() -> list[Sample]:
    """Numbers of the classes and the logits that weight them; in some rows one class has most of the mass."""
    leading = spread(2, 3) + 5 * np.eye(3)[:2]
    return [
        S(spread(2, 3), spread(2, 3)),
        S(spread(2, 3), leading),
        S(spread(2, 3, 2), spread(2, 3, 2), axis=1),
        S(spread(3), leading[0], axis=0),
        S(spread(2, 1), spread(2, 1)),
        S(spread(0, 3), spread(0, 3)),
    ]


labels = np.array([2, 0, 1, 2])
ignoring = np.array([2, -1, 1, -1])


def class_losses(*first: Callable[[], np.ndarray]) -> list[Sample]:
    """Logits and class indices, after an upstream gradient where there is one."""

    def inputs(upstream: Callable[[], np.ndarray], y: np.ndarray, w: Any = 1.0) -> tuple[Any, ...]:
        return (*([upstream()] if first else []), spread(4, 3), y, w)

    def row() -> np.ndarray:
        return spread(4)

    weights = np.array([0.5, 0.0, 2.0])
    w = (3 if first else 2,)  # the position of the weights, which are constant
    return [
        S(*inputs(row, labels)),
        S(*inputs(row, labels), smoothing=0.1),
        S(*inputs(row, ignoring), smoothing=0.1, ignore_index=-1),
        S(*inputs(row, ignoring), ignore_index=-1),
        S(*inputs(row, labels), ignore_index=0),
        S(*inputs(row, labels, weights), constant=w),
        S(*inputs(row, ignoring, weights), constant=w, smoothing=0.3, ignore_index=-1),
        S(*inputs(spread, labels), reduction="mean"),
        S(*inputs(spread, labels), reduction="mean", smoothing=0.2),
        S(*inputs(spread, ignoring, weights), constant=w, reduction="sum", smoothing=0.2, ignore_index=-1),
        S(*([spread(1)] if first else []), spread(1, 2), np.array([1]), 2.0),
        S(*([spread(0)] if first else []), np.zeros((0, 3)), np.zeros(0, int), 1.0),
    ]


def soft_losses(*first: Callable[[], np.ndarray]) -> list[Sample]:
    """Logits, soft targets and weights of the classes, after an upstream gradient where there is one."""
    weights = np.array([0.5, 0.0, 2.0])
    rough = np.array([[0.0, 1.0, 0.0], [0.25, 0.0, 0.75]])

    def inputs(n: int, q: np.ndarray, w: Any, reduced: bool = False) -> tuple[Any, ...]:
        return (*([spread() if reduced else spread(n)] if first else []), spread(n, q.shape[1]), q, w)

    w = (3 if first else 2,)
    return [
        S(*inputs(4, distribution(4, 3), 1.0)),
        S(*inputs(4, distribution(4, 3), 1.7)),
        S(*inputs(4, distribution(4, 3), weights), constant=w, smoothing=0.2),
        S(*inputs(4, distribution(4, 3), 1.0, True), reduction="mean"),
        S(*inputs(4, distribution(4, 3), weights, True), constant=w, reduction="sum", smoothing=0.1),
        S(*inputs(2, rough, 1.0), smooth=bool(first)),
        S(*inputs(1, np.array([[1.0]]), 1.0)),
        S(*inputs(0, np.zeros((0, 3)), 1.0)),
    ]


def binary_losses(upstream: bool) -> list[Sample]:
    """Logits, targets and two weights of one shape, after an upstream gradient where there is one."""
    shapes: list[tuple[int, ...]] = [(4,), (2, 3), (), (0,), (2, 3), (3,)]
    weights: list[Any] = [1.0, positive(2, 3), 2.5, 1.0, 1.0, positive(3)]
    each: list[Any] = [1.0, positive(2, 3), 0.5, 1.0, positive(2, 3), 1.0]
    reductions = ["none", "none", "none", "none", "mean", "sum"]
    samples = []
    for shape, w, weight, reduction in zip(shapes, weights, each, reductions, strict=True):
        first = (spread(*shape) if reduction == "none" else spread(),) if upstream else ()
        y = np.asarray(positive(*shape) / 3)
        constant = (len(first) + 2, len(first) + 3)
        samples.append(S(*first, spread(*shape), y, w, weight, constant=constant, reduction=reduction))
    return samples


def matmuls() -> list[Sample]:
    shapes = [
        ((2, 3), (3, 4)),
        ((3,), (3,)),
        ((3,), (3, 2)),
        ((2, 3), (3,)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((4,), (2, 4, 3)),
        ((2, 3, 4), (4,)),
        ((1, 2, 3), (4, 3, 2)),
        ((2, 3), (5, 3, 2)),
        ((0, 3), (3, 2)),
        ((2, 0), (0, 3)),
    ]
    return [S(spread(*a), spread(*b)) for a, b in shapes]


def affines() -> list[Sample]:
    shapes = [
        ((4, 3), (3, 2), (2,)),
        ((2, 4, 3), (3, 2), (2,)),
        ((3,), (3, 2), (2,)),
        ((4, 3), (3, 2), (1,)),
        ((4, 3), (3, 2), ()),
        ((4, 3), (3, 2), (4, 2)),
        ((4, 3), (3, 2), (4, 1)),
        ((1, 3), (3, 1), (1,)),
        ((0, 3), (3, 2), (2,)),
    ]
    return [S(spread(*x), spread(*w), spread(*b)) for x, w, b in shapes]


def contractions() -> list[Sample]:
    calls: list[tuple[str, tuple[tuple[int, ...], ...]]] = [
        ("ij,jk->ik", ((2, 3), (3, 4))),
        ("ij->ji", ((2, 3),)),
        ("ij->", ((2, 3),)),
        ("ij->j", ((2, 3),)),
        ("i,j->ij", ((2,), (3,))),
        ("ij,ij->i", ((2, 3), (2, 3))),
        ("bij,bjk->bik", ((2, 2, 3), (2, 3, 2))),
        ("ij,jk,kl->il", ((2, 3), (3, 2), (2, 2))),
        ("ij,k->k", ((2, 3), (4,))),
        (",ij->ij", ((), (2, 3))),
        ("i,i->", ((3,), (3,))),
        ("ij,ij->ij", ((1, 3), (2, 3))),
        ("ij,jk->ik", ((0, 3), (3, 2))),
        ("ij,jk->ik", ((2, 3), (1, 4))),
        ("ij,jk->ik", ((2, 1), (3, 4))),
        ("i,i->", ((1,), (3,))),
        ("i,i,i->i", ((1,), (3,), (1,))),
        ("ij,jk,kl->il", ((2, 1), (3, 4), (1, 2))),
        ("ij,j->", ((2, 3), (1,))),
        ("ij->", ((0, 3),)),
        ("ij,jk->", ((2, 0), (0, 3))),
    ]
    return [S(*(spread(*shape) for shape in shapes), subscripts=text) for text, shapes in calls]


def jumps() -> list[Sample]:
    """Both sides of whole numbers and of halves, and these themselves."""
    return [*of_shapes(spread), S(np.array([0.0, -0.0, 1.0, -1.5, 0.5, 0.9, -0.9, 2.0**52]), smooth=False)]


def divisions() -> list[Sample]:
    """Quotients that are not near a whole number, in all shapes; and those that are whole."""
    shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        *(((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (1, 4)), ((), (2, 2)), ((2, 2), ()), ((0, 3), (3,))),
    ]
    signs = np.array([1.0, -1.0])
    samples = [
        S(np.asarray(5.13 + 2 * np.arange(np.prod(a)).reshape(a)), np.asarray(2 - 0.13 * positive(*b)))
        for a, b in shapes
    ]
    return [
        *samples,
        S(5.7 * signs, 2.0 * signs[::-1].copy()),
        S(np.array([5.7, -5.7]), 2.0),
        S(7.5, np.array([2.0, -2.0])),
        S(np.array([4.0, -4.0, 0.0, 1.0]), np.array([2.0, 2.0, 2.0, 0.1]), smooth=False),
    ]


def factors(axes: Callable[[Any], dict[str, Any]]) -> list[Sample]:
    """What is multiplied up: without a 0, with one, with two, and no factor at all."""
    zeros = np.array([[0.0, 2.0, -3.0, 0.5], [1.5, 0.0, 2.0, 0.0], [1.0, 2.0, 0.25, -1.0]])
    shapes = [(2, 3), (), (1, 1), (0, 3), (2, 0), (5,)]
    samples = [S(spread(*shape), **axes(axis)) for shape in shapes for axis in (None, -1) if shape or axis is None]
    return [*samples, *(S(zeros, **axes(axis)) for axis in (None, 0, 1)), S(spread(2, 3, 2), **axes(1))]


rows = np.array([1, 0, 1, 1])
mask = np.array([[True, False, True], [False, False, True]])

SAMPLES: dict[str, list[Sample]] = {
    # ---- arithmetic
    "add": pairs(spread),
    "sub": pairs(spread),
    "mul": pairs(spread),
    "div": pairs(spread, positive),
    "neg": of_shapes(spread),
    "constant_power": [
        *of_shapes(spread, exponent=2),
        *of_shapes(positive, exponent=0.5),
        S(spread(2, 3), exponent=3),
        S(spread(3), exponent=-1),
        S(positive(3), exponent=-1.5),
        S(spread(3), exponent=1),
        S(spread(3), exponent=0),
        S(np.array([0.0, 1.0]), exponent=1),
        S(np.array([0.0, 1.0]), exponent=3),
        S(np.array([0.0, -1.0]), exponent=0),
        S(spread(3), exponent=True),
    ],
    "general_power": [
        *pairs(positive, spread),
        S(positive(4), np.array([0.0, 1.0, 2.0, -1.0])),
        S(spread(3), 0.0, constant=(1,)),
        S(np.array([0.0, 2.0, -3.0]), 2.0),
        S(np.array([0.0, 2.0]), np.array([2.0, 3.0]), smooth=False),
        S(np.array([0.0, 0.0]), np.array([0.0, 1.0]), smooth=False),
    ],
    "greater": comparison(),
    "greater_equal": comparison(),
    "less": comparison(),
    "less_equal": comparison(),
    "equal": comparison(),
    "not_equal": comparison(),
    "logical_and": comparison(),
    "logical_or": comparison(),
    "logical_xor": comparison(),
    **{
        name: [S(np.array([1.0, np.nan, np.inf, -np.inf, 0.0]), smooth=False, constant=(0,)), S(np.array([1, 0]))]
        for name in ("isnan", "isfinite", "isinf")
    },
    "logical_not": [
        S(mask, smooth=False),
        S(np.array(True), smooth=False),
        S(spread(3), smooth=False, constant=(0,)),
    ],
    # ---- elementwise
    "identity": of_shapes(spread),
    "exp": of_shapes(spread),
    "log": of_shapes(positive),
    "log1p": [*of_shapes(positive), S(np.array([-0.5, 1e-9, 0.0]))],
    "expm1": [*of_shapes(spread), S(np.array([1e-9, 0.0]))],
    "sqrt": of_shapes(positive),
    "absolute": [*of_shapes(spread), S(np.array([0.0, -0.0, 1.0]), smooth=False)],
    "sign": [*of_shapes(spread), S(np.array([0.0, -0.0, 1.0]), smooth=False)],
    "sin": of_shapes(spread),
    "cos": of_shapes(spread),
    "tanh": [*of_shapes(spread), S(np.array([0.0, 30.0, -30.0]))],
    "sigmoid": [*of_shapes(spread), S(np.array([0.0, 30.0, -30.0, 800.0, -800.0]))],
    "tanh_slope": [*of_shapes(spread), S(np.array([0.0, 30.0, -30.0]))],
    "sigmoid_slope": [*of_shapes(spread), S(np.array([0.0, 30.0, -30.0, 800.0, -800.0]))],
    "relu": [*of_shapes(spread), S(np.array([0.0, -0.0, 1.0]), smooth=False)],
    "softplus": [*of_shapes(spread), S(np.array([0.0, 30.0, -30.0, 800.0, -800.0]))],
    "maximum": [*pairs(spread), S(np.array([1.0, 2.0]), np.array([1.0, 1.0]), smooth=False)],
    "minimum": [*pairs(spread), S(np.array([1.0, 2.0]), np.array([1.0, 1.0]), smooth=False)],
    "where": [
        S(mask, spread(2, 3), spread(2, 3)),
        S(mask, spread(3), spread(2, 1)),
        S(mask, spread(), 0.0),
        S(mask, 0.0, spread(2, 3)),
        S(np.array(True), spread(2), spread(2)),
        S(mask[0], spread(2, 3), spread()),
        S(np.zeros((0, 3), bool), spread(3), spread(0, 3)),
        S(np.array([1.0, 0.0]), spread(2), spread(2), constant=(0,)),
    ],
    "clip": [
        *of_shapes(spread, low=-1.05, high=0.93),
        S(spread(2, 3), low=0.01),
        S(spread(2, 3), high=0.01),
        S(np.array([0.0, 1.0, 0.5]), low=0.0, high=1.0, smooth=False),
    ],
    "astype": [
        *of_shapes(spread, dtype=np.dtype(np.float64)),
        S(spread(2, 3), dtype=np.dtype(np.float32), smooth=False),
        S(np.array([1, 2]), dtype=np.dtype(np.float64)),
        S(spread(2, 3), dtype=np.dtype(np.int64), smooth=False, constant=(0,)),
    ],
    "xlogy": [*pairs(spread, positive), S(np.array([0.0, 2.0]), np.array([1.5, 2.0]), smooth=False)],
    "xlog1py": [*pairs(spread, positive), S(np.array([0.0, 2.0]), np.array([1.5, 2.0]), smooth=False)],
    "xdivy": [*pairs(spread, positive), S(np.array([0.0, 2.0]), np.array([1.5, 2.0]), smooth=False)],
    # ---- rounding
    **{name: jumps() for name in ("floor", "ceil", "rint", "trunc")},
    "mod": divisions(),
    "floor_divide": divisions(),
    # ---- inverse functions, and other functions of one number
    "tan": of_shapes(within_one),
    "arcsin": [*of_shapes(within_one), S(np.array([0.0, 0.7, -0.7]))],
    "arccos": [*of_shapes(within_one), S(np.array([0.0, 0.7, -0.7]))],
    "arctan": [*of_shapes(spread), S(np.array([0.0, 30.0, -30.0]))],
    "arctan2": [*pairs(spread), S(np.array([0.0, 1.0, -1.0]), np.array([1.0, 0.0, 0.0]))],
    "hypot": [
        *pairs(spread),
        S(np.array([0.0, 2.0]), np.array([1.0, 0.0])),
        S(np.array([0.0]), np.array([0.0]), smooth=False),
    ],
    "sinh": of_shapes(spread),
    "cosh": [*of_shapes(spread), S(np.array([0.0]))],
    "arcsinh": [*of_shapes(spread), S(np.array([0.0, 30.0, -30.0]))],
    "arccosh": [*of_shapes(above_one), S(np.array([1.05, 30.0]))],
    "arctanh": [*of_shapes(within_one), S(np.array([0.0, 0.7, -0.7]))],
    "log2": of_shapes(positive),
    "log10": of_shapes(positive),
    "exp2": of_shapes(spread),
    "cbrt": of_shapes(spread),
    "logaddexp": [*pairs(spread), S(np.array([0.0, 30.0, 800.0]), np.array([0.0, -30.0, -800.0]))],
    "erf": [*of_shapes(spread), S(np.array([0.0, 3.0, -3.0]))],
    "erfc": [*of_shapes(spread), S(np.array([0.0, 3.0, -3.0]))],
    # ---- running sums and products, sorting
    "cumsum": [
        *(S(spread(2, 3), axis=axis) for axis in (None, 0, 1, -2)),
        *(S(spread(*shape)) for shape in ((), (0, 3), (4,))),
        S(spread(2, 3, 2), axis=1),
    ],
    "cumprod": factors(lambda axis: {"axis": axis}),
    "prod": [*factors(lambda axis: {"axis": axis}), *reductions(spread)],
    "sort": [
        *(S(spread(2, 3), axis=axis) for axis in (None, 0, 1, -2)),
        *(S(spread(*shape)) for shape in ((0, 3), (5,), (1, 1), (2, 3, 2))),
        S(np.array([[2.0, 1.0, 2.0, -0.0, 0.0], [np.nan, 1.0, np.inf, 0.0, 1.0]]), smooth=False),
    ],
    "argsort": [S(x, smooth=False, constant=(0,)) for x in (spread(2, 3), np.array([1.0, 0.0, 1.0]), spread(0, 3))],
    "argmin": [
        *(S(spread(2, 3), axis=axis, smooth=False, constant=(0,)) for axis in (None, 1, -2)),
        S(spread(2, 3), axis=1, keepdims=True, smooth=False, constant=(0,)),
    ],
    "take_along_axis": [
        S(spread(2, 3), np.array([[2, 0, 2, -1], [1, 1, 1, 0]]), axis=1),
        S(spread(2, 3), np.array([[0, 1, 0]], np.uint8), axis=-2),
        S(spread(2, 3), np.array([[2], [0]]), axis=-1),
        S(spread(1, 3), np.array([[2], [0]]), axis=-1),
        S(spread(3), np.zeros(0, int), axis=0),
    ],
    "add_along_axis": [
        S(spread(2, 4), np.array([[2, 0, 2, -1], [1, 1, 1, 0]]), axis=1, shape=(2, 3)),
        S(spread(1, 3), np.array([[0, 1, 0]], np.uint8), axis=-2, shape=(2, 3)),
        S(spread(0), np.zeros(0, int), axis=0, shape=(3,)),
    ],
    # ---- other places
    "pad": [
        S(spread(2, 3), widths=1),
        S(spread(2, 3), widths=(1, 2), value=2.5),
        S(spread(2, 3), widths=((0, 1), (2, 0))),
        *(S(spread(*shape), widths=2) for shape in ((), (0,), (2,))),
    ],
    "flip": [
        *(S(spread(2, 3), axis=axis) for axis in (None, 0, -1, (0, 1))),
        *(S(spread(*shape)) for shape in ((), (0, 3), (4,))),
    ],
    "roll": [
        *(S(spread(2, 3), shift=shift, axis=axis) for shift, axis in ((1, None), (-4, 1), (2, -2), ((1, 2), (0, 1)))),
        *(S(spread(*shape), shift=1) for shape in ((), (0, 3), (4,))),
    ],
    **{
        name: [*(S(spread(3, 3), k=k) for k in (0, 1, -1, 9)), *(S(spread(*n)) for n in ((2, 4), (3,), (2, 3, 2)))]
        for name in ("tril", "triu")
    },
    "diagonal": [
        *(S(spread(3, 4), offset=offset) for offset in (0, 1, -1, 4)),
        S(spread(3, 4), axis1=1, axis2=0),
        S(spread(2, 3, 4), axis1=-1, axis2=0, offset=1),
        S(spread(0, 3)),
    ],
    "place_diagonal": [
        S(spread(3), shape=(3, 4)),
        S(spread(3), shape=(3, 4), offset=1),
        S(spread(1), shape=(3, 4), axis1=1, axis2=0, offset=2),
        S(spread(3, 2), shape=(2, 3, 2), axis1=-1, axis2=0),
        S(spread(0), shape=(0, 3)),
    ],
    "repeat": [
        *(S(spread(2, 3), repeats=2, axis=axis) for axis in (None, 0, -1)),
        *(S(spread(2, 3), repeats=repeats, axis=1) for repeats in (0, (2, 0, 1), (3,))),
        *(S(spread(*shape), repeats=2) for shape in ((), (0, 3))),
    ],
    "tile": [
        *(S(spread(2, 3), reps=reps) for reps in (2, (2, 1), (2, 3), (2, 1, 2), (0, 1))),
        *(S(spread(*shape), reps=(2,)) for shape in ((), (0, 3), (1, 1, 2))),
    ],
    # ---- indexing
    "getitem": [
        S(spread(4, 3), pattern=(1,)),
        S(spread(4, 3), pattern=(-1, 2)),
        S(spread(4, 3), pattern=(slice(None, None, -2),)),
        S(spread(4, 3), pattern=(..., None, 1)),
        S(spread(4, 3), pattern=(slice(1, 1),)),
        S(spread(), pattern=()),
        S(spread(), pattern=(None,)),
        S(spread(2, 3), rows, pattern=(HERE,)),
        S(spread(2, 3), mask, pattern=(HERE,)),
        S(spread(2, 3), mask[0], pattern=(slice(None), HERE)),
        S(spread(2, 3), rows, np.array([0, 2, 0, 0]), pattern=(HERE, HERE)),
        S(spread(2, 4, 3), rows, np.array([[0], [-1]]), pattern=(HERE, slice(1, 3), HERE)),
        S(spread(2, 3), np.zeros(0, int), pattern=(HERE,)),
        S(spread(2, 3), np.array(1), pattern=(HERE,)),
        S(spread(2, 4, 3), rows, pattern=(None, 1, HERE)),
    ],
    "scatter_add": [
        S(spread(3), pattern=(1,), shape=(4, 3)),
        S(spread(), pattern=(-1, 2), shape=(4, 3)),
        S(spread(2, 3), pattern=(slice(None, None, -2),), shape=(4, 3)),
        S(spread(4, 1), pattern=(..., None, 1), shape=(4, 3)),
        S(spread(4, 3), rows, pattern=(HERE,), shape=(2, 3)),
        S(spread(3), mask, pattern=(HERE,), shape=(2, 3)),
        S(spread(4), rows, np.array([0, 2, 0, 0]), pattern=(HERE, HERE), shape=(2, 3)),
        S(spread(0, 3), np.zeros(0, int), pattern=(HERE,), shape=(2, 3)),
    ],
    "pick": [S(spread(4, 3), labels), S(spread(1, 1), np.array([0])), S(np.zeros((0, 3)), np.zeros(0, int))],
    "place": [
        S(spread(4), labels, classes=3),
        S(spread(1), np.array([0]), classes=1),
        S(np.zeros(0), np.zeros(0, int), classes=3),
    ],
    # ---- products of matrices
    "matmul": matmuls(),
    "affine": affines(),
    "contract": contractions(),
    # ---- losses
    "xent": class_losses(),
    "xent_grad": class_losses(spread),
    "target_mass": [
        S(spread(4, 3), labels, 1.0, constant=(0,)),
        S(spread(4, 3), ignoring, np.array([0.5, 0.0, 2.0]), constant=(0, 2), smoothing=0.3, ignore_index=-1),
        S(np.zeros((0, 3)), np.zeros(0, int), 1.0, constant=(0,)),
    ],
    "soft_xent": soft_losses(),
    "soft_xent_grad": soft_losses(spread),
    "sigmoid_xent": binary_losses(upstream=False),
    "sigmoid_xent_grad": binary_losses(upstream=True),
    # ---- reductions
    "reduce_sum": reductions(spread),
    "reduce_mean": reductions(spread, empty=False),
    "reduce_max": [
        *reductions(spread, empty=False),
        S(np.array([[1.0, 1.0, 0.0], [2.0, 3.0, 3.0]]), axis=1, smooth=False),
    ],
    "reduce_min": [
        *reductions(spread, empty=False),
        S(np.array([[1.0, 1.0, 2.0], [2.0, 2.0, 2.0]]), axis=1, smooth=False),
    ],
    "variance": [
        *reductions(spread, empty=False),
        S(spread(4, 3), axis=0, ddof=1),
        S(spread(4, 3), ddof=2, keepdims=True),
    ],
    "std": [
        *(replace(sample, smooth=sample.inputs[0].size != 1) for sample in reductions(spread, empty=False)),
        S(spread(4, 3), axis=0, ddof=1),
        S(spread(4, 3), ddof=2, keepdims=True),
        S(np.full((2, 3), 0.1), axis=1, smooth=False),
    ],
    "argmax": [
        S(spread(2, 3), smooth=False, constant=(0,)),
        S(spread(2, 3), axis=1, smooth=False, constant=(0,)),
        S(spread(2, 3), axis=-2, smooth=False, constant=(0,)),
    ],
    "logsumexp": [
        *reductions(spread, empty=False),
        S(np.array([[800.0, 799.0], [-800.0, -801.0]]), axis=1),
        S(np.array([1.0, 1.0, 1.0])),
        S(np.array([0.0, -np.inf]), smooth=False),
    ],
    "softmax": soft(spread),
    "log_softmax": soft(spread),
    "deviation": weighted_rows(),
    "log_softmax_grad": weighted_rows(),
    "softmax_grad": [
        *(S(spread(2, 3), distribution(2, 3)), S(spread(3, 2), distribution(2, 3).T, axis=0)),
        *(S(spread(2), np.array([0.9, 0.1])), S(spread(2, 1), np.ones((2, 1))), S(spread(0, 3), spread(0, 3))),
    ],
    # ---- shape
    "reshape": [
        S(spread(2, 3), shape=(3, 2)),
        S(spread(2, 3), shape=(-1,)),
        S(spread(2, 3), shape=6),
        S(spread(1, 1), shape=()),
        S(spread(), shape=(1, 1)),
        S(spread(0, 3), shape=(3, 0, 2)),
    ],
    "transpose": [
        S(spread(2, 3)),
        S(spread(2, 3, 4), axes=(2, 0, 1)),
        S(spread(2, 3, 4), axes=(-1, 0, -2)),
        S(spread(2, 3, 4), axes=(1, 2, 0)),
        S(spread()),
        S(spread(3)),
        S(spread(0, 3), axes=(1, 0)),
    ],
    "expand_dims": [
        S(spread(2, 3), axis=0),
        S(spread(2, 3), axis=-1),
        S(spread(2, 3), axis=(0, -1)),
        S(spread(), axis=0),
        S(spread(0), axis=1),
    ],
    "squeeze": [
        S(spread(2, 1, 3, 1)),
        S(spread(2, 1, 3, 1), axis=1),
        S(spread(2, 1, 3, 1), axis=(-1, 1)),
        S(spread(1)),
        S(spread(2)),
        S(spread(0, 1)),
    ],
    "broadcast_to": [
        S(spread(3), shape=(2, 3)),
        S(spread(2, 1), shape=(2, 3)),
        S(spread(), shape=(2, 2)),
        S(spread(2, 3), shape=(2, 3)),
        S(spread(1, 3), shape=(0, 3)),
        S(spread(), shape=()),
    ],
    "concatenate": [
        S(spread(2, 3), spread(1, 3)),
        S(spread(2, 3), spread(2, 1), spread(2, 2), axis=1),
        S(spread(2, 3), spread(2, 0), axis=-1),
        S(spread(3)),
        S(spread(2, 1, 2), spread(2, 2, 2), axis=-2),
    ],
    "stack": [
        S(spread(2, 3), spread(2, 3)),
        S(spread(2, 3), spread(2, 3), spread(2, 3), axis=-1),
        S(spread(3), spread(3), axis=1),
        S(spread(), spread()),
        S(spread(2), axis=-2),
    ],
}


def primitives() -> dict[str, Primitive]:
    """The primitives of the package; a test that registers one of its own does not add to them."""
    return {name: op for name, op in REGISTRY.items() if op.body.__module__.startswith("tinygrad_ce.ops")}


def text_of(value: Any) -> str | None:
    """The source line of a lambda, as the name of its test: `pytest.mark.parametrize(..., ids=text_of)`."""
    if getattr(value, "__name__", "") != "<lambda>":
        return None
    return inspect.getsource(value).strip().rstrip(",").removeprefix("lambda ")
