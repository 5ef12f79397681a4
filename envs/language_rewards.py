"""Reward terms of P2 Bot that a language model reads off a reply: `language` and `coherence`. Knows no environment.

Source: Liu et al., "You Impress Me: Dialogue Generation via Mutual Persona Perception", ACL 2020, arXiv:2004.05388, and
`agents/psquare` of its published code. There the judges are an untuned GPT and a next-utterance head; here one language model,
handed in, is both. It is not the speaker, which may be fine-tuned meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convogym.speakers import ReplyScorer

if TYPE_CHECKING:
    from convogym.envs.rewards import Facts, Scene


def coherence(with_context: float, alone: float, tokens: float) -> float:
    """How surely a token of a reply belongs to its context rather than to none, in -0.5..0.5.

    `1 / (1 + exp(-m)) - 0.5` with m the mean over tokens of `log p(a_t | context, a_<t) - log p(a_t | a_<t)`: the chance that
    the context was there, where both are equally likely beforehand, as its average token tells. P2 Bot takes the chance that
    its next-utterance head gives for the same question, minus 0.5; of whole replies this ratio would be near 1 for nearly all.

    Args:
        with_context: natural log-probability of the reply given persona and history.
        alone: natural log-probability of the reply by itself.
        tokens: how many tokens it has, at least 1.
    """
    return 0.5 * math.tanh((with_context - alone) / tokens / 2)  # the logistic function minus a half, without overflow


class Language:
    """Mean log-probability of a token of the reply by itself, `(1 / |a|) sum_t log p(a_t | a_<t)`, in nats; at most 0."""

    name = "language"

    def __init__(self, scorer: ReplyScorer) -> None:
        """Takes the judge."""
        self._scorer = scorer

    def begin(self, persona: Facts, rng: np.random.Generator) -> None:
        """Remembers nothing."""

    def score(self, scenes: Sequence[Scene], memories: Sequence[Any]) -> list[float]:
        """Reads all replies in one call."""
        nothing = [()] * len(scenes)
        found = self._scorer.log_likelihoods(nothing, nothing, [scene.reply for scene in scenes])  # (n, 2)
        return [float(total / tokens) for total, tokens in found]


class Coherence:
    """How surely the reply belongs to its persona and history, -0.5..0.5 (see `coherence`)."""

    name = "coherence"

    def __init__(self, scorer: ReplyScorer) -> None:
        """Takes the judge."""
        self._scorer = scorer

    def begin(self, persona: Facts, rng: np.random.Generator) -> None:
        """Remembers nothing."""

    def score(self, scenes: Sequence[Scene], memories: Sequence[Any]) -> list[float]:
        """Reads all replies in one call, each with its context and alone."""
        replies = [scene.reply for scene in scenes]
        nothing = [()] * len(scenes)
        found = self._scorer.log_likelihoods(
            [*(scene.persona for scene in scenes), *nothing],
            [*((*scene.history, scene.line) for scene in scenes), *nothing],
            replies * 2,
        )  # (2n, 2)
        pairs = zip(found[: len(scenes)], found[len(scenes) :], strict=True)
        return [coherence(float(within), float(alone), float(tokens)) for (within, _), (alone, tokens) in pairs]
