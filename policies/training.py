"""Trains a policy with Stable-Baselines3 in a vector environment, storing it and telling how far it is as it goes.

Knows nothing of what is talked about. Letters: N conversations, d observation length, n actions.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias, cast

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, is_vecenv_wrapped

from convogym.errors import InputError, UnknownNameError
from convogym.policies.algorithms import ALGORITHMS, WARM_UP_STEPS
from convogym.policies.algorithms import hyperparameters as numbers_of
from convogym.policies.base import allowed_actions, draw
from convogym.policies.learned import LearnedPolicy
from convogym.policies.learners import make_learner
from convogym.policies.networks import is_flat, measure
from convogym.policies.spec import PolicySpec

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the environment steps done and those planned."""


class _Watcher(BaseCallback):
    """Reports progress, notes the learning curve and stores the policy now and then."""

    def __init__(
        self,
        planned: int,
        done_before: int,
        report: Progress | None,
        store: Callable[[Sequence[tuple[int, float]]], object] | None,
        every: int,
    ) -> None:
        super().__init__()
        self.planned = planned
        self.done_before = done_before
        self.report = report
        self.store = store
        self.every = every
        self.curve: list[tuple[int, float]] = []
        self._returns: list[float] = []
        self._next_point = done_before + WARM_UP_STEPS
        self._next_store = every
        self.threads = torch.get_num_threads()

    def _on_rollout_start(self) -> None:
        torch.set_num_threads(self.threads)  # the environment may need them

    def _on_rollout_end(self) -> None:
        torch.set_num_threads(1)  # for matrices this small, waiting for other threads costs more than they bring

    @property
    def done(self) -> int:
        return self.done_before + self.num_timesteps

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            for name, value in info.get("reward_terms", {}).items():
                self.logger.record_mean(f"reward_terms/{name}", float(value))
        self._returns += [float(info["episode"]["r"]) for info in self.locals["infos"] if "episode" in info]
        if self._returns and self.done >= self._next_point:
            self.curve.append((self.done, round(float(np.mean(self._returns)), 6)))
            self._returns = []
            self._next_point = self.done + WARM_UP_STEPS
        if self.report is not None:
            self.report(min(self.done, self.planned), self.planned)
        if self.store is not None and self.done >= self._next_store:
            self.store(self.curve)
            self._next_store = self.done + self.every
        return True


def train(
    algorithm: str,
    vec_env: VecEnv,
    total_steps: int,
    seed: int,
    *,
    goals: Sequence[str] | None = None,
    goal_blocks: int = 0,
    environment: Mapping[str, Any] | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    start: LearnedPolicy | None = None,
    progress: bool | Progress = False,
    tensorboard: Path | str | None = None,
    callback: BaseCallback | Sequence[BaseCallback] | None = None,
    checkpoint: Path | str | None = None,
    checkpoint_every: int = 4096,
) -> LearnedPolicy:
    """Learns a policy, from scratch or from another; the same seed in an equally seeded environment gives the same weights.

    Args:
        algorithm: one of `ALGORITHMS`.
        vec_env: flat `Box` observations, `Discrete` actions, `action_masks()` for "maskable-ppo". It is reset, not closed.
            Observations should end with how often each action was taken, as those of `PersonaChat-v0` do.
        total_steps: turns to learn from, over all parallel environments, the `WARM_UP_STEPS` random ones included; PPOs and
            A2C round up to whole rollouts.
        seed: of the network, the exploration and the environment.
        goals: text of each action's goal; kept with the policy, which later refuses an environment with others.
        goal_blocks: how many numbers the observation has for each goal before turn and counts.
        environment: JSON values that tell which environment this is; kept with the policy.
        hyperparameters: changes to the algorithm's own, `convogym.policies.algorithms.hyperparameters`.
        start: a policy of the same algorithm and sizes whose weights and scale are gone on from, e.g. one that `clone` made.
        progress: True for a bar on standard error, or a function that is told the steps done and planned.
        tensorboard: folder for TensorBoard's event files.
        callback: SB3 callbacks to call beside the own ones; one that returns False ends the training.
        checkpoint: folder in which the policy is stored every `checkpoint_every` steps, and at the end.
        checkpoint_every: steps between two of those.

    Raises:
        UnknownNameError: no such algorithm.
        InputError: spaces, goals or numbers that cannot be used.
    """
    if algorithm not in ALGORITHMS:
        raise UnknownNameError("algorithm", algorithm, ALGORITHMS)
    observations, actions = vec_env.observation_space, vec_env.action_space
    if not is_flat(observations, actions):
        raise InputError(f"`vec_env` must have flat Box observations and Discrete actions, got {observations} and {actions}.")
    if total_steps < 1 or checkpoint_every < 1:
        raise InputError(f"`total_steps` and `checkpoint_every` must be at least 1, got {total_steps} and {checkpoint_every}.")
    if start is not None:
        wanted = (algorithm, int(cast(gym.spaces.Box, observations).shape[0]), int(cast(gym.spaces.Discrete, actions).n))
        found = (start.spec.algorithm, start.spec.observation_size, start.spec.num_actions)
        if wanted != found:
            raise InputError(f"`start` must be a policy of (algorithm, observation, actions) {wanted}, got {found}.")
    settings = {**numbers_of(algorithm), **(hyperparameters or {})}
    spec = PolicySpec(
        algorithm,
        int(cast(gym.spaces.Box, observations).shape[0]),
        int(cast(gym.spaces.Discrete, actions).n),
        None if goals is None else tuple(goals),
        goal_blocks=goal_blocks,
        training={"seed": seed, "total_steps": total_steps, "num_envs": vec_env.num_envs, "hyperparameters": settings}
        | ({} if environment is None else {"environment": dict(environment)}),
        versions={name: version(name) for name in ("stable-baselines3", "sb3-contrib", "torch", "gymnasium", "numpy")},
    )
    monitored = vec_env if is_vecenv_wrapped(vec_env, VecMonitor) else VecMonitor(vec_env)
    learner = make_learner(spec, settings, monitored, seed, tensorboard)
    warm_up = min(WARM_UP_STEPS, total_steps // 4)
    seen = _random_observations(monitored, warm_up, spec.num_actions, seed)
    if start is None:
        measure(learner.policy, seen)
    else:
        learner.policy.load_state_dict(start.network.state_dict(), strict=True)

    def result(curve: Sequence[tuple[int, float]], done: int) -> LearnedPolicy:
        training = {**spec.training, "steps_done": done, "curve": [list(point) for point in curve]}
        return LearnedPolicy(replace(spec, training=training), learner.policy, seed)

    def store(curve: Sequence[tuple[int, float]]) -> None:
        if checkpoint is not None:
            result(curve, watcher.done).save(checkpoint)

    report = _bar(total_steps) if progress is True else (progress or None)
    watcher = _Watcher(total_steps, warm_up, report, store if checkpoint is not None else None, checkpoint_every)
    extra = [] if callback is None else [callback] if isinstance(callback, BaseCallback) else list(callback)
    try:
        learner.learn(max(total_steps - warm_up, 1), callback=CallbackList([watcher, *extra]), tb_log_name=algorithm)
    finally:
        torch.set_num_threads(watcher.threads)
    policy = result(watcher.curve, watcher.done)
    if checkpoint is not None:
        policy.save(checkpoint)
    return policy


def _random_observations(vec_env: VecEnv, steps: int, num_actions: int, seed: int) -> npt.NDArray[np.float32]:
    """Observations of random turns, first axis samples; honours action masks where the environment has them."""
    rng = np.random.default_rng(seed)
    seen = [np.asarray(vec_env.reset(), dtype=np.float32)]
    has_masks = vec_env.has_attr("action_masks")
    for _ in range(math.ceil(steps / vec_env.num_envs)):
        masks = np.stack(vec_env.env_method("action_masks")) if has_masks else None
        allowed = allowed_actions(vec_env.num_envs, num_actions, masks)
        actions = draw(allowed / allowed.sum(axis=1, keepdims=True), rng.random(vec_env.num_envs))
        observation, _, _, _ = vec_env.step(actions)
        seen.append(np.asarray(observation, dtype=np.float32))
    return np.concatenate(seen)


def _bar(total: int) -> Progress:
    from tqdm import tqdm

    bar = tqdm(total=total, unit="turn", desc="learning", file=sys.stderr)

    def report(done: int, planned: int) -> None:
        bar.update(done - bar.n)
        if done >= planned:
            bar.close()

    return report
