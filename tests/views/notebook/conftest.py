"""Notebooks, run in a kernel of their own."""

import pytest
from fresh import GUARD


@pytest.fixture(scope="session")
def client_of(jupyter_folders):
    """A function that gives a notebook of such cells, with somebody to run them."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")

    def client(*cells):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        return nbclient.NotebookClient(notebook, timeout=GUARD, startup_timeout=GUARD, allow_errors=True)

    return client
