"""How good a responder is: perplexity, F1 and variety of its replies, ranking of candidates. Prints nothing; gives a dict.

Protocols (also in the result, under "protocol"), `convai2`:

- `ppl_word`: exp(total NLL of the replies, eos included / (white-space words of the raw replies + one a reply)).
- `ppl_token`: exp(total NLL / reply tokens, eos included).
- `f1`: ParlAI's word F1 (`core/metrics.py`) of the model's reply after the true history, mean over replies; greedy by default.
- `distinct_1`, `distinct_2`, `repetition`, `reply_words`: of those same replies (`convogym.metrics`).
- `hits_at_1`: how often the true reply ranks first among it and 19 others, by log p(reply | persona, history) - log p(reply).
- `hits_at_1_with_matcher`: the same by that score and the matcher's evidence for the persona together.

`personagpt`: the scores of PersonaGPT's own script, named `personagpt_...` (`convogym.agents.personagpt_scoring`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from convogym.dialogue import Dialogue
from convogym.errors import InputError, UnknownNameError
from convogym.experiments.decodings import Decoding, decoding_of
from convogym.metrics import Interval, distinct_interval, ratio_interval, repetition_rate, word_f1
from convogym.readers import read_dialogues

if TYPE_CHECKING:
    from convogym.agents.model import LanguageModel

DISTRACTORS = 19  # ConvAI2 ranks 20 candidates
PROTOCOLS = ("convai2", "personagpt", "all")


def evaluate_model(
    model: str,
    data: Path,
    format: str | None,
    seed: int,
    limit: int | None = None,
    hits: bool = True,
    progress: bool = False,
    protocol: str = "convai2",
    decoding: str = "mbr",
    candidates: int = 8,
) -> dict[str, Any]:
    """Scores a model on the replies of a file.

    Args:
        model: name, folder or hub id.
        data: dialogues in any format `convogym.readers` reads.
        format: its name, None = told from the file.
        seed: of the replies and candidates drawn and the bootstrap.
        limit: only the first so many dialogues.
        hits: whether to rank candidates, the slow part of `convai2`.
        progress: show bars on stderr.
        protocol: one of `PROTOCOLS`.
        decoding: how replies are drawn, one of `decodings.DECODINGS`.
        candidates: draws for decoding `mbr`.

    Returns:
        The scores, each with a 95 % bootstrap interval over dialogues, and what they were measured on.
    """
    from convogym.agents.loading import load

    if limit is not None and limit < 1:
        raise InputError(f"`limit` must be at least 1, got {limit}.")
    if protocol not in PROTOCOLS:
        raise UnknownNameError("protocol", protocol, PROTOCOLS)
    dialogues = _with_replies(read_dialogues(data, format))[:limit]
    loaded = load(model)
    drawn = decoding_of(decoding, candidates, loaded.sampling)
    result: dict[str, Any] = {
        "model": model,
        "data": data.name,
        "protocol": {"intervals": "95 % bootstrap over dialogues"},
        "dialogues": len(dialogues),
        "seed": seed,
    }
    parts = []
    if protocol != "personagpt":
        parts.append(convai2_scores(loaded, [_cut(each) for each in dialogues], drawn, decoding, seed, hits, progress))
    if protocol != "convai2":
        parts.append(_personagpt_scores(loaded, dialogues, seed, progress))
    for part in parts:
        result["protocol"].update(part.pop("protocol"))
        result.update(part)
    return result


def convai2_scores(
    model: LanguageModel,
    dialogues: Sequence[Dialogue],
    decoding: Decoding,
    decoding_name: str,
    seed: int,
    hits: bool,
    progress: bool,
) -> dict[str, Any]:
    """The scores of protocol `convai2`; arguments as of `evaluate_model`, every dialogue ending with a reply."""
    from convogym.agents import scoring
    from convogym.agents.reader import load_reader

    def bar(what: str) -> Any:
        return tqdm(total=len(dialogues), desc=what, unit="dialogue", disable=not progress)

    with bar("perplexity") as shown:
        likelihood = scoring.likelihood(model, dialogues, shown.update)
    with bar("replies") as shown:
        replies = scoring.generated_replies(
            model, dialogues, decoding.sampling, seed, tick=shown.update, candidates=decoding.candidates
        )
    golds = [[turn.reply for turn in d.turns if turn.reply is not None] for d in dialogues]
    f1 = [
        np.array([word_f1(said, [gold]) for said, gold in zip(a, b, strict=True)]) for a, b in zip(replies, golds, strict=True)
    ]
    rng = np.random.default_rng(seed)
    scores: dict[str, Any] = {
        "protocol": {
            "ppl_word": "exp(total reply NLL incl. eos / (white-space words of the raw replies + 1 a reply))",
            "ppl_token": "exp(total reply NLL / reply tokens, both incl. eos)",
            "f1": f"ParlAI word F1, {decoding_name} reply after the true history",
            "decoding": decoding.protocol,
            "distinct": "distinct n-grams / n-grams of all those replies, lower-cased, split at blanks (Li et al. 2016); "
            "falls as a sample grows; bootstrap spread around the value",
            "repetition": "share of those replies, first ones apart, that equal an earlier one of their dialogue but for "
            "case, punctuation and articles",
            "reply_words": "white-space words of those replies, mean",
        },
        "n": sum(map(len, golds)),
        "ppl_word": likelihood.ppl_word,
        "ppl_word_interval": _exp_bounds(ratio_interval(likelihood.nll, likelihood.words, rng)),
        "ppl_token": likelihood.ppl_token,
        "f1": float(np.concatenate(f1).mean()),
        "f1_interval": _bounds(_mean(f1, rng)),
        "reply_words": float(np.mean([len(said.split()) for each in replies for said in each])),
    }
    others = np.random.default_rng([seed, 1])  # of its own, so that the intervals above stay what they always were
    scores["ppl_token_interval"] = _exp_bounds(ratio_interval(likelihood.nll, likelihood.tokens, others))
    scores["reply_words_interval"] = _bounds(_mean([np.array([len(s.split()) for s in each]) for each in replies], others))
    later = np.array([len(each) - 1 for each in replies])
    repeated = np.array([repetition_rate([each]) for each in replies]) * later
    for name, found in (
        ("distinct_1", distinct_interval(replies, 1, others)),
        ("distinct_2", distinct_interval(replies, 2, others)),
        ("repetition", ratio_interval(repeated, later, others)),
    ):
        scores |= {name: found.mean, f"{name}_interval": _bounds(found)}
    if hits:
        with bar("candidates") as shown:
            ranked = scoring.ranks_of_gold(model, load_reader(), dialogues, seed, DISTRACTORS, shown.update)
        given = any(turn.candidates for d in dialogues for turn in d.turns)
        against = "the file's own candidates, where it has them" if given else "19 seeded random replies of the file"
        scores["protocol"]["hits_at_1"] = f"log p(reply | persona, history) - log p(reply); against {against}"
        scores["protocol"]["hits_at_1_with_matcher"] = (
            f"the same of that score + {scoring.MATCHER_WEIGHT} x persona-reader's evidence for the persona (a choice between "
            "replies that were given, not a way of speaking)"
        )
        for name, hits_of in (
            ("hits_at_1", [each.by_model for each in ranked]),
            ("hits_at_1_with_matcher", [each.with_matcher for each in ranked]),
        ):
            found = _mean([each.astype(float) for each in hits_of], rng)
            scores |= {name: found.mean, f"{name}_interval": _bounds(found)}
    return scores


def _personagpt_scores(model: LanguageModel, dialogues: Sequence[Dialogue], seed: int, progress: bool) -> dict[str, Any]:
    from convogym.agents import personagpt_scoring

    with tqdm(total=len(dialogues), desc="PersonaGPT's scores", unit="dialogue", disable=not progress) as shown:
        forced = personagpt_scoring.teacher_forced(model, dialogues, shown.update)
    rng = np.random.default_rng([seed, 2])
    ppl = _mean([np.array([each.nll for each in group]) for group in forced], rng)
    two_ends = _mean([np.array([each.nll_two_ends for each in group]) for group in forced], rng)
    f1 = _mean([np.array([each.f1 for each in group if each.f1 is not None]) for group in forced], rng)
    how = (
        "PersonaGPT's train.py: both speakers' utterances, the first 20 of a dialogue, first token not scored; "
        "tokens are the model's own"
    )
    return {
        "protocol": {
            "personagpt_ppl": f"{how}; exp(mean over utterances of mean NLL a token, one eos incl.)",
            "personagpt_ppl_two_ends": "the same with a second eos counted at no cost: the script doubles eos, so a model "
            "trained by it scores between the two",
            "personagpt_f1": f"{how}; teacher-forced argmax, set F1 of token ids, 0..1; utterances of one token left out",
        },
        "personagpt_n": sum(map(len, forced)),
        "personagpt_ppl": float(np.exp(ppl.mean)),
        "personagpt_ppl_interval": _exp_bounds(ppl),
        "personagpt_ppl_two_ends": float(np.exp(two_ends.mean)),
        "personagpt_ppl_two_ends_interval": _exp_bounds(two_ends),
        "personagpt_f1": f1.mean,
        "personagpt_f1_interval": _bounds(f1),
    }


def _with_replies(dialogues: list[Dialogue]) -> list[Dialogue]:
    """The dialogues that have a reply at all."""
    found = [dialogue for dialogue in dialogues if dialogue.turns[0].reply is not None]
    if not found:
        raise InputError("the file holds no reply to score.")
    return found


def _cut(dialogue: Dialogue) -> Dialogue:
    """The dialogue up to its last reply."""
    return dataclasses.replace(dialogue, turns=tuple(turn for turn in dialogue.turns if turn.reply is not None))


def _mean(groups: Sequence[np.ndarray[Any, Any]], rng: np.random.Generator) -> Interval:
    """Mean over replies, whole dialogues drawn."""
    return ratio_interval([group.sum() for group in groups], [len(group) for group in groups], rng)


def _bounds(interval: Interval) -> list[float]:
    return [interval.low, interval.high]


def _exp_bounds(interval: Interval) -> list[float]:
    return [float(np.exp(interval.low)), float(np.exp(interval.high))]
