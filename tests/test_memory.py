"""Long chains, and when the memory of a graph is freed."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from leaves import recorded, wanted

from tinygrad_ce import numpy_protocol, ops
from tinygrad_ce.backward import no_grad
from tinygrad_ce.core import Tensor
from tinygrad_ce.functional import gradients

assert numpy_protocol  # np.sin(t) and its like


def test_a_chain_of_100_000_ops() -> None:
    x = wanted(1.0)
    y = x
    for _ in range(50_000):
        y = (y + 1.0) - 1.0
    y.backward()
    assert float(x.grad) == 1.0
    del y  # a recursive release would overflow the stack here


def test_a_long_chain_has_recorded_gradients() -> None:
    x = wanted(2.0)
    y = x
    for _ in range(5_000):
        y = -y
    first = gradients(y * y, x, create_graph=True)
    assert float(gradients(first, x)) == 2.0


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What is freed here is freed by reference counting alone."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def forward(x: Tensor) -> Tensor:
    hidden = np.tanh(x @ np.ones((2, 3)) + 1.0)
    return (np.concatenate([hidden, hidden * 2.0])[[0, 1, 1]] * ops.softmax(hidden)[0]).sum()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    "walk", [lambda loss, x: None, lambda loss, x: loss.backward(), lambda loss, x: gradients(loss, x)]
)
def test_reference_counting_alone_frees_the_graph(walk: Callable[..., Any]) -> None:
    x = wanted(np.ones((2, 2)))
    loss = forward(x)
    walk(loss, x)
    references = recorded(loss)
    assert len(references) > 5
    del loss
    assert [ref() for ref in references if ref() is not None] == []


@pytest.mark.usefixtures("no_collector")
def test_reference_counting_alone_frees_a_recorded_backward() -> None:
    x = wanted(np.ones((2, 2)))
    slope = gradients(forward(x), x, create_graph=True)
    penalty = (slope * slope).sum()
    penalty.backward()
    references = recorded(penalty)
    del slope, penalty
    assert [ref() for ref in references if ref() is not None] == []


@pytest.mark.usefixtures("no_collector")
def test_an_error_in_backward_keeps_nothing(explosive: Any) -> None:
    loss = explosive(wanted(1.0) * 2.0)
    references = recorded(loss)
    with pytest.raises(AssertionError, match="nobody asked for") as caught:
        loss.backward()
    caught.value.__traceback__ = None
    del loss, caught
    assert [ref() for ref in references if ref() is not None] == []


@pytest.mark.usefixtures("no_collector")
def test_what_is_not_recorded_keeps_no_inputs() -> None:
    x = wanted([1.0])
    with no_grad():
        y = x * 2.0
        z = y * 3.0
    reference = weakref.ref(y)
    del y
    assert reference() is None
    assert z.item() == 6.0
