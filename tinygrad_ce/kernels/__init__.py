"""The Numba loops: cross-entropies, the softmax family, functions of one number, optimizers, products of matrices.

Each kernel takes the arguments of the primitive (or update) of its name and gives the same result; the primitive's body
is the definition, and a test holds the two equal. NotImplemented says that the body shall do it. README.md tells how
to add one. This file brings no Numba in: a kernel's file is imported when the kernel is first called.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

FILES = {
    "jit": ("jit", "warn_without_numba"),
    "linked": ("linked",),
    "vector_math": ("either", "exp_any", "exp_below", "exp_of", "log1p_of", "plus", "tanh_of"),
    "rows": ("accurate_sum",),
    "cross_entropy": (
        *("xent", "xent_grad", "xent_with_gradient", "soft_xent", "soft_xent_grad", "soft_xent_with_gradient"),
        *("xent_panel", "xent_rows", "soft_xent_rows"),
    ),
    "binary_cross_entropy": (
        *("sigmoid_xent", "sigmoid_xent_grad", "sigmoid_xent_with_gradient"),
        "sigmoid_xent_blocks",
    ),
    "softmax": ("softmax", "log_softmax", "logsumexp"),
    "elementwise": ("tanh", "sigmoid", "softplus", "tanh_slope", "sigmoid_slope", "erf", "erfc"),
    "optimizers": ("sgd", "sgd_momentum", "adam", "rmsprop", "adagrad"),
    "gemm": ("add_rows", "multiply", "multiply_rows", "multiply_terms", "take_rows"),
    "gate": ("alarm", "first_row", "meet", "new_gate"),
    "scan": ("accumulate", "argsort"),
    "division": (
        *("floor_divide_floats", "floor_divide_integers", "remainder_floats", "remainder_integers", "power_integers"),
    ),
}
FILE_OF = {name: file for file, names in FILES.items() for name in names}


def find(name: str) -> Callable[..., Any]:
    """The kernel of this name. Brings Numba in."""
    kernel: Callable[..., Any] = getattr(import_module(f"{__name__}.{FILE_OF[name]}"), name)
    return kernel


def import_lines(names: Iterable[str]) -> list[str]:
    """The import statements that a generated file needs for these functions."""
    by_file = defaultdict(list)
    for name in sorted(names):
        by_file[FILE_OF[name]].append(name)
    return [f"from {__name__}.{file} import {', '.join(by_file[file])}" for file in sorted(by_file)]
