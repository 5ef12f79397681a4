"""How much reward policies get on the same episodes: means, intervals, paired differences. Prints nothing; gives dicts.

All policies talk to the same personas with the same seeds, so their returns are compared episode by episode.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from convogym.dialogue import Persona
from convogym.errors import InputError
from convogym.experiments.collect import run_seeds
from convogym.experiments.console import Tick, ignore_ticks, machine, stoppable
from convogym.experiments.identification import places
from convogym.experiments.rollout import EpisodeResult, run_episodes
from convogym.metrics import bootstrap_interval, distinct_n, paired_difference, repetition_rate
from convogym.policies.base import Policy
from convogym.speakers import PersonaMatcher

LEVEL = 0.95


def evaluate_policies(
    policies: Sequence[Policy],
    env: Any,
    episodes: int,
    *,
    seed: int = 0,
    deterministic: bool = True,
    matcher: PersonaMatcher | None = None,
    pool: Sequence[Persona] = (),
    tick: Tick = ignore_ticks,
) -> dict[str, Any]:
    """Plays the same episodes with each policy.

    Args:
        policies: at least one; those of one name are told apart by numbers.
        env: a `PersonaChatVectorEnv` with NextStep autoreset; its personas should be held-out ones.
        episodes: episodes of each policy, at least 2.
        seed: of the episodes and the bootstrap.
        deterministic: each policy's most probable goals instead of drawn ones (random goals stay random).
        matcher: if given, each policy's summary also tells how often the true persona comes first after the last turn.
        pool: personas that the matcher is to tell the true one from.
        tick: told how many episodes were done.

    Returns:
        `policies`: by name what `summary` tells, and with a matcher `true_persona_first` with its interval. `differences`: for
        every two of them `a`, `b`, the mean of a's return minus b's on the same episode with its interval, and `winner`, None
        where the interval includes zero. `returns`: by name, in the order of the episodes. Besides `n`, `seed`, `level`,
        `deterministic`, `environment`, `seconds` and `machine`.

    Raises:
        InputError: no policy, or fewer than 2 episodes.
        Stopped: Ctrl-C.
    """
    if not policies:
        raise InputError("`policies` must hold at least one policy, got none.")
    if episodes < 2:
        raise InputError(f"`episodes` must be at least 2, to make an interval of, got {episodes}.")
    began = time.monotonic()
    seeds = run_seeds(seed, episodes, "evaluate")
    played: dict[str, list[EpisodeResult]] = {}

    def count(_: int, result: EpisodeResult) -> None:
        tick(1)

    with stoppable(lambda: "An evaluation that is not complete tells nothing, so nothing was kept."):
        for name, policy in zip(distinct_names(policies), policies, strict=True):
            played[name] = run_episodes(env, policy, seeds, deterministic=deterministic, policy_seed=seed, on_episode=count)
    summaries = {name: summary(results, seed) for name, results in played.items()}
    for name, results in played.items() if matcher is not None else ():
        assert matcher is not None
        first_shares = places(results, matcher, pool, seed) == 1
        interval = bootstrap_interval(first_shares.astype(float), np.random.default_rng(seed), LEVEL)
        summaries[name]["true_persona_first"] = interval.mean
        summaries[name]["true_persona_first_interval"] = [interval.low, interval.high]
    differences = []
    for first, second in itertools.combinations(played, 2):
        gap = paired_difference(returns_of(played[first]), returns_of(played[second]), np.random.default_rng(seed), LEVEL)
        winner = first if gap.low > 0 else second if gap.high < 0 else None
        differences.append(
            {"a": first, "b": second, "mean": gap.mean, "mean_interval": [gap.low, gap.high], "n": gap.n, "winner": winner}
        )
    return {
        "policies": summaries,
        "differences": differences,
        "returns": {name: returns_of(results) for name, results in played.items()},
        "n": episodes,
        "seed": seed,
        "level": LEVEL,
        "deterministic": deterministic,
        "environment": environment(env),
        "seconds": round(time.monotonic() - began, 3),
        "machine": machine(),
    }


def summary(results: Sequence[EpisodeResult], seed: int) -> dict[str, Any]:
    """What a policy's episodes came to.

    Args:
        results: one or more episodes.
        seed: of the bootstrap.

    Returns:
        `mean_return` with its interval; `turn_rewards`, the mean reward of each turn; `terms`, the mean of each reward term
        summed over an episode; `faults`, the share of turns that had each; `goals_asked`, how many different goals an episode
        asks for on average; `repetition` and `distinct_2` of the replies; `n`.
    """
    interval = bootstrap_interval(returns_of(results), np.random.default_rng(seed), LEVEL)
    turns = [turn for result in results for turn in result.turns]
    longest = max(len(result.turns) for result in results)
    replies = [[turn.reply for turn in result.turns] for result in results]
    return {
        "mean_return": interval.mean,
        "mean_return_interval": [interval.low, interval.high],
        "turn_rewards": [
            float(np.mean([result.rewards[turn] for result in results if turn < len(result.turns)])) for turn in range(longest)
        ],
        "terms": {name: float(np.mean([result.reward_terms[name] for result in results])) for name in results[0].reward_terms},
        "faults": {name: float(np.mean([turn.faults[name] for turn in turns])) for name in turns[0].faults},
        "goals_asked": float(np.mean([len(set(result.actions)) for result in results])),
        "repetition": repetition_rate(replies),
        "distinct_2": distinct_n(itertools.chain.from_iterable(replies), 2),
        "n": len(results),
    }


def returns_of(results: Sequence[EpisodeResult]) -> list[float]:
    """The return of each episode."""
    return [result.total for result in results]


def distinct_names(policies: Sequence[Policy]) -> list[str]:
    """The policies' names, those that come again with a number."""
    names: list[str] = []
    for policy in policies:
        name, number = policy.name, 2
        while name in names:
            name, number = f"{policy.name} ({number})", number + 1
        names.append(name)
    return names


def environment(env: Any) -> dict[str, Any]:
    """What was measured in."""
    base = env.unwrapped
    arguments = {} if base.spec is None else base.spec.kwargs
    told = {name: arguments[name] for name in ("personas", "reward") if isinstance(arguments.get(name), str)}
    return {"responder": base.responder_name, "goal_speaker": base.goal_speaker_name, "num_turns": base.num_turns, **told}
