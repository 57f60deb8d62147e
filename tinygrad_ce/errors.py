"""Why a call or a backward pass failed, in words: what happened, on which operation, with which shapes, what to do.

Nothing here runs before something has failed.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Container
from functools import partial
from itertools import islice
from types import CodeType
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.ancestry import edges, reachable
from tinygrad_ce.core import Primitive, Rule, Tensor
from tinygrad_ce.missing_names import unknown_keyword as unknown_keyword
from tinygrad_ce.report.words import format_number
from tinygrad_ce.source_lines import line_of

Reason = Callable[..., str | None]
REASONS: dict[Primitive, Reason] = {}


def explains(op: Primitive) -> Callable[[Reason], Reason]:
    """Register a function of a primitive's inputs that says why its body refused them (or None if it can't tell)."""

    def register(reason: Reason) -> Reason:
        REASONS[op] = reason
        return reason

    return register


def explained(error: Exception, op: Primitive, inputs: tuple[Any, ...]) -> Exception:
    """The same kind of error, saying what happened, on which operation and arguments, with which shapes."""
    replaced = next((r for x in inputs if isinstance(x, Tensor) and (r := replaced_data(x)) is not None), None)
    if replaced is not None:
        return replaced
    kind = next(kind for kind in (TypeError, IndexError, AttributeError, ValueError) if isinstance(error, kind))
    if error.__cause__ is not None and str(error).startswith(f"{op.name}: "):  # the same call, with a list as an array
        return kind(str(error))
    arrays = [value.data if isinstance(value, Tensor) else value for value in inputs]
    reason = REASONS[op](*arrays) if op in REASONS else None
    if reason is None:
        names = [*op.arguments[: len(arrays)]]
        if op.starred:
            names = [*op.arguments[:-1], *(f"{op.starred}[{i}]" for i in range(len(arrays)))]
        shapes = [f"{n} has shape {np.shape(a)}" for n, a in zip(names, arrays, strict=False) if np.ndim(a)]
        reason = "; ".join([" and ".join(shapes), str(error)] if shapes else [str(error)])
    start = "" if reason.startswith(f"{op.name}: ") else f"{op.name}: "
    return kind(f"{start}{reason} ({call_text(op, inputs)})")


def call_text(op: Primitive, inputs: tuple[Any, ...]) -> str:
    """How a call is written in errors and pictures: `matmul(#11, layers.0.W)`."""
    return f"{op.name}({', '.join(value_text(value) for value in inputs)})"


def value_text(value: Any) -> str:
    """How an input is written: the label of a tensor, the shape of an array, a number as it is, NumPy's short."""
    if isinstance(value, Tensor):
        return value.label
    if isinstance(value, np.generic):
        return format_number(value)
    return f"array{np.shape(value)}" if np.ndim(value) else repr(value)


def not_static(op: Primitive, params: dict[str, Any]) -> TypeError:
    """A tensor or array was passed by keyword."""
    name, value = next((n, v) for n, v in params.items() if isinstance(v, (Tensor, np.ndarray)))
    if name in op.arguments:
        return TypeError(f"{op.name}: {name} is a value; pass it by its position, without {name}=")
    kind = "a Tensor" if isinstance(value, Tensor) else "an array"
    return TypeError(
        f"{op.name}: {name}= is a static parameter (it is printed as a literal) and cannot be {kind}; "
        "pass a Python value"
    )


def wrong_arguments(rule: Rule, op: Primitive) -> TypeError:
    """A rule takes other arguments than its primitive hands it."""
    code = rule.__code__
    names = list(code.co_varnames[: code.co_argcount])
    if code.co_flags & 4:  # inspect.CO_VARARGS
        names.append("*" + code.co_varnames[code.co_argcount + code.co_kwonlyargcount])
    expected = ["g", "out", *(f"*{name}" if name == op.starred else name for name in op.arguments)]
    return TypeError(
        f"the rule {rule.__name__} of {op.name} takes ({', '.join(names)}), and must take ({', '.join(expected)})"
    )


def replaced_data(x: Tensor, used: Any = None) -> Exception | None:
    """Somebody has put into `.data` what is no array of real numbers, or not the one that the forward pass has seen."""
    data, name = x.data, x.name or "t"
    cure = f"write {name}.data = np.asarray(..., dtype=float), or {name}.data[...] = ..., which keeps shape and dtype"
    if not isinstance(data, (np.ndarray, np.generic)):
        return TypeError(f"{x.label}.data is a {type(data).__name__}, and must be an array: {cure}")
    if data.dtype.kind not in "fiub":
        return TypeError(f"{x.label}.data has dtype {data.dtype}, and tensors hold real numbers: {cure}")
    if x.requires_grad and data.dtype.kind != "f":
        return TypeError(
            f"{x.label} asks for gradients, and its .data was replaced by an array of dtype {data.dtype}, which has "
            f"none: {cure}"
        )
    if used is not None and data.shape != used.shape:
        return ValueError(
            f"{x.label} had shape {used.shape} in the forward pass, and its .data was replaced by an array of shape "
            f"{data.shape} since: compute the loss again"
        )
    return None


def no_result(op: Primitive, inputs: tuple[Any, ...], out: Any) -> Exception:
    """A result has a dtype that no tensor has, or has lost the gradient that its inputs ask for."""
    reasons = (replaced_data(x) for x in inputs if isinstance(x, Tensor))
    found = next((reason for reason in reasons if reason is not None), None)
    return found or TypeError(f"{op.name}: the result has dtype {out.dtype}, and tensors hold real numbers")


def plain(array: Any) -> Any:
    """An array that is mapped from a file, as any other; one whose `*` means something else (np.matrix) raises."""
    if not isinstance(array, np.memmap):
        kind = f"{type(array).__module__}.{type(array).__name__}"
        raise TypeError(f"an input is a {kind}, which computes by rules of its own: pass np.asarray(it)")
    return np.asarray(array)


def missing_rule(op: Primitive, argument: str) -> NotImplementedError:
    """Nobody has written the rule of an argument, and a gradient is to flow there."""
    return NotImplementedError(
        f"{op.name} has no derivative rule for `{argument}`: write @{op.name}.vjp({argument!r}), "
        f"or declare {op.name}.constant_in({argument!r})"
    )


def no_gradient(op: Primitive, position: int, share: Any) -> TypeError:
    """A rule has answered with something that is no array."""
    hint = ": does it return?" if share is None else ""
    return TypeError(
        f"{op.name}: the rule for `{op.argument(position)}` answered {share!r}, which is no gradient{hint}"
    )


def wrong_shape(op: Primitive, position: int, share: Any, shape: tuple[int, ...]) -> ValueError:
    """A rule has answered with a shape that is not its input's, and that no broadcasting explains."""
    argument = op.argument(position)
    return ValueError(
        f"{op.name}: the rule for `{argument}` answered shape {share.shape}, and `{argument}` has shape {shape}"
        + ("" if op.broadcasts else f"; if {op.name} broadcasts, declare it with @primitive(broadcasts=True)")
    )


def no_history(of: Tensor) -> ValueError:
    """A backward pass is to start at a tensor that leads nowhere."""
    return ValueError(
        f"{of.label} has no history to go back through: none of its inputs has requires_grad=True, or it was made "
        "inside no_grad()"
    )


def no_single_number(of: Tensor) -> ValueError:
    """A backward pass is to start at several numbers, and nobody has said what is upstream of them."""
    return ValueError(
        f"backward starts at a single number, and {of.label} has shape {of.shape}: reduce it with .mean() or "
        ".sum(), or say what is upstream with gradient="
    )


# ---- variables that were written to between the forward and the backward pass


def check_versions(tensor: Tensor, position: int, needed: Container[int] | None, create_graph: bool) -> None:
    """Raise if a rule that the walk runs for this tensor needs an input's numbers, and they are others by now."""
    op, x, used = tensor.op, tensor.inputs[position], tensor.arrays[position]
    assert op is not None
    overwritten = x.version > tensor.serial
    replaced = create_graph and not overwritten and not (used is x.data or np.array_equal(used, x.data, equal_nan=True))
    if (overwritten or replaced) and _is_read(op.argument(position), tensor, needed, create_graph):
        owner = x if x.writes is None else x.writes[1]()
        owner = x if owner is None else owner
        what = f"they were written to since{writing_line(owner)}" if overwritten else "its array was replaced since"
        raise RuntimeError(
            f"backward needs the numbers of {owner.label} that {op.name} was computed with, and {what}: take the step "
            "after the last backward() of a graph, or compute the loss again"
        )


def check_passed_over(tensor: Tensor, of: Tensor) -> None:
    """Raise if a loss in `of` was computed from the logits behind this tensor: its gradient is not 0, but not there."""
    if tensor.op is None:
        return
    if any(tensor.serial in getattr(x.rules, "passed_over", ()) for x in reachable(of).values()):
        raise ValueError(
            f"gradients: the loss of {tensor.label} was computed from the logits behind it, so that no digit is lost, "
            f"and passes over {tensor.label}: write fused=False in the loss to differentiate through it"
        )


def writing_line(variable: Tensor) -> str:
    """Which line of the user's code wrote to a variable last, in brackets; empty if nobody has kept that."""
    line = line_of(variable.note)
    return "" if line is None else f" ({line.text or 'a write'} at {line.short})"


def _is_read(argument: str, tensor: Tensor, needed: Container[int] | None, create_graph: bool) -> bool:
    """Whether any rule that the walk runs for this tensor looks at the numbers of an argument."""
    op = tensor.op
    assert op is not None
    for x, position in edges(tensor):
        if needed is None or x.serial in needed:
            rule = op.rule(position) if create_graph else next(islice(tensor.rules, position, None))
            if rule is not None and reads_numbers(rule, argument):
                return True
    return False


def reads_numbers(rule: Rule, argument: str) -> bool:
    """Whether a rule uses an argument, other than for its shape or dtype. In doubt, it does."""
    function = rule.func if isinstance(rule, partial) else rule
    if not hasattr(function, "__code__"):
        return bool(getattr(function, "reads_numbers", True))
    return _code_reads(function.__code__, argument)


def _code_reads(code: CodeType, argument: str) -> bool:
    """The same for the code of a function, and of the functions inside of it."""
    inner = [c for c in code.co_consts if isinstance(c, CodeType) and argument in c.co_freevars]
    if any(_code_reads(c, argument) for c in inner):
        return True
    loads = "LOAD_DEREF" if argument in (*code.co_cellvars, *code.co_freevars) else "LOAD_FAST"
    instructions = [i for i in dis.get_instructions(code) if i.opname != "CACHE"]
    for i, following in zip(instructions, [*instructions[1:], None], strict=True):
        names = i.argval if isinstance(i.argval, tuple) else (i.argval,)
        if i.opname.startswith(loads) and argument in names:
            is_last = names[-1] == argument and names.count(argument) == 1
            described = following is not None and following.argval in ("shape", "ndim", "size", "dtype")
            if not (is_last and described):
                return True
    return False


# ---- what bodies refuse most often


@explains(ops.matmul)
def _why_not_matmul(a: Any, b: Any) -> str | None:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return "one side is a single number, and @ multiplies matrices: write a * b"
    return _inner_sizes("a", a, "b", b)


@explains(ops.affine)
def _why_not_affine(x: Any, W: Any, b: Any) -> str | None:
    if np.ndim(x) == 0 or np.ndim(W) != 2:
        return f"x has shape {np.shape(x)} and W has shape {np.shape(W)}; x needs at least one axis and W exactly two."
    if np.ndim(b) and b.shape[-1] not in (1, W.shape[1]):
        return f"W has shape {W.shape} and b has shape {b.shape}; b needs {W.shape[1]} elements."
    return _inner_sizes("x", x, "W", W)


def _inner_sizes(left_name: str, left: Any, right_name: str, right: Any) -> str | None:
    inner_left, inner_right = left.shape[-1], right.shape[-2 if right.ndim > 1 else 0]
    if inner_left == inner_right:
        return None
    shapes = f"{left_name} has shape {left.shape} and {right_name} has shape {right.shape}"
    return f"{shapes}; the inner sizes {inner_left} and {inner_right} differ."
