"""Every code block of the site's pages runs, and prints what stands below it."""

import pytest
from page_blocks import DOCS, blocks_of, printed, stripped

PAGES = {
    path.relative_to(DOCS).with_suffix("").as_posix(): path
    for path in sorted(DOCS.rglob("*.md"))
    if not path.relative_to(DOCS).parts[0].startswith(("_", "lessons", "gallery"))
}
WITH_BLOCKS = [name for name, path in PAGES.items() if blocks_of(path)]


@pytest.mark.parametrize("name", WITH_BLOCKS)
def test_the_blocks_of_a_page_run_and_print_what_stands_below(name, tmp_path):
    blocks = blocks_of(PAGES[name])
    answers = printed(tmp_path / f"{PAGES[name].stem}.py", blocks)
    for block, answer in zip(blocks, answers, strict=True):
        if block.printed is not None:
            assert answer == stripped(block.printed), f"what is printed by\n{block.code}"
    assert "holds other numbers" not in "".join(answers)  # of gradients that nobody emptied
