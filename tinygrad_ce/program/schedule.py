"""From array operations to loops: what is fused, what is kept in memory and where, and the text that Numba compiles.

Element-by-element operations are not kept, they stand inside the loops that need them; sums run in the loops that
make what they add; matrix products, losses and results are kept. Every buffer is one row of numbers.
"""

from __future__ import annotations

import builtins
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.program import library_calls
from tinygrad_ce.program.abstract import AbstractArray, CannotLower, Node, body_of, in_order, node_of, through
from tinygrad_ce.program.ir import Function, Instruction, Value, unused

Index = tuple[tuple[int | None, int, int], ...]  # for each axis of a buffer: the loop along it, the first, the step

MATERIALIZED_KINDS = {"reduce", "matmul", "scatter_add", "concatenate", "loss", "slope"}
COST = {"exp": 10, "tanh": 10, "log": 10, "log1p": 10, "expm1": 10, "power": 10, "sin": 10, "cos": 10}
COST |= {"divide": 4, "sqrt": 4}
COST |= dict.fromkeys(("tan", "sinh", "cosh", "exp2", "log2", "log10", "cbrt", "hypot", "logaddexp", "erf", "erfc"), 10)
COST |= dict.fromkeys((f"arc{name}" for name in ("sin", "cos", "tan", "tan2", "sinh", "cosh", "tanh")), 10)
# What loops may call: of kernels/vector_math.py, and of kernels/gemm.py.
KERNEL_FUNCTIONS = {"jit", "plus", "either", "exp_of", "log1p_of", "tanh_of"}
PRODUCT_FUNCTIONS = {"add_rows", "exp_any", "multiply", "take_rows"}
MAX_EXPRESSION_COST = 100  # no expression costs more: it would not be read, and Python would not parse it
MAX_LOOP_PRODUCT = 50_000_000  # multiplications; such loops are as fast as the BLAS, and their sizes are known
ALIGNMENT = 64  # bytes: a line of the cache
RECOMPUTE_BELOW = 8  # the cost of an element that is rather read from memory twice than computed twice
DTYPES = {np.dtype(name).str[1:]: f"np.{name}" for name in ("float32", "float64", "int64", "int32", "int16", "int8")}
DTYPES |= {np.dtype(name).str[1:]: f"np.{name}" for name in ("uint8", "uint16", "uint32", "bool_")}
COMPARING = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}
MAX_OPERATIONS = 600  # operations; beyond, Numba would need minutes


@dataclass(eq=False)
class Buffer:
    """Memory of a node: `role` says whose it is ("temporary", "kept", "input", "fixed", "drawn", "output", "work")."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    role: str
    value: Value | None = None
    content: Array | None = None  # of a fixed one
    offset: int = 0  # of a temporary one, in the memory that all of them share

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """How much memory it takes."""
        return self.size * self.dtype.itemsize


@dataclass(eq=False)
class Statement:
    """Fills one buffer, in loops over a domain, or by a call.

    index: where in the target an element goes. reads: which nodes are read from memory, and where (None: anywhere).
    """

    node: Node
    target: Buffer
    domain: tuple[int, ...]
    index: Index
    kind: str  # "map", "reduce", "scatter_add" or "call"
    reads: dict[Node, set[Index | None]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)  # of a call
    writes: set[Buffer] = field(default_factory=set)
    last: bool = False  # an update, or what needs one
    also: Node | None = None  # what a call fills besides

    @property
    def sources(self) -> list[Instruction]:
        """The instructions that it computes."""
        return [x.source for x in (self.node, self.also) if x is not None and x.source is not None]


@dataclass(eq=False)
class Loop:
    """Statements with one domain, in one nest of loops; or one call."""

    domain: tuple[int, ...]
    statements: list[Statement]
    last: bool

    @property
    def called(self) -> bool:
        """Whether it is a call."""
        return self.statements[0].kind == "call"


@dataclass
class Lowered:
    """The text of a program's loops, and the buffers that they work on, in the order of the arguments."""

    text: str
    buffers: list[Buffer]
    views: list[View]
    outputs: dict[str, tuple[Buffer, tuple[int, ...]]]  # where it lies, and its shape
    numbers: list[str]  # what each step is given besides arrays, as formulas
    total: int  # bytes of the memory that the temporaries share
    batched: bool
    inputs: list[Value]  # of the program that was lowered: those of another one like it take their places in order

    @property
    def memory(self) -> str:
        """How many bytes the arrays need, and what for."""
        rows = []
        for role, what in ROLES.items():
            of_role = [b for b in self.buffers if b.role == role]
            if not of_role:
                continue
            size = self.total if role == "temporary" else sum(b.bytes for b in of_role)
            names = ", ".join(b.name for b in of_role[:8]) + (", ..." if len(of_role) > 8 else "")
            rows.append(f"{size:>12,} bytes  {what}: {names}")
        apart = sum(b.bytes for b in self.buffers if b.role == "temporary")
        total = self.total + sum(b.bytes for b in self.buffers if b.role != "temporary")
        shared = (
            f" ({apart:,} if they did not share memory, as their lives do not overlap)" if apart > self.total else ""
        )
        return "\n".join([f"{total:,} bytes, allocated once", *rows]) + shared


ROLES = {
    "state": "parameters and what else lives from step to step",
    "input": "the batch",
    "random": "random numbers",
    "fixed": "fixed arrays",
    "work": "workspace of the losses",
    "temporary": "what is computed on the way",
}


@dataclass(frozen=True)
class View:
    """A buffer under another name and shape, for those who want matrices."""

    name: str
    buffer: Buffer
    shape: tuple[int, ...]
    transposed: bool


def dtype_text(dtype: np.dtype[Any]) -> str:
    """The dtype as it is written in the loops."""
    text = DTYPES.get(dtype.str[1:])
    if text is None:
        raise CannotLower(f"arrays of dtype {dtype} have no loops here")
    return text


def loop_order(reduction: Node) -> list[int]:
    """The axes of what a reduction reads, the outermost loop first; but for sums, those that go are the innermost."""
    (name, gone), axes = reduction.detail, range(len(reduction.inputs[0].shape))
    return list(axes) if name == "sum" else [k for k in axes if k not in gone] + [k for k in axes if k in gone]


def read_by_reduction(reduction: Node) -> Index:
    """Where a reduction reads, in its loops."""
    order = loop_order(reduction)
    return tuple((order.index(k), 0, 1) for k in range(len(order)))


def identity(shape: Sequence[int]) -> Index:
    """Each element of an array of this shape, in its place."""
    return tuple((k, 0, 1) for k in range(len(shape)))


def transposed(node: Node) -> bool:
    """Whether this is a matrix whose transpose is what lies in memory."""
    whole = node.kind == "view" and node.inputs[0].shape == node.shape[::-1]  # not of a part: that is a copy
    return whole and node.detail == ((1, 0, 1), (0, 0, 1))


def _compares(node: Node) -> bool:
    """Whether equal numbers matter to it."""
    return (node.kind == "map" and node.detail in COMPARING) or (node.kind == "reduce" and node.detail[0] != "sum")


class Lowering:
    """Turns one program into loops. batched: the inputs hold many batches, of which each step takes one."""

    def __init__(self, program: Function, batched: bool = False) -> None:
        self.program, self.batched = program, batched
        self.nodes: dict[Value, Node] = {}
        self.separate: set[Node] = set()  # updates that cannot be written where the old value is
        self.begin()

    def begin(self) -> None:
        """Forget every plan."""
        self.buffers: dict[Node, Buffer] = {}
        self.answers: dict[str, Buffer] = {}
        self.all_buffers: list[Buffer] = []
        self.views: dict[tuple[Buffer, tuple[int, ...], bool], View] = {}
        self.names = {"np", "s", "order", "steps", "numbers", "run", *"ijklmnopq", *dir(builtins)}
        self.names |= KERNEL_FUNCTIONS | PRODUCT_FUNCTIONS
        self.imports: set[str] = set()
        self.linked: set[tuple[str, str]] = set()  # kernels that are called where they lie, and for which dtype
        self.statements: list[Statement] = []

    def lowered(self) -> Lowered:
        """The loops of the program. CannotLower if an operation has none."""
        self.write_down()
        self.with_bias()
        self.plan()
        while late := self.overwritten():
            self.separate |= late
            self.plan()
        loops = self.fused()
        total = self.placed(loops)
        from tinygrad_ce.program.numba_text import LoopText

        text, numbers = LoopText(self, loops).text()
        outputs = {name: (self.answers[name], v.shape) for name, v in self.program.outputs.items()}
        return Lowered(
            text,
            self.all_buffers,
            list(self.views.values()),
            outputs,
            numbers,
            total,
            self.batched,
            self.program.inputs,
        )

    # ---- from instructions to nodes

    def write_down(self) -> None:
        """Every value's node, by running the bodies on arrays that only write down."""
        count = len(self.program.instructions)
        if count > MAX_OPERATIONS:
            raise CannotLower(
                f"it has {count:,} operations, and compiling more than {MAX_OPERATIONS} would take minutes"
            )
        for x in self.program.inputs:
            dtype_text(x.dtype)
            self.nodes[x] = Node("input", x.shape, x.dtype, detail=x)
        for i in self.program.instructions:
            inputs = [AbstractArray(self.node(x)) if isinstance(x, Value) else x for x in i.inputs]
            try:
                node = library_calls.node(i, inputs) if i.op in library_calls.KERNELS else None
                if node is None:
                    node = node_of(body_of(i.op.body)(*inputs, **i.params))
            except CannotLower as error:
                raise CannotLower(f"{i.op.name}: {error}") from None
            except (TypeError, ValueError, AttributeError, IndexError) as error:
                raise CannotLower(f"{i.op.name}: its body does not run on arrays without elements: {error}") from error
            if node.shape != i.result.shape or node.dtype != i.result.dtype:
                raise CannotLower(f"{i.op.name}: loops would give {node.shape} {node.dtype}, its body another array")
            self.nodes[i.result] = node
            waiting = [node]
            while waiting:
                node = waiting.pop()
                if node.source is None and node.kind != "input":
                    node.source = i
                    waiting.extend(x for x in node.inputs if isinstance(x, Node))

    def with_bias(self) -> None:
        """Let a product start from the row that is added to it."""
        nodes = self.needed()
        readers = Counter(x for node in nodes for x in node.inputs if isinstance(x, Node))
        asked_for = set(self.nodes.values())
        for node in nodes:
            if node.kind != "map" or node.detail != "add" or len(node.shape) != 2:
                continue
            product, row = node.inputs
            if not isinstance(product, Node) or not isinstance(row, Node) or product.kind != "matmul":
                continue
            added = row.kind == "view" and row.detail == ((1, 0, 1),) and row.inputs[0].dtype == node.dtype
            if added and len(product.inputs) == 2 and readers[product] == 1 and product not in asked_for:
                node.kind, node.detail, node.inputs = "matmul", None, (*product.inputs, row.inputs[0])

    def node(self, value: Value) -> Node:
        """The node of a value."""
        if value not in self.nodes:
            assert value.role == "constant"
            self.nodes[value] = node_of(value.example)
        return self.nodes[value]

    # ---- which nodes are kept in memory

    def needed(self) -> list[Node]:
        """All nodes that an output or update needs, oldest first."""
        found: dict[int, Node] = {}
        waiting = [self.node(v) for v in (*self.program.outputs.values(), *self.program.updates.values())]
        waiting += [node for node in self.nodes.values() if node.kind == "input"]
        while waiting:
            node = waiting.pop()
            if node.number not in found:
                found[node.number] = node
                waiting.extend(x for x in node.inputs if isinstance(x, Node))
        return [found[n] for n in sorted(found)]

    def kept(self, nodes: list[Node]) -> set[Node]:
        """The nodes that get a buffer."""
        kept = {node for node in nodes if node.kind in MATERIALIZED_KINDS}
        kept |= {self.node(v) for v in (*self.program.outputs.values(), *self.program.updates.values())}
        readers = Counter(x for node in nodes for x in node.inputs if isinstance(x, Node))
        repeated: set[Node] = set()  # read again and again along an axis
        for node in nodes:
            if node.kind == "matmul":
                kept.update(x.inputs[0] if transposed(x) else x for x in node.inputs[:2])
                kept.update(node.inputs[2:])
            elif node.kind in ("loss", "slope", "reshape"):
                kept.update(node.inputs)
            elif node.kind == "gather":
                kept.add(node.inputs[0])
            elif node.kind == "view" and node.size > node.inputs[0].size:
                repeated.add(node.inputs[0])
        # What is compared is computed once: computed again, with other instructions around it, its last bit may differ.
        compared = {x for node in nodes if _compares(node) for x in node.inputs if isinstance(x, Node)}
        compared |= {x.inputs[0] for x in compared if x.kind == "view"}
        kept |= {x for x in compared if x.kind == "map" and readers[x] > 1}
        cost: dict[Node, int] = {}
        for node in nodes:
            own = COST.get(node.detail, 1) if node.kind == "map" else int(node.kind == "gather")
            cost[node] = own + sum(0 if x in kept else cost[x] for x in node.inputs if isinstance(x, Node))
            many = readers[node] > 1 and cost[node] >= RECOMPUTE_BELOW
            if node.kind in ("map", "gather") and (
                many or (node in repeated and cost[node] > 1) or cost[node] > MAX_EXPRESSION_COST
            ):
                kept.add(node)
        kept |= {node for node in nodes if node.kind in ("input", "reshape", "constant")}
        return kept | {node.inputs[0] for node in kept if in_order(node)}

    # ---- statements

    def plan(self) -> None:
        """The statements that fill every buffer, in an order in which each finds what it reads."""
        self.begin()
        nodes = self.needed()
        kept = self.kept(nodes)
        updates = {self.node(new): old for old, new in self.program.updates.items()}
        after: set[Node] = set()  # updates and what needs them come last
        for node in nodes:
            if node in updates or any(x in after for x in node.inputs):
                after.add(node)
        slopes = [node for node in nodes if node.kind == "slope"]
        for node in [n for n in nodes if n not in after] + [n for n in nodes if n in after]:
            if node in kept and node not in self.buffers:
                self.fill(node, updates.get(node), node in after, slopes)
        for name, value in self.program.outputs.items():
            self.answer(name, self.node(value))
        for old, new in self.program.updates.items():
            home, source = self.buffers[self.nodes[old]], self.node(new)
            if self.buffers[source] is not home:
                copy = Statement(source, home, source.shape, identity(source.shape), "map", last=True)
                copy.reads = {source: {identity(source.shape)}}
                self.add(copy)

    def answer(self, name: str, node: Node) -> None:
        """Where an output lies: of what will be overwritten by an update a copy is made first."""
        origin = node
        while origin.kind == "reshape" or in_order(origin):
            origin = origin.inputs[0]
        self.answers[name] = self.buffers[node]
        if origin.kind == "input" and self.buffers[node].role == "state":
            copy = self.answers[name] = self.buffer(name, origin.shape, node.dtype, "temporary")
            statement = Statement(origin, copy, origin.shape, identity(origin.shape), "map")
            statement.reads = {origin: {identity(origin.shape)}}
            statement.writes.add(copy)
            self.statements.insert(0, statement)

    def add(self, statement: Statement) -> None:
        """One more statement."""
        statement.writes.add(statement.target)
        self.statements.append(statement)

    def fill(self, node: Node, update: Value | None, last: bool, slopes: list[Node]) -> None:
        """Give a node its buffer, and add the statement that fills it."""
        if node.kind == "input":
            value: Value = node.detail
            content = np.ascontiguousarray(value.example) if value.role == "fixed" else None
            self.buffers[node] = self.buffer(
                value.name, node.shape, node.dtype, value.role, value=value, content=content
            )
        elif node.kind in ("constant", "full"):
            content = node.detail if node.kind == "constant" else np.full(node.shape, node.detail, node.dtype)
            self.buffers[node] = self.buffer("fixed", node.shape, node.dtype, "fixed", content=content)
        elif node.kind == "reshape" or in_order(node):
            self.buffers[node] = self.buffers[node.inputs[0]]
        elif node.kind in ("loss", "slope"):
            library_calls.call(self, node, slopes, last)
        else:
            in_place = update is not None and node.kind == "map" and node not in self.separate
            home = self.buffers[self.nodes[update]] if update is not None and in_place else None
            if home is None or any(home in s.writes for s in self.statements):
                home = self.buffer(self.name_for(node), node.shape, node.dtype, "temporary")
            self.buffers[node] = home
            FILL.get(node.kind, Lowering.elementwise)(self, node, home, last)

    def buffer(self, name: str, shape: Sequence[int], dtype: Any, role: str, **more: Any) -> Buffer:
        """A new buffer; numbers are added to its name until it is a new one."""
        made = Buffer(self.free(name), tuple(shape), np.dtype(dtype), role, **more)
        dtype_text(made.dtype)
        self.all_buffers.append(made)
        return made

    def free(self, name: str) -> str:
        """This name, or with a number behind it if it is taken."""
        name = name.lstrip("_")
        return unused(name if name.isidentifier() else f"t_{name}", self.names)

    def name_for(self, node: Node) -> str:
        """What the buffer of a node is called: as the result that it is, or is a part of."""
        source: Instruction | None = node.source
        if source is None:
            return "t"
        made = self.nodes[source.result]
        whole = made is node or (in_order(made) and made.inputs[0] is node)
        return source.result.name if whole else f"{source.result.name}_part"

    def elementwise(self, node: Node, target: Buffer, last: bool) -> None:
        """One element after the other."""
        statement = Statement(node, target, node.shape, identity(node.shape), "map", last=last)
        self.note(node, identity(node.shape), statement.reads, whole=True)
        self.add(statement)

    def reduction(self, node: Node, target: Buffer, last: bool) -> None:
        """Sums and maxima; but for sums over the first axes, the axes that go are the innermost loops."""
        x, (name, axes) = node.inputs[0], node.detail
        if (
            name == "sum"
            and x in self.buffers
            and node.dtype.kind == "f"
            and axes == tuple(range(len(axes)))
            and 0 < len(axes) < len(x.shape)
        ):
            rows, columns = math.prod(x.shape[: len(axes)]), math.prod(x.shape[len(axes) :])
            if rows * columns and self.buffers[x].shape:
                self.imports.add("add_rows")
                statement = Statement(node, target, (), (), "call", {x: {None}}, last=last)
                statement.lines = [f"add_rows({target.name}, {self.buffers[x].name}, {rows}, {columns})"]
                self.add(statement)
                return
        read = read_by_reduction(node)
        domain = tuple(x.shape[k] for k in loop_order(node))
        index = tuple((None, 0, 0) if k in axes else read[k] for k in range(len(x.shape)))
        statement = Statement(node, target, domain, index, "reduce", last=last)
        self.note(x, read, statement.reads)
        self.add(statement)

    def addition(self, node: Node, target: Buffer, last: bool) -> None:
        """Zeros, with elements added at places."""
        values = node.inputs[0]
        statement = Statement(node, target, values.shape, (), "scatter_add", last=last)
        for x in node.inputs:
            self.note(x, identity(values.shape), statement.reads)
        self.add(statement)

    def joined(self, node: Node, target: Buffer, last: bool) -> None:
        """Several arrays, one behind the other."""
        start = 0
        for x in node.inputs:
            index = tuple((k, start if k == node.detail else 0, 1) for k in range(len(node.shape)))
            statement = Statement(x, target, x.shape, index, "map", last=last)
            self.note(x, identity(x.shape), statement.reads)
            self.add(statement)
            start += x.shape[node.detail]

    def product(self, node: Node, target: Buffer, last: bool) -> None:
        """A product of two matrices: of small ones by loops of known sizes, of large ones by the BLAS."""
        turned = [transposed(x) for x in node.inputs[:2]]
        sources = [x.inputs[0] if turn else x for x, turn in zip(node.inputs[:2], turned, strict=True)]
        bias = [self.buffers[x] for x in node.inputs[2:]]
        (rows, inner), columns = node.inputs[0].shape, node.shape[1]
        statement = Statement(node, target, (), (), "call", last=last)
        statement.reads = {x: {None} for x in (*sources, *node.inputs[2:])}
        a, b = (self.buffers[x] for x in sources)
        if node.dtype.kind != "f" or any(x.dtype != node.dtype for x in sources):
            raise CannotLower("a product of integers")
        if 0 in (rows, inner, columns):
            statement.lines = [f"{target.name}[:] = 0", *self.added(target, bias, rows, columns)]
        elif rows * inner * columns <= MAX_LOOP_PRODUCT:
            self.imports.add("multiply")
            start = bias[0].name if bias else None
            sizes = f"{rows}, {inner}, {columns}, {turned[0]}, {turned[1]}"
            statement.lines = [f"multiply({target.name}, {start}, {a.name}, {b.name}, {sizes})"]
        else:
            left = self.view(a, sources[0].shape, turned[0])
            right = self.view(b, sources[1].shape, turned[1])
            statement.lines = [f"np.dot({left}, {right}, {self.view(target, node.shape)})"]
            statement.lines += self.added(target, bias, rows, columns)
        self.add(statement)

    def added(self, target: Buffer, bias: list[Buffer], rows: int, columns: int) -> list[str]:
        """A row added to all rows of a product."""
        place = f"{target.name}[{columns} * i + j]"
        lines = [f"for i in range({rows}):", f"    for j in range({columns}):"]
        return [*lines, f"        {place} += {bias[0].name}[j]"] if bias else []

    def view(self, buffer: Buffer, shape: tuple[int, ...], turned: bool = False) -> str:
        """The name under which the loops see a buffer as a matrix."""
        key = (buffer, shape, turned)
        if key not in self.views:
            self.views[key] = View(self.free(f"{buffer.name}_{'T' if turned else 'rows'}"), buffer, shape, turned)
        return self.views[key].name

    def note(self, x: Any, index: Index, reads: dict[Node, set[Index | None]], whole: bool = False) -> None:
        """Which buffers, and where, the expression of x reads; whole: of what fills x's own buffer."""
        if not isinstance(x, Node) or x.kind in ("full", "iota"):
            return
        if not whole and x in self.buffers:
            same = self.buffers[x].shape == x.shape
            reads.setdefault(x, set()).add(index if same else None)
        elif x.kind == "view":
            self.note(x.inputs[0], through(x, index), reads)
        elif x.kind == "gather":
            reads.setdefault(x.inputs[0], set()).add(None)  # anywhere
            for each in x.inputs[1:]:
                self.note(each, index, reads)
        elif x.kind == "map":
            for each in x.inputs:
                self.note(each, index, reads)
        else:
            raise AssertionError(f"{x.kind} has no buffer")

    def overwritten(self) -> set[Node]:
        """Updates after which somebody still reads the old value (or somebody else's element of it)."""
        late: set[Node] = set()
        for k, s in enumerate(self.statements):
            for old, new in self.program.updates.items():
                given, node = self.nodes[old], self.node(new)
                if given not in s.reads or self.buffers.get(node) is not self.buffers[given] or node is given:
                    continue
                writer = next(
                    n for n, w in enumerate(self.statements) if w.node is node and w.target is self.buffers[given]
                )
                beside = s.reads[given] != {identity(given.shape)}
                if writer < k or (writer == k and beside):
                    late.add(node)
        return late

    # ---- fusion

    def fused(self) -> list[Loop]:
        """The statements in as few nests of loops as possible."""
        loops: list[Loop] = []
        for s in self.statements:
            written = [k for k, loop in enumerate(loops) if self.before(loop, s)]
            start = max(written, default=-1)
            joined = False
            if s.kind != "call":
                for k in range(max(start, 0), len(loops)):
                    if self.can_join(s, loops, k):
                        loops[k].statements.append(s)
                        joined = True
                        break
            if not joined:
                loops.append(Loop(s.domain, [s], s.last))
        return loops

    def before(self, loop: Loop, s: Statement) -> bool:
        """Whether the loop must not come after the statement: it writes what s reads, or reads what s writes."""
        read = {self.buffers[x] for x in s.reads}
        for other in loop.statements:
            if other.writes & (read | s.writes) or {self.buffers[x] for x in other.reads} & s.writes:
                return True
        return False

    def can_join(self, s: Statement, loops: list[Loop], k: int) -> bool:
        """Whether the statement can run inside the loop, element by element with what is there."""
        loop = loops[k]
        if loop.called or loop.domain != s.domain or loop.last != s.last or s.kind == "scatter_add" or not s.domain:
            return False
        here = identity(s.domain)
        for other in loop.statements:
            if other.kind == "scatter_add":
                return False
            for node, places in s.reads.items():
                if self.buffers[node] in other.writes and (
                    other.node is not node or other.kind == "reduce" or places != {here}
                ):
                    return False  # the element that the other has just made is all that it can have
            for node, places in other.reads.items():
                if self.buffers[node] in s.writes and (s.kind == "reduce" or places != {here}):
                    return False
            if other.writes & s.writes:
                return False
        return True

    # ---- memory

    def placed(self, loops: list[Loop]) -> int:
        """Give every temporary buffer its place in memory that they share; the bytes of it."""
        temporary = [b for b in self.all_buffers if b.role == "temporary"]
        lives: dict[Buffer, tuple[int, int]] = {}
        for k, loop in enumerate(loops):
            for s in loop.statements:
                for b in (*s.writes, *(self.buffers[x] for x in s.reads)):
                    lives[b] = (lives.get(b, (k, k))[0], k)
        for b in self.answers.values():
            lives[b] = (lives.get(b, (0, 0))[0], len(loops))
        taken: list[Buffer] = []
        for b in sorted(temporary, key=lambda b: (-b.bytes, b.name)):
            first, last = lives.get(b, (0, len(loops)))
            others = sorted(
                (o.offset, o.offset + o.bytes) for o in taken if lives[o][0] <= last and first <= lives[o][1]
            )
            offset = 0
            for start, stop in others:
                if offset + b.bytes <= start:
                    break
                offset = max(offset, -(-stop // ALIGNMENT) * ALIGNMENT)
            b.offset = offset
            lives[b] = (first, last)
            taken.append(b)
        return max((b.offset + b.bytes for b in taken), default=0)


FILL = {
    "reduce": Lowering.reduction,
    "scatter_add": Lowering.addition,
    "concatenate": Lowering.joined,
    "matmul": Lowering.product,
}
