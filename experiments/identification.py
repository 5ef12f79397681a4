"""Whether a talk tells whose it was: the true persona's place among random ones, by the matcher. Knows no environment.

"Persona Authentication through Generative Dialogue" tells true facts from random ones; here, as in the `identification`
reward, whole personas are told apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from convogym.dialogue import Persona
from convogym.errors import InputError
from convogym.experiments.rollout import EpisodeResult
from convogym.speakers import PersonaMatcher

DISTRACTORS = 20  # as in the `identification` reward


def places(
    episodes: Sequence[EpisodeResult],
    matcher: PersonaMatcher,
    pool: Sequence[Persona],
    seed: int,
    distractors: int = DISTRACTORS,
) -> npt.NDArray[np.int64]:
    """The true persona's place after the last turn of each episode; 1 = first. Ties count against it.

    Args:
        episodes: at least one turn each.
        matcher: gives each reply's log-likelihood under each persona.
        pool: personas to draw distractors from, with a generator of the episode's own.
        seed: of the draws.
        distractors: how many.

    Returns:
        Shape (episodes,), in 1..distractors + 1.

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
        total = np.sum(matcher.evidence(turns, [lineup] * len(turns)), axis=0)  # (distractors + 1,)
        found.append(1 + int((total[1:] >= total[0]).sum()))
    return np.array(found, np.int64)
