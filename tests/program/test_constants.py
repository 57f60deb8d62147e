"""Arrays that a step makes, or that stand beside it, are constants of its program; what changes is noticed."""

import numpy as np
import pytest
from program.loops_as_python import jitted, loops_as_python

import tinygrad_ce as tg
from tinygrad_ce.core import primitive
from tinygrad_ce.program.run import Compiled

pytest.importorskip("numba")

X = np.random.default_rng(0).normal(size=(4, 3))
Y = np.array([0, 1, 2, 1])
SCALE = np.array([1.0, 2.0, 3.0])
ROWS, COLUMNS = np.array([[0, -1], [2, 1]]), np.array([-3, 2, 2, 0])
OUTSIDE = tg.Tensor(SCALE, name="OUTSIDE")
WINDOWS = np.arange(2)[:, None] + np.arange(2)  # im2col of a row of three: two windows of two

STEPS = {
    "an array of one number": lambda x: x * np.full(3, 2.0),
    "a literal": lambda x: x * np.array([1.0, 2.0, 3.0]),
    "eye": lambda x: x @ np.eye(3)[::-1],
    "arange": lambda x: x * np.arange(3),
    "a closure's array": lambda x: x * X,
    "what NumPy makes of it": lambda x: x * np.tanh(2 * SCALE)[::-1],
    "an array of one of our functions": lambda x: x * tg.ops.tanh(SCALE),
    "labels": lambda x: tg.losses.softmax_cross_entropy(x, Y),
    "targets": lambda x: tg.losses.mse(x, np.eye(3)[Y]),
    "a mask": lambda x: tg.ops.where(X > 0, x, 0.0),
    "a mask that multiplies": lambda x: x * (X > 0),
    "a Tensor from outside": lambda x: x * OUTSIDE,
    "a Tensor made in the step": lambda x: x * tg.Tensor(2.0),
    "the same random numbers each time": lambda x: x + np.random.default_rng(0).normal(size=3),
    "rows": lambda x: x[np.array([0, 2])],
    "the same row twice": lambda x: x[np.array([1, 1, 1, 0])],
    "negative rows": lambda x: x[np.array([-1, -4])],
    "rows of two axes": lambda x: x[ROWS],
    "columns": lambda x: x[:, COLUMNS],
    "windows": lambda x: x[:, WINDOWS].reshape(4, -1),
    "pairs": lambda x: x[ROWS, [[-1, 0], [2, 2]]],
    "pairs that broadcast": lambda x: x[COLUMNS[:, None], np.array([0, -1])],
    "with a slice between": lambda x: (x[None] * np.ones((2, 1, 1)))[np.array([0, 1, 1]), ::2, COLUMNS[:3]],
    "with a slice that goes backwards": lambda x: x[::-1, COLUMNS],
    "an integer and an array": lambda x: x[-1, COLUMNS],
    "small integers": lambda x: x[:, COLUMNS.astype(np.int8)],
    "no elements": lambda x: x[np.array([], int)],
    "elements of a mask": lambda x: x[X > 0],
    "rows of a mask": lambda x: x[X[:, 0] > 0],
    "columns of a mask": lambda x: x[:, np.array([True, False, True])],
    "a mask of nothing": lambda x: x[X > 100],
}


def with_gradient(f):
    def step(x, w):
        out = f(x * w)
        return out, *tg.gradients((out * out).sum(), [w], create_graph=True)

    return step


def numbers_of(answers):
    return [np.asarray(getattr(answer, "data", answer)) for answer in answers]


@pytest.mark.parametrize("name", STEPS)
def test_constants_compile_and_give_what_the_engine_gives(name):
    step, w = with_gradient(STEPS[name]), np.array([0.5, -1.0, 2.0])
    program = tg.trace(step, X, tg.Tensor(w, requires_grad=True))
    names = {}
    exec(program.source, names)
    for x in (X, X[::-1] + 1):
        expected = numbers_of(step(tg.Tensor(x), tg.Tensor(w, requires_grad=True)))
        printed = names["step"](*({"x": x, "w": w}.get(v.name, v.example) for v in program.inputs))
        with loops_as_python():
            compiled = Compiled(program).step(x, w)
        for answers in (program.run(x, w), compiled, printed):
            for mine, wanted in zip(numbers_of(answers), expected, strict=True):
                assert (mine.shape, mine.dtype) == (wanted.shape, wanted.dtype)
                np.testing.assert_allclose(mine, wanted, rtol=1e-12, atol=1e-14)


@jitted
def test_numba_gives_the_same_elements():
    names = ["negative rows", "windows", "pairs that broadcast", "with a slice between", "rows of a mask", "targets"]
    step, w = with_gradient(lambda x: sum((STEPS[name](x) ** 2).sum() for name in names)), np.array([0.5, -1.0, 2.0])
    program = tg.trace(step, X, tg.Tensor(w, requires_grad=True))
    expected = step(tg.Tensor(X[::-1]), tg.Tensor(w, requires_grad=True))
    for mine, wanted in zip(Compiled(program).step(X[::-1], w), expected, strict=True):
        np.testing.assert_allclose(mine, wanted.data, rtol=1e-12)


@primitive
def above_zero(x, *, otherwise):
    out = x.copy()
    out[x < 0] = otherwise
    return out


@above_zero.vjp("x")
def above_zero_x(g, out, x, *, otherwise):
    return tg.ops.where(x < 0, 0, g)


def test_a_body_may_write_under_a_mask():
    step = with_gradient(lambda x: above_zero(x, otherwise=-0.5))
    program = tg.trace(step, X, tg.Tensor(SCALE, requires_grad=True))
    with loops_as_python():
        answers = Compiled(program).step(X + 1, SCALE)
    for mine, wanted in zip(answers, step(tg.Tensor(X + 1), tg.Tensor(SCALE, requires_grad=True)), strict=True):
        np.testing.assert_allclose(mine, wanted.data, rtol=1e-14)


def test_known_indices_are_not_checked_in_the_loops():
    known = tg.trace(lambda x: x[:, COLUMNS], X).lowered
    passed = tg.trace(lambda x, columns: x[:, columns], X, COLUMNS).lowered
    assert "raise IndexError" in passed
    assert "raise" not in known
    assert " if " not in known


def test_an_index_that_is_outside_is_refused_where_it_is_written():
    with pytest.raises(IndexError, match="out of bounds"):
        tg.trace(lambda x: x[:, np.array([0, 3])], X)


def test_a_constant_has_the_name_that_the_step_has_for_it():
    program = tg.trace(lambda x: x[:, COLUMNS] * SCALE[1] + OUTSIDE[0], X)
    assert [x.name for x in program.inputs] == ["x", "COLUMNS", "OUTSIDE"]
    assert program.fixed[1:] == ["the numbers in COLUMNS (4,), OUTSIDE (3,)"]


# ---- what changes between two calls takes effect


class Holder:
    def __init__(self):
        self.scale = np.array([1.0, 2.0, 3.0])
        self.tables = {"first": [np.array([0, 1])]}
        self.fixed = tg.Tensor([1.0, 1.0, 1.0])


@pytest.fixture(autouse=True)
def as_in_the_beginning():
    global holder, table
    holder, table = Holder(), np.array([0.1, 2.0, 3.0])


def in_place():
    table[1] = 50.0


def another():
    global table
    table = np.array([9.0, 9.0, 9.0])


def shorter():
    global table
    table = np.array(4.0)


def narrower():
    global table
    table = table.astype(np.float32)


CHANGES = {
    "in place": (lambda x: x * table, in_place),
    "in place, and only a part is used": (lambda x: x * (2 * table[1:2]), in_place),
    "another array": (lambda x: x * table, another),
    "another shape": (lambda x: x * table, shorter),
    "another dtype": (lambda x: x * table, narrower),
    "an attribute": (lambda x: x * holder.scale, lambda: holder.scale.fill(7.0)),
    "an array in containers": (lambda x: x[:, holder.tables["first"][0]], lambda: holder.tables["first"][0].fill(-1)),
    "a tensor": (lambda x: x * holder.fixed, lambda: holder.fixed.data.fill(3.0)),
    "a tensor's array": (lambda x: x * holder.fixed, lambda: setattr(holder.fixed, "data", np.array([4.0, 5.0, 6.0]))),
}


@jitted
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_an_array_beside_the_step_takes_effect(name):
    step, change = CHANGES[name]
    compiled = tg.compile(step)
    before, expected_before = compiled(X), step(tg.Tensor(X)).data
    change()
    after, expected_after = compiled(X), step(tg.Tensor(X)).data
    np.testing.assert_array_equal(before, expected_before)
    np.testing.assert_array_equal(after, expected_after)
    assert after.dtype == expected_after.dtype
    assert not np.array_equal(before, after)
    assert all(isinstance(program, Compiled) for program in compiled.programs.values())


@jitted
def test_an_array_that_nobody_changes_is_traced_once():
    calls = []

    def step(x):
        calls.append(None)
        return x * SCALE + np.arange(3)

    compiled = tg.compile(step)
    del calls[:]
    compiled(X), compiled(X), compiled(X)
    assert len(calls) == 2


@jitted
def test_a_fit_notices_what_a_callback_changes_in_an_array_beside_the_loss():
    class Change(tg.train.Callback):
        def after_epoch(self, loop):
            holder.scale[0] += 0.5
            holder.tables["first"][0][:] = holder.tables["first"][0][::-1].copy()

    def learnt(compile):
        global holder
        holder = Holder()
        tg.seed(0)
        model = tg.nn.Dense(3, 3)
        loss = lambda z, y: tg.losses.mse((z * holder.scale)[:, holder.tables["first"][0]], y)  # noqa: E731
        run = tg.Trainer(model, loss, tg.optim.SGD(model.parameters(), lr=0.05))
        history = run.fit(X, X[:, :2], epochs=4, batch_size=2, seed=1, compile=compile, callbacks=[Change()])
        assert history.compiled is compile
        return model.state()

    step_by_step = learnt(compile=False)
    for name, array in learnt(compile=True).items():
        np.testing.assert_allclose(array, step_by_step[name], rtol=1e-12)
