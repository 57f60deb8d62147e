"""Clipping of gradients whose squares, or whose norm, no number of their dtype can hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.optim import SGD, clip_grad_norm

DTYPES = [np.float16, np.float32, np.float64]


def with_grads(*gradients: np.ndarray) -> list[tg.Tensor]:
    parameters = [tg.Tensor(np.zeros_like(g), requires_grad=True) for g in gradients]
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = g
    return parameters


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("share", [0.9, 0.5, 2**-7])
def test_gradients_near_the_largest_number_keep_their_direction(dtype: Any, share: float) -> None:
    """[6e4, 6e4] in float16 and [3e38, 3e38] in float32 became 0: their norm is beyond the dtype. In float64, even
    the norm is infinite, and the clipped gradient is right."""
    largest = float(np.finfo(dtype).max) * share
    p, q = with_grads(np.array([largest, -largest], dtype), np.array([[0.0, largest, 0.0]], dtype))
    norm = clip_grad_norm([p, q], 1.0)
    first = float(np.asarray(largest, dtype))
    np.testing.assert_allclose(norm, first * math.sqrt(3), rtol=1e-12)
    one = 1 / math.sqrt(3)
    np.testing.assert_allclose(p.grad, [one, -one], rtol=2 * np.finfo(dtype).eps)
    np.testing.assert_allclose(q.grad, [[0, one, 0]], rtol=2 * np.finfo(dtype).eps)
    assert p.grad.dtype == q.grad.dtype == dtype


def test_huge_gradients_may_all_be_negative() -> None:
    (p,) = with_grads(np.array([-3e200, -4e200, 1.0]))
    np.testing.assert_allclose(clip_grad_norm([p], 1.0), 5e200, rtol=1e-14)
    np.testing.assert_allclose(p.grad, [-0.6, -0.8, 0], atol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormal_gradients_have_a_norm_and_are_left_alone(dtype: Any) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    g = np.array([3 * tiny, 4 * tiny], dtype)
    (p,) = with_grads(g)
    assert clip_grad_norm([p], 1.0) == 5 * float(tiny)
    assert p.grad is g


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormal_gradients_can_be_clipped(dtype: Any) -> None:
    """To half of their norm, where half of them is still a number."""
    tiny = float(np.finfo(dtype).smallest_subnormal)
    (p,) = with_grads(np.array([48 * tiny, 64 * tiny], dtype))
    clip_grad_norm([p], 40 * tiny)
    np.testing.assert_allclose(p.grad.astype(float) / tiny, [24, 32], rtol=1e-12)


def test_a_gradient_of_many_small_numbers_is_measured_in_float64() -> None:
    """The squares add up to 100,000 * 1e-8 = 1e-3; in float16 each is 0."""
    (p,) = with_grads(np.full(100_000, 1e-4, np.float16))
    np.testing.assert_allclose(clip_grad_norm([p], 10.0), math.sqrt(1e5) * float(np.float16(1e-4)), rtol=1e-12)


def test_gradients_of_several_dtypes_and_of_no_elements_are_measured_together() -> None:
    parameters = with_grads(np.array([3.0], np.float16), np.zeros((0, 2)), np.array([4.0], np.float32))
    assert clip_grad_norm(parameters, 1.0) == 5.0
    np.testing.assert_allclose([parameters[0].grad[0], parameters[2].grad[0]], [0.6, 0.8], rtol=1e-3)
    assert [p.grad.dtype for p in parameters] == [np.float16, np.float64, np.float32]
    assert clip_grad_norm(with_grads(np.zeros((0, 2))), 1.0) == 0.0
    assert clip_grad_norm(with_grads(np.zeros(2)), 1.0) == 0.0


def test_strided_and_big_endian_gradients_are_clipped() -> None:
    g = np.array([3.0, 0.0, 4.0, 0.0], ">f4")[::2]
    (p,) = with_grads(g)
    assert clip_grad_norm([p], 1.0) == 5.0
    np.testing.assert_allclose(p.grad, [0.6, 0.8], rtol=1e-6)


def test_an_infinite_gradient_is_not_hidden() -> None:
    (p,) = with_grads(np.array([np.inf, 1.0]))
    with pytest.warns(RuntimeWarning, match="invalid"):
        assert clip_grad_norm([p], 1.0) == np.inf
    assert np.isnan(p.grad[0])
    (p,) = with_grads(np.array([np.nan, 1.0]))
    assert math.isnan(clip_grad_norm([p], 1.0))
    assert np.isnan(p.grad[0])


@pytest.mark.parametrize("max_norm", [np.float32(1), np.int64(1), np.array(1.0)])
def test_the_largest_norm_may_be_a_number_of_numpys(max_norm: Any) -> None:
    (p,) = with_grads(np.array([3.0, 4.0]))
    clip_grad_norm([p], max_norm)
    np.testing.assert_allclose(p.grad, [0.6, 0.8], rtol=1e-15)


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200, 1e308])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_program_clips_what_the_loop_clips(scale: float, compiled: bool) -> None:
    """By hand: -lr * 0.1 * g / |g| with g = scale * (3, 4) / 5, whose square overflows; -lr * g where it is short."""
    w = tg.Tensor([0.0, 0.0], requires_grad=True, name="w")
    optimizer = SGD([w], lr=0.5)

    def step(x: Any) -> Any:
        loss = (x * w).sum()
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm([w], 0.1)
        optimizer.step()
        return loss

    g = np.array([0.6, 0.8]) * scale
    run = tg.compile(step) if compiled else tg.trace(step, g).run
    run(g)
    np.testing.assert_allclose(w.data, [-0.03, -0.04] if scale >= 1 else -0.5 * g, rtol=1e-14)
