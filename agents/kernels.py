"""One step of a GPT-2 network on the processor, compiled: new tokens of many rows in, each row's next token out.

Written for what general libraries do not offer together: rows of ragged length against a cache that rows enter and leave, and
sums whose order depends on nothing but the row. Every number of a row is computed by the same operations in the same order
whatever stands beside it and however its tokens were cut into steps, so what is said is the same in any company, bit for bit.
Compiled by numba at the first call and kept on disk. Knows arrays and addresses; knows nothing of dialogues.

Letters: M new tokens, S rows with new tokens, C hidden size, H heads, D = C / H, V vocabulary, L layers. "Wide" sizes are
rounded up to whole `PANEL`s. All floats are float32, all whole numbers int64, all arrays contiguous.

Kept as int8 are the cache's keys and values, each token's of a head in steps of their own (the largest / 127), and matrices,
each column in steps of its own. What is multiplied with a matrix or with keys is rounded to int8 before, each row in steps of
its own, so that sums are whole numbers and exact (Yao et al. 2022, "ZeroQuant": by token and by column).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

_FEATURES = get_host_cpu_features() if numba.config.CPU_FEATURES is None else numba.config.CPU_FEATURES
LANES = 16 if "+avx512f" in _FEATURES.split(",") else 8  # numbers in a vector register; LLVM splits it where they are smaller
WIDTH = 1 if {"+avx512vnni", "+avx512vl"} <= set(_FEATURES.split(",")) else 2  # bytes of a number that is multiplied with int8
GROUP = 4  # numbers whose products with int8 are summed at once
PANEL = 2 * LANES  # columns of a matrix that are computed together
TILE = 12 if LANES == 16 else 6  # rows computed together: their sums fill 24 of 32 registers, or twelve of sixteen
CHUNK = 96  # rows that one thread takes at a time at most, a multiple of TILE; their inputs stay in its second-level cache
FEW = 16  # rows below which the heads of one go to different threads, and one thread rounds them all
LOOK = 64  # columns of the logits whose maxima are compared side by side, a multiple of PANEL
BLOCK = 32  # tokens of one row that stand together in the cache
PIECE = 8  # numbers: values in the cache are padded to whole pieces, on all processors alike
PIECES = 8  # of values that are mixed together; half of them for several tokens where registers are few
TOGETHER = 4 if LANES == 16 else 2  # tokens of a prompt that look at a block of the cache together
ACTIVATIONS = {"relu": 0, "gelu": 1}  # all others: 2, the tanh form of gelu

_FLOATS = ir.FloatType().as_pointer()
_KINDS = {"float": ir.FloatType(), "byte": ir.IntType(8)}
_AS_WRITTEN = ("nsz",)  # numba's `fastmath` changes instructions that have no flag of their own
_BYTES = ir.IntType(8).as_pointer()
LARGEST = 127.0  # a number kept as int8, in steps of its row's or column's own size
TINY = np.float32(1e-30)  # numbers up to this are kept as 0


class Weights(NamedTuple):
    """A network's parameters as the kernels read them; matrices are `packed`, layers stand one after another."""

    words: Any
    """(V, C)"""
    places: Any
    """(positions, C)"""
    norms: Any
    """(2 L + 1, 2, C): gain and bias of each norm, the final one last"""
    attend: Any
    """(L, packed C x 3 C)"""
    attend_bias: Any
    """(L, wide 3 C)"""
    project: Any
    """(L, packed C x C)"""
    project_bias: Any
    """(L, wide C)"""
    expand: Any
    """(L, packed C x inner size)"""
    expand_bias: Any
    """(L, wide inner size)"""
    contract: Any
    """(L, packed inner size x C)"""
    contract_bias: Any
    """(L, wide C)"""
    output: Any
    """(packed C x V,): `words` transposed"""
    output_bias: Any
    """(wide V,): minus infinity for tokens that are never said, else 0"""


class Work(NamedTuple):
    """Memory for intermediate results, reused from step to step; M and S are the most of any step.

    What is not needed at the same time may stand in the same memory: `normed` and `mixed`, `queries` and `inner`.
    """

    states: Any
    """(M, wide C)"""
    normed: Any
    """(M, wide C): what a product rounds and reads"""
    queries: Any
    """(M, wide 3 C)"""
    mixed: Any
    """(M, wide C): what attention gives"""
    inner: Any
    """(M, wide inner size)"""
    hidden: Any
    """(S, wide C): after the final norm, of each row's last token"""
    logits: Any
    """(CHUNK, wide V)"""
    rounded: Any
    """(the larger of M and S, `rounded_bytes`) uint8: what a product multiplies"""


class Drawing(NamedTuple):
    """How tokens are drawn; see `convogym.agents.sampling.Sampling`."""

    top_k: int
    top_p: float
    temperature: float
    eos: int


def wide(size: int) -> int:
    """The size rounded up to whole panels."""
    return -(-size // PANEL) * PANEL


def padded(size: int) -> int:
    """The size rounded up to whole pieces."""
    return -(-size // PIECE) * PIECE


def block_bytes(layers: int, heads: int, size: int) -> int:
    """Memory of one `BLOCK` of the cache.

    For each layer and head the keys as `packed` has the columns of a matrix, then the values, (BLOCK, padded D) int8, and
    their steps, (BLOCK,) float32.
    """
    return layers * heads * BLOCK * (-(-size // GROUP) * GROUP + padded(size) + 2 * 4)


def packed(matrix: Any) -> Any:
    """(in, out) float32 -> flat uint8: panel by panel of `PANEL` columns.

    Of each panel first its numbers, (in / `GROUP` rounded up, PANEL, GROUP), in steps of their column and 128 more than they
    are, then the steps, (PANEL,) float32. Rows and columns that lack are 0.
    """
    rows, columns = matrix.shape
    full = np.zeros((-(-rows // GROUP) * GROUP, wide(columns)), np.float32)
    full[:rows, :columns] = matrix
    most = np.abs(full).max(0)
    scale = np.where(most > TINY, np.float32(LARGEST) / np.maximum(most, TINY), 0)
    whole = (np.rint(full * scale.astype(np.float32)) + 128).astype(np.uint8)
    numbers = whole.reshape(-1, GROUP, full.shape[1] // PANEL, PANEL).transpose(2, 0, 3, 1).reshape(full.shape[1] // PANEL, -1)
    steps = (most / np.float32(LARGEST)).reshape(-1, PANEL).view(np.uint8)
    return np.concatenate([numbers, steps], 1).reshape(-1)


def rounded_bytes(depth: int) -> int:
    """Memory of a row of so many numbers rounded for a product with a matrix of int8.

    The numbers in groups, as `GROUP` bytes or, where the processor does not sum products of bytes, as `GROUP` int16, the
    second and third of them changed over; then their step, float32, and -128 times their sum, int32. Room for whole vectors.
    Sums of products fit into int32 up to a depth of 133,144.
    """
    return -(-depth // LANES) * LANES * WIDTH + 8


def _byte_tile(rows: int, adds: bool) -> Any:
    """Makes the innermost loop of a product with a matrix of int8: so many rows at most, one panel.

    Its arguments are how many rows; addresses of and bytes between rows of what is multiplied (`rounded_bytes`); the panel's
    address; c's and bytes between its rows; the bias's; how many groups deep. c = sums + bias, or that is added to it.
    """

    @intrinsic
    def tile(context: Any, rows_: Any, a: Any, lda: Any, b: Any, c: Any, ldc: Any, bias: Any, groups: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            end = builder.append_basic_block("computed")
            size = builder.switch(args[0], end)
            for each in range(1, rows + 1):
                one = builder.append_basic_block(f"rows{each}")
                size.add_case(args[0].type(each), one)
                builder.position_at_end(one)
                _byte_loop(builder, each, adds, args[1:])
                builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 8), generate

    return tile


def _byte_loop(builder: Any, rows: int, adds: bool, args: Sequence[Any]) -> None:
    """Writes the loop of a `_byte_tile` for so many rows; `args` are the tile's from the second on."""
    a, lda, b, c, ldc, bias, groups = args
    number, word = a.type, ir.IntType(32)
    kind, floats = ir.VectorType(word, LANES), ir.VectorType(ir.FloatType(), LANES)
    columns = range(PANEL // LANES)
    starts = [builder.add(a, builder.mul(number(i), lda)) for i in range(rows)]
    size = builder.mul(groups, number(GROUP * PANEL))  # of the panel's numbers
    ends = [builder.add(start, builder.mul(groups, number(GROUP * WIDTH))) for start in starts]

    def load(at: Any, of: Any) -> Any:
        return builder.load(builder.inttoptr(at, of.as_pointer()), align=4)

    def spread(one: Any, of: Any) -> Any:
        return _spread(builder, one, of)

    sums = [[cgutils.alloca_once(builder, kind) for _ in columns] for _ in range(rows)]
    for i in range(rows):
        first = spread(load(builder.add(ends[i], number(4)), word), kind)
        for v in columns:
            builder.store(first, sums[i][v])
    with cgutils.for_range(builder, groups) as loop:
        group = builder.add(b, builder.mul(loop.index, number(GROUP * PANEL)))
        found = [load(builder.add(group, number(4 * LANES * v)), kind) for v in columns]
        beside = builder.mul(loop.index, number(GROUP * WIDTH))
        _dot(builder, found, [builder.add(start, beside) for start in starts], sums)
    for v in columns:
        steps = load(builder.add(b, builder.add(size, number(4 * LANES * v))), floats)
        start = load(builder.add(bias, number(4 * LANES * v)), floats)
        for i in range(rows):
            step = builder.fmul(steps, spread(load(ends[i], ir.FloatType()), floats), flags=_AS_WRITTEN)
            total = builder.fmul(builder.sitofp(builder.load(sums[i][v]), floats), step, flags=_AS_WRITTEN)
            total = builder.fadd(total, start, flags=_AS_WRITTEN)
            place = builder.add(c, builder.add(builder.mul(number(i), ldc), number(4 * LANES * v)))
            if adds:
                total = builder.fadd(total, load(place, floats), flags=_AS_WRITTEN)
            builder.store(total, builder.inttoptr(place, floats.as_pointer()), align=4)


def _spread(builder: Any, one: Any, kind: Any) -> Any:
    """A vector whose numbers are all one."""
    whole = builder.insert_element(ir.Constant(kind, ir.Undefined), one, ir.IntType(32)(0))
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
    return builder.shuffle_vector(whole, ir.Constant(kind, ir.Undefined), lanes)


def _dot(builder: Any, columns: Sequence[Any], rows: Sequence[Any], sums: Sequence[Sequence[Any]]) -> None:
    """Adds the products of a group to sums: of rows, whose groups are at these addresses, with columns, vectors of groups."""
    word = ir.IntType(32)
    kind = ir.VectorType(word, LANES)

    def ones(at: Any) -> Any:
        return _spread(builder, builder.load(builder.inttoptr(at, word.as_pointer()), align=4), kind)

    if WIDTH == 1:
        operation = ir.FunctionType(kind, [kind] * 3)
        dot = cgutils.get_or_insert_function(builder.module, operation, f"llvm.x86.avx512.vpdpbusd.{32 * LANES}")
        for row, at in enumerate(rows):
            group = ones(at)
            for v, column in enumerate(columns):
                builder.store(builder.call(dot, [builder.load(sums[row][v]), column, group]), sums[row][v])
        return
    mask, eight = (ir.Constant(kind, [constant] * LANES) for constant in (0x00FF00FF, 8))
    parts = [(builder.and_(each, mask), builder.and_(builder.lshr(each, eight), mask)) for each in columns]
    for row, at in enumerate(rows):
        groups = [ones(builder.add(at, at.type(4 * half))) for half in range(2)]
        for v, part in enumerate(parts):
            total = builder.load(sums[row][v])
            for half, group in zip(part, groups, strict=True):
                total = builder.add(total, _pairs(builder, half, group))
            builder.store(total, sums[row][v])


def _pairs(builder: Any, one: Any, other: Any) -> Any:
    """Of vectors of 32 bits the sums of the products of their halves: x86's pmaddwd, which LLVM finds in this."""
    halves, whole = ir.VectorType(ir.IntType(16), 2 * LANES), ir.VectorType(ir.IntType(32), 2 * LANES)
    products = builder.mul(*(builder.sext(builder.bitcast(each, halves), whole) for each in (one, other)))
    numbers = ir.VectorType(ir.IntType(32), LANES)
    parts = [
        builder.shuffle_vector(products, products, ir.Constant(numbers, list(range(first, 2 * LANES, 2)))) for first in (0, 1)
    ]
    return builder.add(*parts)


def _tile(rows: int, pieces: Sequence[int], start: str, kept: str = "float") -> Any:
    """Makes the innermost loop: (rows, depth) times (depth, pieces x PIECE), every sum in a register from first to last.

    Its arguments are how many rows and pieces; addresses in bytes and distances between rows in numbers: a and its distance,
    b and its distance, c and its distance, the bias; the depth.

    Args:
        rows: the most there are of a and c.
        pieces: how many there may be, of `PIECE` columns of b and c each.
        start: what sums start from: "bias" (the same for every row) or "c" (what is there).
        kept: what b's numbers are: "float" or "byte" (int8).
    """

    @intrinsic
    def tile(
        context: Any, rows_: Any, pieces_: Any, a: Any, lda: Any, b: Any, ldb: Any, c: Any, ldc: Any, bias: Any, depth: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            number = args[0].type
            end = builder.append_basic_block("computed")
            across = max(pieces) + 1
            size = builder.switch(builder.add(builder.mul(args[0], number(across)), args[1]), end)
            for each in range(1, rows + 1):
                for some in pieces:
                    one = builder.append_basic_block(f"rows{each}pieces{some}")
                    size.add_case(number(each * across + some), one)
                    builder.position_at_end(one)
                    _loop(builder, each, some, start, kept, args[2:])
                    builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 10), generate

    return tile


def _loop(builder: Any, rows: int, pieces: int, start: str, kept: str, args: Sequence[Any]) -> None:
    """Writes the loop of a `_tile` for so many rows and pieces; `args` are the tile's from the third on."""
    lda, ldb, ldc, depth = args[1], args[3], args[5], args[7]
    a, c, bias = (builder.inttoptr(args[i], _FLOATS) for i in (0, 4, 6))
    b = builder.inttoptr(args[2], _KINDS[kept].as_pointer())
    number = lda.type
    widths = [LANES] * (pieces * PIECE // LANES)
    widths += [PIECE] * (pieces - sum(widths) // PIECE)
    lanes = [number(sum(widths[:v])) for v in range(len(widths))]
    columns = range(len(widths))

    def vector(base: Any, offset: Any, width: int, of: Any) -> Any:
        return builder.bitcast(builder.gep(base, [offset]), ir.VectorType(of, width).as_pointer())

    def of_b(row: Any, v: int) -> Any:
        found = vector(b, builder.add(row, lanes[v]), widths[v], _KINDS[kept])
        if kept == "byte":
            return builder.sitofp(builder.load(found, align=1), ir.VectorType(ir.FloatType(), widths[v]))
        return builder.load(found, align=4)

    def of_a(row: int, term: Any) -> Any:
        return builder.load(builder.gep(a, [builder.add(builder.mul(number(row), lda), term)]))

    def add(sums: Any, one: Any, column: Any, width: int) -> None:
        kind = ir.VectorType(ir.FloatType(), width)
        fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), f"llvm.fma.v{width}f32")
        builder.store(builder.call(fma, [_spread(builder, one, kind), column, builder.load(sums)]), sums)

    def term(index: Any) -> None:
        row = builder.mul(index, ldb)
        if rows > len(columns):
            found = [of_b(row, v) for v in columns]
            for i in range(rows):
                one = of_a(i, index)
                for v in columns:
                    add(sums[i][v], one, found[v], widths[v])
        else:
            ones = [of_a(i, index) for i in range(rows)]
            for v in columns:
                column = of_b(row, v)
                for i in range(rows):
                    add(sums[i][v], ones[i], column, widths[v])

    kinds = [ir.VectorType(ir.FloatType(), width) for width in widths]
    places = [
        [vector(c, builder.add(builder.mul(number(i), ldc), lanes[v]), widths[v], ir.FloatType()) for v in columns]
        for i in range(rows)
    ]
    sums = [[cgutils.alloca_once(builder, kind) for kind in kinds] for _ in range(rows)]
    for i in range(rows):
        for v in columns:
            at = places[i][v] if start == "c" else vector(bias, lanes[v], widths[v], ir.FloatType())
            builder.store(builder.load(at, align=4), sums[i][v])
    with cgutils.for_range(builder, depth) as loop:
        term(loop.index)
    for i in range(rows):
        for v in columns:
            builder.store(builder.load(sums[i][v]), places[i][v], align=4)


def _as_multiplied(builder: Any, whole: Any) -> Any:
    """A vector of int32 as `rounded_bytes` has its numbers."""
    kept = builder.trunc(whole, ir.VectorType(ir.IntType(8 * WIDTH), LANES))
    if WIDTH == 1:
        return kept
    order = [group + place for group in range(0, LANES, GROUP) for place in (0, 2, 1, 3)]
    return builder.shuffle_vector(kept, kept, ir.Constant(ir.VectorType(ir.IntType(32), LANES), order))


@intrinsic
def _store_byte(context: Any, base: Any, index: Any, value: Any) -> Any:
    """Puts a whole float of -127..255 as a byte at an address and an index."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte = builder.trunc(builder.fptosi(args[2], ir.IntType(32)), ir.IntType(8))
        builder.store(byte, builder.gep(builder.inttoptr(args[0], _BYTES), [args[1]]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float32), generate


@intrinsic
def _store_whole(context: Any, base: Any, value: Any) -> Any:
    """Puts a whole number as int32 at an address."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.IntType(32)
        builder.store(builder.trunc(args[1], kind), builder.inttoptr(args[0], kind.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def _round_to(context: Any, source: Any, depth: Any, out: Any, scale: Any) -> Any:
    """Puts the nearest whole numbers of so many floats, each times `scale`, at an address as `rounded_bytes` says; their sum.

    Vector by vector: what the last one has too many is 0.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number, word = args[0].type, ir.IntType(32)
        floats, words = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(word, LANES)

        def function(name: str, result: Any, *given: Any) -> Any:
            return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, given), name)

        total = cgutils.alloca_once(builder, words)
        builder.store(ir.Constant(words, [0] * LANES), total)
        factor = _spread(builder, args[3], floats)
        with _vectors(builder, args[0], args[1]) as (first, found):
            rint = function(f"llvm.rint.v{LANES}f32", floats, floats)
            near = builder.call(rint, [builder.fmul(found, factor, flags=_AS_WRITTEN)])
            whole = builder.fptosi(near, words)
            builder.store(builder.add(builder.load(total), whole), total)
            kept = _as_multiplied(builder, whole)
            to = builder.inttoptr(builder.add(args[2], builder.mul(first, number(WIDTH))), kept.type.as_pointer())
            builder.store(kept, to, align=1)
        add = function(f"llvm.vector.reduce.add.v{LANES}i32", word, words)
        return builder.sext(builder.call(add, [builder.load(total)]), number)

    return types.int64(types.int64, types.int64, types.int64, types.float32), generate


@intrinsic
def _store(context: Any, base: Any, index: Any, value: Any) -> Any:
    """Puts a float at an address and an index."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], builder.gep(builder.inttoptr(args[0], _FLOATS), [args[1]]), align=4)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float32), generate


@intrinsic
def highest(context: Any, base: Any, vectors: Any) -> Any:
    """The largest of floats in memory: their address, and how many vectors of `LANES`; none give -infinity.

    Numba's own loop would take one number after the other.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.VectorType(ir.FloatType(), LANES)
        best = cgutils.alloca_once(builder, kind)
        builder.store(ir.Constant(kind, [-math.inf] * LANES), best)
        with cgutils.for_range(builder, args[1]) as loop:
            at = builder.add(args[0], builder.mul(loop.index, args[0].type(4 * LANES)))
            found = builder.load(builder.inttoptr(at, kind.as_pointer()), align=4)
            before = builder.load(best)
            builder.store(builder.select(builder.fcmp_ordered(">", found, before), found, before), best)
        reduce = ir.FunctionType(ir.FloatType(), [kind])
        name = f"llvm.vector.reduce.fmax.v{LANES}f32"
        function = cgutils.get_or_insert_function(builder.module, reduce, name)
        return builder.call(function, [builder.load(best)], fastmath=("nnan",))

    return types.float32(types.int64, types.int64), generate


@intrinsic
def _largest(context: Any, base: Any, count: Any) -> Any:
    """The largest size of so many floats at an address; 0 of none, NaN if one is.

    Sizes are compared as whole numbers, which order alike, NaN last.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(32)
        kind = ir.VectorType(word, LANES)
        best = cgutils.alloca_once(builder, kind)
        builder.store(ir.Constant(kind, [0] * LANES), best)
        with _vectors(builder, args[0], args[1]) as (_, found):
            size = builder.and_(builder.bitcast(found, kind), ir.Constant(kind, [0x7FFFFFFF] * LANES))
            before = builder.load(best)
            builder.store(builder.select(builder.icmp_signed(">", size, before), size, before), best)
        name = f"llvm.vector.reduce.smax.v{LANES}i32"
        reduce = cgutils.get_or_insert_function(builder.module, ir.FunctionType(word, [kind]), name)
        return builder.bitcast(builder.call(reduce, [builder.load(best)]), ir.FloatType())

    return types.float32(types.int64, types.int64), generate


@contextmanager
def _vectors(builder: Any, base: Any, count: Any) -> Iterator[tuple[Any, Any]]:
    """Writes a loop over so many floats at an address: the first one's place and the vector; what it has too many is 0."""
    number, word = base.type, ir.IntType(32)
    floats, words = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(word, LANES)
    end = _spread(builder, builder.trunc(count, word), words)
    kind = ir.FunctionType(floats, [floats.as_pointer(), word, ir.VectorType(ir.IntType(1), LANES), floats])
    load = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.load.v{LANES}f32.p0")
    with cgutils.for_range(builder, builder.udiv(builder.add(count, number(LANES - 1)), number(LANES))) as loop:
        first = builder.mul(loop.index, number(LANES))
        lanes = builder.add(ir.Constant(words, list(range(LANES))), _spread(builder, builder.trunc(first, word), words))
        at = builder.inttoptr(builder.add(base, builder.mul(first, number(4))), floats.as_pointer())
        nothing = ir.Constant(floats, [0.0] * LANES)
        yield first, builder.call(load, [at, word(4), builder.icmp_signed("<", lanes, end), nothing])


@intrinsic
def _scale(context: Any, line: Any, steps: Any) -> Any:
    """Multiplies `BLOCK` floats at an address by as many at another."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.VectorType(ir.FloatType(), LANES).as_pointer()
        for first in range(0, BLOCK, LANES):
            at = [builder.inttoptr(builder.add(base, base.type(4 * first)), kind) for base in args]
            product = builder.fmul(builder.load(at[0], align=4), builder.load(at[1], align=4))
            builder.store(product, at[0], align=4)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def _prefetch(context: Any, address: Any) -> Any:
    """Asks for the line at an address to be in the processor's second-level cache before it is needed; any address will do."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [builder.inttoptr(args[0], byte), number(0), number(2), number(1)])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def float_of_bits(context: Any, bits: Any) -> Any:
    """The float whose bits are those of an int32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), generate


_put = _tile(TILE, [PANEL // PIECE], "bias")
_put_rounded = _byte_tile(TILE, adds=False)
_add_rounded = _byte_tile(TILE, adds=True)
_scores = _byte_tile(TOGETHER, adds=False)
_mix = _tile(TOGETHER, range(1, PIECES + 1), "c", kept="byte")

EXACT = {"contract", "nsz"}
SUMS = {"contract", "nsz", "reassoc", "arcp"}  # sums of one row may be taken lane by lane, in an order that never changes


VERSION = f"{zlib.crc32(Path(__file__).read_bytes()):08x}"  # of this file


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`njit`, what it makes kept on disk; where nothing may be written each process compiles for itself.

    Numba takes what it kept for as long as the function's own file stays as it was. Other files' functions call those of this
    one, so its `VERSION` is part of every function's name: what was built on other kernels is never taken.
    """

    def compile(function: Callable[..., Any]) -> Any:
        function.__qualname__ += f"_{VERSION}"
        try:
            return njit(error_model="numpy", cache=True, **options)(function)
        except RuntimeError:  # numba's, of no place for its files
            return njit(error_model="numpy", **options)(function)

    return compile


@compiled(fastmath=EXACT, forceinline=True)
def exp(x: Any) -> Any:
    """e^x for x <= 88, to about 1e-7 of it; below -87 as at -87. Cephes' expf: unlike libm's it can be vectorised."""
    x = max(np.float32(-87.0), x)
    n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    r = x - n * np.float32(0.693359375) - n * np.float32(-2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + np.float32(1.0)
    return p * float_of_bits((np.int32(n) + np.int32(127)) << np.int32(23))


@compiled(fastmath=SUMS)
def norm(source: Any, row: int, gain_bias: Any, epsilon: float, out: Any, at: int) -> None:
    """Layer norm of `source[row, :C]` into `out[at, :C]`."""
    size = gain_bias.shape[1]
    total = np.float32(0.0)
    for i in range(size):
        total += source[row, i]
    mean = total / np.float32(size)
    squares = np.float32(0.0)
    for i in range(size):
        away = source[row, i] - mean
        squares += away * away
    scale = np.float32(1.0) / np.sqrt(squares / np.float32(size) + np.float32(epsilon))
    for i in range(size):
        out[at, i] = (source[row, i] - mean) * scale * gain_bias[0, i] + gain_bias[1, i]


@compiled(fastmath=EXACT, forceinline=True)
def _tanh_gelu(x: Any) -> Any:
    """The form with tanh: x / 2 (1 + tanh u) = x / (1 + e^-2u), u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    u = np.float32(-1.5957691216) * (x + np.float32(0.044715) * x * x * x)
    return x / (np.float32(1.0) + exp(min(u, np.float32(87.0))))


@compiled(parallel=True, fastmath=EXACT)
def _activate(inner: Any, rows: int, activation: int) -> None:
    """Applies the activation to the first rows."""
    for row in prange(rows):
        numbers = inner[row]
        if activation == 0:
            for i in range(len(numbers)):
                numbers[i] = max(numbers[i], np.float32(0.0))
        elif activation == 1:
            for i in range(len(numbers)):
                x = numbers[i]
                numbers[i] = np.float32(0.5) * x * (np.float32(1.0) + np.float32(math.erf(x * np.float32(0.70710678))))
        else:
            for i in range(len(numbers)):
                numbers[i] = _tanh_gelu(numbers[i])


@compiled()
def multiply_panel(a: int, lda: int, rows: int, depth: int, b: int, bias: int, c: int, ldc: int) -> None:
    """One panel of a product: a (rows, depth), b (depth, PANEL), bias (PANEL,), c (rows, PANEL), all by address."""
    for row in range(0, rows, TILE):
        some = min(TILE, rows - row)
        _put(some, PANEL // PIECE, a + 4 * row * lda, lda, b, PANEL, c + 4 * row * ldc, ldc, bias, depth)


@compiled(fastmath=EXACT)
def _round(numbers: Any, depth: int, out: int) -> None:
    """Rounds the first numbers of a row for products with int8, to an address; see `rounded_bytes`. NaN makes the step NaN."""
    most = _largest(np.int64(numbers.ctypes.data), depth)
    scale = np.float32(LARGEST) / most if most > TINY else np.float32(0.0)
    total = _round_to(np.int64(numbers.ctypes.data), depth, out, scale)
    end = out + (depth + GROUP - 1) // GROUP * GROUP * WIDTH
    _store(end, 0, most / np.float32(LARGEST))
    _store_whole(end + 4, -128 * total)


@compiled(parallel=True)
def _round_all(a: Any, rows: int, depth: int, rounded: Any) -> None:
    """`_round` of the first rows."""
    for row in prange(rows):
        _round(a[row], depth, np.int64(rounded.ctypes.data + row * rounded.shape[1]))


@compiled()
def _multiply_panel_rounded(a: int, lda: int, rows: int, depth: int, b: int, bias: int, c: int, ldc: int, adds: bool) -> None:
    """One panel of a product with a matrix of int8; asks for the panel behind it.

    a's rows are `rounded_bytes`, `lda` bytes apart, c's rows `ldc` bytes; b, bias and c by address.
    """
    groups = (depth + GROUP - 1) // GROUP
    size = (groups * GROUP + 4) * PANEL
    part = (size * TILE // rows + 63) // 64 * 64
    for row in range(0, rows, TILE):
        some = min(TILE, rows - row)
        begin = row // TILE * part
        for line_at in range(b + size + begin, b + size + min(begin + part, size), 64):
            _prefetch(line_at)
        a_at, c_at = a + row * lda, c + row * ldc
        if adds:
            _add_rounded(some, a_at, lda, b, c_at, ldc, bias, groups)
        else:
            _put_rounded(some, a_at, lda, b, c_at, ldc, bias, groups)


@compiled(parallel=True)
def _multiply_rounded(rounded: Any, rows: int, depth: int, b: Any, bias: Any, c: Any, adds: bool) -> None:
    """`multiply`, all rows rounded."""
    panels = len(bias) // PANEL
    chunks = (rows + CHUNK - 1) // CHUNK
    each = (rows + chunks * TILE - 1) // (chunks * TILE) * TILE  # of like size: each thread takes as many tasks as another
    size = ((depth + GROUP - 1) // GROUP * GROUP + 4) * PANEL
    lda, ldc = rounded.shape[1], 4 * c.shape[1]
    a_at, b_at, bias_at, c_at = rounded.ctypes.data, b.ctypes.data, bias.ctypes.data, c.ctypes.data
    for task in prange(chunks * panels):
        first = min(task // panels * each, rows)
        panel = task % panels
        last = min(first + each, rows)
        _multiply_panel_rounded(
            np.int64(a_at + first * lda),
            lda,
            last - first,
            depth,
            np.int64(b_at + panel * size),
            np.int64(bias_at + 4 * panel * PANEL),
            np.int64(c_at + first * ldc + 4 * panel * PANEL),
            ldc,
            adds,
        )


@compiled()
def multiply(a: Any, rows: int, depth: int, b: Any, bias: Any, c: Any, adds: bool, rounded: Any) -> None:
    """c[:rows] = a[:rows, :depth] b + bias; or that is added to c, where `adds`.

    b is `packed`; a is rounded by rows into `rounded`.
    """
    if rows >= FEW:
        _round_all(a, rows, depth, rounded)
    else:
        for row in range(rows):
            _round(a[row], depth, np.int64(rounded.ctypes.data + row * rounded.shape[1]))
    _multiply_rounded(rounded, rows, depth, b, bias, c, adds)


@compiled(fastmath=SUMS)
def _attend(
    queries: Any,
    token: int,
    tokens: int,
    position: int,
    first: int,
    last: int,
    table: Any,
    offset: int,
    coming: int,
    size: int,
    mixed: Any,
) -> None:
    """Some heads of tokens that follow one another: what each sees of all up to it goes into `mixed`.

    Queries are rounded as keys are. First all keys, then all values, block by block and in each the heads one after the other,
    for so they stand in memory.

    Args:
        queries: (M, wide 3 C) queries, keys and values of the step.
        token: the first token's row in `queries` and `mixed`.
        tokens: how many, up to `TOGETHER`, all in one block.
        position: the first one's place in its text.
        first: the first head.
        last: the head behind the last.
        table: addresses of its text's blocks.
        offset: bytes from a block's beginning to this layer.
        coming: address of this layer in the block that is going to be looked at first afterwards, less the first head's place
            in it and more that of the head to come. What comes next is always asked for from memory ahead of time.
        size: D.
        mixed: (M, wide C).
    """
    across = (size + PIECE - 1) // PIECE * PIECE
    groups = (size + GROUP - 1) // GROUP
    of_keys = BLOCK * (groups * GROUP + 4)
    stride = of_keys + BLOCK * (across + 4)
    most = PIECES if tokens == 1 else PIECES * LANES // 16
    blocks = position // BLOCK + 1
    length = blocks * BLOCK
    scores = np.empty(((last - first) * tokens, length), np.float32)
    sums = np.zeros(((last - first) * tokens, across), np.float32)
    totals = np.empty((last - first) * tokens, np.float32)
    scores_at, sums_at = np.int64(scores.ctypes.data), np.int64(sums.ctypes.data)
    distance = (groups * GROUP + LANES) * WIDTH + 8
    rounded = np.empty(((last - first) * tokens, distance), np.uint8)
    nothing = np.zeros(PANEL, np.float32)
    rounded_at, nothing_at = np.int64(rounded.ctypes.data), np.int64(nothing.ctypes.data)
    for head in range(first, last):
        for i in range(tokens):
            query = queries[token + i, head * size : (head + 1) * size]
            _round(query, size, rounded_at + ((head - first) * tokens + i) * distance)
    for block in range(blocks):
        for head in range(first, last):
            keys = table[block] + offset + head * stride
            following = table[block + 1] if block < blocks - 1 else table[0] + of_keys
            following += offset + head * stride
            for line_at in range(following, following + of_keys, 64):
                _prefetch(line_at)
            query_at = rounded_at + (head - first) * tokens * distance
            score_at = scores_at + 4 * ((head - first) * tokens * length + block * BLOCK)
            for panel in range(BLOCK // PANEL):
                key_at = keys + panel * PANEL * (groups * GROUP + 4)
                to = score_at + 4 * panel * PANEL
                _scores(tokens, query_at, distance, key_at, to, 4 * length, nothing_at, groups)
    scale = np.float32(1.0) / np.float32(math.sqrt(size))
    for row in range((last - first) * tokens):
        count = position + row % tokens + 1
        for j in range(count, length):
            scores[row, j] = -np.inf
        best = highest(scores_at + 4 * row * length, length // LANES)
        for j in range(length):
            scores[row, j] = exp((scores[row, j] - best) * scale)
        for j in range(count, length):
            scores[row, j] = 0.0
        total = np.float32(0.0)
        for j in range(length):
            total += scores[row, j]
        totals[row] = total
    for block in range(blocks):
        seen = min(BLOCK, position + tokens - block * BLOCK)  # by the last token
        for head in range(first, last):
            values = table[block] + offset + head * stride + of_keys
            following = table[block + 1] + offset + of_keys if block < blocks - 1 else coming
            following += head * stride
            for line_at in range(following, following + stride - of_keys, 64):
                _prefetch(line_at)
            score_at = scores_at + 4 * ((head - first) * tokens * length + block * BLOCK)
            for i in range(tokens):
                _scale(score_at + 4 * i * length, values + BLOCK * across)
            for piece in range(0, across // PIECE, most):
                some = min(most, across // PIECE - piece)
                value_at = values + piece * PIECE
                sum_at = sums_at + 4 * ((head - first) * tokens * across + piece * PIECE)
                _mix(tokens, some, score_at, length, value_at, across, sum_at, across, values, seen)
    for row in range((last - first) * tokens):
        for j in range(size):
            mixed[token + row % tokens, (first + row // tokens) * size + j] = sums[row, j] / totals[row]


@compiled(fastmath=EXACT)
def _keep(numbers: Any, scratch: Any, at: int, distance: int, together: int, more: int, step_at: int) -> None:
    """Puts numbers into the cache as multiples, up to `LARGEST`, of a step of their own.

    Args:
        numbers: (D,).
        scratch: (D,), overwritten.
        at: address of the first.
        distance: bytes from some to the next.
        together: how many stand side by side.
        more: what is added to each.
        step_at: address of the step.
    """
    size = len(numbers)
    most = _largest(np.int64(numbers.ctypes.data), size)
    _store(step_at, 0, most / np.float32(LARGEST))
    steps = np.float32(LARGEST) / most if most > TINY else np.float32(0.0)
    for i in range(size):
        scratch[i] = np.rint(numbers[i] * steps) + np.float32(more)
    for i in range(size):
        _store_byte(at, i // together * distance + i % together, scratch[i])


@compiled(parallel=True, fastmath=EXACT)
def _look(
    queries: Any, firsts: Any, starts: Any, tables: Any, heads: int, size: int, layer: int, threads: int, mixed: Any
) -> None:
    """Attention of all new tokens; the cache gets their keys and values. Arguments as in `_attend` and `advance`."""
    hidden = heads * size
    across = (size + PIECE - 1) // PIECE * PIECE
    parts = 1 if len(starts) >= FEW else heads  # a few rows would leave threads idle
    together = heads // parts
    deep = (size + GROUP - 1) // GROUP * GROUP
    of_keys = BLOCK * (deep + 4)
    stride = of_keys + BLOCK * (across + 4)  # bytes of a head's part of a block
    offset = np.int64(layer * heads * stride)
    for thread in prange(threads):
        scratch = np.empty(size, np.float32)
        for task in range(thread, len(starts) * parts, threads):  # rows that read stand side by side
            row, first = task // parts, task % parts * together
            for token in range(firsts[row], firsts[row + 1]):
                position = starts[row] + token - firsts[row]
                place = position % BLOCK
                for head in range(first, first + together):
                    keys = tables[row, position // BLOCK] + offset + head * stride
                    values = keys + of_keys
                    panel = keys + place // PANEL * PANEL * (deep + 4)
                    column = place % PANEL
                    key = queries[token, hidden + head * size : hidden + (head + 1) * size]
                    value = queries[token, 2 * hidden + head * size : 2 * hidden + (head + 1) * size]
                    step_at = panel + PANEL * deep + 4 * column
                    _keep(key, scratch, panel + GROUP * column, GROUP * PANEL, GROUP, 128, step_at)
                    _keep(value, scratch, values + place * across, 1, 1, 0, values + BLOCK * across + 4 * place)
            following = min(task + threads, len(starts) * parts - 1)
            coming = tables[following // parts, 0] + offset + (following % parts * together - first) * stride
            token = firsts[row]
            while token < firsts[row + 1]:
                position = starts[row] + token - firsts[row]
                some = min(TOGETHER, firsts[row + 1] - token, BLOCK - position % BLOCK)
                _attend(queries, token, some, position, first, first + together, tables[row], offset, coming, size, mixed)
                token += some


@compiled()
def embed(id: int, place: int, kind: int, weights: Weights, work: Work, at: int) -> None:
    """Puts a token at a place of its text, and its type unless that is -1, into `work.states[at]`."""
    for i in range(weights.words.shape[1]):
        work.states[at, i] = weights.words[id, i] + weights.places[place, i]
    if kind >= 0:
        for i in range(weights.words.shape[1]):
            work.states[at, i] += weights.words[kind, i]


@compiled()
def enter(layer: int, count: int, epsilon: float, weights: Weights, work: Work) -> None:
    """A layer up to its attention: queries, keys and values of the first `count` states, into `work.queries`."""
    for token in range(count):
        norm(work.states, token, weights.norms[2 * layer], epsilon, work.normed, token)
    size = weights.words.shape[1]
    multiply(work.normed, count, size, weights.attend[layer], weights.attend_bias[layer], work.queries, False, work.rounded)


@compiled()
def leave(layer: int, count: int, activation: int, epsilon: float, weights: Weights, work: Work) -> None:
    """A layer after its attention: from `work.mixed` into the first `count` states."""
    size = weights.words.shape[1]
    inner = len(weights.contract[layer]) // work.states.shape[1] - 4  # and a step's bytes; whole groups, the last with zeros
    multiply(work.mixed, count, size, weights.project[layer], weights.project_bias[layer], work.states, True, work.rounded)
    for token in range(count):
        norm(work.states, token, weights.norms[2 * layer + 1], epsilon, work.normed, token)
    multiply(work.normed, count, size, weights.expand[layer], weights.expand_bias[layer], work.inner, False, work.rounded)
    _activate(work.inner, count, activation)
    multiply(work.inner, count, inner, weights.contract[layer], weights.contract_bias[layer], work.states, True, work.rounded)


@compiled(fastmath=SUMS)
def _log_normaliser(logits: Any, best: float) -> float:
    """Of one row; `best` is its largest."""
    total = np.float32(0.0)
    for i in range(len(logits)):
        total += exp(logits[i] - best)
    return best + math.log(total)


@compiled()
def _column_maxima(logits: Any) -> Any:
    """(LOOK,): the largest of every LOOK-th logit."""
    maxima = np.full(LOOK, -np.inf, np.float32)
    for first in range(0, len(logits), LOOK):
        part = logits[first : first + LOOK]
        for i in range(len(part)):
            maxima[i] = part[i] if part[i] > maxima[i] else maxima[i]
    return maxima


@compiled()
def _best(logits: Any, maxima: Any, k: int) -> Any:
    """The k largest of a row and where they are, largest first; of equal ones the lower place first.

    Args:
        logits: (wide V,).
        maxima: its `_column_maxima`.
        k: 1..V.
    """
    top, tokens = np.full(k, -np.inf, np.float32), np.zeros(k, np.int64)
    least = np.sort(maxima)[LOOK - k] if k <= LOOK else np.float32(-np.inf)  # there are k that are as large at least
    for first in range(0, len(logits), LOOK):
        part = logits[first : first + LOOK]
        if highest(np.int64(part.ctypes.data), len(part) // LANES) >= least:
            for i in range(len(part)):
                if part[i] >= least and part[i] > top[k - 1]:
                    place = k - 1
                    while place > 0 and top[place - 1] < part[i]:
                        top[place], tokens[place] = top[place - 1], tokens[place - 1]
                        place -= 1
                    top[place], tokens[place] = part[i], first + i
                    least = max(least, top[k - 1])
    return top, tokens


@compiled()
def _draw(logits: Any, maxima: Any, uniform: float, drawing: Drawing) -> Any:
    """The token of one row, as `convogym.agents.sampling.pick` draws it; of equal logits the lower id comes first."""
    k = min(drawing.top_k, len(logits))
    top, tokens = _best(logits, maxima, k)
    shares = np.empty(k, np.float64)
    total = 0.0
    for i in range(k):
        shares[i] = math.exp((float(top[i]) - float(top[0])) / drawing.temperature)
        total += shares[i]
    kept, reached = 0, 0.0
    while kept < k and shares[kept] > 0 and reached / total <= drawing.top_p:
        reached += shares[kept]
        kept += 1
    limit, sum_ = uniform * reached, 0.0
    for i in range(kept):
        sum_ += shares[i]
        if sum_ > limit:
            return tokens[i]
    return tokens[kept - 1]


@compiled(parallel=True)
def _pick(
    logits: Any, first: int, count: int, uniform: Any, may_end: Any, drawing: Drawing, tokens: Any, log_probs: Any
) -> None:
    """Draws the tokens of rows `first` to before `first + count`, whose logits are `logits[:count]`."""
    for i in prange(count):
        row = logits[i]
        if not may_end[first + i]:
            end = row[drawing.eos]
            row[drawing.eos] = -np.inf
        maxima = _column_maxima(row)
        token = _draw(row, maxima, uniform[first + i], drawing)
        chosen = row[token]
        if not may_end[first + i]:
            row[drawing.eos] = end
        best = row[drawing.eos]
        for each in maxima:
            best = max(best, each)
        normaliser = _log_normaliser(row, best)
        tokens[first + i] = token
        log_probs[first + i] = chosen - normaliser


@compiled()
def advance(
    ids: Any,
    kinds: Any,
    firsts: Any,
    starts: Any,
    tables: Any,
    heads: int,
    activation: int,
    epsilon: float,
    threads: int,
    weights: Weights,
    work: Work,
    uniform: Any,
    may_end: Any,
    drawing: Drawing,
    tokens: Any,
    log_probs: Any,
) -> None:
    """Reads new tokens and draws the next one of each row.

    Args:
        ids: (M,) new tokens, row after row.
        kinds: (M,) token types, embedded like tokens and added; -1 = none.
        firsts: (S + 1,) where each row's tokens begin in `ids`; every row has one at least.
        starts: (S,) how many tokens of each row the cache holds already.
        tables: (S, blocks) address of each row's blocks, enough of them for its new tokens; the cache is changed.
        heads: H.
        activation: a value of `ACTIVATIONS`, or 2.
        epsilon: of the norms.
        threads: that are going to compute it.
        weights: the network.
        work: `work.hidden[:S]` is a result as well.
        uniform: (S,) float64 in [0, 1), one number a draw.
        may_end: (S,) bool, whether the eos may be drawn.
        drawing: how.
        tokens: (S,) out: what was drawn.
        log_probs: (S,) float64 out: natural logarithm of its chance before any filter.
    """
    count, rows = len(ids), len(starts)
    hidden = weights.words.shape[1]
    for row in range(rows):
        for token in range(firsts[row], firsts[row + 1]):
            embed(ids[token], starts[row] + token - firsts[row], kinds[token], weights, work, token)
    layers = len(weights.attend)
    for layer in range(layers):
        enter(layer, count, epsilon, weights, work)
        _look(work.queries, firsts, starts, tables, heads, hidden // heads, layer, threads, work.mixed)
        leave(layer, count, activation, epsilon, weights, work)
    for row in range(rows):
        norm(work.states, firsts[row + 1] - 1, weights.norms[2 * layers], epsilon, work.hidden, row)
    for first in range(0, rows, CHUNK):
        part = min(CHUNK, rows - first)
        multiply(work.hidden[first:], part, hidden, weights.output, weights.output_bias, work.logits, False, work.rounded)
        _pick(work.logits, first, part, uniform, may_end, drawing, tokens, log_probs)
