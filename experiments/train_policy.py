"""Learns a policy in the vector environment and stores it. Prints nothing; gives a dict."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convogym.errors import InputError
from convogym.experiments.collect import NUM_ENVS, make_env
from convogym.experiments.console import Tick, ignore_ticks, stoppable
from convogym.goals import GoalSet

if TYPE_CHECKING:
    from convogym.agents.model import LanguageModel


def train_policy(
    model: LanguageModel,
    algo: str,
    steps: int,
    out: Path,
    *,
    reward: str = "identification",
    personas: str = "train",
    num_envs: int = NUM_ENVS,
    num_turns: int = 8,
    observation: str = "goals",
    hyperparameters: Mapping[str, Any] | None = None,
    start: Path | None = None,
    seed: int = 0,
    tensorboard: Path | None = None,
    tick: Tick = ignore_ticks,
) -> dict[str, Any]:
    """Learns a policy for the environment of a model.

    Args:
        model: says lines and replies.
        algo: one of `convogym.policies.algorithms.ALGORITHMS`.
        steps: turns to learn from.
        out: folder that gets the policy; an older one in it is replaced.
        reward: what is learnt to get.
        personas: who is talked to.
        num_envs: dialogues side by side.
        num_turns: turns of an episode.
        observation: what the policy sees, by name.
        hyperparameters: changes to the algorithm's own, `convogym.policies.algorithms.hyperparameters`.
        start: folder of a policy to go on from, of the same algorithm and observation; None = from scratch.
        seed: of everything.
        tensorboard: folder for TensorBoard's files.
        tick: told how many turns were done.

    Returns:
        What `learn` gives.
    """
    env = make_env(
        model,
        num_envs,
        personas=personas,
        reward=reward,
        num_turns=num_turns,
        observation=observation,
        autoreset_mode="SameStep",
    )
    described = {
        "responder": model.name,
        "personas": personas,
        "reward": reward,
        "num_turns": num_turns,
        "observation": observation,
    }
    return learn(
        env,
        algo,
        steps,
        out,
        environment=described,
        hyperparameters=hyperparameters,
        start=start,
        seed=seed,
        tensorboard=tensorboard,
        tick=tick,
    )


def learn(
    env: Any,
    algo: str,
    steps: int,
    out: Path,
    *,
    environment: dict[str, Any],
    hyperparameters: Mapping[str, Any] | None = None,
    start: Path | None = None,
    seed: int = 0,
    tensorboard: Path | None = None,
    tick: Tick = ignore_ticks,
) -> dict[str, Any]:
    """Learns a policy in an environment.

    Args:
        env: a `PersonaChatVectorEnv` with SameStep autoreset.
        algo: see `train_policy`, like the others.
        steps: see there.
        out: see there.
        environment: what the environment is, kept with the policy.
        hyperparameters: see `train_policy`.
        start: see there.
        seed: see there.
        tensorboard: see there.
        tick: see there.

    Returns:
        Where the policy is, how it was trained, and `curve`: (turns learnt from, mean return since the last point).

    Raises:
        UnknownNameError: no such algorithm.
        InputError: a number makes no sense.
        Stopped: Ctrl-C.
    """
    from convogym.envs.observations import GOAL_BLOCKS
    from convogym.envs.sb3 import SB3VecEnv
    from convogym.policies.files import SPEC_FILE
    from convogym.policies.learned import load
    from convogym.policies.training import train

    if steps < 1:
        raise InputError(f"`steps` must be at least 1, got {steps}.")
    goals: GoalSet = env.unwrapped.goals
    began = time.monotonic()
    reported = 0

    def report(done: int, planned: int) -> None:
        nonlocal reported
        tick(done - reported)
        reported = done

    def kept() -> str:
        if reported and (out / SPEC_FILE).is_file() and (out / SPEC_FILE).stat().st_mtime >= began_at:
            return f"The policy as it was some thousand turns ago is in {out}."
        return "It was too early to keep anything."

    began_at = time.time()
    with stoppable(kept):
        policy = train(
            algo,
            SB3VecEnv(env),
            steps,
            seed,
            goals=goals.goals,
            goal_blocks=GOAL_BLOCKS.get(environment.get("observation", ""), 0),
            environment=environment,
            hyperparameters=hyperparameters,
            start=None if start is None else load(start),
            progress=report,
            tensorboard=tensorboard,
            checkpoint=out,
        )
    seconds = time.monotonic() - began
    curve = [list(point) for point in policy.spec.training.get("curve", [])]
    return {
        "out": str(out),
        "algorithm": algo,
        "steps": int(policy.spec.training.get("steps_done", steps)),
        "num_envs": env.num_envs,
        "environment": environment,
        "first_mean_return": curve[0][1] if curve else None,
        "last_mean_return": curve[-1][1] if curve else None,
        "curve": curve,
        "seed": seed,
        "seconds": round(seconds, 3),
    }
