"""A whole file runs in a process of its own: what it may see there, what is graded of it, and what is left of it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fresh import GUARD
from grading.hand_ins import PLENTY, SECONDS

import tinygrad_ce as tg
from tinygrad_ce.grading import worker
from tinygrad_ce.grading.outcomes import PRINTED, packed
from tinygrad_ce.grading.sandbox import _messages_in, run_file

CASE = {"x": np.arange(6.0).reshape(3, 2), "w": np.ones(2)}
GRADIENTS = "def gradients(x, w):\n    return {'d_w': x.sum(axis=0)}\n"
FORWARD = "def forward(x, w):\n    return x @ w, (x, w)\n"


@pytest.fixture
def run(tmp_path):
    """Runs a text as a hand-in, for one case."""

    def of(text, name="student.py", case=CASE, **options):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return run_file(path, [case], **{"seconds": PLENTY, "megabytes": 500, **options})

    return of


def value(run):
    """What the function returned for the only case."""
    (outcome,) = run.outcomes
    assert (run.error, outcome.error) == ("", "")
    return outcome.value["value"]


def test_the_function_is_called_with_the_case(run):
    np.testing.assert_array_equal(value(run(GRADIENTS))["d_w"], CASE["x"].sum(axis=0))


def test_it_sees_neither_the_package_nor_what_stands_around_it(run, monkeypatch):
    monkeypatch.setenv("TOKEN", "secret")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    looks = "import os, sys\nprint(sorted(os.environ), os.listdir('.'), 'tinygrad_ce' in sys.modules, sys.path)\n"
    printed = run(looks + GRADIENTS).printed
    assert "['hand_in.py'] False" in printed
    assert str(Path(worker.__file__).parent) not in printed
    assert "TOKEN" not in printed
    assert "PYTHONPATH" not in printed


def test_solutions_of_the_package_cannot_be_read_where_it_is_installed(tmp_path):
    package = Path(tg.__file__).parent
    guard = worker.Guard(str(tmp_path), [])
    guard.readable.append(str(package.parent.resolve()))  # as where it lies beside NumPy
    guard("open", (str(package / "grading" / "worker.py"), "r", 0))
    with pytest.raises(PermissionError, match="sees its own folder only"):
        guard("open", (str(package / "assignments" / "catalog" / "one_neuron.py"), "r", 0))


def test_threads_that_never_end_are_not_waited_for(run):
    thread = "import threading\ndef forever():\n    while True: pass\nthreading.Thread(target=forever).start()\n"
    assert value(run(thread + GRADIENTS, seconds=600)) is not None


def test_what_was_not_written_whole_is_left_out(tmp_path):
    whole, results = packed({"error": ""}), tmp_path / "results"
    results.write_bytes(len(whole).to_bytes(8, "little") + whole + (100).to_bytes(8, "little") + b"half")
    assert [*_messages_in(results)] == [{"error": ""}]


@pytest.mark.parametrize("content", [b"x" * 16, packed([1]), packed({"value": None})])
def test_what_a_hand_in_writes_among_the_results_costs_only_itself(run, content):
    """It writes to every open file, as whoever closes or reuses file descriptors may."""
    message = len(content).to_bytes(8, "little") + content
    ran = run(f"""import os
def gradients(x, w):
    for number in range(3, 30):
        try: os.write(number, {message!r})
        except OSError: pass
    os._exit(0)""")
    assert (ran.error, len(ran.outcomes), ran.outcomes[0].value) == ("", 1, None)


def test_what_cannot_be_told_of_a_file_is_its_error(run):
    assert "cannot be read" in run(f"{GRADIENTS}import numpy as np\nHINTS = {{1: np.broadcast_to(1.0, 10**9)}}").error


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_closed_stream_costs_nothing(run, stream):
    text = f"import sys\nprint('here')\nsys.{stream}.close()\n{GRADIENTS}"
    ran = run(text)
    np.testing.assert_array_equal(value(ran)["d_w"], CASE["x"].sum(axis=0))
    assert ran.printed == "here\n"


def test_results_that_are_larger_than_a_file_may_be_are_an_error_in_words(run):
    text = "import numpy as np\ndef gradients(x, w):\n    return np.zeros(9 * 10**6)"
    assert [outcome.error for outcome in run(text).outcomes] == ["what it returns is too large: 72 MB"]


def test_an_exception_that_cannot_be_told_may_be_caught(run):
    own = "class Own(Exception):\n    def __str__(self): raise ValueError\n"
    body = "def gradients(x, w):\n    try: raise Own\n    except Own: return 1.0"
    ran = run(own + body)
    assert (value(ran), ran.outcomes[0].value["caught"]) == (1.0, "Own:  (line 4)")


def test_a_database_outside_of_its_folder_is_refused(run, tmp_path):
    text = "import sqlite3\nsqlite3.connect(':memory:')\nsqlite3.connect('mine')\n" + GRADIENTS
    assert value(run(text)).keys() == {"d_w"}
    remarks = run(f"import sqlite3\nsqlite3.connect({str(tmp_path / 'theirs')!r})\n{GRADIENTS}").remarks
    assert any("it writes into" in remark for remark in remarks)
    assert not (tmp_path / "theirs").exists()


def test_what_python_cannot_parse_is_told_in_words(run):
    assert run("x = " + "-" * 10**5 + "1").error == "it is no Python: it is nested too deeply"


def test_what_was_printed_is_kept_when_it_is_ended(run):
    ended = run("print('before')\nwhile True: pass", seconds=SECONDS)
    assert ended.printed == "before\n"
    assert ended.error == "it took longer than 3 seconds"


def test_outcomes_from_before_the_end_are_kept(tmp_path):
    path = tmp_path / "student.py"
    path.write_text("import os\ndef gradients(x):\n    return {'d_x': x} if x[0] < 2 else os._exit(1)")
    outcomes = run_file(path, [{"x": np.array([float(n)])} for n in (1, 2, 3)], PLENTY, 500).outcomes
    assert [bool(outcome.error) for outcome in outcomes] == [False, True, True]


@pytest.mark.parametrize("prints", ["print('x' * 10**6)", "import os\nos.write(1, b'x' * 10**6)"])
def test_megabytes_of_prints_are_cut(run, prints):
    cut = run(f"{prints}\n{GRADIENTS}")
    assert len(cut.printed) == PRINTED
    assert value(cut) is not None


def test_a_file_may_be_written_in_its_own_folder_and_not_be_large(run):
    assert value(run("import tempfile\ntempfile.TemporaryFile().write(b'x')\n" + GRADIENTS))
    if sys.platform.startswith("linux"):
        assert "File too large" in run("f = open('big', 'wb')\nfor _ in range(99): f.write(bytes(10**6))").error


def test_an_engine_is_refused_unless_the_exercise_is_about_it(run):
    refused, allowed = (run(f"import micrograd\n{GRADIENTS}", allowed=names) for names in ([], ["micrograd"]))
    assert "it imports micrograd: gradients are to be computed by hand here" in refused.error
    assert "by hand" not in allowed.error + " ".join(allowed.remarks)


def test_what_is_refused_is_told_the_teacher_even_if_it_is_caught(run):
    hides = "try:\n    import tinygrad_ce\nexcept BaseException:\n    pass\n"
    hidden = run(hides + GRADIENTS)
    assert value(hidden) is not None
    assert "refused: it imports tinygrad_ce" in " ".join(hidden.remarks)


FORMS = {
    "a pair": FORWARD + "def backward(dout, cache):\n    x, w = cache\n    return np.outer(dout, w), x.T @ dout",
    "a node": "def gradient(out_grad, node):\n    x, w = node.inputs\n    return np.outer(out_grad, w), x.T @ out_grad",
    "a class": "class Product:\n    @staticmethod\n    def gradient(out_grad, node):\n        x, w = node.inputs\n"
    "        return np.outer(out_grad, w), x.T @ out_grad",
}


@pytest.mark.parametrize("form", FORMS)
def test_other_forms_are_called_as_tg_grade_calls_them(run, form):
    dout = np.array([1.0, -1.0, 2.0])
    found = value(run(f"import numpy as np\n{FORMS[form]}", case={"dout": dout, **CASE}))
    np.testing.assert_array_equal(found["d_w"], CASE["x"].T @ dout)
    np.testing.assert_array_equal(found["d_x"], np.outer(dout, CASE["w"]))


def test_a_backward_pass_alone_gets_the_cache_of_the_teachers_forward_pass(run):
    alone = "def backward(dout, cache):\n    x, w = cache\n    return dout[:, None] * w, x.T @ dout"
    found = value(run(alone, case={"dout": np.ones(3), **CASE}, forward=FORWARD))
    np.testing.assert_array_equal(found["d_w"], CASE["x"].sum(axis=0))


def test_of_two_classes_none_is_picked(run):
    two = "".join(f"class {name}:\n    def gradient(self, out_grad, node): pass\n" for name in "AB")
    assert "several classes that could be graded: A, B" in run(two).error


def alive(group):
    """The processes of a group that are no zombies."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of = status.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it has just ended
            continue
        if int(of) == group and state != "Z":
            found.append(status.parent.name)
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc lists processes on Linux")
@pytest.mark.parametrize(("ending", "seconds"), [(GRADIENTS, 600), ("while True: pass", 0.5)])
def test_nothing_that_it_has_started_is_left(run, ending, seconds):
    groups = []
    forks = "import ctypes\nif not ctypes.CDLL(None).fork():\n    while True: pass\n"  # around the guard
    run(forks + ending, seconds=seconds, watch=lambda process: groups.append(process.pid))
    (group,) = groups
    end = time.monotonic() + GUARD  # the system takes a moment to carry out what was killed
    while alive(group) and time.monotonic() < end:
        pass
    assert alive(group) == []


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="links")
def test_a_link_out_of_the_folder_is_no_way_out(run, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    assert "it changes" in run(f"import os\nos.symlink({str(victim)!r}, 'link')\nopen('link', 'w').write('x')").error
    assert victim.read_text() == "mine"
