"""The graph as a program: recorded, simplified, and printed as the NumPy that one would write by hand."""

from tinygrad_ce.program.arrays import CannotLower
from tinygrad_ce.program.compiled import compile
from tinygrad_ce.program.printed import source
from tinygrad_ce.program.straight import Instruction, Program, Value
from tinygrad_ce.program.surroundings import TraceError
from tinygrad_ce.program.tracing import trace

__all__ = ["CannotLower", "Instruction", "Program", "TraceError", "Value", "compile", "source", "trace"]
