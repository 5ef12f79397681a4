"""What a policy sees of a talk: the observers, by name. Knows nothing of speakers, rewards or turns being taken.

An observer is a pure function of what happened so far, with the Gymnasium space its values lie in.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from convogym.errors import UnknownNameError

Observation = npt.NDArray[np.float32] | str

FEATURE_BOUND = 1000.0  # last hidden states of GPT-2-family models stay far below; what does not is clipped
MAX_TEXT_CHARS = 16_384  # the newest end of a transcript longer than this is what "text" shows


class Observer(Protocol):
    """Turns what happened so far into an observation."""

    @property
    def space(self) -> spaces.Space[Any]:
        """The space of the observations."""

    def observe(
        self, state: npt.NDArray[np.float32], turn: int, goal_counts: npt.NDArray[np.int64], utterances: tuple[str, ...]
    ) -> Observation:
        """Makes a new observation.

        Args:
            state: shape (feature_size,), mean features of the replies so far; zeros before the first.
            turn: the number of turns taken.
            goal_counts: shape (n_goals,), how often each goal was taken.
            utterances: what was said so far, the history given at reset included.
        """


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

    def observe(
        self, state: npt.NDArray[np.float32], turn: int, goal_counts: npt.NDArray[np.int64], utterances: tuple[str, ...]
    ) -> Observation:
        """Concatenates the three parts; the words themselves are not looked at."""
        shares = np.concatenate([[turn], goal_counts]) / self._num_turns  # (1 + num_goals,)
        return np.concatenate(
            [np.clip(state[: self._feature_size], -FEATURE_BOUND, FEATURE_BOUND), np.clip(shares, 0.0, 1.0)]
        ).astype(np.float32)


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

    def observe(
        self, state: npt.NDArray[np.float32], turn: int, goal_counts: npt.NDArray[np.int64], utterances: tuple[str, ...]
    ) -> Observation:
        """Joins the utterances, each on one line whatever line breaks it holds."""
        return "\n".join(" ".join(text.splitlines()) for text in utterances)[-MAX_TEXT_CHARS:]


OBSERVATIONS = ("embedding", "goals", "text")


def make_observer(name: str, feature_size: int, num_goals: int, num_turns: int) -> Observer:
    """The observer of a name in `OBSERVATIONS`; raises `UnknownNameError` for any other."""
    if name == "embedding":
        return EmbeddingObserver(feature_size, num_goals, num_turns)
    if name == "goals":
        return EmbeddingObserver(0, num_goals, num_turns)
    if name == "text":
        return TextObserver()
    raise UnknownNameError("observation", name, OBSERVATIONS)
