"""Which goal's question brings a fact up, guessed from the fact's words. Knows the grammar's facts; knows nothing of models.

Naive Bayes over word stems, with the grammar's train facts as examples, whose goals are certain, and the published goals
equally likely beforehand. On the grammar's held-out facts the likeliest goal is the right one in 0.95 of cases, on the train
ones in 0.99; of facts in other people's words it knows less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt

from convogym import grammar
from convogym.goals import PUBLISHED_GOALS
from convogym.stating import content_words

SMOOTHING = 0.1  # facts that each word is counted to have been in besides those it was in


def topics(fact: str, goals: Sequence[str]) -> npt.NDArray[np.float64]:
    """The chance that each goal's question brings a fact up.

    Args:
        fact: a sentence in the first person.
        goals: texts of goals; one that is not published gets 0, because no example is known.

    Returns:
        Shape (len(goals),), in 0..1; the published goals' sum to 1.
    """
    chances = _chances(fact)
    return np.array([chances[PUBLISHED_GOALS.index(goal)] if goal in PUBLISHED_GOALS else 0.0 for goal in goals])


@lru_cache(maxsize=1 << 16)
def _chances(fact: str) -> tuple[float, ...]:
    table = _log_shares()
    score = np.zeros(len(PUBLISHED_GOALS))
    for word in sorted(content_words(fact)):
        score += table.get(word, 0.0)  # a word never seen tells nothing
    odds = np.exp(score - score.max())
    return tuple((odds / odds.sum()).tolist())


@cache
def _log_shares() -> Mapping[str, npt.NDArray[np.float64]]:
    """By word, the logarithm of the share of each goal's facts that have it, shape (11,)."""
    number = np.zeros(len(PUBLISHED_GOALS))
    counts: dict[str, npt.NDArray[np.float64]] = {}
    for fact in grammar.facts("train"):
        number[fact.goal] += 1
        for word in content_words(fact.text):
            counts.setdefault(word, np.zeros(len(PUBLISHED_GOALS)))[fact.goal] += 1
    return {word: np.log((count + SMOOTHING) / (number + 2 * SMOOTHING)) for word, count in counts.items()}
