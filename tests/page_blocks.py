"""The code blocks of a page of the site, run as one program in a folder of their own: a helper of the tests."""

import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[1] / "docs"
FENCE = re.compile(r"^( *)```(python|sh|text)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
CUT = "-----8<-----"
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


def as_program(blocks):
    """The blocks as one program, which prints a line between what one block prints and what the next one does."""
    return f'\nprint("{CUT}", flush=True)\n'.join(map(as_python, blocks))


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


def printed(page, folder, blocks):
    """What each block prints. Nothing may fail or warn."""
    program = folder / f"{page.stem}.py"
    program.write_text(as_program(blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        cwd=folder,
        env=os.environ | {"PYTHONUTF8": "1", "COLUMNS": "100"},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [stripped(part) for part in done.stdout.split(CUT)]


def stripped(text):
    """The text without spaces at the ends of lines, and without empty lines around it."""
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())
