"""Which computation made the first number that is not finite: from the loss back, number by number.

A number that is not finite is followed to those of its inputs that it comes from. That is seen by experiment: with NaN
in an input's place, and ordinary numbers elsewhere, NaN arrives. So an infinity in a branch that `where` did not take
is not blamed. Where no input is to blame, the computation itself is: it made NaN or infinity of finite numbers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeAlias

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.ancestry import edges, reachable
from tinygrad_ce.backward import fitted, seed_of, walk
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.graph.checks import undisturbed, written_to

ORDINARY = (0.6, 1.6)  # one or the other lies where a usual function is defined: log, arctanh, 1 / x, arccosh...

Index: TypeAlias = tuple[int, ...]
Key: TypeAlias = tuple[Any, ...]  # ("value", serial), ("gradient", serial), ("share", serial, position), ("array", id)
Number: TypeAlias = tuple[Key, Index]
Run: TypeAlias = Callable[..., Any]


def bad_cells(x: Any) -> Array:
    """Where NaN or infinity stands, as positions in one long row."""
    array = np.asarray(x)
    return np.flatnonzero(~np.isfinite(array)) if array.dtype.kind == "f" else np.zeros(0, int)


def place(flat: Any, x: Any) -> Index:
    """The index of a number in x, from its position in one long row."""
    return tuple(int(i) for i in np.unravel_index(int(flat), np.shape(x)))


def with_number(x: Any, cells: Any, number: float) -> Any:
    """x with a number at these positions, in its own dtype; a Python number stays one, which NumPy treats otherwise."""
    if not len(cells):
        return x
    if type(x) is float:
        return number
    array = np.array(x, order="C")
    array.reshape(-1)[cells] = number
    return array


def ordinary(x: Any) -> Any:
    """x with an ordinary number for each finite one, and a large one for an infinity; labels and masks stay."""
    array = np.asarray(x)
    if array.dtype.kind != "f":
        return x
    large = np.copysign(np.sqrt(np.finfo(array.dtype).max), array)  # its square just fits
    return np.where(np.isinf(array), large, ORDINARY[0]).astype(array.dtype)


def tried(run: Run, arguments: Sequence[Any]) -> Any:
    """The result for other arguments; None where a user's body refuses them."""
    try:
        return np.asarray(run(*arguments))
    except Exception:
        return None


def run_of(tensor: Tensor) -> Run:
    """What computes a result from its arrays."""
    assert tensor.op is not None
    return partial(tensor.op.run, **tensor.params)


def rule_of(tensor: Tensor, position: int) -> Run:
    """What computes the share of one input, before repetitions are added up: of upstream, the result and the inputs."""
    assert tensor.op is not None
    rule, dtype = tensor.op.rule(position), tensor.inputs[position].dtype
    return lambda *arguments: np.asarray(rule(*arguments, **tensor.params)).astype(dtype, copy=False)


class Computation:
    """An operation on its inputs, or a rule on upstream, result and inputs; keys: which arrays these are."""

    def __init__(self, run: Run, arguments: Sequence[Any], keys: Sequence[Key] = ()) -> None:
        self.run, self.arguments, self.keys = run, arguments, keys
        self.bad = [bad_cells(x) for x in arguments]

    @cached_property
    def _usual(self) -> list[tuple[list[Any], Any]]:
        """The arguments with ordinary numbers for all that are not finite, and what comes of them."""
        pairs = [*zip(self.arguments, self.bad, strict=True)]
        usual = [[with_number(x, cells, number) for x, cells in pairs] for number in ORDINARY]
        return [(arguments, tried(self.run, arguments)) for arguments in usual]

    def sources(self, index: Index, is_nan: bool) -> list[Number]:
        """Of each argument its `source`; for a number that is NaN also a NaN, as an infinity beside it may be found."""
        found = []
        for which, (key, x, cells) in enumerate(zip(self.keys, self.arguments, self.bad, strict=True)):
            nan = cells[np.isnan(np.ravel(x)[cells])] if is_nan and len(cells) else cells[:0]
            several = [self.source(which, index, nan)] if 0 < len(nan) < len(cells) else []
            several.append(self.source(which, index))
            found += [(key, source) for source in several if source is not None]
        return found

    def reached(self, key: Key, index: Index) -> Any:
        """Which numbers of the result one of an argument reaches, as positions in one long row."""
        probed = [np.array(ordinary(x)) for x in self.arguments]
        for x in (x for x, other in zip(probed, self.keys, strict=True) if other == key):
            x[index] = np.nan
        return bad_cells(tried(self.run, probed))

    def source(self, which: int, index: Index, cells: Array | None = None) -> Index | None:
        """The first number of one argument that reaches a number of the result; None if none does.

        It is looked for among those that are not finite, or at these positions.
        """
        x, cells = self.arguments[which], self.bad[which] if cells is None else cells
        for usual, before in self._usual if len(cells) else ():

            def reaches(some: Any, usual: list[Any] = usual) -> bool:
                probed = [with_number(y, some if i == which else (), np.nan) for i, y in enumerate(usual)]
                after = tried(self.run, probed)
                return after is None or bool(np.isnan(after[index]))

            if before is not None and np.isnan(before[index]):
                continue
            first, *others = _likely(cells, np.shape(x), index)
            if reaches([first]):
                return place(first, x)
            if reaches(cells):
                for cell in others:
                    if reaches([cell]):
                        return place(cell, x)
                return place(cells[bisect_left(range(len(cells)), True, key=lambda n: reaches(cells[: n + 1]))], x)
        return None


def _likely(cells: Array, shape: tuple[int, ...], index: Index) -> list[Any]:
    """Of some positions the first, and those in the row, the column, or at the index of a number of the result."""
    if not shape or not index:
        return [*cells[:1]]
    places = np.full(shape, -1)
    places.reshape(-1)[cells] = cells
    ends = [(index[0], 0), (index[-1], -1), (index[-1], 0), (index[0], -1)]
    likely = [places.take(i, axis).ravel() for i, axis in ends if i < shape[axis]]
    if len(shape) == len(index) and all(map(int.__lt__, index, shape)):
        likely.insert(1, places[index].ravel())
    return [*dict.fromkeys(some[some >= 0][0] for some in (*likely, cells) if (some >= 0).any())]


@dataclass(frozen=True, eq=False)
class Origin:
    """Where a number that is not finite came in, and its way from there: each number with the one that came of it.

    taken: of data and parameters, by which result and as which of its inputs they were taken; else None.
    mask: the result for which an infinity was put in on purpose that has turned into this number; mostly None.
    """

    way: list[Number]
    taken: tuple[Tensor, int] | None = None
    mask: Tensor | None = None

    @property
    def age(self) -> tuple[bool, float]:
        """For sorting: the forward pass from the oldest result on, then the backward pass from the youngest."""
        if self.taken is not None:
            return False, self.taken[0].serial - 0.5
        kind, serial = self.way[0][0][:2]
        return kind != "value", serial if kind == "value" else -serial


class Search:
    """The forward and backward pass of a loss, and where what is not finite in it came from.

    Everything is read from the recorded graph; the backward pass is the engine's own walk, and leaves nothing behind.
    """

    def __init__(self, loss: Tensor) -> None:
        self.loss = loss
        self.graph = reachable(loss)
        self.order = [self.graph[number] for number in sorted(self.graph)]
        self.uses: dict[int, list[tuple[Tensor, int]]] = {}
        self._shares: dict[Key, Array] = {}
        self._known: dict[Number, list[Number] | None] = {}
        for tensor in self.order:
            for x, position in edges(tensor):
                self.uses.setdefault(x.serial, []).append((tensor, position))
        self.leaves = [x for x in self.order if x.op is None]
        spoilt = {id(leaf) for leaf, _ in self.bad(self.leaves, "value")}
        self.stale = [leaf for leaf in written_to(self.order) if id(leaf) in spoilt] if spoilt else []

    @cached_property
    def gradients(self) -> dict[int, Array]:
        """By serial number, the gradient of each tensor."""
        with undisturbed(self.order):
            seed = seed_of(self.loss, np.ones_like(self.loss.data))
            return {tensor.serial: np.asarray(g) for tensor, g in walk(self.loss, seed, self.graph)}

    def bad(self, tensors: Sequence[Tensor], kind: str) -> Iterator[tuple[Tensor, Index]]:
        """Those whose "value" or "gradient" is not finite, and the first such number."""
        for tensor in tensors:
            array = tensor.data if kind == "value" else self.gradients.get(tensor.serial, 0)
            cells = bad_cells(array)
            if len(cells):
                yield tensor, place(cells[0], array)

    def computation(self, key: Key) -> Computation | None:
        """How an array was computed; None for data and parameters."""
        tensor = self.graph.get(key[1]) if key[0] != "array" else None
        if tensor is None or (key[0] == "value" and tensor.op is None):
            return None
        if key[0] == "gradient":
            users = self.uses.get(key[1], [])
            keys: list[Key] = [("share", user.serial, position) for user, position in users]
            return Computation(partial(_total, users), [self.array(k) for k in keys], keys)
        keys = [("value", x.serial) if isinstance(x, Tensor) else ("array", id(x)) for x in tensor.inputs]
        if key[0] == "value":
            return Computation(run_of(tensor), tensor.arrays, keys)
        arguments = [self.gradients[tensor.serial], tensor.data, *tensor.arrays]
        keys = [("gradient", tensor.serial), ("value", tensor.serial), *keys]
        return Computation(rule_of(tensor, key[2]), arguments, keys)

    def array(self, key: Key) -> Array:
        """The array of a result, a gradient or a share."""
        kind, serial = key[:2]
        if kind != "share":
            return self.gradients[serial] if kind == "gradient" else self.graph[serial].data
        if key not in self._shares:
            tensor = self.graph[serial]
            self._shares[key] = rule_of(tensor, key[2])(self.gradients[serial], tensor.data, *tensor.arrays)
        return self._shares[key]

    def origins(self, goals: Sequence[Number]) -> Iterator[Origin]:
        """Where these numbers come from."""
        after: dict[Number, Number | None] = dict.fromkeys(goals)
        waiting = [*goals]
        while waiting:
            number = waiting.pop()
            sources = self._sources(number)
            for earlier in sources or ():
                if earlier not in after:
                    after[earlier] = number
                    waiting.append(earlier)
            if sources == []:
                way = [number]
                while (following := after[way[-1]]) is not None:
                    way.append(following)
                yield self._origin(way)

    def _sources(self, number: Number) -> list[Number] | None:
        """The numbers that are not finite from which this one comes; None if computing it again gives another one."""
        if number not in self._known:
            key, index = number
            computation = self.computation(key)
            self._known[number] = []
            if computation is not None:
                self._known[number] = computation.sources(index, bool(np.isnan(self.array(key)[index])))
            again = tried(computation.run, computation.arguments) if computation and not self._known[number] else None
            if again is not None and np.isfinite(again[index]):  # a body that draws random numbers is not blamed
                self._known[number] = None
        return self._known[number]

    def _origin(self, way: list[Number]) -> Origin:
        """The origin at the beginning of a way, or if an infinity was put in there on purpose, where it became NaN."""
        (leaf, at), *rest = way
        computation = self.computation(rest[0][0]) if rest and self.computation(leaf) is None else None
        if computation is None:
            return Origin(way)
        user, position = self.graph[rest[0][0][1]], computation.keys.index(leaf) - 2 * (rest[0][0][0] == "share")
        x, value = user.inputs[position], np.asarray(user.arrays[position])[at]
        chosen = user.op in (ops.where, ops.maximum, ops.minimum) and np.isinf(value)
        if (isinstance(x, Tensor) and x.requires_grad) or not (chosen or (user.op is ops.add and value == -np.inf)):
            return Origin(way, (user, position))
        for n, (key, index) in enumerate(rest, start=1):
            if np.isnan(self.array(key)[index]):
                return Origin(way[n:], None, user)
        return Origin(way, (user, position), user)


def _total(users: Sequence[tuple[Tensor, int]], *shares: Any) -> Any:
    """A gradient as the sum of its shares."""
    return sum(fitted(np.asarray(share), None, *user) for user, share in zip(users, shares, strict=True))
