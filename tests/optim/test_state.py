"""`state` and `restore`: ten steps, kept, and ten more by a new optimizer are twenty, bit for bit."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.optim import SGD, AdaGrad, Adam, AdamW, Cosine, ReduceOnPlateau, RMSprop

MAKERS: dict[str, Callable[..., Any]] = {
    "SGD": SGD,
    "momentum": lambda p, **options: SGD(p, momentum=0.9, nesterov=True, **options),
    "Adam": Adam,
    "AdamW": AdamW,
    "RMSprop": RMSprop,
    "AdaGrad": AdaGrad,
}
every_optimizer = pytest.mark.parametrize("name", MAKERS)


def parameters(dtype: Any = np.float64) -> list[tg.Tensor]:
    random = np.random.default_rng(0)
    return [tg.Tensor(random.normal(size=shape).astype(dtype), requires_grad=True) for shape in ((3, 2), (2,), ())]


def steps(optimizer: Any, numbers: range) -> None:
    """Steps with gradients that depend on the number; the second parameter is frozen until step 4."""
    for k in numbers:
        random = np.random.default_rng(k)
        for i, p in enumerate(optimizer.parameters):
            p.grad = None if i == 1 and k < 4 else np.asarray(random.normal(size=p.shape)).astype(p.dtype)
        optimizer.step()


def through_npz(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    return dict(np.load(file))


def through_json(state: dict[str, Any]) -> dict[str, Any]:
    """Numbers written out: Python prints enough digits of each float."""
    lists = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in state.items()}
    return {
        name: np.array(value, state[name].dtype) if isinstance(state[name], np.ndarray) else value
        for name, value in json.loads(json.dumps(lists)).items()
    }


def in_another_layout(state: dict[str, Any]) -> dict[str, Any]:
    """As a file of another program may have it: big-endian, columns first."""
    return {
        name: np.asfortranarray(value).astype(value.dtype.newbyteorder(">")).reshape(value.shape, order="A")
        if isinstance(value, np.ndarray)
        else value
        for name, value in state.items()
    }


@every_optimizer
@pytest.mark.parametrize("keep", [dict, through_npz, through_json, in_another_layout])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("lr", [0.05, Cosine(0.1, steps=30)], ids=["constant", "cosine"])
def test_ten_steps_and_ten_after_a_restore_are_twenty(name: str, keep: Any, dtype: Any, lr: Any) -> None:
    whole = MAKERS[name](parameters(dtype), lr=lr)
    steps(whole, range(20))
    first = MAKERS[name](parameters(dtype), lr=lr)
    steps(first, range(10))
    state = keep(first.state())
    second = MAKERS[name]([tg.Tensor(p.data, requires_grad=True) for p in first.parameters], lr=lr)
    second.restore(state)
    steps(second, range(10, 20))
    for ours, right in zip(second.parameters, whole.parameters, strict=True):
        np.testing.assert_array_equal(ours.data, right.data)
    for key, right_value in whole.state().items():
        np.testing.assert_array_equal(second.state()[key], right_value)


def test_what_a_state_holds() -> None:
    optimizer = Adam(parameters(), lr=0.05)
    steps(optimizer, range(6))
    state = optimizer.state()
    memory = [f"{i}.{what}" for i in range(3) for what in ("mean", "square")]
    assert list(state) == ["steps", "updates", "lr", *memory]
    assert (state["steps"], state["updates"].tolist(), state["lr"]) == (6, [6, 2, 6], 0.05)
    assert [state[key].shape for key in memory] == [(3, 2), (3, 2), (2,), (2,), (), ()]


@every_optimizer
def test_a_state_is_a_copy_and_so_is_what_is_restored(name: str) -> None:
    optimizer = MAKERS[name](parameters(), lr=0.05)
    steps(optimizer, range(5))
    state = optimizer.state()
    before = {key: np.array(value) for key, value in state.items()}
    steps(optimizer, range(5, 8))
    for key, value in before.items():
        np.testing.assert_array_equal(state[key], value)
    optimizer.restore(state)
    steps(optimizer, range(5, 8))
    for key, value in before.items():
        np.testing.assert_array_equal(state[key], value)


def test_a_constant_rate_is_restored_and_a_schedule_is_not_replaced() -> None:
    state = SGD(parameters(), lr=0.25).state()
    other = SGD(parameters(), lr=0.5)
    other.restore(state)
    assert other.lr == 0.25
    scheduled = SGD(parameters(), lr=Cosine(0.5, steps=10))
    scheduled.restore(state)
    assert scheduled.lr == 0.5
    other.restore(scheduled.state())
    assert other.lr == 0.25


def test_a_plateau_goes_on_where_it_was() -> None:
    first = SGD(parameters(), lr=ReduceOnPlateau(1.0, factor=0.5, patience=2))
    for loss in (3.0, 3.0, 3.0, 3.0):
        first.schedule.observe(loss)
    second = SGD(parameters(), lr=ReduceOnPlateau(1.0, factor=0.5, patience=2))
    second.restore(through_npz(first.state()))
    assert second.lr == 0.5
    second.schedule.observe(2.9)
    second.schedule.observe(3.0)
    second.schedule.observe(3.0)
    assert second.lr == 0.25


def test_a_restored_run_of_a_compiled_step_goes_on_too() -> None:
    def training(start: list[np.ndarray]) -> tuple[Any, Any]:
        w = [tg.Tensor(a, requires_grad=True, name=name) for a, name in zip(start, "wv", strict=True)]
        optimizer = Adam(w, lr=0.1)

        def step(x: Any) -> Any:
            loss = tg.ops.tanh(x * w[0] + w[1]).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return optimizer, tg.compile(step)

    batches = np.random.default_rng(0).normal(size=(6, 4, 2))
    start = [np.array([1.0, -1.0]), np.array([0.5, 0.25])]
    whole, run = training(start)
    for x in batches:
        run(x)
    first, run = training(start)
    for x in batches[:3]:
        run(x)
    second, run = training([p.data for p in first.parameters])
    run(batches[0])  # compiled and used before: what was compiled is not spoiled by a restore
    for p, q in zip(second.parameters, first.parameters, strict=True):
        p.data[...] = q.data
    second.restore(first.state())
    for x in batches[3:]:
        run(x)
    for ours, right in zip(second.parameters, whole.parameters, strict=True):
        np.testing.assert_array_equal(ours.data, right.data)


# ---- what does not fit


def changed(**changes: Any) -> dict[str, Any]:
    optimizer = Adam(parameters(), lr=0.05)
    steps(optimizer, range(3))
    state = optimizer.state() | changes
    return {key: value for key, value in state.items() if value is not None}


WRONG = {
    "nothing": ({}, ValueError, r"lacks steps, updates, 0.mean"),
    "of SGD": (SGD(parameters(), momentum=0.9).state(), ValueError, r"lacks 0.mean.*has besides 0.velocity"),
    "of fewer": (Adam(parameters()[:2]).state(), ValueError, r"lacks 2.mean, 2.square.*this one has 3 parameters"),
    "one array less": (changed(**{"1.mean": None}), ValueError, r"lacks 1.mean, and has besides nothing"),
    "one too many": (changed(model=np.ones(2)), ValueError, r"has besides model"),
    "a shape": (changed(**{"0.mean": np.zeros((2, 3))}), ValueError, r"0.mean has shape \(2, 3\).*here.*\(3, 2\)"),
    "a dtype": (changed(**{"0.square": np.zeros((3, 2), np.float32)}), ValueError, r"0.square .* float32.*float64"),
    "of float32": (Adam(parameters(np.float32)).state(), ValueError, r"0.mean .* float32"),
    "counts": (changed(updates=np.array([3, 4, 0])), ValueError, r"updates=\[3 4 0\]"),
    "no whole number": (changed(steps=2.5), ValueError, "steps=2.5"),
    "a list": ([1, 2], TypeError, "list; pass the dict"),
}


@pytest.mark.parametrize("why", WRONG)
def test_a_state_that_does_not_fit_is_refused_in_words_and_changes_nothing(why: str) -> None:
    state, kind, words = WRONG[why]
    optimizer = Adam(parameters(), lr=0.05)
    steps(optimizer, range(5))
    before = optimizer.state()
    with pytest.raises(kind, match=rf"Adam.restore: .*{words}"):
        optimizer.restore(state)  # type: ignore[arg-type]
    for key, value in optimizer.state().items():
        np.testing.assert_array_equal(value, before[key])


def test_an_optimizer_of_ones_own_has_a_state_too() -> None:
    class Signs(tg.optim.Optimizer):
        """Descent by the sign of a running sum."""

        remembers = ("total",)

        def initial_state(self, data: Any) -> Any:
            return (np.zeros_like(data),)

        def update(self, param: Any, grad: Any, state: Any, lr: Any, step: Any) -> Any:
            total = state[0] + grad
            return param - lr * np.sign(total), (total,)

    first = Signs(parameters(), lr=0.1)
    steps(first, range(3))
    second = Signs([tg.Tensor(p.data, requires_grad=True) for p in first.parameters], lr=0.1)
    second.restore(first.state())
    for optimizer in (first, second):
        steps(optimizer, range(3, 6))
    for a, b in zip(first.parameters, second.parameters, strict=True):
        np.testing.assert_array_equal(a.data, b.data)
