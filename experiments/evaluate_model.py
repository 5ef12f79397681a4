"""How good a responder is: perplexity, F1 of its replies, ranking of candidates. Prints nothing; gives a dict.

Protocols (also in the result, under "protocol"):

- `ppl_word`: exp(total NLL of the replies, eos included / (white-space words of the raw replies + one a reply)).
- `ppl_token`: exp(total NLL / reply tokens, eos included).
- `f1`: ParlAI's word F1 (`core/metrics.py`) of the model's greedy reply after the true history, mean over replies.
- `hits_at_1`: how often the true reply ranks first among it and 19 others, by log p(reply | persona, history) - log p(reply).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from convogym.dialogue import Dialogue
from convogym.errors import InputError
from convogym.metrics import word_f1
from convogym.readers import read_dialogues

DISTRACTORS = 19  # ConvAI2 ranks 20 candidates


def evaluate_model(
    model: str, data: Path, format: str | None, seed: int, limit: int | None = None, hits: bool = True, progress: bool = False
) -> dict[str, Any]:
    """Scores a model on the replies of a file.

    Args:
        model: name, folder or hub id.
        data: dialogues in any format `convogym.readers` reads.
        format: its name, None = told from the file.
        seed: of the candidates drawn and the bootstrap.
        limit: only the first so many dialogues.
        hits: whether to rank candidates, the slow part.
        progress: show bars on stderr.

    Returns:
        The scores, each with a 95 % bootstrap interval over dialogues, and what they were measured on.
    """
    from convogym.agents import scoring
    from convogym.agents.loading import load
    from convogym.agents.sampling import Sampling

    if limit is not None and limit < 1:
        raise InputError(f"`limit` must be at least 1, got {limit}.")
    dialogues = _with_replies(read_dialogues(data, format))[:limit]
    loaded = load(model)

    def bar(what: str) -> Any:
        return tqdm(total=len(dialogues), desc=what, unit="dialogue", disable=not progress)

    with bar("perplexity") as shown:
        likelihood = scoring.likelihood(loaded, dialogues, shown.update)
    greedy = Sampling(top_k=1, top_p=1.0)
    with bar("replies") as shown:
        replies = scoring.generated_replies(loaded, dialogues, greedy, seed, tick=shown.update)
    golds = [[turn.reply for turn in d.turns if turn.reply is not None] for d in dialogues]
    f1 = [
        np.array([word_f1(said, [gold]) for said, gold in zip(a, b, strict=True)]) for a, b in zip(replies, golds, strict=True)
    ]
    rng = np.random.default_rng(seed)
    result: dict[str, Any] = {
        "model": model,
        "data": data.name,
        "protocol": {
            "ppl_word": "exp(total reply NLL incl. eos / (white-space words of the raw replies + 1 a reply))",
            "f1": "ParlAI word F1, greedy reply after the true history",
            "intervals": "95 % bootstrap over dialogues",
        },
        "dialogues": len(dialogues),
        "n": sum(map(len, golds)),
        "ppl_word": likelihood.ppl_word,
        "ppl_word_interval": _ratio_interval(likelihood.nll, likelihood.words, rng),
        "ppl_token": likelihood.ppl_token,
        "f1": float(np.concatenate(f1).mean()),
        "f1_interval": _mean_interval(f1, rng),
        "reply_words": float(np.mean([len(said.split()) for each in replies for said in each])),
        "seed": seed,
    }
    if hits:
        with bar("candidates") as shown:
            ranked = scoring.ranks_of_gold(loaded, dialogues, seed, DISTRACTORS, shown.update)
        given = any(turn.candidates for d in dialogues for turn in d.turns)
        others = "the file's own candidates, where it has them" if given else "19 seeded random replies of the file"
        result["protocol"]["hits_at_1"] = f"log p(reply | persona, history) - log p(reply); against {others}"
        result["hits_at_1"] = float(np.concatenate(ranked).mean())
        result["hits_at_1_interval"] = _mean_interval([each.astype(float) for each in ranked], rng)
    return result


def _with_replies(dialogues: list[Dialogue]) -> list[Dialogue]:
    """The dialogues cut after their last reply; those without any are left out."""
    cut = []
    for dialogue in dialogues:
        turns = tuple(turn for turn in dialogue.turns if turn.reply is not None)
        if turns:
            cut.append(dataclasses.replace(dialogue, turns=turns))
    if not cut:
        raise InputError("the file holds no reply to score.")
    return cut


def _ratio_interval(over: np.ndarray[Any, Any], under: np.ndarray[Any, Any], rng: np.random.Generator) -> list[float]:
    """95 % bootstrap interval of exp(sum(over) / sum(under)) over dialogues."""
    drawn = rng.integers(len(over), size=(1000, len(over)))
    values = np.exp(over[drawn].sum(1) / under[drawn].sum(1))
    return [float(v) for v in np.quantile(values, (0.025, 0.975))]


def _mean_interval(groups: list[np.ndarray[Any, Any]], rng: np.random.Generator) -> list[float]:
    """95 % bootstrap interval of the mean over replies, whole dialogues drawn."""
    sums = np.array([group.sum() for group in groups])
    counts = np.array([len(group) for group in groups])
    drawn = rng.integers(len(groups), size=(1000, len(groups)))
    values = sums[drawn].sum(1) / counts[drawn].sum(1)
    return [float(v) for v in np.quantile(values, (0.025, 0.975))]
