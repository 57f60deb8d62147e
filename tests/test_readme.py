"""The README tells the truth: the program of its section "See it" prints what stands below each part of it."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]
README = (HERE / "README.md").read_text(encoding="utf-8")
SECTION = README[README.index("### See it") : README.index("### Learn with it")]
BLOCKS = re.findall(r"```python\n(.*?)```\n(?:```text\n(.*?)```)?", SECTION, re.DOTALL)
CUT = "-----8<-----"


def printed(folder):
    """What each block prints, run as one program with the name see.py."""
    program = folder / "see.py"
    program.write_text(f'print("{CUT}")\n'.join(code for code, _ in BLOCKS), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        cwd=folder,
        env=os.environ | {"PYTHONUTF8": "1", "COLUMNS": "100"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return ["\n".join(line.rstrip() for line in part.strip("\n").splitlines()) for part in done.stdout.split(CUT)]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    return printed(tmp_path_factory.mktemp("readme"))


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_it_prints_what_stands_below(number, answers):
    assert answers[number] == BLOCKS[number][1].strip("\n")


def test_every_picture_is_there():
    for path in re.findall(r'<img src="([^"]+)"', README):
        assert (HERE / path).stat().st_size > 1000


def test_the_model_is_kept_used_and_handed_on_as_it_says(tmp_path):
    """The blocks of "Keep it", one program: it answers, goes on, and writes the files that it names."""
    section = README[README.index("### Keep it") : README.index("### Print it")]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(blocks) == 2
    (tmp_path / "new.csv").write_text(
        "island,sex,year,body_mass_g,flipper_length_mm,bill_depth_mm,bill_length_mm\n"
        "Torgersen,male,2007,3750,181,18.7,39.1\nBiscoe,female,2009,5200,219,15,46.2\n"
    )
    code = "import tinygrad_ce as tg\ntg.seed(0)\n" + "\n".join(blocks)
    code = code.replace('saved.predict("new.csv")', 'print(*saved.predict("new.csv"))')
    if find_spec("torch") is None:
        code = re.sub(r"^tg.export.torch.*$", "", code, flags=re.MULTILINE)
    code += "\nprint(len(saved.history))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["Adelie Gentoo", "40"]
    names = {path.name for path in tmp_path.iterdir()}
    assert {"penguins.safetensors", "penguins.py", "penguins.npz", "penguins.onnx"} <= names
