"""Which line of the user's code made a tensor or wrote to a variable, and inside which modules: two interpreters.

A call site is kept in the slot `note` of a tensor, which the engine never looks at; warnings, errors, views and
pictures turn it into a file and a line. The loss of the last `backward()` is remembered here too, for `tg.explain`.
"""

from __future__ import annotations

import linecache
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from threading import get_ident
from types import CodeType, FrameType
from typing import Any, NamedTuple, TypeAlias
from weakref import ref

from tinygrad_ce.core import EAGER, Primitive, Tensor, interpreter

# Written at each call of a module and at each operation, so it is a plain tuple, with a code object and where in it,
# which become a file and a line only when somebody asks:
# (module or None for an operation, the call around it, whether the module is a layer of ours, code, instruction).
# A layer of ours in a layer of ours has no code of its own: the one around it knows the user's line.
CallSite: TypeAlias = tuple[Any, Any, bool, CodeType | None, int]

_PACKAGE = os.path.dirname(__file__) + os.sep
_LIBRARY = os.path.dirname(os.__file__)
_LAYERS = os.path.join(_PACKAGE, "nn") + os.sep


class _State:
    """What one thread knows. inner: the call of a module that it is in; () outside of modules, None: no tracking."""

    __slots__ = ("inner", "last_loss", "thread")

    def __init__(self) -> None:
        self.inner: Any = ()
        self.last_loss: ref[Tensor] | None = None
        self.thread = get_ident()


current: ContextVar[_State | None] = ContextVar("source_lines", default=None)


def state() -> _State:
    """That of this thread; a thread that was started with the context of another one gets its own."""
    here = current.get()
    if here is None or (not here.inner and here.thread != get_ident()):
        here = _State()
        current.set(here)
    return here


class _Files(dict[str, bool]):
    """By the name of a file, whether its frames are passed over on the way to the user's."""

    def __init__(self, but: str = "") -> None:
        self.but = but

    def __missing__(self, file: str) -> bool:
        ours = self[file] = file.startswith(_PACKAGE) and not (self.but and file.startswith(self.but))
        return ours


_ours = _Files()
_ours_but_layers = _Files(but=_LAYERS)

_CALL = Primitive.__call__.__code__
ALWAYS_TRACKED: set[Primitive] = set()  # operations that a later warning may have to name, in `fit` too
SQUASHING: set[Primitive] = set()  # operations that a loss undoes, also where nothing is recorded (`losses/logits.py`)
PASSING_ON: set[Primitive] = set()  # operations after which it still can


class Unrecorded(tuple[Any, ...]):
    """The note of a result that is not recorded: no call site, but which operation made it of what."""

    op: Primitive
    inputs: tuple[Any, ...]
    params: dict[str, Any]


def _unrecorded(op: Primitive, inputs: tuple[Any, ...], params: dict[str, Any]) -> Unrecorded | None:
    """What a loss may ask for; nothing of what is squashed twice, so that no chain of results stays in memory."""
    if any(isinstance(x, Tensor) and isinstance(x.note, Unrecorded) for x in inputs) is (op in SQUASHING):
        return None
    note = Unrecorded((None, None, False, None, 0))
    note.op, note.inputs, note.params = op, inputs, {**op.defaults, **params}
    return note


class PerRow(tuple[Any, ...]):
    """The note of losses that have the rows of a batch as first axis: their call site, and the targets of the rows."""

    targets: Any


def per_row(losses: Any, targets: Any) -> None:
    """Note that these are the losses of the rows of a batch."""
    if losses.op is not None:
        site = losses.note or (None, None, False, None, 0)
        losses.note = PerRow(site if site[0] is None else (None, site, False, None, 0))  # a module's call stays one
        losses.note.targets = targets


def annotate(inner: Any, op: Primitive, inputs: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """The interpreter that notes on each recorded result where it was made: the module, or the user's line."""
    result = inner(op, inputs, params)
    if not isinstance(result, Tensor):
        return result
    if result.op is None:
        if op in SQUASHING or op in PASSING_ON:
            result.note = _unrecorded(op, inputs, params)
    else:
        here = current.get() or state()
        around = here.inner
        if around and around[2]:
            result.note = around
        elif around is not None or op in ALWAYS_TRACKED:
            # The walk ends in the user's code; inside of a module in our layers, too: their calls know the user's line.
            passed_over = _ours_but_layers if around else _ours
            frame: FrameType = sys._getframe(2)
            if interpreter.get().call is not EAGER.call:  # other interpreters stand between here and the call
                while frame.f_code is not _CALL and frame.f_back is not None:
                    frame = frame.f_back
            while passed_over[frame.f_code.co_filename] and frame.f_back is not None:
                frame = frame.f_back
            result.note = None, around or None, False, frame.f_code, frame.f_lasti
    return result


def annotate_write(inner: Any, variable: Tensor, new: Any) -> None:
    """The same for the line that wrote to a variable last."""
    inner(variable, new)
    variable.note = writer()


def writer() -> CallSite | None:
    """The line of the user's code that is writing now; None where lines are not tracked."""
    if (current.get() or state()).inner is None:
        return None
    frame: FrameType = sys._getframe(1)
    if interpreter.get().write is not EAGER.write:  # an instrument stands between here and what wants to write
        while frame.f_back is not None and (_ours[frame.f_code.co_filename] is (frame.f_code in _HERE)):
            frame = frame.f_back
    frame = _users_frame(frame)
    return None, None, False, frame.f_code, frame.f_lasti


_HERE = {annotate_write.__code__, writer.__code__}


def remember_loss(inner: Any, of: Tensor, seed: Any, needed: Any = None, *rest: Any, **options: Any) -> Any:
    """The interpreter of walks that remembers which loss was differentiated last."""
    if needed is None:
        (current.get() or state()).last_loss = ref(of)
    return inner(of, seed, needed, *rest, **options)


def attach() -> None:
    """Put these interpreters under all others, in all threads."""
    EAGER.attach(call=annotate, write=annotate_write, walk=remember_loss)


@contextmanager
def tracking(enabled: bool) -> Iterator[None]:
    """Inside, call sites are kept or not, whatever was so before (in this thread)."""
    here = state()
    before, here.inner = here.inner, () if enabled else None
    try:
        yield
    finally:
        here.inner = before


@contextmanager
def entering_user_code() -> Iterator[None]:
    """Inside, a layer of ours has called a function of its user, whose own lines are the user's lines."""
    here = state()
    before = here.inner
    if before:
        here.inner = None, before, False, None, 0
    try:
        yield
    finally:
        here.inner = before


class Line(NamedTuple):
    """A line of somebody's code."""

    file: str
    number: int

    @property
    def short(self) -> str:
        """As in "train.py:12"; in a notebook "cell 3, line 2"."""
        cell = cell_of(self.file)
        return f"{os.path.basename(self.file)}:{self.number}" if cell is None else f"{cell}, line {self.number}"

    @property
    def text(self) -> str:
        """What stands there; empty if nobody can tell."""
        return linecache.getline(self.file, self.number).strip()


def notebook_kernel() -> Any:
    """Jupyter's kernel that this code runs in; None elsewhere (in IPython in a terminal, too)."""
    return getattr(_ipython(), "kernel", None)


def _ipython() -> Any:
    """IPython's shell, if this code runs in one."""
    ipython = sys.modules.get("IPython")  # where it runs, it is there: nothing is imported
    return None if ipython is None else ipython.get_ipython()


def cell_of(file: str) -> str | None:
    """The cell of a notebook that was compiled under the name of this file, as in "cell 3"; None for a real file.

    3 is what IPython shows beside the cell, In [3], when it last ran; marimo has a short id for each cell.
    """
    compiler: Any = getattr(_ipython(), "compile", None)
    if compiler is not None and hasattr(compiler, "format_code_name"):
        label = compiler.format_code_name(file)
        return None if label is None else f"cell {label[1].removeprefix('In[').removesuffix(']')}"
    of_marimo = re.search(r"__marimo__cell_(\w+?)_\.py$", file)
    return None if of_marimo is None else f"cell {of_marimo[1]}"


def line_of(site: CallSite | None) -> Line | None:
    """The line of the user's code: that of the site itself, or where the layers of ours around it were called.

    None if there is none, because this package asked for it all (the command line does).
    """
    if site is None:
        return None
    _, around, _, code, instruction = site
    while around and (code is None or _ours[code.co_filename]):
        _, around, _, code, instruction = around
    if code is None or _ours[code.co_filename]:
        return None
    numbers = (position[0] for position in islice(code.co_positions(), instruction // 2, None))
    return Line(code.co_filename, next(numbers, None) or code.co_firstlineno)


def calls_around(site: CallSite | None) -> list[CallSite]:
    """The calls of modules inside which something was made, the outermost first; each is one object."""
    found = []
    while site:
        if site[0] is not None:
            found.append(site)
        site = site[1]
    return found[::-1]


def is_ours(frame: FrameType) -> bool:
    """Whether a frame runs code of this package."""
    return _ours[frame.f_code.co_filename]


def _users_frame(frame: FrameType) -> FrameType:
    """The innermost call around this one, or itself, that is not of this package."""
    while frame.f_back is not None and _ours[frame.f_code.co_filename]:
        frame = frame.f_back
    return frame


def users_line() -> Line:
    """Where we were called from, outside this package and Python's own library (copy.copy, statistics.mean...)."""
    frame = _users_frame(sys._getframe(0))
    while frame.f_back is not None and os.path.dirname(frame.f_code.co_filename) == _LIBRARY:
        frame = _users_frame(frame.f_back)
    return Line(frame.f_code.co_filename, frame.f_lineno)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """A warning at the line of the user's code that called us; by Python's default it is shown there once."""
    frame = _users_frame(sys._getframe(0))
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    file = frame.f_code.co_filename
    warnings.warn_explicit(message, category, cell_of(file) or file, frame.f_lineno, registry=registry)
