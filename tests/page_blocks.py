"""The code blocks of a page of the site, run in a folder of their own: a helper of the tests."""

import contextlib
import io
import itertools
import os
import re
import shlex
import textwrap
import warnings
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np

import tinygrad_ce as tg
from tinygrad_ce import core, variable
from tinygrad_ce.optim import base

DOCS = Path(__file__).parents[1] / "docs"
FENCE = re.compile(r"^( *)```(python|sh|text)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
NOT_RUN = ("python3 -m venv", "pip install", "python -m pip", "git clone", "python -m sphinx")


class Block(NamedTuple):
    """A block of a page, and what the block of text right below it says that it prints."""

    language: str
    code: str
    printed: str | None


def blocks_of(page):
    """The blocks that run: Python, and commands. A block of text is what the one before it prints, or stands alone."""
    text = page.read_text(encoding="utf-8")
    found, end = [], -1
    for match in FENCE.finditer(text):
        language, code = match[2], textwrap.dedent(match[3])
        if language != "text":
            found.append(Block(language, code, None))
        elif found and not text[end : match.start()].strip():
            found[-1] = found[-1]._replace(printed=code)
        end = match.end()
    return found


def as_python(block):
    """The block, or one that runs its commands in the same process. What installs is left out."""
    if block.language == "python":
        return block.code
    commands = [shlex.split(line, comments=True) for line in block.code.splitlines() if not line.startswith(NOT_RUN)]
    return "\n".join(map(as_call, filter(None, commands)))


def as_call(command):
    """A command as a call: only ours has a place on a page, beside what installs it."""
    program, *arguments = command
    assert program == "tinygrad-ce", f"{program} is no command that a page can be tested with"
    return f"assert not __import__('tinygrad_ce.cli').cli.app({arguments!r}, standalone_mode=False)"


def printed(program, blocks):
    """What each block prints, run in this process, for many a page takes less time than an import.

    program: the file that holds them all, in whose folder they run. Nothing may fail or warn. What a page may
    change for all of the process is as it was afterwards.
    """
    codes = [as_python(block).rstrip("\n") + "\n" for block in blocks]
    program.write_text("".join(codes), encoding="utf-8")  # the engine looks up lines in it
    names, lines, outputs = {"__name__": "page"}, 0, []
    serials = itertools.count(1).__next__  # some pages print the numbers that tensors have in a new process
    with contextlib.ExitStack() as changed:
        changed.callback(tg.set_num_threads, tg.get_num_threads())
        changed.enter_context(contextlib.chdir(program.parent))
        changed.enter_context(patch.dict(os.environ, COLUMNS="100"))  # the width for which the pages are written
        changed.enter_context(np.errstate())
        changed.enter_context(warnings.catch_warnings(action="error"))
        for module in (core, variable, base):
            changed.enter_context(patch.object(module, "next_serial", serials))
        for code in codes:
            terminal = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
            with contextlib.redirect_stdout(terminal):
                exec(compile("\n" * lines + code, str(program), "exec"), names)
            lines += code.count("\n")
            outputs.append(stripped(terminal.buffer.getvalue().decode()))
    return outputs


def stripped(text):
    """The text without spaces at the ends of lines, and without empty lines around it."""
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())
