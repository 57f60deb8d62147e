"""What of NumPy's functions a Tensor does not take: one table with the reasons, for errors and for docs/numpy.md."""

from __future__ import annotations

from typing import NamedTuple

from tinygrad_ce.core import REGISTRY
from tinygrad_ce.numpy_protocol.registry import FUNCTIONS, UFUNCS, name_of


class Family(NamedTuple):
    """NumPy functions that are left out for one reason. names: as they stand in np, separated by blanks."""

    title: str
    reason: str
    names: str


LEFT_OUT = (
    Family(
        "Writing in place",
        "a tensor is never written to, because backward needs the values it has: build a new one with np.where, "
        "np.concatenate or tg.ops.scatter_add",
        "copyto fill_diagonal place put put_along_axis putmask",
    ),
    Family(
        "Decompositions and solvers",
        "networks and their losses do without, and where singular values or eigenvalues are equal there is no "
        "derivative",
        "linalg.cholesky linalg.cond linalg.det linalg.eig linalg.eigh linalg.eigvals linalg.eigvalsh linalg.inv "
        "linalg.lstsq linalg.matrix_rank linalg.pinv linalg.qr linalg.slogdet linalg.solve linalg.svd linalg.svdvals "
        "linalg.tensorinv linalg.tensorsolve",
    ),
    Family(
        "Norms under the names of the array standard",
        "write np.linalg.norm(t, ord, axis), which has a rule",
        "linalg.matrix_norm linalg.vector_norm",
    ),
    Family(
        "Complex numbers",
        "its answer is complex (or asks for a part of that), and tensors hold real numbers",
        "angle imag sort_complex fft.fft fft.fft2 fft.fftn fft.hfft fft.ifft fft.ifft2 fft.ifftn fft.ihfft fft.irfft "
        "fft.irfft2 fft.irfftn fft.rfft fft.rfft2 fft.rfftn",
    ),
    Family(
        "Fourier transforms: their helpers",
        "shift with np.roll",
        "fft.fftshift fft.ifftshift",
    ),
    Family(
        "Polynomials",
        "write the sum of powers out, as in a + b * t + c * t**2",
        "poly polyadd polyder polydiv polyfit polyint polymul polysub polyval roots vander",
    ),
    Family(
        "Sets",
        "which elements stand in the answer has no derivative, apart from np.unique's",
        "intersect1d isin setdiff1d setxor1d union1d unique_all unique_counts unique_inverse unique_values trim_zeros",
    ),
    Family(
        "Histograms and statistics of samples",
        "counts have no derivative; of a covariance, write (x - x.mean(0)).T @ (x - x.mean(0)) / (n - 1)",
        "corrcoef cov histogram histogram2d histogram_bin_edges histogramdd",
    ),
    Family(
        "Order statistics",
        "take elements out of np.sort(t), or np.median(t)",
        "argpartition lexsort partition percentile quantile nanmedian nanpercentile nanquantile",
    ),
    Family(
        "Statistics that skip NaN",
        "choose before, as in np.max(np.where(np.isnan(t), -np.inf, t)); np.nansum, nanprod and nanmean are there",
        "nanargmax nanargmin nancumprod nancumsum nanmax nanmin nanstd nanvar",
    ),
    Family(
        "Convolution, interpolation, numerical calculus",
        "write it with slices, np.diff, np.cumsum and np.einsum",
        "convolve correlate cross linalg.cross cumulative_prod cumulative_sum ediff1d gradient interp trapezoid unwrap",
    ),
    Family(
        "Special functions",
        "write it with the functions that have a rule, and np.where at the point where they fail",
        "i0 sinc heaviside copysign modf",
    ),
    Family(
        "Functions of functions",
        "call the function on slices, and join them with np.stack; choose with np.where or np.select",
        "apply_along_axis apply_over_axes choose piecewise",
    ),
    Family(
        "Ranges and grids between tensors",
        "write a + (b - a) * np.linspace(0, 1, n), and broadcast with t[:, None]",
        "geomspace linspace logspace ix_ meshgrid insert",
    ),
    Family(
        "Bits, whole numbers and the inside of floating-point numbers",
        "they have no derivative; masks combine with the operators of Python",
        "bitwise_count frexp gcd lcm ldexp left_shift right_shift nextafter spacing packbits unpackbits",
    ),
    Family(
        "Questions with an answer in other words",
        "write t < 0, t == np.inf, t == -np.inf, or ask for t.dtype and t.shape",
        "signbit isneginf isposinf min_scalar_type",
    ),
    Family(
        "Places as numbers",
        "make them of t.shape",
        "diag_indices_from ravel_multi_index tril_indices_from triu_indices_from unravel_index einsum_path",
    ),
    Family(
        "Dates and times",
        "tensors hold real numbers",
        "busday_count busday_offset datetime_as_string is_busday isnat",
    ),
    Family(
        "Text and files",
        "print(t) shows a tensor, and t.data is the array to save",
        "array2string array_repr array_str save savetxt savez savez_compressed",
    ),
)
TAKES_NO_TENSOR = Family(
    "Functions that take no tensor",
    "they make arrays, or ask about dtypes and settings; of a tensor that asks for gradients they make an array only "
    "of t.data",
    "arange array asanyarray asarray asarray_chkfinite ascontiguousarray asfortranarray asmatrix bartlett "
    "base_repr binary_repr blackman bmat broadcast_shapes datetime_data diag_indices empty eye "
    "format_float_positional format_float_scientific from_dlpack frombuffer fromfile fromfunction fromiter "
    "frompyfunc fromregex fromstring full genfromtxt get_include get_printoptions getbufsize geterr geterrcall "
    "hamming hanning identity indices info isdtype isfortran isscalar issubdtype iterable kaiser load loadtxt "
    "mask_indices mintypecode nested_iters ones printoptions promote_types require row_stack set_printoptions "
    "setbufsize seterr seterrcall show_config show_runtime test tri tril_indices triu_indices typename zeros "
    "fft.fftfreq fft.rfftfreq fft.test linalg.test",
)
REASONS = {f"np.{name}": family.reason for family in LEFT_OUT for name in family.names.split()}

UFUNC_METHODS = {  # what np.add.reduce(t) and its like are called otherwise
    "add.reduce": "np.sum(t, axis=0)",
    "multiply.reduce": "np.prod(t, axis=0)",
    "maximum.reduce": "np.max(t, axis=0)",
    "minimum.reduce": "np.min(t, axis=0)",
    "logical_and.reduce": "np.all(t, axis=0)",
    "logical_or.reduce": "np.any(t, axis=0)",
    "add.accumulate": "np.cumsum(t, axis=0)",
    "multiply.accumulate": "np.cumprod(t, axis=0)",
    "add.at": "tg.ops.scatter_add, which answers with a new tensor",
}


def without_rule(name: str) -> TypeError:
    """The refusal of a NumPy function or ufunc method, with its reason and what to use instead."""
    plain = name.removeprefix("np.")
    if plain in UFUNC_METHODS:
        reason = f"use {UFUNC_METHODS[plain]}, "
    elif plain.endswith(".outer"):
        reason = f"use np.{plain.removesuffix('.outer')}(t[:, None], u[None, :]), "
    else:
        reason = f"{REASONS[name]}; use " if name in REASONS else "use "
    return TypeError(
        f"{name} has no derivative rule here: {reason}one of tinygrad_ce.ops ({len(REGISTRY)} primitives), write your "
        "own with @primitive (examples/06_your_own_primitive.py), or call it on t.data if no gradient is wanted"
    )


def page() -> str:
    """docs/numpy.md: what runs on tensors, and what is left out and why."""
    functions = sorted({name_of(f) for f in FUNCTIONS})
    ufuncs = sorted({f"np.{f.__name__}" for f in UFUNCS})
    lines = [
        "# NumPy's functions on tensors",
        "",
        "This page is written by `python -m tinygrad_ce.numpy_protocol`, from the tables by which the package works.",
        "What is listed as taken agrees with NumPy in value, dtype and kind of error; options that are not taken "
        "(`out=`, `where=`, `order=`...)",
        "are refused in words. A name that NumPy has twice (`np.abs`, `np.absolute`) is listed once.",
        "",
        f"## Taken: {len(ufuncs)} ufuncs",
        "",
        _paragraph(ufuncs),
        "",
        f"## Taken: {len(functions)} functions",
        "",
        _paragraph(functions),
        "",
        "## Left out, and why",
        "",
        "Each of them raises a TypeError that says the reason; on `t.data`, where no gradient is wanted, all of them "
        "work.",
        "",
        "| what | why, and what to write instead | functions |",
        "|---|---|---|",
    ]
    for family in (*LEFT_OUT, TAKES_NO_TENSOR):
        names = ", ".join(f"`{name}`" for name in sorted(family.names.split()))
        lines.append(f"| {family.title} | {family.reason} | {names} |")
    return "\n".join(lines) + "\n"


def _paragraph(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def names_left_out() -> set[str]:
    """All names of both tables, as `np.name`."""
    return {f"np.{name}" for family in (*LEFT_OUT, TAKES_NO_TENSOR) for name in family.names.split()}
