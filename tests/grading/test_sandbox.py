"""A student's function runs in a process of its own: what it does there costs only itself."""

from __future__ import annotations

import ctypes
import os
import sys

import numpy as np
import pytest
from grading.hand_ins import SECONDS

from tinygrad_ce.grading.outcomes import PRINTED, Unreadable
from tinygrad_ce.grading.sandbox import call

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="functions run in this process where there is no fork")


def only(function, **limits):
    (outcome,) = call(function, [None], **limits)
    return outcome


def test_arrays_and_structures_come_back_as_they_are():
    value = {"d_W": np.arange(6.0).reshape(2, 3), "list": [1, (2.5, None)], "text": "é", "one": np.float32(0.5)}
    back = only(lambda _: value).value
    np.testing.assert_array_equal(back["d_W"], value["d_W"])
    assert (back["list"], back["text"], back["one"].dtype) == ([1, (2.5, None)], "é", np.float32)


def test_each_case_is_called_and_state_of_the_function_stays_there():
    seen = []
    outcomes = call(lambda x: (seen.append(x), x * 2)[1], [1, 2, 3])
    assert [outcome.value for outcome in outcomes] == [2, 4, 6]
    assert seen == []


def test_an_exception_is_told_with_the_line():
    def student(_):
        return np.ones((2, 3)) @ np.ones((2, 3))

    outcome = only(student)
    assert outcome.value is None
    assert outcome.error.startswith("ValueError: matmul")
    assert outcome.error.endswith("return np.ones((2, 3)) @ np.ones((2, 3)))")


def endless(_):
    while True:
        pass


def test_an_endless_loop_costs_its_seconds_and_what_comes_after():
    outcomes = call(lambda x: endless(x) if x == 2 else x, [1, 2, 3], seconds=SECONDS)
    assert [outcome.value for outcome in outcomes] == [1, None, None]
    assert "longer than 3 seconds" in outcomes[1].error


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory can be limited on Linux")
def test_memory_has_a_limit():
    assert "memory" in only(lambda _: np.ones(2 * 10**9), megabytes=300).error


@pytest.mark.parametrize("leave", [lambda _: os._exit(0), lambda _: ctypes.string_at(0)])
def test_a_process_that_ends_costs_only_itself(leave):
    assert "ended in the middle" in only(leave).error


@pytest.mark.parametrize("leave", [lambda _: sys.exit(3), lambda _: (_ for _ in ()).throw(KeyboardInterrupt)])
def test_leaving_python_is_an_error_of_the_call(leave):
    assert only(leave).error.startswith(("SystemExit", "KeyboardInterrupt"))


def test_what_is_printed_is_kept_but_not_megabytes(capfd):
    outcome = only(lambda _: [print("x" * 10**6) for _ in range(10)] and None)
    assert len(outcome.printed) == PRINTED
    assert capfd.readouterr() == ("", "")


def test_what_is_no_number_comes_back_as_its_type():
    assert only(lambda _: object()).value == Unreadable("object")


def test_nothing_is_executed_when_it_is_read():
    class Hostile:
        def __reduce__(self):
            return os.abort, ()

    assert only(lambda _: Hostile()).value == Unreadable("Hostile")
