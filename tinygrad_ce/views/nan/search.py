"""Which computation made the first number that is not finite: from the loss back, number by number.

A number that is not finite is followed to those of its inputs that it comes from. That is seen by experiment: with NaN
in an input's place, and ordinary numbers elsewhere, NaN arrives. So an infinity in a branch that `where` did not take
is not blamed. Where no input is to blame, the computation itself is: it made NaN or infinity of finite numbers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any, TypeAlias

import numpy as np

from tinygrad_ce.ancestry import reachable
from tinygrad_ce.backward import fitted, seed_of, walk
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.graph.checks import undisturbed, written_to

ORDINARY = (0.6, 1.6)  # one or the other lies where a usual function is defined: log, arctanh, 1 / x, arccosh...

Index: TypeAlias = tuple[int, ...]
Run: TypeAlias = Callable[..., Any]


def place(flat: Any, x: Any) -> Index:
    """The index of a number in x, from its position in one long row."""
    return tuple(int(i) for i in np.unravel_index(int(flat), np.shape(x)))


def with_number(x: Any, cells: Any, number: float) -> Any:
    """x with a number at these positions, in its own dtype."""
    if not len(cells):
        return x
    array = np.array(x, order="C")
    array.reshape(-1)[cells] = number
    return array


def ordinary(x: Any, number: float = ORDINARY[0]) -> Any:
    """x with an ordinary number for each finite one, and a large one for an infinity; labels and masks stay."""
    array = np.asarray(x)
    numbers = np.where(np.isinf(array), np.copysign(1e18, array), number)  # the square of 1e18 fits into float32
    return numbers.astype(array.dtype) if array.dtype.kind == "f" else x


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
    """What computes the share of one input, from the inputs, the result, and the gradient of the result."""
    assert tensor.op is not None
    rule = partial(tensor.op.rule(position), **tensor.params)
    return lambda *x: fitted(np.asarray(rule(x[-1], x[-2], *x[:-2])), None, tensor, position)


def total(*shares: Any) -> Any:
    """A gradient, from its shares."""
    return sum(shares)


def first_cell(run: Run, arguments: Sequence[Any], which: int, index: Index, cells: Array) -> Index | None:
    """The first of these cells of one argument that reaches a number of the result: NaN in all until there is seen."""

    @cache
    def reaches(count: int) -> bool:
        changed = with_number(arguments[which], cells[:count], np.nan)
        result = tried(run, [*arguments[:which], changed, *arguments[which + 1 :]])
        return result is None or bool(np.isnan(result[index]))

    if not len(cells) or not (reaches(1) or reaches(len(cells))):
        return None
    first = 0 if reaches(1) else bisect_left(range(1, len(cells)), True, key=reaches)
    return place(cells[first], arguments[which])


@dataclass(eq=False)
class Step:
    """An array of the forward or backward pass, and what computed it from the arrays of other steps.

    kind: "value" (a result, or what came in: then `run` is None), "share" (what the rule of one input sends back) or
    "gradient" (a sum of shares). tensor: the result or leaf; of a share the result whose rule it is; None for an array.
    """

    kind: str
    tensor: Any
    array: Any
    sources: Sequence[Step] = ()
    run: Any = None
    position: int = 0

    @cached_property
    def bad(self) -> Array:
        """Where NaN or infinity stands, as positions in one long row."""
        array = np.asarray(self.array)
        return np.flatnonzero(~np.isfinite(array)) if array.dtype.kind == "f" else np.zeros(0, int)

    @cached_property
    def usual(self) -> list[tuple[list[Any], Any]]:
        """Arguments with one or the other ordinary number for each that is not finite, and their result."""
        each = ([with_number(x.array, x.bad, number) for x in self.sources] for number in ORDINARY)
        return [(arguments, tried(self.run, arguments)) for arguments in each]

    def origins(self, index: Index) -> list[Number] | None:
        """Of each source the first NaN, and then of each the first infinity, from which this number comes.

        None if it is not known: computed again, this number is finite.
        """
        found: list[Number] = []
        usual = [arguments for arguments, result in self.usual if result is None or not np.isnan(result[index])]
        for is_kind in (np.isnan, np.isinf) if usual else ():
            for which, source in enumerate(self.sources):
                cells = source.bad[is_kind(np.ravel(source.array)[source.bad])]
                if np.shape(source.array) == self.array.shape:  # most operations work number by number
                    cells = np.append(cells[cells == np.ravel_multi_index(index, self.array.shape)], cells)
                cell = first_cell(self.run, usual[0], which, index, cells)
                found += [(source, cell)] if cell is not None else []
        again = tried(self.run, [source.array for source in self.sources]) if self.sources and not found else None
        return None if again is not None and np.isfinite(again[index]) else found


Number: TypeAlias = tuple[Step, Index]
Way: TypeAlias = list[Number]  # from where a number came in or was made, each with the one that came of it


def bad_numbers(steps: Iterable[Step]) -> list[Number]:
    """The first number that is not finite of each step that has one."""
    return [(step, place(step.bad[0], step.array)) for step in steps if len(step.bad)]


class Search:
    """The forward and backward pass of a loss, and where what is not finite in it came from.

    Everything is read from the recorded graph; the backward pass is the engine's own walk, and leaves nothing behind.
    values: by serial number, each leaf and result. leaves: of these, the leaves.
    """

    def __init__(self, loss: Tensor) -> None:
        self.loss = loss
        self.order = [tensor for _, tensor in sorted(reachable(loss).items())]
        self.values: dict[int, Step] = {}
        constants: dict[int, Step] = {}  # one for each array without a gradient
        for tensor in self.order:
            sources = []
            for x, array in zip(tensor.inputs, tensor.arrays, strict=True):
                known = self.values.get(x.serial) if isinstance(x, Tensor) else None
                step = Step("value", x if isinstance(x, Tensor) else None, array)
                sources.append(known or constants.setdefault(id(array), step))
            run = None if tensor.op is None else run_of(tensor)
            self.values[tensor.serial] = Step("value", tensor, tensor.data, sources, run)
        self.leaves = [x for x in self.order if x.op is None]
        self.origins = cache(Step.origins)

    @cached_property
    def stale(self) -> list[Tensor]:
        """The leaves that are not finite since they were written to, after the loss was computed."""
        spoilt = [step.tensor for step, _ in bad_numbers(self.values[x.serial] for x in self.leaves)]
        return [x for x in written_to(self.order) if any(x is leaf for leaf in spoilt)] if spoilt else []

    @cached_property
    def gradients(self) -> dict[int, Step]:
        """By serial number, the gradient of each tensor, with the shares that it is the sum of."""
        found: dict[int, Step] = {}
        shares: dict[int, list[Step]] = {x.serial: [] for x in self.order}

        def keep(tensor: Tensor, position: int, share: Any) -> None:
            value, rule = self.values[tensor.serial], rule_of(tensor, position)
            sources = [*value.sources, value, found[tensor.serial]]
            shares[tensor.inputs[position].serial].append(Step("share", tensor, share, sources, rule, position))

        with undisturbed(self.order):
            seed = seed_of(self.loss, np.ones_like(self.loss.data))
            for tensor, gradient in walk(self.loss, seed, {x.serial for x in self.order}, on_share=keep):
                found[tensor.serial] = Step("gradient", tensor, gradient, shares[tensor.serial], total)
        return found

    def ways(self, goals: Sequence[Number]) -> Iterator[Way]:
        """The ways to these numbers, each from one that is not finite by itself."""
        after: dict[Number, Number | None] = {}
        waiting: list[tuple[Number, Number | None]] = [(goal, None) for goal in goals]
        while waiting:
            number, following = waiting.pop()
            if number in after:
                continue
            after[number] = following
            origins = self.origins(*number)
            waiting += [(earlier, number) for earlier in reversed(origins or ())]  # NaN is popped first
            if origins == []:
                way = [number]
                while (following := after[way[-1]]) is not None:
                    way.append(following)
                yield way

    def met_nan(self, way: Way) -> bool:
        """Whether it begins with an infinity, and where it comes to a NaN first, another NaN went in, too."""
        for step, index in way:
            if np.isnan(np.asarray(step.array)[index]):
                return any(np.isnan(np.asarray(x.array)[cell]) for x, cell in self.origins(step, index) or ())
        return False
