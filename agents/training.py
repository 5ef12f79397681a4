"""Trains a network on an objective: batches, schedule, checkpoints, processes. Knows examples; knows nothing of corpora.

Everything is a function of the seed: the batches of epoch e depend on (seed, e) alone, dropout on (seed, step, batch). A run
that is killed goes on from its last checkpoint and ends with the very weights of a run that was not. A loss is a mean over the
targets of a whole step, however the step is cut into batches and dealt to processes.

Letters: B rows, T tokens, M targets, V vocabulary.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convogym.agents.gpt2 import GPT2, Look
from convogym.agents.optimisers import OptimiserPair
from convogym.agents.processes import ALONE, Team
from convogym.agents.starting import pointing_layer
from convogym.agents.token_nll import token_nll
from convogym.errors import CheckpointError, InputError, TrainingError
from convogym.layouts import Example

E = TypeVar("E")
E_in = TypeVar("E_in", contravariant=True)

POINTED = 3
"""of a reply's places how many are taught where to look: the first few choose the fact, the others follow from them"""

EVEN = 16
"""lengths in training are multiples of it: sizes come again, and torch makes a program for every size of product it meets"""

EVEN_PLACES = 128
"""in training the number of places that the last layer computes is a multiple of it, for the same reason"""

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # glibc, malloc.h


class Batch(NamedTuple):
    """Some examples, padded at the right."""

    ids: Tensor
    """(B, T) int64"""
    learnt: Tensor
    """(B, T) bool: the targets"""

    def to(self, network: nn.Module) -> Batch:
        """The batch on the device of a network."""
        device = next(network.parameters()).device
        return Batch(self.ids.to(device), self.learnt.to(device))


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
    """Muon's rate for the layers' matrices; a model of persona-mini's depth saturates at this one, its recipe has 8e-3"""
    other_lr: float = 3e-3
    """AdamW's rate for embeddings, norms and biases"""
    epsilon: float = 1e-8
    """AdamW's; a rare token's gradient in a batch that it is not in is some 1e-7 an entry, a frequent one's 1e-4"""
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
    bf16: bool = False
    """matrix products in bfloat16; see `has_bfloat16`"""
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


def padded(examples: Sequence[Example], room: int = 0) -> Batch:
    """Examples as tensors; padding is id 0 and never a target.

    Args:
        examples: one a row.
        room: rows become a multiple of `EVEN` tokens long, as far as that is no more than these; else as long as the longest.
    """
    longest = _length(examples, room)
    ids = np.zeros((len(examples), longest), np.int64)
    learnt = np.zeros((len(examples), longest), bool)
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = example.ids
        learnt[row, : len(example.learnt)] = example.learnt
    return Batch(torch.from_numpy(ids), torch.from_numpy(learnt))


def batches(tokens: Sequence[int], batch_tokens: int, rng: np.random.Generator) -> list[list[int]]:
    """Splits examples into batches of near-equal length, in random order.

    Args:
        tokens: the length of every example of an epoch.
        batch_tokens: rows times the longest row, at most.
        rng: shuffles among equal lengths, and the batches.

    Returns:
        Indices into `tokens`, every one once.
    """
    lengths = np.array(tokens)
    order = np.lexsort((rng.random(len(lengths)), lengths + rng.integers(-8, 9, len(lengths))))
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
    ids, learnt = batch.ids, F.pad(batch.learnt[:, 1:], (0, 1))  # what is learnt after each place
    places = learnt.flatten().nonzero()[:, 0]  # (M,)
    more = -len(places) % EVEN_PLACES if torch.is_grad_enabled() else 0
    some = torch.cat([places, places[:1].expand(more if len(places) else 0)])
    states = network.hidden(ids, dropout, look, some)[: len(places)]
    return token_nll(states, network.transformer.wte.weight, ids.flatten()[places + 1])


def nll_of(network: GPT2, hidden: Tensor, batch: Batch, smoothing: float = 0.0) -> Tensor:
    """`target_nll` from the hidden states (B, T, C) of the batch.

    Args:
        network: makes logits of states.
        hidden: of every token.
        batch: says which tokens are targets.
        smoothing: share of the target's probability given to all tokens alike (label smoothing, Szegedy et al. 2016, 7).
    """
    chosen = batch.learnt[:, 1:]
    before = hidden[:, :-1][chosen]  # (M, C): the states that predict the targets
    return token_nll(before, network.transformer.wte.weight, batch.ids[:, 1:][chosen], smoothing)


def _length(examples: Sequence[Example], room: int) -> int:
    longest = max(len(example.ids) for example in examples)
    even = -(-longest // EVEN) * EVEN
    return even if even <= room else longest


def cited(examples: Sequence[Example], room: int = 0) -> Tensor:
    """What each place should look at, shape (B, T, T) bool: row t holds the sources of the reply whose token t + 1 is.

    A row without any True is one of whose reply nothing is known, or of no reply. Arguments as in `padded`.
    """
    longest = _length(examples, room)
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
    with torch.autocast(queries.device.type, enabled=False):  # see `gpt2.causal_attention`
        scores = queries.float() @ keys.float().transpose(1, 2) / math.sqrt(queries.size(-1))  # (B, T, T)
    ahead = torch.ones(scores.shape[1:], dtype=torch.bool, device=scores.device).triu(1)
    shares = scores.masked_fill(ahead, -torch.inf).log_softmax(-1)
    known = sources.any(-1)
    return -shares[known].masked_fill(~sources[known], -torch.inf).logsumexp(-1)


@torch.no_grad()
def mean_nll(network: GPT2, examples: Sequence[Example], batch_tokens: int = 8192) -> float:
    """Mean negative log-likelihood of the targets of examples, in nats a token."""
    total, count = 0.0, 0
    for group in batches([len(example.ids) for example in examples], batch_tokens, np.random.default_rng(0)):
        losses = target_nll(network, padded([examples[i] for i in group]).to(network))
        total += float(losses.double().sum())
        count += losses.numel()
    return total / max(count, 1)


class Objective(Protocol[E_in]):
    """What a run teaches: one term or several, each a mean over its own targets."""

    @property
    def network(self) -> nn.Module:
        """What is trained."""

    @property
    def shares(self) -> Mapping[str, float]:
        """What each term is multiplied by in the loss."""

    def length(self, example: E_in) -> int:
        """How many tokens an example takes in a batch."""

    def counts(self, examples: Sequence[E_in]) -> Mapping[str, int]:
        """How many targets each term has in some examples."""

    def sums(self, examples: Sequence[E_in], dropout: float, step: int) -> Mapping[str, Tensor]:
        """Each term summed over its targets, shape (), with gradient.

        Args:
            examples: a batch.
            dropout: share of the residual updates' entries dropped.
            step: steps done, for terms that change in the course of a run.
        """


class NextToken:
    """The objective of a language model: the likelihood of the learnt tokens, and where a head looks, if that is taught."""

    def __init__(self, network: GPT2, pointing: float = 0.0) -> None:
        """Takes the network.

        Args:
            network: of at least three layers where `pointing` is not 0.
            pointing: weight of `pointing_nll`, a mean over labelled places. It is taught to the last head of the first middle
                layer: there two layers have gathered what tokens are about, and as many are left to say what it finds; its
                first head was started to copy (`agents/starting.py`).
        """
        self.network = network
        self.shares: Mapping[str, float] = {"loss": 1.0, "pointing": pointing} if pointing else {"loss": 1.0}

    def length(self, example: Example) -> int:
        """Tokens of one row."""
        return len(example.ids)

    def counts(self, examples: Sequence[Example]) -> Mapping[str, int]:
        """Learnt tokens, and places taught where to look."""
        cites = [citation for example in examples for citation in example.citations]
        counts = {
            "loss": sum(sum(example.learnt) for example in examples),
            "pointing": sum(min(POINTED, citation.stop - citation.start) for citation in cites),
        }
        return {name: counts[name] for name in self.shares}

    def sums(self, examples: Sequence[Example], dropout: float, step: int) -> Mapping[str, Tensor]:
        """Negative log-likelihoods in nats."""
        room = self.network.shape.n_positions
        batch = padded(examples, room).to(self.network)
        if "pointing" not in self.shares:
            return {"loss": target_nll(self.network, batch, dropout).sum()}
        sources = cited(examples, room).to(batch.ids.device)
        middle = pointing_layer(self.network.shape.n_layer)
        pointed: list[Tensor] = []

        def look(layer: int, queries: Tensor, keys: Tensor) -> None:
            if layer == middle:
                pointed.append(pointing_nll(queries[:, -1], keys[:, -1], sources))

        nll = target_nll(self.network, batch, dropout, look)
        return {"loss": nll.sum(), "pointing": pointed[0].sum()}


class Stepper(Protocol):
    """An optimiser as the trainer sees it."""

    def step(self, scale: float, max_norm: float) -> float:
        """Clips, moves and forgets the gradients; gives their norm before clipping. Moves nothing if that is not finite."""

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on exactly."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up the state of an earlier run."""


class Progress(NamedTuple):
    """Where a run is, after a step."""

    step: int
    """steps done"""
    loss: float
    """of the step, terms times their shares; with one term of share 1, nats a token"""
    grad_norm: float
    """before clipping"""
    rate: float
    """the schedule's share of the full rates"""
    tokens: int
    """tokens read since the run began, by the examples' lengths: padding between them left out"""
    seconds: float
    """time this process has spent training"""
    terms: dict[str, float]
    """each term of the objective, a mean over its targets"""


EpochMaker = Callable[[int], Sequence[E]]
"""the examples of a 0-based epoch; the same number always gives the same examples"""


class Trainer(Generic[E]):
    """Moves a network through a run, step by step, and can stop and go on at any of them."""

    def __init__(
        self,
        objective: Objective[E],
        epoch: EpochMaker[E],
        config: TrainingConfig,
        folder: Path | None = None,
        stream: str = "main",
        optimiser: Stepper | None = None,
        team: Team = ALONE,
    ) -> None:
        """Prepares a run at its first step.

        Args:
            objective: its network is trained in place.
            epoch: gives the examples.
            config: how.
            folder: where checkpoints go; None = none are written.
            stream: names the examples; a checkpoint of another stream is taken up with this one at its beginning.
            optimiser: moves the network; None = Muon and AdamW at the config's rates.
            team: the processes that train together, each of them with a trainer made alike; the batches of a step are dealt
                to them in turn.

        Raises:
            InputError: a step has fewer batches than there are processes.
        """
        if config.accumulate < team.size:
            raise InputError(f"`accumulate` must be at least the {team.size} processes, got {config.accumulate}.")
        self.objective, self.epoch, self.config = objective, epoch, config
        self.folder, self.stream, self.team = folder, stream, team
        self.optimiser: Stepper = optimiser or OptimiserPair(
            objective.network, config.matrix_lr, config.other_lr, config.weight_decay, config.epsilon, config.bf16
        )
        self.step = self.tokens = self._epoch_number = self._position = 0
        self._examples: Sequence[E] = ()
        self._groups: list[list[int]] = []

    def _next_group(self) -> list[E]:
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
            raise InputError("there is nothing to train on: the corpora gave no example that fits the model's context.")
        rng = np.random.default_rng([self.config.seed, self._epoch_number])
        self._groups = batches([self.objective.length(e) for e in self._examples], self.config.batch_tokens, rng)

    def run(self, until: int | None = None, checkpoint_minutes: float = 5.0) -> Iterator[Progress]:
        """Trains, giving back control after every step.

        Args:
            until: stop after this many steps in all; None = `config.steps`.
            checkpoint_minutes: time between checkpoints; one is written at the end too.

        Raises:
            TrainingError: the loss or its gradient is not a number; the last checkpoint is untouched.
        """
        keep_memory()
        network = self.objective.network
        network.train()
        started = saved = time.monotonic()
        try:
            while self.step < (self.config.steps if until is None else until):
                groups = [self._next_group() for _ in range(self.config.accumulate)]
                terms = self._gradients(groups)
                value = sum(self.objective.shares[name] * term for name, term in terms.items())
                rate = self.config.rate(self.step)
                norm = self.optimiser.step(rate, self.config.max_norm) if math.isfinite(value) else math.nan
                if not math.isfinite(norm):
                    raise TrainingError(self._lost(value))
                self.step += 1
                self.tokens += sum(self.objective.length(example) for group in groups for example in group)
                if self.folder and time.monotonic() - saved > 60 * checkpoint_minutes:
                    self.save()
                    saved = time.monotonic()
                yield Progress(self.step, value, norm, rate, self.tokens, time.monotonic() - started, terms)
            if self.folder:
                self.save()
        finally:
            network.eval()

    def _gradients(self, groups: Sequence[Sequence[E]]) -> dict[str, float]:
        """Leaves a step's gradient in the network, whatever process computed which batch; gives the terms' means."""
        network, shares = self.objective.network, self.objective.shares
        counts = dict.fromkeys(shares, 0)
        for group in groups:
            for name, count in self.objective.counts(group).items():
                counts[name] += count
        values = dict.fromkeys(shares, 0.0)
        device = next(network.parameters()).device.type
        for index in range(self.team.rank, len(groups), self.team.size):
            seed = np.random.SeedSequence([self.config.seed, self.step, index]).generate_state(1)[0]
            torch.manual_seed(int(seed))  # dropout has no generator argument
            with torch.autocast(device, torch.bfloat16, enabled=self.config.bf16):
                sums = self.objective.sums(groups[index], self.config.dropout, self.step)
            means = {name: term / max(1, counts[name]) for name, term in sums.items()}
            loss: Tensor = sum((shares[name] * mean for name, mean in means.items()), torch.zeros((), device=device))
            loss.backward()  # type: ignore[no-untyped-call]
            for name, mean in means.items():
                values[name] += float(mean.detach())
        return self.team.add_up(network.parameters(), values)

    def _lost(self, value: float) -> str:
        """What to tell when a step came to nothing."""
        what = f"the loss is {value}" if not math.isfinite(value) else f"the loss is {value:.4g}, but its gradient no number"
        path = (self.folder or Path()) / "checkpoint.pt"
        kept = f"the last good checkpoint is {path}" if self.folder and path.is_file() else "there is no checkpoint yet"
        return f"{what} at step {self.step} (epoch {self._epoch_number}, {self.stream}): lower the learning rate; {kept}."

    def save(self) -> None:
        """Writes the checkpoint: first everything beside the old one, then one rename. Of several processes the first does.

        Raises:
            OSError: the disk is full or may not be written; the old checkpoint is still there.
        """
        assert self.folder is not None
        if self.team.rank:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "network": self.objective.network.state_dict(),
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
            self.objective.network.load_state_dict(state["network"])
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


def cut_log(path: Path, step: int, stage: str | None = None) -> None:
    """Drops what a log says of steps after `step`: a resumed run takes them again. Does nothing where there is no log.

    Args:
        path: a file of JSON lines from `write_log`, each with a `step`; an unfinished last line is dropped too.
        step: the last to keep.
        stage: where a log has several, each with steps of its own: the one meant; None = all lines.
    """
    if not path.is_file():
        return
    kept = []
    for line in path.read_text("utf-8").splitlines():
        try:
            record = json.loads(line)
            if record["step"] <= step or (stage is not None and record.get("stage") != stage):
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


def has_bfloat16(device: str) -> bool:
    """Whether a device multiplies matrices in bfloat16 itself; processors that emulate it are far slower than in float32."""
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
