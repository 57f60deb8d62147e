"""How kernels come into the engine: as `op.run` of their primitives, and as an interpreter that fuses loss and slope.

Nothing here imports Numba; a kernel's file does, and it is imported when the kernel is first needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import EAGER, Primitive, Rule, Tensor, call, interpreter
from tinygrad_ce.kernels import find

MIN_ELEMENTS = 4096  # for fewer, NumPy is as fast, and no toy network waits for a compiler
MIN_ELEMENTS_OF_TANH = 500_000  # NumPy's own tanh, so only threads can gain


def kernel_or_body(body: Callable[..., Any], name: str, min_size: int = 0) -> Callable[..., Any]:
    """What stands in `op.run`: the kernel of this name where it can do the work, or the body.

    The kernel has the arguments of the primitive, and returns NotImplemented where the body shall do the work.
    min_size: how many elements the first array has at least.
    """
    kernel: Callable[..., Any] | None = None

    def run(first: Any, *rest: Any, **params: Any) -> Any:
        nonlocal kernel
        if type(first) is np.ndarray and first.size >= min_size:
            dtype = first.dtype
            if dtype.char in "fd" and dtype.isnative:  # float32 and float64
                if kernel is None:
                    kernel = _loaded(name) or body
                out = kernel(first, *rest, **params)
                if out is not NotImplemented:
                    return out
        return body(first, *rest, **params)

    return run


def _loaded(name: str) -> Callable[..., Any] | None:
    """The kernel of this name, which brings Numba in; None where there is no Numba."""
    from tinygrad_ce.kernels.jit import numba, warn_without_numba

    if numba is None:
        warn_without_numba()
        return None
    return find(name)


LOSSES = (ops.xent, ops.soft_xent, ops.sigmoid_xent)
KERNELS: dict[Primitive, int] = {  # and the smallest size that is worth a compilation
    **dict.fromkeys((*LOSSES, ops.xent_grad, ops.soft_xent_grad, ops.sigmoid_xent_grad), 0),
    **dict.fromkeys((ops.softmax, ops.log_softmax, ops.logsumexp, ops.sigmoid, ops.softplus), MIN_ELEMENTS),
    ops.tanh: MIN_ELEMENTS_OF_TANH,
}


# ---- a loss and its gradient in one pass


class FusedRule:
    """The rule of a loss's logits, where the kernel has computed the gradient for upstream 1 on its way."""

    __slots__ = ("rule", "slope")

    def __init__(self, rule: Rule, slope: Any) -> None:
        self.rule, self.slope = rule, slope

    def __call__(self, g: Any, out: Any, *inputs: Any, **params: Any) -> Any:
        if self.slope is None or isinstance(g, Tensor):
            return self.rule(g, out, *inputs, **params)
        slope, self.slope = self.slope, None  # once: whoever gets it may write to it
        if float(g) != 1:
            slope *= g
        return slope

    @property
    def reads_numbers(self) -> bool:
        """Whether it looks at the inputs again (see errors.py)."""
        return self.slope is None


def _not_fused(*arrays: Any, **params: Any) -> Any:
    return NotImplemented


FUSED = {op: kernel_or_body(_not_fused, f"{op.name}_with_gradient") for op in LOSSES}


def fuse(inner: Any, op: Primitive, inputs: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """The interpreter that computes a reduced loss together with its gradient, and keeps that on the logits' edge."""
    if op not in FUSED or not (
        isinstance(inputs[0], Tensor) and inputs[0].requires_grad and interpreter.get().recording
    ):
        return inner(op, inputs, params)
    slope = None

    def run(*arrays: Any, **params: Any) -> Any:
        nonlocal slope
        both = FUSED[op](*arrays, **params)
        if both is NotImplemented:
            return op.run(*arrays, **params)
        loss, slope = both
        return loss

    result = call(op, inputs, params, run)
    if slope is not None:
        result.rules = (FusedRule(op.rules[0], slope), *op.rules[1:])
    return result


def fused_rules(tensors: Iterable[Tensor]) -> list[FusedRule]:
    """Those of these tensors."""
    return [rule for t in tensors if t.op in FUSED for rule in t.rules if isinstance(rule, FusedRule)]


@contextmanager
def set_aside(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Inside, plain rules are asked for every gradient; what kernels have computed is there again afterwards."""
    before = [(rule, rule.slope) for rule in fused_rules(tensors)]
    for rule, _ in before:
        rule.slope = None
    try:
        yield
    finally:
        for rule, slope in before:
            rule.slope = slope


def attach() -> None:
    """Put the kernels into their primitives, and the fused losses under all interpreters."""
    for op, min_size in KERNELS.items():
        op.run = kernel_or_body(op.body, op.name, min_size)
    EAGER.attach(call=fuse)
