"""The front door tells the truth: its programs give what their comments say, and its links lead somewhere."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from fresh import GUARD

HERE = Path(__file__).parents[1]
README = (HERE / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
URLS = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
LINKS = sorted({*re.findall(r"\]\(([^)]+)\)", README), *re.findall(r'src="([^"]+)"', README)})


def test_it_is_a_front_door_and_not_a_house():
    assert len(README.splitlines()) <= 150


def test_its_programs_give_what_their_comments_say(tmp_path):
    """Each line `expression  # value ...` is printed instead; a value ends where two spaces begin."""
    code = "\n".join(BLOCKS)
    said = re.findall(r"^(?:\w+ = )?(\S.*?)  # (.+?)(?:   .*)?$", code, re.MULTILINE)
    shown = re.sub(r"^(?!\w+ = )(\S.*?)  # .+$", r"print(repr(\1))", code, flags=re.MULTILINE)
    shown = re.sub(r"^(\w+) = (\S.*?)  # .+$", r"\1 = \2\nprint(repr(\1))", shown, flags=re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", shown],
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "Agg", "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=GUARD,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    values = [value.split("   ")[0].strip() for _, value in said]
    assert len(values) == 4
    assert [line for line in lines if line in values] == values, (lines, values)
    assert (tmp_path / "spirals.png").stat().st_size > 10_000


ROOMS = [HERE / "CONTRIBUTING.md", *sorted((HERE / "tinygrad_ce").rglob("README.md"))]


@pytest.mark.parametrize("text", ROOMS, ids=lambda path: path.relative_to(HERE).as_posix())
def test_a_file_that_is_named_with_its_folder_is_there(text):
    tops = (HERE, HERE / "tinygrad_ce", text.parent)
    named = re.findall(r"`((?!docs/_build)\w[\w./]*/\w+\.(?:py|md|js|css|html|txt))`", text.read_text(encoding="utf-8"))
    assert [name for name in named if not any((top / name).exists() for top in tops)] == []


@pytest.mark.parametrize("link", LINKS)
def test_a_link_is_absolute_and_leads_to_a_file_or_a_page(link):
    """A package index shows the README too, so that nothing may be relative. Sites are built from `docs/`."""
    if link.startswith(URLS["Source"]):
        path = re.sub(r"^/(raw|blob|tree)/main/", "", link.removeprefix(URLS["Source"]))
        assert (HERE / path).exists()
    else:
        assert link.startswith(URLS["Homepage"] + "/")
        page = link.removeprefix(URLS["Homepage"] + "/").partition("#")[0].removesuffix(".html")
        assert (HERE / "docs" / f"{page}.md").exists()
