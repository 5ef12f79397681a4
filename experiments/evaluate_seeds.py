"""Does what is said in a talk depend on how many talks run beside it? It must not. Prints nothing; gives a dict.

Every token is decided by a number drawn for (episode, turn, speaker, token), so the same episode seeds must give the same
transcripts in batches of any size. Float sums come in another order in another batch, so a token whose number falls on the
very border between two tokens may still differ; whatever differs is told.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from convogym.agents.model import LanguageModel
from convogym.errors import InputError
from convogym.experiments.collect import make_env, run_seeds
from convogym.experiments.console import Tick, ignore_ticks, machine, stoppable
from convogym.experiments.rollout import EpisodeResult, run_episodes
from convogym.policies.baselines import RandomPolicy

BATCHES = (1, 7, 64)
SHOWN = 10  # differences told in full


def evaluate_seeds(
    model: LanguageModel,
    dialogues: int,
    *,
    batches: Sequence[int] = BATCHES,
    turns: int = 8,
    seed: int = 0,
    tick: Tick = ignore_ticks,
) -> dict[str, Any]:
    """Plays the same episodes in batches of several sizes and compares the transcripts with those of the first size.

    Args:
        model: speaks for both sides.
        dialogues: how many episodes; in a batch that is smaller, new ones join as old ones end.
        batches: how many talk side by side; at least two different sizes.
        turns: of each episode.
        seed: of the episodes and goals.
        tick: told how many episodes were done.

    Returns:
        `identical`: by size, how many transcripts equal those of the first size. `differences`: the first places where one
        does not, at most `SHOWN`. Besides `n`, `turns_per_s` by size, `seed`, `machine`.

    Raises:
        InputError: fewer than two sizes, or a number below 1.
    """
    if len(set(batches)) < 2 or min(*batches, dialogues) < 1:
        raise InputError(f"`batches` must be at least two different numbers of at least 1, got {tuple(batches)}.")
    seeds = run_seeds(seed, dialogues, "seeds")
    found: dict[int, list[EpisodeResult]] = {}
    speeds: dict[str, float] = {}

    def count(_: int, result: EpisodeResult) -> None:
        tick(1)

    with stoppable(lambda: "A comparison that is not complete tells nothing, so nothing was kept."):
        for size in batches:
            env = make_env(model, size, reward="repetition", num_turns=turns)
            began = time.perf_counter()
            found[size] = run_episodes(env, RandomPolicy(11, seed), seeds, policy_seed=seed, on_episode=count)
            speeds[str(size)] = round(dialogues * turns / (time.perf_counter() - began), 3)
    first = found[batches[0]]
    identical: dict[str, int] = {}
    differences: list[dict[str, Any]] = []
    for size in batches[1:]:
        places = [_first_difference(a, b) for a, b in zip(first, found[size], strict=True)]
        identical[str(size)] = places.count(None)
        for number, place in enumerate(places):
            if place is not None:
                texts = [(of[number].turns[place].line, of[number].turns[place].reply) for of in (first, found[size])]
                differences.append({"batch": size, "dialogue": number, "turn": place, "alone": texts[0], "beside": texts[1]})
    return {
        "compared_with": batches[0],
        "identical": identical,
        "n": dialogues,
        "turns": turns,
        "differences": differences[:SHOWN],
        "turns_per_s": speeds,
        "model": model.name,
        "seed": seed,
        "machine": machine(),
    }


def _first_difference(a: EpisodeResult, b: EpisodeResult) -> int | None:
    """The 0-based turn at which two talks part; None where they are the same."""
    for number, (one, other) in enumerate(zip(a.turns, b.turns, strict=True)):
        if (one.action, one.line, one.reply) != (other.action, other.line, other.reply):
            return number
    return None
