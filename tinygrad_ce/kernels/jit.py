"""Compilation: `jit` turns a loop into machine code on its first call, and keeps that on disk."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce import cache
from tinygrad_ce.kernels import code_cache

numba: Any
try:
    import numba
except ImportError:  # a platform without Numba still has the bodies
    numba = None

# "contract" lets a multiplication and an addition become one fused instruction, and nothing else: never NaN-blind.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}


def jit_inside(loop: Callable[..., Any]) -> Callable[..., Any]:
    """As part of the loops that call it: a function of its own would be compiled once more, by itself."""
    if numba is None or numba.config.DISABLE_JIT:
        return loop
    inside: Callable[..., Any] = numba.njit(inline="always", **OPTIONS)(loop)
    return inside


def jit(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first call, and keep the machine code on disk where only we can write."""
    if numba is None or numba.config.DISABLE_JIT:
        return np.errstate(all="ignore")(loop)  # as Python; compiled loops do not warn of inf - inf either
    compiled: Callable[..., Any] = numba.njit(**OPTIONS)(loop)
    directory = _directory()
    if directory is not None and (key := code_cache.secret(directory)) is not None:
        folder = directory if _is_generated(loop) else code_cache.folder(directory)
        if folder is not None:
            code_cache.keep(compiled, folder, key)
    return compiled


def _is_generated(loop: Callable[..., Any]) -> bool:
    """Whether it is a compiled training step, whose files program/code_cache.py names, lists and removes."""
    return loop.__module__.startswith("step_")


def _directory() -> Path | None:
    """Where machine code is kept: kernels in a folder named by all kernel files, because they call each other."""
    if numba.config.CACHE_DIR:  # where the user wants all Numba code to be kept
        return Path(numba.config.CACHE_DIR)
    directory = cache.directory()
    if directory is None or not numba.config.BOUNDSCHECK:
        return directory
    return directory / "boundscheck"  # loops that check their indices are other machine code


_warned = False


def warn_without_numba() -> None:
    """Say once in a process that Numba is missing."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            "Numba is not installed: losses and optimizers run on NumPy, slower", RuntimeWarning, stacklevel=2
        )
