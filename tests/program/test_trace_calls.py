"""Tracing changes nothing; what a program takes and answers, and the names in it."""

import numpy as np
import pytest
from program.traced_steps import (
    ALL,
    X,
    Y,
    a_line,
    a_network,
    as_compiled,
    as_printed,
    as_traced,
    assert_equals_eager,
    living,
    parameter,
    plain,
    w,
    world,
)

import tinygrad_ce as tg
from tinygrad_ce.optim import SGD, Adam

# ---- tracing changes nothing


@pytest.mark.parametrize("make", [SGD, Adam])
def test_tracing_changes_nothing(make):
    things = a_network(make, tg.nn.BatchNorm(5), tg.nn.Dropout(0.5))
    things.step(tg.Tensor(X), tg.Tensor(Y))
    before, random_state = living(things), tg.nn.init.generator().bit_generator.state
    homes = [p.data for p in things.parameters]
    mine = X.copy(), Y.copy()
    tg.trace(things.step, *mine)
    for x, y in zip(living(things), before, strict=True):
        np.testing.assert_array_equal(x, y)
    assert tg.nn.init.generator().bit_generator.state == random_state
    assert all(p.grad is None for p in things.parameters)
    assert all(p.data is home for p, home in zip(things.parameters, homes, strict=True))
    np.testing.assert_array_equal(mine[0], X)
    np.testing.assert_array_equal(mine[1], Y)


@pytest.mark.parametrize("number", [np.float64(2), np.int64(2), np.sqrt(6.0), np.float32(0.5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_numpy_number_that_is_always_the_same_keeps_its_dtype(number, dtype):
    x = X.astype(dtype)
    expected = (tg.Tensor(x) * number).data
    for way in (as_traced, as_printed, as_compiled):
        (answer,) = plain(way(lambda x: x * number, x)(x))
        np.testing.assert_allclose(answer, expected, rtol=1e-7)
        assert answer.dtype == expected.dtype, way


@pytest.mark.parametrize("way", [as_traced, as_printed, as_compiled])
def test_gradients_without_a_graph_are_numbers_to_backward(way):
    def penalised(x):
        loss = (x * w * w).sum()
        return loss + (tg.gradients(loss, w) ** 2).sum()

    np.testing.assert_allclose(plain(way(penalised, X)(X))[0], plain(penalised(tg.Tensor(X)))[0], rtol=1e-12)


def test_what_a_model_changes_while_it_runs_is_refused_and_undone():
    class Counting(tg.nn.Module):
        def __init__(self):
            self.line, self.calls, self.generator = tg.nn.Dense(3, 2), 0, np.random.default_rng(0)

        def forward(self, x):
            self.calls += 1
            self.generator.normal()
            return self.line(x)

    model = Counting()
    state = model.generator.bit_generator.state
    with pytest.raises(tg.TraceError, match="changes calls of"):
        tg.trace(lambda x: model(x), X)
    assert model.calls == 0
    assert model.generator.bit_generator.state == state


def test_a_fixed_array_of_a_model_is_part_of_its_program():
    class Masked(tg.nn.Module):
        def __init__(self):
            self.line, self.mask = tg.nn.Dense(3, 2), np.array([1.0, 0.0, 2.0])

        def forward(self, x):
            return self.line(x * self.mask)

    model = Masked()
    for way in (as_traced, as_printed, as_compiled):
        np.testing.assert_allclose(plain(way(lambda x: model(x), X)(X))[0], model(X).data, rtol=1e-12)


def test_a_compiled_step_follows_the_mode_of_its_model():
    model = tg.nn.Sequential(tg.nn.Dense(3, 4), tg.nn.Dropout(0.5))
    compiled = tg.compile(model)
    assert (plain(compiled(X))[0] == 0).any()
    model.eval()
    np.testing.assert_allclose(plain(compiled(X))[0], model(X).data, rtol=1e-12)


def test_arguments_may_be_named():
    def weighed(x, weight):
        return (x * weight).sum()

    assert tg.compile(weighed)(X, weight=X) == pytest.approx((X * X).sum())


LAYERS = "batchnorm", "dropout"


def test_what_tracing_fixes_is_listed():
    layers = tg.nn.BatchNorm(5), tg.nn.Dropout(0.5)
    things = a_network(SGD, *layers)
    shapes = "shapes and dtypes: x (4, 3) float64, y (4,) int64"
    mode = "the mode of {} layers: {}"
    assert tg.trace(things.step, X, Y).fixed == [shapes, *(mode.format(layer, "training") for layer in LAYERS)]
    for layer in layers:
        layer.eval()
    assert tg.trace(things.step, X, Y).fixed == [shapes, *(mode.format(layer, "evaluation") for layer in LAYERS)]
    assert tg.trace(lambda: (w * w).sum()).fixed == []


def test_that_dropout_is_off_is_listed():
    off = tg.nn.Dropout(0.5)
    off.eval()
    assert "dropout" in " ".join(tg.trace(lambda x: off(x).sum(), X).fixed)


# ---- arguments and answers


def test_arrays_that_do_not_fit_are_refused_by_name():
    program = tg.trace(lambda points, labels: (points * w).sum() + labels.sum(), X, Y)
    for arrays in ((), (X,), (X, Y, Y)):
        with pytest.raises(TypeError, match=rf"takes 2 arrays \(points, labels\), and {len(arrays)} were passed"):
            program.run(*arrays)
    with pytest.raises(ValueError, match=r"points has shape \(3, 3\).*trace again.*tg.compile"):
        program.run(X[:3], Y)
    with pytest.raises(ValueError, match=r"labels has shape \(4,\) and dtype float64"):
        program.run(X, Y.astype(float))
    with pytest.raises(ValueError, match=r"points has shape .* and dtype float32"):
        program.run(X.astype(np.float32), Y)
    assert program.run(tg.Tensor(X), Y) == program.run(X.tolist(), Y.tolist())


def test_compile_traces_again_for_another_shape_and_dtype():
    p = parameter(name="p")
    seen = []

    def step(x):
        seen.append((x.shape, x.dtype))
        return (x * p).sum()

    compiled = tg.compile(step)
    for x in (X, X[:2], X.astype(np.float32), X + 1, X[:2] + 1):
        np.testing.assert_allclose(compiled(x), (x * p.data).sum(), rtol=1e-6)
    kinds = [((4, 3), np.float64), ((2, 3), np.float64), ((4, 3), np.float32)]
    assert seen == [kind for kind in kinds for _ in range(2)]


def test_wrong_examples_and_steps_are_told_by_python():
    with pytest.raises(TypeError, match="argument"):
        tg.trace(lambda x: x.sum())
    with pytest.raises(TypeError, match="argument"):
        tg.trace(lambda x: x.sum(), X, X)
    with pytest.raises(TypeError, match="cannot be called"):
        tg.compile(3)


def test_a_step_without_arguments():
    program = tg.trace(lambda: (w * w).sum())
    assert program.run() == 14
    assert tg.compile(lambda: (w * w).sum())() == 14
    with pytest.raises(TypeError, match="takes 0 arrays"):
        program.run(X)


@pytest.mark.parametrize("way", [as_traced, as_compiled])
def test_a_step_that_returns_nothing_still_learns(way):
    things, twin = a_line(), a_line()
    assert way(lambda x: (things.step(x), None)[1], X)(X) is None
    twin.step(tg.Tensor(X))
    np.testing.assert_allclose(things.parameters[0].data, twin.parameters[0].data, rtol=1e-12)


@pytest.mark.parametrize("way", [as_traced, as_compiled])
def test_a_step_that_computes_nothing(way):
    assert way(lambda x: None, X)(X) is None
    np.testing.assert_array_equal(way(lambda x: x, X)(X + 1), X + 1)


def test_a_step_that_returns_several():
    def step(x):
        scores = x * w
        return scores.sum(), scores, scores, x, w

    for way in (as_traced, as_compiled):
        answers = way(step, X)(X + 1)
        assert isinstance(answers, tuple)
        for got, expected in zip(answers, step(tg.Tensor(X + 1)), strict=True):
            np.testing.assert_allclose(got, expected.data, rtol=1e-12)
    (alone,) = tg.trace(lambda x: (x.sum(),), X).run(X)
    assert alone == X.sum()
    assert isinstance(tg.trace(lambda x: [x.sum(), x], X).run(X), tuple)


def test_answers_and_arguments_are_not_the_parameters_memory():
    for way in (as_traced, as_compiled):
        run = way(lambda x: (x * 1, w), X)
        for array in run(X):
            array[...] = 77
        np.testing.assert_array_equal(w.data, [1, 2, 3])
        np.testing.assert_array_equal(run(X)[1], [1, 2, 3])


def test_an_empty_tuple_stays_one():
    assert tg.trace(lambda x: (), X).run(X) == ()


def test_the_same_array_may_be_passed_twice():
    for way in ALL:
        run = way(lambda a, b: (a * a * b).sum(), X, X)
        np.testing.assert_allclose(plain(tuple(plain(run(X, X + 1))))[0], (X * X * (X + 1)).sum(), rtol=1e-12)


def test_the_data_of_the_same_array_is_that_of_each_argument():
    program = tg.trace(lambda a, b: a * a.data + b * b.data * 2, X, X)
    np.testing.assert_array_equal(program.run(X, X + 1), X * X + (X + 1) * (X + 1) * 2)


def test_a_step_may_take_any_number_of_arrays():
    program = tg.trace(lambda *arrays: arrays[0] * arrays[1], X, X)
    assert [x.name for x in program.arguments] == ["x1", "x2"]
    np.testing.assert_array_equal(program.run(X, X + 1), X * (X + 1))


def test_the_gradient_of_an_argument_is_there_for_a_tensor_that_wants_it():
    def step(x):
        loss = (x * x).sum()
        loss.backward()
        return loss, tg.Tensor(x.grad)

    loss, gradient = tg.trace(step, tg.Tensor(X, requires_grad=True)).run(X)
    np.testing.assert_allclose(gradient, 2 * X, rtol=1e-12)
    assert loss == (X * X).sum()


def test_an_argument_that_is_a_parameter_elsewhere_is_only_an_array():
    program = tg.trace(lambda x: (x * w).sum(), w)
    assert program.run(w) == 14
    assert [x.role for x in program.inputs] == ["input", "state"]


# ---- names


def named(name):
    """A step with an argument of this name, whose program has a learning rate, a step count and helpers."""
    p = parameter()
    optimizer = Adam([p], lr=0.1)
    namespace = {"p": p, "optimizer": optimizer, "tg": tg}
    exec(
        f"def made({name}, other):\n"
        f"    loss = tg.ops.tanh(({name} * p)[:, 0:2].mean(axis=0) * other).mean()\n"
        "    optimizer.zero_grad()\n    loss.backward()\n    optimizer.step()\n    return loss",
        namespace,
    )
    return world(namespace["made"], [p], optimizer)


FINE = ["lr", "t", "loss", "np", "lambda_", "step", "out", "d_w", "t1", "t_1", "w", "X", "prod", "len", "_", "tanh"]
ONLY_COMPILED = ["s", "i", "order", "steps", "numbers", "run", "jit", "sum_v", "v", "math", "float64"]
PAIRS = [(np.random.default_rng(k).normal(size=(4, 3)), np.array([0.5, -1.0])) for k in range(2)]


@pytest.mark.parametrize("name", [*FINE, "count", "filled", "slice"])
def test_no_name_of_an_argument_clashes_in_what_is_printed(name):
    assert_equals_eager(lambda: named(name), PAIRS)


@pytest.mark.parametrize("name", ["plus", "range"])
def test_no_name_of_an_argument_hides_what_the_loops_call(name):
    namespace = {"w": w}
    exec(f"def made({name}):\n    return ({name} * w).sum()", namespace)
    np.testing.assert_allclose(tg.compile(namespace["made"])(X[0]), (X[0] * w.data).sum())


def test_no_name_of_many_arguments_clashes_in_the_loops():
    """All in one program, which is compiled once."""
    names = list(dict.fromkeys([*FINE, *ONLY_COMPILED]))
    p = parameter()
    optimizer = Adam([p], lr=0.1)
    namespace = {"p": p, "optimizer": optimizer}
    terms = " + ".join(f"{k} * {name}" for k, name in enumerate(names, start=1))
    exec(
        f"def made({', '.join(names)}):\n    total = ((({terms}) * p).sum() * 0.01).tanh()\n"
        "    optimizer.zero_grad()\n    total.backward()\n    optimizer.step()\n    return total",
        namespace,
    )
    arrays = [np.array([k % 3, 1.0, -k % 5]) / 10 for k in range(len(names))]
    expected = sum(k * a for k, a in enumerate(arrays, start=1))
    got = tg.compile(namespace["made"])(*arrays)
    np.testing.assert_allclose(got, np.tanh((expected * [1, 2, 3]).sum() * 0.01), rtol=1e-12)
    np.testing.assert_allclose(p.data, [1, 2, 3] - 0.1 * np.sign(expected), rtol=1e-6)


def test_names_that_are_no_names_of_python_are_made_such():
    odd = [parameter(name=name) for name in ("lambda", "None", "a b.3", "2", "", "__", "for.0")]
    program = tg.trace(lambda x: sum((x * p).sum() for p in odd), X)
    namespace = {}
    exec(program.source, namespace)
    assert len({x.name for x in program.inputs}) == 8
    assert namespace["step"](X, *(p.data for p in odd)) == program.run(X)


def test_a_name_that_python_cannot_read_is_made_readable():
    squared = parameter(name="x²")
    namespace = {}
    exec(tg.trace(lambda x: (x * squared).sum(), X).source, namespace)
    np.testing.assert_allclose(namespace["step"](X, squared.data), (X * squared.data).sum())
