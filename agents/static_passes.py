"""The decoder's steps by torch with shapes that stay the same, several tokens at a time: for CUDA, where waiting costs most.

Prompts are read as `TorchPasses` reads them. Then `AHEAD` tokens are drawn for everybody before the host looks at one of them:
what was drawn goes straight into the next pass, and on CUDA each pass is a replay of a recorded graph. Who ended on the way
goes on talking to nobody until the host has seen it. On other devices the same passes run unrecorded, which is how they are
tested. Knows a network and rows; knows nothing of dialogues.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from convogym.agents.decoder import Batch, Step
from convogym.agents.gpt2 import GPT2
from convogym.agents.sampling import Sampling
from convogym.agents.torch_passes import TorchPasses

AHEAD = 8  # passes before the host looks: a third of a usual utterance, so that few rows talk on in vain
LENGTHS = 128  # the tokens attended to are rounded up to a multiple of this, so that few graphs are recorded


@dataclass
class _Buffers:
    """What a pass reads and writes, for one number of rows S; always at the same place in memory."""

    rows: Tensor
    """(S,) int64 row of the cache"""
    tokens: Tensor
    """(S,) int64 the token to be read"""
    kinds: Tensor
    """(S,) int64 its type; not looked at where the network has none"""
    starts: Tensor
    """(S,) int64 its place in its text"""
    may_end: Tensor
    """(S,) bool"""
    uniform: Tensor
    """(S, AHEAD) float64"""
    column: Tensor
    """(1,) int64 which pass this is"""
    drawn: Tensor
    """(S, AHEAD) int64 out"""
    log_probs: Tensor
    """(S, AHEAD) out"""
    hidden: Tensor
    """(S, AHEAD, C) float32 out"""

    def copy(self) -> _Buffers:
        """The same in other memory."""
        return _Buffers(*(getattr(self, each.name).clone() for each in fields(self)))

    def put(self, other: _Buffers) -> None:
        """Takes over what others hold."""
        for each in fields(self):
            getattr(self, each.name).copy_(getattr(other, each.name))


class StaticPasses(TorchPasses):
    """Computes steps of up to `AHEAD` tokens; the last row of the cache takes what nobody wants to keep."""

    def __init__(self, network: GPT2, eos: int, banned: Sequence[int]) -> None:
        """As `TorchPasses`."""
        super().__init__(network, eos, banned)
        self._buffers: dict[int, _Buffers] = {}  # by S
        self._graphs: dict[tuple[int, int, Sampling], torch.cuda.CUDAGraph] = {}

    def hold(self, row: int, tokens: int) -> None:
        """Makes room for so many tokens in a row, which may be new; what it holds stays."""
        before = self._keys.shape
        super().hold(row + 1, tokens)
        if self._keys.shape != before:
            self._graphs.clear()  # they know the old cache's place

    def step(self, batch: Batch, sampling: Sampling) -> Step:
        """Reads new tokens, keeps their keys and values, and draws each speaker's next few tokens."""
        count, device = len(batch.rows), self._keys.device
        reading = [i for i, new in enumerate(batch.ids) if len(new) > 1]
        is_read = [int(len(new) > 1) for new in batch.ids]  # who read a prompt has drawn one token before the passes
        left = [len(noise) - drawn for noise, drawn in zip(batch.noise, batch.drawn, strict=True)]
        passes = min(AHEAD, max(n - read for n, read in zip(left, is_read, strict=True)))
        size = 1 << (count - 1).bit_length()
        if size not in self._buffers:
            self._buffers[size] = self._made(size)
        buffers = self._buffers[size]
        self._fill(buffers, batch, is_read)
        first: tuple[Tensor, Tensor, Tensor] | None = None
        if reading:
            places = torch.tensor(reading, device=device)
            hidden = self._read(batch, reading)
            uniform = torch.tensor([batch.noise[i][batch.drawn[i]] for i in reading], dtype=torch.double)
            may_end = torch.tensor([batch.drawn[i] > 0 for i in reading])
            tokens, log_probs = self._drawn(hidden, uniform.to(device), may_end.to(device), sampling)
            buffers.tokens[places] = tokens
            first = tokens, log_probs, hidden.float()
        longest = max(start + len(new) for start, new in zip(batch.starts, batch.ids, strict=True)) + AHEAD
        length = min(-(-longest // LENGTHS) * LENGTHS, self._keys.size(3))
        for _ in range(passes):
            self._pass(buffers, length, sampling)
        return _told(first, reading, buffers, passes, left)

    def _made(self, size: int) -> _Buffers:
        def numbers(*shape: int, dtype: torch.dtype = torch.long) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=self._keys.device)

        return _Buffers(
            rows=numbers(size),
            tokens=numbers(size),
            kinds=numbers(size),
            starts=numbers(size),
            may_end=numbers(size, dtype=torch.bool),
            uniform=numbers(size, AHEAD, dtype=torch.double),
            column=numbers(1),
            drawn=numbers(size, AHEAD),
            log_probs=numbers(size, AHEAD, dtype=torch.float),
            hidden=numbers(size, AHEAD, self._network.shape.n_embd, dtype=torch.float),
        )

    def _fill(self, buffers: _Buffers, batch: Batch, is_read: Sequence[int]) -> None:
        """Puts the batch into the buffers; rows that nobody needs write where nobody reads."""
        count, nowhere = len(batch.rows), self._keys.size(1) - 1
        whole = np.zeros((4, len(buffers.rows)), np.int64)
        whole[0] = nowhere
        whole[0, :count] = batch.rows
        whole[1, :count] = [new[-1] for new in batch.ids]
        if batch.kinds is not None:
            whole[2, :count] = [kinds[-1] for kinds in batch.kinds]
        whole[3, :count] = [s + len(new) * r for s, new, r in zip(batch.starts, batch.ids, is_read, strict=True)]
        uniform = np.zeros(buffers.uniform.shape)
        may_end = np.ones(len(buffers.rows), np.bool_)
        for i, (noise, drawn, read) in enumerate(zip(batch.noise, batch.drawn, is_read, strict=True)):
            next_ones = noise[drawn + read : drawn + read + AHEAD]
            uniform[i, : len(next_ones)] = next_ones
            may_end[i] = drawn + read > 0
        for buffer, values in zip((buffers.rows, buffers.tokens, buffers.kinds, buffers.starts), whole, strict=True):
            buffer.copy_(torch.from_numpy(values))
        buffers.uniform.copy_(torch.from_numpy(uniform))
        buffers.may_end.copy_(torch.from_numpy(may_end))
        buffers.column.zero_()

    def _pass(self, buffers: _Buffers, length: int, sampling: Sampling) -> None:
        if self._keys.device.type != "cuda":
            self._compute(buffers, length, sampling)
            return
        key = (len(buffers.rows), length, sampling)
        if key not in self._graphs:
            kept, side = buffers.copy(), torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch has no type for it
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                self._compute(buffers, length, sampling)  # libraries set themselves up, which cannot be recorded
            torch.cuda.current_stream().wait_stream(side)
            buffers.put(kept)
            self._graphs[key] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graphs[key]):
                self._compute(buffers, length, sampling)
        self._graphs[key].replay()

    def _compute(self, buffers: _Buffers, length: int, sampling: Sampling) -> None:
        """One token of every row, from the buffers and into them.

        Args:
            buffers: of S rows.
            length: how many of a row's tokens may be attended to.
            sampling: how tokens are drawn.
        """
        body, shape = self._network.transformer, self._network.shape
        last = min(shape.n_positions, self._keys.size(3)) - 1
        at = buffers.starts.clamp(max=last)  # (S,); only who has ended gets that far, and no text's known tokens do
        x = body.wte(buffers.tokens) + body.wpe(at)  # (S, C)
        if self._network.speakers:
            x = x + body.wte(buffers.kinds)
        heads = torch.arange(shape.n_head, device=x.device)
        places = (buffers.rows[:, None], heads[None], at[:, None])
        visible = torch.arange(length, device=x.device) <= at[:, None]  # (S, L)
        for layer, block in enumerate(body.layers()):
            q, k, v = block.attn.c_attn(block.ln_1(x)).view(len(x), 3, shape.n_head, -1).unbind(1)  # (S, H, D) each
            self._keys[layer].index_put_(places, k)
            self._values[layer].index_put_(places, v)
            keys, values = (
                known[layer, :, :, :length].index_select(0, buffers.rows) for known in (self._keys, self._values)
            )  # (S, H, L, D)
            mixed = functional.scaled_dot_product_attention(q[:, :, None], keys, values, attn_mask=visible[:, None, None])
            x = x + block.attn.c_proj(mixed.reshape(len(x), -1))
            x = x + block.mlp(block.ln_2(x))
        hidden = body.ln_f(x)
        uniform = buffers.uniform.index_select(1, buffers.column).squeeze(1)
        tokens, log_probs = self._drawn(hidden, uniform, buffers.may_end, sampling)
        buffers.drawn.index_copy_(1, buffers.column, tokens[:, None])
        buffers.log_probs.index_copy_(1, buffers.column, log_probs[:, None])
        buffers.hidden.index_copy_(1, buffers.column, hidden.float()[:, None])
        buffers.tokens.copy_(tokens)
        buffers.starts.add_(1)
        buffers.column.add_(1)
        buffers.may_end.fill_(True)


def _told(
    first: tuple[Tensor, Tensor, Tensor] | None, reading: Sequence[int], buffers: _Buffers, passes: int, left: Sequence[int]
) -> Step:
    """What was drawn, fetched from the device.

    Args:
        first: tokens, log-probabilities and hidden states of who read a prompt.
        reading: who that is.
        buffers: what the passes drew.
        passes: how many there were.
        left: (S,) how many tokens each could still draw.
    """
    count = len(left)
    tokens: list[list[int]] = buffers.drawn[:count, :passes].tolist()
    log_probs: list[list[float]] = buffers.log_probs[:count, :passes].tolist()
    states = buffers.hidden[:count, :passes].cpu().numpy()
    hidden = np.zeros((count, passes + (first is not None), states.shape[-1]), np.float32)
    hidden[:, :passes] = states
    if first is not None:
        for i, token, log_prob, state in zip(
            reading, first[0].tolist(), first[1].tolist(), first[2].cpu().numpy(), strict=True
        ):
            tokens[i].insert(0, token)
            log_probs[i].insert(0, log_prob)
            hidden[i, 0], hidden[i, 1:] = state, states[i]
    return Step([row[:n] for row, n in zip(tokens, left, strict=True)], log_probs, hidden)
