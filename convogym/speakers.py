"""What the environment asks of whoever speaks: the `Speaker` protocol, its request and its answer. Holds no speaker itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

HUMAN = "human"  # the name in records of a speaker or policy that is a person


@dataclass(frozen=True)
class Request:
    """What one speaker of one conversation is asked to say next."""

    slot: int
    """which conversation, 0..: stays the same while it lasts, so that a speaker can keep what it computed for it"""
    persona: tuple[str, ...]
    """the facts of the speaker who speaks; () = none known"""
    history: tuple[str, ...]
    """what was said so far, speaker 1 first; even length = speaker 1 speaks next, odd = speaker 2"""
    goals: tuple[str | None, ...]
    """goal of every line so far, and last of all that of the line to be spoken; () when speaker 2 speaks"""
    noise: npt.NDArray[np.float64] = field(repr=False)
    """uniform numbers in [0, 1), shape (max_tokens,), one for each token at most: all the randomness a speaker may use"""
    heard: Callable[[str], None] | None = field(default=None, repr=False, compare=False)
    """told all that was said so far, after every token, by whoever speaks so; changes nothing in what is said; must not raise
    and must not wait"""


@dataclass(frozen=True)
class Utterance:
    """What was said, and what the environment wants to know about it."""

    text: str
    """never blank"""
    tokens: int
    """how many tokens were generated, the end-of-utterance one included"""
    features: npt.NDArray[np.float32] = field(repr=False)
    """shape (feature_size,): mean of the last hidden states that predicted these tokens, entries of about unit size"""
    log_prob: float
    """natural log-probability of the tokens before top-k and top-p, among those that may be said; 0 where it has none"""
    is_empty: bool = False
    """the speaker said nothing; `text` is then "..." """
    is_cut_off: bool = False
    """the bound on length ended the utterance"""
    is_context_dropped: bool = False
    """the oldest turns did not fit in the speaker's context any more"""


class Speaker(Protocol):
    """Says the next utterance in many conversations at once."""

    @property
    def name(self) -> str:
        """What it is called in records."""

    @property
    def feature_size(self) -> int:
        """The length of `Utterance.features`."""

    @property
    def max_tokens(self) -> int:
        """The longest utterance, in tokens; the length of `Request.noise`."""

    def speak(self, requests: Sequence[Request]) -> list[Utterance]:
        """Answers every request, in order. An answer depends on its request alone, not on those beside it."""

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Mean last hidden state of each text standing alone, shape (len(texts), feature_size)."""


def exchange(
    goal_speaker: Speaker, responder: Speaker, requests: Sequence[Request], reply_request: Callable[[int, str], Request]
) -> tuple[list[Utterance], list[Utterance]]:
    """A line in each conversation and the reply to it.

    A speaker for both sides that has a method `exchange` of its own may begin replies before all lines are said, which is
    faster; what is said does not depend on it.

    Args:
        goal_speaker: says the lines.
        responder: says the replies; may be the same object.
        requests: of the lines.
        reply_request: what is asked for after the line of the n-th request, given its text.
    """
    own = getattr(goal_speaker, "exchange", None)
    if own is not None and goal_speaker is responder:
        lines, replies = own(requests, reply_request)
        return lines, replies
    lines = goal_speaker.speak(requests)
    return lines, responder.speak([reply_request(place, line.text) for place, line in enumerate(lines)])


class GoalJudge(Protocol):
    """Says which goals a line carries out."""

    def probabilities(self, previous: Sequence[str], lines: Sequence[str]) -> npt.NDArray[np.float64]:
        """Chance that each line carries out each of the eleven published goals, shape (len(lines), 11), in 0..1.

        Args:
            previous: the utterance before each line, "" where it opens the talk.
            lines: the lines to judge.
        """


class PersonaMatcher(Protocol):
    """Says which persona a reply speaks for."""

    def evidence(
        self, turns: Sequence[tuple[str, str]], personas: Sequence[Sequence[Sequence[str]]]
    ) -> list[npt.NDArray[np.float64]]:
        """Log-likelihood of one turn's reply under each candidate persona, up to a constant per turn.

        Args:
            turns: (line, reply) pairs.
            personas: for each pair, its candidate personas, each a sequence of facts.

        Returns:
            For each pair an array of shape (number of its candidates,). Summed over the turns of a talk and put through a
            softmax, it gives the posterior over the candidates.
        """


class ReplyScorer(Protocol):
    """Says how likely replies are."""

    def log_likelihoods(
        self, personas: Sequence[Sequence[str]], histories: Sequence[Sequence[str]], replies: Sequence[str]
    ) -> npt.NDArray[np.float64]:
        """The likelihood of each reply as the next thing speaker 2 says.

        Args:
            personas: the facts of speaker 2 for each reply; () = none known.
            histories: what was said before each, speaker 1 first, odd in number; () = nothing, the reply stands alone.
            replies: the replies.

        Returns:
            Shape (len(replies), 2): natural log-probability, end of utterance included, and number of tokens, at least 1.
        """
