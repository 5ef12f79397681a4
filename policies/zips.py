"""Policies in the zips that Stable-Baselines3's own `save` writes. A zip holds pickles: reading one runs its maker's code."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import gymnasium as gym
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.save_util import load_from_zip_file

from convogym.errors import CheckpointError
from convogym.policies.learners import LEARNERS
from convogym.policies.networks import is_flat
from convogym.policies.spec import PolicySpec


def read(path: Path, trust: bool) -> tuple[PolicySpec, BasePolicy]:
    """Reads what SB3's `save` wrote; runs the code in its pickles.

    Args:
        path: the zip.
        trust: False refuses it, whatever it is.

    Returns:
        What the policy is, as far as a spec can say, and its network.

    Raises:
        CheckpointError: it is not trusted, or is no zip of an algorithm known here, or is for other spaces.
    """
    if not trust:
        raise CheckpointError(
            f"{path} is a Stable-Baselines3 zip. A zip holds a pickle, which can run code of whoever made it; "
            "pass --trust (trust=True) only if that is you or somebody you trust."
        )
    try:
        data, _, _ = load_from_zip_file(path, device="cpu")
        keys = set(data or {})
        module = str(getattr((data or {}).get("policy_class"), "__module__", ""))
        if "exploration_schedule" in keys:
            algorithm = "qr-dqn" if "qrdqn" in module else "dqn"
        elif "clip_range" in keys:
            algorithm = (
                "recurrent-ppo"
                if "recurrent" in module
                else "maskable-ppo"
                if "maskable" in module or "ppo_mask" in module
                else "ppo"
            )
        else:
            algorithm = "a2c"
        learner = cast(Any, LEARNERS[algorithm]).load(path, device="cpu")
        observations, actions = learner.observation_space, learner.action_space
    except Exception as problem:  # a pickle can raise anything at all
        raise CheckpointError(
            f"{path} cannot be loaded as a zip of PPO, MaskablePPO, RecurrentPPO, A2C, DQN or QR-DQN: {problem}."
        ) from problem
    if not is_flat(observations, actions):
        raise CheckpointError(
            f"{path} holds a policy for {observations} and {actions}; expected a flat Box and a Discrete space."
        )
    spec = PolicySpec(algorithm, int(cast(gym.spaces.Box, observations).shape[0]), int(cast(gym.spaces.Discrete, actions).n))
    return spec, learner.policy
