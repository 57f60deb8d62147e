"""How the tests stand: folders as in the package, and no file that is too long to be read."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tinygrad_ce as tg

TESTS, PACKAGE = Path(__file__).parent, Path(tg.__file__).parent
FILES = sorted(path.relative_to(TESTS).as_posix() for path in TESTS.rglob("*.py"))
FOLDERS = sorted(
    {Path(file).parent.as_posix() for file in FILES} - {".", "peers", "docs"}
)  # scripts: other libraries are asked
OTHER_NAMES = {"sklearn_interface": "sklearn"}  # a folder of this name beside the tests would hide the library
MAX_LINES = 600


@pytest.mark.parametrize("file", FILES)
def test_a_file_can_be_read(file: str) -> None:
    length = len((TESTS / file).read_text(encoding="utf-8").splitlines())
    assert length <= MAX_LINES, (
        f"{file} has {length} lines, and at most {MAX_LINES} can be read: split it along its headings"
    )


@pytest.mark.parametrize("file", FILES)
def test_a_file_says_what_it_tests(file: str) -> None:
    text = ast.get_docstring(ast.parse((TESTS / file).read_text(encoding="utf-8")))
    assert text, f"{file} starts without a docstring"


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_stands_for_a_folder_or_a_module_of_the_package(folder: str) -> None:
    folder = OTHER_NAMES.get(folder, folder)
    assert (PACKAGE / folder).is_dir() or (PACKAGE / f"{folder}.py").is_file()


@pytest.mark.parametrize("file", FILES)
def test_a_file_is_found_by_pytest_or_imported_by_its_path(file: str) -> None:
    """A file test_*.py that contains no test, or tests in a helper module, would be looked for in vain."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    has_tests = any(isinstance(node, ast.FunctionDef) and node.name.startswith("test_") for node in ast.walk(tree))
    assert has_tests == Path(file).name.startswith("test_")
