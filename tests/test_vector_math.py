"""exp and log1p of the kernels: their errors against mpmath, their corners as in C, and vector instructions."""

import os
import platform
import subprocess
import sys

import mpmath
import numpy as np
import pytest

numba = pytest.importorskip("numba")

from tinygrad_ce import kernels  # noqa: E402

DTYPES = [np.float32, np.float64]
jitted = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="the loops run as Python")


@kernels.jit
def exps(x, top, out):
    for i in range(len(x)):
        out[i] = kernels.exp_below(x[i], top)


@kernels.jit
def log1ps(e, out):
    for i in range(len(e)):
        out[i] = kernels.log1p_of_small(e[i])


def run(loop, x, *more):
    out = np.empty_like(x)
    loop(x, *more, out)
    return out


def ulps(got, exact):
    """The largest error in units of the last place of the exact numbers."""
    spacings = [float(np.spacing(np.abs(got.dtype.type(float(right))))) for right in exact]
    return max(
        float(abs(mpmath.mpf(float(g)) - right) / spacing)
        for g, right, spacing in zip(got, exact, spacings, strict=True)
    )


@jitted
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("top", [0.0, 1.0, -37.3, 700.1])
def test_exp_is_within_one_ulp_over_its_whole_range(dtype, top):
    generator = np.random.default_rng(0)
    deepest = 100.0 if dtype == np.float32 else 740.0
    gaps = np.concatenate([generator.random(1500), 20 * generator.random(1500), deepest * generator.random(1500), [0]])
    x, top = (top - gaps).astype(dtype), dtype(top)
    x = np.minimum(x, top)
    with mpmath.workdps(60):
        exact = [mpmath.exp(mpmath.mpf(float(v)) - mpmath.mpf(float(top))) for v in x]
        assert ulps(run(exps, x, top), exact) <= 1


@jitted
@pytest.mark.parametrize("dtype", DTYPES)
def test_log1p_is_within_two_ulp(dtype):
    generator = np.random.default_rng(0)
    tiny = np.exp(-80 * generator.random(2000))
    e = np.concatenate([generator.random(3000), tiny, [0, 1]]).astype(dtype)
    with mpmath.workdps(60):
        exact = [mpmath.log1p(mpmath.mpf(float(v))) for v in e]
        got = run(log1ps, e)
        assert ulps(got[e > 0], [right for right, v in zip(exact, e, strict=True) if v > 0]) <= 2
    assert run(log1ps, np.zeros(1, dtype))[0] == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_corners_of_exp_are_those_of_c(dtype):
    x = np.array([0.0, -0.0, -np.inf, np.nan, -1e30, -2000], dtype)
    np.testing.assert_array_equal(run(exps, x, dtype(0)), np.array([1, 1, 0, np.nan, 0, 0], dtype))
    assert np.isnan(run(exps, x, dtype(np.nan))).all()
    huge = np.array([1e30, 1.5e30], dtype)
    np.testing.assert_array_equal(run(exps, huge, huge[1]), [0, 1])


@jitted
@pytest.mark.parametrize("dtype", DTYPES)
def test_results_below_the_normal_range_are_right(dtype):
    x = np.array([-88, -95, -100] if dtype == np.float32 else [-709, -720, -740], dtype)
    np.testing.assert_allclose(
        run(exps, x, dtype(0)), np.exp(x), rtol=0, atol=float(np.finfo(dtype).smallest_subnormal)
    )


HOT = ["_xent_few", "_xent_many", "_xent_grad_many", "_sigmoid_xent", "_sigmoid_xent_grad"]
COUNT_PACKED = f"""
import re, numpy as np
from tinygrad_ce import kernels
for dtype, suffix in ((np.float32, "ps"), (np.float64, "pd")):
    z, y, up = np.zeros((3, 200), dtype), np.zeros(3, np.int64), np.array(1, dtype)
    for logits in (z, z[:, :5].copy()):
        kernels.xent(logits, y), kernels.xent_grad(up, logits, y, reduction="mean")
    kernels.sigmoid_xent(z, z, 1.0), kernels.sigmoid_xent_grad(z, z, z, 1.0)
    for name in {HOT}:
        versions = getattr(kernels, name).inspect_asm().items()
        text = "".join(code for types, code in versions if dtype.__name__ in str(types))
        print(len(re.findall(f"(?:mul|fmadd[0-9]*){{suffix}}", text)))
"""


@jitted
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the pattern is of x86 instructions")
def test_the_hot_loops_are_vectorised(tmp_path):
    """In a process with an empty cache: only fresh machine code can be inspected."""
    out = subprocess.run(
        [sys.executable, "-c", COUNT_PACKED],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
    ).stdout
    counts = dict(zip([(name, bits) for bits in (32, 64) for name in HOT], map(int, out.split()), strict=True))
    assert {loop: count for loop, count in counts.items() if count < 10} == {}
