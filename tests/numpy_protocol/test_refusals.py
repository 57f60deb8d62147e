"""What NumPy can and a Tensor does not take is refused in words, and nothing is written in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from leaves import wanted
from samples import text_of

from tinygrad_ce import ops
from tinygrad_ce.core import Tensor


@pytest.mark.parametrize(
    ("f", "name"),
    [
        (lambda t: np.sinc(t), r"np\.sinc"),
        (lambda t: np.heaviside(t, 1.0), r"np\.heaviside"),
        (lambda t: np.ldexp(t, 1), r"np\.ldexp"),
        (lambda t: np.signbit(t), r"np\.signbit"),
        (lambda t: np.partition(t, 1), r"np\.partition"),
        (lambda t: np.cumulative_sum(t), r"np\.cumulative_sum"),
        (lambda t: np.percentile(t, 50), r"np\.percentile"),
        (lambda t: np.linalg.svd(t), r"np\.linalg\.svd"),
        (lambda t: np.linalg.inv(t), r"np\.linalg\.inv"),
        (lambda t: np.fft.fft(t), r"np\.fft\.fft"),
        (lambda t: np.isin(t, t), r"np\.isin"),
        (lambda t: np.add.reduce(t), r"np\.add\.reduce"),
        (lambda t: np.add.accumulate(t), r"np\.add\.accumulate"),
        (lambda t: np.multiply.outer(t, t), r"np\.multiply\.outer"),
        (lambda t: np.maximum.reduce(t), r"np\.maximum\.reduce"),
    ],
    ids=text_of,
)
def test_what_has_no_rule_says_what_to_use_instead(f: Callable[[Any], Any], name: str) -> None:
    advice = r"has no derivative rule here: .*tinygrad_ce\.ops.*@primitive.*t\.data"
    with pytest.raises(TypeError, match=f"^{name} {advice}"):
        f(wanted(np.eye(2)))


def test_scattering_through_a_ufunc_is_refused() -> None:
    with pytest.raises(TypeError, match=r"np\.add\.at has no derivative rule"):
        np.add.at(wanted([1.0, 2.0]), [0], 1.0)
    array = np.zeros(2)
    with pytest.raises(TypeError):
        np.add.at(array, [0, 1], wanted([1.0, 2.0]))
    np.testing.assert_array_equal(array, 0.0)


@pytest.mark.parametrize(
    "f",
    [
        lambda t, out: np.exp(t, out=out),
        lambda t, out: np.add(t, 1.0, out=out),
        lambda t, out: np.add(out, 1.0, out=t),
        lambda t, out: np.exp(t, where=np.array([True, False])),
        lambda t, out: np.sum(t, out=out),
        lambda t, out: np.sum(t, where=np.array([True, False])),
        lambda t, out: np.mean(t, 0, None, out),
        lambda t, out: np.clip(t, 0.0, 1.0, out=out),
        lambda t, out: np.clip(t, 0.0, 1.0, out),
        lambda t, out: np.concatenate([t, t], out=np.zeros(4)),
        lambda t, out: np.concatenate([out, out], out=t),
        lambda t, out: np.max(t, where=np.array([True, False]), initial=0.0),
        lambda t, out: np.copyto(out, t),
        lambda t, out: np.copyto(t, out),
        lambda t, out: np.put(t, [0], 1.0),
        lambda t, out: np.fill_diagonal(t, 1.0),
        lambda t, out: out.__setitem__(slice(None), t),
        lambda t, out: out.__iadd__(t),
    ],
    ids=text_of,
)
def test_nothing_is_written_in_place(f: Callable[..., Any]) -> None:
    t, out = wanted([1.0, 2.0]), np.zeros(2)
    with pytest.raises(TypeError):
        f(t, out)
    np.testing.assert_array_equal(t.data, [1.0, 2.0])
    np.testing.assert_array_equal(out, 0.0)


@pytest.mark.parametrize(
    ("f", "option"),
    [
        (lambda t: np.exp(t, out=np.zeros(2)), "out"),
        (lambda t: np.exp(t, where=np.array([True, False])), "where"),
        (lambda t: np.sum(t, out=np.zeros(())), "out"),
        (lambda t: np.sum(t, where=np.array([True, False])), "where"),
        (lambda t: np.sum(t, initial=1.0), "initial"),
        (lambda t: np.exp(t, dtype=np.float32), "dtype"),
        (lambda t: t.sum(None, None, np.zeros(())), "out"),
        (lambda t: t.reshape(1, 2, order="F"), "order"),
        (lambda t: np.reshape(t, (1, 2), order="F"), "order"),
    ],
    ids=text_of,
)
def test_a_refused_option_is_named_with_its_function(f: Callable[[Any], Any], option: str) -> None:
    with pytest.raises(TypeError, match=rf"(np\.)?(exp|sum|reshape).*{option}"):
        f(wanted([1.0, 2.0]))


@pytest.mark.parametrize("f", [np.array, np.asarray, lambda t: np.zeros(2) + np.array([t[0], t[1]]), np.vectorize(abs)])
def test_leaving_the_graph_by_accident_is_refused(f: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError):
        f(wanted([1.0, 2.0]))


@pytest.mark.parametrize("f", [np.sin, ops.sin])
def test_tensors_that_ask_for_nothing_stay_tensors(f: Callable[[Any], Any]) -> None:
    out = f(Tensor([1.0]))
    assert isinstance(out, Tensor)
    assert not out.requires_grad
