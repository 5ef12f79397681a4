"""Speakers, a matcher and a judge of a few lines each, for tests that need no language model."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from convogym.dialogue import Persona
from convogym.errors import InputError
from convogym.goals import PUBLISHED_GOALS
from convogym.speakers import Request, Utterance

Key = TypeVar("Key")

FEATURE_SIZE = 16


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return re.findall(r"[a-z0-9']+", text.lower())


def features(text: str) -> npt.NDArray[np.float32]:
    """Counts of hashed words, which is an embedding as far as an environment can tell."""
    vector = np.zeros(FEATURE_SIZE, dtype=np.float32)
    for word in words(text):
        vector[zlib.crc32(word.encode()) % FEATURE_SIZE] += 1.0
    return vector


def small_personas(number: int = 40) -> tuple[Persona, ...]:
    """Personas of four facts that share no fact with one another."""
    return tuple(
        Persona((f"i have pet{i}.", f"i work as job{i}.", f"i like food{i}.", f"i live in town{i}.")) for i in range(number)
    )


class EchoSpeaker:
    """Speaks by the request alone: as speaker 1 it says the goal, as speaker 2 one of its facts, picked by noise."""

    name = "echo"
    feature_size = FEATURE_SIZE
    max_tokens = 12

    def __init__(self, **marks: bool) -> None:
        """Takes flags that every utterance is to carry, e.g. `is_cut_off=True`."""
        self.marks = marks
        self.requests: list[Request] = []
        self.batches: list[int] = []
        self.embedded: list[str] = []

    def text(self, request: Request) -> str:
        """What it says."""
        pick = float(request.noise[0])
        if request.goals:
            return f"{request.goals[-1]} please {int(pick * 1000)}"
        return request.persona[int(pick * len(request.persona))]

    def speak(self, requests: Sequence[Request]) -> list[Utterance]:
        """Answers each request by itself and remembers that it was asked."""
        self.requests += requests
        self.batches.append(len(requests))
        texts = [self.text(request) for request in requests]
        return [Utterance(text, len(words(text)), features(text), -0.5 * len(words(text)), **self.marks) for text in texts]

    def attend(
        self, asked: Callable[[], Iterable[tuple[Key, Request]]], answered: Callable[[Key, Utterance | Exception], None]
    ) -> None:
        """Answers one after the other; `asked` is asked again when all who asked are answered."""
        while asking := list(asked()):
            for key, request in asking:
                try:
                    answered(key, self.speak([request])[0])
                except InputError as error:
                    answered(key, error)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """The features of each text."""
        self.embedded += texts
        return np.stack([features(text) for text in texts])


class GatedSpeaker(EchoSpeaker):
    """As speaker 2 it tells its next fact when the line names one topic, and nothing otherwise."""

    name = "gated"

    def __init__(self, topic: str) -> None:
        """Takes the word that opens it."""
        super().__init__()
        self.topic = topic

    def text(self, request: Request) -> str:
        """The next fact not told yet, or a shrug."""
        if request.goals:
            return super().text(request)
        told = [fact for fact in request.persona if fact not in request.history]
        return told[0] if told and self.topic in words(request.history[-1]) else "i see."


class ScriptedSpeaker(EchoSpeaker):
    """Says given texts, one after the other, whoever it speaks for."""

    name = "scripted"

    def __init__(self, *texts: str, **marks: bool) -> None:
        """Takes the texts; the last is repeated for ever."""
        super().__init__(**marks)
        self.texts = list(texts)

    def text(self, request: Request) -> str:
        """The next text."""
        return self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]


class FakeMatcher:
    """Believes in a persona the more of its words a reply has."""

    def evidence(
        self, turns: Sequence[tuple[str, str]], personas: Sequence[Sequence[Sequence[str]]]
    ) -> list[npt.NDArray[np.float64]]:
        """One unit of log-likelihood for each word of the reply that the candidate's facts have too."""
        return [
            np.array([float(sum(word in words(" ".join(facts)) for word in words(reply))) for facts in candidates])
            for (_, reply), candidates in zip(turns, personas, strict=True)
        ]


class FakeJudge:
    """Is 90 % sure of every goal whose last word the line has, and 5 % of the others."""

    def probabilities(self, previous: Sequence[str], lines: Sequence[str]) -> npt.NDArray[np.float64]:
        """Shape (lines, 11)."""
        assert len(previous) == len(lines)
        return np.array([[0.9 if words(goal)[-1] in words(line) else 0.05 for goal in PUBLISHED_GOALS] for line in lines])


class FakeReader(FakeJudge, FakeMatcher):
    """Judge and matcher in one."""


class FakeScorer(FakeMatcher):
    """Gives every word of a reply half a chance, and no loss to those that the persona or the history has."""

    def log_likelihoods(
        self, personas: Sequence[Sequence[str]], histories: Sequence[Sequence[str]], replies: Sequence[str]
    ) -> npt.NDArray[np.float64]:
        """Shape (replies, 2); the end of utterance is a token without loss."""
        rows = []
        for facts, history, reply in zip(personas, histories, replies, strict=True):
            known = words(" ".join([*facts, *history]))
            said = words(reply)
            rows.append([np.log(0.5) * sum(word not in known for word in said), len(said) + 1])
        return np.array(rows)


def env_kwargs(**changes: Any) -> dict[str, Any]:
    """Arguments that make either form of the environment from fakes, with changes."""
    speaker = EchoSpeaker()
    arguments = {"responder": speaker, "personas": small_personas(), "reader": FakeReader(), "num_turns": 4}
    return {**arguments, **changes}
