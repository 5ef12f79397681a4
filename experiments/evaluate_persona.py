"""Does a model speak for its persona? Prints nothing; gives a dict.

Two views of the replies a model gives after true histories:

- One reply: where the true reply reveals one fact, does the model's state it (`convogym.stating`)?
- A whole talk: is the true persona the likeliest of 32 to the matcher that rewards come from? Asked of the true replies, which
  says how far to trust the matcher, and of the model's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from convogym import grammar
from convogym.dialogue import Dialogue, Persona
from convogym.errors import InputError
from convogym.evidence import talk_evidence
from convogym.experiments.decodings import decoding_of
from convogym.experiments.evaluate_goals import held_out_dialogues
from convogym.metrics import bootstrap_interval, ratio_interval
from convogym.personas import load_personas
from convogym.readers import read_dialogues
from convogym.speakers import PersonaMatcher
from convogym.stating import ENOUGH, Verdict, grammar_verdict, worded_verdict

DISTRACTORS = 31  # P^2 Bot validates its persona matcher among 32 (`agents/receiver`)
GRAMMAR_DIALOGUES = 200  # unless told otherwise
EXAMPLES = 8

_STATES = {
    "grammar": "the reply holds every key of the fact as a whole word (grammar.states)",
    "words": f"the reply has at least {ENOUGH} of the fact's content words (stop words out, stemmed) that the question lacks",
}
_CONTRADICTS = (
    "the reply states a fact of the grammar on the asked topic that persona and question together do not state; "
    "invented facts count"
)


class Answer(NamedTuple):
    """A reply to a question after one fact, with that fact and what the replies make of it."""

    dialogue: int
    """0-based"""
    fact: str
    """revealed by the true reply, and no other"""
    question: str
    """the line before"""
    reply: str
    """the model's"""
    said: Verdict
    """on the model's reply"""
    gold: Verdict
    """on the true reply: says how far to trust the rule"""


def evaluate_persona(
    model: str,
    data: Path | None,
    dialogues: int | None,
    seed: int,
    decoding: str = "greedy",
    candidates: int = 8,
    progress: bool = False,
) -> dict[str, Any]:
    """Measures how often a model states the facts of its persona, and how well its talks show whose they are.

    Args:
        model: name, folder or hub id.
        data: dialogues with personas; where it labels what replies reveal, as steered-talk does, questions are scored too.
            None = held-out grammar dialogues.
        dialogues: only the first so many; None = all of a file, `GRAMMAR_DIALOGUES` of the grammar.
        seed: of the replies, the distractors and the bootstrap.
        decoding: how replies are drawn, one of `decodings.DECODINGS`.
        candidates: draws for decoding `mbr`.
        progress: show bars on stderr.

    Returns:
        `matcher_hits_at_1` and `model_hits_at_1`: shares of the dialogues. Where replies are labelled: `states_fact`,
        `other_fact` and, for the grammar, `contradicts`: shares of the `n` questions, and `rule_on_gold`: the same of the true
        replies. Each with a 95 % bootstrap interval over dialogues.
    """
    from convogym.agents import scoring
    from convogym.agents.loading import load
    from convogym.agents.reader import load_reader

    if dialogues is not None and dialogues < 1:
        raise InputError(f"`dialogues` must be at least 1, got {dialogues}.")
    if data is None:
        talks, pool = held_out_dialogues(dialogues or GRAMMAR_DIALOGUES), load_personas("grammar-held-out")
    else:
        talks = [talk for talk in read_dialogues(data) if talk.persona and talk.turns[0].reply is not None]
        pool = tuple(dict.fromkeys(talk.persona for talk in talks if talk.persona))
        talks = talks[:dialogues]
    rng = np.random.default_rng([seed, 3])
    lineups = [lineup(talk.persona, pool, rng) for talk in talks if talk.persona]
    loaded = load(model)
    drawn = decoding_of(decoding, candidates, loaded.sampling)
    with tqdm(total=len(talks), desc="replies", unit="dialogue", disable=not progress) as bar:
        replies = scoring.generated_replies(loaded, talks, drawn.sampling, seed, tick=bar.update, candidates=drawn.candidates)
    found = answers(talks, replies, is_grammar=data is None)
    if not talks:
        raise InputError("no dialogue has a persona and a reply to its first line.")
    golds = [[turn.reply for turn in talk.turns if turn.reply is not None] for talk in talks]
    reader = load_reader()
    out: dict[str, Any] = {
        "model": model,
        "data": "held-out grammar" if data is None else data.name,
        "protocol": {
            "matcher_hits_at_1": f"{reader.name}: true persona likeliest of {DISTRACTORS + 1} after all true replies; the "
            "others are random, share no fact with it, and come from the same split or file",
            "model_hits_at_1": "the same after the model's own replies in their place",
            "decoding": drawn.protocol,
            "intervals": "95 % bootstrap over dialogues",
        },
        "dialogues": len(talks),
        "n": len(found),
        **_hits("matcher_hits_at_1", [is_first(reader, *each) for each in zip(talks, golds, lineups, strict=True)], seed),
        **_hits("model_hits_at_1", [is_first(reader, *each) for each in zip(talks, replies, lineups, strict=True)], seed),
        "seed": seed,
    }
    if not found:
        return out
    out["protocol"] |= {
        "asked": "questions whose true reply reveals exactly one fact, answered after the true history",
        "states_fact": _STATES["grammar" if data is None else "words"],
        "other_fact": "the same of any other fact of the persona",
        **({"contradicts": _CONTRADICTS} if data is None else {}),
    }
    return out | {
        **_shares([(each.dialogue, each.said) for each in found], seed),
        "rule_on_gold": _shares([(each.dialogue, each.gold) for each in found], seed),
        "examples": [
            {"fact": each.fact, "question": each.question, "reply": each.reply, "states_fact": each.said.states_fact}
            for each in found[:EXAMPLES]
        ],
    }


def answers(talks: Sequence[Dialogue], replies: Sequence[Sequence[str]], is_grammar: bool) -> list[Answer]:
    """The replies to questions whose true reply reveals exactly one fact.

    Args:
        talks: with personas; `Turn.goals` and `Turn.facts` are labelled where they are to count.
        replies: the model's, one for each turn that has a true one.
        is_grammar: the personas are the grammar's, held out; otherwise facts are looked for by their words.
    """
    found = []
    for number, (talk, said) in enumerate(zip(talks, replies, strict=True)):
        facts = talk.persona.facts if talk.persona else ()
        for turn, reply in zip(talk.turns, said, strict=False):  # a last line without a reply has none here either
            if not turn.goals or turn.reply is None or turn.facts is None or len(turn.facts) != 1:
                continue
            [asked] = turn.facts
            verdicts = [_verdict(text, turn.line, facts, asked, is_grammar) for text in (reply, turn.reply)]
            if verdicts[0] and verdicts[1]:
                found.append(Answer(number, facts[asked], turn.line, reply, verdicts[0], verdicts[1]))
    return found


def _verdict(reply: str, question: str, facts: Sequence[str], asked: int, is_grammar: bool) -> Verdict | None:
    if is_grammar:
        return grammar_verdict(reply, question, [_held_out_facts()[text] for text in facts], asked)
    return worded_verdict(reply, question, facts, asked)


@cache
def _held_out_facts() -> dict[str, grammar.Fact]:
    return {fact.text: fact for fact in grammar.facts("held-out")}


def lineup(persona: Persona, pool: Sequence[Persona], rng: np.random.Generator) -> list[tuple[str, ...]]:
    """The true persona's facts, then those of `DISTRACTORS` random others that share no fact with it.

    Raises:
        InputError: the pool has too few of them.
    """
    others = [other.facts for other in pool if not set(other.facts) & set(persona.facts)]
    if len(others) < DISTRACTORS:
        raise InputError(
            f"ranking a persona needs {DISTRACTORS} others that share no fact with it, got {len(others)}; take a larger file."
        )
    return [persona.facts, *(others[i] for i in rng.permutation(len(others))[:DISTRACTORS])]


def is_first(matcher: PersonaMatcher, talk: Dialogue, replies: Sequence[str], candidates: Sequence[Sequence[str]]) -> bool:
    """Whether the first candidate persona is likelier than every other after all replies."""
    turns = [(turn.line, reply) for turn, reply in zip(talk.turns, replies, strict=False)]
    total = talk_evidence(matcher, turns, candidates).sum(axis=0)  # (candidates,)
    return bool(total[0] > total[1:].max())


def _shares(verdicts: Sequence[tuple[int, Verdict]], seed: int) -> dict[str, Any]:
    """Shares of the verdicts, with intervals over the dialogues that have any."""
    dialogues = np.array([dialogue for dialogue, _ in verdicts])
    counts = np.bincount(dialogues)
    asked = counts > 0
    out: dict[str, Any] = {}
    for name in Verdict._fields:
        values = [getattr(verdict, name) for _, verdict in verdicts]
        if None not in values:
            sums = np.bincount(dialogues, weights=values)
            interval = ratio_interval(sums[asked], counts[asked], np.random.default_rng([seed, 4]))
            out |= {name: interval.mean, f"{name}_interval": [interval.low, interval.high]}
    return out


def _hits(name: str, hits: Sequence[bool], seed: int) -> dict[str, Any]:
    interval = bootstrap_interval(hits, np.random.default_rng([seed, 5]))
    return {name: interval.mean, f"{name}_interval": [interval.low, interval.high]}
