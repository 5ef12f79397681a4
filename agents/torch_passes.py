"""The decoder's steps by torch, on any device and in any precision. Knows a network and rows; knows nothing of dialogues."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from convogym.agents.decoder import Batch, Step
from convogym.agents.gpt2 import GPT2
from convogym.agents.sampling import Sampling, pick

GROWTH = 64  # the cache's token capacity is a multiple of this


class TorchPasses:
    """Computes steps by `GPT2.cached`; every row of the cache has room for as many tokens as the longest."""

    def __init__(self, network: GPT2, eos: int, banned: Sequence[int]) -> None:
        """Starts with an empty cache.

        Args:
            network: anything with the parts of a `GPT2`.
            eos: ends an utterance.
            banned: ids that are never said.
        """
        shape, weight = network.shape, network.transformer.wte.weight
        self._network, self._eos = network, eos
        self._banned = torch.tensor(banned, dtype=torch.long, device=weight.device)
        size = (shape.n_layer, 0, shape.n_head, 0, shape.n_embd // shape.n_head)
        self._keys = torch.zeros(size, dtype=weight.dtype, device=weight.device)
        self._values = torch.zeros_like(self._keys)

    @property
    def cache_bytes(self) -> int:
        """Memory of the keys and values."""
        return 2 * self._keys.numel() * self._keys.element_size()

    def hold(self, row: int, tokens: int) -> None:
        """Makes room for so many tokens in a row, which may be new; what it holds stays."""
        layers, rows, heads, capacity, size = self._keys.shape
        needed = max(capacity, -(-tokens // GROWTH) * GROWTH)
        if row < rows and needed == capacity:
            return
        more = rows if row < rows else max(row + 1, 2 * rows)
        for name in ("_keys", "_values"):
            old = getattr(self, name)
            grown = old.new_zeros(layers, more, heads, needed, size)
            grown[:, :rows, :, :capacity] = old
            setattr(self, name, grown)

    def release(self, row: int) -> None:
        """Nothing: rows keep their memory."""

    def step(self, batch: Batch, sampling: Sampling) -> Step:
        """Reads new tokens, keeps their keys and values, and draws each speaker's next token."""
        lengths = [len(new) for new in batch.ids]
        hidden = self._keys.new_empty(len(lengths), self._network.shape.n_embd)  # (S, C)
        for part in ([i for i, n in enumerate(lengths) if n == 1], [i for i, n in enumerate(lengths) if n > 1]):
            if part:  # apart, so that who reads one token is not padded to who reads many
                hidden[part] = self._read(batch, part)
        device = hidden.device
        uniform = torch.tensor(
            [noise[drawn] for noise, drawn in zip(batch.noise, batch.drawn, strict=True)], dtype=torch.double
        )
        may_end = torch.tensor(batch.drawn) > 0
        tokens, log_probs = self._drawn(hidden, uniform.to(device), may_end.to(device), sampling)
        return Step(tokens[:, None].tolist(), log_probs[:, None].tolist(), hidden[:, None].float().cpu().numpy())

    def _drawn(self, hidden: Tensor, uniform: Tensor, may_end: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
        """Draws a token for each row, and waits for no device.

        Args:
            hidden: (S, C).
            uniform: (S,) float64.
            may_end: (S,) bool, whether the eos may be drawn.
            sampling: how.

        Returns:
            The tokens (S,), and the log-probabilities (S,) they had before any filter.
        """
        logits = self._network.logits(hidden).float().index_fill(1, self._banned, -torch.inf)  # (S, V)
        normaliser = torch.logsumexp(logits, -1)
        logits[:, self._eos].masked_fill_(~may_end, -torch.inf)
        tokens = pick(logits, uniform, sampling)
        return tokens, logits.gather(-1, tokens[:, None]).squeeze(-1) - normaliser

    def _read(self, batch: Batch, part: Sequence[int]) -> Tensor:
        """The last hidden states (len(part), C) of some of the batch."""
        device = self._keys.device
        lengths = torch.tensor([len(batch.ids[i]) for i in part])
        ids = torch.zeros(len(part), int(lengths.max()), dtype=torch.long)
        kinds = None if batch.kinds is None else torch.zeros_like(ids)
        for place, i in enumerate(part):
            ids[place, : len(batch.ids[i])] = torch.tensor(batch.ids[i])
            if kinds is not None and batch.kinds is not None:
                kinds[place, : len(batch.ids[i])] = torch.tensor(batch.kinds[i])
        states = self._network.cached(
            ids.to(device),
            torch.tensor([batch.starts[i] for i in part], device=device),
            self._keys,
            self._values,
            lengths.to(device),
            None if kinds is None else kinds.to(device),
            torch.tensor([batch.rows[i] for i in part], device=device),
        )
        return states[torch.arange(len(part), device=device), lengths.to(device) - 1]
