"""Integers, booleans and float16: what a function of them is, computed in float64 by NumPy or SciPy."""

import os

import numpy as np
import pytest
import scipy.special

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.losses import sigmoid_binary_cross_entropy, softmax_cross_entropy

# Loops over so many rows take minutes as plain Python.
in_loops = pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="slow as Python")
FUNCTIONS = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "sigmoid": scipy.special.expit,
    "softplus": lambda x: np.logaddexp(0, x),
    "softmax": lambda x: scipy.special.softmax(x, axis=-1),
    "log_softmax": lambda x: scipy.special.log_softmax(x, axis=-1),
    "logsumexp": scipy.special.logsumexp,
}
INTEGERS = [np.bool_, np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint32, np.int64, np.uint64]


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("repeats", [1, pytest.param(700, marks=in_loops)], ids=["bodies", "kernels"])
def test_integers_and_booleans_are_numbers(name, dtype, repeats):
    numbers = np.array([[1, 0, 1], [1, 1, 1]] if dtype is np.bool_ else [[1, 2, 100], [3, 120, 7]]).astype(dtype)
    if name.startswith("log") and name != "logsumexp" and dtype is np.bool_:
        numbers = np.ones((2, 3), np.bool_)
    numbers = np.tile(numbers, (repeats, 1)) if name != "logsumexp" else numbers
    for x in (numbers, numbers[0], numbers[0, 0]):
        if name in ("softmax", "log_softmax") and x.ndim == 0:
            continue
        got = getattr(ops, name)(x)
        assert np.asarray(got).dtype == np.float64
        np.testing.assert_allclose(got, FUNCTIONS[name](x.astype(float)), rtol=1e-13, atol=1e-30)
        np.testing.assert_array_equal(getattr(ops, name)(tg.Tensor(x)).data, got)


def test_negative_integers_are_numbers():
    x = np.array([-128, -1, 0, 127], np.int8)
    np.testing.assert_allclose(ops.softmax(x), scipy.special.softmax(x.astype(float)), rtol=1e-13)
    np.testing.assert_allclose(ops.sigmoid(x), scipy.special.expit(x.astype(float)), rtol=1e-15)
    np.testing.assert_array_equal(ops.relu(x), [0, 0, 0, 127])


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_the_absolute_value_that_does_not_fit_is_refused(dtype):
    least = np.iinfo(dtype).min
    with pytest.raises(ValueError, match=rf"abs\({least}\) does not fit into {np.dtype(dtype)}.*astype"):
        ops.absolute(np.array([1, least], dtype))
    np.testing.assert_array_equal(ops.absolute(np.array([1, least + 1], dtype)), [1, np.iinfo(dtype).max])


# ---- float16 is storage


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float16_is_computed_in_more_digits_and_rounded_once(name):
    x = np.random.default_rng(0).uniform(0.1, 8, (40, 60)).astype(np.float16)
    got = getattr(ops, name)(x)
    assert np.asarray(got).dtype == np.float16
    expected = np.asarray(FUNCTIONS[name](x.astype(np.float64)))
    distance = np.abs(np.asarray(got, np.float64) - expected) / np.spacing(np.abs(expected).astype(np.float16))
    assert distance.max() <= 0.51


@pytest.mark.parametrize("rows", [10, pytest.param(70_000, marks=in_loops), pytest.param(200_000, marks=in_loops)])
@pytest.mark.parametrize("form", ["labels", "soft", "sigmoid"])
@pytest.mark.parametrize("fused", [True, False])
def test_the_mean_of_many_float16_losses_and_its_gradient_are_right(monkeypatch, form, rows, fused):
    if not fused:  # without the kernels: the bodies
        for name in ("xent", "soft_xent", "sigmoid_xent"):
            op = getattr(ops, name)
            monkeypatch.setattr(op, "run", tg.kernels.attach.kernel_or_body(op.body, "none", 10**18))
    values = np.random.default_rng(1).normal(size=(rows, 2)).astype(np.float16)
    y = np.arange(rows) % 2
    z, exact = (tg.Tensor(values.astype(dtype), requires_grad=True) for dtype in (np.float16, np.float64))
    targets = y if form == "labels" else np.eye(2, dtype=np.float16)[y]
    loss = sigmoid_binary_cross_entropy if form == "sigmoid" else softmax_cross_entropy
    for x in (z, exact):
        loss(x, targets).backward()
    assert loss(z, targets).dtype == z.grad.dtype == np.float16
    assert float(loss(z, targets).data) == pytest.approx(float(loss(exact, targets).data), rel=1e-3)
    least = float(np.finfo(np.float16).smallest_subnormal)
    np.testing.assert_allclose(z.grad, exact.grad, rtol=2e-3, atol=0.51 * least)
    assert np.count_nonzero(z.grad) > 0.9 * z.size


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus", "softmax", "log_softmax", "logsumexp"])
def test_float16_gradients_are_those_of_float32_rounded(name):
    values = np.random.default_rng(2).uniform(-4, 4, (5, 6)).astype(np.float16)
    params = {"axis": -1} if name == "logsumexp" else {}
    slopes = []
    for dtype in (np.float16, np.float64):
        x = tg.Tensor(values.astype(dtype), requires_grad=True)
        slopes.append(tg.gradients(getattr(ops, name)(x, **params).sum(), x))
    assert slopes[0].dtype == np.float16
    np.testing.assert_allclose(slopes[0], slopes[1], rtol=2e-3, atol=2e-3)


# ---- byte order and strides


def swapped(x):
    return x.astype(x.dtype.newbyteorder(">"))


def strided(x):
    larger = np.zeros([2 * n for n in x.shape], x.dtype)
    view = larger[tuple(slice(None, None, 2) for _ in x.shape)]
    view[...] = x
    return view


LAYOUTS = [swapped, strided, np.asfortranarray, lambda x: swapped(strided(x))]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("form", ["labels", "smoothed", "soft", "sigmoid"])
def test_losses_of_any_byte_order_and_strides(layout, form, reduction):
    """With a second factor, so that what is upstream is of this machine's byte order and the logits may not be."""
    generator = np.random.default_rng(3)
    z, y, q = generator.normal(size=(6, 4)), np.arange(6) % 4, generator.dirichlet(np.ones(4), 6)
    loss = sigmoid_binary_cross_entropy if form == "sigmoid" else softmax_cross_entropy
    options = {"label_smoothing": 0.1} if form == "smoothed" else {}
    targets = y if form in ("labels", "smoothed") else q
    answers = []
    for change in (np.asarray, layout):
        x = tg.Tensor(z, requires_grad=True)
        x.data = change(z)
        out = (loss(x, change(targets), reduction=reduction, **options) * np.array(2.0)).sum()
        slope = tg.gradients(out, x, create_graph=True)
        answers.append((out.data, slope.data, tg.gradients((slope * z).sum(), x)))
    for got, expected in zip(*answers[::-1], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_primitives_of_losses_take_labels_of_any_byte_order(layout):
    """Read as if they were of this machine's, labels would be other labels."""
    z, y = np.random.default_rng(4).normal(size=(6, 4)), np.arange(6) % 4
    np.testing.assert_array_equal(ops.xent(z, layout(y), 1.0), ops.xent(z, y, 1.0))
    np.testing.assert_array_equal(ops.xent_grad(np.ones(6), z, layout(y), 1.0), ops.xent_grad(np.ones(6), z, y, 1.0))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus", "softmax", "log_softmax"])
@pytest.mark.parametrize("rows", [3, 3000])
def test_functions_of_any_byte_order_and_strides(layout, name, rows):
    x = np.random.default_rng(5).normal(size=(rows, 3))
    got = getattr(ops, name)(layout(x))
    assert got.dtype == layout(x).dtype.newbyteorder("=")  # as NumPy's own functions
    np.testing.assert_allclose(got, getattr(ops, name)(x), rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int32])
def test_a_mean_of_large_integers_does_not_wrap(dtype):
    """Their sum is beyond every integer of 64 bits; NumPy's mean is a sum of float64."""
    largest = np.iinfo(dtype).max
    x = tg.Tensor(np.full((3, 4), largest, dtype))
    for axis in (None, 0, (0, 1)):
        np.testing.assert_array_equal(ops.reduce_mean(x, axis=axis).data, np.full((3, 4), float(largest)).mean(axis))
    assert ops.reduce_mean(tg.Tensor(np.full(5, np.iinfo(dtype).min, dtype))).item() == float(np.iinfo(dtype).min)
    namespace = {}
    exec(tg.trace(lambda x: x.mean(), x.data).source, namespace)
    assert namespace["step"](x.data) == float(largest)


def test_arithmetic_of_unsigned_integers_is_that_of_numpys_arrays():
    """The docstring of Tensor says that it wraps."""
    three = np.array([3], np.uint8)
    for f in (lambda x: -x, lambda x: x - 5, lambda x: 2 - x, lambda x: x * 100):
        np.testing.assert_array_equal(f(tg.Tensor(three)).data, f(three), strict=True)
    assert "minus uint8 3 is 253" in tg.Tensor.__doc__
