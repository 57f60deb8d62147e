"""Numba kernels: `op.run` of a primitive becomes a loop, at the first call that is worth its compilation.

Nothing here imports Numba; a kernel's file does, and it is imported when the kernel is first needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import EAGER, Primitive, Rule, Tensor, interpreter, result_of

MIN_ELEMENTS = 4096  # for fewer, NumPy is as fast, and no toy network waits for a compiler
FLOATS, LABELS = "fd", "lq"  # float32 and float64; int64


class Kernel:
    """What stands in `op.run`: the loop where it can do the work, or the body.

    name: of a function in `tinygrad_ce.kernels` with the arguments of the primitive; it returns NotImplemented where
    the body shall do the work. min_size: how many elements the first array has at least. dtypes: of the first array.
    """

    def __init__(self, op: Primitive, name: str, min_size: int = 0, dtypes: str = FLOATS) -> None:
        self.name, self.min_size, self.dtypes = name, min_size, dtypes
        self.body: Callable[..., Any] = op.body
        self.loop: Callable[..., Any] | None = None

    def __call__(self, *arrays: Any, **params: Any) -> Any:
        first = arrays[0]
        if type(first) is np.ndarray and first.size >= self.min_size:
            dtype = first.dtype
            if dtype.char in self.dtypes and dtype.isnative:
                out = (self.loop or self.load())(*arrays, **params)
                if out is not NotImplemented:
                    return out
        return self.body(*arrays, **params)

    def load(self) -> Callable[..., Any]:
        """The loop, which brings Numba in; the body where there is no Numba."""
        from tinygrad_ce import kernels

        if kernels.numba is None:
            kernels.warn_once()
        self.loop = getattr(kernels, self.name) if kernels.numba is not None else self.body
        assert self.loop is not None
        return self.loop


KERNELS: dict[Primitive, tuple[Any, ...]] = {
    ops.first_bad_label: ("first_bad_label", 0, LABELS),
    **{op: (op.name,) for op in (ops.xent, ops.xent_grad, ops.soft_xent, ops.soft_xent_grad)},
    **{op: (op.name,) for op in (ops.sigmoid_xent, ops.sigmoid_xent_grad)},
    **{op: (op.name, MIN_ELEMENTS) for op in (ops.softmax, ops.log_softmax, ops.logsumexp)},
    **{op: (op.name, MIN_ELEMENTS) for op in (ops.sigmoid, ops.softplus)},
    ops.tanh: ("tanh", 500_000),  # NumPy's own, so only threads can gain
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


FUSED = {op: Kernel(op, f"{op.name}_with_gradient") for op in (ops.xent, ops.soft_xent, ops.sigmoid_xent)}
for _kernel in FUSED.values():
    _kernel.body = lambda *arrays, **params: NotImplemented


def fuse(inner: Any, op: Primitive, inputs: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """The interpreter that computes a reduced loss together with its gradient, and keeps that on the logits' edge."""
    kernel = FUSED.get(op)
    if kernel is not None:
        z = inputs[0]
        if isinstance(z, Tensor) and z.requires_grad and interpreter.get().recording:
            arrays = [x.data if isinstance(x, Tensor) else x for x in inputs]
            both = kernel(*arrays, **params)
            if both is not NotImplemented:
                result = result_of(op, inputs, arrays, params, both[0], True)
                result.rules = (FusedRule(op.rules[0], both[1]), *op.rules[1:])
                return result
    return inner(op, inputs, params)


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
    for op, settings in KERNELS.items():
        op.run = Kernel(op, *settings)
    EAGER.attach(call=fuse)
