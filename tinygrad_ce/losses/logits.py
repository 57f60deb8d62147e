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

RESHAPING = {ops.reshape, ops.squeeze, ops.expand_dims}
MOVING = {*RESHAPING, ops.transpose, ops.broadcast_to, ops.getitem, ops.pick, ops.concatenate, ops.stack}
JOINING = {ops.concatenate, ops.stack}
# Not `identity`: by it `grad` and its kin tell their argument, where they want the gradient, from what was passed.
NEUTRAL = {ops.mul: 1, ops.div: 1, ops.add: 0, ops.sub: 0, ops.constant_power: 1}
EITHER_SIDE = {ops.mul, ops.add}


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
    if not isinstance(p, Tensor) or p.op is None:
        return None, ()
    passed_over: tuple[int, ...]
    if p.op is squash:  # in most training steps
        source, passed_over = _squashed(p), (p.serial,)
    else:
        source, passed_over = _replayed(p, squash)
    if source is None:
        return None, ()
    logits, spread = source
    whole = spread is None or axis is None or spread.axis(p.shape) == axis % p.ndim
    return (logits, passed_over) if whole else (None, ())


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
    for x in _history(p, squash):
        source = _squashed(x) if x.op is squash else _moved(x, found)
        if source is None:
            return None, ()
        found[x.serial] = source
    return found.get(p.serial), (*found,)


def _history(p: Any, squash: Any) -> list[Tensor]:
    """What p was made of, from each squash on, the oldest first; nothing if there is something else among it."""
    seen: dict[int, Tensor] = {}
    waiting = [p]
    while waiting:
        x = waiting.pop()
        if not isinstance(x, Tensor):
            return []
        if x.serial not in seen:
            if x.op is not squash and not _only_moves(x):
                return []
            seen[x.serial] = x
            waiting += [] if x.op is squash else _moved_inputs(x)
    return [seen[serial] for serial in sorted(seen)]


def _only_moves(x: Tensor) -> bool:
    """Whether its operation gives the numbers of its input, in another place, shape or dtype."""
    if x.op in NEUTRAL:
        numbers = [x.params["exponent"]] if x.op is ops.constant_power else [_number(v) for v in x.inputs]
        return NEUTRAL[x.op] in (numbers if x.op in EITHER_SIDE else numbers[-1:])
    return x.op in MOVING or x.op is ops.astype


def _number(x: Any) -> Any:
    """x, if it is a plain number; one that changes from step to step (a learning rate) is no plain one in a program."""
    return x if type(x) in (int, float) or isinstance(x, np.number) else None


def _moved_inputs(x: Tensor) -> Sequence[Any]:
    """Those of its inputs whose numbers it has."""
    if x.op in JOINING:
        return x.inputs
    return x.inputs[:1] if x.op not in EITHER_SIDE else [v for v in x.inputs if _number(v) is None]


def _squashed(x: Tensor) -> Source | None:
    z = x.inputs[0]
    if not isinstance(z, Tensor) or (z.writes is not None and z.writes[0] > x.serial):
        return None
    if "axis" not in x.params:
        return Source(z, None)
    axis = x.params["axis"]
    if not isinstance(axis, (int, np.integer)):
        return None
    axis %= x.ndim
    return Source(z, Spread(x.shape[axis], prod(x.shape[axis + 1 :])))


def _moved(x: Tensor, found: dict[int, Source]) -> Source | None:
    """The same move, of the logits."""
    assert x.op is not None
    sources = [found[v.serial] for v in _moved_inputs(x)]
    spread = sources[0].spread
    if spread is not None:
        if any(source.spread != spread for source in sources[1:]):
            return None
        spread = _moved_spread(x, spread)
        if spread is None:
            return None
    if x.op not in MOVING:
        return Source(sources[0].logits, spread)
    beside = () if x.op in JOINING else x.inputs[1:]  # indices
    return Source(x.op(*(source.logits for source in sources), *beside, **x.params), spread)


def _moved_spread(x: Tensor, spread: Spread) -> Spread | None:
    """Where the classes lie after the move; None if they no longer lie along one axis, all those of one distribution.

    All elements are numbered, and the numbers are moved in the same way.
    """
    if x.op in RESHAPING or x.op not in MOVING:
        return spread
    assert x.op is not None
    numbers, count = [], 0
    for v in _moved_inputs(x):
        numbers.append(np.arange(count, count + v.size).reshape(v.shape))
        count += v.size
    beside = () if x.op in JOINING else x.inputs[1:]
    if x.op is ops.getitem:
        moved = numbers[0][_key_that_mixes_no_rows(x.params["pattern"], beside)]
    elif any(isinstance(v, Tensor) for v in beside):
        return None  # in the next run of a program, other numbers may be there
    else:
        moved = x.op.body(*numbers, *beside, **x.params)
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
