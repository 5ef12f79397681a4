"""Personas, questions, answers and whole dialogues with exact labels, made of templates. Knows nothing of models or files.

Every fact says which goal's question elicits it and which words carry its value, so that it is certain, not guessed, which
goal a line carries out and which facts a reply reveals. Train and held-out facts are disjoint, by text and by value; some
words (names, animals, jobs, dishes, bands, ...) occur in held-out facts only. All chance comes from the generator handed in.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate, product
from zlib import crc32

import numpy as np

from convogym.dialogue import Dialogue, Persona, Turn
from convogym.errors import InputError, UnknownNameError
from convogym.goals import DEFAULT_GOALS
from convogym.grammar_templates import (
    ACKNOWLEDGEMENTS,
    ASKS_CLAUSE,
    ASKS_NOUN,
    CHATTER,
    DODGES,
    FINE_ENDS,
    FINES,
    FORMS,
    GENERAL_DECLINES,
    GREETINGS,
    HAPPY_PREFIXES,
    HELLO_BACKS,
    HELLOS,
    HOW_ARE_YOU,
    LEADS,
    LINKS,
    OPENERS,
    OWN_ENDS,
    PREFIXES,
    QUESTIONS_BACK,
    RESTATES,
    SOFT_OPENERS,
    TELLS,
    TOPICS,
    Form,
)
from convogym.grammar_words import CLOSED, IMPLIED, NUMBER_WORDS, OPEN, TENS
from convogym.text import contract

SPLITS = ("train", "held-out")
MAX_PER_ALTERNATIVE = 96  # facts made from one wording; more would drown the wordings with few slots
HELD_OUT_WORD = 8  # every eighth word of an open list is for held-out facts only
HELD_OUT_VALUE = 10  # one value in ten made of words that train facts use too
HELD_OUT_PLAIN = 6  # one in six wordings without any slot
MAX_TRIES = 12  # redraws of a reply that happens to state what it is not labelled with

_STOP_WORDS = frozenset("a an the and of to at in on with my".split())
_SLOT = re.compile(r"\{(?:([asw]) )?([a-z]+\d?)\}")
_TENS_AND_ONE = re.compile(rf"\b({'|'.join(TENS)})[- ]({'|'.join(NUMBER_WORDS[1:10])})\b")
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_DIGITS = {word: str(value) for value, word in enumerate(NUMBER_WORDS)} | {
    word: str(10 * value) for value, word in enumerate(TENS, start=2)
}
_IRREGULAR_PLURALS = {"mouse": "mice", "goldfish": "goldfish"}
_AN_EXCEPTIONS = ("uni", "us", "ukulele", "one")
_AN_NUMBERS = ("8", "11", "18")
_NEGATIVE_WORDS = frozenset("no not none nothing never don't can't isn't won't sorry hate allergic rather pass".split())


@dataclass(frozen=True)
class Fact:
    """One thing that is true of somebody, and how a talk gets to it."""

    text: str
    """first person, lower case, ends with a full stop"""
    goal: int
    """action code 0..10 of the goal whose question elicits it"""
    kind: str
    """its family, e.g. "pets.has"; two facts of one kind never meet in one persona"""
    keys: tuple[str, ...]
    """the words that carry its value; a reply that states it holds every one of them"""


@dataclass(frozen=True)
class _Entry:
    """A fact with what the grammar knows about it."""

    fact: Fact
    sign: str
    """of its `Form`"""
    answers: tuple[str, ...]
    """rephrased replies, slots filled, without full stop"""
    world: tuple[tuple[str, int], ...]
    """(attribute, bits of the values it allows)"""


@cache
def _alternatives(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|"))


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.random() * len(options))]


def _draw(rng: np.random.Generator, table: str) -> str:
    return _pick(rng, _alternatives(table))


# ---------------------------------------------------------------------------------------------------- words


@lru_cache(maxsize=1 << 16)
def _tokens(text: str) -> frozenset[str]:
    """The words of a text, numbers as digits, possessives without their ending."""
    text = _TENS_AND_ONE.sub(lambda match: str(int(_DIGITS[match[1]]) + int(_DIGITS[match[2]])), text.lower())
    words = (word.removesuffix("'s") for word in _WORD.findall(text))
    return frozenset(_DIGITS.get(word, word) for word in words)


@lru_cache(maxsize=1 << 16)
def _key_tokens(keys: tuple[str, ...]) -> frozenset[str]:
    return frozenset().union(*(_tokens(key) for key in keys))


def states(text: str, fact: Fact) -> bool:
    """Whether a text holds all keys of a fact as whole words; "2" and "two" are the same word."""
    return _key_tokens(fact.keys) <= _tokens(text)


def _with_article(phrase: str) -> str:
    is_an = phrase.startswith(_AN_NUMBERS) or (phrase[0] in "aeiou" and not phrase.startswith(_AN_EXCEPTIONS))
    return f"{'an' if is_an else 'a'} {phrase}"


def _plural(phrase: str) -> str:
    if phrase in _IRREGULAR_PLURALS:
        return _IRREGULAR_PLURALS[phrase]
    if phrase.endswith("y") and phrase[-2] not in "aeiou":
        return phrase[:-1] + "ies"
    return phrase + ("es" if phrase.endswith(("s", "x", "ch", "sh")) else "s")


def _number_word(digits: str) -> str:
    tens, ones = divmod(int(digits), 10)
    if tens < 2:
        return NUMBER_WORDS[int(digits)]
    return TENS[tens - 2] + (f"-{NUMBER_WORDS[ones]}" if ones else "")


_MODIFIERS: dict[str, Callable[[str], str]] = {"a": _with_article, "s": _plural, "w": _number_word}


def _fill(template: str, slots: dict[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        modifier, name = match.groups()
        return _MODIFIERS[modifier](slots[name]) if modifier else slots[name]

    return _SLOT.sub(value, template)


def _slot_names(template: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for _, name in _SLOT.findall(template)))


# ---------------------------------------------------------------------------------------------------- facts

# Kinds that each tell of the same thing, so that two of them in one persona would contradict each other.
_RIVALS: dict[str, str] = {
    kind: f"{group}:{kind}"
    for group, kinds in {
        "kidset": "kids.has kids.age kids.school kids.sport kids.grown kids.parent kids.step kids.foster kids.none kids.never "
        "kids.want kids.expecting",
        "petset": "pets.none pets.want pets.fear pets.allergic",
        "jobset": "work.job work.place work.own",
    }.items()
    for kind in kinds.split()
}
_HOME_OR_AWAY = frozenset({"travel.want", "kids.grown", "marital.dating"})  # name a place that the speaker may never have seen
_ALL_BITS = (1 << 96) - 1


@cache
def _bit(attribute: str, value: str) -> int:
    """A bit for one value of an attribute; ages are their own bit numbers."""
    if value.isdigit():
        return 1 << int(value)
    known = _VALUES.setdefault(attribute, [])
    known.append(value)
    return 1 << (len(known) - 1)


_VALUES: dict[str, list[str]] = {}


def _world(description: str) -> dict[str, int]:
    """Reads "kids:has age:27-85" into allowed bits per attribute."""
    world: dict[str, int] = {}
    for item in description.split():
        attribute, _, allowed = item.partition(":")
        low, _, high = allowed.partition("-")
        if low.isdigit():
            bits = sum(1 << age for age in range(int(low), int(high or low) + 1))
        else:
            bits = sum(_bit(attribute, value) for value in allowed.split("|"))
        world[attribute] = world.get(attribute, _ALL_BITS) & bits
    return world


def _world_of(form: Form, goal: int, slots: dict[str, str]) -> tuple[tuple[str, int], ...]:
    items = [_fill(form.world, slots), _RIVALS.get(form.kind, "")]
    items += [IMPLIED.get(value, "") for value in slots.values()]
    if "job:employed" in form.world and "age:" not in form.world:
        items.append("age:20-70")
    if goal == 6:
        items.append("leisure:none" if form.kind == "hobbies.none" else "leisure:some")
    if goal == 9 and "ears:" not in form.world:
        items.append("ears:yes")
    if form.kind not in _HOME_OR_AWAY and any(name.rstrip("2") in ("city", "country", "region") for name in slots):
        items.append("roam:yes")
    return tuple(_world(" ".join(items)).items())


@cache
def _held_out_words() -> frozenset[str]:
    """Values kept out of train facts; "wife clara" goes with "clara"."""
    names = {name for slot in ("girl", "boy") for name in OPEN[slot][HELD_OUT_WORD - 1 :: HELD_OUT_WORD]}
    words = set(names)
    for slot, values in OPEN.items():
        if slot in ("child", "spouse", "lover", "fiance"):
            words.update(value for value in values if value.split()[-1] in names)
        elif slot not in ("girl", "boy"):
            words.update(values[HELD_OUT_WORD - 1 :: HELD_OUT_WORD])
    return frozenset(words)


def _slot_values(name: str) -> tuple[str, ...]:
    name = name.rstrip("2")
    return OPEN[name] if name in OPEN else CLOSED[name]


def _slot_fillings(template: str) -> list[dict[str, str]]:
    """All fillings of a template's slots, or a fixed choice of `MAX_PER_ALTERNATIVE` of them."""
    names = _slot_names(template)
    values = [_slot_values(name) for name in names]
    total = int(np.prod([len(choices) for choices in values])) if names else 1
    if total <= MAX_PER_ALTERNATIVE:
        rows: Iterable[tuple[str, ...]] = product(*values)
    else:
        rng = np.random.default_rng(crc32(template.encode()))  # fixed: the table of facts is the same everywhere
        drawn = rng.random((MAX_PER_ALTERNATIVE, len(names)))
        if len(names) == 1:
            rows = [(values[0][index],) for index in np.sort(rng.permutation(total)[:MAX_PER_ALTERNATIVE])]
        else:
            rows = [tuple(choices[int(u * len(choices))] for choices, u in zip(values, row, strict=True)) for row in drawn]
    return [dict(zip(names, row, strict=True)) for row in rows if len(set(row)) == len(row)]


def _is_held_out(text: str, kind: str, keys: tuple[str, ...], slots: dict[str, str]) -> bool:
    if not slots:
        return crc32(text.encode()) % HELD_OUT_PLAIN == 0
    if any(value in _held_out_words() for value in slots.values()):
        return True
    value = " ".join(sorted(_key_tokens(keys)))
    return crc32(f"{kind} {value}".encode()) % HELD_OUT_VALUE == 0


def _entries_of(form: Form, goal: int) -> Iterable[tuple[bool, _Entry]]:
    """The facts of one form, each with whether it is held out."""
    wordings = _alternatives(form.facts)
    key_template = form.keys or " ".join(f"{{{name}}}" for name in _slot_names(wordings[0]))
    for wording in wordings:
        names = set(_slot_names(wording))
        answers = [answer for answer in _alternatives(form.answers) if set(_slot_names(answer)) <= names]
        for slots in _slot_fillings(wording):
            keys = tuple(word for word in _fill(key_template, slots).split() if word not in _STOP_WORDS)
            text = _fill(wording, slots) + "."
            is_held_out = _is_held_out(text, form.kind, keys, slots)
            if crc32(text.encode()) % 3 == 0:  # a third of the facts is spelled the contracted way
                text = contract(text)
            fact = Fact(text, goal, form.kind, keys)
            world = _world_of(form, goal, slots)
            yield is_held_out, _Entry(fact, form.sign, tuple(_fill(answer, slots) for answer in answers), world)


@cache
def _entries() -> dict[str, dict[str, _Entry]]:
    """All entries by split and text."""
    table: dict[str, dict[str, _Entry]] = {split: {} for split in SPLITS}
    for goal, forms in enumerate(FORMS):
        for form in forms:
            for is_held_out, entry in _entries_of(form, goal):
                split = SPLITS[is_held_out]
                if not any(entry.fact.text in entries for entries in table.values()):
                    table[split][entry.fact.text] = entry
    return table


def _entries_in(split: str) -> dict[str, _Entry]:
    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    return _entries()[split]


def _entry(fact: Fact) -> _Entry:
    for entries in _entries().values():
        if fact.text in entries:
            return entries[fact.text]
    raise InputError(f"`fact` must be one of this grammar's, got {fact.text!r}; take it from `facts` or `sample_persona`.")


@cache
def facts(split: str) -> tuple[Fact, ...]:
    """All distinct facts of a split, "train" or "held-out"."""
    return tuple(entry.fact for entry in _entries_in(split).values())


@dataclass(frozen=True)
class _Kinds:
    """The kinds of one topic, to draw from."""

    entries: tuple[tuple[_Entry, ...], ...]
    """of each kind"""
    cumulative: tuple[float, ...]
    """running sum of the kinds' weights"""

    def draw(self, rng: np.random.Generator) -> _Entry:
        kind = self.entries[bisect_right(self.cumulative, rng.random() * self.cumulative[-1])]
        return kind[int(rng.random() * len(kind))]


@cache
def _kinds(split: str) -> tuple[_Kinds, ...]:
    """The kinds of each topic; large kinds weigh more, but only as the square root of their size, at most 8 to 1."""
    grouped: list[dict[str, list[_Entry]]] = [{} for _ in TOPICS]
    for entry in _entries_in(split).values():
        grouped[entry.fact.goal].setdefault(entry.fact.kind, []).append(entry)
    return tuple(
        _Kinds(
            tuple(tuple(entries) for entries in kinds.values()),
            tuple(accumulate(2.0 + min(14.0, len(entries) ** 0.5) for entries in kinds.values())),
        )
        for kinds in grouped
    )


def _agrees(new: Fact, known: Sequence[Fact]) -> bool:
    """Whether a fact is of another kind than those known, and neither states the other, nor shares a key on one topic."""
    for fact in known:
        if fact.kind == new.kind or states(fact.text, new) or states(new.text, fact):
            return False
        if fact.goal == new.goal and _key_tokens(fact.keys) & _key_tokens(new.keys):
            return False
    return True


def sample_persona(rng: np.random.Generator, split: str, num_facts: int | None = None) -> tuple[Fact, ...]:
    """Draws facts that can all be true of one person.

    Args:
        rng: where all chance comes from.
        split: "train" or "held-out".
        num_facts: 1..11; None draws 3, 4 or 5.

    Returns:
        The facts, mostly one a topic.
    """
    if num_facts is None:
        num_facts = 3 + int(rng.random() * 3)
    if not 1 <= num_facts <= len(TOPICS):
        raise InputError(f"`num_facts` must be in 1..{len(TOPICS)}, got {num_facts}.")
    kinds = _kinds(split)
    persona: list[Fact] = []
    world: dict[str, int] = {}
    while len(persona) < num_facts:
        used = [fact.goal for fact in persona]
        free = [goal for goal in range(len(TOPICS)) if goal not in used]
        pool = used if not free or (used and rng.random() < 0.12) else free
        entry = kinds[pool[int(rng.random() * len(pool))]].draw(rng)
        if not _agrees(entry.fact, persona):
            continue
        if all(world.get(attribute, _ALL_BITS) & bits for attribute, bits in entry.world):
            persona.append(entry.fact)
            for attribute, bits in entry.world:
                world[attribute] = world.get(attribute, _ALL_BITS) & bits
    return tuple(persona)


# ---------------------------------------------------------------------------------------------------- speech


@cache
def _questions(goal: int) -> tuple[str, ...]:
    return tuple(question.removeprefix("+") for question in _alternatives(TOPICS[goal].questions))


@cache
def _polar_questions(goal: int) -> frozenset[str]:
    return frozenset(question[1:] for question in _alternatives(TOPICS[goal].questions) if question[0] == "+")


def _is_polar(line: str, goal: int) -> bool:
    """Whether a line ends on a question about the topic that yes or no answers."""
    return any(line.endswith(question) for question in _polar_questions(goal))


def _is_negative(text: str) -> bool:
    return not _NEGATIVE_WORDS.isdisjoint(_tokens(text))


def _bare_question(rng: np.random.Generator, goal: int) -> str:
    """A question without anything around it."""
    way = rng.random()
    if way < 0.6:
        return _pick(rng, _questions(goal))
    if way < 0.78:
        return _draw(rng, ASKS_NOUN).replace("{x}", _draw(rng, TOPICS[goal].nouns))
    return _draw(rng, ASKS_CLAUSE).replace("{x}", _draw(rng, TOPICS[goal].clauses))


def _is_asking_back(reply: str) -> bool:
    return reply.endswith(_alternatives(QUESTIONS_BACK))


def _opener(rng: np.random.Generator, previous: str, cheers: str | None) -> str:
    """What one says before the next question, "" about half the time."""
    if not previous:
        return _draw(rng, GREETINGS) if rng.random() < 0.35 else ""
    if _is_asking_back(previous):
        return _draw(rng, DODGES) if rng.random() < 0.6 else ""
    if rng.random() < 0.45:
        return ""
    if _is_negative(previous) or previous.endswith("?"):
        return _draw(rng, SOFT_OPENERS)
    return _draw(rng, cheers if cheers and rng.random() < 0.5 else OPENERS)


def _line(rng: np.random.Generator, goal: int, opener: str, own: str | None) -> str:
    """Puts opener, self-disclosure and question together."""
    asked = _bare_question(rng, goal)
    if opener and not own and asked in _questions(goal) and rng.random() < 0.3:
        asked = f"{_draw(rng, LINKS)} {asked}"
    return " ".join(part for part in (opener, own, asked) if part)


def question(rng: np.random.Generator, goal: int, previous: str = "", own: str | None = None) -> str:
    """Says a line that carries out a goal.

    Args:
        rng: where all chance comes from.
        goal: action code 0..10.
        previous: the reply before it, which the line may react to; "" = it opens the talk.
        own: what the speaker tells about themselves before asking ("i have a cat myself."), None = nothing.
    """
    if not 0 <= goal < len(TOPICS):
        raise InputError(f"`goal` must be in 0..{len(TOPICS) - 1}, got {goal}.")
    opener = "" if own and _is_asking_back(previous) else _opener(rng, previous, None)
    return _line(rng, goal, opener, own)


def _sentence(rng: np.random.Generator, body: str) -> str:
    return body + ("!" if rng.random() < 0.06 else ".")


def _body(rng: np.random.Generator, entry: _Entry) -> str:
    """The revealing clause: the fact's own words in three of five cases."""
    if entry.answers and rng.random() < 0.42:
        return _pick(rng, entry.answers)
    body = entry.fact.text[:-1]
    return contract(body + ".")[:-1] if rng.random() < 0.4 else body


def answer(rng: np.random.Generator, fact: Fact, line: str = "") -> str:
    """Says a reply that reveals a fact.

    Args:
        rng: where all chance comes from.
        fact: one of this grammar's.
        line: the question it answers; lets the reply begin with "yes" or "no" where that fits.
    """
    entry = _entry(fact)
    reply = _body(rng, entry)
    if entry.sign != "0" and _is_polar(line, fact.goal) and rng.random() < 0.7:
        reply = f"{_draw(rng, 'yes, | yes, | yeah, | yep,' if entry.sign == '+' else 'no, | no, | nope,')} {reply}"
    elif rng.random() < 0.3:
        reply = f"{_draw(rng, HAPPY_PREFIXES if entry.sign == '+' and rng.random() < 0.25 else PREFIXES)} {reply}"
    reply = _sentence(rng, reply) if entry.sign == "+" else f"{reply}."
    if entry.sign == "+" and rng.random() < 0.2:
        reply = f"{reply} {_draw(rng, TOPICS[fact.goal].tails)}."
    if rng.random() < 0.15:
        reply = f"{reply} {_draw(rng, QUESTIONS_BACK)}"
    return reply


def decline(rng: np.random.Generator, goal: int, persona: Sequence[Fact]) -> str:
    """Says a reply to a goal's question that reveals no fact of the persona and commits to nothing."""
    reply = ""
    for _ in range(MAX_TRIES):
        reply = _draw(rng, GENERAL_DECLINES if rng.random() < 0.5 else TOPICS[goal].declines)
        if rng.random() < 0.12 and not reply.startswith(("oh,", "hmm,", "ah,", "sorry,")):
            reply = f"{_draw(rng, 'hmm, | oh, | well, | ah,')} {reply}"
        if rng.random() < 0.15 and not reply.endswith("?"):
            reply = f"{reply} {_draw(rng, QUESTIONS_BACK)}"
        if not any(states(reply, fact) for fact in persona):
            break
    return reply


def small_talk(rng: np.random.Generator) -> tuple[str, str]:
    """Says an unsteered line and a reply to it that reveals nothing."""
    if rng.random() < 0.25:
        line, replies = CHATTER[int(rng.random() * len(CHATTER))]
        return line, _draw(rng, replies)
    if rng.random() < 0.15:
        return _draw(rng, HELLOS), f"{_draw(rng, 'hi! | hello! | hey there. | hi, nice to meet you. | oh, hello.')}"
    line = f"{_draw(rng, HELLOS)} {_draw(rng, HOW_ARE_YOU)}"
    reply = f"{_draw(rng, HELLO_BACKS)} {_draw(rng, FINES)} {_draw(rng, FINE_ENDS)}"
    return line, " ".join(reply.split())


def statement(rng: np.random.Generator, fact: Fact) -> str:
    """Says a fact of one's own as an unsteered line."""
    return f"{_draw(rng, TELLS)} {fact.text}" if rng.random() < 0.6 else fact.text


# ---------------------------------------------------------------------------------------------------- dialogues


def _stated(reply: str, persona: Sequence[Fact]) -> tuple[int, ...]:
    return tuple(index for index, fact in enumerate(persona) if states(reply, fact))


def _reveal(rng: np.random.Generator, persona: Sequence[Fact], wanted: Sequence[int], line: str, is_known: bool) -> str:
    """A reply that states the wanted facts, the first of them as the answer to the line."""
    reply = answer(rng, persona[wanted[0]], line if not is_known else "")
    if is_known:
        reply = f"{_draw(rng, RESTATES)} {_body(rng, _entry(persona[wanted[0]]))}."
    for index in wanted[1:]:
        if not _is_asking_back(reply):
            reply = f"{reply} {_draw(rng, LEADS)} {persona[index].text}"
        else:
            reply = f"{persona[wanted[0]].text} {_draw(rng, LEADS)} {persona[index].text}"
    return reply


def _labelled_reply(
    rng: np.random.Generator,
    persona: Sequence[Fact],
    goal: int,
    wanted: Sequence[int],
    line: str,
    is_known: bool,
    said: Container[str],
) -> tuple[str, tuple[int, ...]]:
    """A reply, not yet said if possible, and exactly the facts it states."""
    label = tuple(sorted(wanted))
    reply = ""
    for _ in range(MAX_TRIES):
        reply = _reveal(rng, persona, wanted, line, is_known) if wanted else decline(rng, goal, persona)
        if reply not in said and _stated(reply, persona) == label:
            return reply, label
    if wanted:
        reply = persona[wanted[0]].text
    return reply, _stated(reply, persona)


class _Talk:
    """A dialogue in the making: what was asked, what was revealed, what was said last."""

    def __init__(self, rng: np.random.Generator, persona: tuple[Fact, ...], partner: tuple[Fact, ...]) -> None:
        self.rng = rng
        self.persona = persona
        self.partner = partner
        self.revealed: set[int] = set()
        self.told: set[int] = set()
        self.asked: set[int] = set()
        self.said: set[str] = set()
        self.turns: list[Turn] = []
        self.last_goal: int | None = None

    @property
    def previous(self) -> str:
        return self.turns[-1].reply or "" if self.turns else ""

    def choose_goal(self) -> int:
        """Topics of the persona more often than others, asked ones rarely."""
        open_topics = {fact.goal for index, fact in enumerate(self.persona) if index not in self.revealed}
        weights = (
            (4.5 if goal in open_topics else 1.0) * (0.12 if goal in self.asked else 1.0) for goal in range(len(TOPICS))
        )
        cumulative = list(accumulate(weights))
        return bisect_right(cumulative, self.rng.random() * cumulative[-1])

    def own_words(self, goal: int, is_asked: bool) -> str | None:
        """What the goal speaker tells of themselves on a topic, if there is anything not told yet."""
        for index, fact in enumerate(self.partner):
            if fact.goal == goal and index not in self.told:
                self.told.add(index)
                return _body(self.rng, _entry(fact)) + "." if is_asked else fact.text
        return None

    def chat(self) -> bool:
        """Adds an unsteered turn, if chance or the talk's beginning wants one."""
        rng = self.rng
        if rng.random() >= (0.35 if not self.turns else 0.07):
            return False
        untold = [index for index in range(len(self.partner)) if index not in self.told]
        if self.turns and untold and rng.random() < 0.5:
            self.told.add(untold[0])
            line, reply = statement(rng, self.partner[untold[0]]), _draw(rng, ACKNOWLEDGEMENTS)
        elif self.turns:
            line, replies = CHATTER[int(rng.random() * len(CHATTER))]
            if line in self.said:
                return False
            reply = _draw(rng, replies)
        else:
            line, reply = small_talk(rng)
        self.turns.append(Turn(line, reply, (), _stated(reply, self.persona)))
        self.said.add(line)
        self.last_goal = None
        return True

    def compose_line(self, goal: int) -> str:
        """The goal speaker's next line: reacts, tells of themselves where asked or by chance, and asks."""
        rng, previous, last_goal = self.rng, self.previous, self.last_goal
        if last_goal is None:  # small talk came before, or nothing
            own = self.own_words(goal, False) if previous and rng.random() < 0.2 else None
            if previous.endswith("?"):
                opener = _draw(rng, FINES)
            elif previous:
                opener = _draw(rng, OPENERS) if rng.random() < 0.4 else ""
            else:
                opener = _opener(rng, "", None)
            return _line(rng, goal, opener, own)
        if _is_asking_back(previous):
            own = self.own_words(last_goal, True)
            return _line(rng, goal, "" if own else _opener(rng, previous, None), own)
        own = self.own_words(goal, False) if rng.random() < 0.25 else None
        is_good_news = any(_entry(self.persona[index]).sign == "+" for index in self.turns[-1].facts or ())
        opener = _opener(rng, previous, TOPICS[last_goal].cheers if is_good_news else None)
        if opener and not self.turns[-1].facts:
            opener = _draw(rng, SOFT_OPENERS)
        if own and rng.random() < 0.2:
            return " ".join(part for part in (opener, _bare_question(rng, goal), own, _draw(rng, OWN_ENDS)) if part)
        return _line(rng, goal, opener, own)

    def ask(self) -> None:
        """Adds a steered turn."""
        goal = self.choose_goal()
        told = frozenset(self.told)
        line = self.compose_line(goal)
        for _ in range(MAX_TRIES):
            if not any(line.endswith(earlier) or earlier.endswith(line) for earlier in self.said):
                break
            self.told = set(told)
            line = self.compose_line(goal)
        on_topic = [index for index, fact in enumerate(self.persona) if fact.goal == goal]
        fresh = [index for index in on_topic if index not in self.revealed]
        wanted = fresh[:1] or on_topic[:1]
        if fresh and self.rng.random() < 0.1:
            others = [index for index in range(len(self.persona)) if index not in self.revealed and index not in wanted]
            wanted = wanted + (fresh[1:2] or others[:1])
        is_known = bool(wanted) and not fresh
        reply, label = _labelled_reply(self.rng, self.persona, goal, wanted, line, is_known, self.said)
        self.turns.append(Turn(line, reply, (DEFAULT_GOALS.text(goal),), label))
        self.said.update((line, reply))
        self.revealed.update(label)
        self.asked.add(goal)
        self.last_goal = goal


def dialogue(rng: np.random.Generator, split: str, num_turns: int = 8) -> Dialogue:
    """Makes a labelled dialogue.

    Args:
        rng: where all chance comes from.
        split: "train" or "held-out"; both personas come from it.
        num_turns: at least 1.

    Returns:
        A dialogue with a persona, a partner persona in most cases, and the exact `goals` and `facts` of every turn.
    """
    if num_turns < 1:
        raise InputError(f"`num_turns` must be at least 1, got {num_turns}.")
    persona = sample_persona(rng, split)
    partner = sample_persona(rng, split) if rng.random() < 0.7 else ()
    talk = _Talk(rng, persona, partner)
    while len(talk.turns) < num_turns:
        if not talk.chat():
            talk.ask()
    return Dialogue(
        tuple(talk.turns),
        Persona(tuple(fact.text for fact in persona)),
        Persona(tuple(fact.text for fact in partner)) if partner else None,
        "grammar",
    )
