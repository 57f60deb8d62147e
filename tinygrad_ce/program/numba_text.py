"""The text of the loops: a function that Numba compiles, and that can be read."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_ce import kernels
from tinygrad_ce.program.ir import Number
from tinygrad_ce.program.lowering import half_of_rows, nodes_in
from tinygrad_ce.program.names import Names
from tinygrad_ce.program.nest_text import NestText, dtype_text
from tinygrad_ce.program.numpy_text import lines_of
from tinygrad_ce.program.sharing import Share, is_gathered_by_all, is_halved
from tinygrad_ce.program.statements import Buffer, Call, First, Loop, Schedule, Statement, View, identity

LINKED = ("xent_panel", "xent_rows", "soft_xent_rows", "sigmoid_xent_blocks")  # kernels that are called where they lie


def as_numba(plan: Schedule, loops: Sequence[Loop], shares: Sequence[Share] | None = None) -> tuple[str, list[str]]:
    """The file with the function `run`, and the formulas of the numbers that each step is given.

    shares: how each loop is shared among threads; `run` takes then also its thread's number, how many threads there
    are, and the gate at which they meet.
    """
    return FileText(plan, loops, shares).text()


class FileText:
    """Writes the function that Numba compiles."""

    def __init__(self, plan: Schedule, loops: Sequence[Loop], shares: Sequence[Share] | None) -> None:
        self.plan, self.loops, self.shares = plan, loops, shares
        self.cuts: dict[int, tuple[str, str]] = {}  # by the number of rows: the first of a thread's, and their end
        self.imports: set[str] = set()
        self.literals: dict[str, str] = {}  # by their text, the names of constants
        self.numbers: dict[str, str] = {}  # by their formulas, the names of the numbers that each step is given
        self.names = Names(*plan.names.taken)
        batch = [b for b in plan.buffers if b.role in ("input", "random")] if plan.batched else []
        self.batch = {b: self.names.free(f"{b.name}_all") for b in batch}  # what has the rows of all steps
        answers = dict.fromkeys(plan.answers.values()) if plan.batched else {}
        self.answers = {b: self.names.free(f"{b.name}_all") for b in answers}  # what gets the answers of all steps
        self.printed = lines_of(plan.function)

    def text(self) -> tuple[str, list[str]]:
        """The whole file, and the formulas of the numbers that each step is given."""
        body: list[str] = []
        section = None
        shares: Sequence[Share | None] = [None] * len(self.loops) if self.shares is None else self.shares
        for loop, share in zip(self.loops, shares, strict=True):
            lines = self.loop(loop, share)
            source = next((i for s in loop.statements for i in s.instructions), None)
            if source is not None and source.section != section:
                section = source.section
                body += ["", f"# ---- {section}"]
            body += [*self.comments(loop), *lines]
        body = [*self.batch_gathered(), *body, *self.by_first_thread(self.answers_copied())]
        fixed = [f"{name} = {text}" for text, name in self.literals.items()]
        names = [*self.batch.values(), *self.answers.values(), *(b.name for b in self.plan.buffers)]
        names += [v.name for v in self.plan.views.values()]
        linked = self.kernels_linked()
        head = [
            '"""A training step as loops, written by tinygrad_ce. Every array is one row of numbers."""',
            "",
            *(["import math", ""] if any("math." in line for line in body) else []),
            "import numpy as np",
            "",
            *kernels.import_lines({"jit", *self.imports, *(["linked"] if linked else [])}),
            *(["", *linked] if linked else []),
        ]
        names = names if self.shares is None else ["thread", "threads", "gate", *names]
        arguments = textwrap.fill(
            f"def run(order, steps, numbers, {', '.join(names)}):",
            110,
            subsequent_indent="        ",
            break_long_words=False,
        )
        fixed += [] if self.shares is None else [*self.cuts_computed(), "passed = meet(gate, 0, threads)"]
        rows = [*head, "", "", "@jit", arguments, *(f"    {line}" for line in fixed), "    for s in range(steps):"]
        rows += [f"        {line}".rstrip() for line in (*self.numbers_read(), *body)] or ["        pass"]
        return "\n".join(rows) + "\n", [*self.numbers]

    def kernels_linked(self) -> list[str]:
        """The lines that make kernels of the losses functions which are called where they lie."""
        calls = [call for loop in self.loops for s in loop.statements for call in s.calls if call.function in LINKED]
        dtypes = {(call.function, call.arguments[0].dtype.name) for call in calls}
        if len(dtypes) > len({call.function for call in calls}):
            return []  # a name would stand for the kernels of two dtypes
        return [f'{name} = linked({name}, "{dtype}")' for name, dtype in sorted(dtypes)]

    def numbers_read(self) -> list[str]:
        """The lines that take the step's numbers, with their formulas."""
        lines = []
        for k, (formula, name) in enumerate(self.numbers.items()):
            place = f"{len(self.numbers)} * s + {k}" if len(self.numbers) > 1 else "s"
            lines.append(f"{name} = numbers[{place}]" + (f"  # {formula}" if name != formula else ""))
        return lines

    def batch_gathered(self) -> list[str]:
        """The rows of this batch, and its random numbers."""
        if not self.plan.batched:
            return []
        lines = ["# ---- the batch"]
        for b, all_rows in self.batch.items():
            if b.role == "input":
                rows, width = b.shape[0], math.prod(b.shape[1:])
                self.imports.add("take_rows")
                taken = f"take_rows({b.name}, {all_rows}, order, {rows} * s"
                if self.shares is None:
                    lines.append(f"{taken}, 0, {rows}, {width}, 0, {width})")
                elif is_halved(self.plan, b):
                    middle = half_of_rows(width)
                    for half, columns in enumerate((f"0, {middle}", f"{middle}, {width - middle}")):
                        lines += self.by_one_thread(half, [f"{taken}, 0, {rows}, {width}, {columns})"])
                elif is_gathered_by_all(b):
                    lines.append(f"{taken}, {', '.join(self.cut(rows))}, {width}, 0, {width})")
                else:
                    lines += self.by_one_thread(0, [f"{taken}, 0, {rows}, {width}, 0, {width})"])
            else:
                copied = [f"for i in range({b.size}):", f"    {b.name}[i] = {all_rows}[{b.size} * s + i]"]
                lines += self.by_one_thread(0, copied)
        return lines

    def answers_copied(self) -> list[str]:
        """Copies of the outputs, a row for each step."""
        lines = []
        for b, all_steps in self.answers.items():
            if b.size == 1:
                lines.append(f"{all_steps}[s] = {b.name}[0]")
            else:
                lines += [f"for i in range({b.size}):", f"    {all_steps}[{b.size} * s + i] = {b.name}[i]"]
        return lines

    def comments(self, loop: Loop) -> list[str]:
        """The printed lines that a nest of loops computes."""
        sources = dict.fromkeys(i for s in loop.statements for i in s.instructions)
        return [f"# {line}" for line in dict.fromkeys(self.printed[i] for i in sources)]

    # ---- one nest of loops

    def loop(self, loop: Loop, share: Share | None) -> list[str]:
        """The lines of one nest, or of one call, and where its threads wait for others."""
        rows = self.cut(share.rows) if share is not None and share.rows is not None else None
        if loop.is_call:
            lines = [self.call(call, rows) for call in loop.statements[0].calls]
        else:
            flat = rows is None and self.is_flat(loop)
            domain = (math.prod(loop.domain),) if flat else loop.domain
            lines = NestText(self, loop, domain, flat, rows).lines()
        if share is not None and rows is None:
            lines = self.by_one_thread(share.thread, lines)
        return [*(self.barrier() if share is not None and share.waits else []), *lines]

    # ---- several threads

    def cut(self, rows: int) -> tuple[str, str]:
        """The names of the first row of a thread's share, and of the row behind its last."""
        self.imports.add("first_row")
        if rows not in self.cuts:
            self.cuts[rows] = self.names.free(f"start_{rows}"), self.names.free(f"stop_{rows}")
        return self.cuts[rows]

    def cuts_computed(self) -> list[str]:
        """The lines that compute them."""
        lines = []
        for rows, (start, stop) in self.cuts.items():
            lines += [f"{start} = first_row({rows}, thread, threads)"]
            lines += [f"{stop} = first_row({rows}, thread + 1, threads)"]
        return lines

    def barrier(self) -> list[str]:
        """The line in which all threads wait for each other."""
        self.imports.add("meet")
        return ["passed = meet(gate, passed, threads)"]

    def by_one_thread(self, thread: int, lines: list[str]) -> list[str]:
        """Lines that one thread runs, if there are several."""
        if self.shares is None or not lines:
            return lines
        return [f"if thread == {thread} % threads:", *(f"    {line}" for line in lines)]

    def by_first_thread(self, lines: list[str]) -> list[str]:
        """Lines at the end of a step: all have done their part before, and go on afterwards."""
        if self.shares is None:
            return lines
        return [*self.barrier(), *self.by_one_thread(0, lines), *self.barrier()]

    # ---- library calls, literals and names

    def call(self, call: Call, rows: tuple[str, str] | None = None) -> str:
        """The line of a library call; rows: the first and the end of those of a product that are computed."""
        function, arguments = call.function, [*map(_argument, call.arguments)]
        if rows is not None:
            function, arguments = f"{function}_rows", [*arguments, *rows]
        if not function.startswith("np."):
            self.imports.add(function)
        text = f"{function}({', '.join(arguments)})"
        if call.scale is not None:
            text = f"{text} {call.scale[0]} {call.scale[1]!r}"
        return text if call.into is None else f"{call.into.name}[0] = {text}"

    def is_flat(self, loop: Loop) -> bool:
        """Whether all arrays are read and written from end to end, so that one loop will do."""
        if len(loop.domain) < 2:
            return False
        here = identity(loop.domain)
        for s in loop.statements:
            if s.kind != "map" or s.index != here or s.target.shape != loop.domain:
                return False
            if any(places != {here} for places in s.reads.values()) or not self.is_made_of_maps(s):
                return False
        return True

    def is_made_of_maps(self, s: Statement) -> bool:
        """Whether all that is not read from memory is computed element by element."""
        waiting = [s.node]
        while waiting:
            node = waiting.pop()
            if node is not s.node and node in self.plan.of_node:
                continue
            if node.kind == "map":
                waiting.extend(nodes_in(node.inputs))
            elif node.kind != "full" and (node.kind == "view" or node not in self.plan.of_node):
                return False
        return True

    def literal(self, number: Any, dtype: np.dtype[Any]) -> str:
        """A number of this dtype; of some, a name for it, because a literal would be of another."""
        if isinstance(number, Number):
            name = self.number(number.text)
            return name if dtype == np.float64 else f"{dtype_text(dtype)}({name})"
        if dtype == np.bool_:
            return repr(bool(number))
        if dtype == np.int64:
            return repr(int(number))
        value = float(number) if dtype.kind == "f" else int(number)
        if dtype == np.float64 and math.isfinite(value):
            return repr(value) if value >= 0 else f"({value!r})"
        shown = (
            repr(value)
            if not isinstance(value, float) or math.isfinite(value)
            else f"np.{value}".replace("np.-", "-np.")
        )
        text = f"{dtype_text(dtype)}({shown})"
        if text not in self.literals:
            self.literals[text] = self.names.numbered("c")
        return self.literals[text]

    def local(self) -> str:
        """A new name for a number inside of a loop."""
        return self.names.numbered("v")

    def number(self, formula: str) -> str:
        """The name of one of the numbers that each step is given."""
        if formula not in self.numbers:
            name = self.names.free(formula) if formula.isidentifier() else self.names.numbered("n")
            self.numbers[formula] = name
        return self.numbers[formula]


def _argument(x: Any) -> str:
    """An argument of a library call: a buffer, a view, the first element of one, or a literal."""
    if isinstance(x, First):
        return f"{x.buffer.name}[0]"
    return x.name if isinstance(x, (Buffer, View)) else repr(x)
