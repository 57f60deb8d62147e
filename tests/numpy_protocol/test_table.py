"""Every public function of NumPy is taken, or stands in the table of what is left out, with its reason."""

from __future__ import annotations

import inspect
import types
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from leaves import wanted

from tinygrad_ce.numpy_protocol import FUNCTIONS, UFUNCS
from tinygrad_ce.numpy_protocol.refusals import LEFT_OUT, names_left_out, page
from tinygrad_ce.numpy_protocol.registry import name_of

PAGE = Path(__file__).parents[2] / "docs" / "numpy.md"


def public_functions(module: Any, start: str) -> dict[str, Any]:
    """The functions and ufuncs of a module, by the names that users write."""
    functions = {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}
    return {
        f"{start}.{name}": f
        for name, f in functions.items()
        if callable(f) and not isinstance(f, (type, types.ModuleType))
    }


NUMPYS = public_functions(np, "np") | public_functions(np.linalg, "np.linalg") | public_functions(np.fft, "np.fft")


def test_every_function_of_numpy_is_taken_or_left_out_for_a_reason() -> None:
    taken = {name for name, f in NUMPYS.items() if f in FUNCTIONS or f in UFUNCS}
    named = {name for name, f in NUMPYS.items() if {name, f"np.{getattr(f, '__name__', '')}"} & names_left_out()}
    assert sorted({*NUMPYS} - taken - named) == [], "neither taken nor in the table of reasons"
    assert sorted(taken & names_left_out()) == [], "taken, and in the table of reasons too"


def test_what_is_left_out_says_why() -> None:
    for family in LEFT_OUT:
        for name in family.names.split():
            function = NUMPYS.get(f"np.{name}")
            if function is None:  # this NumPy has it not, or no longer
                continue
            t = wanted(1.0)
            protocol = partial(t.__array_function__, function, (), (t,), {})
            if isinstance(function, np.ufunc):
                protocol = partial(t.__array_ufunc__, function, "__call__", t)
            with pytest.raises(TypeError) as caught:
                protocol()
            assert str(caught.value).startswith(f"np.{name} has no derivative rule here: {family.reason}; use one of")


def test_no_name_stands_in_the_table_twice() -> None:
    names = [name for family in LEFT_OUT for name in family.names.split()]
    assert sorted(names) == sorted({*names})


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not part of every distribution")
def test_the_page_of_the_documentation_is_the_table() -> None:
    written = PAGE.read_text(encoding="utf-8")
    left_out = page().partition("## Left out")[2]
    assert written.partition("## Left out")[2] == left_out, "write it: python -m tinygrad_ce.numpy_protocol"
    for name in (f"`{name}`" for name, f in NUMPYS.items() if f in FUNCTIONS and f"np.{f.__name__}" == name):
        assert name in written.partition("## Left out")[0], f"{name}: python -m tinygrad_ce.numpy_protocol"


@pytest.mark.parametrize("function", sorted(FUNCTIONS, key=name_of), ids=name_of)
def test_arguments_have_numpys_names(function: Any) -> None:
    try:
        theirs = [p.name for p in inspect.signature(function).parameters.values()]
    except ValueError:  # an older NumPy does not say what its functions in C take
        return
    ours = [p for p in inspect.signature(FUNCTIONS[function]).parameters.values() if p.kind.name[:3] != "VAR"]
    positional = [p.name for p in ours if p.kind is not p.KEYWORD_ONLY]
    assert {p.name for p in ours} <= {*theirs}
    assert positional == theirs[: len(positional)]
