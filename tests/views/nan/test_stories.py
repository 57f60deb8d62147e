"""`tg.why_nan`: the stories that people tell about NaN, each with the operation, line and cause that must be named."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from views.nan import reported_stories  # noqa: F401 (they stand in the same table)
from views.nan.leaves import wanted
from views.nan.story import STORIES, built, leaves_of, story

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.ancestry import reachable
from tinygrad_ce.core import Tensor

ONE_HOT = np.eye(3)
LABELS = np.array([0, 2])


@story(
    "log",
    "log",
    "log needs x > 0, and here x = 0",
    "softmax rounds to 0",
    cure="softmax_cross_entropy",
    operands={"x": 0},
)
def log_of_a_softmax_that_is_rounded_to_0() -> Tensor:
    p = ops.softmax(wanted([[0.0, 1.0, 800.0], [1.0, 2.0, 3.0]]))
    return -(np.log(p)[np.arange(2), LABELS]).mean()  # here


@story("log", "log", "log needs x > 0", "exp rounds to 0", " = -800", cure="softmax_cross_entropy", index=(0, 0))
def log_of_a_softmax_by_hand_with_the_maximum_subtracted() -> Tensor:
    z = wanted([[0.0, 1.0, 800.0], [1.0, 2.0, 3.0]])
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    log_p = np.log(p)  # here
    return -(ONE_HOT[LABELS] * log_p).sum(axis=1).mean()


@story(
    "exp",
    "exp",
    "exp(x) is too large for float64 above 709.78, and here x = 800",
    cure="maximum first",
    operands={"x": 800},
)
def a_softmax_by_hand_without_the_maximum() -> Tensor:
    z = wanted([[1.0, 2.0, 3.0], [0.0, 1.0, 800.0]])
    e = np.exp(z)  # here
    p = e / e.sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(2), LABELS]).mean()


@story("exp", "exp", "88.72", "float32", cure="logsumexp", index=(1,))
def a_logsumexp_by_hand_in_float32() -> Tensor:
    z = wanted([1.0, 100.0], dtype=np.float32)
    return np.log(np.exp(z).sum())  # here


@story("log", "log", "exp rounds to 0", "of x = [0, 0]", " = -900", cure="logsumexp")
def a_logsumexp_by_hand_of_very_negative_numbers() -> Tensor:
    z = wanted([-900.0, -1000.0])
    total = np.exp(z).sum()
    return np.log(total)  # here


@story(
    "div", "div", "div needs b != 0", "= sqrt(", "of x = [0, 0]", cure="1e-12", index=(1, 0), operands={"a": 0, "b": 0}
)
def the_direction_of_a_zero_vector() -> Tensor:
    v = wanted([[3.0, 4.0], [0.0, 0.0]])
    length = np.sqrt((v * v).sum(axis=1, keepdims=True))
    return ((v / length) * np.array([1.0, 2.0])).sum()  # here


@story("div", "div", "div needs b != 0", "= sqrt(", "** 2 = 0", cure="eps")
def the_cosine_of_a_zero_vector() -> Tensor:
    a, b = wanted([0.0, 0.0]), wanted([1.0, 2.0])
    lengths = np.sqrt((a**2).sum()) * np.sqrt((b**2).sum())
    return 1 - (a * b).sum() / lengths  # here


@story("div", "div", "div needs b != 0", "variance(", " = 0, of x = [1]", cure="BatchNorm")
def batch_norm_of_one_row_without_eps() -> Tensor:
    x = wanted([[1.0, 2.0]])
    normalised = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0))  # here
    return normalised.sum()


@story("div", "div", "div needs b != 0", "here b = 0", cure="tg.ops.maximum(count, 1)", operands={"a": 0, "b": 0})
def the_mean_over_an_empty_mask() -> Tensor:
    losses, mask = wanted([1.0, 2.0]), np.array([0.0, 0.0])
    return (losses * mask).sum() / mask.sum()  # here


@story("reduce_mean", None, "reduce_mean needs x.size > 0", "x = []", cure="mask")
def the_mean_of_an_empty_selection() -> Tensor:
    losses = wanted([1.0, 2.0])
    return losses[losses.data > 5].mean()  # here


@story("variance", "variance", "variance needs x.size > ddof", "x = [3], ddof = 1", cure="ddof=0")
def the_unbiased_variance_of_one_number() -> Tensor:
    return wanted([3.0]).var(ddof=1)  # here


@story("std", "std", "std needs x.size > ddof", "x = [3], ddof = 1", cure="ddof=0")
def the_unbiased_deviation_of_one_number() -> Tensor:
    return np.std(wanted([3.0]), ddof=1)  # here


@story("std", None, "std of x = [1e+200, -1e+200] is beyond", "up to 1e+200", cure="learning rate")
def the_deviation_of_numbers_too_large_to_square() -> Tensor:
    return np.std(wanted([1e200, -1e200]))  # here


@story("div", "div", "div needs b != 0", "std(", "of x = [2, 2, 2]", cure="eps")
def standardising_a_constant_column_with_std() -> Tensor:
    x = wanted([2.0, 2.0, 2.0])
    z = (x - x.mean()) / np.std(x)  # here
    return z.sum()


@story(
    None,
    "sqrt",
    "slope of sqrt at 0 is infinite",
    "reduce_sum(",
    "of x = [0, 0]",
    cure="under the root",
    index=(1,),
    operands={"x": 0},
)
def the_norm_of_a_zero_vector() -> Tensor:
    v = wanted([[3.0, 4.0], [0.0, 0.0]])
    squares = (v * v).sum(axis=1)
    return np.sqrt(squares).sum()  # here


@story(
    None,
    "constant_power",
    "slope of constant_power at 0 is infinite",
    "reduce_sum(",
    "of x = [0, 0]",
    cure="eps",
    operands={"x": 0},
)
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


@story(None, "log", "log needs x > 0", cure="second `where`")
def where_does_not_protect_an_entropy() -> Tensor:
    p = wanted([0.0, 1.0])
    terms = p * np.log(p)  # here
    return -np.where(p > 0, terms, 0.0).sum()


@story(None, "div", "div needs b != 0", "`where`", "0 * inf", cure="second `where`", operands={"a": 2, "b": 0})
def where_does_not_protect_a_division() -> Tensor:
    a, b = wanted([1.0, 2.0]), wanted([4.0, 0.0])
    ratio = a / b  # here
    return np.where(b.data != 0, ratio, 0.0).sum()


@story(None, "exp", "exp(x) is too large", cure="second `where`")
def where_does_not_protect_an_exp() -> Tensor:
    x = wanted([-1.0, 800.0])
    grown = np.exp(x) - 1  # here
    return np.where(x > 0, x, grown).sum()


@story(None, "sqrt", "infinite", "multiplied by 0", cure="second `where`")
def a_mask_that_multiplies_does_not_protect_a_root() -> Tensor:
    d = wanted([4.0, 0.0])
    distance = np.sqrt(d)  # here
    return (distance * np.array([1.0, 0.0])).sum()


@story(None, "log", "infinite", "not among the elements that were taken", cure="pick first")
def the_classes_that_are_not_picked() -> Tensor:
    p = ops.softmax(wanted([[0.0, -800.0]]))
    log_p = np.log(p)  # here
    return -log_p[np.arange(1), np.array([0])].mean()


@story("log", "log", "= 1 - #", "sigmoid rounds to 1", " = 40", cure="sigmoid_binary_cross_entropy", index=(0,))
def binary_cross_entropy_by_hand_of_a_sure_model() -> Tensor:
    z, y = wanted([40.0, -1.0]), np.array([1.0, 0.0])
    p = z.sigmoid()
    wrong = np.log(1 - p)  # here
    return -(y * np.log(p) + (1 - y) * wrong).mean()


@story("log1p", "log1p", "log1p needs x > -1", "sigmoid rounds to 1", cure="sigmoid_binary_cross_entropy")
def log1p_of_minus_a_probability_of_1() -> Tensor:
    p = wanted([40.0]).sigmoid()
    return -ops.log1p(-p).sum()  # here


@story("log", None, "log needs x > 0, and here x = -1.5", cure="why it is negative", operands={"x": -1.5})
def the_logarithm_of_a_negative_number() -> Tensor:
    return np.log(wanted([2.0, -1.5])).sum()  # here


@story("sqrt", "sqrt", "sqrt needs x >= 0, and here x = -", cure="t.var()")
def a_variance_as_a_difference_of_means() -> Tensor:
    x = wanted([1e8 + 1.3, 1e8 + 1.3, 1e8 + 1.3])
    variance = (x * x).mean() - x.mean() ** 2 - 1e-3
    return np.sqrt(variance)  # here


@story("constant_power", "constant_power", "here x = -2, exponent = 0.5", cure="absolute", operands={"x": -2})
def a_fractional_power_of_a_negative_number() -> Tensor:
    return (wanted([1.0, -2.0]) ** 0.5).sum()  # here


@story(None, "constant_power", "at 0 is infinite", cure="eps", index=(1,))
def a_power_below_one_at_zero() -> Tensor:
    return (wanted([1.0, 0.0]) ** 0.3).sum()  # here


@story("constant_power", "constant_power", "here x = 0, exponent = -1", cure="eps")
def a_negative_power_of_zero() -> Tensor:
    return (wanted([1.0, 0.0]) ** -1).sum()  # here


@story(
    None, "general_power", "slope of general_power at (-2, 2) is not defined", "needs base >= 0", cure="positive base"
)
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


@story("exp", "exp", "exp(x) is too large", cure="clip")
def infinity_minus_infinity() -> Tensor:
    x = wanted([800.0])
    big = np.exp(x)  # here
    return (big - big).sum()


@story("exp", "exp", "exp(x) is too large", cure="clip")
def zero_times_infinity() -> Tensor:
    x, gate = wanted([800.0]), wanted([-1.0]).relu()
    big = np.exp(x)  # here
    return (gate * big).sum()


@story("exp", "exp", "exp(x) is too large", cure="softplus")
def a_softplus_by_hand() -> Tensor:
    z = wanted([800.0, 1.0])
    return np.log(1 + np.exp(z)).sum()  # here


@story(None, "exp", "exp(x) is too large", cure="tg.ops.sigmoid")
def a_sigmoid_by_hand() -> Tensor:
    z = wanted([-800.0, 1.0])
    return (1 / (1 + np.exp(-z))).sum()  # here


@story("div", "div", "div needs b != 0", "= 1 - ", cure="eps")
def arctanh_by_hand_at_one() -> Tensor:
    x = wanted([0.5, 1.0])
    return (0.5 * np.log((1 + x) / (1 - x))).sum()  # here


@story(
    "xlogy",
    "xlogy",
    "xlogy needs y > 0 or x == 0, and here y = 0, x = 1",
    cure="softmax_cross_entropy",
    index=(1, 2),
    operands={"x": 1, "y": 0},
)
def cross_entropy_of_a_probability_of_0() -> Tensor:
    p = wanted([[0.5, 0.25, 0.25], [0.5, 0.5, 0.0]])
    return tg.losses.cross_entropy(p, LABELS)  # here


@story("log", "log", "softmax rounds to 0", "of x = [1, -inf]", cure="masked")
def the_logarithm_of_the_softmax_of_a_masked_class() -> Tensor:
    z, allowed = wanted([[1.0, 2.0]]), np.array([[True, False]])
    p = ops.softmax(np.where(allowed, z, -np.inf))
    return np.log(p).sum()  # here


@story("exp", "exp", "exp(x) is too large", "became finite on the way", "log(0) = -inf", cure="maximum first")
def an_infinity_that_becomes_0_on_the_way() -> Tensor:
    z = wanted([[710.0, 700.0]])
    e = np.exp(z)  # here
    p = e / e.sum(axis=1, keepdims=True)
    return -np.log(p[:, 1]).sum()


@story(
    "softmax",
    None,
    "softmax needs max(x) > -inf, and here x = [-inf, -inf]",
    "was put in at",
    cure="-1e9",
    index=(1, 0),
)
def attention_with_a_row_that_is_masked_as_a_whole() -> Tensor:
    scores = wanted([[1.0, 2.0], [3.0, 4.0]])
    allowed = np.array([[True, False], [False, False]])
    masked = np.where(allowed, scores, -np.inf)
    weights = ops.softmax(masked)  # here
    return (weights * np.array([1.0, 2.0])).sum()


@story("xent", None, "xent needs z[rows, y] > -inf, and here in row 0", cure="look at the labels")
def a_loss_whose_true_class_is_masked() -> Tensor:
    z, allowed = wanted([[1.0, 2.0], [3.0, 4.0]]), np.array([[True, False], [True, True]])
    masked = np.where(allowed, z, -np.inf)
    return tg.losses.softmax_cross_entropy(masked, np.array([1, 0]))  # here


@story("xent", None, "needs smoothing == 0 or min(z) > -inf", "smoothing = 0.1", cure="label_smoothing=0")
def label_smoothing_with_a_class_that_is_masked() -> Tensor:
    z, allowed = wanted([[1.0, 2.0, 3.0]]), np.array([[True, True, False]])
    masked = np.where(allowed, z, -np.inf)
    return tg.losses.softmax_cross_entropy(masked, np.array([0]), label_smoothing=0.1)  # here


@story("xent", None, "xent needs max(z, axis=-1) > -inf, and here in row 1", cure="-1e9")
def a_loss_of_a_row_that_is_masked_as_a_whole() -> Tensor:
    z, allowed = wanted([[1.0, 2.0], [3.0, 4.0]]), np.array([[True, False], [False, False]])
    masked = np.where(allowed, z, -np.inf)
    return tg.losses.softmax_cross_entropy(masked, np.array([0, 0]))  # here


@story("mul", None, "there is no number for 0 * (-inf)", cure="xlogy")
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


@story("parameter", "parameter", "learning rate that blew up", "W2 (2 of 2 numbers)", cure="smaller learning rate")
def parameters_after_a_learning_rate_that_was_too_large() -> Tensor:
    W1, W2 = wanted(np.full((2, 2), np.nan), "W1"), wanted(np.full((2, 1), np.nan), "W2")
    h = np.tanh(np.ones((3, 2)) @ W1)  # here
    return ((h @ W2) ** 2).mean()


@story("affine", None, "beyond 1.798e+308", "Huge already", "learning rate that blew up", cure="smaller learning rate")
def a_network_just_before_its_parameters_are_infinite() -> Tensor:
    W1, W2, b = wanted([[1e200]], "W1"), wanted([[1e200]], "W2"), wanted([0.0], "b")
    h = ops.affine(np.ones((1, 1)), W1, b)
    return ops.affine(h, W2, b).sum()  # here


def one_of(words: str, text: str) -> bool:
    return any(word in text for word in words.split("|"))


@pytest.mark.parametrize("name", STORIES)
def test_a_story_is_told_as_it_was(name: str) -> None:
    told = STORIES[name]
    found = tg.why_nan(built(told.build))
    for finding, op in ((found.forward, told.forward), (found.backward, told.backward)):
        assert (None if finding is None else finding.op or finding.kind) == op
    first = found.forward or found.backward
    assert first.line == (told.build.__code__.co_filename, told.line)
    said = " ".join([first.cause, first.then, *(link.text for link in first.chain), *str(found).split()])
    for words in told.cause:
        assert one_of(words, said), words
    assert one_of(told.cure, first.cure)
    if told.index is not None:
        assert first.index == told.index
    if told.operands is not None:
        assert first.operands == told.operands
    assert not np.isfinite(first.value)
    for shown in (str(found), found._repr_html_()):
        assert f"{Path(told.build.__code__.co_filename).name}:{told.line}" in shown


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


def test_there_are_enough_stories_of_many_kinds() -> None:
    reports = [told for told in STORIES.values() if "https://" in (told.build.__doc__ or "")]
    for stories, least in ((reports, 36), ([told for told in STORIES.values() if told not in reports], 40)):
        assert len(stories) >= least
        assert sum(told.forward is None for told in stories) >= 12
    assert sum("float32" in told.build.__name__ for told in reports) >= 4


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
