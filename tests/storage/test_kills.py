"""A save that is killed, or finds the disk full, leaves the old file whole; and nothing is written by halves."""

import os
import signal

import numpy as np
import pytest
from fresh import said

import tinygrad_ce as tg
from tinygrad_ce import disk, nn, optim

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


@pytest.fixture
def old(tmp_path):
    """A file with an old model, alone in its folder."""
    path = tmp_path / "model.safetensors"
    tg.save(path, nn.Dense(2, 2))
    return path


def left_alone(path, content):
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == [path.name]


# In one process, whose children are killed: a start of Python for each would take ten seconds.
CHILDREN = """
import os, random, signal, sys
from pathlib import Path
import numpy as np
import tinygrad_ce as tg
from tinygrad_ce import disk
from tinygrad_ce.storage import file

folder = Path(FOLDER)
path = folder / "model.safetensors"

def model(value, n=100):
    layer = tg.nn.Dense(n, n)
    layer.W.data[...] = layer.b.data[...] = value
    return layer

def is_whole():
    loaded = tg.load(path).model
    values = {*np.unique(loaded.W.data), *np.unique(loaded.b.data)}
    assert len(values) == 1, values
    return values.pop()

def child(run):
    process = os.fork()
    if process == 0:
        try:
            run()
        finally:
            os._exit(1)
    return process

def ended(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

new, old = model(1.0), model(0.0)
tg.save(path, old)
"""

AT_EACH_LINE = """
def killed_at(number):
    def run():
        left = [number]
        def count(frame, event, argument):
            if frame.f_code.co_filename in (disk.__file__, file.__file__):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return count
        sys.settrace(count)
        tg.save(path, new)
        os._exit(0)
    return run

number, codes, seen = 0, [], []
while not codes or codes[-1] != 0:
    number += 1
    tg.save(path, old)
    codes.append(ended(child(killed_at(number))))
    seen.append(is_whole())
assert {*codes[:-1]} == {-signal.SIGKILL}, codes
assert len(codes) > 20, codes
assert seen == sorted(seen), seen
print("before", seen.count(0.0) > 10, "after", seen.count(1.0) > 0)
tg.save(path, old)
print(*[found.name for found in folder.iterdir()])
"""

AT_RANDOM_MOMENTS = """
def saves(pipe):
    def run():
        for value in range(100_000):
            os.write(pipe, b".")
            tg.save(path, model(float(value), 1000))
    return run

random.seed(0)
for kill in range(20):
    reading, writing = os.pipe()
    process = child(saves(writing))
    os.close(writing)
    for _ in range(random.randrange(1, 4)):
        os.read(reading, 1)
    for _ in range(random.randrange(200_000)):
        pass
    os.kill(process, signal.SIGKILL)
    assert ended(process) == -signal.SIGKILL
    os.close(reading)
    is_whole()
tg.save(path, old)
print(*[found.name for found in folder.iterdir()])
"""


@posix
def test_a_kill_at_each_line_of_the_writing_leaves_a_whole_file(tmp_path):
    words = said(f"FOLDER = {str(tmp_path)!r}\n{CHILDREN}{AT_EACH_LINE}").split()
    assert words == ["before", "True", "after", "True", "model.safetensors"]


@posix
def test_twenty_kills_at_random_moments_leave_a_whole_file(tmp_path):
    assert said(f"FOLDER = {str(tmp_path)!r}\n{CHILDREN}{AT_RANDOM_MOMENTS}").split() == ["model.safetensors"]


# ---- the disk


def test_a_full_disk_leaves_the_old_file_and_the_error_names_it(old):
    resource = pytest.importorskip("resource")
    content = old.read_bytes()
    _, hard = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match=r"model\.safetensors") as caught:
            tg.save(old, nn.Dense(100, 100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert disk.PREFIX not in str(caught.value)
    left_alone(old, content)


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_no_space_at_the_last_moment_leaves_the_old_file(old, function, monkeypatch):
    def fails(*_):
        raise OSError(28, "No space left on device")

    content = old.read_bytes()
    monkeypatch.setattr(os, function, fails)
    with pytest.raises(OSError, match=r"No space left on device: '.*model\.safetensors'"):
        tg.save(old, nn.Dense(2, 2))
    left_alone(old, content)


def test_all_is_on_the_disk_before_it_takes_the_place_of_the_old_file(old, monkeypatch):
    calls = []
    content = old.read_bytes()

    def fsync(descriptor):
        assert old.read_bytes() == content
        calls.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fsync", fsync)
    tg.save(old, nn.Dense(20, 20))
    assert calls == [old.stat().st_size]
    assert old.stat().st_size > len(content)


@posix
def test_a_device_can_be_written_to():
    tg.save("/dev/null", nn.Dense(2, 2))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: '.*nowhere.model'"):
        tg.save(tmp_path / "nowhere" / "model", nn.Dense(2, 2))


# ---- what cannot be kept leaves the old file too


class Named(nn.Module):
    """A module with an array of texts."""

    def __init__(self):
        self.names = np.array(["a", "b"])


def spoiled(name, number):
    model = nn.Sequential(nn.Dense(2, 2), nn.BatchNorm(2))
    array = model.state()[name]
    array.flat[-1] = number
    return model.restore(model.state() | {name: array})


def history(**columns):
    result = tg.History()
    result.columns = columns
    return result


MODEL = nn.Dense(2, 2)
TRAINER = tg.Trainer(MODEL, nn.MSE(), optim.SGD(MODEL.parameters()))
UNFIT = {
    "NaN": (lambda: {"model": spoiled("layers.0.W", np.nan)}, ValueError, r"layers\.0\.W' holds nan at \(1, 1\), so"),
    "infinity": (lambda: {"model": spoiled("layers.1.running_variance", np.inf)}, ValueError, "holds inf"),
    "texts": (lambda: {"model": Named()}, TypeError, r"model\.names has dtype <U1, which the file cannot hold"),
    "a trainer": (lambda: {"model": TRAINER}, TypeError, r"model is a Trainer; write trainer\.save\('"),
    "no model": (lambda: {"model": None}, TypeError, "model is a NoneType; it must be a Module"),
    "an optimizer as model": (lambda: {"model": TRAINER.optimizer}, TypeError, "model is a SGD; it must be a Module"),
    "a trainer as optimizer": (lambda: {"optimizer": TRAINER}, TypeError, "optimizer is a Trainer; it must be a Opti"),
    "another optimizer": (
        lambda: {"optimizer": optim.SGD(nn.Dense(1, 1).parameters())},
        *(ValueError, r"parameter 0 of the optimizer, W, is not in the model"),
    ),
    "a list as history": (lambda: {"history": []}, TypeError, "history is a list; it must be a History"),
    "texts as history": (lambda: {"history": history(loss=["a"])}, TypeError, r"history\.loss holds \['a'\]"),
    "a seed": (lambda: {"generator": 3}, TypeError, "generator is a int; it must be a Generator"),
    "another generator": (
        lambda: {"generator": np.random.Generator(np.random.MT19937(0))},
        *(ValueError, r"the generator is a MT19937.*np\.random\.default_rng\(seed\)"),
    ),
    "a dataset": (lambda: {"preparation": tg.data.xor(8)}, TypeError, r"preparation is a Dataset.*train\.preparation"),
    "a long text": (lambda: {"model": nn.Sequential(*[nn.Tanh()] * 2), "history": history(**{"x" * 9_000_000: [1.0]})},
                    ValueError, "names and settings take 18,.* bytes"),
    "many levels": (lambda: {"model": levels(70)}, ValueError, "more than 64 levels deep"),
}  # fmt: skip


def levels(n):
    model = nn.Tanh()
    for _ in range(n):
        model = nn.Residual(model)
    return model


@pytest.mark.parametrize("which", UNFIT)
def test_what_cannot_be_kept_is_refused_in_one_line_and_leaves_the_old_file(which, old):
    arguments, error, words = UNFIT[which]
    content = old.read_bytes()
    with pytest.raises(error, match=f"^save: .*{words}") as caught:
        tg.save(old, **{"model": MODEL, **arguments()})
    assert "\n" not in str(caught.value)
    left_alone(old, content)


def test_a_path_comes_first(old):
    with pytest.raises(TypeError, match=r"save: path is a Dense; the path comes first: tg\.save\("):
        tg.save(MODEL, old)
