"""Texts that are kept between runs in the private directory: what is made of nothing but the package's own sources.

Their file is named by the hash of these sources, so a text is made anew as soon as any of them has changed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache as remembered
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce import cache
from tinygrad_ce.core import REGISTRY
from tinygrad_ce.disk import read_own_file, whole_file

FOLDER = "texts"
MOST_FILES = 24  # some MB; those that were written first are removed
SUFFIXES = (".py", ".js")
ROOT = Path(__file__).parents[1]
IMPORTED = time.time()


def kept(name: str, make: Callable[[], Any]) -> Any:
    """What `make` answers, as JSON gives it back: from the file with this name, or made now and written there.

    A file that cannot be read is made again; where none can be written, nothing is kept.
    """
    directory = cache.directory() if unchanged() else None
    if directory is None:
        return json.loads(json.dumps(make()))
    path = directory / FOLDER / f"{name}-{digest()}.json"
    with suppress(OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        found = json.loads(read_own_file(path))
        if hashlib.sha256(found["text"].encode()).hexdigest() == found["sum"]:
            return json.loads(found["text"])
    text = json.dumps(make())
    with suppress(OSError):  # a full disk, a file in the way: then without a file
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with whole_file(path, private=True) as draft:
            draft.write_text(json.dumps({"sum": hashlib.sha256(text.encode()).hexdigest(), "text": text}))
        for old in sorted(path.parent.glob("*.json"), key=lambda file: file.lstat().st_mtime)[:-MOST_FILES]:
            old.unlink(missing_ok=True)
    return json.loads(text)


def clear() -> None:
    """Remove all kept texts from disk."""
    directory = cache.directory()
    if directory is not None:
        shutil.rmtree(directory / FOLDER, ignore_errors=True)


@remembered
def digest() -> str:
    """The hash of the package's sources, and of the versions of Python and NumPy."""
    content = hashlib.sha256(f"{sys.version} {np.__version__}".encode())
    for path in _sources():
        text = path.read_bytes()
        content.update(f"\n{path.relative_to(ROOT).as_posix()} {len(text)}\n".encode() + text)
    return content.hexdigest()[:20]


def _sources() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*") if path.suffix in SUFFIXES)


def unchanged() -> bool:
    """Whether this process runs what lies on disk now: files may have been edited since, or a rule replaced."""
    if any(path.stat().st_mtime > IMPORTED for path in _sources()):
        return False
    ours = f"{__name__.partition('.')[0]}."
    for primitive in REGISTRY.values():
        rules = [getattr(rule, "func", rule) for rule in list.__iter__(primitive.rules) if rule is not None]
        if primitive.body.__module__.startswith(ours) and not all(f.__module__.startswith(ours) for f in rules):
            return False
    return True
