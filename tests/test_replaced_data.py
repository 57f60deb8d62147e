"""What somebody puts into `.data`: an array of real numbers works, all else is loud; a failed walk leaves no trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from leaves import wanted
from samples import text_of

import tinygrad_ce as tg
from tinygrad_ce.core import REGISTRY, primitive


def replaced(data: Any, requires_grad: bool = False) -> tg.Tensor:
    """A tensor whose data somebody has replaced."""
    t = tg.Tensor([1.0, 2.0], requires_grad=requires_grad, name="w")
    t.data = data
    return t


NO_ARRAYS = [[1.0, 2.0], (1.0, 2.0), 3.0, "ab", None, np.array([1j, 2]), np.array([1.0, None]), np.array(["a", "b"])]


@pytest.mark.parametrize("data", NO_ARRAYS, ids=repr)
@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize(
    "f", [lambda t: t * 2, lambda t: 2 * t, lambda t: t + t, lambda t: t.sum(), tg.ops.exp], ids=text_of
)
def test_what_is_no_array_of_numbers_raises(data: Any, requires_grad: bool, f: Any) -> None:
    with pytest.raises(TypeError, match=r"^w\.data (is a|has dtype) .*: write w\.data = np\.asarray"):
        f(replaced(data, requires_grad))


@pytest.mark.parametrize("kind", [int, bool, np.uint8])
@pytest.mark.parametrize("f", [lambda w: w + w, lambda w: w.sum(), lambda w: w[0]], ids=text_of)
def test_integers_in_a_parameter_raise(kind: Any, f: Any) -> None:
    w = replaced(np.array([1, 0], kind), requires_grad=True)
    with pytest.raises(TypeError, match=r"w asks for gradients.* dtype .*: write w\.data = np\.asarray\(.*float\)"):
        f(w)


@pytest.mark.parametrize("kind", [int, bool, np.uint8])
def test_no_gradient_is_rounded_to_the_integers_of_a_parameter(kind: Any) -> None:
    """d (w * 0.5).sum() / dw = 0.5, which an integer cannot hold: it was 0."""
    w = replaced(np.array([1, 0], kind), requires_grad=True)
    loss = (w * np.array([0.5, 0.5])).sum()
    with pytest.raises(TypeError, match="w asks for gradients"):
        loss.backward()
    assert w.grad is None


def test_integers_put_there_after_the_forward_pass_raise_too() -> None:
    w = wanted([1.0, 2.0], name="w")
    loss = (w * 0.5).sum()
    w.data = np.array([1, 2])
    with pytest.raises(TypeError, match="w asks for gradients"):
        loss.backward()


def test_comparisons_of_parameters_are_no_integers_of_theirs() -> None:
    w = wanted([1.0, 2.0])
    np.testing.assert_array_equal((w > 1.5).data, [False, True])
    assert tg.ops.argmax(w).item() == 1
    assert w.astype(int).dtype == np.dtype(int)


@pytest.mark.parametrize("shape", [(3,), (1,), (2, 1), ()])
def test_another_shape_between_forward_and_backward_raises(shape: tuple[int, ...]) -> None:
    w = wanted([1.0, 2.0], name="w")
    loss = (w * w).sum()
    w.data = np.ones(shape)
    with pytest.raises(ValueError, match=r"w had shape \(2,\) in the forward pass.*: compute the loss again"):
        loss.backward()
    (w * w).sum().backward()
    np.testing.assert_array_equal(w.grad, 2 * np.ones(shape))


def test_the_gradient_is_that_of_the_numbers_the_loss_was_computed_with() -> None:
    w = wanted([1.0, 2.0])
    loss = (w**3).sum()
    w.data = np.array([10.0, 20.0])
    loss.backward()
    np.testing.assert_array_equal(w.grad, [3.0, 12.0])


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        lambda p: tg.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: tg.optim.Adam(p, lr=0.1),
        lambda p: tg.optim.AdamW(p, lr=0.1),
        lambda p: tg.optim.RMSprop(p, lr=0.1),
    ],
    ids=text_of,
)
def test_an_optimizer_refuses_a_parameter_of_another_shape(make: Any, kernels: bool) -> None:
    w = wanted([1.0, 2.0], name="w")
    optimizer = make([w])
    w.data = np.ones(3) if kernels else np.ones((1, 1), np.float16)
    (w * w).sum().backward()
    with pytest.raises(ValueError, match=r"w has shape .*, and had shape \(2,\) .*: .* make a new optimizer"):
        optimizer.step()
    assert (w.data == 1).all()


def test_a_numpy_scalar_may_stand_for_an_array_without_axes() -> None:
    """`w.data = w.data - lr * w.grad` gives one, and it is what a beginner writes first."""
    w = wanted(3.0, name="w")
    for _ in range(2):
        w.grad = None
        (w * w).backward()
        w.data = w.data - 0.25 * w.grad
    assert float(w.data) == 0.75
    w.grad = np.array(1.0)
    tg.optim.SGD([w], lr=0.5).step()
    assert float(w.data) == 0.25


def test_an_optimizer_does_not_write_to_what_is_read_only() -> None:
    w = wanted([1.0, 2.0])
    w.data = np.broadcast_to(np.array(3.0), (2,))
    w.grad = np.ones(2)
    with pytest.raises(ValueError, match="read-only"):
        tg.optim.SGD([w], lr=0.5).step()


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_an_array_whose_operators_mean_something_else_is_refused() -> None:
    a = np.array([[1.0, 2.0], [3.0, 4.0]])
    t = tg.Tensor(a)
    for foreign in (np.asmatrix(a), np.ma.array(a, mask=[[True, False], [False, False]])):
        with pytest.raises(TypeError, match=r"an input is a numpy\.(matrix|ma).*: pass np\.asarray"):
            t * foreign
        with pytest.raises(TypeError, match="computes by rules of its own"):
            replaced(foreign) * t
        np.testing.assert_array_equal((t * np.asarray(foreign)).data, a * a)


def test_a_mapped_file_is_an_array(tmp_path: Any) -> None:
    np.save(tmp_path / "a.npy", np.array([1.0, 2.0]))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    w = wanted([3.0, 4.0])
    (w * mapped).sum().backward()
    np.testing.assert_array_equal(w.grad, [1.0, 2.0])
    np.testing.assert_array_equal((tg.Tensor([3.0, 4.0]) * mapped[::-1]).data, [6.0, 4.0])


def test_a_walk_that_fails_has_filled_no_gradient() -> None:
    before = dict(REGISTRY)
    try:

        @primitive
        def without_a_rule(x):
            return x * 2

        w = wanted([1.0, 2.0])
        hidden = without_a_rule(w)
        out = hidden * 3
        loss = out.sum()
        with pytest.raises(NotImplementedError):
            loss.backward()
        assert [x.grad for x in (w, hidden, out, loss)] == [None] * 4
    finally:
        REGISTRY.clear()
        REGISTRY.update(before)
