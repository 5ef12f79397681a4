"""The same talks put to several systems, with a clock: who is asked what, recorded once. Knows nothing of models.

An environment is played with a `Recorder` for both sides; what it was asked is a `Script`. `converse` puts a script to any
speakers. They hear what they said themselves, but persona, goals and noise are the script's, so a speaker that answers by
its request alone says in `converse` what it said in the environment.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from convogym import speakers
from convogym.errors import InputError
from convogym.experiments.console import Tick, ignore_ticks
from convogym.speakers import Request, Speaker, Utterance


class Spoken(Protocol):
    """What `converse` wants to know of an utterance."""

    @property
    def text(self) -> str:
        """What was said."""

    @property
    def tokens(self) -> int:
        """How many tokens were drawn, the end-of-utterance one included."""


Speak: TypeAlias = Callable[[Sequence[Request]], Sequence[Spoken]]
"""Answers requests, in order."""

Exchange: TypeAlias = Callable[[Sequence[Request], Callable[[int, str], Request]], tuple[Sequence[Spoken], Sequence[Spoken]]]
"""Says a line in each conversation and the reply to it; see `convogym.speakers.exchange`."""


def in_turn(line: Speak, reply: Speak) -> Exchange:
    """All the lines, then all the replies; the two may be the same."""

    def exchange(
        requests: Sequence[Request], reply_request: Callable[[int, str], Request]
    ) -> tuple[Sequence[Spoken], Sequence[Spoken]]:
        lines = line(requests)
        return lines, reply([reply_request(place, said.text) for place, said in enumerate(lines)])

    return exchange


@dataclass(frozen=True)
class Talked:
    """What came of talks side by side, and how long it took."""

    said: tuple[tuple[str, ...], ...]
    """of each dialogue: line, reply, line, reply, ..."""
    tokens: int
    """how many were drawn in all"""
    seconds: tuple[float, ...]
    """how long each turn took, of all dialogues together"""

    @property
    def turns_per_s(self) -> float:
        """Turns per second, all dialogues together."""
        return len(self.said) * len(self.seconds) / sum(self.seconds)

    @property
    def tokens_per_s(self) -> float:
        """Drawn tokens per second, all dialogues together."""
        return self.tokens / sum(self.seconds)

    @property
    def tokens_per_turn(self) -> float:
        """Drawn tokens of a line and its reply."""
        return self.tokens / (len(self.said) * len(self.seconds))


def one_after_another(parts: Sequence[Talked]) -> Talked:
    """Talks of as many turns each that followed one another, as one: the first turn's seconds are those of all first turns."""
    return Talked(
        tuple(talk for part in parts for talk in part.said),
        sum(part.tokens for part in parts),
        tuple(sum(turn) for turn in zip(*(part.seconds for part in parts), strict=True)),
    )


class Recorder:
    """Lets a speaker speak for both sides and remembers what it was asked."""

    def __init__(self, speaker: Speaker) -> None:
        """Takes the speaker."""
        self._speaker = speaker
        self.lines: list[tuple[Request, ...]] = []
        self.replies: list[tuple[Request, ...]] = []
        self.seconds = 0.0
        """how long the speaker took; what is asked of it is made by others"""

    @property
    def name(self) -> str:
        """The speaker's."""
        return self._speaker.name

    @property
    def feature_size(self) -> int:
        """The speaker's."""
        return self._speaker.feature_size

    @property
    def max_tokens(self) -> int:
        """The speaker's."""
        return self._speaker.max_tokens

    def speak(self, requests: Sequence[Request]) -> list[Utterance]:
        """What the speaker says; not recorded, for environments ask for both at once."""
        return self._speaker.speak(requests)

    def exchange(
        self, requests: Sequence[Request], reply_request: Callable[[int, str], Request]
    ) -> tuple[list[Utterance], list[Utterance]]:
        """Lines and replies of the speaker, both recorded."""
        asked: dict[int, Request] = {}
        began, asking = time.perf_counter(), 0.0

        def recorded(place: int, line: str) -> Request:
            nonlocal asking
            since = time.perf_counter()
            asked[place] = reply_request(place, line)
            asking += time.perf_counter() - since
            return asked[place]

        self.lines.append(tuple(requests))
        found = speakers.exchange(self._speaker, self._speaker, requests, recorded)
        self.seconds += time.perf_counter() - began - asking
        self.replies.append(tuple(asked[place] for place in sorted(asked)))
        return found

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """What the speaker makes of the texts."""
        return self._speaker.embed(texts)


@dataclass(frozen=True)
class Script:
    """Who is asked what; the histories in the requests count for nothing."""

    lines: tuple[tuple[Request, ...], ...]
    """of each turn: what the goal speaker is asked, one request a dialogue"""
    replies: tuple[tuple[Request, ...], ...]
    """likewise of the responder"""

    def __post_init__(self) -> None:
        """Checks that every turn asks each dialogue once for a line and once for a reply."""
        if len({len(asked) for asked in (*self.lines, *self.replies)}) != 1 or len(self.lines) != len(self.replies):
            raise InputError("a script must ask every dialogue for one line and one reply a turn.")

    def part(self, start: int, stop: int) -> Script:
        """The same for the dialogues from `start` to before `stop` alone."""
        return Script(tuple(asked[start:stop] for asked in self.lines), tuple(asked[start:stop] for asked in self.replies))


def play(
    env: Any,
    seeds: Sequence[int],
    actions: npt.NDArray[np.int64],
    recorder: Recorder,
    tick: Tick = ignore_ticks,
) -> tuple[Talked, Script]:
    """Takes turns in a vector environment.

    Args:
        env: its goal speaker and its responder are `recorder`; its episodes have at least as many turns as are taken.
        seeds: of the episodes, one for each dialogue.
        actions: (turns, dialogues) goal codes.
        recorder: remembers what is asked.
        tick: told how many turns were done.

    Returns:
        What was said, the seconds of each `step` (the reset is not counted), and the script.
    """
    env.reset(seed=list(seeds))
    recorder.lines.clear()
    recorder.replies.clear()
    recorder.seconds = 0.0
    said: list[tuple[str, ...]] = [()] * len(seeds)
    tokens, seconds = 0, []
    for codes in actions:
        began = time.perf_counter()
        *_, infos = env.step(codes)
        seconds.append(time.perf_counter() - began)
        said = [(*talk, line, reply) for talk, line, reply in zip(said, infos["line"], infos["reply"], strict=True)]
        tokens += int(infos["line_tokens"].sum() + infos["reply_tokens"].sum())
        tick(len(seeds))
    return Talked(tuple(said), tokens, tuple(seconds)), Script(tuple(recorder.lines), tuple(recorder.replies))


def converse(script: Script, exchange: Exchange, tick: Tick = ignore_ticks) -> Talked:
    """Puts a script to speakers, who hear what they said.

    Args:
        script: who is asked what.
        exchange: says the lines and the replies of a turn.
        tick: told how many turns were done.
    """
    said: list[tuple[str, ...]] = [()] * len(script.lines[0])
    tokens, seconds = 0, []
    for turn in range(len(script.lines)):
        began = time.perf_counter()
        lines, replies = exchange(
            [dataclasses.replace(r, history=talk) for r, talk in zip(script.lines[turn], said, strict=True)],
            lambda place, line: dataclasses.replace(script.replies[turn][place], history=(*said[place], line)),  # noqa: B023
        )
        seconds.append(time.perf_counter() - began)
        said = [(*talk, a.text, b.text) for talk, a, b in zip(said, lines, replies, strict=True)]
        tokens += sum(utterance.tokens for utterance in (*lines, *replies))
        tick(len(said))
    return Talked(tuple(said), tokens, tuple(seconds))
