"""The files of compiled programs: named by their content, checked before machine code is loaded, the oldest removed.

The text of a program is made anew each time, and what lies on disk is used only if it is that text. The machine code
that Numba keeps beside it is used only if it is, byte for byte, what was there when we had compiled it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache as remembered
from pathlib import Path
from types import ModuleType
from typing import Any

from tinygrad_ce import cache
from tinygrad_ce.disk import read_own_file, whole_file

LIMIT = 100_000_000  # bytes of all programs together


@dataclass(frozen=True)
class Kept:
    """One program on disk: its name, its files, their bytes, and when it was last used (seconds since 1970)."""

    name: str
    files: tuple[Path, ...]
    bytes: int
    used: float


def function_of(text: str) -> tuple[str, Callable[..., Any]]:
    """The function `run` of some generated text, and the name under which it is kept. ImportError without Numba."""
    name = f"step_{hashlib.sha256((text + _versions()).encode()).hexdigest()[:20]}"
    if name not in _loaded:
        directory = cache.directory()
        try:
            module = _from_text(name, text) if directory is None else _from_file(directory, name, text)
        except OSError:  # a full disk, a file in the way: then without a file
            module = _from_text(name, text)
        _loaded[name] = module.run
    return name, _loaded[name]


_loaded: dict[str, Callable[..., Any]] = {}


def _from_text(name: str, text: str, path: str | None = None) -> ModuleType:
    """A module of this text. Not by importing its file: what lies beside that as byte code would be believed."""
    module = ModuleType(name)
    module.__file__ = path
    sys.modules[name] = module
    exec(compile(text, path or f"<{name}>", "exec"), module.__dict__)
    return module


def _from_file(directory: Path, name: str, text: str) -> ModuleType:
    folder = directory / "programs"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{name}.py"
    if not _is(path, text):
        _remove(directory, name)  # machine code of another text, if any
        _write(path, text)
    elif not _sealed(directory, name):
        for file in _machine_code(directory, name):
            _discard(file)
    return _from_text(name, text, str(path))


def _is(path: Path, text: str) -> bool:
    content = text.encode()
    try:
        return read_own_file(path, len(content)) == content
    except OSError:
        return False


def _write(path: Path, text: str) -> None:
    with whole_file(path, private=True) as draft:
        draft.write_bytes(text.encode())


def _machine_code(directory: Path, name: str) -> list[Path]:
    """The files that Numba keeps for a program: beside it, or where index-checked code lies."""
    from tinygrad_ce.kernels.jit import numba

    folders = [directory, directory / "boundscheck"]
    # Where the user wants all machine code to be kept.
    if numba is not None and (chosen := vars(numba.config).get("CACHE_DIR")):
        folders.append(Path(chosen))
    return sorted(file for folder in folders for file in folder.glob(f"*/{name}.*") if file.parent.name != "programs")


def _sums(directory: Path, name: str) -> dict[str, str]:
    return {
        os.path.relpath(file, directory): hashlib.sha256(read_own_file(file)).hexdigest()
        for file in _machine_code(directory, name)
    }


def _sealed(directory: Path, name: str) -> bool:
    """Whether the machine code is what was sealed; counts as a use."""
    seal = directory / "programs" / f"{name}.json"
    try:
        same: bool = json.loads(read_own_file(seal)) == _sums(directory, name)
        os.utime(seal)
    except (OSError, ValueError, RecursionError):
        return False
    return same


def seal(name: str) -> None:
    """Write down what the machine code is, now that it has been made; remove the oldest programs if there are many."""
    directory = cache.directory()
    if directory is None or name in _sealed_now or not (directory / "programs" / f"{name}.py").exists():
        return
    _sealed_now.add(name)
    try:
        if not _sealed(directory, name):
            _write(directory / "programs" / f"{name}.json", json.dumps(_sums(directory, name)))
        _trim(directory, name)
    except OSError:  # a full disk: it will be compiled again
        return


_sealed_now: set[str] = set()


def _trim(directory: Path, but: str) -> None:
    programs = listing()
    total = sum(p.bytes for p in programs)
    for program in reversed(programs):
        if total <= LIMIT:
            return
        if program.name != but:
            _remove(directory, program.name)
            total -= program.bytes


def _remove(directory: Path, name: str) -> None:
    folder = directory / "programs"
    for file in (*_machine_code(directory, name), folder / f"{name}.json", folder / f"{name}.py"):
        _discard(file)


def _discard(file: Path) -> None:
    """Remove a file, or what somebody has put in its place."""
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    else:
        file.unlink(missing_ok=True)


def listing() -> list[Kept]:
    """The programs on disk, the last used first."""
    directory = cache.directory()
    if directory is None:
        return []
    found = []
    for path in (directory / "programs").glob("step_*.py"):
        seal = path.with_suffix(".json")
        sizes, used = {}, 0.0
        for file in (path, seal, *_machine_code(directory, path.stem)):
            with suppress(OSError):  # another process may be removing it
                status = file.lstat()
                sizes[file] = status.st_size
                used = status.st_mtime if file in (path, seal) else used
        found.append(Kept(path.stem, tuple(sizes), sum(sizes.values()), used))
    return sorted(found, key=lambda p: -p.used)


def clear() -> int:
    """Remove all programs from disk; how many there were."""
    directory, programs = cache.directory(), listing()
    for program in programs:
        assert directory is not None
        _remove(directory, program.name)
    return len(programs)


@remembered
def _versions() -> str:
    """What the machine code depends on besides the text."""
    from tinygrad_ce.kernels import code_cache
    from tinygrad_ce.kernels.jit import numba

    if numba is None:
        raise ImportError("Numba is not installed: pip install numba")
    return f"{numba.__version__} {code_cache.digest()}"
