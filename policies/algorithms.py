"""Which algorithms learn a policy, and their hyper-parameters as `hyperparams/ALGORITHM.yml` has them. Loads no torch."""

from __future__ import annotations

from importlib import resources
from typing import Any

import yaml

from convogym.errors import InputError, UnknownNameError
from convogym.registration import ENV_ID

ALGORITHMS = ("ppo", "maskable-ppo", "recurrent-ppo", "a2c", "dqn", "qr-dqn")
VALUE_BASED = ("dqn", "qr-dqn")  # their networks give values, and they explore by epsilon
RECURRENT = ("recurrent-ppo",)  # their networks remember the turns before, by a state
EPSILON = 0.05  # share of random actions that a DQN policy keeps (the floor of the original convogym's DQNPolicy)
WARM_UP_STEPS = 512  # random turns that set the scale of the observation; part of the budget

_NOT_THE_LEARNERS = ("n_timesteps", "policy", "n_envs")  # what rl_zoo3's form says besides a learner's own arguments


def hyperparameters(algorithm: str) -> dict[str, Any]:
    """The arguments of an algorithm's learner, SB3's own names but for `rollout`.

    `rollout`, n_envs x n_steps in the file, is the number of turns between two updates over all parallel environments, so that
    what is learnt does not depend on how many there are.

    Raises:
        UnknownNameError: no such algorithm.
    """
    said = _said(algorithm)
    own = {name: value for name, value in said.items() if name not in (*_NOT_THE_LEARNERS, "n_steps")}
    return {"rollout": said["n_envs"] * said["n_steps"], **own} if "n_steps" in said else own


def budget(algorithm: str) -> int:
    """The number of turns that an algorithm is meant to learn from, `n_timesteps` in the file."""
    return int(_said(algorithm)["n_timesteps"])


def _said(algorithm: str) -> dict[str, Any]:
    if algorithm not in ALGORITHMS:
        raise UnknownNameError("algorithm", algorithm, ALGORITHMS)
    file = resources.files("convogym.policies") / "hyperparams" / f"{algorithm}.yml"
    try:
        said = yaml.safe_load(file.read_text("utf-8"))[ENV_ID]
        return dict(said)
    except (yaml.YAMLError, KeyError, TypeError) as problem:
        raise InputError(f"{file} must map {ENV_ID} to numbers by name, as rl_zoo3's files do: {problem}.") from problem
