"""Fixtures for the tests of programs."""

import pytest


@pytest.fixture
def in_python():
    pytest.importorskip("numba")
    from program.loops_as_python import loops_as_python

    with loops_as_python():
        yield
