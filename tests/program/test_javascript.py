"""Trainings as JavaScript, in Node, against the engine: every layer, loss and optimizer."""

import numpy as np
import pytest
from program.in_node import job, needs_node, run_in_node
from program.loops_as_python import TRAININGS, Training

from tinygrad_ce.variable import write

pytestmark = needs_node
STEPS = 200
SINGLE = ("tanh", "relu", "soft targets", "sigmoid bce", "mse", "batch norm", "embedding", "adam", "all at once")
CASES = [(name, np.float64) for name in TRAININGS] + [(name, np.float32) for name in SINGLE]
# Of the largest number of an array; in single precision, so many rounding errors of steps that go the same way.
EXACTNESS = {np.float64: 1e-12, np.float32: STEPS * np.finfo(np.float32).eps}
NOISE = 1e-2  # arrays that are smaller are compared with this: a bias before batch norm is what rounding leaves of 0


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Of each training, its program and what it gives in Node."""
    programs, jobs = [], []
    for name, dtype in CASES:
        training = Training(TRAININGS[name], dtype)
        programs.append((training, training.program()))
        jobs.append(job(programs[-1][1], (training.batches * STEPS)[:STEPS]))
    found = run_in_node(jobs, tmp_path_factory.mktemp("node"))
    return {case: (*program, answer) for case, program, answer in zip(CASES, programs, found, strict=True)}


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_a_training_is_the_same(answers, name, dtype):
    ours, program, answer = answers[name, dtype]
    assert "error" not in answer, answer
    theirs = Training(TRAININGS[name], dtype)
    for outputs, batch in zip(answer["outputs"], (theirs.batches * STEPS)[:STEPS], strict=True):
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
