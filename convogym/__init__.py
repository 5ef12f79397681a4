"""A Gymnasium environment in which a conversation is steered by turn-level goals.

Importing this package registers the environment `PersonaChat-v0` and nothing else: it loads no torch, reads no file and
touches no network. The names in `__all__` are loaded from their modules when they are first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from convogym.registration import register_envs

if TYPE_CHECKING:
    from convogym.dialogue import Dialogue as Dialogue
    from convogym.dialogue import Persona as Persona
    from convogym.dialogue import Turn as Turn
    from convogym.goals import DEFAULT_GOALS as DEFAULT_GOALS
    from convogym.goals import GoalSet as GoalSet
    from convogym.store import EpisodeStore as EpisodeStore

__version__ = "0.1.0"

_HOMES = {
    "DEFAULT_GOALS": "convogym.goals",
    "Dialogue": "convogym.dialogue",
    "EpisodeStore": "convogym.store",
    "GoalSet": "convogym.goals",
    "Persona": "convogym.dialogue",
    "Turn": "convogym.dialogue",
}

__all__ = ["DEFAULT_GOALS", "Dialogue", "EpisodeStore", "GoalSet", "Persona", "Turn", "__version__", "register_envs"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_envs()
