"""The Stable-Baselines3 learners behind the algorithms' names, and the double DQN that it lacks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from sb3_contrib import QRDQN, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from convogym.policies.networks import POLICY_CLASSES, policy_kwargs
from convogym.policies.spec import PolicySpec


class DoubleDQN(DQN):
    """SB3's DQN with the double-Q target: the online network picks the next action, the target network rates it.

    y = r + (1 - done) gamma Q_target(s', argmax_a Q(s', a)), as in the original convogym's `DQNPolicy.update_policy`.
    """

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Takes gradient steps on random batches of the replay buffer, with the Huber loss."""
        assert self.replay_buffer is not None
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        losses = []
        for _ in range(gradient_steps):
            batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)
            with torch.no_grad():
                best = self.q_net(batch.next_observations).argmax(dim=1, keepdim=True)  # (B, 1)
                next_values = self.q_net_target(batch.next_observations).gather(1, best)  # (B, 1)
                targets = batch.rewards + (1 - batch.dones) * self.gamma * next_values  # (B, 1)
            values = self.q_net(batch.observations).gather(1, batch.actions.long())  # (B, 1)
            loss = torch.nn.functional.smooth_l1_loss(values, targets)
            self.policy.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
            self.policy.optimizer.step()
            losses.append(loss.item())
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/loss", float(np.mean(losses)))


LEARNERS: Mapping[str, type[BaseAlgorithm]] = {
    "ppo": PPO,
    "maskable-ppo": MaskablePPO,
    "recurrent-ppo": RecurrentPPO,
    "a2c": A2C,
    "dqn": DoubleDQN,
    "qr-dqn": QRDQN,
}


def make_learner(
    spec: PolicySpec, settings: Mapping[str, Any], vec_env: VecEnv, seed: int, tensorboard: Path | str | None
) -> BaseAlgorithm:
    """An untrained SB3 learner of what a spec describes.

    Args:
        spec: names the algorithm and the sizes of its networks.
        settings: the algorithm's hyper-parameters, of `convogym.policies.algorithms.hyperparameters`.
        vec_env: what it will learn in.
        seed: of the networks, the exploration and the environment.
        tensorboard: folder for event files; None = none.
    """
    options = dict(settings)
    if "rollout" in options:
        options["n_steps"] = max(math.ceil(options.pop("rollout") / vec_env.num_envs), 2)
    return cast(
        BaseAlgorithm,
        cast(Any, LEARNERS[spec.algorithm])(
            POLICY_CLASSES[spec.algorithm],
            vec_env,
            seed=seed,
            device="cpu",  # far smaller than what a transfer costs
            tensorboard_log=None if tensorboard is None else str(tensorboard),
            policy_kwargs=policy_kwargs(spec),
            **options,
        ),
    )
