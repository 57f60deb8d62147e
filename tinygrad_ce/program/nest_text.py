"""The text of one nest of loops: what is set up before each loop, the work inside, what is left after it."""

from __future__ import annotations

import ast
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_ce.program.abstract import CannotLower, Node, through
from tinygrad_ce.program.ir import Number
from tinygrad_ce.program.numpy_functions import COMPARING, OF_MATH
from tinygrad_ce.program.statements import Buffer, Index, Loop, Statement, identity, read_by_reduction

if TYPE_CHECKING:
    from tinygrad_ce.program.numba_text import FileText

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
WRAPPING = {"add", "subtract", "multiply", "negative", "square", "absolute", "power", "floor_divide"}
LOGICAL = {"logical_and": "&", "logical_or": "|", "bitwise_and": "&", "bitwise_or": "|"}
KERNELS_IN_EXPRESSIONS = ("tanh_of", "log1p_of", "exp_any")


def dtype_text(dtype: np.dtype[Any]) -> str:
    """The dtype as it is written in the loops."""
    return "np.bool_" if dtype == np.bool_ else f"np.{dtype.name}"


class NestText:
    """One nest of loops, line by line."""

    def __init__(
        self, text: FileText, loop: Loop, domain: tuple[int, ...], flat: bool, rows: tuple[str, str] | None = None
    ) -> None:
        self.rows = rows  # of the outermost loop: the first and the end, if this thread runs only some
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
                self.scatter_add(s, before)
            else:
                value = self.value(s.node, here, whole=self.is_whole(s))
                if s.node in self.plan.of_node and self.is_whole(s):
                    self.known[(s.node, here)] = value = self.local(value)  # others read what it will be
                ends.append(f"{self.at(s.target, s.target.shape, s.index)} = {_plain(value)}")
        body = [*self.inner, *ends]
        lines: list[str] = list(before[0])
        indents = ["    " * (k + (k > 0 and self.rows is not None)) for k in range(depth + 1)]
        for k in range(depth):
            count = ", ".join(self.rows) if k == 0 and self.rows is not None else self.domain[k]
            lines.append(f"{indents[k]}for {LOOPS[k]} in range({count}):")
            if k == 0 and self.rows is not None:
                lines.append(f"    if {LOOPS[0]} >= 0:  # so that Numba knows: no index counts from the end")
            lines += [indents[k + 1] + line for line in before[k + 1]]
        lines += [indents[depth] + line for line in body]
        for k in range(depth, -1, -1):
            lines += [indents[k] + line for line in after[k]]
        return lines

    def is_whole(self, s: Statement) -> bool:
        """Whether the statement makes its node, or copies one that lies elsewhere."""
        return self.plan.of_node.get(s.node) is s.target or s.node not in self.plan.of_node

    def reduce(self, s: Statement, before: list[list[str]], after: list[list[str]]) -> None:
        """A sum along the innermost loops, or added up in memory row by row; or a largest or smallest element."""
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
        total = self.text.names.free(f"{name}_{self.text.local()}")
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

    def scatter_add(self, s: Statement, before: list[list[str]]) -> None:
        """Zeros, and then elements added at places."""
        target, here = s.target, identity(self.domain)
        before[0] += [f"for i in range({target.size}):", f"    {target.name}[i] = {self.text.literal(0, target.dtype)}"]
        value = self.value(s.node.inputs[0], here)
        place = self.gathered(s.node.inputs, target.shape, s.node.detail, here)
        self.inner.append(_plain(f"{target.name}[{place}] += {value}"))

    def gathered(self, inputs: Any, shape: tuple[int, ...], places: Any, index: Index) -> str:
        """The position of the element that index arrays select; negative indices count from the end."""
        terms = []
        for k, (kind, which, *run) in enumerate(places):
            stride = math.prod(shape[k + 1 :])
            if kind == "axis":
                axis, start, step = index[which]
                term = self.along((axis, run[0] + run[1] * start, run[1] * step))
            else:
                term = self.value(inputs[which], index)
                if kind == "at":  # it may be negative, or outside of the array
                    term = self.local(term)
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
        if self.uses[key] > 1 or (not whole and x in self.plan.of_node):
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
        if not whole and x in self.plan.of_node:
            text = self.at(self.plan.of_node[x], x.shape, index)
        elif x.kind == "view":
            text = self.value(x.inputs[0], through(x, index))
        elif x.kind == "iota":
            text = self.along(index[x.detail])
        elif x.kind == "gather":
            source = self.plan.of_node[x.inputs[0]]
            text = f"{source.name}[{self.gathered(x.inputs, x.inputs[0].shape, x.detail, index)}]"
        else:
            text = self.mapped(x, index)
        if self.uses[key] > 1 and not text.isidentifier():
            text = self.known[key] = self.local(text)
        return text

    def mapped(self, x: Node, index: Index) -> str:
        """A function of one element of each input, in the dtype in which NumPy computes it."""
        try:
            text = self.function_of(x, index)
        except CannotLower as error:
            raise error.located(x.source) from None
        # Numba computes with small integers as with large ones: what is too large would not wrap around.
        wraps = x.detail in WRAPPING and x.dtype.kind in "iu" and x.dtype.itemsize < 8
        return f"{dtype_text(x.dtype)}({text})" if wraps else text

    def function_of(self, x: Node, index: Index) -> str:
        """The text of the function alone."""
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
        operands = [self.operand(n, index, computing) for n in x.inputs]
        if name == "power":
            return self.power(x, operands)
        if name in ("floor_divide", "remainder"):
            return self.whole(name, operands, computing)
        if name in ("maximum", "minimum"):
            return self.larger(name, operands, computing)
        if name in SIMPLE:
            template = SIMPLE[name]
            if template.count("{0}") > 1:
                operands = [self.local(operands[0])]
            self.text.imports |= {name for name in KERNELS_IN_EXPRESSIONS if f"{name}(" in template}
            text = template.format(*(_inside(g) for g in operands))
            return text if "(" in template and not template.startswith("(") else f"({text})"
        return f"{'math' if name in OF_MATH else 'np'}.{name}({', '.join(operands)})"

    def power(self, x: Node, operands: list[str]) -> str:
        """A power: of small whole numbers as products."""
        base, exponent = operands
        number = x.inputs[1]
        if not isinstance(number, Node) and not isinstance(number, Number):
            if number == 0.5:
                return f"np.sqrt({base})"
            if float(number).is_integer() and 1 <= abs(number) <= 4 and x.dtype.kind == "f":
                base = self.local(base)
                product = "(" + " * ".join([base] * abs(int(number))) + ")"
                return product if number > 0 else f"({self.text.literal(1, x.dtype)} / {product})"
        if x.dtype.kind != "f":
            return self.whole("power", operands, x.dtype)
        return f"{dtype_text(x.dtype)}(np.power({base}, {exponent}))"

    def whole(self, name: str, operands: list[str], dtype: np.dtype[Any]) -> str:
        """Division with a remainder, or a power of integers."""
        function = f"{name}_{'floats' if dtype.kind == 'f' else 'integers'}"
        self.text.imports.add(function)
        text = f"{function}({', '.join(operands)})"
        return f"{dtype_text(dtype)}({text})" if dtype.kind == "f" else text

    def larger(self, name: str, operands: list[str], dtype: np.dtype[Any]) -> str:
        """np.maximum or np.minimum: NaN if one of them is."""
        a, b = (self.local(g) if "(" in g or "[" in g else g for g in operands)
        sign = ">=" if name == "maximum" else "<="
        nan = f" | ({a} != {a})" if dtype.kind == "f" else ""
        self.text.imports.add("either")
        return f"either(({a} {sign} {b}){nan}, {a}, {b})"

    def truth(self, x: Any, index: Index) -> str:
        """An element as a condition."""
        if not isinstance(x, Node):
            return repr(bool(x))
        text = self.value(x, index)
        return text if x.dtype == np.bool_ else f"({text} != {self.text.literal(0, x.dtype)})"

    def operand(self, x: Any, index: Index, dtype: np.dtype[Any]) -> str:
        """An element in the dtype of the operation; a number as a literal of it."""
        if not isinstance(x, Node):
            return self.text.literal(x, dtype)
        if x.kind == "full":
            return self.text.literal(x.detail, dtype)
        return self.cast(self.value(x, index), x.dtype, dtype)

    def cast(self, text: str, before: np.dtype[Any], after: np.dtype[Any]) -> str:
        """An element in another dtype."""
        if before == after:
            return text
        if after == np.bool_:
            return f"({text} != {self.text.literal(0, before)})"
        return f"{dtype_text(after)}({text})"

    def along(self, place: tuple[int | None, int, int]) -> str:
        """The index along an axis."""
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
        strides_of_loops: Counter[int] = Counter()
        for (axis, first, step), stride in zip(index, strides, strict=True):
            start += first * stride
            if axis is not None and step != 0 and self.domain[axis] != 1:
                strides_of_loops[axis] += step * stride
        for axis in sorted(strides_of_loops):
            factor = strides_of_loops[axis]
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
