"""The backbone: whatever form a step takes, it learns the same.

Eager = recorded = printed as a textbook = printed exactly = loops (in one, two and three threads, bit for bit) =
compiled = JavaScript: for the trainings of `loops_as_python.py`, and for random programs. Numba takes a second for
each program: here loops run as the generated text, as Python, and threads are acted out (`test_sharing.py`). What Numba
compiles is in `test_compiled_*.py`.
"""

from functools import partial

import numpy as np
import pytest
from program.in_node import job, needs_node, run_in_node
from program.loops_as_python import (
    SGD,
    STEPS,
    Adam,
    Case,
    Training,
    assert_close,
    assert_same_training,
    eager,
    in_loops,
    textbook,
    ways,
)
from program.loops_as_python import TRAININGS as TRAININGS_OF_EVERYTHING
from program.test_sharing import assert_threads_agree, share_small_steps
from random_programs import check_forms, check_in_node

import tinygrad_ce as tg
from tinygrad_ce import losses, nn, optim
from tinygrad_ce.program import lowered, program, sharing
from tinygrad_ce.variable import write

pytestmark = pytest.mark.filterwarnings("ignore:softmax_cross_entropy.*has one class")

# ---- trainings: every layer, loss and optimizer, and what is odd in its shapes

rng = np.random.default_rng(9)


def odd(layers, rows, features, classes, **more):
    """A training with batches of these sizes."""
    x, y = rng.normal(size=(STEPS, rows, features)), rng.integers(0, classes, (STEPS, rows))
    return Case(layers, **{"x": x, "y": y, **more})


ODD = {
    "one row": odd(lambda: [nn.Dense(3, 4), nn.ReLU(), nn.Dense(4, 2)], 1, 3, 2),
    "one class": odd(lambda: [nn.Dense(3, 1)], 5, 3, 1),
    "one of everything": odd(lambda: [nn.Dense(1, 1)], 1, 1, 1, loss=losses.mse, y=rng.normal(size=(STEPS, 1, 1))),
    "many features, one output": odd(
        lambda: [nn.Dense(300, 1)], 8, 300, 2, loss=losses.mse, y=rng.normal(size=(STEPS, 8, 1))
    ),
    "no bias": odd(
        lambda: [nn.Dense(300, 5, bias=False), nn.Tanh(), nn.Dense(5, 3, bias=False)],
        *(9, 300, 3),
        optimizer=partial(Adam, lr=0.01),
    ),
    "a norm of one feature": odd(lambda: [nn.Dense(3, 1), nn.LayerNorm(1), nn.Dense(1, 2)], 5, 3, 2),
    "words, dropout and a norm": odd(
        lambda: [nn.Embedding(9, 4), nn.Dropout(0.3), nn.Flatten(), nn.Dense(8, 6, bias=False), nn.BatchNorm(6)],
        *(8, 2, 6),
        x=rng.integers(0, 9, (STEPS, 8, 2)),
        optimizer=partial(SGD, lr=0.1, weight_decay=0.1),
        clip=1.0,
    ),
    "labels of one byte": odd(lambda: [nn.Dense(3, 4)], 5, 3, 4, y=rng.integers(0, 4, (STEPS, 5)).astype(np.uint8)),
    "a picture of bytes": odd(
        lambda: [nn.Flatten(), nn.Dense(4, 3)],
        *(5, 4, 3),
        x=rng.integers(0, 3, (STEPS, 5, 2, 2)).astype(np.uint8),
    ),
}
TRAININGS = TRAININGS_OF_EVERYTHING | ODD


class ByHand(Training):
    """Two optimizers, tied weights, and parameters of shape (), frozen, and without a gradient."""

    def __init__(self, dtype=np.float64):
        tg.seed(0)
        self.model = nn.Sequential(nn.Dense(4, 4), nn.Tanh(), nn.Dense(4, 4)).astype(dtype)
        last = self.model.layers[2]
        last.b.requires_grad = False
        scale, unused = (tg.Tensor(np.asarray(x, dtype), requires_grad=True) for x in (1.5, [1.0, 2.0]))
        self.optimizer = Adam([scale.named("scale"), unused.named("unused"), last.W], lr=optim.Cosine(0.05, steps=15))
        self.other = SGD(self.model.layers[0].parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
        rng = np.random.default_rng(4)
        self.batches = [(rng.normal(size=(5, 4)).astype(dtype), rng.integers(0, 4, 5)) for _ in range(STEPS)]

    def step(self, x, y):
        self.optimizer.zero_grad()
        self.other.zero_grad()
        scale, first = self.optimizer.parameters[0], self.model.layers[0].W
        scores = self.model(x) @ first.T / scale
        loss = losses.softmax_cross_entropy(scores, y) + 0.1 * scale * scale + 0.01 * (first**2).sum()
        loss.backward()
        optim.clip_grad_norm(self.other.parameters, 0.3)
        self.other.step()
        self.optimizer.step()
        return loss, scores

    def learnt(self):
        kept = {f"parameter {k}": x.data.copy() for k, x in enumerate(self.optimizer.parameters)}
        memory = {f"other {i} {k}": x.data.copy() for i, s in enumerate(self.other.memory) for k, x in enumerate(s)}
        return super().learnt() | kept | memory


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@ways
def test_a_step_by_hand_with_two_optimizers(way, dtype):
    exactness = 1e-9 if dtype == np.float64 else 1e-4
    ours, theirs = ByHand(dtype), ByHand(dtype)
    for mine, expected in zip(way(ours, STEPS), eager(theirs, STEPS), strict=True):
        for got, array in zip(mine, expected, strict=True):
            assert_close(got, array, exactness)
    for name, array in theirs.learnt().items():
        assert_close(ours.learnt()[name], array, exactness)


def test_a_step_by_hand_in_threads(monkeypatch):
    share_small_steps(monkeypatch)
    assert_threads_agree(ByHand, 4, monkeypatch)


@ways
@pytest.mark.parametrize("name", TRAININGS)
def test_twenty_steps_learn_what_eager_ones_do(name, way):
    assert_same_training(way, TRAININGS[name])


@ways
@pytest.mark.parametrize("name", TRAININGS)
def test_steps_in_float32_stay_there(name, way):
    assert_same_training(way, TRAININGS[name], np.float32, steps=4)


@pytest.mark.parametrize("name", TRAININGS)
def test_any_number_of_threads_in_any_order_gives_the_same_bits(name, monkeypatch):
    share_small_steps(monkeypatch)
    assert_threads_agree(lambda: Training(TRAININGS[name]), 4, monkeypatch)


@pytest.mark.parametrize("name", ["tanh", "embedding", "all at once"])
def test_a_batch_of_few_rows_is_not_cut_but_its_step_is_shared(name, monkeypatch):
    """The first thread gathers all of it, and the others wait for that."""
    few_rows = sharing.MIN_ROWS
    share_small_steps(monkeypatch)
    monkeypatch.setattr(sharing, "MIN_ROWS", few_rows)
    assert len(TRAININGS[name].x[0]) < few_rows
    assert_threads_agree(lambda: Training(TRAININGS[name]), 4, monkeypatch)


# ---- the same trainings as JavaScript, all in one process of Node

MANY = 10 * STEPS
SINGLE = ("tanh", "relu", "soft targets", "sigmoid bce", "mse", "batch norm", "embedding", "adam", "all at once")
CASES = [(name, np.float64) for name in TRAININGS] + [(name, np.float32) for name in SINGLE]
# Of the largest number of an array; in single precision, so many rounding errors of steps that go the same way.
EXACTNESS = {np.float64: 1e-12, np.float32: MANY * np.finfo(np.float32).eps}
NOISE = 1e-2  # arrays that are smaller are compared with this: a bias before batch norm is what rounding leaves of 0


def batches_of(training):
    return (training.batches * MANY)[:MANY]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Of each training, its program and what it gives in Node."""
    programs, jobs = [], []
    for name, dtype in CASES:
        training = Training(TRAININGS[name], dtype)
        programs.append((training, training.program()))
        jobs.append(job(programs[-1][1], batches_of(training)))
    found = run_in_node(jobs, tmp_path_factory.mktemp("node"))
    return {case: (*program, answer) for case, program, answer in zip(CASES, programs, found, strict=True)}


@needs_node
@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_javascript_learns_the_same_in_two_hundred_steps(answers, name, dtype):
    ours, program, answer = answers[name, dtype]
    assert "error" not in answer, answer
    theirs = Training(TRAININGS[name], dtype)
    for outputs, batch in zip(answer["outputs"], batches_of(theirs), strict=True):
        for got, expected in zip(outputs.values(), theirs.step(*batch), strict=True):
            assert_near(got, expected.data, dtype)
    for x in program.updates:
        write(x.variable, answer["state"][x.name].reshape(x.shape).astype(x.dtype))
    learnt = ours.learnt()
    for key, array in theirs.learnt().items():
        assert_near(learnt[key], array, dtype, key)


def assert_near(got, expected, dtype, where=""):
    bound = EXACTNESS[dtype] * max(np.abs(expected).max(initial=0), NOISE)
    np.testing.assert_allclose(got.reshape(-1), expected.reshape(-1), rtol=0, atol=bound, err_msg=where)


# ---- random programs (python tests/peers/many_programs.py 1000 checks more of them)

SEEDS = range(40)
EACH = 20


@pytest.mark.parametrize("first", SEEDS[::EACH])
def test_random_programs_learn_the_same_in_every_form(first):
    for seed in SEEDS[first : first + EACH]:
        assert not any(form.endswith("refused") for form in check_forms(seed))


@needs_node
def test_random_programs_learn_the_same_in_javascript(tmp_path):
    counts, differences = check_in_node(SEEDS, tmp_path)
    assert differences == []
    assert counts["javascript: agree"] == len(SEEDS)


# ---- what these tests can see


@pytest.mark.parametrize(("way", "module", "name"), [(textbook, program, "as_numpy"), (in_loops, lowered, "as_numba")])
def test_a_wrong_digit_in_one_form_is_noticed(way, module, name, monkeypatch):
    """The learning rate is off by 1e-6 of itself."""
    write_text = getattr(module, name)

    def wrong(text):
        assert " - lr * " in text
        return text.replace(" - lr * ", " - 1.000001 * lr * ")

    def write_wrong_text(*given):
        written = write_text(*given)
        return wrong(written) if isinstance(written, str) else (wrong(written[0]), *written[1:])

    monkeypatch.setattr(module, name, write_wrong_text)
    monkeypatch.setattr(lowered, "_lowered", {})
    with pytest.raises(AssertionError, match="Not equal"):
        assert_same_training(way, TRAININGS["tanh"])
    with pytest.raises(AssertionError, match=f"program 3, {'loops' if way is in_loops else 'textbook'}"):
        check_forms(3)
