"""Fine-tunes a language model on what was collected: goal-conditioned lines (ctrl_loss), rehearsed talks (persona_loss).

Knows pairs and dialogues; knows nothing of the store they come from.

As PersonaGPT's second stage does (`train.py:train_loop`), every step adds the loss on goal-conditioned pairs, *ctrl_loss*,
and the loss on persona dialogues, *persona_loss*, so that the old is not forgotten. The original logs each under the other's
name; here they are right.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from convogym.agents.model import LanguageModel
from convogym.agents.optimisers import CONTROL_ONLY, PUBLISHED_SHARES, GroupedAdamW
from convogym.agents.training import mean_nll, padded, target_nll
from convogym.dialogue import Dialogue
from convogym.errors import InputError, TrainingError, UnknownNameError
from convogym.layouts import Example, line_examples, responder_examples

SHARES = {"one": None, "published": PUBLISHED_SHARES, "control": CONTROL_ONLY}
RATES = tuple(SHARES)


@dataclass(frozen=True)
class Pair:
    """One utterance to learn, and where it is to be said."""

    persona: tuple[str, ...]
    """facts of the speaker who says it"""
    history: tuple[str, ...]
    """what was said before: even length = the target is a line, odd = a reply"""
    goals: tuple[str | None, ...]
    """for a line: goal of every line before, then that of the target; () for a reply"""
    target: str
    """what to say"""
    is_correction: bool = False
    """whether a person wrote it in place of what was said"""


def pair_example(model: LanguageModel, pair: Pair) -> Example:
    """The pair as ids; only the target and its eos are learnt."""
    target = [*model.tokenizer.encode(pair.target), model.tokenizer.eos]
    room = model.network.shape.n_positions - len(target)
    context = model.prompt(pair.persona, pair.history, pair.goals, room).ids
    return Example((*context, *target), (False,) * len(context) + (True,) * len(target), bool(pair.goals and pair.goals[-1]))


@dataclass(frozen=True)
class FinetuneConfig:
    """How a fine-tuning run goes."""

    steps: int = 120
    """optimiser steps"""
    lr: float = 3e-4
    """AdamW's, falling linearly to 0"""
    rates: str = "one"
    """one of `RATES`: the same rate for everything, PersonaGPT's by part (`optimisers.PUBLISHED_SHARES`; with lr 5e-5 they are
    its own), or of the embeddings the control tokens' alone"""
    pairs: int = 12
    """goal-conditioned pairs a step; half of them corrections, as long as there are any"""
    rehearsal: int = 2
    """rehearsal dialogues a step, each in both views"""
    evaluate_every: int = 30
    """steps between looks at held-out goal following"""
    tolerance: float = 0.02
    """how much worse the held-out rehearsal loss may get (relative) and the following (absolute share)"""
    max_norm: float = 1.0
    """gradient clipping"""
    seed: int = 0
    """of the draws"""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if min(self.steps, self.pairs, self.rehearsal, self.evaluate_every) < 1:
            raise InputError("`steps`, `pairs`, `rehearsal` and `evaluate_every` must be at least 1.")
        if not 0 < self.lr < math.inf:
            raise InputError(f"`lr` must be positive and finite, got {self.lr}.")
        if self.rates not in RATES:
            raise UnknownNameError("rates", self.rates, RATES)
        if not 0 <= self.tolerance < 1:
            raise InputError(f"`tolerance` must be in [0, 1), got {self.tolerance}.")


@dataclass(frozen=True)
class FinetuneProgress:
    """Where a run is, after a step."""

    step: int
    ctrl_loss: float
    """mean over the targets of the goal-conditioned pairs, nats a token"""
    persona_loss: float
    """mean over the targets of the rehearsal dialogues, nats a token"""
    following: float | None
    """held-out goal following, only after steps at which it was measured"""
    rehearsal_nll: float | None
    """held-out rehearsal loss, likewise"""


@dataclass(frozen=True)
class FinetuneResult:
    """What came of a run."""

    following_before: float
    following_after: float
    """of the kept weights"""
    nll_before: float
    nll_after: float
    """held-out rehearsal loss of the kept weights, nats a token"""
    best_step: int
    """the step whose weights were kept"""

    def got_worse(self, tolerance: float) -> bool:
        """Whether the kept weights are worse than the first ones by more than the tolerance."""
        return self.following_after < self.following_before - tolerance or self.nll_after > self.nll_before * (1 + tolerance)


class Finetuner:
    """Moves a model through a fine-tuning run and leaves it with the best weights seen."""

    def __init__(
        self,
        model: LanguageModel,
        pairs: Sequence[Pair],
        rehearsal: Sequence[Dialogue],
        held_out: Sequence[Dialogue],
        following: Callable[[LanguageModel], float],
        config: FinetuneConfig,
    ) -> None:
        """Prepares a run.

        Args:
            model: trained in place.
            pairs: what to learn; at least one.
            rehearsal: labelled dialogues the model must not forget; at least one.
            held_out: dialogues whose loss is watched.
            following: measures goal following on held-out contexts, a share in 0..1.
            config: how.
        """
        if not pairs:
            raise InputError("there is nothing to learn from: no stored line followed its goal and none was corrected.")
        if not rehearsal or not held_out:
            raise InputError("fine-tuning needs rehearsal dialogues, some of them held out; got none.")
        self.model, self.config, self._following = model, config, following
        self._corrections = [pair_example(model, pair) for pair in pairs if pair.is_correction]
        self._followed = [pair_example(model, pair) for pair in pairs if not pair.is_correction]
        self._rehearsal = rehearsal
        limit = model.network.shape.n_positions
        self._held_out = [e for d in held_out for e in responder_examples(model.tokenizer, d, limit)]
        self.result: FinetuneResult | None = None

    def _drawn_pairs(self, rng: np.random.Generator) -> list[Example]:
        """A step's pairs: half corrections and half followed lines, or all of one kind where the other is missing."""
        first = self.config.pairs if not self._followed else self.config.pairs // 2 if self._corrections else 0
        drawn = [self._corrections[int(i)] for i in rng.integers(max(1, len(self._corrections)), size=first)]
        return drawn + [
            self._followed[int(i)] for i in rng.integers(max(1, len(self._followed)), size=self.config.pairs - first)
        ]

    def _rehearsal_examples(self, rng: np.random.Generator) -> list[Example]:
        model, limit = self.model, min(448, self.model.network.shape.n_positions)
        examples: list[Example] = []
        for i in rng.integers(len(self._rehearsal), size=self.config.rehearsal):
            dialogue = self._rehearsal[int(i)]
            examples += responder_examples(model.tokenizer, dialogue, limit)
            lines = line_examples(
                model.layout, model.tokenizer, dialogue, limit, lambda goals: goals[int(rng.integers(len(goals)))]
            )
            examples += lines if model.layout == "inline" else [lines[int(rng.integers(len(lines)))]]
        return examples

    def run(self) -> Iterator[FinetuneProgress]:
        """Trains, giving back control after every step; afterwards `result` says what came of it.

        Of the weights looked at, those are kept that follow best among the ones within the tolerance of rehearsal loss, or, if
        none is, the ones with the least loss: then `result.got_worse` says so.

        Raises:
            TrainingError: a loss is not a number; the model is left with its first weights, or the best seen.
        """
        model, config = self.model, self.config
        network = model.network
        rng = np.random.default_rng([config.seed, 3])
        before = (self._following(model), mean_nll(network, self._held_out))
        kept: tuple[tuple[bool, float], int, tuple[float, float], dict[str, torch.Tensor]] | None = None
        first_state = copy.deepcopy(network.state_dict())
        optimiser = GroupedAdamW(network, config.lr, model.tokenizer.control_ids, SHARES[config.rates])
        try:
            for step in range(config.steps):
                network.train()
                ctrl = target_nll(network, padded(self._drawn_pairs(rng))).mean()
                ctrl.backward()  # type: ignore[no-untyped-call]
                persona = target_nll(network, padded(self._rehearsal_examples(rng))).mean()
                persona.backward()  # type: ignore[no-untyped-call]
                losses = float(ctrl.detach()), float(persona.detach())
                if not all(map(math.isfinite, losses)):
                    raise TrainingError(f"the loss is {losses} at step {step}: lower the learning rate.")
                norm = optimiser.step(min(1.0, (step + 1) / 10) * (1 - step / config.steps), config.max_norm)
                if not math.isfinite(norm):
                    raise TrainingError(f"the gradient of the loss is no number at step {step}: lower the learning rate.")
                network.eval()
                now: tuple[float, float] | None = None
                if (step + 1) % config.evaluate_every == 0 or step + 1 == config.steps:
                    now = (self._following(model), mean_nll(network, self._held_out))
                    within = now[1] <= before[1] * (1 + config.tolerance)
                    rank = (within, now[0] if within else -now[1])
                    if kept is None or rank > kept[0]:
                        kept = (rank, step + 1, now, copy.deepcopy(network.state_dict()))
                yield FinetuneProgress(step + 1, *losses, *(now or (None, None)))
        finally:
            network.load_state_dict(first_state if kept is None else kept[3])
            network.eval()
            if kept is not None:
                self.result = FinetuneResult(before[0], kept[2][0], before[1], kept[2][1], kept[1])
