"""One step of a GPT-2 network on the processor, compiled: new tokens of many rows in, each row's next token out.

Written for what general libraries do not offer together: rows of ragged length against a cache that rows enter and leave, and
sums whose order depends on nothing but the row. Every number of a row is computed by the same operations in the same order
whatever stands beside it and however its tokens were cut into steps, so what is said is the same in any company, bit for bit.
Compiled by numba at the first call and kept on disk. Knows arrays and addresses; knows nothing of dialogues.

Letters: M new tokens, S rows with new tokens, C hidden size, H heads, D = C / H, V vocabulary, L layers. "Wide" sizes are
rounded up to whole `PANEL`s. All floats are float32, all whole numbers int64, all arrays contiguous. Only the cache's keys and
values are of half precision (float16): what attention costs is reading them from memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 8  # numbers in a vector register (AVX2); LLVM splits it where registers are smaller
PANEL = 16  # columns of a matrix that are computed together
TILE = 6  # rows computed together: 6 x 16 sums fill twelve of sixteen registers
CHUNK = 96  # rows that one thread takes at a time, a multiple of TILE; their inputs stay in its second-level cache
FEW = 16  # rows below which the heads of one go to different threads
LOOK = 64  # columns of the logits whose maxima are compared side by side, a multiple of PANEL
BLOCK = 32  # tokens of one row that stand together in the cache
ACTIVATIONS = {"relu": 0, "gelu": 1}  # all others: 2, the tanh form of gelu

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_HALF_VECTOR = ir.VectorType(ir.HalfType(), LANES)
_FLOATS = ir.FloatType().as_pointer()
_HALVES = ir.HalfType().as_pointer()
HALF_BYTES = 2  # of a number in the cache
LARGEST_HALF = 65504.0  # IEEE 754 binary16


class Weights(NamedTuple):
    """A network's parameters as the kernels read them; matrices are packed by `packed`, layers stand one after another."""

    words: Any
    """(V, C)"""
    places: Any
    """(positions, C)"""
    norms: Any
    """(2 L + 1, 2, C): gain and bias of each norm, the final one last"""
    attend: Any
    """(L, C x wide 3 C)"""
    attend_bias: Any
    """(L, wide 3 C)"""
    project: Any
    """(L, C x wide C)"""
    project_bias: Any
    """(L, wide C)"""
    expand: Any
    """(L, C x wide inner size)"""
    expand_bias: Any
    """(L, wide inner size)"""
    contract: Any
    """(L, inner size x wide C)"""
    contract_bias: Any
    """(L, wide C)"""
    output: Any
    """(C x wide V,): `words` transposed"""
    output_bias: Any
    """(wide V,): minus infinity for tokens that are never said, else 0"""


class Work(NamedTuple):
    """Memory for intermediate results, reused from step to step; M and S are the most of any step."""

    states: Any
    """(M, wide C)"""
    normed: Any
    """(M, wide C)"""
    queries: Any
    """(M, wide 3 C)"""
    mixed: Any
    """(M, wide C)"""
    inner: Any
    """(M, wide inner size)"""
    hidden: Any
    """(S, wide C): after the final norm, of each row's last token"""
    logits: Any
    """(CHUNK, wide V)"""


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
    """The size rounded up to whole vectors."""
    return -(-size // LANES) * LANES


def block_size(layers: int, heads: int, size: int) -> int:
    """Numbers of one `BLOCK` of the cache: for each layer and head the keys (D, BLOCK), then the values (BLOCK, padded D)."""
    return layers * heads * BLOCK * (size + padded(size))


def packed(matrix: Any) -> Any:
    """(in, out) -> flat: panel by panel of `PANEL` columns, each (in, PANEL); columns that lack are 0."""
    rows, columns = matrix.shape
    full = np.zeros((rows, wide(columns)), np.float32)
    full[:, :columns] = matrix
    return np.ascontiguousarray(full.reshape(rows, -1, PANEL).transpose(1, 0, 2)).reshape(-1)


def _tile(rows: int, vectors: int, start: str, adds: bool, half: bool = False) -> Any:
    """Makes the innermost loop: (rows, depth) times (depth, vectors x LANES), every sum in a register from first to last.

    Its arguments are addresses in bytes and distances between rows in numbers: a and its distance, b and its distance, c and
    its distance, the bias, the depth.

    Args:
        rows: of a and c.
        vectors: `LANES` columns each, of b and c.
        start: what sums start from: "zero", "bias" (the same for every row) or "c" (what is there).
        adds: whether the sums are added to c rather than put in its place.
        half: whether b is of half precision.
    """

    @intrinsic
    def tile(context: Any, a: Any, lda: Any, b: Any, ldb: Any, c: Any, ldc: Any, bias: Any, depth: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            lda, ldb, ldc, depth = args[1], args[3], args[5], args[7]
            a, c, bias = (builder.inttoptr(args[i], _FLOATS) for i in (0, 4, 6))
            b = builder.inttoptr(args[2], _HALVES if half else _FLOATS)
            number = lda.type

            def vector(base: Any, offset: Any) -> Any:
                return builder.bitcast(builder.gep(base, [offset]), _VECTOR.as_pointer())

            def of_b(offset: Any) -> Any:
                if not half:
                    return builder.load(vector(b, offset), align=4)
                found = builder.bitcast(builder.gep(b, [offset]), _HALF_VECTOR.as_pointer())
                return builder.fpext(builder.load(found, align=HALF_BYTES), _VECTOR)

            fma = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), f"llvm.fma.v{LANES}f32"
            )
            lanes = [number(LANES * v) for v in range(vectors)]
            places = [[vector(c, builder.add(builder.mul(number(i), ldc), lane)) for lane in lanes] for i in range(rows)]
            sums = [[cgutils.alloca_once(builder, _VECTOR) for _ in lanes] for _ in range(rows)]
            for i in range(rows):
                for v, lane in enumerate(lanes):
                    first = ir.Constant(_VECTOR, [0.0] * LANES)
                    if start != "zero":
                        first = builder.load(places[i][v] if start == "c" else vector(bias, lane), align=4)
                    builder.store(first, sums[i][v])
            nothing, zero = ir.Constant(_VECTOR, ir.Undefined), ir.IntType(32)(0)
            same = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
            with cgutils.for_range(builder, depth) as loop:
                row = builder.mul(loop.index, ldb)
                columns = [of_b(builder.add(row, lane)) for lane in lanes]
                for i in range(rows):
                    one = builder.load(builder.gep(a, [builder.add(builder.mul(number(i), lda), loop.index)]))
                    factor = builder.shuffle_vector(builder.insert_element(nothing, one, zero), nothing, same)
                    for v, column in enumerate(columns):
                        builder.store(builder.call(fma, [factor, column, builder.load(sums[i][v])]), sums[i][v])
            for i in range(rows):
                for v in range(vectors):
                    found = builder.load(sums[i][v])
                    if adds:
                        found = builder.fadd(found, builder.load(places[i][v], align=4))
                    builder.store(found, places[i][v], align=4)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 8), generate

    return tile


@intrinsic
def _store(context: Any, base: Any, index: Any, value: Any) -> Any:
    """Puts a float at an address and an index, rounded to half precision."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rounded = builder.fptrunc(args[2], ir.HalfType())
        builder.store(rounded, builder.gep(builder.inttoptr(args[0], _HALVES), [args[1]]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float32), generate


@intrinsic
def _float_of_bits(context: Any, bits: Any) -> Any:
    """The float whose bits are those of an int32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), generate


_put1, _put2, _put3, _put4, _put5, _put6 = (_tile(rows, PANEL // LANES, "bias", False) for rows in range(1, TILE + 1))
_add1, _add2, _add3, _add4, _add5, _add6 = (_tile(rows, PANEL // LANES, "bias", True) for rows in range(1, TILE + 1))
_scores = _tile(1, BLOCK // LANES, "zero", False, half=True)
_mix1, _mix2, _mix4, _mix8 = (_tile(1, vectors, "c", False, half=True) for vectors in (1, 2, 4, 8))

EXACT = {"contract", "nsz"}
SUMS = {"contract", "nsz", "reassoc", "arcp"}  # sums of one row may be taken lane by lane, in an order that never changes


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`njit`, what it makes kept on disk; where nothing may be written each process compiles for itself."""

    def compile(function: Callable[..., Any]) -> Any:
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
    return p * _float_of_bits((np.int32(n) + np.int32(127)) << np.int32(23))


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
def multiply_panel(a: int, lda: int, rows: int, depth: int, b: int, bias: int, c: int, ldc: int, adds: bool) -> None:
    """One panel of a product: a (rows, depth), b (depth, PANEL), bias (PANEL,), c (rows, PANEL), all by address."""
    row = 0
    while row + TILE <= rows:
        if adds:
            _add6(a + 4 * row * lda, lda, b, PANEL, c + 4 * row * ldc, ldc, bias, depth)
        else:
            _put6(a + 4 * row * lda, lda, b, PANEL, c + 4 * row * ldc, ldc, bias, depth)
        row += TILE
    left = rows - row
    a += 4 * row * lda
    c += 4 * row * ldc
    if adds:
        if left == 1:
            _add1(a, lda, b, PANEL, c, ldc, bias, depth)
        elif left == 2:
            _add2(a, lda, b, PANEL, c, ldc, bias, depth)
        elif left == 3:
            _add3(a, lda, b, PANEL, c, ldc, bias, depth)
        elif left == 4:
            _add4(a, lda, b, PANEL, c, ldc, bias, depth)
        elif left == 5:
            _add5(a, lda, b, PANEL, c, ldc, bias, depth)
    elif left == 1:
        _put1(a, lda, b, PANEL, c, ldc, bias, depth)
    elif left == 2:
        _put2(a, lda, b, PANEL, c, ldc, bias, depth)
    elif left == 3:
        _put3(a, lda, b, PANEL, c, ldc, bias, depth)
    elif left == 4:
        _put4(a, lda, b, PANEL, c, ldc, bias, depth)
    elif left == 5:
        _put5(a, lda, b, PANEL, c, ldc, bias, depth)


@compiled(parallel=True)
def multiply(a: Any, rows: int, depth: int, b: Any, bias: Any, c: Any, adds: bool) -> None:
    """c[:rows] = a[:rows, :depth] b + bias; or that is added to c, where `adds`."""
    panels = len(bias) // PANEL
    lda, ldc = a.shape[1], c.shape[1]
    a_at, b_at, bias_at, c_at = a.ctypes.data, b.ctypes.data, bias.ctypes.data, c.ctypes.data
    chunks = (rows + CHUNK - 1) // CHUNK
    for task in prange(chunks * panels):
        first = task // panels * CHUNK
        panel = task % panels
        last = min(first + CHUNK, rows)
        multiply_panel(
            np.int64(a_at + 4 * first * lda),
            lda,
            last - first,
            depth,
            np.int64(b_at + 4 * panel * depth * PANEL),
            np.int64(bias_at + 4 * panel * PANEL),
            np.int64(c_at + 4 * (first * ldc + panel * PANEL)),
            ldc,
            adds,
        )


@compiled(fastmath=SUMS)
def _attend(
    queries: Any, token: int, position: int, first: int, last: int, table: Any, offset: int, size: int, mixed: Any
) -> None:
    """Some heads of one token: what they see of all tokens up to it goes into `mixed`.

    Block by block, all heads of a block together, for so they stand in memory.

    Args:
        queries: (M, wide 3 C) queries, keys and values of the step.
        token: its row in `queries` and `mixed`.
        position: its place in its text.
        first: the first head.
        last: the head behind the last.
        table: addresses of its text's blocks.
        offset: bytes from a block's beginning to this layer.
        size: D.
        mixed: (M, wide C).
    """
    across = (size + LANES - 1) // LANES * LANES
    values_at = HALF_BYTES * BLOCK * size
    scores = np.empty(BLOCK, np.float32)
    sums = np.zeros((last - first, across), np.float32)
    best = np.full(last - first, -np.inf, np.float32)
    total = np.zeros(last - first, np.float32)
    scores_at = np.int64(scores.ctypes.data)
    scale = np.float32(1.0) / np.float32(math.sqrt(size))
    for block in range(position // BLOCK + 1):
        count = min(BLOCK, position + 1 - block * BLOCK)
        for head in range(first, last):
            own = head - first
            keys = table[block] + offset + HALF_BYTES * head * BLOCK * (size + across)
            query_at = np.int64(queries.ctypes.data) + 4 * (token * queries.shape[1] + head * size)
            _scores(query_at, size, keys, BLOCK, scores_at, BLOCK, keys, size)
            highest = best[own]
            for i in range(count):
                scores[i] *= scale
                highest = max(highest, scores[i])
            shrink = exp(best[own] - highest)
            gained = np.float32(0.0)
            for i in range(count):
                share = exp(scores[i] - highest)
                scores[i] = share
                gained += share
            total[own] = total[own] * shrink + gained
            best[own] = highest
            for i in range(across):
                sums[own, i] *= shrink
            values = keys + values_at
            sums_at = np.int64(sums.ctypes.data) + 4 * own * across
            column = 0
            while column + 8 * LANES <= across:
                _mix8(scores_at, BLOCK, values + HALF_BYTES * column, across, sums_at + 4 * column, across, keys, count)
                column += 8 * LANES
            if column + 4 * LANES <= across:
                _mix4(scores_at, BLOCK, values + HALF_BYTES * column, across, sums_at + 4 * column, across, keys, count)
                column += 4 * LANES
            if column + 2 * LANES <= across:
                _mix2(scores_at, BLOCK, values + HALF_BYTES * column, across, sums_at + 4 * column, across, keys, count)
                column += 2 * LANES
            if column < across:
                _mix1(scores_at, BLOCK, values + HALF_BYTES * column, across, sums_at + 4 * column, across, keys, count)
    for head in range(first, last):
        for i in range(size):
            mixed[token, head * size + i] = sums[head - first, i] / total[head - first]


@compiled(fastmath=EXACT, forceinline=True)
def _held(x: Any) -> Any:
    """A number within what half precision can hold."""
    return min(max(x, np.float32(-LARGEST_HALF)), np.float32(LARGEST_HALF))


@compiled(parallel=True, fastmath=EXACT)
def _look(queries: Any, firsts: Any, starts: Any, tables: Any, heads: int, size: int, layer: int, mixed: Any) -> None:
    """Attention of all new tokens; the cache gets their keys and values. Arguments as in `_attend` and `advance`."""
    hidden = heads * size
    across = (size + LANES - 1) // LANES * LANES
    parts = 1 if len(starts) >= FEW else heads  # a few rows would leave threads idle
    together = heads // parts
    offset = np.int64(HALF_BYTES * layer * heads * BLOCK * (size + across))
    for task in prange(len(starts) * parts):
        row, first = task // parts, task % parts * together
        for token in range(firsts[row], firsts[row + 1]):
            position = starts[row] + token - firsts[row]
            place = position % BLOCK
            for head in range(first, first + together):
                keys = tables[row, position // BLOCK] + offset + HALF_BYTES * head * BLOCK * (size + across)
                values = keys + HALF_BYTES * BLOCK * size
                for i in range(size):
                    _store(keys, i * BLOCK + place, _held(queries[token, hidden + head * size + i]))
                    _store(values, place * across + i, _held(queries[token, 2 * hidden + head * size + i]))
            _attend(queries, token, position, first, first + together, tables[row], offset, size, mixed)


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
    multiply(work.normed, count, size, weights.attend[layer], weights.attend_bias[layer], work.queries, False)


@compiled()
def leave(layer: int, count: int, activation: int, epsilon: float, weights: Weights, work: Work) -> None:
    """A layer after its attention: from `work.mixed` into the first `count` states."""
    size = weights.words.shape[1]
    inner = len(weights.contract[layer]) // work.states.shape[1]
    multiply(work.mixed, count, size, weights.project[layer], weights.project_bias[layer], work.states, True)
    for token in range(count):
        norm(work.states, token, weights.norms[2 * layer + 1], epsilon, work.normed, token)
    multiply(work.normed, count, size, weights.expand[layer], weights.expand_bias[layer], work.inner, False)
    _activate(work.inner, count, activation)
    multiply(work.inner, count, inner, weights.contract[layer], weights.contract_bias[layer], work.states, True)


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
        found = np.int32(0)
        for i in range(len(part)):
            found |= np.int32(part[i] >= least)
        if found:
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
        _look(work.queries, firsts, starts, tables, heads, hidden // heads, layer, work.mixed)
        leave(layer, count, activation, epsilon, weights, work)
    for row in range(rows):
        norm(work.states, firsts[row + 1] - 1, weights.norms[2 * layers], epsilon, work.hidden, row)
    for first in range(0, rows, CHUNK):
        part = min(CHUNK, rows - first)
        multiply(work.hidden[first:], part, hidden, weights.output, weights.output_bias, work.logits, False)
        _pick(work.logits, first, part, uniform, may_end, drawing, tokens, log_probs)
