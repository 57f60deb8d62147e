"""Parameters and gradients in every way to store them: float16, big-endian, strided, read-only, of one number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.optim import SGD, AdaGrad, Adam, AdamW, RMSprop

MAKERS: dict[str, Callable[..., Any]] = {
    "SGD": SGD,
    "momentum": lambda p, **options: SGD(p, momentum=0.9, **options),
    "Adam": Adam,
    "AdamW": AdamW,
    "RMSprop": RMSprop,
    "AdaGrad": AdaGrad,
}
every_optimizer = pytest.mark.parametrize("name", MAKERS)
START = np.random.default_rng(0).normal(size=(3, 4))
GRADS = [np.random.default_rng(k).normal(size=(3, 4)) for k in range(1, 6)]


def trained(name: str, start: np.ndarray, change: Callable[[np.ndarray], np.ndarray] = np.asarray) -> np.ndarray:
    """A parameter after five steps, whose gradients are stored as `change` stores them; float64 in the end."""
    p = tg.Tensor(start, requires_grad=True)
    p.data = start.copy() if start.flags.c_contiguous else start  # Tensor would copy into C order
    optimizer = MAKERS[name]([p], lr=0.05, weight_decay=0.01)
    held = p.data
    for g in GRADS:
        p.grad = change(g.astype(start.dtype))
        optimizer.step()
    assert p.data is held
    assert p.dtype == start.dtype
    return p.data.astype(float)


# ---- float16


@every_optimizer
def test_float16_is_computed_in_float32_and_given_back(name: str) -> None:
    """By hand: five steps in float32, with the parameter rounded to float16 after each."""
    half = START.astype(np.float16)
    p, single = half, tg.Tensor(half.astype(np.float32), requires_grad=True)
    optimizer = MAKERS[name]([single], lr=0.05, weight_decay=0.01)
    for g in GRADS:
        single.data[...] = p
        single.grad = g.astype(np.float16).astype(np.float32)
        optimizer.step()
        p = single.data.astype(np.float16)
    np.testing.assert_allclose(trained(name, half), p.astype(float), rtol=2e-3)


@every_optimizer
@pytest.mark.parametrize("slope", [1e-4, 1.0, 300.0, 6e4, 6e-8])
def test_the_first_step_in_float16_is_finite_and_downhill(name: str, slope: float) -> None:
    """Squares of 1e-4 are 0 in float16, those of 300 infinite, and eps=1e-8 is 0: Adam's step was NaN."""
    p = tg.Tensor(np.ones(3, np.float16), requires_grad=True)
    p.grad = np.array([slope, -slope, 0.0], np.float16)
    MAKERS[name]([p], lr=1e-2, weight_decay=0.0).step()
    first = float(np.float16(slope))
    if name in ("SGD", "momentum"):
        moved = 1e-2 * first
    elif name == "RMSprop":
        moved = 1e-2 * first / (0.1 * first + 1e-8)
    else:  # mean / root is sign(g), but for eps
        moved = 1e-2 * first / (first + (1e-10 if name == "AdaGrad" else 1e-8))
    np.testing.assert_allclose(p.data, [1 - moved, 1 + moved, 1.0], rtol=1e-3)


@every_optimizer
def test_a_traced_step_in_float16_is_the_eager_one(name: str) -> None:
    def parts() -> tuple[Any, Any]:
        w = tg.Tensor(START[0].astype(np.float16), requires_grad=True, name="w")
        optimizer = MAKERS[name]([w], lr=0.05)

        def step(x: Any) -> Any:
            loss = (x * w).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return w, step

    x = START[1].astype(np.float16)
    (w, step), (other, same) = parts(), parts()
    program = tg.trace(same, x)
    for _ in range(3):
        step(tg.Tensor(x))
        program.run(x)
    assert other.dtype == np.float16
    np.testing.assert_array_equal(w.data, other.data)


# ---- byte order and strides


@every_optimizer
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_big_endian_parameters_are_updated_as_others_are(name: str, kind: str) -> None:
    native = trained(name, START.astype(f"={kind}"))
    rtol = 1e-5 if kind == "f4" else 1e-12
    for order in "<>":
        np.testing.assert_allclose(trained(name, START.astype(f"{order}{kind}")), native, rtol=rtol)
        swapped = trained(name, START.astype(f"={kind}"), lambda g, order=order: g.astype(f"{order}{kind}"))
        np.testing.assert_allclose(swapped, native, rtol=rtol)


STORED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Fortran": np.asfortranarray,
    "strided": lambda x: np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3],
    "backwards": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "unaligned": lambda x: np.frombuffer(bytearray(b"?" + x.tobytes()), np.uint8)[1:].view(x.dtype).reshape(x.shape),
}


@every_optimizer
@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_strides_do_not_matter(name: str, stored: str, dtype: Any) -> None:
    change, start = STORED[stored], START.astype(dtype)
    plain, rtol = trained(name, start), 1e-5 if dtype is np.float32 else 1e-12
    np.testing.assert_allclose(trained(name, change(start)), plain, rtol=rtol)
    np.testing.assert_allclose(trained(name, start, change), plain, rtol=rtol)
    np.testing.assert_allclose(trained(name, change(start), change), plain, rtol=rtol)


@every_optimizer
@pytest.mark.parametrize("when", [0, 2])
def test_a_parameter_may_get_another_layout_between_steps(name: str, when: int) -> None:
    """Its memory was made for the first layout."""
    p = tg.Tensor(START, requires_grad=True)
    p.data = np.asfortranarray(START)
    optimizer = MAKERS[name]([p], lr=0.05, weight_decay=0.01)
    for k, g in enumerate(GRADS):
        if k == when:
            p.data = np.ascontiguousarray(p.data)
        p.grad = g.copy()
        optimizer.step()
    np.testing.assert_allclose(p.data, trained(name, START), rtol=1e-12)


@every_optimizer
def test_a_gradient_that_is_a_number_of_numpys_is_one(name: str) -> None:
    p, q = (tg.Tensor(2.0, requires_grad=True) for _ in range(2))
    p.grad, q.grad = np.float64(0.5), np.array(0.5)  # type: ignore[assignment]
    for parameter in (p, q):
        MAKERS[name]([parameter], lr=0.1).step()
    np.testing.assert_allclose(p.data, q.data, rtol=1e-15)


@every_optimizer
def test_a_parameter_that_is_read_only_is_refused_in_one_line(name: str) -> None:
    p = tg.Tensor(START, requires_grad=True)
    p.data.flags.writeable = False
    p.grad = GRADS[0]
    with pytest.raises(ValueError, match="read-only"):
        MAKERS[name]([p], lr=0.1).step()
