"""Parts of a program as modules of their own: a graph that keeps chosen values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tinygrad_ce.data.printed_text import PrintedText
from tinygrad_ce.program.ir import Function, Value
from tinygrad_ce.program.javascript_text import of_one_size
from tinygrad_ce.program.lowered import lowered_alone
from tinygrad_ce.program.passes import drop_dead_code


def javascript_keeping(program: Function, values: Sequence[Value]) -> PrintedText:
    """A recorded graph as an ES module that keeps chosen values: `outputs` has each of them, by its printed name.

    `createStep({ state })` gives `inputs` (leaves and data, by their names), `forward()`, `backward()` and `outputs`,
    each array in C order. Shapes are those of the graph. CannotLower for an operation without JavaScript, by its name.

    >>> from tinygrad_ce.program.record import record
    >>> x = Tensor([1.0, 2.0], requires_grad=True, name="x")
    >>> recorded = record((x * x).sum())
    >>> "outputs:{t1,d_x}" in javascript_keeping(recorded.program, [recorded.program.instructions[0].result,
    ...                                                             recorded.program.outputs["d_x"]])
    True
    """
    outputs = {value.name: value for value in values}
    return PrintedText(of_one_size(lowered_alone(drop_dead_code(replace(program, outputs=outputs)))))
