"""Graphs of single numbers, as in a first lesson on backpropagation: the chain y = y * w + x, forward and backward.

A chain of 200 operations beside micrograd. Then one of 1,000,000, which no recursion survives, beside closures in
micrograd's style that are called in a loop: how often the time of those it takes holds on any machine.
Goals: at most 2.5 times micrograd; the long forward in 4 s where 0.1.0 took 12.8 s, so in 0.31 of its ratio; and the
garbage collector afterwards as the user left it.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_ce as tg
from benchmarks.side_by_side import in_turn, named, ratio, size, verdict

SHORT, LONG = size((200, 1_000_000), tiny=(4, 2000))  # operations
ROUNDS = size(3, tiny=1)
X, W = 1.0, 0.5
GOAL = 2.5
OF_0_1_0 = {"forward": 4.4, "backward": 4.4}  # times the closures, measured on version 0.1.0
GOAL_OF_LONG = 4 / 12.8


class Value:
    """A number with a closure that passes its gradient on, as micrograd has; the tape replaces the recursive sort."""

    __slots__ = ("data", "grad", "pull_back")

    def __init__(self, data: float, pull_back: Callable[[], None] | None = None) -> None:
        self.data, self.grad, self.pull_back = data, 0.0, pull_back

    def __add__(self, other: Value) -> Value:
        out = Value(self.data + other.data)

        def pull_back() -> None:
            self.grad += out.grad
            other.grad += out.grad

        out.pull_back = pull_back
        return out

    def __mul__(self, other: Value) -> Value:
        out = Value(self.data * other.data)

        def pull_back() -> None:
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad

        out.pull_back = pull_back
        return out


def ours() -> tuple[Any, Any]:
    return tg.Tensor(X, requires_grad=True), tg.Tensor(W, requires_grad=True)


def micrograd() -> tuple[Any, Any]:
    from micrograd.engine import Value

    return Value(X), Value(W)


def closures() -> tuple[Any, Any]:
    return Value(X), Value(W)


def forward(x: Any, w: Any, operations: int, keep: Callable[[Any], Any] | None = None) -> Any:
    """The end of the chain; `keep` is called with each result."""
    y = x
    if keep is None:
        for _ in range(operations // 2):
            y = y * w + x
    else:
        for _ in range(operations // 2):
            product = y * w
            y = product + x
            keep(product)
            keep(y)
    return y


def there_and_back(leaves: Callable[[], tuple[Any, Any]]) -> Callable[[], tuple[float, float]]:
    """Both passes of the short chain, which give the gradients of x and w."""

    def run() -> tuple[float, float]:
        x, w = leaves()
        forward(x, w, SHORT).backward()
        return float(x.grad), float(w.grad)

    return run


def exact(operations: int) -> tuple[float, float]:
    """The gradients of x and w, from the sum that the chain is: y = x (w^n + ... + w + 1)."""
    powers = np.arange(operations // 2 + 1)
    return float(np.sum(W**powers)), float(X * np.sum(powers[1:] * W ** (powers[1:] - 1)))


def short_chain() -> None:
    contenders = {
        name: there_and_back(leaves) for name, leaves in named({"tinygrad_ce": ours, "micrograd": micrograd}).items()
    }
    for name, run in contenders.items():  # all must compute the same before anybody is timed
        np.testing.assert_allclose(run(), exact(SHORT), rtol=1e-12, err_msg=name)
    times = in_turn(contenders)
    print(f"{SHORT:,} operations, forward and backward")
    for name, values in times.items():
        print(f"  {name:<20}{statistics.median(values) / SHORT * 1e6:6.2f} us an operation")
    mine, *peers = contenders
    for peer in peers:
        value = ratio(times[mine], times[peer])
        print(f"  ours / {peer}: {value:.2f}   {verdict(value, most=GOAL)}")


def of_tensors() -> tuple[float, float]:
    """Seconds of the long chain of Tensors, forward and backward."""
    x, w = ours()
    start = time.perf_counter()
    y = forward(x, w, LONG)
    middle = time.perf_counter()
    y.backward()
    end = time.perf_counter()
    np.testing.assert_allclose((x.grad, w.grad), exact(LONG), rtol=1e-9)
    return middle - start, end - middle


def of_closures() -> tuple[float, float]:
    """Seconds of the long chain of closures, forward and backward."""
    x, w = closures()
    tape: list[Value] = []
    start = time.perf_counter()
    y = forward(x, w, LONG, tape.append)
    middle = time.perf_counter()
    y.grad = 1.0
    for value in reversed(tape):
        value.pull_back()  # type: ignore[misc]
    end = time.perf_counter()
    np.testing.assert_allclose((x.grad, w.grad), exact(LONG), rtol=1e-9)
    return middle - start, end - middle


def collector() -> tuple[Any, ...]:
    """What the user may have set of the garbage collector."""
    return gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), gc.get_debug()


def long_chain() -> None:
    times: dict[str, list[tuple[float, float]]] = {"ours": [], "closures": []}
    before = collector()
    for _ in range(ROUNDS):
        for name, seconds in (("ours", of_tensors), ("closures", of_closures)):
            gc.collect()
            times[name].append(seconds())
    after = collector()
    print(f"{LONG:,} operations in one chain")
    for k, pass_ in enumerate(OF_0_1_0):
        mine, theirs = ([seconds[k] for seconds in times[name]] for name in times)
        value, before_that = ratio(mine, theirs), OF_0_1_0[pass_]
        goal = verdict(value, most=round(before_that * GOAL_OF_LONG, 1)) if pass_ == "forward" else ""
        print(
            f"  {pass_:<9} {statistics.median(mine):5.1f} s, closures {statistics.median(theirs):4.1f} s: "
            f"{value:.1f} times (0.1.0: {before_that})   {goal}"
        )
    print(f"  the garbage collector is {'as it was' if after == before else f'changed: {before} -> {after}'}")
    assert after == before


def main() -> None:
    print(__doc__)
    short_chain()
    long_chain()


if __name__ == "__main__":
    main()
