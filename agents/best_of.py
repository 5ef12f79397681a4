"""A speaker that draws several utterances and says the one most like the others. Knows speakers; knows nothing of models.

Minimum Bayes risk decoding (`convogym.metrics.consensus`), as `convogym evaluate model` replies unless told otherwise: what
several draws agree on is more often to the point than any one of them. It costs as many times the work and the cache.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from convogym.errors import InputError
from convogym.metrics import consensus
from convogym.speakers import Request, Speaker, Utterance


class BestOf:
    """Says the best of some utterances of another speaker (see `convogym.speakers.Speaker`)."""

    def __init__(self, speaker: Speaker, candidates: int = 8) -> None:
        """Takes the speaker, whose slots nobody else may use.

        Args:
            speaker: draws the utterances.
            candidates: how many for each request; of two the first is said, unless it was said before.

        Raises:
            InputError: not a whole number of at least two.
        """
        if isinstance(candidates, bool) or not isinstance(candidates, int) or candidates < 2:
            raise InputError(
                f"`candidates` must be a whole number, at least 2, got {candidates!r}; one is what the speaker says by itself."
            )
        self.speaker, self.candidates = speaker, candidates

    def __getattr__(self, name: str) -> Any:
        """What else the speaker has, such as its `model`, but no way of speaking."""
        if name.startswith("_") or name in ("speaker", "exchange", "attend"):
            raise AttributeError(name)
        return getattr(self.speaker, name)

    @property
    def name(self) -> str:
        """The speaker's, and of how many."""
        return f"{self.speaker.name}, best of {self.candidates}"

    @property
    def feature_size(self) -> int:
        """The speaker's."""
        return self.speaker.feature_size

    @property
    def max_tokens(self) -> int:
        """The speaker's."""
        return self.speaker.max_tokens

    def speak(self, requests: Sequence[Request]) -> list[Utterance]:
        """Answers every request, in order; whoever listens to one hears the whole answer at once."""
        said = self.speaker.speak([draw for request in requests for draw in self._draws(request)])
        answers = []
        for place, request in enumerate(requests):
            drawn = said[place * self.candidates : (place + 1) * self.candidates]
            own = request.history[len(request.history) % 2 :: 2]
            answers.append(drawn[consensus([utterance.text for utterance in drawn], own)])
            if request.heard is not None:
                request.heard(answers[-1].text)
        return answers

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """The speaker's."""
        return self.speaker.embed(texts)

    def _draws(self, request: Request) -> list[Request]:
        """The request as often as it is drawn: first as it is, then with numbers that follow from its own."""
        seed = np.ascontiguousarray(request.noise, np.float64).view(np.uint64).tolist()
        more = np.random.default_rng(seed).random((self.candidates - 1, *request.noise.shape))
        return [
            dataclasses.replace(request, slot=request.slot * self.candidates + i, noise=noise, heard=None)
            for i, noise in enumerate([request.noise, *more])
        ]
