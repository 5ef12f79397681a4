"""Advances many dialogues at once, keeping for each what was computed of it. Knows ids and caches; knows nothing of text.

A dialogue lives in a *slot*. `generate` is given the whole context of each slot; whatever part of it the cache already holds,
from its beginning, is not computed again. In the `inline` layout that is all but the newest tokens; in `personagpt` it is
what stands before the first change. Rows that finish leave the batch: the cache keeps the speaking rows in front, and a
finished one changes places with the last.

Letters: B speaking rows, T new tokens, C hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from convogym.agents.gpt2 import GPT2
from convogym.agents.sampling import Sampling, pick
from convogym.errors import InputError

GROWTH = 64  # the cache's token capacity is a multiple of this


@dataclass(frozen=True)
class Generated:
    """One utterance, as ids."""

    ids: tuple[int, ...]
    """without the eos that ended it"""
    features: npt.NDArray[np.float32]
    """shape (C,): mean of the last hidden states (`GPT2.standardised`) that predicted its tokens, eos included"""
    log_prob: float
    """of its tokens, eos included, under the unfiltered distribution, in nats"""
    is_cut_off: bool
    """the bound on length ended it, not an eos"""

    @property
    def tokens(self) -> int:
        """How many tokens were drawn."""
        return len(self.ids) + (not self.is_cut_off)


class Decoder:
    """A network with a cache that dialogues enter and leave."""

    def __init__(self, network: GPT2, eos: int, banned: Sequence[int]) -> None:
        """Starts with an empty cache.

        Args:
            network: in evaluation mode.
            eos: ends an utterance; never its first token, so that nobody says nothing.
            banned: ids that are never said.
        """
        self._network, self._eos = network, eos
        self._banned = torch.tensor(
            [i for i in banned if i != eos], dtype=torch.long, device=network.transformer.wte.weight.device
        )
        shape = network.shape
        self._sizes = (shape.n_layer, shape.n_head, shape.n_embd // shape.n_head)
        weight = network.transformer.wte.weight
        self._keys = torch.zeros(shape.n_layer, 0, shape.n_head, 0, self._sizes[2], dtype=weight.dtype, device=weight.device)
        self._values = torch.zeros_like(self._keys)
        self._row_of: dict[int, int] = {}
        self._slot_at: list[int] = []
        self._known: list[list[int]] = []  # by row: the ids whose keys and values are cached

    @property
    def room(self) -> int:
        """How many tokens a context and its utterance may have together."""
        return self._network.shape.n_positions

    @property
    def cache_bytes(self) -> int:
        """Memory the cache takes."""
        return 2 * self._keys.numel() * self._keys.element_size()

    @torch.inference_mode()
    def generate(
        self,
        slots: Sequence[int],
        contexts: Sequence[Sequence[int]],
        noise: npt.NDArray[np.float64],
        sampling: Sampling,
        told: Callable[[int, Sequence[int]], None] | None = None,
    ) -> list[Generated]:
        """Continues every context by one utterance.

        Args:
            slots: which dialogue each context belongs to; distinct.
            contexts: at least one id each; with `sampling.max_tokens` more they must fit in `room`.
            noise: (len(slots), at least sampling.max_tokens) uniform numbers; row i's n-th decides utterance i's n-th token.
            sampling: how tokens are drawn.
            told: called after every token with the utterance's place among `slots` and its ids so far; None = nobody listens.

        Returns:
            The utterances, in order. Each depends on its own context and noise alone.

        Raises:
            InputError: a context is empty or too long, or two share a slot.
        """
        count = len(slots)
        if count == 0:
            return []
        if len(set(slots)) != count:
            raise InputError("`slots` must be distinct, got one twice.")
        longest = max(len(context) for context in contexts)
        if min(len(context) for context in contexts) < 1 or longest + sampling.max_tokens > self.room:
            raise InputError(f"contexts must have 1..{self.room - sampling.max_tokens} tokens, got one of {longest}.")
        self._reserve(slots, longest + sampling.max_tokens)
        for place, slot in enumerate(slots):
            self._swap(self._row_of[slot], place)
        order = list(range(count))  # which utterance each front row is
        hidden = self._read(contexts)  # (B, C)
        said: list[list[int]] = [[] for _ in slots]
        sums = torch.zeros(count, hidden.size(-1), device=hidden.device)
        log_probs = np.zeros(count)
        uniform = torch.from_numpy(noise[:, : sampling.max_tokens])
        ended = [False] * count
        for n in range(sampling.max_tokens):
            rows = torch.tensor(order)
            sums[rows] += hidden
            logits = self._network.logits(hidden).float()
            if self._banned.numel():
                logits[:, self._banned] = -torch.inf
            normaliser = torch.logsumexp(logits, -1)
            if n == 0:
                logits[:, self._eos] = -torch.inf
            chosen = pick(logits, uniform[rows, n].to(logits.device), sampling)  # (B,)
            gained = (logits.gather(-1, chosen[:, None]).squeeze(-1) - normaliser).cpu().numpy()
            tokens = chosen.tolist()
            for row in range(len(order) - 1, -1, -1):
                utterance = order[row]
                log_probs[utterance] += gained[row]
                ended[utterance] = tokens[row] == self._eos
                if not ended[utterance]:
                    said[utterance].append(tokens[row])
                    if told is not None:
                        told(utterance, said[utterance])
                if ended[utterance] or n == sampling.max_tokens - 1:
                    self._swap(row, len(order) - 1)
                    order[row], tokens[row] = order[-1], tokens[len(order) - 1]
                    order.pop()
            if not order:
                break
            hidden = self._append(torch.tensor(tokens[: len(order)], device=hidden.device)[:, None])
        counts = torch.tensor([len(ids) + end for ids, end in zip(said, ended, strict=True)], device=sums.device)
        means = self._network.standardised(sums / counts[:, None]).cpu().numpy().astype(np.float32)
        return [Generated(tuple(said[i]), means[i], float(log_probs[i]), not ended[i]) for i in range(count)]

    def forget(self, slots: Sequence[int] | None = None) -> None:
        """Drops what is cached of some dialogues, or of all; the memory is kept for others."""
        for slot in list(self._row_of) if slots is None else slots:
            if slot in self._row_of:
                self._known[self._row_of[slot]] = []

    def _reserve(self, slots: Sequence[int], tokens: int) -> None:
        """Makes rows for new slots and room for `tokens` in every row."""
        new = [slot for slot in slots if slot not in self._row_of]
        for slot in new:
            self._row_of[slot] = len(self._slot_at)
            self._slot_at.append(slot)
            self._known.append([])
        rows, capacity = self._keys.size(1), self._keys.size(3)
        need_rows = max(rows, len(self._slot_at))
        need = capacity if tokens <= capacity else -(-tokens // GROWTH) * GROWTH
        if (need_rows, need) == (rows, capacity):
            return
        layers, heads, size = self._sizes
        for name in ("_keys", "_values"):
            old = getattr(self, name)
            grown = old.new_zeros(layers, need_rows, heads, need, size)
            grown[:, :rows, :, :capacity] = old
            setattr(self, name, grown)

    def _swap(self, a: int, b: int) -> None:
        """Lets two rows change places in the cache."""
        if a == b:
            return
        used = max(len(self._known[a]), len(self._known[b]))
        for cache in (self._keys, self._values):
            kept = cache[:, a, :, :used].clone()
            cache[:, a, :, :used] = cache[:, b, :, :used]
            cache[:, b, :, :used] = kept
        self._known[a], self._known[b] = self._known[b], self._known[a]
        self._slot_at[a], self._slot_at[b] = self._slot_at[b], self._slot_at[a]
        self._row_of[self._slot_at[a]], self._row_of[self._slot_at[b]] = a, b

    def _read(self, contexts: Sequence[Sequence[int]]) -> Tensor:
        """Computes what the cache lacks of the front rows' contexts; gives the hidden states (B, C) of their last tokens."""
        fresh = []
        for row, context in enumerate(contexts):
            kept = _shared_length(self._known[row], context)
            kept = min(kept, len(context) - 1)
            self._known[row] = list(context[:kept])
            fresh.append(list(context[kept:]))
        hidden = torch.empty(len(contexts), self._sizes[1] * self._sizes[2], dtype=self._keys.dtype, device=self._keys.device)
        for first, last in _similar(fresh):
            rows = slice(first, last)
            width = max(map(len, fresh[rows]))
            ids = torch.zeros(last - first, width, dtype=torch.long)
            for i, new in enumerate(fresh[rows]):
                ids[i, : len(new)] = torch.tensor(new)
            lengths = torch.tensor([len(new) for new in fresh[rows]], device=hidden.device)
            states = self._forward(ids.to(hidden.device), first, last, lengths)
            hidden[rows] = states[torch.arange(last - first, device=hidden.device), lengths - 1]
        for row, new in enumerate(fresh):
            self._known[row] += new
        return hidden

    def _append(self, ids: Tensor) -> Tensor:
        """Feeds one token (B, 1) to each front row; gives the hidden states (B, C)."""
        states = self._forward(ids, 0, ids.size(0))
        for row, token in enumerate(ids[:, 0].tolist()):
            self._known[row].append(token)
        return states[:, 0]

    def _forward(self, ids: Tensor, first: int, last: int, lengths: Tensor | None = None) -> Tensor:
        start = torch.tensor([len(known) for known in self._known[first:last]], device=ids.device)
        before = None
        if self._network.speakers:
            speakers = self._network.speakers
            last_speaker = (
                next((i for i in reversed(known) if i in speakers), speakers[0]) for known in self._known[first:last]
            )
            before = torch.tensor(list(last_speaker), device=ids.device)
        return self._network.cached(ids, start, self._keys[:, first:last], self._values[:, first:last], lengths, before)


def _shared_length(known: Sequence[int], context: Sequence[int]) -> int:
    """How many ids two sequences share from their beginning."""
    limit = min(len(known), len(context))
    if list(known[:limit]) == list(context[:limit]):
        return limit
    return next(i for i in range(limit) if known[i] != context[i])


def _similar(fresh: Sequence[Sequence[int]], tokens: int = 4096) -> list[tuple[int, int]]:
    """Cuts rows into neighbouring groups whose padded size stays within a bound, so that one long row does not stretch all."""
    groups: list[tuple[int, int]] = []
    first, width = 0, 0
    for i, new in enumerate(fresh):
        wider = max(width, len(new))
        if i > first and wider * (i - first + 1) > tokens:
            groups.append((first, i))
            first, wider = i, len(new)
        width = wider
    groups.append((first, len(fresh)))
    return groups
