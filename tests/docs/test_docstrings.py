"""The filter that turns this package's docstrings into fields for Sphinx."""

import sys

import pytest
from page_blocks import DOCS

pytest.importorskip("sphinx", reason="Sphinx is not installed")
sys.path.append(str(DOCS))

from docstrings import as_markup, without_any

TEXT = """\
Squares, element by element; see `other(x)`.

x: the numbers, a *list*; and
more of it. Not `None`s. y and z: of the same shape.
This sentence is about the whole. **options: those of `other`. last:
what stands on the next line.
kept, there: what stays in the object. spare: what does not.
Raises OverflowError, when it is called, for large ones.
Raises ValueError for shapes that differ, TypeError if x is text, and KeyError or
IndexError where there is no row.

>>> square(np.array([x: 2])) * 2
4

Source: C. F. Gauss: x: 1821.
"""


def test_sentences_become_fields_and_examples_stay():
    expected = r"""
Squares, element by element; see ``other(x)``.

This sentence is about the whole.

:param x: the numbers, a \*list\*; and more of it. Not ``None``\ s.
:param y: of the same shape.
:param z: of the same shape.
:param \*\*options: those of ``other``.
:param last: what stands on the next line.
:ivar kept: what stays in the object.
:ivar there: what stays in the object.
:ivar spare: what does not.
:raises OverflowError: when it is called, for large ones.
:raises ValueError: for shapes that differ
:raises TypeError: if x is text
:raises KeyError, IndexError: where there is no row.

>>> square(np.array([x: 2])) * 2
4

Source: C. F. Gauss: x: 1821."""
    found = as_markup(TEXT, {"x", "y", "z", "options", "last"})
    assert [line.rstrip() for line in found.splitlines() if line] == [line for line in expected.splitlines() if line]


@pytest.mark.parametrize(
    "text",
    [
        "Without any field: it says one thing. And: another.",
        "The file: `a.b`.\n\nThen more.",
        "Note: nothing.",
        "Raises as `tg.save`.",
        "Example:\n    x: 3\n    y_ = |x|",
    ],
)
def test_what_describes_no_argument_stays_a_sentence(text):
    found = as_markup(text, {"x"})
    assert ":param" not in found
    assert ":raises" not in found
    assert found.replace("``", "`").replace("::\n\n", "").replace("    Example:", "Example:").split() == text.split()


@pytest.mark.parametrize(
    ("signature", "result", "expected"),
    [
        ("(a: Any, b: Any = None, *, c: int = 3)", "Any", ("(a, b = None, *, c: int = 3)", None)),
        ("(a: ~typing.Any) ", "int", ("(a) ", "int")),
        ("(a: Callable[..., Any])", "", ("(a: Callable[..., Any])", "")),
        ("(a: dict[str, int] = <factory>)", "None", ("(a: dict[str, int] = ...)", "None")),
        (
            "(a: ~numpy.ndarray[tuple[~typing.Any, ...], ~numpy.dtype[~typing.Any]])",
            "list[numpy.ndarray[tuple[typing.Any, ...], numpy.dtype[typing.Any]]]",
            ("(a: numpy.ndarray)", "list[numpy.ndarray]"),
        ),
        (None, "", None),
    ],
)
def test_a_signature_keeps_the_types_that_say_something(signature, result, expected):
    assert without_any(None, "function", "f", None, None, signature, result) == expected
