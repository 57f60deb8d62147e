"""The lessons: each block of code prints what stands below it; each has one live page, one picture, three questions."""

import re
import sys

import pytest
from page_blocks import DOCS, FENCE, blocks_of, printed, stripped

sys.path.append(str(DOCS))

from lesson_pictures import PICTURES
from live_pages import LIVE

LESSONS = sorted(path.stem for path in (DOCS / "lessons").glob("[0-9]*.md"))


def path_of(name):
    """The file of a lesson."""
    return DOCS / "lessons" / f"{name}.md"


def text_of(name):
    """The Markdown of a lesson."""
    return path_of(name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", LESSONS)
def test_every_block_prints_what_stands_below_it(name, tmp_path):
    blocks = blocks_of(path_of(name))
    assert len(blocks) >= 2
    assert printed(tmp_path / "lesson.py", blocks) == [stripped(block.printed or "") for block in blocks]


def test_there_is_a_lesson_for_each_live_page_and_picture_in_the_order_of_the_index():
    assert list(LIVE) == list(PICTURES) == LESSONS
    assert re.findall(r"\((\d\d_\w+)\.md\)", text_of("index")) == LESSONS


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_has_a_picture_a_live_page_and_three_questions(name):
    text = text_of(name)
    assert re.findall(r"^!\[.{20,}\]\((.*)\)$", text, re.MULTILINE) == [f"pictures/{name}.svg"]
    address = f"../live/{name}.html?moment"
    assert text.count("<iframe") == 1
    assert f'<iframe src="{address}" title="{LIVE[name].title}" loading="lazy"></iframe>\n' in text
    assert f'<a href="{address}">Open it alone</a>' in text
    questions = re.findall(r"(?ms)^<details><summary>[^\n]+\?</summary>\n\n.+?\n\n</details>$", text)
    assert len(questions) == text.count("<details>") == 3


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_names_its_moments_and_is_short(name):
    text = text_of(name)
    for moment in LIVE[name].moments:
        assert f"**{moment.title}**" in text
    prose = FENCE.sub("", text).split("## Play with it")[0]
    assert 250 <= len(prose.split()) <= 650
