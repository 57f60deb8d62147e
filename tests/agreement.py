"""What it means that a function agrees with NumPy: the same value, shape, dtype, kind of error, and its slope."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from leaves import wanted

from tinygrad_ce.core import Tensor
from tinygrad_ce.functional import gradients

ROUNDING = 8  # ulp: a sum in another order is not NumPy's to the last bit

# An axis that is not there is an IndexError and a ValueError in NumPy.
KINDS = (TypeError, AttributeError, ZeroDivisionError, OverflowError, (ValueError, IndexError))


def answer_of(f: Callable[[Any], Any], x: Any) -> Any:
    """What f answers, or the error that it raises."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return f(x)
        except Exception as error:
            return error


def check_alike(ours: Any, expected: Any) -> None:
    """The same value, shape and dtype; tensors stand for arrays, and errors are of the same kind."""
    if isinstance(expected, Exception):
        assert isinstance(ours, Exception), f"NumPy raises {expected!r}, and here it is {ours!r}"
        assert any(isinstance(ours, kind) and isinstance(expected, kind) for kind in KINDS), f"it raises {ours!r}"
        return
    if isinstance(ours, Exception):
        raise ours
    if isinstance(expected, (tuple, list)) and not np.isscalar(expected):
        assert type(ours) is type(expected)
        assert len(ours) == len(expected)
        for mine, numpys in zip(ours, expected, strict=True):
            check_alike(mine, numpys)
        return
    if not isinstance(expected, (np.ndarray, np.generic)):
        if isinstance(ours, Tensor):  # np.count_nonzero answers with a Python number
            ours = ours.item()
        assert ours == expected
        return
    array = ours.data if isinstance(ours, Tensor) else np.asarray(ours)
    assert (array.shape, array.dtype) == (expected.shape, expected.dtype)
    exact = expected.dtype.kind != "f"
    rounding = 0 if exact else ROUNDING * np.finfo(expected.dtype).eps
    np.testing.assert_allclose(array, expected, rtol=rounding, atol=0 if exact else rounding * 50)


# ---- gradients


def slope(f: Callable[[float], Any], step: float = 1e-3) -> Any:
    """f'(0) by central differences of fourth order."""
    return (8 * (f(step) - f(-step)) - (f(2 * step) - f(-2 * step))) / (12 * step)


def check_values(f: Callable[..., Any], arrays: tuple[Any, ...]) -> None:
    """f of tensors is a Tensor, and holds what f of arrays is."""
    answer, expected = f(*(wanted(a) if a.dtype.kind == "f" else Tensor(a) for a in arrays)), f(*arrays)
    assert isinstance(answer, Tensor)
    assert (answer.shape, answer.dtype) == (np.shape(expected), np.asarray(expected).dtype)
    np.testing.assert_allclose(answer.data, expected, rtol=1e-14, atol=1e-15)


def check_gradients(f: Callable[..., Any], arrays: tuple[Any, ...]) -> None:
    """The gradient of f of tensors is the numerical one of f of arrays, which is NumPy's own; also the second."""
    tensors = [wanted(a) for a in arrays]
    out = f(*tensors)
    rng = np.random.default_rng(1)
    upstream = rng.uniform(-1, 1, out.shape)
    ways, others = ([rng.uniform(-1, 1, a.shape) for a in arrays] for _ in range(2))

    def along(step: float) -> Any:
        return np.sum(f(*(a + step * way for a, way in zip(arrays, ways, strict=True))) * upstream)

    first = gradients(out, tensors, gradient=upstream)
    expected = pytest.approx(slope(along), rel=1e-8, abs=1e-9)
    assert sum(np.sum(g * w) for g, w in zip(first, ways, strict=True)) == expected

    def first_along(step: float) -> Any:
        moved = [wanted(a + step * other) for a, other in zip(arrays, others, strict=True)]
        return sum(np.sum(g * w) for g, w in zip(gradients(f(*moved), moved, gradient=upstream), ways, strict=True))

    recorded = gradients(out, tensors, gradient=upstream, create_graph=True)
    total = sum(((g * w).sum() for g, w in zip(recorded, ways, strict=True)), start=Tensor(0.0))
    second = gradients(total, tensors) if total.requires_grad else [np.zeros(a.shape) for a in arrays]
    expected = pytest.approx(slope(first_along), rel=1e-7, abs=1e-8)
    assert sum(np.sum(g * o) for g, o in zip(second, others, strict=True)) == expected


def differentiable(f: Callable[..., Any], arrays: tuple[Any, ...]) -> bool:
    """Whether f answers with floating-point numbers."""
    return np.asarray(f(*arrays)).dtype.kind == "f"
