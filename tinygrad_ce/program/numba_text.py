"""The text of the loops: a function that Numba compiles, and that can be read."""

from __future__ import annotations

import ast
import math
import textwrap
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_ce import kernels
from tinygrad_ce.program.abstract import OF_MATH, CannotLower, Node, through
from tinygrad_ce.program.ir import Number
from tinygrad_ce.program.numpy_text import lines_of
from tinygrad_ce.program.schedule import (
    COMPARING,
    KERNEL_FUNCTIONS,
    PRODUCT_FUNCTIONS,
    dtype_text,
    identity,
    read_by_reduction,
)

if TYPE_CHECKING:
    from tinygrad_ce.program.schedule import Buffer, Index, Loop, Lowering, Statement

OUTSIDE = "an index is outside of the array that it takes elements from"
LOOPS = "ijklmnopq"  # what the loops' variables are called
SIMPLE = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "divide": "{} / {}",
    "negative": "-{}",
    "positive": "{}",
    "square": "{0} * {0}",
    "absolute": "abs({})",
    "sqrt": "np.sqrt({})",
    "isnan": "{0} != {0}",
    "equal": "{} == {}",
    "not_equal": "{} != {}",
    "less": "{} < {}",
    "less_equal": "{} <= {}",
    "greater": "{} > {}",
    "greater_equal": "{} >= {}",
    "logical_not": "not {}",
    "invert": "not {}",
    "tanh": "tanh_of({})",
    "log1p": "log1p_of({})",
    "exp": "exp_any({})",
}
CALLED = {"sign", "expm1", "log", "sin", "cos", "tan", "arctan", "sinh", "cosh", "floor", "ceil", "log2", "log10"}
CALLED |= {"exp2", "arctan2", "hypot", "isfinite", "isinf", "rint", "trunc", "arcsin"}
CALLED |= {"arccos", "arcsinh", "arccosh", "arctanh", "cbrt", "logaddexp", "logical_xor"}
LOGICAL = {"logical_and": "&", "logical_or": "|", "bitwise_and": "&", "bitwise_or": "|"}


class LoopText:
    """Writes the nests of loops of a plan."""

    def __init__(self, plan: Lowering, loops: list[Loop]) -> None:
        self.plan, self.loops = plan, loops
        self.imports = set(plan.imports)
        self.literals: dict[str, str] = {}  # by their text, the names of constants
        self.numbers: list[str] = []
        self.locals = 0
        self.printed = lines_of(plan.program)

    def text(self) -> tuple[str, list[str]]:
        """The whole file, and the formulas of the numbers that each step is given."""
        body: list[str] = []
        section = None
        for loop in self.loops:
            lines = self.loop(loop)
            source = next((i for s in loop.statements for i in s.sources), None)
            if source is not None and source.section != section:
                section = source.section
                body += ["", f"# ---- {section}"]
            body += [*self.comments(loop), *lines]
        body = [*self.gathered(), *body, *self.handed_out()]
        fixed = [f"{name} = {text}" for text, name in self.literals.items()]
        given = [self.given(k) for k in range(len(self.numbers))]
        answers = [f"{b.name}_all" for b in self.answers()]
        inputs = (
            [f"{b.name}_all" for b in self.plan.all_buffers if b.role in ("input", "random")]
            if self.plan.batched
            else []
        )
        names = [
            *inputs,
            *answers,
            *(b.name for b in self.plan.all_buffers),
            *(v.name for v in self.plan.views.values()),
        ]
        dtypes = dict(self.plan.linked)
        linked = [f'{name} = linked({name}, "{dtypes[name]}")' for name in sorted(dtypes)]
        one_each = len(dtypes) == len(self.plan.linked)  # else a name would stand for the kernels of two dtypes
        linked = ["", *linked] if linked and one_each else []
        head = [
            '"""A training step as loops, written by tinygrad_ce. Every array is one row of numbers."""',
            "",
            *(["import math", ""] if any("math." in line for line in body) else []),
            "import numpy as np",
            "",
            *kernels.import_lines({"jit", *self.imports, *(["linked"] if linked else [])}),
            *linked,
        ]
        arguments = textwrap.fill(
            f"def run(order, steps, numbers, {', '.join(names)}):", 110, subsequent_indent="        "
        )
        rows = [*head, "", "", "@jit", arguments, *(f"    {line}" for line in fixed), "    for s in range(steps):"]
        rows += [f"        {line}".rstrip() for line in (*given, *body)] or ["        pass"]
        return "\n".join(rows) + "\n", self.numbers

    def given(self, k: int) -> str:
        """The line that takes one of the step's numbers, with its formula."""
        name, formula = self.number_name(k), self.numbers[k]
        line = f"{name} = numbers[{len(self.numbers)} * s + {k}]" if len(self.numbers) > 1 else f"{name} = numbers[s]"
        return line if name == formula else f"{line}  # {formula}"

    def answers(self) -> list[Buffer]:
        """The buffers of the outputs, of which each step's is handed out."""
        if not self.plan.batched:
            return []
        return list(dict.fromkeys(self.plan.answers.values()))

    def gathered(self) -> list[str]:
        """The rows of this batch, and its random numbers."""
        if not self.plan.batched:
            return []
        lines = ["# ---- the batch"]
        for b in self.plan.all_buffers:
            if b.role == "input":
                rows, width = b.shape[0], math.prod(b.shape[1:])
                self.imports.add("take_rows")
                lines.append(f"take_rows({b.name}, {b.name}_all, order, {rows} * s, {rows}, {width})")
            elif b.role == "random":
                lines += [f"for i in range({b.size}):", f"    {b.name}[i] = {b.name}_all[{b.size} * s + i]"]
        return lines

    def handed_out(self) -> list[str]:
        """Copies of the outputs, a row for each step."""
        lines = []
        for b in self.answers():
            if b.size == 1:
                lines.append(f"{b.name}_all[s] = {b.name}[0]")
            else:
                lines += [f"for i in range({b.size}):", f"    {b.name}_all[{b.size} * s + i] = {b.name}[i]"]
        return lines

    def comments(self, loop: Loop) -> list[str]:
        """The printed lines that a nest of loops computes."""
        sources = dict.fromkeys(i for s in loop.statements for i in s.sources)
        return [f"# {line}" for line in dict.fromkeys(self.printed[i] for i in sources)]

    # ---- one nest of loops

    def loop(self, loop: Loop) -> list[str]:
        """The lines of one nest, or of one call."""
        if loop.called:
            return loop.statements[0].lines
        flat = self.is_flat(loop)
        domain = (math.prod(loop.domain),) if flat else loop.domain
        return _Nest(self, loop, domain, flat).lines()

    def is_flat(self, loop: Loop) -> bool:
        """Whether all arrays are read and written from end to end, so that one loop will do."""
        if len(loop.domain) < 2:
            return False
        here = identity(loop.domain)
        for s in loop.statements:
            if s.kind != "map" or s.index != here or s.target.shape != loop.domain:
                return False
            if any(places != {here} for places in s.reads.values()) or not self.only_maps(s):
                return False
        return True

    def only_maps(self, s: Statement) -> bool:
        """Whether all that is not read from memory is computed element by element."""
        waiting = [s.node]
        while waiting:
            node = waiting.pop()
            if node is not s.node and node in self.plan.buffers:
                continue
            if node.kind not in ("map", "full") and (node.kind == "view" or node not in self.plan.buffers):
                return False
            waiting.extend(x for x in node.inputs if isinstance(x, Node)) if node.kind == "map" else None
        return True

    def literal(self, number: Any, dtype: np.dtype[Any]) -> str:
        """A number of this dtype; of some, a name for it, because a literal would be of another."""
        if isinstance(number, Number):
            name = self.number_name(self.number(number.text))
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
            self.literals[text] = self.plan.free(f"c{len(self.literals) + 1}")
        return self.literals[text]

    def local(self) -> str:
        """A new name for a number inside of a loop."""
        self.locals += 1
        name = f"v{self.locals}"
        return name if name not in self.plan.names else self.local()

    def number(self, text: str) -> int:
        """The place of a formula among the numbers that each step is given."""
        if text not in self.numbers:
            self.numbers.append(text)
        return self.numbers.index(text)

    def number_name(self, k: int) -> str:
        """What such a number is called in the loops."""
        return self.numbers[k] if self.numbers[k].isidentifier() else f"number_{k}"


class _Nest:
    """One nest of loops, line by line."""

    def __init__(self, text: LoopText, loop: Loop, domain: tuple[int, ...], flat: bool) -> None:
        self.text, self.plan, self.loop, self.domain, self.flat = text, text.plan, loop, domain, flat
        self.uses: Counter[Any] = Counter()
        self.known: dict[Any, str] = {}
        self.inner: list[str] = []

    def lines(self) -> list[str]:
        """All lines: before each loop what has to be set up, in the innermost the work, after each what is left."""
        depth = len(self.domain)
        before: list[list[str]] = [[] for _ in range(depth + 1)]
        after: list[list[str]] = [[] for _ in range(depth + 1)]
        here = identity(self.domain)
        for s in self.loop.statements:
            if s.kind == "reduce":
                self.count(s.node.inputs[0], read_by_reduction(s.node))
            else:
                self.count(s.node, here, whole=self.is_whole(s))
        ends: list[str] = []
        for s in self.loop.statements:
            if s.kind == "reduce":
                self.reduce(s, before, after)
            elif s.kind == "scatter_add":
                self.add_at(s, before)
            else:
                value = self.value(s.node, here, whole=self.is_whole(s))
                if s.node in self.plan.buffers and self.is_whole(s):
                    self.known[(s.node, here)] = value = self.local(value)  # others read what it will be
                ends.append(f"{self.at(s.target, s.target.shape, s.index)} = {_plain(value)}")
        body = [*self.inner, *ends]
        lines: list[str] = list(before[0])
        for k in range(depth):
            lines.append("    " * k + f"for {LOOPS[k]} in range({self.domain[k]}):")
            lines += ["    " * (k + 1) + line for line in before[k + 1]]
        lines += ["    " * depth + line for line in body]
        for k in range(depth, -1, -1):
            lines += ["    " * k + line for line in after[k]]
        return lines

    def is_whole(self, s: Statement) -> bool:
        """Whether the statement makes its node, or copies one that lies elsewhere."""
        return self.plan.buffers.get(s.node) is s.target or s.node not in self.plan.buffers

    def reduce(self, s: Statement, before: list[list[str]], after: list[list[str]]) -> None:
        x, index = s.node.inputs[0], read_by_reduction(s.node)
        name, axes = s.node.detail
        value = self.value(x, index)
        dtype = s.node.dtype
        gone = len(axes)
        inner = [k for k in range(len(self.domain)) if k >= len(self.domain) - gone]
        innermost = name != "sum" or sorted(axes) == inner
        place = self.at(s.target, s.node.shape, s.index)
        if not innermost:  # added up in memory, row by row
            target = s.target
            before[0] += [f"for i in range({target.size}):", f"    {target.name}[i] = {self.text.literal(0, dtype)}"]
            self.inner.append(f"{place} += {_plain(value)}")
            return
        at = len(self.domain) - gone
        total = f"{name}_{self.text.local()}"
        if name == "sum":
            wide = np.dtype(float) if dtype.kind == "f" and at == 0 else dtype
            before[at].append(f"{total} = {self.text.literal(0, wide)}")
            if dtype.kind == "f":
                self.text.imports.add("plus")
                value = value if wide == dtype else f"np.float64({value})"
                self.inner.append(_plain(f"{total} = plus({total}, {value})"))
            else:
                self.inner.append(f"{total} += {value}")
            result = total if wide == dtype else f"{dtype_text(dtype)}({total})"
        else:
            value = self.local(value)
            largest = name != "min"
            lowest = _lowest(x.dtype, largest)
            before[at].append(f"{total} = {self.text.literal(lowest, x.dtype)}")
            sign = ">" if largest else "<"
            better = f"{value} {sign} {total}" + (f" or {value} != {value}" if x.dtype.kind == "f" else "")
            if name == "argmax":
                flat = self.position(range(at, len(self.domain)))
                before[at] += [f"{total}_at = 0", f"{total}_any = False"]
                again = f" and {total} == {total}" if x.dtype.kind == "f" else ""
                self.inner += [
                    f"if not {total}_any or (({better}){again}):",
                    f"    {total} = {value}",
                    f"    {total}_at = {flat}",
                    f"    {total}_any = True",
                ]
                result = f"{total}_at"
            else:
                self.inner += [f"if {better}:", f"    {total} = {value}"]
                result = total
        after[at].append(f"{place} = {result}")

    def position(self, axes: Any) -> str:
        """The number of this element along the loops of some axes."""
        terms, stride = [], 1
        for k in reversed(list(axes)):
            terms.append(LOOPS[k] if stride == 1 else f"{stride} * {LOOPS[k]}")
            stride *= self.domain[k]
        return " + ".join(reversed(terms)) or "0"

    def add_at(self, s: Statement, before: list[list[str]]) -> None:
        target, here = s.target, identity(self.domain)
        before[0] += [f"for i in range({target.size}):", f"    {target.name}[i] = {self.text.literal(0, target.dtype)}"]
        value = self.value(s.node.inputs[0], here)
        place = self.gathered(s.node.inputs, target.shape, s.node.detail, here)
        self.inner.append(_plain(f"{target.name}[{place}] += {value}"))

    def gathered(self, inputs: Any, shape: tuple[int, ...], places: Any, index: Index) -> str:
        """The place of an element that indices tell; negative ones count from the end."""
        terms = []
        for k, (kind, which, *run) in enumerate(places):
            stride = math.prod(shape[k + 1 :])
            if kind == "axis":
                axis, start, step = index[which]
                term = self.along((axis, run[0] + run[1] * start, run[1] * step))
            else:
                term = self.local(self.value(inputs[which], index))
                self.inner += [f"if not -{shape[k]} <= {term} < {shape[k]}:", f"    raise IndexError({OUTSIDE!r})"]
                term = f"({term} if {term} >= 0 else {term} + {shape[k]})"
            terms.append(term if stride == 1 else f"{stride} * ({term})")
        return " + ".join(terms) or "0"

    # ---- expressions

    def count(self, x: Any, index: Index, whole: bool = False) -> None:
        """How often each element is asked for, so that what is asked for twice gets a name."""
        if not isinstance(x, Node) or x.kind == "full":
            return
        key = (x, index)
        self.uses[key] += 1
        if self.uses[key] > 1 or (not whole and x in self.plan.buffers):
            return
        if x.kind == "view":
            self.count(x.inputs[0], through(x, index))
        else:
            for each in x.inputs:
                if x.kind != "gather" or each is not x.inputs[0]:
                    self.count(each, index)

    def local(self, value: str) -> str:
        """A name for a value."""
        if value.isidentifier():
            return value
        name = self.text.local()
        self.inner.append(f"{name} = {_plain(value)}")
        return name

    def value(self, x: Any, index: Index, whole: bool = False) -> str:
        """An element of x as an expression."""
        if x.kind == "full":
            return self.text.literal(x.detail, x.dtype)
        key = (x, index)
        if key in self.known and not whole:
            return self.known[key]
        if not whole and x in self.plan.buffers:
            text = self.at(self.plan.buffers[x], x.shape, index)
        elif x.kind == "view":
            text = self.value(x.inputs[0], through(x, index))
        elif x.kind == "iota":
            text = self.along(index[x.detail])
        elif x.kind == "gather":
            source = self.plan.buffers[x.inputs[0]]
            text = f"{source.name}[{self.gathered(x.inputs, x.inputs[0].shape, x.detail, index)}]"
        else:
            text = self.mapped(x, index)
        if self.uses[key] > 1 and not text.isidentifier():
            text = self.known[key] = self.local(text)
        return text

    def mapped(self, x: Node, index: Index) -> str:
        """A function of one element of each input, in the dtype in which NumPy computes it."""
        name = x.detail
        arrays = [n for n in x.inputs if isinstance(n, Node)]
        if name == "astype":
            return self.cast(self.value(arrays[0], index), arrays[0].dtype, x.dtype)
        if name == "where":
            condition = self.truth(x.inputs[0], index)
            yes, no = (self.operand(n, index, x.dtype) for n in x.inputs[1:])
            self.text.imports.add("either")
            return f"either({condition}, {yes}, {no})"
        if name in LOGICAL:
            if name.startswith("bitwise") and x.dtype != np.bool_:
                raise CannotLower(f"np.{name} of numbers")
            return f"({self.truth(x.inputs[0], index)}) {LOGICAL[name]} ({self.truth(x.inputs[1], index)})"
        if name in ("logical_not", "invert"):
            if name == "invert" and x.dtype != np.bool_:
                raise CannotLower("np.invert of numbers")
            return f"(not {self.truth(x.inputs[0], index)})"
        computing = x.dtype
        if name in COMPARING or computing == np.bool_:
            computing = np.result_type(*(n.dtype if isinstance(n, Node) else n for n in x.inputs))
        given = [self.operand(n, index, computing) for n in x.inputs]
        if name == "power":
            return self.power(x, given)
        if name in ("maximum", "minimum"):
            return self.larger(name, given, computing)
        if name in SIMPLE and (computing.kind == "f" or name not in ("tanh", "log1p", "exp", "sqrt")):
            template = SIMPLE[name]
            if template.count("{0}") > 1:
                given = [self.local(given[0])]
            for ours in KERNEL_FUNCTIONS | PRODUCT_FUNCTIONS:
                if f"{ours}(" in template:
                    self.text.imports.add(ours)
            text = template.format(*(_inside(g) for g in given))
            return text if "(" in template and not template.startswith("(") else f"({text})"
        if name in OF_MATH:
            return f"math.{name}({given[0]})"
        if name in CALLED:
            return f"np.{name}({', '.join(given)})"
        raise CannotLower(f"np.{name} has no loops here")

    def power(self, x: Node, given: list[str]) -> str:
        base, exponent = given
        number = x.inputs[1]
        if not isinstance(number, Node) and not isinstance(number, Number):
            if number == 0.5:
                return f"np.sqrt({base})"
            if float(number).is_integer() and 1 <= abs(number) <= 4 and x.dtype.kind == "f":
                base = self.local(base)
                product = "(" + " * ".join([base] * abs(int(number))) + ")"
                return product if number > 0 else f"({self.text.literal(1, x.dtype)} / {product})"
        if x.dtype.kind != "f":
            raise CannotLower("powers of integers")
        return f"{dtype_text(x.dtype)}(np.power({base}, {exponent}))"

    def larger(self, name: str, given: list[str], dtype: np.dtype[Any]) -> str:
        """np.maximum or np.minimum: NaN if one of them is."""
        a, b = (self.local(g) if "(" in g or "[" in g else g for g in given)
        sign = ">=" if name == "maximum" else "<="
        nan = f" | ({a} != {a})" if dtype.kind == "f" else ""
        self.text.imports.add("either")
        return f"either(({a} {sign} {b}){nan}, {a}, {b})"

    def truth(self, x: Any, index: Index) -> str:
        if not isinstance(x, Node):
            return repr(bool(x))
        text = self.value(x, index)
        return text if x.dtype == np.bool_ else f"({text} != {self.text.literal(0, x.dtype)})"

    def operand(self, x: Any, index: Index, dtype: np.dtype[Any]) -> str:
        if not isinstance(x, Node):
            return self.text.literal(x, dtype)
        if x.kind == "full":
            return self.text.literal(x.detail, dtype)
        return self.cast(self.value(x, index), x.dtype, dtype)

    def cast(self, text: str, before: np.dtype[Any], after: np.dtype[Any]) -> str:
        if before == after:
            return text
        if after == np.bool_:
            return f"({text} != {self.text.literal(0, before)})"
        return f"{dtype_text(after)}({text})"

    def along(self, place: tuple[int | None, int, int]) -> str:
        axis, first, step = place
        if axis is None or step == 0:
            return str(first)
        text = LOOPS[axis] if step == 1 else f"{step} * {LOOPS[axis]}"
        return f"{first} + {text}" if first else text

    def at(self, buffer: Buffer, shape: tuple[int, ...], index: Index) -> str:
        """An element of a buffer."""
        if self.flat:
            return f"{buffer.name}[{LOOPS[0]}]"
        start, terms = 0, []
        strides = [math.prod(shape[k + 1 :]) for k in range(len(shape))]
        together: Counter[int] = Counter()
        for (axis, first, step), stride in zip(index, strides, strict=True):
            start += first * stride
            if axis is not None and step != 0 and self.domain[axis] != 1:
                together[axis] += step * stride
        for axis in sorted(together):
            factor = together[axis]
            terms.append(LOOPS[axis] if factor == 1 else f"{factor} * {LOOPS[axis]}")
        if start or not terms:
            terms.insert(0, str(start))
        return f"{buffer.name}[{' + '.join(terms)}]"


def _plain(text: str) -> str:
    """Without the brackets that Python does not need."""
    return ast.unparse(ast.parse(text))


def _inside(text: str) -> str:
    """An operand of an expression: in brackets where it is not closed in itself."""
    closed = text.isidentifier() or text[-1] in ")]" or text.replace(".", "").isalnum()
    return text if closed and not text.startswith("not ") else f"({text})"


def _lowest(dtype: np.dtype[Any], largest: bool) -> Any:
    if dtype.kind == "f":
        return -math.inf if largest else math.inf
    if dtype == np.bool_:
        return not largest
    limits = np.iinfo(dtype)
    return limits.min if largest else limits.max
