"""The graph as a program: recorded, simplified, and printed as the NumPy that one would write by hand."""

from tinygrad_ce.program.abstract import CannotLower
from tinygrad_ce.program.effects import TraceError
from tinygrad_ce.program.ir import Instruction, Value
from tinygrad_ce.program.program import Program, source, trace
from tinygrad_ce.program.run import compile

__all__ = ["CannotLower", "Instruction", "Program", "TraceError", "Value", "compile", "source", "trace"]
