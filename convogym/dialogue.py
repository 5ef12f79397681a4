"""What is said and by whom it is said: `Persona`, `Turn`, `Dialogue`. Knows nothing of tokens, models or files.

A dialogue has two speakers. Speaker 1, the *goal speaker*, says a *line*; speaker 2, the *responder*, says a *reply*; the two
make a *turn*.
"""

from __future__ import annotations

from dataclasses import dataclass

from convogym.errors import InputError

MAX_FACTS = 20  # Persona-Chat has 3-5; more than this does not fit before a talk in a 512-token context
MAX_FACT_CHARS = 300
MAX_UTTERANCE_CHARS = 2000


def check_text(text: str, name: str, limit: int) -> str:
    """Refuses what no utterance or fact can be; any other text, control-token look-alikes and emoji included, is plain text.

    Args:
        text: what somebody wrote.
        name: what it is, for the message.
        limit: the largest number of characters allowed.

    Returns:
        The text, unchanged.

    Raises:
        InputError: it is blank, too long, or holds a null byte or half a character (a lone surrogate).
    """
    if not isinstance(text, str):
        raise InputError(f"{name} must be text, got {type(text).__name__}.")
    if not text.strip():
        raise InputError(f"{name} must not be blank, got {text[:40]!r}.")
    if len(text) > limit:
        raise InputError(f"{name} must have at most {limit} characters, got {len(text)}; shorten it.")
    if "\0" in text:
        raise InputError(f"{name} must not hold null bytes, got {text[:40]!r}.")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise InputError(f"{name} must be text that UTF-8 can hold, got a lone surrogate in {text[:40]!r}.")
    return text


@dataclass(frozen=True)
class Persona:
    """Who somebody is: a few facts in the first person."""

    facts: tuple[str, ...]
    """1..MAX_FACTS sentences ("i have two dogs."), 3-5 in Persona-Chat"""

    def __post_init__(self) -> None:
        """Checks the number of facts and each fact's text."""
        if not 1 <= len(self.facts) <= MAX_FACTS:
            raise InputError(f"a persona must have 1..{MAX_FACTS} facts, got {len(self.facts)}.")
        for fact in self.facts:
            check_text(fact, "a persona fact", MAX_FACT_CHARS)


@dataclass(frozen=True)
class Turn:
    """A line and the reply to it, with what is known about both."""

    line: str
    """what speaker 1 said"""
    reply: str | None
    """what speaker 2 answered; None only where a dialogue ends on a line"""
    goals: tuple[str, ...] | None = None
    """texts of the goals the line carries out; () = it carries out none; None = nobody labelled it"""
    facts: tuple[int, ...] | None = None
    """0-based facts of the responder's persona that the reply reveals; None = nobody labelled it"""
    candidates: tuple[str, ...] | None = None
    """replies to choose from, the true one among them, where the corpus gives such a list (ConvAI2 has 20)"""


@dataclass(frozen=True)
class Dialogue:
    """A talk of two speakers, speaker 1 first."""

    turns: tuple[Turn, ...]
    """at least one turn"""
    persona: Persona | None = None
    """the responder's (speaker 2's); None = unknown"""
    partner_persona: Persona | None = None
    """the goal speaker's (speaker 1's); None = unknown"""
    source: str = ""
    """the corpus it comes from"""

    def __post_init__(self) -> None:
        """Checks that only the last turn lacks a reply and that revealed facts exist."""
        if not self.turns:
            raise InputError("a dialogue must have at least one turn, got none.")
        for turn in self.turns[:-1]:
            if turn.reply is None:
                raise InputError("only the last turn of a dialogue may lack a reply.")
        known = len(self.persona.facts) if self.persona else 0
        for turn in self.turns:
            if any(not 0 <= fact < known for fact in turn.facts or ()):
                raise InputError(f"a reply reveals facts {turn.facts}, but the persona has {known}.")

    @property
    def utterances(self) -> tuple[str, ...]:
        """All that was said, in order: line, reply, line, reply, ..."""
        said: list[str] = []
        for turn in self.turns:
            said.append(turn.line)
            if turn.reply is not None:
                said.append(turn.reply)
        return tuple(said)

    @staticmethod
    def from_utterances(
        utterances: tuple[str, ...],
        persona: Persona | None = None,
        partner_persona: Persona | None = None,
        source: str = "",
    ) -> Dialogue:
        """Makes an unlabelled dialogue of alternating utterances, speaker 1 first."""
        turns = tuple(
            Turn(utterances[i], utterances[i + 1] if i + 1 < len(utterances) else None) for i in range(0, len(utterances), 2)
        )
        return Dialogue(turns, persona, partner_persona, source)
