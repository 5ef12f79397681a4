"""Trains the two judges. Knows dialogues with labels or personas; knows nothing of where they come from.

The goal judge learns from labelled lines (binary cross-entropy a goal): its head step by step, its n-grams from all of them at
once. The matcher learns from nothing but which persona a talk belongs to: of the personas in a batch the true one must come
out of the summed evidence (cross-entropy, a proper score, so that the posterior is calibrated). The talks are cut at a random
length, for a posterior is wanted after every turn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from convogym.agents.model import LanguageModel
from convogym.agents.reader import Reader, ReaderNetwork
from convogym.agents.training import TrainingConfig
from convogym.dialogue import Dialogue
from convogym.goals import DEFAULT_GOALS, PUBLISHED_GOALS

SAID = 1 / 3  # of a batch's lines, how many a model said
HEAD_RATE = 3e-3  # AdamW's for the heads, which start from nothing


@dataclass(frozen=True)
class LabelledLine:
    """A line, what was said before it, and the goals it carries out."""

    previous: str
    """"" where the line opens the talk"""
    text: str
    goals: tuple[int, ...]
    """action codes of published goals; () = none"""


def labelled_lines(dialogue: Dialogue) -> list[LabelledLine]:
    """The labelled lines of a dialogue; goals beyond the published ones do not count."""
    lines = []
    previous = ""
    for turn in dialogue.turns:
        if turn.goals is not None:
            codes = tuple(DEFAULT_GOALS.code(goal) for goal in turn.goals if goal in DEFAULT_GOALS)
            lines.append(LabelledLine(previous, turn.line, codes))
        previous = turn.reply or ""
    return lines


def fresh_reader(model: LanguageModel, layers: int, seed: int) -> Reader:
    """A reader on the first layers of a language model, with untrained heads."""
    torch.manual_seed(seed)
    network = ReaderNetwork(dataclasses.replace(model.network.shape, n_layer=layers))
    weights = {k: v for k, v in model.network.state_dict().items() if k in network.body.state_dict()}
    network.body.load_state_dict(weights)
    return Reader(network, model.tokenizer)


def goal_loss(reader: Reader, lines: Sequence[LabelledLine]) -> Tensor:
    """Mean binary cross-entropy over lines and goals, times the number of goals."""
    logits = reader.network.goal_logits(reader.read([(line.previous, line.text) for line in lines]).pooled)
    wanted = torch.zeros_like(logits)
    for i, line in enumerate(lines):
        wanted[i, list(line.goals)] = 1.0
    return functional.binary_cross_entropy_with_logits(logits, wanted) * logits.size(1)


def fit_ngrams(reader: Reader, lines: Sequence[LabelledLine], seed: int) -> None:
    """Fits the goal judge's other half, which learns from all lines at once (`agents/ngrams.py`)."""
    truth = np.zeros((len(lines), len(PUBLISHED_GOALS)), bool)
    for i, line in enumerate(lines):
        truth[i, list(line.goals)] = True
    reader.network.ngrams.fit([line.text for line in lines], truth, seed)


def match_loss(reader: Reader, dialogues: Sequence[Dialogue], rng: np.random.Generator) -> Tensor:
    """Cross-entropy of the true persona among all personas of the batch, after a random number of turns of each talk.

    Talks may share a persona: personas with the same facts, in whatever order, are one candidate.

    Args:
        reader: trained.
        dialogues: each with a persona and at least one reply.
        rng: cuts the talks.
    """
    turns: list[tuple[str, str]] = []
    talk: list[int] = []
    facts: list[tuple[int, str]] = []
    places: dict[frozenset[str], int] = {}
    true: list[int] = []
    for i, dialogue in enumerate(dialogues):
        assert dialogue.persona is not None
        pairs = [(t.line, t.reply) for t in dialogue.turns if t.reply]
        length = int(rng.integers(1, min(len(pairs), 8) + 1))
        start = int(rng.integers(0, len(pairs) - length + 1))
        turns += pairs[start : start + length]
        talk += [i] * length
        own = frozenset(dialogue.persona.facts)
        if own not in places:
            places[own] = len(places)
            facts += [(places[own], fact) for fact in dialogue.persona.facts]
        true.append(places[own])
    fit = reader.network.fit(reader.read(turns), reader.read([("", fact) for _, fact in facts]))
    evidence = reader.network.evidence(fit, torch.tensor([place for place, _ in facts]), len(places))  # (turns, P)
    posterior = torch.zeros(len(dialogues), len(places)).index_add(0, torch.tensor(talk), evidence)
    return functional.cross_entropy(posterior, torch.tensor(true))


def train_reader(
    reader: Reader,
    lines: Sequence[LabelledLine],
    dialogues: Sequence[Dialogue],
    config: TrainingConfig,
    line_batch: int = 48,
    talk_batch: int = 24,
    said: Sequence[LabelledLine] = (),
) -> Iterator[tuple[int, float, float]]:
    """Trains both heads and the layers under them, one batch of each a step.

    Args:
        reader: trained in place.
        lines: for the goal judge.
        dialogues: for the matcher; each has a persona and at least one reply.
        config: steps, AdamW's rate for the layers (`other_lr`), decay, seed.
        line_batch: lines a step.
        talk_batch: talks a step; the others' personas are a talk's distractors.
        said: lines that a model said, labelled by reading, `SAID` of each batch of lines where there are any: people write no
            garbled lines, so from theirs nobody learns what to refuse.

    Yields:
        Steps done, goal loss and match loss after every step.
    """
    network = reader.network
    heads = [p for name, p in network.named_parameters() if not name.startswith(("body.", "ngrams."))]
    groups = [{"params": list(network.body.parameters()), "rate": config.other_lr}, {"params": heads, "rate": HEAD_RATE}]
    optimiser = torch.optim.AdamW(groups, lr=config.other_lr, betas=(0.9, 0.98), weight_decay=config.weight_decay)
    rng = np.random.default_rng([config.seed, 7])
    torch.manual_seed(config.seed)
    network.train()
    try:
        for step in range(config.steps):
            own = round(line_batch * SAID) if said else 0
            chosen = [lines[i] for i in rng.integers(len(lines), size=line_batch - own)]
            chosen += [said[i] for i in rng.integers(len(said), size=own)] if own else []
            talks = [dialogues[i] for i in rng.permutation(len(dialogues))[:talk_batch]]
            first = goal_loss(reader, chosen)
            first.backward()  # type: ignore[no-untyped-call]
            second = match_loss(reader, talks, rng)
            second.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), config.max_norm)
            for group in optimiser.param_groups:
                group["lr"] = group["rate"] * config.rate(step)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            yield step + 1, float(first.detach()), float(second.detach())
    finally:
        network.eval()
