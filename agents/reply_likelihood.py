"""How likely a language model finds replies: a scorer for rewards, and a persona matcher made of it. Draws nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from convogym.agents.model import LanguageModel
from convogym.agents.training import padded, target_nll
from convogym.layouts import P2, Example, header, prompt

ROWS = 64  # replies read in one batch


class ReplyLikelihood:
    """A model that reads replies as speaker 2's (see `convogym.speakers.ReplyScorer` and `PersonaMatcher`)."""

    def __init__(self, model: LanguageModel) -> None:
        """Takes a model in evaluation mode; it is read, never changed."""
        self.model = model

    @torch.inference_mode()
    def log_likelihoods(
        self, personas: Sequence[Sequence[str]], histories: Sequence[Sequence[str]], replies: Sequence[str]
    ) -> npt.NDArray[np.float64]:
        """Natural log-probability of each reply and its number of tokens; see `convogym.speakers.ReplyScorer`."""
        rows = list(zip(personas, histories, replies, strict=True))
        examples = [self._example(persona, history, reply) for persona, history, reply in rows]
        found = np.zeros((len(rows), 2))
        order = sorted(range(len(rows)), key=lambda i: len(examples[i].ids))  # rows alike in length pad little
        for first in range(0, len(rows), ROWS):
            group = order[first : first + ROWS]
            counts = [sum(examples[i].learnt) for i in group]
            losses = target_nll(self.model.network, padded([examples[i] for i in group]))  # (sum of counts,)
            for i, count, part in zip(group, counts, torch.split(losses.double(), counts), strict=True):
                found[i] = -float(part.sum()), count
        return found

    def evidence(
        self, turns: Sequence[tuple[str, str]], personas: Sequence[Sequence[Sequence[str]]]
    ) -> list[npt.NDArray[np.float64]]:
        """Log p(reply | candidate's facts, line) of each candidate; see `convogym.speakers.PersonaMatcher`."""
        asked = [(facts, turn) for turn, candidates in zip(turns, personas, strict=True) for facts in candidates]
        flat = self.log_likelihoods(
            [facts for facts, _ in asked], [(line,) for _, (line, _) in asked], [reply for _, (_, reply) in asked]
        )[:, 0]
        ends = np.cumsum([len(candidates) for candidates in personas])
        return np.split(flat, ends[:-1]) if len(ends) else []

    def _example(self, persona: Sequence[str], history: Sequence[str], reply: str) -> Example:
        tokenizer, size = self.model.tokenizer, self.model.network.shape.n_positions
        said = [*tokenizer.encode(reply), tokenizer.eos][: size // 2]
        if history:
            context = list(prompt(self.model.layout, tokenizer, persona, history, (), size - len(said)).ids)
        else:
            context = header(tokenizer, P2, persona)
        return Example((*context, *said), (False,) * len(context) + (True,) * len(said), False)


def load_scorer() -> ReplyLikelihood:
    """The judge of replies that comes with the project: persona-mini as shipped, whoever speaks."""
    from convogym.agents.loading import load

    return ReplyLikelihood(load())
