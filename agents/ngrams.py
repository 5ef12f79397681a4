"""A judge of lines by their words alone: a linear map from hashed words, pairs of words and pieces of words to goals.

What it misses is not what a network that reads the line in order misses: the mean of their log-odds is right more often than
either (experiments/LOG.md). Knows texts and labels; knows nothing of networks or goals.
Letters: N lines, G goals.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain, pairwise
from zlib import crc32

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

BUCKETS = 1 << 15
PIECES = (3, 4, 5)  # letters in a piece of a word, its borders counted
STEPS = 60
RATE = 0.3  # Adam's, over all lines at once
FOLDS = 5
LEAST_SURE = 0.01  # where nothing can be learnt the best scale may be negative
_WORD = re.compile(r"[a-z']+|\d+|[?.!,]")


def hashed(text: str) -> list[int]:
    """The buckets of everything in a text: its words, neighbouring words, and pieces of words; each once, in order."""
    words = _WORD.findall(text.lower())
    found = {*words, *(f"{a} {b}" for a, b in pairwise(words))}
    for word in (f"<{word}>" for word in words):
        found.update(f"#{word[i : i + n]}" for n in PIECES for i in range(len(word) - n + 1))
    return sorted({crc32(part.encode()) % BUCKETS for part in found})


class NGramHead(nn.Module):
    """Log-odds of every goal, from a text's buckets."""

    def __init__(self, goals: int) -> None:
        """Knows nothing before `fit`: all odds are even."""
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(BUCKETS, goals))
        self.bias = nn.Parameter(torch.zeros(goals))

    def logits(self, texts: Sequence[str]) -> Tensor:
        """(N, G): the mean of the buckets' weights, and the bias. A text without words has the bias alone."""
        return self._logits([hashed(text) for text in texts])

    def _logits(self, buckets: Sequence[Sequence[int]]) -> Tensor:
        starts = np.cumsum([0, *(len(each) for each in buckets[:-1])])
        flat = torch.from_numpy(np.fromiter(chain.from_iterable(buckets), np.int64))
        return functional.embedding_bag(flat, self.weight, torch.from_numpy(starts), mode="mean") + self.bias

    def fit(self, texts: Sequence[str], truth: npt.NDArray[np.bool_], seed: int) -> None:
        """Learns from labelled texts.

        The weights are fitted to all texts by logistic regression. Heads fitted to four fifths of the texts then say of the
        others how sure it may be (Platt 1999), and where even odds must lie for as many labels to be found as there are: so
        a share of lines that carry out their goal is neither too high nor too low on people's lines.

        Args:
            texts: N of them.
            truth: (N, G).
            seed: of the folds.
        """
        wanted, buckets = torch.from_numpy(truth).float(), [hashed(text) for text in texts]
        folds = np.random.default_rng(seed).permutation(len(texts)) % FOLDS
        unseen = torch.zeros_like(wanted)
        for fold in range(FOLDS):
            others, own = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            head = NGramHead(truth.shape[1])
            head._regress([buckets[i] for i in others], wanted[others])
            with torch.no_grad():
                unseen[own] = head._logits([buckets[i] for i in own])
        scale = _platt(unseen, wanted)
        shift = -scale * unseen.flatten().sort(descending=True).values[int(wanted.sum())]
        self._regress(buckets, wanted)
        with torch.no_grad():
            self.weight.mul_(scale)
            self.bias.mul_(scale).add_(shift)

    def _regress(self, buckets: Sequence[Sequence[int]], wanted: Tensor) -> None:
        optimiser = torch.optim.Adam([{"params": [self.weight], "lr": RATE * 10}, {"params": [self.bias], "lr": RATE}])
        with torch.enable_grad():
            for _ in range(STEPS):
                optimiser.zero_grad()
                functional.binary_cross_entropy_with_logits(self._logits(buckets), wanted).backward()  # type: ignore[no-untyped-call]
                optimiser.step()


def _platt(logits: Tensor, wanted: Tensor) -> Tensor:
    """The scale of logits, at least `LEAST_SURE`, under which, with some shift, what was wanted is likeliest."""
    both = torch.tensor([1.0, 0.0], requires_grad=True)
    optimiser = torch.optim.LBFGS([both], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = functional.binary_cross_entropy_with_logits(logits * both[0] + both[1], wanted)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        optimiser.step(loss)  # type: ignore[no-untyped-call]
    return both.detach()[0].clamp(min=LEAST_SURE)
