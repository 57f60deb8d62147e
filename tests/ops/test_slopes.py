"""The slopes of sigmoid, tanh, softplus and the softmax family keep their digits in both tails, and so do their slopes.

The exact numbers are mpmath's, with 700 digits: 1 - tanh(300) needs them. Everything is a composition of formulas
without a difference of two numbers that are nearly equal.
"""

from fractions import Fraction
from functools import cache

import mpmath as mp
import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.ops.loss import _over_one_plus
from tinygrad_ce.program import Program
from tinygrad_ce.program.passes import simplified
from tinygrad_ce.program.run import Compiled

DTYPES = [np.float64, np.float32]
LAST = {np.float64: 700, np.float32: 80}  # beyond, exp is below the normal range
dtypes = pytest.mark.parametrize("dtype", DTYPES)


@pytest.fixture(autouse=True)
def many_digits():
    with mp.workdps(700):
        yield


def ulps(got, exact):
    """The largest distance, in units of the last place of the exact numbers."""
    got = np.asarray(got)
    assert np.isfinite(got).all()
    distances = [
        abs(mp.mpf(float(g)) - e) / mp.mpf(float(np.spacing(got.dtype.type(float(abs(e))))))
        for g, e in zip(got.ravel(), exact, strict=True)
    ]
    return float(max(distances))


def numbers(dtype):
    """Both signs: near 0, where they bend, and far out."""
    generator = np.random.default_rng(12)
    sizes = [
        10.0 ** generator.uniform(-12, 0, 15),
        generator.uniform(0, 20, 15),
        generator.uniform(20, LAST[dtype], 10),
    ]
    sizes = np.concatenate([*sizes, [0.0, 1.0, 10.0, 40.0]])
    return np.concatenate([sizes, -sizes]).astype(dtype)


# ---- functions of one number


def sigmoid(x):
    return 1 / (1 + mp.exp(-x))


def sigmoid_slope(x):
    return sigmoid(x) * sigmoid(-x)


EXACT = {  # how much of x is in range, the first derivative, the second
    "sigmoid": (1, sigmoid_slope, lambda x: -sigmoid_slope(x) * mp.tanh(x / 2)),
    "softplus": (1, sigmoid, sigmoid_slope),
    "tanh": (0.5, lambda x: 1 / mp.cosh(x) ** 2, lambda x: -2 * mp.tanh(x) / mp.cosh(x) ** 2),
}


@dtypes
@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("way", ["kernels", "bodies"])
def test_slopes_are_right_from_one_tail_to_the_other(monkeypatch, way, name, dtype):
    share, first, second = EXACT[name]
    at = (share * numbers(dtype)).astype(dtype)
    exact = [mp.mpf(float(v)) for v in at]
    if way == "bodies":
        for op in (ops.sigmoid, ops.softplus, ops.tanh, ops.sigmoid_slope, ops.tanh_slope):
            monkeypatch.setattr(op, "run", op.body)
    else:
        at = np.resize(at, 6 * 4096)[: 4096 // len(at) * len(at) + len(at)]  # as many as kernels take
        exact = exact * (len(at) // len(exact))
    x = tg.Tensor(at, requires_grad=True)
    slope = tg.gradients(getattr(ops, name)(x).sum(), x, create_graph=True)
    curvature = tg.gradients(slope.sum(), x)
    count = len(numbers(dtype))
    assert slope.dtype == curvature.dtype == dtype
    assert ulps(slope.data[-count:], [first(v) for v in exact[-count:]]) <= 4
    assert ulps(curvature[-count:], [second(v) for v in exact[-count:]]) <= 5


def test_the_slope_of_a_sigmoid_at_40_is_no_zero():
    assert tg.grad(ops.sigmoid)(40.0) == pytest.approx(4.248354255291589e-18, rel=1e-15)  # exp(-40), from mpmath
    assert tg.grad(ops.sigmoid)(-40.0) == tg.grad(ops.sigmoid)(40.0)
    assert tg.grad(ops.tanh)(20.0) == pytest.approx(4 * 4.248354255291589e-18, rel=1e-15)
    assert tg.grad(tg.grad(ops.softplus))(40.0) == pytest.approx(4.248354255291589e-18, rel=1e-15)


@pytest.mark.parametrize("op", [ops.sigmoid, ops.tanh])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_beyond_the_range_of_exp_all_slopes_are_zero(op, order):
    f = op
    for _ in range(order):
        f = tg.grad(f)
    for x in (1e3, -1e3, 1e308, np.inf, -np.inf):
        assert f(x) == 0
    assert np.isnan(f(np.nan))


def test_the_third_derivative_at_zero_is_not_that_of_a_kink():
    """The slopes are computed from |x|, but their rules are not."""
    assert tg.grad(tg.grad(tg.grad(ops.sigmoid)))(0.0) == -0.125
    assert tg.grad(tg.grad(tg.grad(ops.tanh)))(0.0) == -2


# ---- the softmax family: exact slopes as sums of differences p_i p_j (g_i - g_j)


def confident(gap, classes, dtype):
    """Rows in which one class leads, what is upstream of each class, and a direction for the second derivative."""
    generator = np.random.default_rng(int(gap) + classes)
    z = generator.uniform(-4, 0, (4, classes)).astype(dtype)
    leaders = np.arange(4) % classes
    z[np.arange(4), leaders] = dtype(gap)
    g, v = np.zeros((2, 4, classes), dtype)
    g[np.arange(4), np.where(np.arange(4) < 2, leaders, (leaders + 1) % classes)] = 1
    v[np.arange(4), np.where(np.arange(4) % 2, leaders, (leaders + 1) % classes)] = 1
    return z, g, v


def exactly(rows):
    return [[mp.mpf(float(x)) for x in row] for row in rows]


def probabilities(row):
    e = [mp.exp(x) for x in row]
    return [x / mp.fsum(e) for x in e]


def mean(p, g):
    return mp.fsum(a * b for a, b in zip(p, g, strict=True))


def differences(p, g):
    """p_i sum_j p_j (g_i - g_j): the Jacobian of softmax, applied to g."""
    return [a * mp.fsum(b * (x - y) for b, y in zip(p, g, strict=True)) for a, x in zip(p, g, strict=True)]


def exact_slopes(name, p, g, v):
    """The gradient for g upstream, and its derivative along v."""
    if name == "logsumexp":
        return p, differences(p, v)
    if name == "log_softmax":
        total = mp.fsum(g)
        return [x - q * total for x, q in zip(g, p, strict=True)], [-total * x for x in differences(p, v)]
    along = [x * y - x * mean(p, v) - y * mean(p, g) for x, y in zip(g, v, strict=True)]
    return differences(p, g), differences(p, along)


@cache
def exact_rows(name, gap, classes, dtype):
    rows = [
        exact_slopes(name, probabilities(row), *both)
        for row, *both in zip(*map(exactly, confident(gap, classes, dtype)), strict=True)
    ]
    return [x for first, _ in rows for x in first], [x for _, second in rows for x in second]


def slopes_of(name, z, g, v):
    x = tg.Tensor(z, requires_grad=True)
    out = ops.logsumexp(x, axis=-1) if name == "logsumexp" else getattr(ops, name)(x)
    upstream = np.ones(out.shape, z.dtype) if name == "logsumexp" else g
    slope = tg.gradients(out, x, gradient=tg.Tensor(upstream), create_graph=True)
    return slope.data, tg.gradients(slope, x, gradient=v)


@dtypes
@pytest.mark.parametrize("classes", [2, 3, 10, 50])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
@pytest.mark.parametrize("least", [1, 4096], ids=["bodies", "kernels"])  # numbers
def test_slopes_of_the_softmax_family(name, classes, dtype, least):
    rows = 4 * -(-least // (4 * classes))
    for gap in (5, 20, 40, 0.4 * LAST[dtype]):  # products of two probabilities must be in range
        inputs = [np.resize(x, (rows, classes)) for x in confident(gap, classes, dtype)]
        slope, curvature = slopes_of(name, *inputs)
        first, second = exact_rows(name, gap, classes, dtype)
        assert ulps(slope[-4:], first) <= 8, gap
        assert ulps(curvature[-4:], second) <= 12, gap


def test_the_gradient_of_softmax_at_a_gap_of_40_is_no_zero():
    z = tg.Tensor([40.0, 0.0], requires_grad=True)
    tiny = 4.248354255291589e-18
    np.testing.assert_allclose(tg.gradients(ops.softmax(z)[0], z), [tiny, -tiny], rtol=1e-14)
    np.testing.assert_allclose(tg.gradients(ops.softmax(z)[1], z), [-tiny, tiny], rtol=1e-14)
    np.testing.assert_allclose(tg.gradients(ops.log_softmax(z)[0], z), [tiny, -tiny], rtol=1e-14)
    np.testing.assert_allclose(tg.hessian(lambda x: ops.logsumexp(x, axis=-1))(z.data)[0], [tiny, -tiny], rtol=1e-14)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [0, -2])
def test_slopes_along_another_axis(name, axis):
    z, g, v = confident(30, 3, np.float64)
    turned = [x.T.copy() for x in (z, g, v)]
    x = tg.Tensor(turned[0], requires_grad=True)
    slope = tg.gradients(getattr(ops, name)(x, axis=axis), x, gradient=tg.Tensor(turned[1]), create_graph=True)
    expected = slopes_of(name, z, g, v)
    np.testing.assert_allclose(slope.data.T, expected[0], rtol=1e-14)
    np.testing.assert_allclose(tg.gradients(slope, x, gradient=turned[2]).T, expected[1], rtol=1e-14)


def test_masked_logits_have_no_gradient_and_spoil_no_other():
    z = tg.Tensor([50.0, -np.inf, 0.0], requires_grad=True)
    alone = tg.Tensor([50.0, 0.0], requires_grad=True)
    for name in ("softmax", "log_softmax"):
        slope = tg.gradients(getattr(ops, name)(z)[0], z)
        assert slope[1] == 0
        np.testing.assert_allclose(slope[[0, 2]], tg.gradients(getattr(ops, name)(alone)[0], alone), rtol=1e-15)


# ---- printed, traced and compiled programs


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus", "softmax", "log_softmax"])
def test_programs_keep_the_digits_too(name):
    values, g = np.array([[30.0, -8.0, 0.0], [-30.0, 0.5, 9.0]]), np.array([[1.0, 0.0, 0.5], [0.25, 1.0, 0.0]])
    x = tg.Tensor(values, requires_grad=True, name="x")
    loss = (getattr(ops, name)(x) * g).sum()
    expected = tg.gradients(loss, x)
    program = Program.of_loss(loss)
    namespace = {}
    exec(program.text(exact=True), namespace)
    for step_of in (namespace["step"], Compiled(simplified(program)).step):
        answers = dict(zip(program.outputs, step_of(*(x.example for x in program.inputs)), strict=True))
        np.testing.assert_allclose(answers["d_x"], expected, rtol=4e-15)


def test_a_division_knows_what_its_rounding_has_cost():
    """In exact fractions, quotient + lost is mass / (1 + rest) to nearly twice the digits of a float."""
    generator = np.random.default_rng(0)
    rests = generator.uniform(0, 3, 200) * 10.0 ** generator.integers(-17, 2, 200)
    for mass, rest in zip(generator.uniform(0.1, 2, 200).tolist(), rests.tolist(), strict=True):
        for mass_lost in (0.0, mass * 2.0**-55):
            quotient, lost = _over_one_plus(mass, mass_lost, rest)
            right = (Fraction(mass) + Fraction(mass_lost)) / (1 + Fraction(rest))
            assert abs((Fraction(float(quotient)) + Fraction(float(lost))) / right - 1) < 1e-23
