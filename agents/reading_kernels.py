"""Whole texts read by a GPT-2 network, and replies compared with facts, compiled; the products are those of `kernels`.

Texts of any length stand one after another, so nothing is padded; nothing is kept between calls, so attention stays in
float32. As there, what comes of a text depends on nothing beside it, to the bit. Knows arrays; knows nothing of words.

Letters: M tokens of all texts, S texts, C hidden size, H heads, D = C / H; F tokens of facts, K matching vector. "Wide" sizes
are rounded up to whole `PANEL`s. All floats are float32, all whole numbers int64, all arrays contiguous.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange

from convogym.agents.kernels import (
    EXACT,
    LANES,
    PANEL,
    Weights,
    Work,
    compiled,
    embed,
    enter,
    exp,
    highest,
    leave,
    multiply_panel,
    norm,
)


@compiled(fastmath=EXACT)
def _attend(queries: Any, first: int, count: int, head: int, size: int, hidden: int, mixed: Any) -> None:
    """Causal attention of one head over one text; tokens `first` to before `first + count` of `queries` and `mixed`."""
    panels, wide = (count + PANEL - 1) // PANEL, (size + PANEL - 1) // PANEL
    keys = np.zeros((panels, size, PANEL), np.float32)
    values = np.zeros((wide, count, PANEL), np.float32)
    for token in range(count):
        for i in range(size):
            keys[token // PANEL, i, token % PANEL] = queries[first + token, hidden + head * size + i]
            values[i // PANEL, token, i % PANEL] = queries[first + token, 2 * hidden + head * size + i]
    scores = np.empty((PANEL, panels * PANEL), np.float32)
    sums = np.empty((PANEL, wide * PANEL), np.float32)
    nothing = np.zeros(PANEL, np.float32)
    nothing_at, keys_at, values_at = nothing.ctypes.data, keys.ctypes.data, values.ctypes.data
    scores_at, sums_at = scores.ctypes.data, sums.ctypes.data
    queries_at, across = queries.ctypes.data, queries.shape[1]
    scale = np.float32(1.0) / np.float32(math.sqrt(size))
    for part in range(panels):
        rows = min(PANEL, count - part * PANEL)
        seen = part * PANEL + rows  # tokens that the last of these rows sees
        own_at = np.int64(queries_at + 4 * ((first + part * PANEL) * across + head * size))
        for panel in range(part + 1):
            key_at = np.int64(keys_at + 4 * panel * size * PANEL)
            to = np.int64(scores_at + 4 * panel * PANEL)
            multiply_panel(own_at, across, rows, size, key_at, np.int64(nothing_at), to, panels * PANEL)
        for row in range(rows):
            line = scores[row]
            own = part * PANEL + row + 1
            line[own : (part + 1) * PANEL] = -np.inf
            best = highest(np.int64(line.ctypes.data), (part + 1) * PANEL // LANES)
            total = np.float32(0.0)
            for i in range(own):
                line[i] = exp((line[i] - best) * scale)
            for i in range(own):
                total += line[i]
            for i in range(own):
                line[i] /= total
            line[own:seen] = np.float32(0.0)
        for panel in range(wide):
            value_at = np.int64(values_at + 4 * panel * count * PANEL)
            to = np.int64(sums_at + 4 * panel * PANEL)
            multiply_panel(np.int64(scores_at), panels * PANEL, rows, seen, value_at, np.int64(nothing_at), to, wide * PANEL)
        for row in range(rows):
            for i in range(size):
                mixed[first + part * PANEL + row, head * size + i] = sums[row, i]


@compiled(parallel=True)
def _look(queries: Any, firsts: Any, heads: int, hidden: int, mixed: Any) -> None:
    """Attention of all texts; arguments as in `read`."""
    for task in prange((len(firsts) - 1) * heads):
        text, head = task // heads, task % heads
        _attend(queries, firsts[text], firsts[text + 1] - firsts[text], head, hidden // heads, hidden, mixed)


@compiled()
def read(ids: Any, firsts: Any, heads: int, activation: int, epsilon: float, weights: Weights, work: Work) -> None:
    """Last hidden states, after the final norm, of every token into `work.normed[:M, :C]`.

    Args:
        ids: (M,) tokens, text after text.
        firsts: (S + 1,) where each text begins in `ids`; every one has a token at least.
        heads: H.
        activation: as `kernels.advance` takes it.
        epsilon: of the norms.
        weights: the network.
        work: with room for M tokens.
    """
    for text in range(len(firsts) - 1):
        for token in range(firsts[text], firsts[text + 1]):
            embed(ids[token], token - firsts[text], -1, weights, work, token)
    layers, hidden = len(weights.attend), weights.words.shape[1]
    for layer in range(layers):
        enter(layer, len(ids), epsilon, weights, work)
        _look(work.queries, firsts, heads, hidden, work.mixed)
        leave(layer, len(ids), activation, epsilon, weights, work)
    for token in range(len(ids)):
        norm(work.states, token, weights.norms[2 * layers], epsilon, work.normed, token)


@compiled(parallel=True)
def fit(replies: Any, firsts: Any, facts: Any, weights: Any, bounds: Any, asked: Any, asked_firsts: Any, out: Any) -> None:
    """How well replies go with facts: of each fact's tokens the nearest of the reply, summed by the tokens' weights.

    Args:
        replies: (M, K) vectors of the replies' tokens, reply after reply.
        firsts: (S + 1,) where each reply's begin.
        facts: (F, K) vectors of the facts' tokens, fact after fact.
        weights: (F,) how much each matters.
        bounds: (facts + 1,) where each fact's begin.
        asked: facts that the replies are to be compared with, those of the first reply first.
        asked_firsts: (S + 1,) where each reply's begin in `asked`.
        out: one number for each of `asked`.
    """
    size = facts.shape[1]
    longest = np.int64(0)
    for fact in asked:
        longest = max(longest, bounds[fact + 1] - bounds[fact])
    nothing = np.zeros(PANEL, np.float32)
    for reply in prange(len(firsts) - 1):
        count = firsts[reply + 1] - firsts[reply]
        panels = (count + PANEL - 1) // PANEL
        own = np.empty((panels, size, PANEL), np.float32)
        for token in range(panels * PANEL):
            for i in range(size):  # the last is repeated, which changes no maximum
                own[token // PANEL, i, token % PANEL] = replies[firsts[reply] + min(token, count - 1), i]
        alike = np.empty((longest, panels * PANEL), np.float32)
        for place in range(asked_firsts[reply], asked_firsts[reply + 1]):
            first = bounds[asked[place]]
            tokens = bounds[asked[place] + 1] - first
            for panel in range(panels):
                multiply_panel(
                    np.int64(facts.ctypes.data + 4 * first * size),
                    size,
                    tokens,
                    size,
                    np.int64(own.ctypes.data + 4 * panel * size * PANEL),
                    np.int64(nothing.ctypes.data),
                    np.int64(alike.ctypes.data + 4 * panel * PANEL),
                    panels * PANEL,
                )
            total = np.float32(0.0)
            for token in range(tokens):
                best = highest(np.int64(alike.ctypes.data + 4 * token * panels * PANEL), panels * PANEL // LANES)
                total += weights[first + token] * best
            out[place] = total
