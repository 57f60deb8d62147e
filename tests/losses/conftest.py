"""The fixture that runs a test of the losses twice."""

import pytest
from losses.cases import use_bodies


@pytest.fixture(params=["kernels", "bodies"])
def way(request, monkeypatch):
    """Every test that asks for it runs with the Numba kernels, then with the NumPy bodies."""
    if request.param == "bodies":
        use_bodies(monkeypatch)
    return request.param
