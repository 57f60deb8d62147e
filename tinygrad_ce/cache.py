"""The private directory in which compiled code is kept between runs.

What lies there is executed, so nobody else may write there: its mode is 0700. A directory that belongs to somebody else
is not used, and none that others could put another in the place of.
"""

from __future__ import annotations

import os
import stat
import tempfile
import warnings
from pathlib import Path

VARIABLE = "TINYGRAD_CE_CACHE"
ROOT, NOBODY = 0, 65534  # in a container, what is the machine's own belongs to nobody


def directory() -> Path | None:
    """Where compiled code is kept; None, after one warning, if there is no place that only we can write to.

    $TINYGRAD_CE_CACHE if it is set, else the user's cache directory as the system has it (~/.cache/tinygrad_ce).
    """
    global _found
    if isinstance(_found, bool):
        _found = _made()
    return _found


_found: Path | bool | None = False  # not looked for yet


def _made() -> Path | None:
    try:
        chosen = os.environ.get(VARIABLE)
        if chosen:
            path = Path(chosen)
        else:
            from platformdirs import user_cache_path  # imported here: most runs of the package need no kernel

            path = user_cache_path("tinygrad_ce", appauthor=False)
        path = path.expanduser().absolute()  # RuntimeError if nobody knows where home is
        _check_above(path)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(path)
        tempfile.TemporaryFile(dir=path).close()  # can it be written to?
    except (OSError, RuntimeError) as error:
        warnings.warn(
            f"compiled code is not kept between runs, and every run will compile it again: {error}. Set {VARIABLE} to "
            "a directory of your own that can be written to",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return path


def _check_above(path: Path) -> None:
    """PermissionError if others may rename a directory above this one, and so put another in its place."""
    if not hasattr(os, "geteuid"):
        return
    for parent in {*path.parents, *Path(os.path.realpath(path)).parents}:
        if parent.exists() and _others_may_rename_in(parent.stat()):
            raise PermissionError(f"{path} is not safe: others may rename what is in {parent}")


def _others_may_rename_in(status: os.stat_result) -> bool:
    """Whether a directory belongs to another user, or others may write there and no sticky bit keeps what is ours.

    A user's own group, in which most systems put nobody else, may write.
    """
    writers = stat.S_IWOTH if status.st_gid == os.getegid() else stat.S_IWOTH | stat.S_IWGRP
    open_to_others = bool(status.st_mode & writers and not status.st_mode & stat.S_ISVTX)
    return open_to_others or status.st_uid not in (ROOT, NOBODY, os.geteuid())


def _make_private(path: Path) -> None:
    """Shut the directory to others. OSError if it is not ours to shut, or if others may have left something there."""
    if not hasattr(os, "geteuid"):  # Windows: a user's profile is private already
        return
    status = path.stat()
    if status.st_uid != os.geteuid():
        raise PermissionError(f"{path} belongs to another user")
    if status.st_mode & stat.S_ISVTX or (status.st_mode & 0o022 and any(path.iterdir())):  # such as /tmp
        raise PermissionError(f"{path} is shared with others, who can write there")
    if stat.S_IMODE(status.st_mode) != 0o700:
        path.chmod(0o700)
