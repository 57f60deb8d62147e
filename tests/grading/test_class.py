"""A class of made-up hand-ins: each gets what it deserves, and none costs another one anything."""

from __future__ import annotations

import sys

import pytest
from grading.hand_ins import MEGABYTES, SAMPLES, SECONDS

from tinygrad_ce.assignments import ready
from tinygrad_ce.grading.marking import mark_class
from tinygrad_ce.grading.outcomes import PRINTED

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory can be limited on Linux")


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The class, by student."""
    folder = tmp_path_factory.mktemp("submissions")
    for sample in SAMPLES:
        sample.write(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    marked = mark_class(folder, ready("softmax_cross_entropy"), SECONDS, MEGABYTES)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    return {one.hand_in.student: one for one in marked}


def test_there_is_a_result_for_each_in_the_order_of_names(graded):
    assert len(SAMPLES) >= 60
    assert [*graded] == sorted((sample.student for sample in SAMPLES), key=str.casefold)


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample.student for sample in SAMPLES])
def test_each_gets_what_it_deserves(graded, sample):
    one = graded[sample.student]
    assert sample.problem in one.problem
    assert bool(one.problem) == bool(sample.problem)
    assert (one.grade is None) == bool(sample.problem)
    assert one.score == sample.score
    assert sample.remark in one.remark
    assert len(one.printed) <= PRINTED
    if one.grade is not None:
        verdicts = one.grade.verdicts
        assert {name for name, verdict in verdicts.items() if not verdict.right} == {*sample.mistakes, *sample.follows}
        assert {name for name, verdict in verdicts.items() if verdict.follows} == {*sample.follows}
        assert {name: verdicts[name].mistake for name, mistake in sample.mistakes.items() if mistake} == {
            name: mistake for name, mistake in sample.mistakes.items() if mistake
        }
        assert sample.note in " ".join(one.grade.remarks)
