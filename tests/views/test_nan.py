"""`tg.why_nan`: the stories that people tell about NaN, each with the operation, line and cause that must be named."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import fromstring

import numpy as np
import pytest
from fresh import printed
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.backward import reachable
from tinygrad_ce.core import Tensor
from tinygrad_ce.lines import noted
from tinygrad_ce.views import nan


def wanted(data: Any, name: str | None = None, dtype: Any = float) -> Tensor:
    """A tensor that asks for gradients."""
    return Tensor(np.asarray(data, dtype), requires_grad=True, name=name)


# ---- the stories


@dataclass(frozen=True)
class Story:
    """A loss as a user would build it, and what must be named.

    forward, backward: the operation, or "data" or "parameter"; None where that pass is finite. cause: words that the
    first finding has, in its cause or in what came of it. cure: words of that. index, operands: of the first finding.
    The line is the one that is marked with `# here`.
    """

    build: Callable[[], Tensor]
    forward: str | None
    backward: str | None
    cause: tuple[str, ...]
    cure: str
    index: tuple[int, ...] | None = None
    operands: dict[str, float] | None = None

    @property
    def line(self) -> int:
        lines, start = inspect.getsourcelines(self.build)
        marked = [n for n, text in enumerate(lines, start) if "# here" in text]
        assert len(marked) == 1
        return marked[0]


STORIES: dict[str, Story] = {}


def story(forward: str | None, backward: str | None, *cause: str, cure: str, **rest: Any) -> Any:
    """Add a story to the table, under the name of the function that builds its loss."""

    def added(build: Callable[[], Tensor]) -> Callable[[], Tensor]:
        STORIES[build.__name__] = Story(build, forward, backward, cause, cure, **rest)
        return build

    return added


ONE_HOT = np.eye(3)
LABELS = np.array([0, 2])


@story("log", "log", "logarithm of 0", "softmax rounds to 0", cure="softmax_cross_entropy", operands={"x": 0})
def log_of_a_softmax_that_is_rounded_to_0() -> Tensor:
    p = ops.softmax(wanted([[0.0, 1.0, 800.0], [1.0, 2.0, 3.0]]))
    return -(np.log(p)[np.arange(2), LABELS]).mean()  # here


@story("log", "log", "logarithm of 0", "softmax rounds to 0", cure="softmax_cross_entropy", index=(0, 0))
def log_of_a_softmax_by_hand_with_the_maximum_subtracted() -> Tensor:
    z = wanted([[0.0, 1.0, 800.0], [1.0, 2.0, 3.0]])
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    log_p = np.log(p)  # here
    return -(ONE_HOT[LABELS] * log_p).sum(axis=1).mean()


@story("exp", "exp", "exp overflows", "709.78", "softmax by hand", cure="maximum first", operands={"x": 800})
def a_softmax_by_hand_without_the_maximum() -> Tensor:
    z = wanted([[1.0, 2.0, 3.0], [0.0, 1.0, 800.0]])
    e = np.exp(z)  # here
    p = e / e.sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(2), LABELS]).mean()


@story("exp", "exp", "88.72", "float32", cure="logsumexp", index=(1,))
def a_logsumexp_by_hand_in_float32() -> Tensor:
    z = wanted([1.0, 100.0], dtype=np.float32)
    return np.log(np.exp(z).sum())  # here


@story("log", "log", "all the exps that were summed are 0", cure="logsumexp")
def a_logsumexp_by_hand_of_very_negative_numbers() -> Tensor:
    z = wanted([-900.0, -1000.0])
    total = np.exp(z).sum()
    return np.log(total)  # here


@story("div", "div", "0 / 0", "norm of a vector of zeros", cure="1e-12", index=(1, 0), operands={"a": 0, "b": 0})
def the_direction_of_a_zero_vector() -> Tensor:
    v = wanted([[3.0, 4.0], [0.0, 0.0]])
    length = np.sqrt((v * v).sum(axis=1, keepdims=True))
    return ((v / length) * np.array([1.0, 2.0])).sum()  # here


@story("div", "div", "0 / 0", "norm", cure="eps")
def the_cosine_of_a_zero_vector() -> Tensor:
    a, b = wanted([0.0, 0.0]), wanted([1.0, 2.0])
    lengths = np.sqrt((a**2).sum()) * np.sqrt((b**2).sum())
    return 1 - (a * b).sum() / lengths  # here


@story("div", "div", "0 / 0", "numbers that are all equal, or of one alone", cure="BatchNorm")
def batch_norm_of_one_row_without_eps() -> Tensor:
    x = wanted([[1.0, 2.0]])
    normalised = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0))  # here
    return normalised.sum()


@story("div", "div", "0 / 0", "put in as it is", cure="tg.ops.maximum(count, 1)", operands={"a": 0, "b": 0})
def the_mean_over_an_empty_mask() -> Tensor:
    losses, mask = wanted([1.0, 2.0]), np.array([0.0, 0.0])
    return (losses * mask).sum() / mask.sum()  # here


@story("reduce_mean", None, "mean of no numbers", cure="mask")
def the_mean_of_an_empty_selection() -> Tensor:
    losses = wanted([1.0, 2.0])
    return losses[losses.data > 5].mean()  # here


@story("variance", "variance", "divides by 0", "1 number", cure="ddof=0")
def the_unbiased_variance_of_one_number() -> Tensor:
    return wanted([3.0]).var(ddof=1)  # here


@story(None, "sqrt", "slope of sqrt at 0 is infinite", "norm", cure="under the root", index=(1,), operands={"x": 0})
def the_norm_of_a_zero_vector() -> Tensor:
    v = wanted([[3.0, 4.0], [0.0, 0.0]])
    squares = (v * v).sum(axis=1)
    return np.sqrt(squares).sum()  # here


@story(None, "constant_power", "infinite", "norm of a vector of zeros", cure="eps", operands={"x": 0})
def a_norm_as_a_power_of_one_half() -> Tensor:
    v = wanted([0.0, 0.0])
    return ((v * v).sum() + 0.0) ** 0.5  # here


@story(None, "sqrt", "infinite", "upstream is 0", "`where`", "0 * inf", cure="second `where`", index=(1,))
def where_does_not_protect_a_root() -> Tensor:
    x = wanted([4.0, 0.0])
    root = np.sqrt(x)  # here
    return np.where(x > 0, root, 0.0).sum()


@story(None, "log", "infinite", "upstream is 0", "`where`", cure="second `where`", operands={"x": 0})
def where_does_not_protect_a_logarithm() -> Tensor:
    x = wanted([0.0, 4.0])
    return np.where(x > 0, ops.log(x), 0.0).sum()  # here


@story(None, "log", "logarithm of 0", cure="second `where`")
def where_does_not_protect_an_entropy() -> Tensor:
    p = wanted([0.0, 1.0])
    terms = p * np.log(p)  # here
    return -np.where(p > 0, terms, 0.0).sum()


@story(None, "div", "division by 0", "`where`", "0 * inf", cure="second `where`", operands={"a": 2, "b": 0})
def where_does_not_protect_a_division() -> Tensor:
    a, b = wanted([1.0, 2.0]), wanted([4.0, 0.0])
    ratio = a / b  # here
    return np.where(b.data != 0, ratio, 0.0).sum()


@story(None, "exp", "exp overflows", cure="second `where`")
def where_does_not_protect_an_exp() -> Tensor:
    x = wanted([-1.0, 800.0])
    grown = np.exp(x) - 1  # here
    return np.where(x > 0, x, grown).sum()


@story(None, "sqrt", "infinite", "multiplied by 0", cure="mask that multiplies")
def a_mask_that_multiplies_does_not_protect_a_root() -> Tensor:
    d = wanted([4.0, 0.0])
    distance = np.sqrt(d)  # here
    return (distance * np.array([1.0, 0.0])).sum()


@story(None, "log", "infinite", "not among the elements that were taken", cure="pick first")
def the_classes_that_are_not_picked() -> Tensor:
    p = ops.softmax(wanted([[0.0, -800.0]]))
    log_p = np.log(p)  # here
    return -log_p[np.arange(1), np.array([0])].mean()


@story("log", "log", "1 - p", "rounded to exactly 1 by a sigmoid", cure="sigmoid_binary_cross_entropy", index=(0,))
def binary_cross_entropy_by_hand_of_a_sure_model() -> Tensor:
    z, y = wanted([40.0, -1.0]), np.array([1.0, 0.0])
    p = z.sigmoid()
    wrong = np.log(1 - p)  # here
    return -(y * np.log(p) + (1 - y) * wrong).mean()


@story("log1p", "log1p", "1 - p", "sigmoid", cure="sigmoid_binary_cross_entropy")
def log1p_of_minus_a_probability_of_1() -> Tensor:
    p = wanted([40.0]).sigmoid()
    return -ops.log1p(-p).sum()  # here


@story("log", None, "-1.5 is negative", cure="why it is negative", operands={"x": -1.5})
def the_logarithm_of_a_negative_number() -> Tensor:
    return np.log(wanted([2.0, -1.5])).sum()  # here


@story("sqrt", "sqrt", "negative", cure="t.var()")
def a_variance_as_a_difference_of_means() -> Tensor:
    x = wanted([1e8 + 1.3, 1e8 + 1.3, 1e8 + 1.3])
    variance = (x * x).mean() - x.mean() ** 2 - 1e-3
    return np.sqrt(variance)  # here


@story("constant_power", "constant_power", "-2 is negative", "power 0.5", cure="absolute", operands={"x": -2})
def a_fractional_power_of_a_negative_number() -> Tensor:
    return (wanted([1.0, -2.0]) ** 0.5).sum()  # here


@story(None, "constant_power", "at 0 is infinite", cure="eps", index=(1,))
def a_power_below_one_at_zero() -> Tensor:
    return (wanted([1.0, 0.0]) ** 0.3).sum()  # here


@story("constant_power", "constant_power", "1 / 0", cure="eps")
def a_negative_power_of_zero() -> Tensor:
    return (wanted([1.0, 0.0]) ** -1).sum()  # here


@story(None, "general_power", "negative", "exponent", cure="positive base")
def the_slope_of_an_exponent_of_a_negative_base() -> Tensor:
    x, p = np.array([-2.0, 3.0]), wanted([2.0, 2.0])
    return (x**p).sum()  # here


@story("mul", None, "beyond 3.403e+38", "float32", cure="float64")
def a_square_that_float32_cannot_hold() -> Tensor:
    x = wanted([1e20, 1.0], dtype=np.float32) * np.float32(1.0)
    return (x * x).mean()  # here


@story("astype", None, "float32", "beyond", cure="float64")
def a_cast_that_loses_the_range() -> Tensor:
    x = wanted([1e39, 1.0])
    return x.astype(np.float32).sum()  # here


@story(None, "astype", "beyond 3.403e+38", "float32", cure="smaller")
def a_gradient_that_float32_cannot_hold() -> Tensor:
    x = wanted([1.0], dtype=np.float32)
    wide = x.astype(np.float64)  # here
    return (wide * 1e300).sum()


@story("exp", "exp", "exp overflows", cure="clip")
def infinity_minus_infinity() -> Tensor:
    x = wanted([800.0])
    big = np.exp(x)  # here
    return (big - big).sum()


@story("exp", "exp", "exp overflows", cure="clip")
def zero_times_infinity() -> Tensor:
    x, gate = wanted([800.0]), wanted([-1.0]).relu()
    big = np.exp(x)  # here
    return (gate * big).sum()


@story("exp", "exp", "exp overflows", "softplus by hand", cure="softplus")
def a_softplus_by_hand() -> Tensor:
    z = wanted([800.0, 1.0])
    return np.log(1 + np.exp(z)).sum()  # here


@story(None, "exp", "exp overflows", "sigmoid by hand", cure="tg.ops.sigmoid")
def a_sigmoid_by_hand() -> Tensor:
    z = wanted([-800.0, 1.0])
    return (1 / (1 + np.exp(-z))).sum()  # here


@story("div", "div", "division by 0", "2 / 0", cure="eps")
def arctanh_by_hand_at_one() -> Tensor:
    x = wanted([0.5, 1.0])
    return (0.5 * np.log((1 + x) / (1 - x))).sum()  # here


@story("xlogy", "xlogy", "exactly 0", cure="softmax_cross_entropy", index=(1, 2), operands={"x": 1, "y": 0})
def cross_entropy_of_a_probability_of_0() -> Tensor:
    p = wanted([[0.5, 0.25, 0.25], [0.5, 0.5, 0.0]])
    return tg.losses.cross_entropy(p, LABELS)  # here


@story("log", "log", "a logit of -inf", cure="masked")
def the_logarithm_of_the_softmax_of_a_masked_class() -> Tensor:
    z, allowed = wanted([[1.0, 2.0]]), np.array([[True, False]])
    p = ops.softmax(np.where(allowed, z, -np.inf))
    return np.log(p).sum()  # here


@story("exp", "exp", "exp overflows", "became finite on the way", "log(0) = -inf", cure="maximum first")
def an_infinity_that_becomes_0_on_the_way() -> Tensor:
    z = wanted([[710.0, 700.0]])
    e = np.exp(z)  # here
    p = e / e.sum(axis=1, keepdims=True)
    return -np.log(p[:, 1]).sum()


@story("softmax", None, "every entry of the row is -inf", "masked", cure="-1e9", index=(1, 0))
def attention_with_a_row_that_is_masked_as_a_whole() -> Tensor:
    scores = wanted([[1.0, 2.0], [3.0, 4.0]])
    allowed = np.array([[True, False], [False, False]])
    masked = np.where(allowed, scores, -np.inf)
    weights = ops.softmax(masked)  # here
    return (weights * np.array([1.0, 2.0])).sum()


@story("xent", None, "class 1 in row 0 was masked", cure="look at the labels")
def a_loss_whose_true_class_is_masked() -> Tensor:
    z, allowed = wanted([[1.0, 2.0], [3.0, 4.0]]), np.array([[True, False], [True, True]])
    masked = np.where(allowed, z, -np.inf)
    return tg.losses.softmax_cross_entropy(masked, np.array([1, 0]))  # here


@story("xent", None, "label smoothing asks", cure="label_smoothing=0")
def label_smoothing_with_a_class_that_is_masked() -> Tensor:
    z, allowed = wanted([[1.0, 2.0, 3.0]]), np.array([[True, True, False]])
    masked = np.where(allowed, z, -np.inf)
    return tg.losses.softmax_cross_entropy(masked, np.array([0]), label_smoothing=0.1)  # here


@story("xent", None, "every entry of row 1 is -inf", cure="-1e9")
def a_loss_of_a_row_that_is_masked_as_a_whole() -> Tensor:
    z, allowed = wanted([[1.0, 2.0], [3.0, 4.0]]), np.array([[True, False], [False, False]])
    masked = np.where(allowed, z, -np.inf)
    return tg.losses.softmax_cross_entropy(masked, np.array([0, 0]))  # here


@story("mul", None, "0 * inf is NaN", cure="xlogy")
def one_hot_times_the_log_softmax_of_a_masked_class() -> Tensor:
    z = wanted([[1.0, 2.0, 3.0]])
    log_p = ops.log_softmax(np.where(np.array([[True, True, False]]), z, -np.inf))
    return -(ONE_HOT[[0]] * log_p).sum()  # here


@story("data", "data", "1 of 12 numbers is NaN", "row 2 and column 1", cure="drop these rows", index=(2, 1))
def data_with_a_nan() -> Tensor:
    x = np.ones((4, 3))
    x[2, 1] = np.nan
    W, b = wanted(np.ones((3, 2)), "W"), wanted(np.zeros(2), "b")
    h = np.tanh(ops.affine(x, W, b))  # here
    return (h**2).mean()


@story("data", "data", "np.log(0) is -inf", "row 0 and column 0", cure="fill them", index=(0, 0))
def data_that_was_logged_outside() -> Tensor:
    with np.errstate(divide="ignore"):
        logged = Tensor(np.log([[0.0, 1.0], [2.0, 3.0]]), name="logged")
    return (logged @ wanted([[1.0], [1.0]])).sum()  # here


@story(None, "data", "is NaN", "row 2", cure="drop these rows")
def data_with_a_nan_in_a_row_that_the_loss_leaves_out() -> Tensor:
    x, known = np.ones((4, 3)), np.array([[True], [True], [False], [True]])
    x[2, 1] = np.nan
    h = ops.matmul(x, wanted(np.ones((3, 2)), "W"))  # here
    return np.where(known, h, 0.0).sum()


@story("parameter", "parameter", "learning rate that blew up", "W2 is not finite either", cure="smaller learning rate")
def parameters_after_a_learning_rate_that_was_too_large() -> Tensor:
    W1, W2 = wanted(np.full((2, 2), np.nan), "W1"), wanted(np.full((2, 1), np.nan), "W2")
    h = np.tanh(np.ones((3, 2)) @ W1)  # here
    return ((h @ W2) ** 2).mean()


@story("affine", None, "beyond 1.798e+308", "huge", "learning rate that blew up", cure="smaller learning rate")
def a_network_just_before_its_parameters_are_infinite() -> Tensor:
    W1, W2, b = wanted([[1e200]], "W1"), wanted([[1e200]], "W2"), wanted([0.0], "b")
    h = ops.affine(np.ones((1, 1)), W1, b)
    return ops.affine(h, W2, b).sum()  # here


def built(build: Callable[[], Tensor]) -> Tensor:
    """The loss, without the warnings that NumPy gives the user while it is computed."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return build()


def leaves_of(loss: Tensor) -> list[Tensor]:
    return [x for x in reachable(loss).values() if x.op is None]


@pytest.mark.parametrize("name", STORIES)
def test_a_story_is_told_as_it_was(name: str) -> None:
    told = STORIES[name]
    found = tg.why_nan(built(told.build))
    for finding, op in ((found.forward, told.forward), (found.backward, told.backward)):
        assert (None if finding is None else finding.op or finding.kind) == op
    first = found.forward or found.backward
    assert first.line == (__file__, told.line)
    for words in told.cause:
        assert words in f"{first.cause}. {first.then}"
    assert told.cure in first.cure
    if told.index is not None:
        assert first.index == told.index
    if told.operands is not None:
        assert first.operands == told.operands
    assert not np.isfinite(first.value)
    for shown in (str(found), found._repr_html_()):
        assert f"test_nan.py:{told.line}" in shown


@pytest.mark.parametrize("name", STORIES)
def test_something_is_found_where_the_engine_has_it_and_nowhere_else(name: str) -> None:
    """The engine's own loss and `.grad` say what is not finite; and asking changes nothing of it."""
    loss = built(STORIES[name].build)
    before = [x.data.copy() for x in reachable(loss).values()]
    found = tg.why_nan(loss)
    assert all(x.grad is None for x in reachable(loss).values())
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss.backward()
    spoilt = [x.label for x in leaves_of(loss) if not np.isfinite(x.grad).all()]
    assert bool(found)
    assert (found.forward is not None) == (not np.isfinite(loss.item()))
    assert (found.backward is not None) == bool(spoilt)
    assert sorted(found.spoilt) == sorted(spoilt)
    grads = [x.grad.copy() for x in leaves_of(loss)]
    again = tg.why_nan(loss)
    assert str(again) == str(found)
    for x, old in zip(reachable(loss).values(), before, strict=True):
        np.testing.assert_array_equal(x.data, old)
    for x, old in zip(leaves_of(loss), grads, strict=True):
        np.testing.assert_array_equal(x.grad, old)


def test_there_are_enough_stories() -> None:
    assert len(STORIES) >= 40
    assert sum(told.forward is None for told in STORIES.values()) >= 12


CURED = {
    "a softmax": lambda: tg.losses.softmax_cross_entropy(wanted([[0.0, 1.0, 800.0], [1.0, 2.0, 3.0]]), LABELS),
    "a log_softmax": lambda: -(ONE_HOT[LABELS] * ops.log_softmax(wanted([[0.0, 1.0, 800.0], [1.0, 2.0, 3.0]]))).sum(),
    "a sigmoid": lambda: tg.losses.sigmoid_binary_cross_entropy(wanted([40.0, -800.0]), np.array([0.0, 1.0])),
    "the sigmoid itself": lambda: ops.sigmoid(wanted([-800.0, 1.0])).sum(),
    "a softplus": lambda: ops.softplus(wanted([800.0, 1.0])).sum(),
    "a logsumexp": lambda: ops.logsumexp(wanted([-900.0, 1000.0])),
    "an eps under the root": lambda: np.sqrt((wanted([0.0, 0.0]) ** 2).sum() + 1e-12),
    "a power with an eps": lambda: ((wanted([1.0, 0.0]) + 1e-12) ** 0.3).sum(),
    "an xlogy": lambda: ops.xlogy(np.array([0.0, 1.0]), wanted([0.0, 1.0])).sum(),
    "picked first": lambda: -np.log(ops.softmax(wanted([[0.0, -800.0]]))[np.arange(1), np.array([0])]).mean(),
}


@pytest.mark.parametrize("name", CURED)
def test_the_cures_that_are_named_do_help(name: str) -> None:
    found = tg.why_nan(CURED[name]())
    assert not found, str(found)


@pytest.mark.parametrize("function", [ops.sqrt, ops.log, lambda x: 1 / x, lambda x: x**0.5])
def test_the_double_where_does_help(function: Any) -> None:
    x = wanted([0.0, 4.0])
    with np.errstate(all="ignore"):
        assert tg.why_nan(ops.where(x.data > 0, function(x), 0.0).sum()).backward is not None
    safe = ops.where(x.data > 0, x, 1.0)
    assert not tg.why_nan(ops.where(x.data > 0, function(safe), 0.0).sum())


# ---- what it says


def test_of_a_finite_graph_it_says_so_in_one_line() -> None:
    x = wanted([3.0], "x")
    found = tg.why_nan((x * x).sum())
    assert str(found) == "All is finite: the loss (9), and the gradient of x."
    assert not found
    assert found.forward is None
    assert found.backward is None


def test_an_infinity_that_does_no_harm_is_mentioned() -> None:
    scores = wanted([[1.0, 2.0]], "scores")
    weights = ops.softmax(ops.where(np.array([[True, False]]), scores, -np.inf))
    found = tg.why_nan((weights * np.array([1.0, 2.0])).sum())
    assert not found
    assert "All is finite" in str(found)
    assert re.search(r"On the way #\d+ = where\(.*\) is -inf at \[0, 1\] \(test_nan.py:\d+\)", flat(found))


def test_a_gradient_that_a_relu_stops_is_no_fault() -> None:
    x = wanted([-1.0, 4.0], "x")
    found = tg.why_nan(ops.sqrt(ops.relu(x)).sum())
    assert not found
    assert re.search(r"On the way the gradient of #\d+ = relu\(x\) is inf at \[0\]", flat(found))


def flat(found: Any) -> str:
    """The text without its line breaks."""
    return " ".join(str(found).split())


def test_the_text_has_the_numbers_and_the_line_of_code() -> None:
    x = wanted([4.0, 0.0], "x")
    found = tg.why_nan(np.where(x.data > 0, np.sqrt(x), 0.0).sum())
    line = inspect.currentframe().f_lineno - 1
    assert repr(found) == str(found)
    assert max(map(len, str(found).splitlines())) <= 88
    text = flat(found)
    assert text.startswith("The loss is finite (2), and the gradient of x is not. The backward pass broke at #")
    assert f"test_nan.py:{line} found = tg.why_nan(np.where(x.data > 0, np.sqrt(x), 0.0).sum())" in text
    assert "sqrt(0) = 0; back to `x` comes 0 / (2 * 0) = nan" in text
    assert found.backward.upstream == 0
    assert found.backward.index == (1,)
    assert found.backward.name == found.backward.tensor.label


def test_html_has_the_same_and_names_are_escaped() -> None:
    x = wanted([0.0], "<script>alert(1)</script>")
    with np.errstate(divide="ignore"):
        found = tg.why_nan(ops.log(x).sum())
    page = found._repr_html_()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "log(0) = -inf" in page
    fromstring(page)  # well formed


def test_what_became_of_an_infinity_is_told() -> None:
    z, y = wanted([40.0, -1.0], "z"), np.array([1.0, 0.0])
    p = z.sigmoid()
    with np.errstate(all="ignore"):
        loss = -(y * ops.log(p) + (1 - y) * ops.log(1 - p)).mean()
    forward = tg.why_nan(loss).forward
    assert re.match(r"-inf became NaN in #\d+: 0 \* \(-inf\) = nan \(test_nan.py", forward.then)


def test_where_no_places_are_noted_the_rest_is_said() -> None:
    x = wanted([0.0], "x")
    with noted(False), np.errstate(divide="ignore"):
        found = tg.why_nan(ops.log(x).sum())
    assert found.forward.line is None
    assert found.forward.code == ""
    assert "log(0) = -inf" in str(found)


def test_the_line_inside_a_model_is_that_of_its_user() -> None:
    class Model(tg.nn.Module):
        def __init__(self) -> None:
            self.dense = tg.nn.Dense(1, 1)

        def forward(self, x: Any) -> Any:
            return ops.log(self.dense(x) * 0.0)  # inside the model

    with np.errstate(divide="ignore"):
        loss = Model()(np.ones((2, 1))).sum()
    assert tg.why_nan(loss).forward.code == "return ops.log(self.dense(x) * 0.0)  # inside the model"


def test_it_may_be_asked_where_nothing_is_recorded() -> None:
    loss = ops.sqrt(wanted([0.0], "x")).sum()
    with tg.no_grad():
        found = tg.why_nan(loss)
    assert "1 / (2 * 0) = inf" in found.backward.numbers


def test_nothing_is_loaded_before_it_is_asked() -> None:
    asked = "tg.why_nan(tg.Tensor([1.0], requires_grad=True) * 2.0)"
    code = "import sys, tinygrad_ce as tg; {}; print('tinygrad_ce.views.nan.findings' in sys.modules)"
    assert printed(code.format("tg.Tensor([1.0], requires_grad=True).sum().backward()")) == ["False"]
    assert printed(code.format(asked)) == ["True"]


# ---- losses of other kinds


def test_a_loss_of_any_shape_is_looked_at() -> None:
    x = wanted([[1.0, 0.0], [2.0, 3.0]], "x")
    with np.errstate(divide="ignore"):
        found = tg.why_nan(ops.log(x))
    assert found.forward.index == (0, 1)
    assert found.backward.op == "log"
    assert not tg.why_nan(x * 2)


def test_an_own_primitive_is_named_with_its_numbers() -> None:
    @tg.primitive
    def root_for_a_test(x):  # type: ignore[no-untyped-def]
        return np.sqrt(x)

    @root_for_a_test.vjp("x")
    def root_for_a_test_x(g, out, x):  # type: ignore[no-untyped-def]
        return g / (2 * out)

    found = tg.why_nan(root_for_a_test(wanted([1.0, 0.0])).sum())
    assert found.backward.op == "root_for_a_test"
    assert "no usual cause is known" in found.backward.cause
    assert "upstream 1 and x = 0" in found.backward.cause
    assert "1 / (2 * 0) = inf" in found.backward.numbers
    with np.errstate(invalid="ignore"):
        found = tg.why_nan(root_for_a_test(wanted([1.0, -4.0])).sum())
    assert found.forward.op == "root_for_a_test"
    assert "x = -4" in found.forward.cause


def test_shares_that_are_too_large_together_are_told() -> None:
    x = wanted([1e-10], "x")
    with np.errstate(over="ignore"):
        found = tg.why_nan((x * 1e308 + x * 1e308).sum())
    assert found.forward is None
    assert found.backward.name == "x"
    assert "their sum is beyond 1.798e+308" in found.backward.cause


def test_a_second_derivative_is_looked_into() -> None:
    x = wanted(np.zeros((3, 2)), "x")
    g = tg.gradients((x * x * x).sum(), x, create_graph=True)
    found = tg.why_nan(((ops.sqrt((g * g).sum(axis=1)) - 1) ** 2).mean())
    assert found.backward.op == "sqrt"
    assert "norm of a vector of zeros" in found.backward.cause


def test_a_parameter_that_a_step_has_spoilt_is_told_as_such() -> None:
    w = wanted([1.0, 2.0], "w")
    loss = ops.sqrt(w - 1).sum()
    with np.errstate(divide="ignore"):
        assert tg.why_nan(loss).backward.op == "sqrt"
        loss.backward()
    w.data -= 0.1 * w.grad
    found = tg.why_nan(loss)
    assert found
    assert "w changed after this loss was computed" in flat(found)
    assert "before optimizer.step()" in flat(found)
    with np.errstate(invalid="ignore"):
        after = tg.why_nan(ops.sqrt(w - 1).sum())
    assert after.forward.kind == "parameter"
    assert "Most often an optimizer wrote that" in after.forward.cause


def test_the_kernels_gradient_is_there_afterwards() -> None:
    z = wanted(np.random.default_rng(0).normal(size=(6, 3)))
    loss = tg.losses.softmax_cross_entropy(z, np.array([0, 1, 2, 0, 1, 2]))
    ready = loss.ready
    assert not tg.why_nan(loss)
    assert loss.ready is ready


def test_where_two_have_spoilt_one_number_the_first_is_named() -> None:
    x = wanted([1000.0], "x")
    with np.errstate(all="ignore"):
        found = tg.why_nan((ops.exp(x) / (x * 0.0)).sum())  # inf / 0
    assert found.forward.op == "exp"

    x = wanted([0.0, 4.0], "x")
    with np.errstate(all="ignore"):
        root = ops.sqrt(x)  # infinite slope, and what comes from upstream is NaN already
        found = tg.why_nan(ops.where(np.array([False, True]), ops.log(root), 0.0).sum())
    assert found.forward is None
    assert found.backward.op == "log"


def test_of_a_product_the_row_and_the_column_are_shown() -> None:
    W = wanted([[50.0, 0.0], [0.0, 1.0]], "W")
    h = wanted([[1.0, 2.0], [1e308, 3.0]], "h")
    with np.errstate(all="ignore"):
        forward = tg.why_nan((h @ W).sum()).forward
    assert forward.index == (1, 0)
    np.testing.assert_array_equal(forward.operands["a"], [1e308, 3.0])
    np.testing.assert_array_equal(forward.operands["b"], [50.0, 0.0])
    assert "a = [1e+308, 3], b = [50, 0]" in forward.numbers


def test_of_a_reduction_what_was_reduced_is_shown() -> None:
    x = wanted([[1.0, 2.0], [1e308, 1e308]], "x")
    for keepdims in (False, True):
        with np.errstate(over="ignore"):
            forward = tg.why_nan(x.sum(axis=1, keepdims=keepdims).mean()).forward
        assert forward.index == ((1, 0) if keepdims else (1,))
        np.testing.assert_array_equal(forward.operands["x"], [1e308, 1e308])


def test_it_names_the_element_among_many() -> None:
    """Of a thousand logarithms of negative numbers, `where` takes one."""
    data = -np.ones((50, 40))
    taken = np.zeros((50, 40), bool)
    taken[31, 17] = True
    x = wanted(data)
    with np.errstate(invalid="ignore"):
        found = tg.why_nan(np.where(taken, np.log(x), 0.0).sum())
    assert found.forward.op == "log"
    assert found.forward.index == (31, 17)


def test_what_cannot_be_found_out_is_said() -> None:
    """A body that answers differently when it is called again."""
    calls = []

    @tg.primitive
    def moody_for_a_test(x):  # type: ignore[no-untyped-def]
        calls.append(x)
        return np.full(x.shape, np.nan if len(calls) == 1 else 0.0)

    @moody_for_a_test.vjp("x")
    def moody_for_a_test_x(g, out, x):  # type: ignore[no-untyped-def]
        return np.zeros_like(g)

    with np.errstate(divide="ignore"):
        found = tg.why_nan(moody_for_a_test(ops.log(wanted([0.0]))).sum())
    assert found
    assert found.forward is None
    assert "it could not be found out why" in flat(found)


def test_a_body_that_refuses_other_numbers_is_not_blamed() -> None:
    @tg.primitive
    def strict_for_a_test(x):  # type: ignore[no-untyped-def]
        if (x == 0.6).any():
            raise ValueError("not this one")
        return x * 2.0

    @strict_for_a_test.vjp("x")
    def strict_for_a_test_x(g, out, x):  # type: ignore[no-untyped-def]
        return g * 2.0

    with np.errstate(divide="ignore"):
        found = tg.why_nan(strict_for_a_test(ops.log(wanted([0.0, 1.0]))).sum())
    assert found.forward.op == "log"
    assert found.backward.op == "log"


# ---- bad input


def test_what_is_no_loss_is_refused() -> None:
    x = wanted([1.0], "x")
    with pytest.raises(TypeError, match=r"tg\.why_nan: a loss is a Tensor .* and this is float"):
        tg.why_nan(1.0)
    with pytest.raises(ValueError, match=r"tg\.why_nan: x has no history: it was made by you\. Compute a loss"):
        tg.why_nan(x)
    with tg.no_grad(), pytest.raises(ValueError, match="outside of no_grad"):
        tg.why_nan(x * 2)

    def step(x: Any) -> Any:
        loss = (x * x).sum()
        tg.why_nan(loss)
        return loss

    with pytest.raises(RuntimeError, match=r"tg\.why_nan: this step is being traced"):
        tg.trace(step, x)


# ---- the sentence of the Trainer


def test_the_first_that_is_not_finite_is_told_with_its_cause() -> None:
    z = wanted([[0.0, -800.0]])
    with np.errstate(divide="ignore"):
        first = nan.first_not_finite(ops.log(ops.softmax(z)).sum())
    assert first is not None
    assert re.fullmatch(
        r"the first is #\d+ = log\(#\d+\): element \[0, 1\] is -inf; its inputs: #\d+ in \[0, 1\]; "
        r"the logarithm of 0 is -inf; a softmax rounds to 0 .*",
        nan.told(first),
    )
    assert nan.first_not_finite((z * z).sum()) is None


def test_a_mask_is_not_told_as_the_first() -> None:
    z = wanted([[1.0, 2.0], [3.0, 4.0]])
    masked = ops.where(np.array([[True, False], [True, True]]), z, -np.inf)
    with np.errstate(all="ignore"):
        first = nan.first_not_finite(ops.log(ops.softmax(masked) - 1.0).sum())
    assert first is not None
    assert first.op is ops.log
    assert nan.first_not_finite(ops.softmax(masked).sum()) is None


def test_the_trainer_names_the_rows_of_the_data() -> None:
    x = np.random.default_rng(0).normal(size=(20, 2))
    x[7, 1] = np.nan
    model = tg.nn.Sequential(tg.nn.Dense(2, 2))
    trainer = tg.Trainer(model, tg.nn.SoftmaxCrossEntropy(), tg.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(tg.NotFiniteError, match=r"1 of 40 numbers is NaN, in row \d+ and column 1"):
        trainer.fit(x, np.arange(20) % 2, epochs=1, batch_size=20, progress=False)


# ---- random graphs

# Finite for finite inputs, and so are their slopes; the last ones also stop what comes back to some elements.
SAFE: list[Callable[[Any, Any], Any]] = [
    lambda a, b: ops.tanh(a),
    lambda a, b: ops.sigmoid(a) * b,
    lambda a, b: ops.sin(a + b),
    lambda a, b: ops.softplus(a) * 0.5,
    lambda a, b: ops.tanh(a @ b),
    lambda a, b: ops.softmax(a, axis=0) - b * 0.1,
    lambda a, b: ops.log_softmax(a) * 0.1,
    lambda a, b: a.T * 0.5 - b.mean(axis=0),
    lambda a, b: ops.sqrt(a * a + 1.0) * 0.5,
    lambda a, b: a / (1.0 + b * b),
    lambda a, b: ops.relu(a) * 0.5 + ops.clip(b, low=-1.0, high=1.0),
    lambda a, b: np.where(a > b, a, b * 0.5),
]
OPEN = SAFE[:-2]
# Not finite where `hole` is 0, and 0 elsewhere: forward, or only on the way back.
FORWARD: dict[str, Callable[[Any], Any]] = {
    "log": lambda hole: ops.log(hole),
    "div": lambda hole: 1.0 / hole - 1.0,
    "constant_power": lambda hole: hole**-2 - 1.0,
    "exp": lambda hole: ops.exp(1000.0 - 1000.0 * hole),
    "sqrt": lambda hole: ops.sqrt(hole - 0.5),
    "log1p": lambda hole: ops.log1p(hole * 1.5 - 1.0),
}
BACKWARD: dict[str, Callable[[Any], Any]] = {
    "sqrt": lambda hole: ops.sqrt(hole),
    "constant_power": lambda hole: hole**0.25,
    "general_power": lambda hole: ops.power(hole, np.array(0.5)),
}
# These hand on whatever is not finite, forward and backward.
LINEAR: list[Callable[[Any, Any], Any]] = [
    lambda a, b: a * 0.5,
    lambda a, b: a + b,
    lambda a, b: b - a,
    lambda a, b: -a,
    lambda a, b: a.T.T * 2.0,
    lambda a, b: ops.expand_dims(a, axis=0)[0] / 3.0,
]


def leaves(draw: Any, n: int = 3) -> list[Tensor]:
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    return [wanted(generator.uniform(-2, 2, (3, 3)), f"leaf{i}") for i in range(n)]


def grown(draw: Any, known: list[Any], functions: list[Any], most: int) -> Any:
    """A chain of random functions, each of the last result and of an older one."""
    for function in draw(st.lists(st.sampled_from(functions), min_size=0, max_size=most)):
        known.append(function(known[-1], draw(st.sampled_from(known))))
    return known[-1]


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_random_finite_graphs_are_called_finite(data: Any) -> None:
    known: list[Any] = leaves(data.draw)
    loss = (grown(data.draw, known, SAFE, 8) * 1.0).sum()
    found = tg.why_nan(loss)
    assert not found, str(found)
    assert str(found).startswith("All is finite")
    assert "\n" not in str(found).replace(",\n", ", ")


def with_a_fault(data: Any, kinds: dict[str, Any]) -> tuple[str, tuple[int, ...], Tensor]:
    """Which operation was planted, at which element its fault is, and the loss."""
    known: list[Any] = leaves(data.draw)
    before = grown(data.draw, known, OPEN, 4)
    at = data.draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    hole = np.ones((3, 3))
    hole[at] = 0.0
    op = data.draw(st.sampled_from(sorted(kinds)))
    with np.errstate(all="ignore"):
        if data.draw(st.booleans()):  # a decoy: older, NaN everywhere, and in a branch that is not taken
            decoy = ops.log(before * 0.0 - 1.0)
            decoy = decoy if kinds is FORWARD else decoy.detach()
            known.append(ops.where(np.zeros((3, 3), bool), decoy, before))
        known.append(kinds[op](before * 0.0 + hole) + before * 0.5)
        loss = grown(data.draw, known, LINEAR, 5).sum()
    return op, at, loss


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_a_planted_fault_is_found_in_the_forward_pass(data: Any) -> None:
    op, at, loss = with_a_fault(data, FORWARD)
    found = tg.why_nan(loss).forward
    assert found is not None
    assert (found.op, found.index) == (op, at)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_a_planted_fault_is_found_in_the_backward_pass(data: Any) -> None:
    op, at, loss = with_a_fault(data, BACKWARD)
    found = tg.why_nan(loss)
    assert found.forward is None
    assert found.backward is not None
    assert (found.backward.op, found.backward.index) == (op, at)
