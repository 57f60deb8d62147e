"""Which computation made a number that is not finite: found by experiments on the recorded graph.

Nothing is known here about any operation. To see whether a number is to blame, the numbers beside it that are not
finite are repaired (an ordinary number is put in their place), the operation or the rule is run again on the repaired
numbers, and one looks what becomes finite. So an infinity in a branch that `where` did not take is not blamed for a NaN
that came in elsewhere, and 0 * inf is blamed on whoever made the infinity.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, TypeAlias

import numpy as np

from tinygrad_ce.ancestry import edges, reachable
from tinygrad_ce.backward import seed_of, unbroadcast, walk
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.graph.checks import undisturbed

ORDINARY = 0.6  # finite under log, sqrt, arctanh, 1 / x, log(1 - x)...: inside the domain of every usual function

Key: TypeAlias = tuple[Any, ...]  # ("value", number), ("gradient", number), ("share", number, position), ("array", id)
Marks: TypeAlias = dict[Key, Array]  # for some arrays, which of their cells are meant


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, NumPy does not warn: the user's own pass has done so already."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def not_finite(x: Any) -> Array | None:
    """Which cells are NaN or infinite; None if there is none."""
    array = np.asarray(x)
    if array.dtype.kind != "f":
        return None
    finite = np.isfinite(array)
    return None if finite.all() else np.asarray(~finite)


def filled(x: Any, cells: Array, number: float) -> Any:
    """x with a number in these cells, in its own dtype; a Python number stays one, which NumPy treats otherwise."""
    if type(x) is float:
        return number if cells.all() else x
    return np.where(cells, np.asarray(number, np.asarray(x).dtype), x)


def ordinary(x: Any) -> Any:
    """x with ordinary numbers only; what are no floating-point numbers (labels, masks) stays as it is."""
    return filled(x, np.ones(np.shape(x), bool), ORDINARY) if np.asarray(x).dtype.kind == "f" else x


def _large(x: Any, cells: Array) -> Any:
    """x with large numbers of the same sign in these cells: so large that their squares just fit."""
    array = np.asarray(x)
    large = np.copysign(np.sqrt(np.finfo(array.dtype).max), array)
    new = np.where(cells, np.where(np.isnan(array), ORDINARY, large), array).astype(array.dtype)
    return float(new) if type(x) is float else new


@dataclass(frozen=True, eq=False)
class Suspect:
    """Where numbers that are not finite came in.

    kind: "leaf" (data or a parameter that a computation took), "value" (a result), "share" (what a rule gave to one
    input), "sum" (finite shares of one gradient that add up to more than the dtype can hold).
    tensor: the result whose operation took the leaf, computed the value, or gave the share; for a sum the tensor whose
    gradient it is. position: of the input, for a leaf and a share. cells: which numbers, in the array of `key`.
    """

    kind: str
    key: Key
    tensor: Tensor
    position: int | None
    cells: Array


class Step:
    """One computation of the pass: an operation on its inputs, or a rule on upstream, output and inputs."""

    def __init__(
        self, key: Key, run: Callable[..., Any], arguments: Sequence[Any], keys: Sequence[Key | None], result: Array
    ) -> None:
        self.key, self.run, self.arguments, self.keys = key, run, arguments, keys
        self.bad = not_finite(result)
        assert self.bad is not None
        self.marks = [not_finite(x) for x in arguments]

    def _spoilt(self, kept: Sequence[Array | None]) -> Array:
        """Which cells of the result are still not finite, when only the kept ones of the inputs stay as they are."""
        arguments = [
            x if mark is None else filled(x, mark if keep is None else mark & ~keep, ORDINARY)
            for x, mark, keep in zip(self.arguments, self.marks, kept, strict=True)
        ]
        assert self.bad is not None
        return np.asarray(~np.isfinite(_tried(self.run, arguments, np.zeros(self.bad.shape))) & self.bad)

    def _depending(self, kept: Sequence[Array | None]) -> Array:
        """Which cells of the result the kept cells can reach at all: a NaN there, among ordinary numbers, shows it."""
        arguments = [
            ordinary(x) if keep is None else filled(ordinary(x), keep, np.nan)
            for x, keep in zip(self.arguments, kept, strict=True)
        ]
        assert self.bad is not None
        return np.isnan(_tried(self.run, arguments, np.zeros(self.bad.shape)))

    @cached_property
    def _in_any_case(self) -> Array:
        """The cells that are not finite also when every input is."""
        assert self.bad is not None
        return self._spoilt([None] * len(self.marks)) if self.inherits else self.bad

    @cached_property
    def inherits(self) -> bool:
        """Whether any input has a number that is not finite."""
        return any(mark is not None for mark in self.marks)

    @cached_property
    def own(self) -> Array:
        """The cells that this computation has spoilt: not finite, and made of finite numbers only."""
        if not self.inherits or not self._in_any_case.any():
            return self._in_any_case
        return np.asarray(self._in_any_case & ~self._depending(self.marks))

    def passed_on(self, marks: Marks) -> Array | None:
        """Which cells of the result are spoilt by these cells of the inputs; None if there is none."""
        kept = [None if key is None else marks.get(key) for key in self.keys]
        if all(mark is None for mark in kept):
            return None
        spoilt = self._spoilt(kept) & ~self._in_any_case
        both = self._in_any_case & ~self.own  # spoilt twice over: by an input, and also without it
        if both.any():
            spoilt = spoilt | (both & self._depending(kept))
        return spoilt if spoilt.any() else None


def _tried(run: Callable[..., Any], arguments: Sequence[Any], otherwise: Array) -> Array:
    """The result for other numbers than it was computed of; anybody's body may refuse them: then what is given."""
    try:
        return np.asarray(run(*arguments))
    except Exception:
        return otherwise


def share_of(tensor: Tensor, position: int, upstream: Any, out: Any, values: Sequence[Any]) -> Array:
    """What the rule of one input gives, on any numbers: as in the walk of `backward`."""
    op = tensor.op
    assert op is not None
    share = np.asarray(op.rule(position)(upstream, out, *values, **tensor.params))
    x = np.asarray(tensor.arrays[position])
    share = np.asarray(share if share.shape == x.shape else unbroadcast(op, position, share, x.shape))
    return share.astype(x.dtype, copy=False)


def source_of_share(tensor: Tensor, position: int, index: tuple[int, ...]) -> tuple[int, ...]:
    """The first number of a result whose gradient can reach this number of the share of an input."""
    values = [ordinary(x) for x in tensor.arrays]
    out = ordinary(tensor.data)

    def reaches(count: int) -> bool:
        upstream = filled(out, np.arange(tensor.size).reshape(tensor.shape) < count, np.nan)
        arguments = (tensor, position, upstream, out, values)
        return bool(np.isnan(_tried(share_of, arguments, np.zeros(np.shape(values[position])))[index]))

    if reaches(0) and np.shape(values[position]) == tensor.shape:  # ordinary numbers lie outside of its domain
        return index
    low, high = 1, tensor.size
    while low < high:  # a NaN among ordinary numbers shows where it arrives
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle + 1, high)
    return tuple(int(i) for i in np.unravel_index(low - 1, tensor.shape))


@dataclass
class Trail:
    """What some suspects have spoilt, in the order of the pass."""

    marks: Marks = field(default_factory=dict)
    order: list[Key] = field(default_factory=list)

    def add(self, key: Key, cells: Array | None) -> None:
        """These cells are spoilt, too."""
        if cells is None or not cells.any():
            return
        if key not in self.marks:
            self.order.append(key)
        before = self.marks.get(key)
        self.marks[key] = cells if before is None else before | cells


class Search:
    """The forward and backward pass of a loss, and who has spoilt what in it.

    Everything is read from the recorded graph; the backward pass is the engine's own walk, and leaves no gradients
    behind.
    """

    def __init__(self, loss: Tensor) -> None:
        self.loss = loss
        self.graph = reachable(loss)
        self.order = [self.graph[number] for number in sorted(self.graph)]
        self.leaves = [tensor for tensor in self.order if tensor.op is None]
        self._bad: Marks = {}  # of every array that is not finite, its cells
        self._uses: dict[int, list[tuple[Tensor, int]]] = {}
        self.gradients: dict[int, Array] = {}  # by number, once `backward` has been asked for
        self._read_forward()
        self.stale = self._changed_since()

    # ---- the forward pass

    def _read_forward(self) -> None:
        self.forward: list[Suspect | Step] = []
        looked_at: set[Key] = set()
        for tensor in self.order:
            if tensor.op is None:
                continue
            for x, position in edges(tensor):
                self._uses.setdefault(x.serial, []).append((tensor, position))
            for position in range(len(tensor.inputs)):
                key = self.key(tensor, position)
                if key in looked_at:
                    continue
                looked_at.add(key)
                cells = None if self._is_result(tensor, position) else not_finite(tensor.arrays[position])
                if cells is not None:
                    self._bad[key] = cells
                    self.forward.append(Suspect("leaf", key, tensor, position, cells))
            cells = not_finite(tensor.data)
            if cells is not None:
                self._bad["value", tensor.serial] = cells
                self.forward.append(self._step_of(tensor))

    def key(self, tensor: Tensor, position: int) -> Key:
        """Which array an input is: the same for all uses of one tensor."""
        x = tensor.inputs[position]
        if isinstance(x, Tensor):
            return "value", x.serial
        return ("array", id(x)) if isinstance(x, np.ndarray) else ("number", tensor.serial, position)

    def _is_result(self, tensor: Tensor, position: int) -> bool:
        x = tensor.inputs[position]
        return isinstance(x, Tensor) and x.op is not None

    def _step_of(self, tensor: Tensor) -> Step:
        assert tensor.op is not None
        keys = [self.key(tensor, position) for position in range(len(tensor.inputs))]
        run = partial(tensor.op.run, **tensor.params)
        return Step(("value", tensor.serial), run, tensor.arrays, keys, tensor.data)

    def _changed_since(self) -> list[Tensor]:
        """The leaves that were written to after the loss was computed: spoilt now, and what was made of them is not."""
        changed = []
        for leaf in self.leaves:
            if ("value", leaf.serial) in self._bad and any(self._contradicts(*use) for use in self.uses(leaf)):
                changed.append(leaf)
        return changed

    def _contradicts(self, tensor: Tensor, position: int) -> bool:
        assert tensor.op is not None
        marks = [not_finite(x) if i != position else None for i, x in enumerate(tensor.arrays)]
        values = [x if m is None else filled(x, m, ORDINARY) for x, m in zip(tensor.arrays, marks, strict=True)]
        now = _tried(partial(tensor.op.run, **tensor.params), values, tensor.data)
        return bool((~np.isfinite(now) & np.isfinite(tensor.data)).any())

    def uses(self, tensor: Tensor) -> list[tuple[Tensor, int]]:
        """The results that were computed from a tensor, each with the position at which it went in."""
        return self._uses.get(tensor.serial, [])

    # ---- the backward pass

    @cached_property
    def backward(self) -> list[Suspect | Step]:
        """What is not finite in the backward pass, in its order."""
        found: list[Suspect | Step] = []
        shares: dict[int, list[Array | None]] = {}  # by the tensor that gets them, where they are not finite

        def on_share(tensor: Tensor, position: int, share: Any) -> None:
            cells = not_finite(share)
            x = tensor.inputs[position]
            shares.setdefault(x.serial, []).append(cells)
            if cells is not None:
                self._bad["share", tensor.serial, position] = cells
                found.append(self._step_back(tensor, position, np.asarray(share)))

        seed = seed_of(self.loss, np.ones_like(self.loss.data))
        with undisturbed(self.order):
            for tensor, g in walk(self.loss, seed, self.graph, on_share=on_share):
                self.gradients[tensor.serial] = np.asarray(g)
                cells = not_finite(g)
                if cells is not None:
                    key = ("gradient", tensor.serial)
                    self._bad[key] = cells
                    for arrived in shares.get(tensor.serial, []):
                        cells = cells if arrived is None else cells & ~arrived
                    if cells.any():
                        found.append(Suspect("sum", key, tensor, None, cells))
        return found

    def _step_back(self, tensor: Tensor, position: int, share: Array) -> Step:
        def run(upstream: Any, out: Any, *values: Any) -> Array:
            return share_of(tensor, position, upstream, out, values)

        number = tensor.serial
        keys = [("gradient", number), ("value", number), *(self.key(tensor, i) for i in range(len(tensor.inputs)))]
        arguments = [self.gradients[number], tensor.data, *tensor.arrays]
        return Step(("share", number, position), run, arguments, keys, share)

    # ---- who is to blame

    def blamed_for_loss(self) -> tuple[Suspect, Trail] | None:
        """The first, in forward order, whose numbers have spoilt the loss, and their trail; None if it is finite."""
        return self._first(self.forward, [], [("value", self.loss.serial)])

    def blamed_for_gradients(self) -> tuple[Suspect, Trail] | None:
        """The first, in the order of both passes, whose numbers have spoilt the gradient of a leaf; None if none is."""
        goals = [("gradient", leaf.serial) for leaf in self.leaves]
        return self._first(self.forward, self.backward, goals)

    def _first(
        self, forward: list[Suspect | Step], backward: list[Suspect | Step], goals: Sequence[Key]
    ) -> tuple[Suspect, Trail] | None:
        goals = [goal for goal in goals if goal in self._bad]
        if not goals:
            return None
        stale = {("value", leaf.serial) for leaf in self.stale}
        suspects = [s for s in self._suspects([*forward, *backward]) if s.key not in stale]
        if not suspects:
            return None
        ends = np.cumsum([int(s.cells.sum()) for s in suspects])

        def trail(count: int) -> Trail | None:
            """What the first so many cells of all suspects have spoilt; None if no goal is among it."""
            trail = self._followed(_first_cells(suspects, ends, count), forward, backward)
            return trail if any(goal in trail.marks for goal in goals) else None

        low, high = 1, int(ends[-1])
        found = trail(low)
        if found is None:  # what all cells spoil, the first may not: look for the shortest beginning that is enough
            if trail(high) is None:
                return None
            while low < high:
                middle = (low + high) // 2
                if trail(middle) is None:
                    low = middle + 1
                else:
                    high = middle
        n = int(np.searchsorted(ends, low))
        suspect = suspects[n]
        cell = np.zeros(suspect.cells.size, bool)
        cell[np.flatnonzero(suspect.cells)[low - 1 - (ends[n - 1] if n else 0)]] = True
        alone = Suspect(suspect.kind, suspect.key, suspect.tensor, suspect.position, cell.reshape(suspect.cells.shape))
        own = self._followed([alone], forward, backward)
        together = next((t for t in (own, found or trail(low)) if t and any(goal in t.marks for goal in goals)), own)
        return alone, together

    def spoilt_by(self, suspect: Suspect, back: bool) -> Trail:
        """What all the numbers that a suspect has made, and not only the first, have spoilt; back: in both passes."""
        whole = next((s for s in self._suspects(self.forward) if s.key == suspect.key), suspect)
        return self._followed([whole], self.forward, self.backward if back else [])

    def _suspects(self, events: list[Suspect | Step]) -> list[Suspect]:
        suspects = []
        for event in events:
            if isinstance(event, Suspect):
                suspects.append(event)
            elif event.own.any():
                tensor = self.graph[event.key[1]]
                if event.key[0] == "value":
                    suspects.append(Suspect("value", event.key, tensor, None, event.own))
                else:
                    suspects.append(Suspect("share", event.key, tensor, event.key[2], event.own))
        return suspects

    def _followed(
        self, suspects: list[Suspect], forward: list[Suspect | Step], backward: list[Suspect | Step]
    ) -> Trail:
        """What becomes of the suspects' numbers, in both passes."""
        trail = Trail()
        mine = {suspect.key: suspect.cells for suspect in suspects}
        for event in (*forward, *backward):
            trail.add(event.key, mine.get(event.key))
            if isinstance(event, Step):
                trail.add(event.key, event.passed_on(trail.marks))
                if event.key[0] == "share" and event.key in trail.marks:
                    _, number, position = event.key
                    x = ("gradient", self.graph[number].inputs[position].serial)
                    if x in self._bad:
                        trail.add(x, trail.marks[event.key] & self._bad[x])
        return trail

    # ---- other questions

    def bad(self, key: Key) -> Array | None:
        """Which cells of an array are not finite."""
        return self._bad.get(key)

    def behind(self, suspect: Suspect) -> Suspect | None:
        """Who made the finite numbers with which a suspect could not work, if that was done by an infinity.

        1 / inf is 0, and log(0) is blamed on whoever made the inf: the oldest suspect that, had it stayed finite, would
        have kept this one finite, too.
        """
        ancestors = reachable(suspect.tensor)
        stale = {("value", leaf.serial) for leaf in self.stale}
        older = [
            s
            for s in self._suspects(self.forward)
            if s.tensor.serial in ancestors and s.tensor.serial < suspect.tensor.serial and s.key not in stale
        ]

        def saved(count: int) -> bool:
            return bool((np.isfinite(self._replayed(older[:count], suspect)) & suspect.cells).any())

        if not older or not saved(len(older)):
            return None
        low, high = 1, len(older)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if saved(middle) else (middle + 1, high)
        return older[low - 1]

    def _replayed(self, large: list[Suspect], suspect: Suspect) -> Array:
        """The suspect's array, had some older ones made large numbers and no infinities."""
        cells = {s.key: s.cells for s in large}
        new: dict[Key, Any] = {}
        for s in large:
            if s.kind == "leaf":
                assert s.position is not None
                new[s.key] = _large(s.tensor.arrays[s.position], s.cells)
        last = suspect.tensor
        ancestors = reachable(last)
        for tensor in (ancestors[number] for number in sorted(ancestors)):
            if tensor.op is None:
                continue
            key = ("value", tensor.serial)
            values = self._with(new, tensor)
            if values is not None:
                new[key] = _tried(partial(tensor.op.run, **tensor.params), values, tensor.data)
            if key in cells:
                new[key] = _large(new.get(key, tensor.data), cells[key])
        out = new.get(("value", last.serial), last.data)
        if suspect.position is None:
            return np.asarray(out)
        inputs = self._with(new, last) or list(last.arrays)
        upstream = self.gradients[last.serial]
        return _tried(share_of, (last, suspect.position, upstream, out, inputs), np.full(suspect.cells.shape, np.nan))

    def _with(self, new: dict[Key, Any], tensor: Tensor) -> list[Any] | None:
        """The inputs of a result, with new arrays for some; None if there is none of them."""
        keys = [self.key(tensor, position) for position in range(len(tensor.inputs))]
        if not any(key in new for key in keys):
            return None
        return [new.get(key, x) for key, x in zip(keys, tensor.arrays, strict=True)]

    def first_on_the_way(self) -> tuple[str, Tensor] | None:
        """What is not finite although the loss and the gradients of the leaves are: "value" or "gradient" of whom."""
        for kind, tensors in (("value", self.order), ("gradient", self.order[::-1])):
            for tensor in tensors:
                if (kind, tensor.serial) in self._bad:
                    return kind, tensor
        return None


def _first_cells(suspects: list[Suspect], ends: Array, count: int) -> list[Suspect]:
    """The first so many cells of the suspects, in their order."""
    chosen = []
    for suspect, end in zip(suspects, ends, strict=True):
        surplus = int(end) - count
        if surplus <= 0:
            chosen.append(suspect)
            continue
        cells = np.flatnonzero(suspect.cells)[: len(np.flatnonzero(suspect.cells)) - surplus]
        if len(cells):
            some = np.zeros(suspect.cells.size, bool)
            some[cells] = True
            shaped = some.reshape(suspect.cells.shape)
            chosen.append(Suspect(suspect.kind, suspect.key, suspect.tensor, suspect.position, shaped))
        break
    return chosen
