"""einsum: values as NumPy's, and gradients by the identity that makes them: <einsum(v), g> = <v, gradient>."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.core import Tensor
from tinygrad_ce.functional import gradients

Shapes = tuple[tuple[int, ...], ...]
CALLS: list[tuple[str, Shapes]] = [
    # an axis of length 1 against a longer one
    ("ij,jk->ik", ((2, 3), (1, 4))),
    ("ij,jk->ik", ((2, 1), (3, 4))),
    ("i,i->", ((1,), (3,))),
    ("ij,ij->", ((2, 3), (1, 1))),
    ("ij,j->", ((2, 3), (1,))),
    ("i,i,i->i", ((1,), (3,), (1,))),
    ("bij,bjk->bik", ((1, 2, 3), (4, 3, 2))),
    ("ij,jk,kl->il", ((2, 1), (3, 1), (4, 5))),
    ("ij,i->j", ((1, 3), (2,))),
    # diagonals, traces, letters that repeat and are summed
    ("ii->i", ((3, 3),)),
    ("ii", ((3, 3),)),
    ("ii->", ((0, 0),)),
    ("iii->i", ((2, 2, 2),)),
    ("iji->ij", ((2, 3, 2),)),
    ("iijj->ij", ((2, 2, 3, 3),)),
    ("iijj", ((2, 2, 3, 3),)),
    ("ii,i->", ((3, 3), (3,))),
    ("ii,ij->j", ((3, 3), (3, 2))),
    ("...ii->...", ((2, 3, 3),)),
    ("i...i->...", ((3, 2, 3),)),
    ("ii,i->i", ((3, 3), (1,))),
    # an ellipsis, also one that broadcasts
    ("...ij,...jk->...ik", ((2, 3, 4), (4, 5))),
    ("...ij,...jk->...ik", ((2, 1, 3, 4), (5, 4, 2))),
    ("...,...", ((2, 3), (3,))),
    ("i...->...", ((2, 3),)),
    ("...i,i", ((2, 3), (3,))),
    ("...i,...i->...", ((2, 1, 3), (4, 1))),
    # no arrow, letters in another order, spaces
    ("ba", ((2, 3),)),
    ("ij,jk", ((2, 3), (3, 4))),
    ("Ab,bA->A", ((2, 3), (3, 2))),
    (" i j , j k -> k i ", ((2, 3), (3, 4))),
    # nothing to sum, and single numbers
    ("ij->", ((0, 3),)),
    ("ij->j", ((0, 3),)),
    ("ij,jk->ik", ((2, 0), (0, 3))),
    ("ij,kj->", ((0, 3), (2, 3))),
    (",->", ((), ())),
    ("", ((),)),
    (",ij->j", ((), (2, 3))),
]
rng = np.random.default_rng(12)


@pytest.mark.parametrize("dtypes", [(np.float64, np.float64), (np.float32, np.float32), (np.float32, np.float64)])
@pytest.mark.parametrize(("subscripts", "shapes"), CALLS)
def test_values_and_gradients_of_every_form(subscripts: str, shapes: Shapes, dtypes: Any) -> None:
    arrays = [np.asarray(rng.normal(size=s), dtypes[k % 2]) for k, s in enumerate(shapes)]
    digits = 1e-12 if np.result_type(*arrays) == np.float64 and len({x.dtype for x in arrays}) == 1 else 1e-5
    tensors = [Tensor(x, requires_grad=True) for x in arrays]
    out, expected = ops.einsum(subscripts, *tensors), np.einsum(subscripts, *arrays)
    assert (out.shape, out.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(out.data, expected, rtol=digits, atol=digits)
    upstream = np.asarray(rng.normal(size=out.shape), out.dtype)
    recorded = gradients(out, tensors, gradient=upstream, create_graph=True)
    for k, (x, share) in enumerate(zip(arrays, gradients(out, tensors, gradient=upstream), strict=True)):
        assert (share.shape, share.dtype) == (x.shape, x.dtype)
        np.testing.assert_allclose(recorded[k].data, share, rtol=digits, atol=digits)
        other = np.asarray(rng.normal(size=x.shape), x.dtype)
        moved = np.einsum(subscripts, *arrays[:k], other, *arrays[k + 1 :])
        assert float(np.sum(other * share)) == pytest.approx(float(np.sum(moved * upstream)), rel=digits, abs=digits)


@pytest.mark.parametrize(("subscripts", "shapes"), [call for call in CALLS if len(call[1]) == 2])
def test_second_derivatives_of_every_form(subscripts: str, shapes: Shapes) -> None:
    """Of a product, <v, d/db <a-gradient, u>> is the product of u and v itself."""
    a, b = (Tensor(rng.normal(size=s), requires_grad=True) for s in shapes)
    u, v = (np.asarray(rng.normal(size=s)) for s in shapes)
    first = gradients(ops.einsum(subscripts, a, b).sum(), a, create_graph=True)
    second = gradients((first * u).sum(), b)
    expected = float(np.sum(np.einsum(subscripts, u, v)))
    assert float(np.sum(second * v)) == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_a_trace_and_a_diagonal_by_hand() -> None:
    x = Tensor(np.arange(9.0).reshape(3, 3), requires_grad=True)
    np.testing.assert_array_equal(gradients(ops.einsum("ii", x), x), np.eye(3))
    np.testing.assert_array_equal(gradients(ops.einsum("ii->i", x), x, gradient=np.arange(3.0)), np.diag([0.0, 1, 2]))


def test_optimize_is_taken_and_changes_nothing() -> None:
    x = Tensor(rng.normal(size=(3, 3)), requires_grad=True)
    for optimize in (False, True, "greedy"):
        np.testing.assert_array_equal(
            ops.einsum("ij,jk,kl->il", x, x, x, optimize=optimize).data, ops.einsum("ij,jk,kl->il", x, x, x).data
        )


@pytest.mark.parametrize(
    ("subscripts", "shapes", "words"),
    [
        ("ii->i", ((2, 3),), "letter 'i' stands for two axes .* 2 and 3 elements"),
        ("ii->i", ((1, 3),), "1 and 3 elements"),
        ("...ii", ((2, 3, 4),), "3 and 4 elements"),
        ("ij,jk->ik", ((2, 3), (2, 4)), "einsum|broadcast|contract"),
        ("i->ii", ((3,),), "contract"),
        ("ij->k", ((2, 3),), "contract"),
        ("ij", ((3,),), "contract"),
        ("ij,jk->ik", ((2, 3),), "names 2 operands"),
        ("...i->i", ((2, 3),), "ellipsis"),
    ],
)
def test_what_numpy_refuses_is_refused_in_words(subscripts: str, shapes: Shapes, words: str) -> None:
    arrays = [np.ones(s) for s in shapes]
    with pytest.raises(ValueError):  # noqa: PT011 (the words are NumPy's)
        np.einsum(subscripts, *arrays)
    with pytest.raises(ValueError, match=words):
        ops.einsum(subscripts, *map(Tensor, arrays))


TRACED: list[tuple[str, Shapes]] = [
    *(("ij->", ((0, 3),)), ("ij,j->", ((2, 3), (1,))), ("ii->i", ((3, 3),)), ("ii,ij", ((3, 3), (3, 2)))),
]


@pytest.mark.parametrize(("subscripts", "shapes"), TRACED)
def test_a_step_with_an_einsum_is_traced_and_compiled(subscripts: str, shapes: Shapes) -> None:
    arrays = [np.asarray(rng.normal(size=s)) for s in shapes]
    w = Tensor(1.5, requires_grad=True, name="w")

    def step(*inputs: Any) -> Any:
        loss = (ops.einsum(subscripts, *(w * x for x in inputs)) ** 2).sum()
        return loss, tg.gradients(loss, w)

    eager = [np.asarray(getattr(x, "data", x)) for x in step(*map(Tensor, arrays))]
    for answers in (tg.trace(step, *arrays).run(*arrays), tg.compile(step)(*arrays)):
        for x, y in zip(answers, eager, strict=True):
            np.testing.assert_allclose(np.asarray(getattr(x, "data", x)), y, rtol=1e-12)
