"""Fixtures for the tests of programs."""

import pytest
from program.loops_as_python import loops_as_python


@pytest.fixture
def in_python():
    with loops_as_python():
        yield
