"""What a traced step may do, and numbers that change from step to step."""

import math

import numpy as np
import pytest
from program.traced_steps import (
    ALL,
    BATCHES,
    X,
    Y,
    a_line,
    a_network,
    as_compiled,
    as_printed,
    as_traced,
    assert_equals_eager,
    clipping,
    learning,
    parameter,
    penalised,
    schedule_changes,
    two_optimizers,
    world,
)

import tinygrad_ce as tg
from tinygrad_ce.optim import SGD, AdaGrad, Adam, AdamW, Cosine, Optimizer, RMSprop, clip_grad_norm
from tinygrad_ce.program.ir import Number

LABELLED = [(x, np.roll(Y, k)) for k, (x,) in enumerate(BATCHES)]


# ---- numbers that are given anew for each step


@pytest.mark.parametrize("make", [SGD, Adam, AdamW, RMSprop, AdaGrad])
@pytest.mark.parametrize("lr", [0.1, Cosine(1.0, steps=4)], ids=["constant", "cosine"])
def test_the_learning_rate_and_the_step_count_are_never_baked_in(make, lr):
    assert_equals_eager(lambda: a_line(make, lr=lr), BATCHES, schedule_changes, rtol=1e-9)


@pytest.mark.parametrize("make", [SGD, Adam])
def test_nor_are_they_in_compiled_loops(make):
    assert_equals_eager(lambda: a_line(make, lr=0.1), BATCHES, schedule_changes, [as_compiled], rtol=1e-9)


def test_parameters_are_read_where_they_live():
    def moved(things, k):
        p = things.parameters[0]
        if k == 1:
            p.data[...] = -1
        elif k == 2:
            p.data = np.array([5.0, 6.0, 7.0])

    assert_equals_eager(lambda: a_line(SGD, momentum=0.9), BATCHES, moved, ALL)


class Uphill(Optimizer):
    """An optimizer of one's own, with the sign in front of the learning rate."""

    def __init__(self, parameters, rate_of):
        self.rate_of = rate_of
        super().__init__(parameters, 0.1)

    def update(self, param, grad, state, lr, step):
        return param + self.rate_of(lr, step) * grad, ()


BY_OWN = {"0 - lr": lambda lr, step: 0 - lr, "a power": lambda lr, step: lr * (1 - 0.9**step) ** 0.5}
LOSES = {"-lr": lambda lr, step: -lr, "math.sqrt": lambda lr, step: lr * math.sqrt(step), "abs": lambda lr, _: abs(lr)}


@pytest.mark.parametrize("rate", [*BY_OWN, *(pytest.param(name) for name in LOSES)])
def test_an_optimizer_of_ones_own_computes_with_the_learning_rate_or_is_refused(rate):
    p, rate_of = parameter(), (BY_OWN | LOSES)[rate]
    optimizer = Uphill([p], rate_of)
    try:
        program = tg.trace(learning(lambda x: (x * p).sum(), optimizer), X)
    except tg.TraceError:
        assert rate in LOSES
        return
    optimizer.lr, optimizer.steps = 0.7, 3
    program.run(X)
    np.testing.assert_allclose(p.data, [1, 2, 3] + rate_of(0.7, 4) * X.sum(0), rtol=1e-12)


# ---- what steps may do


def two_losses():
    p = parameter()
    optimizer = SGD([p], momentum=0.9)

    def step(x):
        first, second = tg.ops.tanh(x * p).sum(), ((x - p) * (x - p)).mean()
        optimizer.zero_grad()
        first.backward()
        second.backward()
        optimizer.step()
        return first, second

    return world(step, [p], optimizer)


def frozen():
    p, still = parameter(), parameter([0.5, -0.5, 1.0], "still")
    optimizer = SGD([p])
    return world(learning(lambda x: tg.ops.tanh(x * p * still).sum(), optimizer), [p, still], optimizer)


def tied():
    table = tg.Tensor(np.linspace(-1, 1, 9).reshape(3, 3), requires_grad=True, name="table")
    optimizer = SGD([table])
    return world(learning(lambda x: (tg.ops.tanh(x @ table) @ table.T).sum(), optimizer), [table], optimizer)


def watched():
    p = parameter()
    optimizer = SGD([p])

    def step(x):
        with tg.no_grad():
            target = tg.ops.tanh(x * p)
        loss = ((x * p - target) * (x * p - target)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, target

    return world(step, [p], optimizer)


def unused():
    p, far = parameter(), parameter(name="far")
    optimizer = Adam([p, far])
    return world(learning(lambda x: tg.ops.tanh(x * p).sum(), optimizer), [p, far], optimizer)


STEPS = {
    "two optimizers": two_optimizers,
    "two losses": two_losses,
    "a frozen parameter": frozen,
    "tied weights": tied,
    "clipping, above": lambda: clipping(0.1),
    "clipping, below": lambda: clipping(1e3),
    "no_grad": watched,
    "a parameter without gradient": unused,
}


@pytest.mark.parametrize("name", [*STEPS, pytest.param("a gradient penalty")])
def test_a_step_equals_the_eager_one(name):
    assert_equals_eager((STEPS | {"a gradient penalty": penalised})[name], BATCHES)


@pytest.mark.parametrize("name", ["two optimizers", "two losses", "a frozen parameter", "clipping, above", "no_grad"])
def test_a_compiled_step_equals_the_eager_one(name):
    assert_equals_eager(STEPS[name], BATCHES, ways=[as_compiled], rtol=1e-9)


def test_a_frozen_parameter_is_read_anew():
    def thawed(things, k):
        things.parameters[1].data[...] = k

    assert_equals_eager(frozen, BATCHES, thawed)


@pytest.mark.parametrize("way", [as_traced, as_printed])
def test_batch_norm_and_dropout_are_those_of_the_eager_step(way):
    def make():
        return a_network(SGD, tg.nn.BatchNorm(5), tg.nn.Dropout(0.5))

    def reseeded(things, k):
        tg.seed(k)

    assert_equals_eager(make, LABELLED, reseeded, [way], rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", [SGD, Adam])
def test_the_dtype_of_parameters_stays(make, dtype):
    batches = [(x.astype(dtype),) for (x,) in BATCHES]
    rtol = 1e-9 if dtype == np.float64 else 1e-5
    assert_equals_eager(lambda: a_line(make, dtype, lr=0.1), batches, rtol=rtol)


def test_clipping_gradients_that_are_zero_warns_of_nothing():
    assert_equals_eager(lambda: clipping(1.0, factor=0.0), BATCHES)


def clips_and(use):
    p = parameter()
    optimizer = SGD([p])

    def step(x):
        loss = (x * p).sum()
        optimizer.zero_grad()
        loss.backward()
        norm = clip_grad_norm([p], 1.0)
        return use(loss, norm)

    return step


def test_the_norm_is_not_used_as_a_number():
    with pytest.raises(tg.TraceError):
        tg.trace(clips_and(lambda loss, norm: loss * 2 if norm > 0 else loss), X)


def test_the_norm_may_be_computed_with():
    traced_step = tg.trace(clips_and(lambda loss, norm: loss * norm), X)
    np.testing.assert_allclose(traced_step.run(X), clips_and(lambda loss, norm: loss * norm)(tg.Tensor(X)).data)


def test_an_array_that_the_step_makes_is_a_constant_after_clipping_too():
    program = tg.trace(clips_and(lambda loss, norm: loss * np.full(3, 2.0)), X)
    np.testing.assert_allclose(program.run(X), clips_and(lambda loss, norm: loss * np.full(3, 2.0))(tg.Tensor(X)).data)


# ---- numbers with a text

NUMBERS = {
    "lr + 2": lambda n: n + 2,
    "2 + lr": lambda n: 2 + n,
    "lr - 2": lambda n: n - 2,
    "2 - lr": lambda n: 2 - n,
    "lr * 3.0": lambda n: n * 3.0,
    "3.0 * lr": lambda n: 3.0 * n,
    "lr / 4": lambda n: n / 4,
    "4 / lr": lambda n: 4 / n,
    "lr ** 2": lambda n: n**2,
    "0.9 ** lr": lambda n: 0.9**n,
    "lr / (1 - 0.9 ** lr)": lambda n: n / (1 - 0.9**n),
    "(lr + 1) * (lr - 1)": lambda n: (n + 1) * (n - 1),
    "lr - (lr - 1)": lambda n: n - (n - 1),
    "(2 ** lr) ** 3": lambda n: (2**n) ** 3,
    "lr + -1": lambda n: n + -1,
}


@pytest.mark.parametrize("text", NUMBERS)
def test_a_number_knows_how_it_was_computed(text):
    number = NUMBERS[text](Number(0.5, "lr"))
    assert isinstance(number, Number)
    assert number.text == text
    for value in (0.5, 2.5):
        assert eval(number.text, {}, {"lr": value}) == pytest.approx(NUMBERS[text](value), rel=1e-15)
    assert float(number) == NUMBERS[text](0.5)


def test_a_negative_number_is_put_in_parentheses():
    assert eval(((-2) ** Number(2.0, "lr")).text, {}, {"lr": 2.0}) == 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_take_a_number_for_a_plain_one(dtype):
    array, number = np.array([1, 2], dtype), Number(0.1, "lr")
    for f in (np.add, np.subtract, np.multiply, np.divide, np.power):
        for got, expected in ((f(array, number), f(array, 0.1)), (f(number, array), f(0.1, array))):
            assert type(got) is np.ndarray
            assert got.dtype == dtype
            np.testing.assert_array_equal(got, expected)
    assert (array * number).dtype == (number * array).dtype == dtype
    assert (array - number / (1 - 0.9**number)).dtype == dtype
    array *= number
    np.testing.assert_array_equal(array, np.array([1, 2], dtype) * 0.1)


def test_a_number_meets_a_tensor_as_itself():
    p = parameter(dtype=np.float32)
    for result in (p * Number(0.5, "lr"), Number(0.5, "lr") * p, p - Number(0.5, "lr")):
        assert result.dtype == np.float32
        assert sum(isinstance(x, Number) for x in result.inputs) == 1


def test_a_number_and_what_is_no_number():
    with pytest.raises(TypeError):
        Number(0.5, "lr") + "x"
    assert [1, 2, 3][int(Number(1.0, "t"))] == 2
    assert Number(0.5, "lr") == 0.5
