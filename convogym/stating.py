"""Whether a reply states a fact of a persona: exactly, where the grammar made the fact; by its words, where a person wrote it.

- Grammar: a reply states a fact when it holds all of the fact's keys as whole words (`grammar.states`). It *contradicts* the
  persona when it states any of the grammar's facts on the asked topic, train or held-out, that the persona's sentences and the
  question together do not state. So an invented fact counts as a contradiction, and naming what the question named does not.
- Words: a reply states a fact when it has at least `ENOUGH` of the fact's content words (no stop words, stemmed) that the
  question does not have. In steered-talk this finds 0.73 of the labelled facts and 0.004 of those not revealed.

Knows words; knows nothing of models.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache
from typing import NamedTuple

from convogym import grammar
from convogym.dialogue import Dialogue

ENOUGH = 0.5  # share of a fact's content words; of four words, two

_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_STOP_WORDS = frozenset(
    "a an the and or but so if of to at in on for with by from as into about than then that this these those there here "
    "it its i me my mine myself we us our you your he him his she her they them their who what when where how which am "
    "is are was were be been being do does did done have has had having will would can could should may might must not "
    "no yes very too also just only really quite all any some more most much many every each one ever never always up "
    "out get got go goes went make made like love i'm i've i'd i'll it's that's don't doesn't didn't isn't wasn't can't "
    "won't couldn't".split()
)
_ENDINGS = (("ies", "y"), ("ing", ""), ("ed", ""), ("es", ""), ("s", ""))
_LEAST = 3  # letters that an ending must leave


class Verdict(NamedTuple):
    """What a reply says about a persona."""

    states_fact: bool
    """it states the fact asked for"""
    other_fact: bool
    """it states another fact of the persona"""
    contradicts: bool | None
    """it states something else on the topic; None = there is no way to know"""


def grammar_verdict(reply: str, question: str, persona: Sequence[grammar.Fact], asked: int) -> Verdict:
    """Judges a reply for a persona of the grammar.

    Args:
        reply: what was answered.
        question: the line before it.
        persona: all facts of the replying speaker.
        asked: 0-based, the fact the question is after.
    """
    known = " ".join([*(fact.text for fact in persona), question])
    stated = [grammar.states(reply, fact) for fact in persona]
    contradicts = any(
        grammar.states(reply, fact) and not grammar.states(known, fact) for fact in _facts_about(persona[asked].goal)
    )
    return Verdict(stated[asked], any(stated[:asked] + stated[asked + 1 :]), contradicts)


@cache
def _facts_about(goal: int) -> tuple[grammar.Fact, ...]:
    return tuple(fact for split in grammar.SPLITS for fact in grammar.facts(split) if fact.goal == goal)


def worded_verdict(reply: str, question: str, persona: Sequence[str], asked: int) -> Verdict | None:
    """Judges a reply for a persona in anybody's words; None where the question already has every content word of the fact.

    Args:
        reply: what was answered.
        question: the line before it.
        persona: all facts of the replying speaker.
        asked: 0-based, the fact the question is after.
    """
    shares = [stated_share(reply, question, fact) for fact in persona]
    wanted = shares[asked]
    if wanted is None:
        return None
    others = [share for i, share in enumerate(shares) if i != asked and share is not None]
    return Verdict(wanted >= ENOUGH, any(share >= ENOUGH for share in others), None)


def stated_by_words(dialogue: Dialogue) -> Dialogue:
    """The dialogue with `Turn.facts` filled in where it is unlabelled and a reply has words enough of any fact."""
    if dialogue.persona is None:
        return dialogue
    facts = dialogue.persona.facts
    turns = []
    for turn in dialogue.turns:
        if turn.facts is None and turn.reply is not None:
            shares = [stated_share(turn.reply, turn.line, fact) for fact in facts]
            found = tuple(i for i, share in enumerate(shares) if share is not None and share >= ENOUGH)
            turn = replace(turn, facts=found or None)
        turns.append(turn)
    return replace(dialogue, turns=tuple(turns))


def stated_share(reply: str, question: str, fact: str) -> float | None:
    """Share of a fact's content words that a reply has, those of the question left out; 0..1, None where none are left."""
    words = content_words(fact) - content_words(question)
    return len(words & content_words(reply)) / len(words) if words else None


@lru_cache(maxsize=1 << 16)
def content_words(text: str) -> frozenset[str]:
    """The stems of a text's words without stop words."""
    return frozenset(_stem(word) for word in _WORD.findall(text.lower()) if word not in _STOP_WORDS)


def _stem(word: str) -> str:
    """A word without the ending of plural, past or -ing: "baked", "bakes" and "baking" are "bak"; "jogging" is "jog"."""
    word = word.removesuffix("'s")
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and not word.endswith("ss") and len(word) - len(ending) >= _LEAST:
            word = word.removesuffix(ending) + instead
            break
    if len(word) > _LEAST and word[-1] == word[-2] and word[-1] not in "aeiou":
        word = word[:-1]
    return word.removesuffix("e") if len(word) > _LEAST else word
