"""P2 Bot's self-play: two personas talk, and utterances that say who speaks are made likelier (REINFORCE).

Both sides speak with one network: the learner samples, its partner is greedy. Formulas and weights are those of
`worlds/selfplay.py` and `agents/psquare` of Persona-Dialogue-Generation. The prompts are in the model's own layout.

Letters: B talks side by side, U utterances of both sides in the order they are said, N the learner's, C hidden size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from convogym.agents.decoder import Decoder, Generated
from convogym.agents.double_heads import DoubleHeads, choice_of, head_scores
from convogym.agents.model import LanguageModel
from convogym.agents.receiver import Receiver
from convogym.agents.sampling import Sampling
from convogym.agents.training import padded, target_nll
from convogym.layouts import Example
from convogym.transfertransfo import Question

EXCHANGES = 3
COPIES = 6  # talks of one pair of personas, side by side
SUPERVISED = 0.1  # share of episodes that are people's talk instead
DISCOUNT = 0.5
WEIGHTS = {"coherence": 0.1, "persona": 0.5, "language": 0.5, "repetition": -0.1}
LEARNER = Sampling(top_k=20, top_p=1.0, temperature=0.7, max_tokens=32)
PARTNER = Sampling(top_k=1, max_tokens=32)


# --- rewards ----------------------------------------------------------------------------------------------------------------


def perceived_personas(fits: Tensor, discount: float = DISCOUNT) -> Tensor:
    """Mutual persona perception: what an utterance tells of its speaker, and leads both to tell later.

    `G[u] = fits[u] + discount * G[u + 1]`, then all of the batch brought to 0..2 together (0 where all are alike).

    Args:
        fits: (B, U), how well each utterance's best fact of its own speaker fits it.
        discount: of each later utterance, whoever says it.

    Returns:
        (B, U).
    """
    later = torch.zeros_like(fits[:, 0])
    found = torch.empty_like(fits)
    for place in range(fits.size(1) - 1, -1, -1):
        later = fits[:, place] + discount * later
        found[:, place] = later
    spread = found.max() - found.min()
    return 2 * (found - found.min()) / spread if spread > 0 else torch.zeros_like(found)


def repetition(vectors: Tensor) -> Tensor:
    """How like an utterance is to the likest of the same speaker's earlier ones; 0 for the first.

    The original mixes up the turns of the two speakers here.

    Args:
        vectors: (B, N, C), the receiver's, of one speaker's utterances in order.

    Returns:
        (B, N) cosines.
    """
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    alike = unit @ unit.transpose(1, 2)  # (B, N, N)
    found = torch.zeros_like(alike[:, :, 0])
    for place in range(1, vectors.size(1)):
        found[:, place] = alike[:, place, :place].amax(-1)
    return found


def total(terms: Mapping[str, Tensor]) -> Tensor:
    """`0.1 coherence + 0.5 persona + 0.5 language - 0.1 repetition`, all (B, N)."""
    return torch.stack([weight * terms[name] for name, weight in WEIGHTS.items()]).sum(0)


def advantages(rewards: Tensor) -> Tensor:
    """Rewards less the mean of the talks' at the same turn, (B, N) -> (B, N)."""
    return rewards - rewards.mean(0, keepdim=True)


@torch.inference_mode()
def language_reward(model: LanguageModel, texts: Sequence[str]) -> Tensor:
    """Mean log-likelihood a token of each text standing alone, its end not counted, (len(texts),)."""
    eos, limit = model.tokenizer.eos, model.network.shape.n_positions
    found = []
    for text in texts:
        ids = tuple(model.tokenizer.encode(text))[: limit - 1]
        example = Example((eos, *ids), (False,) + (True,) * len(ids), False)
        found.append(-float(target_nll(model.network, padded([example]).to(model.network)).mean()) if ids else 0.0)
    return torch.tensor(found)


def coherence_reward(model: LanguageModel, questions: Sequence[Question]) -> Tensor:
    """The chance that each question's only candidate comes next, less 0.5, (len(questions),).

    Args:
        model: a transmitter, whose head has two outputs.
        questions: with one candidate each.
    """
    assert isinstance(model.network, DoubleHeads)
    odds = [float(head_scores(model.network, choice_of(model, question))[0]) for question in questions]
    return torch.sigmoid(torch.tensor(odds)) - 0.5


# --- learning ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weighted:
    """An utterance after its context, and how much likelier to make it."""

    example: Example
    """only the utterance is learnt"""
    advantage: float
    """negative = less likely; 1 for what a person said"""


class Reinforce:
    """REINFORCE (Williams 1992): the mean over utterances of `-advantage * mean log-likelihood a token`."""

    shares: Mapping[str, float] = {"policy_loss": 1.0}

    def __init__(self, network: DoubleHeads) -> None:
        """Takes the learner's network."""
        self.network = network

    def length(self, example: Weighted) -> int:
        """Tokens of one row."""
        return len(example.example.ids)

    def counts(self, examples: Sequence[Weighted]) -> Mapping[str, int]:
        """Utterances."""
        return {"policy_loss": len(examples)}

    def sums(self, examples: Sequence[Weighted], dropout: float, step: int) -> Mapping[str, Tensor]:
        """The loss summed over utterances."""
        batch = padded([each.example for each in examples], self.network.shape.n_positions).to(self.network)
        nll = target_nll(self.network, batch, dropout)  # (M,)
        lengths = batch.learnt[:, 1:].sum(1)  # (B,)
        weights = torch.tensor([each.advantage for each in examples], device=nll.device) / lengths
        return {"policy_loss": (nll * weights.repeat_interleave(lengths)).sum()}


# --- playing ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Opening:
    """Who talks, and how the talk begins."""

    learner: tuple[str, ...]
    """facts"""
    partner: tuple[str, ...]
    """facts"""
    line: str
    """the partner's first"""


class Played(NamedTuple):
    """What came of one opening."""

    examples: list[Weighted]
    """the learner's utterances"""
    rewards: dict[str, float]
    """mean of each term, and of their `total`"""
    talks: list[list[str]]
    """what was said, the opening line first"""


class SelfPlay:
    """Lets a model talk with itself, and judges what it says."""

    def __init__(
        self,
        learner: LanguageModel,
        judge: LanguageModel,
        language: LanguageModel,
        receiver: Receiver,
        copies: int = COPIES,
        exchanges: int = EXCHANGES,
    ) -> None:
        """Takes who plays and who judges.

        Args:
            learner: a transmitter; speaks for both sides, and only its weights change between episodes.
            judge: a transmitter that stays as it is, for coherence.
            language: a model that knows no persona, for language.
            receiver: for persona and repetition.
            copies: talks of one opening.
            exchanges: the learner's utterances in a talk, and the partner's after its opening line.
        """
        self.learner, self.judge, self.language, self.receiver = learner, judge, language, receiver
        self.copies, self.exchanges = copies, exchanges

    def play(self, opening: Opening, rng: np.random.Generator) -> Played:
        """One episode: the same opening several times, each talk with draws of its own."""
        talks = [[opening.line] for _ in range(self.copies)]
        decoders = self.learner.decoder(), self.learner.decoder()
        examples: list[list[Example]] = [[] for _ in talks]
        questions: list[list[Question]] = [[] for _ in talks]
        for _ in range(self.exchanges):
            for said, context, talk, own, asked in zip(
                *self._speak(decoders[0], talks, opening.learner, LEARNER, rng), talks, examples, questions, strict=True
            ):
                ids = (*said.ids, *(() if said.is_cut_off else (self.learner.tokenizer.eos,)))
                own.append(Example((*context, *ids), (False,) * len(context) + (True,) * len(ids), False))
                asked.append(Question(opening.learner, tuple(talk), (self._text(said),)))
                talk.append(self._text(said))
            for said, _, talk in zip(*self._speak(decoders[1], talks, opening.partner, PARTNER, rng), talks, strict=True):
                talk.append(self._text(said))
        terms = self._terms(opening, talks, questions)
        rewards = total(terms)
        better = advantages(rewards)
        weighted = [
            Weighted(e, float(a)) for own, row in zip(examples, better, strict=True) for e, a in zip(own, row, strict=True)
        ]
        means = {name: float(term.mean()) for name, term in {**terms, "total": rewards}.items()}
        return Played(weighted, means, talks)

    def _terms(
        self, opening: Opening, talks: Sequence[Sequence[str]], questions: Sequence[Sequence[Question]]
    ) -> dict[str, Tensor]:
        """Each reward of each of the learner's utterances, (B, N)."""
        said = [talk[1:] for talk in talks]  # learner and partner in turn
        shape = (len(talks), self.exchanges)
        fits = torch.zeros(len(talks), 2 * self.exchanges)
        for side, facts in enumerate((opening.learner, opening.partner)):
            own = [text for talk in said for text in talk[side::2]]
            fits[:, side::2] = self.receiver.best_fits(own, facts).cpu().view(shape)
        mine = [text for talk in said for text in talk[::2]]
        with torch.inference_mode():
            vectors = self.receiver.vectors([self.receiver.ids(text) for text in mine]).cpu().view(*shape, -1)
        return {
            "coherence": coherence_reward(self.judge, [q for asked in questions for q in asked]).view(shape),
            "persona": perceived_personas(fits)[:, ::2],
            "language": language_reward(self.language, mine).view(shape),
            "repetition": repetition(vectors),
        }

    def _speak(
        self,
        decoder: Decoder,
        talks: Sequence[Sequence[str]],
        facts: Sequence[str],
        sampling: Sampling,
        rng: np.random.Generator,
    ) -> tuple[list[Generated], list[tuple[int, ...]]]:
        room = decoder.room - sampling.max_tokens
        goals = (None,) * (len(talks[0]) // 2 + 1)
        contexts = [self.learner.prompt(facts, talk, goals, room).ids for talk in talks]
        noise = rng.random((len(talks), sampling.max_tokens))
        return decoder.generate(range(len(talks)), contexts, noise, sampling), contexts

    def _text(self, said: Generated) -> str:
        return " ".join(self.learner.tokenizer.decode(said.ids).split()) or "..."
