"""The tokens of facts as vectors, each fact's kept once in one table, and how well replies go with them. Knows arrays only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from convogym.agents import reading_kernels
from convogym.agents.compiled import kernel_threads


class FactTable:
    """Grows with the facts it is asked about, some 3 kB a fact; call it from one thread at a time."""

    def __init__(self, size: int) -> None:
        """Starts empty; vectors have `size` numbers."""
        self._place: dict[str, int] = {}
        self._bounds = [0]  # (facts + 1,) where each fact's tokens begin
        self._vectors = np.zeros((0, size), np.float32)  # rows behind the last bound are free
        self._weights = np.zeros(0, np.float32)

    def missing(self, facts: Sequence[str]) -> list[str]:
        """Those that are not in the table, each once."""
        return [fact for fact in dict.fromkeys(facts) if fact not in self._place]

    def add(self, fact: str, vectors: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]) -> None:
        """Puts a fact into the table.

        Args:
            fact: not yet in it.
            vectors: (tokens, size), at least one.
            weights: (tokens,) how much each token matters.
        """
        first, last = self._bounds[-1], self._bounds[-1] + len(vectors)
        if last > len(self._vectors):
            free = max(last, 2 * len(self._vectors)) - first
            self._vectors = np.concatenate([self._vectors[:first], np.zeros((free, vectors.shape[1]), np.float32)])
            self._weights = np.concatenate([self._weights[:first], np.zeros(free, np.float32)])
        self._vectors[first:last], self._weights[first:last] = vectors, weights
        self._place[fact] = len(self._bounds) - 1
        self._bounds.append(last)

    def fit(self, replies: Sequence[npt.NDArray[np.float32]], facts: Sequence[Sequence[str]]) -> npt.NDArray[np.float32]:
        """Every token of a fact looks for its nearest in the reply; cosines, summed by the fact's token weights.

        Args:
            replies: (tokens, size) each, at least one token.
            facts: all in the table; for each reply those it is compared with.

        Returns:
            One number for each fact of each reply, those of the first reply first.
        """
        counts = [len(row) for row in replies]
        asked = np.fromiter((self._place[fact] for row in facts for fact in row), np.int64)
        out = np.zeros(len(asked), np.float32)
        bounds = np.array(self._bounds)
        if len(asked) and counts:
            tokens = int(sum(len(row) * count for row, count in zip(facts, counts, strict=True)))
            with kernel_threads(tokens * self._vectors.shape[1] * bounds[-1] // (len(bounds) - 1)):
                reading_kernels.fit(
                    np.concatenate(replies),
                    np.cumsum([0, *counts]),
                    self._vectors,
                    self._weights,
                    bounds,
                    asked,
                    np.cumsum([0, *map(len, facts)]),
                    out,
                )
        return out
