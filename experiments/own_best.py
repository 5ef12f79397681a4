"""A model's own best utterances in talks that were written, for it to learn from. Knows rules of choice; knows no files.

Of several draws the best is what the model can say and too rarely does. Learning it moves one draw towards the best of many,
as minimum Bayes risk fine-tuning does for translation (Finkelstein and Freitag 2024) and rejection sampling for reasoning
(Zelikman et al. 2022, STaR). Only talks of the training corpora are used; where no draw is good the words that were written
stay.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from convogym.agents import scoring
from convogym.agents.model import LanguageModel
from convogym.agents.scoring import Tick, no_tick
from convogym.dialogue import Dialogue, Turn
from convogym.goals import DEFAULT_GOALS
from convogym.metrics import normalise_answer, word_f1
from convogym.speakers import GoalJudge
from convogym.stating import ENOUGH, stated_by_words, stated_share

_SENTENCE = re.compile(r"[^.!?]+")
WRITTEN = 2.0
"""how many draws the written reply counts as, where a draw's agreement with the others is measured"""
CERTAIN = 0.9
"""chance, by the judge, that a line kept carries out its goal"""


def with_own_replies(
    model: LanguageModel,
    dialogues: Sequence[Dialogue],
    draws: int,
    seed: int,
    tick: Tick = no_tick,
) -> list[Dialogue]:
    """The dialogues with half of their replies said by the model, each after the history that was written.

    A reply is the best of some draws, see `best_reply`.

    Args:
        model: the responder, which draws as it usually speaks.
        dialogues: with personas.
        draws: replies drawn at each turn, at least 2.
        seed: of the draws, and of which replies are replaced.
        tick: told of progress.
    """
    rng = np.random.default_rng([seed, 7])
    known = [stated_by_words(dialogue) for dialogue in dialogues]
    drawn = scoring.candidate_replies(model, known, model.sampling, seed, tick=tick, candidates=draws)
    out = []
    for dialogue, candidates in zip(known, drawn, strict=True):
        facts = dialogue.persona.facts if dialogue.persona else ()
        turns: list[Turn] = []
        for turn, texts in zip(dialogue.turns, candidates, strict=False):  # the last line may have no reply
            reply = best_reply(turn, facts, texts, [each.reply or "" for each in turns])
            chosen = rng.random() < 0.5 and reply is not None
            turns.append(dataclasses.replace(turn, reply=reply) if chosen else turn)
        out.append(dataclasses.replace(dialogue, turns=(*turns, *dialogue.turns[len(turns) :])))
    return out


def best_reply(turn: Turn, facts: Sequence[str], texts: Sequence[str], earlier: Sequence[str]) -> str | None:
    """The draw that agrees most with the others and the written reply among those that state what the written one does.

    Args:
        turn: what was written; `facts` None = the reply states none by its words.
        facts: the responder's.
        texts: the draws.
        earlier: replies of the same talk, which are not said again.

    Returns:
        One of `texts`, None where none states what was written, all were said before, or the best says a sentence twice.
    """
    said = {normalise_answer(text) for text in earlier}
    wanted = set(turn.facts or ())
    best, most = None, -1.0
    for i, text in enumerate(texts):
        shares = [stated_share(text, turn.line, fact) for fact in facts]
        stated = {number for number, share in enumerate(shares) if share is not None and share >= ENOUGH}
        tellable = {number for number in wanted if shares[number] is not None}
        if not text or normalise_answer(text) in said or not tellable <= stated or stated - wanted:
            continue
        gain = sum(word_f1(text, [other]) for j, other in enumerate(texts) if j != i)
        gain += WRITTEN * word_f1(text, [turn.reply or ""])
        if gain > most:
            best, most = text, gain
    return best if best is None or not _says_twice(best) else None


def _says_twice(text: str) -> bool:
    sentences = [normalise_answer(sentence) for sentence in _SENTENCE.findall(text)]
    return len(set(sentences)) < len(sentences)


def with_own_lines(
    model: LanguageModel,
    judge: GoalJudge,
    dialogues: Sequence[Dialogue],
    draws: int,
    seed: int,
    tick: Tick = no_tick,
) -> list[Dialogue]:
    """The dialogues with half of their lines said by the model, each for a random goal after the history that was written.

    A line is the first of some draws that the judge finds `CERTAIN`. The replies that follow do not answer such lines; only
    lines are to be learnt from these dialogues.

    Args:
        model: the goal speaker, which draws as it usually speaks.
        judge: says which goals a line carries out.
        dialogues: with labels.
        draws: lines drawn at each turn.
        seed: of the draws, of the goals, and of which lines are replaced.
        tick: told of lines judged.
    """
    rng = np.random.default_rng([seed, 8])
    places = [(d, t) for d, dialogue in enumerate(dialogues) for t in range(len(dialogue.turns)) if rng.random() < 0.5]
    goals = [int(goal) for goal in rng.integers(len(DEFAULT_GOALS), size=len(places))]
    contexts = [scoring.context_before(dialogues[d], t) for d, t in places]
    found: dict[tuple[int, int], Turn] = {}
    open_ = list(range(len(places)))
    for _ in range(draws):
        wanted = [(i, goals[i]) for i in open_]
        said = scoring.said_lines(model, contexts, DEFAULT_GOALS.goals, int(rng.integers(2**31)), wanted=wanted)
        chances = judge.probabilities([contexts[i].before for i in open_], [line.text for line in said])
        for i, line, chance in zip(open_, said, chances, strict=True):
            d, t = places[i]
            if line.text and chance[goals[i]] >= CERTAIN:
                goal = DEFAULT_GOALS.goals[goals[i]]
                found[places[i]] = dataclasses.replace(dialogues[d].turns[t], line=line.text, goals=(goal,))
        tick(len(open_))
        open_ = [i for i in open_ if places[i] not in found]
    return [
        dataclasses.replace(dialogue, turns=tuple(found.get((d, t), turn) for t, turn in enumerate(dialogue.turns)))
        for d, dialogue in enumerate(dialogues)
    ]
