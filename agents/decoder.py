"""Advances many dialogues at once, keeping for each what was computed of it. Knows ids and slots; knows nothing of text.

A dialogue lives in a *slot*. Whoever speaks gives the whole context of a slot; whatever part of it was computed before, from
its beginning, is not computed again. In the `inline` layout that is all but the newest tokens; in `personagpt` it is what
stands before the first change.

All who speak take part in every step: some read the end of their prompt, the others their last token. Who has ended leaves at
once, and who comes, as with the reply to a line, joins in the next step. A step is one token of each, on CUDA up to eight. How
it is computed is the business of the passes: compiled ones on the processor (`convogym.agents.compiled`), those of static
shapes on CUDA (`convogym.agents.static_passes`), those of torch anywhere else (`convogym.agents.torch_passes`).

Letters: S who speak, M new tokens, C hidden size.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Generator, Hashable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from convogym.agents.gpt2 import GPT2, stamp
from convogym.agents.sampling import Sampling
from convogym.errors import InputError

READ = 1024  # new tokens of prompts in one step, unless a single prompt has more: enough for full speed of matrix products


@dataclass(frozen=True)
class Generated:
    """One utterance, as ids."""

    ids: tuple[int, ...]
    """without the eos that ended it"""
    features: npt.NDArray[np.float32]
    """shape (C,): mean of the last hidden states (`GPT2.standardised`) that predicted its tokens, eos included"""
    log_prob: float
    """of its tokens, eos included, under the unfiltered distribution, in nats"""
    is_cut_off: bool
    """the bound on length ended it, not an eos"""

    @property
    def tokens(self) -> int:
        """How many tokens were drawn."""
        return len(self.ids) + (not self.is_cut_off)


@dataclass(frozen=True)
class Task:
    """An utterance to be spoken."""

    slot: Hashable
    """which dialogue; no other of the same slot may be under way"""
    context: Sequence[int]
    """what stands before it"""
    noise: npt.NDArray[np.float64]
    """uniform numbers in [0, 1), shape (at least `Sampling.max_tokens`,): the n-th decides the n-th token"""
    heard: Callable[[Sequence[int]], None] | None = None
    """told the ids said so far, after every token but an eos; None = nobody listens"""


class Batch(NamedTuple):
    """What one step is to compute."""

    rows: list[int]
    """(S,) which row of the cache each speaker has, all different"""
    starts: list[int]
    """(S,) how many of its tokens are in the cache"""
    ids: list[list[int]]
    """(S,) its new tokens, at least one"""
    kinds: list[list[int]] | None
    """their types (`GPT2.types`); None where the network has none"""
    noise: list[list[float]]
    """(S,) the numbers each utterance is drawn with, as many as it may have tokens"""
    drawn: list[int]
    """(S,) how many of its tokens were drawn before; the first may not be the eos"""


class Step(NamedTuple):
    """What one step gave."""

    tokens: list[list[int]]
    """(S,) what was drawn, one token at least; what follows an eos counts for nothing"""
    log_probs: list[list[float]]
    """(S,) of each, before any filter"""
    hidden: npt.NDArray[np.float32]
    """(S, most drawn, C) last hidden states that predicted them, valid until the next step"""


class Passes(Protocol):
    """Computes steps and holds the keys and values of rows."""

    @property
    def cache_bytes(self) -> int:
        """Memory of the keys and values."""

    def hold(self, row: int, tokens: int) -> None:
        """Makes room for so many tokens in a row, which may be new; what it holds stays."""

    def release(self, row: int) -> None:
        """Gives back a row's memory for others."""

    def step(self, batch: Batch, sampling: Sampling) -> Step:
        """Reads new tokens, keeps their keys and values, and draws each speaker's next token, or next few."""


@dataclass
class _Speaking:
    """An utterance under way."""

    task: Task
    row: int
    start: int
    new: list[int]
    kinds: list[int]
    noise: list[float]
    said: list[int] = field(default_factory=list)
    log_prob: float = 0.0


class Decoder:
    """A network with a cache that dialogues enter and leave. May be used from any thread; who speaks makes others wait."""

    def __init__(self, network: GPT2, eos: int, banned: Sequence[int], passes: Callable[..., Passes] | None = None) -> None:
        """Starts with an empty cache.

        Args:
            network: in evaluation mode. Should its weights change, nothing computed before is used again.
            eos: ends an utterance; never its first token, so that nobody says nothing.
            banned: ids that are never said.
            passes: makes the passes of network, eos and banned ids; None = the fastest for the network's device.
        """
        self._network, self._eos, self._banned = network, eos, [i for i in banned if i != eos]
        self._make = passes or passes_of
        self._lock = threading.Lock()
        self._parameters = list(network.parameters())
        self._renew()

    def _renew(self) -> None:
        self._stamp = stamp(self._parameters)
        self._passes = self._make(self._network, self._eos, self._banned)
        with torch.no_grad():
            self._offset, self._factor = (part.float().cpu().numpy() for part in self._network.standardisation())
        self._row_of: dict[Hashable, int] = {}
        self._known: list[list[int]] = []  # by row: the ids whose keys and values are cached
        self._sums = np.zeros((0, self._network.shape.n_embd), np.float32)  # by row: of what predicted the utterance's tokens

    @property
    def room(self) -> int:
        """How many tokens a context and its utterance may have together."""
        return self._network.shape.n_positions

    @property
    def cache_bytes(self) -> int:
        """Memory the cache takes."""
        return self._passes.cache_bytes

    def generate(
        self,
        slots: Sequence[Hashable],
        contexts: Sequence[Sequence[int]],
        noise: npt.NDArray[np.float64],
        sampling: Sampling,
    ) -> list[Generated]:
        """Continues every context by one utterance.

        Args:
            slots: which dialogue each context belongs to; distinct.
            contexts: at least one id each; with `sampling.max_tokens` more they must fit in `room`.
            noise: (len(slots), at least sampling.max_tokens) uniform numbers; row i's n-th decides utterance i's n-th token.
            sampling: how tokens are drawn.

        Returns:
            The utterances, in order. Each depends on its own context and noise alone.

        Raises:
            InputError: a context is empty or too long, two share a slot, or there is too little noise.
        """
        if len(set(slots)) != len(slots):
            raise InputError("`slots` must be distinct, got one twice.")
        waiting = deque(Task(*each) for each in zip(slots, contexts, noise, strict=True))
        for task in waiting:
            self.check(task, sampling)
        with closing(self.steps(waiting, sampling)) as steps:
            said = {task.slot: generated for ended in steps for task, generated in ended}
        return [said[slot] for slot in slots]

    def steps(self, waiting: deque[Task], sampling: Sampling) -> Generator[list[tuple[Task, Generated]], None, None]:
        """Speaks every task until nobody speaks and nobody waits, one token of each a step, or a few (`Passes.step`).

        Other threads wait until it is at its end, or closed: whoever leaves it before that must close it.

        Args:
            waiting: tasks that `check` accepts, of slots in which nobody speaks. They are taken out as they begin; tasks that
                are added between steps join those who speak. What anybody says does not depend on it.
            sampling: how tokens are drawn.

        Yields:
            What ended, after every step.
        """
        with self._lock:
            if stamp(self._parameters) != self._stamp:
                self._renew()
            speaking = list[_Speaking]()
            while waiting or speaking:
                read = 0
                while waiting:
                    joining = self._begun(waiting[0], sampling)
                    if read and read + len(joining.new) > READ:
                        break
                    waiting.popleft()
                    speaking.append(joining)
                    read += len(joining.new)
                speaking, ended = self._advance(speaking, sampling)
                yield ended

    def check(self, task: Task, sampling: Sampling) -> None:
        """Raises `InputError` if a context is empty, or too long to be continued, or the noise too little for the longest."""
        if not 1 <= len(task.context) <= self.room - sampling.max_tokens:
            raise InputError(
                f"contexts must have 1..{self.room - sampling.max_tokens} tokens, got one of {len(task.context)}."
            )
        if len(task.noise) < sampling.max_tokens:
            raise InputError(f"`noise` must have at least {sampling.max_tokens} numbers, got {len(task.noise)}.")

    def _begun(self, task: Task, sampling: Sampling) -> _Speaking:
        """The task with a row of the cache and what that lacks of its context."""
        row = self._row_of.setdefault(task.slot, len(self._row_of))
        if row == len(self._known):
            self._known.append([])
        if row == len(self._sums):
            self._sums = np.concatenate([self._sums, np.zeros((max(1, row), self._network.shape.n_embd), np.float32)])
        self._sums[row] = 0.0
        known, context = self._known[row], list(task.context)
        kept = min(_shared_length(known, context), len(context) - 1)
        del known[kept:]
        self._passes.hold(row, len(context) + sampling.max_tokens)
        kinds = self._network.types(torch.tensor([context])) if self._network.speakers else None
        return _Speaking(
            task,
            row,
            kept,
            context[kept:],
            [] if kinds is None else kinds[0, kept:].tolist(),
            task.noise[: sampling.max_tokens].tolist(),
        )

    @torch.inference_mode()
    def _advance(self, speaking: list[_Speaking], sampling: Sampling) -> tuple[list[_Speaking], list[tuple[Task, Generated]]]:
        """One step of all; gives who goes on speaking, and what ended."""
        step = self._passes.step(
            Batch(
                [s.row for s in speaking],
                [s.start for s in speaking],
                [s.new for s in speaking],
                [s.kinds for s in speaking] if self._network.speakers else None,
                [s.noise for s in speaking],
                [len(s.said) for s in speaking],
            ),
            sampling,
        )
        staying, over = list[_Speaking](), list[_Speaking]()
        counts = list[int]()  # how many of the drawn tokens are said
        for s, tokens, log_probs in zip(speaking, step.tokens, step.log_probs, strict=True):
            counts.append(0)
            for token, log_prob in zip(tokens, log_probs, strict=True):
                counts[-1] += 1
                s.log_prob += log_prob
                self._known[s.row] += s.new
                s.start += len(s.new)
                s.said.append(token)
                s.new = [token]
                if s.task.heard is not None and token != self._eos:
                    s.task.heard(s.said)
                if token == self._eos or len(s.said) == sampling.max_tokens:
                    over.append(s)
                    break
            else:
                s.kinds = s.kinds[-1:]  # no speaker token is ever said, so the type stays
                staying.append(s)
        rows = [s.row for s in speaking]
        for n in range(step.hidden.shape[1]):  # one after the other, as if each had been a step of its own
            some = [i for i, count in enumerate(counts) if n < count]
            if len(some) == len(rows):
                self._sums[rows] += step.hidden[:, n]
            elif some:
                self._sums[[rows[i] for i in some]] += step.hidden[some, n]
        if not over:
            return staying, []
        features = [(self._sums[s.row] / np.float32(len(s.said)) - self._offset) * self._factor for s in over]
        return staying, [(s.task, self._generated(s, row)) for s, row in zip(over, features, strict=True)]

    def _generated(self, spoken: _Speaking, features: npt.NDArray[np.float32]) -> Generated:
        is_cut_off = spoken.said[-1] != self._eos
        return Generated(tuple(spoken.said if is_cut_off else spoken.said[:-1]), features, spoken.log_prob, is_cut_off)

    def forget(self, slots: Sequence[Hashable] | None = None) -> None:
        """Drops what is cached of some dialogues, or of all; the memory is kept for others."""
        with self._lock:
            for slot in list(self._row_of) if slots is None else slots:
                if slot in self._row_of:
                    self._known[self._row_of[slot]] = []
                    self._passes.release(self._row_of[slot])


def passes_of(network: GPT2, eos: int, banned: Sequence[int]) -> Passes:
    """The compiled passes for a plain network (`GPT2.is_plain`), those of static shapes on CUDA, those of torch elsewhere."""
    if network.is_plain:
        from convogym.agents.compiled import CompiledPasses

        return CompiledPasses(network, eos, banned)
    if network.transformer.wte.weight.device.type == "cuda":
        from convogym.agents.static_passes import StaticPasses

        return StaticPasses(network, eos, banned)
    from convogym.agents.torch_passes import TorchPasses

    return TorchPasses(network, eos, banned)


def _shared_length(known: Sequence[int], context: Sequence[int]) -> int:
    """How many ids two sequences share from their beginning."""
    limit = min(len(known), len(context))
    if known[:limit] == context[:limit]:
        return limit
    return next(i for i in itertools.count() if known[i] != context[i])
