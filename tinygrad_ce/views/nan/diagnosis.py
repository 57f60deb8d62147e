"""What `tg.why_nan` answers: who made the first number that is not finite, of which operands, why, and what helps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Tensor
from tinygrad_ce.errors import call_text
from tinygrad_ce.report.parts import Part, Report, Sentence, Table, Words
from tinygrad_ce.report.words import format_number, listed
from tinygrad_ce.source_lines import Line
from tinygrad_ce.views.nan import causes
from tinygrad_ce.views.nan.chain import Cell, Link, chain_of, line_at, shown
from tinygrad_ce.views.nan.search import Index, Number, Search, Step, Way, bad_numbers, first_cell, ordinary


@dataclass(frozen=True, eq=False)
class Finding:
    """The computation, or the leaf, that made the first number that is not finite.

    tensor: the result or leaf; None for an array or number. value: the number at `index`; of a gradient, what the rule
    gave. operands: by argument, the number that went in; an array where it was made of several (a row, a column).
    upstream: what came from the loss to this number; None in the forward pass.
    numbers: the operation, or its rule, with the operands filled in. line: of the user's code; for a leaf where it is
    used first; None where no lines are noted (`fit`). then: what became of the number on its way.
    chain: how it was made, back to ordinary numbers; each link has tensor, index, value, text and line.
    """

    tensor: Tensor | None
    name: str
    index: tuple[int, ...]
    value: float
    numbers: str
    line: Line | None
    cause: str
    cure: str
    operands: Mapping[str, Any] = field(default_factory=dict)
    upstream: float | None = None
    then: str = ""
    chain: Sequence[Link] = ()

    def __repr__(self) -> str:
        return f"<{self.what}: {self.numbers}>"

    @property
    def kind(self) -> str:
        """As in "result" (an operation's), "data" or "parameter"."""
        if self.tensor is None or not self.tensor.requires_grad:
            return "data"
        return "parameter" if self.tensor.op is None else "result"

    @property
    def op(self) -> str | None:
        """The name of the operation; None of a leaf."""
        return self.tensor.op.name if self.tensor is not None and self.tensor.op is not None else None

    @property
    def what(self) -> str:
        """As in "#17 = log(#16), element [2, 0]"."""
        text = f"the {self.kind} {self.name}" if self.tensor is None or self.tensor.op is None else _call(self.tensor)
        return f"{text}, element {list(self.index)}" if self.index else text

    @property
    def sentence(self) -> str:
        """What broke, with its numbers and the cause."""
        return f"the first is {self.what}: {self.numbers}; {self.cause}"

    @property
    def table(self) -> Table:
        """What there is to say, each with its title."""
        where = "" if self.line is None else f"{self.line.short}  {self.line.text}".strip()
        rows = [("line", where), ("numbers", self.numbers)]
        links = self.chain[1:] if len(self.chain) > 2 or len(self.operands) > 1 else ()  # else it is in the numbers
        for n, link in enumerate(links):
            place = f"  ({link.line.short})" if link.line is not None else ""
            rows.append(("" if n else "chain", link.text + place))
        rows += [("cause", Words(self.cause)), ("then", Words(self.then)), ("cure", Words(self.cure))]
        return Table([(title, text) for title, text in rows if text])


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis(Report):
    """Where the first number that is not finite came from, in the forward and in the backward pass.

    forward: what made the loss NaN or infinite; None if the loss is finite. backward: what made the gradient of a leaf
    so; None if all are finite. spoilt: the names of the leaves whose gradients are not finite; leaves: of all that want
    a gradient. stale: of those that were written to after the loss was computed, so that the backward pass can't be
    repeated. harmless: a sentence on what is not finite and spoilt nothing. As a truth value: whether any is.
    """

    loss: Tensor
    forward: Finding | None
    backward: Finding | None
    spoilt: list[str]
    leaves: list[str]
    stale: list[str]
    harmless: str

    def __bool__(self) -> bool:
        return bool(self.spoilt or self.stale or not np.isfinite(self.loss.data).all())

    @property
    def parts(self) -> list[Part]:
        """A sentence for each pass, and what was found there."""
        loss, leaves = f"({shown(self.loss.data)})", listed(self.leaves)
        if not self:
            text = f"All is finite: the loss {loss}, and the gradient of {leaves}."
            return [Sentence(x) for x in (text, self.harmless) if x]
        found: list[Part] = [Sentence(f"The loss is finite {loss}.")]
        if not np.isfinite(self.loss.data).all():
            found = _began(f"The loss is not finite {loss}", self.forward)
        what = f"The gradient of {listed(self.spoilt)} is not finite"
        if self.stale:
            text = f"The backward pass can't be repeated: {listed(self.stale)} changed after this loss was computed, "
            text += "and not to finite numbers. Call tg.why_nan(loss) before optimizer.step()."
        elif not self.spoilt:
            text = f"The gradient of {leaves} is finite."
        elif self.forward is not None and self.backward is not None and self.forward.name == self.backward.name:
            text = f"{what}, for the same reason."
        else:
            return [*found, *_began(what, self.backward)]
        return [*found, Sentence(text)]


def _began(what: str, finding: Finding | None) -> list[Part]:
    """What is said of a pass that gave a number that is not finite."""
    if finding is None:
        return [Sentence(f"{what}, and why is not known: run alone, no operation gives this again.")]
    return [Sentence(f"{what}. It began at {finding.what}"), finding.table]


class Examination:
    """One look at a recorded loss: the origins that a search finds are turned into findings."""

    def __init__(self, loss: Tensor) -> None:
        self.loss, self.search = loss, Search(loss)
        self.finite = bool(np.isfinite(loss.data).all())

    def diagnosis(self) -> Diagnosis:
        """Why the loss is not finite, and why the gradients are not."""
        search = self.search
        forward = self._first(bad_numbers([search.values[self.loss.serial]]))
        bad = [] if search.stale else bad_numbers(search.gradients[x.serial] for x in search.leaves)
        spoilt, stale = [step.tensor.label for step, _ in bad], [x.label for x in search.stale]
        harmless = "" if spoilt or stale or not self.finite else self._harmless()
        leaves = [x.label for x in search.leaves]
        return Diagnosis(self.loss, forward, self._first(bad), spoilt, leaves, stale, harmless)

    def _harmless(self) -> str:
        """What is not finite on the way, although nothing came of it."""
        for step, index in bad_numbers([*self.search.values.values(), *self.search.gradients.values()])[:1]:
            what = ("the gradient of " if step.kind == "gradient" else "") + _call(step.tensor)
            value = format_number(step.array[index]) + (f" at {list(index)}" if index else "")
            return f"On the way {what} is {value} ({_place(step.tensor)}); nothing that is not finite came of it."
        return ""

    def _first(self, goals: Sequence[Number]) -> Finding | None:
        """The first, in the order of the passes, that has spoilt one of these; None if nobody can be named."""
        ways = [*self.search.ways(goals)]
        if any(np.isnan(np.asarray(step.array)[index]) for (step, index), *_ in ways):
            ways = [way for way in ways if not self.search.met_nan(way)]
        origins = [self._blamed(way) for way in ways]
        return self._finding(*min(origins, key=lambda origin: _age(origin[0]))) if origins else None

    def _blamed(self, way: Way) -> tuple[Way, Tensor | None]:
        """The way, and None; of an infinity that was put in on purpose, the way from where it did harm, and by whom.

        Harm is done by the first operation that makes NaN of it or is not defined there.
        """
        (step, index), *rest = way
        if step.run is not None or (step.tensor is not None and step.tensor.requires_grad):
            return way, None
        user, value = rest[0][0].tensor, np.asarray(step.array)[index]
        chosen = user.op in (ops.where, ops.maximum, ops.minimum) and np.isinf(value)
        if not chosen and not (user.op is ops.add and value == -np.inf):
            return way, None
        for n, (later, at) in enumerate(rest, start=1):
            if np.isnan(later.array[at]) or (later.kind == "value" and causes.violated(Cell(later.tensor, at))):
                return way[n:], user
        return way, user

    def _finding(self, way: Way, mask: Tensor | None) -> Finding:
        """What is said of an origin. mask: the result for which an infinity was put in that has become this number."""
        step, index = way[0]
        if step.run is None:
            return self._input(way)
        if step.kind == "gradient":
            return self._sum(step, index)
        finding = self._operation(way)
        if mask is not None:
            return replace(finding, cause=f"{finding.cause}. An infinity was put in at {_place(mask)}")
        for link in finding.chain[1:]:
            if link.tensor.op is not None and not np.isfinite(link.value):  # 1 / inf is 0: whoever made the infinity
                first = self._first([(self.search.values[link.tensor.serial], link.index)])
                if first is not None:
                    then = f"{format_number(first.value)} became finite on the way, as in 1 / inf = 0, and spoilt "
                    return replace(first, then=f"{then}{finding.name}: {finding.numbers} ({_place(step.tensor)})")
        return finding

    def _input(self, way: Way) -> Finding:
        """Data or a parameter that was not finite when it came in."""
        (step, index), (user, _) = way[:2]
        array, taker = np.asarray(step.array), user.tensor
        name = step.tensor.label if step.tensor is not None else f"array {array.shape}" if array.ndim else "number"
        number = f"{name}{list(index) if index else ''} = {format_number(array[index])}"
        numbers = f"{number}, which is `{taker.op.argument(user.sources.index(step))}` of {_call(taker)}"
        is_parameter = step.tensor is not None and step.tensor.requires_grad
        why = causes.of_parameter(name, self.search.leaves) if is_parameter else causes.of_data(name, array)
        then, _ = self._then(way)
        return Finding(step.tensor, name, index, float(array[index]), numbers, line_at(taker), *why, then=then)

    def _sum(self, step: Step, index: Index) -> Finding:
        """A gradient that is not finite although each of its shares is."""
        tensor, value = step.tensor, float(step.array[index])
        why = causes.overflow(tensor.dtype, "each share of this gradient is finite, and their sum", self.search.leaves)
        users = listed([x.tensor.label for x in step.sources])
        numbers = f"the sum of the shares from {users} = {format_number(value)}"
        return Finding(tensor, tensor.label, index, value, numbers, line_at(tensor), *why)

    def _operation(self, way: Way) -> Finding:
        """An operation that made a number that is not finite, or whose rule did."""
        step, at = way[0]
        tensor, value = step.tensor, float(step.array[at])
        upstream, slope, because, then = None, None, "", ""
        if step.kind == "value":
            cell, (then, gate) = Cell(tensor, at), self._then(way)
            numbers, given, is_protected = cell.numbers, cell.given, gate == "where"
        else:
            cell, upstream, rule, because, gate = self._sent_back(step, at)
            back = rule or format_number(value)
            numbers = f"{cell.numbers}; back to `{cell.op.argument(step.position)}` comes {back}"
            given, is_protected = f"upstream {format_number(upstream)} and {cell.given}", gate in causes.GATES
            *arguments, gradient = [source.array for source in step.sources]
            slope = np.asarray(step.run(*arguments, np.ones_like(gradient)))[at]
        chain = chain_of(tensor, cell.index)
        cause, cure = causes.of_operation(cell, chain, given, self.search.leaves, slope)
        if upstream == 0:
            cause += f". What comes from upstream is 0{because and f', because {because}'}; but 0 * inf is NaN"
        cure = causes.protected(cell.op.name) if is_protected else cure
        start = (tensor, tensor.label, cell.index, value, numbers, line_at(tensor), cause, cure)
        return Finding(*start, cell.operands, upstream, then, chain)

    def _then(self, way: Way) -> tuple[str, str]:
        """Where an infinity became NaN, or how a number came into the gradients; and what kept it from the loss."""
        (first, at), *rest = way
        start = np.asarray(first.array)[at]
        for step, index in rest:
            tensor, number = step.tensor, step.array[index]
            if step.kind == "value" and not self.finite and np.isnan(number) and np.isinf(start):
                verb = "met" if self.search.met_nan(way) else "became"
                what = f"{format_number(start)} {verb} NaN in {tensor.label}"
                return f"{what}: {Cell(tensor, index).numbers} ({_place(tensor)})", ""
            if step.kind == "share" and self.finite:
                _, sent, rule, because, gate = self._sent_back(step, index)
                rule = rule or f"{format_number(sent)} times what is not finite, which is {format_number(number)}"
                hidden = f"the loss is finite all the same: {because}. But " if because else ""
                return f"{hidden}in the backward pass the rule of {_call(tensor)} gives {rule}", gate
        return "", ""

    def _sent_back(self, share: Step, at: Index) -> tuple[Cell, float, str | None, str, str]:
        """Of a number of a share: the number of the result that it came from, the gradient there, the rule, `_gate`."""
        gradient = share.sources[-1].array
        likely = np.asarray((gradient == 0) == np.isnan(share.array[at]))  # inf * 0 is NaN, inf * others is not
        cell = Cell(share.tensor, _upstream(share, at, likely) or (0,) * gradient.ndim)
        upstream = float(gradient[cell.index])
        rule = cell.rule(share.position, upstream, float(share.array[at]))
        return cell, upstream, rule, *self._gate(share.tensor, cell.index)

    def _gate(self, tensor: Tensor, index: Index) -> tuple[str, str]:
        """Why the gradient of a result is 0 at this number: in words, and the name of the operation that made it 0."""
        gradient = self.search.gradients[tensor.serial]
        while gradient.array[index] == 0 and gradient.sources:
            share = gradient.sources[0]
            gradient, user = share.sources[-1], share.tensor
            at = _upstream(share, index, np.asarray(gradient.array != 0))
            if at is None or gradient.array[at] != 0:
                other = user.inputs[1 - share.position] if user.op is ops.mul else None
                learnt = isinstance(other, Tensor) and other.requires_grad  # a product with what is learnt is no mask
                words = causes.GATES.get(user.op.name, f"the slope of {user.op.name} at {{}} is 0 there")
                return words.format(_place(user)), "" if learnt else user.op.name
            index = at
        return "", ""


def _age(way: Way) -> tuple[bool, float, Index]:
    """For sorting: the forward pass from the oldest result on, then the backward pass from the youngest."""
    step, index = way[0]
    if step.run is None:
        return False, way[1][0].tensor.serial - 0.5, index
    return step.kind != "value", step.tensor.serial if step.kind == "value" else -step.tensor.serial, index


def _upstream(share: Step, at: Index, likely: Any) -> Index | None:
    """The number of a result whose gradient reaches this number of a share; of several the first that is likely."""
    arguments = [ordinary(x.array, 1.0) for x in share.sources]  # 1 is no hole of any usual function
    cells = np.argsort(~likely.ravel(), kind="stable")
    return first_cell(share.run, arguments, len(arguments) - 1, at, cells)


def _call(tensor: Tensor) -> str:
    """As in "#3 = exp(#2)"; of a leaf its name."""
    return tensor.label if tensor.op is None else f"{tensor.label} = {call_text(tensor.op, tensor.inputs)}"


def _place(tensor: Tensor) -> str:
    """Where a result was computed, for a sentence."""
    line = line_at(tensor)
    return line.short if line is not None else tensor.label
