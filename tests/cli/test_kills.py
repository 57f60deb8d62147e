"""A kill while results are written leaves each file as it was, or whole and new: 20 kills, spread over the writing."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from cli.commands import content, done

import tinygrad_ce as tg
from tinygrad_ce import disk

pytest.importorskip("matplotlib")
KILLS = 20

# A process that trains into a folder, again and again in children of its own, each of which kills itself after so many
# calls of functions since it began to write. The first child counts them and is not killed.
KILLED = """
import os, signal, sys
from tinygrad_ce import cli
from tinygrad_ce.cli import results

OUT, KILLS = sys.argv[1], int(sys.argv[2])
write = results.ResultsFolder.write

def train(last, told=None):
    calls = 0
    def count(frame, event, argument):
        nonlocal calls
        calls += 1
        if calls == last:
            os.kill(os.getpid(), signal.SIGKILL)
    def counted(self, files):
        sys.setprofile(count)
        write(self, files)
        sys.setprofile(None)
    results.ResultsFolder.write = counted
    cli.app(["train", "--from", OUT, "--epochs", "1", "--no-compile"], standalone_mode=False)
    if told is not None:
        os.write(told, str(calls).encode())

def child(last, told=None):
    process = os.fork()
    if not process:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        train(last, told)
        os._exit(0)
    return os.waitpid(process, 0)[1]

reading, writing = os.pipe()
assert child(0, writing) == 0
calls = int(os.read(reading, 100))
generator = __import__("random").Random(0)
moments = [1, calls - 1, calls - 30, *(generator.randrange(calls - 3000, calls) for _ in range(7))]
moments += [generator.randrange(calls) for _ in range(KILLS - len(moments))]
for last in moments:
    print(child(last), flush=True)
    input()
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
            status = process.stdout.readline().strip()
            assert status == "9", status
            check_all_whole(out, names)
            process.stdin.write("\n")
            process.stdin.flush()
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
    saved = tg.load(out / "model.safetensors")
    assert all(np.isfinite(p.data).all() for p in saved.model.parameters())
