"""How much reward policies get on the same episodes: means, intervals, paired differences. Prints nothing; gives dicts.

All policies talk to the same personas with the same seeds, so their returns are compared episode by episode. Policies that
differ in nothing but the seed they were trained with are runs of one method and are compared as one.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from convogym.dialogue import Persona
from convogym.envs.persona_rewards import stated_facts
from convogym.errors import InputError
from convogym.experiments.collect import run_seeds
from convogym.experiments.console import Tick, ignore_ticks, machine, stoppable
from convogym.experiments.identification import FactRanking, places, rank_facts, standings, turns_to_first
from convogym.experiments.rollout import EpisodeResult, run_episodes
from convogym.goals import PUBLISHED_GOALS
from convogym.metrics import bootstrap_interval, crossed_interval, detectable_difference, distinct_n, repetition_rate
from convogym.policies.base import Policy
from convogym.speakers import GoalJudge, PersonaMatcher

LEVEL = 0.95
LESS_IS_BETTER = ("turns_to_first",)

Table = npt.NDArray[np.float64]


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
        env: a `PersonaChatVectorEnv` with NextStep autoreset, or one for each policy, alike in all but what policies see; its
            personas should be held-out ones.
        episodes: episodes of each policy, at least 2.
        seed: of the episodes and the bootstrap.
        deterministic: each policy's most probable goals instead of drawn ones (random goals stay random).
        matcher: if given, each policy's summary also tells how well the talks show whose they are.
        pool: personas that the matcher is to tell the true one from.
        judge: if given, each policy's summary also tells how many lines carry out their goals.
        tick: told how many episodes were done.

    Returns:
        `policies`: by name what `summary` tells, with a matcher what `identified` tells, and with a judge `goals_followed`,
        the share of lines that carry out their goal. `methods`: the names of each method's runs, by the method's name.
        `differences`: for every two methods (a policy alone is one, too) `a`, `b`, the mean of a's return minus b's on the
        same episode with its interval over episodes and runs, `detectable`, the smallest true difference that so many
        episodes would likely show, `winner`, None where the interval includes zero, and `also`: the same of `prec_5` and
        `turns_to_first`, with a matcher. `returns`: by name, in the order of the episodes. Besides `n`, `seed`, `level`,
        `deterministic`, `environment`, `seconds` and `machine`.

    Raises:
        InputError: no policy, fewer than 2 episodes, or not as many environments as policies.
        Stopped: Ctrl-C.
    """
    if not policies:
        raise InputError("`policies` must hold at least one policy, got none.")
    if episodes < 2:
        raise InputError(f"`episodes` must be at least 2, to make an interval of, got {episodes}.")
    envs = list(env) if isinstance(env, list | tuple) else [env] * len(policies)
    if len(envs) != len(policies):
        raise InputError(f"`env` must be one environment or one for each of the {len(policies)} policies, got {len(envs)}.")
    began = time.monotonic()
    seeds = run_seeds(seed, episodes, "evaluate")
    played: dict[str, list[EpisodeResult]] = {}

    def count(_: int, result: EpisodeResult) -> None:
        tick(1)

    with stoppable(lambda: "An evaluation that is not complete tells nothing, so nothing was kept."):
        for name, policy, own in zip(distinct_names(policies), policies, envs, strict=True):
            played[name] = run_episodes(own, policy, seeds, deterministic=deterministic, policy_seed=seed, on_episode=count)
    summaries = {name: summary(results, seed) for name, results in played.items()}
    measured: dict[str, dict[str, list[float]]] = {name: {"return": returns_of(results)} for name, results in played.items()}
    for name, results in played.items():
        if matcher is not None:
            found, each = identified(results, matcher, pool, seed)
            summaries[name] |= found
            measured[name] |= each
        if judge is not None:
            summaries[name]["goals_followed"] = goals_followed(results, judge)
    runs = methods(dict(zip(played, policies, strict=True)))
    tables = {
        method: {measure: np.array([measured[name][measure] for name in names]) for measure in measured[names[0]]}
        for method, names in runs.items()
    }
    return {
        "policies": summaries,
        "methods": runs,
        "differences": [difference(a, b, tables[a], tables[b], seed) for a, b in itertools.combinations(tables, 2)],
        "returns": {name: returns_of(results) for name, results in played.items()},
        "n": episodes,
        "seed": seed,
        "level": LEVEL,
        "deterministic": deterministic,
        "environment": environment(envs[0]),
        "seconds": round(time.monotonic() - began, 3),
        "machine": machine(),
    }


def methods(policies: Mapping[str, Policy]) -> dict[str, list[str]]:
    """The policies' names by method: trained ones whose training differs in the seed alone are runs of one."""
    by_training: dict[str, list[str]] = {}
    for name, policy in policies.items():
        spec: Any = getattr(policy, "spec", None)
        told = getattr(spec, "training", None)
        key = name
        if told and "seed" in told and "total_steps" in told:
            same = {part: told.get(part) for part in ("total_steps", "hyperparameters", "environment")}
            key = json.dumps([spec.algorithm, spec.observation_size, list(spec.net_arch), same], sort_keys=True, default=str)
        by_training.setdefault(key, []).append(name)
    found: dict[str, list[str]] = {}
    for names in by_training.values():
        algorithm = getattr(getattr(policies[names[0]], "spec", None), "algorithm", "")
        method = names[0] if len(names) == 1 else f"{algorithm} x {len(names)}"
        while method in found:
            method += "'"
        found[method] = names
    return found


def difference(a: str, b: str, first: Mapping[str, Table], second: Mapping[str, Table], seed: int) -> dict[str, Any]:
    """How two methods differ; see `evaluate_policies`.

    Args:
        a: name of the one.
        b: name of the other.
        first: by measure what each of its runs got in each episode, shape (runs, episodes).
        second: the same of the other, on the same episodes.
        seed: of the bootstrap. Runs of the two are not paired: where both have several, the second's are averaged.
    """
    told: dict[str, dict[str, Any]] = {}
    for measure in first:
        gaps = first[measure] - second[measure].mean(axis=0)  # (runs, episodes)
        if len(gaps) == 1 and len(second[measure]) > 1:
            gaps = first[measure] - second[measure]  # (the second's runs, episodes)
        interval = crossed_interval(gaps, np.random.default_rng(seed), LEVEL)
        low, high = (-interval.high, -interval.low) if measure in LESS_IS_BETTER else (interval.low, interval.high)
        told[measure] = {
            "mean": interval.mean,
            "mean_interval": [interval.low, interval.high],
            "detectable": detectable_difference(gaps.mean(axis=0)),
            "n": interval.n,
            "winner": a if low > 0 else b if high < 0 else None,
        }
    return {"a": a, "b": b, **told.pop("return"), "also": told}


def as_rows(differences: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The differences that `evaluate_policies` tells, a row for each measure."""
    rows = []
    for gap in differences:
        for measure, each in (("return", gap), *gap["also"].items()):
            shown = {key: each[key] for key in ("mean", "mean_interval", "detectable", "n", "winner")}
            rows.append({"a": gap["a"], "b": gap["b"], "of": measure, **shown})
    return rows


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
) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """How well talks show whose they are.

    Args:
        results: one or more episodes.
        matcher: judges the replies.
        pool: personas that the true one is told from.
        seed: of the draws and the bootstrap.

    Returns:
        `true_persona_first`, the share of talks after which the true persona is the likeliest of 21, with its interval;
        `turns_to_first`, the mean first turn after which it is, one more than there are turns where it never is; and the
        fields of `FactRanking` averaged over talks. And of each talk `prec_5` and `turns_to_first`.
    """
    standing = standings(results, matcher, pool, seed)
    firsts = np.array([places(each)[-1] == 1 for each in standing], dtype=float)
    interval = bootstrap_interval(firsts, np.random.default_rng(seed), LEVEL)
    ranked = rank_facts(results, matcher, pool, seed)
    turns = [float(turns_to_first(each)) for each in standing]
    found = {
        "true_persona_first": interval.mean,
        "true_persona_first_interval": [interval.low, interval.high],
        "turns_to_first": float(np.mean(turns)),
        **{name: float(value) for name, value in zip(FactRanking._fields, np.mean(ranked, axis=0), strict=True)},
    }
    return found, {"prec_5": [float(each.prec_5) for each in ranked], "turns_to_first": turns}


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
