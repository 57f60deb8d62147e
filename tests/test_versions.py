"""A backward pass that needs numbers which were overwritten since raises and names the line; no other one does."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from leaves import wanted

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.core import Tensor, interpreter
from tinygrad_ce.kernels.attach import fused_rules
from tinygrad_ce.source_lines import tracking

HERE = os.path.basename(__file__)
OPTIMIZERS: dict[str, Callable[[list[Tensor]], Any]] = {
    "SGD": lambda parameters: tg.optim.SGD(parameters, lr=0.5),
    "momentum": lambda parameters: tg.optim.SGD(parameters, lr=0.5, momentum=0.9),
    "Adam": lambda parameters: tg.optim.Adam(parameters, lr=0.5),
    "AdamW": lambda parameters: tg.optim.AdamW(parameters, lr=0.5),
    "RMSprop": lambda parameters: tg.optim.RMSprop(parameters, lr=0.5),
}
W0 = np.array([[1.0, 2.0], [3.0, 4.0]])


def step(*parameters: Tensor, gradient: Any = 1.0) -> None:
    """A step of size 1 against this gradient."""
    for parameter in parameters:
        parameter.grad = np.broadcast_to(np.asarray(gradient, parameter.dtype), parameter.shape).copy()
    tg.optim.SGD(parameters, lr=1.0).step()


def overwritten(name: str, op: str = "", code: str = "", line: int = 0) -> Any:
    """Expect the error of a backward pass that comes too late."""
    written = re.escape(f"({code} at {HERE}:{line})") if line else ""
    pattern = rf"^backward needs the numbers of {re.escape(name)} that {op or '.*'} was computed with, .*{written}"
    return pytest.raises(RuntimeError, match=pattern)


def here() -> int:
    """The line of the caller."""
    return sys._getframe(1).f_lineno


# ---- it raises, and names the parameter and the line


def test_two_losses_on_one_graph_with_a_step_between() -> None:
    """By hand: d 6 w w / dw = 12 w = 36 at w = 3; the step leaves w = 1, where it would be 12."""
    w = wanted(3.0, name="w")
    optimizer = tg.optim.SGD([w], lr=1 / 3)
    shared = w * w
    first, second = shared * 1.0, shared * 6.0
    first.backward()
    assert w.grad == 6.0
    optimizer.step()
    line = here() - 1
    np.testing.assert_allclose(w.data, 1.0, rtol=1e-15)
    with overwritten("w", "mul", "optimizer.step()", line) as caught:
        second.backward()
    assert "take the step after the last backward() of a graph, or compute the loss again" in str(caught.value)
    optimizer.zero_grad()
    (6.0 * (w * w)).backward()  # as it says
    np.testing.assert_allclose(w.grad, 12.0, rtol=1e-15)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("clipped", [False, True])
def test_a_step_of_any_optimizer(name: str, clipped: bool) -> None:
    tg.seed(0)
    model = tg.nn.Sequential(tg.nn.Dense(2, 3), tg.nn.Tanh(), tg.nn.Dense(3, 2))
    optimizer = OPTIMIZERS[name](model.parameters())
    out = model(np.ones((4, 2)))
    first, second = out.sum(), (out * out).sum()
    first.backward()
    if clipped:
        tg.optim.clip_grad_norm(model.parameters(), 0.1)
    optimizer.step()
    line = here() - 1
    with overwritten("layers.2.W", "affine", "optimizer.step()", line):
        second.backward()


def _subtract(w: Tensor) -> None:
    w -= 1.0


def _multiply(w: Tensor) -> None:
    w *= 2.0


def _write(w: Tensor) -> None:
    interpreter.get().write(w, w.data + 1)


@pytest.mark.parametrize("change", [_subtract, _multiply, _write])
def test_a_write_in_place_by_hand(change: Callable[[Tensor], None]) -> None:
    w = wanted(3.0, name="w")
    y = w * w
    with tg.no_grad():
        change(w)
    with overwritten("w", "mul", "", 0) as caught:
        y.backward()
    assert f"at {HERE}:{change.__code__.co_firstlineno + 1})" in str(caught.value)


def test_a_step_that_was_compiled() -> None:
    w = wanted([1.0, 2.0], name="w")
    optimizer = tg.optim.SGD([w], lr=0.1)

    def train(x: Any) -> Any:
        optimizer.zero_grad()
        loss = (x * w * w).sum()
        loss.backward()
        optimizer.step()
        return loss

    compiled = tg.compile(train)
    y = (w * w).sum()
    compiled(np.array([1.0, 1.0]))
    line = here() - 1
    np.testing.assert_allclose(w.data, [0.8, 1.6], rtol=1e-15)
    with overwritten("w", "mul", "compiled(np.array([1.0, 1.0]))", line):
        y.backward()


def test_a_step_of_a_traced_program() -> None:
    w = wanted([1.0, 2.0], name="w")
    optimizer = tg.optim.SGD([w], lr=0.1)

    def train(x: Any) -> Any:
        optimizer.zero_grad()
        loss = (x * w * w).sum()
        loss.backward()
        optimizer.step()
        return loss

    program = tg.trace(train, np.ones(2))
    y = (w * w).sum()
    y.backward()
    np.testing.assert_array_equal(w.grad, [2.0, 4.0])  # tracing has written nothing
    program.run(np.ones(2))
    with overwritten("w", "mul"):
        y.backward()


def test_only_what_was_written_is_named() -> None:
    a, b = wanted(2.0, name="a"), wanted(3.0, name="b")
    y = a * b
    step(b)
    with overwritten("b", "mul"):
        y.backward()


def test_a_parameter_without_a_name_has_its_number() -> None:
    w = wanted(2.0)
    y = w * w
    step(w)
    with overwritten(f"#{w.serial}"):
        y.backward()


def test_without_line_tracking_the_rest_is_said() -> None:
    w = wanted(2.0, name="w")
    y = w * w
    with tracking(False):
        step(w)
    with pytest.raises(RuntimeError, match=r"they were written to since: take the step"):
        y.backward()


def test_gradients_raises_too() -> None:
    x, W = wanted(np.ones((1, 2))), wanted(W0, name="W")
    loss = (x @ W).sum()
    step(W)
    with overwritten("W", "matmul"):
        tg.gradients(loss, [x, W])


def test_gradients_with_respect_to_another_tensor() -> None:
    """The walk does not go to W, but the rule of x needs it: [[3, 7]] is right, and W - 1 would give [[1, 5]]."""
    x, W = wanted(np.ones((1, 2))), wanted(W0, name="W")
    loss = (x @ W).sum()
    step(W)
    with overwritten("W", "matmul"):
        tg.gradients(loss, x)


def test_second_derivatives() -> None:
    x, w = wanted(2.0, name="x"), wanted(3.0, name="w")
    (slope,) = tg.gradients(w * x * x, [x], create_graph=True)
    step(w)
    with overwritten("w"):
        tg.gradients(slope, [x, w])


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_first_derivative_that_is_recorded(create_graph: bool) -> None:
    w = wanted(3.0, name="w")
    y = w * w
    step(w)
    with overwritten("w", "mul"):
        tg.gradients(y, w, create_graph=create_graph)


def test_a_jacobian_of_a_function_that_writes() -> None:
    W = wanted(W0, name="W")

    def f(x: Any) -> Any:
        out = W @ x
        step(W)
        return out

    with overwritten("W", "matmul"):
        tg.jacobian(f)(np.ones(2))


def test_gans_that_are_computed_too_early() -> None:
    """The loss of the generator goes through the discriminator as it was before its step."""
    tg.seed(0)
    generator, discriminator = tg.nn.Dense(1, 2), tg.nn.Dense(2, 1)
    discriminator.W.named("D.W")
    of_discriminator = tg.optim.SGD(discriminator.parameters(), lr=0.1)
    fake = generator(np.ones((3, 1)))
    of_generator = tg.losses.mse(discriminator(fake), np.ones((3, 1)))
    tg.losses.mse(discriminator(fake.detach()), np.zeros((3, 1))).backward()
    of_discriminator.step()
    with overwritten("D.W", "affine", "of_discriminator.step()", here() - 1):
        of_generator.backward()


def test_a_recurrent_state_that_was_not_cut() -> None:
    U, h = wanted(0.5, name="U"), Tensor(0.1)
    optimizer = tg.optim.SGD([U], lr=0.1)
    for _ in range(2):
        h = np.tanh(U * h + 1.0)
    h.backward()
    optimizer.step()
    h = np.tanh(U * h + 1.0)
    with overwritten("U", "mul"):
        (h * h).backward()  # goes back into the time before the step


VIEWS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Any, Tensor], Tensor]]] = {
    "transposed": (lambda W: W.T, lambda x, v: x @ v),
    "a row": (lambda W: W[0], lambda x, v: x * v),
    "reshaped": (lambda W: W.reshape(4), lambda x, v: (x * v.reshape(2, 2)).sum()),
    "with an axis more": (lambda W: ops.expand_dims(W, axis=0), lambda x, v: x @ v[0]),
    "broadcast": (lambda W: ops.broadcast_to(W, shape=(3, 2, 2)), lambda x, v: x @ v[1]),
    "detached": (lambda W: W.detach(), lambda x, v: x @ v),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_of_a_parameter_sees_the_write_too(name: str) -> None:
    """`x @ W.T` multiplies with the memory of W: after a step the rule of x would read the new numbers."""
    view, use = VIEWS[name]
    x, W = wanted(np.ones(2)), wanted(W0, name="W")
    loss = use(x, view(W)).sum()
    step(W)
    with overwritten("W"):
        loss.backward()


def test_an_input_without_a_rule_is_read_by_the_rules_of_others() -> None:
    """By hand: both shares are 1 where W is not 0, and the step makes W[0, 0] = 0."""
    x, W = wanted(np.ones((2, 2))), wanted(W0, name="W")
    loss = ops.where(W, x, 0.0).sum()
    step(W)
    with overwritten("W", "where"):
        loss.backward()


def test_a_fused_loss_whose_slope_is_differentiated_again() -> None:
    """Its kernel has the gradient ready, which needs no numbers; the recorded rule computes it anew, and needs them."""
    W = wanted(W0, name="W")
    loss = tg.losses.softmax_cross_entropy(W, np.array([0, 1]))
    step(W, gradient=[[5.0, 0.0], [0.0, 0.0]])
    with overwritten("W", "xent"):
        tg.gradients(loss, W, create_graph=True)


# ---- it does not raise where the numbers are not needed


def test_a_product_needs_the_other_factor_only() -> None:
    """d (w x) / dw = x, whatever w is now."""
    w = wanted([1.0, 2.0])
    x = np.array([3.0, 4.0])
    loss = (w * x).sum()
    loss.backward()
    step(w)
    w.grad = None
    loss.backward()
    np.testing.assert_array_equal(w.grad, x)


LINEAR: dict[str, tuple[Callable[[Tensor], Tensor], Any]] = {
    "add": (lambda w: w + 1.0, np.ones((2, 2))),
    "sub": (lambda w: 1.0 - w, -np.ones((2, 2))),
    "neg": (lambda w: -w, -np.ones((2, 2))),
    "reshape": (lambda w: w.reshape(4), np.ones((2, 2))),
    "transpose": (lambda w: w.T * np.array([1.0, 2.0]), [[1.0, 1.0], [2.0, 2.0]]),
    "row": (lambda w: w[1], [[0.0, 0.0], [1.0, 1.0]]),
    "with an axis more": (lambda w: ops.expand_dims(w, axis=0), np.ones((2, 2))),
    "product with an array": (lambda w: np.eye(2) @ w, np.ones((2, 2))),
    "affine of an array": (lambda w: ops.affine(np.ones((3, 2)), w, np.zeros(2)), np.full((2, 2), 3.0)),
    "exp": (lambda w: np.exp(w), np.exp(W0)),  # its rule reads the result
    "sqrt": (lambda w: np.sqrt(w), 0.5 / np.sqrt(W0)),
}


@pytest.mark.parametrize("name", LINEAR)
def test_rules_that_do_not_read_what_was_written(name: str) -> None:
    f, expected = LINEAR[name]
    w = wanted(W0)
    loss = f(w).sum()
    step(w)
    loss.backward()
    np.testing.assert_allclose(w.grad - 1.0, expected, rtol=1e-13)  # `step` has left a gradient of 1


def test_a_bias_may_be_written() -> None:
    x, W, b = wanted(np.ones((3, 2))), wanted(W0), wanted([0.5, 0.5])
    loss = ops.affine(x, W, b).sum()
    step(b)
    loss.backward()
    np.testing.assert_array_equal(x.grad, [[3.0, 7.0]] * 3)
    np.testing.assert_array_equal(W.grad, np.full((2, 2), 3.0))


def test_the_weights_of_a_first_layer_may_be_written() -> None:
    """Its input asks for no gradient, so nobody needs W: d W = X^T g."""
    X, W, b = np.array([[1.0, 2.0]]), wanted(W0), wanted([0.0, 0.0])
    loss = ops.affine(X, W, b).sum()
    step(W)
    W.grad = None
    loss.backward()
    np.testing.assert_array_equal(W.grad, [[1.0, 1.0], [2.0, 2.0]])


def test_what_is_read_and_not_written_does_not_matter() -> None:
    a, b, c = wanted(2.0), wanted(3.0), wanted(5.0)
    y = a * b + c
    step(c)
    y.backward()
    assert (a.grad, b.grad) == (3.0, 2.0)


def test_a_path_that_the_walk_does_not_take_is_not_checked() -> None:
    """w * w is overwritten, and the gradient with respect to x does not go through it."""
    w, x = wanted(3.0), wanted(2.0)
    y = w * w + x
    step(w)
    assert tg.gradients(y, x) == 1.0


def test_a_write_before_the_operation_does_not_matter() -> None:
    w = wanted(3.0)
    step(w)
    y = w * w
    y.backward()
    assert w.grad == 1.0 + 2 * 2.0


def test_a_view_of_a_parameter_that_nobody_reads() -> None:
    w, c = wanted(W0), np.array([2.0, 3.0])
    loss = (w.T @ c).sum() + (w[0] + c).sum()
    step(w)
    w.grad = None
    loss.backward()
    np.testing.assert_array_equal(w.grad, [[2.0 + 1.0, 2.0 + 1.0], [3.0, 3.0]])


def test_frozen_parameters_are_rebound_so_a_graph_keeps_its_numbers() -> None:
    x, frozen = wanted(2.0), Tensor(3.0)
    y = x * frozen
    interpreter.get().write(frozen, 100.0)
    y.backward()
    assert (frozen.item(), x.grad) == (100.0, 3.0)


def test_running_averages_may_move_between_forward_and_backward() -> None:
    """In evaluation: d/dx of scale (x - mean) / sqrt(variance + eps), with the averages of the forward pass."""
    norm = tg.nn.BatchNorm(2)
    norm.running_mean, norm.running_variance = np.array([1.0, 2.0]), np.array([3.0, 8.0])
    norm.eval()
    x = wanted(np.ones((3, 2)))
    loss = norm(x).sum()
    norm.train()
    norm(Tensor(np.arange(6.0).reshape(3, 2)))
    assert not np.array_equal(norm.running_variance, [3.0, 8.0])
    loss.backward()
    np.testing.assert_allclose(x.grad, [1 / np.sqrt(np.array([3.0, 8.0]) + 1e-5)] * 3, rtol=1e-13)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_ordinary_training_loop(name: str) -> None:
    tg.seed(0)
    X, y = np.random.default_rng(0).normal(size=(16, 2)), np.arange(16) % 2
    model = tg.nn.Sequential(tg.nn.Dense(2, 4), tg.nn.BatchNorm(4), tg.nn.Tanh(), tg.nn.Dense(4, 2))
    optimizer = OPTIMIZERS[name](model.parameters())
    for _ in range(5):
        optimizer.zero_grad()
        tg.losses.softmax_cross_entropy(model(X), y).backward()
        tg.optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()


def test_gradients_that_are_accumulated_over_batches() -> None:
    """By hand: d (w x)^2 / dw = 2 w x x, summed over x = 1, 2, 3 at w = 1: 28; the step leaves w = 0.72."""
    w = wanted(1.0)
    optimizer = tg.optim.SGD([w], lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        for x in (1.0, 2.0, 3.0):
            ((w * x) ** 2).backward()
        optimizer.step()
    np.testing.assert_allclose(w.data, 0.72 * 0.72, rtol=1e-14)


def test_gans_in_their_usual_order() -> None:
    tg.seed(0)
    generator, discriminator = tg.nn.Dense(1, 2), tg.nn.Dense(2, 1)
    of_generator = tg.optim.Adam(generator.parameters())
    of_discriminator = tg.optim.Adam(discriminator.parameters())
    for _ in range(3):
        fake = generator(np.ones((3, 1)))
        of_discriminator.zero_grad()
        tg.losses.mse(discriminator(fake.detach()), np.zeros((3, 1))).backward()
        of_discriminator.step()
        of_generator.zero_grad()
        tg.losses.mse(discriminator(fake), np.ones((3, 1))).backward()
        of_generator.step()


def test_a_recurrent_network_uses_its_weights_at_each_time() -> None:
    U, W = wanted(0.5, name="U"), wanted(-0.3, name="W")
    optimizer, h = tg.optim.SGD([U, W], lr=0.1), Tensor(0.1)
    for _ in range(3):
        optimizer.zero_grad()
        h = h.detach()
        for x in (0.3, -0.7, 1.1):
            h = np.tanh(U * h + W * x)
        (h * h).backward()
        optimizer.step()


def test_backward_twice_without_a_step() -> None:
    w = wanted(3.0)
    y = w * w
    y.backward()
    y.backward()
    assert w.grad == 12.0


def test_the_loss_with_its_gradient_ready_needs_no_numbers() -> None:
    """The kernel has computed softmax(W0) - one_hot before the step, and nobody reads the logits again."""
    W = wanted(np.zeros((2, 2)))
    loss = tg.losses.softmax_cross_entropy(W, np.array([0, 1]), reduction="sum")
    if not fused_rules([loss]):
        pytest.skip("without kernels the rule reads the logits")
    step(W)
    W.grad = None
    loss.backward()
    np.testing.assert_allclose(W.grad, [[-0.5, 0.5], [0.5, -0.5]], rtol=1e-15)
    with overwritten(f"#{W.serial}", "xent"):
        loss.backward()  # the ready gradient was used up


# ---- arrays that are replaced keep the graph's numbers


REPLACED: dict[str, Callable[[Any, Any], Any]] = {
    "restore": lambda model, state: model.restore({path: array + 10.0 for path, array in state.items()}),
    "astype": lambda model, state: model.astype(np.float32),
    "data": lambda model, state: setattr(model.W, "data", model.W.data + 10.0),
}


@pytest.mark.parametrize("name", REPLACED)
def test_a_parameter_whose_array_was_replaced(name: str) -> None:
    """By hand: d sum(x W + b) / dx = the sums of the rows of W, as they were."""
    model, x = tg.nn.Dense(2, 2), wanted(np.ones((1, 2)))
    model.W.data[...] = W0
    loss = model(x).sum()
    REPLACED[name](model, model.state())
    loss.backward()
    np.testing.assert_array_equal(x.grad, [[3.0, 7.0]])
    np.testing.assert_array_equal(model.W.grad, np.ones((2, 2)))


def test_a_recorded_gradient_after_a_replacement_is_right_or_refused() -> None:
    """The rules run on the tensors, which hold other numbers now: d w w / dw = 6 at w = 3, and not 20."""
    w = wanted(3.0, name="w")
    y = w * w
    w.data = np.array(10.0)
    assert tg.gradients(y, w) == 6.0
    answer = None
    with contextlib.suppress(RuntimeError):
        answer = tg.gradients(y, w, create_graph=True).item()
    assert answer in (None, 6.0)
