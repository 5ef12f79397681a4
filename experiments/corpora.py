"""The dialogues a model is trained on: reads a folder of corpora, brings them to one spelling, and mixes them into epochs.

Knows which public corpus needs which care; knows nothing of networks.
"""

from __future__ import annotations

import dataclasses
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convogym import grammar, steered_talk, weak_labels
from convogym.dialogue import Dialogue, Persona, Turn
from convogym.errors import InputError
from convogym.goals import DEFAULT_GOALS
from convogym.layouts import Example, Tokenizer, line_examples, plain_examples, responder_examples
from convogym.readers import read_dialogues
from convogym.stating import stated_by_words
from convogym.text import normalise

LEFT_OUT = ("convai2_dev",)  # evaluation only
PLACEHOLDER = "[user"  # Synthetic-Persona-Chat leaves "[User 1's name]" in some dialogues
HELD_BACK = 40  # every n-th dialogue of a corpus is never trained on, to watch the loss on
COMMON = 1000  # so many of the commonest words are never `reworded`
_WORD = re.compile(r"\b[a-z]{3,12}\b")
PIECES = 3  # dialogues that one is `pieced` from
MOST_FACTS = 5  # of its persona
GOAL_DROPOUT = 0.15  # share of steered lines whose goal is not named, so that lines without goals stay fluent


def spelled(dialogue: Dialogue) -> Dialogue:
    """The dialogue in the project's spelling."""

    def fix(text: str) -> str:
        return normalise(text) or "..."

    def persona(old: Persona | None) -> Persona | None:
        return None if old is None else Persona(tuple(fix(fact) for fact in old.facts))

    turns = tuple(
        dataclasses.replace(t, line=fix(t.line), reply=None if t.reply is None else fix(t.reply), candidates=None)
        for t in dialogue.turns
    )
    return Dialogue(turns, persona(dialogue.persona), persona(dialogue.partner_persona), dialogue.source)


def shifted(dialogue: Dialogue) -> Dialogue | None:
    """The same talk seen from the other chair: speaker 2's replies become the lines. None where too little is left.

    The first line is dropped, labels with it; used to train replies for the speaker whose persona is known.
    """
    said = dialogue.utterances[1:]
    if len(said) < 2:
        return None
    return Dialogue.from_utterances(said, dialogue.partner_persona, dialogue.persona, dialogue.source)


def read_folder(folder: Path) -> dict[str, list[Dialogue]]:
    """All corpora of a folder, by file name without endings, spelled alike.

    Raises:
        InputError: the folder is missing or holds no corpus.
    """
    return {name: [spelled(d) for d in dialogues] for name, dialogues in read_raw(folder).items()}


def read_raw(folder: Path) -> dict[str, list[Dialogue]]:
    """All corpora of a folder, by file name without endings, as they are written; raises what `read_folder` raises."""
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of corpora (*.jsonl.gz, *.jsonl, *.txt, *.json, *.csv), found none.")
    corpora: dict[str, list[Dialogue]] = {}
    for path in sorted(folder.iterdir()):
        name = path.name.split(".")[0]
        if not path.name.endswith((".jsonl.gz", ".jsonl", ".txt", ".json", ".csv")) or name.startswith(LEFT_OUT):
            continue
        corpora[name] = [d for d in read_dialogues(path) if not any(PLACEHOLDER in text.lower() for text in d.utterances)]
    if not corpora:
        raise InputError(f"{folder}: expected corpora (*.jsonl.gz, *.jsonl, *.txt, *.json, *.csv) in it, found none.")
    return corpora


def own_corpora(*splits: str) -> dict[str, list[Dialogue]]:
    """Splits of the steered-talk corpus, which travels with the package, without the goals kept for teaching.

    Named `steered_talk` (train and dev) and `steered_talk_more`, `steered_talk_asked` and so on.
    """
    names = {split: "steered_talk" if split in ("train", "dev") else f"steered_talk_{split}" for split in splits}
    return {
        name: [spelled(d) for d in steered_talk.without_extra_goals(steered_talk.load(split))] for split, name in names.items()
    }


def kept_apart(corpora: Mapping[str, Sequence[Dialogue]]) -> tuple[dict[str, list[Dialogue]], dict[str, list[Dialogue]]]:
    """Splits every corpus into what is trained on and the `HELD_BACK`-th dialogues, to watch the loss on."""
    train = {name: [d for i, d in enumerate(ds) if i % HELD_BACK] for name, ds in corpora.items()}
    watch = {name: [d for i, d in enumerate(ds) if not i % HELD_BACK] for name, ds in corpora.items()}
    return train, watch


def texts(corpora: Mapping[str, Iterable[Dialogue]]) -> Iterable[str]:
    """Everything said, and every fact: what a vocabulary is learnt from."""
    for dialogues in corpora.values():
        for dialogue in dialogues:
            yield from dialogue.utterances
            for persona in (dialogue.persona, dialogue.partner_persona):
                if persona is not None:
                    yield from persona.facts


@dataclass(frozen=True)
class Share:
    """How often an epoch reads a corpus, by view; 0.5 = half of its dialogues, 2 = all of them twice."""

    plain: float = 0.0
    """both speakers' utterances in one pass, no persona, no goal"""
    replies: float = 0.0
    """speaker 2's view, with the persona where there is one"""
    lines: float = 0.0
    """speaker 1's view, with goals in place"""
    asked: float = 0.0
    """speaker 1's view, with `asked` lines in it"""
    swapped: float = 0.0
    """speaker 1's utterances learnt as replies, with that speaker's persona"""
    pieced: float = 0.0
    """speaker 2's view of dialogues put together from `pieced` ones"""
    limit: int = 1 << 30
    """utmost number of dialogues a view reads in an epoch"""

    def times(self, factor: float) -> Share:
        """So many times as often, within the same limit."""
        views = {name: value * factor for name, value in dataclasses.asdict(self).items() if name != "limit"}
        return Share(**views, limit=self.limit)


@dataclass(frozen=True)
class Mix:
    """What an epoch is made of."""

    shares: Mapping[str, Share]
    """by corpus name; corpora it does not name get `other`"""
    other: Share = dataclasses.field(default_factory=Share)
    """for corpora not named"""
    grammar: int = 0
    """how many fresh grammar dialogues an epoch gets (each in both views)"""
    grammar_replies: int = 0
    """how many more it gets in the responder's view alone"""
    reworded: float = 0.0
    """share of the replies learnt for a persona that are `reworded`"""
    grammar_turns: tuple[int, int] = (8, 8)
    """shortest and longest of them; the fewer turns, the more of the questions find a fact (half of them at 8)"""

    def times(self, factor: float) -> Mix:
        """The mix of an epoch so many times as long, within the shares' limits."""
        return dataclasses.replace(
            self,
            shares={name: share.times(factor) for name, share in self.shares.items()},
            other=self.other.times(factor),
            grammar=round(self.grammar * factor),
            grammar_replies=round(self.grammar_replies * factor),
        )


def _draw(dialogues: Sequence[Dialogue], share: float, limit: int, rng: np.random.Generator) -> list[Dialogue]:
    wanted = min(round(len(dialogues) * share), limit)
    drawn: list[Dialogue] = []
    while len(drawn) < wanted:
        drawn += [dialogues[i] for i in rng.permutation(len(dialogues))[: wanted - len(drawn)]]
    return drawn


def reordered(dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
    """The dialogue with its personas' facts in random order (TransferTransfo's augmentation); labels follow."""

    def mixed(persona: Persona | None) -> tuple[Persona | None, list[int]]:
        if persona is None:
            return None, []
        order = rng.permutation(len(persona.facts)).tolist()
        return Persona(tuple(persona.facts[i] for i in order)), order

    persona, order = mixed(dialogue.persona)
    place = {old: new for new, old in enumerate(order)}
    turns = tuple(
        t if not t.facts else dataclasses.replace(t, facts=tuple(place[fact] for fact in t.facts)) for t in dialogue.turns
    )
    return Dialogue(turns, persona, mixed(dialogue.partner_persona)[0], dialogue.source)


def asked(dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
    """The dialogue with half of its lines replaced by a grammar question after a random goal, reacting to the reply before.

    So that a goal is carried out whatever was talked about: people's dialogues have few goals, the grammar's no small talk.
    The replies that follow do not answer such lines; only lines are to be learnt from it.
    """
    turns: list[Turn] = []
    for turn in dialogue.turns:
        if rng.random() < 0.5:
            goal = int(rng.integers(len(DEFAULT_GOALS)))
            line = grammar.question(rng, goal, (turns[-1].reply or "") if turns else "")
            turn = Turn(line, turn.reply, (DEFAULT_GOALS.goals[goal],))
        turns.append(turn)
    return dataclasses.replace(dialogue, turns=tuple(turns))


def rarer_words(dialogues: Mapping[str, Sequence[Dialogue]]) -> tuple[str, ...]:
    """The words of all corpora but the `COMMON` commonest, in alphabetic order."""
    counted = Counter(word for text in texts(dialogues) for word in _WORD.findall(text))
    ordered = sorted(counted, key=lambda word: (-counted[word], word))
    return tuple(sorted(ordered[COMMON:]))


def reworded(dialogue: Dialogue, words: Sequence[str], rng: np.random.Generator) -> Dialogue:
    """The dialogue with every rarer word of its persona replaced by another, the same one wherever the word is said.

    A corpus names a few thousand things. A model that reads no others learns to say them by heart, and garbles a persona's
    word that it never read; this way any word may have to be copied.

    Args:
        dialogue: with the personas' words in its replies.
        words: what `rarer_words` gives, in order.
        rng: of the draws.
    """
    if dialogue.persona is None:
        return dialogue
    named = {word for fact in dialogue.persona.facts for word in _WORD.findall(fact)}
    known = sorted(word for word in named if (at := bisect_left(words, word)) < len(words) and words[at] == word)
    if not known:
        return dialogue
    renamed = {word: words[int(rng.integers(len(words)))] for word in known}
    pattern = re.compile(rf"\b({'|'.join(known)})(?=s?\b)")  # and its plural

    def fix(text: str) -> str:
        return pattern.sub(lambda found: renamed[found[0]], text)

    turns = tuple(
        dataclasses.replace(t, line=fix(t.line), reply=None if t.reply is None else fix(t.reply)) for t in dialogue.turns
    )
    persona = Persona(tuple(fix(fact) for fact in dialogue.persona.facts))
    return Dialogue(turns, persona, dialogue.partner_persona, dialogue.source)


def pieced(dialogues: Sequence[Dialogue], rng: np.random.Generator) -> Dialogue:
    """A dialogue put together from pieces of up to `PIECES` others, its persona from the facts of theirs.

    So that the fact asked for is found among any others: what was written names few personas, soon known by heart.
    A piece is two or three turns that follow each other, in which a reply states a fact (one, if that is a talk's last); one
    that brings too many facts is left out. Facts that nobody asks for are added from the same personas, up to `MOST_FACTS`.
    Only replies are to be learnt from it.

    Args:
        dialogues: with personas and with replies that state facts, `PIECES` or more; if no piece can be had, the first is it.
        rng: of the draws.
    """
    turns: list[Turn] = []
    facts: list[str] = []
    spare: list[str] = []
    for i in rng.choice(len(dialogues), PIECES, replace=False):
        dialogue = dialogues[i]
        assert dialogue.persona is not None
        known = dialogue.persona.facts
        begin = int(rng.choice([t for t, turn in enumerate(dialogue.turns) if turn.facts]))
        begin = max(0, begin - int(rng.integers(2)))  # with what was said before, as often as not
        piece = dialogue.turns[begin : begin + int(rng.integers(2, 4))]
        wanted = [known[fact] for fact in dict.fromkeys(fact for turn in piece for fact in turn.facts or ())]
        if len(facts) + len(set(wanted) - set(facts)) > MOST_FACTS or any(turn.reply is None for turn in piece):
            continue
        facts += [fact for fact in wanted if fact not in facts]
        turns += [
            t if t.facts is None else dataclasses.replace(t, facts=tuple(facts.index(known[fact]) for fact in t.facts))
            for t in piece
        ]
        spare += [fact for fact in known if fact not in wanted]
    if not turns:
        return dialogues[0]  # personas of many facts, all told at once
    added = list(dict.fromkeys(spare[i] for i in rng.permutation(len(spare)) if spare[i] not in facts))
    return Dialogue(tuple(turns), Persona(tuple((facts + added)[:MOST_FACTS])), None, "pieced")


def epoch_maker(
    mix: Mix, corpora: Mapping[str, Sequence[Dialogue]], tokenizer: Tokenizer, layout: str, max_tokens: int, seed: int
) -> Callable[[int], list[Example]]:
    """The examples of any epoch, as a function of its number.

    Args:
        mix: what an epoch is made of.
        corpora: the dialogues, by corpus name.
        tokenizer: makes the ids.
        layout: of the prompts.
        max_tokens: longest example.
        seed: of every draw.
    """
    words = rarer_words(corpora) if mix.reworded else ()

    def make(epoch: int) -> list[Example]:
        rng = np.random.default_rng([seed, epoch, 1])

        def choose(goals: tuple[str, ...]) -> str | None:
            return None if rng.random() < GOAL_DROPOUT else goals[int(rng.integers(len(goals)))]

        def replies(dialogue: Dialogue) -> list[Example]:
            if mix.reworded and rng.random() < mix.reworded:
                dialogue = reworded(dialogue, words, rng)
            return responder_examples(tokenizer, reordered(dialogue, rng), max_tokens)

        examples: list[Example] = []
        for name, dialogues in corpora.items():
            share = mix.shares.get(name, mix.other)
            for dialogue in _draw(dialogues, share.plain, share.limit, rng):
                examples += plain_examples(tokenizer, dialogue, max_tokens)
            for dialogue in _draw(dialogues, share.replies, share.limit, rng):
                examples += replies(stated_by_words(dialogue))
            telling = [d for d in dialogues if share.pieced and d.persona and any(turn.facts for turn in d.turns)]
            for _ in range(min(round(len(telling) * share.pieced), share.limit) if len(telling) >= PIECES else 0):
                examples += replies(pieced(telling, rng))
            for dialogue in _draw(dialogues, share.swapped, share.limit, rng):
                other = shifted(dialogue)
                if other is not None:
                    examples += replies(stated_by_words(other))
            for dialogue in _draw(dialogues, share.lines, share.limit, rng):
                labelled = weak_labels.label(dialogue)
                examples += line_examples(layout, tokenizer, reordered(labelled, rng), max_tokens, choose)
            for dialogue in _draw(dialogues, share.asked, share.limit, rng):
                labelled = asked(weak_labels.label(dialogue), rng)
                examples += line_examples(layout, tokenizer, reordered(labelled, rng), max_tokens, choose)
        for number in range(mix.grammar + mix.grammar_replies):
            shortest, longest = mix.grammar_turns
            turns = shortest if shortest == longest else int(rng.integers(shortest, longest + 1))
            dialogue = grammar.dialogue(rng, "train", turns)
            examples += replies(dialogue)
            if number >= mix.grammar:
                continue
            examples += line_examples(layout, tokenizer, reordered(dialogue, rng), max_tokens, choose)
        return examples

    return make


def watch_examples(
    corpora: Mapping[str, Sequence[Dialogue]], tokenizer: Tokenizer, max_tokens: int, limit: int = 60
) -> dict[str, list[Example]]:
    """Replies of dialogues never trained on, by corpus: what the loss is watched on.

    Held-out dialogues of the grammar are among them, once with the persona the replies were written for and once with
    another dialogue's: the difference tells whether replies use the persona.
    """
    rng = np.random.default_rng(0)
    written = [grammar.dialogue(rng, "held-out") for _ in range(limit)]
    bare = [dataclasses.replace(d, turns=tuple(dataclasses.replace(turn, facts=()) for turn in d.turns)) for d in written]
    mistaken = [dataclasses.replace(d, persona=other.persona) for d, other in zip(bare, bare[1:] + bare[:1], strict=True)]
    watched = {**corpora, "grammar": bare, "grammar with wrong personas": mistaken}
    return {
        name: [e for d in dialogues[:limit] for e in responder_examples(tokenizer, d, max_tokens)]
        for name, dialogues in watched.items()
    }
