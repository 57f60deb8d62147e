"""From the origin of a number that is not finite to a finding: its numbers, line, chain, cause and cure."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Tensor
from tinygrad_ce.errors import call_text
from tinygrad_ce.report.words import format_number, listed
from tinygrad_ce.views.nan import causes
from tinygrad_ce.views.nan.chain import Cell, chain_of, line_at, shown
from tinygrad_ce.views.nan.diagnosis import Diagnosis, Finding
from tinygrad_ce.views.nan.search import Index, Number, Origin, Search, bad_cells, place, share_of, source_of


def diagnosed(loss: Tensor, back: bool = True) -> Diagnosis:
    """The diagnosis of a loss that was recorded. back: of its gradients too."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the user's own pass has warned already
        return Examination(loss).diagnosis(back)


class Examination:
    """One look at a recorded loss: the origins that a search finds are turned into findings."""

    def __init__(self, loss: Tensor) -> None:
        self.loss, self.search = loss, Search(loss)

    def diagnosis(self, back: bool) -> Diagnosis:
        """Why the loss is not finite, and why the gradients are not."""
        search, loss = self.search, self.loss
        forward = self._first([*search.bad([loss], "value")], "value")
        remarks, backward, spoilt = [], None, []
        if forward is None and len(bad_cells(loss.data)):
            remarks.append(_unknown(f"The loss is {shown(loss.data)}"))
        if search.stale:
            finite = "" if forward is not None else f"The loss is finite ({shown(loss.data)}). "
            remarks.append(
                f"{finite}The backward pass can't be looked at any more: {listed([x.label for x in search.stale])} "
                "changed after this loss was computed, and what was written there is not finite. Call "
                "tg.why_nan(loss) before optimizer.step()."
            )
        elif back:
            bad = [*search.bad(search.leaves, "gradient")]
            spoilt = [leaf.label for leaf, _ in bad]
            backward = self._first(bad, "gradient")
            if backward is None and spoilt:
                remarks.append(_unknown(f"The gradient of {listed(spoilt)} is not finite"))
            if forward is None and backward is None and not remarks:
                remarks += self._harmless()
        leaves, stale = [leaf.label for leaf in search.leaves], [leaf.label for leaf in search.stale]
        return Diagnosis(loss, forward, backward, spoilt, leaves, stale, remarks)

    def _harmless(self) -> list[str]:
        """What is not finite on the way, although nothing came of it."""
        for kind, tensors in (("value", self.search.order), ("gradient", self.search.order[::-1])):
            for tensor, index in self.search.bad(tensors, kind):
                value = self.search.array((kind, tensor.serial))[index]
                text = ("the gradient of " if kind == "gradient" else "") + _call(tensor)
                line = line_at(tensor)
                where = (f" at {list(index)}" if index else "") + (f" ({line.short})" if line is not None else "")
                return [f"On the way {text} is {format_number(value)}{where}; nothing that is not finite came of it."]
        return []

    def _first(self, spoilt: Sequence[tuple[Tensor, Index]], kind: str) -> Finding | None:
        """The first, in the order of the passes, that has spoilt one of these; None if nobody can be named."""
        goals = [((kind, tensor.serial), index) for tensor, index in spoilt]
        origins = [self._out_of_domain(origin) for origin in self.search.origins(goals)]
        return self._finding(min(origins, key=self._age), kind == "gradient") if origins else None

    def _age(self, origin: Origin) -> tuple[bool, float]:
        """The forward pass comes first, from the oldest result on; the backward pass begins with the youngest."""
        key = origin.way[0][0]
        if self.search.is_leaf(key):
            return False, self.search.taken(origin.way)[0].serial - 0.5
        return key[0] != "value", key[1] if key[0] == "value" else -key[1]

    def _out_of_domain(self, origin: Origin) -> Origin:
        """Of an infinity that was put in on purpose and is no NaN: the operation that is not defined there."""
        if origin.mask is not None and self.search.is_leaf(origin.way[0][0]):
            for n, (key, index) in enumerate(origin.way):
                tensor = self.search.graph.get(key[1]) if key[0] == "value" else None
                if tensor is not None and tensor.op is not None and causes.violated(Cell(tensor, index)):
                    return Origin(origin.way[n:], origin.mask)
        return origin

    def _finding(self, origin: Origin, back: bool) -> Finding:
        key, index = origin.way[0]
        if self.search.is_leaf(key):
            return self._leaf(origin, back)
        tensor = self.search.graph[key[1]]
        if key[0] == "gradient":
            return self._sum(tensor, index)
        finding = self._value(origin, back) if key[0] == "value" else self._share(tensor, key[2], index)
        for link in finding.chain[1:]:
            if origin.mask is None and not np.isfinite(
                link.value
            ):  # 1 / inf is 0, and log(0) is blamed on whoever made the infinity
                older = [*self.search.origins([(("value", link.tensor.serial), link.index)])]
                if older:
                    first = self._finding(min(older, key=self._age), back)
                    then = f"{format_number(first.value)} became finite on the way, as in 1 / inf = 0, and spoilt "
                    return replace(first, then=f"{then}{finding.name}: {finding.numbers} ({_place(tensor)})")
        return finding

    def _value(self, origin: Origin, back: bool) -> Finding:
        key, index = origin.way[0]
        tensor = self.search.graph[key[1]]
        cell, chain = Cell(tensor, index), chain_of(tensor, index)
        cause, cure = causes.of_value(cell, chain, self.search.leaves)
        if origin.mask is not None:
            cause += f". An infinity was put in at {_place(origin.mask)}"
        then, gate = self._into_gradients(origin.way) if back else (self._became_nan(origin.way), "")
        if gate == "where":
            cure = _protected(cell, gate) or cure
        return _of_cell(cell, float(cell.value), cell.numbers, cause, cure, then=then, chain=chain)

    def _share(self, tensor: Tensor, position: int, at: Index) -> Finding:
        index, share = self._cell_of_share(tensor, position, at)
        upstream = float(self.search.gradients[tensor.serial][index])
        cell, chain = Cell(tensor, index), chain_of(tensor, index)
        rule, argument = cell.rule(position, upstream, share), cell.op.argument(position)
        slopes = share_of(tensor, position, np.ones_like(tensor.data), tensor.data, *tensor.arrays)
        cause, cure = causes.of_share(cell, argument, upstream, share, float(slopes[at]), chain)
        if upstream == 0:
            because, gate = self._gate(tensor, index)
            cause += f". What comes from upstream is 0{f', because {because}' if because else ''}; but 0 * inf is NaN"
            cure = _protected(cell, gate) or cure
        numbers = f"{cell.numbers}; back to `{argument}` comes {rule or format_number(share)}"
        return _of_cell(cell, share, numbers, cause, cure, upstream=upstream if rule else None, chain=chain)

    def _cell_of_share(self, tensor: Tensor, position: int, at: Index) -> tuple[Index, float]:
        """A number of the result from which the rule made this number of a share; and what the rule made there.

        Where the input was repeated, that is before the shares of its repetitions are added up.
        """
        assert tensor.op is not None
        arguments = (self.search.gradients[tensor.serial], tensor.data, *tensor.arrays)
        x, share = (
            np.asarray(tensor.arrays[position]),
            np.asarray(tensor.op.rule(position)(*arguments, **tensor.params)),
        )
        if share.shape == tensor.shape and tensor.op.broadcasts:
            places = np.broadcast_to(np.arange(x.size).reshape(x.shape), tensor.shape)
            bad = np.flatnonzero(~np.isfinite(share) & (places == np.ravel_multi_index(at, x.shape)))
            if len(bad):
                return place(bad[0], share), float(share.flat[bad[0]])
        rule = partial(share_of, tensor, position)
        return _upstream(rule, arguments, at, tensor), float(rule(*arguments)[at])

    def _sum(self, tensor: Tensor, index: Index) -> Finding:
        value = float(self.search.gradients[tensor.serial][index])
        cause, cure = causes.overflow(tensor.dtype, "each share of this gradient is finite, and their sum")
        users = listed([user.label for user, _ in self.search.uses[tensor.serial]])
        numbers = f"the sum of the shares from {users} = {format_number(value)}"
        kind, op = ("parameter", None) if tensor.op is None else ("result", tensor.op.name)
        return Finding(kind, tensor, tensor.label, op, index, value, {}, None, numbers, line_at(tensor), cause, cure)

    def _leaf(self, origin: Origin, back: bool) -> Finding:
        user, position = self.search.taken(origin.way)
        index = origin.way[0][1]
        x, array = user.inputs[position], np.asarray(user.arrays[position])
        assert user.op is not None
        tensor = x if isinstance(x, Tensor) else None
        if tensor is not None and tensor.requires_grad:
            kind, name = "parameter", tensor.label
            cause, cure = causes.of_parameter(tensor, self.search.leaves)
        else:
            kind, name = (
                "data",
                tensor.label if tensor is not None else f"array {array.shape}" if array.ndim else "number",
            )
            cause, cure = causes.of_data(name, array)
        numbers = f"{name}{list(index) if index else ''} = {format_number(array[index])}, which is "
        numbers += f"`{user.op.argument(position)}` of {_call(user)}"
        then = self._into_gradients(origin.way)[0] if back else ""
        value, line = float(array[index]), line_at(user)
        return Finding(kind, tensor, name, None, index, value, {}, None, numbers, line, cause, cure, then)

    # ---- what became of the number

    def _became_nan(self, way: Sequence[Number]) -> str:
        """Where an infinity turned into NaN."""
        values = [self.search.array(key)[index] for key, index in way]
        later = next((n for n, value in enumerate(values) if np.isnan(value)), 0)
        if not later:
            return ""
        (_, serial), index = way[later]
        tensor = self.search.graph[serial]
        text = Cell(tensor, index).numbers
        return f"{format_number(values[0])} became NaN in {tensor.label}: {text} ({_place(tensor)})"

    def _into_gradients(self, way: Sequence[Number]) -> tuple[str, str]:
        """Why the loss is finite all the same, and how a number came into the gradients; what kept it from the loss."""
        share = next((number for number in way if number[0][0] == "share"), None)
        if share is None or len(bad_cells(self.loss.data)):
            return "", ""
        (_, serial, position), at = share
        tensor = self.search.graph[serial]
        index, value = self._cell_of_share(tensor, position, at)
        upstream = float(self.search.gradients[serial][index])
        because, gate = self._gate(tensor, index)
        rule = Cell(tensor, index).rule(position, upstream, value)
        what = rule or f"{format_number(upstream)} times a number that is not finite, which is {format_number(value)}"
        hidden = f"the loss is finite all the same: {because}. But " if because else ""
        return f"{hidden}in the backward pass the rule of {_call(tensor)} gives {what}", gate

    def _gate(self, tensor: Tensor, index: Index) -> tuple[str, str]:
        """Why the gradient of a result is 0 at this number: in words, and the name of the operation that made it 0."""
        while self.search.gradients[tensor.serial][index] == 0 and tensor.serial in self.search.uses:
            user, position = self.search.uses[tensor.serial][0]
            assert user.op is not None
            arguments = (np.ones_like(user.data), user.data, *user.arrays)
            rule = partial(share_of, user, position)
            if rule(*arguments)[index] == 0:
                other = user.inputs[1 - position] if user.op is ops.mul else None
                learnt = isinstance(other, Tensor) and other.requires_grad  # a product with what is learnt is no mask
                words = causes.GATES.get(user.op.name, f"the slope of {user.op.name} at {{}} is 0 there")
                return words.format(_place(user)), "" if learnt else user.op.name
            tensor, index = user, _upstream(rule, arguments, index, user)
        return "", ""


def _upstream(rule: Any, arguments: Sequence[Any], at: Index, tensor: Tensor) -> Index:
    """The number of a result whose gradient reaches this number of a share."""
    found = source_of(rule, arguments, 0, at)
    return found if found is not None else at if len(at) == tensor.ndim else (0,) * tensor.ndim


def _of_cell(cell: Cell, value: float, numbers: str, cause: str, cure: str, **rest: Any) -> Finding:
    """What was found at a cell of a result."""
    tensor, upstream = cell.tensor, rest.pop("upstream", None)
    return Finding(
        *("result", tensor, tensor.label, cell.op.name, cell.index, value, cell.operands, upstream, numbers),
        *(line_at(tensor), cause, cure),
        **rest,
    )


def _protected(cell: Cell, gate: str) -> str | None:
    """The cure of an infinite slope behind a choice: the choice has to be made before the operation, too."""
    name = cell.op.name
    written = {"div": "a / safe", "constant_power": "safe ** p"}.get(name, f"{name}(safe)")
    return causes.PROTECTION[gate].format(name, written) if gate in causes.PROTECTION else None


def _call(tensor: Tensor) -> str:
    """As in "#3 = exp(#2)"; of a leaf its name."""
    return tensor.label if tensor.op is None else f"{tensor.label} = {call_text(tensor.op, tensor.inputs)}"


def _place(tensor: Tensor) -> str:
    """Where a result was computed, for a sentence."""
    line = line_at(tensor)
    return line.short if line is not None else tensor.label


def _unknown(what: str) -> str:
    return f"{what}, and it could not be found out why: no operation on the way gives this again when it is run alone."
