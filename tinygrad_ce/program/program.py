"""The facade: one program, and all that can be had of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_ce.core import Array, Tensor, array_of
from tinygrad_ce.nn import Module
from tinygrad_ce.nn.module import in_modes
from tinygrad_ce.program.effects import TraceError, models_of
from tinygrad_ce.program.evaluate import run_step
from tinygrad_ce.program.ir import Function
from tinygrad_ce.program.numpy_text import as_numpy
from tinygrad_ce.program.passes import simplified
from tinygrad_ce.program.record import of_loss
from tinygrad_ce.program.tracing import trace_step
from tinygrad_ce.report.parts import PrintedText
from tinygrad_ce.report.words import several


class Program(Function):
    """A step as data (see `ir.Function`), with its texts and a way to run it."""

    step: Callable[..., Any] | None = None  # what was traced, with which examples
    examples: Sequence[Any] = ()
    models: Sequence[Module] | None = None
    modes: Sequence[tuple[Module, bool]] = ()  # of their modules, whether each was in training

    @classmethod
    def of(cls, function: Function) -> Program:
        """The program of a step that has been traced or recorded."""
        return cls(**vars(function))

    @classmethod
    def of_loss(cls, loss: Tensor) -> Program:
        """The forward and backward pass of a loss that has been computed. ValueError if it has no history."""
        return cls.of(of_loss(loss))

    @property
    def source(self) -> PrintedText:
        """The program as standalone NumPy, as a textbook would write it."""
        return self.text()

    def text(self, exact: bool = False) -> PrintedText:
        """The program as standalone NumPy. exact: with the forms that keep the last digits, as the engine computes."""
        return PrintedText(as_numpy(self, exact))

    @property
    def lowered(self) -> PrintedText:
        """The program as loops, which Numba compiles: each with the printed line that it computes."""
        from tinygrad_ce.program.lowered import lowered  # not needed by whoever only prints

        return PrintedText(lowered(self).text)

    @property
    def memory(self) -> PrintedText:
        """How many bytes the compiled program needs for its arrays, and what for."""
        from tinygrad_ce.program.lowered import lowered

        return PrintedText(lowered(self).memory)

    @property
    def javascript(self) -> PrintedText:
        """The program as an ES module without dependencies: forward, backward and update on arrays with its names.

        `createStep({ batch, state })` gives arrays to fill (`inputs`, `state`), the stages, and `outputs`; the module's
        head says more. The values of the parameters are not in it: see `state`. A label or index outside of its range
        is a RangeError. Integers of 64 bits are in Float64Arrays, which hold them up to 2 ** 53.
        Raises CannotLower for a function that has no loops, or no JavaScript.

        >>> w = Tensor([1.0, 2.0], requires_grad=True, name="w")
        >>> "export function createStep" in trace(lambda x: (x * w).sum(), np.array([3.0, 4.0])).javascript
        True
        """
        from tinygrad_ce.program.abstract import FUNCTIONS, CannotLower
        from tinygrad_ce.program.javascript_text import javascript
        from tinygrad_ce.program.lowered import lowered_alone

        try:
            text = javascript(lowered_alone(self), self.rows, lambda rows: lowered_alone(self.with_rows(rows)))
        except CannotLower as error:
            known = ", ".join(sorted(FUNCTIONS))
            raise CannotLower(f"{error}. In a body these functions of NumPy become JavaScript: {known}") from error
        return PrintedText(text)

    @property
    def state(self) -> dict[str, Array]:
        """What lives from step to step (parameters, an optimizer's memory, running averages), by its name."""
        return {x.name: x.variable.data for x in self.inputs if x.role == "state"}

    def with_rows(self, rows: int) -> Function:
        """The same step traced with so many rows. TraceError if it was not traced; whatever it raises for them."""
        if self.step is None or not self.rows:
            raise TraceError("only a step that was traced, with examples that have rows, can be traced with others")
        step, examples = self.step, [_repeated(x, rows) if _rows(x) == self.rows else x for x in self.examples]
        with warnings.catch_warnings(), np.errstate(all="ignore"), in_modes(self.modes):
            warnings.simplefilter("ignore")  # the rows are made up
            return trace_step(step, *examples, models=models_of(step) if self.models is None else self.models)

    @property
    def rows(self) -> int:
        """How many rows the first of the examples has that has any."""
        return next((rows for rows in map(_rows, self.examples) if rows), 0)

    def run(self, *arrays: Any) -> Any:
        """One step, one primitive after the other: the results, and the parameters and their like are updated.

        Raises TypeError and ValueError for arrays of another number, shape or dtype than it was traced with.
        """
        return run_step(self, arrays)

    def __str__(self) -> str:
        return self.source

    def __repr__(self) -> str:
        names = ", ".join(value.name for value in self.inputs)
        return f"Program({names}: {several(len(self.instructions), 'instruction')}; print(program) shows them)"

    def _repr_html_(self) -> str:
        return self.source._repr_html_()


def trace(step: Callable[..., Any], *examples: Any, models: Sequence[Module] | None = None) -> Program:
    """The program of a step: forward, backward and the optimizer's update.

    step: a function of arrays, which computes a loss and may call `zero_grad()`, `loss.backward()`, `clip_grad_norm`
    and `optimizer.step()`; it returns tensors. examples: arrays (or tensors) as it will be called with.
    The step is run (twice, so that numbers which depend on the data are noticed), and nothing is changed by it: no
    parameter, no running average, no generator of random numbers; gradients are None afterwards.
    What tracing fixes (shapes, training mode) is listed in `program.fixed`.
    models: those whose other attributes must stay as they are meanwhile; if None, those that the function refers to.
    Raises TraceError for what a program cannot hold: `if` on values, `float(t)`, arrays from outside of the step.

    >>> w = Tensor([1.0, 2.0], requires_grad=True, name="w")
    >>> print(trace(lambda x: (x * w).sum(), np.array([3.0, 4.0])))
    import numpy as np
    <BLANKLINE>
    <BLANKLINE>
    def step(x, w):
        # forward
        t1 = x * w      # (2,)
        out = t1.sum()  # ()
        return out
    """
    program = Program.of(trace_step(step, *examples, models=models))
    program.step, program.examples, program.models = step, examples, models
    traced = models_of(step) if models is None else models
    program.modes = [(module, module.training) for model in traced for module in model.modules()]
    return program


def _rows(example: Any) -> int:
    shape = np.shape(array_of(example))
    return shape[0] if shape else 0


def _repeated(example: Any, rows: int) -> Any:
    """So many rows: those of the example, again and again."""
    array = array_of(example)
    more = array[np.arange(rows) % len(array)]
    return Tensor(more, requires_grad=True) if isinstance(example, Tensor) and example.requires_grad else more


def source(loss: Tensor, exact: bool = False) -> PrintedText:
    """The forward and backward pass of a loss that has been computed, as standalone NumPy.

    The text defines `step`, a function of the tensors and arrays that went in, which returns the loss and the gradient
    of every leaf. It is what a textbook would write; exact: with the forms that keep the last digits, as the engine
    computes. Names are those of the tensors (`layers.0.W` becomes `W0`); the shapes are comments. Targets and
    weights are inputs as the loss has prepared them: flat, and for a mean the weights divided by their sum.
    Raises TypeError and ValueError if the loss is no single number with a history.

    >>> x = Tensor(np.array([1.0, 2.0]), requires_grad=True, name="x")
    >>> print(source((x * x).sum()))
    import numpy as np
    <BLANKLINE>
    <BLANKLINE>
    def step(x):
        # forward
        t1 = x * x       # (2,)
        loss = t1.sum()  # ()
    <BLANKLINE>
        # backward
        d_t1 = 1.0       # ()
        t2 = d_t1 * x    # (2,)
        d_x = t2 + t2    # (2,)
        return loss, d_x
    """
    return Program.of(simplified(of_loss(loss))).text(exact)
