"""The safetensors file: arrays by name and one JSON text, written whole and checked before memory is taken."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.data.checks import quoted, shown
from tinygrad_ce.disk import write_whole

KEY = "tinygrad_ce"  # of our text among the metadata
LONGEST_HEADER = 8_000_000  # bytes; the text is in it, and the name of each array
LONGEST_NUMBER = 40  # digits; the state of a generator has 39
MOST_AXES = 64  # NumPy has no more

DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U64": np.dtype(np.uint64),
    "U32": np.dtype(np.uint32),
    "U16": np.dtype(np.uint16),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}


@dataclass(frozen=True)
class Entry:
    """What a file says of one of its arrays, before that is read."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class NoModelError(ValueError):
    """A file that is no model, or not one that can be had here; the message names the file and the way out."""


def write(path: str | os.PathLike[str], arrays: Mapping[str, Array], document: Mapping[str, Any]) -> None:
    """Write arrays and a document of plain JSON values. A failure leaves the old file as it was.

    Raises TypeError for an array that no such file can hold, ValueError for a document that is too long, and OSError
    that names the file.
    """
    from safetensors.numpy import save

    text = json.dumps(document, allow_nan=False)
    content = save({name: _storable(name, array) for name, array in arrays.items()}, {KEY: text})
    header = int.from_bytes(content[:8], "little")
    if header > LONGEST_HEADER:
        raise ValueError(
            f"save: names and settings take {header:,} bytes, and a file holds {LONGEST_HEADER:,} of them: keep fewer "
            "levels of text columns in the preparation, or fewer layers"
        )
    write_whole(Path(path), content)


def _storable(name: str, array: Array) -> Array:
    """The array without gaps and in this machine's byte order."""
    dtype = array.dtype.newbyteorder("=")
    if dtype not in DTYPES.values():
        raise TypeError(
            f"save: {name} has dtype {array.dtype}, which the file cannot hold: let it be floats of 16, 32 or 64 bits, "
            "integers or booleans, or no array (a list stays out of the file)"
        )
    return np.array(array, dtype, order="C")


class ModelFile:
    """An open file whose header is checked. entries: by name, dtype and shape. document: our text, or None."""

    def __init__(self, path: str, file: BinaryIO) -> None:
        self.path, self._file = path, file
        self._size = os.fstat(file.fileno()).st_size
        header = self._header()
        metadata = header.pop("__metadata__", {})
        self.entries = {name: self._entry(name, value) for name, value in header.items()}
        self._check_offsets(header)
        text = metadata.get(KEY) if isinstance(metadata, dict) else None
        self.document: dict[str, Any] | None = None
        if text is not None:
            self.document = self.parsed(text, "its description of the model")

    def refusal(self, why: str) -> NoModelError:
        """The error for this file."""
        return NoModelError(f"load: {self.path!r} {why}")

    def arrays(self) -> dict[str, Array]:
        """All arrays, read now. They are views of what was read, and cannot be written to."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        self._file.seek(0)
        try:
            arrays: dict[str, Array] = load(self._file.read(self._size))
        except SafetensorError as error:
            raise self.refusal(f"is damaged: {str(error).splitlines()[0]}") from error
        return arrays

    def parsed(self, text: Any, what: str) -> dict[str, Any]:
        """A JSON object, in which no key comes twice and each number is finite."""
        try:
            value = json.loads(
                text,
                object_pairs_hook=_without_repeats,
                parse_int=_whole,
                parse_float=_finite,
                parse_constant=_refuse_constant,
            )
        except (ValueError, TypeError, RecursionError) as error:
            raise self.refusal(f"is damaged: {what} is no JSON ({shown(str(error))})") from error
        if not isinstance(value, dict):
            raise self.refusal(f"is damaged: {what} is no JSON object")
        return value

    def _header(self) -> dict[str, Any]:
        if self._size == 0:
            raise self.refusal("is empty: tg.save(path, model) writes a model")
        length = int.from_bytes(self._file.read(8), "little")
        if self._size < 10 or length > self._size - 8:
            raise self.refusal(
                f"is cut off, or no safetensors file at all: its {self._size:,} bytes cannot hold a header of "
                f"{length:,} bytes; tg.save(path, model) writes a model"
            )
        if length > LONGEST_HEADER:
            raise self.refusal(f"has a header of {length:,} bytes, and no model has more than {LONGEST_HEADER:,}")
        self._data = self._size - 8 - length
        return self.parsed(self._file.read(length), "its header")

    def _entry(self, name: str, value: Any) -> Entry:
        """The dtype and shape of one array, if they and its place in the file agree."""
        fields = value if isinstance(value, dict) else {}
        dtype, shape, offsets = [fields.get(field) for field in ("dtype", "shape", "data_offsets")]
        if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2 or not isinstance(dtype, str):
            raise self.refusal(f"is damaged: its header says of {shown(name)} {shown(value)}")
        if dtype not in DTYPES:
            raise self.refusal(
                f"holds {shown(name)} as {shown(dtype)}, which NumPy lacks: write it with one of {', '.join(DTYPES)}"
            )
        length = math.prod(shape) * DTYPES[dtype].itemsize
        if len(shape) > MOST_AXES or max(shape, default=0) > self._data or offsets[1] - offsets[0] != length:
            raise self.refusal(
                f"is damaged: {shown(name)} of shape {shown(tuple(shape))} and dtype {dtype} does not fit into bytes "
                f"{offsets[0]:,} to {offsets[1]:,} of {self._data:,}"
            )
        return Entry(DTYPES[dtype], tuple(shape))

    def _check_offsets(self, header: dict[str, Any]) -> None:
        """One array after the other, without gap or overlap, to the end of the file."""
        end = 0
        for begin, stop, name in sorted((*value["data_offsets"], name) for name, value in header.items()):
            if begin != end:
                raise self.refusal(
                    f"is damaged: {shown(name)} begins at byte {begin:,}, and the one before ends at {end:,}"
                )
            end = stop
        if end != self._data:
            raise self.refusal(
                f"is cut off, or has too much: its arrays take {end:,} bytes, and after the header come {self._data:,}"
            )


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[ModelFile]:
    """The model file at a path. OSError where there is none; NoModelError for a folder, a pipe or a damaged file."""
    name = os.fspath(path)
    if os.path.isdir(name):
        inner = os.path.join(name, "model.safetensors")
        hint = f"tg.load({inner!r})" if os.path.isfile(inner) else "pass the path of a file in it"
        raise NoModelError(f"load: {name!r} is a folder: {hint}")
    descriptor = os.open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NoModelError(f"load: {name!r} is no ordinary file (a pipe, a device): write it to the disk first")
        yield ModelFile(name, file)


def check_entries(file: ModelFile, expected: Mapping[str, Entry], found: Mapping[str, Entry], cure: str) -> None:
    """Raise unless the same names are in both, with the same shapes and dtypes. cure: what to do, for the message."""
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    if missing or extra:
        words = [f"lacks {quoted(missing)}" if missing else "", f"has besides {quoted(extra)}" if extra else ""]
        raise file.refusal(f"does not fit the model: it {' and '.join(filter(None, words))}; {cure}")
    for name, own in expected.items():
        if found[name] != own:
            raise file.refusal(
                f"does not fit the model: {name} has shape {found[name].shape} and dtype {found[name].dtype} in the "
                f"file, and {own.shape} and {own.dtype} in the model; {cure}"
            )


def _are_counts(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _whole(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise ValueError(f"{shown(digits)} is larger than any number of a model")
    return int(digits)


def _finite(digits: str) -> float:
    if math.isinf(number := float(digits)):
        raise ValueError(f"{shown(digits)} is larger than any number of a model")
    return number
