"""Kernels that other loops call where they lie: the same answers and errors as when they are called from Python."""

import inspect

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from tinygrad_ce import kernels  # noqa: E402 (what follows is skipped without Numba)
from tinygrad_ce.kernels.linked import TYPES, linked  # noqa: E402

jitted = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="the loops run as Python")


@pytest.mark.parametrize("name", TYPES)
def test_as_many_types_as_arguments(name):
    kernel = kernels.find(name)
    types, _ = numba.core.sigutils.normalize_signature(f"({TYPES[name].replace('f[', 'float32[')})")
    assert len(types) == len(inspect.signature(getattr(kernel, "py_func", kernel)).parameters)


def arguments(dtype, label=1):
    rng = np.random.default_rng(3)
    z, y = rng.normal(size=(5, 3)).astype(dtype), np.array([0, 2, 1, 1, label])
    room = np.zeros((6, 16), dtype), np.zeros((3, 16))
    return z, y, False, 0, 1.0, np.ones(1, dtype), 0.2, *room, np.empty(5, dtype), np.empty((5, 3), dtype)


@jitted
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_linked_kernel_gives_what_it_gives_alone_and_raises_what_it_raises(dtype):
    panel = kernels.find("xent_panel")
    call = linked(panel, dtype)

    @numba.njit
    def caller(z, y, a, b, w, upstream, share, room, three, loss, slope):
        return call(z, y, a, b, w, upstream, share, room, three, loss, slope) + 0.0

    ours, alone = arguments(dtype), arguments(dtype)
    assert caller(*ours) == panel(*alone)
    np.testing.assert_array_equal(ours[-2], alone[-2])
    np.testing.assert_array_equal(ours[-1], alone[-1])
    with pytest.raises(ValueError, match="a label is no class"):
        caller(*arguments(dtype, label=3))


def test_without_machine_code_it_is_the_kernel_itself(monkeypatch):
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    kernel = kernels.find("xent_panel")
    assert linked(kernel, "float32") is kernel
