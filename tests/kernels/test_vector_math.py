"""exp and log1p of the kernels: their errors against mpmath, their corners as in C, and vector instructions."""

import platform

import mpmath
import numpy as np
import pytest
from fresh import printed

numba = pytest.importorskip("numba")

from tinygrad_ce.kernels import cross_entropy, softmax, vector_math  # noqa: E402
from tinygrad_ce.kernels.jit import jit  # noqa: E402

DTYPES = [np.float32, np.float64]
jitted = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="the loops run as Python")


@jit
def exps(x, top, out):
    for i in range(len(x)):
        out[i] = vector_math.exp_below(x[i], top)


@jit
def log1ps(x, out):
    for i in range(len(x)):
        out[i] = vector_math.log1p_of(x[i])


@jit
def tanhs(x, out):
    for i in range(len(x)):
        out[i] = vector_math.tanh_of(x[i])


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
def test_log1p_is_within_one_ulp_over_its_whole_range(dtype):
    generator = np.random.default_rng(0)
    smallest, largest = (-44, 38) if dtype == np.float32 else (-320, 308)
    sizes = 10 ** generator.uniform(smallest, largest, 2000)
    near = np.concatenate([generator.random(3000), 3 * generator.random(1000), -generator.random(1500)])
    x = np.concatenate([near, sizes, -sizes[sizes < 1]]).astype(dtype)
    x = x[x > -1]
    with mpmath.workdps(60):
        exact = [mpmath.log1p(mpmath.mpf(float(v))) for v in x]
        assert ulps(run(log1ps, x), exact) <= 1


@jitted
@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_is_within_two_ulp_over_its_whole_range(dtype):
    generator = np.random.default_rng(0)
    smallest = -44 if dtype == np.float32 else -320
    sizes = [generator.random(6000), 5 * generator.random(1000), 10 ** generator.uniform(smallest, 4, 1000)]
    x = np.concatenate(sizes) * generator.choice([-1, 1], 8000)
    x = np.append(x, [0.55, np.nextafter(0.55, 0), -0.55]).astype(dtype)
    with mpmath.workdps(60):
        exact = [mpmath.tanh(mpmath.mpf(float(v))) for v in x]
        assert ulps(run(tanhs, x), exact) <= 2


CORNERS = [0.0, -0.0, np.inf, -np.inf, np.nan, -1.0, -2.0, 1e-45, -1e-45, 5e-324]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("ours", "theirs"), [(log1ps, np.log1p), (tanhs, np.tanh)])
def test_the_corners_of_log1p_and_tanh_are_those_of_c(dtype, ours, theirs):
    x = np.array(CORNERS, dtype)
    with np.errstate(all="ignore"):
        got, expected = run(ours, x), theirs(x)
    np.testing.assert_allclose(got, expected, rtol=4 * np.finfo(dtype).eps, atol=0)
    zero = expected == 0
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(expected[zero]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_nan_stays_nan(dtype):
    """Whatever its sign and its payload, which the arithmetic on exponent bits could carry away."""
    whole, quiet = (np.uint32, 0x7FC00000) if dtype == np.float32 else (np.uint64, 0x7FF8000000000000)
    payloads = np.array([0, 1, 2, 3, 255, 256, 511, 0xFFF, 0x1234], whole) + whole(quiet)
    sign = whole(1 << (8 * dtype().itemsize - 1))
    x = np.concatenate([payloads, payloads | sign]).view(dtype)
    for loop, more in ((exps, (dtype(0),)), (log1ps, ()), (tanhs, ())):
        assert np.isnan(run(loop, x, *more)).all()
    for row in x:
        z = np.array([[1.0, row, 0.5], [1.0, 2.0, 0.5]], dtype)
        for wide in (z, np.pad(z, ((0, 0), (0, 60)), constant_values=-1)):
            loss = cross_entropy.xent(wide, np.array([0, 0]), 1.0)
            assert np.isnan(loss[0])
            assert np.isfinite(loss[1])
            assert np.isnan(softmax.softmax(wide)[0]).all()


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


HOT = [
    "load_row", "row_exponentials", "accurate_sum", "store_row", "_gaps", "xent_panel",
    "xent_rows", "soft_xent_rows", "_softmax_panel", "_softmax_rows", "_log_softmax", "_sigmoid_xent_block",
    "_sigmoid", "_softplus", "_tanh_slope", "_sigmoid_slope", "_sgd", "_sgd_momentum", "_adam", "_rmsprop",
]  # fmt: skip
# Instructions on a whole vector: products and sums of floats, or comparisons and maxima.
COUNT_PACKED = f"""
import re, numpy as np
from tinygrad_ce.kernels import binary_cross_entropy, cross_entropy, elementwise, optimizers, rows, softmax
loops = {{}}
for file in (rows, cross_entropy, binary_cross_entropy, softmax, elementwise, optimizers):
    loops |= vars(file)
for dtype, suffix in ((np.float32, "p[sd]"), (np.float64, "pd")):
    z, y, up = np.zeros((3, 200), dtype), np.zeros(3, np.int64), np.array(1, dtype)
    few = z[:, :5].copy()
    cross_entropy.xent(few, y, 1.0), cross_entropy.xent(z, y, 1.0, smoothing=0.1), cross_entropy.soft_xent(z, z, 1.0)
    softmax.softmax(z), softmax.softmax(few), softmax.log_softmax(z), elementwise.sigmoid(z), elementwise.softplus(z)
    elementwise.tanh_slope(z), elementwise.sigmoid_slope(z)
    binary_cross_entropy.sigmoid_xent(z, z, 1.0, 1.0)
    optimizers.sgd(z, z, 0.1, 0.0), optimizers.sgd_momentum(z, z, z.copy(), 0.1, 0.9, False, 0.0)
    optimizers.adam(z, z, z.copy(), z.copy(), 0.1, 0.9, 0.99, 1.0, 1e-8, 0.0, 0.0)
    optimizers.rmsprop(z, z, z.copy(), 0.1, 0.9, 1e-8, 0.0)
    for name in {HOT}:
        versions = loops[name].inspect_asm().items()
        text = "".join(code for types, code in versions if dtype.__name__ in str(types))
        packed = f"(?:mul|f[n]?m(?:add|sub)[0-9]*|add|sub|max|cmp[a-z]*){{suffix}}|pmaxs[dq]|pcmpgt[dq]"
        print(len(re.findall(packed, text)))
"""


@jitted
@pytest.mark.skipif(bool(numba.config.BOUNDSCHECK), reason="a loop that checks its indices is another one")
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the pattern is of x86 instructions")
def test_the_hot_loops_are_vectorised(tmp_path):
    """In a process with an empty cache: only fresh machine code can be inspected."""
    words = printed(COUNT_PACKED, TINYGRAD_CE_CACHE=tmp_path)
    counts = dict(zip([(name, bits) for bits in (32, 64) for name in HOT], map(int, words), strict=True))
    assert {loop: count for loop, count in counts.items() if count < 3} == {}
