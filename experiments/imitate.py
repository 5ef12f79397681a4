"""Policies that learn by example: from recorded talks (behaviour cloning), or by asking an expert (DAgger). Gives dicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convogym.envs.observations import GOAL_BLOCKS
from convogym.episodes import Episode
from convogym.errors import InputError
from convogym.experiments.collect import run_seeds
from convogym.experiments.console import Tick, ignore_ticks, stoppable
from convogym.policies.base import Policy, Previewing, draw
from convogym.policies.cloning import clone
from convogym.policies.learned import LearnedPolicy


def examples_of(episodes: Sequence[Episode]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """What `observation="goals"` showed at each turn of recorded talks, shape (S, 1 + n), and what was chosen, shape (S,).

    The turns of a talk are counted against `num_turns` in its spec, or else against how many it has.

    Raises:
        InputError: the talks differ in their goals, or there is none.
    """
    if len({episode.goals for episode in episodes}) != 1:
        raise InputError("the episodes must be one or more, with the same goals; choose those of one policy.")
    seen, chosen = [], []
    for episode in episodes:
        planned = episode.spec.get("num_turns")
        turns = planned if isinstance(planned, int) and planned >= len(episode.turns) else len(episode.turns)
        counts = np.zeros(len(episode.goals))
        for record in episode.turns:
            seen.append(np.concatenate([[record.turn - 1], counts]) / turns)
            chosen.append(record.action)
            counts[record.action] += 1
    return np.array(seen, np.float32).reshape(len(seen), -1), np.array(chosen, np.int64)


def clone_episodes(episodes: Sequence[Episode], out: Path, *, algorithm: str = "ppo", seed: int = 0) -> dict[str, Any]:
    """Fits a policy to the goals of recorded talks, whoever chose them, and stores it.

    Args:
        episodes: with the same goals.
        out: folder for the policy.
        algorithm: what may go on learning from it.
        seed: of everything.

    Returns:
        Where the policy is, from how many turns, and how often it agrees on turns held out.
    """
    observations, actions = examples_of(episodes)
    goals = episodes[0].goals
    policy = clone(observations, actions, len(goals), seed, algorithm=algorithm, goals=goals)
    policy.save(out)
    return {"out": str(out), "algorithm": algorithm, "episodes": len(episodes), **policy.spec.training}


def dagger(
    env: Any,
    expert: Policy,
    out: Path,
    *,
    episodes: int = 64,
    rounds: int = 4,
    algorithm: str = "ppo",
    seed: int = 0,
    tick: Tick = ignore_ticks,
) -> dict[str, Any]:
    """DAgger (Ross et al. 2011): the expert is asked in the talks that the learner gets into; the learner fits all answers.

    The expert plays the first round, the learner of the round before every later one.

    Args:
        env: a `PersonaChatVectorEnv` with DISABLED autoreset; a batch of its dialogues is played at a time.
        expert: is asked at every turn; a `lookahead` is shown its preview.
        out: folder for the policy.
        episodes: of each round, rounded up to whole batches.
        rounds: at least 1.
        algorithm: what may go on learning from it.
        seed: of everything.
        tick: told how many episodes were done.

    Returns:
        Where the policy is, from how many turns, and each round's mean return and agreement with the expert before its fit.

    Raises:
        InputError: a number makes no sense.
        Stopped: Ctrl-C.
    """
    if episodes < 1 or rounds < 1:
        raise InputError(f"`episodes` and `rounds` must be at least 1, got {episodes} and {rounds}.")
    base = env.unwrapped
    shown = "" if base.spec is None else str(base.spec.kwargs.get("observation", "embedding"))
    size, turns, goals = env.num_envs, base.num_turns, tuple(base.goals.goals)
    batches = -(-episodes // size)
    seeds = np.array(run_seeds(seed, rounds * batches * size, "imitate")).reshape(rounds, batches, size)
    seen: list[npt.NDArray[np.float32]] = []
    asked: list[npt.NDArray[np.int64]] = []
    told: list[dict[str, Any]] = []
    learner: LearnedPolicy | None = None
    rng = np.random.default_rng(seed)
    with stoppable(lambda: "Nothing was written: the policy is saved only at the end."):
        for number in range(rounds):
            returns, agreed = [], []
            for row in seeds[number]:
                observation, _ = env.reset(seed=[int(each) for each in row])
                state, gained = None, np.zeros(size)
                for turn in range(turns):
                    masks = base.action_masks()
                    if isinstance(expert, Previewing):
                        expert.preview(np.array([[each.reward for each in talk] for talk in base.step_all_actions()]))
                    right, state = expert.predict(observation, state, np.full(size, turn == 0), True, masks)
                    seen.append(np.asarray(observation, np.float32))
                    asked.append(right)
                    taken = right
                    if learner is not None:
                        chances = learner.probabilities(observation, masks)
                        taken = draw(chances, rng.random(size))
                        agreed.append(chances.argmax(axis=1) == right)
                    observation, rewards, _, _, _ = env.step(taken)
                    gained += rewards
                returns += gained.tolist()
                tick(size)
            learner = clone(
                np.concatenate(seen),
                np.concatenate(asked),
                len(goals),
                seed,
                algorithm=algorithm,
                goals=goals,
                goal_blocks=GOAL_BLOCKS.get(shown, 0),
                environment={"observation": shown} if shown else None,
            )
            told.append(
                {
                    "played_by": expert.name if number == 0 else "learner",
                    "mean_return": float(np.mean(returns)),
                    "agreement": float(np.mean(agreed)) if agreed else None,
                }
            )
        assert learner is not None
        learner.save(out)
    return {
        "out": str(out),
        "expert": expert.name,
        "algorithm": algorithm,
        "rounds": told,
        "examples": int(sum(map(len, asked))),
        "seed": seed,
    }
