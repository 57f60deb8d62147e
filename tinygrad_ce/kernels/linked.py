"""Kernels that compiled steps call where they lie: compiled once, and not again inside each step that calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_ce.kernels.jit import numba

# What each takes; f is the dtype of the logits.
TYPES = {
    "xent_panel": "f[:,::1], int64[::1], boolean, int64, float64, f[::1], float64, f[:,::1], float64[:,::1], f[::1], "
    "f[:,::1]",
    "xent_rows": "f[:,::1], int64[::1], boolean, int64, f[::1], float64, f[::1], float64, f[:,::1], f[::1], f[:,::1]",
    "soft_xent_rows": "f[:,::1], f[:,::1], f[::1], float64, f[::1], float64, f[:,::1], f[::1], f[::1], f[:,::1]",
    "sigmoid_xent_blocks": "f[::1], f[::1], f[::1], f[::1], int64, f[::1], f[::1], f[::1], float64, float64[::1], "
    "f[:,::1]",
}


def linked(kernel: Callable[..., Any], dtype: str) -> Callable[..., Any]:
    """The kernel for arrays of this dtype, as other loops call it: through a symbol that stands for its address.

    A kernel that is called in the usual way becomes a part of its caller, and LLVM works on it once more.
    """
    if numba is None or numba.config.DISABLE_JIT:
        return kernel
    from llvmlite.binding import add_symbol
    from numba.core import cgutils
    from numba.extending import intrinsic

    compiler: Any = kernel
    types = tuple(
        numba.core.sigutils.normalize_signature(f"({TYPES[compiler.__name__].replace('f[', dtype + '[')})")[0]
    )
    compiler.compile(types)
    compiled = compiler.overloads[types]
    symbol = f"tinygrad_ce.{compiler.__name__}.{dtype}"
    add_symbol(symbol, compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        convention = context.call_conv
        kind = convention.get_function_type(signature.return_type, signature.args)
        function = cgutils.get_or_insert_function(builder.module, kind, symbol)
        status, result = convention.call_function(builder, function, signature.return_type, signature.args, arguments)
        with cgutils.if_unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)
        return result

    def typed(context: Any, *arguments: Any) -> Any:
        return compiled.signature, lower

    names = ", ".join(f"x{k}" for k in range(len(types)))
    call: Callable[..., Any] = intrinsic(eval(f"lambda context, {names}: typed(context)", {"typed": typed}))
    return call
