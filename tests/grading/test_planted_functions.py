"""Every one of forty functions with a mistake is recognised as wrong, and nearly all of the mistakes are named."""

from __future__ import annotations

import pytest
from grading.planted import PLANTED, Planted
from grading.verdicts import verdict_on

GOAL = 0.9  # of the mistakes, that are called by what they are


def test_there_are_forty():
    assert len({entry.name for entry in PLANTED}) == len(PLANTED) == 40


@pytest.mark.parametrize("entry", PLANTED, ids=lambda entry: entry.name)
def test_a_function_with_a_mistake_is_recognised(entry: Planted):
    verdict = verdict_on(entry)
    assert not verdict.right
    assert verdict.message


def test_nearly_all_mistakes_are_named():
    verdicts = {entry: verdict_on(entry) for entry in PLANTED}
    other = [
        f"{entry.name}: {verdict}" for entry, verdict in verdicts.items() if not entry.is_named_by(verdict.mistake)
    ]
    assert len(other) <= (1 - GOAL) * len(PLANTED), "\n".join(other)
