"""The network of most tests of the exercise."""

from __future__ import annotations

import pytest
from exercises.networks import batch_norm_network


@pytest.fixture(scope="session")
def net():
    return batch_norm_network()
