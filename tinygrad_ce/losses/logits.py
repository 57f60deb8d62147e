"""The logits behind probabilities, through all that only moves numbers about: what was done to p is done to them.

sigmoid(z).reshape(-1) is sigmoid(z.reshape(-1)), so a loss of the first can be computed from z.reshape(-1), where no
digit is lost. Of a softmax this is true as long as each distribution stays whole, so it is tracked where classes lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Array, Tensor, array_of
from tinygrad_ce.ops.indexing import HERE
from tinygrad_ce.source_lines import PASSING_ON, SQUASHING, Unrecorded

RESHAPING = {ops.reshape, ops.squeeze, ops.expand_dims}
MOVING = {
    *(*RESHAPING, ops.transpose, ops.broadcast_to, ops.getitem, ops.pick, ops.concatenate, ops.stack),
    *(ops.flip, ops.roll, ops.tile, ops.repeat, ops.diagonal, ops.take_along_axis),
}
JOINING = {ops.concatenate, ops.stack}
# Not `identity`: by it `grad` and its kin tell their argument, where they want the gradient, from what was passed.
NEUTRAL = {ops.mul: 1, ops.div: 1, ops.add: 0, ops.sub: 0, ops.constant_power: 1}
EITHER_SIDE = {ops.mul, ops.add}
SQUASHING.update({ops.sigmoid, ops.softmax, ops.log_softmax})
PASSING_ON.update({*MOVING, *NEUTRAL, ops.astype})


class Spread(NamedTuple):
    """How the classes lie in an array: element number i, counted flat, is of class `i // behind % classes`.

    This stays true when an array is reshaped. (Or of the class in that place, where the classes were put in another
    order, which is the same for all.)
    """

    classes: int
    behind: int

    def axis(self, shape: Sequence[int]) -> int | None:
        """The axis of an array of this shape along which the classes lie; None if none holds just them."""
        behind = 1
        for axis in reversed(range(len(shape))):
            if behind == self.behind and shape[axis] == self.classes:
                return axis
            behind *= shape[axis]
        return None


class Source(NamedTuple):
    """The logits of some probabilities, and for a softmax where the classes lie."""

    logits: Any
    spread: Spread | None


def logits_of(p: Any, squash: Any, axis: int | None = None) -> tuple[Any, tuple[int, ...]]:
    """The logits z with p = squash(z), if p was made from a squash (softmax or sigmoid) by moving its numbers about.

    axis: of p, along which a softmax must be whole. The logits have the shape of p. They are None where p was made in
    another way, where a distribution was cut, and where a parameter was written to since. With them come the serial
    numbers of the tensors that a loss of the logits passes over: p, and what lies between.
    """
    made = _made(p)
    if made is None:
        return None, ()
    passed_over: tuple[int, ...]
    if made.op is squash:  # in most training steps
        source, passed_over = _squashed(made), (p.serial,)
    else:
        source, passed_over = _replayed(p, squash)
    if source is None:
        return None, ()
    logits, spread = source
    whole = spread is None or axis is None or spread.axis(p.shape) == axis % p.ndim
    return (logits, passed_over) if whole else (None, ())


class _Made(NamedTuple):
    """A tensor, and how it was made, whether that was recorded or not."""

    tensor: Tensor
    op: Any
    inputs: tuple[Any, ...]
    params: Any

    def moved_inputs(self) -> Sequence[Any]:
        """Those of its inputs whose numbers it has."""
        if self.op in JOINING:
            return self.inputs
        return self.inputs[:1] if self.op not in EITHER_SIDE else [x for x in self.inputs if _number(x) is None]

    def only_moves(self) -> bool:
        """Whether its operation gives the numbers of its input, in another place, shape or dtype."""
        if self.op in NEUTRAL:
            power = self.op is ops.constant_power
            numbers = [self.params["exponent"]] if power else [_number(x) for x in self.inputs]
            return NEUTRAL[self.op] in (numbers if self.op in EITHER_SIDE else numbers[-1:])
        return self.op in MOVING or self.op is ops.astype


def _made(x: Any) -> _Made | None:
    if not isinstance(x, Tensor):
        return None
    if x.op is not None:
        return _Made(x, x.op, x.inputs, x.params)
    note = x.note
    return _Made(x, note.op, note.inputs, note.params) if isinstance(note, Unrecorded) else None


class _Rules(list[Any]):
    """The derivative rules of a loss that was computed from logits, though probabilities were passed to it."""

    passed_over: tuple[int, ...]  # the serial numbers of those: errors.py says that they have no gradient


def as_loss_of(p: Tensor, loss: Any, passed_over: tuple[int, ...]) -> Any:
    """A loss of logits as the loss of the probabilities p: in their dtype, and known to pass over them."""
    loss = loss if loss.dtype == p.dtype else ops.astype(loss, dtype=p.dtype)
    if loss.op is not None:
        loss.rules = _Rules(loss.rules)
        loss.rules.passed_over = passed_over
    return loss


def _replayed(p: Tensor, squash: Any) -> tuple[Source | None, tuple[int, ...]]:
    """The logits of p, after all moves that p has behind it."""
    found: dict[int, Source] = {}
    for made in _history(p, squash):
        source = _squashed(made) if made.op is squash else _moved(made, found)
        if source is None:
            return None, ()
        found[made.tensor.serial] = source
    return found.get(p.serial), (*found,)


def _history(p: Any, squash: Any) -> list[_Made]:
    """What p was made of, from each squash on, the oldest first; nothing if there is something else among it."""
    seen: dict[int, _Made] = {}
    waiting = [p]
    while waiting:
        x = waiting.pop()
        made = _made(x)
        if made is None or not (made.op is squash or made.only_moves()):
            return []
        if x.serial not in seen:
            seen[x.serial] = made
            waiting += [] if made.op is squash else made.moved_inputs()
    return [seen[serial] for serial in sorted(seen)]


def _number(x: Any) -> Any:
    """x, if it is a plain number; one that changes from step to step (a learning rate) is no plain one in a program."""
    return x if type(x) in (int, float) or isinstance(x, np.number) else None


def _squashed(made: _Made) -> Source | None:
    p, z = made.tensor, made.inputs[0]
    if not isinstance(z, Tensor) or (z.writes is not None and z.writes[0] > p.serial):
        return None
    if "axis" not in made.params:
        return Source(z, None)
    axis = made.params["axis"]
    if not isinstance(axis, (int, np.integer)):
        return None
    axis %= p.ndim
    return Source(z, Spread(p.shape[axis], prod(p.shape[axis + 1 :])))


def _moved(made: _Made, found: dict[int, Source]) -> Source | None:
    """The same move, of the logits."""
    sources = [found[x.serial] for x in made.moved_inputs()]
    spread = sources[0].spread
    if spread is not None:
        if any(source.spread != spread for source in sources[1:]):
            return None
        spread = _moved_spread(made, spread)
        if spread is None:
            return None
    if made.op not in MOVING:
        return Source(sources[0].logits, spread)
    beside = () if made.op in JOINING else made.inputs[1:]  # indices
    return Source(made.op(*(source.logits for source in sources), *beside, **made.params), spread)


def _moved_spread(made: _Made, spread: Spread) -> Spread | None:
    """Where the classes lie after the move; None if they no longer lie along one axis, all those of one distribution.

    All elements are numbered, and the numbers are moved in the same way.
    """
    if made.op in RESHAPING or made.op not in MOVING:
        return spread
    numbers, count = [], 0
    for x in made.moved_inputs():
        numbers.append(np.arange(count, count + x.size).reshape(x.shape))
        count += x.size
    beside = () if made.op in JOINING else made.inputs[1:]
    if made.op is ops.getitem:
        moved = numbers[0][_key_that_mixes_no_rows(made.params["pattern"], beside)]
    elif any(isinstance(x, Tensor) for x in beside):
        return None  # in the next run of a program, other numbers may be there
    else:
        moved = made.op.body(*numbers, *beside, **made.params)
    classes = moved // spread.behind % spread.classes
    distributions = moved - classes * spread.behind
    for axis, length in enumerate(moved.shape):
        if length == spread.classes and _is_constant(distributions, axis):
            order = np.moveaxis(classes, axis, -1).reshape(-1, length)
            if (order == order[:1]).all() and set(order[0].tolist()) == set(range(length)):
                return Spread(length, prod(moved.shape[axis + 1 :]))
    return None


def _is_constant(x: Array, axis: int) -> bool:
    return x.size > 0 and bool((x == x.take([0], axis)).all())


def _key_that_mixes_no_rows(pattern: tuple[Any, ...], indices: Sequence[Any]) -> tuple[Any, ...]:
    """The key of an indexing, in which 0 stands for index arrays that may take numbers from several distributions.

    A single array for one axis cannot. Several can, and a tensor may hold other numbers in the next run of a program:
    with 0 everywhere only what they do not index stays whole.
    """
    key: list[Any] = []
    remaining = iter(indices)
    for item in pattern:
        if item is not HERE:
            key.append(item)
            continue
        array = next(remaining)
        alone = len(indices) == 1 and isinstance(array, np.ndarray) and array.ndim <= 1
        array = array_of(array)
        if alone or (array.dtype == bool and array.ndim == 0):
            key.append(array)
        elif array.dtype == bool:  # a mask is one index array for each of its axes
            key += [np.zeros(np.count_nonzero(array), int)] * array.ndim
        else:
            key.append(np.zeros(array.shape, int))
    return tuple(key)
