"""A kill while results are written leaves each file as it was, or whole and new: 20 kills, spread over the writing."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from cli.commands import content, done

from tinygrad_ce import disk
from tinygrad_ce.cli.folders import KeptRun

pytest.importorskip("matplotlib")
KILLS = 20

# A process that goes on with a run. When it is to write, it has children write instead, each of which kills itself just
# before one of its operations on files; the first child counts them and is not killed. Drawing is no part of it.
KILLED = """
import os, signal, sys, tempfile
from pathlib import Path
from tinygrad_ce import cli
from tinygrad_ce.cli import results

OUT, KILLS = sys.argv[1], int(sys.argv[2])
write = results.ResultsFolder.write

def drawn(files):
    with tempfile.TemporaryDirectory() as folder:
        for name, writer in files.items():
            if name.endswith(".png"):
                writer(Path(folder) / name)
                content = (Path(folder) / name).read_bytes()
                yield name, lambda path, content=content: path.write_bytes(content)
            else:
                yield name, writer

def child(folder, files, last, tell=None):
    process = os.fork()
    if process:
        return os.waitpid(process, 0)[1]
    operations = 0
    def count(event, arguments):
        nonlocal operations
        if event in ("open", "os.rename", "os.remove", "os.chmod") and OUT in str(arguments[0]):
            operations += 1
            if operations == last:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    write(folder, files)
    if tell is not None:
        os.write(tell, str(operations).encode())
    os._exit(0)

def write_in_children(folder, files):
    files = dict(drawn(files))
    reading, writing = os.pipe()
    assert child(folder, files, 0, writing) == 0
    operations = int(os.read(reading, 100))
    for kill in range(KILLS):
        print(child(folder, files, 1 + kill * (operations - 1) // (KILLS - 1)), flush=True)
        input()

results.ResultsFolder.write = write_in_children
cli.app(["train", "--from", OUT, "--epochs", "1", "--no-compile"])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked, and killed with SIGKILL")
def test_twenty_kills_leave_no_damaged_file(tmp_path):
    out = tmp_path / "out"
    done("train", "moons", "--epochs", 1, "--hidden", "2", "--out", out)
    names = sorted(content(out))
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", KILLED, out, str(KILLS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        for _ in range(KILLS):
            status = next((line for line in process.stdout if line.strip().isdigit()), "the process has ended")
            assert status.strip() == "9"
            check_all_whole(out, names)
            process.stdin.write("\n")
            process.stdin.flush()
        assert "wrote" in process.stdout.read()
    assert process.returncode == 0


def check_all_whole(out, names):
    """Every file is there and can be read; what is beside them are drafts."""
    files = content(out)
    assert sorted(name for name in files if not name.startswith(disk.PREFIX)) == names
    for name in names:
        if name.endswith(".png"):
            assert files[name].endswith(b"IEND\xaeB`\x82"), name
        elif name.endswith((".svg", ".html")):
            assert files[name].rstrip().endswith((b"</svg>", b"</html>")), name
    assert json.loads(files["run.json"])["history"]["epoch"]
    saved = KeptRun(out).saved  # also between the two files
    assert all(np.isfinite(p.data).all() for p in saved.model.parameters())
