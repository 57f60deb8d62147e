"""Notebooks, run in a kernel of their own."""

import pytest
from fresh import GUARD


@pytest.fixture(scope="session")
def jupyter_folders(tmp_path_factory):
    """Jupyter's and IPython's folders are new ones: no settings of the user's, and none are left behind."""
    folder = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(folder / name.lower()))
        for name in ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"):
            patch.setenv(name, str(folder / name.lower()))
        patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        patch.delenv("MPLBACKEND", raising=False)
        yield folder


@pytest.fixture(scope="session")
def client_of(jupyter_folders):
    """A function that gives a notebook of such cells, with somebody to run them."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")

    def client(*cells):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        return nbclient.NotebookClient(notebook, timeout=GUARD, startup_timeout=GUARD, allow_errors=True)

    return client
