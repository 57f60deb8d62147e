"""The examples as the gallery shows them: each section has its heading, and what to type stands in a block."""

import re
import sys

import pytest
from page_blocks import DOCS

sys.path.append(str(DOCS))

from gallery import as_cells

EXAMPLES = sorted((DOCS.parent / "examples").glob("[0-9]*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_section_of_an_example_is_a_whole_heading(path):
    cells = as_cells(path.read_text(encoding="utf-8"), path.stem)
    assert re.findall(r'print\(\s*f?"(?:\\n)?\d+\. .*', cells) == []
    headings = re.findall(r"^# %%\n# (\d+)\. (.*)\n# -+$", cells, re.MULTILINE)
    assert [int(number) for number, _ in headings] == [*range(1, len(headings) + 1)]
    assert [heading for _, heading in headings if heading.split()[-1] in ("a", "an", "the", "of", "and")] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_how_an_example_is_run_stands_in_a_block_of_its_own(path):
    described = as_cells(path.read_text(encoding="utf-8"), path.stem).split('"""')[1]
    assert re.findall(r"^\.\. code-block:: text\n\n    (.*)", described, re.MULTILINE)[0].startswith("python examples/")
    assert described.count("code-block") == 1
    assert "Run it" not in described
