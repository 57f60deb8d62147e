"""Memory for large results: of an array that nobody has any more, before the system is asked for new pages.

The first write to each page of new memory costs as much as computing what is written there. A block is handed out again
only when no array refers to it; so each result has memory of its own for as long as anybody can see it.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

SMALLEST = 1 << 18  # bytes; smaller blocks the allocator keeps by itself
LARGEST = 1 << 26  # bytes; larger ones are not held back from the system
BLOCKS = 2  # as many are kept in a thread: a gradient lives until the next one of its kind is there
UNUSED = 2  # references to a block that only its list has: the list's, and that of the call that counts


class Blocks(threading.local):
    """The blocks of one thread, the last used at the end."""

    def __init__(self) -> None:
        self.blocks: list[npt.NDArray[Any]] = []


_kept = Blocks()


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """An array of any numbers, as np.empty gives one.

    >>> empty((2, 3), np.dtype(float)).shape
    (2, 3)
    """
    count = 1
    for length in shape:
        count *= length
    size = count * dtype.itemsize
    if not SMALLEST <= size <= LARGEST:
        return np.empty(shape, dtype)
    blocks = _kept.blocks
    for i in range(len(blocks)):
        if len(blocks[i]) == size and sys.getrefcount(blocks[i]) == UNUSED:
            block = blocks.pop(i)
            break
    else:
        block = np.empty(size, np.uint8)
    blocks.append(block)
    if len(blocks) > BLOCKS:
        del blocks[0]
    result: npt.NDArray[Any] = block.view(dtype).reshape(shape)
    return result
