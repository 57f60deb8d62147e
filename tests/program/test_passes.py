"""The printed program, and the passes that simplify it."""

import numpy as np
import pytest
from fresh import said
from program.traced_steps import (
    ALL,
    X,
    Y,
    a_line,
    a_network,
    asked,
    assert_equals_eager,
    clipping,
    learning,
    living,
    parameter,
    plain,
    schedule_changes,
    two_optimizers,
    w,
    world,
)

import tinygrad_ce as tg
from tinygrad_ce.optim import SGD, Adam
from tinygrad_ce.program import Program, passes, tracing
from tinygrad_ce.program.tracer import Tracer

# ---- what is printed


def test_the_update_is_printed_as_one_would_write_it():
    text = tg.trace(a_network(SGD).step, X, Y).source
    step = text[text.index("def step(") :].splitlines()
    assert len(step) <= 30
    assert all(len(line) <= 120 for line in text.splitlines())
    assert step[0] == "def step(x, y, W0, b0, W2, b2, lr):"
    update = step[step.index("    # update") + 1 :]
    assert [line.split("#")[0].strip() for line in update] == [
        "W0 = W0 - lr * d_W0",
        "b0 = b0 - lr * d_b0",
        "W2 = W2 - lr * d_W2",
        "b2 = b2 - lr * d_b2",
        "return loss, W0, b0, W2, b2",
    ]


def test_adam_is_printed_with_its_step_count():
    text = tg.trace(a_network(Adam).step, X, Y).source
    step = text[text.index("def step(") :].splitlines()
    assert step[0].endswith("lr, t):")
    assert text.count("lr / (1 - beta1 ** t)") == 1
    assert sum("= adam(" in line and line.endswith(", t, lr)") for line in step) == 4
    assert text.count("1 / (1 - beta2 ** t)") == 1
    assert all(len(line) <= 120 for line in text.splitlines())


def test_a_program_is_its_text():
    program = tg.trace(a_line().step, X)
    assert str(program) == program.source
    assert tg.trace(a_line().step, X).source == program.source


def test_what_is_printed_runs_with_numpy_alone():
    things = a_network(Adam)
    program = tg.trace(things.step, X, Y)
    values = [*(asked(x) for x in program.inputs[2:]), 0.001, 1]
    given = ", ".join(f"np.array({np.asarray(v).tolist()})" for v in (X, Y, *values))
    words = said(
        program.source + f"\nanswers = step({given})\nimport sys\nprint(float(answers[0]).hex())\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('tinygrad_ce', 'numba', 'scipy')])"
    ).split("\n")
    np.testing.assert_allclose(float.fromhex(words[0]), program.run(X, Y), rtol=1e-12)
    assert words[1] == "[]"


# ---- passes

PASSES = [passes.remove_identities, passes.fold_constants, passes.share_common_subexpressions, passes.drop_dead_code]


def wasteful():
    """A step in which every pass finds something."""
    p = parameter()
    optimizer = Adam([p], lr=0.1, weight_decay=0.01)

    def loss_of(x):
        (x * 5).sum()
        h = tg.ops.tanh(x * p).reshape(4, 3).astype(float)
        return (h * tg.ops.tanh(x * p)).sum() * 2 / 3

    return world(learning(loss_of, optimizer), [p], optimizer)


class CastSGD(SGD):
    """The last instruction of its update does nothing."""

    def update(self, *arguments):
        new, state = super().update(*arguments)
        return tg.ops.astype(new, dtype=np.dtype(float)), state


PROGRAMS = {
    "an idle update": (lambda: a_line(CastSGD), (X,)),
    "wasteful": (wasteful, (X,)),
    "two optimizers": (two_optimizers, (X,)),
    "clipping": (lambda: clipping(0.1), (X,)),
    "a network": (lambda: a_network(Adam), (X, Y)),
    "batch norm": (lambda: a_network(SGD, tg.nn.BatchNorm(5), momentum=0.9), (X, Y)),
}


def outcome(make, arrays, *some):
    things = make()
    program = tracing._traced(things.step, arrays, Tracer([], {}, computes_outside=False))
    before = len(program.instructions)
    for each in some:
        program = each(program)
    answers = [plain(Program.of(program).run(*arrays)) for _ in range(2)]
    return [a for answer in answers for a in answer] + living(things), len(program.instructions) - before


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_pass_changes_what_a_step_does(name):
    expected, _ = outcome(*PROGRAMS[name])
    for some in (*((each,) for each in PASSES), PASSES, PASSES[::-1], PASSES * 2):
        got, _ = outcome(*PROGRAMS[name], *some)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype


@pytest.mark.parametrize("each", [p for p in PASSES if p is not passes.fold_constants])
def test_each_pass_finds_something(each):
    assert outcome(wasteful, (X,), each)[1] < 0


def test_every_pass_leaves_its_program_as_it_was():
    program = tracing._traced(wasteful().step, (X,), Tracer([], {}, computes_outside=False))
    before = list(program.instructions), dict(program.outputs), dict(program.updates), list(program.inputs)
    for each in PASSES:
        each(program)
    assert before == (program.instructions, program.outputs, program.updates, program.inputs)


def test_a_number_that_no_instruction_needs_is_not_asked_for():
    assert list(tg.trace(a_line(SGD).step, X).numbers) == ["lr"]
    assert list(tg.trace(a_line(Adam).step, X).numbers) == ["lr", "t"]
    assert list(tg.trace(two_optimizers().step, X).numbers) == ["lr", "t", "lr_2", "t_2"]


def test_zero_and_minus_zero_are_two_numbers():
    positive, negative = tg.trace(lambda x: (x * 0.0, x * -0.0), np.ones(2)).run(np.ones(2))
    assert not np.signbit(positive).any()
    assert np.signbit(negative).all()


@pytest.mark.parametrize(
    "step",
    [
        lambda x: (x.astype(np.float32).sum(), x.sum()),
        lambda x: (x.sum(axis=0), x.sum(axis=1)),
        lambda x: ((x > 0) * True, (x > 0) * 1, (x > 0) * 1.0),
        lambda x: (x - w, w - x),
    ],
)
def test_what_only_looks_alike_is_not_shared(step):
    x = X[:3]
    for got, expected in zip(tg.trace(step, x).run(x), step(tg.Tensor(x)), strict=True):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected.data)


def test_what_is_alike_is_computed_once():
    program = tg.trace(lambda x: tg.ops.tanh(x * w) + tg.ops.tanh(x * w), X)
    assert [i.op.name for i in program.instructions] == ["mul", "tanh", "add"]


def test_a_gradient_that_is_a_constant_does_not_make_the_learning_rate_one():
    def make():
        p = parameter(1.0)
        optimizer = SGD([p], lr=0.1)
        return world(learning(lambda: p * 3.0, optimizer), [p], optimizer)

    assert_equals_eager(make, [()] * 3, schedule_changes, ALL)


def printed_gradients(f):
    """The lines of the backward pass of f(x), without spaces and shapes."""
    x = tg.Tensor(np.array([1.0, 2.0]), requires_grad=True, name="x")
    backward = tg.source(f(x)).split("# backward\n")[1]
    return [line.split("#")[0].strip() for line in backward.splitlines()[:-1]]


def test_a_square_prints_its_rule_as_one_would_write_it():
    assert printed_gradients(lambda x: (x**2).sum())[1:] == ["d_x = d_t1 * 2 * x"]
    assert printed_gradients(lambda x: (x**3).sum())[1:] == ["d_x = d_t1 * 3 * x ** 2"]
    assert printed_gradients(lambda x: (x**1.5).sum())[1:] == ["d_x = d_t1 * 1.5 * x ** 0.5"]


def test_numbers_made_of_constants_are_folded():
    """The gradient of (3 mean(x) - 1) / 4 is (3 / 4) / 2 in each element: one number, in one line."""
    assert printed_gradients(lambda x: (x.mean() * 3 - 1) / 4) == ["d_x = np.full(2, 0.375)"]
    assert printed_gradients(lambda x: 2.0 * np.sum(x) * 5.0) == ["d_x = np.full(2, 10.0)"]


def test_a_number_that_is_given_anew_in_each_step_is_not_folded():
    program = tg.trace(a_line(SGD).step, X)
    assert "lr" in program.numbers
    assert " lr" in program.source.split("# update")[1]
