"""Observers that read the replies anew instead of taking the speaker's own states: by an encoder of texts, or as token ids.

Knows encoders as functions; which there are, and how they are loaded, is in `make`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from convogym.envs.observations import FEATURE_BOUND, Observation, Seen, vector

Encode = Callable[[Sequence[str]], npt.NDArray[np.float32]]
"""Texts to vectors, shape (len(texts), size); each text by itself."""

NUM_TOKENS = 512  # of a transcript: its newest end


class EncodedObserver:
    """`[code, turn / num_turns, goal_counts / num_turns]` as float32: an encoder's vector of all replies so far, joined.

    Only the replies are read, never the lines, and nothing stands before the first one but zeros, as in the original
    convogym's state estimators (`states.py`, `environments.py`).
    """

    def __init__(self, encode: Encode, size: int, num_goals: int, num_turns: int) -> None:
        """Takes the encoder and the length of its vectors."""
        self._encode, self._size, self._num_turns = encode, size, num_turns
        high = np.concatenate([np.full(size, FEATURE_BOUND), np.ones(1 + num_goals)]).astype(np.float32)
        low = np.concatenate([np.full(size, -FEATURE_BOUND), np.zeros(1 + num_goals)]).astype(np.float32)
        self._space = spaces.Box(low, high, dtype=np.float32)

    @property
    def space(self) -> spaces.Space[Any]:
        """A `Box`."""
        return self._space

    def observe(self, seen: Sequence[Seen]) -> list[Observation]:
        """Encodes the replies of all talks that have any in one call."""
        replies = [" ".join(talk.utterances[1::2]) for talk in seen]
        said = [place for place, text in enumerate(replies) if text]
        codes = np.zeros((len(seen), self._size), np.float32)
        if said:
            codes[said] = self._encode([replies[place] for place in said])
        return [vector(code, talk, self._num_turns) for code, talk in zip(codes, seen, strict=True)]


class TokensObserver:
    """The newest `NUM_TOKENS` token ids of the transcript, the end token after every utterance; -1 to the left of them."""

    def __init__(self, encode: Callable[[str], Sequence[int]], eos: int, vocabulary: int) -> None:
        """Takes what turns a text into ids below `vocabulary`, and the id that ends an utterance."""
        self._encode, self._eos = encode, eos
        self._space = spaces.Box(-1, vocabulary - 1, (NUM_TOKENS,), np.int64)

    @property
    def space(self) -> spaces.Space[Any]:
        """A `Box` of whole numbers, -1 where there is no token."""
        return self._space

    def observe(self, seen: Sequence[Seen]) -> list[Observation]:
        """The ids of each talk; the text cannot become control tokens, because the tokenizer does not read them from text."""
        rows: list[Observation] = []
        for talk in seen:
            ids = [token for text in talk.utterances for token in (*self._encode(text), self._eos)][-NUM_TOKENS:]
            row = np.full(NUM_TOKENS, -1, np.int64)
            if ids:
                row[-len(ids) :] = ids
            rows.append(row)
        return rows
