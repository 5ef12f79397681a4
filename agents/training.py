"""Trains a language model on examples: batches, loss, schedule, checkpoints. Knows ids and masks; knows nothing of corpora.

Everything is a function of the seed: the batches of epoch e depend on (seed, e) alone, dropout on (seed, step). A run that is
killed goes on from its last checkpoint and ends with the very weights of a run that was not.

Letters: B rows, T tokens, M targets, V vocabulary.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from convogym.agents.gpt2 import GPT2, Look
from convogym.agents.model import LanguageModel
from convogym.agents.optimisers import OptimiserPair
from convogym.agents.starting import pointing_layer
from convogym.errors import CheckpointError, InputError, TrainingError
from convogym.layouts import Example

POINTED = 3
"""of a reply's places how many are taught where to look: the first few choose the fact, the others follow from them"""

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # glibc, malloc.h


class Batch(NamedTuple):
    """Some examples, padded at the right."""

    ids: Tensor
    """(B, T) int64"""
    learnt: Tensor
    """(B, T) bool: the targets"""


@dataclass(frozen=True)
class TrainingConfig:
    """How a run goes, but for its data."""

    steps: int
    """optimiser steps in all"""
    batch_tokens: int = 6144
    """tokens in a batch, padding included, at most (one longer example makes a batch of its own)"""
    accumulate: int = 1
    """batches a step: a batch holds examples of like length, which often are of one kind; several make a step a fair sample"""
    matrix_lr: float = 0.02
    """Muon's rate for the layers' matrices"""
    other_lr: float = 3e-3
    """AdamW's rate for embeddings, norms and biases"""
    weight_decay: float = 0.01
    """decoupled, on the matrices"""
    warmup: int = 40
    """steps over which the rates rise from 0"""
    decay_from: int = 0
    """step from which the rates fall linearly to 0 at `steps`"""
    dropout: float = 0.0
    """of the residual updates"""
    max_norm: float = 1.0
    """gradient clipping"""
    pointing: float = 0.0
    """weight of `pointing_nll`, its mean over the labelled places of a step, beside the targets' loss"""
    seed: int = 0
    """of batches and dropout"""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if min(self.steps, self.batch_tokens, self.accumulate) < 1:
            raise InputError(
                "`steps`, `batch_tokens` and `accumulate` must be at least 1, "
                f"got {self.steps}, {self.batch_tokens} and {self.accumulate}."
            )
        if not 0 <= self.decay_from <= self.steps:
            raise InputError(f"`decay_from` must be in 0..{self.steps}, got {self.decay_from}.")
        if not 0 <= self.dropout < 1:
            raise InputError(f"`dropout` must be in [0, 1), got {self.dropout}.")

    def rate(self, step: int) -> float:
        """The share of the full rates at a 0-based step, in 0..1."""
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        fall = 1.0 if step < self.decay_from else (self.steps - step) / max(1, self.steps - self.decay_from)
        return min(rise, fall)


def padded(examples: Sequence[Example]) -> Batch:
    """Examples as tensors; padding is id 0 and never a target."""
    longest = max(len(example.ids) for example in examples)
    ids = np.zeros((len(examples), longest), np.int64)
    learnt = np.zeros((len(examples), longest), bool)
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = example.ids
        learnt[row, : len(example.learnt)] = example.learnt
    return Batch(torch.from_numpy(ids), torch.from_numpy(learnt))


def batches(examples: Sequence[Example], batch_tokens: int, rng: np.random.Generator) -> list[list[int]]:
    """Splits examples into batches of near-equal length, in random order.

    Args:
        examples: all of one epoch.
        batch_tokens: rows times the longest row, at most.
        rng: shuffles among equal lengths, and the batches.

    Returns:
        Indices into `examples`, every one once.
    """
    lengths = np.array([len(example.ids) for example in examples])
    order = np.lexsort((rng.random(len(examples)), lengths + rng.integers(-8, 9, len(examples))))
    groups: list[list[int]] = []
    group: list[int] = []
    longest = 0
    for index in order.tolist():
        longest = max(longest, int(lengths[index]))
        if group and longest * (len(group) + 1) > batch_tokens:
            groups.append(group)
            group, longest = [], int(lengths[index])
        group.append(index)
    if group:
        groups.append(group)
    rng.shuffle(groups)
    return groups


def target_nll(network: GPT2, batch: Batch, dropout: float = 0.0, look: Look | None = None) -> Tensor:
    """Negative log-likelihood of every target, shape (M,), in nats, in row-major order of `batch.learnt`."""
    hidden = network.hidden(batch.ids, dropout, look)[:, :-1]  # (B, T-1, C): the state that predicts the next token
    chosen = batch.learnt[:, 1:]
    return F.cross_entropy(network.logits(hidden[chosen]), batch.ids[:, 1:][chosen], reduction="none")


def cited(examples: Sequence[Example]) -> Tensor:
    """What each place should look at, shape (B, T, T) bool: row t holds the sources of the reply whose token t + 1 is.

    A row without any True is one of whose reply nothing is known, or of no reply.
    """
    longest = max(len(example.ids) for example in examples)
    mask = np.zeros((len(examples), longest, longest), bool)
    for row, example in enumerate(examples):
        for citation in example.citations:
            for start, stop in citation.sources:
                mask[row, citation.start - 1 : min(citation.start - 1 + POINTED, citation.stop - 1), start:stop] = True
    return torch.from_numpy(mask)


def pointing_nll(queries: Tensor, keys: Tensor, sources: Tensor) -> Tensor:
    """Negative log of the attention that one head gives to what a reply is about, for every place that should.

    Which fact a question asks for is a choice that the targets' loss teaches slowly: most of a reply's tokens follow from its
    beginning. This teaches it outright, wherever replies are labelled with the facts they reveal.

    Args:
        queries: (B, T, D) of the head.
        keys: (B, T, D).
        sources: (B, T, T) bool from `cited`.

    Returns:
        (N,) for the N rows of `sources` that have any, in nats.
    """
    scores = queries @ keys.transpose(1, 2) / math.sqrt(queries.size(-1))  # (B, T, T)
    ahead = torch.ones(scores.shape[1:], dtype=torch.bool).triu(1)
    shares = scores.masked_fill(ahead, -torch.inf).log_softmax(-1)
    known = sources.any(-1)
    return -shares[known].masked_fill(~sources[known], -torch.inf).logsumexp(-1)


@torch.no_grad()
def mean_nll(network: GPT2, examples: Sequence[Example], batch_tokens: int = 8192) -> float:
    """Mean negative log-likelihood of the targets of examples, in nats a token."""
    total, count = 0.0, 0
    for group in batches(examples, batch_tokens, np.random.default_rng(0)):
        losses = target_nll(network, padded([examples[i] for i in group]))
        total += float(losses.double().sum())
        count += losses.numel()
    return total / max(count, 1)


class Progress(NamedTuple):
    """Where a run is, after a step."""

    step: int
    """steps done"""
    loss: float
    """mean over the batch's targets, nats a token"""
    grad_norm: float
    """before clipping"""
    rate: float
    """the schedule's share of the full rates"""
    tokens: int
    """tokens read since the run began, padding left out"""
    seconds: float
    """time this process has spent training"""
    pointing: float
    """mean of `pointing_nll` over the step's labelled places, in nats; 0 where its weight is"""


EpochMaker = Callable[[int], Sequence[Example]]
"""the examples of a 0-based epoch; the same number always gives the same examples"""


class Trainer:
    """Moves a model through a run, step by step, and can stop and go on at any of them."""

    def __init__(
        self, model: LanguageModel, epoch: EpochMaker, config: TrainingConfig, folder: Path | None = None, stream: str = "main"
    ) -> None:
        """Prepares a run at its first step.

        Args:
            model: trained in place.
            epoch: gives the examples.
            config: how.
            folder: where checkpoints go; None = none are written.
            stream: names the examples; a checkpoint of another stream is taken up with this one at its beginning.
        """
        self.model, self.epoch, self.config, self.folder, self.stream = model, epoch, config, folder, stream
        self.optimiser = OptimiserPair(model.network, config.matrix_lr, config.other_lr, config.weight_decay)
        self.step = self.tokens = self._epoch_number = self._position = 0
        self._examples: Sequence[Example] = ()
        self._groups: list[list[int]] = []

    def _next_group(self) -> list[Example]:
        if not self._groups:
            self._open_epoch()
        while self._position >= len(self._groups):
            self._epoch_number, self._position = self._epoch_number + 1, 0
            self._open_epoch()
        group = self._groups[self._position]
        self._position += 1
        return [self._examples[i] for i in group]

    def _open_epoch(self) -> None:
        self._examples = self.epoch(self._epoch_number)
        if not self._examples:
            raise InputError("there is nothing to train on: the corpora gave no example.")
        rng = np.random.default_rng([self.config.seed, self._epoch_number])
        self._groups = batches(self._examples, self.config.batch_tokens, rng)

    def run(self, until: int | None = None, checkpoint_minutes: float = 5.0) -> Iterator[Progress]:
        """Trains, giving back control after every step.

        Args:
            until: stop after this many steps in all; None = `config.steps`.
            checkpoint_minutes: time between checkpoints; one is written at the end too.

        Raises:
            TrainingError: the loss is not a number; the last checkpoint is untouched.
        """
        keep_memory()
        network = self.model.network
        network.train()
        started = saved = time.monotonic()
        try:
            while self.step < (self.config.steps if until is None else until):
                groups = [self._next_group() for _ in range(self.config.accumulate)]
                targets = sum(sum(example.learnt) for group in groups for example in group)
                torch.manual_seed(self.config.seed * 1_000_003 + self.step)  # dropout has no generator argument
                cites = [citation for group in groups for example in group for citation in example.citations]
                places = sum(min(POINTED, citation.stop - citation.start) for citation in cites)
                value, pointed = 0.0, [torch.zeros(0)]
                for group in groups:
                    loss = target_nll(network, padded(group), self.config.dropout, self._look(group, pointed)).sum() / targets
                    value += float(loss.detach())
                    if self.config.pointing:
                        loss = loss + self.config.pointing * pointed[-1].sum() / max(1, places)
                        pointed[-1] = pointed[-1].detach()
                    loss.backward()  # type: ignore[no-untyped-call]
                if not math.isfinite(value):
                    raise TrainingError(
                        f"the loss is {value} at step {self.step}: lower the learning rate; the last checkpoint is still good."
                    )
                rate = self.config.rate(self.step)
                norm = self.optimiser.step(rate, self.config.max_norm)
                self.step += 1
                self.tokens += sum(len(example.ids) for group in groups for example in group)
                if self.folder and time.monotonic() - saved > 60 * checkpoint_minutes:
                    self.save()
                    saved = time.monotonic()
                missed = torch.cat(pointed)
                share = float(missed.mean()) if len(missed) else 0.0
                yield Progress(self.step, value, norm, rate, self.tokens, time.monotonic() - started, share)
            if self.folder:
                self.save()
        finally:
            network.eval()

    def _look(self, group: Sequence[Example], pointed: list[Tensor]) -> Look | None:
        """What adds the pointing loss of a batch to `pointed`: of the last head of the first middle layer.

        There two layers have gathered what tokens are about, and as many are left to say what it finds; its other heads copy
        (`agents/starting.py`).
        """
        if not self.config.pointing:
            return None
        sources = cited(group)
        middle = pointing_layer(self.model.network.shape.n_layer)

        def look(layer: int, queries: Tensor, keys: Tensor) -> None:
            if layer == middle:
                pointed.append(pointing_nll(queries[:, -1], keys[:, -1], sources))

        return look

    def save(self) -> None:
        """Writes the checkpoint: first everything beside the old one, then one rename.

        Raises:
            OSError: the disk is full or may not be written; the old checkpoint is still there.
        """
        assert self.folder is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "network": self.model.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "place": {"step": self.step, "tokens": self.tokens, "epoch": self._epoch_number, "position": self._position},
            "stream": self.stream,
        }
        scratch = self.folder / "checkpoint.pt.partial"
        try:
            with scratch.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(scratch, self.folder / "checkpoint.pt")
        except RuntimeError as error:  # torch's writer hides the system's reason
            raise OSError(f"{scratch}: the checkpoint could not be written ({error}); is the disk full?") from error
        finally:
            scratch.unlink(missing_ok=True)

    def resume(self) -> bool:
        """Goes back to the checkpoint in `folder`; False if there is none.

        Raises:
            CheckpointError: it is damaged, or of another run.
        """
        path = (self.folder or Path()) / "checkpoint.pt"
        if self.folder is None or not path.is_file():
            return False
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            self.model.network.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])
            place = state["place"]
            self.step, self.tokens = place["step"], place["tokens"]
            same = state["stream"] == self.stream
            self._epoch_number, self._position = (place["epoch"], place["position"]) if same else (0, 0)
        except Exception as error:  # a cut-off file raises anything from EOFError to RuntimeError
            raise CheckpointError(f"{path}: expected a checkpoint of this run ({type(error).__name__}: {error}).") from error
        self._groups = []
        return True


def write_log(path: Path, record: dict[str, Any]) -> None:
    """Adds one JSON line to a log."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def cut_log(path: Path, step: int) -> None:
    """Drops what a log says of steps after `step`: a resumed run takes them again. Does nothing where there is no log.

    Args:
        path: a file of JSON lines from `write_log`, each with a `step`; an unfinished last line is dropped too.
        step: the last to keep.
    """
    if not path.is_file():
        return
    kept = []
    for line in path.read_text("utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except ValueError:  # the run was killed while it wrote this line
            continue
    scratch = path.with_suffix(".partial")
    scratch.write_text("".join(kept), "utf-8")
    os.replace(scratch, path)


def keep_memory() -> None:
    """Tells glibc's allocator to keep freed memory for itself; does nothing elsewhere.

    A training step frees and takes the same few hundred megabytes again. Given back to the system each time, they must be
    cleared page by page, which took more than half of a step on two virtual cores.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    except (OSError, AttributeError):
        return
