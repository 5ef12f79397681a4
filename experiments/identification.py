"""Whether a talk tells whose it was, by the matcher: personas and facts told from others. Knows no environment.

Letters: T turns of an episode, K distractors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from convogym.dialogue import Persona
from convogym.errors import InputError
from convogym.evidence import talk_evidence
from convogym.experiments.rollout import EpisodeResult
from convogym.metrics import calibration_error
from convogym.speakers import PersonaMatcher

DISTRACTORS = 20  # as in the `identification` reward
NEGATIVES = 20  # random facts beside the true ones: k of the original's RankingLoss
BINS = 10  # of a calibration


def standings(
    episodes: Sequence[EpisodeResult],
    matcher: PersonaMatcher,
    pool: Sequence[Persona],
    seed: int,
    distractors: int = DISTRACTORS,
) -> list[npt.NDArray[np.float64]]:
    """How likely the replies so far are under each candidate persona, after every turn of each episode.

    Args:
        episodes: at least one turn each.
        matcher: gives each reply's log-likelihood under each persona.
        pool: personas to draw distractors from, with a generator of the episode's own.
        seed: of the draws.
        distractors: K.

    Returns:
        For each episode natural log-likelihoods up to a constant a turn, shape (T, K + 1); the true persona is the first.

    Raises:
        InputError: the pool has too few personas that differ from the true one.
    """
    different = list({frozenset(persona.facts): persona for persona in pool}.values())
    found = []
    for episode in episodes:
        others = [persona for persona in different if set(persona.facts) != set(episode.persona.facts)]
        if len(others) < distractors:
            raise InputError(f"the pool must have {distractors} personas beside the true one, got {len(others)}.")
        rng = np.random.default_rng([seed, episode.seed, 8])
        drawn = [others[i] for i in rng.choice(len(others), distractors, replace=False)]
        lineup = [persona.facts for persona in (episode.persona, *drawn)]
        turns = [(turn.line, turn.reply) for turn in episode.turns]
        found.append(np.cumsum(talk_evidence(matcher, turns, lineup), axis=0))
    return found


def places(standing: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The true persona's place after each turn, shape (T,), 1 = first; ties count against it."""
    return np.asarray(1 + (standing[:, 1:] >= standing[:, :1]).sum(axis=1), dtype=np.int64)


def turns_to_first(standing: npt.NDArray[np.float64]) -> int:
    """The first turn, 1-based, after which the true persona is first; T + 1 where it never is."""
    first = places(standing) == 1
    return int(first.argmax()) + 1 if first.any() else len(first) + 1


def posteriors(standing: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Chance of each candidate after each turn, equal before the first, shape (T, K + 1)."""
    odds = np.exp(standing - standing.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), dtype=np.float64)


def fitted_temperature(standing: Sequence[npt.NDArray[np.float64]]) -> float:
    """What log-likelihoods must be divided by so that the true persona gets the best log score over all turns, 0.1..100.

    1 = as sure as it may be; more = overconfident (temperature scaling, Guo et al. 2017). The best of 121 values, each 6 %
    above the one before.

    Args:
        standing: what `standings` gave for one or more episodes of the same length.
    """
    evidence = np.stack(standing)  # (episodes, T, K + 1)
    losses = {}
    for temperature in np.geomspace(0.1, 100.0, 121):
        scaled = evidence / temperature
        top = scaled.max(axis=2)
        losses[float(temperature)] = float(
            (top + np.log(np.exp(scaled - top[:, :, None]).sum(axis=2)) - scaled[:, :, 0]).mean()
        )
    return min(losses, key=lambda each: losses[each])


class Calibration(NamedTuple):
    """Whether the matcher is as often right as it is sure."""

    error: float
    """expected calibration error over all turns"""
    by_turn: list[float]
    """the true persona's mean chance after each turn"""
    error_by_turn: list[float]
    """expected calibration error after each turn"""
    bins: list[dict[str, float]]
    """of predictions about as sure: `confidence` (mean), `correct` (share), `n`; empty bins left out"""


def calibration(standing: Sequence[npt.NDArray[np.float64]]) -> Calibration:
    """How sure the matcher is of the persona it finds likeliest, against how often that is the true one.

    Args:
        standing: what `standings` gave for one or more episodes of the same length.

    Returns:
        The figures over `BINS` bins.
    """
    chances = np.stack([posteriors(each) for each in standing])  # (episodes, T, K + 1)
    sure = chances.max(axis=2)
    right = (chances.argmax(axis=2) == 0) & (sure > chances[:, :, 1:].max(axis=2))  # a tie is no identification
    place = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    bins = [
        {
            "confidence": float(sure[place == b].mean()),
            "correct": float(right[place == b].mean()),
            "n": int((place == b).sum()),
        }
        for b in range(BINS)
        if (place == b).any()
    ]
    return Calibration(
        calibration_error(sure.ravel(), right.ravel(), BINS),
        [float(each) for each in chances[:, :, 0].mean(axis=0)],
        [calibration_error(sure[:, t], right[:, t], BINS) for t in range(sure.shape[1])],
        bins,
    )


class FactRanking(NamedTuple):
    """How well the true facts stand out among random ones at the end of a talk."""

    prec_1: float
    """share of true facts among the first 1"""
    prec_5: float
    """share of true facts among the first 5"""
    rec_5: float
    """share of the true facts that is among the first 5"""
    rec_10: float
    """share of the true facts that is among the first 10"""


def rank_facts(
    episodes: Sequence[EpisodeResult], matcher: PersonaMatcher, pool: Sequence[Persona], seed: int, negatives: int = NEGATIVES
) -> list[FactRanking]:
    """Ranks each persona's facts among random ones by how well they explain the replies.

    The measures of "Persona Authentication through Generative Dialogue" (`_score_triplet` in the published code: prec@k = hits
    among the first k / k, rec@k = hits / true facts, 20 random facts beside the true ones). A fact's score is the summed
    log-likelihood of the replies under a persona of this fact alone; the original takes a cosine of embeddings. Ties count
    against the true facts.

    Args:
        episodes: at least one turn each.
        matcher: gives each reply's log-likelihood under each persona.
        pool: personas whose facts are the random ones, drawn with a generator of the episode's own.
        seed: of the draws.
        negatives: how many random facts.

    Raises:
        InputError: the pool has too few facts beside the true ones.
    """
    facts = list(dict.fromkeys(fact for persona in pool for fact in persona.facts))
    found = []
    for episode in episodes:
        true = episode.persona.facts
        others = [fact for fact in facts if fact not in true]
        if len(others) < negatives:
            raise InputError(f"the pool must have {negatives} facts beside the true ones, got {len(others)}.")
        rng = np.random.default_rng([seed, episode.seed, 9])
        drawn = [others[i] for i in rng.choice(len(others), negatives, replace=False)]
        turns = [(turn.line, turn.reply) for turn in episode.turns]
        alone = [(fact,) for fact in (*true, *drawn)]
        scores = talk_evidence(matcher, turns, alone).sum(axis=0)  # (facts,)
        is_true = np.arange(len(alone)) < len(true)
        order = np.lexsort((is_true, -scores))  # best first; of equal scores the untrue first
        hits = np.cumsum(is_true[order])
        found.append(FactRanking(float(hits[0]), hits[4] / 5, hits[4] / len(true), hits[min(10, len(hits)) - 1] / len(true)))
    return found
