"""From the origin of a number that is not finite to a finding: its numbers, line, chain, cause and cure."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.backward import fitted
from tinygrad_ce.core import Tensor
from tinygrad_ce.errors import call_text
from tinygrad_ce.report.words import format_number, listed
from tinygrad_ce.views.nan import causes
from tinygrad_ce.views.nan.causes import Why
from tinygrad_ce.views.nan.chain import Cell, Link, chain_of, line_at, shown
from tinygrad_ce.views.nan.diagnosis import Diagnosis, Finding
from tinygrad_ce.views.nan.search import Computation, Index, Number, Origin, Search, ordinary, rule_of


def diagnosed(loss: Tensor) -> Diagnosis:
    """The diagnosis of a loss that was recorded."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the user's own pass has warned already
        return Examination(loss).diagnosis()


class Examination:
    """One look at a recorded loss: the origins that a search finds are turned into findings."""

    def __init__(self, loss: Tensor) -> None:
        self.loss, self.search = loss, Search(loss)
        self.finite = bool(np.isfinite(loss.data).all())

    def diagnosis(self) -> Diagnosis:
        """Why the loss is not finite, and why the gradients are not."""
        search, value = self.search, shown(self.loss.data)
        forward = self._first([*search.bad([self.loss], "value")], "value")
        stale = [x.label for x in search.stale]
        bad = [] if stale else [*search.bad(search.leaves, "gradient")]
        backward = self._first(bad, "gradient")
        spoilt = [leaf.label for leaf, _ in bad]
        lost = [f"The loss is {value}"] if forward is None and not self.finite else []
        lost += [f"The gradient of {listed(spoilt)} is not finite"] if backward is None and spoilt else []
        remarks = [f"{what}, and why is not known: run alone, no operation gives this again." for what in lost]
        if stale:
            remarks += [f"The loss is finite ({value})."] if self.finite else []
            gone = f"The backward pass can't be repeated: {listed(stale)} changed after this loss was computed"
            remarks.append(f"{gone}, and not to finite numbers. Call tg.why_nan(loss) before optimizer.step().")
        if self.finite and not spoilt and not stale:
            remarks += self._harmless()
        return Diagnosis(self.loss, forward, backward, spoilt, [x.label for x in search.leaves], stale, remarks)

    def _harmless(self) -> list[str]:
        """What is not finite on the way, although nothing came of it."""
        for kind, tensors in (("value", self.search.order), ("gradient", self.search.order[::-1])):
            for tensor, index in self.search.bad(tensors, kind):
                value = format_number(self.search.array((kind, tensor.serial))[index])
                text = ("the gradient of " if kind == "gradient" else "") + _call(tensor)
                where = f"{f' at {list(index)}' if index else ''} ({_place(tensor)})"
                return [f"On the way {text} is {value}{where}; nothing that is not finite came of it."]
        return []

    def _first(self, spoilt: Sequence[tuple[Tensor, Index]], kind: str) -> Finding | None:
        """The first, in the order of the passes, that has spoilt one of these; None if nobody can be named."""
        goals = [((kind, tensor.serial), index) for tensor, index in spoilt]
        origins = [self._out_of_domain(origin) for origin in self.search.origins(goals)]
        return self._finding(min(origins, key=lambda origin: origin.age)) if origins else None

    def _out_of_domain(self, origin: Origin) -> Origin:
        """Of an infinity that was put in on purpose and is no NaN: the operation that is not defined there."""
        if origin.mask is not None and origin.taken is not None:
            for n, (key, index) in enumerate(origin.way):
                tensor = self.search.graph.get(key[1]) if key[0] == "value" else None
                if tensor is not None and tensor.op is not None and causes.violated(Cell(tensor, index)):
                    return Origin(origin.way[n:], None, origin.mask)
        return origin

    def _finding(self, origin: Origin) -> Finding:
        key, index = origin.way[0]
        if origin.taken is not None:
            return self._leaf(origin.way, *origin.taken)
        tensor = self.search.graph[key[1]]
        if key[0] == "gradient":
            return self._sum(tensor, index)
        finding = self._value(origin) if key[0] == "value" else self._share(tensor, key[2], index)
        for link in finding.chain[1:]:
            if origin.mask is None and not np.isfinite(link.value):  # 1 / inf is 0: whoever made the infinity
                first = self._first([(link.tensor, link.index)], "value")
                if first is not None:
                    then = f"{format_number(first.value)} became finite on the way, as in 1 / inf = 0, and spoilt "
                    return replace(first, then=f"{then}{finding.name}: {finding.numbers} ({_place(tensor)})")
        return finding

    def _value(self, origin: Origin) -> Finding:
        key, index = origin.way[0]
        tensor = self.search.graph[key[1]]
        cell, chain = Cell(tensor, index), chain_of(tensor, index)
        cause, cure = causes.of_value(cell, chain, self.search.leaves)
        if origin.mask is not None:
            cause += f". An infinity was put in at {_place(origin.mask)}"
        then, gate = self._then(origin.way, cell.value)
        if gate == "where":
            cure = causes.protected(cell, gate) or cure
        return _of_cell(cell, float(cell.value), cell.numbers, (cause, cure), chain, then=then)

    def _share(self, tensor: Tensor, position: int, at: Index) -> Finding:
        index, upstream, share = self._sent_back(tensor, position, at)
        cell, chain = Cell(tensor, index), chain_of(tensor, index)
        rule, argument = cell.rule(position, upstream, share), cell.op.argument(position)
        slopes = rule_of(tensor, position)(np.ones_like(tensor.data), tensor.data, *tensor.arrays)
        cause, cure = causes.of_share(cell, argument, upstream, share, np.asarray(slopes)[at], chain)
        if upstream == 0:
            because, gate = self._gate(tensor, index)
            cause += f". What comes from upstream is 0{f', because {because}' if because else ''}; but 0 * inf is NaN"
            cure = causes.protected(cell, gate) or cure
        numbers = f"{cell.numbers}; back to `{argument}` comes {rule or format_number(share)}"
        return _of_cell(cell, share, numbers, (cause, cure), chain, upstream if rule else None)

    def _sent_back(self, tensor: Tensor, position: int, at: Index) -> tuple[Index, float, float]:
        """Of a number of a share: the number of the result from which it came, the gradient there, and the share."""
        share, gradient = (
            self.search.array(("share", tensor.serial, position))[at],
            self.search.gradients[tensor.serial],
        )
        likely = (gradient == 0) == np.isnan(share)  # infinity times 0 is NaN, times others it is not
        index = _upstream(tensor, position, at, likely)
        return index, float(gradient[index]), float(share)

    def _sum(self, tensor: Tensor, index: Index) -> Finding:
        value = float(self.search.gradients[tensor.serial][index])
        cause, cure = causes.overflow(tensor.dtype, "each share of this gradient is finite, and their sum")
        users = listed([user.label for user, _ in self.search.uses[tensor.serial]])
        numbers = f"the sum of the shares from {users} = {format_number(value)}"
        kind, op = ("parameter", None) if tensor.op is None else ("result", tensor.op.name)
        return Finding(kind, tensor, tensor.label, op, index, value, {}, None, numbers, line_at(tensor), cause, cure)

    def _leaf(self, way: Sequence[Number], user: Tensor, position: int) -> Finding:
        index, array = way[0][1], np.asarray(user.arrays[position])
        assert user.op is not None
        tensor = user.inputs[position] if isinstance(user.inputs[position], Tensor) else None
        name = tensor.label if tensor is not None else f"array {array.shape}" if array.ndim else "number"
        kind, (cause, cure) = "data", causes.of_data(name, array)
        if tensor is not None and tensor.requires_grad:
            kind, (cause, cure) = "parameter", causes.of_parameter(tensor, self.search.leaves)
        numbers = f"{name}{list(index) if index else ''} = {format_number(array[index])}, which is "
        numbers += f"`{user.op.argument(position)}` of {_call(user)}"
        value, line = float(array[index]), line_at(user)
        return Finding(
            kind, tensor, name, None, index, value, {}, None, numbers, line, cause, cure, self._then(way, value)[0]
        )

    def _then(self, way: Sequence[Number], first: float) -> tuple[str, str]:
        """Where an infinity became NaN, or how a number came into the gradients; and what kept it from the loss."""
        for key, index in way[1:]:
            tensor = self.search.graph[key[1]]
            if key[0] == "value" and np.isinf(first) and np.isnan(tensor.data[index]) and not self.finite:
                text = Cell(tensor, index).numbers
                return f"{format_number(first)} became NaN in {tensor.label}: {text} ({_place(tensor)})", ""
            if key[0] == "share" and self.finite:
                index, upstream, share = self._sent_back(tensor, key[2], index)
                because, gate = self._gate(tensor, index)
                rule = Cell(tensor, index).rule(key[2], upstream, share)
                likely = (upstream == 0) == np.isnan(share)
                times = f"{format_number(upstream)} times what is not finite" if likely else "a sum of infinities"
                rule = rule or f"{times}, which is {format_number(share)}"
                hidden = f"the loss is finite all the same: {because}. But " if because else ""
                return f"{hidden}in the backward pass the rule of {_call(tensor)} gives {rule}", gate
        return "", ""

    def _gate(self, tensor: Tensor, index: Index) -> tuple[str, str]:
        """Why the gradient of a result is 0 at this number: in words, and the name of the operation that made it 0."""
        while self.search.gradients[tensor.serial][index] == 0 and tensor.serial in self.search.uses:
            user, position = self.search.uses[tensor.serial][0]
            assert user.op is not None
            share = rule_of(user, position)(np.ones_like(user.data), user.data, *user.arrays)
            if fitted(np.asarray(share), None, user, position)[index] == 0:
                other = user.inputs[1 - position] if user.op is ops.mul else None
                learnt = isinstance(other, Tensor) and other.requires_grad  # a product with what is learnt is no mask
                words = causes.GATES.get(user.op.name, (f"the slope of {user.op.name} at {{}} is 0 there",))[0]
                return words.format(_place(user)), "" if learnt else user.op.name
            tensor, index = user, _upstream(user, position, index)
        return "", ""


def _upstream(tensor: Tensor, position: int, at: Index, likely: Any = True) -> Index:
    """The number of a result whose gradient reaches this number of a share; of several the first that is likely."""
    arguments = [ordinary(x) for x in (tensor.data, tensor.data, *tensor.arrays)]
    cells = np.argsort(~np.broadcast_to(likely, tensor.shape).ravel(), kind="stable")
    found = Computation(rule_of(tensor, position), arguments).source(0, at, cells)
    return found if found is not None else at if len(at) == tensor.ndim else (0,) * tensor.ndim


def _of_cell(
    cell: Cell, value: float, numbers: str, why: Why, chain: list[Link], upstream: float | None = None, then: str = ""
) -> Finding:
    """What was found at a cell of a result."""
    tensor = cell.tensor
    start = ("result", tensor, tensor.label, cell.op.name, cell.index, value, cell.operands, upstream, numbers)
    return Finding(*start, line_at(tensor), *why, then, chain)


def _call(tensor: Tensor) -> str:
    """As in "#3 = exp(#2)"; of a leaf its name."""
    return tensor.label if tensor.op is None else f"{tensor.label} = {call_text(tensor.op, tensor.inputs)}"


def _place(tensor: Tensor) -> str:
    """Where a result was computed, for a sentence."""
    line = line_at(tensor)
    return line.short if line is not None else tensor.label
