"""Fits the original's ranking-trained state estimator to a model's embeddings. Prints nothing; gives a dict.

The replies of a dialogue, joined, are to lie nearest to the facts of their speaker's persona; see `agents/ranking_state`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convogym import grammar, steered_talk
from convogym.dialogue import Dialogue
from convogym.errors import InputError
from convogym.experiments.console import Tick, ignore_ticks
from convogym.experiments.corpora import spelled
from convogym.metrics import bootstrap_interval
from convogym.readers import read_dialogues

if TYPE_CHECKING:
    from convogym.agents.model import LanguageModel

GRAMMAR_DIALOGUES = 1500
SCORES = ("prec_1", "prec_5", "rec_5", "rec_10")


def spoken(dialogues: Sequence[Dialogue]) -> list[tuple[str, tuple[str, ...]]]:
    """All replies of each dialogue with a persona, joined, and the persona's facts."""
    found = []
    for dialogue in dialogues:
        replies = " ".join(turn.reply for turn in dialogue.turns if turn.reply)
        if dialogue.persona and replies:
            found.append((replies, dialogue.persona.facts))
    return found


def fit_state(
    model: LanguageModel, data: Path | None, out: Path, epochs: int, seed: int, tick: Tick = ignore_ticks
) -> dict[str, Any]:
    """Fits and stores a head, and scores it on steered-talk's dev part and held-out grammar dialogues.

    Args:
        model: embeds.
        data: dialogues with personas; None = steered-talk's train part and dialogues of the grammar.
        out: folder for the head; `observation="ranking:OUT"` uses it.
        epochs: passes over the dialogues.
        seed: of everything.
        tick: told how many passes were done.

    Returns:
        Mean losses of the first and the last pass; each of `SCORES` with its interval, with the head and without.

    Raises:
        InputError: there are too few dialogues with personas.
    """
    from convogym.agents import ranking_state as ranking

    rng = np.random.default_rng([seed, 33])
    if data is None:
        dialogues = [spelled(d) for d in steered_talk.load("train")]
        dialogues += [grammar.dialogue(rng, "train") for _ in range(GRAMMAR_DIALOGUES)]
    else:
        dialogues = [spelled(d) for d in read_dialogues(data)]
    pairs = spoken(dialogues)
    facts = {fact for _, own in pairs for fact in own}
    if not pairs or len(facts) <= ranking.NEGATIVES + max(len(own) for _, own in pairs):
        raise InputError(f"fitting needs dialogues with personas of more than {ranking.NEGATIVES} facts, got {len(facts)}.")
    embed = model.responder().embed
    talks, pool = ranking.talks_of(pairs, embed)
    head = ranking.RankingHead(model.network.shape.n_embd)
    steps = -(-len(talks) // ranking.BATCH)
    losses = []
    for done, loss in enumerate(ranking.train_head(head, talks, pool, epochs, seed), 1):
        losses.append(loss)
        if done % steps == 0:
            tick(1)
    head.save(out, model.name)
    held_out = [spelled(d) for d in steered_talk.load("dev")] + [grammar.dialogue(rng, "held-out") for _ in range(100)]
    tested, others = ranking.talks_of(spoken(held_out), embed)
    result: dict[str, Any] = {
        "out": str(out),
        "observation": f"ranking:{out}",
        "model": model.name,
        "dialogues": len(talks),
        "epochs": epochs,
        "loss_of_first_pass": float(np.mean(losses[:steps])),
        "loss_of_last_pass": float(np.mean(losses[-steps:])),
        "held_out": len(tested),
        "seed": seed,
    }
    for which, used in (("head", head), ("without", None)):
        scores = ranking.ranked_facts(used, tested, others, seed)
        for name, column in zip(SCORES, scores.T, strict=True):
            found = bootstrap_interval(column, np.random.default_rng([seed, 34]))
            result |= {f"{which}_{name}": found.mean, f"{which}_{name}_interval": [found.low, found.high]}
    return result
