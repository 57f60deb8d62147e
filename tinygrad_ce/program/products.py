"""What compiled steps need besides the kernels: products of small matrices whose sizes are known, and exp of any number.

This file brings Numba in; only generated loops import it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from tinygrad_ce.kernels import INLINE, either, exp_of

BYTES = 64  # of the widest vector registers; a processor with narrower ones takes two
REGISTERS = 16  # sums that are kept in registers at a time


def exp_any(x: Any) -> Any:
    """exp(x) for any x: exp_of is for those that are not positive."""
    return np.exp(x)


@overload(exp_any, strict=False, jit_options=INLINE)
def _exp_any(x: Any) -> Any:
    real = np.float32 if x == types.float32 else np.float64
    zero, one = real(0), real(1)

    def body(x):
        e = exp_of(-abs(x), zero)
        return either(x > zero, one / e, e)

    return body


def multiplied(
    out: Any, start: Any, a: Any, b: Any, rows: int, inner: int, columns: int, turned_a: bool, turned_b: bool
) -> None:
    """out = start + a @ b for arrays that are rows of numbers; `turned` matrices lie in memory as their transposes.

    start: a row that is added to each row of the product, or None.
    """
    left = a.reshape(inner, rows).T if turned_a else a.reshape(rows, inner)
    right = b.reshape(columns, inner).T if turned_b else b.reshape(inner, columns)
    out.reshape(rows, columns)[...] = left @ right + (0 if start is None else start)


def rows_added(out: Any, x: Any, rows: int, columns: int) -> None:
    """out = the sum of the rows of x."""
    out[...] = x.reshape(rows, columns).sum(axis=0)


def _multiply(
    context: Any, out: Any, start: Any, a: Any, b: Any, rows: Any, inner: Any, columns: Any, turned_a: Any, turned_b: Any
) -> Any:
    sizes = [t.literal_value for t in (rows, inner, columns, turned_a, turned_b)]
    signature = types.void(out, start, a, b, rows, inner, columns, turned_a, turned_b)
    return signature, partial(_write_product, sizes, 4)


def _add_rows(context: Any, out: Any, x: Any, rows: Any, columns: Any) -> Any:
    sizes = [1, rows.literal_value, columns.literal_value, False, False]
    return types.void(out, x, rows, columns), partial(_write_product, sizes, 2)


def _write_product(sizes: Any, arrays: int, context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    pointers = [
        None if isinstance(kind, types.NoneType) else context.make_array(kind)(context, builder, value).data
        for kind, value in zip(signature.args[:arrays], arguments[:arrays], strict=True)
    ]
    if arrays == 2:  # without a: rows of ones
        pointers[1:1] = [None, None]
    real = signature.args[0].dtype
    _Product(builder, context.get_value_type(real), real.bitwidth // 8, *pointers, *sizes).write()
    return context.get_dummy_value()


multiply: Any = multiplied if config.DISABLE_JIT else intrinsic(prefer_literal=True)(_multiply)
add_rows: Any = rows_added if config.DISABLE_JIT else intrinsic(prefer_literal=True)(_add_rows)


class _Product:
    """Writes the instructions of one product: blocks of rows times vectors of columns, whose sums stay in registers."""

    def __init__(self, builder: Any, real: Any, size: int, out: Any, start: Any, a: Any, b: Any, *sizes: Any) -> None:
        self.builder, self.real, self.size = builder, real, size
        self.out, self.start, self.a, self.b = out, start, a, b
        self.rows, self.inner, self.columns, self.turned_a, self.turned_b = sizes

    def write(self) -> None:
        """All blocks."""
        if self.turned_b:
            self.b = self.straightened()
        lanes = BYTES // self.size
        chunks = [(first, min(lanes, self.columns - first)) for first in range(0, self.columns, lanes)]
        for k in range(0, len(chunks), 4):
            group = chunks[k : k + 4]
            high = max(1, REGISTERS // len(group) if len(group) > 1 else 8)
            whole = self.rows // high
            if whole:
                with cgutils.for_range(self.builder, self.whole(whole)) as loop:
                    self.block(self.builder.mul(loop.index, self.whole(high)), high, group)
            if self.rows % high:
                self.block(self.whole(whole * high), self.rows % high, group)

    def whole(self, n: int) -> Any:
        return ir.Constant(ir.IntType(64), n)

    def straightened(self) -> Any:
        """b as it would lie if it were not turned: vectors are made of neighbours."""
        space = cgutils.alloca_once(self.builder, ir.ArrayType(self.real, self.inner * self.columns))
        space = self.builder.bitcast(space, self.real.as_pointer())
        with cgutils.for_range(self.builder, self.whole(self.inner)) as k:
            with cgutils.for_range(self.builder, self.whole(self.columns)) as j:
                source = self.builder.add(self.builder.mul(j.index, self.whole(self.inner)), k.index)
                target = self.builder.add(self.builder.mul(k.index, self.whole(self.columns)), j.index)
                number = self.builder.load(self.builder.gep(self.b, [source]))
                self.builder.store(number, self.builder.gep(space, [target]))
        return space

    def block(self, first: Any, high: int, group: list[tuple[int, int]]) -> None:
        """Some rows and some vectors of columns of the product."""
        builder = self.builder
        sums = {}
        for r in range(high):
            for start, width in group:
                kind = ir.VectorType(self.real, width)
                sums[r, start] = cgutils.alloca_once(builder, kind)
                zero = ir.Constant(kind, [0.0] * width)
                builder.store(zero if self.start is None else self.vector(self.start, start, width), sums[r, start])
        with cgutils.for_range(builder, self.whole(self.inner)) as loop:
            k = loop.index
            row = builder.gep(self.b, [builder.mul(k, self.whole(self.columns))])
            vectors = {start: self.vector(row, start, width) for start, width in group}
            for r in range(high):
                i = builder.add(first, self.whole(r))
                if self.a is None:
                    for start, _ in group:
                        builder.store(builder.fadd(builder.load(sums[r, start]), vectors[start]), sums[r, start])
                    continue
                if self.turned_a:
                    place = builder.add(builder.mul(k, self.whole(self.rows)), i)
                else:
                    place = builder.add(builder.mul(i, self.whole(self.inner)), k)
                number = builder.load(builder.gep(self.a, [place]))
                for start, width in group:
                    product = builder.fmul(self.repeated(number, width), vectors[start], flags=("contract",))
                    total = builder.fadd(builder.load(sums[r, start]), product, flags=("contract",))
                    builder.store(total, sums[r, start])
        for r in range(high):
            place = builder.mul(builder.add(first, self.whole(r)), self.whole(self.columns))
            for start, width in group:
                target = builder.gep(self.out, [builder.add(place, self.whole(start))])
                target = builder.bitcast(target, ir.VectorType(self.real, width).as_pointer())
                builder.store(builder.load(sums[r, start]), target, align=self.size)

    def vector(self, row: Any, start: int, width: int) -> Any:
        """Neighbours of a row."""
        kind = ir.VectorType(self.real, width)
        place = self.builder.bitcast(self.builder.gep(row, [self.whole(start)]), kind.as_pointer())
        return self.builder.load(place, align=self.size)

    def repeated(self, number: Any, width: int) -> Any:
        """A vector of one number."""
        kind = ir.VectorType(self.real, width)
        one = self.builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
        return self.builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), mask)
