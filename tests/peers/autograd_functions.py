"""Every function that autograd can differentiate: ours has its value, gradient and second gradient, or is named.

python tests/peers/autograd_functions.py
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
from autograd.core import primitive_vjps

import tinygrad_ce as tg

LINALG = {name for name in dir(anp.linalg) if not name.startswith("_")}
# What a function is called with, where one array of ordinary numbers is not what it takes. A, B: (3, 4) arrays.
A = np.array([[0.5, -1.25, 2.0, 0.75], [1.5, 0.3, -0.6, 0.9], [-0.2, 0.8, 1.1, -1.7]])
B = np.array([[0.4, 1.6, -0.7, 1.2], [-0.9, 0.35, 2.2, 0.15], [1.3, -0.45, 0.65, 0.85]])
POSITIVE, SMALL, ABOVE = np.abs(A) + 0.1, A / 4, np.abs(A) + 1.5
UNARY_ON = {
    "arccos": SMALL,
    "arcsin": SMALL,
    "arctanh": SMALL,
    "arccosh": ABOVE,
    "log": POSITIVE,
    "log2": POSITIVE,
    "log10": POSITIVE,
    "log1p": POSITIVE,
    "sqrt": POSITIVE,
}
CALLS: dict[str, Any] = {
    "power": lambda np, a, b: np.power(np.abs(a) + 0.5, b),
    "mod": lambda np, a, b: np.mod(a, np.abs(b) + 0.5),
    "remainder": lambda np, a, b: np.remainder(a, np.abs(b) + 0.5),
    "reshape": lambda np, a, b: np.reshape(a, (2, 6)),
    "concatenate_args": lambda np, a, b: np.concatenate([a, b], 1),
    "array_from_args": lambda np, a, b: np.stack([a, b]),
    "where": lambda np, a, b: np.where(np.array([True, False, True, False]), a, b),
    "roll": lambda np, a, b: np.roll(a, 1, axis=0),
    "matmul": lambda np, a, b: np.matmul(a, np.transpose(b)),
    "dot": lambda np, a, b: np.dot(a, np.transpose(b)),
    "tensordot": lambda np, a, b: np.tensordot(a, b, 2),
    "inner": lambda np, a, b: np.inner(a, b),
    "outer": lambda np, a, b: np.outer(a, b),
    "kron": lambda np, a, b: np.kron(a, b),
    "cross": None,
    "einsum": lambda np, a, b: np.einsum("ij,kj->ik", a, b),
    "expand_dims": lambda np, a, b: np.expand_dims(a, 1),
    "swapaxes": lambda np, a, b: np.swapaxes(a, 0, 1),
    "moveaxis": lambda np, a, b: np.moveaxis(a, 0, 1),
    "rollaxis": None,
    "repeat": lambda np, a, b: np.repeat(a, 2, axis=1),
    "tile": lambda np, a, b: np.tile(a, (2, 3)),
    "clip": lambda np, a, b: np.clip(a, -0.55, 0.77),
    "pad": lambda np, a, b: np.pad(a, ((1, 0), (2, 1)), "constant"),
    "trace": lambda np, a, b: np.trace(a),
    "diag": lambda np, a, b: np.diag(a),
    "diagonal": lambda np, a, b: np.diagonal(a),
    "broadcast_to": lambda np, a, b: np.broadcast_to(a, (2, 3, 4)),
    "full": None,
    "linspace": None,
    "sort": lambda np, a, b: np.sort(a[0]),
    "_astype": lambda np, a, b: a.astype(np.float64),
    "untake": None,
    "partition": None,
    "gradient": None,
    "_array_from_scalar_or_array": None,
    "make_diagonal": None,
    "rot90": lambda np, a, b: np.rot90(a),
    "split": lambda np, a, b: np.split(a, 3)[1],
    "array_split": lambda np, a, b: np.array_split(a, 3, axis=1)[0],
    "hsplit": lambda np, a, b: np.hsplit(a, 2)[1],
    "vsplit": lambda np, a, b: np.vsplit(a, 3)[0],
    "dsplit": None,
    "_split": None,
    "norm": lambda np, a, b: np.linalg.norm(a),
    "diff": lambda np, a, b: np.diff(a, axis=1),
    "append": lambda np, a, b: np.append(a, b),
    "atleast_1d": lambda np, a, b: np.atleast_1d(a),
    "atleast_2d": lambda np, a, b: np.atleast_2d(a),
    "atleast_3d": None,
    "hypot": lambda np, a, b: np.sqrt(a * a + b * b) if np is anp else np.hypot(a, b),
}


def called(name: str) -> Any:
    """A function of two arrays that calls this one; None where there is none to call."""
    if name in CALLS:
        return CALLS[name]
    function = getattr(np, name, None)
    if function is None:
        return None
    if isinstance(function, np.ufunc) and function.nin == 2:
        return lambda numpy, a, b: getattr(numpy, name)(a, b)
    return lambda numpy, a, b: getattr(numpy, name)(a)


def derivatives(numpy: Any, f: Any, a: Any, b: Any, grad: Any) -> list[np.ndarray]:
    """The value, gradient and second gradient of a weighted sum of what f gives."""

    def loss(a: Any) -> Any:
        out = f(numpy, a, b)
        return numpy.sum(out * np.cos(np.arange(float(np.prod(np.shape(out)))).reshape(np.shape(out))))

    def slope(a: Any) -> Any:
        return numpy.sum(grad(loss)(a) * np.sin(np.arange(12.0).reshape(3, 4)))

    return [np.asarray(x) for x in (f(numpy, a, b), grad(loss)(a), grad(slope)(a))]


def main() -> int:
    names = sorted(
        {p.fun.__name__ for p in primitive_vjps if getattr(p, "fun", None) is not None} - LINALG - {"real_if_close"}
    )
    agreed, left_out, wrong = [], [], 0
    for name in names:
        f = called(name)
        if f is None:
            continue
        a = UNARY_ON.get(name, A)
        try:
            expected = derivatives(anp, f, a, B, autograd.grad)
        except Exception:
            expected = []
        if not expected or any(np.iscomplexobj(x) for x in expected):
            continue
        try:
            mine = derivatives(np, f, tg.Tensor(a), B, tg.grad)
        except Exception as error:
            left_out.append(f"{name}: {type(error).__name__}: {str(error).strip().splitlines()[0][:140]}")
            continue
        bad = [
            k
            for k, (x, y) in enumerate(zip(mine, expected, strict=True))
            if x.shape != y.shape or not np.allclose(x, y, 1e-9, 1e-10, equal_nan=True)
        ]
        agreed += [] if bad else [name]
        wrong += bool(bad)
        for k in bad:
            what = ("value", "gradient", "second gradient")[k]
            print(f"DIFFERS {name} ({what}): {mine[k].ravel()[:4]}, not {expected[k].ravel()[:4]}")
    for line in left_out:
        print("we refuse", line)
    print(f"{len(agreed)} functions agree, {len(left_out)} are refused, {wrong} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    sys.exit(main())
