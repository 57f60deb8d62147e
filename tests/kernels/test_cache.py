"""The directory of compiled code: private, where it should be, and no obstacle where it cannot be."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from fresh import printed, ran

from tinygrad_ce import cache

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners and modes are those of POSIX")
linux = pytest.mark.skipif(sys.platform != "linux", reason="where a user's cache is depends on the system")


@pytest.fixture
def directory(monkeypatch):
    """cache.directory, asked anew, in an environment that says nothing of caches but what is given."""

    def asked(home=None, **environment):
        for name in (cache.VARIABLE, "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        if home is not None:
            environment["HOME"] = home
        for name, value in environment.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.setattr(cache, "_found", False)
        return cache.directory()

    return asked


def mode(path):
    return path.stat().st_mode & 0o7777


def refused(directory, *words, **environment):
    """There is no directory, and one warning says why and what to set, however often it is asked for."""
    with pytest.warns(RuntimeWarning, match=cache.VARIABLE) as caught:
        found = directory(**environment)
    assert found is None
    assert cache.directory() is None  # a second warning would be an error here
    assert len(caught) == 1
    assert all(word in str(caught[0].message) for word in ("compiled code is not kept", *words))


# ---- where it is


def test_it_is_where_the_variable_says(directory, tmp_path, monkeypatch):
    wanted = tmp_path / "a" / "b"
    assert directory(TINYGRAD_CE_CACHE=wanted) == wanted
    assert directory(home=tmp_path, TINYGRAD_CE_CACHE=Path("~") / "mine") == tmp_path / "mine"
    monkeypatch.chdir(tmp_path)
    assert directory(TINYGRAD_CE_CACHE="here") == tmp_path / "here"
    for made in (wanted, tmp_path / "mine", tmp_path / "here"):
        assert list(made.iterdir()) == []


@linux
def test_without_the_variable_it_is_in_the_users_cache(directory, tmp_path):
    assert directory(home=tmp_path) == tmp_path / ".cache" / "tinygrad_ce"
    assert directory(home=tmp_path, TINYGRAD_CE_CACHE="") == tmp_path / ".cache" / "tinygrad_ce"
    assert directory(home=tmp_path, XDG_CACHE_HOME=tmp_path / "x") == tmp_path / "x" / "tinygrad_ce"


# ---- it is private


@posix
@pytest.mark.parametrize("before", [None, 0o700, 0o755, 0o777, 0o500, 0o2755])
def test_it_is_closed_to_others(directory, tmp_path, before):
    path = tmp_path / "kept"
    umask = os.umask(0)
    try:
        if before is not None:
            path.mkdir()
            path.chmod(before)
        assert directory(TINYGRAD_CE_CACHE=path) == path
    finally:
        os.umask(umask)
    assert mode(path) == 0o700


@posix
def test_what_was_closed_to_writing_is_used_with_all_that_lies_there(directory, tmp_path):
    (tmp_path / "mine").write_text("")
    tmp_path.chmod(0o755)
    assert directory(TINYGRAD_CE_CACHE=tmp_path) == tmp_path
    assert mode(tmp_path) == 0o700


@posix
@pytest.mark.parametrize(("before", "holds"), [(0o775, ["planted.nbi"]), (0o777, ["planted.nbi"]), (0o1777, [])])
def test_a_directory_in_which_others_may_have_left_something_is_refused(directory, tmp_path, before, holds):
    """Code that lies there would be executed. One like /tmp is for all, and stays open."""
    path = tmp_path / "shared"
    path.mkdir()
    for name in holds:
        (path / name).write_text("")
    path.chmod(before)
    refused(directory, "shared", str(path), TINYGRAD_CE_CACHE=path)
    assert mode(path) == before


@posix
def test_a_directory_of_somebody_else_is_refused(directory, tmp_path, monkeypatch):
    owner = os.geteuid()
    tmp_path.chmod(0o755)
    monkeypatch.setattr(cache, "_check_above", lambda path: None)  # what lies above belongs to the same somebody
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    refused(directory, "belongs to another user", str(tmp_path), TINYGRAD_CE_CACHE=tmp_path)
    assert mode(tmp_path) == 0o755


@posix
@pytest.mark.parametrize(("above", "words"), [(0o777, "rename"), (0o757, "rename"), (0o775, "rename"), (0o1777, None)])
def test_a_directory_that_others_may_rename_is_refused(directory, tmp_path, monkeypatch, above, words):
    """They could put one of their own in its place. A sticky bit, as /tmp has, lets only owners rename."""
    monkeypatch.setattr(os, "getegid", lambda: tmp_path.stat().st_gid + 1)
    parent = tmp_path / "for all"
    (parent / "mine").mkdir(parents=True)
    parent.chmod(above)
    for path in (parent / "mine", parent / "mine" / "below" / "kept", parent / "new"):
        if words is None:
            assert directory(TINYGRAD_CE_CACHE=path) == path
        else:
            refused(directory, words, str(parent), TINYGRAD_CE_CACHE=path)
    assert words is None or [path.name for path in parent.rglob("*")] == ["mine"]


@posix
def test_a_directory_behind_a_link_that_others_may_turn_is_refused(directory, tmp_path):
    """Neither the place of the link nor the place that it leads to may be open."""
    for name, mode in (("open", 0o777), ("closed", 0o700)):
        (tmp_path / name / "kept").mkdir(parents=True)
        (tmp_path / name).chmod(mode)
    (tmp_path / "open" / "link").symlink_to(tmp_path / "closed")
    (tmp_path / "closed" / "link").symlink_to(tmp_path / "open")
    (tmp_path / "closed" / "safe").symlink_to(tmp_path / "closed")
    for path in (tmp_path / "open" / "link", tmp_path / "closed" / "link"):
        refused(directory, "others may rename", TINYGRAD_CE_CACHE=path / "kept")
    assert directory(TINYGRAD_CE_CACHE=tmp_path / "closed" / "safe" / "kept") is not None


@posix
def test_a_directory_in_a_folder_of_the_users_own_group_is_used(directory, tmp_path, monkeypatch):
    """As it is where the umask is 002."""
    monkeypatch.setattr(os, "getegid", lambda: tmp_path.stat().st_gid)
    tmp_path.chmod(0o775)
    assert directory(TINYGRAD_CE_CACHE=tmp_path / "kept") == tmp_path / "kept"


@posix
def test_a_directory_in_a_folder_of_somebody_else_is_refused(directory, tmp_path, monkeypatch):
    real = os.stat_result(tmp_path.stat())
    theirs = os.stat_result([*real[:4], real.st_uid + 1000, *real[5:]])
    stat = Path.stat
    monkeypatch.setattr(Path, "stat", lambda self, **kw: theirs if self == tmp_path else stat(self, **kw))
    refused(directory, "rename", str(tmp_path), TINYGRAD_CE_CACHE=tmp_path / "kept")


# ---- where there is none


@linux
def test_a_file_in_the_way_is_no_obstacle_but_for_one_warning(directory, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    for environment in (
        {"TINYGRAD_CE_CACHE": file},
        {"TINYGRAD_CE_CACHE": file / "below"},
        {"XDG_CACHE_HOME": file},
        {"home": file},
    ):
        refused(directory, str(file), **environment)
    assert file.read_text() == "mine"


@linux
@pytest.mark.skipif(not os.path.isdir("/proc"), reason="a place where not even root can write")
def test_a_home_that_cannot_be_written_is_no_obstacle(directory):
    refused(directory, "/proc/nowhere", home="/proc/nowhere")
    refused(directory, "/proc", TINYGRAD_CE_CACHE="/proc")


@linux
def test_a_home_that_nobody_knows_is_no_obstacle(directory, tmp_path, monkeypatch):
    """A user without a name and HOME, as in a container; nothing is made in a directory called ~."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    refused(directory, "home")
    refused(directory, "home", TINYGRAD_CE_CACHE="~/kept")
    assert list(tmp_path.iterdir()) == []


# ---- the kernels, each time in a fresh interpreter

SUM = """
    import warnings
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import numpy as np
        from tinygrad_ce.kernels.rows import short_sum
        print(short_sum(np.array([0.0, 1.0, 5.0])))
    print(len(caught), *(f"{w.category.__name__}: {w.message}" for w in caught))
"""
PLAIN = {"NUMBA_CACHE_DIR": None, "NUMBA_DISABLE_JIT": 0, "NUMBA_BOUNDSCHECK": 0}


def kept(folder):
    """The files of machine code, and when they were written."""
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*.nbc")}


def test_without_a_directory_the_kernels_compute(tmp_path):
    pytest.importorskip("numba")
    (tmp_path / "file").write_text("")
    said = printed(SUM, **PLAIN | {"TINYGRAD_CE_CACHE": tmp_path / "file"})
    assert said[:3] == ["6.0", "1", "RuntimeWarning:"]
    assert "TINYGRAD_CE_CACHE" in said


def test_the_kernels_are_kept_in_the_directory_and_those_that_check_their_indices_below_it(tmp_path):
    pytest.importorskip("numba")
    folder = tmp_path / "kept"
    here = PLAIN | {"TINYGRAD_CE_CACHE": folder}
    assert printed(SUM, **here) == ["6.0", "0"]
    plain = kept(folder)
    assert len(plain) == 1
    assert printed(SUM, **here | {"NUMBA_BOUNDSCHECK": 1}) == ["6.0", "0"]
    checked = kept(folder / "boundscheck")
    assert len(checked) == 1
    assert kept(folder) == plain | {Path("boundscheck") / path: when for path, when in checked.items()}


def test_a_directory_that_the_user_gave_to_numba_is_the_one(tmp_path):
    pytest.importorskip("numba")
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    assert printed(SUM, **PLAIN | {"NUMBA_CACHE_DIR": theirs, "TINYGRAD_CE_CACHE": ours}) == ["6.0", "0"]
    assert len(kept(theirs)) == 1
    assert not ours.exists()


def test_the_loops_of_the_user_are_kept_where_numba_keeps_them(tmp_path):
    pytest.importorskip("numba")
    for name in ("before", "after"):
        (tmp_path / f"{name}.py").write_text("import numba\n\n\n@numba.njit(cache=True)\ndef f(x):\n    return x + 1\n")
    process = ran(
        f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import numba
        chosen = numba.config.CACHE_DIR
        import before
        from tinygrad_ce.kernels import rows
        assert numba.config.CACHE_DIR == chosen
        import after
        print(before.f(1), after.f(1))
        """,
        **PLAIN | {"TINYGRAD_CE_CACHE": tmp_path / "ours"},
    )
    assert process.stdout.split() == ["2", "2"], process.stderr
    assert sorted(path.name.split(".")[0] for path in kept(tmp_path)) == ["after", "before"]
    assert {path.parts[0] for path in kept(tmp_path)} == {"__pycache__"}


# ---- the folder of the kernels


def run_copy(folder, root):
    """What the kernels of a copy of the package compute."""
    first = f"    import sys; sys.path.insert(0, {str(root)!r})"
    return printed(first + SUM, **PLAIN | {"TINYGRAD_CE_CACHE": folder})


def test_a_change_in_a_kernel_that_another_calls_is_compiled(tmp_path):
    """Numba alone would not see it: the file of the caller is as it was."""
    pytest.importorskip("numba")
    package = Path(cache.__file__).parent
    shutil.copytree(package, tmp_path / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    folder, callee = tmp_path / "kept", tmp_path / package.name / "kernels" / "vector_math.py"
    assert run_copy(folder, tmp_path)[0] == "6.0"
    text = callee.read_text()
    assert text.count("builder.fadd(") == 1
    callee.write_text(text.replace("builder.fadd(", "builder.fsub("))
    assert run_copy(folder, tmp_path)[0] == "-6.0"
    assert len(list(folder.glob("kernels-*"))) == 2
    callee.write_text(text)
    assert run_copy(folder, tmp_path)[0] == "6.0"
    assert len(list(folder.glob("kernels-*"))) == 2


def test_the_folders_that_were_used_longest_ago_are_removed(tmp_path):
    pytest.importorskip("numba")
    from tinygrad_ce.kernels import code_cache

    folders = [tmp_path / f"{code_cache.PREFIX}{i}" for i in range(7)]
    for age, folder in enumerate(folders):
        (folder / "below").mkdir(parents=True)
        os.utime(folder, (1000 - age, 1000 - age))
    (tmp_path / "programs").mkdir()
    code_cache.trim(tmp_path, folders[6])  # the oldest, and the one in use
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"programs", *(folder.name for folder in [*folders[: code_cache.MAX_FOLDERS - 1], folders[6]])}


def test_folders_that_another_process_removes_meanwhile_are_no_error(tmp_path, monkeypatch):
    pytest.importorskip("numba")
    from tinygrad_ce.kernels import code_cache

    gone = [tmp_path / f"{code_cache.PREFIX}{i}" for i in range(9)]
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(gone))
    code_cache.trim(tmp_path, tmp_path / "current")
