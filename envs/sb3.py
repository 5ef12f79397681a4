"""The vector environment as a stable-baselines3 `VecEnv`, because SB3 takes no Gymnasium vector environment.

The one module of `convogym.envs` that imports stable-baselines3 (and with it torch).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from convogym.envs.infos import split_info
from convogym.envs.talks import RESET_INFO
from convogym.envs.vector import PersonaChatVectorEnv
from convogym.errors import InputError


class SB3VecEnv(VecEnv):
    """Presents a `PersonaChatVectorEnv`, or a Gymnasium vector wrapper around one, to SB3."""

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        """Takes the environment; its autoreset must be SAME_STEP, which is what SB3 expects of a `VecEnv`."""
        mode = env.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise InputError(f"the vector environment must have autoreset_mode='SameStep' for SB3, got {mode}.")
        self.env = env
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self._actions: npt.NDArray[np.int64] = np.zeros(env.num_envs, dtype=np.int64)

    def reset(self) -> VecEnvObs:
        """Starts all dialogues, with the seeds and options set since the last reset."""
        if all(options == self._options[0] for options in self._options):
            observations, infos = self.env.reset(seed=self._seeds, options=self._options[0])  # type: ignore[arg-type]
            self.reset_infos = [split_info(infos, i) for i in range(self.num_envs)]
        else:
            for i, options in enumerate(self._options):
                mask = np.arange(self.num_envs) == i
                observations, infos = self.env.reset(seed=self._seeds, options={**options, "reset_mask": mask})  # type: ignore[arg-type]
                self.reset_infos[i] = split_info(infos, i)
        self._reset_seeds()
        self._reset_options()
        return observations  # type: ignore[no-any-return]

    def step_async(self, actions: npt.NDArray[np.int64]) -> None:
        """Keeps the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Takes a turn in every dialogue; those that end have `terminal_observation` in their infos and start anew."""
        observations, rewards, terminations, truncations, batched = self.env.step(self._actions)
        dones = terminations | truncations
        infos = []
        for i in range(self.num_envs):
            info = split_info(batched, i)
            if dones[i]:
                last, terminal = info.pop("final_info"), info.pop("final_obs")
                self.reset_infos[i] = {key: info.pop(key) for key in RESET_INFO}
                info.update(last, terminal_observation=terminal)  # what a wrapper added stays
            info["TimeLimit.truncated"] = bool(truncations[i] and not terminations[i])
            infos.append(info)
        return observations, rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        """Closes the vector environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Reads an attribute of some dialogues; see `PersonaChatVectorEnv.call`."""
        values = self._native.get_attr(attr_name)
        return [values[i] for i in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Sets an attribute of some dialogues to one value."""
        chosen = set(self._get_indices(indices))
        if len(chosen) < self.num_envs:
            values = [value if i in chosen else old for i, old in enumerate(self._native.get_attr(attr_name))]
        else:
            values = [value] * self.num_envs
        self._native.set_attr(attr_name, values)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Calls a method of some dialogues, e.g. `"action_masks"`."""
        if method_name == "render":
            rendered = self._native.call("render")
            return [rendered[i] for i in self._get_indices(indices)]
        methods = self.get_attr(method_name, indices)
        return [method(*method_args, **method_kwargs) for method in methods]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """No dialogue is wrapped by itself."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[npt.NDArray[np.uint8] | None]:
        """The dialogues as images, if the render mode is "rgb_array"."""
        frames = self.env.render() if self.render_mode == "rgb_array" else None
        return list(frames) if frames is not None else [None] * self.num_envs  # type: ignore[arg-type]

    @property
    def _native(self) -> PersonaChatVectorEnv:
        return self.env.unwrapped  # type: ignore[return-value]


def make_sb3_vec_env(num_envs: int, **kwargs: Any) -> SB3VecEnv:
    """Makes a `VecEnv` of so many dialogues for SB3 and sb3-contrib.

    Args:
        num_envs: the number of dialogues, spoken in one batch.
        **kwargs: those of `PersonaChatVectorEnv`.
    """
    return SB3VecEnv(PersonaChatVectorEnv(num_envs=num_envs, **kwargs))
