"""What a policy sees of a talk: the observers, by name. Knows nothing of speakers, rewards or turns being taken.

An observer is a pure function of what happened so far, with the Gymnasium space its values lie in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from convogym.errors import UnknownNameError
from convogym.stating import ENOUGH, stated_share
from convogym.topics import topics

Observation = npt.NDArray[np.float32] | npt.NDArray[np.int64] | str

FEATURE_BOUND = 1000.0  # last hidden states of GPT-2-family models stay far below; what does not is clipped
ANSWERS = 0.65  # share of questions about a fact that get it stated, of an earlier persona-mini (experiments/LOG.md)
MAX_TEXT_CHARS = 16_384  # the newest end of a transcript longer than this is what "text" shows


class Belief(NamedTuple):
    """What the judge behind the `identification` reward believes of who somebody is."""

    candidates: tuple[tuple[str, ...], ...]
    """the facts of each persona in the line-up; nothing may be read from their order"""
    chances: npt.NDArray[np.float64]
    """shape (candidates,): how likely each is after the replies so far, summing to 1"""


@dataclass(frozen=True)
class Seen:
    """What happened in a talk so far, as far as a policy may ever know it."""

    state: npt.NDArray[np.float32] = field(repr=False)
    """shape (feature_size,): mean features of the replies so far; zeros before the first"""
    turn: int
    """the number of turns taken"""
    goal_counts: npt.NDArray[np.int64]
    """shape (n_goals,): how often each goal was taken"""
    utterances: tuple[str, ...]
    """what was said so far, the history given at reset included"""
    belief: Belief | None = None
    """the judge's; None where the reward has no `identification`"""
    line_goals: tuple[str | None, ...] = ()
    """goal of every line in `utterances`; None for the lines of the history"""


class Observer(Protocol):
    """Turns what happened so far in some talks into observations, each by itself: talks together only save time."""

    @property
    def space(self) -> spaces.Space[Any]:
        """The space of the observations."""

    def observe(self, seen: Sequence[Seen]) -> list[Observation]:
        """Makes a new observation of each talk, in order."""


class EmbeddingObserver:
    """`[state, turn / num_turns, goal_counts / num_turns]` as float32, length `feature_size + 1 + num_goals`.

    With a `feature_size` of 0 it is "goals": what was asked how often, and nothing of what was answered.
    """

    def __init__(self, feature_size: int, num_goals: int, num_turns: int) -> None:
        """Lays the vector out; features lie in +-`FEATURE_BOUND`, the rest in 0..1."""
        self._feature_size = feature_size
        self._num_turns = num_turns
        high = np.concatenate([np.full(feature_size, FEATURE_BOUND), np.ones(1 + num_goals)]).astype(np.float32)
        low = np.concatenate([np.full(feature_size, -FEATURE_BOUND), np.zeros(1 + num_goals)]).astype(np.float32)
        self._space = spaces.Box(low, high, dtype=np.float32)

    @property
    def space(self) -> spaces.Space[Any]:
        """A `Box`."""
        return self._space

    def observe(self, seen: Sequence[Seen]) -> list[Observation]:
        """Concatenates the three parts; the words themselves are not looked at."""
        return [vector(talk.state[: self._feature_size], talk, self._num_turns) for talk in seen]


class BeliefObserver:
    """`[doubt, surest, worth, share, turn / num_turns, goal_counts / num_turns]` as float32, length `3 + 3 num_goals`.

    What somebody knows who has the line-up of personas before them, the true one unmarked among the others, and chances p of
    each: `doubt`, the entropy of p over its largest; `surest`, the largest chance; `worth`, for each goal what its answer
    would tell on average, in nats over the logarithm of the line-up; `share`, for each goal the chance that its question is
    answered with a fact; both 0 for a goal taken already. With q the chance that a candidate states a fact on a goal when
    asked (`ANSWERS` times the chance to have one by `convogym.topics`), an answer shows the candidate itself with p q, or
    nothing: `share = sum p q` and `worth` is the mutual information of answer and candidate, `H({p q}, 1 - share) - sum p
    h(q)`, h the entropy of a yes or no (Lindley 1956, "On a measure of the information provided by an experiment").

    p is the judge's chances, times `1 - q` for every question that got no fact of anybody's in the line-up: the judge hears
    what a reply says, not what it leaves out, but who had something to say would more likely have said it. The order in which
    the line-up stands changes nothing.
    """

    def __init__(self, goals: Sequence[str], num_turns: int) -> None:
        """Takes the goals' texts and the turns of an episode."""
        self._goals = tuple(goals)
        self._num_turns = num_turns
        self._space = spaces.Box(0.0, 1.0, (3 + 3 * len(self._goals),), np.float32)

    @property
    def space(self) -> spaces.Space[Any]:
        """A `Box` of numbers in 0..1."""
        return self._space

    def observe(self, seen: Sequence[Seen]) -> list[Observation]:
        """Computes the four parts of each talk and appends what every observation ends with."""
        return [vector(self._summary(talk), talk, self._num_turns) for talk in seen]

    def _summary(self, seen: Seen) -> npt.NDArray[np.float64]:
        """`[doubt, surest, worth, share]`, shape (2 + 2 n,)."""
        assert seen.belief is not None, "`make_parts` sees to it that the reward has a judge"
        q = ANSWERS * np.array([_speaks_of(facts, self._goals) for facts in seen.belief.candidates])  # (K + 1, n)
        p = seen.belief.chances * self._silences(seen, q)  # (K + 1,)
        p = p / p.sum()
        q = q * (seen.goal_counts == 0)
        answers = p[:, None] * q
        share = answers.sum(axis=0)  # (n,)
        told = _surprise(answers).sum(axis=0) + _surprise(1 - share) - p @ (_surprise(q) + _surprise(1 - q))
        most = np.log(max(len(p), 2))
        parts = [[_surprise(p).sum() / most, p.max()], told / most, share]
        return np.asarray(np.clip(np.concatenate(parts), 0.0, 1.0), dtype=np.float64)

    def _silences(self, seen: Seen, q: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The chance of each candidate to have stated no fact where none was stated, shape (K + 1,).

        A goal counts once however often it was asked in vain, and not at all once it was answered. Whose fact the question
        names whole may have said it with a "yes", which its words do not tell: such a candidate's chance stays.
        """
        assert seen.belief is not None
        answered: dict[str, bool] = {}
        named = np.zeros(q.shape, bool)
        for goal, line, reply in zip(seen.line_goals, seen.utterances[::2], seen.utterances[1::2], strict=True):
            if goal is None:
                continue
            shares = [[stated_share(reply, line, fact) for fact in facts] for facts in seen.belief.candidates]
            told = any((share or 0.0) >= ENOUGH for row in shares for share in row)
            answered[goal] = answered.get(goal, False) or told
            if goal in self._goals:
                named[:, self._goals.index(goal)] |= [None in row for row in shares]
        in_vain = np.array([answered.get(goal) is False for goal in self._goals])
        return np.asarray(np.prod(1 - q * (in_vain & ~named), axis=1), dtype=np.float64)


def vector(summary: npt.NDArray[Any], seen: Seen, num_turns: int) -> npt.NDArray[np.float32]:
    """A summary of a talk, and what every vector observation ends with: turn and goal counts over the turns of an episode."""
    shares = np.clip(np.concatenate([[seen.turn], seen.goal_counts]) / num_turns, 0.0, 1.0)  # (1 + n_goals,)
    return np.concatenate([np.clip(summary, -FEATURE_BOUND, FEATURE_BOUND), shares]).astype(np.float32)


def _surprise(chances: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """`-c log c`, 0 at 0."""
    return np.asarray(-chances * np.log(np.maximum(chances, 1e-12)), dtype=np.float64)


@lru_cache(maxsize=1 << 14)
def _speaks_of(facts: tuple[str, ...], goals: tuple[str, ...]) -> tuple[float, ...]:
    """The chance that any of some facts is brought up by each goal's question."""
    none = np.prod(np.array([1 - topics(fact, goals) for fact in facts]).reshape(len(facts), len(goals)), axis=0)  # (n,)
    return tuple((1 - none).tolist())


class Transcript(spaces.Text):
    """Texts of any Unicode characters up to a length; samples are drawn from printable ASCII."""

    def __init__(self, max_length: int) -> None:
        """Allows the empty text too, which is what a talk starts with."""
        super().__init__(max_length, min_length=0, charset="".join(map(chr, range(32, 127))))

    def contains(self, x: Any) -> bool:
        """Whether `x` is a text that is short enough."""
        return isinstance(x, str) and len(x) <= self.max_length

    def __repr__(self) -> str:
        """Names the bound only."""
        return f"Transcript({self.max_length})"


class TextObserver:
    """The transcript, one utterance a line, the goal speaker's first; of a long one the newest `MAX_TEXT_CHARS` characters."""

    @property
    def space(self) -> spaces.Space[Any]:
        """A `Transcript`."""
        return Transcript(MAX_TEXT_CHARS)

    def observe(self, seen: Sequence[Seen]) -> list[Observation]:
        """Joins the utterances, each on one line whatever line breaks it holds."""
        return ["\n".join(" ".join(text.splitlines()) for text in talk.utterances)[-MAX_TEXT_CHARS:] for talk in seen]


OBSERVATIONS = ("embedding", "goals", "belief", "last-token", "ranking", "sentence-transformers", "tokens", "text")
GOAL_BLOCKS: Mapping[str, int] = {"belief": 2}
"""How many numbers an observation has for each goal just before the turn, block by block: what a policy should not have to
learn anew for each goal. The counts at the end are not among them."""


def make_observer(name: str, feature_size: int, goals: Sequence[str], num_turns: int) -> Observer:
    """The observer of a name in `OBSERVATIONS` that needs no encoder; raises `UnknownNameError` for any other."""
    num_goals = len(goals)
    if name == "belief":
        return BeliefObserver(goals, num_turns)
    if name == "embedding":
        return EmbeddingObserver(feature_size, num_goals, num_turns)
    if name == "goals":
        return EmbeddingObserver(0, num_goals, num_turns)
    if name == "text":
        return TextObserver()
    raise UnknownNameError("observation", name, OBSERVATIONS)
