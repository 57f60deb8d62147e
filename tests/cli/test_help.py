"""The help of each command, and its examples, which work as they stand."""

import re
import shlex

import pytest
from cli.commands import invoke

from tinygrad_ce.cli import COMMANDS

NAMES = [command.__name__ for command in COMMANDS]
SLOW = {"warmup": "compiles every kernel", "selftest": "has tests of its own"}


def examples(name):
    """The lines of the help that stand below "Example:"."""
    said = invoke(name, "--help").stdout
    return re.findall(r"^ +tinygrad-ce (.+)$", said[said.index("Example:") : said.index("Options:")], re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_its_help_has_an_example_of_it(name):
    assert any(example.split()[0] == name for example in examples(name))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SLOW])
def test_its_examples_work(name, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    for example in examples(name):
        result = invoke(*shlex.split(example))
        assert result.exit_code == 0, result.output
        assert "error" not in result.stderr


def test_the_list_of_commands_has_a_line_for_each():
    said = invoke("--help").stdout
    for name in NAMES:
        assert re.search(rf"^  {name} +\S", said, re.MULTILINE), name
