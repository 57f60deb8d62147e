"""The losses and the kinds of files with which exercises as files are tested."""

from __future__ import annotations

import pytest
from assignments.files import networks


@pytest.fixture(params=[*networks()])
def loss(request):
    """The loss of a network."""
    return networks()[request.param]


@pytest.fixture(params=[".py", ".ipynb"])
def ending(request):
    """How the name of a student's file ends."""
    if request.param == ".ipynb":
        pytest.importorskip("nbformat")
    return request.param
