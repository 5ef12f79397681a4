"""PersonaGPT's control stage as an objective: goal-conditioned lines beside persona talk, each loss under its own name.

`train.py:train_loop` of PersonaGPT takes one pair of each kind a step; its log has `persona_loss` and `ctrl_loss` the wrong
way round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from convogym.agents.gpt2 import GPT2
from convogym.agents.training import padded, target_nll
from convogym.layouts import Example


@dataclass(frozen=True)
class TwoKinds:
    """What is read together."""

    ctrl: Example
    """lines that carry out goals"""
    persona: Example
    """a talk, so that the old is not forgotten"""


class ControlAndPersona:
    """`ctrl_loss + persona_loss`, each in nats a token."""

    shares: Mapping[str, float] = {"ctrl_loss": 1.0, "persona_loss": 1.0}

    def __init__(self, network: GPT2) -> None:
        """Takes the network."""
        self.network = network

    def length(self, example: TwoKinds) -> int:
        """Two rows of the longer one's tokens."""
        return 2 * max(len(example.ctrl.ids), len(example.persona.ids))

    def counts(self, examples: Sequence[TwoKinds]) -> Mapping[str, int]:
        """Learnt tokens of each kind."""
        return {
            "ctrl_loss": sum(sum(example.ctrl.learnt) for example in examples),
            "persona_loss": sum(sum(example.persona.learnt) for example in examples),
        }

    def sums(self, examples: Sequence[TwoKinds], dropout: float, step: int) -> Mapping[str, Tensor]:
        """Negative log-likelihoods in nats."""
        kinds = {"ctrl_loss": [e.ctrl for e in examples], "persona_loss": [e.persona for e in examples]}
        room = self.network.shape.n_positions
        made = {name: padded(rows, room).to(self.network) for name, rows in kinds.items()}
        return {name: target_nll(self.network, batch, dropout).sum() for name, batch in made.items()}
