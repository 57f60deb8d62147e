"""`tg.why_nan`: what it says, losses of other kinds, bad input, the Trainer, and random graphs with one fault."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import fromstring

import numpy as np
import pytest
from fresh import printed
from fused import ready_gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from views.nan.leaves import wanted
from views.nan.story import built

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.core import Tensor
from tinygrad_ce.source_lines import tracking

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
    assert re.search(r"On the way #\d+ = where\(.*\) is -inf at \[0, 1\] \(test_diagnosis.py:\d+\)", flat(found))


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
    assert max(map(len, str(found).splitlines())) <= 100
    text = flat(found)
    assert text.startswith("The loss is finite (2). The gradient of x is not finite. It began at #")
    assert f"test_diagnosis.py:{line} found = tg.why_nan(np.where(x.data > 0, np.sqrt(x), 0.0).sum())" in text
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
    assert re.match(r"-inf became NaN in #\d+: 0 \* \(-inf\) = nan \(test_diagnosis.py", forward.then)


def cross_entropy_of_certain_answers() -> Tensor:
    p, y = wanted([1.0, 0.5, 1.0], "p"), np.array([1.0, 0.0, 0.0])
    return -(y * ops.log(p) + (1 - y) * ops.log(1 - p)).mean()


def data_with_nan_and_infinity() -> Tensor:
    return (wanted([1.0, 2.0, 3.0]) - np.array([np.nan, np.inf, 0.0])).sum()


def a_mask_times_infinity() -> Tensor:
    return ops.softmax(wanted([1.0, 2.0, 3.0]) - np.array([0.0, 1.0, 0.0]) * np.inf, axis=0).sum()


def logarithms_of_zero_and_of_a_negative_number() -> Tensor:
    return ops.log(wanted([0.0, -1.0])).sum()


def an_older_infinity() -> Tensor:
    return ops.exp(wanted([1000.0])).sum() + ops.log(wanted([0.5, -1.0])).sum()


@pytest.mark.parametrize(
    ("build", "what", "index", "then"),
    [
        (cross_entropy_of_certain_answers, "log", (0,), "-inf became NaN in #N: 0 * (-inf) = nan"),
        (data_with_nan_and_infinity, "data", (0,), ""),
        (a_mask_times_infinity, "data", (0,), ""),
        (logarithms_of_zero_and_of_a_negative_number, "log", (1,), ""),
        (an_older_infinity, "log", (1,), ""),
    ],
)
def test_who_made_nan_is_named_before_an_infinity_that_met_it(
    build: Callable[[], Tensor], what: str, index: tuple[int, ...], then: str
) -> None:
    forward = tg.why_nan(built(build)).forward
    assert (forward.op or forward.kind, forward.index) == (what, index)
    assert re.sub(r"#\d+", "#N", forward.then).partition(" (test_")[0] == then


def test_an_infinity_that_became_nan_and_met_it_is_said_to_have_become_it() -> None:
    def loss() -> Tensor:
        infinite = ops.log(wanted([0.0]))
        return (infinite + infinite * 0).sum()

    forward = tg.why_nan(built(loss)).forward
    assert re.match(r"-inf became NaN in #\d+: -inf \* 0 = nan", forward.then)


def test_an_infinity_that_met_nan_is_not_said_to_have_become_it() -> None:
    p, y = wanted([0.0, 0.0], "p"), np.array([1.0, 0.0])
    forward = tg.why_nan(built(lambda: (y * ops.log(p)).sum())).forward  # -inf + 0 * (-inf)
    assert forward.index == (0,)
    assert re.match(r"-inf met NaN in #\d+: reduce_sum of x = \[-inf, nan\] = nan", forward.then)


@pytest.mark.parametrize("row", range(4))
@pytest.mark.parametrize("mask", ["where", "rows"])
def test_of_the_rows_that_a_rule_sums_the_one_with_the_hole_is_told(row: int, mask: str) -> None:
    data = np.arange(12.0).reshape(4, 3)
    data[row, 1] = np.nan
    known, W = np.isfinite(data).all(axis=1), wanted(np.full((3, 2), 0.1), "W")
    out = ops.matmul(Tensor(data, name="X"), W)
    kept = np.where(known[:, None], out, 0.0) if mask == "where" else out[known]
    backward = tg.why_nan(kept.sum()).backward
    assert backward.index == (row, 1)
    assert backward.then.startswith("the loss is finite all the same: ")  # what left the row out
    assert "gives 0 times what is not finite, which is nan" in backward.then  # nothing comes back to that row


def test_where_no_places_are_noted_the_rest_is_said() -> None:
    x = wanted([0.0], "x")
    with tracking(False), np.errstate(divide="ignore"):
        found = tg.why_nan(ops.log(x).sum())
    assert found.forward.line is None
    assert "log(0) = -inf" in str(found)


def test_the_line_inside_a_model_is_that_of_its_user() -> None:
    class Model(tg.nn.Module):
        def __init__(self) -> None:
            self.dense = tg.nn.Dense(1, 1)

        def forward(self, x: Any) -> Any:
            return ops.log(self.dense(x) * 0.0)  # inside the model

    with np.errstate(divide="ignore"):
        loss = Model()(np.ones((2, 1))).sum()
    assert tg.why_nan(loss).forward.line.text == "return ops.log(self.dense(x) * 0.0)  # inside the model"


def test_it_may_be_asked_where_nothing_is_recorded() -> None:
    loss = ops.sqrt(wanted([0.0], "x")).sum()
    with tg.no_grad():
        found = tg.why_nan(loss)
    assert "1 / (2 * 0) = inf" in found.backward.numbers


def test_nothing_is_loaded_before_it_is_asked() -> None:
    asked = "tg.why_nan(tg.Tensor([1.0], requires_grad=True) * 2.0)"
    code = "import sys, tinygrad_ce as tg; {}; print('tinygrad_ce.views.nan.diagnosis' in sys.modules)"
    assert printed(code.format("tg.Tensor([1.0], requires_grad=True).sum().backward()")) == ["False"]
    assert printed(code.format(asked)) == ["True"]


def test_of_a_product_the_row_that_makes_nan_is_told_not_its_neighbour() -> None:
    """The gradient of W is h.T @ g, and h[2] = inf meets g[2] = 0 behind the tanh: the other rows of g are ordinary."""
    z, W = wanted([[0.1], [0.2], [800.0]], "z"), wanted([[0.5]], "W")
    with np.errstate(all="ignore"):
        loss = ops.tanh(ops.exp(z) @ W).sum()
        backward = tg.why_nan(loss).backward
    assert (backward.op, backward.index) == ("exp", (2, 0))
    assert re.search(
        r"finite all the same: the slope of tanh at \S+ is 0 there\. But in the backward pass", backward.then
    )
    assert "0 times what is not finite, which is nan" in backward.then or "0 * " in backward.then


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
    assert "the slope of sqrt at 0 is infinite" in found.backward.cause
    assert found.backward.chain[1].text.endswith("= 0, of x = [0, 0]")


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
    ready = ready_gradient(loss)
    assert not tg.why_nan(loss)
    assert ready_gradient(loss) is ready


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
    assert "and why is not known" in flat(found)


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


def test_an_infinite_parameter_at_the_end_of_a_chain_is_shown() -> None:
    w = wanted([np.inf], "w")
    with np.errstate(divide="ignore"):
        forward = tg.why_nan(ops.log(1.0 / w).sum()).forward
    assert forward.op == "log"
    assert forward.chain[-1].text == "w = inf"


# ---- bad input


def test_what_is_no_loss_is_refused() -> None:
    x = wanted([1.0], "x")
    with pytest.raises(TypeError, match=r"tg\.why_nan: a loss is a Tensor .* and this is float"):
        tg.why_nan(1.0)
    with pytest.raises(TypeError, match=r"an array has no history, and a compiled step .*: call the step itself"):
        tg.why_nan(tg.compile(lambda x: (x * x).sum())(x))
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
        began = tg.why_nan(ops.log(ops.softmax(z)).sum()).forward.sentence
    assert re.fullmatch(
        r"the first is #\d+ = log\(#\d+\), element \[0, 1\]: log\(0\) = -inf; "
        r"log needs x > 0, and here x = 0; softmax rounds to 0",
        began,
    )
    assert tg.why_nan((z * z).sum()).forward is None


def test_a_mask_is_not_told_as_the_first() -> None:
    z = wanted([[1.0, 2.0], [3.0, 4.0]])
    masked = ops.where(np.array([[True, False], [True, True]]), z, -np.inf)
    with np.errstate(all="ignore"):
        began = tg.why_nan(ops.log(ops.softmax(masked) - 1.0).sum()).forward.sentence
    assert re.match(r"the first is #\d+ = log\(", began)
    assert tg.why_nan(ops.softmax(masked).sum()).forward is None


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


@pytest.mark.parametrize("number", [float("nan"), float("inf"), np.float32("nan")])
def test_a_number_of_python_that_came_in_is_found(number):
    x = tg.Tensor([1.0, 2.0], requires_grad=True, name="x")
    with np.errstate(all="ignore"):
        found = tg.why_nan((x * 2).sum() * number - number).forward
    assert "number is" in found.cause
    assert found.tensor is None
