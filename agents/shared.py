"""One speaker for many threads: who asks while it speaks joins those who are being answered, and leaves when answered.

Knows requests and rows; knows nothing of models or of who asks.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from convogym.errors import InputError
from convogym.speakers import Request, Speaker, Utterance

Key = TypeVar("Key")

PASSING = 1 << 20  # slots from this on are of what may never be said: all of them together have half of the rows


class Attending(Speaker, Protocol):
    """A speaker that lets requests join while it answers others; see `convogym.agents.speaking.ModelSpeaker.attend`."""

    def attend(
        self, asked: Callable[[], Iterable[tuple[Key, Request]]], answered: Callable[[Key, Utterance | Exception], None]
    ) -> None:
        """Answers whoever asks, until nobody is being answered and nobody asks."""


class _Job:
    """What one thread waits for."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self.requests = requests
        self.slots = {request.slot for request in requests}
        self.answers: dict[int, Utterance] = {}  # by the request's number
        self.error: Exception | None = None
        self.left = len(requests)
        self.is_done = threading.Event()


@dataclass(frozen=True)
class _Place:
    """A request that is being answered."""

    job: _Job
    number: int
    """of the request among its job's"""


class SharedSpeaker:
    """A `Speaker` that may be called from many threads at once."""

    def __init__(self, speaker: Attending, rows: int = 64) -> None:
        """Takes the speaker, which nobody else may use.

        Args:
            speaker: answers, in a thread that is there as long as there is something to answer.
            rows: how many requests are answered at one time at most, and for how many slots the speaker keeps what it
                computed: those asked for last, and of slots from `PASSING` on no more than half of so many unless more are
                asked for at one time. Any number of slots may be asked for.
        """
        self._speaker, self._rows = speaker, rows
        self._lock = threading.Lock()  # of what follows
        self._waiting: list[_Job] = []
        self._under_way: list[_Job] = []
        self._is_speaking = False
        self._row_of: OrderedDict[int, int] = OrderedDict()  # by slot, the longest unused first

    @property
    def name(self) -> str:
        """The speaker's own."""
        return self._speaker.name

    @property
    def taught(self) -> tuple[str, ...]:
        """Goals the speaker was taught beyond the published ones."""
        return tuple(getattr(self._speaker, "taught", ()))

    @property
    def feature_size(self) -> int:
        """The speaker's own."""
        return self._speaker.feature_size

    @property
    def max_tokens(self) -> int:
        """The speaker's own."""
        return self._speaker.max_tokens

    def speak(self, requests: Sequence[Request]) -> list[Utterance]:
        """Answers every request, in order, beside what other threads ask; see `convogym.speakers.Speaker.speak`.

        Raises:
            InputError: there are more than `rows` requests, two are for one slot, or the speaker refuses one of them; other
                threads' are answered.
            RuntimeError: the speaker broke off, which whoever was being answered is told.
        """
        if len(requests) > self._rows:
            raise InputError(f"at most {self._rows} requests may be made at once, got {len(requests)}.")
        job = _Job(requests)
        if len(job.slots) != len(requests):
            raise InputError("`slots` must be distinct, got one twice.")
        if not requests:
            return []
        with self._lock:
            if not self._is_speaking:
                threading.Thread(target=self._answer_all, name=f"speaking as {self.name}").start()
                self._is_speaking = True
            self._waiting.append(job)
        job.is_done.wait()
        if job.error is not None:
            raise job.error
        return [job.answers[number] for number in range(len(requests))]

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """The speaker's own."""
        return self._speaker.embed(texts)

    def _answer_all(self) -> None:
        """Lets the speaker answer until nobody waits; should it break off, whoever is being answered is told."""
        while True:
            try:
                self._speaker.attend(self._joining, self._answered)
            except BaseException as error:
                with self._lock:
                    broken = self._under_way[:]
                for job in broken:
                    told = RuntimeError(f"the speaker broke off: {error!r}")  # each thread raises one of its own
                    told.__cause__ = error
                    self._end(job, told)
            with self._lock:
                if not self._waiting:
                    self._is_speaking = False
                    return

    def _joining(self) -> list[tuple[_Place, Request]]:
        """Takes in who waited longest, as many as fit. Of jobs that ask for one slot, the later waits for the earlier."""
        if not self._waiting:  # before every token: without the lock, for who comes now is seen before the next
            return []
        joining: list[_Job] = []
        with self._lock:
            speaking = {slot for job in self._under_way for slot in job.slots}
            later = set[int]()
            for job in list(self._waiting):
                if len(speaking) + len(job.slots) > self._rows:
                    break
                if job.slots & (speaking | later):
                    later |= job.slots
                    continue
                speaking |= job.slots
                self._waiting.remove(job)
                joining.append(job)
            self._under_way += joining
            self._deal(speaking)
            return [
                (_Place(job, number), replace(request, slot=self._row_of[request.slot]))
                for job in joining
                for number, request in enumerate(job.requests)
            ]

    def _deal(self, speaking: set[int]) -> None:
        """Gives a row to each slot that is spoken in: that which it had last, if it still has it."""
        for slot in sorted(speaking & self._row_of.keys()):
            self._row_of.move_to_end(slot)
        for slot in sorted(speaking - self._row_of.keys()):
            full = len(self._row_of) >= self._rows
            row = self._row_of.pop(self._given_up_for(slot, speaking)) if full else len(self._row_of)
            self._row_of[slot] = row

    def _given_up_for(self, slot: int, speaking: set[int]) -> int:
        """Which slot loses its row to another: the longest unused, of the passing ones if they would have more than half."""
        passing = [each for each in self._row_of if each >= PASSING]
        idle = [each for each in passing if each not in speaking]
        if idle and len(passing) + (slot >= PASSING) > self._rows // 2:
            return idle[0]
        return next(iter(self._row_of))  # those spoken in stand behind it

    def _answered(self, place: _Place, answer: Utterance | Exception) -> None:
        job = place.job
        if isinstance(answer, Exception):
            job.error = answer
        else:
            job.answers[place.number] = answer
        job.left -= 1
        if not job.left:
            self._end(job, job.error)

    def _end(self, job: _Job, error: Exception | None) -> None:
        job.error = error
        with self._lock:
            self._under_way.remove(job)
        job.is_done.set()
