"""Records a policy's episodes in a store: a kill at any moment loses no completed turn, and a later run completes the number.

Also makes the environment that the program's commands play in.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

import convogym  # noqa: F401  # registers the environment
from convogym.dialogue import Persona
from convogym.envs.recorder import RecordVectorEpisodes
from convogym.envs.rewards import parse_reward
from convogym.errors import InputError
from convogym.experiments.console import Tick, ignore_ticks, stoppable
from convogym.experiments.rollout import EpisodeResult, run_episodes
from convogym.metrics import bootstrap_interval
from convogym.policies.base import Policy
from convogym.registration import ENV_ID
from convogym.speakers import Speaker
from convogym.store import EpisodeStore

if TYPE_CHECKING:
    from convogym.agents.model import LanguageModel
    from convogym.agents.sampling import Sampling
    from convogym.envs.vector import PersonaChatVectorEnv

NUM_ENVS = 64  # dialogues side by side, as long as nobody says otherwise
# Arguments that do not change an episode, given what was chosen in it.
_NOT_THE_EPISODES = ("num_envs", "vectorization_mode", "autoreset_mode", "reader", "observation")


def make_env(
    model: LanguageModel,
    num_envs: int,
    *,
    personas: str | Sequence[Persona] = "train",
    reward: str = "identification",
    num_turns: int = 8,
    sampling: Sampling | None = None,
    observation: str = "embedding",
    responder: Speaker | None = None,
    goal_speaker: Speaker | None = None,
    autoreset_mode: str = "NextStep",
    goals: str = "published",
) -> PersonaChatVectorEnv:
    """The vector environment in which a loaded model says lines and replies.

    Args:
        model: what `convogym.agents.loading.load` gave.
        num_envs: dialogues side by side, at least 1.
        personas: a set's name, a file's path, or the personas.
        reward: a weighted sum of terms.
        num_turns: turns of an episode.
        sampling: how both speakers draw; None = as they do by default.
        observation: what policies see, by name.
        responder: who replies instead of the model.
        goal_speaker: who says the lines instead of it.
        autoreset_mode: NextStep, which `run_episodes` wants, or another.
        goals: published, or taught: those and what the goal speaker was taught.
    """
    both = model.responder(sampling)
    named: dict[str, Any] = {} if goals == "published" else {"goals": goals}  # records name what differs from the usual
    env: Any = gym.make_vec(
        ENV_ID,
        num_envs=num_envs,
        vectorization_mode="vector_entry_point",
        responder=responder or both,
        goal_speaker=goal_speaker or both,
        personas=personas,
        reward=reward,
        num_turns=num_turns,
        observation=observation,
        autoreset_mode=autoreset_mode,
        **named,
    )
    env.unwrapped.spec.kwargs.pop("autoreset_mode")  # `gym.make(**episode.spec)` is to make the single form
    return env  # type: ignore[no-any-return]


def make_envs(model: LanguageModel, policies: Sequence[Policy], num_envs: int, **options: Any) -> list[PersonaChatVectorEnv]:
    """The environment of each policy: the same in all but what the policy sees, which is what it was trained on.

    Args:
        model: says lines and replies; once, for all of them.
        policies: those that were not trained get what is cheapest to make.
        num_envs: dialogues side by side.
        **options: of `make_env`, but for `observation`.
    """
    both = model.responder()
    shared: dict[str, Any] = {"responder": both, "goal_speaker": both, **options}
    made: dict[str, PersonaChatVectorEnv] = {}
    for policy in policies:
        name = getattr(policy, "observation", "goals")
        if name not in made:
            made[name] = make_env(model, num_envs, observation=name, **shared)
    return [made[getattr(policy, "observation", "goals")] for policy in policies]


def check_env_options(personas: str, reward: str, num_envs: int = 1, num_turns: int = 1) -> None:
    """Refuses unusable options of `make_env` before a model is loaded.

    Raises:
        InputError: one of them; `UnknownNameError` for names.
    """
    from convogym.envs.make import check_positive
    from convogym.personas import load_personas

    check_positive(num_envs, "num_envs")
    check_positive(num_turns, "num_turns")
    parse_reward(reward)
    load_personas(personas)


def run_seeds(seed: int, number: int, purpose: str) -> list[int]:
    """The seeds of a run's episodes; a longer run begins with those of a shorter one.

    Args:
        seed: the run's, at least 0.
        number: how many.
        purpose: what the run is for: the same seed with another purpose gives other episodes.
    """
    key = zlib.crc32(purpose.encode())
    return [int(np.random.default_rng([seed, key, index]).integers(2**62)) for index in range(number)]


def collect(
    env: Any,
    policy: Policy,
    store: EpisodeStore,
    episodes: int,
    *,
    seed: int = 0,
    resume: bool = False,
    tick: Tick = ignore_ticks,
) -> dict[str, Any]:
    """Records episodes; each turn is on disk before the next begins.

    Args:
        env: a `PersonaChatVectorEnv` with NextStep autoreset.
        policy: picks the goals; what is random in it is drawn.
        store: where to. What else it holds stays there.
        episodes: how many the run is to have in all.
        seed: of the run.
        resume: complete the run of this policy, environment and seed that the store holds. Its episodes that were broken off
            stay there unfinished, and are played anew.
        tick: told how many episodes were done.

    Returns:
        What was recorded, and the mean return of the run's episodes recorded now.

    Raises:
        InputError: the store holds episodes of this run and `resume` was not asked for.
        OSError: the store cannot be written to; what it held, it still holds.
        Stopped: Ctrl-C.
    """
    if episodes < 1:
        raise InputError(f"`episodes` must be at least 1, got {episodes}.")
    began = time.monotonic()
    seeds = run_seeds(seed, episodes, "collect")
    stored_as = dict(zip(_episode_seeds(env, seeds), seeds, strict=True))
    done, broken = _held(store, env, policy, stored_as)
    if (done or broken) and not resume:
        raise InputError(
            f"{store.path} holds {len(done)} finished and {broken} unfinished episodes of this run (policy {policy.name!r}, "
            f"--seed {seed}) already: pass --resume to complete it, or choose another --seed or --store."
        )
    missing = [each for stored, each in stored_as.items() if stored not in done]
    tick(len(done))
    finished: list[EpisodeResult] = []

    def keep(_: int, result: EpisodeResult) -> None:
        finished.append(result)
        tick(1)

    def kept() -> str:
        return (
            f"{store.path} has {len(done) + len(finished)} of {episodes} episodes finished, and every completed turn; "
            "go on with --resume."
        )

    with stoppable(kept):
        recorder = RecordVectorEpisodes(env, store, policy.name)
        run_episodes(recorder, policy, missing, deterministic=False, policy_seed=seed, on_episode=keep)
    seconds = time.monotonic() - began
    turns = sum(len(result.turns) for result in finished)
    summary: dict[str, Any] = {
        "store": str(store.path),
        "policy": policy.name,
        "responder": env.unwrapped.responder_name,
        "episodes": len(done) + len(finished),
        "recorded": len(finished),
        "found": len(done),
        "left_unfinished": broken,
        "turns": turns,
        "seed": seed,
        "seconds": round(seconds, 3),
        "turns_per_second": round(turns / seconds, 2),
    }
    if finished:
        interval = bootstrap_interval([result.total for result in finished], np.random.default_rng(seed))
        summary |= {"mean_return": interval.mean, "mean_return_interval": [interval.low, interval.high]}
    return summary


def _episode_seeds(env: Any, seeds: Sequence[int]) -> list[int]:
    """What the environment makes of reset seeds, and the store keeps: asked of the environment, because it alone decides."""
    found: list[int] = []
    for first in range(0, len(seeds), env.num_envs):
        some = list(seeds[first : first + env.num_envs])
        _, infos = env.reset(seed=some + some[-1:] * (env.num_envs - len(some)))
        found += [int(each) for each in infos["episode_seed"][: len(some)]]
    return found


def _held(store: EpisodeStore, env: Any, policy: Policy, wanted: Mapping[int, int]) -> tuple[set[int], int]:
    """Which of a run's episodes a store has finished, and how many it has unfinished.

    Args:
        store: where to look.
        env: the run's.
        policy: the run's.
        wanted: the run's episodes by their seeds as stored.
    """
    base = env.unwrapped
    arguments = {} if base.spec is None else base.spec.kwargs
    plain = {
        name: value
        for name, value in arguments.items()
        if name not in _NOT_THE_EPISODES and isinstance(value, str | bool | int | float)
    }
    done: set[int] = set()
    broken = 0
    for episode in store.episodes(policy=policy.name):
        is_same = (
            episode.seed in wanted
            and (episode.responder, episode.goal_speaker) == (base.responder_name, base.goal_speaker_name)
            and episode.goals == tuple(base.goals.goals)
            and all(episode.spec.get(name) == value for name, value in plain.items())
        )
        if is_same and episode.finished and episode.seed is not None:
            done.add(episode.seed)
        elif is_same:
            broken += 1
    return done, broken
