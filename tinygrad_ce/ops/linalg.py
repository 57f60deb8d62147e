"""Products of matrices: matmul, affine (what a Dense layer computes), einsum."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.core import Tensor, primitive
from tinygrad_ce.ops.rearrange import diagonal
from tinygrad_ce.ops.shape import broadcast_to, expand_dims, reshape, swapaxes


@primitive(broadcasts=True)
def matmul(a, b):
    """The product of matrices a (..., n, k) and b (..., k, m), stacks of them broadcast; of vectors as in NumPy.

    >>> matmul([[1.0, 2.0]], [[3.0], [4.0]])
    array([[11.]])
    """
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
    """x W + b for rows x (..., k), a matrix W (k, m) and b (m,): what a Dense layer computes.

    >>> affine([[1.0, 2.0]], [[3.0], [4.0]], [10.0])
    array([[21.]])
    """
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


def einsum(subscripts: str, *operands: Any, optimize: Any = False) -> Any:
    """np.einsum, differentiable: an ellipsis is written out, and a letter that repeats in one operand is a diagonal.

    subscripts: as NumPy's, a string such as "ij,jk->ik".
    optimize: is taken for NumPy's sake; here all operands are multiplied in one pass.

    >>> einsum('ij,jk->ik', [[1.0, 2.0]], [[3.0], [4.0]])
    array([[11.]])
    """
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
    pairs = [with_diagonals(t, x) for t, x in zip(written_out, operands, strict=True)]
    return contract(*(x for _, x in pairs), subscripts=",".join(t for t, _ in pairs) + "->" + output)


def with_diagonals(term: str, x: Any) -> tuple[str, Any]:
    """An operand and its letters; of two axes with the same letter the diagonal is taken, and stands last."""
    x = x if isinstance(x, Tensor) else np.asarray(x)
    for letter in sorted(set(term)):
        while term.count(letter) > 1 and len(term) == x.ndim:
            first = term.index(letter)
            second = term.index(letter, first + 1)
            if x.shape[first] != x.shape[second]:
                raise ValueError(
                    f"einsum: the letter {letter!r} stands for two axes of one operand, and they have "
                    f"{x.shape[first]} and {x.shape[second]} elements (shape {x.shape}): a diagonal needs equal ones"
                )
            x = diagonal(x, axis1=first, axis2=second)
            term = term[:first] + term[first + 1 : second] + term[second + 1 :] + letter
    return term, x


@primitive(broadcasts=True)
def contract(*operands, subscripts):
    """An einsum with its output written out.

    >>> contract([1.0, 2.0], [3.0, 4.0], subscripts='i,i->')
    np.float64(11.0)
    """
    return np.einsum(subscripts, *operands)


@contract.vjp("operands")
def contract_operands(g, out, *operands, subscripts, position):
    inputs, output = subscripts.split("->")
    terms = inputs.split(",")
    wanted = terms[position]
    others = [(t, x) for i, (t, x) in enumerate(zip(terms, operands, strict=True)) if i != position]
    known = set(output).union(*(t for t, _ in others))
    kept = "".join(letter for letter in wanted if letter in known)
    share = contract(g, *(x for _, x in others), subscripts=",".join([output, *(t for t, _ in others)]) + f"->{kept}")
    # A letter that only this operand had was summed away: its gradient is the same all along it. So it is along an
    # axis that has length 1 in every other operand.
    sizes = dict(zip(kept, share.shape, strict=True))
    if kept != wanted:
        share = reshape(share, shape=tuple(sizes.get(letter, 1) for letter in wanted))
    shape = np.broadcast_shapes(share.shape, operands[position].shape)
    return share if share.shape == shape else broadcast_to(share, shape=shape)
