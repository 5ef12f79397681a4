"""Models of published sizes with random weights, to measure speed on: what they say means nothing. Knows sizes alone."""

from __future__ import annotations

from collections.abc import Mapping

from convogym.agents.gpt2 import GPT2Shape
from convogym.agents.loading import load, on_device
from convogym.agents.model import LanguageModel
from convogym.errors import UnknownNameError

SHAPES: Mapping[str, GPT2Shape] = {
    "gpt2-medium": GPT2Shape(vocab_size=50257, n_positions=1024, n_embd=1024, n_layer=24, n_head=16),  # Radford et al. 2019
}


def random_model(name: str, device: str = "cpu", seed: int = 0) -> LanguageModel:
    """A model of one of `SHAPES`, with persona-mini's vocabulary and layout; ids that this lacks are never said.

    Raises:
        UnknownNameError: there is no such size.
    """
    if name not in SHAPES:
        raise UnknownNameError("shape", name, SHAPES)
    words = load("persona-mini")
    return on_device(LanguageModel.fresh(f"{name} (random)", SHAPES[name], words.tokenizer, words.layout, seed), device)
