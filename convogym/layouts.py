"""Turns a dialogue into token ids and says which of them are learnt. Knows both prompt layouts; knows nothing of models.

- `personagpt`: goal and persona in front (`<|act|>ask about pets.<|p1|><|sep|><|start|>` + history). For `af1tang/personaGPT`
  and models trained like it (`interact.py` and the model card of PersonaGPT).
- `inline`: the same header without the goal, once; the goal in place, right before the line it steers
  (`... reply<eos><|act|>ask about pets.<|sep|>line<eos>`). Nothing already said is ever encoded again.

In both, the responder reads `<|p2|>fact<eos>fact<eos><|sep|><|start|>` and then everything said, each utterance ended by one
eos. Facts, goals and utterances are encoded as plain text: nothing a person types can become a control token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from convogym.dialogue import Dialogue
from convogym.errors import InputError, UnknownNameError

SEP, START, P1, P2, ACT = "<|sep|>", "<|start|>", "<|p1|>", "<|p2|>", "<|act|>"
CONTROL_TOKENS = (SEP, "<|cls|>", START, P1, P2, ACT)  # in the id order of the published model: 50257..50262
LAYOUTS = ("personagpt", "inline")
KEPT = 4  # of a full context about 1 / KEPT is kept; with a half what is read anew doubles the cost of a long talk's turns


class Tokenizer(Protocol):
    """What a layout needs of a tokenizer."""

    @property
    def eos(self) -> int:
        """The id that ends an utterance."""

    def control(self, token: str) -> int:
        """The id of one of `CONTROL_TOKENS`."""

    def encode(self, text: str) -> Sequence[int]:
        """The ids of plain text; never those of eos or a control token."""


@dataclass(frozen=True)
class Prompt:
    """The ids after which a speaker speaks."""

    ids: tuple[int, ...]
    """token ids, at least one"""
    dropped_turns: int
    """how many of the oldest turns did not fit"""


@dataclass(frozen=True)
class Citation:
    """A reply of an example, and which of the tokens in front of it hold what it reveals."""

    start: int
    """0-based place of the reply's first token"""
    stop: int
    """place behind its last, the eos"""
    sources: tuple[tuple[int, int], ...]
    """start and stop of every fact it reveals; the example's first token for a reply that is known to reveal none"""


@dataclass(frozen=True)
class Example:
    """One causal pass of training."""

    ids: tuple[int, ...]
    """token ids, shape (T,)"""
    learnt: tuple[bool, ...]
    """shape (T,): True where the token is a target, i.e. part of the speaker's own utterances or the eos that ends one"""
    is_steered: bool
    """whether any target line carries out a goal that the prompt names"""
    citations: tuple[Citation, ...] = ()
    """of the replies whose facts are labelled (`Turn.facts`), in order"""

    def __post_init__(self) -> None:
        """Checks that both have one entry a token."""
        if len(self.ids) != len(self.learnt):
            raise InputError(f"`learnt` must have one entry a token, got {len(self.learnt)} for {len(self.ids)}.")


def check_layout(name: str) -> str:
    """The name, if it is one of `LAYOUTS`; raises `UnknownNameError` otherwise."""
    if name not in LAYOUTS:
        raise UnknownNameError("layout", name, LAYOUTS)
    return name


def _ended(tokenizer: Tokenizer, text: str) -> list[int]:
    return [*tokenizer.encode(text), tokenizer.eos]


def header(tokenizer: Tokenizer, speaker: str, facts: Sequence[str], goal: str | None = None) -> list[int]:
    """What stands before everything said.

    Args:
        tokenizer: makes the ids.
        speaker: `P1` or `P2`, the speaker who is going to speak.
        facts: that speaker's persona, () where unknown.
        goal: only in the `personagpt` layout: the goal of the line to come.
    """
    ids = [] if goal is None else [tokenizer.control(ACT), *tokenizer.encode(goal)]
    ids.append(tokenizer.control(speaker))
    for fact in facts:
        ids += _ended(tokenizer, fact)
    return [*ids, tokenizer.control(SEP), tokenizer.control(START)]


def goal_marker(tokenizer: Tokenizer, goal: str | None) -> list[int]:
    """The `inline` layout's `<|act|>goal<|sep|>`, empty where there is no goal."""
    return [] if goal is None else [tokenizer.control(ACT), *tokenizer.encode(goal), tokenizer.control(SEP)]


def prompt(
    layout: str,
    tokenizer: Tokenizer,
    persona: Sequence[str],
    history: Sequence[str],
    goals: Sequence[str | None],
    room: int,
) -> Prompt:
    """The ids after which the next utterance is spoken.

    Args:
        layout: one of `LAYOUTS`.
        tokenizer: makes the ids.
        persona: facts of the speaker who speaks.
        history: everything said, speaker 1 first. Even length: speaker 1 speaks next; odd: speaker 2.
        goals: the goal of every line so far and of the line to come (`len(history) // 2 + 1` of them) when speaker 1 speaks;
            ignored when speaker 2 does.
        room: the most ids the prompt may have. Where it would have more, the oldest turns are dropped until those that stay
            fill a quarter of what the header leaves (the last one stays if it fits at all), so that what was read has to be
            read anew rarely. The header always stays; a turn once dropped stays dropped.

    Raises:
        InputError: the number of goals is wrong, or header and last utterance alone do not fit.
    """
    check_layout(layout)
    is_line = len(history) % 2 == 0
    if is_line and len(goals) != len(history) // 2 + 1:
        raise InputError(f"`goals` must have {len(history) // 2 + 1} entries (one a line), got {len(goals)}.")
    inline = is_line and layout == "inline"
    speaker = P1 if is_line else P2
    bare = header(tokenizer, speaker, persona)
    head = header(tokenizer, speaker, persona, goals[-1]) if is_line and not inline else bare
    markers = [goal_marker(tokenizer, goal) for goal in goals] if is_line else []
    said = [tokenizer.encode(text) for text in history]
    turns = [len(said[i]) + 1 + (len(said[i + 1]) + 1 if i + 1 < len(said) else 0) for i in range(0, len(said), 2)]
    if inline:
        turns = [turn + len(marker) for turn, marker in zip(turns, markers, strict=False)]
    tail = markers[-1] if inline else []
    if is_line:  # a goal in the header lacks the <|sep|> of a marker
        asked = [len(marker) if inline else max(0, len(marker) - 1) for marker in markers]
    else:
        asked = [len(line) + 1 for line in said[::2]]
    dropped = _dropped(turns, asked, room - len(bare))
    if len(head) + sum(turns[dropped:]) + len(tail) > room:
        raise InputError(
            f"the persona and the last utterance need more than the {room} tokens this model can read; shorten one of them."
        )
    ids = list(head)
    for i in range(2 * dropped, len(said)):
        if inline and i % 2 == 0:
            ids += markers[i // 2]
        ids += said[i]
        ids.append(tokenizer.eos)
    return Prompt((*ids, *tail), dropped)


def _dropped(turns: Sequence[int], asked: Sequence[int], room: int) -> int:
    """How many of the oldest turns are left out, seen from the beginning of the talk.

    Args:
        turns: ids of each.
        asked: of each turn whose utterance was or is asked for, the ids in front of it besides the turns before.
        room: for both.
    """
    dropped = kept = 0  # turns, and the ids of those that are not
    for turn, own in enumerate(asked):
        if kept + own > room:
            while dropped < turn and (kept + own > room or (KEPT * (kept + own) > room and dropped < turn - 1)):
                kept -= turns[dropped]
                dropped += 1
        if turn < len(turns):
            kept += turns[turn]
    return dropped


class _Writer:
    """Collects ids and their mask."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.learnt: list[bool] = []

    def add(self, ids: Sequence[int], learnt: bool) -> None:
        self.ids += ids
        self.learnt += [learnt] * len(ids)

    def example(self, is_steered: bool, citations: Sequence[Citation] = ()) -> Example:
        return Example(tuple(self.ids), tuple(self.learnt), is_steered, tuple(citations))


def _windows(costs: Sequence[int], room: int) -> list[tuple[int, int]]:
    """Cuts turns into consecutive windows that cost at most `room` tokens; a turn that does not fit alone is left out."""
    windows: list[tuple[int, int]] = []
    start, used = 0, 0
    for i, cost in enumerate(costs):
        if used + cost > room:
            if i > start:
                windows.append((start, i))
            start, used = (i, 0) if cost <= room else (i + 1, 0)
        if cost <= room:
            used += cost
    if start < len(costs):
        windows.append((start, len(costs)))
    return windows


def responder_examples(tokenizer: Tokenizer, dialogue: Dialogue, max_tokens: int) -> list[Example]:
    """Speaker 2's view of a dialogue: every reply is a target, in one pass (or more, where `max_tokens` is too few for one).

    The same in both layouts: the responder never sees a goal.
    """
    facts = dialogue.persona.facts if dialogue.persona else ()
    head = header(tokenizer, P2, facts)
    spans = _fact_spans(tokenizer, facts)
    pairs = [(_ended(tokenizer, t.line), _ended(tokenizer, t.reply) if t.reply is not None else []) for t in dialogue.turns]
    examples = []
    for start, stop in _windows([len(a) + len(b) for a, b in pairs], max_tokens - len(head)):
        writer = _Writer()
        writer.add(head, False)
        citations = []
        for (line, reply), turn in zip(pairs[start:stop], dialogue.turns[start:stop], strict=True):
            writer.add(line, False)
            if reply and turn.facts is not None:
                place = len(writer.ids)
                sources = tuple(spans[fact] for fact in turn.facts) or ((0, 1),)
                citations.append(Citation(place, place + len(reply), sources))
            writer.add(reply, True)
        if any(writer.learnt):
            examples.append(writer.example(False, citations))
    return examples


def _fact_spans(tokenizer: Tokenizer, facts: Sequence[str]) -> list[tuple[int, int]]:
    """Where each fact stands in a responder's header, its eos left out."""
    spans, place = [], 1  # behind <|p2|>
    for fact in facts:
        length = len(tokenizer.encode(fact))
        spans.append((place, place + length))
        place += length + 1
    return spans


def line_examples(
    layout: str,
    tokenizer: Tokenizer,
    dialogue: Dialogue,
    max_tokens: int,
    choose_goal: Callable[[tuple[str, ...]], str | None],
) -> list[Example]:
    """Speaker 1's view of a dialogue: every line is a target.

    One pass in the `inline` layout; in `personagpt`, where the goal in front differs from line to line, one pass a line.

    Args:
        layout: one of `LAYOUTS`.
        tokenizer: makes the ids.
        dialogue: its `Turn.goals` say what each line carries out; unlabelled lines get no goal.
        max_tokens: the longest example.
        choose_goal: picks the goal to name of a line's goals (never empty), or None for none (goal dropout).
    """
    check_layout(layout)
    facts = dialogue.partner_persona.facts if dialogue.partner_persona else ()
    goals = [choose_goal(turn.goals) if turn.goals else None for turn in dialogue.turns]
    pairs = [(_ended(tokenizer, t.line), _ended(tokenizer, t.reply) if t.reply is not None else []) for t in dialogue.turns]
    examples = []
    if layout == "inline":
        head = header(tokenizer, P1, facts)
        markers = [goal_marker(tokenizer, goal) for goal in goals]
        costs = [len(m) + len(a) + len(b) for m, (a, b) in zip(markers, pairs, strict=True)]
        for start, stop in _windows(costs, max_tokens - len(head)):
            writer = _Writer()
            writer.add(head, False)
            for i in range(start, stop):
                writer.add(markers[i], False)
                writer.add(pairs[i][0], True)
                writer.add(pairs[i][1], False)
            examples.append(writer.example(any(goals[start:stop])))
        return examples
    for i, (line, _) in enumerate(pairs):
        head = header(tokenizer, P1, facts, goals[i])
        start = i
        used = len(head) + len(line)
        while start > 0 and used + len(pairs[start - 1][0]) + len(pairs[start - 1][1]) <= max_tokens:
            start -= 1
            used += len(pairs[start][0]) + len(pairs[start][1])
        if used > max_tokens:
            continue
        writer = _Writer()
        writer.add(head, False)
        for a, b in pairs[start:i]:
            writer.add(a, False)
            writer.add(b, False)
        writer.add(line, True)
        examples.append(writer.example(goals[i] is not None))
    return examples


def plain_examples(tokenizer: Tokenizer, dialogue: Dialogue, max_tokens: int) -> list[Example]:
    """A dialogue of which nothing is known but its words: both speakers' utterances are targets of one pass.

    Without personas and goals the two speakers' views differ in nothing, so reading it once teaches the same at half the cost.
    """
    head = header(tokenizer, P2, ())
    said = [_ended(tokenizer, text) for text in dialogue.utterances]
    examples = []
    for start, stop in _windows([len(ids) for ids in said], max_tokens - len(head)):
        writer = _Writer()
        writer.add(head, False)
        for ids in said[start:stop]:
            writer.add(ids, True)
        examples.append(writer.example(False))
    return examples
