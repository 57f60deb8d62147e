"""What a traced step may not do: each refusal names the way out."""

import math
import random

import numpy as np
import pytest
from program.traced_steps import (
    BATCHES,
    X,
    Y,
    a_line,
    as_compiled,
    as_printed,
    as_traced,
    assert_equals_eager,
    learning,
    living,
    parameter,
    plain,
    w,
    world,
)

import tinygrad_ce as tg
from tinygrad_ce.optim import SGD, Adam, clip_grad_norm

# ---- numbers taken out of tensors are refused, with the way out

count_calls = iter(range(1000)).__next__


def branches(x):
    loss = (x * w).sum()
    if loss > 1:
        loss = loss * 2
    return loss


def loops(x):
    loss = (x * w).sum()
    while loss < 100:
        loss = loss * 2
    return loss


def asserts(x):
    loss = (x * w).sum()
    assert loss < 1e9
    return loss


CHOOSE, TENSORS = r"where\(condition, a, b\)", "compute with tensors all the way"
RETURN = "return the tensor itself"

REFUSED = {
    "if loss > 1": (branches, CHOOSE),
    "while": (loops, CHOOSE),
    "assert": (asserts, CHOOSE),
    "bool(t)": (lambda x: x * bool(x.sum() > 0), CHOOSE),
    "float(t)": (lambda x: x * float(x.sum()), CHOOSE),
    "int(t)": (lambda x: x * int(x.sum()), CHOOSE),
    "t.item()": (lambda x: x * x.sum().item(), CHOOSE),
    "the item of a parameter": (lambda x: x * w.sum().item(), CHOOSE),
    "math.exp(t)": (lambda x: x * math.exp(x.sum()), CHOOSE),
    "max(t, 1)": (lambda x: max(x.sum(), 1.0), CHOOSE),
    "0 < t < 1": (lambda x: 0 < x.sum() < 1, CHOOSE),
    "a format": (lambda x: (x.sum(), f"{x.sum():.2f}")[0], CHOOSE),
    "np.asarray(t)": (lambda x: x * np.asarray(x).max(), CHOOSE),
    "np.array of a parameter's result": (lambda x: np.asarray((x * w).detach()).sum(), CHOOSE),
    "a branch on .data": (lambda x: x * 2 if x.data.std() > 0.1 and x.data[:, 0].std() > 0 else x * 3, CHOOSE),
    "a branch on .data with more in it": (lambda x: (x * 2).sum() if x.data[:, 0].std() else x.sum(), CHOOSE),
    "a number taken from .data": (lambda x: x * float(x.data.sum()), TENSORS),
    "a number from .data as an option": (lambda x: x.sum(axis=int(x.data[:, 0].std() > 0)), TENSORS),
    "a random number": (lambda x: x * random.random(), TENSORS),
    "a number that counts the calls": (lambda x: x * count_calls(), TENSORS),
    "a NumPy number from .data": (lambda x: x * x.data.sum(), "a number taken out of .data"),
    "an array computed with NumPy on .data": (lambda x: x * np.tanh(x.data), "not on .data"),
    "a part of .data": (lambda x: x * x.data[0], "not on .data"),
    "what both traces have alike of .data": (lambda x: x * (2 * x.data[-1]), "not on .data"),
    "the signs of .grad": (lambda x: ((x * w).sum().backward(), x * np.sign(w.grad))[1], "not on .data"),
    "other random numbers each time": (lambda x: x + np.random.default_rng().normal(size=3), "not on .data"),
    "an array that counts the calls": (lambda x: x * np.arange(count_calls(), 1000)[:3], "test_trace_refusals.py:"),
    "returning a float": (lambda x: 2.0, RETURN),
    "returning an array": (lambda x: (x * w).data, RETURN),
    "returning a gradient": (lambda x: ((x * w).sum().backward(), w.grad)[1], RETURN),
    "returning a dictionary": (lambda x: {"loss": x.sum()}, RETURN),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_program_cannot_hold_is_refused_with_the_way_out(name):
    step, way_out = REFUSED[name]
    before = w.data.copy()
    for attempt in (lambda: tg.trace(step, X), lambda: tg.compile(step)(X)):
        with pytest.raises(tg.TraceError, match=way_out):
            attempt()
    np.testing.assert_array_equal(w.data, before)
    assert w.grad is None


def test_after_a_refusal_everything_is_as_usual():
    with pytest.raises(tg.TraceError):
        tg.trace(branches, X)
    assert float(branches(tg.Tensor(X)).detach()) == branches(tg.Tensor(X)).data
    assert bool(tg.Tensor(2.0) > 1)


def test_an_array_of_a_tensor_with_a_gradient_is_refused_as_always():
    for step in (lambda x: np.asarray(x * w).sum(), lambda x: x * np.asarray(w)):
        with pytest.raises(TypeError, match="would lose its gradient"):
            tg.trace(step, X)


def test_an_error_of_the_step_itself_is_raised_and_nothing_is_changed():
    things = a_line(Adam)

    def fails(x):
        things.step(x)
        raise KeyError("mine")

    before = living(things)
    with pytest.raises(KeyError, match="mine"):
        tg.trace(fails, X)
    for x, y in zip(living(things), before, strict=True):
        np.testing.assert_array_equal(x, y)
    assert things.parameters[0].grad is None
    assert (tg.Tensor(1.0) + 1).item() == 2


def test_labels_that_are_all_alike_are_not_frozen_as_the_targets_that_numpy_has_made_of_them():
    """The second trace has the same labels, so only what the step mentions tells."""
    labels = np.zeros(4, int)
    with pytest.raises(tg.TraceError, match=r"test_trace_refusals.py:\d+: an array of shape .* not on .data"):
        tg.trace(lambda x, y: tg.losses.mse(x * w, np.eye(3)[y.data]), X, labels)


BAKED = {
    "the first row": lambda x: x * float(x.data[0, 0]),
    "a parameter": lambda x: x * w / float(w.data.max()),
}


@pytest.mark.parametrize("name", BAKED)
def test_a_number_taken_from_data_that_both_traces_share_is_refused(name):
    with pytest.raises(tg.TraceError):
        tg.trace(BAKED[name], X)


@pytest.mark.parametrize("x", [np.array(2.0), X[:1]], ids=["no axes", "one row"])
def test_a_number_taken_from_a_single_row_is_refused(x):
    with pytest.raises(tg.TraceError):
        tg.trace(lambda x: x * float(x.data.sum()), x)


def test_a_branch_on_data_that_chooses_what_is_returned_is_refused():
    def step(x):
        double, triple = x * 2, x * 3
        return double if x.data[:, 0].std() > 0 else triple

    with pytest.raises(tg.TraceError):
        tg.trace(step, X)


@pytest.mark.parametrize("gradient", [lambda x: float(x.data.mean()), lambda x: np.array(x.data.sum())])
def test_a_number_from_data_as_the_gradient_of_backward_is_refused(gradient):
    optimizer = SGD([parameter()])

    def step(x):
        loss = (x * optimizer.parameters[0]).sum()
        optimizer.zero_grad()
        loss.backward(gradient(x))
        optimizer.step()
        return loss

    with pytest.raises(tg.TraceError):
        tg.trace(step, X)


def test_an_argument_as_the_gradient_of_backward_is_followed():
    def make():
        p = parameter()
        optimizer = SGD([p])

        def step(x, scale):
            loss = (x * p).sum()
            optimizer.zero_grad()
            loss.backward(scale)
            optimizer.step()
            return loss

        return world(step, [p], optimizer)

    assert_equals_eager(make, [(X, np.array(s)) for s in (2.0, 0.0, -1.0)])


def test_class_weights_computed_from_the_data_are_refused():
    def step(x, y):
        return tg.losses.softmax_cross_entropy(x * w, y, weight=1.0 + np.bincount(y.data, minlength=3))

    with pytest.raises(tg.TraceError):
        tg.trace(step, X, Y)


def test_class_weights_from_outside_belong_to_the_loss():
    p = parameter()
    for weight in ([1.0, 2.0, 3.0], np.array([0.0, 1.0, 1.0])):
        program = tg.trace(lambda x, y, c=weight: tg.losses.softmax_cross_entropy(x * p, y, weight=c), X, Y)
        expected = tg.losses.softmax_cross_entropy(tg.Tensor(X) * p, Y[::-1], weight=weight)
        np.testing.assert_allclose(program.run(X, Y[::-1]), expected.data, rtol=1e-12)


def test_a_first_row_that_the_loss_ignores_is_no_obstacle():
    """The second trace has that row everywhere."""
    program = tg.trace(lambda x, y: tg.losses.softmax_cross_entropy(x * w, y, ignore_index=0), X, Y)
    expected = tg.losses.softmax_cross_entropy(tg.Tensor(X) * w, Y, ignore_index=0)
    np.testing.assert_allclose(program.run(X, Y), expected.data, rtol=1e-12)


def test_shapes_constants_and_whole_arrays_may_be_used():
    step = {
        "shapes": lambda x: x.sum() / x.shape[0] / len(x) * 2 * math.pi,
        "a Python number": lambda x: (x * 2 + True).sum(),
        "what is detached": lambda x: ((x * w).detach() * x).sum(),
        "all of .data": lambda x: (x * x.data).sum(),
        "no_grad": lambda x: (tg.ops.tanh(x) * w).sum(),
        "where": lambda x: tg.ops.where(x > 0, x, -x).sum(),
    }
    for name, each in step.items():
        program = tg.trace(each, X)
        np.testing.assert_allclose(program.run(X - 1), each(tg.Tensor(X - 1)).data, rtol=1e-12, err_msg=name)


# ---- parameters are changed by optimizers only


def by_hand(p, when):
    def step(x):
        if when == "before":
            p.data *= 0.5
        loss = (x * p).sum()
        p.grad = None
        loss.backward()
        if when == "in place":
            p.data -= 0.1 * p.grad
        elif when == "another array":
            p.data = p.data - 0.1 * p.grad
        return loss

    return step


@pytest.mark.parametrize("when", ["in place", "another array", "before"])
def test_an_update_by_hand_is_refused_and_undone(when):
    p = parameter()
    with pytest.raises(tg.TraceError, match=r"call it instead of changing .data"):
        tg.trace(by_hand(p, when), X)
    np.testing.assert_array_equal(p.data, [1, 2, 3])
    assert p.grad is None


def test_writing_to_an_argument_changes_no_array_of_the_user():
    mine = X.copy()

    def step(x):
        x.data -= 1.0
        return (x * w).sum()

    try:
        program = tg.trace(step, mine)
    except (tg.TraceError, ValueError):
        program = None
    np.testing.assert_array_equal(mine, X)
    assert program is None or program.run(X) == step(tg.Tensor(X.copy())).data


def test_writing_to_a_result_is_refused():
    def step(x):
        h = x * w
        h.data *= 2
        return h.sum()

    with pytest.raises((tg.TraceError, ValueError)):
        tg.trace(step, X)


def test_a_gradient_from_before_is_refused():
    p = parameter()
    optimizer = SGD([p])
    (p * 2).sum().backward()

    def step(x):
        loss = (x * p).sum()
        loss.backward()
        optimizer.step()
        return loss

    with pytest.raises(tg.TraceError, match=r"w has a gradient from before this step: call optimizer.zero_grad"):
        tg.trace(step, X)


def with_another(use):
    """A step after which a parameter that has no part in it is used with a gradient from before."""
    p, other = parameter(), parameter(name="other")
    other.grad = np.ones(3)
    optimizer = SGD([p, other])

    def step(x):
        p.grad = None
        loss = (x * p).sum()
        loss.backward()
        use(optimizer)
        return loss

    return step


def test_a_gradient_from_before_of_another_parameter_is_refused_by_the_update():
    with pytest.raises(tg.TraceError, match="other"):
        tg.trace(with_another(lambda optimizer: optimizer.step()), X)


def test_a_gradient_from_before_of_another_parameter_is_refused_by_clipping():
    with pytest.raises(tg.TraceError, match="other"):
        tg.trace(with_another(lambda optimizer: clip_grad_norm(optimizer.parameters, 1.0)), X)


def test_a_step_that_never_calls_zero_grad_is_refused_or_adds_up():
    def make():
        p = parameter()
        optimizer = SGD([p])

        def step(x):
            loss = (x * p).sum()
            loss.backward()
            optimizer.step()
            return loss

        return world(step, [p], optimizer)

    try:
        tg.trace(make().step, X)
    except tg.TraceError:
        return
    assert_equals_eager(make, BATCHES, ways=[as_traced])


def test_two_steps_of_one_optimizer_are_refused():
    things = a_line()

    def step(x):
        things.step(x)
        things.optimizers[0].step()

    with pytest.raises(tg.TraceError, match="two steps in one; trace a step with one"):
        tg.trace(step, X)


def test_a_parameter_in_two_optimizers_that_both_step_is_refused():
    p = parameter()
    with pytest.raises(tg.TraceError, match="updated twice"):
        tg.trace(learning(lambda x: (x * p).sum(), SGD([p]), Adam([p])), X)


@pytest.mark.parametrize("use", [lambda p, x: (p * x).sum(), lambda p, x: p, lambda p, x: p.detach()])
def test_a_parameter_is_not_used_after_its_update(use):
    things = a_line()

    def step(x):
        things.step(x)
        return use(things.parameters[0], x)

    with pytest.raises(tg.TraceError, match="let the optimizer's step be the last line"):
        tg.trace(step, X)
    np.testing.assert_array_equal(things.parameters[0].data, [1, 2, 3])


@pytest.mark.parametrize("way", [as_traced, as_printed, as_compiled])
def test_a_parameter_from_before_its_update_is_returned_as_it_was(way):
    p = parameter()
    optimizer = SGD([p])

    def step(x):
        before = p.reshape(3)
        loss = (x * p).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, before

    run = way(step, X)
    answer = plain(tuple(run(X)))
    np.testing.assert_array_equal(answer[1], [1, 2, 3])
    np.testing.assert_allclose(p.data, [1, 2, 3] - 0.1 * X.sum(0))
