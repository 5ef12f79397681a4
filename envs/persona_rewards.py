"""Reward terms that say how much of the persona a reply shows: `mutual_persona` and `coverage`. Knows no environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convogym.speakers import PersonaMatcher
from convogym.stating import ENOUGH, stated_share

if TYPE_CHECKING:
    from convogym.envs.rewards import Facts, Scene

PERCEPTION_DISCOUNT = 0.5  # P2 Bot's, per utterance (`worlds/selfplay.py`)


def perception(evidence: float) -> float:
    """The chance, 0..1, that a reply speaks of a fact and not of nothing, both equally likely beforehand.

    Args:
        evidence: log-likelihood of the reply under a persona of this fact alone, minus that under a persona of none. By the
            matcher's formula it is `log((1 + z) / 2)` with z the odds; the chance is `z / (1 + z)`.
    """
    return max(0.0, 1.0 - 0.5 * float(np.exp(-evidence)))


def perception_weight(turn: int) -> float:
    """How much the reply of a turn counts in the whole talk: `sum_(k = 0..2 turn - 1) 0.5^k`, in 1.5..2.

    P2 Bot gives every utterance i the discounted sum `G_i = q_i + 0.5 G_(i+1)` over all later utterances of both speakers,
    which nobody can give before they are said. Summed over a talk, q of utterance i (from 0; a reply is utterance
    2 turn - 1) counts `1 + 0.5 + ... + 0.5^i` times; paid at once with that weight, the return is the same.

    Args:
        turn: 1-based.
    """
    return float((1 - PERCEPTION_DISCOUNT ** (2 * turn)) / (1 - PERCEPTION_DISCOUNT))


class MutualPersona:
    """P2 Bot's mutual persona perception: how surely the reply shows any fact of the persona, times `perception_weight`, 0..2.

    `q = max over facts of perception(fact)`, by the matcher. P2 Bot stretches q to 0..2 over each batch, which makes the same
    reply worth another sum in other company; here the scale is fixed. The goal speaker has no persona, so its q is 0.
    """

    name = "mutual_persona"

    def __init__(self, matcher: PersonaMatcher) -> None:
        """Takes the judge, P2 Bot's receiver."""
        self._matcher = matcher

    def begin(self, persona: Facts, rng: np.random.Generator) -> None:
        """Remembers nothing."""

    def score(self, scenes: Sequence[Scene], memories: Sequence[Any]) -> list[float]:
        """Asks the matcher about each fact alone, and about none."""
        turns = [(scene.line, scene.reply) for scene in scenes]
        candidates = [[(), *((fact,) for fact in scene.persona)] for scene in scenes]
        found = self._matcher.evidence(turns, candidates)
        return [
            perception_weight(len(scene.earlier_replies) + 1) * perception(float(evidence[1:].max() - evidence[0]))
            for scene, evidence in zip(scenes, found, strict=True)
        ]


class Coverage:
    """The share of the persona's facts that this reply states and none before it did, 0..1; sums to the share revealed.

    A reply states a fact when it has at least half of its content words (`convogym.stating`), those of the line left out.
    """

    name = "coverage"

    def begin(self, persona: Facts, rng: np.random.Generator) -> set[str]:
        """No fact is revealed yet."""
        return set()

    def score(self, scenes: Sequence[Scene], memories: Sequence[set[str]]) -> list[float]:
        """Looks for the facts not revealed yet."""
        values = []
        for scene, revealed in zip(scenes, memories, strict=True):
            new = stated_facts(scene.persona, scene.line, scene.reply) - revealed
            revealed |= new
            values.append(len(new) / len(scene.persona))
        return values


def stated_facts(persona: Sequence[str], line: str, reply: str) -> set[str]:
    """The facts of a persona that a reply to a line states."""
    return {fact for fact in persona if (stated_share(reply, line, fact) or 0.0) >= ENOUGH}
