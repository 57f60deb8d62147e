"""Inside a function that is differentiated, nothing becomes a plain number or array without saying so."""

from __future__ import annotations

import copy
import math
import pickle
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from samples import text_of

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.functional import LeftTheGraphError

X = np.array([0.7, -1.2])


def written_into_an_array(x: Any) -> Any:
    array = np.zeros(2)
    array[0] = x[0]
    return (array * x).sum()


def added_to_an_element(x: Any) -> Any:
    array = np.ones(2)
    array[1] += x[1]
    return (array * x).sum()


def filled(x: Any) -> Any:
    array = np.zeros(2)
    array.fill(x[0])
    return (array * x).sum()


def by_backward(x: Any) -> Any:
    y = (x * x).sum()
    y.backward()
    return (x * y.grad).sum()


STEP = tg.compile(lambda x: x * x)

LEAVING: list[Callable[[Any], Any]] = [
    lambda x: x[0] * math.exp(x[0]),
    lambda x: x[0] * math.pow(2.0, x[1]),
    lambda x: x[0] * float(x[0]),
    lambda x: x[0] * int(x[1]),
    lambda x: x[0] * x[1].item(),
    lambda x: x[0] * math.floor(x[1]),
    lambda x: x[0] * abs(complex(x[1])),
    lambda x: (x * math.fsum(x)).sum(),
    lambda x: (x * statistics.fmean(x)).sum(),
    lambda x: (x * np.array([float(element) for element in x])).sum(),
    lambda x: (x * np.fromiter(x, float)).sum(),
    lambda x: float((x * x).sum()),
    lambda x: (x * copy.copy(x)).sum() if x.op is None else x.sum(),
    lambda x: (x * pickle.loads(pickle.dumps(x))).sum() if x.op is None else x.sum(),
    lambda x: (x * tg.gradients((x * x).sum(), x)).sum(),
    lambda x: (x * STEP(x)).sum(),
    lambda x: (x * tg.trace(lambda a: a * a, X).run(x)).sum(),
    written_into_an_array,
    added_to_an_element,
    filled,
    by_backward,
]


@pytest.mark.parametrize("f", LEAVING, ids=text_of)
def test_leaving_the_graph_raises(f: Callable[[Any], Any]) -> None:
    with pytest.raises(LeftTheGraphError, match=r"test_leaving_the_graph\.py:\d+\) inside a function .* \.data"):
        tg.grad(f)(X)


DERIVATIVES: list[Callable[[Any], Any]] = [
    lambda f: tg.grad(f)(1.0),
    lambda f: tg.value_and_grad(f)(1.0),
    lambda f: tg.vjp(f, 1.0),
    lambda f: tg.jvp(f, [1.0], [1.0]),
    lambda f: tg.jacobian(f)(1.0),
    lambda f: tg.hessian(f)(1.0),
    lambda f: tg.hvp(f, 1.0, 1.0),
    lambda f: tg.grad(tg.grad(f))(1.0),
    lambda f: tg.grad(lambda x: x * tg.grad(lambda y: f(x) * y)(1.0))(1.0),
    lambda f: tg.check.gradcheck(f, 1.0, order=1),
]


@pytest.mark.parametrize("derivative", DERIVATIVES, ids=text_of)
def test_every_derivative_watches_its_function(derivative: Callable[[Any], Any]) -> None:
    with pytest.raises(LeftTheGraphError, match=r"np\.exp"):
        derivative(lambda x: x * math.exp(x))
    derivative(lambda x: x * np.exp(x))


def test_the_cure_of_the_message_is_right() -> None:
    assert float(tg.grad(lambda x: x * np.exp(x))(1.0)) == pytest.approx(2 * math.e, rel=1e-14)
    slope = tg.grad(lambda x: (np.stack([x[0], x[0] * 0]) * x).sum())(X)
    np.testing.assert_allclose(slope, [2 * X[0], 0.0], rtol=1e-14)


W = tg.Tensor(2.0, requires_grad=True, name="w")

ALLOWED: list[tuple[Callable[[Any], Any], float]] = [
    (lambda x: x * float(x.data), 3.0),  # it says so
    (lambda x: x * x.numpy(), 3.0),
    (lambda x: x * x.detach().item(), 3.0),
    (lambda x: x * float(W) * (W * 3).item(), 12.0),  # it does not depend on x
    (lambda x: x * math.exp(0.0) * float(tg.Tensor(2.0)), 2.0),
    (lambda x: x * x if x > 2 else -x, 6.0),  # a choice between branches has no slope
    (lambda x: x * x if x else -x, 6.0),
    (lambda x: x * float(x > 2), 1.0),
    (lambda x: x * int(ops.argmax(ops.stack(x, -x))), 0.0),
    (lambda x: max(x, 0.0) * min(x, 5.0), 6.0),
    (lambda x: x * x if 2.0 < x < 4.0 and str(x) and repr(x) and f"{x} {x:.2f}" else -x, 6.0),
    (lambda x: x * len(str(x.data)) / len(str(x.data)), 1.0),
    (lambda x: x * tg.gradients(W * W, W), 4.0),
    (lambda x: x * tg.gradients(x * x, x, create_graph=True), 12.0),
    (lambda x: x * float(tg.grad(lambda y: y * y)(3.0).data), 6.0),
]


@pytest.mark.parametrize(("f", "expected"), ALLOWED, ids=text_of)
def test_what_has_no_gradient_or_says_so_is_allowed(f: Callable[[Any], Any], expected: float) -> None:
    assert float(tg.grad(f)(3.0)) == pytest.approx(expected, rel=1e-14)


def test_an_outer_argument_is_watched_inside_an_inner_derivative() -> None:
    def f(x: Any) -> Any:
        return tg.grad(lambda y: y * y * math.exp(x))(1.0)

    with pytest.raises(LeftTheGraphError):
        tg.grad(f)(0.5)
    assert float(f(0.5)) == pytest.approx(2 * math.exp(0.5), rel=1e-15)  # here x is a number anyway


def test_a_training_loop_may_take_numbers() -> None:
    loss = (W * W).sum()
    assert float(loss) == loss.item() == 4.0
    assert math.exp(W) == math.exp(2.0)
    assert float(copy.deepcopy(W)) == 2.0
    with pytest.raises(TypeError):
        tg.grad(lambda x: math.exp(x))(1.0)
    assert float(loss) == 4.0  # also after a derivative has failed


def test_another_error_of_the_function_comes_through_as_it_is() -> None:
    def f(x: Any) -> Any:
        raise ValueError("mine") from KeyError("cause")

    with pytest.raises(ValueError, match="mine"):
        tg.grad(f)(1.0)


def test_an_inference_of_plain_arrays_is_refused() -> None:
    model = tg.nn.Dense(2, 1)
    trainer = tg.Trainer(model, tg.nn.MSE(), tg.optim.SGD(model.parameters(), lr=0.1))
    trainer.fit(np.ones((3, 2)), np.ones((3, 1)), epochs=1, progress=False)
    with pytest.raises(LeftTheGraphError, match="the model itself"):
        tg.grad(lambda x: trainer.predict(x).sum())(np.ones((3, 2)))
    slope = tg.grad(lambda x: model(x).sum())(np.ones((3, 2)))
    np.testing.assert_array_equal(slope, np.ones((3, 1)) * model.W.data[:, 0])


@pytest.mark.parametrize(
    "loss",
    [
        lambda w: tg.losses.mse(np.ones(2), np.zeros(2), weight=w),
        lambda w: tg.losses.sigmoid_binary_cross_entropy(np.ones(2), np.zeros(2), weight=w),
        lambda w: tg.losses.sigmoid_binary_cross_entropy(np.ones(2), np.ones(2), pos_weight=w),
        lambda w: tg.losses.binary_cross_entropy(np.ones(2) / 2, np.ones(2), pos_weight=w),
        lambda w: tg.losses.softmax_cross_entropy(np.ones((2, 2)), np.zeros(2, int), weight=w),
        lambda w: tg.losses.cross_entropy(np.ones((2, 2)) / 2, np.zeros(2, int), weight=w),
        lambda w: tg.losses.softmax_cross_entropy(np.ones((2, 2)), np.zeros(2, int), label_smoothing=w[0]),
    ],
    ids=text_of,
)
def test_the_weights_of_a_loss_have_no_gradient_and_say_so(loss: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"gradient|label_smoothing"):
        tg.grad(loss)(np.array([0.2, 0.3]))
    assert np.isfinite(loss(np.array([0.2, 0.3])).item())
