"""The environment `PersonaChat-v0`: single, vector and SB3 forms, rewards, observations, rendering.

Importing this package imports neither torch nor stable-baselines3; names are looked up when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convogym.envs.persona_chat import PersonaChatEnv
    from convogym.envs.rewards import Reward
    from convogym.envs.sb3 import SB3VecEnv, make_sb3_vec_env
    from convogym.envs.vector import PersonaChatVectorEnv

__all__ = ["PersonaChatEnv", "PersonaChatVectorEnv", "Reward", "SB3VecEnv", "make_sb3_vec_env"]

_MODULES = {
    "PersonaChatEnv": "convogym.envs.persona_chat",
    "PersonaChatVectorEnv": "convogym.envs.vector",
    "Reward": "convogym.envs.rewards",
    "SB3VecEnv": "convogym.envs.sb3",
    "make_sb3_vec_env": "convogym.envs.sb3",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
