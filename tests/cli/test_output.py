"""What the command prints and writes: no escape code of the data reaches the terminal, no file is half written."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from tinygrad_ce import cli, disk


def output(*arguments):
    """The exit code, and all that was printed."""
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


ESCAPES = {
    "colour": "\x1b[31m",
    "clears the screen": "\x1b[2J",
    "title of the window": "\x1b]0;title\x07",
    "one byte for two": "\x9b31m",
    "goes back": "\b\b",
    "turns the direction": "\u202e",
}


@pytest.fixture
def csv(tmp_path):
    """A table whose file, columns and classes have an escape code in their names."""

    def write(code):
        path = tmp_path / f"a{code}.csv"
        rows = "".join(f"{i},{i % 3},{('b', 'c')[i % 2]}{code}d\n" for i in range(40))
        path.write_text(f"x{code},y,kind{code}\n{rows}", encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("which", ESCAPES)
def test_escape_codes_in_names_are_shown_and_not_sent(csv, which, tmp_path):
    code = ESCAPES[which]
    path = csv(code)
    options = [path, "--target", f"kind{code}", "--hidden", "2"]
    for command in (
        ["train", "--epochs", 1],
        ["gradients"],
        ["explain"],
        ["source"],
        ["draw", "--out", tmp_path / f"{code}.svg"],
    ):
        status, said = output(*command, *options)
        assert status == 0, said
        assert code not in said
        assert not any(ord(c) < 32 and c != "\n" for c in said)
        if command[0] in ("train", "draw"):
            assert code.encode("unicode_escape").decode() in said.replace("\n", "")
    for wrong in (["--target", f"no{code}"], [], ["--target", f"kind{code}", "--hidden", code]):
        status, said = output("train", path, *wrong)
        assert status == 1
        assert code not in said


@pytest.mark.skipif(sys.platform == "win32", reason="names of files are bytes elsewhere")
def test_a_file_name_that_is_no_text_is_shown(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.csv")
    status, said = output("train", path, "--target", "y")
    assert status == 1
    assert "\\udcff.csv" in said.replace("\n", "")


def test_escape_codes_do_not_reach_the_pages(csv, tmp_path):
    code = ESCAPES["colour"]
    for name, command in (("graph.svg", "draw"), ("graph.html", "draw"), ("step.html", "step")):
        status, said = output(command, csv(code), "--target", f"kind{code}", "--hidden", "2", "--out", tmp_path / name)
        assert status == 0, said
        assert b"\x1b" not in (tmp_path / name).read_bytes()


# ---- a full disk


@pytest.fixture
def full_disk():
    """No file may become larger than 4,096 bytes."""
    resource = pytest.importorskip("resource")
    _, hard = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(("command", "name"), [("draw", "graph.svg"), ("draw", "graph.html"), ("step", "step.html")])
def test_a_full_disk_leaves_the_old_picture(tmp_path, command, name, full_disk):
    path = tmp_path / name
    path.write_text("old")
    status, said = output(command, "moons", "--hidden", "2", "--out", path)
    assert status == 1
    assert name in said.replace("\n", "")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_all_old_results(tmp_path, full_disk):
    pytest.importorskip("matplotlib")
    old = {name: f"old {name}" for name in ("history.png", "run.json", "step_trained.html")}
    for name, text in old.items():
        (tmp_path / name).write_text(text)
    status, said = output("train", "moons", "--epochs", 1, "--hidden", "2", "--out", tmp_path)
    assert status == 1
    assert "history.png" in said.replace("\n", "")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == old


def test_what_a_killed_training_left_is_removed_by_the_next(tmp_path):
    pytest.importorskip("matplotlib")
    code = """if True:
        import os, signal, sys
        from tinygrad_ce import cli, train
        from tinygrad_ce.cli import training
        training.run_record = lambda *_: lambda path: os.kill(os.getpid(), signal.SIGKILL)
        cli.app(["train", "moons", "--epochs", "1", "--hidden", "2", "--out", sys.argv[1]])
    """
    process = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, check=False)
    assert process.returncode == -9, process.stderr
    assert all(path.name.startswith(disk.PREFIX) for path in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == 9
    assert output("train", "moons", "--epochs", 1, "--hidden", "2", "--out", tmp_path)[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "boundary.png", "confusion.png", "graph_before.svg", "graph_trained.svg", "history.png", "model.safetensors",
        "run.json", "step_before.html", "step_trained.html",
    ]  # fmt: skip


def test_the_record_of_a_run_says_which_packages_were_not_there(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from tinygrad_ce.cli import results

    def version(name):
        if name == "numba":
            raise results.importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(results.importlib.metadata, "version", version)
    assert output("train", "moons", "--epochs", 1, "--hidden", "2", "--out", tmp_path)[0] == 0
    versions = json.loads((tmp_path / "run.json").read_text())["versions"]
    assert (versions["numpy"], versions["numba"]) == ("1.0", None)
