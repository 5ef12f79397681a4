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
from convogym.envs.persona_rewards import stated_facts
from convogym.errors import InputError
from convogym.experiments.collect import run_seeds
from convogym.experiments.console import Tick, ignore_ticks, machine, stoppable
from convogym.experiments.identification import FactRanking, places, rank_facts, standings, turns_to_first
from convogym.experiments.rollout import EpisodeResult, run_episodes
from convogym.goals import PUBLISHED_GOALS
from convogym.metrics import bootstrap_interval, detectable_difference, distinct_n, paired_difference, repetition_rate
from convogym.policies.base import Policy
from convogym.speakers import GoalJudge, PersonaMatcher

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
    judge: GoalJudge | None = None,
    tick: Tick = ignore_ticks,
) -> dict[str, Any]:
    """Plays the same episodes with each policy.

    Args:
        policies: at least one; those of one name are told apart by numbers.
        env: a `PersonaChatVectorEnv` with NextStep autoreset; its personas should be held-out ones.
        episodes: episodes of each policy, at least 2.
        seed: of the episodes and the bootstrap.
        deterministic: each policy's most probable goals instead of drawn ones (random goals stay random).
        matcher: if given, each policy's summary also tells how well the talks show whose they are.
        pool: personas that the matcher is to tell the true one from.
        judge: if given, each policy's summary also tells how many lines carry out their goals.
        tick: told how many episodes were done.

    Returns:
        `policies`: by name what `summary` tells, with a matcher what `identified` tells, and with a judge `goals_followed`,
        the share of lines that carry out their goal. `differences`: for every two of them `a`, `b`, the mean of a's return
        minus b's on the same episode with its interval, `detectable`, the smallest true difference that so many episodes
        would likely show, and `winner`, None where the interval includes zero. `returns`: by name, in the order of the
        episodes. Besides `n`, `seed`, `level`, `deterministic`, `environment`, `seconds` and `machine`.

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
    for name, results in played.items():
        if matcher is not None:
            summaries[name] |= identified(results, matcher, pool, seed)
        if judge is not None:
            summaries[name]["goals_followed"] = goals_followed(results, judge)
    differences = []
    for first, second in itertools.combinations(played, 2):
        a, b = np.array(returns_of(played[first])), np.array(returns_of(played[second]))
        gap = paired_difference(a, b, np.random.default_rng(seed), LEVEL)
        winner = first if gap.low > 0 else second if gap.high < 0 else None
        differences.append(
            {
                "a": first,
                "b": second,
                "mean": gap.mean,
                "mean_interval": [gap.low, gap.high],
                "detectable": detectable_difference(a - b),
                "n": gap.n,
                "winner": winner,
            }
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
        asks for on average; `facts_revealed`, how many facts of the persona its replies state; `repetition` and `distinct_2`
        of the replies; `n`.
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
        "facts_revealed": float(np.mean([len(facts_revealed(result)) for result in results])),
        "repetition": repetition_rate(replies),
        "distinct_2": distinct_n(itertools.chain.from_iterable(replies), 2),
        "n": len(results),
    }


def identified(
    results: Sequence[EpisodeResult], matcher: PersonaMatcher, pool: Sequence[Persona], seed: int
) -> dict[str, Any]:
    """How well talks show whose they are.

    Args:
        results: one or more episodes.
        matcher: judges the replies.
        pool: personas that the true one is told from.
        seed: of the draws and the bootstrap.

    Returns:
        `true_persona_first`, the share of talks after which the true persona is the likeliest of 21, with its interval;
        `turns_to_first`, the mean first turn after which it is, one more than there are turns where it never is; and the
        fields of `FactRanking` averaged over talks.
    """
    standing = standings(results, matcher, pool, seed)
    firsts = np.array([places(each)[-1] == 1 for each in standing], dtype=float)
    interval = bootstrap_interval(firsts, np.random.default_rng(seed), LEVEL)
    ranked = np.mean(rank_facts(results, matcher, pool, seed), axis=0)
    return {
        "true_persona_first": interval.mean,
        "true_persona_first_interval": [interval.low, interval.high],
        "turns_to_first": float(np.mean([turns_to_first(each) for each in standing])),
        **{name: float(value) for name, value in zip(FactRanking._fields, ranked, strict=True)},
    }


def goals_followed(results: Sequence[EpisodeResult], judge: GoalJudge) -> float | None:
    """The share of lines that the judge gives an even chance or more of carrying out their goal; None without such a goal."""
    asked = [
        (turn.line, PUBLISHED_GOALS.index(turn.goal), before)
        for result in results
        for turn, before in zip(result.turns, ["", *(turn.reply for turn in result.turns)], strict=False)
        if turn.goal in PUBLISHED_GOALS
    ]
    if not asked:
        return None
    chances = judge.probabilities([before for _, _, before in asked], [line for line, _, _ in asked])  # (lines, 11)
    return float(np.mean([row[code] >= 0.5 for row, (_, code, _) in zip(chances, asked, strict=True)]))


def facts_revealed(result: EpisodeResult) -> set[str]:
    """The facts of the persona that an episode's replies state."""
    return set().union(*(stated_facts(result.persona.facts, turn.line, turn.reply) for turn in result.turns))


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
