"""Products of matrices: matmul, affine (what a Dense layer computes), einsum."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.core import primitive
from tinygrad_ce.ops.shape import broadcast_to, expand_dims, reshape, swapaxes


@primitive(broadcasts=True)
def matmul(a, b):
    return a @ b


@matmul.vjp("a")
def matmul_a(g, out, a, b):
    if b.ndim == 1:
        return expand_dims(g, axis=-1) * b
    if a.ndim == 1:
        return (b @ expand_dims(g, axis=-1))[..., 0]
    return g @ swapaxes(b, -1, -2)


@matmul.vjp("b")
def matmul_b(g, out, a, b):
    if b.ndim == 1:
        return expand_dims(g, axis=-1) * a
    if a.ndim == 1:
        return expand_dims(a, axis=-1) * expand_dims(g, axis=-2)
    return swapaxes(a, -1, -2) @ g


@primitive(broadcasts=True)
def affine(x, W, b):
    if W.ndim != 2 or x.ndim == 0:
        raise ValueError("W must be a matrix, and x rows")
    return np.dot(x, W) + b  # the product that @ gives too, and NumPy reaches it faster when the matrices are small


@affine.vjp("x")
def affine_x(g, out, x, W, b):
    return np.dot(g, W.T)


@affine.vjp("W")
def affine_W(g, out, x, W, b):
    if x.ndim != 2 or len(x) != len(g):  # more axes, or rows that b repeated
        x = broadcast_to(x, shape=g.shape[:-1] + x.shape[-1:])
        x, g = reshape(x, shape=(-1, x.shape[-1])), reshape(g, shape=(-1, g.shape[-1]))
    return np.dot(x.T, g)


@affine.vjp("b")
def affine_b(g, out, x, W, b):
    return g


def einsum(subscripts: str, *operands: Any) -> Any:
    """np.einsum, differentiable. An ellipsis is written out; a letter may not repeat within one operand."""
    if not isinstance(subscripts, str):
        raise TypeError('einsum: the subscripts must be a string such as "ij,jk->ik"; lists of axes are not taken')
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if len(terms) != len(operands):
        raise ValueError(f"einsum: {subscripts!r} names {len(terms)} operands, and {len(operands)} were given")
    spare = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in subscripts]
    hidden = [np.ndim(x) - len(t.replace("...", "")) if "..." in t else 0 for t, x in zip(terms, operands, strict=True)]
    longest = spare[: max(hidden)]
    written_out = [t.replace("...", "".join(longest[len(longest) - n :])) for t, n in zip(terms, hidden, strict=True)]
    letters = sorted(set("".join(written_out)) - set(longest))
    if arrow and longest and "..." not in output:
        raise ValueError(f"einsum: {subscripts!r} has an ellipsis in its inputs, and its output needs one too")
    if arrow:
        output = output.replace("...", "".join(longest))
    else:
        output = "".join(longest) + "".join(c for c in letters if "".join(written_out).count(c) == 1)
    for term in written_out:
        if len(set(term)) != len(term):
            raise ValueError(
                f"einsum: a letter repeats within one operand ({term!r}), and a diagonal has no rule here: "
                "take it with t[np.arange(n), np.arange(n)] first"
            )
    return contract(*operands, subscripts=",".join(written_out) + "->" + output)


@primitive(broadcasts=True)
def contract(*operands, subscripts):
    """An einsum with its output written out."""
    return np.einsum(subscripts, *operands)


@contract.vjp("operands")
def contract_operands(g, out, *operands, subscripts, position):
    inputs, output = subscripts.split("->")
    terms = inputs.split(",")
    wanted = terms[position]
    others = [(t, x) for i, (t, x) in enumerate(zip(terms, operands, strict=True)) if i != position]
    known = set(output).union(*(t for t, _ in others))
    # A letter that only this operand had was summed away: its gradient is the same all along it.
    lost = [letter for letter in wanted if letter not in known]
    sizes = [operands[position].shape[wanted.index(letter)] for letter in lost]
    ones = [("".join(lost), np.ones(sizes, g.dtype))] if lost else []
    terms_left = ",".join([output, *(t for t, _ in others), *(t for t, _ in ones)])
    return contract(g, *(x for _, x in others), *(x for _, x in ones), subscripts=f"{terms_left}->{wanted}")
