"""Threads inside of one compiled step: the rows of each, and a gate at which they wait for each other.

This file brings Numba in; only generated loops import it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from tinygrad_ce.kernels.jit import jit

PLAIN = bool(vars(config)["DISABLE_JIT"])  # loops run as Python, in which nobody can wait at the gate
LINE = 8  # numbers of a line of the cache: the count and the alarm lie in lines of their own
SPINS = 100  # a few us; then the processor is given to whoever needs it more, such as another of these threads
BROKEN = "another thread of this step has failed"


def new_gate() -> Any:
    """A gate: how many threads have arrived at it, and whether one of them has failed."""
    return np.zeros(2 * LINE, np.int64)


def alarm(gate: Any) -> None:
    """Let nobody wait at a gate any longer: a thread has failed."""
    gate[LINE] = 1


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.gep(array.data, [arguments[1]])


def _function(builder: Any, name: str, kind: Any) -> Any:
    return builder.module.globals.get(name) or ir.Function(builder.module, kind, name)


def _arrive_in(context: Any, gate: Any, place: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        one = ir.Constant(ir.IntType(64), 1)
        return builder.atomic_rmw("add", _pointer(context, builder, signature, arguments), one, "seq_cst")

    return types.int64(gate, types.int64), generate


def _seen_in(context: Any, gate: Any, place: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_pointer(context, builder, signature, arguments), "acquire", 8)

    return types.int64(gate, types.int64), generate


def _pause_in(context: Any) -> Any:
    """Tell the processor that this is a loop which waits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        triple, void = builder.module.triple, ir.VoidType()
        if triple.startswith(("x86", "i686", "amd64")):
            builder.call(_function(builder, "llvm.x86.sse2.pause", ir.FunctionType(void, [])), [])
        elif triple.startswith(("aarch64", "arm64")):
            hint = _function(builder, "llvm.aarch64.hint", ir.FunctionType(void, [ir.IntType(32)]))
            builder.call(hint, [ir.Constant(ir.IntType(32), 1)])  # yield
        return context.get_dummy_value()

    return types.none(), generate


def _give_way_in(context: Any) -> Any:
    """Let the system run another thread on this processor (where it has `sched_yield`)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if "windows" not in builder.module.triple:
            builder.call(_function(builder, "sched_yield", ir.FunctionType(ir.IntType(32), [])), [])
        return context.get_dummy_value()

    return types.none(), generate


_arrive: Any = intrinsic(_arrive_in)
_seen: Any = intrinsic(_seen_in)
_pause: Any = intrinsic(_pause_in)
_give_way: Any = intrinsic(_give_way_in)


@jit
def meet(gate, passed, threads):
    """Wait until all threads have come here; return how many arrivals there have been at the gate."""
    passed += threads
    if threads > 1:
        _arrive(gate, 0)
        spins = 0
        while _seen(gate, 0) < passed:
            if _seen(gate, LINE) != 0:
                raise RuntimeError(BROKEN)
            _pause()
            spins += 1
            if spins > SPINS:
                _give_way()
    return passed


@jit
def first_row(rows, thread, threads):
    """The first row of a thread's share; that of the thread after the last is the number of rows."""
    if thread == threads:
        return rows
    step = 8 if rows >= 64 else 1
    return rows // step * thread // threads * step
