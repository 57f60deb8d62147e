"""Several threads in one step: the same bits as one thread, whoever is first, and nobody waits for ever.

Threads are acted out one after the other: between two meetings each runs to the next one, in either order. A meeting
that is missing lets a thread read what another has not written yet, and the numbers differ.
"""

import os
import re
import signal
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from fresh import GUARD

numba = pytest.importorskip("numba")

from program.loops_as_python import (  # noqa: E402 (what follows is skipped without Numba)
    PLAIN,
    ROWS,
    TRAININGS,
    Case,
    Training,
    assert_close,
    cross_entropy,
    eager,
    jitted,
    mlp,
)

import tinygrad_ce as tg  # noqa: E402
from tinygrad_ce import nn  # noqa: E402
from tinygrad_ce.kernels import gate  # noqa: E402
from tinygrad_ce.program import epochs, lowered, lowering, run, sharing, team  # noqa: E402

MEETING = "passed = meet(gate, passed, threads)"


def as_generator(text):
    """The generated function with a `yield` where threads meet."""
    assert "import meet" in text or ", meet" in text
    assert text.count(MEETING) >= 2
    names = {}
    text = re.sub(r"^(@jit|\w+ = linked.*)\n", "", text, flags=re.MULTILINE)
    text = text.replace("passed = meet(gate, 0, threads)", "").replace(MEETING, "yield")
    exec(compile(text, "<lowered>", "exec"), names)
    names.update({name: function for name, function in PLAIN.items() if name in names})
    return "none", names["run"]


def acted_out(last_first):
    """Threads that run one after the other from meeting to meeting."""

    def in_step(function, threads):
        acting = [function(number, threads, None) for number in range(threads)]
        while acting:
            acting = [thread for thread in acting[:: -1 if last_first else 1] if next(thread, "end") != "end"]
            acting = acting[:: -1 if last_first else 1]

    return in_step


@pytest.fixture
def small_is_worth_it(monkeypatch):
    share_small_steps(monkeypatch)


def share_small_steps(monkeypatch):
    """The smallest steps are shared, and the shortest sums are cut."""
    monkeypatch.setattr(lowered, "_lowered", {})
    monkeypatch.setattr(lowering, "MIN_SHARED_WORK", 0)
    monkeypatch.setattr(sharing, "MIN_SHARED_WORK", 0)
    monkeypatch.setattr(lowering, "MIN_SPLIT_TERMS", 2)
    monkeypatch.setattr(lowering, "half_of_rows", lambda rows: rows // 2)
    monkeypatch.setattr("tinygrad_ce.program.numba_text.half_of_rows", lambda rows: rows // 2)
    monkeypatch.setattr(sharing, "MIN_ROWS", 2)


def learn(training, steps, threads):
    """What each step gives, and what is learnt, by the compiled loop over all batches."""
    program = epochs.BatchProgram(training.step, training.batches[0], [training.model])
    assert program.compiled.plan.shared
    program.team = SimpleNamespace(threads=threads, measured=lambda threads, seconds: None)
    program.compiled.load_state()
    data = tuple(np.concatenate(arrays).reshape(-1) for arrays in zip(*training.batches, strict=True))
    done = program.run(np.arange(steps * program.size), data)
    program.compiled.store_state()
    return {"losses": done.losses, "predictions": done.predictions, **training.learnt()}


@pytest.mark.usefixtures("small_is_worth_it")
@pytest.mark.parametrize("rows", [1, 3])
def test_a_batch_of_fewer_rows_than_are_shared(rows, monkeypatch):
    monkeypatch.setattr(sharing, "MIN_ROWS", 4)
    monkeypatch.setattr(lowering, "MIN_SPLIT_TERMS", 100)  # the batch is gathered by rows, not in halves
    case = TRAININGS["tanh"]
    case = case._replace(x=case.x[:, :rows], y=case.y[:, :rows])
    assert_threads_agree(lambda: Training(case), 4, monkeypatch)


def assert_threads_agree(new_training, steps, monkeypatch):
    """One, two and three threads, whoever is first: the same bits, and what eager steps learn."""
    monkeypatch.setattr(run.code_cache, "function_of", as_generator)
    monkeypatch.setattr(run.code_cache, "seal", lambda name: None)
    found = []
    for threads, last_first in ((1, False), (2, False), (2, True), (3, False), (3, True)):
        monkeypatch.setattr(run, "in_step", acted_out(last_first))
        with np.errstate(all="ignore"):
            found.append(learn(new_training(), steps, threads))
    for other in found[1:]:
        assert other.keys() == found[0].keys()
        for key, array in found[0].items():
            np.testing.assert_array_equal(other[key], array, err_msg=key)
    reference = new_training()
    losses = np.concatenate([np.ravel(answers[0]) for answers in eager(reference, steps)])
    assert_close(found[0]["losses"], losses, 1e-9)
    for key, array in reference.learnt().items():
        assert_close(found[0][key], array, 1e-9)


def test_a_meeting_that_is_missing_is_noticed_by_acting_out(small_is_worth_it, monkeypatch):
    """What the test above can see: without the meetings before the loss, the threads disagree."""
    monkeypatch.setattr(run.code_cache, "seal", lambda name: None)
    monkeypatch.setattr(run, "in_step", acted_out(True))
    found = []
    for text_of in (lambda text: text, lambda text: text.replace(f"        {MEETING}\n", "        pass\n", 2)):
        monkeypatch.setattr(run.code_cache, "function_of", lambda text, of=text_of: as_generator(of(text)))
        with np.errstate(all="ignore"):
            found.append(learn(Training(TRAININGS["tanh"]), 4, 2)["losses"])
    assert not np.array_equal(*found)


# ---- real threads


WIDE = np.random.default_rng(3).normal(size=(4, 64, 264))
LABELS = np.random.default_rng(4).integers(0, 10, (4, 64))
LARGE = Case(lambda: [nn.Dense(264, 96), nn.Tanh(), nn.Dense(96, 10)], y=LABELS, x=WIDE)


@pytest.fixture
def shared_from_little_work_on(monkeypatch):
    monkeypatch.setattr(lowered, "_lowered", {})
    monkeypatch.setattr(lowering, "MIN_SHARED_WORK", 1000)
    monkeypatch.setattr(sharing, "MIN_SHARED_WORK", 1000)


@jitted
@pytest.mark.usefixtures("shared_from_little_work_on")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_threads_of_numba_give_the_same_bits(dtype):
    one, two, three = (learn(Training(LARGE, dtype), 4, threads) for threads in (1, 2, 3))
    for key, array in one.items():
        np.testing.assert_array_equal(two[key], array)
        np.testing.assert_array_equal(three[key], array)
    reference = Training(LARGE, dtype)
    losses = np.concatenate([np.ravel(answers[0]) for answers in eager(reference, 4)])
    assert_close(one["losses"], losses, 1e-9 if dtype == np.float64 else 1e-4)


@jitted
@pytest.mark.usefixtures("shared_from_little_work_on")
def test_more_threads_than_processors_and_another_computation_beside_them():
    expected = learn(Training(LARGE), 4, 1)
    ended = threading.Event()
    others = [threading.Thread(target=lambda: [sum(range(1000)) for _ in iter(ended.is_set, True)]) for _ in range(2)]
    for other in others:
        other.start()
    found = learn(Training(LARGE), 4, 2 * (os.cpu_count() or 1) + 1)
    ended.set()
    for other in others:
        other.join()
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array)


@jitted
@pytest.mark.usefixtures("shared_from_little_work_on")
def test_a_failure_in_one_thread_ends_all_of_them():
    """An index out of range in the rows of one thread: the others do not wait for it at the gate."""
    words = np.zeros((1, 64, 2), int)
    words[0, -1, -1] = 7
    case = Case(lambda: [nn.Embedding(7, 64), nn.Flatten(), nn.Dense(128, 10)], y=LABELS[:1], x=words)
    training = Training(case)
    training.batches[0] = (np.zeros((64, 2), int), LABELS[0])
    program = epochs.BatchProgram(training.step, training.batches[0], [training.model])
    program.team = SimpleNamespace(threads=2, measured=lambda threads, seconds: None)
    program.compiled.load_state()
    assert program.compiled.plan.shared
    data = words.reshape(-1), LABELS[0]
    assert program.run(np.arange(64), data) is None  # undone: the eager loop says what is wrong


def no_more_threads(monkeypatch, allowed):
    start = threading.Thread.start
    started = []

    def limited(self):
        if len(started) == allowed:
            raise RuntimeError("can't start new thread")
        started.append(self)
        start(self)

    monkeypatch.setattr(team.threading.Thread, "start", limited)
    return started


@jitted
@pytest.mark.usefixtures("shared_from_little_work_on")
@pytest.mark.parametrize("allowed", [0, 1])
def test_without_more_threads_one_does_it(allowed, monkeypatch):
    expected = learn(Training(LARGE), 4, 1)
    started = no_more_threads(monkeypatch, allowed)
    found = learn(Training(LARGE), 4, 3)
    assert len(started) == allowed
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array)


@jitted
@pytest.mark.usefixtures("shared_from_little_work_on")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_of_a_fork_trains_with_threads_of_its_own():
    expected = learn(Training(LARGE), 4, 2)
    child = os.fork()
    if child == 0:
        signal.alarm(GUARD)
        try:
            found = learn(Training(LARGE), 4, 2)
            same = all(np.array_equal(found[key], array) for key, array in expected.items())
        except BaseException:
            os._exit(2)
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_first_error_that_is_nobodys_waiting_is_raised():
    def fails(number, count, gate):
        if number == 1:
            raise IndexError("row 3")
        raise RuntimeError("another thread of this step has failed")

    with pytest.raises(IndexError, match="row 3"):
        team.in_step(fails, 2)


def test_ctrl_c_is_raised_after_all_have_ended():
    ended = []

    class Waiting:
        def __init__(self):
            self.interrupted = False

        def join(self):
            if not self.interrupted:
                self.interrupted = True
                raise KeyboardInterrupt
            ended.append(self)

    errors = []
    team._wait_for([Waiting(), Waiting()], errors)
    assert len(ended) == 2
    assert {type(error) for error in errors} == {KeyboardInterrupt}


def test_each_row_belongs_to_one_thread():
    for rows in (1, 2, 7, 8, 63, 64, 100, 784, 1000):
        for threads in (1, 2, 3, 5, 16):
            cuts = [gate.first_row(rows, thread, threads) for thread in range(threads + 1)]
            assert cuts[0] == 0
            assert cuts[-1] == rows
            assert cuts == sorted(cuts)
    assert gate.first_row(784, 1, 2) == lowering.half_of_rows(784)


def test_the_clock_chooses_between_one_thread_and_all(monkeypatch):
    monkeypatch.setattr(team, "get_num_threads", lambda: 2)
    for seconds, choice in (({1: 1.0, 2: 0.6}, 2), ({1: 1.0, 2: 1.6}, 1)):
        clock, chosen = team.Team(True), []
        for _ in range(team.ROUND):
            chosen.append(clock.threads)
            clock.measured(chosen[-1], seconds[chosen[-1]])
        assert chosen[: team.SETTLING + 1] == [2] * team.SETTLING + [1]
        assert set(chosen[team.SETTLING + 1 :]) == {choice}
        assert clock.threads == 2  # a new round
    assert team.Team(False).threads == 1


@pytest.mark.usefixtures("small_is_worth_it", "in_python")
def test_loops_that_run_as_python_are_not_shared(monkeypatch):
    """Nobody can wait at the gate there."""
    monkeypatch.setattr(team, "get_num_threads", lambda: 2)
    for plain, threads in ((True, 1), (False, 2)):
        monkeypatch.setattr(gate, "PLAIN", plain)
        training = Training(TRAININGS["tanh"])
        program = epochs.BatchProgram(training.step, training.batches[0], [training.model])
        assert program.compiled.plan.shared
        assert program.team.threads == threads


def test_a_small_step_is_not_shared_and_a_large_one_is():
    rng = np.random.default_rng(0)
    for sizes, shared in (((2, 16), False), ((784, 128), True)):
        case = Case(mlp(), cross_entropy)
        case = case._replace(
            layers=lambda sizes=sizes: [nn.Dense(*sizes), nn.Tanh(), nn.Dense(sizes[1], 4)],
            x=rng.normal(size=(1, 64, sizes[0])),
            y=rng.integers(0, 4, (1, 64)),
        )
        program = tg.trace(Training(case).step, case.x[0], case.y[0])
        assert lowered.lowered(program, batched=True).shared == shared
        assert not lowered.lowered(program).shared
    assert ROWS < sharing.MIN_ROWS
