"""The files of compiled programs: used again if they are what we left there, made anew if not, never trusted."""

import hashlib
import json
import marshal
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fresh import printed

import tinygrad_ce as tg
from tinygrad_ce import cache
from tinygrad_ce.kernels import code_cache as kernel_cache
from tinygrad_ce.program import code_cache
from tinygrad_ce.program.lowered import lowered

numba = pytest.importorskip("numba")

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="modes are those of POSIX")
jitted = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="there is no machine code: loops run as Python")


@pytest.fixture
def folder(monkeypatch, tmp_path_factory):
    """A cache directory of our own, and a process that has loaded nothing yet."""
    yield from in_a_folder_of_its_own(monkeypatch, tmp_path_factory)


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory):
    """The same for many tests, each of which leaves it as it was."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield from in_a_folder_of_its_own(monkeypatch, tmp_path_factory)


def in_a_folder_of_its_own(monkeypatch, tmp_path_factory):
    path = tmp_path_factory.mktemp("kept")
    path.chmod(0o700)
    monkeypatch.setattr(cache, "_found", path)
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(code_cache, "_loaded", {})
    monkeypatch.setattr(code_cache, "_sealed_now", set())
    yield path
    forget()


def forget():
    """As a new process starts: nothing is loaded, nothing has been sealed."""
    code_cache._loaded.clear()
    code_cache._sealed_now.clear()
    for name in [name for name in sys.modules if name.startswith("step_")]:
        del sys.modules[name]


def compiled(factor=2.0):
    """A small program, compiled or loaded, which has given the right result."""
    p = tg.Tensor([1.0, 2.0], requires_grad=True, name="p")
    step = tg.compile(lambda x: (x * p * factor).sum())
    assert step([3.0, 4.0]) == 11 * factor
    (program,) = step.programs.values()
    return program


def loaded(program):
    """How often its machine code came from disk, and how often it was compiled."""
    stats = program.function.stats
    return sum(stats.cache_hits.values()), sum(stats.cache_misses.values())


def text_of(folder, name):
    return folder / "programs" / f"{name}.py"


def seal_of(folder, name):
    return folder / "programs" / f"{name}.json"


def code_of(folder, name, ending):
    """The one file of machine code, or its index."""
    (found,) = folder.rglob(f"{name}.*{ending}")
    return found


PYTHON = "def run():\n    return 'ours'\n"  # stands for a program where nothing has to be compiled
FOREIGN = "raise AssertionError('foreign code is executed')\n"


# ---- names and texts


def test_the_text_is_kept_under_a_name_made_of_its_content(folder):
    name, run = code_cache.function_of(PYTHON)
    assert run() == "ours"
    assert text_of(folder, name).read_text() == PYTHON
    assert name == "step_" + hashlib.sha256((PYTHON + code_cache._versions()).encode()).hexdigest()[:20]
    other, _ = code_cache.function_of(PYTHON + "\n")
    assert other != name
    assert sorted(path.stem for path in (folder / "programs").iterdir()) == sorted([name, other])


def test_another_version_of_numba_or_of_the_kernels_is_another_name(folder, monkeypatch):
    assert numba.__version__ in code_cache._versions()
    name, _ = code_cache.function_of(PYTHON)
    monkeypatch.setattr(code_cache, "_versions", lambda: "another")
    assert code_cache.function_of(PYTHON)[0] != name


def test_what_is_kept_is_what_the_program_shows(folder):
    program = compiled()
    assert text_of(folder, program.name).read_text() == program.plan.text == lowered(program.program).text


def test_programs_with_the_same_text_share_one_function_and_no_memory(folder):
    first, second = compiled(), compiled()
    assert first.function is second.function
    assert len(code_cache.listing()) == 1
    for k in first.arrays.values():
        assert not any(np.shares_memory(k, mine) for mine in second.arrays.values())
    assert compiled(3.0).function is not first.function
    assert len(code_cache.listing()) == 2


@posix
def test_the_folder_is_closed_to_others(folder):
    umask = os.umask(0)
    try:
        compiled()
    finally:
        os.umask(umask)
    assert (folder / "programs").stat().st_mode & 0o7777 == 0o700
    for path in (folder / "programs").iterdir():
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", [FOREIGN, "", FOREIGN + "#" * (len(PYTHON) - len(FOREIGN)), PYTHON + FOREIGN])
def test_a_changed_text_is_never_executed_and_is_made_anew(folder, damage):
    name, _ = code_cache.function_of(PYTHON)
    text_of(folder, name).write_text(damage)
    forget()
    assert code_cache.function_of(PYTHON)[1]() == "ours"
    assert text_of(folder, name).read_text() == PYTHON


def test_a_text_that_is_there_is_not_written_again(folder):
    name, _ = code_cache.function_of(PYTHON)
    before = text_of(folder, name).stat()
    forget()
    code_cache.function_of(PYTHON)
    after = text_of(folder, name).stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)


def bytecode(folder, name, monkeypatch):
    """The .pyc that Python leaves where it is allowed to."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    forget()
    assert code_cache.function_of(PYTHON)[0] == name
    return next(folder.rglob(f"{name}.*pyc"), None)


def test_foreign_bytecode_is_never_executed(folder, monkeypatch):
    name, _ = code_cache.function_of(PYTHON)
    path = bytecode(folder, name, monkeypatch)
    if path is not None:  # none at all is right too
        path.write_bytes(path.read_bytes()[:16] + marshal.dumps(compile(FOREIGN, "foreign", "exec")))
    forget()
    assert code_cache.function_of(PYTHON)[1]() == "ours"


def test_bytecode_is_removed_with_its_program(folder, monkeypatch):
    name, _ = code_cache.function_of(PYTHON)
    bytecode(folder, name, monkeypatch)
    code_cache.clear()
    assert list(folder.rglob(f"{name}*")) == []


# ---- machine code


@jitted
def test_machine_code_is_sealed_and_used_again(folder):
    program = compiled()
    assert loaded(program) == (0, 1)
    sums = json.loads(seal_of(folder, program.name).read_text())
    kept = [code_of(folder, program.name, ending) for ending in (".nbi", ".nbc")]
    assert sums == {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in kept}
    forget()
    assert loaded(compiled()) == (1, 0)


CODE = """
    import warnings
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import tinygrad_ce as tg
        p = tg.Tensor([1.0, 2.0], requires_grad=True, name="p")
        step = tg.compile(lambda x: (x * p).sum())
        print(step([3.0, 4.0]))
    (program,) = step.programs.values()
    stats = program.function.stats
    print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()), len(caught), *(w.message for w in caught))
"""
PLAIN = {"NUMBA_CACHE_DIR": None, "NUMBA_DISABLE_JIT": 0, "NUMBA_BOUNDSCHECK": 0}


def in_a_new_process(directory, **environment):
    """The result, how often it was loaded and compiled, and warnings."""
    return printed(CODE, **PLAIN | {"TINYGRAD_CE_CACHE": directory} | environment)


def test_another_process_loads_what_the_first_has_compiled(tmp_path):
    directory = tmp_path / "kept"
    assert in_a_new_process(directory) == ["11.0", "0", "1", "0"]
    before = {path: path.read_bytes() for path in directory.rglob("step_*.nb*")}
    assert len(before) == 2
    assert in_a_new_process(directory) == ["11.0", "1", "0", "0"]
    assert in_a_new_process(directory, NUMBA_BOUNDSCHECK=1) == ["11.0", "0", "1", "0"]  # other machine code
    assert all(path.read_bytes() == content for path, content in before.items())
    assert len(list((directory / "boundscheck").rglob("step_*.nbc"))) == 1


def test_two_processes_compile_the_same_program_at_once(tmp_path):
    directory = tmp_path / "kept"
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(in_a_new_process, [directory, directory]))
    assert [(answer[0], answer[3]) for answer in answers] == [("11.0", "0")] * 2
    assert len(list(directory.rglob("step_*.py"))) == 1
    assert in_a_new_process(directory)[0] == "11.0"


@pytest.fixture
def two(shared_folder):
    """The names of two programs: the machine code of the second is what must not run as the first."""
    forget()
    names = compiled(2.0).name, compiled(7.0).name
    forget()
    return names


def flipped(path, at):
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def replace_code(folder, mine, other, ending):
    code_of(folder, mine, ending).write_bytes(code_of(folder, other, ending).read_bytes())


def swap_in_the_other_program(folder, mine, other):
    """Its machine code under our name, whole; the seal is still ours."""
    for ending in (".nbi", ".nbc"):
        replace_code(folder, mine, other, ending)


def replace_by_folder(path):
    path.unlink()
    path.mkdir()
    (path / "below").write_text("")


def wrong_seal(content):
    return lambda folder, mine, other: seal_of(folder, mine).write_text(content)


DAMAGES = {
    "code truncated": lambda folder, mine, other: truncated(code_of(folder, mine, ".nbc")),
    "index truncated": lambda folder, mine, other: truncated(code_of(folder, mine, ".nbi")),
    "code empty": lambda folder, mine, other: code_of(folder, mine, ".nbc").write_bytes(b""),
    "first byte of the code": lambda folder, mine, other: flipped(code_of(folder, mine, ".nbc"), 0),
    "one byte of the code": lambda folder, mine, other: flipped(code_of(folder, mine, ".nbc"), 0.5),
    "last byte of the code": lambda folder, mine, other: flipped(code_of(folder, mine, ".nbc"), 1),
    "one byte of the index": lambda folder, mine, other: flipped(code_of(folder, mine, ".nbi"), 0.5),
    "code missing": lambda folder, mine, other: code_of(folder, mine, ".nbc").unlink(),
    "index missing": lambda folder, mine, other: code_of(folder, mine, ".nbi").unlink(),
    "code of another program": lambda folder, mine, other: replace_code(folder, mine, other, ".nbc"),
    "index of another program": lambda folder, mine, other: replace_code(folder, mine, other, ".nbi"),
    "all of another program": swap_in_the_other_program,
    "seal missing": lambda folder, mine, other: seal_of(folder, mine).unlink(),
    "seal empty": wrong_seal(""),
    "seal of nothing": wrong_seal("{}"),
    "seal that is a list": wrong_seal("[]"),
    "seal that is no text": lambda folder, mine, other: seal_of(folder, mine).write_bytes(b"\xff\xfe"),
    "seal of another program": lambda folder, mine, other: seal_of(folder, mine).write_bytes(
        seal_of(folder, other).read_bytes()
    ),
    "seal nested too deeply": wrong_seal("[" * 100_000),
    "a folder for the code": lambda folder, mine, other: replace_by_folder(code_of(folder, mine, ".nbc")),
    "a folder for the index": lambda folder, mine, other: replace_by_folder(code_of(folder, mine, ".nbi")),
    "a folder for the seal": lambda folder, mine, other: replace_by_folder(seal_of(folder, mine)),
    "a folder for the text": lambda folder, mine, other: replace_by_folder(text_of(folder, mine)),
    "text": lambda folder, mine, other: text_of(folder, mine).write_text(FOREIGN),
    "text of another program": lambda folder, mine, other: text_of(folder, mine).write_bytes(
        text_of(folder, other).read_bytes()
    ),
}


@jitted
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_or_foreign_is_never_executed_and_is_made_anew(shared_folder, two, damage):
    mine, other = two
    DAMAGES[damage](shared_folder, mine, other)
    program = compiled(2.0)
    assert program.name == mine
    assert loaded(program) == (0, 1)
    assert code_cache._sealed(shared_folder, mine)
    forget()
    assert loaded(compiled(2.0)) == (1, 0)
    assert loaded(compiled(7.0)) == (1, 0)


@jitted
def test_without_the_seal_numba_would_execute_foreign_code(shared_folder, two, monkeypatch):
    """So the test above can fail."""
    replace_code(shared_folder, *two, ".nbc")
    with monkeypatch.context() as trusting:
        trusting.setattr(code_cache, "_sealed", lambda directory, name: True)
        trusting.setattr(kernel_cache.hmac, "compare_digest", lambda found, expected: True)
        with pytest.raises(AssertionError, match="77"):
            compiled(2.0)
    forget()
    compiled(2.0)


@jitted
def test_machine_code_in_a_directory_that_the_user_gave_to_numba_is_sealed_too(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    mine, other = compiled(2.0).name, compiled(7.0).name
    replace_code(tmp_path, mine, other, ".nbc")
    forget()
    compiled(2.0)


# ---- where nothing can be kept


def test_without_numba_a_step_runs_as_numpy_after_a_warning(folder, monkeypatch):
    from tinygrad_ce.kernels import jit

    monkeypatch.setattr(jit, "numba", None)
    monkeypatch.setattr(code_cache, "_versions", code_cache._versions.__wrapped__)
    p = tg.Tensor([1.0, 2.0], requires_grad=True, name="p")
    with pytest.warns(UserWarning, match="runs as NumPy, because .* Numba is not installed"):
        assert tg.compile(lambda x: (x * p).sum())([3.0, 4.0]) == 11
    assert code_cache.listing() == []


def test_without_a_directory_it_is_compiled_all_the_same(folder, monkeypatch):
    monkeypatch.setattr(cache, "_found", None)
    first = compiled()
    assert compiled().function is first.function
    assert list(folder.iterdir()) == []
    assert code_cache.listing() == []
    assert code_cache.clear() == 0


def test_a_directory_that_cannot_be_made_costs_one_warning(tmp_path):
    (tmp_path / "file").write_text("mine")
    result, hits, _, warned, *message = in_a_new_process(tmp_path / "file")
    assert (result, hits, warned) == ("11.0", "0", "1")
    assert "TINYGRAD_CE_CACHE" in message
    assert (tmp_path / "file").read_text() == "mine"


def test_a_file_in_the_way_of_the_folder_is_no_obstacle(folder):
    (folder / "programs").write_text("mine")
    compiled()


def test_a_full_disk_is_no_obstacle(folder, monkeypatch):
    def full(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(code_cache, "_write", full)
    compiled()


IN_THE_WAY = {
    "an endless device": lambda path: path.symlink_to("/dev/zero"),
    "a pipe that nobody writes to": lambda path: os.mkfifo(path),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a link to a file that is not ours to change": lambda path: path.symlink_to(path.parents[1] / "mine"),
    "a folder": lambda path: path.mkdir(),
    "a file that others may write": lambda path: (path.write_text(PYTHON), path.chmod(0o666)),
}


@posix
@pytest.mark.parametrize("ending", [".py", ".json"])
@pytest.mark.parametrize("which", IN_THE_WAY)
def test_what_stands_in_the_place_of_a_file_is_neither_waited_for_nor_followed(folder, which, ending):
    mine = folder / "mine"
    mine.write_text("mine")
    name, _ = code_cache.function_of(PYTHON)
    path = text_of(folder, name).with_suffix(ending)
    path.unlink(missing_ok=True)
    IN_THE_WAY[which](path)
    forget()
    assert code_cache.function_of(PYTHON)[1]() == "ours"
    code_cache.seal(name)
    assert path.is_file()
    assert not path.is_symlink()
    assert path.stat().st_mode & 0o077 == 0
    assert mine.read_text() == "mine"
    assert names() == [name]


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root writes everywhere")
def test_a_directory_that_has_become_read_only_is_no_obstacle(folder):
    (folder / "programs").mkdir(mode=0o500)
    compiled()


def test_a_seal_that_cannot_be_written_is_no_obstacle(folder, monkeypatch):
    write = code_cache._write

    def no_seal(path, text):
        if path.suffix == ".json":
            raise OSError(28, "No space left on device")
        write(path, text)

    monkeypatch.setattr(code_cache, "_write", no_seal)
    program = compiled()
    assert not seal_of(folder, program.name).exists()
    forget()
    compiled()  # anew: nobody knows whether the machine code is ours


# ---- what is kept, and for how long


def made_up(folder, name, used, size=1000):
    """The files of a program, without one: how many bytes, and when it was last used."""
    code = folder / "programs_0123" / f"{name}.run-1.py311.1.nbc"
    for path, content in (
        (text_of(folder, name), "#" * (size // 2)),
        (code, "0" * (size - size // 2 - 2)),
        (seal_of(folder, name), "{}"),
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        os.utime(path, (used, used))
    return name


def names():
    return [program.name for program in code_cache.listing()]


def test_the_listing_shows_what_was_used_last_first(folder):
    assert code_cache.listing() == []
    made_up(folder, "step_b", used=2000, size=300)
    made_up(folder, "step_a", used=1000, size=500)
    made_up(folder, "step_c", used=3000, size=100)
    (folder / "programs" / "notes.py").write_text("not ours")
    assert names() == ["step_c", "step_b", "step_a"]
    assert [(p.bytes, p.used) for p in code_cache.listing()] == [(100, 3000), (300, 2000), (500, 1000)]
    assert [sorted(f.suffix for f in p.files) for p in code_cache.listing()] == [[".json", ".nbc", ".py"]] * 3


def test_a_program_without_a_seal_is_listed_too(folder):
    made_up(folder, "step_a", used=1000)
    seal_of(folder, "step_a").unlink()
    (program,) = code_cache.listing()
    assert (program.name, program.used, program.bytes) == ("step_a", 1000, 998)


def test_using_a_program_puts_it_first(folder):
    name = compiled().name
    for path in (text_of(folder, name), seal_of(folder, name)):
        os.utime(path, (1000, 1000))
    made_up(folder, "step_a", used=2000)
    assert names() == ["step_a", name]
    forget()
    compiled()
    assert names() == [name, "step_a"]


@pytest.mark.parametrize(("room", "stay"), [(3000, 3), (2999, 2), (2000, 2), (1000, 1), (0, 0)])
def test_the_oldest_programs_are_removed_and_the_newest_stays(folder, monkeypatch, room, stay):
    name = code_cache.function_of(PYTHON)[0]
    for k in range(3):
        made_up(folder, f"step_{k}", used=1000 + k)
    newest = text_of(folder, name).stat().st_size + len(json.dumps({}))
    monkeypatch.setattr(code_cache, "LIMIT", newest + room)
    code_cache.seal(name)
    assert names() == [name, "step_2", "step_1", "step_0"][: 1 + stay]
    assert len(list(folder.rglob("step_?.*"))) == 3 * stay
    assert text_of(folder, name).exists()


def test_a_program_larger_than_the_limit_stays_alone(folder, monkeypatch):
    made_up(folder, "step_old", used=1000)
    monkeypatch.setattr(code_cache, "LIMIT", 1)
    name = compiled().name
    assert names() == [name]
    forget()
    program = compiled()
    if not numba.config.DISABLE_JIT:
        assert loaded(program) == (1, 0)


def test_clearing_removes_programs_and_nothing_else(folder):
    name = compiled().name
    made_up(folder, "step_a", used=1000)
    others = [folder / "kernels.nbc", folder / "programs" / "notes.py"]
    for path in others:
        path.write_text("not ours")
    assert code_cache.clear() == 2
    assert code_cache.listing() == []
    assert list(folder.rglob("step_*")) == []
    assert all(path.read_text() == "not ours" for path in others)
    assert code_cache.clear() == 0
    compiled()  # what is loaded goes on
    forget()
    assert compiled().name == name  # and is made anew
    assert names() == [name]


def test_no_half_written_file_stays(folder):
    compiled()
    endings = {path.suffix for path in (folder / "programs").iterdir()}
    assert endings == {".py", ".json"}
