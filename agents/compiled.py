"""The decoder's steps by compiled kernels, on the processor, products in int8: packs weights, deals out the cache's memory.

Knows a network and rows; knows nothing of dialogues.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch

from convogym.agents import kernels
from convogym.agents.decoder import Batch, Step
from convogym.agents.gpt2 import GPT2, Block, GPT2Shape, Linear
from convogym.agents.sampling import Sampling

CHUNK_BYTES = 32 * 2**20  # the cache's memory is taken in pieces of about this size
ALIGNMENT = 64  # bytes of a cache line
WORK_OF_A_THREAD = 4_000_000  # multiplications in a step for which it pays to wake another thread and to wait for it

GROWTH = 256  # tokens by which the memory of steps grows

_one_at_a_time = threading.Lock()  # not every thread pool that numba may find can be entered twice


class CompiledPasses:
    """Computes steps by `kernels.advance`; the cache is dealt out in blocks, so it is as large as what it holds."""

    def __init__(self, network: GPT2, eos: int, banned: Sequence[int]) -> None:
        """Packs the weights, which takes a quarter of their memory once more.

        Args:
            network: plain (`GPT2.is_plain`).
            eos: ends an utterance.
            banned: ids that are never said.
        """
        shape = network.shape
        self._eos, self._shape = eos, shape
        self._size = sum(parameter.numel() for parameter in network.parameters())
        self._weights = pack(network, banned)
        self._activation = kernels.ACTIVATIONS.get(shape.activation_function, 2)
        self._block = kernels.block_bytes(shape.n_layer, shape.n_head, shape.n_embd // shape.n_head)
        self._per_chunk = max(1, CHUNK_BYTES // self._block)
        self._chunks: list[npt.NDArray[np.float32]] = []  # only their memory matters
        self._free: list[int] = []
        self._tables = np.zeros((0, -(-shape.n_positions // kernels.BLOCK)), np.int64)
        self._held: list[int] = []  # by row: how many blocks
        self._work = workspace(shape, 1, 1)

    @property
    def cache_bytes(self) -> int:
        """Memory of the keys and values."""
        return sum(chunk.nbytes for chunk in self._chunks)

    def hold(self, row: int, tokens: int) -> None:
        """Makes room for so many tokens in a row, which may be new; what it holds stays."""
        if row >= len(self._held):
            self._held += [0] * (row + 1 - len(self._held))
        if row >= len(self._tables):
            grown = np.zeros((max(row + 1, 2 * len(self._tables)), self._tables.shape[1]), np.int64)
            grown[: len(self._tables)] = self._tables
            self._tables = grown
        needed = -(-tokens // kernels.BLOCK)
        while self._held[row] < needed:
            if not self._free:
                self._grow()
            self._tables[row, self._held[row]] = self._free.pop()
            self._held[row] += 1

    def release(self, row: int) -> None:
        """Gives back a row's memory for others."""
        self._free += self._tables[row, : self._held[row]][::-1].tolist()
        self._held[row] = 0

    def _grow(self) -> None:
        chunk = _aligned(self._per_chunk * self._block // 4)
        self._chunks.append(chunk)
        first = chunk.ctypes.data
        self._free += [first + self._block * i for i in reversed(range(self._per_chunk))]

    def step(self, batch: Batch, sampling: Sampling) -> Step:
        """Reads new tokens, keeps their keys and values, and draws each speaker's next token."""
        count = len(batch.rows)
        lengths = [len(new) for new in batch.ids]
        firsts = np.zeros(count + 1, np.int64)
        np.cumsum(lengths, out=firsts[1:])
        ids = np.fromiter((i for new in batch.ids for i in new), np.int64, firsts[-1])
        kinds = np.full(len(ids), -1, np.int64)
        if batch.kinds is not None:
            kinds[:] = [kind for new in batch.kinds for kind in new]
        self._work = with_room(self._work, self._shape, len(ids), count)
        tokens, log_probs = np.zeros(count, np.int64), np.zeros(count)
        with kernel_threads(len(ids) * self._size) as threads:
            kernels.advance(
                ids,
                kinds,
                firsts,
                np.array(batch.starts, np.int64),
                self._tables[batch.rows],
                self._shape.n_head,
                self._activation,
                self._shape.layer_norm_epsilon,
                threads,
                self._weights,
                self._work,
                np.array([noise[drawn] for noise, drawn in zip(batch.noise, batch.drawn, strict=True)]),
                np.array(batch.drawn) > 0,
                kernels.Drawing(sampling.top_k, sampling.top_p, sampling.temperature, self._eos),
                tokens,
                log_probs,
            )
        hidden = self._work.hidden[:count, None, : self._shape.n_embd]
        return Step(tokens[:, None].tolist(), log_probs[:, None].tolist(), hidden)


@contextmanager
def kernel_threads(multiplications: int) -> Iterator[int]:
    """Meanwhile nobody else runs kernels; those run here have as many threads as so much work is worth, which it gives."""
    with _one_at_a_time:
        allowed = torch.get_num_threads()
        threads = min(1 + multiplications // WORK_OF_A_THREAD, allowed, numba.config.NUMBA_NUM_THREADS)
        numba.set_num_threads(threads)
        try:
            yield threads
        finally:
            if torch.get_num_threads() != allowed:  # both use one OpenMP, which numba sets to all cores when it starts
                torch.set_num_threads(allowed)


def workspace(shape: GPT2Shape, tokens: int, rows: int) -> kernels.Work:
    """Memory for steps of at most so many tokens and rows."""
    hidden, inner = kernels.wide(shape.n_embd), kernels.wide(shape.n_inner or 4 * shape.n_embd)
    attended = kernels.wide(3 * shape.n_embd)
    normed, between = _aligned(tokens, hidden), _aligned(tokens * max(attended, inner))
    return kernels.Work(
        states=_aligned(tokens, hidden),
        normed=normed,
        queries=between[: tokens * attended].reshape(tokens, attended),
        mixed=normed,
        inner=between[: tokens * inner].reshape(tokens, inner),
        hidden=_aligned(rows, hidden),
        logits=_aligned(min(rows, kernels.CHUNK), kernels.wide(shape.vocab_size)),
        rounded=_aligned(max(tokens, rows), kernels.rounded_bytes(max(shape.n_embd, inner)), dtype=np.uint8),
    )


def with_room(work: kernels.Work, shape: GPT2Shape, tokens: int, rows: int) -> kernels.Work:
    """The same memory if it is enough for a step, else new, with room for some tokens more, so that it seldom grows."""
    if tokens <= len(work.states) and rows <= len(work.hidden):
        return work
    return workspace(shape, max(-(-tokens // GROWTH) * GROWTH, len(work.states)), max(rows, len(work.hidden)))


def _aligned(*shape: int, dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
    """An array, not filled, whose beginning is that of a cache line."""
    size, width = int(np.prod(shape)), np.dtype(dtype).itemsize
    whole = np.empty(size + ALIGNMENT // width, dtype)
    skipped = -whole.ctypes.data % ALIGNMENT // width
    return whole[skipped : skipped + size].reshape(shape)


def aligned(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A copy whose beginning is that of a cache line."""
    out = _aligned(*array.shape, dtype=array.dtype)
    out[:] = array
    return out


def pack(network: GPT2, banned: Sequence[int]) -> kernels.Weights:
    """A plain network's parameters as the kernels read them.

    Args:
        network: plain (`GPT2.is_plain`).
        banned: ids never to be said.
    """
    shape, body = network.shape, network.transformer

    def numbers(parameter: torch.Tensor) -> npt.NDArray[np.float32]:
        return parameter.detach().contiguous().numpy()

    words = numbers(body.wte.weight)
    matrices = [words.T]
    for block in body.layers():
        matrices += [numbers(part.weight) for part in (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj)]
    packed_output, *kept = map(kernels.packed, matrices)
    layers = [kept[first : first + 4] for first in range(0, len(kept), 4)]

    def stacked(number: int) -> npt.NDArray[Any]:
        return aligned(np.stack([layer[number] for layer in layers]))

    def biases(of: Callable[[Block], Linear]) -> npt.NDArray[np.float32]:
        return np.stack([bias(of(block).bias) for block in body.layers()])

    def bias(parameter: torch.Tensor) -> npt.NDArray[np.float32]:
        out = np.zeros(kernels.wide(len(parameter)), np.float32)
        out[: len(parameter)] = numbers(parameter)
        return out

    norms = [norm for block in body.layers() for norm in (block.ln_1, block.ln_2)] + [body.ln_f]
    output_bias = np.full(kernels.wide(shape.vocab_size), -np.inf, np.float32)
    output_bias[: shape.vocab_size] = 0.0
    output_bias[list(banned)] = -np.inf
    return kernels.Weights(
        words=words,
        places=numbers(body.wpe.weight),
        norms=np.stack([np.stack([numbers(norm.weight), numbers(norm.bias)]) for norm in norms]),
        attend=stacked(0),
        attend_bias=biases(lambda block: block.attn.c_attn),
        project=stacked(1),
        project_bias=biases(lambda block: block.attn.c_proj),
        expand=stacked(2),
        expand_bias=biases(lambda block: block.mlp.c_fc),
        contract=stacked(3),
        contract_bias=biases(lambda block: block.mlp.c_proj),
        output=aligned(packed_output),
        output_bias=output_bias,
    )
