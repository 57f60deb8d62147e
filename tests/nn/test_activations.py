"""LeakyReLU, SiLU, GELU and Residual against mpmath and NumPy: values, slopes, tails, and what they refuse."""

import re

import mpmath
import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import nn

POINTS = [-40.0, -8.0, -3.0, -1.0, -1e-8, 0.0, 1e-8, 0.5, 1.0, 3.0, 40.0]


def leaky(x):
    return x if x > 0 else x * mpmath.mpf(0.2)


def silu(x):
    return x / (1 + mpmath.exp(-x))


def gelu_by_tanh(x):
    return x / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf(0.044715) * x**3)))


def gelu(x):
    return x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2


FORMULAS = {
    "leaky": (nn.LeakyReLU(0.2), leaky), "silu": (nn.SiLU(), silu),
    "gelu": (nn.GELU(), gelu), "gelu by tanh": (nn.GELU("tanh"), gelu_by_tanh),
}  # fmt: skip
every_formula = pytest.mark.parametrize("name", FORMULAS)


@every_formula
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_and_slopes_are_those_of_the_formula_also_in_the_tails(name, dtype):
    layer, formula = FORMULAS[name]
    x = tg.Tensor(np.array(POINTS, dtype), requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == dtype
    with mpmath.workdps(60):
        exact = [formula(mpmath.mpf(float(p))) for p in x.data]
        at_zero = 0.2 if name == "leaky" else 0.5
        slopes = [mpmath.diff(formula, mpmath.mpf(float(p))) if p else at_zero for p in x.data]
    # exp(-u) multiplies the rounding of u: relative errors grow with u, which is at most 100 here above the tiny
    bound = {"rtol": 100 * np.finfo(dtype).eps, "atol": np.finfo(dtype).tiny}
    np.testing.assert_allclose(y.data, np.array([float(v) for v in exact]).astype(dtype), **bound)
    np.testing.assert_allclose(x.grad, np.array([float(v) for v in slopes]).astype(dtype), **bound)


@every_formula
def test_derivatives_to_second_order(name):
    layer = FORMULAS[name][0]
    assert tg.check.gradcheck(lambda x: (layer(x) ** 2).sum(), np.array([-3.0, -0.7, 0.4, 2.0])).ok


def test_the_approximate_gelu_is_within_its_promise_of_the_exact_one():
    x = np.linspace(-6, 6, 241)
    exact = np.array([float(p * mpmath.ncdf(p)) for p in x])
    assert 1e-4 < np.abs(nn.GELU("tanh")(x) - exact).max() < 5e-4
    np.testing.assert_allclose(nn.GELU()(x), exact, rtol=1e-13)


def test_a_relu_that_leaks_nothing_is_a_relu_and_one_that_leaks_all_is_the_identity():
    x = np.array(POINTS)
    np.testing.assert_array_equal(nn.LeakyReLU(0)(x), nn.ReLU()(x))
    np.testing.assert_array_equal(nn.LeakyReLU(1)(x), x)
    assert np.isnan(nn.LeakyReLU()(np.array([np.nan]))).all()


@pytest.mark.parametrize("slope", [np.nan, np.inf, -np.inf])
def test_slopes_that_are_not_finite_are_refused(slope):
    with pytest.raises(ValueError, match="LeakyReLU: slope="):
        nn.LeakyReLU(slope)


@pytest.mark.parametrize("slope", ["small", None, True, [0.1]])
def test_slopes_that_are_no_numbers_are_refused(slope):
    with pytest.raises(TypeError, match="LeakyReLU: slope="):
        nn.LeakyReLU(slope)


def test_an_unknown_gelu_is_refused():
    with pytest.raises(ValueError, match=r'GELU: approximate=.* "tanh"'):
        nn.GELU(approximate="quick")


# ---- Residual


def test_a_residual_adds_its_input():
    tg.seed(0)
    layer = nn.Residual(nn.Dense(3, 5), nn.Tanh(), nn.Dense(5, 3))
    x = np.random.default_rng(1).normal(size=(4, 3))
    inner = np.tanh(x @ layer[0].W.data) @ layer[2].W.data
    np.testing.assert_allclose(layer(x).data, x + inner, rtol=1e-13)
    assert [name for name, _ in layer.named_parameters()] == ["layers.0.W", "layers.0.b", "layers.2.W", "layers.2.b"]


def test_the_gradient_goes_around_the_layers():
    layer = nn.Residual(nn.Dense(3, 3, init="zeros"))
    x = tg.Tensor(np.ones((2, 3)), requires_grad=True)
    layer(x).sum().backward()
    np.testing.assert_array_equal(x.grad, np.ones((2, 3)))


@pytest.mark.parametrize(
    "inner", [nn.Dense(3, 1), nn.Dense(3, 4), nn.Flatten(), lambda x: x[:1]], ids=["one", "more", "flat", "rows"]
)
def test_another_shape_is_not_broadcast_but_refused(inner):
    x = np.ones((2, 3)) if not isinstance(inner, nn.Flatten) else np.ones((2, 3, 1))
    with pytest.raises(ValueError, match=r"Residual: .*one shape.*x has \(2, 3.*f\(x\) has"):
        nn.Residual(inner)(x)


def test_a_residual_says_what_its_layers_must_be():
    with pytest.raises(TypeError, match=r"Residual: layer 0 is the class Tanh; write Tanh\(\)"):
        nn.Residual(nn.Tanh)


# ---- all of them, in a network


def network():
    tg.seed(0)
    inner = nn.Residual(nn.Dense(4, 6), nn.GELU(), nn.Dense(6, 4), nn.SiLU())
    return nn.Sequential(nn.Dense(2, 4), nn.LeakyReLU(0.1), inner, nn.Dense(4, 2))


def test_they_are_printed_and_summed_up():
    model = network()
    inner = "Residual(Dense(4, 6), GELU(), Dense(6, 4), SiLU())"
    assert repr(model) == f"Sequential(Dense(2, 4), LeakyReLU(0.1), {inner}, Dense(4, 2))"
    rows = [re.split("   +", line)[0] for line in model.summary().splitlines()]
    for row in ("layers.1  LeakyReLU(0.1)", "layers.2.layers.1  GELU()", "layers.2.layers.3  SiLU()"):
        assert row in rows


def test_a_compiled_training_with_them_is_the_eager_one():
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(40, 2)), rng.integers(0, 2, 40)
    states = []
    for compile in (False, True):
        run = tg.Trainer(model := network(), nn.SoftmaxCrossEntropy(), tg.optim.Adam(model.parameters(), lr=0.01))
        assert run.fit(X, y, epochs=3, batch_size=16, seed=0, compile=compile).compiled is compile
        states.append(model.state())
    for name, array in states[0].items():
        np.testing.assert_allclose(states[1][name], array, rtol=1e-9, atol=1e-12)


def test_a_printed_program_with_them_gives_the_same_numbers():
    model, x = network(), np.random.default_rng(4).normal(size=(5, 2))
    program = tg.trace(lambda x: model(x), x)
    namespace = {}
    exec(program.source, namespace)
    answer = namespace["step"](*(value.example for value in program.inputs))
    np.testing.assert_allclose(answer, model(x).data, rtol=1e-13)
