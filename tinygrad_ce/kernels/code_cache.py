"""The folder of compiled kernels: named by the content of all kernel files, checked before it is believed, trimmed.

Numba compiles a kernel anew when its own file has changed, but not when a kernel that it calls has. So whatever changes
in any of the files, all of them are compiled into another folder.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

PREFIX = "kernels-"
MAX_FOLDERS = 4  # of this many versions of the kernels the machine code is kept: people go back and forth
DIGEST_BYTES = 16


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


def keep(compiled: Any, folder: Path, checked: bool) -> None:
    """Let Numba keep the machine code of this function below the folder, if it can; checked: with its hash."""
    config: Any = import_module("numba").config
    chosen = config.CACHE_DIR
    # It is read when a function is told to keep its code; other people's functions stay where they are.
    config.CACHE_DIR = str(folder)
    try:
        kept = _checked_cache()(compiled.py_func) if checked else _plain_cache(compiled)
    except RuntimeError:  # no place that can be written to: compile in every process
        return
    finally:
        config.CACHE_DIR = chosen
    if Path(kept.cache_path).is_relative_to(folder):  # and not beside the source, where Numba looks next
        compiled._cache = kept


def _plain_cache(compiled: Any) -> Any:
    from numba.core.caching import FunctionCache

    return FunctionCache(compiled.py_func)


@cache
def _checked_cache() -> Any:
    """Numba's cache of a function, where each file begins with the hash of its content."""
    from numba.core.caching import FunctionCache, IndexDataCacheFile

    class CheckedFile(IndexDataCacheFile):
        """The files of one function; a damaged one is as good as none."""

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
                content = Path(path).read_bytes()
            except OSError:
                return None
            expected, content = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
            return pickle.loads(content) if _hash(content) == expected else None

        def _save(self, path: str, data: Any) -> None:
            content = self._dump(data)
            with self._open_for_write(path) as file:
                file.write(_hash(content) + content)

    class CheckedCache(FunctionCache):
        """The overloads of one function; what cannot be written is compiled in every process."""

        def __init__(self, function: Any) -> None:
            super().__init__(function)
            stamp = self._impl.locator.get_source_stamp()
            self._cache_file = CheckedFile(self._cache_path, self._impl.filename_base, stamp)

        def save_overload(self, signature: Any, data: Any) -> None:
            with suppress(OSError):
                super().save_overload(signature, data)

    return CheckedCache


def _hash(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
