"""Tells Gymnasium where `PersonaChat-v0` is to be found; knows nothing of how it works.

The entry points are strings: Gymnasium imports the environment, and with it the language models, when one is made.
"""

import gymnasium as gym

ENV_ID = "PersonaChat-v0"


def register_envs() -> None:
    """Make `gym.make("PersonaChat-v0")` and `gym.make_vec("PersonaChat-v0", ...)` work; calling it again changes nothing."""
    if ENV_ID in gym.registry:
        return
    gym.register(
        id=ENV_ID,
        entry_point="convogym.envs:PersonaChatEnv",
        vector_entry_point="convogym.envs:PersonaChatVectorEnv",
    )
