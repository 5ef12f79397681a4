"""P2 Bot's receiver: says whose persona somebody's utterances belong to. Knows texts and vectors; knows nothing of talks.

It learns from nothing but which persona a talk belongs to (weak supervision): no label says which utterance speaks of which
fact. Formulas and numbers are those of `agents/receiver` of Persona-Dialogue-Generation; its BERT is a GPT-2 here, and the
mean over a text's tokens leaves padding out, which the original counts.

Letters: N utterances or texts, L facts, T tokens, C hidden size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from convogym.agents.gpt2 import GPT2
from convogym.agents.model import LanguageModel

MARGIN = 0.5
SPARSITY = 0.01


def sharpness(step: int) -> float:
    """The inverse temperature of the attention over facts: 0.1 more every 5000 steps, at most 1.5."""
    return min((step // 5000 + 1) * 0.1, 1.5)


def fits(said: Tensor, facts: Tensor) -> Tensor:
    """How well utterances go with facts: dot products over the whole part of sqrt(C).

    Args:
        said: (N, C).
        facts: (L, C).

    Returns:
        (N, L).
    """
    return said @ facts.T / int(said.size(-1) ** 0.5)


def soft_score(fit: Tensor, sharp: float) -> Tensor:
    """The score of a persona: each utterance attends to the facts it fits, (N, L) -> ().

    `sum_n sum_l softmax_l(sharp * fit[n, l]) * fit[n, l]`.
    """
    return (torch.softmax(sharp * fit, -1) * fit).sum()


@dataclass(frozen=True)
class Whose:
    """Somebody's utterances, and the personas they may belong to."""

    said: tuple[tuple[int, ...], ...]
    """token ids of each utterance, at least one"""
    personas: tuple[tuple[tuple[int, ...], ...], ...]
    """token ids of each fact of each persona; the true one last"""


class Receiver:
    """Texts to vectors."""

    def __init__(self, model: LanguageModel) -> None:
        """Takes the model whose layers read."""
        self.model = model

    def ids(self, text: str) -> tuple[int, ...]:
        """The ids of a text, cut to the model's context."""
        return tuple(self.model.tokenizer.encode(text))[: self.model.network.shape.n_positions - 1] or (
            self.model.tokenizer.eos,
        )

    def vectors(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """The mean last state over each text's own tokens, (N, C), with gradient if one is wanted.

        Args:
            texts: ids; each is read after an eos, whose state is left out, for a first state says nothing of the text.
        """
        return pooled(self.model.network, self.model.tokenizer.eos, texts)

    @torch.inference_mode()
    def is_right(self, talk: Whose, step: int) -> bool:
        """Whether the true persona scores highest, with the sharpness of a step."""
        vectors = iter(self.vectors([*talk.said, *(fact for facts in talk.personas for fact in facts)]))
        said = torch.stack([next(vectors) for _ in talk.said])
        scores = [
            soft_score(fits(said, torch.stack([next(vectors) for _ in facts])), sharpness(step)) for facts in talk.personas
        ]
        return bool(scores[-1] > max(scores[:-1]))

    @torch.inference_mode()
    def best_fits(self, said: Sequence[str], facts: Sequence[str]) -> Tensor:
        """For each utterance how well its best fact fits, (N,)."""
        vectors = self.vectors([self.ids(text) for text in (*said, *facts)])
        return fits(vectors[: len(said)], vectors[len(said) :]).amax(-1)


def pooled(network: GPT2, eos: int, texts: Sequence[Sequence[int]], dropout: float = 0.0) -> Tensor:
    """See `Receiver.vectors`."""
    device = network.transformer.wte.weight.device
    width = max(map(len, texts)) + 1
    ids = torch.zeros(len(texts), width, dtype=torch.long)
    own = torch.zeros(len(texts), width)
    for i, text in enumerate(texts):
        ids[i, : len(text) + 1] = torch.tensor([eos, *text])
        own[i, 1 : len(text) + 1] = 1 / len(text)
    return (network.hidden(ids.to(device), dropout) * own.to(device)[:, :, None]).sum(1)


class Matching:
    """`margin_loss + 0.01 * sparsity`: the true persona must score higher than others by a margin, on few facts."""

    shares: Mapping[str, float] = {"margin_loss": 1.0, "sparsity": SPARSITY}

    def __init__(self, model: LanguageModel) -> None:
        """Takes the model whose layers read."""
        self._model = model
        self.network = model.network

    def length(self, example: Whose) -> int:
        """Tokens of all texts."""
        return sum(map(len, example.said)) + sum(len(fact) for facts in example.personas for fact in facts)

    def counts(self, examples: Sequence[Whose]) -> Mapping[str, int]:
        """Talks, and personas compared."""
        return {"margin_loss": len(examples), "sparsity": sum(len(example.personas) for example in examples)}

    def sums(self, examples: Sequence[Whose], dropout: float, step: int) -> Mapping[str, Tensor]:
        """`MultiMarginLoss(0.5)` over the personas' scores, and sum |fit| / utterances of each persona."""
        texts = [text for e in examples for text in (*e.said, *(fact for facts in e.personas for fact in facts))]
        vectors = iter(pooled(self.network, self._model.tokenizer.eos, texts, dropout))
        margin = sparsity = torch.zeros((), device=self._model.device)
        for example in examples:
            said = torch.stack([next(vectors) for _ in example.said])
            found = [fits(said, torch.stack([next(vectors) for _ in facts])) for facts in example.personas]
            scores = torch.stack([soft_score(fit, sharpness(step)) for fit in found])
            margin = margin + F.multi_margin_loss(
                scores[None], torch.tensor([len(found) - 1], device=scores.device), margin=MARGIN, reduction="sum"
            )
            sparsity = sparsity + sum(fit.abs().sum() for fit in found) / len(said)
        return {"margin_loss": margin, "sparsity": sparsity}
