"""One speaker for many threads: what is asked while it speaks is answered together, in one batch, when it is done.

Knows requests and rows; knows nothing of models or of who asks.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from convogym.errors import InputError
from convogym.speakers import Request, Speaker, Utterance


@dataclass
class _Job:
    """What one thread waits for."""

    requests: Sequence[Request]
    answers: list[Utterance] = field(default_factory=list)
    error: BaseException | None = None
    is_done: bool = False


class SharedSpeaker:
    """A `Speaker` that may be called from many threads at once."""

    def __init__(self, speaker: Speaker, rows: int = 64) -> None:
        """Takes the speaker, which nobody else may use.

        Args:
            speaker: answers.
            rows: how many requests a batch has at most, and for how many slots the speaker keeps what it computed: those asked
                for last. Any number of slots may be asked for.
        """
        self._speaker, self._rows = speaker, rows
        self._waiting: list[_Job] = []
        self._list_lock, self._turn = threading.Lock(), threading.Lock()
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
        """Answers every request, in order, together with what other threads ask; see `convogym.speakers.Speaker.speak`.

        Raises:
            InputError: there are more than `rows` requests, or the speaker refuses one of them; other threads' are answered.
        """
        if len(requests) > self._rows:
            raise InputError(f"at most {self._rows} requests may be made at once, got {len(requests)}.")
        job = _Job(requests)
        with self._list_lock:
            self._waiting.append(job)
        with self._turn:  # whoever gets it first speaks for all who wait
            while not job.is_done:
                self._answer(self._next_batch())
        if job.error is not None:
            raise job.error
        return job.answers

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """The speaker's own."""
        with self._turn:
            return self._speaker.embed(texts)

    def _next_batch(self) -> list[_Job]:
        """The jobs that waited longest, as many as fit; two jobs that ask for one slot come one after the other."""
        batch: list[_Job] = []
        slots: set[int] = set()
        with self._list_lock:
            for job in list(self._waiting):
                asked = {request.slot for request in job.requests}
                if asked & slots or len(slots) + len(asked) > self._rows:
                    break
                slots |= asked
                batch.append(job)
                self._waiting.remove(job)
        return batch

    def _answer(self, batch: Sequence[_Job]) -> None:
        requests = self._placed([request for job in batch for request in job.requests])
        try:
            answers = iter(self._speaker.speak(requests))
        except BaseException as error:
            if len(batch) > 1:  # one job's fault is not the others'
                for job in batch:
                    self._answer([job])
                return
            batch[0].error, batch[0].is_done = error, True
            return
        for job in batch:
            job.answers = [next(answers) for _ in job.requests]
            job.is_done = True

    def _placed(self, requests: Sequence[Request]) -> list[Request]:
        """The requests with rows for slots, each slot in the row it had last if it still has it."""
        asked = [request.slot for request in requests]
        for slot in asked:
            if slot in self._row_of:
                self._row_of.move_to_end(slot)
        for slot in asked:
            if slot not in self._row_of:
                full = len(self._row_of) >= self._rows
                self._row_of[slot] = self._row_of.popitem(last=False)[1] if full else len(self._row_of)
        return [replace(request, slot=self._row_of[request.slot]) for request in requests]
