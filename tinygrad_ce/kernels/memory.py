"""Memory for large results: an array that nobody has any more is used again, before the system is asked for new pages.

The first write to each page of new memory costs as much as computing what is written there. Whole arrays are kept, not
views of blocks: a result owns its memory, so the engine takes a gradient as it is. An array is used again only when
nothing else refers to it; views and memoryviews do.
"""

from __future__ import annotations

import sys
import sysconfig
import threading
from typing import Any
from weakref import getweakrefcount

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
SMALLEST = 1 << 18  # bytes; smaller memory the allocator keeps by itself
LARGEST = 1 << 26  # bytes; larger memory is not held back from the system
KEPT = 2  # arrays in a thread: a gradient lives until the next one of its kind is there
COUNTS_REFERENCES = hasattr(sys, "getrefcount") and not sysconfig.get_config_var("Py_GIL_DISABLED")


class Kept(threading.local):
    """The arrays that one thread keeps, the last used at the end."""

    def __init__(self) -> None:
        self.arrays: list[Array] = []


def references(arrays: list[Array], i: int) -> int:
    """How many references there are to the array at this place of the list, the list's own included."""
    return sys.getrefcount(arrays[i])


_kept = Kept()
UNUSED = references([np.empty(0)], 0) if COUNTS_REFERENCES else 0  # measured: interpreters differ in how they count


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array of any numbers, as np.empty returns one.

    >>> empty((2, 3), np.dtype(float)).shape
    (2, 3)
    """
    size = dtype.itemsize
    for length in shape:
        size *= length
    if not COUNTS_REFERENCES or not SMALLEST <= size <= LARGEST:
        return np.empty(shape, dtype)
    arrays = _kept.arrays
    for i in range(len(arrays)):
        if references(arrays, i) == UNUSED and is_as_new(arrays[i], shape, dtype):
            array = arrays.pop(i)
            break
    else:
        array = np.empty(shape, dtype)
    arrays.append(array)
    if len(arrays) > KEPT:
        del arrays[0]
    return array


def is_as_new(array: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether the array is what np.empty would return: its last owner may have changed its shape or flags."""
    return (
        array.shape == shape
        and array.dtype == dtype
        and array.flags.c_contiguous
        and array.flags.writeable
        and getweakrefcount(array) == 0
    )
