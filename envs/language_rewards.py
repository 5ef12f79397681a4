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


def coherence(with_context: float, alone: float) -> float:
    """How surely a reply belongs to its context rather than to none, in -0.5..0.5.

    `p(a | context) / (p(a | context) + p(a)) - 0.5`: the chance that the reply was said in this context, where both are
    equally likely beforehand. P2 Bot takes the chance that its next-utterance head gives for the same question, minus 0.5.

    Args:
        with_context: natural log-probability of the reply given persona and history.
        alone: natural log-probability of the reply by itself.
    """
    return 0.5 * math.tanh((with_context - alone) / 2)  # the logistic function minus a half, without overflow


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
    """How surely the reply belongs to its persona and history (see `coherence`), -0.5..0.5."""

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
        )[:, 0]  # (2n,)
        return [coherence(*pair) for pair in zip(found[: len(scenes)], found[len(scenes) :], strict=True)]
