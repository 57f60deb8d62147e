"""How kernels come into the engine: as `op.run` of their primitives, and as a cheaper rule on the edge of a loss.

Nothing here imports Numba; a kernel's file does, and it is imported when the kernel is first needed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Primitive, Rule, Tensor, interpreter
from tinygrad_ce.kernels import find

MIN_ELEMENTS = 4096  # for fewer, NumPy is as fast, and no toy network waits for a compiler
MIN_ELEMENTS_OF_COSTLY = 256  # a toy layer: these bodies take many steps, and 3 to 20 times as long as a loop
MIN_ELEMENTS_OF_TANH = 500_000  # NumPy's own tanh, so only threads can gain


def kernel_or_body(body: Callable[..., Any], name: str, min_size: int = 0) -> Callable[..., Any]:
    """What stands in `op.run`: the kernel of this name where it can do the work, or the body.

    The kernel has the arguments of the primitive, and returns NotImplemented where the body shall do the work.
    min_size: how many elements the array that decides has at least: the first one; of a gradient's kernel the logits,
    because what is upstream may be a single number, or of another dtype.
    """
    kernel: Callable[..., Any] | None = None
    position = int(body.__code__.co_varnames[0] == "upstream")

    def run(*inputs: Any, **params: Any) -> Any:
        nonlocal kernel
        array = inputs[position]
        if isinstance(array, (np.ndarray, np.generic)) and not _is_taken(array.dtype) and array.dtype.kind in "fiub":
            return _in_floats(run, inputs, position, params)
        if type(array) is np.ndarray and array.ndim and array.size >= min_size:
            if kernel is None:
                kernel = _loaded(name) or body
            out = kernel(*inputs, **params)
            if out is not NotImplemented:
                return out
        return body(*inputs, **params)

    def run_unary(x: Any) -> Any:
        return body(x) if type(x) is np.ndarray and x.size < min_size and _is_taken(x.dtype) else run(x)

    return run_unary if min_size and not body.__kwdefaults__ else run


def _is_taken(dtype: np.dtype[Any]) -> bool:
    return dtype.char in "fd" and dtype.isnative  # float32 and float64


def _in_floats(run: Callable[..., Any], inputs: tuple[Any, ...], position: int, params: dict[str, Any]) -> Any:
    """The same in what loops and bodies take: float32 for float16, float64 for integers, the order of this machine.

    NumPy computes the exponential of a uint8 in float16, and -x in uint8. Floats are given back in their own dtype.
    """
    dtype = inputs[position].dtype
    floats = [i == position or getattr(getattr(x, "dtype", None), "kind", "") == "f" for i, x in enumerate(inputs)]
    out = run(*(_as_float(x) if is_float else x for x, is_float in zip(inputs, floats, strict=True)), **params)
    return out.astype(dtype.newbyteorder("=")) if dtype.kind == "f" else out


def _as_float(x: Any) -> Any:
    return x.astype(np.float32 if x.dtype.char in "ef" else np.float64)


def _loaded(name: str) -> Callable[..., Any] | None:
    """The kernel of this name, which brings Numba in; None where there is no Numba."""
    from tinygrad_ce.kernels.jit import numba, warn_without_numba

    if numba is None:
        warn_without_numba()
        return None
    return find(name)


# NumPy's own loops; what is no float32 or float64 is made one.
WITHOUT_KERNEL = (
    *(ops.exp, ops.expm1, ops.log, ops.log1p, ops.sqrt, ops.sin, ops.cos),
    *(ops.deviation, ops.log_softmax_grad, ops.softmax_grad),
)
LOSSES = (ops.xent, ops.soft_xent, ops.sigmoid_xent)
KERNELS: dict[Primitive, int] = {  # and the smallest size that is worth a compilation
    **dict.fromkeys((*LOSSES, ops.xent_grad, ops.soft_xent_grad, ops.sigmoid_xent_grad), 0),
    **dict.fromkeys((ops.softmax, ops.log_softmax, ops.logsumexp, ops.sigmoid, ops.softplus), MIN_ELEMENTS),
    ops.sigmoid_slope: MIN_ELEMENTS,
    **dict.fromkeys((ops.tanh_slope, ops.erf, ops.erfc), MIN_ELEMENTS_OF_COSTLY),
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


FUSED = {op: f"{op.name}_with_gradient" for op in LOSSES}
# The logits of the loss that is to leave its gradient here; then also the loss, and the gradient.
_box: ContextVar[list[Any] | None] = ContextVar("box", default=None)


def call_fused(op: Primitive, *inputs: Any, **params: Any) -> Any:
    """Call a loss so that its kernel computes the gradient at the logits in the same pass, if one will be wanted.

    The call goes through the seam as any other; afterwards the rule on the edge to the logits is a cheaper one.
    """
    z = inputs[0]
    if not (isinstance(z, Tensor) and z.requires_grad and interpreter.get().recording):
        return op(*inputs, **params)
    outer, box = _box.get(), [z.data]
    _box.set(box)
    try:
        result = op(*inputs, **params)
    finally:
        _box.set(outer)
    if len(box) > 1 and box[1] == result.data:  # an instrument may have computed other losses meanwhile
        result.rules = [FusedRule(op.rules[0], box[2]), *op.rules[1:]]
    return result


def _leaving_gradient(op: Primitive, alone: Callable[..., Any]) -> Callable[..., Any]:
    """What stands in `op.run` of a loss: `alone`, or inside of `call_fused` the kernel that gives both."""
    both: Callable[..., Any] | None = None

    def run(z: Any, *rest: Any, **params: Any) -> Any:
        nonlocal both
        box = _box.get()
        if box is not None and box[0] is z and z.ndim and _is_taken(z.dtype):
            if both is None:
                both = _loaded(FUSED[op]) or _no_kernel
            answer = both(z, *rest, **params)
            if answer is not NotImplemented:
                box[1:] = answer
                return answer[0]
        return alone(z, *rest, **params)

    return run


def _no_kernel(*arrays: Any, **params: Any) -> Any:
    return NotImplemented


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
    """Put the kernels into their primitives."""
    for op, min_size in {**KERNELS, **dict.fromkeys(WITHOUT_KERNEL, sys.maxsize)}.items():
        op.run = kernel_or_body(op.body, op.name, min_size)
    for op in FUSED:
        op.run = _leaving_gradient(op, op.run)
