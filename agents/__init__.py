"""Who speaks and who judges: decoder, language models, goal judge and persona matcher, and how they are trained.

Importing this package loads no torch; names are looked up when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convogym.agents.best_of import BestOf
    from convogym.agents.loading import load
    from convogym.agents.model import LanguageModel
    from convogym.agents.reader import Reader, load_reader
    from convogym.agents.sampling import Sampling
    from convogym.agents.speaking import ModelSpeaker

__all__ = ["BestOf", "LanguageModel", "ModelSpeaker", "Reader", "Sampling", "load", "load_reader"]

_MODULES = {
    "BestOf": "convogym.agents.best_of",
    "LanguageModel": "convogym.agents.model",
    "ModelSpeaker": "convogym.agents.speaking",
    "Reader": "convogym.agents.reader",
    "Sampling": "convogym.agents.sampling",
    "load": "convogym.agents.loading",
    "load_reader": "convogym.agents.reader",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
