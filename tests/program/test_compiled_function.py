"""The compiled function itself, and what has no loops."""

import ast
import os
import re
import signal
import threading
from functools import partial

import numpy as np
import pytest
from fresh import GUARD
from program.loops_as_python import (
    DATA,
    MANY,
    ROWS,
    SIDES,
    STEPS,
    TRAININGS,
    Adam,
    Case,
    Training,
    assert_close,
    cross_entropy,
    eager,
    jitted,
    learnt_by,
    loops_as_python,
    mlp,
    small,
    trainer,
)

import tinygrad_ce as tg
from tinygrad_ce import losses, nn
from tinygrad_ce.core import REGISTRY, primitive
from tinygrad_ce.program import CannotLower, lowered, memory
from tinygrad_ce.program.run import Compiled


@pytest.fixture
def of_ones_own():
    """Primitives of a test are gone after it."""
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


rng = np.random.default_rng(5)


# ---- what has no loops


@pytest.fixture
def without_loops(of_ones_own):
    """A primitive whose body has no loops."""

    @primitive
    def running(x):
        return np.add.accumulate(x, axis=-1)

    @running.vjp("x")
    def running_x(g, out, x):
        return running(g[..., ::-1])[..., ::-1]

    return running


def test_a_step_without_loops_runs_as_numpy_after_one_warning(without_loops):
    case = Case(lambda: [nn.Dense(3, 4), without_loops])
    ours, theirs = Training(case), Training(case)
    step = tg.compile(ours.step)
    with pytest.warns(UserWarning, match=r"runs as NumPy.*add\.accumulate") as caught:
        answers = [step(*batch) for batch in ours.batches]
    assert len(caught) == 1
    for mine, expected in zip(answers, eager(theirs, STEPS), strict=True):
        assert_close(mine[0], expected[0], 1e-9)
    for name, array in theirs.learnt().items():
        assert_close(ours.learnt()[name], array, 1e-9)
    with pytest.raises(CannotLower, match=r"running: its body uses np\.add\.accumulate"):
        _ = ours.program().lowered


def test_a_fit_without_loops_runs_step_by_step_after_a_warning(without_loops):
    ours, theirs = (trainer(lambda: small(end=[without_loops])) for _ in range(2))
    with pytest.warns(UserWarning, match=r"this training runs step by step.*add\.accumulate"):
        mine = ours.fit(DATA, SIDES, epochs=2, seed=3, compile=True)
    expected = theirs.fit(DATA, SIDES, epochs=2, seed=3, compile=False)
    assert not mine.compiled
    assert mine.columns == expected.columns
    for name, array in learnt_by(theirs).items():
        np.testing.assert_array_equal(learnt_by(ours)[name], array)


def test_indexing_with_a_mask_runs_as_numpy():
    w = tg.Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True, name="w")
    step = tg.compile(lambda mask: (w * w)[mask].sum())
    mask = np.array([[True, False, True], [True, False, True]])
    with pytest.warns(UserWarning, match=r"runs as NumPy.*mask"):
        assert step(mask) == 0 + 4 + 9 + 25
    assert step(mask) == 0 + 4 + 9 + 25


def test_the_size_of_what_a_mask_has_chosen_is_not_frozen():
    """The step asks for it, so that it is a number in the program."""
    w = tg.Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True, name="w")
    step = tg.compile(lambda mask: (w * w)[mask].sum() / (w * w)[mask].size)
    with pytest.warns(UserWarning, match=r"runs as NumPy.*keep the shape with where\(mask, x, 0\)"):
        assert step(np.array([[True, False, True]] * 2)) == (0 + 4 + 9 + 25) / 4
    with pytest.warns(UserWarning, match="runs as NumPy"):
        assert step(np.array([[True, True, True]] * 2)) == (0 + 1 + 4 + 9 + 16 + 25) / 6
    with pytest.raises(tg.TraceError, match="for other data"):
        step(np.array([[True, True, True], [True, False, True]]))


def test_what_cannot_be_compiled_names_the_line_the_operation_and_the_way_out(without_loops):
    def step(x):
        twice = x * 2
        return without_loops(twice).sum()

    with pytest.warns(UserWarning, match="runs as NumPy") as caught:
        tg.compile(step)(DATA)
    (warning,) = caught
    assert re.search(
        r"test_compiled_function\.py:\d+, `return without_loops\(twice\)\.sum\(\)`: running: its body uses "
        r"np\.add\.accumulate: compute this outside of the step and pass it in",
        str(warning.message),
    )


def test_a_mask_that_differs_from_step_to_step_is_refused():
    w = tg.Tensor(np.arange(4.0), requires_grad=True, name="w")
    with pytest.raises(tg.TraceError, match=r"function.py:\d+: .* for other data: keep the shape with where"):
        tg.compile(lambda mask: (w * w)[mask].sum())(np.array([True, False, True, True]))


def test_a_fit_that_cannot_be_traced_runs_step_by_step_after_a_warning():
    made = partial(trainer, loss=lambda z, y: cross_entropy(z, y) * (2.0 if float(z.mean()) > 0 else 1.0))
    ours, theirs = made(), made()
    with pytest.warns(UserWarning, match="this training runs step by step"):
        mine = ours.fit(DATA, SIDES, epochs=2, seed=3, compile=True)
    assert mine.columns == theirs.fit(DATA, SIDES, epochs=2, seed=3, compile=False).columns


# ---- the compiled function itself


def batched(case, dtype=np.float64):
    """The program of many steps, and a call of it that makes so many of them on its example."""
    training = Training(case, dtype)
    program = Compiled(training.program(), batched=True)
    program.prepare()

    def call(steps):
        x, y = training.batches[0]
        outputs = [np.empty(steps * b.size, b.dtype) for b, _ in program.plan.outputs.values()]
        order = np.tile(np.arange(ROWS), steps)
        program.load_state()
        program.function(order, steps, program.numbers(steps), x.reshape(-1), y.reshape(-1), *outputs, *program.fixed)
        return outputs[0]

    return training, program, call


@jitted
@pytest.mark.parametrize("name", ["tanh", "many classes"])
def test_no_step_allocates_memory(name):
    from numba.core.runtime import _nrt_python as nrt
    from numba.core.runtime import rtsys

    _, _, call = batched(TRAININGS[name])
    before = nrt.memsys_stats_enabled()
    nrt.memsys_enable_stats()
    try:
        call(1)
        allocated = []
        for steps in (10, 1000):
            start = rtsys.get_allocation_stats()
            call(steps)
            allocated.append(rtsys.get_allocation_stats().alloc - start.alloc)
    finally:
        if not before:
            nrt.memsys_disable_stats()
    assert allocated[0] == allocated[1]


@pytest.mark.usefixtures("in_python")
def test_many_steps_in_one_call_are_as_many_calls():
    training, program, call = batched(TRAININGS["momentum"])
    found = call(5)
    program.store_state()
    theirs = Training(TRAININGS["momentum"])
    expected = [theirs.step(*theirs.batches[0])[0].data for _ in range(5)]
    assert_close(found, np.array(expected), 1e-9)
    for name, array in theirs.learnt().items():
        assert_close(training.learnt()[name], array, 1e-9)


def test_memory_names_every_role_and_adds_up():
    case = Case(mlp(nn.Tanh, nn.Dropout(0.5)), losses.softmax_cross_entropy, MANY % 4, partial(Adam, lr=0.1))
    program = Training(case._replace(loss=lambda z, y: cross_entropy(z, y, weight=[1, 2, 3, 4]))).program()
    total, *rows = program.memory.splitlines()
    rows = {
        what: int(size.replace(",", ""))
        for size, what in (re.match(r" *([\d,]+) bytes  (.*?):", r).groups() for r in rows)
    }
    assert list(rows) == list(memory.ROLES.values())
    assert all(size > 0 for size in rows.values())
    assert total == f"{sum(rows.values()):,} bytes, allocated once"
    assert rows["the batch"] == ROWS * (3 + 1) * 8
    assert rows["random numbers"] == ROWS * 4 * 8
    parameters = 3 * 5 + 5 + 5 * 4 + 4
    assert rows["parameters and what else lives from step to step"] == 3 * parameters * 8


def test_the_memory_is_what_the_program_holds():
    program = Training(TRAININGS["all at once"]).program()
    with loops_as_python():
        made = Compiled(program)
    apart = sum(array.nbytes for b, array in made.arrays.items() if b.role != "temporary")
    ends = [b.offset + array.nbytes for b, array in made.arrays.items() if b.role == "temporary"]
    assert program.memory.startswith(f"{apart + max(ends):,} bytes, allocated once")


def test_the_gradient_of_the_loss_is_said_in_the_loops():
    assert "# d_predictions = xent_grad(" in Training(TRAININGS["tanh"]).program().lowered


@pytest.mark.parametrize("name", TRAININGS)
def test_the_loops_are_python_with_the_printed_lines_as_comments(name):
    program = Training(TRAININGS[name]).program()
    text = program.lowered
    (function,) = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    assert function.name == "run"
    comments = {line.strip() for line in text.splitlines() if line.strip().startswith("# ") and " = " in line}
    said = {ast.unparse(ast.parse(comment[2:])) for comment in comments}
    lines = {ast.unparse(line) for line in ast.parse(program.text(exact=True)).body[-1].body}
    assert said <= lines
    kept = {i.result.name for i in program.instructions} & {b.name for b in lowered.lowered(program).buffers}
    together = {i.result.name for i in program.instructions if i.op.name.endswith("xent_grad")}  # with the loss
    told = {name for line in said for name in line.strip("()").split(" = ")[0].rstrip(")").split(", ")} | together
    assert len(kept) > 6
    assert kept <= told
    for section in ("forward", "backward", "update"):
        assert f"# ---- {section}" in text


@pytest.mark.usefixtures("in_python")
def test_a_parameter_of_another_dtype_or_shape_is_refused_by_its_name():
    training = Training(TRAININGS["tanh"])
    step = tg.compile(training.step)
    step(*training.batches[0])
    weights = training.model.layers[2].W
    weights.data = weights.data.astype(np.float32)
    with pytest.raises(ValueError, match=r"W2 has shape \(5, 4\) and dtype float32 now.*compile it again"):
        step(*training.batches[1])
    weights.data = np.zeros((5, 5))
    with pytest.raises(ValueError, match=r"W2 has shape \(5, 5\)"):
        step(*training.batches[1])


@pytest.mark.usefixtures("in_python")
def test_other_shapes_are_compiled_anew():
    ours, theirs = Training(TRAININGS["all at once"]), Training(TRAININGS["all at once"])
    step = tg.compile(ours.step)
    for k, rows in enumerate((6, 4, 6, 3)):
        x, y = (array[:rows] for array in ours.batches[k])
        assert_close(step(x, y)[0], theirs.step(x, y)[0].data, 1e-9)
    assert len(step.programs) == 3
    for name, array in theirs.learnt().items():
        assert_close(ours.learnt()[name], array, 1e-9)


@jitted
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_another_thread_is_inside_of_the_step():
    step = tg.compile(lambda x: (x * x).sum())
    step(np.ones(3))
    inside, ended = threading.Event(), threading.Event()

    def hold():
        with step.alone:
            inside.set()
            ended.wait()

    other = threading.Thread(target=hold)
    other.start()
    inside.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(GUARD)
        os._exit(0 if step(np.ones(3)) == 3 else 1)
    ended.set()
    other.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_only_what_can_be_called_is_compiled():
    with pytest.raises(TypeError, match="which cannot be called"):
        tg.compile(3)
