"""The lessons: each block of code prints what stands below it; each has one live page, one picture, three questions."""

import contextlib
import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_ce as tg

DOCS = Path(tg.__file__).parents[1] / "docs"
sys.path.append(str(DOCS))

from live_pages import LIVE  # noqa: E402

LESSONS = sorted(path.stem for path in (DOCS / "lessons").glob("[0-9]*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def text_of(name):
    """The Markdown of a lesson."""
    return (DOCS / "lessons" / f"{name}.md").read_text(encoding="utf-8")


def printed(blocks, program):
    """What each block of a page prints. program: the file that holds them all, in which the engine looks up lines."""
    program.write_text("".join(code for code, _ in blocks), encoding="utf-8")
    names, lines, outputs = {"__name__": "lesson"}, 0, []
    with np.errstate():  # a page may change it
        for code, _ in blocks:
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile("\n" * lines + code, str(program), "exec"), names)
            lines += code.count("\n")
            outputs.append("".join(f"{line.rstrip()}\n" for line in output.getvalue().splitlines()))
    return outputs


@pytest.mark.parametrize("name", LESSONS)
def test_every_block_prints_what_stands_below_it(name, tmp_path):
    text = text_of(name)
    blocks = BLOCK.findall(text)
    assert len(blocks) == text.count("```python") >= 2
    assert sum(bool(output) for _, output in blocks) == text.count("```text")
    assert printed(blocks, tmp_path / "lesson.py") == [output for _, output in blocks]


def test_there_is_a_lesson_for_each_live_page_in_the_order_of_the_index():
    assert list(LIVE) == LESSONS
    assert re.findall(r"\((\d\d_\w+)\.md\)", text_of("index")) == LESSONS


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_has_a_picture_a_live_page_and_three_questions(name):
    text = text_of(name)
    assert re.findall(r"^!\[.{20,}\]\((.*)\)$", text, re.MULTILINE) == [f"pictures/{name}.svg"]
    frame = f'<iframe class="live" src="../live/{name}.html" title="{LIVE[name].title}" loading="lazy"></iframe>\n'
    assert text.count("<iframe") == text.count(frame) == 1
    assert text.count(f'<a href="../live/{name}.html">Open it alone</a>') == 1
    questions = re.findall(
        r"^<details><summary>[^\n]+\?</summary>\n\n.+?\n\n</details>$", text, re.MULTILINE | re.DOTALL
    )
    assert len(questions) == text.count("<details>") == 3


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_names_its_moments_and_is_short(name):
    text = text_of(name)
    for moment in LIVE[name].moments:
        assert f"**{moment.title}**" in text
    prose = re.sub(r"<[^>]*>", " ", BLOCK.sub("", text).split("## Play with it")[0])
    assert 250 <= len(prose.split()) <= 650
