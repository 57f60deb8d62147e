"""What a line is called: in a file, in a cell of IPython's, in one of marimo's."""

import sys
from types import SimpleNamespace

import pytest

from tinygrad_ce.source_lines import Line, cell_of, notebook_kernel


@pytest.fixture
def shell(monkeypatch):
    """IPython's, with one cell that has run as In [3]."""
    names = {"/tmp/ipykernel_12/345.py": ("Cell", "In[3]")}
    shell = SimpleNamespace(compile=SimpleNamespace(format_code_name=names.get), kernel="a kernel")
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    return shell


def test_a_cell_has_the_number_that_is_shown_beside_it(shell):
    assert Line("/tmp/ipykernel_12/345.py", 2).short == "cell 3, line 2"
    assert Line("/home/me/train.py", 12).short == "train.py:12"
    assert notebook_kernel() == "a kernel"


def test_without_ipython_a_file_is_a_file(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert Line("/tmp/ipykernel_12/345.py", 2).short == "345.py:2"
    assert notebook_kernel() is None
    assert "IPython" not in sys.modules


def test_ipython_that_is_imported_but_does_not_run_changes_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert Line("train.py", 1).short == "train.py:1"
    assert notebook_kernel() is None


@pytest.mark.parametrize(("file", "cell"), [("Hbol_.py", "cell Hbol"), ("a1_b_.py", "cell a1_b"), ("x.py", None)])
def test_marimos_cells_have_names(monkeypatch, file, cell):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert cell_of(f"/tmp/marimo_77/__marimo__cell_{file}") == cell
