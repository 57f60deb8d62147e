"""Machine code of kernels on disk: only what we have sealed is unpickled, and what is damaged is compiled anew."""

import os
import pickle

import pytest
from fresh import printed

from tinygrad_ce.kernels import code_cache

numba = pytest.importorskip("numba")

jitted = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="there is no machine code: loops run as Python")
posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="links, pipes and modes are those of POSIX")


class Planted:
    """What is unpickled leaves a trace."""

    def __reduce__(self):
        return (exec, ("import os; os.environ['PLANTED'] = 'unpickled'",))


PICKLE = pickle.dumps(Planted())


def f(x):
    return x * 2 + 1


def g(x):
    return x * 3 + 7


@pytest.fixture
def folder(tmp_path):
    """Two functions are compiled and kept there."""
    assert compile_and_call(tmp_path, f) == (15, 0, 1)
    assert compile_and_call(tmp_path, g) == (28, 0, 1)
    return tmp_path


def compile_and_call(folder, function, key=b"k" * 32):
    """The result for 7, how often the machine code came from disk, and how often it was compiled."""
    compiled = numba.njit(function)
    code_cache.keep(compiled, folder, key)
    result = compiled(7)
    return result, sum(compiled.stats.cache_hits.values()), sum(compiled.stats.cache_misses.values())


def file_of(folder, function, ending):
    (found,) = folder.rglob(f"*.{function.__name__}-*{ending}")
    return found


def content(change):
    return lambda path, other: path.write_bytes(change(path.read_bytes()))


def flipped(share):
    """The content with one bit turned, at this share of its length."""

    def change(whole):
        at = int(share * (len(whole) - 1))
        return whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]

    return content(change)


def replaced(put):
    def change(path, other):
        path.unlink()
        put(path)

    return change


DAMAGES = {
    "empty": content(lambda whole: b""),
    "shorter than a seal": content(lambda whole: whole[:20]),
    "only the seal": content(lambda whole: whole[: code_cache.SEAL_BYTES]),
    "half": content(lambda whole: whole[: len(whole) // 2]),
    "all but a byte": content(lambda whole: whole[:-1]),
    "longer": content(lambda whole: whole + b"0"),
    "garbage": content(lambda whole: b"not what it was" * 100),
    **{f"a bit at {share}": flipped(share) for share in (0, 0.02, 0.5, 1)},
    "a pickle": content(lambda whole: PICKLE),
    "a pickle behind our seal": content(lambda whole: whole[: code_cache.SEAL_BYTES] + PICKLE),
    "a pickle under the seal of another key": content(
        lambda whole: code_cache.seal(b"?" * 32, "name", PICKLE) + PICKLE
    ),
    "the file of another function": lambda path, other: path.write_bytes(other.read_bytes()),
    "removed": replaced(lambda path: None),
    "a folder": replaced(lambda path: (path.mkdir(), (path / "below").write_text(""))),
    "an endless device": replaced(lambda path: path.symlink_to("/dev/zero")),
    "a pipe": replaced(lambda path: os.mkfifo(path)),
    "a link to itself": replaced(lambda path: path.symlink_to(path.name)),
}


@jitted
@posix
@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_or_foreign_is_compiled_anew_and_kept_again(folder, damage, ending):
    DAMAGES[damage](file_of(folder, f, ending), file_of(folder, g, ending))
    assert compile_and_call(folder, f) == (15, 0, 1)
    assert "PLANTED" not in os.environ
    assert compile_and_call(folder, f) == (15, 1, 0)
    assert compile_and_call(folder, g) == (28, 1, 0)


@jitted
def test_without_the_seal_it_would_be_unpickled(folder, monkeypatch):
    """So the test above can fail."""
    file_of(folder, f, ".nbi").write_bytes(b"?" * code_cache.SEAL_BYTES + PICKLE)
    monkeypatch.setattr(code_cache.hmac, "compare_digest", lambda found, expected: True)
    monkeypatch.delenv("PLANTED", raising=False)
    compile_and_call(folder, f)
    assert os.environ.pop("PLANTED") == "unpickled"


@jitted
@posix
def test_files_that_others_may_write_are_not_believed(folder):
    file_of(folder, f, ".nbc").chmod(0o666)
    assert compile_and_call(folder, f) == (15, 0, 1)
    assert file_of(folder, f, ".nbc").stat().st_mode & 0o777 == 0o600


@jitted
@posix
@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077])
def test_the_umask_opens_nothing(tmp_path, umask):
    before = os.umask(umask)
    try:
        assert compile_and_call(tmp_path, f) == (15, 0, 1)
    finally:
        os.umask(before)
    assert compile_and_call(tmp_path, f) == (15, 1, 0)


@jitted
def test_another_key_opens_nothing(folder):
    assert compile_and_call(folder, f, b"another" * 4) == (15, 0, 1)


@jitted
def test_a_full_disk_is_no_obstacle(tmp_path, monkeypatch):
    def full(path, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(code_cache, "whole_file", full)
    assert compile_and_call(tmp_path, f) == (15, 0, 1)


# ---- the key


@pytest.fixture
def secret(tmp_path):
    """The key of a directory, asked for as a new process does."""
    return lambda name="kept": code_cache.secret.__wrapped__(tmp_path / name)


def test_a_directory_has_one_key_that_nobody_else_reads(secret, tmp_path):
    key = secret()
    assert len(key) == code_cache.KEY_BYTES
    assert secret() == key != secret("another")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["key"]
    if hasattr(os, "geteuid"):
        assert (tmp_path / "kept" / "key").stat().st_mode & 0o777 == 0o600


def test_of_two_keys_that_are_created_at_once_the_first_stays(secret, tmp_path):
    key = secret()
    code_cache._create_key(tmp_path / "kept" / "key")
    assert secret() == key


def test_where_there_are_no_links_there_is_a_key_all_the_same(secret, monkeypatch):
    def refuse(source, target):
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert secret() == secret() is not None


@posix
@pytest.mark.parametrize("damage", ["empty", "half", "longer", "an endless device", "a pipe", "a link to itself"])
def test_a_damaged_key_is_replaced(secret, tmp_path, damage):
    before = secret()
    DAMAGES[damage](tmp_path / "kept" / "key", None)
    after = secret()
    assert after is not None
    assert after != before
    assert secret() == after


@posix
def test_a_key_that_others_may_write_is_replaced(secret, tmp_path):
    before = secret()
    (tmp_path / "kept" / "key").chmod(0o666)
    assert secret() not in (None, before)


def test_where_no_key_can_be_kept_there_is_none(secret, tmp_path):
    (tmp_path / "kept" / "key").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    assert secret() is None
    assert secret("file") is None


# ---- in processes of their own

SUM = """
    import numpy as np
    from tinygrad_ce.kernels.rows import short_sum
    print(short_sum(np.array([0.0, 1.0, 5.0])))
"""
PLAIN = {"NUMBA_CACHE_DIR": None, "NUMBA_DISABLE_JIT": 0, "NUMBA_BOUNDSCHECK": 0}


@pytest.mark.parametrize("suffix", ["nbc", "nbi"])
def test_a_damaged_kernel_is_compiled_anew_without_a_word(tmp_path, suffix):
    here = PLAIN | {"TINYGRAD_CE_CACHE": tmp_path}
    assert printed(SUM, **here) == ["6.0"]
    (file,) = tmp_path.rglob(f"*short_sum*.{suffix}")
    whole = file.read_bytes()
    middle = len(whole) // 2
    file.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    assert printed(SUM, **here) == ["6.0"]
    assert len(file.read_bytes()) > middle  # and kept again
