"""Files: written whole or not at all, and believed only if they are ordinary files of our own."""

from __future__ import annotations

import errno
import os
import platform
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = ".writing-"


@contextmanager
def whole_file(path: str | Path, *, private: bool = False) -> Iterator[Path]:
    """A draft beside the file, which takes its place when all is written: `with whole_file("a.svg") as draft:`.

    Where writing fails, or is interrupted, the file is what it was before. A file that is replaced keeps its
    permissions, and a link still leads to it. What is no ordinary file (/dev/stdout, a pipe) has no old content to
    lose, and is written to directly. private: for a cache, only we may read the file, which replaces what stood there.
    Raises OSError that names the file.

    >>> with whole_file("/nowhere/a.txt") as draft:
    ...     draft.write_text("hello")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/a.txt'
    """
    target = Path(os.path.abspath(path) if private else os.path.realpath(path))
    draft = target.with_name(f"{_names_of_drafts()}{os.getpid()}-{secrets.token_hex(4)}{target.suffix}")
    try:
        if not private and target.is_symlink():  # still, after all links were followed: they go in a circle
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(target))
        if not private and target.exists() and not target.is_file():
            yield target
            return
        _remove_abandoned_drafts(target.parent)
        try:
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600 if private else 0o666))
            yield draft
            if private and target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            elif not private and target.exists():
                shutil.copymode(target, draft)
            os.replace(draft, target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(draft), str(target)):
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a file whole or not at all, and onto the disk before it takes the place of the old one.

    Without the second, a machine that loses its power might be left with neither of them.
    Raises OSError that names the file.
    """
    with whole_file(path) as draft, open(draft, "wb") as file:
        file.write(content)
        file.flush()
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            os.fsync(file.fileno())


def read_own_file(path: Path, most: int = 100_000_000) -> bytes:
    """The content of an ordinary file of ours in which nobody else can write, of at most so many bytes.

    Raises OSError for what is larger or belongs to somebody else, for links, folders, pipes and devices: without
    waiting for any of them.
    """
    flags = (getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
    descriptor = os.open(path, os.O_RDONLY | sum(flags))
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        ours = not hasattr(os, "geteuid") or (status.st_uid == os.geteuid() and not status.st_mode & 0o022)
        if not (ours and stat.S_ISREG(status.st_mode) and status.st_size <= most):
            raise PermissionError(errno.EPERM, "this is not an ordinary file of our own", str(path))
        return file.read(most)


def _names_of_drafts() -> str:
    """How the names of drafts begin: with the machine, because folders are shared; then comes the process."""
    return f"{PREFIX}{re.sub(r'[^a-zA-Z0-9.]', '_', platform.node())[:40]}-"


def _remove_abandoned_drafts(folder: Path) -> None:
    """Remove what processes of this machine were writing when they were killed."""
    if os.name == "nt":  # where asking whether a process lives ends it
        return
    names = _names_of_drafts()
    for draft in folder.glob(f"{names}*"):
        process = draft.name.removeprefix(names).split("-")[0]
        with suppress(OSError):
            if process.isdecimal() and draft.lstat().st_uid == os.geteuid() and not _is_alive(int(process)):
                draft.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # somebody else's; no process at all
        return True
    return True
