"""Why a number is not finite, and what helps: from the domain that each operation declares beside its rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.graph.expressions import names_in, parsed
from tinygrad_ce.report.words import format_number, listed
from tinygrad_ce.views.nan.chain import SHOWN, Cell, Link, shown

HUGE = 1e6  # a parameter beyond this has not learnt that, it has blown up
SMALLER = "make the numbers smaller: standardise the inputs, start with smaller weights, take a smaller learning rate"
FUNCTIONS = {name: getattr(np, name) for name in ("abs", "exp", "inf", "log", "max", "min", "pi", "sqrt")}
WHOLE = " % 1 == 0"  # nobody reads that as it is meant
BLOWN_UP = "start again from fresh parameters with a smaller learning rate, clip_norm=1.0 and standardised inputs"
FINITE = "replace infinities first, tg.ops.where(mask, x, 0); a * log(b) with 0 * log(0) = 0 is tg.ops.xlogy(a, b)"

GATES = {  # why nothing comes back to a number, by the operation that sent 0
    "where": "the `where` at {} did not take this branch",
    "mul": "it is multiplied by 0 at {}",
    "getitem": "it is not among the elements that were taken at {}",
    "pick": "it is not the element that was picked at {}",
}

Why: TypeAlias = tuple[str, str]  # the cause, and the cure


def violated(cell: Cell, slope: bool = False, rounding: bool = False) -> Why | None:
    """The first condition that the operation declares and that does not hold for a cell, with its numbers; the cure.

    slope: those for a finite slope. rounding: only those of the result, such as "out > 0".
    """
    operands = {**cell.operands, **cell.tensor.params}
    known = {**FUNCTIONS, **operands, "out": cell.value, "rows": np.arange(len(np.atleast_1d(cell.tensor.arrays[0])))}
    known |= {"largest": float(np.finfo(cell.tensor.dtype).max), "dtype": str(cell.tensor.dtype), "op": cell.op.name}
    for of_value, cure, of_slope, words in cell.op.domains:
        condition = of_slope if slope else of_value
        holds = np.asarray(_evaluated(cell, condition, known))
        names = sorted(names_in(parsed(condition)), key=condition.index)
        if holds.all() or rounding is not ("out" in names):
            continue
        rounded = {name: float(format_number(x)) for name, x in operands.items() if type(x) is float}
        digits = 17 if np.all(_evaluated(cell, condition, {**known, **rounded})) else 4  # 1.0000000000000002 is not 1
        given = [f"{name} = {shown(operands[name], digits)}" for name in names if name in operands]
        if given and isinstance(cell.inputs.get(names[0]), (np.ndarray, np.generic)):
            given[0] += " (computed outside of the graph)"
        row = f"in row {np.argmin(holds.reshape(len(holds), -1).all(1))} " if holds.ndim else ""
        words = words or f"{{op}} needs {condition.replace(WHOLE, ' is a whole number')}"
        return f"{_evaluated(cell, f'f{words!r}', known)}, and here {row}{', '.join(given)}", cure
    return None


def _evaluated(cell: Cell, expression: str, known: dict[str, Any]) -> Any:
    """The value of what a domain declares; True where these numbers have none: then it says nothing about them."""
    try:
        return eval(expression, {"__builtins__": {}}, known)
    except (NameError, SyntaxError) as error:
        what = f"{cell.op.name}.domain: {expression!r} can't be evaluated ({error.args[0]})"
        raise ValueError(f"{what}; write Python with {listed([*known], most=20)}") from None
    except Exception:
        return True


def of_operation(
    cell: Cell, chain: Sequence[Link], given: str, leaves: Sequence[Tensor], slope: float | None = None
) -> Why:
    """Why an operation made a number that is not finite of finite ones, or NaN of infinities that were intended.

    given: what it made it of. slope: for the rule of an input, what it gives for an upstream of 1; else None.
    """
    name, why = cell.op.name, violated(cell, slope is not None)
    if why is not None:
        cause, cure = why
        if slope is not None:
            at = ", ".join(map(shown, cell.operands.values()))
            what = "infinite" if np.isinf(slope) else "not defined"
            cause = f"the slope of {name} at {at if len(cell.operands) == 1 else f'({at})'} is {what}: {cause}"
        for link in chain[1:]:
            rounded = None if link.tensor.op is None else violated(Cell(link.tensor, link.index), rounding=True)
            if link.tensor.op is not None and rounded is not None:
                return f"{cause}; {link.tensor.op.name} rounds to {format_number(link.value)}", rounded[1]
        return cause, cure
    is_short = all(np.size(x) <= SHOWN for x in cell.operands.values())
    expression = cell.numbers.rpartition(" = ")[0] if is_short else f"this {name}"
    if slope is None and not all(np.isfinite(np.asarray(x, float)).all() for x in cell.operands.values()):
        return f"there is no number for {expression}", FINITE
    if not cell.op.body.__module__.startswith("tinygrad_ce."):
        return f"no usual cause is known for {given}", f"{name}.domain(...) can say where it is defined, and what helps"
    if slope is not None:
        return overflow(np.asarray(cell.tensor.arrays[0]).dtype, f"what comes back from {name}", leaves)
    return overflow(cell.tensor.dtype, expression, leaves)


def protected(name: str) -> str:
    """The cure of an infinite slope behind a choice: the choice has to be made before the operation, too."""
    written = {"div": "a / safe", "constant_power": "safe ** p"}.get(name, f"{name}(safe)")
    return (
        f"no `where`, mask or index behind {name} protects it: pick first and apply {name} then, or make the input "
        f"safe with a second `where`: safe = tg.ops.where(good, x, 1.0), then tg.ops.where(good, {written}, 0.0)"
    )


def overflow(dtype: Any, what: str, leaves: Sequence[Tensor]) -> Why:
    """That a number is too large for its dtype, and whether parameters are to blame."""
    cause = f"{what} is beyond {format_number(np.finfo(dtype).max)}, the largest number that {dtype} holds"
    wider = "; or compute in float64" if dtype.itemsize < 8 else ""
    sizes = {leaf.label: np.abs(leaf.data[np.isfinite(leaf.data)]).max(initial=0) for leaf in leaves}
    huge = [f"{label} (up to {format_number(size)})" for label, size in sizes.items() if size > HUGE]
    if huge:
        return f"{cause}. Huge already: {listed(huge)}; mostly that is a learning rate that blew up", BLOWN_UP + wider
    return cause, SMALLER + wider


def of_data(name: str, array: Array) -> Why:
    """Data that was not finite when it came in."""
    if array.size == 1:
        return f"{name} is {format_number(array.item())} itself", "pass a finite number"
    bad, is_table = np.argwhere(~np.isfinite(array)), array.ndim > 1
    kinds = " or ".join(word for word, look in (("NaN", np.isnan), ("infinite", np.isinf)) if look(array).any())
    axes = {"row": bad[:, 0], "column": bad[:, -1]} if is_table else {"position": bad[:, 0]}
    where = " and ".join(_places(*axis) for axis in axes.items())
    count = f"{len(bad)} of {array.size} numbers {'is' if len(bad) == 1 else 'are'} {kinds}"
    cause = f"{name} is not finite itself: {count}, in {where}. It came in like that, or was computed "
    cause += "outside of the graph"
    if (array[~np.isfinite(array)] == -np.inf).all():
        cause += " (np.log(0) is -inf)"
    elif " or " in kinds:
        cause += " (mask * np.inf gives both: 0 * inf is NaN; np.where(mask, np.inf, 0) does not)"
    finite = {1: "", 2: ".all(axis=-1)"}.get(array.ndim, f".all(axis={tuple(range(1, array.ndim))})")
    drop = f"drop {'these rows' if is_table else 'them'}, x = x[np.isfinite(x){finite}]"
    return cause, f"look at the data there; {drop}, or fill them (with the mean of the column, say) before training"


def _places(word: str, numbers: Array) -> str:
    several = np.unique(numbers).tolist()
    return f"{word}{'s' if len(several) > 1 else ''} {listed(several, most=5)}"


def of_parameter(name: str, leaves: Sequence[Tensor]) -> Why:
    """A parameter that was not finite before the pass began. leaves: all of the graph."""
    bad = {x.label: np.sum(~np.isfinite(x.data)) for x in leaves}
    counts = listed([f"{x.label} ({bad[x.label]} of {x.size} numbers)" for x in leaves if bad[x.label]])
    cause = f"the parameter {name} is not finite itself; not finite are {counts}. Most often an optimizer wrote that: "
    cause += "a learning rate that blew up, or a step with a gradient that was NaN"
    return cause, f"{BLOWN_UP}; ask tg.why_nan(loss) in the step before this one, which was still finite"
