"""From suspects to findings: who is to blame becomes a diagnosis with numbers, a line, a cause and a cure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.errors import call_text
from tinygrad_ce.report.words import format_number
from tinygrad_ce.source_lines import Line, line_of
from tinygrad_ce.views.nan import causes, slopes
from tinygrad_ce.views.nan.blame import Search, Suspect, Trail, quiet, share_of, source_of_share
from tinygrad_ce.views.nan.diagnosis import Diagnosis, Finding, listed
from tinygrad_ce.views.nan.operands import made, sent_back, shown


def diagnosed(loss: Tensor) -> Diagnosis:
    """The diagnosis of a loss that was recorded."""
    with quiet():
        return Examination(Search(loss)).diagnosis()


def cause_of(tensor: Tensor) -> str:
    """Why a result is not finite, in one sentence; "" if it is, or if it could not be found out."""
    with quiet():
        finding = Examination(Search(tensor)).forward()
    return "" if finding is None else finding.cause


def first_spoilt(of: Tensor) -> Tensor | None:
    """The oldest result or parameter that has made this one NaN or infinite; None if it is finite."""
    with quiet():
        examination = Examination(Search(of))
        blamed = examination.search.blamed_for_loss()
        finding = examination.forward()
    if blamed is None or finding is None:
        return None
    if finding.tensor is not None and finding.tensor.requires_grad:
        return finding.tensor
    spoilt = (examination.search.graph.get(key[1]) for key in blamed[1].order if key[0] == "value")
    return next((tensor for tensor in spoilt if tensor is not None), None)


class Examination:
    """One look at a recorded loss: its suspects are turned into findings."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.leaves = [leaf for leaf in search.leaves if search.uses(leaf)]

    def forward(self) -> Finding | None:
        """Why the loss is not finite; None if it is."""
        blamed = self.search.blamed_for_loss()
        return None if blamed is None else self._finding(*blamed)

    def diagnosis(self) -> Diagnosis:
        """Why the loss is not finite, and why the gradients are not."""
        search, loss = self.search, self.search.loss
        remarks: list[str] = []
        forward = self.forward()
        if forward is None and search.bad(("value", loss.serial)) is not None:
            remarks.append(_unknown(f"The loss is {shown(loss.data)}"))
        backward, spoilt = None, []
        stale = [leaf.label for leaf in search.stale]
        if stale:
            finite = "" if forward is not None else f"The loss is finite ({shown(loss.data)}). "
            remarks.append(
                f"{finite}The backward pass can't be looked at any more: {listed(stale)} changed after this loss was "
                "computed, and what was written there is not finite. Call tg.why_nan(loss) before optimizer.step()."
            )
        else:
            blamed = search.blamed_for_gradients()
            spoilt = [x.label for x in self.leaves if search.bad(("gradient", x.serial)) is not None]
            backward = None if blamed is None else self._finding(*blamed, back=True)
            if blamed is None and spoilt:
                remarks.append(_unknown(f"The gradient of {', '.join(spoilt)} is not finite"))
        if forward is None and backward is None and not remarks:  # all is finite
            remarks += self._harmless()
        return Diagnosis(loss, forward, backward, spoilt, [leaf.label for leaf in self.leaves], stale, remarks)

    def _harmless(self) -> list[str]:
        found = self.search.first_on_the_way()
        if found is None:
            return []
        kind, tensor = found
        cells = self.search.bad((kind, tensor.serial))
        assert cells is not None
        index = _first(cells)
        array = tensor.data if kind == "value" else self.search.gradients[tensor.serial]
        whose = "" if kind == "value" else "the gradient of "
        made = f" = {call_text(tensor.op, tensor.inputs)}" if tensor.op is not None else ""
        at = f" at {list(index)}" if index else ""
        line = _line(tensor)
        where = f" ({line.short})" if line is not None else ""
        what = f"{whose}{tensor.label}{made} is {format_number(array[index])}{at}{where}"
        return [f"On the way {what}; nothing that is not finite came of it."]

    # ---- findings

    def _finding(self, suspect: Suspect, trail: Trail, back: bool = False) -> Finding:
        if suspect.kind == "leaf":
            masked = self._masked(suspect, back)
            return masked or self._leaf(suspect, trail, back)
        older = None if suspect.kind == "sum" else self.search.behind(suspect)
        if older is not None:
            return self._behind(older, suspect, back)
        if suspect.kind == "value":
            return self._value(suspect, trail, back)
        if suspect.kind == "share":
            assert suspect.position is not None
            return self._share(suspect.tensor, suspect.position, suspect.cells)
        return self._sum(suspect)

    def _case(self, tensor: Tensor, index: tuple[int, ...], value: float) -> causes.Case:
        return causes.Case(tensor, index, made(tensor, index), value, self._users, self.leaves)

    def _users(self, tensor: Tensor) -> list[Tensor]:
        return [user for user, _ in self.search.uses(tensor)]

    def _value(self, suspect: Suspect, trail: Trail, back: bool) -> Finding:
        tensor, index = suspect.tensor, _first(suspect.cells)
        value = float(tensor.data[index])
        case = self._case(tensor, index, value)
        cause, cure = causes.forward(case)
        then = self._met(trail) if back else self._became_nan(suspect, value)
        if back and self._protected(trail) == "where" and not cause.endswith("by hand"):
            cure = slopes.safe_input(_name(tensor), "where")  # what is written by hand has a better cure: ours
        return _of(tensor, index, value, case, None, case.made.text, cause, cure, then)

    def _behind(self, older: Suspect, suspect: Suspect, back: bool) -> Finding:
        """An infinity that became finite on the way, 1 / inf = 0 for one, and a number that was spoilt by that."""
        tensor = suspect.tensor
        if suspect.position is None:
            index = _first(suspect.cells)
        else:
            index, _ = self._cell_of_share(tensor, suspect.position, suspect.cells)
        leaf = older.kind == "leaf"
        finding = self._leaf(older, Trail(), back) if leaf else self._value(older, Trail(), back)
        text = made(tensor, index).text
        then = f"{format_number(finding.value)} became finite on the way, as in 1 / inf = 0, "
        then += f"and spoilt {tensor.label}: {text}"
        return replace(finding, then=f"{then} ({_at(tensor)})")

    def _share(self, tensor: Tensor, position: int, cells: Array) -> Finding:
        assert tensor.op is not None
        index, share = self._cell_of_share(tensor, position, cells)
        upstream = float(self.search.gradients[tensor.serial][index])
        case = self._case(tensor, index, share)
        argument = tensor.op.argument(position)
        zero, step = self._zero(tensor, index) if upstream == 0 else ("", "")
        rule = sent_back(tensor, position, index, upstream, share) if case.made.alone else None
        alone = upstream if rule is not None else None
        dtype = np.asarray(tensor.arrays[position]).dtype
        cause, cure = slopes.backward(slopes.Share(case, argument, dtype, alone, zero, step))
        numbers = f"{case.made.text}; back to `{argument}` comes {rule or format_number(share)}"
        return _of(tensor, index, share, case, alone, numbers, cause, cure)

    def _cell_of_share(self, tensor: Tensor, position: int, cells: Array) -> tuple[tuple[int, ...], float]:
        """A number of the result from which the rule made one of these cells; and what the rule made there.

        Where the input was repeated, that is before the shares of its repetitions are added up.
        """
        assert tensor.op is not None
        first, shape = _first(cells), cells.shape
        upstream = self.search.gradients[tensor.serial]
        whole = np.asarray(tensor.op.rule(position)(upstream, tensor.data, *tensor.arrays, **tensor.params))
        if whole.shape == tensor.shape and tensor.op.broadcasts:
            places = np.broadcast_to(np.arange(cells.size).reshape(shape), tensor.shape)
            bad = ~np.isfinite(whole) & (places == np.ravel_multi_index(first, shape))
            if bad.any():
                return _first(bad), float(whole[_first(bad)])
        share = share_of(tensor, position, upstream, tensor.data, tensor.arrays)
        return source_of_share(tensor, position, first), float(share[first])

    def _sum(self, suspect: Suspect) -> Finding:
        tensor, index = suspect.tensor, _first(suspect.cells)
        value = float(self.search.gradients[tensor.serial][index])
        cause, cure = causes.sum_of_shares(str(tensor.dtype), float(np.finfo(tensor.dtype).max))
        kind = "parameter" if tensor.op is None else "result"
        name = None if tensor.op is None else tensor.op.name
        users = ", ".join(user.label for user in self._users(tensor))
        numbers = f"the sum of the shares from {users} = {format_number(value)}"
        return Finding(kind, tensor, tensor.label, name, index, value, {}, None, numbers, _line(tensor), cause, cure)

    # ---- leaves

    def _leaf(self, suspect: Suspect, trail: Trail, back: bool) -> Finding:
        user, position = suspect.tensor, suspect.position
        assert position is not None
        assert user.op is not None
        x, array = user.inputs[position], np.asarray(user.arrays[position])
        tensor = x if isinstance(x, Tensor) else None
        index = _first(suspect.cells)
        cells = self.search.bad(suspect.key)
        assert cells is not None
        argument = user.op.argument(position)
        if tensor is not None and tensor.requires_grad:
            kind, name = "parameter", tensor.label
            cause, cure = causes.parameter(tensor, [leaf for leaf in self.leaves if leaf is not tensor])
        else:
            kind = "data"
            name = tensor.label if tensor is not None else f"array {array.shape}" if array.ndim else "number"
            cause, cure = causes.data(name, array, cells)
        value = float(array[index])
        at = list(index) if index else ""
        numbers = f"{name}{at} = {format_number(value)}, which is `{argument}` of {user.label} = {user.op.name}(...)"
        then = self._met(trail) if back else ""
        return Finding(kind, tensor, name, None, index, value, {}, None, numbers, _line(user), cause, cure, then)

    def _masked(self, suspect: Suspect, back: bool) -> Finding | None:
        """An infinity that was put in on purpose is no fault: that is the operation that could not work with it."""
        user, position = suspect.tensor, suspect.position
        assert position is not None
        x = user.inputs[position]
        array = np.asarray(user.arrays[position])
        bad = array[~np.isfinite(array)]
        by_choice = user.op in (ops.where, ops.maximum, ops.minimum) and not np.isnan(bad).any()
        by_sum = user.op is ops.add and (bad == -np.inf).all()
        if (isinstance(x, Tensor) and x.requires_grad) or not (by_choice or by_sum):
            return None
        trail = self.search.spoilt_by(suspect, back)
        for look in (_is_nan, _is_of_rows):
            for key in trail.order:
                tensor = self.search.graph.get(key[1]) if key[0] in ("value", "share") else None
                if tensor is None or tensor.op is None:
                    continue
                if key[0] == "share":
                    return self._share(tensor, key[2], trail.marks[key])
                cells = trail.marks[key] & look(tensor)
                if not cells.any():
                    continue
                case = self._case(tensor, _first(cells), float(tensor.data[_first(cells)]))
                cause, cure = causes.forward(case)
                cause += f". The {format_number(bad[0])} was put in at {_at(user)}"
                if tensor.op is ops.sub:
                    cause += "; where all of a row is masked, no finite number is left in it"
                return _of(tensor, case.at, case.value, case, None, case.made.text, cause, cure)
        return None

    # ---- stories

    def _became_nan(self, suspect: Suspect, value: float) -> str:
        """Where an infinity turned into NaN."""
        if np.isnan(value) or not np.isnan(self.search.loss.data).any():
            return ""
        tensor, trail = suspect.tensor, self.search.spoilt_by(suspect, back=False)
        for key in trail.order:
            later = self.search.graph[key[1]] if key[0] == "value" else None
            if later is None or later.op is None or later is tensor:
                continue
            nan = trail.marks[key] & np.isnan(later.data)
            if nan.any():
                text = made(later, _first(nan)).text
                return f"{format_number(value)} became NaN in {later.label}: {text} ({_at(later)})"
        return ""

    def _entry(self, trail: Trail) -> tuple[Tensor, int, tuple[int, ...]] | None:
        """The rule in which numbers of the forward pass first spoilt a gradient, and where in its result."""
        for key in trail.order:
            if key[0] != "share" or ("gradient", key[1]) in trail.marks:
                continue
            tensor = self.search.graph[key[1]]
            cells = trail.marks.get(("value", tensor.serial))
            if cells is None:
                return tensor, key[2], self._cell_of_share(tensor, key[2], trail.marks[key])[0]
            return tensor, key[2], _first(cells)
        return None

    def _met(self, trail: Trail) -> str:
        """Why the loss is finite all the same, and how the number came into the gradients."""
        entry = self._entry(trail)
        if entry is None or self.search.bad(("value", self.search.loss.serial)) is not None:
            return ""
        tensor, position, index = entry
        upstream = self.search.gradients[tensor.serial][index]
        because, _ = self._zero(tensor, index)
        key = ("share", tensor.serial, position)
        _, share = self._cell_of_share(tensor, position, trail.marks[key])
        rule = sent_back(tensor, position, index, float(upstream), share)
        what = rule or f"{format_number(upstream)} times a number that is not finite, which is {format_number(share)}"
        hidden = f"the loss is finite all the same: {because}. But " if because else ""
        return f"{hidden}in the backward pass the rule of {tensor.label} = {_name(tensor)} gives {what}"

    def _protected(self, trail: Trail) -> str:
        """The operation that kept the number away from the loss; "" if it is not known."""
        entry = self._entry(trail)
        return "" if entry is None else self._zero(entry[0], entry[2])[1]

    def _zero(self, tensor: Tensor, index: tuple[int, ...]) -> tuple[str, str]:
        """Why the gradient of a result is 0 at this number: in words, and the name of the operation that made it 0."""
        seen = self.search.gradients[tensor.serial]
        while seen[index] == 0 and self.search.uses(tensor):
            user, position = self.search.uses(tensor)[0]
            op = user.op
            assert op is not None
            source = self._source_of_share(user, position, index)
            if source is None:
                return _why_zero(user, _at(user)), "" if _is_gated(user, position) else op.name
            tensor, index = user, source
            seen = self.search.gradients[tensor.serial]
        return "", ""

    def _source_of_share(self, user: Tensor, position: int, index: tuple[int, ...]) -> tuple[int, ...] | None:
        """A number of upstream that reaches this number of a share; None if the slope is 0 for all of them."""
        ones = np.ones(user.shape, user.dtype)
        if share_of(user, position, ones, user.data, user.arrays)[index] == 0:
            return None
        return source_of_share(user, position, index)


def _is_gated(user: Tensor, position: int) -> bool:
    """Whether this is a product with something that is learnt, and no mask."""
    other = user.inputs[1 - position] if user.op is ops.mul else None
    return isinstance(other, Tensor) and other.requires_grad


def _why_zero(user: Tensor, at: str) -> str:
    words = {
        "where": f"the `where` at {at} did not take this branch",
        "mul": f"it is multiplied by 0 at {at}",
        "getitem": f"it is not among the elements that were taken at {at}",
        "pick": f"it is not the element that was picked at {at}",
        "relu": f"the relu at {at} is flat there",
        "clip": f"the clip at {at} is flat there",
    }
    return words.get(_name(user), f"the slope of {_name(user)} at {at} is 0 there")


def _is_nan(tensor: Tensor) -> Any:
    return np.isnan(tensor.data)


def _is_of_rows(tensor: Tensor) -> Any:
    """For operations on whole rows, in which a mask is meant to be: all cells."""
    return _name(tensor) in ("softmax", "log_softmax", "logsumexp", "xent", "soft_xent", "reduce_max", "reduce_min")


def _of(
    tensor: Tensor,
    index: tuple[int, ...],
    value: float,
    case: causes.Case,
    upstream: float | None,
    numbers: str,
    cause: str,
    cure: str,
    then: str = "",
) -> Finding:
    return Finding(
        *("result", tensor, tensor.label, _name(tensor), index, value, case.made.operands, upstream, numbers),
        *(_line(tensor), cause, cure, then),
    )


def _name(tensor: Tensor) -> str:
    return "" if tensor.op is None else tensor.op.name


def _line(tensor: Tensor) -> Line | None:
    return None if tensor.note is None else line_of(tensor.note)


def _at(tensor: Tensor) -> str:
    """Where a result was computed, for a sentence."""
    line = _line(tensor)
    return line.short if line is not None else tensor.label


def _first(cells: Array) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(cells)), cells.shape))


def _unknown(what: str) -> str:
    return f"{what}, and it could not be found out why: no operation on the way gives this again when it is run alone."
