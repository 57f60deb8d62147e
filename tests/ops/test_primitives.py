"""Every primitive of the registry against oracles from elsewhere: values, gradients, second derivatives, dtypes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special
from samples import SAMPLES, Sample, float32, is_floating, primitives, strided

from tinygrad_ce.core import Tensor
from tinygrad_ce.functional import gradients
from tinygrad_ce.kernels.attach import KERNELS

OPS = primitives()
Check = Callable[[str, Sample], None]


def over_samples(chosen: Callable[[str, Sample], bool] = lambda name, sample: True) -> Callable[[Check], Any]:
    """Make one test for each primitive of a check of one sample; it runs them all, and tells of each one that fails."""
    walked = {name: [s for s in SAMPLES[name] if chosen(name, s)] for name in SAMPLES if name in OPS}

    def decorate(check: Check) -> Any:
        @pytest.mark.parametrize("name", [name for name, samples in walked.items() if samples])
        def test(name: str) -> None:
            failures = []
            for sample in walked[name]:
                try:
                    check(name, sample)
                except Exception as error:
                    error.add_note(f"{name}, sample {SAMPLES[name].index(sample)}: {sample}")
                    failures.append(error)
            if failures:
                raise ExceptionGroup(f"{check.__name__}: {name} fails {len(failures)} of its samples", failures)

        test.__name__ = check.__name__
        return test

    return decorate


def tracks(name: str, sample: Sample) -> bool:
    return bool(sample.wrt)


def is_smooth(name: str, sample: Sample) -> bool:
    return bool(sample.wrt) and sample.smooth


def keeps_dtype(name: str, sample: Sample) -> bool:
    return bool(sample.wrt) and name != "astype"


def tensors(sample: Sample) -> list[Any]:
    """The inputs of a sample, each one that has a gradient as a Tensor that asks for it."""
    return [Tensor(x, requires_grad=True) if i in sample.wrt else x for i, x in enumerate(sample.inputs)]


def tracked(inputs: list[Any]) -> list[Tensor]:
    return [x for x in inputs if isinstance(x, Tensor)]


def fixed(shape: tuple[int, ...], seed: int, dtype: Any = np.float64) -> np.ndarray:
    """Repeatable numbers in [-1, 1], to project on."""
    return np.asarray(np.random.default_rng(seed).uniform(-1, 1, shape), dtype)


def inner(first: list[Any], second: list[Any]) -> float:
    return sum(float(np.sum(a * b)) for a, b in zip(first, second, strict=True))


def slope(f: Callable[[float], float], step: float = 1e-3) -> float:
    """f'(0) by central differences of fourth order: exact to about 1e-12 for the functions of these samples."""
    return (8 * (f(step) - f(-step)) - (f(2 * step) - f(-2 * step))) / (12 * step)


def moved(sample: Sample, directions: list[np.ndarray], step: float) -> list[Any]:
    """The inputs, each one that has a gradient moved along its direction."""
    inputs = list(sample.inputs)
    for position, direction in zip(sample.wrt, directions, strict=True):
        inputs[position] = inputs[position] + step * direction
    return inputs


def first_order(name: str, sample: Sample, inputs: list[Any], upstream: np.ndarray) -> list[np.ndarray]:
    """The gradients with respect to the inputs that have one, computed on arrays."""
    values = [Tensor(x, requires_grad=True) if i in sample.wrt else x for i, x in enumerate(inputs)]
    return gradients(OPS[name](*values, **sample.params), tracked(values), gradient=upstream)


# ---- the list of samples itself


def test_every_primitive_has_samples() -> None:
    assert set(OPS) == set(SAMPLES), "a primitive and its samples are added together (tests/samples.py)"
    assert all(SAMPLES.values())


def test_every_primitive_has_an_oracle() -> None:
    assert set(OPS) == set(ORACLES)


@pytest.mark.parametrize("name", [name for name, op in OPS.items() if op.broadcasts])
def test_broadcasting_is_sampled(name: str) -> None:
    assert any(len({np.shape(x) for x in s.inputs} | {np.shape(run(name, s))}) > 1 for s in SAMPLES[name])


@pytest.mark.parametrize("name", [name for name in OPS if any(s.wrt for s in SAMPLES[name])])
def test_a_differentiable_primitive_has_a_smooth_sample(name: str) -> None:
    assert any(sample.smooth and sample.wrt for sample in SAMPLES[name])


@over_samples()
def test_exactly_the_inputs_that_the_sample_names_have_a_gradient(name: str, sample: Sample) -> None:
    for position, x in enumerate(sample.inputs):
        if is_floating(x):
            inputs = [Tensor(x, requires_grad=True) if i == position else v for i, v in enumerate(sample.inputs)]
            assert OPS[name](*inputs, **sample.params).requires_grad == (position in sample.wrt)


# ---- values


def run(name: str, sample: Sample) -> Any:
    return OPS[name](*sample.inputs, **sample.params)


def filled(pattern: tuple[Any, ...], arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """An index from a pattern: whatever is no slice, integer, None or ... stands for the next array."""
    remaining = iter(arrays)
    known = (slice, int, type(None), type(...))
    return tuple(item if isinstance(item, known) else next(remaining) for item in pattern)


def scattered(values: Any, *arrays: Any, pattern: Any, shape: Any) -> np.ndarray:
    size = int(np.prod(shape))
    cells = np.arange(size).reshape(shape)[filled(pattern, arrays)]
    return np.bincount(np.ravel(cells), np.ravel(values), minlength=size).reshape(shape)


def mixed(y: np.ndarray, w: Any, classes: int, smoothing: float, ignore_index: int | None = None) -> np.ndarray:
    """One-hot rows, mixed with the uniform distribution, times the classes' weights; zeros for an ignored row."""
    onehot = np.eye(classes)[np.maximum(y, 0)] * (1 - smoothing) + smoothing / classes
    return onehot * w * (y != ignore_index)[:, None]


def reduced(losses: Any, reduction: str) -> Any:
    return {"none": lambda x: x, "mean": np.mean, "sum": np.sum}[reduction](losses)


def times_upstream(upstream: Any, slopes: Any, count: int, reduction: str) -> Any:
    if reduction == "none":
        return np.reshape(upstream, np.shape(upstream) + (1,) * (slopes.ndim - np.ndim(upstream))) * slopes
    return upstream * slopes / (count if reduction == "mean" else 1)


def cross_entropy(
    z: Any, y: Any, w: Any, smoothing: float = 0.0, reduction: str = "none", ignore_index: int | None = None
) -> Any:
    return soft_cross_entropy(z, mixed(y, w, z.shape[1], smoothing, ignore_index), 1.0, 0.0, reduction)


def cross_entropy_slope(
    upstream: Any,
    z: Any,
    y: Any,
    w: Any,
    smoothing: float = 0.0,
    reduction: str = "none",
    ignore_index: int | None = None,
) -> Any:
    return soft_cross_entropy_slope(upstream, z, mixed(y, w, z.shape[1], smoothing, ignore_index), 1.0, 0.0, reduction)


def soft_cross_entropy(z: Any, q: Any, w: Any, smoothing: float = 0.0, reduction: str = "none") -> Any:
    target = (q * (1 - smoothing) + smoothing / z.shape[1]) * w
    return reduced(-np.sum(scipy.special.log_softmax(z, axis=1) * target, axis=1), reduction)


def soft_cross_entropy_slope(
    upstream: Any, z: Any, q: Any, w: Any, smoothing: float = 0.0, reduction: str = "none"
) -> Any:
    target = (q * (1 - smoothing) + smoothing / z.shape[1]) * w
    slopes = scipy.special.softmax(z, axis=1) * target.sum(axis=1, keepdims=True) - target
    return times_upstream(upstream, slopes, len(z), reduction)


def binary_cross_entropy(z: Any, y: Any, w: Any, weight: Any, reduction: str = "none") -> Any:
    losses = -weight * (w * y * scipy.special.log_expit(z) + (1 - y) * scipy.special.log_expit(-z))
    return reduced(losses, reduction)


def binary_cross_entropy_slope(upstream: Any, z: Any, y: Any, w: Any, weight: Any, reduction: str = "none") -> Any:
    slopes = weight * (scipy.special.expit(z) * (1 - y) - scipy.special.expit(-z) * w * y)
    return times_upstream(upstream, slopes, z.size, reduction)


def clipped(x: Any, low: Any = None, high: Any = None) -> Any:
    return np.minimum(np.maximum(x, -np.inf if low is None else low), np.inf if high is None else high)


def sum_of_squares(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    gaps = x - np.mean(x, axis=axis, keepdims=True)
    total = np.sum(gaps**2, axis=axis, keepdims=keepdims)
    return total / (x.size / max(np.size(total), 1) - ddof)


def exactly(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function of mpmath on arrays, each answer rounded once."""

    def rounded(*numbers: float) -> float:
        with mpmath.workdps(40):
            return float(f(*(mpmath.mpf(float(x)) for x in numbers)))

    return lambda *inputs: np.asarray(np.frompyfunc(rounded, len(inputs), 1)(*inputs), float)


def accumulated(ufunc: Any) -> Callable[..., Any]:
    return lambda x, axis=None: ufunc.accumulate(np.ravel(x) if axis is None else x, axis or 0)


def added_along(values: Any, indices: Any, axis: int, shape: Any) -> np.ndarray:
    out = np.zeros(shape)
    for place in np.ndindex(values.shape):
        target = list(place)
        target[axis] = indices[place]
        out[tuple(target)] += values[place]
    return out


def on_diagonal(values: Any, shape: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> np.ndarray:
    out = np.zeros(shape)
    out.flat[np.arange(out.size).reshape(shape).diagonal(offset, axis1, axis2)] = values
    return out


def softmax_of(x: Any, axis: int) -> Any:
    """SciPy's, which takes no empty array."""
    return scipy.special.softmax(x, axis) if x.size else x


ORACLES: dict[str, Callable[..., Any]] = {
    "add_along_axis": added_along,
    "arccos": exactly(mpmath.acos),
    "arccosh": exactly(mpmath.acosh),
    "arcsin": exactly(mpmath.asin),
    "arcsinh": exactly(mpmath.asinh),
    "arctan": exactly(mpmath.atan),
    "arctan2": exactly(mpmath.atan2),
    "arctanh": exactly(mpmath.atanh),
    "argmin": np.argmin,
    "argsort": lambda x: np.lexsort((np.indices(x.shape)[-1], x), axis=-1),
    "cbrt": exactly(lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x))),
    "ceil": exactly(mpmath.ceil),
    "cosh": exactly(mpmath.cosh),
    "cumprod": accumulated(np.multiply),
    "cumsum": accumulated(np.add),
    "diagonal": lambda x, offset=0, axis1=0, axis2=1: x.diagonal(offset, axis1, axis2),
    "erf": exactly(mpmath.erf),
    "erfc": exactly(mpmath.erfc),
    "exp2": exactly(lambda x: mpmath.mpf(2) ** x),
    "flip": np.flip,
    "floor": exactly(mpmath.floor),
    "floor_divide": exactly(lambda a, b: mpmath.floor(a / b)),
    "hypot": exactly(mpmath.hypot),
    "isfinite": np.isfinite,
    "isinf": np.isinf,
    "isnan": np.isnan,
    "log10": exactly(mpmath.log10),
    "log2": exactly(lambda x: mpmath.log(x, 2)),
    "logaddexp": exactly(lambda a, b: mpmath.log(mpmath.exp(a) + mpmath.exp(b))),
    "logical_xor": np.logical_xor,
    "mod": exactly(lambda a, b: a - b * mpmath.floor(a / b)),
    "pad": lambda x, widths, value=0: np.pad(x, widths, "constant", constant_values=value),
    "place_diagonal": on_diagonal,
    "prod": lambda x, axis=None, keepdims=False: np.multiply.reduce(x, axis, keepdims=keepdims),
    "repeat": np.repeat,
    "rint": exactly(mpmath.nint),
    "roll": np.roll,
    "sinh": exactly(mpmath.sinh),
    "sort": lambda x, axis=-1: np.take_along_axis(x, np.argsort(x, axis), axis),
    "take_along_axis": np.take_along_axis,
    "tan": exactly(mpmath.tan),
    "tile": np.tile,
    "tril": lambda x, k=0: x * np.tri(x.shape[max(-2, -x.ndim)], x.shape[-1], k),
    "triu": lambda x, k=0: x * (1 - np.tri(x.shape[max(-2, -x.ndim)], x.shape[-1], k - 1)),
    "trunc": exactly(lambda x: mpmath.sign(x) * mpmath.floor(abs(x))),
    "absolute": np.abs,
    "add": np.add,
    "affine": lambda x, W, b: np.tensordot(x, W, 1) + b,
    "argmax": np.argmax,
    "astype": lambda x, dtype: np.array(x, dtype),
    "broadcast_to": np.broadcast_to,
    "clip": clipped,
    "concatenate": lambda *arrays, axis=0: np.concatenate(arrays, axis),
    "constant_power": lambda x, exponent: np.power(x, exponent),
    "contract": lambda *operands, subscripts: np.einsum(subscripts, *operands, optimize=True),
    "cos": np.cos,
    "softmax_grad": lambda v, p, axis=-1: p * (v - np.sum(p * v, axis, keepdims=True)),
    "deviation": lambda v, x, axis=-1: v - np.sum(softmax_of(x, axis) * v, axis, keepdims=True),
    "div": np.divide,
    "equal": np.equal,
    "exp": np.exp,
    "expand_dims": np.expand_dims,
    "expm1": np.expm1,
    "general_power": np.power,
    "getitem": lambda x, *arrays, pattern: x[filled(pattern, arrays)],
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "identity": np.positive,
    "less": np.less,
    "less_equal": np.less_equal,
    "log": np.log,
    "log1p": np.log1p,
    "log_softmax": lambda x, axis=-1: scipy.special.log_softmax(x, axis),
    "log_softmax_grad": lambda v, x, axis=-1: v - softmax_of(x, axis) * np.sum(v, axis, keepdims=True),
    "logical_and": np.logical_and,
    "logical_not": np.logical_not,
    "logical_or": np.logical_or,
    "logsumexp": scipy.special.logsumexp,
    "matmul": np.matmul,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "mul": np.multiply,
    "neg": np.negative,
    "not_equal": np.not_equal,
    "pick": lambda x, y: np.take_along_axis(x, y[:, None], 1)[:, 0],
    "place": lambda values, y, classes: np.eye(classes)[y] * values[:, None],
    "reduce_max": np.amax,
    "reduce_mean": np.mean,
    "reduce_min": np.amin,
    "reduce_sum": np.sum,
    "relu": lambda x: x * (x > 0),
    "reshape": lambda x, shape: np.ravel(x).reshape(shape),
    "scatter_add": scattered,
    "sigmoid": scipy.special.expit,
    "sigmoid_slope": lambda x: scipy.special.expit(x) * scipy.special.expit(-x),
    "sigmoid_xent": binary_cross_entropy,
    "sigmoid_xent_grad": binary_cross_entropy_slope,
    "sign": np.sign,
    "sin": np.sin,
    "soft_xent": soft_cross_entropy,
    "soft_xent_grad": soft_cross_entropy_slope,
    "softmax": lambda x, axis=-1: scipy.special.softmax(x, axis),
    "softplus": lambda x: np.logaddexp(0, x),
    "sqrt": np.sqrt,
    "squeeze": np.squeeze,
    "stack": lambda *arrays, axis=0: np.stack(arrays, axis),
    "std": lambda x, **params: np.sqrt(sum_of_squares(x, **params)),
    "sub": np.subtract,
    "tanh": np.tanh,
    "tanh_slope": lambda x: np.cosh(x) ** -2.0,
    "transpose": np.transpose,
    "variance": sum_of_squares,
    "where": np.where,
    "xdivy": lambda x, y: np.where(np.equal(x, 0), 0, np.divide(x, y)),
    "target_mass": lambda z, y, w, smoothing=0.0, ignore_index=None: mixed(
        y, w, z.shape[1], smoothing, ignore_index
    ).sum(1),
    "xent": cross_entropy,
    "xent_grad": cross_entropy_slope,
    "xlog1py": scipy.special.xlog1py,
    "xlogy": scipy.special.xlogy,
}

# NumPy's own answer where SciPy's function takes no empty array.
WITHOUT_ELEMENTS = {"softmax": lambda x, axis=-1: x, "log_softmax": lambda x, axis=-1: x}


@over_samples()
def test_forward_equals_the_oracle(name: str, sample: Sample) -> None:
    oracle = ORACLES[name]
    if name in WITHOUT_ELEMENTS and sample.inputs[0].size == 0:
        oracle = WITHOUT_ELEMENTS[name]
    if name == "logsumexp" and sample.inputs[0].size == 0:
        expected = np.zeros(0)
    else:
        expected = oracle(*sample.inputs, **sample.params)
    actual = run(name, sample)
    assert np.shape(actual) == np.shape(expected)
    np.testing.assert_allclose(actual, expected, rtol=1e-13, atol=1e-15)


@over_samples()
def test_recorded_on_tensors_equals_run_on_arrays(name: str, sample: Sample) -> None:
    recorded = OPS[name](*tensors(sample), **sample.params)
    expected = run(name, sample)
    if sample.wrt:
        assert recorded.requires_grad
        assert recorded.op is OPS[name]
        recorded = recorded.data
        assert type(recorded) is np.ndarray
    assert np.asarray(recorded).dtype == np.asarray(expected).dtype
    np.testing.assert_array_equal(recorded, expected, strict=isinstance(expected, np.ndarray))


@over_samples()
def test_a_tensor_that_asks_for_nothing_is_computed_and_not_recorded(name: str, sample: Sample) -> None:
    wrapped = [Tensor(x) if isinstance(x, np.ndarray) else x for x in sample.inputs]
    out = OPS[name](*wrapped, **sample.params)
    assert isinstance(out, Tensor)
    assert (out.requires_grad, out.op) == (False, None)
    np.testing.assert_array_equal(out.data, run(name, sample))


@over_samples()
def test_the_memory_layout_does_not_matter(name: str, sample: Sample) -> None:
    scattered_out = sample.with_arrays(strided)
    np.testing.assert_allclose(run(name, scattered_out), run(name, sample), rtol=1e-13, atol=1e-15)
    upstream = fixed(np.shape(run(name, sample)), 1)
    if sample.wrt:
        expected = first_order(name, sample, list(sample.inputs), upstream)
        actual = first_order(name, scattered_out, list(scattered_out.inputs), strided(upstream))
        for one, other in zip(actual, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


@over_samples(lambda name, sample: OPS[name] in KERNELS)
def test_a_kernel_equals_its_body(name: str, sample: Sample) -> None:
    for change, tolerance in ((np.asarray, 1e-13), (float32, 2e-6), (strided, 1e-13)):
        changed = sample.with_arrays(change)
        body = np.asarray(OPS[name].body(*changed.inputs, **changed.params))
        out = np.asarray(run(name, changed))
        assert out.dtype == body.dtype
        np.testing.assert_allclose(out, body, rtol=tolerance, atol=tolerance)


# ---- gradients


@over_samples(is_smooth)
def test_gradient_equals_finite_differences(name: str, sample: Sample) -> None:
    upstream = fixed(np.shape(run(name, sample)), 2)
    analytic = first_order(name, sample, list(sample.inputs), upstream)
    for position, (gradient, at) in enumerate(zip(analytic, sample.wrt, strict=True)):
        directions = [np.zeros_like(sample.inputs[i]) for i in sample.wrt]
        directions[position] = fixed(sample.inputs[at].shape, 3)

        def along(step: float, directions: list[np.ndarray] = directions) -> float:
            return inner([OPS[name](*moved(sample, directions, step), **sample.params)], [upstream])

        assert inner([gradient], [directions[position]]) == pytest.approx(slope(along), rel=1e-7, abs=1e-9)


@over_samples(is_smooth)
def test_second_derivatives_equal_finite_differences_of_the_gradient(name: str, sample: Sample) -> None:
    shape = np.shape(run(name, sample))
    ways = [fixed(sample.inputs[i].shape, 5 + i) for i in sample.wrt]
    directions = [fixed(sample.inputs[i].shape, 50 + i) for i in sample.wrt]
    upstream, along_upstream = fixed(shape, 4), fixed(shape, 40)

    inputs = tensors(sample)
    factor = Tensor(upstream, requires_grad=True)
    projected = (OPS[name](*inputs, **sample.params) * factor).sum()
    firsts = gradients(projected, tracked(inputs), create_graph=True)
    total = sum(((g * way).sum() for g, way in zip(firsts, ways, strict=True)), start=Tensor(0.0))
    seconds = gradients(total, [*tracked(inputs), factor])

    def along(step: float) -> float:
        return inner(first_order(name, sample, moved(sample, directions, step), upstream + step * along_upstream), ways)

    assert inner(seconds, [*directions, along_upstream]) == pytest.approx(slope(along), rel=1e-7, abs=1e-8)


@over_samples(tracks)
def test_gradients_have_the_shape_and_dtype_of_their_input(name: str, sample: Sample) -> None:
    upstream = fixed(np.shape(run(name, sample)), 6)
    for gradient, at in zip(first_order(name, sample, list(sample.inputs), upstream), sample.wrt, strict=True):
        assert type(gradient) is np.ndarray
        assert (gradient.shape, gradient.dtype) == (sample.inputs[at].shape, sample.inputs[at].dtype)


@over_samples(tracks)
def test_a_recorded_backward_equals_one_on_arrays(name: str, sample: Sample) -> None:
    inputs = tensors(sample)
    out = OPS[name](*inputs, **sample.params)
    upstream = fixed(out.shape, 7, out.dtype)
    recorded = gradients(out, tracked(inputs), create_graph=True, gradient=upstream)
    on_arrays = gradients(out, tracked(inputs), gradient=upstream)
    for one, other in zip(recorded, on_arrays, strict=True):
        assert isinstance(one, Tensor)
        np.testing.assert_allclose(one.data, other, rtol=1e-13, atol=1e-16)


@over_samples(tracks)
def test_nothing_upstream_gives_exactly_nothing(name: str, sample: Sample) -> None:
    out = run(name, sample)
    for gradient in first_order(name, sample, list(sample.inputs), np.zeros_like(out)):
        np.testing.assert_array_equal(gradient, 0)


@over_samples(keeps_dtype)
def test_the_gradient_is_linear_in_what_is_upstream(name: str, sample: Sample) -> None:
    a, b = (fixed(np.shape(run(name, sample)), seed) for seed in (8, 9))
    answers = [first_order(name, sample, list(sample.inputs), g) for g in (a, b, 2 * a - 3 * b)]
    for one, other, both in zip(*answers, strict=True):
        np.testing.assert_allclose(both, 2 * one - 3 * other, rtol=1e-12, atol=1e-13)


@over_samples()
def test_inputs_are_not_written_to(name: str, sample: Sample) -> None:
    inputs = [x.copy() if isinstance(x, np.ndarray) else x for x in sample.inputs]
    values = [Tensor(x, requires_grad=True) if i in sample.wrt else x for i, x in enumerate(inputs)]
    out = OPS[name](*values, **sample.params)
    OPS[name](*inputs, **sample.params)
    if sample.wrt:
        upstream = fixed(out.shape, 10, out.dtype)
        before, value = upstream.copy(), out.data.copy()
        gradients(out, tracked(values), gradient=upstream)
        gradients(out, tracked(values), gradient=upstream, create_graph=True)
        np.testing.assert_array_equal(upstream, before)
        np.testing.assert_array_equal(out.data, value)
    for seen, original, value in zip(inputs, sample.inputs, values, strict=True):
        np.testing.assert_array_equal(seen, original)
        np.testing.assert_array_equal(value.data if isinstance(value, Tensor) else value, original)


@over_samples(keeps_dtype)
def test_float32_stays_float32_to_second_order(name: str, sample: Sample) -> None:
    small = sample.with_arrays(float32)
    assert np.asarray(run(name, small)).dtype == np.float32
    inputs = tensors(small)
    out = OPS[name](*inputs, **small.params)
    assert out.dtype == np.float32
    upstream = fixed(out.shape, 11, np.float32)
    factor = Tensor(upstream, requires_grad=True)
    firsts = gradients((out * factor).sum(), tracked(inputs), create_graph=True)
    assert all(g.dtype == np.float32 for g in firsts)
    for one, other in zip(firsts, first_order(name, sample, list(sample.inputs), upstream), strict=True):
        np.testing.assert_allclose(one.data, other, rtol=1e-4, atol=1e-5)
    total = sum((g.sum() for g in firsts[1:]), start=firsts[0].sum())
    assert total.dtype == np.float32
    assert all(g.dtype == np.float32 for g in gradients(total, [*tracked(inputs), factor]))


# ---- far from 1: the numbers where naive formulas overflow, or lose their digits

FAR = [0.0, 1e-300, 1e-9, 0.5, 40.0, 710.0, 1e4, 1e308]
FAR += [-x for x in FAR]
EXACT: dict[str, Callable[[Any], Any]] = {
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: x if x > 1e5 else mpmath.log1p(mpmath.exp(x)),
    "tanh": mpmath.tanh,
    "expm1": mpmath.expm1,
    "log1p": mpmath.log1p,
}


def in_domain(name: str, x: float) -> bool:
    return not (name == "log1p" and x <= -1) and not (name == "expm1" and x > 700)


@pytest.mark.parametrize(("name", "x"), [(name, x) for name in EXACT for x in FAR if in_domain(name, x)])
def test_functions_of_one_number_are_exact_far_out(name: str, x: float) -> None:
    near = x if name in ("softplus", "log1p") and x > 0 else float(np.clip(x, -2000, 2000))  # there all is 0, 1 or x
    with mpmath.workdps(60):
        expected = float(EXACT[name](mpmath.mpf(near)))
    actual = float(OPS[name](np.array([x]))[0])
    assert abs(actual - expected) <= 4 * np.spacing(abs(expected))


FAR_ROWS = [[0.0, 0.0], [1e4, -1e4], [40.0, 0.0, 0.0], [-745.0, -745.0], [1e308, 0.0], [710.0, 709.0], [1e8, 1e8]]


def exact_log_softmax(row: list[float]) -> tuple[float, list[float]]:
    """logsumexp of the row, and the row minus it, each rounded once."""
    with mpmath.workdps(400):
        gaps = [mpmath.mpf(x) - mpmath.mpf(max(row)) for x in row]
        rest = mpmath.log(sum(mpmath.exp(gap) if gap > -1e5 else mpmath.mpf(0) for gap in gaps))
        return float(max(row) + rest), [float(gap - rest) for gap in gaps]


@pytest.mark.parametrize("row", FAR_ROWS)
def test_logsumexp_and_log_softmax_are_exact_far_out(row: list[float]) -> None:
    total, logs = exact_log_softmax(row)
    assert abs(float(OPS["logsumexp"](np.array(row))) - total) <= 4 * np.spacing(abs(total))
    assert np.all(np.abs(OPS["log_softmax"](np.array(row)) - logs) <= 4 * np.spacing(np.abs(logs)))


@pytest.mark.parametrize("row", [*FAR_ROWS, [1e16, 1e16], [0.0, -np.inf]])
def test_the_gradient_of_logsumexp_is_a_distribution_far_out(row: list[float]) -> None:
    x = Tensor(row, requires_grad=True)
    slopes = gradients(OPS["logsumexp"](x), x)
    np.testing.assert_allclose(slopes, scipy.special.softmax(row), rtol=1e-14, atol=0)


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "tanh", "softmax", "log_softmax", "relu", "sin"])
def test_nan_stays_in_its_row(name: str) -> None:
    rows = np.array([[0.5, 1.0], [np.nan, 2.0], [3.0, -1.0]])
    out = OPS[name](rows)
    assert np.isnan(out[1, 0])
    assert np.isfinite(out[[0, 2]]).all()
