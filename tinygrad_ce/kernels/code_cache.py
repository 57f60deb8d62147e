"""The folder of compiled kernels: named by the content of all kernel files, sealed, trimmed.

Numba compiles a kernel anew when its own file has changed, but not when a kernel that it calls has. So whatever changes
in any of the files, all of them are compiled into another folder.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import pickle
import secrets
import shutil
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from tinygrad_ce.disk import read_own_file, whole_file

PREFIX = "kernels-"
MAX_FOLDERS = 4  # of this many versions of the kernels the machine code is kept: people go back and forth
DIGEST_BYTES = 16
KEY_BYTES = SEAL_BYTES = 32


@cache
def digest() -> str:
    """The hash of all kernel files, and of the compiler's version. OSError if they cannot be read."""
    import llvmlite
    import numba

    content = hashlib.blake2b(f"{numba.__version__} {llvmlite.__version__}".encode(), digest_size=DIGEST_BYTES)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        text = path.read_bytes()
        content.update(f"\n{path.name} {len(text)}\n".encode() + text)
    return content.hexdigest()


@cache
def folder(directory: Path) -> Path | None:
    """The folder in this directory for the kernels as they are now; None if it cannot be had.

    Its time of modification is that of its last use. A new folder takes the place of the one that was used longest ago.
    """
    try:
        path = directory / f"{PREFIX}{digest()}"
        if path.is_dir():
            os.utime(path)
        else:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            trim(directory, path)
    except OSError:
        return None
    return path


def trim(directory: Path, current: Path) -> None:
    """Remove the folders of kernels that were used longest ago; other processes may be doing the same."""
    others = []
    for path in directory.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if path != current:
                others.append((path.stat().st_mtime, path))
    for _, path in sorted(others, reverse=True)[MAX_FOLDERS - 1 :]:
        shutil.rmtree(path, ignore_errors=True)


def keep(compiled: Any, folder: Path, key: bytes) -> None:
    """Let Numba keep the machine code of this function below the folder, sealed with the key, if it can."""
    config: Any = import_module("numba").config
    chosen = config.CACHE_DIR
    # It is read when a function is told to keep its code; other people's functions stay where they are.
    config.CACHE_DIR = str(folder)
    try:
        kept = _sealed_cache()(compiled.py_func, key)
    except RuntimeError:  # no place that can be written to: compile in every process
        return
    finally:
        config.CACHE_DIR = chosen
    if Path(kept.cache_path).is_relative_to(folder):  # and not beside the source, where Numba looks next
        compiled._cache = kept


@cache
def secret(directory: Path) -> bytes | None:
    """The key of this directory, created when it is first asked for; None if it cannot be kept there.

    Numba unpickles what it finds, and a pickle may run anything. So each file is sealed with a key that only we know:
    what somebody else has put there, or what was damaged, is never unpickled.
    """
    path = directory / "key"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _key_in(path) is None:
            _create_key(path)
    except OSError:
        return None
    return _key_in(path)


def _key_in(path: Path) -> bytes | None:
    try:
        key = read_own_file(path, KEY_BYTES)
    except OSError:
        return None
    return key if len(key) == KEY_BYTES else None


def _create_key(path: Path) -> None:
    """Whole or not at all; of two processes that create one at once, the first one's stays."""
    draft = path.with_name(f"{path.name}-{secrets.token_hex(4)}")
    try:
        draft.touch(0o600, exist_ok=False)
        draft.write_bytes(secrets.token_bytes(KEY_BYTES))
        try:
            os.link(draft, path)
        except OSError:  # there is one now; there is a damaged one; there are no links here
            if _key_in(path) is None:
                os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def seal(key: bytes, name: str, content: bytes) -> bytes:
    """What only the owner of the key can compute, and only for this content in the file of this name."""
    return hmac.digest(key, name.encode() + b"\n" + content, "sha256")


@cache
def _sealed_cache() -> Any:
    """Numba's cache of a function, where each file begins with its seal."""
    from numba.core.caching import FunctionCache, IndexDataCacheFile

    class SealedFiles(IndexDataCacheFile):
        """The files of one function; a damaged or foreign one is as good as none."""

        key: bytes

        def _load_index(self) -> Any:
            found = self._load(self._index_path)
            return found[1] if found is not None and found[0] == self._source_stamp else {}

        def _save_index(self, overloads: Any) -> None:
            self._save(self._index_path, (self._source_stamp, overloads))

        def _load_data(self, name: str) -> Any:
            return self._load(self._data_path(name))

        def _save_data(self, name: str, data: Any) -> None:
            self._save(self._data_path(name), data)

        def _load(self, path: str) -> Any:
            try:
                content = read_own_file(Path(path))
            except OSError:
                return None
            found, content = content[:SEAL_BYTES], content[SEAL_BYTES:]
            expected = seal(self.key, os.path.basename(path), content)
            return pickle.loads(content) if hmac.compare_digest(found, expected) else None

        def _save(self, path: str, data: Any) -> None:
            content = self._dump(data)
            with whole_file(path, private=True) as draft:
                draft.write_bytes(seal(self.key, os.path.basename(path), content) + content)

    class SealedCache(FunctionCache):
        """The overloads of one function; what cannot be written is compiled in every process."""

        def __init__(self, function: Any, key: bytes) -> None:
            super().__init__(function)
            stamp = self._impl.locator.get_source_stamp()
            self._cache_file = SealedFiles(self._cache_path, self._impl.filename_base, stamp)
            self._cache_file.key = key

        def save_overload(self, signature: Any, data: Any) -> None:
            with suppress(OSError):
                super().save_overload(signature, data)

    return SealedCache
