"""What compiled steps need besides the kernels: products of matrices whose sizes are known.

This file brings Numba in; only generated loops import it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

PLAIN = bool(vars(config)["DISABLE_JIT"])  # whether all loops run as Python
BYTES = 64  # of the widest vector registers; a processor with narrower ones takes two
VECTORS = 4  # of columns at a time
HIGH = {1: 8, 2: 6, 3: 5, 4: 4}  # rows at a time, for so many vectors: their sums fit into 32 registers
TERMS = 1024  # of a sum at a time


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


def rows_taken(
    out: Any, source: Any, order: Any, first: int, begin: int, end: int, width: int, column: int, columns: int
) -> None:
    """Rows begin to end of out = the rows of source whose numbers stand in order, from the first + begin on.

    column, columns: of each row only so many numbers, from this one on.
    """
    some = slice(column, column + columns)
    out.reshape(-1, width)[begin:end, some] = source.reshape(-1, width)[order[first + begin : first + end], some]


def some_rows_multiplied(out: Any, start: Any, a: Any, b: Any, *sizes: Any) -> None:
    """As `multiplied`, of some rows only: the last two sizes are the first of them and where they end."""
    *whole, begin, end = sizes
    product = np.empty_like(out)
    multiplied(product, start, a, b, *whole)
    columns = whole[2]
    out[begin * columns : end * columns] = product[begin * columns : end * columns]


def some_terms_multiplied(out: Any, start: Any, a: Any, b: Any, *sizes: Any) -> None:
    """As `multiplied`, but only some terms of each sum: the last two sizes are the first of them and where they end."""
    rows, inner, columns, _, _, begin, end = sizes
    left, right = a.reshape(rows, inner)[:, begin:end], b.reshape(inner, columns)[begin:end]
    out.reshape(rows, columns)[...] = left @ right + (0 if start is None else start)


def _multiply(
    context: Any,
    out: Any,
    start: Any,
    a: Any,
    b: Any,
    rows: Any,
    inner: Any,
    columns: Any,
    turned_a: Any,
    turned_b: Any,
) -> Any:
    sizes = [t.literal_value for t in (rows, inner, columns, turned_a, turned_b)]
    signature = types.void(out, start, a, b, rows, inner, columns, turned_a, turned_b)
    return signature, partial(_write_product, sizes, 4)


def _multiply_rows(
    context: Any,
    out: Any,
    start: Any,
    a: Any,
    b: Any,
    rows: Any,
    inner: Any,
    columns: Any,
    turned_a: Any,
    turned_b: Any,
    begin: Any,
    end: Any,
) -> Any:
    sizes = [t.literal_value for t in (rows, inner, columns, turned_a, turned_b)]
    signature = types.void(out, start, a, b, rows, inner, columns, turned_a, turned_b, types.int64, types.int64)
    return signature, partial(_write_product, sizes, 4)


def _multiply_terms(
    context: Any,
    out: Any,
    start: Any,
    a: Any,
    b: Any,
    rows: Any,
    inner: Any,
    columns: Any,
    turned_a: Any,
    turned_b: Any,
    begin: Any,
    end: Any,
) -> Any:
    literals = (rows, inner, columns, turned_a, turned_b, begin, end)
    sizes = [t.literal_value for t in literals]
    return types.void(out, start, a, b, *literals), partial(_write_product, sizes, 4)


def _add_rows(context: Any, out: Any, x: Any, rows: Any, columns: Any) -> Any:
    sizes = [1, rows.literal_value, columns.literal_value, False, False]
    return types.void(out, x, rows, columns), partial(_write_product, sizes, 2)


def _take_rows(
    context: Any,
    out: Any,
    source: Any,
    order: Any,
    first: Any,
    begin: Any,
    end: Any,
    width: Any,
    column: Any,
    columns: Any,
) -> Any:
    wide, start, count = (ir.Constant(ir.IntType(64), t.literal_value) for t in (width, column, columns))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, origin, places = (
            context.make_array(kind)(context, builder, value).data
            for kind, value in zip(signature.args[:3], arguments[:3], strict=True)
        )
        size = context.get_abi_sizeof(context.get_data_type(out.dtype))
        with cgutils.for_range(builder, arguments[5], arguments[4]) as loop:
            row = builder.load(builder.gep(places, [builder.add(arguments[3], loop.index)]))
            to = builder.gep(target, [builder.add(builder.mul(loop.index, wide), start)])
            of = builder.gep(origin, [builder.add(builder.mul(row, wide), start)])
            cgutils.raw_memcpy(builder, to, of, count, size)
        return context.get_dummy_value()

    whole = types.int64
    return types.void(out, source, order, whole, whole, whole, width, column, columns), generate


def _write_product(sizes: Any, arrays: int, context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    pointers = [
        None if isinstance(kind, types.NoneType) else context.make_array(kind)(context, builder, value).data
        for kind, value in zip(signature.args[:arrays], arguments[:arrays], strict=True)
    ]
    if arrays == 2:  # without a: rows of ones
        pointers[1:1] = [None, None]
    real = signature.args[0].dtype
    rows = arguments[9:] if len(sizes) == 5 and len(arguments) > 9 else None
    _Product(builder, context.get_value_type(real), real.bitwidth // 8, *pointers, *sizes[:5], rows, *sizes[5:]).write()
    return context.get_dummy_value()


multiply_terms: Any = some_terms_multiplied if PLAIN else intrinsic(prefer_literal=True)(_multiply_terms)
multiply_rows: Any = some_rows_multiplied if PLAIN else intrinsic(prefer_literal=True)(_multiply_rows)
multiply: Any = multiplied if PLAIN else intrinsic(prefer_literal=True)(_multiply)
take_rows: Any = rows_taken if PLAIN else intrinsic(prefer_literal=True)(_take_rows)
add_rows: Any = rows_added if PLAIN else intrinsic(prefer_literal=True)(_add_rows)


class _Product:
    """Writes the instructions of one product.

    Some rows times some vectors of columns at a time: their sums stay in registers. Of long products some terms at a
    time, so that the part of b that is used again and again stays in the nearest cache.
    Source: K. Goto, R. van de Geijn, "Anatomy of high-performance matrix multiplication", 2008.
    """

    def __init__(self, builder: Any, real: Any, size: int, out: Any, start: Any, a: Any, b: Any, *sizes: Any) -> None:
        self.builder, self.real, self.size = builder, real, size
        self.out, self.start, self.a, self.b = out, start, a, b
        self.rows, self.inner, self.columns, self.turned_a, self.turned_b, self.some, *terms = sizes
        self.first: int = terms[0] if terms else 0  # of the terms of each sum
        self.end: int = terms[1] if terms else self.inner
        self.lanes = BYTES // size

    def write(self) -> None:
        """All blocks."""
        self.in_parts = self.end - self.first > TERMS + TERMS // 2  # then the sums of the first parts wait in `out`
        if self.in_parts:
            self.begin()
        wide = VECTORS * self.lanes
        self.repeated(self.columns // wide, wide, lambda first: self.some_columns(first, wide))
        if self.columns % wide:
            self.some_columns(self.whole(self.columns // wide * wide), self.columns % wide)

    def repeated(self, times: int, step: int, work: Any) -> None:
        """Work at 0, step, 2 step...: by a loop, or without one."""
        if times == 1:
            work(self.whole(0))
        elif times > 1:
            with cgutils.for_range(self.builder, self.whole(times)) as loop:
                work(self.builder.mul(loop.index, self.whole(step)))

    def begin(self) -> None:
        """Fill the product with what it starts from."""
        start, stop = (self.whole(0), self.whole(self.rows)) if self.some is None else self.some
        with cgutils.for_range(self.builder, stop, start) as i:
            row = self.at(self.out, i.index, self.columns)
            with cgutils.for_range(self.builder, self.whole(self.columns)) as j:
                zero = ir.Constant(self.real, 0.0)
                value = zero if self.start is None else self.builder.load(self.builder.gep(self.start, [j.index]))
                self.builder.store(value, self.builder.gep(row, [j.index]))

    def some_columns(self, column: Any, wide: int) -> None:
        """These columns of the product."""
        count: int = self.end - self.first
        first: Any = self.whole(self.first)
        terms = TERMS if self.in_parts else count

        def work(k: Any) -> None:
            self.some_terms(column, wide, self.builder.add(first, k), terms)

        self.repeated(count // terms, terms, work)
        if count % terms:
            self.some_terms(column, wide, self.whole(self.first + count // terms * terms), count % terms)

    def some_terms(self, column: Any, wide: int, k: Any, terms: int) -> None:
        """Some terms of the sums of these columns."""
        if self.turned_b:
            panel, stride = self.straightened(column, wide, k, terms), wide
        else:
            panel, stride = self.builder.gep(self.at(self.b, k, self.columns), [column]), self.columns
        chunks = [(first, min(self.lanes, wide - first)) for first in range(0, wide, self.lanes)]
        high = HIGH[len(chunks)]

        def work(first: Any, rows: int) -> None:
            self.block(first, rows, column, chunks, panel, stride, k, terms)

        if self.some is not None:
            self.some_rows(high, work)
            return
        self.repeated(self.rows // high, high, lambda first: work(first, high))
        if self.rows % high:
            work(self.whole(self.rows // high * high), self.rows % high)

    def some_rows(self, high: int, work: Any) -> None:
        """Work at some of the rows: so many at a time, and those that are left one by one."""
        builder, (start, stop) = self.builder, self.some
        one, many = self.whole(1), self.whole(high)
        blocks = builder.sdiv(builder.sub(stop, start), many)
        with cgutils.for_range(builder, blocks) as loop:
            work(builder.add(start, builder.mul(loop.index, many)), high)
        with cgutils.for_range_slice(builder, builder.add(start, builder.mul(blocks, many)), stop, one) as (i, _):
            work(i, 1)

    def block(
        self, first: Any, high: int, column: Any, chunks: Any, panel: Any, stride: int, k: Any, terms: int
    ) -> None:
        """Some terms of some rows and columns."""
        builder = self.builder
        places = [
            builder.gep(self.at(self.out, builder.add(first, self.whole(r)), self.columns), [column])
            for r in range(high)
        ]
        sums = {}
        for r in range(high):
            for start, width in chunks:
                kind = ir.VectorType(self.real, width)
                sums[r, start] = cgutils.alloca_once(builder, kind)
                if self.in_parts:
                    begin = self.vector(places[r], start, width)
                elif self.start is not None:
                    begin = self.vector(builder.gep(self.start, [column]), start, width)
                else:
                    begin = ir.Constant(kind, [0.0] * width)
                builder.store(begin, sums[r, start])
        with cgutils.for_range(builder, self.whole(terms)) as loop:
            row = self.at(panel, loop.index, stride)
            vectors = {start: self.vector(row, start, width) for start, width in chunks}
            term = builder.add(k, loop.index)
            for r in range(high):
                number = None
                if self.a is not None:
                    i = builder.add(first, self.whole(r))
                    place = builder.gep(self.at(self.a, term, self.rows), [i])
                    if not self.turned_a:
                        place = builder.gep(self.at(self.a, i, self.inner), [term])
                    number = builder.load(place)
                for start, width in chunks:
                    total = builder.load(sums[r, start])
                    product = vectors[start]
                    if number is not None:
                        product = builder.fmul(self.spread(number, width), product, flags=("contract",))
                    builder.store(builder.fadd(total, product, flags=("contract",)), sums[r, start])
        for r in range(high):
            for start, _ in chunks:
                self.put(builder.load(sums[r, start]), places[r], start)

    def straightened(self, column: Any, wide: int, k: Any, terms: int) -> Any:
        """The part of b that is needed, as it would lie if b were not turned: blocks are turned in registers."""
        builder, lanes = self.builder, self.lanes
        space = cgutils.alloca_once(builder, ir.ArrayType(self.real, terms * wide))
        space = builder.bitcast(space, self.real.as_pointer())

        def source(j: Any) -> Any:
            return builder.gep(self.at(self.b, builder.add(column, j), self.inner), [k])

        def turned(j: Any, k_first: Any) -> None:
            rows = [
                self.vector(builder.gep(source(builder.add(j, self.whole(r))), [k_first]), 0, lanes)
                for r in range(lanes)
            ]
            for r, vector in enumerate(_transposed(builder, rows, lanes)):
                self.put(vector, builder.gep(self.at(space, builder.add(k_first, self.whole(r)), wide), [j]), 0)

        def one_by_one(j_range: tuple[int, int], k_range: tuple[int, int]) -> None:
            if j_range[0] == j_range[1] or k_range[0] == k_range[1]:
                return
            with cgutils.for_range(builder, self.whole(j_range[1]), self.whole(j_range[0])) as j:
                row = source(j.index)
                with cgutils.for_range(builder, self.whole(k_range[1]), self.whole(k_range[0])) as kk:
                    number = builder.load(builder.gep(row, [kk.index]))
                    builder.store(number, builder.gep(self.at(space, kk.index, wide), [j.index]))

        whole_j, whole_k = wide // lanes * lanes, terms // lanes * lanes
        self.repeated(
            wide // lanes, lanes, lambda j: self.repeated(terms // lanes, lanes, lambda k_first: turned(j, k_first))
        )
        one_by_one((0, whole_j), (whole_k, terms))
        one_by_one((whole_j, wide), (0, terms))
        return space

    def whole(self, n: int) -> Any:
        """A whole number."""
        return ir.Constant(ir.IntType(64), n)

    def at(self, pointer: Any, row: Any, stride: int) -> Any:
        """Where a row begins."""
        return self.builder.gep(pointer, [self.builder.mul(row, self.whole(stride))])

    def vector(self, row: Any, start: int, width: int) -> Any:
        """Neighbours of a row."""
        kind = ir.VectorType(self.real, width)
        place = self.builder.bitcast(self.builder.gep(row, [self.whole(start)]), kind.as_pointer())
        return self.builder.load(place, align=self.size)

    def put(self, vector: Any, row: Any, start: int) -> None:
        """Store neighbours of a row."""
        place = self.builder.bitcast(self.builder.gep(row, [self.whole(start)]), vector.type.as_pointer())
        self.builder.store(vector, place, align=self.size)

    def spread(self, number: Any, width: int) -> Any:
        """A vector of one number."""
        kind = ir.VectorType(self.real, width)
        one = self.builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), _mask([0] * width))


def _mask(places: list[int]) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places)


def _transposed(builder: Any, rows: list[Any], n: int) -> list[Any]:
    """n vectors of n numbers, turned: blocks of s x s change places with their neighbours, for s = 1, 2, 4..."""
    s = 1
    while s < n:
        for r in range(n):
            if not r & s:
                a, b = rows[r], rows[r + s]
                rows[r] = builder.shuffle_vector(a, b, _mask([n + c - s if c & s else c for c in range(n)]))
                rows[r + s] = builder.shuffle_vector(a, b, _mask([n + c if c & s else c + s for c in range(n)]))
        s *= 2
    return rows
